r"""Further rounds of training, for a net that has not learned what it could."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

# A net that learns by heart predicts the rows that it learns from far better than those
# that are held out, though dropout disturbs it: on Otto, their losses are as .61 to 1,
# with neighbours as .68. Where they are closer, and a late epoch was the best, it can
# take more.
_CLOSE, _LATE = 0.75, 0.6
# Relative to the least loss. The rate ends near zero, and so the last epochs differ by
# chance: which of them was the best must not decide about a round.
_AS_GOOD = 1.002
# Ratio of a loss to that of a guess above which nothing was learned; the same after a
# warm start; the difference in log loss that this takes besides, where classes are rare
# and both losses small; and the fewest epochs that tell.
_WORSE = 2.0
_WARM_WORSE = 0.99
_SMALLEST_EXCESS = 0.5
_FEWEST_TELLING = 5
# A smaller loss than this is not worth the time.
_NEGLIGIBLE = 0.001

# A loss still falls if the second half of the epochs brought more than this share of
# its whole fall, and lowered it by more than this ratio. Of 42 fits to 7 tables,
# validation rows said so for 15, and twice the epochs lowered the log loss of test rows
# by 4% to 29%.
_LARGE_SHARE, _LARGE_FALL = 0.1, 0.01


class Round(NamedTuple):
    r"""Epochs in which the learning rate takes its course, counted from the first."""

    start: int
    end: int


def plan_rounds(n_epochs: int, n_extensions: int) -> list[Round]:
    r"""Return the first round and those that may follow, each twice as long.

    References
    ----------
    Loshchilov and Hutter (2017). SGDR: Stochastic Gradient Descent with Warm Restarts.
    https://arxiv.org/abs/1608.03983
    """
    ends = [n_epochs * (2 ** (index + 1) - 1) for index in range(n_extensions + 1)]
    return [Round(*edges) for edges in zip([0, *ends], ends, strict=False)]


def underfits(history: Sequence[Mapping[str, Any]], is_patient: bool = False) -> bool:
    r"""Return whether a net would learn more in another round.

    True if the best validation epoch is late and the training loss is close to its
    loss. With ``is_patient`` also if the last epoch is about as good as the best: such
    a restart is often in vain. False without validation rows.
    """
    if "valid_loss" not in history[-1]:
        return False
    best = _best(history)
    least = history[best]["valid_loss"]
    is_late = best >= _LATE * (len(history) - 1)
    is_close = history[-1]["train_loss"] >= _CLOSE * least
    is_last = is_patient and history[-1]["valid_loss"] <= _AS_GOOD * least
    return bool((is_last or (is_late and is_close)) and least > _NEGLIGIBLE)


def has_stalled(history: Sequence[Mapping[str, Any]], current: Round) -> bool:
    r"""Return whether half of a further round has gained nothing."""
    since = max(_best(history) + 1, current.start)
    return 2 * (len(history) - since) >= current.end - current.start


def worse_than_guess(
    epochs: Sequence[Mapping[str, Any]], guess: float, is_warm: bool
) -> str:
    r"""Return in words that the loss is above that of a guess; nothing if it is not.

    ``epochs`` are those up to the epoch that was kept, and ``guess`` is the loss of
    always predicting the frequencies of the classes. After a warm start from a fit that
    predicted better, a loss that is not below it tells that this was of no use. Fewer
    than five epochs say nothing: the loss of the first is mostly that of initial
    parameters.
    """
    if len(epochs) < _FEWEST_TELLING:
        return ""
    is_watched = "valid_loss" in epochs[-1]
    name = "validation loss" if is_watched else "training loss"
    loss = epochs[-1]["valid_loss" if is_watched else "train_loss"]
    limit = _WARM_WORSE * guess if is_warm else _WORSE * guess + _SMALLEST_EXCESS
    if loss <= limit:
        return ""
    return (
        f"the {name} is {loss:.3g}, and {guess:.3g} for a guess by the frequencies of "
        "the classes"
    )


def late_fall(history: Sequence[Mapping[str, Any]]) -> str:
    r"""Return in words how far the loss fell late; nothing if it had settled.

    It is the validation loss if there is one, else the training loss: the least of the
    first half of the epochs, and the least of all. After a single epoch, which has no
    first half, a loss counts as falling.
    """
    is_watched = "valid_loss" in history[-1]
    key = "valid_loss" if is_watched else "train_loss"
    losses = [epoch[key] for epoch in history]
    after, name = min(losses), "validation loss" if is_watched else "training loss"
    if after <= _NEGLIGIBLE:
        return ""
    if len(losses) == 1:
        return f"the {name} is {after:.3g} after a single epoch"
    before = min(losses[: len(losses) // 2])
    least = max(_LARGE_SHARE * (losses[0] - after), _LARGE_FALL * before)
    if before - after <= least:
        return ""
    return (
        f"the {name} fell from {before:.3g} to {after:.3g} in the second half of the "
        "epochs"
    )


def _best(history: Sequence[Mapping[str, Any]]) -> int:
    return min(range(len(history)), key=lambda index: history[index]["valid_loss"])
