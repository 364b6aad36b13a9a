r"""Rows that only some members of an ensemble learn from.

Who does stands in the rows' weights: of shape (batch_size, n_members) for training, 0
where a member leaves a row out; and for the rows that are held out the other way round.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def unseen_by(weight: Tensor | None) -> Tensor | None:
    r"""Return which members did not learn from held-out rows; None if nobody did."""
    return None if weight is None or weight.ndim == 1 else weight > 0


def unseen_by_one(weight: Tensor | None) -> Tensor | None:
    r"""Return one of the members that did not learn from a row, each in its turn."""
    unseen = unseen_by(weight)
    if unseen is None:
        return None
    turn = torch.arange(len(unseen), device=unseen.device) % unseen.sum(1)
    return unseen & (unseen.cumsum(1) == 1 + turn[:, None])


def row_weight(weight: Tensor | None) -> Tensor | None:
    r"""Return the weight of each row, whoever it counts for."""
    return weight if weight is None or weight.ndim == 1 else weight.amax(1)


def predict_by(module: nn.Module, X: Tensor, members: Tensor | None) -> Tensor:
    r"""Return logits of the members chosen for each row; of all if None."""
    logits: Tensor = module(X) if members is None else module(X, members)
    return logits
