r"""Columns of which few values are far larger than the spread of the others.

The standard deviation of such a column is that of its outliers: divided by it, the
other rows seem to be equal, and so do gradients seem to be zero.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

# A standard deviation of so many times the spread of most values is that of outliers.
# Up to it, float32 tells the other rows apart.
_LARGEST_RATIO = 1e4
# Weights of a column with a smaller spread do not change a prediction, under any usual
# penalty.
_LEAST_SPREAD = 1e-9
# Rows whose differences show whether a column may have outliers.
_FEW_ROWS = 33
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
# At least this share of the different ones among them is closer than outliers are.
_FEWEST_CLOSE = 1 / 8
# Rows from which the spread of a column is estimated.
_MOST_ROWS = 2**16
# Standard deviations of a normal distribution per quartile of absolute deviations.
_SPREAD_PER_QUARTILE = 3.14


def outlying_columns(X: Tensor, scale: Tensor) -> dict[int, tuple[float, float]]:
    r"""Return location and spread of the bulk, for columns with outliers.

    Parameters
    ----------
    X : Tensor of shape (n_samples, n_features)
        The table.
    scale : Tensor of shape (n_features,), float64
        Standard deviations.
    """
    # Not evenly spread: every third row may be another kind.
    share = torch.arange(min(_FEW_ROWS, len(X)), dtype=torch.float64) * _GOLDEN_RATIO
    rows = ((share - share.floor()) * len(X)).long().to(X.device)
    difference = X[rows].double().diff(dim=0).abs_()
    is_close = difference < scale / _LARGEST_RATIO
    is_close &= difference > 0
    n_close = is_close.sum(0)
    suspect = n_close > _FEWEST_CLOSE * (difference > 0).sum(0)
    found = {}
    for column in suspect.nonzero().squeeze(1).tolist():
        step = max(1, len(X) // _MOST_ROWS)
        values = X[::step, column].double().cpu().numpy()
        center, spread = bulk(values)
        is_outlying = scale[column].item() > _LARGEST_RATIO * spread
        if is_outlying and spread > _LEAST_SPREAD:
            found[column] = center, spread
    return found


def outlying_sparse_columns(X: Any) -> dict[int, tuple[float, float]]:
    r"""Return zero and the spread of the bulk, for columns of a CSR array."""
    sizes = np.abs(X.data.astype(np.float64, copy=False))
    sample = sizes[:: max(1, len(sizes) // 1000)]
    sample = sample[sample > 0]
    if not len(sample):
        return {}
    typical = np.exp(np.log(sample).mean())
    if sizes.max() < _LARGEST_RATIO * typical:
        return {}
    n_samples, n_features = X.shape
    columns, sizes = X.indices[sizes > 0], sizes[sizes > 0]
    n_values = np.bincount(columns, minlength=n_features)
    n_values = np.maximum(n_values, 1)
    logs = np.bincount(columns, np.log(sizes), minlength=n_features)
    usual = np.exp(logs / n_values)
    size = np.sqrt(np.bincount(columns, sizes**2, minlength=n_features) / n_values)
    spread = usual * np.sqrt(n_values / n_samples)
    is_outlying = (size > _LARGEST_RATIO * usual) & (spread > _LEAST_SPREAD)
    outlying = np.flatnonzero(is_outlying)
    return {int(column): (0.0, float(spread[column])) for column in outlying}


def bulk(values: np.ndarray[Any, Any]) -> tuple[float, float]:
    r"""Return location and spread of most values; a spread of 0 if they are equal.

    A value that many rows have, as zero or a placeholder, does not count as spread.
    """
    center = np.sort(values)[len(values) // 2]
    others = values[values != center]
    if 0 < len(others) < 0.75 * len(values):
        center = np.sort(others)[len(others) // 2]
    spreads = []
    for part in (values, others):
        deviation = np.abs(part - center)
        deviation = np.sort(deviation[deviation > 0])
        if len(deviation):
            spreads.append(_SPREAD_PER_QUARTILE * deviation[len(deviation) // 4])
    return float(center), float(min(spreads, default=0.0))
