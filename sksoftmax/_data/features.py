r"""Validation of the features in ``fit`` and ``predict``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils import get_tags
from sklearn.utils.validation import assert_all_finite, validate_data

from .._utils.arrays import as_tensor
from .._utils.frames import has_sparse_columns, nan_for_missing
from .._utils.memmap import blocks
from .columns import check_columns
from .containers import as_table
from .row_shapes import RowLayout, flattened

# Dtypes that features keep: batches are converted, not the whole table. Other dtypes,
# such as objects, are converted to the first one.
FEATURE_DTYPES = [
    np.float64,
    np.float32,
    np.uint8,
    np.int8,
    np.int16,
    np.int32,
    np.int64,
]

_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


def check_features(
    estimator: BaseEstimator, X: Any, *, reset: bool, declared: bool = False
) -> tuple[NDArray[Any], RowLayout | None]:
    r"""Validate features: finite, or NaN where allowed, and in the range of float32.

    Returns flat rows, and their layout if they have axes: those of images, for example.
    """
    if not reset and _is_ready(estimator, X):
        return X, estimator._row_layout(X.shape[1:], reset=False)
    accepted = get_tags(estimator).input_tags
    X = estimator._join_inputs(X, reset=reset)
    table = check_table(
        estimator,
        X,
        accepts_sparse=accepted.sparse,
        accepts_text=accepted.allow_nan,
        accepts_dates=estimator._takes_dates(reset=reset),
    )
    layout = None
    has_axes = accepted.three_d_array and np.ndim(table) > 2
    if has_axes:
        layout = estimator._row_layout(table.shape[1:], reset=reset)
        table, layout = flattened(table, layout)
    table, parts = estimator._encode_dates(table, reset=reset)
    encoded = estimator._encode_table(table, reset=reset, declared=declared)
    features = _validated(estimator, encoded, reset, accepted.allow_nan)
    if parts is not None:
        features = np.column_stack([features, parts])
    if not has_axes:
        layout = estimator._row_layout(features.shape[1:], reset=reset)
    return features, layout


def _validated(
    estimator: BaseEstimator, encoded: Any, reset: bool, allows_nan: bool
) -> NDArray[Any]:
    features: NDArray[Any]
    try:
        features = validate_data(
            estimator,
            nan_for_missing(encoded),
            accept_sparse="csr",
            dtype=FEATURE_DTYPES,
            # Below, since scikit-learn would read a memory-mapped file as a whole.
            ensure_all_finite=False,
            order="C",
            reset=reset,
        )
        _check_finite(estimator, features, allows_nan)
    except ValueError as error:
        explained = _explained(estimator, error, encoded)
        if explained is error:
            raise
        raise explained from error
    if not _fits_into_float32(features):
        largest = _largest(features)
        if largest > _LARGEST_FLOAT32:
            raise ValueError(
                f"Input X contains a value of size {largest:.3g}, too large for "
                f"dtype('float32'), which {type(estimator).__name__} computes in. "
                "Scale the features, for instance with a StandardScaler in a Pipeline."
            )
    return features


def _check_finite(estimator: BaseEstimator, X: Any, allows_nan: bool) -> None:
    # scikit-learn sums the values; for huge ones, the sum is infinity - infinity.
    with np.errstate(invalid="ignore"):
        for block in _stored(X):
            assert_all_finite(
                block,
                allow_nan=allows_nan,
                estimator_name=type(estimator).__name__,
                input_name="X",
            )


def check_table(
    estimator: BaseEstimator,
    X: Any,
    *,
    accepts_sparse: bool,
    accepts_text: bool,
    accepts_dates: bool = False,
) -> Any:
    r"""Return rows in a container that scikit-learn validates; refuse other ones.

    The columns hold numbers, categories, text or dates. scikit-learn converts a
    DataFrame of sparse columns only if their fill values are 0; others become dense
    here.
    """
    table = as_table(X)
    name = type(estimator).__name__
    check_columns(name, table, takes_text=accepts_text, takes_dates=accepts_dates)
    is_frame = has_sparse_columns(table)
    if not (is_frame or issparse(table)):
        return table
    dense = "X.sparse.to_dense()" if is_frame else "X.toarray()"
    if isinstance(X, torch.Tensor):
        dense = "X.to_dense()"
    most_columns = getattr(estimator, "_most_dense_columns", None)
    becomes_dense = most_columns is not None and table.shape[-1] <= most_columns
    if not accepts_sparse:
        raise TypeError(
            f"Sparse data was passed for X, but dense data is required by {name} here. "
            f"Pass {dense}."
        )
    if is_frame and (becomes_dense or _has_other_fill_values(table)):
        return table.sparse.to_dense()
    return table.toarray() if becomes_dense and table.ndim == 2 else table


def _has_other_fill_values(frame: Any) -> bool:
    return any(dtype.fill_value != 0 for dtype in frame.dtypes)


def _explained(estimator: BaseEstimator, error: ValueError, table: Any) -> ValueError:
    r"""Return scikit-learn's error about features with a remedy, if there is one."""
    name = type(estimator).__name__
    if np.ndim(table) > 2:
        return ValueError(
            f"{error} {name} takes one flat row per sample: pass X.reshape(len(X), -1)."
        )
    if not _holds_text(table):
        return error
    if get_tags(estimator).input_tags.allow_nan:
        remedy = (
            "Name such columns in categorical_features; 'from_dtype' finds them in a "
            "pandas or polars DataFrame, if they held text in the first fit."
        )
    else:
        remedy = (
            "Encode such columns first, for instance with "
            "sklearn.preprocessing.OneHotEncoder in a ColumnTransformer."
        )
    return ValueError(f"{name} got text in X ({error}), but expected numbers. {remedy}")


def _holds_text(table: Any) -> bool:
    r"""Return whether a value is text that is no number, such as "1.5"."""
    if issparse(table):
        return False
    return any(
        isinstance(value, str) and not _is_number(value)
        for value in np.asarray(table, dtype=object).flat
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_ready(estimator: BaseEstimator, X: Any) -> bool:
    r"""Return whether `validate_data` would return X as it is.

    For a single row, `validate_data` takes twice the time of the net.
    """
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and len(X) > 0
        and X.shape[1] == estimator.n_features_in_
        and X.dtype in FEATURE_DTYPES
        and X.flags.c_contiguous
        and not hasattr(estimator, "feature_names_in_")
        and estimator._encoder is None
        and not estimator._dates
        and (
            _fits_into_float32(X)
            or (
                get_tags(estimator).input_tags.allow_nan
                and not _largest(X) > _LARGEST_FLOAT32
            )
        )
    )


def _fits_into_float32(X: NDArray[Any]) -> bool:
    r"""Return whether all values are finite and small; False if that is uncertain."""
    if X.dtype.kind != "f":
        return True
    # A value that is too large makes the norm too large, infinite or NaN. NumPy's BLAS
    # is not used, because its threads would slow down PyTorch's for a while.
    for block in _stored(X):
        if not torch.linalg.vector_norm(as_tensor(block)).item() < _LARGEST_FLOAT32:
            return False
    return True


def _largest(X: NDArray[Any]) -> float:
    r"""Return the largest absolute value without NaN; NaN if all values are NaN."""
    extremes = [
        (np.fmax.reduce(values, axis=None), -np.fmin.reduce(values, axis=None))
        for values in _stored(X)
    ]
    return float(np.fmax.reduce(extremes, axis=None))


def _stored(X: Any) -> Iterator[NDArray[Any]]:
    r"""Yield the stored values of an array or a sparse matrix, block by block."""
    return blocks(np.asarray(X.data) if issparse(X) else X)
