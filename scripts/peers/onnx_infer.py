#!/usr/bin/env python3
"""limpid's stages `encode` and `denoise` with ONNX Runtime and pyarrow, for a run with a convolutional model.

usage: onnx_infer.py build RUN MODELS             makes encoder.onnx and whole.onnx of limpid's weights; needs onnx, numpy
       onnx_infer.py encode|denoise RUN MODELS OUT [--without-error]

Writes the columns that limpid writes; `--without-error` leaves out the reconstruction errors and, for `encode`, therefore
the decoder. Prints the seconds from after the imports to the end of the last file.
"""

import argparse
import json
import pathlib
import struct
import time

import numpy as np

import tables

# Images that go through the model at once: of 10 to 1000 the fastest on two cores, where 1000 takes 1.3 times as long.
IMAGES = 100

a = argparse.ArgumentParser()
a.add_argument("action", choices=["build", "encode", "denoise"])
a.add_argument("run", type=pathlib.Path)
a.add_argument("models", type=pathlib.Path)
a.add_argument("out", type=pathlib.Path, nargs="?")
a.add_argument("--without-error", action="store_true")
a = a.parse_args()


def safetensors(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    body = data[8 + length:]
    return {name: np.frombuffer(body[slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"])
            for name, entry in header.items()}


def build():
    """Images `[n, pixels]` to `code`, and to `code` and `image`; channels first inside, as ONNX Runtime likes them."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    description = json.loads((a.run / "train/model.json").read_text())
    height, width, channels = (description["image"][side] for side in ("height", "width", "channels"))
    conv = description["architecture"]["conv"]
    assert conv["code"] is None, "only models whose code is the feature map"
    weights = safetensors(a.run / "train" / description["weights"])
    nodes, constants = [], [numpy_helper.from_array(value.copy(), name) for name, value in weights.items()]

    def constant(name, values):
        constants.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def node(kind, inputs, output, **attributes):
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def convolved(x, name):
        return node("Conv", [x, f"{name}.weight", f"{name}.bias"], f"{name}.conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1])

    sizes = [[height, width]]
    x = node("Reshape", ["images", constant("nhwc", [-1, height, width, channels])], "nhwc-images")
    x = node("Transpose", [x], "nchw-images", perm=[0, 3, 1, 2])
    for k in range(len(conv["channels"])):
        x = node("Relu", [convolved(x, f"encoder.{k}")], f"encoder.{k}.relu")
        x = node("MaxPool", [x], f"encoder.{k}.pool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
        sizes.append([-(-side // 2) for side in sizes[-1]])
    (high, wide), maps = sizes[-1], conv["channels"][-1]
    code = node("Transpose", [x], "nhwc-code", perm=[0, 2, 3, 1])
    node("Reshape", [code, constant("flat", [-1, high * wide * maps])], "code")
    numbers = lambda name, size: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
    pixels = height * width * channels
    images, code = numbers("images", pixels), numbers("code", high * wide * maps)

    # Separate graphs, since ONNX Runtime computes a whole graph, whichever outputs are requested.
    def save(name, outputs):
        used = {name for node in nodes for name in node.input}
        graph = helper.make_graph(nodes, "limpid", [images], outputs, [c for c in constants if c.name in used])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)
        onnx.checker.check_model(model)
        onnx.save(model, a.models / name)

    a.models.mkdir(parents=True, exist_ok=True)
    save("encoder.onnx", [code])
    for k, size in enumerate(reversed(sizes[:-1])):
        x = node("Resize", [x, "", "", constant(f"size.{k}", size)], f"decoder.{k}.resize", axes=[2, 3], mode="nearest",
                 coordinate_transformation_mode="asymmetric", nearest_mode="floor")
        x = node("Relu", [convolved(x, f"decoder.{k}")], f"decoder.{k}.relu")
    x = node("Sigmoid", [convolved(x, f"decoder.{len(sizes) - 1}")], "sigmoid")
    x = node("Transpose", [x], "nhwc-out", perm=[0, 2, 3, 1])
    node("Reshape", [x, constant("flat-image", [-1, pixels])], "image")
    save("whole.onnx", [code, numbers("image", pixels)])


def infer():
    import onnxruntime
    import pyarrow as pa

    start = time.perf_counter()
    pa.set_cpu_count(2)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = 2, 1
    name = "encoder.onnx" if a.action == "encode" and a.without_error else "whole.onnx"
    session = onnxruntime.InferenceSession(a.models / name, options, providers=["CPUExecutionProvider"])
    unit = lambda batch: tables.pixels(batch).astype(np.float32) / np.float32(255)
    errors = lambda made, clean: pa.array(np.mean(np.square(made - clean), axis=1, dtype=np.float32))

    def run(outputs, images):
        parts = [session.run(outputs, {"images": images[at:at + IMAGES]}) for at in range(0, len(images), IMAGES)]
        return [np.concatenate(part) for part in zip(*parts)]

    def encode(name):
        for batch in tables.batches(a.run / "ingest" / name):
            images = unit(batch)
            if a.without_error:
                (code,) = run(["code"], images)
                yield batch, {"code": tables.lists(code)}
            else:
                code, made = run(["code", "image"], images)
                yield batch, {"code": tables.lists(code), "error": errors(made, images)}

    def denoise(name):
        clean = None if a.without_error else tables.batches(a.run / "ingest" / name)
        source = "corrupt" if (a.run / "corrupt").exists() else "ingest"
        for batch in tables.batches(a.run / source / name):
            (made,) = run(["image"], unit(batch))
            stored = (made * np.float32(255) + np.float32(0.5)).astype(np.uint8)
            columns = {"image": tables.lists(stored)}
            if clean is not None:
                columns["error"] = errors(stored.astype(np.float32) / np.float32(255), unit(next(clean)))
            yield batch, columns

    a.out.mkdir(parents=True, exist_ok=True)
    for name in tables.FILES:
        tables.write(a.out / name, {"encode": encode, "denoise": denoise}[a.action](name))
    print(f"seconds {time.perf_counter() - start:.3f}")


build() if a.action == "build" else infer()
