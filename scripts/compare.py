#!/usr/bin/env python3
"""Runs limpid and other tools in turn and prints a Markdown table: medians, ratios (peer / limpid) and losses.

usage: compare.py [--limpid PATH] [--rounds 3] [--runs DIR] train dense|conv|denoise [--epochs 4] [--device flex]
                  [--set KEY=VALUE]... [--until LOSS] --against "COMMAND"...
       compare.py [--limpid PATH] [--rounds 3] [--runs DIR] pictures conv|unet|photo... [--side 64 128 256] [--epochs 2]
                  [--megapixels 4] [--python PYTHON]
       compare.py [--limpid PATH] [--rounds 3] [--runs DIR] shipped PIPELINE... [--epochs 2] [--python PYTHON]
       compare.py [--limpid PATH] [--rounds 3] [--runs DIR] infer
       compare.py [--limpid PATH] [--rounds 3] [--runs DIR] corrupt
       compare.py [--limpid PATH] [--rounds 3] [--runs DIR] ingest [--images 50000]
       compare.py [--limpid PATH] [--rounds 3] [--runs DIR] devices flex tch... [--epochs 2] [--set KEY=VALUE]...

Real MNIST is read from where limpid finds it (MNIST_DIR). `train` takes any command that prints lines `epoch N: S s, train T, test U`:

    compare.py train conv --against "python scripts/peers/torch_train.py $MNIST_DIR conv --epochs 4 --seed {seed}"
    compare.py train dense --against "python scripts/peers/torch_train.py $MNIST_DIR dense --epochs 4" \\
                           --against "python scripts/peers/jax_dense.py $MNIST_DIR --epochs 4"

With `--until`, a column has the seconds of training until an epoch's mean training loss was that low: from the start, including
compilation in the first epoch, to the end of that epoch.

A round is one run of limpid, then one of each peer, with the round's number as the seed, which replaces `{seed}` in a peer's
command. Losses are the means over the rounds. Seconds per epoch are those of training alone, without the test loss, the
median over the epochs of a run; limpid's are in its receipt. `infer` compares encode and denoise of the 70,000 images with
ONNX Runtime, `corrupt` compares Gaussian noise with numpy, both Parquet to Parquet through pyarrow (peers/, needs
onnxruntime, onnx, numpy, pyarrow). First the outputs are compared; then limpid's stage is timed by its receipt and the peer
inside its script: neither includes the start of the process, imports, or limpid's planning, which the columns of whole
processes do include. limpid also digests its files and syncs them to disk.

`pictures` trains on generated pictures, with PyTorch for the same model (peers/torch_pictures.py, in the Python that --python names):
`conv`, 32-32-16 channels, and `unet`, 16-32-64, both RGB, batch 16, noise of σ = 0.1, on as many pictures of each side as have so many
megapixels together; `photo` is pipelines/photo-denoise.toml on drawn pictures of so many.

`shipped` trains pipelines of pipelines/, by their names, in the same way as `pictures`: mnist-denoise, mnist-denoise-unet and so on.

`ingest` writes a folder of 32×32 JPEGs and compares reading it with a plain Pillow loop, to memory and to Parquet; then it damages
100 of them and checks that limpid names each.

`devices` trains the three models on each of limpid's own devices in turn, as its build has them.
"""

import argparse
import json
import os
import pathlib
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
# The chapter's recipes, which the peers follow.
PIPELINES = {model: f"mnist-{model}-chapter" for model in ["dense", "conv", "denoise"]}
EPOCH = re.compile(r"epoch (\d+): ([\d.]+) s, train ([\d.]+), test ([\d.]+)")
EPOCH_OF_PICTURES = re.compile(r"epoch \d+: ([\d.]+) s, train ([\d.]+)")
# Of `pictures`.
MODELS = {"conv": "conv = { channels = [32, 32, 16] }", "unet": "unet = { channels = [16, 32, 64] }"}


