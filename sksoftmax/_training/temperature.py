r"""Calibration of the probabilities: one temperature for all logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from scipy.optimize import brentq, minimize_scalar
from torch import Tensor, nn
from torch.nn import functional as F

from .._data.hold_out import parts_of, predict_by, row_weight
from ..modules._ensemble import average_views
from .batches import BatchIterator
from .tensor_table import TensorTable

# Largest temperature, and the inverse of the smallest one; no training needs a larger
# one.
_LARGEST_TEMPERATURE = 20.0

# Weight of the penalty on (log temperature - log expected)^2, as a number of rows. With
# few rows, all of them predicted right, the best temperature would be 0.
_PENALTY_ROWS = 5.0

# Newton's method for the logarithm of a temperature: most steps, the largest step, and
# the step that ends it.
_MOST_NEWTON_STEPS = 100
_LARGEST_STEP = 1.0
_SMALLEST_STEP = 1e-7


def held_out_temperature(
    module: nn.Module,
    held_out: TensorTable,
    views: Callable[[Tensor], list[Tensor]],
    batch_size: int,
) -> float:
    r"""Return the temperature with the smallest log loss of validation rows.

    If only a part of the members left out each row, the temperature of the average of
    such a part is converted to that of the average of all members.

    Parameters
    ----------
    module : nn.Module
        The trained module.
    held_out : TensorTable
        The validation rows.
    views : callable
        Returns the views of a batch that a prediction averages.
    batch_size : int
        Rows per batch.
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
            # V views, G parts: (V, B, C), or (V, 3 + G, B, C) if members left rows out
            batches.append(logits)
    logits = torch.cat(batches, dim=-2)
    if weights is None or parts is None:
        return best_temperature(logits, y, sample_weight)
    # The ratio of the temperatures is about the same for each view.
    convert = partial(_converted, logits[0], weights)
    unseen = logits[:, 0]
    temperature = best_temperature(unseen, y, sample_weight)
    # The temperature of the average of all members is expected to be 1.
    expected = temperature / convert(temperature)
    return convert(best_temperature(unseen, y, sample_weight, expected))


def _averages(parts: Tensor, unseen: Tensor) -> Tensor:
    r"""Return the members of several averages of each row.

    These averages are of the members that left the row out, of all, of those that
    learned from it, and of each of the G parts: (G, K), (B, K) -> (3 + G, B, K), bool.
    """
    of_row = torch.stack([unseen, torch.ones_like(unseen), ~unseen])
    return torch.cat([of_row, parts[:, None].expand(-1, len(unseen), -1)])


def _converted(logits: Tensor, weights: Tensor, temperature: float) -> float:
    r"""Return the temperature of all members from that of the part without a row.

    `temperature_of_average` needs the differences between the parts for rows that are
    new to all of them. The part that left a row out also differs from the others for
    that reason: all parts together differ too much, and the parts that learned from the
    row too little. The result is the geometric mean of both answers. In 92 fits to 60
    tables, the best temperature of test rows was 0.99 times it in the median.

    Parameters
    ----------
    logits : Tensor of shape (3 + n_parts, n_samples, n_classes)
        The logits of the averages of `_averages`.
    weights : Tensor of shape (n_samples, n_members)
        Weights of the rows, 0 for members that learned from a row.
    temperature : float
        The temperature of the part that left a row out.
    """
    _, whole, learned = logits[:3]
    parts, left_out_by = parts_of(weights)
    # (G, N): the rows that each part left out, and the weight of each part and row
    left_out = F.one_hot(left_out_by, len(parts)).T.bool()
    of_rows = weights.amax(1)
    weight = (left_out * of_rows).sum(1, keepdim=True) * of_rows
    # The noise of an average falls at most in proportion to the number of members.
    smallest = temperature * float(parts.sum(1).min() / parts.shape[1])
    found = [
        temperature_of_average(logits[3:], average, weight, temperature, smallest)
        for average, weight in ((whole, weight), (learned, weight * ~left_out))
    ]
    return math.sqrt(math.prod(found))


