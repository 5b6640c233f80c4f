#!/usr/bin/env python3
"""Trains what docs/results.md compares, on real MNIST, and writes that page.

    pip install numpy pyarrow safetensors
    MNIST_DIR=… scripts/results.py                       # all of it: about two hours on two cores
    MNIST_DIR=… scripts/results.py --only recipes-dense  # one table of the page; the others stay as they are
    scripts/results.py --list                            # what is trained, in which table

Needs a release build of limpid. Runs are kept (--runs, target/results unless given) and limpid repeats only what has changed, so
that another call writes the page again in a minute. Seconds of training are the epochs times what one epoch takes with nothing
else running, which is measured in the end: leave the machine alone meanwhile.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from safetensors.numpy import load_file

HERE = Path(__file__).resolve().parent.parent


@dataclass
class Row:
    """A training: a pipeline of pipelines/, with changed settings."""

    label: str
    pipeline: str
    changes: dict = field(default_factory=dict)
    seeds: int = 1

    def settings(self):
        return [f"{key}={toml(value)}" for key, value in self.changes.items()]

    def name(self, seed):
        """The folder of a training, named by pipeline, settings and seed."""
        words = re.sub(r"[^a-z0-9.]+", "-", " ".join([self.pipeline, *self.settings()]).replace("training.", ""))
        return f"{words.strip('-')}-seed-{seed}"


@dataclass
class Table:
    """Rows that are compared with each other, all of them after the stage `to`."""

    title: str
    about: str
    columns: list
    rows: list
    to: str
    baselines: bool = False
    averaged: int = 0  # the number of last epochs of the first row whose weights another row averages


def toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value)


class Limpid:
    """Runs the program in its own folder of runs."""

    def __init__(self, options):
        self.options = options

    def run(self, row, seed, to, suffix="", *more):
        name = row.name(seed) + suffix
        settings = [*row.settings(), f"seed={seed}", f'name="{name}"', *more]
        command = [self.options.limpid, "run", HERE / f"pipelines/{row.pipeline}.toml", "--runs", self.options.runs, "--to", to]
        command += [word for setting in settings for word in ("--set", setting)]
        print(f"{name}, to {to}", file=sys.stderr, flush=True)
        code = subprocess.run([str(word) for word in command], stdout=subprocess.DEVNULL).returncode
        if code not in (0, 3):  # 3: misses the gate, which the page then shows
            sys.exit(f"limpid exited with {code} for {name}")
        return self.options.runs / name

    def seconds(self, row):
        """Seconds of one epoch."""
        run = self.run(row, 1, "train", "-one-epoch", "training.epochs=1")
        return json.loads((run / "train/_receipt.json").read_text())["details"]["speed"][0]["seconds"]


COSINE = {"training.schedule": "cosine", "training.warm-up-epochs": 0.5}
SMALL = {"training.learning-rate": 5e-3, "training.batch-size": 50}
FEATURES = {"channels": [16, 32, 64], "code": 32, "code-activation": "linear"}
DEEP = {"training.learning-rate": 2e-3, "training.batch-size": 50}

TABLES = {
    "features": Table(
        "32 numbers for an image, and the chapter's convolutional code",
        "Autoencoders of clean images. Squared error (MSE) of the reconstruction for pixels in [0, 1]; share of test images that "
        "logistic regression (linear) and the five nearest neighbours (5-NN) get right from the codes alone, both fitted on the "
        "training split; bytes of a code. The encoder before training, and 32 components, are those of the first row.",
        ["cross-entropy", "mse", "psnr-pooled", "ssim", "linear", "neighbours", "bytes"],
        [
            Row("dense, the chapter's recipe", "mnist-dense-chapter", seeds=3),
            Row("the same model, `mnist-dense`", "mnist-dense", seeds=3),
            Row("deep dense, 512-256-32", "mnist-dense", {"model.dense": {"hidden": [512, 256], "code-activation": "linear"}, **DEEP}, seeds=3),
            Row("`mnist-features`", "mnist-features"),
            Row("the same with residual blocks, for about the same time", "mnist-features",
                {"model.conv": {**FEATURES, "residual-blocks": 1}, "training.epochs": 8}),
            Row("conv, the chapter's recipe", "mnist-conv-chapter", seeds=3),
            Row("the same model, `mnist-conv`", "mnist-conv", seeds=3),
        ],
        to="evaluate",
        baselines=True,
    ),
    "denoising": Table(
        "Noise of standard deviation 0.5 taken away",
        "The chapter's 32-32-16 model with the chapter's recipe is trained for about as long as the others (24 epochs).",
        ["cross-entropy", "psnr-pooled", "psnr-mean", "ssim", "linear", "neighbours", "bytes"],
        [
            Row("conv 32-32-16, the chapter's recipe", "mnist-denoise-chapter", {"training.epochs": 24}),
            Row("`mnist-denoise`", "mnist-denoise"),
            Row("`mnist-denoise-unet`", "mnist-denoise-unet"),
        ],
        to="evaluate",
        baselines=True,
    ),
    "sparse": Table(
        "Sparse codes",
        "784-256-784 with ReLU, batches of 50, a cosine from 5e-3: what an L1 penalty on the code (`model.sparsity`) costs and gives.",
        ["mse", "zeros", "linear", "neighbours"],
        [Row(f"sparsity {sparsity}", "mnist-dense", {"model.dense": {"code": 256}, "model.sparsity": sparsity, **SMALL}, seeds=3)
         for sparsity in [0.0, 1e-3]],
        to="evaluate",
    ),
    "recipes-dense": Table(
        "What the dense model's recipe is made of",
        "784-32-784, 20 epochs. Wherever steps fall to nothing, the last epoch is the best one, so that there is nothing to stop early "
        "for; the mean of weights gives steps of one size a part of what the cosine gives. Weight decay (AdamW) changed nothing, and "
        "limpid is without it.",
        ["cross-entropy", "best-epoch"],
        [
            Row("steps of 2e-3, batches of 25", "mnist-dense-chapter", {"training.learning-rate": 2e-3, "training.batch-size": 25}, seeds=3),
            Row("steps of 1e-3, batches of 200: the chapter's", "mnist-dense-chapter", seeds=3),
            Row("steps of 1e-2", "mnist-dense-chapter", {"training.learning-rate": 1e-2}, seeds=3),
            Row("cosine from 1e-2", "mnist-dense-chapter", {"training.learning-rate": 1e-2, **COSINE}, seeds=3),
            Row("the same, batches of 25", "mnist-dense-chapter",
                {"training.learning-rate": 1e-2, "training.batch-size": 25, **COSINE}, seeds=3),
            Row("cosine from 2e-2, batches of 25, no warm-up", "mnist-dense", {"training.warm-up-epochs": 0.0}, seeds=3),
            Row("with warm-up over half an epoch: `mnist-dense`", "mnist-dense", seeds=3),
        ],
        to="train",
        averaged=7,
    ),
}

HEAD = """\
# Results