def arguments():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].split("\n\n")[0])
    parser.add_argument("--limpid", default=HERE.parent / "target/release/limpid", type=pathlib.Path)
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--runs", default=HERE.parent / "target/compare", type=pathlib.Path)
    what = parser.add_subparsers(dest="what", required=True)
    train = what.add_parser("train")
    train.add_argument("model", choices=["dense", "conv", "denoise"])
    train.add_argument("--epochs", default=4, type=int)
    train.add_argument("--device", default="flex")
    train.add_argument("--set", action="append", default=[])
    train.add_argument("--until", type=float)
    train.add_argument("--against", action="append", default=[])
    pictures = what.add_parser("pictures")
    pictures.add_argument("models", nargs="+", choices=["conv", "unet", "photo"])
    pictures.add_argument("--side", nargs="+", type=int, default=[64, 128, 256])
    pictures.add_argument("--epochs", default=2, type=int)
    pictures.add_argument("--megapixels", default=4, type=float)
    pictures.add_argument("--python", default=sys.executable)
    ready = what.add_parser("shipped")
    ready.add_argument("pipelines", nargs="+")
    ready.add_argument("--epochs", default=2, type=int)
    ready.add_argument("--python", default=sys.executable)
    what.add_parser("infer")
    what.add_parser("corrupt")
    what.add_parser("ingest").add_argument("--images", default=50_000, type=int)
    devices = what.add_parser("devices")
    devices.add_argument("devices", nargs="+")
    devices.add_argument("--epochs", default=2, type=int)
    devices.add_argument("--models", nargs="+", default=["dense", "conv", "denoise"], choices=["dense", "conv", "denoise"])
    devices.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    # Paths in a pipeline file, which `ingest` writes, are relative to that file.
    options.runs = options.runs.resolve()
    # A file, or the name of one that is on the path.
    options.limpid = options.limpid.resolve() if options.limpid.exists() else options.limpid
    return options


def checked(command):
    """Runs a command; its output and seconds."""
    start = time.perf_counter()
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        sys.exit(f"{shlex.join(map(str, command))} exited with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout + done.stderr, seconds


def shipped(name):
    return HERE.parent / f"pipelines/{name}.toml"


class Limpid:
    """limpid on a pipeline; its run is called like the file."""

    def __init__(self, options, pipeline, epochs):
        self.folder = options.runs / pipeline.stem
        self.command = [options.limpid, "run", pipeline, "--runs", options.runs,
                        "--set", f"training.epochs={epochs}", "--log", "json", "--threads", "2"]

    def to(self, stage):
        checked([*self.command, "--to", stage])

    def only(self, stage, seed=1, settings=()):
        """One stage again: its output, its receipt, the seconds of the process."""
        sets = [word for setting in (f"seed={seed}", *settings) for word in ("--set", setting)]
        output, seconds = checked([*self.command, "--only", stage, "--force", *sets])
        return output, json.loads((self.folder / stage / "_receipt.json").read_text()), seconds


def ratio(peers, own):
    """Median of the ratios, with the least and the greatest over the rounds."""
    ratios = [peer / own for peer, own in zip(peers, own)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} – {max(ratios):.2f})"


def until(losses, seconds, wanted):
    """Seconds until the end of the first epoch with such a loss; none if there is none."""
    reached = [sum(seconds[:epoch + 1]) for epoch, loss in enumerate(losses) if loss <= wanted]
    return reached[0] if reached else None


def tell(name, seconds):
    """Prints the time of a run to stderr, since the table is printed only at the end."""
    print(f"{statistics.median(seconds):.3f} s an epoch, the first {seconds[0]:.1f} s: {name}", file=sys.stderr, flush=True)


