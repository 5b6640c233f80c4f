#!/usr/bin/env python3
"""Computes the operations of src/kernel with PyTorch: the reference values of its tests.

usage: kernel_reference.py [tests/fixtures/kernel_reference.safetensors]        needs torch and numpy

Values and all gradients are computed by PyTorch's own operators in double precision and rounded to float32 at the end, so
that differences come from the kernels. Inputs are float32 numbers from a formula (`number`), which
src/kernel/reference_tests.rs repeats: the file holds outputs only. Each is stored as its projection on a vector of the
same formula, which depends on every number, followed by at most 200 of its numbers at equal distances. A case is named
`operation sizes … activation`; the sizes are the arguments of the operation.
"""

import json
import pathlib
import struct
import sys

import numpy as np
import torch
import torch.nn.functional as F

SAMPLES = 200
ADAM_STEPS, ADAM_PARTS, ADAM_RATE = 5, 3, 1e-2


def number(stream, count):
    """Numbers in [-1, 1) with 24 bits, from a hash of (stream, index): the same on every machine."""
    with np.errstate(over="ignore"):
        x = (np.arange(count, dtype=np.uint32) + np.uint32(1_000_003) * np.uint32(stream)) * np.uint32(0x9E37_79B1)
        x = (x ^ (x >> np.uint32(15))) * np.uint32(0x85EB_CA6B)
        x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2_AE35)
        x ^= x >> np.uint32(16)
    return (x >> np.uint32(8)).astype(np.float64) / 2**23 - 1


def tensor(stream, *shape):
    return torch.from_numpy(number(stream, int(np.prod(shape)))).reshape(shape)


def stored(values):
    """The projection of the numbers, then every n-th of them."""
    values = values.detach().contiguous().flatten().numpy()
    step = -(-len(values) // SAMPLES)
    return np.concatenate([[values @ number(9, len(values))], values[::step]]).astype(np.float32)


results = {}


def layer(name, x, weight, function):
    """Value and gradients of a layer, for a loss that is a weighted sum of its outputs; images are channels last."""
    for activation in ("identity", "relu"):
        inputs = [tensor(1, *x), tensor(2, *weight), tensor(3, weight[0])]
        inputs = [part.requires_grad_() for part in inputs]
        y = function(*inputs)
        y = F.relu(y) if activation == "relu" else y
        if name.startswith("convolution-max-pool"):
            y = F.max_pool2d(y.permute(0, 3, 1, 2), 2, ceil_mode=True).permute(0, 2, 3, 1)
        (y * tensor(4, *y.shape)).sum().backward()
        case = f"{name} {activation}"
        parts = dict(zip(("value", "input", "weight", "bias"), [y, *(part.grad for part in inputs)]))
        results.update({f"{case}/{part}": stored(values) for part, values in parts.items()})


def convolution(x, weight, bias):
    return F.conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=1).permute(0, 2, 3, 1)


for n, i, o in [(1, 1, 1), (3, 784, 32), (4, 32, 784), (7, 33, 5), (25, 64, 33)]:
    layer(f"linear {n} {i} {o}", (n, i), (o, i), F.linear)

for n, h, w, i, o in [
    (1, 1, 1, 1, 1), (2, 7, 5, 1, 16), (1, 2, 3, 3, 3), (1, 14, 14, 16, 8), (1, 9, 6, 33, 12), (1, 8, 11, 64, 33),
    (2, 7, 7, 32, 1), (1, 6, 5, 5, 64),
]:
    layer(f"convolution {n} {h} {w} {i} {o}", (n, h, w, i), (o, i, 3, 3), convolution)
    layer(f"convolution-max-pool {n} {h} {w} {i} {o}", (n, h, w, i), (o, i, 3, 3), convolution)

for n, h, w, i, o, high, wide in [
    (1, 1, 1, 1, 1, 1, 1), (1, 1, 1, 2, 3, 2, 2), (2, 4, 4, 8, 8, 7, 7), (1, 3, 8, 33, 12, 6, 15), (1, 7, 2, 16, 64, 13, 4),
    (1, 7, 7, 64, 33, 14, 14), (2, 4, 5, 16, 1, 7, 10),
]:
    def upsampled(x, weight, bias):
        large = F.interpolate(x.permute(0, 3, 1, 2), size=(high, wide), mode="nearest")
        return convolution(large.permute(0, 2, 3, 1), weight, bias)
    layer(f"upsample-convolution {n} {h} {w} {i} {o} {high} {wide}", (n, h, w, i), (o, i, 3, 3), upsampled)

for n, pixels in [(1, 1), (2, 17), (3, 784)]:
    for name, loss in {
        "cross-entropy": lambda z, x: F.binary_cross_entropy_with_logits(z, x, reduction="sum"),
        "squared-error": lambda z, x: F.mse_loss(z.sigmoid(), x, reduction="sum"),
    }.items():
        logits = (8 * tensor(1, n, pixels)).requires_grad_()
        value = loss(logits, (tensor(2, n, pixels) + 0.5).clamp(0, 1))
        value.backward()
        results[f"{name} {n} {pixels}/value"] = stored(value)
        results[f"{name} {n} {pixels}/input"] = stored(logits.grad)

for count in (1, 255, 1000):
    parameter = tensor(1, count).requires_grad_()
    optimizer = torch.optim.Adam([parameter], lr=ADAM_RATE, eps=1e-8)
    for step in range(ADAM_STEPS):
        parameter.grad = sum(tensor(10 + ADAM_PARTS * step + part, count) for part in range(ADAM_PARTS))
        optimizer.step()
    moments = optimizer.state[parameter]
    for part, values in {"value": parameter, "first": moments["exp_avg"], "second": moments["exp_avg_sq"]}.items():
        results[f"adam {count}/{part}"] = stored(values)

# The safetensors format: the length of the header, the header, the numbers.
header, offset = {"__metadata__": {"made-by": f"PyTorch {torch.__version__.split('+')[0]}, scripts/kernel_reference.py"}}, 0
for name, values in results.items():
    header[name] = {"dtype": "F32", "shape": [len(values)], "data_offsets": [offset, offset + values.nbytes]}
    offset += values.nbytes
text = json.dumps(header, separators=(",", ":")).encode()
text += b" " * (-len(text) % 8)
default = pathlib.Path(__file__).parent.parent / "tests/fixtures/kernel_reference.safetensors"
path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(values.astype("<f4").tobytes() for values in results.values()))
print(f"{path}: {len(results)} results, {path.stat().st_size} bytes")
