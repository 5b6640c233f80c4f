#!/usr/bin/env python3
"""limpid's stage `corrupt` with numpy and pyarrow: Gaussian noise on every image of a run, Parquet to Parquet.

usage: numpy_corrupt.py RUN OUT [--std S]

Prints the seconds from after the imports to the end of the last file. The random numbers differ from limpid's; their distribution
is the same.
"""

import argparse
import pathlib
import time

import numpy as np
import pyarrow as pa

import tables

a = argparse.ArgumentParser()
a.add_argument("run", type=pathlib.Path)
a.add_argument("out", type=pathlib.Path)
a.add_argument("--std", type=np.float32, default=np.float32(0.5))
a = a.parse_args()

start = time.perf_counter()
pa.set_cpu_count(2)
rng = np.random.default_rng(1)


def noisy(batch):
    x = rng.standard_normal(tables.pixels(batch).shape, dtype=np.float32)
    x *= a.std * 255
    x += tables.pixels(batch)
    x += np.float32(0.5)
    np.clip(x, 0, 255, out=x)
    return x.astype(np.uint8)


a.out.mkdir(parents=True, exist_ok=True)
for name in tables.FILES:
    results = ((batch, {"image": tables.lists(noisy(batch))}) for batch in tables.batches(a.run / "ingest" / name))
    tables.write(a.out / name, results)
print(f"seconds {time.perf_counter() - start:.3f}")
