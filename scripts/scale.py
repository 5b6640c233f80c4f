#!/usr/bin/env python3
"""How the map stages scale: rows a second and memory, by one process and by several that share the shards of each stage.

Draws digits (`strokes`), trains a small model on 10,000 of them, and runs corrupt, encode and denoise over ever more: by `limpid run
--only`; by as many `limpid shard` processes as asked for, and `limpid commit`; and, where `--cluster` names the program
limpid-cluster, by `limpid-cluster run` with as many executors of Ballista. The bytes are compared. Times are the medians of the
rounds, which try one way after the other. Needs Linux and nothing but limpid.

    scripts/scale.py --rows 10000 100000 1000000 --processes 4 --cluster target/release/limpid-cluster
"""

import argparse
import contextlib
import hashlib
import os
import re
import resource
import shutil
import statistics
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


@contextlib.contextmanager
def cluster(program, executors, threads, log):
    """A scheduler and its executors on this machine; gives its address and the executors' processes."""
    with contextlib.ExitStack() as stack:

        def start(*arguments, **options):
            child = subprocess.Popen([program, *arguments], stderr=log, **options)
            stack.callback(child.wait)
            stack.callback(child.kill)
            return child

        scheduler = start("scheduler", "--bind", "127.0.0.1:0", stdout=subprocess.PIPE, text=True)
        address = scheduler.stdout.readline().strip()
        place = address.removeprefix("ballista://")
        yield address, [start("executor", place, "--threads", str(threads), stdout=log) for _ in range(executors)]


def most_memory(process):
    """The most memory that a process has had, in MB."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[1]) * 1024 / 1e6


class Ways:
    """The ways to make a stage; each gives its seconds, and the most memory of one of its processes in MB."""

    def __init__(self, args, folder):
        self.limpid, self.program, self.folder = args.limpid.resolve(), args.cluster and args.cluster.resolve(), folder
        self.threads, self.processes = args.threads, args.processes
        self.share = max(1, args.threads // args.processes)

    def one(self, stage):
        return run([[self.limpid, "run", "scale.toml", "--only", stage, "--force", "--threads", str(self.threads)]], self.folder)

    def shards(self, stage):
        task = [self.limpid, "shard", "scale.toml", "--stage", stage, "--of", str(self.processes)]
        task += ["--threads", str(self.share), "--index"]
        seconds, memory = run([[*task, str(index)] for index in range(self.processes)], self.folder)
        commit, _ = run([[self.limpid, "commit", "scale.toml", "--stage", stage]], self.folder)
        return seconds + commit, memory

    def executors(self, stage):
        with open(self.folder / "cluster.log", "w") as log:
            with cluster(self.program, self.processes, self.share, log) as (address, executors):
                time.sleep(3)  # until all are registered, as they are where a cluster stands
                command = [self.program, "run", "scale.toml", "--only", stage, "--force", "--engine", address]
                seconds, client = run([[*command, "--threads", str(self.threads)]], self.folder)
                return seconds, max(client, *map(most_memory, executors))

    def all(self, wanted):
        count = self.processes
        named = {"one": ("one process", self.one), "shards": (f"{count} processes", self.shards)}
        named |= {"executors": (f"{count} executors", self.executors)} if self.program else {}
        return dict(named[way] for way in ["one", *wanted] if way in named)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--limpid", type=Path, default=Path("target/release/limpid"))
    parser.add_argument("--cluster", type=Path, help="the program limpid-cluster")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--ways", choices=["shards", "executors"], nargs="+", default=["shards", "executors"], help="besides one process")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of one process alone; several share them")
    parser.add_argument("--shard-rows", type=int, default=100_000)
    parser.add_argument("--runs", type=Path, help="a folder for the runs, which is not removed")
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory(prefix="limpid-scale-") as temporary:
        folder = args.runs or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        ways = Ways(args, folder.resolve())
        by = ways.all(args.ways)
        names = list(by)
        print("| rows | stage |", " | ".join(f"{name}, rows a second" for name in names), "|", end=" ")
        print(" | ".join(f"{name}, ratio" for name in names[1:]), "|", " | ".join(f"MB, {name}" for name in names), "|")
        print("|---|---|" + "---|" * (3 * len(names) - 1), flush=True)
        for rows in args.rows:
            (folder / "scale.toml").write_text(PIPELINE.format(rows=rows, shard_rows=args.shard_rows))
            shutil.rmtree(folder / "runs", ignore_errors=True)
            run([[ways.limpid, "run", "scale.toml", "--to", "train"]], folder)
            made = folder / "runs/scale"
            for stage in STAGES:
                seconds, memory, expected = {name: [] for name in names}, dict.fromkeys(names, 0), None
                for _ in range(args.rounds):
                    for name, way in by.items():
                        shutil.rmtree(made / stage, ignore_errors=True)
                        took, most = way(stage)
                        seconds[name].append(took)
                        memory[name] = max(memory[name], most)
                        found = digests(made / stage)
                        if found != (expected := expected or found) or not found:
                            raise SystemExit(f"{stage} of {rows} rows by {name} has other bytes")
                one, *others = (statistics.median(seconds[name]) for name in names)
                rates = [f"{(rows + 10_000) / took:,.0f}" for took in (one, *others)]
                ratios = [f"{one / took:.2f}" for took in others]
                print("|", " | ".join([f"{rows:,}", stage, *rates, *ratios, *(f"{memory[name]:.0f}" for name in names)]), "|", flush=True)


if __name__ == "__main__":
    main()
