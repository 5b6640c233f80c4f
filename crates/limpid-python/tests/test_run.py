"""Pipelines from Python."""

from __future__ import annotations

import enum
import errno
import logging
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from conftest import FAMILIES, command

import limpid

PIPELINE = {**FAMILIES["dense"], "name": "small", "training": {"input": "clean", "epochs": 1, "batch-size": 50}, "gate": {"baselines": []}}


def test_a_pipeline_runs_and_is_planned(tmp_path):
    file = tmp_path / "small.toml"
    file.write_text(
        'gate.baselines = []\n[source]\nstrokes = { train = 300, test = 40 }\n[model]\ndense = { hidden = [32], code = 6 }\nloss = "mse"\n'
        '[training]\ninput = "clean"\nepochs = 1\nbatch-size = 50\n'
    )
    plans = limpid.plan(file, runs=tmp_path)
    assert [plan.action for plan in plans] == ["run"] * 6 and plans[0].stage == "ingest"
    run = limpid.run(file, runs=tmp_path, set={"training.epochs": np.int64(2)}, progress=False)
    assert run.path == tmp_path / "small" and run.stages[-1] == "report"
    assert limpid.run(str(file), runs=str(tmp_path), set={"training.epochs": 2}).path == run.path
    # The same settings from a dictionary are the same run.
    pipeline = limpid.Pipeline({**PIPELINE, "training": {**PIPELINE["training"], "epochs": 2}})
    assert {plan.action for plan in pipeline.plan(runs=tmp_path)} == {"up-to-date"}
    assert pipeline.run(runs=tmp_path, to="train").path == run.path
    assert run.metrics["images"] == 40 and run.metrics["scores"][0]["mse"] > 0
    assert run.receipt("train")["stage"] == "train" and run.results["settings"]["training.epochs"] == 2
    assert run.report()._repr_html_().startswith("<iframe srcdoc=") and "<html" in run.report().html
    assert pa.table(run.table("denoise", "test")).num_rows == 40 and len(run.table("ingest")) == 340
    with pytest.raises(limpid.SettingsError, match="has not run"):
        run.receipt("corrupt")
    with pytest.raises(limpid.SettingsError, match="no split"):
        run.table("encode", "validation")
    with pytest.raises(limpid.SettingsError, match="no table"):
        run.table("train")


@pytest.fixture
def bucket(monkeypatch):
    """The URL of a bucket of a server on this machine, which .ci/run installs."""
    monkeypatch.syspath_prepend(Path(__file__).parents[3] / "scripts")
    from s3_server import PROGRAM, login, s3_server

    if not PROGRAM.exists():
        pytest.skip(f"{PROGRAM} is not installed")
    with s3_server("python") as port:
        for name, value in login(port).items():
            monkeypatch.setenv(name, value)
        yield "s3://python"


def test_a_run_may_be_in_an_object_store(bucket, tmp_path):
    run = limpid.run(PIPELINE, runs=bucket, progress=False)
    here = limpid.run(PIPELINE, runs=tmp_path, progress=False)
    assert run.location == f"{bucket}/small" and repr(run) == "limpid.Run('s3://python/small')"
    with pytest.raises(limpid.SettingsError, match="has no path; the attribute location"):
        run.path
    again = limpid.Run("s3://python/small")
    assert again.metrics == here.metrics and again.stages == here.stages
    for stage in ("ingest", "encode", "denoise"):
        assert pa.table(again.table(stage, "test")) == pa.table(here.table(stage, "test"))
    assert "<html" in again.report().html
    model, images = again.model(), here.table("ingest", "test").numpy("image")
    assert np.array_equal(model.encode(images), here.model().encode(images)) and model.location == run.location
    assert np.array_equal(pickle.loads(pickle.dumps(model)).encode(images), model.encode(images))
    assert limpid.shared_model(run.location) is limpid.shared_model(run.location)
    with pytest.raises(limpid.SettingsError, match="has no path"):
        model.path


