r"""Probabilities that mean what they say: one temperature for all logits."""

from __future__ import annotations

import math

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F

from ._ensemble import average_members

# Nothing that training does calls for more.
_LARGEST_TEMPERATURE = 20.0

# A handful of rows, all of them right, would ask for certainty. A temperature costs the
# square of its logarithm, in units of this many rows' loss.
_CAUTION = 5.0


def best_temperature(
    logits: Tensor, y: Tensor, sample_weight: Tensor | None = None
) -> float:
    r"""Return what to divide logits by for the smallest log loss.

    Parameters
    ----------
    logits : Tensor of shape (n_views, n_samples, n_classes)
        Logits of rows that were not trained on, for each view of them. A prediction
        averages the probabilities of the views.
    y : Tensor of shape (n_samples,), int64
        The classes' indices.
    sample_weight : Tensor of shape (n_samples,), default=None
        Weight of each row; all the same if None.

    Returns
    -------
    temperature : float
        Above 1 where the logits are too sure of themselves.

    References
    ----------
    Guo, Pleiss, Sun and Weinberger (2017). On Calibration of Modern Neural Networks.
    https://arxiv.org/abs/1706.04599
    """
    logits = logits.cpu().double()
    weight = torch.ones(len(y)) if sample_weight is None else sample_weight.cpu()
    weight = weight.double() / weight.double().mean()

    def loss(log_temperature: float) -> float:
        log_proba = average_members(logits / math.exp(log_temperature))
        losses = F.nll_loss(log_proba, y.cpu(), reduction="none")
        return float(losses @ weight) + _CAUTION * log_temperature**2

    most = math.log(_LARGEST_TEMPERATURE)
    found = minimize_scalar(loss, bounds=(-most, most), method="bounded")
    return math.exp(found.x)
