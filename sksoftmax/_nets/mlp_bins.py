r"""Bins of the perceptron's features: how many, and between which values they lie."""

from __future__ import annotations

from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import issparse
from torch import Tensor, nn

from .._classifier.plan import learn_scaling
from .._data.columns import DATES
from .._data.training_rows import TrainingRows
from .._encoders.categories import TableEncoder
from .._encoders.dates import PARTS, DateColumn
from ..modules._piecewise import bin_edges
from . import mlp_defaults
from .mlp_defaults import MLPDefaults

# Rows from which the edges of the bins are learned.
_SAMPLE_ROWS = 10_000


def check_n_bins(
    value: Any,
    n_rows: int,
    n_features: int,
    encoder: TableEncoder | None,
    numbers: MLPDefaults,
) -> NDArray[np.int64]:
    r"""Return the most bins that each feature may have; categories have none.

    Raises
    ------
    ValueError
        If the parameter is an array, but not of numbers of bins for all features.
    """
    n_bins = value
    if n_bins is None or isinstance(n_bins, Integral | str):
        n_bins = np.full(
            n_features, mlp_defaults.n_bins(n_bins, n_rows, n_features, numbers)
        )
    n_bins = np.asarray(n_bins)
    if (
        n_bins.shape != (n_features,)
        or not np.issubdtype(n_bins.dtype, np.integer)
        or ((n_bins < 2) & (n_bins != 0)).any()
    ):
        raise ValueError(
            f"Got n_bins={value!r}, but expected an integer for each of the "
            f"{n_features} features: 2 or more, or 0 for none."
        )
    n_bins = n_bins.astype(np.int64)
    if encoder is not None:
        n_bins[encoder.is_categorical] = 0
    return n_bins


def with_parts(
    n_bins: NDArray[np.int64], dates: tuple[DateColumn, ...]
) -> NDArray[np.int64]:
    r"""Return the most bins of each input: numbers of a date have those of the date."""
    columns = [date.column for date in dates if date.kind == DATES]
    return np.concatenate([n_bins, np.repeat(n_bins[columns], len(PARTS))])


class Bins(NamedTuple):
    r"""Edges of the bins of each feature, and the rows from which they are learned."""

    edges: list[Tensor]
    X: Tensor

    @property
    def numbers(self) -> NDArray[np.int64]:
        r"""Number of bins of each feature."""
        return np.array([max(0, len(values) - 1) for values in self.edges])


def has_missing(
    data: TrainingRows,
    rows: NDArray[np.int64],
    is_first_piece: bool,
    numbers: MLPDefaults,
) -> NDArray[np.bool_]:
    r"""Return the mask of the features that get an input for missing values."""
    if issparse(data.X):
        # Missing values count as 0.
        return np.zeros(data.X.shape[1], dtype=bool)
    is_missing = data.missing_columns(rows)
    if is_first_piece and len(is_missing) <= numbers.many_features:
        # Values may be missing in later rows of the stream.
        return np.ones_like(is_missing)
    return is_missing


def find_bins(
    data: TrainingRows, rows: NDArray[np.int64], n_bins: NDArray[np.int64]
) -> Bins:
    r"""Return at most ``n_bins`` bins of each feature."""
    if not n_bins.any():
        return Bins([torch.empty(0)] * len(n_bins), torch.empty(0))
    X = data.sample(rows, _SAMPLE_ROWS)
    edges = [
        # No values have no bins.
        bin_edges(column if largest else column[:0], largest)
        for column, largest in zip(X.T, n_bins, strict=True)
    ]
    return Bins(edges, X)


def learn_scaling_and_bins(
    module: Any,
    data: TrainingRows,
    rows: NDArray[np.int64],
    n_bins: NDArray[np.int64],
    bins: Bins | None = None,
) -> bool:
    r"""Let a module learn the scaling of its inputs and the edges of their bins.

    Without ``bins``, they are learned from the rows, and features with fewer than
    ``n_bins`` get bins between infinite values, which contribute 0. Returns False if
    there is nothing to learn.
    """
    is_scaled = learn_scaling(module, data, rows)
    if not n_bins.any():
        return is_scaled
    if bins is None:
        found, X = find_bins(data, rows, n_bins)
        edges = [
            nn.functional.pad(values, (0, n + 1 - len(values)), value=torch.inf)
            if n
            else values
            for values, n in zip(found, n_bins, strict=True)
        ]
        bins = Bins(edges, X)
    module.input_scaling.learn_bins(bins.edges, bins.X)
    return True
