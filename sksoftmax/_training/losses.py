r"""The loss of a batch, and the losses of the batches of an epoch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .._data.hold_out import row_weight
from .scores import ValidationScore
from .temperature import refined_loss
from .tensor_table import Batch


class WeightedCrossEntropy(nn.CrossEntropyLoss):
    r"""Cross-entropy of logits, averaged with the sample weights.

    The logits are (B, C), or (B, K, C) with K members, over which the loss is averaged
    as well; the sample weights are (B), or (B, K) if they differ between members.
    """

    def forward(
        self, logits: Tensor, target: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        # Labels are smoothed in training only: a validation score is the log loss.
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
        # A batch whose weights are all 0 has no gradient, instead of NaN.
        total = weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)
        return (losses @ weight) / total


def probabilities(logits: Tensor) -> Tensor:
    r"""Return the probabilities of logits, (B, C) or of members, (B, K, C): (B, C)."""
    proba = logits.softmax(-1)
    return proba.mean(1) if proba.ndim == 3 else proba


class EpochTotals:
    r"""Losses of the batches of an epoch; on a GPU, transferred at its end."""

    def __init__(self) -> None:
        self.batch_sizes: list[int] = []
        self._losses: list[Tensor | float] = []
        # Sums of the sample weights of each batch.
        self._weights: list[Tensor | float] = []

    def add(self, batch: Batch, step: dict[str, Tensor]) -> None:
        r"""Add a batch and the result of the step on it."""
        y, weight = batch[1]
        sample_weight = row_weight(weight)
        self.batch_sizes.append(len(y))
        self._losses.append(_scalar(step["loss"]))
        self._weights.append(
            len(y) if sample_weight is None else _scalar(sample_weight.sum())
        )

    def batch_losses(self) -> list[float]:
        r"""Return the mean loss of a row in each batch."""
        losses: list[float] = _stacked(self._losses).tolist()
        return losses

    def loss(self) -> float:
        r"""Return the mean loss of a row."""
        weights = _stacked(self._weights)
        return float(_stacked(self._losses) @ weights / weights.sum())


class ValidationTotals(EpochTotals):
    r"""The losses and the accuracy of validation rows.

    With ``at_best_temperature``, the loss is that at the temperature that is best for
    these rows, since one will be learned after training. ``score_rows`` computes a
    further score.
    """

    def __init__(
        self, at_best_temperature: bool, score_rows: ValidationScore | None = None
    ) -> None:
        super().__init__()
        self._score_rows = score_rows
        self._keeps_logits = at_best_temperature or score_rows is not None
        self._hits: list[Tensor | float] = []
        self._at_best_temperature = at_best_temperature
        self._logits: list[Tensor] = []
        self._targets: list[Tensor] = []
        self._row_weights: list[Tensor] = []

    def add(self, batch: Batch, step: dict[str, Tensor]) -> None:
        super().add(batch, step)
        y, weight = batch[1]
        sample_weight = row_weight(weight)
        hits = (step["y_pred"].argmax(1) == y).float()
        self._hits.append(
            _scalar(hits.sum() if sample_weight is None else hits @ sample_weight)
        )
        if self._keeps_logits:
            self._logits.append(step["y_pred"])
            self._targets.append(y)
            if sample_weight is not None:
                self._row_weights.append(sample_weight)

    def loss(self) -> float:
        if not self._at_best_temperature:
            return super().loss()
        return refined_loss(*self._rows())

    def score(self) -> float | None:
        r"""Return the score by a scorer; None without one."""
        if self._score_rows is None:
            return None
        return self._score_rows(*self._rows(), self._at_best_temperature)

    def _rows(self) -> tuple[Tensor, Tensor, Tensor | None]:
        r"""Return the logits, the classes and the weights of all rows."""
        weight = torch.cat(self._row_weights) if self._row_weights else None
        return torch.cat(self._logits), torch.cat(self._targets), weight

    def accuracy(self) -> float:
        r"""Return the fraction of rows whose largest logit is that of their class."""
        return float(_stacked(self._hits).sum() / _stacked(self._weights).sum())


def _scalar(value: Tensor) -> Tensor | float:
    r"""Return a tensor of shape () as a number, unless that waits for a device.

    On the CPU, a small tensor of each batch would lie between large ones, whose memory
    could then not be used again.
    """
    return value if value.device.type != "cpu" else float(value)


def _stacked(values: list[Tensor | float]) -> Tensor:
    r"""Return scalars as a float64 tensor on the CPU, in one transfer."""
    if values and isinstance(values[0], Tensor):
        return torch.stack(values).cpu().double()  # type: ignore[arg-type]
    return torch.tensor(values, dtype=torch.float64)
