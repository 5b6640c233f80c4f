"""Pipelines and runs."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, Union, Unpack

from . import _native
from ._errors import Error, SettingsError
from ._native import Model, Table
from ._progress import reporter

Source = Union[str, "os.PathLike[str]", Mapping[str, Any], "Pipeline"]

_SPLITS = ("train", "test", "validation")


class Selection(TypedDict, total=False):
    """Which stages, and where."""

    set: Mapping[str, Any] | None
    runs: str | os.PathLike[str]
    only: str | None
    from_: str | None
    to: str | None
    force: bool
    verify: bool
    fresh: bool


class PlanOptions(Selection, total=False):
    """What is planned, and for which device."""

    device: str | None


class Options(Selection, total=False):
    """How they run."""

    device: str
    threads: int | None
    lock_timeout: float | str | None
    data: str | os.PathLike[str]
    lineage: str | os.PathLike[str] | None
    progress: bool | None


class StagePlan(NamedTuple):
    """What a run would do with a stage, and why."""

    stage: str
    action: str
    """``up-to-date``, ``run`` or ``resume``."""
    reasons: list[str]


class Pipeline:
    """A pipeline: a TOML file, or its settings as a dictionary, whose relative paths start in the current folder."""

    def __init__(self, settings: str | os.PathLike[str] | Mapping[str, Any]) -> None:
        self.settings = settings

    def run(self, **options: Unpack[Options]) -> Run:
        """Runs it, as `limpid.run` does."""
        return run(self, **options)

    def plan(self, **options: Unpack[PlanOptions]) -> list[StagePlan]:
        """What a run would do, as `limpid.plan` says."""
        return plan(self, **options)

    def __repr__(self) -> str:
        return f"limpid.Pipeline({self.settings!r})"


def run(
    pipeline: Source,
    *,
    set: Mapping[str, Any] | None = None,
    runs: str | os.PathLike[str] = "runs",
    only: str | None = None,
    from_: str | None = None,
    to: str | None = None,
    force: bool = False,
    verify: bool = False,
    fresh: bool = False,
    device: str = "flex",
    threads: int | None = None,
    lock_timeout: float | str | None = None,
    data: str | os.PathLike[str] = "data",
    lineage: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Run:
    """Runs every stage of a pipeline whose result is not there or no longer right.

    `set` overrides settings, as in ``{"training.epochs": 5}``; `only`, `from_` and `to` name stages. `lock_timeout` is a number of
    seconds, or text as in ``"10m"``. `threads` are all cores unless given; those of the first call stay. Messages go to the logger ``limpid``; `progress` asks for bars, which are shown on a terminal and in
    a notebook unless it is False.

    Raises SettingsError, DataError, FileError, Interrupted; and GateMissed, whose `run` is the run.
    """
    arguments = ["run", *_selection(set, runs, only, from_, to, force, verify, fresh), "--device", device, f"--data={os.fspath(data)}"]
    if threads is not None:
        arguments.append(f"--threads={threads}")
    if lock_timeout is not None:
        if not isinstance(lock_timeout, str) and not math.isfinite(lock_timeout):
            raise SettingsError(f"lock_timeout is a number of seconds or text as in '10m', and not {lock_timeout}")
        arguments.append(f"--lock-timeout={lock_timeout if isinstance(lock_timeout, str) else max(0, round(lock_timeout))}")
    if lineage is not None:
        arguments.append(f"--lineage={os.fspath(lineage)}")
    arguments, settings = _source(arguments, pipeline)
    try:
        _native.run(arguments, settings, reporter(progress))
    except GateMissed as missed:
        missed.run = Run(_native.directory(arguments, settings))
        raise
    return Run(_native.directory(arguments, settings))


def plan(
    pipeline: Source,
    *,
    set: Mapping[str, Any] | None = None,
    runs: str | os.PathLike[str] = "runs",
    only: str | None = None,
    from_: str | None = None,
    to: str | None = None,
    force: bool = False,
    verify: bool = False,
    fresh: bool = False,
    device: str | None = None,
) -> list[StagePlan]:
    """What `run` with the same arguments would do with each stage, and why; a `device` is checked only if it is given."""
    import json

    arguments = ["plan", *_selection(set, runs, only, from_, to, force, verify, fresh)]
    if device is not None:
        arguments.append(f"--device={device}")
    plans = json.loads(_native.plan(*_source(arguments, pipeline)))
    return [StagePlan(plan["stage"], plan["action"], plan["reasons"]) for plan in plans]


class Run:
    """A run directory, or one in an object store by its URL: ``s3://``, ``gs://``, ``az://``."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.location: str = _absolute(path)
        """The run directory, or its URL."""

    @property
    def path(self) -> Path:
        """The run directory; SettingsError of a run in a store, which has a `location` alone."""
        return _native.path(self.location)

    @property
    def results(self) -> dict[str, Any]:
        """Everything that ``limpid show --json`` prints: settings, sources, stages, metrics and gate."""
        import json

        results: dict[str, Any] = json.loads(_native.show(self.location))
        return results

    @property
    def metrics(self) -> dict[str, Any] | None:
        """The scores, as in ``metrics.json`` (docs/metrics.md); none if the run has not been evaluated."""
        import json

        metrics: dict[str, Any] | None = json.loads(_native.scores(self.location))
        return metrics

    @property
    def stages(self) -> list[str]:
        """The names of the stages that have run."""
        return [receipt["stage"] for receipt in self.results["stages"]]

    def receipt(self, stage: str) -> dict[str, Any]:
        """What a stage did: settings, digests, rows, seconds, versions."""
        receipts: dict[str, dict[str, Any]] = {receipt["stage"]: receipt for receipt in self.results["stages"]}
        if stage not in receipts:
            raise SettingsError(f"the stage {stage!r} of {self.location} has not run; those that have: {', '.join(receipts)}")
        return receipts[stage]

    def table(self, stage: str, split: str | None = None) -> Table:
        """The table of a stage (ingest, corrupt, encode or denoise), of one split or of all; for anything that takes Arrow."""
        names = [output["name"] for output in self.receipt(stage)["outputs"]]
        wanted = [split] if split is not None else _SPLITS
        files = [name for name in names if name.endswith(".parquet") and name.split("-")[0] in wanted]
        if not files:
            what = f"no split {split!r}" if split is not None and stage in ("ingest", "corrupt", "encode", "denoise") else "no table of images"
            raise SettingsError(f"the stage {stage!r} of {self.location} has {what}")
        folder = _native.folder(self.location, stage)
        return Table.of_files([f"{folder}/{name}" for name in files])

    def model(self, *, device: str = "flex", threads: int | None = None) -> Model:
        """The trained model."""
        return Model(self.location, device=device, threads=threads)

    def report(self) -> Report:
        """The report, which a notebook shows."""
        if "report" not in self.stages:
            raise SettingsError(f"{self.location} has no report: run the stage report")
        (name,) = (output["name"] for output in self.receipt("report")["outputs"] if output["name"].endswith(".html"))
        return Report(f"{_native.folder(self.location, 'report')}/{name}")

    def __repr__(self) -> str:
        return f"limpid.Run({self.location!r})"


