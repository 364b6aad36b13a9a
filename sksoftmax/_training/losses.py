r"""What the batches of an epoch add up to."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .._data.hold_out import row_weight
from .batches import Batch
from .temperature import refined_loss


class WeightedCrossEntropy(nn.CrossEntropyLoss):
    r"""Cross-entropy on logits, averaged with the weights of the rows.

    Logits of shape ``(batch_size, n_members, n_classes)`` are averaged over members,
    for which a row may have different weights.
    """

    def forward(
        self, logits: Tensor, target: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        # A validation score is the plain log loss, whatever training is smoothed by.
        smoothing = self.label_smoothing if self.training else 0.0
        if logits.ndim == 3:
            n_members = logits.shape[1]
            # (B, K, C) -> (B * K, C)
            logits, target = logits.flatten(0, 1), target.repeat_interleave(n_members)
            if sample_weight is not None:
                # (B) or (B, K) -> (B * K)
                sample_weight = sample_weight.reshape(len(sample_weight), -1)
                sample_weight = sample_weight.expand(-1, n_members).flatten()
        if sample_weight is None:
            return F.cross_entropy(logits, target, label_smoothing=smoothing)
        losses = F.cross_entropy(
            logits, target, reduction="none", label_smoothing=smoothing
        )
        weight = sample_weight.to(losses.dtype)
        # A batch of vanishing weights has no gradient, rather than an undefined one.
        total = weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)
        return (losses @ weight) / total


class EpochTotals:
    r"""What the batches of an epoch add up to, left on the device until its end."""

    def __init__(self) -> None:
        self._losses = DeviceScalars()
        self._hits = DeviceScalars()
        self._weights = DeviceScalars()

    def add(self, batch: Batch, step: dict[str, Tensor], with_hits: bool) -> None:
        r"""Add a batch and what a step made of it."""
        y, weight = batch[1]
        sample_weight = row_weight(weight)
        self._losses.append(step["loss"])
        self._weights.append(len(y) if sample_weight is None else sample_weight.sum())
        if with_hits:
            hits = (step["y_pred"].argmax(1) == y).float()
            self._hits.append(
                hits.sum() if sample_weight is None else hits @ sample_weight
            )

    def batch_losses(self) -> list[float]:
        r"""Return the mean loss of a row in each batch."""
        losses: list[float] = self._losses.stack().tolist()
        return losses

    def loss(self) -> float:
        r"""Return the mean loss of a row."""
        weights = self._weights.stack()
        return float(self._losses.stack() @ weights / weights.sum())

    def accuracy(self) -> float:
        r"""Return the fraction of rows whose largest logit is the right one."""
        return float(self._hits.stack().sum() / self._weights.stack().sum())


class RefinedTotals(EpochTotals):
    r"""The same of held-out rows from which a temperature will be learned."""

    def __init__(self) -> None:
        super().__init__()
        self._logits: list[Tensor] = []
        self._targets: list[Tensor] = []
        self._row_weights: list[Tensor] = []

    def add(self, batch: Batch, step: dict[str, Tensor], with_hits: bool) -> None:
        super().add(batch, step, with_hits)
        y, weight = batch[1]
        sample_weight = row_weight(weight)
        self._logits.append(step["y_pred"])
        self._targets.append(y)
        if sample_weight is not None:
            self._row_weights.append(sample_weight)

    def loss(self) -> float:
        r"""Return the mean loss of a row at the best temperature."""
        weight = torch.cat(self._row_weights) if self._row_weights else None
        return refined_loss(torch.cat(self._logits), torch.cat(self._targets), weight)


class DeviceScalars:
    r"""Scalars, one or none for each batch, in few pieces of memory.

    Many small pieces would lie between the large ones that come and go with each batch,
    so that these could not be used again, and memory would grow with the batches.
    """

    _MOST_PIECES = 16

    def __init__(self) -> None:
        self._pieces: list[Tensor] = []
        self._recent: list[Tensor] = []
        self._numbers: list[int] = []

    def append(self, value: Tensor | int) -> None:
        r"""Add a scalar; either all of them are tensors, or none is."""
        if not isinstance(value, Tensor):
            self._numbers.append(value)
            return
        self._recent.append(value)
        if len(self._recent) == self._MOST_PIECES:
            self._pieces.append(torch.stack(self._recent))
            self._recent = []

    def stack(self) -> Tensor:
        r"""Return all of them, on the CPU in float64."""
        if self._numbers:
            return torch.tensor(self._numbers, dtype=torch.float64)
        recent = [torch.stack(self._recent)] if self._recent else []
        # One transfer for all of them.
        return torch.cat([*self._pieces, *recent]).cpu().double()