def train(options):
    limpid = Limpid(options, shipped(PIPELINES[options.model]), options.epochs)
    limpid.to("ingest")
    limpid.command += ["--device", options.device, "--fresh"] + [word for setting in options.set for word in ("--set", setting)]
    runs = {name: [] for name in ["limpid", *options.against]}
    for seed in range(1, options.rounds + 1):
        output, receipt, _ = limpid.only("train", seed)
        events = [json.loads(line) for line in output.splitlines() if '"event":"epoch"' in line]
        seconds = [speed["seconds"] for speed in receipt["details"]["speed"]]
        runs["limpid"].append((seconds, [(event["train-loss"], event["test-loss"]) for event in events]))
        tell("limpid", seconds)
        for command in options.against:
            epochs = EPOCH.findall(checked(shlex.split(command.replace("{seed}", str(seed))))[0])
            if not epochs:
                sys.exit(f"{command} printed no line `epoch N: S s, train T, test U`")
            seconds = [float(seconds) for _, seconds, _, _ in epochs]
            runs[command].append((seconds, [(float(train), float(test)) for _, _, train, test in epochs]))
            tell(command, seconds)
    wanted = options.until
    print(f"{options.model}, {options.rounds} rounds:\n")
    more = "" if wanted is None else f" seconds to a training loss of {wanted} |"
    print(f"| | seconds an epoch | peer / limpid (least – greatest) | epochs | last training loss | last test loss |{more}")
    print("|---|---|---|---|---|---|" + ("" if wanted is None else "---|"))
    own = [statistics.median(seconds) for seconds, _ in runs["limpid"]]
    for name, results in runs.items():
        each = [statistics.median(seconds) for seconds, _ in results]
        train_loss, test_loss = zip(*(losses[-1] for _, losses in results))
        against = "" if name == "limpid" else ratio(each, own)
        words = " ".join(pathlib.Path(word).name if "/" in word else word for word in shlex.split(name))
        line = (f"| {words} | {statistics.median(each):.3f} | {against} | {len(results[0][0])} | {statistics.mean(train_loss):.5f} "
                f"| {statistics.mean(test_loss):.5f} |")
        if wanted is not None:
            reached = [until([train for train, _ in losses], seconds, wanted) for seconds, losses in results]
            line += " never |" if None in reached else f" {statistics.median(reached):.1f} |"
        print(line, flush=True)


def pictures(options):
    print("| model | pictures | limpid, s | PyTorch, s | PyTorch / limpid (least – greatest) | training losses |")
    print("|---|---|---|---|---|---|")
    pixels = options.megapixels * 1e6
    for model, side in [(model, side) for model in options.models for side in (options.side if model in MODELS else [64])]:
        if model in MODELS:
            count, pipeline = round(pixels / side ** 2), options.runs / f"{model}-{side}.toml"
            pipeline.write_text(f"[source]\nscenes = {{ train = {count}, test = 2, size = [{side}, {side}], colour = true }}\n"
                                f"[corruption]\ngaussian = {{ std = 0.1 }}\n[model]\n{MODELS[model]}\n"
                                "[training]\ninput = \"noisy\"\nbatch-size = 16\n")
            what, more = f"{count} of {side}×{side}", []
        else:
            what, count, pipeline = "patches of 64×64", round(pixels / 180 ** 2), shipped("photo-denoise")
            more = ["--set", f"source.scenes.train={count}", "--set", "source.scenes.test=2"]
        print(f"| {model} | {what} | {beside_torch(options, pipeline, more)} |", flush=True)


def ready(options):
    print("| pipeline | limpid, s | PyTorch, s | PyTorch / limpid (least – greatest) | training losses |")
    print("|---|---|---|---|---|")
    for name in options.pipelines:
        print(f"| `{name}` | {beside_torch(options, shipped(name), [])} |", flush=True)


def beside_torch(options, pipeline, more):
    """The columns of a pipeline's training beside that of the same model in PyTorch: seconds of an epoch, their ratio, losses."""
    limpid = Limpid(options, pipeline, options.epochs)
    limpid.command += more
    limpid.to("ingest")
    limpid.command.append("--fresh")
    runs = []
    for seed in range(1, options.rounds + 1):
        output, receipt, _ = limpid.only("train", seed)
        own = [speed["seconds"] for speed in receipt["details"]["speed"]]
        losses = [json.loads(line)["train-loss"] for line in output.splitlines() if '"event":"epoch"' in line]
        tell(f"{pipeline.stem}, limpid", own)
        command = [options.python, HERE / "peers/torch_pictures.py", limpid.folder, "--epochs", options.epochs, "--seed", seed]
        peer, peer_losses = zip(*(map(float, epoch) for epoch in EPOCH_OF_PICTURES.findall(checked(command)[0])))
        tell(f"{pipeline.stem}, PyTorch", peer)
        runs.append((statistics.median(own), statistics.median(peer), losses[-1], peer_losses[-1]))
    own, peer, *losses = zip(*runs)
    told = " / ".join(f"{statistics.mean(each):.5f}" for each in losses)
    return f"{statistics.median(own):.2f} | {statistics.median(peer):.2f} | {ratio(peer, own)} | {told}"


