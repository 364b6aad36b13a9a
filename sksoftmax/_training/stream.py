r"""Streams of rows: the pace of steps, the first rows, running statistics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .._data.training_rows import TrainingRows
from .._utils.compat import BATCH_NORMS
from ..modules._ensemble import MemberBatchNorm

# Share of the learning rate after a fit, and the most that it grows to.
# Measured on digits, fits of 1,000 rows and 300 more, six orders of the rows: at 0.1
# nets of convolutions lose .009 of accuracy, at 0.01 neither they nor perceptrons do.
_LEAST_RATE, _MOST_RATE = 0.01, 0.3
# Power of the number of rows, in units of those fitted, by which the share grows. After
# fits of 400 rows, 900 more gain as much accuracy with 3 as at a constant share of 0.1.
_RATE_POWER = 3
# Early in a stream, a full step needs this share of all rows seen: without a fit before
# and with one. Measured on digits from 1 / 16 to 1 / 1000.
_STEP_SHARE, _STEP_SHARE_AFTER_FIT = 1 / 256, 1 / 16
# Batches have at least so many rows, as those of "auto" in `_recipe`.
_FEWEST_BATCH_ROWS = 32

# Rows and numbers from which the scaling of the inputs is learned.
_FIRST_ROWS, _FIRST_NUMBERS = 1000, 2**20
# The scaling is learned again when so many times as many rows are known.
_GROWTH = 9 / 8

# Below so many rows, batch normalization uses running statistics.
FEWEST_NORMALIZED = 32
# Rows that the initial statistics (mean 0, variance 1) count as.
_PRIOR_ROWS = 8
# Rows that running statistics are of, at the full learning rate.
_WINDOW_ROWS = 64


class Pace:
    r"""How large the steps of ``partial_fit`` are.

    A batch that is smaller than a full one takes the same share of a step, so that it
    does not matter where a stream of rows is cut. A full batch has ``batch_size`` rows;
    early in a stream it has a 256th of the rows seen (after a fit a sixteenth), if
    these are fewer.

    Parameters
    ----------
    n_rows : int
        Number of rows seen before.
    n_fitted : int
        Number of these that came in a ``fit``.
    """

    def __init__(self, n_rows: int, n_fitted: int) -> None:
        self.n_rows = n_rows
        self.is_first_after_fit = n_rows == n_fitted > 0
        self.rate, self._step_share = 1.0, _STEP_SHARE
        if n_fitted:
            self._step_share = _STEP_SHARE_AFTER_FIT
            self.rate = min(
                _LEAST_RATE * (n_rows / n_fitted) ** _RATE_POWER, _MOST_RATE
            )

    def batch_size(self, n_rows: int, most: int) -> int:
        r"""Return how many rows a batch has when so many more have been seen."""
        return min(most, max(_FEWEST_BATCH_ROWS, round(self._step_share * n_rows)))

    def share(self, n_rows: int, batch_size: int) -> float:
        r"""Return the share of a full step that the next rows take, and count them."""
        self.n_rows += n_rows
        full = min(batch_size, max(1.0, self._step_share * self.n_rows))
        return min(1.0, n_rows / full)


@dataclass(frozen=True)
class FirstRows:
    r"""The first rows of a stream, for what is learned from all of them at once.

    The scaling of the inputs and their bins are learned again while the number of rows
    grows, since those of a first row alone would spoil them. From 1,000 rows on they
    stay as they are, and no rows are kept.
    """

    X: NDArray[Any]
    weight: NDArray[np.float64]
    # Number of rows when the scaling was learned last.
    n_learned: int = 0

    @classmethod
    def begin(cls, data: TrainingRows, rows: NDArray[np.int64]) -> FirstRows | None:
        r"""Return a place for the rows of a first chunk; None if it has enough."""
        first = cls(data.X[:0].copy(), np.empty(0))
        return None if first._are_enough(len(rows)) else first

    @property
    def are_enough(self) -> bool:
        r"""Whether no more rows are needed."""
        return self._are_enough(len(self.X))

    def _are_enough(self, n_rows: int) -> bool:
        n_numbers = n_rows * max(1, self.X.shape[1])
        return n_rows >= _FIRST_ROWS or n_numbers >= _FIRST_NUMBERS

    def extended(self, data: TrainingRows, rows: NDArray[np.int64]) -> FirstRows:
        r"""Return these rows and some of other ones."""
        weight = np.ones(len(rows))
        if data.sample_weight is not None:
            weight = data.sample_weight[rows]
        return FirstRows(
            np.concatenate([self.X, data.X[rows]]),
            np.concatenate([self.weight, weight]),
            self.n_learned,
        )

    @property
    def are_due(self) -> bool:
        r"""Whether there are enough new rows to learn the scaling again."""
        return self.are_enough or len(self.X) >= _GROWTH * self.n_learned

    def as_data(self) -> TrainingRows:
        r"""Return the rows, without labels."""
        labels = np.zeros(len(self.X), dtype=np.int64)
        return TrainingRows(self.X, labels, None, self.weight)


@contextmanager
def running_statistics(module: nn.Module, n_rows: int, pace: Pace) -> Iterator[None]:
    r"""Let small batches be normalized by the statistics of all rows so far.

    Those of a few rows are noise, and of one row there are none.

    Parameters
    ----------
    module : nn.Module
        A module in training mode.
    n_rows : int
        Number of rows in the batch.
    pace : Pace
        How fast the module changes, and its statistics with it.
    """
    layers = [
        layer
        for layer in module.modules()
        if isinstance(layer, BATCH_NORMS) and layer.running_mean is not None
    ]
    if not layers:
        yield
        return

    window = _WINDOW_ROWS / pace.rate
    share = n_rows / (n_rows + min(_PRIOR_ROWS + pace.n_rows, window))

    def learn(layer: nn.Module, args: tuple[Tensor]) -> None:
        _merge_statistics(layer, args[0].detach(), share)

    hooks = [layer.register_forward_pre_hook(learn) for layer in layers]
    try:
        for layer in layers:
            layer.eval()
        yield
    finally:
        for layer, hook in zip(layers, hooks, strict=True):
            layer.train()
            hook.remove()


@torch.no_grad()
def _merge_statistics(layer: Any, x: Tensor, share: float) -> None:
    r"""Merge a batch into running statistics, with a share of the weight."""
    if isinstance(layer, MemberBatchNorm):
        # (K, B, H) -> (B, K * H)
        x = x.transpose(0, 1).flatten(1)
    # (B, C, ...) -> (C)
    variance, mean = torch.var_mean(
        x.to(layer.running_mean.dtype), [0, *range(2, x.ndim)], correction=0
    )
    delta = mean - layer.running_mean
    layer.running_mean += share * delta
    layer.running_var.lerp_(variance, share).add_(share * (1 - share) * delta**2)
    layer.num_batches_tracked += 1
