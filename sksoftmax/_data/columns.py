r"""Columns that hold neither numbers nor categories: an error that names them."""

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

from .._utils.estimators import shortened
from .._utils.frames import is_frame, is_polars

# Kinds of values that become numbers if an estimator encodes columns.
DATES = "dates"
DURATIONS = "durations"

# Kinds of values that are refused, and their types: of a dtype, or of a value in a
# column of objects.
_TYPES: dict[str, tuple[type, ...]] = {
    DATES: (datetime.date, np.datetime64),
    "times of day": (datetime.time,),
    DURATIONS: (datetime.timedelta, np.timedelta64),
    "periods": (pd.Period,),
    "intervals": (pd.Interval,),
    "complex numbers": (complex, np.complexfloating),
    "bytes": (bytes, bytearray, np.bytes_),
    "records": (dict, np.void),
    "sequences": (list, tuple, set, np.ndarray, Tensor, pd.Series),
}

_REMEDIES = {
    "dates": "Turn dates into numbers, for instance with skrub.DatetimeEncoder, or "
    "count the days since the first date",
    "times of day": "Turn times into numbers, hours for example",
    "durations": "Turn durations into numbers, for instance with .dt.total_seconds()",
    "periods": "Turn periods into numbers, the year and the month for example",
    "intervals": "Turn intervals into numbers, their middles for example, or into text "
    "with .astype(str)",
    "complex numbers": "Pass the real and the imaginary part as two columns",
    "bytes": "Decode bytes into text, for instance with .str.decode('utf-8'), or read "
    "numbers from them",
    "records": "Make a column of each field: each value of the argument must be a "
    "string or a number",
    "sequences": "Make a column of each element",
    "objects": "Convert them: each value must be a string or a number",
}

# Types of numbers, categories and missing values.
_ACCEPTED_TYPES = (
    str,
    numbers.Real,
    decimal.Decimal,
    np.bool_,
    NoneType,
    type(pd.NA),
    pd.CategoricalDtype.type,
)

# NumPy's types of numbers. Columns of these dtypes are accepted at once.
_NUMBERS = {
    np.dtype(code).type for code in np.typecodes["AllInteger"] + np.typecodes["Float"]
} | {np.bool_}

# Columns of objects of these kinds are accepted; the names are those of pandas.
_ACCEPTED_KINDS = {
    "string",
    "integer",
    "floating",
    "mixed-integer-float",
    "decimal",
    "boolean",
    "empty",
}

# Number of columns that a message names.
_N_SHOWN = 5


def temporal_columns(table: Any) -> dict[int, str]:
    r"""Return the kind of each column of dates or durations, by its index."""
    kinds = {
        index: _temporal_kind(types)
        for index, _, _, types in _columns(table, takes_text=True)
    }
    return {index: kind for index, kind in kinds.items() if kind is not None}


def check_columns(
    estimator_name: str, table: Any, *, takes_text: bool, takes_dates: bool = False
) -> None:
    r"""Raise an error if columns hold neither numbers, nor categories, nor text.

    Parameters
    ----------
    estimator_name : str
        Name of the estimator, for the message.
    table : ndarray, sparse matrix or DataFrame of shape (N, D)
        The rows.
    takes_text : bool
        Whether the estimator encodes text and categories.
    takes_dates : bool, default=False
        Whether it encodes dates and durations.

    Raises
    ------
    TypeError
        If a column holds dates, durations, periods, intervals, bytes, sequences or
        other objects. The message names the columns and the remedy.
    """
    names: dict[tuple[str, Any], list[str]] = {}
    for _, name, dtype, types in _columns(table, takes_text):
        if takes_dates and _temporal_kind(types) is not None:
            continue
        found = next((kind for kind in types if _refused_kind(kind)), None)
        if found is not None:
            spelling = found.__name__ if str(dtype).lower() == "object" else dtype
            names.setdefault((str(_refused_kind(found)), spelling), []).append(
                repr(name)
            )
    if not names:
        return
    (kind, spelling), refused = next(iter(names.items()))
    is_single = len(refused) == 1
    raise TypeError(
        f"Column{'s' * (not is_single)} {shortened(refused, _N_SHOWN)} of X "
        f"hold{'s' * is_single} {kind} ({spelling}), but {estimator_name} expected "
        f"{'numbers or categories' if takes_text else 'numbers'}. {_REMEDIES[kind]}. "
        "Otherwise, leave the column out."
    )


@lru_cache(maxsize=1024)
def _refused_kind(value_type: type) -> str | None:
    r"""Return the kind of values that are refused; None for an accepted type."""
    for kind, types in _TYPES.items():
        if issubclass(value_type, types):
            return kind
    return None if issubclass(value_type, _ACCEPTED_TYPES) else "objects"


def _temporal_kind(types: set[type]) -> str | None:
    r"""Return "dates" or "durations" if all values are; else None."""
    kinds = {_refused_kind(value_type) for value_type in types}
    kind = kinds.pop() if len(kinds) == 1 else None
    return kind if kind in (DATES, DURATIONS) else None


def _columns(table: Any, takes_text: bool) -> Iterator[tuple[int, Any, Any, Any]]:
    r"""Yield the index, name, dtype and types of the values of each column.

    Columns of NumPy's numbers are left out.
    """
    if is_polars(table):
        for index, name in enumerate(table.columns):
            dtype = table.dtypes[index]
            kind = dtype.to_python()
            is_object = kind is object
            yield (
                index,
                name,
                dtype,
                _types(table[name].to_numpy()) if is_object else {kind},
            )
    elif is_frame(table):
        yield from _columns_of_frame(table, takes_text)
    elif getattr(table, "ndim", 0) == 2 and table.dtype.kind in "mMSVO":
        # scikit-learn refuses complex arrays itself.
        is_object = table.dtype.kind == "O"
        for index, column in enumerate(table.T):
            types = _types(column) if is_object else {table.dtype.type}
            yield index, index, table.dtype, types


def _columns_of_frame(
    table: pd.DataFrame, takes_text: bool
) -> Iterator[tuple[int, Any, Any, Any]]:
    for index, dtype in enumerate(table.dtypes.to_numpy()):
        if dtype.type in _NUMBERS:
            continue
        types = {dtype.type}
        if dtype.type is np.object_:
            types = _types(table.iloc[:, index].to_numpy())
        elif isinstance(dtype, pd.CategoricalDtype) and not takes_text:
            # Categories that are numbers count as numbers.
            types = _types(dtype.categories.to_numpy())
        yield index, table.columns[index], dtype, types


def _types(values: NDArray[Any]) -> set[type]:
    r"""Return the types of objects; none if all are numbers, or all are text."""
    if pd.api.types.infer_dtype(values, skipna=True) in _ACCEPTED_KINDS:
        return set()
    return set(map(type, values[~pd.isna(values)]))
