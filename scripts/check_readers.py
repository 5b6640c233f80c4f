#!/usr/bin/env python3
"""Reads every table of a run, in every profile, with common programs, and prints a Markdown table.

The profiles are written by `limpid export` and, where the name ends with "stage", by the stage `export` of a pipeline with
`profile = "…"` in `[output]`: these files are read in the run's folder `export`.

usage: check_readers.py [--limpid PATH] [--only READER]...

Needs pyarrow, pandas, polars, duckdb, datasets, lancedb, pyspark (and Java), chdb, numpy and pillow; a reader that is not
installed is left out. A cell says "ok" if the reader opens the files of both splits and reads the same rows, ids, labels,
splits and numbers of lists as pyarrow (and for pictures the pixels of the lists that they were made of). Below the
tables are a join of features and images, and a nearest-neighbour search of codes. Exits with 1 if anything differs.
"""

import argparse
import glob
import io
import pathlib
import subprocess
import sys
import tempfile
from importlib import metadata

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent
STAGES = {"ingest": "image", "corrupt": "image", "encode": "code", "denoise": "image"}
PIPELINE = """
[source]
strokes = { train = 600, test = 120, colour = true }
[corruption]
gaussian = { std = 0.1 }
[model]
dense = { code = 8 }
[training]
input = "noisy"
epochs = 1
[gate]
baselines = []
"""

# Pictures of different sizes, and codes of their patches: several rows of an id.
MIXED = """
[source]
folder = { path = "pictures", test-fraction = 0.2 }
[corruption]
gaussian = { std = 0.1 }
[model]
conv = { channels = [4, 6] }
[training]
input = "noisy"
patch = 16
epochs = 1
[encode]
codes = "patches"
[gate]
baselines = []
"""


def arrow_rows(table, name):
    """(split, id, label) and the lists or pictures of an Arrow table."""
    columns = [table[key].to_pylist() for key in ("split", "id", "label", name)]
    return [tuple(row[:3]) for row in zip(*columns)], columns[3]


def pyarrow(path, name):
    return arrow_rows(pq.read_table(path), name)


def pandas(path, name):
    import pandas
    frame = pandas.concat([pandas.read_parquet(file) for file in sorted(glob.glob(f"{path}/*.parquet"))])
    keys = zip(frame["split"].astype(str), frame["id"].astype(int), frame["label"].astype(int))
    return list(keys), list(frame[name])


def polars(path, name):
    import polars
    frame = polars.read_parquet(f"{path}/*.parquet")
    return list(zip(frame["split"].cast(str), frame["id"], frame["label"])), frame[name].to_list()


def duckdb(path, name):
    import duckdb
    rows = duckdb.sql(f"SELECT split, id, label, {name} FROM '{path}/*.parquet'").fetchall()
    return [tuple(row[:3]) for row in rows], [row[3] for row in rows]


def datasets(path, name):
    import datasets as hf
    hf.disable_progress_bars()
    card = pathlib.Path(path).parent / "README.md"
    with tempfile.TemporaryDirectory() as cache:
        if card.exists():
            data = hf.load_dataset(str(card.parent), pathlib.Path(path).name, cache_dir=cache)
        else:
            files = {split: f"{path}/{split}-*.parquet" for split in ("train", "test")}
            data = hf.load_dataset("parquet", data_files=files, cache_dir=cache)
        keys, values = [], []
        for split in ("train", "test"):
            if card.exists():
                assert data[split].features["label"].names == [str(digit) for digit in range(10)], "names of labels"
            for row in data[split]:
                keys.append((row["split"], row["id"], row["label"]))
                values.append(row[name])
    return keys, values


def lancedb(path, name):
    import lancedb
    with tempfile.TemporaryDirectory() as folder:
        table = lancedb.connect(folder).create_table("t", pq.read_table(path))
        return arrow_rows(table.to_arrow(), name)


SPARK = None


def spark():
    global SPARK
    if SPARK is None:
        from pyspark.sql import SparkSession
        SPARK = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
        SPARK.sparkContext.setLogLevel("OFF")
    return SPARK


def pyspark(path, name):
    rows = spark().read.parquet(path).select("split", "id", "label", name).collect()
    return [tuple(row[:3]) for row in rows], [row[3] for row in rows]