def refined_loss(
    logits: Tensor, y: Tensor, sample_weight: Tensor | None = None
) -> float:
    r"""Return the mean log loss at the best temperature.

    It compares epochs by their errors apart from too large or too small logits, which a
    temperature corrects.

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
        The temperature in the absence of rows: a penalty of 5 rows' weight draws the
        logarithm of the result to that of this one.

    Returns
    -------
    temperature : float
        Above 1 if the logits are too large.

    References
    ----------
    Guo, Pleiss, Sun and Weinberger (2017). On Calibration of Modern Neural Networks.
    https://arxiv.org/abs/1706.04599
    """
    logits, y = logits.cpu().double(), y.cpu()
    weight = torch.ones(len(y)) if sample_weight is None else sample_weight.cpu()
    weight = weight.double() / weight.double().mean()
    if len(logits) == 1:
        return _temperature_of_one_view(logits[0], y, weight, expected)

    def loss(log_temperature: float) -> float:
        log_proba = average_views(logits / math.exp(log_temperature))
        losses = F.nll_loss(log_proba, y, reduction="none")
        distance = log_temperature - math.log(expected)
        return float(losses @ weight) + _PENALTY_ROWS * distance**2

    largest = math.log(_LARGEST_TEMPERATURE)
    found = minimize_scalar(loss, bounds=(-largest, largest), method="bounded")
    return math.exp(found.x)


def _temperature_of_one_view(
    logits: Tensor, y: Tensor, weight: Tensor, expected: float
) -> float:
    r"""Return the best temperature by Newton's method in its logarithm.

    With :math:`s = 1 / T`, the loss of a row has the derivatives
    :math:`E_p \ell - \ell_y` and :math:`\mathrm{Var}_p \ell` by :math:`s`. Each step is
    limited, and the curvature without its negative part.
    """
    largest = math.log(_LARGEST_TEMPERATURE)
    # The largest logit becomes 0: probabilities stay, and sums have no large terms.
    logits = logits - logits.amax(1, keepdim=True)
    of_label = float(logits.gather(1, y[:, None])[:, 0] @ weight)
    log_temperature = math.log(expected)
    for _ in range(_MOST_NEWTON_STEPS):
        inverse = math.exp(-log_temperature)
        proba = (logits * inverse).softmax(1)
        mean = (proba * logits).sum(1)
        variance = (proba * logits.square()).sum(1) - mean.square()
        distance = log_temperature - math.log(expected)
        slope = inverse * (float(mean @ weight) - of_label)
        gradient = 2 * _PENALTY_ROWS * distance - slope
        curvature = 2 * _PENALTY_ROWS + inverse**2 * float(variance @ weight)
        step = -gradient / (curvature + max(slope, 0.0))
        step = min(max(step, -_LARGEST_STEP), _LARGEST_STEP)
        log_temperature = min(max(log_temperature + step, -largest), largest)
        if abs(step) < _SMALLEST_STEP:
            break
    return math.exp(log_temperature)


def temperature_of_average(
    parts: Tensor,
    whole: Tensor,
    weight: Tensor,
    temperature: float,
    smallest: float,
) -> float:
    r"""Return the temperature of the average of all members from that of parts of them.

    The average of a part of the members has larger logits than the average of all.
    Let :math:`\ell_g` be the logits of the average of part :math:`g`, and
    :math:`\ell` that of all members. :math:`T` is the best temperature of the parts if
    the derivative of the log loss is zero,

    .. math:: E\, \ell_{g y} = E \sum_k \mathrm{softmax}(\ell_g / T)_k \, \ell_{g k}.

    If :math:`\tau` is the best temperature of all members, the label is class :math:`k`
    with the probability :math:`\mathrm{softmax}(\ell / \tau)_k`. The left side is then

    .. math:: E \sum_k \mathrm{softmax}(\ell / \tau)_k \, \ell_{g k},

    and falls as :math:`\tau` grows. The result is the solution :math:`\tau`. It needs
    no labels and no equal members, only the differences between the parts and all.

    Parameters
    ----------
    parts : Tensor of shape (n_parts, n_samples, n_classes)
        Logits of the average of each part of the members, for all rows.
    whole : Tensor of shape (n_samples, n_classes)
        Logits of the average of all members.
    weight : Tensor of shape (n_parts, n_samples)
        Weight of each part for each row.
    temperature : float
        The best temperature of the parts, for rows that they have not learned from.
    smallest : float
        Smallest temperature to return.

    Returns
    -------
    temperature : float
        At least ``smallest``, and at most that of the parts.
    """
    parts, whole = parts.cpu().double(), whole.cpu().double()
    if not weight.any():
        # All parts left out each row with a weight: there is nothing to compare with.
        return temperature
    # (G, N) -> (G, N, 1)
    weight = (weight.cpu().double() / weight.cpu().double().sum())[:, :, None]
    needed = float((weight * (parts / temperature).softmax(2) * parts).sum())
    # (N, C): the weighted sum over parts of the logarithm of each class's probability
    score = (weight * parts).sum(0)

    def excess(candidate: float) -> float:
        return float(((whole / candidate).softmax(1) * score).sum()) - needed

    if excess(temperature) >= 0:
        return temperature
    if excess(smallest) <= 0:
        return smallest
    return float(brentq(excess, smallest, temperature, xtol=1e-6))
