r"""Probabilities that mean what they say: one temperature for all logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from scipy.optimize import brentq, minimize_scalar
from torch import Tensor, nn
from torch.nn import functional as F

from .._data.hold_out import parts_of, predict_by, row_weight
from ..modules._ensemble import average_members
from .batches import BatchIterator, TensorTable

# Nothing that training does calls for more.
_LARGEST_TEMPERATURE = 20.0

# A handful of rows, all of them right, would ask for certainty. A temperature costs the
# square of its logarithm's distance from what is expected, in units of this many rows'
# loss.
_CAUTION = 5.0


def held_out_temperature(
    module: nn.Module,
    held_out: TensorTable,
    views: Callable[[Tensor], list[Tensor]],
    batch_size: int,
) -> float:
    r"""Return the temperature for which held-out rows have the smallest log loss.

    If each row was left out by a part of the members only, the temperature of the
    parts' averages is carried over to the average of all members.
    """
    y, weights = held_out.targets()
    sample_weight = row_weight(weights)
    parts = None if weights is None or weights.ndim == 1 else parts_of(weights)[0]
    batches = []
    with torch.inference_mode():
        for X, (_, weight) in BatchIterator(held_out, batch_size):
            members = None
            if parts is not None and weight is not None:
                members = _averages(parts, weight > 0)
            logits = torch.stack([predict_by(module, x, members) for x in views(X)])
            # (V, B, C), or (V, 3 + G, B, C) where members left rows out
            batches.append(logits)
    logits = torch.cat(batches, dim=-2)
    if weights is None or parts is None:
        return best_temperature(logits, y, sample_weight)
    # The ratio of the temperatures is about the same for each view.
    carry_over = partial(_carried_over, logits[0], weights)
    unseen = logits[:, 0]
    temperature = best_temperature(unseen, y, sample_weight)
    # It is the average of all members for which 1 is expected.
    expected = temperature / carry_over(temperature)
    return carry_over(best_temperature(unseen, y, sample_weight, expected))


def _averages(parts: Tensor, unseen: Tensor) -> Tensor:
    r"""Return the members to average for each row, in several ways.

    They are those that left the row out, all, those that learned from it, and each of
    the parts: from (G, K) and (B, K) to (3 + G, B, K), bool.
    """
    of_row = torch.stack([unseen, torch.ones_like(unseen), ~unseen])
    return torch.cat([of_row, parts[:, None].expand(-1, len(unseen), -1)])


def _carried_over(logits: Tensor, weights: Tensor, temperature: float) -> float:
    r"""Return the temperature of all members from that of those that left a row out.

    Of the parts of a row, one has left it out. It differs from the others for that
    reason, too, so that all parts together say too much of how they differ for rows
    that are new to all, and those that learned from the row too little. The geometric
    mean is close: on 92 fits to 60 tables the best temperature on test rows was .99
    times it in the median.
    """
    _, whole, learned = logits[:3]
    parts, left_out_by = parts_of(weights)
    # (G, N): the rows that a part left out, and the weight of each part and row
    left_out = F.one_hot(left_out_by, len(parts)).T.bool()
    of_rows = weights.amax(1)
    weight = (left_out * of_rows).sum(1, keepdim=True) * of_rows
    # Averaged noise falls at most in proportion to the number of members.
    least = temperature * float(parts.sum(1).min() / parts.shape[1])
    found = [
        temperature_of_average(logits[3:], average, weight, temperature, least)
        for average, weight in ((whole, weight), (learned, weight * ~left_out))
    ]
    return math.sqrt(math.prod(found))


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
    logits: Tensor,
    y: Tensor,
    sample_weight: Tensor | None = None,
    expected: float = 1.0,
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
    expected : float, default=1.0
        The temperature of few rows that say nothing: their best temperature is found
        with a penalty on the square of its logarithm's distance from there.

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
        surprise = log_temperature - math.log(expected)
        return float(losses @ weight) + _CAUTION * surprise**2

    most = math.log(_LARGEST_TEMPERATURE)
    found = minimize_scalar(loss, bounds=(-most, most), method="bounded")
    return math.exp(found.x)


def temperature_of_average(
    parts: Tensor,
    whole: Tensor,
    weight: Tensor,
    temperature: float,
    least: float,
) -> float:
    r"""Return the temperature of an average of all members from that of some of them.

    The average of a part of the members is surer of itself than the average of all.
    Let :math:`\ell_g` be the logarithm of the mean probabilities of part :math:`g`, and
    :math:`\ell` that of all members. :math:`T` is the best temperature of the parts if
    the derivative of the log loss is zero,

    .. math:: E\, \ell_{g y} = E \sum_k \mathrm{softmax}(\ell_g / T)_k \, \ell_{g k}.

    If :math:`\tau` is right for all members, the label is class :math:`k` with the
    probability :math:`\mathrm{softmax}(\ell / \tau)_k`. The left side is then

    .. math:: E \sum_k \mathrm{softmax}(\ell / \tau)_k \, \ell_{g k},

    and falls as :math:`\tau` grows. The solution :math:`\tau` is returned. It needs no
    labels and no members that are alike, only how far the parts differ from the whole.

    Parameters
    ----------
    parts : Tensor of shape (n_parts, n_samples, n_classes)
        Logarithms of the mean probabilities of each part of the members, for all rows.
    whole : Tensor of shape (n_samples, n_classes)
        Logarithms of the mean probabilities of all members.
    weight : Tensor of shape (n_parts, n_samples)
        How much each part counts for each row.
    temperature : float
        The best temperature of the parts, for rows that they have not learned from.
    least : float
        Smallest temperature to return.

    Returns
    -------
    temperature : float
        At least ``least``, and at most that of the parts.
    """
    parts, whole = parts.cpu().double(), whole.cpu().double()
    if not weight.any():
        # All parts left out each row that counts: there are none to compare with.
        return temperature
    # (G, N) -> (G, N, 1)
    weight = (weight.cpu().double() / weight.cpu().double().sum())[:, :, None]
    needed = float((weight * (parts / temperature).softmax(2) * parts).sum())
    # (N, C): the score of each class as a label, for a part on average
    score = (weight * parts).sum(0)

    def excess(candidate: float) -> float:
        return float(((whole / candidate).softmax(1) * score).sum()) - needed

    if excess(temperature) >= 0:
        return temperature
    if excess(least) <= 0:
        return least
    return float(brentq(excess, least, temperature, xtol=1e-6))
