"""An autoencoder as scikit-learn has its transformers."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin  # type: ignore[import-untyped]
from sklearn.utils import check_random_state  # type: ignore[import-untyped]
from sklearn.utils.validation import check_array, check_is_fitted, validate_data  # type: ignore[import-untyped]

from ._errors import Interrupted
from ._native import Model, write_rows
from ._run import run


class Autoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Fits a dense autoencoder to rows of numbers, and gives their codes.

    Each column is scaled to [0, 1] by the rows that it is fitted to. Rows of images [n, rows, columns] or [n, rows, columns, channels], of
    bytes or floats in [0, 1], are taken too. It goes into a scikit-learn `Pipeline`, and is copied and pickled with its weights.

    Parameters
    ----------
    code : int
        Numbers of a code.
    hidden : sequence of int
        Widths of the layers between a row and its code.
    epochs, batch_size, learning_rate
        How it is trained.
    scale : "min-max" or "standard"
        What of a column becomes 0 and 1: its least and greatest number, or its mean less and plus four standard deviations.
    settings : mapping
        Further settings of the pipeline, as ``{"training.schedule": "cosine"}``.
    device, threads
        Where it is trained, as in `limpid.run`.
    random_state : int, RandomState or None
        Decides the initial weights and the order of the rows; 1 if None, since limpid makes the same bytes of the same input.
    """

    def __init__(
        self,
        code: int = 8,
        *,
        hidden: Sequence[int] = (),
        epochs: int = 20,
        batch_size: int = 200,
        learning_rate: float = 1e-3,
        scale: str = "min-max",
        settings: Mapping[str, Any] | None = None,
        device: str = "flex",
        threads: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.code = code
        self.hidden = hidden
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.scale = scale
        self.settings = settings
        self.device = device
        self.threads = threads
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Autoencoder:
        """Trains it on the rows of X."""
        X = self._checked(X, reset=True)
        seed = 1 if self.random_state is None else int(check_random_state(self.random_state).randint(2**31 - 1))
        with tempfile.TemporaryDirectory(prefix="limpid-") as folder:
            # Its loss is in the history of the training alone: there are no other rows to test with.
            for name, rows in (("train", X), ("test", X[:1000])):
                if X.ndim == 2:
                    write_rows(folder, f"{name}.parquet", np.ascontiguousarray(rows).data)
                else:
                    np.save(Path(folder) / f"{name}.npy", rows)
            end = "parquet" if X.ndim == 2 else "npy"
            source = {name: str(Path(folder) / f"{name}.{end}") for name in ("train", "test")}
            if X.ndim == 2:
                source |= {"label": "none", "scale": self.scale}
            pipeline = {
                "name": "run",
                "seed": seed,
                "source": {"vectors" if X.ndim == 2 else "npy": source},
                "model": {"dense": {"hidden": [int(width) for width in self.hidden], "code": int(self.code)}, "loss": "mse"},
                "training": {
                    "input": "clean",
                    "epochs": int(self.epochs),
                    "batch-size": int(self.batch_size),
                    "learning-rate": float(self.learning_rate),
                },
            }
            options: dict[str, Any] = {"runs": folder, "device": self.device, "threads": self.threads, "progress": False}
            try:
                trained = run(pipeline, set=self.settings, to="train", **options)
            except Interrupted as stopped:
                # Its checkpoint goes with the folder; and a search over settings takes exceptions for bad ones, and goes on.
                if isinstance(stopped.__cause__, KeyboardInterrupt):
                    raise KeyboardInterrupt from None
                raise
            self.files_ = {file.name: file.read_bytes() for file in (trained.path / "train").iterdir() if _is_model(file)}
        self._loaded: Model | None = None
        self._n_features_out = self.model_.code_size
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """The codes of the rows of X."""
        check_is_fitted(self)
        return self.model_.encode(self._checked(X, reset=False))

    def inverse_transform(self, X: Any) -> NDArray[np.float32]:
        """The rows that codes stand for."""
        check_is_fitted(self)
        codes: Any = check_array(X, dtype="float32")
        return self.model_.decode(codes)

    def score_samples(self, X: Any) -> NDArray[np.float32]:
        """The negative reconstruction error of each row, mean squared with columns in [0, 1]: the less, the less it is like the others."""
        check_is_fitted(self)
        table = self.model_.encode(self._checked(X, reset=False), output="arrow")
        error: NDArray[np.float32] = -table.numpy("error")
        return error

    @property
    def model_(self) -> Model:
        """The trained model, whose files are there as long as this is, so that it can be sent to other processes."""
        check_is_fitted(self)
        if self._loaded is None:
            folder = tempfile.mkdtemp(prefix="limpid-")
            try:
                for name, content in self.files_.items():
                    (Path(folder) / name).write_bytes(content)
                self._loaded = Model(folder, device=self.device, threads=self.threads)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            weakref.finalize(self._loaded, _remove, folder, os.getpid())
        return self._loaded

    def _checked(self, X: Any, reset: bool) -> NDArray[Any]:
        images = getattr(X, "ndim", 2) > 2
        # Images keep their type, by which bytes and floats differ.
        options: dict[str, Any] = {"allow_nd": True, "dtype": None} if images else {"dtype": np.float64}
        checked = validate_data(self, X, reset=reset, ensure_min_samples=2 if reset else 1, **options)
        return cast("NDArray[Any]", checked)

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()
        # It is loaded again where it is needed.
        return {**state, "_loaded": None} if "_loaded" in state else state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "files_")


def _remove(folder: str, process: int) -> None:
    # Not when a fork of the process ends.
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def _is_model(file: Path) -> bool:
    return file.name == "model.json" or file.suffix == ".safetensors" and not file.name.startswith("optimizer")
