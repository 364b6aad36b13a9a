r"""Checks of what images are read from: paths, contents of files, images of Pillow."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .._utils.estimators import shortened
from .._utils.frames import is_frame
from .decoding import Failure, Source

_EXPECTED = (
    "a list, an array of objects, a Series or one column of a DataFrame, with a path, "
    "the bytes of a file or an image of Pillow in each row"
)

# Number of unreadable images that a message names.
_N_SHOWN = 5


def check_sources(X: Any) -> list[Source]:
    r"""Return the path, the contents or the image of each row.

    Parameters
    ----------
    X : object
        The rows in any container.

    Returns
    -------
    sources : list of str, bytes or PIL.Image.Image
        Paths as text; contents of files and images as they are.

    Raises
    ------
    TypeError
        If ``X`` is no container of images, or a row is no image.
    ValueError
        If ``X`` has no row or several columns.
    """
    column = _column(X)
    if not len(column):
        raise ValueError(
            f"Found array with 0 sample(s): got no row in X, but expected {_EXPECTED}."
        )
    return [_source(row, value) for row, value in enumerate(column)]


def unreadable(failures: Sequence[Failure], sources: Sequence[Source]) -> Exception:
    r"""Return the error that names the images that could not be read."""
    named = [
        f"{_name(sources[row])} in row {row} ({reason})" for row, _, reason in failures
    ]
    all_are_missing = all(is_missing for _, is_missing, _ in failures)
    kind = FileNotFoundError if all_are_missing else ValueError
    count = "an image" if len(named) == 1 else f"{len(named)} images"
    return kind(
        f"Got {count} in X that cannot be read: {shortened(named, _N_SHOWN)}. Expected "
        "files that Pillow reads. Replace them, or leave these rows out of X and y."
    )


def _name(source: Source) -> str:
    if isinstance(source, bytes):
        return f"{len(source)} bytes"
    return repr(source) if isinstance(source, str) else f"a {type(source).__name__}"


def _source(row: int, value: Any) -> Source:
    if isinstance(value, bytes | Image.Image):
        return value
    if isinstance(value, str | os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    raise TypeError(
        f"Got {_kind(value)} in row {row} of X, but expected {_EXPECTED}."
        + (" Pass the images without labels." if isinstance(value, tuple) else "")
    )


def _column(X: Any) -> Sequence[Any]:
    r"""Return the rows of a container as a sequence."""
    _refuse(X)
    if is_frame(X):
        if X.shape[1] != 1:
            names = shortened(list(X.columns), _N_SHOWN)
            raise ValueError(
                f"Got a DataFrame with {X.shape[1]} columns ({names}) for X, but "
                "expected one column. Pass X['path'] for a column of that name, or "
                "make_column_transformer((ImageReader(), 'path')) as the step."
            )
        X = X.iloc[:, 0] if isinstance(X, pd.DataFrame) else X.to_series()
    if isinstance(X, np.ndarray):
        column: list[Any] = X.reshape(-1).tolist()
        return column
    return X.to_list() if hasattr(X, "to_list") else list(X)


def _refuse(X: Any) -> None:
    r"""Raise an error for containers that are no column, with the remedy."""
    remedy = _remedy(X)
    if remedy is not None:
        raise TypeError(f"Got {_kind(X)} for X, but expected {_EXPECTED}. {remedy}")


def _remedy(X: Any) -> str | None:
    r"""Return what to pass instead of a container; None if it is accepted."""
    if isinstance(X, str | os.PathLike):
        if os.path.isdir(X):
            return (
                "Pass the paths of its files: sksoftmax.datasets.load_image_folder "
                "returns them for a folder of each class."
            )
        return "Pass a list of one path: [X]."
    if isinstance(X, bytes | Image.Image):
        return "Pass a list of one image: [X]."
    if isinstance(X, Iterator):
        return "It can be read only once. Pass sorted(X) for paths, or list(X)."
    if isinstance(X, Dataset):
        if hasattr(X, "samples"):
            return "Pass [path for path, _ in X.samples] and the labels X.targets."
        return "Pass [image for image, _ in X] and [label for _, label in X]."
    if isinstance(X, np.ndarray | Tensor) and X.ndim:
        return _remedy_of_array(X) if len(X) else None
    if isinstance(X, np.ndarray | Tensor | DataLoader | Mapping | Set) or not hasattr(
        X, "__len__"
    ):
        return "Pass a list."
    return None


def _remedy_of_array(X: Any) -> str | None:
    if isinstance(X, Tensor) or X.dtype.kind not in "UOST":
        return "These are pixels already: leave ImageReader out."
    if X.dtype.kind == "S":
        return (
            "NumPy drops zeros at the end of bytes: pass a list of the contents, or "
            "X.astype(str) if they are paths."
        )
    if X.ndim not in (1, 2) or X.size != len(X):
        return f"Its shape is {X.shape}: pass one column."
    return None


def _kind(value: Any) -> str:
    r"""Return the type of an object, with the dtype of an array."""
    name = type(value).__name__
    dtype = getattr(value, "dtype", None)
    return name if dtype is None else f"{name} of {dtype}"
