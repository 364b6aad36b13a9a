r"""Conversion of containers of rows, labels and weights to arrays or tables."""

from __future__ import annotations

import numbers
import os
from collections.abc import Iterator, Mapping, Sequence, Set, ValuesView
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.sparse import issparse
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from .._utils.arrays import from_any_device
from .._utils.frames import collected, collected_column, is_frame
from .._utils.image_files import is_image, remedy_for_images

_ROWS = "an array, a DataFrame or a sequence of rows"
_VALUES = "an array, a Series or a sequence with an entry for each row"

# How to convert containers of other types, the more special types first.
_REMEDIES: dict[Any, str] = {
    TensorDataset: "Pass its tensors: X, y = dataset.tensors.",
    IterableDataset: (
        "Collect its rows: X, y = (torch.cat(part) for part in "
        "zip(*torch.utils.data.DataLoader(dataset, batch_size=1000)))."
    ),
    Dataset: (
        "Collect its rows: X, y = next(iter(torch.utils.data.DataLoader(dataset, "
        "batch_size=len(dataset))))."
    ),
    DataLoader: (
        "Collect its batches: X, y = (torch.cat(part) for part in zip(*loader))."
    ),
    Set: "A set has no order. Pass a list.",
    Iterator | ValuesView: "Pass list({name}).",
}


def as_table(X: Any) -> Any:
    r"""Return rows as an array, a DataFrame or a scipy matrix.

    Parameters
    ----------
    X : object
        The rows in any container. Lazy tables are collected: those of polars, relations
        of duckdb, and others that narwhals knows.

    Returns
    -------
    table : ndarray, DataFrame of pandas or polars, or sparse matrix
        The rows; ``X`` itself where possible. Containers that scikit-learn refuses with
        a clear message are returned as they are.

    Raises
    ------
    TypeError
        If ``X`` is no container of rows.
    ValueError
        If the rows of a sequence differ in length.
    """
    X = from_any_device(X)
    _refuse_images(X)
    if _holds_rows(X):
        return _as_array(X.tolist())
    if isinstance(X, np.ndarray) and X.dtype.names is None:
        return _plain(X)
    if is_frame(X) or issparse(X):
        return X
    X = collected(X)
    if is_frame(X) or hasattr(X, "iloc"):
        return X
    refuse(X, "X")
    is_array = hasattr(X, "dtype")
    if hasattr(X, "to_pandas") and len(getattr(X, "shape", ())) == 2 and not is_array:
        # Tables of pyarrow, for example: NumPy would lose the types of their columns.
        return X.to_pandas()
    if isinstance(X, str | bytes | os.PathLike):
        raise TypeError(
            f"Got {X!r} for X, but expected {_ROWS}. Read a file first, for instance "
            "with pandas.read_csv."
        )
    return _as_array(X)


def as_column(values: Any, name: str) -> Any:
    r"""Return labels or weights in a container that NumPy converts without loss.

    Parameters
    ----------
    values : object
        One entry for each row, in any container.
    name : str
        Name of the argument, for messages.

    Returns
    -------
    column : array-like
        The entries; missing entries are NaN, None or NA.

    Raises
    ------
    TypeError
        If ``values`` is no container of entries.
    """
    if isinstance(values, Tensor) and values.layout != torch.strided:
        values = values.to_dense()
    values = from_any_device(values)
    if isinstance(values, np.ndarray) and values.dtype.names is None:
        return _plain(values)
    if isinstance(values, pd.Series | pd.DataFrame | pd.api.extensions.ExtensionArray):
        return _without_nullable(values)
    values = collected_column(values)
    if isinstance(values, pd.Series):
        return _without_nullable(values)
    if is_frame(values) or issparse(values):
        return values
    refuse(values, name)
    rows = _sequence(values)
    return values if rows is None else rows


def refuse(values: Any, name: str) -> None:
    r"""Raise an error for containers that are known to be no table and no column.

    Parameters
    ----------
    values : object
        The argument.
    name : str
        Name of the argument: "X" for rows.

    Raises
    ------
    TypeError
        The message has the code that converts the container.
    """
    remedy = _remedy(values, name)
    if remedy is not None:
        expected = _ROWS if name == "X" else _VALUES
        raise TypeError(
            f"Got {_name(values)} for {name}, but expected {expected}. {remedy}"
        )


def _holds_rows(X: Any) -> bool:
    r"""Return whether each element of an array or a Series is a row of a table."""
    is_objects = getattr(getattr(X, "dtype", None), "kind", None) == "O"
    if not is_objects or X.ndim != 1 or len(X) == 0:
        return False
    first = X.iloc[0] if isinstance(X, pd.Series) else X[0]
    return isinstance(first, list | tuple | np.ndarray | Tensor)


