r"""Types and missing values of DataFrames of pandas and polars."""

from __future__ import annotations

from typing import Any

import narwhals
import numpy as np
import pandas as pd
from numpy.typing import NDArray


def has_sparse_columns(X: Any) -> bool:
    r"""Return whether all columns of a pandas DataFrame are sparse."""
    if not isinstance(X, pd.DataFrame):
        return False
    return {type(dtype) for dtype in X.dtypes.to_numpy()} == {pd.SparseDtype}


def nan_for_missing(X: Any) -> Any:
    r"""Return a table with NaN in place of None and NA in columns of objects."""
    if isinstance(X, pd.DataFrame):
        table = X
        for column in np.flatnonzero(X.dtypes.to_numpy() == np.dtype(object)):
            values = X.iloc[:, column].to_numpy()
            filled = nan_for_missing(values)
            if filled is not values:
                table = table.copy(deep=False) if table is X else table
                table.isetitem(column, filled)
        return table
    if not isinstance(X, np.ndarray) or X.dtype != object:
        return X
    is_missing = pd.isna(X)
    return np.where(is_missing, np.nan, X) if is_missing.any() else X


def collected(X: Any) -> Any:
    r"""Return a lazy table as a DataFrame; other objects as they are.

    Lazy tables of polars stay with polars. Relations of duckdb and the others that
    narwhals knows become DataFrames of pandas.
    """
    if isinstance(X, list | tuple | np.ndarray | pd.Series | pd.DataFrame):
        # The test of narwhals takes as long as a layer does for one row.
        return X
    table = narwhals.from_native(X, pass_through=True)
    if not isinstance(table, narwhals.LazyFrame):
        return X
    if table.implementation.is_polars():
        return table.collect().to_native()
    return table.collect(backend="pandas").to_native()


def collected_column(values: Any) -> Any:
    r"""Return a lazy table of one column as a Series; other objects as they are."""
    table = collected(values)
    if table is values or table.shape[1] != 1:
        return table
    return table.to_series(0) if is_polars(table) else table.iloc[:, 0]


def is_frame(X: Any) -> bool:
    return isinstance(X, pd.DataFrame) or is_polars(X)


def is_polars(X: Any) -> bool:
    # A LazyFrame has no `to_series`.
    return type(X).__module__.startswith("polars.") and hasattr(X, "to_series")


def with_columns(table: Any, columns: dict[int, NDArray[Any]], dtype: type) -> Any:
    r"""Return a table of the same kind with other numbers in some columns.

    Parameters
    ----------
    table : ndarray or DataFrame of shape (N, D)
        The table, which is not changed.
    columns : dict of int to ndarray of shape (N,)
        The new columns by their index.
    dtype : type
        Dtype of an array of numbers with the new columns.
    """
    if is_polars(table):
        # The same as polars.Series, without an import of polars.
        series = type(table.to_series(0))
        return table.with_columns(
            [
                series(table.columns[column], values)
                for column, values in columns.items()
            ]
        )
    if is_frame(table):
        table = table.copy(deep=False)
        for column, values in columns.items():
            table.isetitem(column, values)
        return table
    encoded = table.astype(object if table.dtype.kind not in "fiu" else dtype)
    for column, values in columns.items():
        encoded[:, column] = values
    return encoded
