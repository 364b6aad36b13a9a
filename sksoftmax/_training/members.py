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


def parts_of(weights: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return the sets of members that left the same rows out.

    Parameters
    ----------
    weights : Tensor of shape (n_samples, n_members)
        Weights of the held-out rows, 0 for members that learned from a row.

    Returns
    -------
    parts : Tensor of shape (n_parts, n_members), bool
        The sets.
    left_out_by : Tensor of shape (n_samples,), int64
        The index of the set that left each row out.
    """
    parts, left_out_by = torch.unique(weights > 0, dim=0, return_inverse=True)
    return parts, left_out_by


def row_weight(weight: Tensor | None) -> Tensor | None:
    r"""Return the weight of each row, whoever it counts for."""
    return weight if weight is None or weight.ndim == 1 else weight.amax(1)


def predict_by(module: nn.Module, X: Tensor, members: Tensor | None) -> Tensor:
    r"""Return logits of the members chosen for each row; of all if None."""
    logits: Tensor = module(X) if members is None else module(X, members)
    return logits