def _as_array(X: Any) -> NDArray[Any]:
    r"""Return a sequence of rows, or an array of another library, as an array."""
    rows = _sequence(X)
    if rows is None:
        array = np.asarray(X)
        if array.ndim == 0 and not isinstance(X, numbers.Number | np.generic | None):
            raise TypeError(
                f"Got {_name(X)} for X, but expected {_ROWS}. Convert it first, for "
                "instance with numpy.asarray."
            )
        return array
    _refuse_rows(rows)
    try:
        array = np.asarray(rows)
    except ValueError as error:
        raise ValueError(
            f"The rows of X are of different lengths or kinds ({error}). Expected as "
            "many values in each row as there are features."
        ) from error
    if array.dtype.kind in "US":
        # NumPy turns numbers beside text into text; objects keep them.
        return np.array(rows, dtype=object)
    if array.ndim > 2 and isinstance(rows[0], np.ndarray):
        # Images: float64 would take eight times the memory of bytes.
        return array
    # A sequence has no dtype; float64 loses nothing.
    return array.astype(np.float64) if array.dtype.kind in "iufb" else array


def _sequence(X: Any) -> Any:
    r"""Return a sequence with arrays for tensors; None if it is not a sequence."""
    if not isinstance(X, Sequence):
        is_array = hasattr(X, "__array__") or hasattr(X, "__array_interface__")
        if is_array or not (hasattr(X, "__len__") and hasattr(X, "__getitem__")):
            return None
    if not isinstance(X, list | tuple):
        if isinstance(X, str | bytes | memoryview):
            return None
        X = [X[i] for i in range(len(X))]
    if any(isinstance(row, Tensor | np.ma.MaskedArray) for row in X):
        return [_plain(from_any_device(row)) for row in X]
    return X


def _plain(array: Any) -> Any:
    r"""Return an array with missing values for masked ones, and objects for texts."""
    if not isinstance(array, np.ma.MaskedArray):
        # pandas and scikit-learn do not take NumPy's strings of variable length.
        return array.astype(object) if array.dtype.kind == "T" else array
    if not np.ma.getmaskarray(array).any():
        return array.data
    # NaN exists among floats only, and None among objects.
    dtypes = {"f": array.dtype, "c": array.dtype} | dict.fromkeys("iub", np.float64)
    filled = array.data.astype(dtypes.get(array.dtype.kind, object))
    filled[array.mask] = None if filled.dtype.kind == "O" else np.nan
    return filled


def _without_nullable(values: Any) -> Any:
    r"""Return pandas' nullable integers and booleans as objects.

    scikit-learn converts them to floats, also if no value is missing.
    """
    dtypes = values.dtypes if isinstance(values, pd.DataFrame) else [values.dtype]
    is_nullable = [
        not isinstance(dtype, np.dtype) and getattr(dtype, "kind", "O") in "iub"
        for dtype in dtypes
    ]
    return values.to_numpy(dtype=object) if any(is_nullable) else values


def _remedy(values: Any, name: str) -> str | None:
    # A pipeline in a search takes a column of paths, but none of these.
    is_no_column = isinstance(values, Dataset | str | os.PathLike) or is_image(values)
    if name == "X" and is_no_column and (of_images := remedy_for_images(values)):
        return of_images
    for kind, remedy in _REMEDIES.items():
        if isinstance(values, kind):
            return remedy.format(name=name)
    # Some of scipy's matrices are mappings.
    if isinstance(values, Mapping) and not issparse(values):
        return (
            "Pass pandas.DataFrame(X)."
            if name == "X"
            else f"Pass the entries in the order of the rows, list({name}.values())."
        )
    if isinstance(values, np.ndarray) and values.dtype.names is not None:
        return f"Make columns of its fields: pandas.DataFrame({name})."
    return None


def _refuse_rows(rows: Sequence[Any]) -> None:
    r"""Raise an error if the first element of a sequence is no row of a table."""
    first = rows[0] if len(rows) else None
    if isinstance(first, Mapping):
        remedy = "Pass pandas.DataFrame(X)."
    elif issparse(first):
        remedy = "Pass scipy.sparse.vstack(X)."
    elif isinstance(first, str | bytes):
        remedy = (
            "Turn texts into numbers first, for instance with sklearn's "
            "TfidfVectorizer in a Pipeline."
        )
    else:
        return
    raise TypeError(
        f"Got a sequence of {_name(first)} for X, but expected {_ROWS}. {remedy}"
    )


def _refuse_images(X: Any) -> None:
    r"""Raise an error for images of Pillow and for image files."""
    remedy = remedy_for_images(X)
    if remedy is not None:
        raise TypeError(
            f"Got images in a {_name(X)} for X, but expected {_ROWS}. {remedy}"
        )


def _name(values: Any) -> str:
    r"""Return the type of an object, with its package unless it is Python's own."""
    kind = type(values)
    package = kind.__module__.split(".")[0]
    return kind.__name__ if package == "builtins" else f"{package} {kind.__name__}"