class GateMissed(Error):
    """The scores of a run miss its gate; its results are published, and `run` has them."""

    __module__ = "limpid"
    exit_code = 3
    run: Run | None = None


class Report:
    """The report of a run."""

    def __init__(self, location: str) -> None:
        self.location = location
        """The file, or its URL."""

    @property
    def html(self) -> str:
        """The page, which needs no other file."""
        return _native.text(self.location)

    def _repr_html_(self) -> str:
        import html

        # In a frame, so that the page and the notebook do not restyle each other.
        return f'<iframe srcdoc="{html.escape(self.html)}" style="width: 100%; height: 40em; border: 0"></iframe>'

    def __repr__(self) -> str:
        return f"limpid.Report({self.location!r})"


def shared_model(path: str | os.PathLike[str], *, device: str = "flex", threads: int | None = None) -> Model:
    """The model of a run, loaded once in this process for all who ask for it, and again once the run has another; of a run in a store,
    once for all.

    For functions that are sent to workers of Spark and the like, where they find the run at the same path."""
    places = (Path(path) / "model.json", Path(path) / "train" / "model.json")
    # The folder is replaced with its files.
    stamp = next((place.stat().st_ctime_ns for place in places if place.is_file()), 0)
    return _shared(_absolute(path), device, threads, stamp)


@functools.lru_cache(maxsize=8)
def _shared(path: str, device: str, threads: int | None, stamp: int) -> Model:
    return Model(path, device=device, threads=threads)


def _absolute(path: str | os.PathLike[str]) -> str:
    """The path, or the URL, that it is whatever the current folder is later."""
    return os.fspath(path) if _native.is_url(path) else os.path.abspath(path)


def _selection(
    set: Mapping[str, Any] | None,
    runs: str | os.PathLike[str],
    only: str | None,
    from_: str | None,
    to: str | None,
    force: bool,
    verify: bool,
    fresh: bool,
) -> list[str]:
    if set is not None and not isinstance(set, Mapping):
        raise SettingsError(f"set is a mapping, as in {{'training.epochs': 5}}, and not {set!r}")
    arguments = [f"--runs={os.fspath(runs)}"]
    arguments += [f"--set={key}={_toml(value)}" for key, value in (set or {}).items()]
    named = {"only": only, "from": from_, "to": to}
    arguments += [f"--{name}={stage}" for name, stage in named.items() if stage is not None]
    arguments += [f"--{name}" for name, wanted in {"force": force, "verify": verify, "fresh": fresh}.items() if wanted]
    return arguments


def _source(arguments: list[str], pipeline: Source) -> tuple[list[str], str | None]:
    """The arguments with the pipeline's file, and the settings in its place."""
    if isinstance(pipeline, Pipeline):
        pipeline = pipeline.settings
    if not isinstance(pipeline, Mapping):
        return [*arguments, "--", os.fspath(pipeline)], None
    import json

    return [*arguments, "--", "the pipeline"], json.dumps(dict(pipeline), default=_plain)


def _plain(value: Any) -> Any:
    """A value that JSON does not know as one that it does: a path, a number of NumPy's, a mapping."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    for method in ("tolist", "item"):
        if hasattr(value, method):
            return getattr(value, method)()
    raise TypeError(f"settings are numbers, text, lists and dictionaries, and not {type(value).__name__}")


def _toml(value: Any) -> str:
    """A value as TOML writes it."""
    import json

    if isinstance(value, (bool, str)):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    # Classes of their own, as numpy.float64 and members of IntEnum, have other texts.
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml(str(key))} = {_toml(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, Iterable) and not hasattr(value, "tolist"):
        return "[" + ", ".join(_toml(entry) for entry in value) + "]"
    return _toml(_plain(value))
