r"""Types and missing values of DataFrames of pandas and polars."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


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


def is_frame(X: Any) -> bool:
    return isinstance(X, pd.DataFrame) or is_polars(X)


def is_polars(X: Any) -> bool:
    # A LazyFrame has no `to_series`.
    return type(X).__module__.startswith("polars.") and hasattr(X, "to_series")