def test_errors_have_a_kind_and_the_message_of_the_command(tmp_path):
    with pytest.raises(limpid.SettingsError, match="(?s)2 problems.*epochz.*did you mean") as raised:
        limpid.run({**PIPELINE, "training": {"epochz": 3, "input": "clean", "batch-size": "x"}}, runs=tmp_path)
    assert raised.value.exit_code == 2 and isinstance(raised.value, (limpid.Error, ValueError))
    with pytest.raises(limpid.SettingsError, match="cannot read the pipeline file"):
        limpid.run(tmp_path / "missing.toml")
    printed = command("run", tmp_path / "missing.toml", code=2)
    with pytest.raises(limpid.SettingsError) as raised:
        limpid.run(tmp_path / "missing.toml")
    assert printed == f"limpid: {raised.value}\n"
    with pytest.raises(limpid.SettingsError, match="no stage"):
        limpid.run(PIPELINE, runs=tmp_path, only="bake")
    with pytest.raises(limpid.SettingsError, match="device"):
        limpid.run(PIPELINE, runs=tmp_path, device="abacus")
    with pytest.raises(limpid.SettingsError, match="cannot be used with"):
        limpid.run(PIPELINE, runs=tmp_path, only="train", to="encode")
    with pytest.raises(TypeError):
        limpid.run({"name": object()})
    with pytest.raises(limpid.SettingsError):
        limpid.run({"name": float("nan")})
    bad = tmp_path / "bad.npy"
    bad.write_bytes(b"\x93NUMPY nothing")
    source = {"npy": {"train": str(bad), "test-fraction": 0.1}}
    with pytest.raises(limpid.DataError, match="bad.npy") as raised:
        limpid.run({**PIPELINE, "source": source}, runs=tmp_path)
    assert raised.value.exit_code == 65
    with pytest.raises(limpid.SettingsError, match="not a run directory"):
        limpid.Run(tmp_path).metrics


def test_a_missed_gate_has_its_run(tmp_path):
    with pytest.raises(limpid.GateMissed, match="the gate is missed") as raised:
        limpid.run({**PIPELINE, "gate": {"baselines": [], "least-psnr": 90.0}}, runs=tmp_path)
    assert raised.value.exit_code == 3 and raised.value.run.metrics["images"] == 40


def test_an_error_of_the_system_has_its_number(tmp_path):
    with pytest.raises(limpid.FileError) as raised:
        limpid.run(PIPELINE, runs="/proc/nowhere", progress=False)
    assert raised.value.errno == errno.ENOENT and "/proc/nowhere" in str(raised.value)
    with pytest.raises(limpid.SettingsError):
        limpid.run(PIPELINE, runs=tmp_path, to="nowhere", progress=False)


def test_values_of_settings_are_written_as_toml():
    from limpid._run import _toml

    tomllib = pytest.importorskip("tomllib")
    for value in [True, 3, -2.5, 1e-9, 1e300, "a \"quoted\" \\ text\n\x7f é 🦀", [1, [2.5, "x"]], {"a b": 1, "c": {"d": [True]}}, []]:
        assert tomllib.loads(f"x = {_toml(value)}")["x"] == value
    assert tomllib.loads(f"x = {_toml(np.array([1, 2]))}")["x"] == [1, 2]


def test_messages_are_logged(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="limpid"):
        limpid.run(PIPELINE, runs=tmp_path, to="ingest")
        limpid.run(PIPELINE, runs=tmp_path, to="ingest")
    assert any(record.getMessage().startswith("ingest: done") for record in caplog.records)
    assert any(record.event == "stage-skipped" for record in caplog.records)


def test_progress_is_shown(tmp_path, capsys):
    limpid.run(PIPELINE, runs=tmp_path, progress=True, set={"source.strokes.train": 60000, "training.epochs": 2}, to="train")
    assert "train" in capsys.readouterr().err


def test_a_failing_reporter_ends_the_work(tmp_path, monkeypatch):
    def fail(self, event, message):
        raise ZeroDivisionError

    monkeypatch.setattr("limpid._progress.Reporter.event", fail)
    with pytest.raises(ZeroDivisionError):
        limpid.run(PIPELINE, runs=tmp_path, progress=False)
    monkeypatch.undo()
    limpid.run(PIPELINE, runs=tmp_path, to="ingest", progress=False)


