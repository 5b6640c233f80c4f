#!/usr/bin/env python3
"""Reads the tables of a run in an S3 store directly, by its `latest` manifests, with DuckDB (httpfs), Polars and pyarrow.

The store is moto on this machine. Exits with 1 if a reader finds other rows than limpid's own files on this disk have.

usage: check_stores.py [--limpid PATH] [--moto target/stores/bin/moto_server]

Needs numpy, polars, pyarrow, and duckdb with duckdb-extension-httpfs of the same version (1.5.5 of both are on PyPI, which has the
extension as a file, so that nothing else is downloaded).
"""

import argparse
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import duckdb
import polars as pl
import pyarrow.fs
import pyarrow.parquet as pq
from s3_server import PROGRAM, ask, login, s3_server

HERE = pathlib.Path(__file__).resolve().parent
PIPELINE = """
name = "small"
[source]
strokes = { train = 600, test = 120 }
[corruption]
gaussian = { std = 0.3 }
[model]
dense = { hidden = [32], code = 8 }
[training]
input = "noisy"
epochs = 1
[output]
shard-rows = 250
[gate]
baselines = []
"""
LISTS = {"ingest": "image", "corrupt": "image", "encode": "code", "denoise": "image"}


def rows(table, name):
    """Rows of an Arrow table as plain values, by split and id."""
    columns = [table[key].to_pylist() for key in ("split", "id", "label", name)]
    return sorted(zip(*columns), key=lambda row: row[:2])


def by_duckdb(port):
    connection = duckdb.connect()
    folder = pathlib.Path(importlib.util.find_spec("duckdb_extension_httpfs").submodule_search_locations[0])
    (extension,) = folder.rglob("httpfs.duckdb_extension")
    connection.sql(f"INSTALL '{extension}'")
    connection.sql("LOAD httpfs")
    connection.sql(
        f"CREATE SECRET (TYPE s3, KEY_ID 'key', SECRET 'secret', REGION 'us-east-1', ENDPOINT '127.0.0.1:{port}', "
        "URL_STYLE 'path', USE_SSL false)"
    )
    return lambda patterns: connection.sql(f"SELECT * FROM read_parquet({patterns!r})").to_arrow_table()


def by_polars(port):
    options = {"aws_endpoint_url": f"http://127.0.0.1:{port}", "aws_access_key_id": "key", "aws_secret_access_key": "secret",
               "aws_region": "us-east-1", "aws_allow_http": "true"}
    return lambda patterns: pl.concat([pl.read_parquet(pattern, storage_options=options) for pattern in patterns]).to_arrow()


def by_pyarrow(port):
    files = pyarrow.fs.S3FileSystem(access_key="key", secret_key="secret", region="us-east-1", scheme="http",
                                    endpoint_override=f"127.0.0.1:{port}")

    def read(patterns):
        folders = [pattern.removeprefix("s3://").rsplit("/", 1)[0] for pattern in patterns]
        return pyarrow.concat_tables(pq.read_table(folder, filesystem=files) for folder in folders)

    return read


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--limpid", default=HERE.parent / "target/release/limpid", type=pathlib.Path)
    parser.add_argument("--moto", default=PROGRAM, type=pathlib.Path)
    args = parser.parse_args()
    with s3_server("bucket", args.moto) as port, tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "small.toml").write_text(PIPELINE)
        for runs in ("s3://bucket/runs", "runs"):
            command = [args.limpid.resolve(), "run", "small.toml", "--to", "denoise", "--runs", runs]
            subprocess.run(command, cwd=folder, env=os.environ | login(port), check=True, capture_output=True)
        readers = {"duckdb": by_duckdb(port), "polars": by_polars(port), "pyarrow": by_pyarrow(port)}
        versions = {"duckdb": duckdb.__version__, "polars": pl.__version__, "pyarrow": pyarrow.__version__}
        wrong = False
        for stage, name in LISTS.items():
            patterns = [json.loads(ask(port, "GET", f"bucket/runs/small/latest/{stage}.json"))["tables"]]
            expected = rows(pq.read_table(f"{folder}/runs/small/{stage}"), name)
            for reader, read in readers.items():
                same = rows(read(patterns), name) == expected
                wrong |= not same
                print(f"{reader} {versions[reader]}: {stage}, {len(expected)} rows: {'the same' if same else 'OTHERS'}")
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
