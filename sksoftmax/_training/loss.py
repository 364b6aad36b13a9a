r"""What training minimises."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
