"""The native module."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._progress import Reporter

VERSION: str

class ArrowArray(Protocol):
    """What hands over one Arrow array or record batch."""

    def __arrow_c_array__(self, requested_schema: Any = None) -> Any: ...

class ArrowStream(Protocol):
    """What hands over a stream of Arrow data: a table, a data frame, a query."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any: ...

class Picture(Protocol):
    """A picture of PIL's."""

    def getbands(self) -> tuple[str, ...]: ...
    def save(self, fp: Any, format: str | None = None) -> None: ...

Arrow = ArrowArray | ArrowStream
Pictures = Sequence[str | os.PathLike[str]] | Sequence[bytes | Picture]
Codes = Literal["image", "pooled", "patches"]

class Table:
    """Rows with named columns. Anything that takes Arrow takes it: `pyarrow.table(table)`, `polars.DataFrame(table)`, DuckDB."""

    @staticmethod
    def of_files(paths: Sequence[str | os.PathLike[str]]) -> Table:
        """The rows of tables that limpid wrote, which are read when they are asked for."""

    def __arrow_c_schema__(self) -> object: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...
    def __len__(self) -> int: ...
    @property
    def column_names(self) -> list[str]: ...
    def numpy(self, column: str) -> NDArray[Any]:
        """A column as an array with a row for each of the table's: `image` as [n, rows, columns] or [n, rows, columns, channels], `code` as
        [n, size], missing labels as NaN. Images of different sizes are a list of arrays."""

class Model:
    """A trained model, which any number of threads may use at once: that of a run directory, which may be a URL (``s3://``, ``gs://``,
    ``az://``), or of the folder of its train stage.

    `threads` are all cores unless given. It is sent to other processes by its path.

    Images are a NumPy array [n, rows, columns], [n, rows, columns, channels] or [n, numbers], of bytes or of floats in [0, 1] (by the
    levels of the model's source, if that has some); anything with `__arrow_c_array__` or `__arrow_c_stream__`, with a column of images as
    `limpid encode` takes them, or such a column alone; or a list of paths, of PIL's pictures or of the bytes of picture files. PIL's pictures
    are taken as they are in memory, not turned by the orientation of their file. A model of rows takes [n, columns], or tables with its
    columns.

    The results are NumPy arrays, or a Table with `id`, `split`, `label` and `error` if the images were Arrow, or as `output` says."""

    def __new__(cls, path: str | os.PathLike[str], *, device: str = "flex", threads: int | None = None) -> Model: ...
    @property
    def path(self) -> Path:
        """Where it was loaded from; SettingsError of a run in a store."""

    @property
    def location(self) -> str:
        """The same as text, or the URL in a store."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels of the images that it was trained on."""

    @property
    def code_size(self) -> int | None:
        """Numbers of a code; none if it has no code."""

    @property
    def columns(self) -> list[str] | None:
        """The columns of the rows that it takes, if it takes rows."""

    @overload
    def encode(  # type: ignore[overload-overlap]
        self,
        images: Arrow,
        *,
        codes: Codes = "image",
        output: Literal["arrow"] | None = None,
        column: str | None = None,
        resize: bool = False,
        crop: bool = False,
        progress: bool | None = False,
    ) -> Table: ...
    @overload
    def encode(
        self,
        images: ArrayLike | Pictures,
        *,
        codes: Codes = "image",
        output: Literal["arrow"],
        column: str | None = None,
        resize: bool = False,
        crop: bool = False,
        progress: bool | None = False,
    ) -> Table: ...
    @overload
    def encode(
        self,
        images: ArrayLike | Pictures | Arrow,
        *,
        codes: Codes = "image",
        output: Literal["numpy"] | None = None,
        column: str | None = None,
        resize: bool = False,
        crop: bool = False,
        progress: bool | None = False,
    ) -> NDArray[np.float32]:
        """The codes, [n, size]: to the bit those that `limpid encode` writes.

        `codes` is "image" for one of each image, "pooled" for the mean over its patches, "patches" for one of each patch. `column` is the
        column of images in a table; `resize` scales pictures to the size of the model's images, `crop` until they cover it; `progress` shows
        a bar, None only on a terminal and in a notebook. All of them hold for the other methods too."""

    @overload
    def denoise(  # type: ignore[overload-overlap]
        self,
        images: Arrow,
        *,
        ensemble: bool = False,
        output: Literal["arrow"] | None = None,
        column: str | None = None,
        resize: bool = False,
        crop: bool = False,
        progress: bool | None = False,
    ) -> Table: ...
    @overload
    def denoise(
        self,
        images: ArrayLike | Pictures,
        *,
        ensemble: bool = False,
        output: Literal["arrow"],
        column: str | None = None,
        resize: bool = False,
        crop: bool = False,
        progress: bool | None = False,
    ) -> Table: ...
    @overload
    def denoise(
        self,
        images: ArrayLike | Pictures | Arrow,
        *,
        ensemble: bool = False,
        output: Literal["numpy"] | None = None,
        column: str | None = None,
        resize: bool = False,
        crop: bool = False,
        progress: bool | None = False,
    ) -> NDArray[Any]:
        """The images as the model makes them, in the form of those that were given: to the bit what `limpid denoise` writes, bytes of
        bytes and floats of floats. `ensemble` takes the mean over the eight orientations of each. Pictures of different sizes are a list
        of arrays."""

    @overload
    def reconstruct(  # type: ignore[overload-overlap]
        self,
        images: Arrow,
        *,
        output: Literal["arrow"] | None = None,
        column: str | None = None,
        resize: bool = False,
        crop: bool = False,
        progress: bool | None = False,
    ) -> Table: ...
    @overload
    def reconstruct(
        self,
        images: ArrayLike | Pictures,
        *,
        output: Literal["arrow"],
        column: str | None = None,
        resize: bool = False,
        crop: bool = False,
        progress: bool | None = False,
    ) -> Table: ...
    @overload
    def reconstruct(
        self,
        images: ArrayLike | Pictures | Arrow,
        *,
        output: Literal["numpy"] | None = None,
        column: str | None = None,
        resize: bool = False,
        crop: bool = False,
        progress: bool | None = False,
    ) -> NDArray[np.float32]:
        """As `denoise`, as floats in [0, 1] that are not rounded to bytes: what `decode` makes of the codes, for a model that has them."""

    def decode(self, codes: ArrayLike) -> NDArray[np.float32]:
        """The images that codes stand for, as floats in [0, 1]: [n, rows, columns], or with channels; rows in the units of their columns."""

def main(arguments: Sequence[str]) -> int: ...
def run(arguments: list[str], settings: str | None, reporter: Reporter) -> None: ...
def directory(arguments: list[str], settings: str | None) -> str: ...
def plan(arguments: list[str], settings: str | None) -> str: ...
def show(run: str | os.PathLike[str]) -> str: ...
def scores(run: str | os.PathLike[str]) -> str: ...
def path(location: str | os.PathLike[str]) -> Path: ...
def is_url(path: str | os.PathLike[str]) -> bool: ...
def folder(run: str | os.PathLike[str], stage: str) -> str: ...
def text(path: str | os.PathLike[str]) -> str: ...
def write_rows(folder: str | os.PathLike[str], name: str, rows: Any) -> None: ...
