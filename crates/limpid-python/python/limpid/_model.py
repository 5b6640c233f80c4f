"""Loads models in other processes, to which they are sent by their path."""

from __future__ import annotations

import os

from ._native import Model


def load(path: str | os.PathLike[str], device: str, threads: int | None) -> Model:
    """The model in a folder, as it was loaded where it was sent from."""
    return Model(path, device=device, threads=threads)
