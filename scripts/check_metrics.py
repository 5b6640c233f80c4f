#!/usr/bin/env python3
"""Computes again, with numpy, scipy, scikit-learn and scikit-image, what `evaluate` wrote for a run, and compares.

    pip install numpy pyarrow scipy scikit-learn scikit-image
    limpid run pipelines/quickstart.toml && scripts/check_metrics.py runs/quickstart

Left out is the untrained encoder, whose weights only limpid can make.

With --fixture it prints the reference values that the tests of src/quality hold instead.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy.ndimage import median_filter
from scipy.special import xlogy
from skimage.metrics import structural_similarity
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

MOST_STEPS = 1000
WINDOW = 11
# Above so many dB, errors come from rounding: limpid computes baselines in float32.
MOST_DECIBELS = 100


def table(run, stage, split):
    return pq.read_table(run / stage / f"{split}-00000-of-00001.parquet")


def lists(table, name):
    column = table[name].combine_chunks()
    values = column.flatten().to_numpy().reshape(len(column), -1)
    return values / 255 if values.dtype == np.uint8 else values.astype(np.float64)


def labels_of(table):
    """The labels; where one is missing, as numbers with NaN."""
    return table["label"].to_numpy()


def decibels(mse):
    """The mean over the MSEs that are not 0; none if all are."""
    mse = np.atleast_1d(mse)
    return -10 * np.log10(mse[mse > 0]).mean() if mse.any() else None


def ssim(made, clean, shape):
    if min(shape[:2]) < WINDOW:
        return None

    def one(a, b):
        return structural_similarity(
            a.reshape(shape), b.reshape(shape), gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False, data_range=1, channel_axis=2,
        )
    return np.mean([one(a, b) for a, b in zip(made, clean)])


def floor(clean):
    return -(xlogy(clean, clean) + xlogy(1 - clean, 1 - clean)).mean()


def image_scores(made, clean, shape):
    p = np.clip(made, 0.5 / 255, 1 - 0.5 / 255)
    mse = ((made - clean) ** 2).mean(axis=1)
    entropy = -(clean * np.log(p) + (1 - clean) * np.log(1 - p)).mean()
    return {
        "mse": mse.mean(),
        "psnr-pooled": decibels(mse.mean()),
        "psnr-mean": decibels(mse),
        "ssim": ssim(made, clean, shape),
        "cross-entropy": entropy,
        "cross-entropy-over-floor": entropy - floor(clean),
    }


def median(image, side, shape):
    """Channel by channel."""
    return median_filter(image.reshape(shape), (side, side, 1), mode="nearest").ravel()


def pca_images(pca, train_input, images):
    codes = (images - train_input.mean(0)) @ pca.components_.T
    return np.clip(codes @ pca.components_ + pca.mean_, 0, 1)


def linear(train, labels, test, truth):
    scaler = StandardScaler().fit(train)
    model = LogisticRegression(C=1.0, tol=1e-5, max_iter=MOST_STEPS).fit(scaler.transform(train), labels)
    return accuracy_score(truth, model.predict(scaler.transform(test)))


def neighbours(train, labels, test, truth):
    model = KNeighborsClassifier(5, algorithm="brute").fit(train.astype(np.float32), labels)
    return accuracy_score(truth, model.predict(test.astype(np.float32)))


def effective_rank(codes):
    values = np.linalg.svd(codes - codes.mean(0), compute_uv=False)
    shares = values / values.sum()
    shares = shares[shares > 1e-7]
    return np.exp(-(shares * np.log(shares)).sum())


def check(run):
    metrics = json.loads((run / "evaluate/metrics.json").read_text())
    settings = json.loads((run / "pipeline.json").read_text())
    fit = settings["evaluate"]["fit-rows"]
    clean, test = (lists(table(run, "ingest", split), "image") for split in ("train", "test"))
    clean = clean[:fit]
    field = pq.read_schema(run / "ingest/test-00000-of-00001.parquet").field("image").metadata
    shape = [int(field[f"limpid.{side}".encode()]) for side in ("height", "width", "channels")]
    noisy = metrics["task"] == "denoising"
    inputs = [lists(table(run, "corrupt", split), "image") for split in ("train", "test")] if noisy else [clean, test]
    inputs[0] = inputs[0][:fit]
    made = table(run, "denoise", "test")
    omitted = {left_out["what"] for left_out in metrics["omitted"]}
    failed = 0

    def compare(name, found, expected, tolerance):
        nonlocal failed
        none = found is None or expected is None
        good = found is expected if none else abs(found - expected) <= tolerance
        failed += not good
        found, expected = ("none" if value is None else f"{value:.6f}" for value in (found, expected))
        print(f"{'ok  ' if good else 'FAIL'} {name:44} limpid {found}  reference {expected}")

    has_code = metrics["code"] is not None
    compare("has a code", has_code, "unet" not in settings["model"], 0)
    compare("is denoising", noisy, settings["corruption"] is not None, 0)
    pca = None
    if has_code and "pca" not in omitted:
        # At most the number of directions that the images span.
        pca = PCA(min(metrics["code"]["size"], clean.shape[1], max(len(clean) - 1, 1)), svd_solver="covariance_eigh").fit(clean)

    def images_of(scores):
        """The images that `scores` are of, computed again."""
        match scores.get("baseline"):
            case None:
                return lists(made, "image")
            case "noisy-input":
                return inputs[1]
            case "constant-mean":
                # Of rows of numbers, the mean of each column.
                return np.full_like(test, clean.mean(0) if shape[:2] == [1, 1] else clean.mean())
            case "median":
                side = int(scores["what"][-1])
                return np.array([median(image, side, shape) for image in inputs[1]])
            case "pca":
                return pca_images(pca, inputs[0], inputs[1])
            case "ridge":
                ridge = Ridge(alpha=1e-4 * len(clean), solver="cholesky").fit(inputs[0], clean)
                return np.clip(ridge.predict(inputs[1]), 0, 1)

    expected = {None, "constant-mean"} | ({"pca"} if has_code else set())
    expected |= {"noisy-input", "median", "ridge"} if noisy else set()
    compare("baselines", {scores.get("baseline") for scores in metrics["scores"]} == expected - omitted, True, 0)
    compare("cross-entropy floor", metrics["cross-entropy-floor"], floor(test), 2e-5)
    for scores in metrics["scores"]:
        for metric, value in image_scores(images_of(scores), test, shape).items():
            found, tolerance = scores[metric], 2e-5
            if metric.startswith("psnr"):
                tolerance = 1e-3
                found, value = (None if one is None else min(one, MOST_DECIBELS) for one in (found, value))
            compare(f"{scores['what']}: {metric}", found, value, tolerance)
    columns = pq.read_table(run / "ingest/columns.parquet").to_pylist() if shape[:2] == [1, 1] else []
    for at, (score, column) in enumerate(zip(metrics.get("columns", []), columns, strict=True)):
        squared = ((lists(made, "image")[:, at] - test[:, at]) ** 2).mean(dtype=np.float64)
        rmse = squared**0.5 * (column["one"] - column["zero"])
        compare(f"{score['column']}: rmse", score["rmse"], rmse, 1e-5 * max(rmse, 1e-9))
        variance = test[:, at].var(dtype=np.float64)
        compare(f"{score['column']}: r2", score["r2"], 1 - squared / variance if variance > 1e-12 else None, 1e-5)
    labels, ids = labels_of(made), made["id"].to_numpy()
    errors = ((lists(made, "image") - test) ** 2).mean(1)
    for scores in metrics["classes"]:
        found = scores["scores"][0]["psnr-pooled"]
        compare(f"class {scores['class']}: psnr-pooled", found, decibels(errors[labels == scores["class"]].mean()), 1e-3)
    order = np.argsort(errors, kind="stable")
    compare("best ids", [image["id"] for image in metrics["best"]] == list(ids[order[:10]]), True, 0)
    compare("worst ids", {image["id"] for image in metrics["worst"]} == set(ids[order[-10:]]), True, 0)
    if metrics["anomaly"]:
        held_out, known = np.isin(labels, metrics["anomaly"]["classes"]), ~np.isnan(labels)
        auroc = roc_auc_score(held_out[known], made["error"].to_numpy()[known])
        compare("anomaly auroc", metrics["anomaly"]["auroc"], auroc, 1e-9)
    if has_code:
        check_code(run, metrics, settings, labels, pca, compare)
    rows = pq.read_table(run / "evaluate/metrics.parquet").to_pylist()
    first = metrics["scores"][0]
    row = next(row for row in rows if row["what"] == first["what"] and row["metric"] == "mse" and row["class"] is None)
    compare("metrics.parquet: mse", row["value"], first["mse"], 0)
    print(f"{failed} of these differ" if failed else "all agree")
    return failed


def check_code(run, metrics, settings, labels, pca, compare):
    """Checks the metrics that need a code: its statistics, and the classifiers on features."""
    fit = settings["evaluate"]["fit-rows"]
    codes = [lists(table(run, "encode", split), "code") for split in ("train", "test")]
    if metrics["code"]["effective-rank"] is not None:
        compare("effective rank", metrics["code"]["effective-rank"], effective_rank(codes[1]), 1e-2)
    compare("dead units", metrics["code"]["dead-units"], (np.ptp(codes[1], axis=0) == 0).sum(), 0)
    compare("mean activation", metrics["code"]["mean-activation"], codes[1].mean(), 1e-4)
    compare("zeros", metrics["code"]["zeros"], (codes[1] == 0).mean(), 1e-9)
    if not metrics["probes"]:
        return
    encoded = "corrupt" if settings["encode"]["input"] == "noisy" else "ingest"
    raw = [lists(table(run, encoded, split), "image") for split in ("train", "test")]
    train_labels = labels_of(table(run, "ingest", "train"))[:fit]
    used = [np.flatnonzero(~np.isnan(train_labels)), np.flatnonzero(np.isin(labels[:fit], train_labels))]
    known, truth = train_labels[used[0]], labels[used[1]]
    # Where the objective is flat, two fits with the same stopping rule differ: 30 of 10,000 images may differ, 12 of 1,000.
    tolerance = 2e-3 + 10 / len(truth)
    for probe in metrics["probes"]["features"]:
        match probe["kind"]:
            case "codes":
                features = codes
            case "pca":
                features = [pca.transform(images) for images in raw]
            case "pixels":
                features = raw
            case "untrained":
                print(f"left {probe['what']}")
                continue
        train, test = (rows[wanted] for rows, wanted in zip(features, used))
        compare(f"{probe['what']}: linear", probe["linear-accuracy"], linear(train, known, test, truth), tolerance)
        compare(f"{probe['what']}: neighbours", probe["neighbours-accuracy"], neighbours(train, known, test, truth), 5e-4)


def fixture():
    """The reference values for the data of src/quality/reference_tests.rs, which the same formulas give."""
    count, width = 300, 12
    index = np.arange(count * width, dtype=np.int64)
    rows = ((index * index * 7919 + index * 104729) % 10007 / 10007).reshape(count, width).astype(np.float32)
    labels = np.arange(count) % 3
    rows[:, 0] += 0.35 * labels
    rows[:, 1] -= 0.25 * (labels == 2)
    rows = np.asarray(rows, dtype=np.float32).astype(np.float64)
    train, test = rows[:200], rows[200:]
    known, truth = labels[:200], labels[200:]
    pca = PCA(3, svd_solver="covariance_eigh").fit(train)
    print("pca mse", ((pca.inverse_transform(pca.transform(test)) - test) ** 2).mean())
    print("shifted pca mse", (((test - 0.5 - (train.mean(0) - 0.5)) @ pca.components_.T @ pca.components_ + pca.mean_ - test) ** 2).mean())
    target = np.roll(train, 1, axis=1)
    ridge = Ridge(alpha=1e-4 * len(train), solver="cholesky").fit(train[:, :6], target)
    print("ridge mse", ((ridge.predict(test[:, :6]) - np.roll(test, 1, axis=1)) ** 2).mean())
    scaler = StandardScaler().fit(train)
    model = LogisticRegression(C=1.0, tol=1e-8, max_iter=2000).fit(scaler.transform(train), known)
    print("linear accuracy", model.score(scaler.transform(test), truth))
    weights = np.square(model.coef_).sum() / 2 / len(train)
    print("linear objective", log_loss(known, model.predict_proba(scaler.transform(train))) + weights)
    print("neighbours accuracy", KNeighborsClassifier(5, algorithm="brute").fit(train, known).score(test, truth))
    print("effective rank", effective_rank(train))
    image = (np.arange(7 * 6) * 37 % 101 / 100).reshape(7, 6)
    for side in (3, 5):
        filtered = median_filter(image, side, mode="nearest")
        print(f"median {side}: weighted sum", (filtered.ravel() * np.arange(42)).sum())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--fixture", action="store_true")
    arguments = parser.parse_args()
    if arguments.fixture:
        fixture()
    elif arguments.run:
        sys.exit(check(arguments.run) > 0)
    else:
        parser.error("name a run directory, or --fixture")
