"""The stubs agree with themselves and with what users write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
from pathlib import Path
import numpy as np
from typing import assert_type
from numpy.typing import NDArray
import limpid

run = limpid.run("p.toml", set={"training.epochs": 5}, to="encode")
assert_type(run, limpid.Run)
assert_type(limpid.Pipeline({"name": "x"}).run(runs=Path("runs"), progress=True), limpid.Run)
assert_type(limpid.plan("p.toml")[0].reasons, list[str])
model = limpid.Model(run.path, threads=2)
images = np.zeros((2, 28, 28), np.uint8)
assert_type(model.encode(images), NDArray[np.float32])
assert_type(model.encode(["a.png"], resize=True), NDArray[np.float32])
assert_type(model.encode(images, output="arrow"), limpid.Table)
assert_type(model.encode(run.table("ingest")), limpid.Table)
assert_type(model.encode(run.table("ingest"), output="numpy"), NDArray[np.float32])
assert_type(model.decode(model.encode(images)), NDArray[np.float32])
assert_type(limpid.Autoencoder(4).fit(images).transform(images), NDArray[np.float32])
try:
    pass
except limpid.GateMissed as missed:
    assert missed.run is not None
    print(missed.run.metrics)
"""


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_types(checker, tmp_path):
    pytest.importorskip(checker)
    import limpid

    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    options = ["--strict", "--cache-dir", str(tmp_path / "cache")] if checker == "mypy" else ["--pythonpath", sys.executable]
    for what in ([str(program)], ["-p", "limpid"] if checker == "mypy" else [str(Path(limpid.__file__).parent)]):
        done = subprocess.run([sys.executable, "-m", checker, *options, *what], capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