def chdb(path, name):
    import chdb
    import pyarrow as pa
    query = f"SELECT toString(split) AS split, id, label, {name} FROM file('{path}/*.parquet', Parquet)"
    # Pictures are bytes, which are not valid as Arrow text.
    query += " SETTINGS output_format_arrow_string_as_string = 0"
    table = pa.ipc.open_file(pa.BufferReader(chdb.query(query, "Arrow").bytes())).read_all()
    text = lambda value: value.decode() if isinstance(value, bytes) else value
    keys, values = arrow_rows(table, name)
    return [(text(split), number, label) for split, number, label in keys], values


def numbers(value):
    """The numbers of a list, or the pixels of a picture."""
    if isinstance(value, Image.Image):
        return np.asarray(value).reshape(-1)
    if hasattr(value, "asDict"):
        value = value.asDict()
    if isinstance(value, dict):
        return np.asarray(Image.open(io.BytesIO(value["bytes"]))).reshape(-1)
    return np.asarray(value).reshape(-1)


def check(reader, path, name, truth):
    """"ok", or the difference."""
    try:
        keys, values = reader(str(path), name)
        order = sorted(range(len(keys)), key=lambda row: keys[row])
        expected_keys, expected = truth
        if [keys[row] for row in order] != expected_keys:
            return f"other rows: {len(keys)} for {len(expected_keys)}"
        wrong = sum(not np.array_equal(numbers(values[row]).astype(np.float64), one) for row, one in zip(order, expected))
        return f"{wrong} values differ" if wrong else "ok"
    except Exception as cause:
        lines = str(cause).strip().splitlines() or [""]
        return f"{type(cause).__name__}: {lines[0][:100]}"


def draw_pictures(folder):
    """Pictures of noise of ten classes, 20 to 40 pixels a side."""
    random = np.random.default_rng(1)
    for index in range(80):
        place = folder / str(index % 10)
        place.mkdir(parents=True, exist_ok=True)
        sides = random.integers(20, 41, 2)
        Image.fromarray(random.integers(0, 256, sides, dtype=np.uint8)).save(place / f"{index}.png")


def truth(path, name):
    keys, values = pyarrow(path, name)
    order = sorted(range(len(keys)), key=lambda row: keys[row])
    return [keys[row] for row in order], [numbers(values[row]).astype(np.float64) for row in order]


def joins(folder):
    """How many rows features and images have in common."""
    if "duckdb" in READERS:
        import duckdb
        tables = f"'{folder}/denoise/*.parquet' JOIN '{folder}/encode/*.parquet' USING (split, id)"
        yield "DuckDB", duckdb.sql(f"SELECT count(*) FROM {tables}").fetchall()[0][0]
    if "polars" in READERS:
        import polars
        frames = [polars.scan_parquet(f"{folder}/{stage}/*.parquet").with_columns(polars.col("split").cast(str))
                  for stage in ("denoise", "encode")]
        yield "Polars", frames[0].join(frames[1], on=["split", "id"]).collect().height
    if "pyspark" in READERS:
        tables = [spark().read.parquet(f"{folder}/{stage}") for stage in ("denoise", "encode")]
        yield "PySpark", tables[0].join(tables[1], ["split", "id"]).count()


def search(folder):
    """Whether every tenth code finds itself among the codes of the test split, by LanceDB and by DuckDB."""
    codes = pq.read_table(folder / "encode", filters=[("split", "=", "test")])
    rows = codes.to_pylist()[::10]
    if "lancedb" in READERS:
        import lancedb
        with tempfile.TemporaryDirectory() as scratch:
            table = lancedb.connect(scratch).create_table("codes", codes)
            nearest = [table.search(row["code"], vector_column_name="code").limit(1).to_list()[0] for row in rows]
        yield "LanceDB", f"{sum(one['_distance'] < 1e-6 for one in nearest)} of {len(rows)}"
    if "duckdb" in READERS:
        import duckdb
        query = f"""WITH c AS (SELECT id, code::FLOAT[8] AS code FROM '{folder}/encode/test-*.parquet')
            SELECT count(*) FROM c a WHERE a.id % 10 = 0 AND
            (SELECT min(array_distance(a.code, b.code)) FROM c b) < 1e-6"""
        yield "DuckDB", f"{duckdb.sql(query).fetchall()[0][0]} of {len(rows)}"


