"""Small models of each family, trained in seconds, and the command that they are compared with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import limpid

STROKES = {"strokes": {"train": 300, "test": 40}}
QUICK = {"epochs": 1, "batch-size": 50}

FAMILIES: dict[str, dict[str, Any]] = {
    "dense": {"source": STROKES, "model": {"dense": {"hidden": [32], "code": 6}, "loss": "mse"}},
    "conv-code": {"source": STROKES, "model": {"conv": {"channels": [4, 4], "code": 7}, "loss": "cross-entropy"}},
    "conv-map": {"source": STROKES, "model": {"conv": {"channels": [4, 2]}, "loss": "mse"}},
    "colour": {
        "source": {"strokes": {"train": 300, "test": 40, "colour": True}},
        "model": {"conv": {"channels": [4], "code": 5}, "loss": "mse"},
    },
    "unet": {
        "source": STROKES,
        "corruption": {"gaussian": {"std": 0.3}},
        "model": {"unet": {"channels": [4, 4]}, "loss": "mse"},
        "training": {"input": "noisy"},
    },
    "noise": {
        "source": STROKES,
        "corruption": {"gaussian": {"std": 0.1}},
        "model": {"unet": {"channels": [4, 4]}, "loss": "mse", "predict": "noise"},
        "training": {"input": "noisy"},
    },
}
WITH_CODE = ["dense", "conv-code", "conv-map", "colour"]


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], limpid.Run]:
    """The run of a family, trained once."""
    folder, known = tmp_path_factory.mktemp("runs"), dict[str, limpid.Run]()

    def of(family: str) -> limpid.Run:
        if family not in known:
            settings = FAMILIES[family]
            training = {"input": "clean", **QUICK, **settings.get("training", {})}
            pipeline = {"gate": {"baselines": []}, **settings, "name": family, "training": training}
            known[family] = limpid.run(pipeline, runs=folder, to="train", progress=False)
        return known[family]

    return of


@pytest.fixture(scope="session")
def models(runs: Callable[[str], limpid.Run]) -> Callable[[str], limpid.Model]:
    """The model of a family, loaded once."""
    known = dict[str, limpid.Model]()
    return lambda family: known.setdefault(family, runs(family).model()) if family not in known else known[family]


def command(*arguments: Any, code: int = 0) -> str:
    """What the command prints, which has to end with this code."""
    done = subprocess.run([sys.executable, "-m", "limpid", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def by_command(what: str, run: limpid.Run, given: Path, tmp_path: Path, *options: str) -> Any:
    """The table that `limpid encode` or `limpid denoise` makes of a file."""
    import pyarrow.parquet as pq

    printed = command(what, run.path, given, "-o", tmp_path / "out", *options)
    return pq.read_table(next(line for line in printed.splitlines() if line.endswith(".parquet")))


def lists(table: Any, column: str) -> np.ndarray[Any, Any]:
    """A column of lists as an array."""
    values = table[column].combine_chunks()
    return values.flatten().to_numpy().reshape(len(table), -1)


def digits(count: int, channels: int = 1, seed: int = 0) -> np.ndarray[Any, Any]:
    """Images of random blocks, [count, 28, 28, channels] of bytes."""
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 256, (count, 7, 7, channels), dtype=np.uint8)
    return blocks.repeat(4, axis=1).repeat(4, axis=2)
