r"""Encoding of the categorical columns of a table as integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import issparse

from .._utils.frames import is_frame, is_polars, with_columns
from .category_warnings import (
    ABOUT_RARE,
    ABOUT_UNKNOWN,
    rare_categories,
    unknown_values,
    warn_about,
)

# Kinds of columns of objects that are numbers; the names are those of pandas.
_NUMBERS = {"integer", "floating", "mixed-integer-float", "decimal"}

# polars is optional, hence the names of its types.
_POLARS_CATEGORIES = {"String", "Categorical", "Enum", "Boolean"}


@dataclass(frozen=True)
class TableEncoder:
    r"""Categories of each column, None for columns of numbers.

    The hash index of pandas looks the categories up. It takes strings, numbers and
    booleans, also mixed, and every kind of missing value; an ``OrdinalEncoder`` refuses
    columns of mixed types.
    """

    categories: tuple[Any, ...]

    @property
    def is_categorical(self) -> NDArray[np.bool_]:
        r"""Return the mask of the categorical columns."""
        return np.array([categories is not None for categories in self.categories])

    @property
    def cardinalities(self) -> list[int | None]:
        r"""Return the number of categories of each column; None for numbers."""
        return [
            None if categories is None else len(categories)
            for categories in self.categories
        ]

    def to_arrays(self) -> list[NDArray[Any] | None]:
        r"""Return the categories as arrays."""
        return [
            None if categories is None else categories.to_numpy()
            for categories in self.categories
        ]

    @classmethod
    def from_arrays(cls, arrays: Sequence[NDArray[Any] | None]) -> Self:
        r"""Return the encoder of categories given as arrays."""
        # With a dtype, pandas does not infer one for objects.
        return cls(
            tuple(
                None if array is None else pd.Index(array, dtype=array.dtype)
                for array in arrays
            )
        )

    def encode(self, X: Any, *, is_new: bool = False) -> Any:
        r"""Return a table of the same kind with codes for the categories.

        A code is the index of the category, or NaN for missing and unknown values. A
        warning names columns whose categories hardly repeat if the encoder has just
        learned them from these rows, else columns without any known value.
        """
        dtype = _code_dtype(X, self.is_categorical)
        codes: dict[int, NDArray[Any]] = {}
        rare, unknown = [], []
        for column, categories in enumerate(self.categories):
            if categories is None:
                continue
            values = pd.Index(column_values(X, column))
            index = _look_up(values, categories)
            codes[column] = np.where(index < 0, np.nan, index).astype(dtype)
            name = repr(X.columns[column]) if is_frame(X) else str(column)
            if is_new:
                rare.append(rare_categories(name, categories, index))
            else:
                unknown.append(unknown_values(name, categories, index, values))
        warn_about(rare, ABOUT_RARE)
        warn_about(unknown, ABOUT_UNKNOWN)
        return with_columns(X, codes, dtype)

    def restricted(
        self, X: NDArray[Any], rows: NDArray[np.int64]
    ) -> tuple[Self, NDArray[Any]]:
        r"""Return an encoder of the categories in the given rows, and the new codes.

        ``X`` is an encoded table, which is not changed.
        """
        kept = list(self.categories)
        recoded: dict[int, NDArray[Any]] = {}
        for column, categories in enumerate(self.categories):
            if categories is None:
                continue
            codes = X[rows, column]
            used = np.unique(codes[~np.isnan(codes)]).astype(np.int64)
            if len(used) == len(categories):
                continue
            # The last entry is the code of missing values, whose index is -1.
            new_codes = np.full(len(categories) + 1, np.nan)
            new_codes[used] = np.arange(len(used))
            kept[column] = categories[used]
            old_codes = np.nan_to_num(X[:, column], nan=-1).astype(np.int64)
            recoded[column] = new_codes[old_codes]
        if recoded:
            X = X.copy()
            for column, codes in recoded.items():
                X[:, column] = codes
        return type(self)(tuple(kept)), X


def learn_encoder(
    X: Any,
    categorical_features: Any,
    *,
    declared: bool,
    before: TableEncoder | None = None,
) -> TableEncoder | None:
    r"""Return the encoder of a table, None if no column is categorical.

    Parameters
    ----------
    X : ndarray or DataFrame of shape (N, D)
        The rows.
    categorical_features : "from_dtype", array-like or None
        The parameter.
    declared : bool
        Whether all categories of a categorical dtype count, also those without a row:
        rows of them may follow.
    before : TableEncoder, default=None
        An earlier encoder. It is returned if the same columns are categorical.
    """
    by_dtype = isinstance(categorical_features, str)
    if categorical_features is None or (by_dtype and not is_frame(X)):
        return None
    if n_columns(X) is None:
        # scikit-learn refuses such a table later.
        return None
    if issparse(X):
        raise ValueError(
            f"Got categorical_features={categorical_features!r} with sparse X of "
            f"{X.shape[1]} columns, but a sparse table holds numbers alone. Expected "
            "categorical_features=None: encode categories as 0 and 1 before."
        )
    is_categorical = _find_categorical(X, categorical_features)
    if not is_categorical.any():
        return None
    if before is not None and np.array_equal(before.is_categorical, is_categorical):
        return before
    categories: list[Any] = [None] * len(is_categorical)
    for column in np.flatnonzero(is_categorical):
        categories[column] = _learn_categories(X, int(column), declared)
    return TableEncoder(tuple(categories))


def n_columns(X: Any) -> int | None:
    r"""Return the number of columns, None unless there are two dimensions."""
    return int(X.shape[1]) if len(X.shape) == 2 else None


def _find_categorical(table: Any, categorical_features: Any) -> NDArray[np.bool_]:
    r"""Return the mask of the categorical columns."""
    n_features = table.shape[1]
    if isinstance(categorical_features, str):
        return np.array([_holds_categories(table, i) for i in range(n_features)])
    mask = np.zeros(n_features, dtype=bool)
    chosen = np.asarray(categorical_features)
    if not chosen.size:
        return mask
    if chosen.dtype.kind in "OU" and all(isinstance(name, str) for name in chosen.flat):
        chosen = _positions_of_names(table, chosen.ravel().tolist())
    if chosen.ndim != 1 or chosen.dtype.kind not in "biu":
        raise ValueError(
            f"Got categorical_features={categorical_features!r}, but expected a list "
            "of column names, of column indices, or one boolean for each column."
        )
    if chosen.dtype.kind == "b" and len(chosen) != n_features:
        raise ValueError(
            f"categorical_features is a boolean mask of length {len(chosen)}, but X "
            f"has {n_features} columns. Expected one boolean for each column."
        )
    if chosen.dtype.kind != "b":
        outside = chosen[(chosen < 0) | (chosen >= n_features)]
        if outside.size:
            raise ValueError(
                f"categorical_features holds the indices {outside.tolist()}, but X has "
                f"{n_features} columns. Expected indices from 0 to {n_features - 1}."
            )
    mask[chosen] = True
    return mask


def _positions_of_names(table: Any, names: list[str]) -> NDArray[np.int64]:
    if not is_frame(table):
        raise ValueError(
            f"categorical_features holds the names {names}, but X has no column "
            "names. Expected a pandas or polars DataFrame, or else column indices or "
            "a boolean mask."
        )
    columns = list(table.columns)
    unknown = [name for name in names if name not in columns]
    if unknown:
        raise ValueError(
            f"categorical_features holds the names {unknown}, but the columns of X are "
            f"{columns}. Expected names of columns."
        )
    return np.array([columns.index(name) for name in names])


def _holds_categories(table: Any, column: int) -> bool:
    r"""Return whether the dtype of a column says that it holds categories."""
    if is_polars(table):
        return str(table.dtypes[column]).split("(")[0] in _POLARS_CATEGORIES
    if not is_frame(table):
        return False
    dtype = table.dtypes.iloc[column]
    if pd.api.types.is_object_dtype(dtype):
        # A column of numbers and None has the dtype object.
        kind = pd.api.types.infer_dtype(table.iloc[:, column], skipna=True)
        return kind not in _NUMBERS
    return (
        isinstance(dtype, pd.CategoricalDtype)
        or pd.api.types.is_string_dtype(dtype)
        or pd.api.types.is_bool_dtype(dtype)
    )


def _learn_categories(table: Any, column: int, declared: bool) -> pd.Index:
    values = column_values(table, column)
    if declared and is_polars(table) and hasattr(table.dtypes[column], "categories"):
        dtype_categories = table.dtypes[column].categories
        if hasattr(dtype_categories, "to_list"):
            return pd.Index(dtype_categories.to_list())
    try:
        values = pd.Categorical(values)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Column {column} of X is categorical but holds values of a kind that "
            f"cannot be a category ({error}). Expected text, numbers or booleans: "
            "convert the column, or leave it out."
        ) from error
    return (values if declared else values.remove_unused_categories()).categories


def column_values(table: Any, column: int) -> Any:
    r"""Return a column in a form that pandas looks up."""
    if is_polars(table):
        return table.to_series(column).to_numpy()
    values = table.iloc[:, column] if is_frame(table) else table[:, column]
    dtype = values.dtype
    if not isinstance(dtype, np.dtype):
        return values
    # pandas looks up floats of 32 or 64 bits in the byte order of this machine.
    if dtype.kind == "f" and dtype.itemsize not in (4, 8):
        return values.astype(np.float64)
    return values if dtype.isnative else values.astype(dtype.newbyteorder("="))


def _look_up(values: pd.Index, categories: pd.Index) -> NDArray[np.int64]:
    r"""Return the index of the category of each value, -1 for unknown values."""
    types = (values.inferred_type, categories.inferred_type)
    if types.count("boolean") == 1:
        # pandas takes True for 1 among objects only.
        values, categories = values.astype(object), categories.astype(object)
    positions: NDArray[np.int64] = categories.get_indexer(values)
    return positions


def _code_dtype(table: Any, is_categorical: NDArray[np.bool_]) -> type:
    r"""Return the dtype of the codes: float32 if all numbers have it, else float64."""
    dtypes = list(table.dtypes) if is_frame(table) else [table.dtype] * table.shape[1]
    numeric = {
        str(dtypes[column]).lower() for column in np.flatnonzero(~is_categorical)
    }
    return np.float32 if numeric == {"float32"} else np.float64