def devices(options):
    print("| model | epochs | device | images/s | last training loss | last test loss |\n|---|---|---|---|---|---|")
    for model in options.models:
        limpid = Limpid(options, shipped(PIPELINES[model]), options.epochs)
        limpid.to("ingest")
        limpid.command += [word for setting in options.set for word in ("--set", setting)]
        command, runs = limpid.command, {device: [] for device in options.devices}
        for seed in range(1, options.rounds + 1):
            for device in options.devices:
                limpid.command = [*command, "--device", device, "--fresh"]
                output, receipt, _ = limpid.only("train", seed)
                last = [json.loads(line) for line in output.splitlines() if '"event":"epoch"' in line][-1]
                # Without the first epoch, if there are others: in it images are uploaded and kernels compiled.
                speeds = [speed["images-per-second"] for speed in receipt["details"]["speed"]]
                rate = statistics.median(speeds[1:] or speeds)
                runs[device].append((rate, last["train-loss"], last["test-loss"]))
        for device, results in runs.items():
            rate, train_loss, test_loss = zip(*results)
            print(f"| {model} | {options.epochs} | {device} | {statistics.median(rate):,.0f} | {statistics.mean(train_loss):.5f} "
                  f"| {statistics.mean(test_loss):.5f} |", flush=True)


def stages(options, limpid, works):
    """Times works (name, stage with settings, peer's command) and prints the table."""
    runs = {name: [] for name, _, _ in works}
    for _ in range(options.rounds):
        stages = dict.fromkeys(stage for _, stage, _ in works)
        own = {(stage, *settings): limpid.only(stage, settings=settings)[1:] for stage, *settings in stages}
        for name, stage, command in works:
            output, process = checked(command)
            inside = float(re.search(r"seconds ([\d.]+)", output)[1])
            receipt, own_process = own[stage]
            runs[name].append((receipt["seconds"], inside, own_process, process))
    print(f"70,000 images, Parquet to Parquet, {options.rounds} rounds:\n")
    print("| | limpid, s | peer, s | peer / limpid (least – greatest) | whole processes, s | ratio of these |")
    print("|---|---|---|---|---|---|")
    for name, results in runs.items():
        own, peer, own_process, process = zip(*results)
        median = statistics.median
        print(f"| {name} | {median(own):.2f} | {median(peer):.2f} | {ratio(peer, own)} | {median(own_process):.2f} and "
              f"{median(process):.2f} | {ratio(process, own_process)} |", flush=True)


def same(own, peer, column, tolerance):
    """Checks that two folders of tables hold the same rows and, up to a difference, the same numbers."""
    import numpy as np
    import pyarrow.parquet as pq
    for path in sorted(own.glob("*.parquet")):
        tables = [pq.read_table(folder / path.name) for folder in (own, peer)]
        ids, labels = ([table[name].to_numpy() for table in tables] for name in ("id", "label"))
        if not (np.array_equal(*ids) and np.array_equal(*labels)):
            sys.exit(f"{path} and its peer have other rows")
        values = [table[column].combine_chunks() for table in tables]
        values = [np.asarray(v.flatten() if hasattr(v, "flatten") else v, dtype=np.float64) for v in values]
        difference = np.abs(values[0] - values[1]).max()
        if not difference <= tolerance:
            sys.exit(f"{path}: {column} differs by {difference} from the peer's")
        print(f"{path.parent.name}/{path.name}: {column} agrees to {difference:.1e}", file=sys.stderr)


