"""limpid: images in, compressed features and denoised images out.

>>> import limpid
>>> run = limpid.run("pipelines/quickstart.toml", set={"training.epochs": 5})   # doctest: +SKIP
>>> codes = limpid.Model(run.path).encode(images)                              # doctest: +SKIP

Everything is done by the code of the command ``limpid``; docs/python.md has examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._errors import DataError, Error, FileError, Interrupted, SettingsError
from ._native import VERSION as __version__
from ._native import Model, Table
from ._run import GateMissed, Pipeline, Report, Run, StagePlan, plan, run, shared_model

if TYPE_CHECKING:
    from ._autoencoder import Autoencoder

__all__ = [
    "Autoencoder",
    "DataError",
    "Error",
    "FileError",
    "GateMissed",
    "Interrupted",
    "Model",
    "Pipeline",
    "Report",
    "Run",
    "SettingsError",
    "StagePlan",
    "Table",
    "__version__",
    "plan",
    "run",
    "shared_model",
]


def __getattr__(name: str) -> Any:
    # scikit-learn takes long to import, and few need it.
    if name == "Autoencoder":
        from ._autoencoder import Autoencoder

        return Autoencoder
    raise AttributeError(f"module 'limpid' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("_"))})
