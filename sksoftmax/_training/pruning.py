r"""Dynamic data pruning: passes of training that leave out rows already learned."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .batches import Batch, TensorTable

# From this share of the epochs on, all rows are seen again.
_PRUNED_UNTIL = 0.875


class EasyRows:
    r"""Which rows a pass leaves out, and what those like them count for instead.

    A row is easy if its loss was below the mean when the net last learned from it. Easy
    rows are left out at random; those that stay count for more, so that the sums of
    losses and gradients are what they would be, on average.

    Parameters
    ----------
    rate : float
        Share of the easy rows that a pass leaves out.
    table : TensorTable
        The rows that are trained on.
    generator : torch.Generator
        Draws, on the CPU, which rows stay.

    References
    ----------
    Qin et al. (2024). InfoBatch: Lossless Training Speed Up by Unbiased Dynamic Data
    Pruning. https://arxiv.org/abs/2303.04947
    """

    def __init__(
        self, rate: float, table: TensorTable, generator: torch.Generator
    ) -> None:
        self._rate = rate
        self._table = table
        self._generator = generator
        self._is_pruning = False
        # For each row of ``X``.
        self.losses = torch.full(
            table.stored_y.shape, math.inf, device=table.stored_y.device
        )
        self._weights = torch.ones_like(self.losses)

    def begin_epoch(self, epoch: int, n_epochs: int) -> None:
        r"""Learn which pass of how many comes; the first and the last see all rows."""
        end = min(_PRUNED_UNTIL * n_epochs, n_epochs - 1)
        self._is_pruning = 0 < epoch < end

    def choose(self, rows: Tensor) -> Tensor:
        r"""Return those of the rows that stay, in the same order."""
        self._weights.fill_(1.0)
        if not self._is_pruning:
            return rows
        losses = self.losses[rows]
        is_easy = losses < losses.mean()
        drawn = torch.rand(len(rows), generator=self._generator).to(rows.device)
        kept = rows[~(is_easy & (drawn < self._rate))]
        if len(kept) < 2:
            # One row alone cannot be normalised by batch.
            return rows
        self._weights[rows[is_easy]] = 1 / (1 - self._rate)
        return kept

    def take(self, index: Tensor) -> Batch:
        r"""Return the batch of the rows at an index, with what they count for."""
        X, (y, weight) = self._table.take(index)
        ours = self._weights[index]
        if weight is not None:
            # (B) or (B, K)
            ours = weight * ours.view(-1, *[1] * (weight.ndim - 1))
        self._index = index
        return X, (y, ours)

    def learn(self, logits: Tensor, y: Tensor) -> None:
        r"""Take note of what the net says of the batch that was taken last."""
        if logits.ndim == 3:
            # (B, K, C) -> (B, C, K), (B, K)
            logits = logits.transpose(1, 2)
            y = y[:, None].expand(-1, logits.shape[2])
        losses = F.cross_entropy(logits.detach(), y, reduction="none")
        self.losses[self._index] = losses.view(len(y), -1).mean(1)