@pytest.fixture
def interrupts():
    """Ctrl-C interrupts, which it does not in what a shell runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_saves_a_checkpoint(tmp_path, interrupts):
    options = {"runs": tmp_path, "to": "train", "set": {"training.epochs": 200_000}, "progress": False}
    limpid.run(PIPELINE, runs=tmp_path, to="ingest", progress=False)
    threading.Timer(2.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(limpid.Interrupted, match="interrupted") as raised:
        limpid.run(PIPELINE, **options)
    assert isinstance(raised.value.__cause__, KeyboardInterrupt) and raised.value.exit_code == 75
    # Nothing is left of it: the next call goes on from the checkpoint.
    plans = {plan.stage: plan for plan in limpid.plan(PIPELINE, runs=tmp_path, set=options["set"], to="train")}
    assert plans["train"].action == "resume", plans
    limpid.run(PIPELINE, **{**options, "set": {"training.epochs": 1}})


def test_other_threads_work_meanwhile(tmp_path):
    counted = [0]
    done = threading.Event()

    def count():
        while not done.is_set():
            counted[0] += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    limpid.run(PIPELINE, runs=tmp_path, to="train", set={"training.epochs": 20})
    done.set()
    thread.join()
    assert counted[0] > 50


def run_again(folder):
    try:
        limpid.run(PIPELINE, runs=folder, to="ingest")
    except limpid.SettingsError as cause:
        return str(cause)
    return "done"


@pytest.mark.filterwarnings("ignore:This process")
def test_a_forked_process_is_told_that_it_cannot_run_pipelines(tmp_path):
    limpid.run(PIPELINE, runs=tmp_path, to="ingest")
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert "was forked from one" in pool.apply(run_again, (tmp_path,))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(run_again, (tmp_path,)) == "done"


def test_the_command_is_that_of_the_binary(tmp_path):
    assert command("--version").startswith("limpid ")
    assert limpid.__version__ in command("--version")
    assert "unrecognized subcommand" in command("rum", code=2)
    file = tmp_path / "x.toml"
    file.write_text("[source]\nstrokes = {}\n[model]\ndense = {}\n[training]\nepochs = 0\n")
    assert "limpid: the settings have" in command("plan", file, code=2)


def test_it_is_imported_alone():
    program = textwrap.dedent("""
        import sys
        import limpid
        print(sorted({"numpy", "pyarrow", "sklearn", "polars", "pandas", "tqdm"} & set(sys.modules)))
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_whole_run_shows_bars(tmp_path, capfd):
    pytest.importorskip("tqdm")
    pipeline = {**PIPELINE, "corruption": {"gaussian": {"std": 0.2}}, "training": {"input": "noisy", "epochs": 1, "batch-size": 50}}
    run = limpid.run(pipeline, runs=tmp_path, progress=True)
    assert run.stages[-1] == "report"
    assert "evaluate" in capfd.readouterr().err


def test_bars_of_unknown_length_are_closed(capfd):
    pytest.importorskip("tqdm")
    from limpid._progress import Bars

    bars = Bars()
    for done in (0, 3, None, None):
        bars.task("principal components", done, 0, "")
    assert "principal components" in capfd.readouterr().err


def test_numbers_of_any_class_are_settings(tmp_path):
    class Epochs(enum.IntEnum):
        TWO = 2

    for key, value in {"training.learning-rate": np.logspace(-3, -2, 2)[0], "training.epochs": Epochs.TWO}.items():
        assert limpid.plan(PIPELINE, runs=tmp_path, set={key: value})
    with pytest.raises(limpid.SettingsError, match="set is a mapping"):
        limpid.plan(PIPELINE, runs=tmp_path, set=["a=1"])
    with pytest.raises(limpid.SettingsError, match="lock_timeout"):
        limpid.run(PIPELINE, runs=tmp_path, lock_timeout=float("inf"))
