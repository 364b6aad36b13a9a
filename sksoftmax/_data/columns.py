r"""Columns of a table that hold neither numbers nor categories: told by their names."""

from __future__ import annotations

import datetime
import decimal
import numbers
from collections.abc import Iterator
from functools import lru_cache
from types import NoneType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from .._utils.frames import is_frame, is_polars

# The kinds of values that are refused, the types that they come in, and the remedy. A
# dtype and a value in a column of objects have the same types.
_KINDS: tuple[tuple[str, tuple[type, ...], str], ...] = (
    (
        "dates",
        (datetime.date, np.datetime64),
        "Turn dates into numbers, for instance with skrub.DatetimeEncoder, or count "
        "the days since the first date",
    ),
    (
        "times of day",
        (datetime.time,),
        "Turn times into numbers, hours for example",
    ),
    (
        "durations",
        (datetime.timedelta, np.timedelta64),
        "Turn durations into numbers, for instance with .dt.total_seconds()",
    ),
    (
        "periods",
        (pd.Period,),
        "Turn periods into numbers, the year and the month for example",
    ),
    (
        "intervals",
        (pd.Interval,),
        "Turn intervals into numbers, their middles for example, or into text with "
        ".astype(str)",
    ),
    (
        "complex numbers",
        (complex, np.complexfloating),
        "Pass the real and the imaginary part as two columns",
    ),
    (
        "bytes",
        (bytes, bytearray, np.bytes_),
        "Decode bytes into text, for instance with .str.decode('utf-8'), or read "
        "numbers from them",
    ),
    (
        "records",
        (dict, np.void),
        "Make a column of each field: each value of the argument must be a string or "
        "a number",
    ),
    (
        "sequences",
        (list, tuple, set, np.ndarray, Tensor, pd.Series),
        "Make a column of each element",
    ),
)

# Values of these types are numbers, categories, or missing.
_FINE = (
    str,
    numbers.Real,
    decimal.Decimal,
    np.bool_,
    NoneType,
    type(pd.NA),
    pd.CategoricalDtype.type,
)

# Dtypes of NumPy whose columns need no look.
_NUMBERS = {
    np.dtype(code).type for code in np.typecodes["AllInteger"] + np.typecodes["Float"]
} | {np.bool_}

# Objects of these kinds, in pandas' words, need no look at each of them.
_FINE_KINDS = {
    "string",
    "integer",
    "floating",
    "mixed-integer-float",
    "decimal",
    "boolean",
    "empty",
}

# As many columns are named in a message.
_MOST_NAMES = 5


def check_columns(estimator_name: str, table: Any, *, takes_text: bool) -> None:
    r"""Raise an error if columns hold neither numbers, nor categories, nor text.

    Parameters
    ----------
    estimator_name : str
        Who expected something else, for the message.
    table : ndarray, sparse matrix or DataFrame of shape (N, D)
        The rows.
    takes_text : bool
        Whether text and categories are of use, for the message.

    Raises
    ------
    TypeError
        If a column holds dates, durations, periods, intervals, bytes, sequences or
        other objects. The message names the columns and the remedy.
    """
    refused: dict[str, list[str]] = {}
    remedies = {}
    for name, dtype, types in _columns(table, takes_text):
        found = next((kind for kind in types if _refused(kind) is not None), None)
        if found is not None:
            what, remedy = _refused(found)  # type: ignore[misc]
            spelling = found.__name__ if str(dtype).lower() == "object" else dtype
            refused.setdefault(f"{what} ({spelling})", []).append(name)
            remedies[f"{what} ({spelling})"] = remedy
    if not refused:
        return
    what, names = next(iter(refused.items()))
    shown = ", ".join(names[:_MOST_NAMES]) + ", ..." * (len(names) > _MOST_NAMES)
    expected = "numbers or categories" if takes_text else "numbers"
    raise TypeError(
        f"{f'Column {shown}' if len(names) == 1 else f'Columns {shown}'} of X "
        f"{'holds' if len(names) == 1 else 'hold'} {what}, but {estimator_name} "
        f"expected {expected}. {remedies[what]}. Otherwise, leave the column out."
    )


@lru_cache(maxsize=1024)
def _refused(kind: type) -> tuple[str, str] | None:
    r"""Return what values of a type are and the remedy; None if they are fine."""
    for what, kinds, remedy in _KINDS:
        if issubclass(kind, kinds):
            return what, remedy
    if issubclass(kind, _FINE):
        return None
    return "objects", "Convert them: each value must be a string or a number"


def _columns(table: Any, takes_text: bool) -> Iterator[tuple[str, Any, Any]]:
    r"""Yield the name, the dtype and the types of the values of each column."""
    if is_polars(table):
        for name, dtype in zip(table.columns, table.dtypes, strict=True):
            kind = dtype.to_python()
            is_object = kind is object
            yield (
                repr(name),
                dtype,
                _types(table[name].to_numpy()) if is_object else {kind},
            )
    elif is_frame(table):
        yield from _columns_of_frame(table, takes_text)
    elif isinstance(table, np.ndarray) and table.ndim == 2:
        yield from _columns_of_array(table)


def _columns_of_frame(
    table: pd.DataFrame, takes_text: bool
) -> Iterator[tuple[str, Any, Any]]:
    for index, dtype in enumerate(table.dtypes.to_numpy()):
        if dtype.type in _NUMBERS:
            continue
        types = {dtype.type}
        if dtype.type is np.object_:
            types = _types(table.iloc[:, index].to_numpy())
        elif isinstance(dtype, pd.CategoricalDtype) and not takes_text:
            # Categories that are numbers are of use as numbers.
            types = _types(dtype.categories.to_numpy())
        yield repr(table.columns[index]), dtype, types


def _columns_of_array(array: NDArray[Any]) -> Iterator[tuple[str, Any, Any]]:
    dtype = array.dtype
    # Complex arrays are refused by scikit-learn, in its own words.
    if dtype.kind in "mMSV":
        for index in range(array.shape[1]):
            yield str(index), dtype, {dtype.type}
    elif dtype.kind == "O":
        for index in range(array.shape[1]):
            yield str(index), dtype, _types(array[:, index])


def _types(values: NDArray[Any]) -> set[type]:
    r"""Return the types of objects; none if they are all numbers, or all text."""
    if pd.api.types.infer_dtype(values, skipna=True) in _FINE_KINDS:
        return set()
    return set(map(type, values))
