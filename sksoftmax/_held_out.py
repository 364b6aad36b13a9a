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


def parts_of(weights: Tensor | None) -> tuple[Tensor, Tensor] | None:
    r"""Return the sets of members that left the same rows out; None without such rows.

    Parameters
    ----------
    weights : Tensor of shape (n_samples, n_members) or None
        Weights of the held-out rows, 0 for members that learned from a row.

    Returns
    -------
    parts : Tensor of shape (n_parts, n_members), bool
        The sets.
    shares : Tensor of shape (n_parts,)
        Weight of the rows that each set left out.
    """
    if weights is None or weights.ndim == 1:
        return None
    parts, part = torch.unique(weights > 0, dim=0, return_inverse=True)
    shares = weights.new_zeros(len(parts)).index_add(0, part, weights.amax(1))
    return parts, shares


def row_weight(weight: Tensor | None) -> Tensor | None:
    r"""Return the weight of each row, whoever it counts for."""
    return weight if weight is None or weight.ndim == 1 else weight.amax(1)


def predict_by(module: nn.Module, X: Tensor, members: Tensor | None) -> Tensor:
    r"""Return logits of the members chosen for each row; of all if None."""
    logits: Tensor = module(X) if members is None else module(X, members)
    return logits
