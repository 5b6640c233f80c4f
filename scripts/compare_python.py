#!/usr/bin/env python3
"""How fast limpid's Python module encodes: beside the command and beside PyTorch with the same weights. Prints Markdown.

usage: compare_python.py RUN [--limpid PATH] [--rounds 5] [--threads 2]

Needs the module limpid, numpy, pyarrow and torch. The images are those of RUN's test split, as a NumPy array of bytes. A round is, in turn:
`Model.encode` and PyTorch in this process, both from that array to an array of codes; then whole processes: Python that imports limpid,
loads the array and the model, encodes and writes the codes as .npy; the same with PyTorch; and `limpid encode` of the .npy file to Parquet.
That the module gives the bytes of the command, and PyTorch nearly the same numbers, is checked first.
"""

import argparse
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

MODULE = """
import sys, numpy, limpid
codes = limpid.Model(sys.argv[1], threads=int(sys.argv[4])).encode(numpy.load(sys.argv[2]))
numpy.save(sys.argv[3], codes)
"""
TORCH = """
import sys, numpy
from compare_python import in_torch
import limpid_torch
numpy.save(sys.argv[3], in_torch(limpid_torch.load(sys.argv[1]), numpy.load(sys.argv[2]), int(sys.argv[4])))
"""


def in_torch(model, images, threads):
    """Codes by PyTorch, in batches of 1,000 images, the size that was best of 200, 1,000, 10,000."""
    import torch

    torch.set_num_threads(threads)
    with torch.inference_mode():
        rows = torch.from_numpy(images.reshape(len(images), -1))
        return torch.cat([model.encode(batch.float() / 255) for batch in rows.split(1000)]).numpy()


def timed(call):
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def process(*command):
    """Seconds of a whole process."""
    return timed(lambda: subprocess.run([str(word) for word in command], check=True, capture_output=True, cwd=HERE))[1]


def import_time():
    """Milliseconds of `import limpid`, as Python tells them: the least of five."""
    def once():
        told = subprocess.run([sys.executable, "-X", "importtime", "-c", "import limpid"], capture_output=True, text=True, check=True)
        return int(re.search(r"(\d+) \| limpid$", told.stderr, re.MULTILINE).group(1)) / 1000
    return min(once() for _ in range(5))


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].split("\n")[0])
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--limpid", default=HERE.parent / "target/release/limpid", type=pathlib.Path)
    parser.add_argument("--rounds", default=5, type=int)
    parser.add_argument("--threads", default=2, type=int)
    options = parser.parse_args()

    import limpid
    import limpid_torch
    import numpy
    import pyarrow.parquet

    run, threads = options.run.resolve(), options.threads
    images = limpid.Run(run).table("ingest", "test").numpy("image")
    model, peer = limpid.Model(run, threads=threads), limpid_torch.load(run)
    with tempfile.TemporaryDirectory() as folder:
        array, codes, tables = (pathlib.Path(folder) / name for name in ("images.npy", "codes.npy", "tables"))
        numpy.save(array, images)
        command = [options.limpid.resolve(), "encode", run, array, "-o", tables, "--threads", threads]
        process(*command)
        features = pyarrow.parquet.read_table(tables / "images.parquet").column("code").combine_chunks().flatten().to_numpy()
        own = model.encode(images)
        if not numpy.array_equal(own.reshape(-1).view(numpy.uint32), features.view(numpy.uint32)):
            sys.exit("the module and the command give different codes")
        if not numpy.allclose(own, in_torch(peer, images, threads), atol=1e-4):
            sys.exit("PyTorch gives other codes")

        seconds = {"`Model.encode`, array to array": [], "PyTorch, array to array": [], "a Python process with limpid": [],
                   "a Python process with PyTorch": [], "`limpid encode`, a process that writes Parquet": []}
        for _ in range(options.rounds):
            each = [timed(lambda: model.encode(images))[1], timed(lambda: in_torch(peer, images, threads))[1],
                    process(sys.executable, "-c", MODULE, run, array, codes, threads),
                    process(sys.executable, "-c", TORCH, run, array, codes, threads), process(*command)]
            for name, value in zip(seconds, each):
                seconds[name].append(value)

    own, whole = seconds["`Model.encode`, array to array"], seconds["a Python process with limpid"]
    print(f"{run.name}, {len(images):,} images; `import limpid` takes {import_time():.0f} ms\n")
    print("| | seconds | times those of limpid (least – greatest) |")
    print("|---|---|---|")
    for name, values in seconds.items():
        base = whole if "process" in name else own
        ratios = [value / base for value, base in zip(values, base)]
        ratio = "" if values is base else f"{statistics.median(ratios):.2f} ({min(ratios):.2f} – {max(ratios):.2f})"
        print(f"| {name} | {statistics.median(values):.3f} | {ratio} |")


if __name__ == "__main__":
    main()
