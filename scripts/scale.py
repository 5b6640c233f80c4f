#!/usr/bin/env python3
"""How the map stages scale: rows a second and memory, by one process and by several that share the shards of each stage.

Draws digits (`strokes`), trains a small model on 10,000 of them, and runs corrupt, encode and denoise over ever more: once by
`limpid run --only`, once by as many `limpid shard` processes as asked for, and `limpid commit`. The bytes are compared. Needs Linux and
nothing but limpid.

    scripts/scale.py --limpid target/release/limpid --rows 10000 100000 1000000 --processes 4
"""

import argparse
import hashlib
import os
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

PIPELINE = """
name = "scale"
[source]
strokes = {{ train = 10000, test = {rows} }}
[corruption]
gaussian = {{ std = 0.5 }}
[model]
dense = {{ hidden = [256], code = 64 }}
[training]
input = "noisy"
epochs = 1
[output]
shard-rows = {shard_rows}
[gate]
baselines = []
"""
STAGES = ["corrupt", "encode", "denoise"]


def run(commands, folder):
    """Runs commands side by side; the seconds that they took together, and the most memory of one in MB."""
    started = time.monotonic()
    children = [subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for command in commands]
    most = 0
    for child in children:
        told = child.stderr.read().decode()
        _, status, usage = os.wait4(child.pid, 0)
        if status != 0:
            raise SystemExit(f"{' '.join(map(str, child.args))} ended with {os.waitstatus_to_exitcode(status)}:\n{told}")
        most = max(most, usage.ru_maxrss / 1000)
    return time.monotonic() - started, most


def digests(folder):
    """The digests of the tables of a stage."""
    files = sorted(folder.glob("*.parquet"))
    return {file.name: hashlib.file_digest(file.open("rb"), "blake2b").hexdigest() for file in files}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--limpid", type=Path, default=Path("target/release/limpid"))
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of one process alone; several share them")
    parser.add_argument("--shard-rows", type=int, default=100_000)
    parser.add_argument("--runs", type=Path, help="a folder for the runs, which is not removed")
    args = parser.parse_args()
    limpid = args.limpid.resolve()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory(prefix="limpid-scale-") as temporary:
        folder = args.runs or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        print(f"| rows | stage | one process, rows a second | {args.processes} processes | ratio | MB, one | MB, each of {args.processes} |")
        print("|---|---|---|---|---|---|---|")
        for rows in args.rows:
            (folder / "scale.toml").write_text(PIPELINE.format(rows=rows, shard_rows=args.shard_rows))
            shutil.rmtree(folder / "runs", ignore_errors=True)
            run([[limpid, "run", "scale.toml", "--to", "train"]], folder)
            made = folder / "runs/scale"
            for stage in STAGES:
                alone = [limpid, "run", "scale.toml", "--only", stage, "--force", "--threads", str(args.threads)]
                one, memory = run([alone], folder)
                expected = digests(made / stage)
                shutil.rmtree(made / stage)
                share = str(max(1, args.threads // args.processes))
                task = [limpid, "shard", "scale.toml", "--stage", stage, "--of", str(args.processes), "--threads", share, "--index"]
                several, each = run([[*task, str(index)] for index in range(args.processes)], folder)
                commit, _ = run([[limpid, "commit", "scale.toml", "--stage", stage]], folder)
                if digests(made / stage) != expected:
                    raise SystemExit(f"{stage} of {rows} rows has other bytes")
                all_rows, several = rows + 10_000, several + commit
                print(
                    f"| {rows:,} | {stage} | {all_rows / one:,.0f} | {all_rows / several:,.0f} | {one / several:.2f} "
                    f"| {memory:.0f} | {each:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