def infer(options):
    limpid = Limpid(options, shipped(PIPELINES["denoise"]), 1)
    limpid.to("denoise")
    script, models = HERE / "peers/onnx_infer.py", options.runs / "onnx"
    python = [sys.executable, script]
    checked([*python, "build", limpid.folder, models])
    works = []
    for stage in ("encode", "denoise"):
        out = options.runs / "onnx" / stage
        command = [*python, stage, limpid.folder, models, out]
        checked(command)
        same(limpid.folder / stage, out, "error", 1e-4)
        # A pixel between two bytes may be rounded to either.
        column, tolerance = ("code", 1e-4) if stage == "encode" else ("image", 1)
        same(limpid.folder / stage, out, column, tolerance)
        lean = [*command[:-1], options.runs / "onnx" / f"{stage}-lean", "--without-error"]
        without = (stage, "encode.error=false") if stage == "encode" else (stage,)
        works += [(f"{stage}, ONNX Runtime, the same columns", (stage,), command),
                  (f"{stage}, ONNX Runtime, without `error`", without, lean)]
    stages(options, limpid, works)


def corrupt(options):
    limpid = Limpid(options, shipped(PIPELINES["denoise"]), 1)
    limpid.to("corrupt")
    command = [sys.executable, HERE / "peers/numpy_corrupt.py", limpid.folder, options.runs / "numpy"]
    checked(command)
    import numpy as np
    import pyarrow.parquet as pq
    for folder in (limpid.folder / "corrupt", options.runs / "numpy"):
        image = pq.read_table(folder / "test-00000-of-00001.parquet")["image"].combine_chunks().flatten().to_numpy()
        print(f"{folder.name}: mean {image.mean():.2f}, black {np.mean(image == 0):.4f}, white {np.mean(image == 255):.4f}",
              file=sys.stderr)
    stages(options, limpid, [("corrupt, numpy", ("corrupt",), command)])


def ingest(options):
    script, folder = HERE / "peers/pillow_ingest.py", options.runs / f"jpeg-{options.images}"
    if not folder.exists():
        checked([sys.executable, script, "make", folder, options.images])
    pipeline = options.runs / "folder.toml"
    pipeline.write_text(f"[source]\nfolder = {{ path = {str(folder)!r} }}\n[model]\ndense = {{}}\n")
    limpid = Limpid(options, pipeline, 1)
    limpid.command += ["--only", "ingest", "--force"]
    runs = {"to an array in memory": [], "to Parquet": []}
    for _ in range(options.rounds):
        seconds = checked(limpid.command)[1]
        runs["to an array in memory"].append((checked([sys.executable, script, "read", folder])[1], seconds))
        runs["to Parquet"].append((checked([sys.executable, script, "table", folder, options.runs / "pillow"])[1], seconds))
    print(f"{options.images} JPEGs of 32×32, whole processes, {options.rounds} rounds:\n")
    print("| a Pillow loop | limpid to Parquet, s | Pillow, s | Pillow / limpid (least – greatest) |\n|---|---|---|---|")
    for name, results in runs.items():
        peer, own = zip(*results)
        print(f"| {name} | {statistics.median(own):.2f} | {statistics.median(peer):.2f} | {ratio(peer, own)} |")
    damaged = options.runs / "damaged"
    if damaged.exists():
        shutil.rmtree(damaged)
    shutil.copytree(folder, damaged)
    output, _ = checked([sys.executable, script, "damage", damaged, 100])
    names = sorted(line for line in output.splitlines() if line.endswith(".jpg"))
    checked([*limpid.command, "--set", f"source.folder.path={damaged}", "--set", "source.folder.on-error=skip"])
    import pyarrow.parquet as pq
    rejected = sorted(pq.read_table(limpid.folder / "ingest/rejected.parquet")["path"].to_pylist())
    print(f"\n{len(names)} damaged files, {len(rejected)} rejected: {'the same' if names == rejected else 'NOT the same'}")


options = arguments()
os.makedirs(options.runs, exist_ok=True)
works = {"train": train, "infer": infer, "corrupt": corrupt, "ingest": ingest, "devices": devices,
         "pictures": pictures, "shipped": ready}
works[options.what](options)
