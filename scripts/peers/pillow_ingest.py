#!/usr/bin/env python3
"""Reads a folder of pictures with a plain Pillow loop: see compare.py, which runs this and limpid in turn.

usage: pillow_ingest.py make FOLDER COUNT      COUNT JPEGs of 32×32 in train/ and test/ and ten sub-folders each
       pillow_ingest.py damage FOLDER COUNT    spoils COUNT of them in four ways and prints their names
       pillow_ingest.py read FOLDER            to an array in memory
       pillow_ingest.py table FOLDER OUT       to Parquet
"""

import pathlib
import sys
import time

import numpy as np
from PIL import Image

action, folder = sys.argv[1], pathlib.Path(sys.argv[2])
CLASSES = ["cat", "dog", "eel", "fox", "gnu", "hen", "imp", "jay", "koi", "lynx"]


def make(count):
    random = np.random.default_rng(1)
    for split in ("train", "test"):
        for name in CLASSES:
            (folder / split / name).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        # Smooth, as photographs are.
        picture = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((32, 32), Image.BICUBIC)
        split = "train" if index % 50 < 40 else "test"
        picture.save(folder / split / CLASSES[index % 10] / f"{index:06}.jpg", quality=90)


def files(split):
    return sorted((folder / split).glob("*/*.jpg"))


def damage(count):
    every = files("train")
    for index in range(count):
        path = every[index * len(every) // count]
        whole = path.read_bytes()
        path.write_bytes([whole[:len(whole) // 2], b"", b"no picture at all", whole[:30]][index % 4])
        print(path.relative_to(folder))


def read():
    for split in ("train", "test"):
        pictures, labels = [], []
        for path in files(split):
            with Image.open(path) as picture:
                pictures.append(np.asarray(picture))
            labels.append(CLASSES.index(path.parent.name))
        yield split, np.stack(pictures), np.array(labels)


def table(out):
    import pyarrow as pa
    import pyarrow.parquet as pq
    out.mkdir(parents=True, exist_ok=True)
    for split, pictures, labels in read():
        images = pa.FixedSizeListArray.from_arrays(pa.array(pictures.reshape(-1)), pictures[0].size)
        ids = pa.array(np.arange(len(labels)))
        columns = {"id": ids, "split": pa.array([split] * len(labels)).dictionary_encode(), "label": pa.array(labels), "image": images}
        pq.write_table(pa.table(columns), out / f"{split}-00000-of-00001.parquet", compression="zstd", row_group_size=1364)


start = time.perf_counter()
if action == "make":
    make(int(sys.argv[3]))
elif action == "damage":
    damage(int(sys.argv[3]))
elif action == "read":
    print(sum(len(labels) for _, _, labels in read()), "images")
else:
    table(pathlib.Path(sys.argv[3]))
print(f"seconds {time.perf_counter() - start:.3f}", file=sys.stderr if action == "damage" else sys.stdout)
