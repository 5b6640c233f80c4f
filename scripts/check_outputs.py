#!/usr/bin/env python3
"""Opens every table of a run with pyarrow, pandas, Polars and DuckDB and recomputes its scores with scikit-image.

usage: check_outputs.py RUN        needs numpy, scikit-image, pyarrow, pandas, polars, duckdb

Prints one line a check and exits with 1 at the first one that fails.
"""

import glob
import json
import pathlib
import sys

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from skimage.metrics import structural_similarity

run = pathlib.Path(sys.argv[1])


def check(what, holds):
    print(("ok    " if holds else "WRONG ") + what)
    if not holds:
        sys.exit(1)


def images(stage, split="test"):
    table = pq.read_table(run / stage / f"{split}-00000-of-00001.parquet")
    column = table["image"].combine_chunks()
    shape = [int(table.schema.metadata[f"limpid.{side}".encode()]) for side in ("height", "width", "channels")]
    pixels = column.flatten().to_numpy().reshape(-1, *shape)
    return pixels.astype(np.float32) / np.float32(255) if pixels.dtype == np.uint8 else pixels


rows = {}
for stage, value in (("ingest", "image"), ("corrupt", "image"), ("encode", "code"), ("denoise", "image")):
    if not (run / stage).exists():
        continue
    for path in sorted(glob.glob(str(run / stage / "*.parquet"))):
        name = f"{stage}/{pathlib.Path(path).name}"
        table = pq.read_table(path)
        schema = table.schema
        check(f"{name}: pyarrow restores the fixed size", pa.types.is_fixed_size_list(schema.field(value).type))
        check(f"{name}: id is int64 and split a dictionary", schema.field("id").type == pa.int64()
              and pa.types.is_dictionary(schema.field("split").type))
        size = schema.field(value).type.list_size
        ids = table["id"].to_numpy()
        rows[name.replace(stage, "*")] = rows.get(name.replace(stage, "*"), ids)
        check(f"{name}: ids are those of the other stages", np.array_equal(ids, rows[name.replace(stage, "*")]))
        first = np.array(table[value][0].as_py())
        frame = pd.read_parquet(path)
        check(f"{name}: pandas agrees", len(frame) == len(ids) and np.allclose(frame[value][0], first))
        frame = pl.read_parquet(path)
        check(f"{name}: Polars agrees", frame.height == len(ids) and frame.schema[value].size == size
              and np.allclose(frame[value][0].to_numpy(), first))
        found = duckdb.sql(f"select count(*), min(len({value})), max(len({value})), min(split) from '{path}'").fetchall()[0]
        check(f"{name}: DuckDB agrees", found == (len(ids), size, size, str(table["split"][0])))

joined = duckdb.sql(
    f"select count(*), avg(list_count(f.code)) from '{run}/encode/*.parquet' f join '{run}/ingest/*.parquet' i using (split, id) "
    "where f.label is not distinct from i.label").fetchall()[0]
check("DuckDB joins features to images by split and id", joined[0] == sum(len(ids) for ids in rows.values()))

metrics = json.loads((run / "evaluate" / "metrics.json").read_text())
clean = images("ingest")
sets = [images("denoise")] + ([images("corrupt")] if (run / "corrupt").exists() else [])
sets.append(np.full_like(clean, images("ingest", "train").mean(dtype=np.float64)))
x = clean.astype(np.float64)
floor = -(np.where(x > 0, x * np.log(np.maximum(x, 1e-300)), 0)
          + np.where(x < 1, (1 - x) * np.log(np.maximum(1 - x, 1e-300)), 0)).mean()
check(f"cross-entropy floor {floor:.5f}", abs(floor - metrics["cross-entropy-floor"]) < 1e-4)
for made, scores in zip(sets, metrics["scores"]):
    y = made.astype(np.float64)
    errors = ((x - y) ** 2).mean(axis=(1, 2, 3))
    p = np.clip(y, 0.5 / 255, 1 - 0.5 / 255)
    entropy = -(x * np.log(p) + (1 - x) * np.log(1 - p)).mean()
    similarity = np.mean([
        structural_similarity(a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1,
                              channel_axis=2)
        for a, b in zip(x, y)])
    for key, value in {
        "mse": errors.mean(),
        "psnr-pooled": -10 * np.log10(errors.mean()),
        "psnr-mean": (-10 * np.log10(errors[errors > 0])).mean(),
        "ssim": similarity,
        "cross-entropy": entropy,
        "cross-entropy-over-floor": entropy - floor,
    }.items():
        check(f"{scores['what']}: {key} {value:.5f}", abs(value - scores[key]) < 1e-4)
