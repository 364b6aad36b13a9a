r"""Probabilities that mean what they say: one temperature for all logits."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torch.nn import functional as F

from ._data import BatchIterator, TensorTable
from ._ensemble import average_members
from ._held_out import predict_by, row_weight, unseen_by, unseen_by_one

# Nothing that training does calls for more.
_LARGEST_TEMPERATURE = 20.0

# A handful of rows, all of them right, would ask for certainty. A temperature costs the
# square of its logarithm, in units of this many rows' loss.
_CAUTION = 5.0


def held_out_temperature(
    module: nn.Module,
    held_out: TensorTable,
    views: Callable[[Tensor], list[Tensor]],
    batch_size: int,
    *,
    are_alike: bool,
) -> float:
    r"""Return the temperature that held-out rows ask for.

    If only some members did not learn from a row, it is the one that those ask for. If
    members are alike, it is carried over to the average of all: what members of another
    kind change must not be taken for what more of them do.
    """
    y, weights = held_out.targets()

    def temperature_of(choose: Callable[[Tensor | None], Tensor | None]) -> float:
        logits = []
        with torch.inference_mode():
            for X, (_, weight) in BatchIterator(held_out, batch_size):
                members = choose(weight)
                parts = [predict_by(module, view, members) for view in views(X)]
                logits.append(torch.stack(parts))
        return best_temperature(torch.cat(logits, dim=1), y, row_weight(weights))

    unseen, some = unseen_by(weights), temperature_of(unseen_by)
    if unseen is None or not are_alike or unseen.sum(1).min() < 2:
        return some
    # Unlike the count, its inverse averages out where it differs among rows.
    n_some = float(1 / unseen.sum(1).reciprocal().mean())
    one = temperature_of(unseen_by_one)
    return temperature_of_more(one, some, n_some, unseen.shape[1])


def refined_loss(
    logits: Tensor, y: Tensor, sample_weight: Tensor | None = None
) -> float:
    r"""Return the mean loss that is left once there is the best temperature.

    An epoch that is chosen by it is not given up for being too sure of itself, or too
    cautious, which the temperature mends.

    Parameters
    ----------
    logits : Tensor of shape (n_samples, n_classes)
        Logits of rows that were not trained on.
    y : Tensor of shape (n_samples,), int64
        The classes' indices.
    sample_weight : Tensor of shape (n_samples,), default=None
        Weight of each row; all the same if None.

    Returns
    -------
    loss : float
        NaN if the logits are not finite.

    References
    ----------
    Berta, Holzmüller, Jordan and Bach (2025). Rethinking Early Stopping: Refine, Then
    Calibrate. https://arxiv.org/abs/2501.19195
    """
    if not bool(logits.isfinite().all()):
        return math.nan
    # Not every device has float64.
    logits, y = logits.cpu().double(), y.cpu()
    temperature = best_temperature(logits[None], y, sample_weight)
    losses = F.cross_entropy(logits / temperature, y, reduction="none")
    if sample_weight is None:
        return float(losses.mean())
    weight = sample_weight.cpu().double()
    return float(losses @ weight / weight.sum())


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


def temperature_of_more(
    one: float, some: float, n_some: float, n_members: int
) -> float:
    r"""Return the temperature of a larger average from those of smaller ones.

    An average of more members is less sure of itself. What the members disagree about
    costs it in proportion to the inverse of their number, and so, about, it is with the
    temperature, whatever it tends to.

    Parameters
    ----------
    one : float
        The temperature of a single member.
    some : float
        The temperature of the average of some members.
    n_some : float
        The number of them, more than 1: the harmonic mean if it differs among rows.
    n_members : int
        The number of members of the larger average.

    Returns
    -------
    temperature : float
        Above 0, and at most ``some``.
    """
    slope = (one - some) / (1 - 1 / n_some)
    # Neither the slope nor what the temperature tends to is negative.
    slope = min(max(slope, 0.0), n_some * some)
    return some - slope * (1 / n_some - 1 / n_members)
