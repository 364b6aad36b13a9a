r"""Dynamic data pruning: epochs that leave out rows already learned."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .tensor_table import Batch, TensorTable

# Share of the epochs: the epochs after it have all rows again.
_PRUNED_UNTIL = 0.875


class EasyRows:
    r"""Selects the rows of an epoch: some of the easy rows are left out.

    A row is easy if its last loss was below the mean. Each easy row is left out with
    the probability ``rate``. Those that stay have 1 / (1 - rate) times their weight, so
    that the expected sums of losses and gradients are those of all rows.

    Parameters
    ----------
    rate : float
        Share of the easy rows that an epoch leaves out.
    table : TensorTable
        The training rows.
    generator : torch.Generator
        Draws, on the CPU, the rows that are left out.

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
        # Last loss of each row that the table stores; infinite before the first.
        self.losses = torch.full(
            table.stored_y.shape, math.inf, device=table.stored_y.device
        )
        self._weights = torch.ones_like(self.losses)

    def begin_epoch(self, epoch: int, n_epochs: int) -> None:
        r"""Begin an epoch, from 0 on; the first and the last epochs have all rows."""
        end = min(_PRUNED_UNTIL * n_epochs, n_epochs - 1)
        self._is_pruning = 0 < epoch < end

    def choose(self, rows: Tensor) -> Tensor:
        r"""Return the rows that stay, in the same order."""
        self._weights.fill_(1.0)
        if not self._is_pruning:
            return rows
        losses = self.losses[rows]
        is_easy = losses < losses.mean()
        drawn = torch.rand(len(rows), generator=self._generator).to(rows.device)
        kept = rows[~(is_easy & (drawn < self._rate))]
        if len(kept) < 2:
            # Batch normalization needs two rows.
            return rows
        self._weights[rows[is_easy]] = 1 / (1 - self._rate)
        return kept

    def take(self, index: Tensor, X: Tensor | None = None) -> Batch:
        r"""Return the batch of the rows at an index, with changed weights."""
        X, (y, weight) = self._table.take(index, X)
        factor = self._weights[index]
        if weight is not None:
            # (B) or (B, K)
            factor = weight * factor.view(-1, *[1] * (weight.ndim - 1))
        self._index = index
        return X, (y, factor)

    def learn(self, logits: Tensor, y: Tensor) -> None:
        r"""Store the losses of the batch that was taken last."""
        if logits.ndim == 3:
            # (B, K, C) -> (B, C, K), (B, K)
            logits = logits.transpose(1, 2)
            y = y[:, None].expand(-1, logits.shape[2])
        losses = F.cross_entropy(logits.detach(), y, reduction="none")
        self.losses[self._index] = losses.view(len(y), -1).mean(1)
