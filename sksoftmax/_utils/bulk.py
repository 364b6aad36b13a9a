r"""Location and spread of the bulk of each column, whatever its outliers."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

# The bulk is at least this share of all values; a sentinel may stand in the others.
_SHARE = 0.7


# A value of at least this share of the rows is a placeholder if it is so many times as
# far from all others as they are from each other.
_PLACEHOLDER_SHARE, _PLACEHOLDER_DISTANCE = 0.25, 1e3
# Fewer values beside the commonest tell no scale.
_FEWEST = 8
# Scales from the median on that no statistic is taken of. Normal values reach 5 scales,
# the roots of counts with heavy tails 30.
_FARTHEST = 30.0
# An outlier is so many times as far from the median as the value before it.
_GAP = 10.0
# An outlier counts as so many times as far as that value. The mean is at most half as
# far, so this leaves all other values what they are.
_MARGIN = 1.5
# The reach of what is not known to have outliers: float32 holds nothing larger.
UNLIMITED = torch.finfo(torch.float32).max


# Rows that tell where the bulk lies, as many as bins come from, and the most values of
# all features: to sort more would take a share of a fit's time.
_SAMPLE_ROWS, _SAMPLE_VALUES = 10_000, 2**21


class Bulk(NamedTuple):
    r"""Median of each feature, and how far from it the bulk and all but outliers are.

    All of shape (n_features,), float64. The distances are `UNLIMITED` where there were
    too few values to tell.
    """

    middle: Tensor
    width: Tensor
    reach: Tensor


def sample_size(n_features: int) -> int:
    r"""Return how many rows tell where the bulk of so many features lies."""
    return min(_SAMPLE_ROWS, max(1, _SAMPLE_VALUES // max(1, n_features)))


def find_bulk(values: Tensor) -> Bulk:
    r"""Return where the bulk of each feature's values lies.

    The scale is the larger of two distances to the median: within which 70% of
    the values lie, and the median of those above 0, which counts if a feature is
    constant in most rows. For the latter, equal values count either each or once,
    whichever gives less, since a sentinel may be commoner than the others. The bulk is
    within 30 scales. Outliers begin where the next distance is ten times as large.

    Parameters
    ----------
    values : Tensor of shape (n_values, n_features), float64
        Values of each feature. NaN is left out.

    Returns
    -------
    bulk : Bulk
        The medians and distances.
    """
    if len(values) < _FEWEST:
        unknown = values.new_full(values.shape[1:], UNLIMITED)
        return Bulk(torch.zeros_like(unknown), unknown, unknown)
    # (D, N), NaN last
    ascending = _sorted(values.T)
    ascending = _without_placeholders(ascending)
    n_known = (~ascending.isnan()).sum(1)
    middle = _at(ascending, (n_known - 1) // 2).nan_to_num(0.0)
    distance = _sorted((ascending - middle[:, None]).abs_())
    scale = _scale(distance, n_known)
    # (D, N - 1)
    is_gap = distance[:, 1:] > _GAP * torch.maximum(distance[:, :-1], scale[:, None])
    last = torch.where(is_gap.any(1), is_gap.long().argmax(1), n_known - 1)
    farthest = torch.maximum(_at(distance, last), scale)
    is_known = (distance > 0).sum(1) >= _FEWEST
    reach = torch.where(is_known, _MARGIN * farthest, UNLIMITED).clamp(max=UNLIMITED)
    width = torch.minimum(_FARTHEST * scale, _GAP * farthest)
    width = torch.where(is_known, width, UNLIMITED).clamp(max=UNLIMITED)
    return Bulk(middle, width, reach)


def extended(values: Tensor, bulk: Bulk) -> Bulk:
    r"""Return the bulk of earlier values with a few more, ``(N, D)``.

    They are too few to tell where it ends: outliers are beyond ten times its reach.
    """
    middle, _, reach = bulk
    width = (_GAP * reach).clamp(max=UNLIMITED)
    distance = (values - middle).abs().nan_to_num(0.0)
    farthest = torch.where(distance > width, 0.0, distance).amax(0)
    reach = torch.maximum(reach, _MARGIN * farthest).clamp(max=UNLIMITED)
    return Bulk(middle, width, reach)


def _without_placeholders(ascending: Tensor) -> Tensor:
    r"""Return values without one that many rows have, far from all others.

    ``(D, N)``, ascending with NaN last, before and after.
    """
    fewest = math.ceil(_PLACEHOLDER_SHARE * ascending.shape[1])
    n_known = (~ascending.isnan()).sum(1)
    low, high = ascending[:, 0], _at(ascending, n_known - 1)
    for common, sign in ((low, 1), (high, -1)):
        n_common = (ascending == common[:, None]).sum(1)
        n_others = n_known - n_common
        # The nearest and the farthest of the others
        nearest = _at(ascending, n_common if sign > 0 else n_others - 1)
        farthest = high if sign > 0 else low
        distance, extent = sign * (nearest - common), sign * (farthest - nearest)
        is_placeholder = (n_common >= fewest) & (n_others >= _FEWEST) & (extent > 0)
        is_placeholder &= distance > _PLACEHOLDER_DISTANCE * extent
        for column in is_placeholder.nonzero()[:, 0].tolist():
            values = ascending[column]
            others = values[(values != common[column]) & ~values.isnan()]
            values.fill_(torch.nan)
            values[: len(others)] = others
    return ascending


def _scale(distance: Tensor, n_known: Tensor) -> Tensor:
    r"""Return the scale of each feature's ascending distances, ``(D, N) -> (D,)``."""
    n_equal = (distance == 0).sum(1)
    wide = _at(distance, (_SHARE * (n_known - 1)).ceil().long())
    of_all = _at(distance, n_equal + (n_known - n_equal - 1) // 2)
    # (D, N): how many distinct distances above 0 come up to each
    is_new = torch.cat([distance[:, :1] > 0, distance.diff(dim=1) > 0], 1)
    rank = is_new.cumsum(1)
    of_distinct = _at(distance, (rank < (rank[:, -1:] + 1) // 2).sum(1))
    return torch.maximum(wide, torch.minimum(of_all, of_distinct))


def _sorted(values: Tensor) -> Tensor:
    r"""Sort along the last axis, NaN last; NumPy takes a tenth of the time."""
    ascending = np.array(values.numpy(), order="C")
    ascending.sort(axis=1)
    return torch.from_numpy(ascending)


def _at(values: Tensor, place: Tensor) -> Tensor:
    r"""Return each feature's value at its place, ``(D, N), (D,) -> (D,)``."""
    return values.gather(1, place.clamp(0, values.shape[1] - 1)[:, None])[:, 0]
