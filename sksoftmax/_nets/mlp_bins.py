r"""Bins of the perceptron's features: how many, and between which values they lie."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .._classifier.plan import learn_scaling
from .._data.training_rows import TrainingRows
from .._encoders.categories import TableEncoder
from .._utils.arrays import as_tensor
from ..modules._piecewise import bin_edges
from . import mlp_defaults

# Rows from which the edges of the bins are learned.
_SAMPLE_ROWS = 10_000


def check_n_bins(
    value: Any, n_features: int, encoder: TableEncoder | None
) -> NDArray[np.int64]:
    r"""Return the most bins that each feature may have; categories have none.

    Raises
    ------
    ValueError
        If the parameter is an array, but not of numbers of bins for all features.
    """
    n_bins = value
    if n_bins is None or isinstance(n_bins, Integral | str):
        n_bins = np.full(n_features, mlp_defaults.n_bins(n_bins, n_features))
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


def find_edges(
    data: TrainingRows, rows: NDArray[np.int64], n_bins: NDArray[np.int64]
) -> list[Tensor]:
    r"""Return the edges of the bins of each feature, at most ``n_bins`` of them."""
    if not n_bins.any():
        return [torch.empty(0)] * len(n_bins)
    X = as_tensor(data.sample(rows, _SAMPLE_ROWS))
    return [
        # No values have no bins.
        bin_edges(column if largest else column[:0], largest)
        for column, largest in zip(X.T, n_bins, strict=True)
    ]


def learn_scaling_and_bins(
    module: Any,
    data: TrainingRows,
    rows: NDArray[np.int64],
    n_bins: NDArray[np.int64],
    edges: list[Tensor] | None = None,
) -> bool:
    r"""Let a module learn the scaling of its inputs and the edges of their bins.

    Without ``edges``, they are learned from the rows, and features with fewer than
    ``n_bins`` get bins between infinite values, which contribute 0. Returns False if
    there is nothing to learn.
    """
    is_scaled = learn_scaling(module, data, rows)
    if not n_bins.any():
        return is_scaled
    if edges is None:
        edges = [
            nn.functional.pad(values, (0, n + 1 - len(values)), value=torch.inf)
            if n
            else values
            for values, n in zip(find_edges(data, rows, n_bins), n_bins, strict=True)
        ]
    X = as_tensor(data.sample(rows, _SAMPLE_ROWS))
    module.input_scaling.learn_bins(edges, X)
    return True