READERS = {"pyarrow": pyarrow, "pandas": pandas, "polars": polars, "duckdb": duckdb, "datasets": datasets, "lancedb": lancedb,
           "pyspark": pyspark, "chdb": chdb}

parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].split("\n\n")[0])
parser.add_argument("--limpid", default=HERE.parent / "target/release/limpid", type=pathlib.Path)
parser.add_argument("--only", action="append")
options = parser.parse_args()
versions = {}
for reader in list(READERS):
    try:
        versions[reader] = metadata.version(reader)
    except metadata.PackageNotFoundError:
        versions[reader] = None
    if versions[reader] is None or (options.only and reader not in options.only):
        del READERS[reader]

failed = 0
with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    limpid = options.limpid.resolve()
    run = lambda *words: subprocess.run([limpid, *map(str, words)], check=True, capture_output=True, cwd=folder)
    (folder / "readers.toml").write_text(PIPELINE)
    run("run", "readers.toml")
    own = folder / "runs/readers"
    # The stages' folders of a run also have a receipt, which these readers skip by its name.
    copies = {"the run itself": own}
    for name, words in {"default": ["--part-rows", 250], "default, f32": ["--pixels", "f32"], "hf": ["--profile", "hf"],
                        "hf in parts": ["--profile", "hf", "--part-rows", 200], "spark": ["--profile", "spark"]}.items():
        copies[name] = folder / name.replace(", ", "-").replace(" ", "-")
        run("export", own, "--to", copies[name], *words)
    for profile in ("hf", "spark"):
        runs = folder / f"runs-{profile}"
        run("run", "readers.toml", "--runs", runs, "--set", f"output.profile={profile}", "--set", "output.part-rows=200")
        copies[f"{profile} stage"] = runs / "readers" / "export"
    draw_pictures(folder / "pictures")
    (folder / "mixed.toml").write_text(MIXED)
    run("run", "mixed.toml")
    for profile in ("default", "hf", "spark"):
        name = f"mixed sizes, {profile}"
        copies[name] = folder / f"mixed-{profile}"
        run("export", folder / "runs/mixed", "--to", copies[name], "--profile", profile)
    print("| profile | table | " + " | ".join(f"{reader} {versions[reader]}" for reader in READERS) + " |")
    print("|---" * (len(READERS) + 2) + "|")
    for profile, place in copies.items():
        for stage, column in STAGES.items():
            keys, values = truth((copies["mixed sizes, default"] if "mixed" in profile else own) / stage, column)
            if "f32" in profile and column == "image":
                values = [np.float64(np.float32(value) / np.float32(255)) for value in values]
            cells = [check(reader, place / stage, column, (keys, values)) for reader in READERS.values()]
            failed += sum(cell != "ok" for cell in cells)
            print(f"| {profile} | `{stage}` | " + " | ".join(cells) + " |", flush=True)
    print()
    if "datasets" in READERS:
        import datasets as hf
        # As a user would: the folder, and nothing else.
        data = hf.load_dataset(str(copies["hf stage"]), cache_dir=str(folder / "cache"))
        row, names = data["test"][0], data["test"].features["label"].names
        fine = isinstance(row["image"], Image.Image) and names == [str(digit) for digit in range(10)]
        failed += not fine
        print(f"- hf stage: `load_dataset(\"runs/readers/export\")` gives {data['train'].num_rows} + {data['test'].num_rows} rows, "
              f"pictures of {row['image'].size} in {row['image'].mode}, and labels called {', '.join(names)}")
    for profile in ("the run itself", "spark", "spark stage"):
        for reader, rows in joins(copies[profile]):
            failed += rows != 720
            print(f"- {profile}: {reader} joins `denoise` and `encode` by split and id: {rows} of 720 rows")
    for profile in ("the run itself", "hf", "hf stage"):
        for reader, found in search(copies[profile]):
            failed += found != "12 of 12"
            print(f"- {profile}: {reader} finds codes among the codes: {found}")
sys.exit(failed > 0)
