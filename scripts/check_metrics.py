#!/usr/bin/env python3
"""Computes again, with numpy, scipy, scikit-learn and scikit-image, what `evaluate` wrote for a run, and compares.

    pip install numpy pyarrow scipy scikit-learn scikit-image
    limpid run pipelines/quickstart.toml && scripts/check_metrics.py runs/quickstart

With --fixture it prints the reference values that the tests of src/quality hold instead.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy.ndimage import median_filter
from skimage.metrics import structural_similarity
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

MOST_STEPS = 200


def table(run, stage, split):
    return pq.read_table(run / stage / f"{split}-00000-of-00001.parquet")


def lists(table, name):
    column = table[name].combine_chunks()
    values = column.flatten().to_numpy().reshape(len(column), -1)
    return values / 255 if values.dtype == np.uint8 else values.astype(np.float64)


def decibels(mse):
    return -10 * np.log10(mse)


def ssim(made, clean, shape):
    def one(a, b):
        return structural_similarity(
            a.reshape(shape), b.reshape(shape), gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False, data_range=1,
        )
    return np.mean([one(a, b) for a, b in zip(made, clean)])


def image_scores(made, clean, shape):
    p = np.clip(made, 0.5 / 255, 1 - 0.5 / 255)
    mse = ((made - clean) ** 2).mean(axis=1)
    return {
        "mse": mse.mean(),
        "psnr-pooled": decibels(mse.mean()),
        "psnr-mean": decibels(mse[mse > 0]).mean(),
        "ssim": ssim(made, clean, shape),
        "cross-entropy": -(clean * np.log(p) + (1 - clean) * np.log(1 - p)).mean(),
    }


def pca_images(train, train_input, images, size):
    pca = PCA(size, svd_solver="covariance_eigh").fit(train)
    codes = (images - train_input.mean(0)) @ pca.components_.T
    return np.clip(codes @ pca.components_ + pca.mean_, 0, 1), pca


def linear(train, labels, test, truth):
    scaler = StandardScaler().fit(train)
    model = LogisticRegression(C=1.0, tol=1e-4, max_iter=MOST_STEPS).fit(scaler.transform(train), labels)
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
    shape = [int(field[f"limpid.{side}".encode()]) for side in ("height", "width")]
    noisy = (run / "corrupt").exists() and metrics["task"] == "denoising"
    inputs = [lists(table(run, "corrupt", split), "image") for split in ("train", "test")] if noisy else [clean, test]
    inputs[0] = inputs[0][:fit]
    made = table(run, "denoise", "test")
    size = metrics["code"]["size"]
    failed = 0

    def compare(name, found, expected, tolerance):
        nonlocal failed
        good = abs(found - expected) <= tolerance
        failed += not good
        print(f"{'ok  ' if good else 'FAIL'} {name:44} limpid {found:.6f}  reference {expected:.6f}")

    sets = {metrics["scores"][0]["what"]: lists(made, "image"), "constant mean": np.full_like(test, clean.mean())}
    pca_set, pca = pca_images(clean, inputs[0], inputs[1], size)
    sets[f"PCA {size}"] = pca_set
    if noisy:
        sets["noisy input"] = inputs[1]
        for side in (3, 5):
            filtered = [median_filter(image.reshape(shape), side, mode="nearest").ravel() for image in inputs[1]]
            sets[f"median {side}×{side}"] = np.array(filtered)
        ridge = Ridge(alpha=1e-4 * len(clean), solver="cholesky").fit(inputs[0], clean)
        sets["ridge"] = np.clip(ridge.predict(inputs[1]), 0, 1)
    labels = np.array(made["label"].to_pylist())
    for scores in metrics["scores"]:
        reference = image_scores(sets[scores["what"]], test, shape)
        for metric, value in reference.items():
            compare(f"{scores['what']}: {metric}", scores[metric], value, 1e-3 if "psnr" in metric else 2e-5)
    for scores in metrics["classes"]:
        rows = labels == scores["class"]
        mse = ((sets[metrics["scores"][0]["what"]][rows] - test[rows]) ** 2).mean()
        compare(f"class {scores['class']}: psnr-pooled", scores["scores"][0]["psnr-pooled"], decibels(mse), 1e-3)
    order = np.argsort(((sets[metrics["scores"][0]["what"]] - test) ** 2).mean(1), kind="stable")
    compare("best ids", [image["id"] for image in metrics["best"]] == list(order[:10]), True, 0)
    compare("worst ids", {image["id"] for image in metrics["worst"]} == set(order[-10:]), True, 0)

    codes = [lists(table(run, "encode", split), "code") for split in ("train", "test")]
    compare("effective rank", metrics["code"]["effective-rank"], effective_rank(codes[1]), 1e-2)
    compare("dead units", metrics["code"]["dead-units"], (np.ptp(codes[1], axis=0) == 0).sum(), 0)
    compare("mean activation", metrics["code"]["mean-activation"], codes[1].mean(), 1e-4)
    compare("zeros", metrics["code"]["zeros"], (codes[1] == 0).mean(), 1e-9)
    if metrics["anomaly"]:
        held_out = np.isin(labels, metrics["anomaly"]["classes"])
        compare("anomaly auroc", metrics["anomaly"]["auroc"], roc_auc_score(held_out, made["error"].to_numpy()), 1e-9)
    if metrics["probes"]:
        encoded = "corrupt" if settings["encode"]["input"] == "noisy" else "ingest"
        raw = [lists(table(run, encoded, split), "image") for split in ("train", "test")]
        train_labels = np.array(table(run, "ingest", "train")["label"].to_pylist())
        used = [slice(fit), np.isin(labels, train_labels) & (np.arange(len(labels)) < fit)]
        features = {"codes": codes, f"PCA {size}": [pca.transform(images) for images in raw], "pixels": raw}
        for probe in metrics["probes"]["features"]:
            if probe["what"] not in features:
                continue
            (train, tested), (known, truth) = features[probe["what"]], (train_labels[used[0]], labels[used[1]])
            train, tested = train[used[0]], tested[used[1]]
            compare(f"{probe['what']}: linear", probe["linear-accuracy"], linear(train, known, tested, truth), 3e-3)
            compare(f"{probe['what']}: neighbours", probe["neighbours-accuracy"], neighbours(train, known, tested, truth), 5e-4)
    rows = pq.read_table(run / "evaluate/metrics.parquet").to_pylist()
    first = metrics["scores"][0]
    row = next(row for row in rows if row["what"] == first["what"] and row["metric"] == "mse" and row["class"] is None)
    compare("metrics.parquet: mse", row["value"], first["mse"], 0)
    print(f"{failed} of these differ" if failed else "all agree")
    return failed


def fixture():
    """The data of the tests in src/quality/reference_tests.rs, by the same formulas, and what the references make of it."""
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