Written by `scripts/results.py`, which trained everything here on real MNIST, each table on the processor that it names.
Scores are of the 10,000 test images, the means of as many seeds as a row says, with their standard deviation;
*in italics* what needs no training. Seconds are those of training: the epochs times the seconds that one takes alone on
the machine.
"""


# How numbers are written, by column: its heading, and the format.
COLUMNS = {
    "cross-entropy": ("test cross-entropy", "{:.5f}"),
    "best-epoch": ("best epoch by test loss", "{:.0f}"),
    "mse": ("MSE", "{:.5f}"),
    "psnr-pooled": ("PSNR, pooled (dB)", "{:.2f}"),
    "psnr-mean": ("PSNR, mean (dB)", "{:.2f}"),
    "ssim": ("SSIM", "{:.3f}"),
    "linear": ("linear (%)", "{:.2f}"),
    "neighbours": ("5-NN (%)", "{:.2f}"),
    "zeros": ("zeros in the code (%)", "{:.1f}"),
    "bytes": ("bytes", "{:.0f}"),
}


def classified(probe):
    return {"linear": 100 * probe["linear-accuracy"], "neighbours": 100 * probe["neighbours-accuracy"],
            "bytes": probe["bytes-per-row"]}


def results(run, to):
    """The scores of a run after the stage `to`."""
    receipt = json.loads((run / "train/_receipt.json").read_text())
    history = pq.read_table(run / "train/history.parquet")
    found = {
        "parameters": receipt["details"]["parameters"],
        "epochs": history.num_rows,
        "cross-entropy": history["test_loss"][-1].as_py(),
        "best-epoch": receipt["details"]["best-epoch"],
    }
    if to == "evaluate":
        metrics = json.loads((run / "evaluate/metrics.json").read_text())
        found |= {key: metrics["scores"][0][key] for key in ["mse", "psnr-pooled", "psnr-mean", "ssim"]}
        if metrics["code"]:
            found["zeros"] = 100 * metrics["code"]["zeros"]
        for probe in (metrics["probes"] or {"features": []})["features"]:
            if probe["kind"] == "codes":
                found |= classified(probe)
    return found


def baselines(run):
    """The baselines of a run, as rows of its table."""
    metrics = json.loads((run / "evaluate/metrics.json").read_text())
    rows = {score["what"]: dict(score) for score in metrics["scores"] if score.get("baseline")}
    for row in rows.values():
        # Baselines output pixels, whereas a model's cross-entropy is computed from logits.
        row.pop("cross-entropy", None)
    for probe in (metrics["probes"] or {"features": []})["features"]:
        if probe["kind"] != "codes":
            rows.setdefault(probe["what"], {}).update(classified(probe))
    return rows


def cell(column, values):
    """The mean; with several seeds their standard deviation too."""
    values = [value for value in values if value is not None]
    if not values:
        return ""
    text = COLUMNS[column][1].format(statistics.mean(values))
    return text if len(values) == 1 else f"{text} ± {COLUMNS[column][1].format(statistics.stdev(values))}"


def markdown(table, limpid):
    headings = [COLUMNS[column][0] for column in table.columns]
    yield f"## {table.title}\n\n{table.about}\nOn {processor()}.\n"
    yield "| " + " | ".join(["model", "parameters", "epochs", "seconds", "seeds", *headings]) + " |"
    yield "|---" * (5 + len(headings)) + "|"
    free = {}
    for row in table.rows:
        runs = [limpid.run(row, seed, table.to) for seed in range(1, row.seeds + 1)]
        found = [results(run, table.to) for run in runs]
        cells = [cell(column, [one.get(column) for one in found]) for column in table.columns]
        seconds = found[0]["epochs"] * limpid.seconds(row)
        yield f"| {row.label} | {found[0]['parameters']:,} | {found[0]['epochs']} | {seconds:.0f} | {row.seeds} | " + " | ".join(cells) + " |"
        if table.averaged and row is table.rows[0]:
            mean = cell("cross-entropy", [average_of_weights(limpid, row, table.averaged)])
            yield f"| mean of the weights after each of its last {table.averaged} epochs, with seed 1 | | | | | {mean} | |"
        if table.baselines:
            for what, scores in baselines(runs[0]).items():
                free.setdefault(what, scores)
    for what, scores in free.items():
        yield f"| *{what}* | | | | | " + " | ".join(cell(column, [scores.get(column)]) for column in table.columns) + " |"
    yield ""


def average_of_weights(limpid, row, last):
    """The test cross-entropy of the dense model whose weights are the means of those after the `last` epochs."""
    epochs, weights = 20, []
    for epoch in range(epochs - last + 1, epochs + 1):
        # Each training resumes from the one before.
        run = limpid.run(row, 1, "train", "-averaged", f"training.epochs={epoch}")
        weights.append(load_file(run / "train/last.safetensors"))
    mean = {name: np.mean([one[name] for one in weights], axis=0, dtype=np.float64) for name in weights[0]}
    pixels = pq.read_table(run / "ingest/test-00000-of-00001.parquet")["image"].combine_chunks().flatten().to_numpy() / 255
    pixels = pixels.reshape(-1, 784)
    code = np.maximum(pixels @ mean["encoder.0.weight"].T + mean["encoder.0.bias"], 0)
    logits = code @ mean["decoder.0.weight"].T + mean["decoder.0.bias"]
    return np.mean(np.maximum(logits, 0) - logits * pixels + np.log1p(np.exp(-np.abs(logits))))


def processor():
    about = Path("/proc/cpuinfo").read_text()
    # Only x86 processors have such a line.
    named = re.search(r"(?m)^model name\s*:\s*(.+)", about)
    name = named[1].strip() if named else platform.machine()
    width = next((flag for flag in ["avx512f", "avx2"] if flag in about), "neither AVX2 nor AVX-512")
    return f"{len(os.sched_getaffinity(0))} cores of an {name} ({width})"


def main():
    options = argparse.ArgumentParser(usage=__doc__.split("\n\n", 1)[1])
    options.add_argument("--limpid", default=HERE / "target/release/limpid", type=Path)
    options.add_argument("--runs", default=HERE / "target/results", type=Path)
    options.add_argument("--out", default=HERE / "docs/results.md", type=Path)
    options.add_argument("--only", nargs="+", choices=TABLES, default=[])
    options.add_argument("--list", action="store_true")
    options.add_argument("--train", action="store_true", help="only train: write nothing, measure no seconds")
    options = options.parse_args()
    # A file, or the name of one that is on the path.
    options.limpid = options.limpid.resolve() if options.limpid.exists() else options.limpid
    if options.list:
        for name, table in TABLES.items():
            for row in table.rows:
                print(f"{name}: {row.label}: {row.pipeline} {' '.join(row.settings())}, {row.seeds} seeds")
        return
    limpid = Limpid(options)
    tables = [TABLES[name] for name in options.only] or list(TABLES.values())
    # All training first; the seconds of an epoch are measured at the end.
    for table in tables:
        for row in table.rows:
            for seed in range(1, row.seeds + 1):
                limpid.run(row, seed, table.to)
    if options.train:
        return
    sections = written(options.out) if options.only else {}
    sections |= {table.title: "\n".join(markdown(table, limpid)) for table in tables}
    ordered = [sections[table.title] for table in TABLES.values() if table.title in sections]
    options.out.write_text("\n".join([HEAD, *ordered]))


def written(page):
    """The sections of a page, by their headings."""
    sections = re.split(r"(?m)^(?=## )", page.read_text())[1:] if page.exists() else []
    return {section.splitlines()[0].removeprefix("## "): section.rstrip("\n") + "\n" for section in sections}


if __name__ == "__main__":
    main()
