#!/usr/bin/env python3
"""Compares limpid's results with those of the same models in ONNX Runtime and PyTorch, on 1,000 test images per model; and those of models
of patches with ONNX Runtime's, on pictures of several sizes.

usage: check_models.py [--limpid PATH]

Needs numpy, onnx, onnxruntime, pyarrow, torch, safetensors. Prints a Markdown table of the largest absolute differences and
exits with 1 if one is above 1e-5.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
import pyarrow.parquet as pq
import torch

import limpid_torch

HERE = pathlib.Path(__file__).resolve().parent
TOLERANCE = 1e-5
MODELS = {
    "dense": ("dense = { code = 32 }", "false"),
    "dense, hidden layers, linear code": ("dense = { hidden = [128, 64], code = 16, code-activation = \"linear\" }", "false"),
    "dense, colour": ("dense = { hidden = [64], code = 32 }", "true"),
    "conv": ("conv = { channels = [16, 8, 8] }", "false"),
    "conv, five poolings (28 to 1)": ("conv = { channels = [8, 8, 8, 8, 8] }", "false"),
    "conv, dense code": ("conv = { channels = [16, 8], code = 32 }", "false"),
    "conv, ReLU code, another decoder, colour":
        ("conv = { channels = [8, 16], decoder-channels = [12, 6], code = 20, code-activation = \"relu\" }", "true"),
    "conv, residual blocks, dense code": ("conv = { channels = [8, 16, 12], residual-blocks = 2, code = 32 }", "false"),
    "U-Net": ("unet = { channels = [8, 12, 16] }", "false"),
    "U-Net, four poolings, no residual blocks, colour":
        ("unet = { channels = [4, 6, 8, 10, 12], residual-blocks = 0 }", "true"),
    "U-Net that predicts noise": ("unet = { channels = [8, 12] }\nloss = \"mse\"\npredict = \"noise\"", "false"),
}
PATCHES = {
    "U-Net": "unet = { channels = [8, 12, 16] }",
    "U-Net that predicts noise, unshuffled": "unet = { channels = [8, 12], unshuffle = true }\nloss = \"mse\"\npredict = \"noise\"",
    "conv": "conv = { channels = [8, 8, 6], residual-blocks = 1 }",
}
SIZES = [(45, 37), (32, 64), (19, 50), (101, 75)]

parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].split("\n\n")[0])
parser.add_argument("--limpid", default=HERE.parent / "target/release/limpid", type=pathlib.Path)
limpid = parser.parse_args().limpid.resolve()


def column(path, name):
    values = pq.read_table(path, columns=[name])[name].combine_chunks()
    return values.flatten().to_numpy().reshape(len(values), -1)


def session(run, part):
    path = run.parent / f"{part}.onnx"
    subprocess.run([limpid, "export", run, "--onnx", path, "--part", part], check=True, stdout=subprocess.DEVNULL)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


worst = 0.0
print(f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}, torch {torch.__version__}\n")
print("| model | ONNX code | ONNX image | encoder + decoder | PyTorch code | PyTorch image |\n|---|---|---|---|---|---|")
for name, (model, colour) in MODELS.items():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        noisy = "input = \"noisy\"\n[corruption]\ngaussian = { std = 0.3 }\n" if "predict" in model else ""
        (folder / "check.toml").write_text(
            f"[source]\nstrokes = {{ train = 2000, test = 1000, colour = {colour} }}\n[model]\n{model}\n"
            f"[training]\nepochs = 2\nbatch-size = 50\n{noisy}[output]\npixels = \"f32\"\n[gate]\nbaselines = []\n")
        subprocess.run([limpid, "run", folder / "check.toml", "--runs", folder, "--to", "denoise", "--log", "lines"], check=True,
                       capture_output=True)
        run, file = folder / "check", "test-00000-of-00001.parquet"
        images = column(run / ("corrupt" if noisy else "ingest") / file, "image")
        images = images if images.dtype == np.float32 else images.astype(np.float32) / np.float32(255)
        image = column(run / "denoise" / file, "image")
        difference = lambda made, own: float(np.abs(np.asarray(made) - own).max())
        has_code = not model.startswith("unet")
        whole, module = session(run, "whole"), limpid_torch.load(run)
        row = [None, difference(whole.run(["image"], {"images": images})[0], image), None, None]
        with torch.no_grad():
            row.append(difference(module(torch.from_numpy(images)), image))
            if has_code:
                code, encoder, decoder = column(run / "encode" / file, "code"), session(run, "encoder"), session(run, "decoder")
                row[0] = difference(whole.run(["code"], {"images": images})[0], code)
                (decoded,) = decoder.run(["image"], {"code": encoder.run(["code"], {"images": images})[0]})
                row[2], row[3] = difference(decoded, image), difference(module.encode(torch.from_numpy(images)), code)
        worst = max(worst, *(value for value in row if value is not None))
        print(f"| {name} | " + " | ".join("none" if value is None else f"{value:.1e}" for value in row) + " |", flush=True)
print("\n| model of patches | " + " | ".join(f"{rows}×{columns}" for rows, columns in SIZES) + " |\n|---|" + "---|" * len(SIZES))
for name, model in PATCHES.items():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "check.toml").write_text(
            f"[source]\nscenes = {{ train = 100, test = 20, size = [40, 40], colour = true }}\n[model]\n{model}\n[training]\n"
            "epochs = 2\npatch = 16\ninput = \"noisy\"\n[corruption]\ngaussian = { std = 0.1 }\n[output]\npixels = \"f32\"\n[gate]\nbaselines = []\n")
        subprocess.run([limpid, "run", folder / "check.toml", "--runs", folder, "--to", "train", "--log", "lines"], check=True,
                       capture_output=True)
        whole, row = session(folder / "check", "whole"), []
        for rows, columns in SIZES:
            images = np.random.default_rng(rows).random((2, rows, columns, 3), dtype=np.float32)
            np.save(folder / "images.npy", images)
            subprocess.run([limpid, "denoise", folder / "check", folder / "images.npy", "-o", folder / f"{rows}", "--log", "lines"],
                           check=True, capture_output=True)
            own = column(folder / f"{rows}" / "images.parquet", "image")
            row.append(float(np.abs(whole.run(["image"], {"images": images})[0].reshape(own.shape) - own).max()))
        worst = max(worst, *row)
        print(f"| {name} | " + " | ".join(f"{value:.1e}" for value in row) + " |", flush=True)
print(f"\nlargest difference {worst:.1e}, allowed {TOLERANCE:.0e}")
sys.exit(worst > TOLERANCE)
