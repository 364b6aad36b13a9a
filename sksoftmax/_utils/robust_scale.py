r"""Robust location and scale of each column: its outliers change neither."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

# Share of the values whose distance to the median gives the scale. The other 30% may be
# a sentinel, such as -999.
_CENTRAL_SHARE = 0.7
# A value in at least this share of the rows is a placeholder if its distance to all
# other values is this many times their range.
_PLACEHOLDER_SHARE = 0.25
_PLACEHOLDER_DISTANCE = 1e3
# Number of values beside the most frequent one from which a scale is estimated.
_MIN_VALUES = 8
# Distance from the median, in scales, beyond which values are left out of statistics.
# Normal values reach 5 scales, the roots of counts with heavy tails 30.
_MAX_SCALES = 30.0
# An outlier is this many times as far from the median as the value before it.
_GAP = 10.0
# Distance at which outliers are clipped, in units of the farthest other value. The mean
# is at most half as far from the median, hence no other value is clipped.
_MARGIN = 1.5
# Reach of a column that is not known to have outliers: float32 has no larger number.
UNLIMITED = torch.finfo(torch.float32).max

# Limits of the sample: rows (as many as bins are learned from) and values of all
# features. Sorting more values takes a noticeable share of a fit.
_MAX_ROWS = 10_000
_MAX_VALUES = 2**21


class RobustScale(NamedTuple):
    r"""Median of each feature, and two distances from it.

    Values within `width` count in statistics; values beyond `reach` are outliers. All
    are float64 tensors of shape (n_features,). The distances are `UNLIMITED` for
    features with too few values.
    """

    center: Tensor
    width: Tensor
    reach: Tensor


def sample_size(n_features: int) -> int:
    r"""Return the number of rows that a robust scale is estimated from."""
    return min(_MAX_ROWS, max(1, _MAX_VALUES // max(1, n_features)))


def robust_scale(values: Tensor) -> RobustScale:
    r"""Return the robust location and scale of each feature.

    The scale is the larger of two distances to the median: the 70% quantile, and the
    median of the positive ones, which counts if a feature is constant in most rows. In
    the latter, equal values count each or once, whichever gives less, because a
    sentinel may be more frequent than the other values. The width is 30 scales.
    Outliers begin after a gap: at the first distance of ten times the one before.

    Parameters
    ----------
    values : Tensor of shape (n_values, n_features), float64
        Values of each feature. NaN is left out.

    Returns
    -------
    robust : RobustScale
        The medians and distances.
    """
    if len(values) < _MIN_VALUES:
        unknown = values.new_full(values.shape[1:], UNLIMITED)
        return RobustScale(torch.zeros_like(unknown), unknown, unknown)
    # (D, N), NaN last
    ascending = _without_placeholders(_sorted(values.T))
    n_known = (~ascending.isnan()).sum(1)
    center = _at(ascending, (n_known - 1) // 2).nan_to_num(0.0)
    distance = _sorted((ascending - center[:, None]).abs_())
    scale = _scale(distance, n_known)
    # (D, N - 1)
    is_gap = distance[:, 1:] > _GAP * torch.maximum(distance[:, :-1], scale[:, None])
    last = torch.where(is_gap.any(1), is_gap.long().argmax(1), n_known - 1)
    farthest = torch.maximum(_at(distance, last), scale)
    is_known = (distance > 0).sum(1) >= _MIN_VALUES
    width = torch.minimum(_MAX_SCALES * scale, _GAP * farthest)
    width, reach = (
        torch.where(is_known, limit, UNLIMITED).clamp(max=UNLIMITED)
        for limit in (width, _MARGIN * farthest)
    )
    return RobustScale(center, width, reach)


def extended(values: Tensor, robust: RobustScale) -> RobustScale:
    r"""Return the robust scale of earlier values and of a few more, ``(N, D)``.

    The new values are too few for a scale: they are outliers beyond 10 times the reach.
    """
    center, _, reach = robust
    width = (_GAP * reach).clamp(max=UNLIMITED)
    distance = (values - center).abs().nan_to_num(0.0)
    farthest = torch.where(distance > width, 0.0, distance).amax(0)
    reach = torch.maximum(reach, _MARGIN * farthest).clamp(max=UNLIMITED)
    return RobustScale(center, width, reach)


def _without_placeholders(ascending: Tensor) -> Tensor:
    r"""Return values with NaN for a frequent value that is far from all others.

    ``(D, N)``, ascending with NaN last, before and after.
    """
    min_count = math.ceil(_PLACEHOLDER_SHARE * ascending.shape[1])
    n_known = (~ascending.isnan()).sum(1)
    low, high = ascending[:, 0], _at(ascending, n_known - 1)
    for extreme, opposite, sign in ((low, high, 1), (high, low, -1)):
        n_equal = (ascending == extreme[:, None]).sum(1)
        n_different = n_known - n_equal
        nearest = _at(ascending, n_equal if sign > 0 else n_different - 1)
        distance, extent = sign * (nearest - extreme), sign * (opposite - nearest)
        is_placeholder = (
            (n_equal >= min_count)
            & (n_different >= _MIN_VALUES)
            & (extent > 0)
            & (distance > _PLACEHOLDER_DISTANCE * extent)
        )
        for column in is_placeholder.nonzero()[:, 0].tolist():
            values = ascending[column]
            kept = values[(values != extreme[column]) & ~values.isnan()]
            values.fill_(torch.nan)
            values[: len(kept)] = kept
    return ascending


def _scale(distance: Tensor, n_known: Tensor) -> Tensor:
    r"""Return the scale of each feature's ascending distances, ``(D, N) -> (D,)``."""
    n_zero = (distance == 0).sum(1)
    quantile = _at(distance, (_CENTRAL_SHARE * (n_known - 1)).ceil().long())
    median_positive = _at(distance, n_zero + (n_known - n_zero - 1) // 2)
    # (D, N): number of distinct positive distances up to each
    is_new = torch.cat([distance[:, :1] > 0, distance.diff(dim=1) > 0], 1)
    rank = is_new.cumsum(1)
    median_distinct = _at(distance, (rank < (rank[:, -1:] + 1) // 2).sum(1))
    return torch.maximum(quantile, torch.minimum(median_positive, median_distinct))


def _sorted(values: Tensor) -> Tensor:
    r"""Sort along the last axis, NaN last; NumPy takes a tenth of PyTorch's time."""
    ascending = np.array(values.numpy(), order="C")
    ascending.sort(axis=1)
    return torch.from_numpy(ascending)


def _at(values: Tensor, place: Tensor) -> Tensor:
    r"""Return each feature's value at its place, ``(D, N), (D,) -> (D,)``."""
    return values.gather(1, place.clamp(0, values.shape[1] - 1)[:, None])[:, 0]
