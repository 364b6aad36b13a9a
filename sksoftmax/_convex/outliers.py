r"""Columns of which few values are far larger than the spread of the others.

The standard deviation of such a column is that of its outliers. If the column is
divided by it, the other rows are almost equal, and their gradients are almost zero.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# A larger ratio of the standard deviation to the spread of most values is that of
# outliers. Up to it, float32 distinguishes the other rows.
_LARGEST_RATIO = 1e4
# Smallest spread of a column whose coefficients change a prediction under any usual
# penalty.
_SMALLEST_SPREAD = 1e-9
# Rows whose differences show whether a column may have outliers.
_N_ROWS_COMPARED = 33
# They are spread by the golden ratio: every third row, for example, may be special.
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
# Share of the compared pairs of different values that are close if there are outliers.
_MIN_SHARE_CLOSE = 1 / 8
# Rows from which the spread of a column is estimated.
_MAX_ROWS_FOR_SPREAD = 2**16
# Values from which the typical size of a sparse table is estimated.
_N_VALUES = 1000
# Standard deviations of a normal distribution per quartile of absolute deviations.
_SPREAD_PER_QUARTILE = 3.14


def outlying_columns(X: Tensor, scale: Tensor) -> dict[int, tuple[float, float]]:
    r"""Return center and spread of most values, for columns with outliers.

    Parameters
    ----------
    X : Tensor of shape (n_samples, n_features)
        The table.
    scale : Tensor of shape (n_features,), float64
        Standard deviations, or root mean squares.
    """
    n_rows = min(_N_ROWS_COMPARED, len(X))
    place = torch.arange(n_rows, dtype=torch.float64) * _GOLDEN_RATIO
    rows = ((place - place.floor()) * len(X)).long().to(X.device)
    difference = X[rows].double().diff(dim=0).abs_()
    is_different = difference > 0
    is_close = is_different & (difference < scale / _LARGEST_RATIO)
    is_suspect = is_close.sum(0) > _MIN_SHARE_CLOSE * is_different.sum(0)
    outlying = {}
    for column in is_suspect.nonzero().squeeze(1).tolist():
        step = max(1, len(X) // _MAX_ROWS_FOR_SPREAD)
        center, spread = bulk(X[::step, column].double().cpu().numpy())
        # Without an intercept, the scale includes the distance from zero.
        deviation = (X[:, column].double() - center).square().mean().sqrt()
        is_outlying = deviation.minimum(scale[column]) > _LARGEST_RATIO * spread
        if is_outlying and spread > _SMALLEST_SPREAD:
            outlying[column] = center, spread
    return outlying


def outlying_sparse_columns(X: Any) -> dict[int, tuple[float, float]]:
    r"""Return zero and the spread of most values, for columns of a CSR array."""
    sizes = np.abs(X.data.astype(np.float64, copy=False))
    sample = sizes[:: max(1, len(sizes) // _N_VALUES)]
    sample = sample[sample > 0]
    if not len(sample) or sizes.max() < _LARGEST_RATIO * np.exp(np.log(sample).mean()):
        return {}
    n_samples, n_features = X.shape
    columns, sizes = X.indices[sizes > 0], sizes[sizes > 0]
    n_values = np.maximum(np.bincount(columns, minlength=n_features), 1)
    logs = np.bincount(columns, np.log(sizes), minlength=n_features)
    squares = np.bincount(columns, sizes**2, minlength=n_features)
    typical_size = np.exp(logs / n_values)
    spread = typical_size * np.sqrt(n_values / n_samples)
    is_outlying = np.sqrt(squares / n_values) > _LARGEST_RATIO * typical_size
    outlying = np.flatnonzero(is_outlying & (spread > _SMALLEST_SPREAD))
    return {int(column): (0.0, float(spread[column])) for column in outlying}


def bulk(values: NDArray[np.float64]) -> tuple[float, float]:
    r"""Return center and spread of most values; a spread of 0 if they are equal.

    The center is the median, or that of the values unlike the most frequent one, for
    instance zero or a placeholder. The spread is the smaller one of all values and of
    these, estimated from a quartile of the nonzero deviations.
    """
    center = np.sort(values)[len(values) // 2]
    rest = values[values != center]
    if 0 < len(rest) < 0.75 * len(values):
        center = np.sort(rest)[len(rest) // 2]
    spreads = []
    for part in (values, rest):
        deviation = np.abs(part - center)
        deviation = np.sort(deviation[deviation > 0])
        if len(deviation):
            spreads.append(_SPREAD_PER_QUARTILE * deviation[len(deviation) // 4])
    return float(center), float(min(spreads, default=0.0))
