r"""Restarts: further rounds of the schedule, for a net that underfits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

# Ratio of the training loss to the validation loss: below it a net overfits, though
# dropout raises the training loss. On Otto it is 0.61, with neighbors 0.68.
_CLOSE = 0.75

# Share of the epochs: a best epoch after it is late.
_LATE = 0.6

# Ratio to the smallest validation loss: the last epochs differ by chance, since the
# learning rate ends near zero.
_AS_GOOD = 1.002

# Ratio of a loss to that of a guess: above it, nothing was learned.
_WORSE = 2.0

# Log loss: the least difference to a guess, for rare classes, whose losses are small.
_SMALLEST_EXCESS = 0.5

# Ratio of a loss to that of a guess after a warm start: above it, the earlier fit was
# of no use.
_WARM_WORSE = 0.99

# Epochs: after fewer, a loss is mostly that of the initial parameters.
_FEWEST_TELLING = 5

# Share of the validation loss that a restart has to take off, for another one to
# follow.
_WORTHWHILE = 0.1

# Log loss: a restart cannot lower a smaller one by much.
_NEGLIGIBLE_LOSS = 0.001

# Share of the fall of a loss: the loss still falls if the second half of the epochs
# brought more. In 42 fits to 7 tables, validation rows said this of 15, and twice the
# epochs lowered the log loss of test rows by 4% to 29%.
_LARGE_SHARE = 0.1

# Ratio of a loss by which the second half of the epochs then has to lower it as well.
_LARGE_FALL = 0.01

History = Sequence[Mapping[str, Any]]


class Round(NamedTuple):
    r"""The epochs of one course of the schedule, from ``start`` to before ``end``."""

    start: int
    end: int


def plan_rounds(n_epochs: int, n_restarts: int) -> list[Round]:
    r"""Return the first round and its restarts, each twice as long as the one before.

    References
    ----------
    Loshchilov and Hutter (2017). SGDR: Stochastic Gradient Descent with Warm Restarts.
    https://arxiv.org/abs/1608.03983
    """
    ends = [n_epochs * (2 ** (index + 1) - 1) for index in range(n_restarts + 1)]
    return [Round(*edges) for edges in zip([0, *ends], ends, strict=False)]


def underfits(history: History, restart_if_best_is_last: bool = False) -> bool:
    r"""Return whether a net would learn more after a restart.

    True if the best validation epoch is late and the training loss is close to the
    validation loss. With ``restart_if_best_is_last`` also if the last epoch is about as
    good as the best: such a restart often does not help. False without validation rows.
    """
    last = history[-1]
    if "valid_loss" not in last:
        return False
    best = _best(history)
    smallest = history[best]["valid_loss"]
    is_late = best >= _LATE * (len(history) - 1)
    is_close = last["train_loss"] >= _CLOSE * smallest
    # The losses of noise hardly differ from one another.
    has_learned = history[0]["valid_loss"] > _AS_GOOD * smallest
    is_last = last["valid_loss"] <= _AS_GOOD * smallest and has_learned
    is_last = is_last and restart_if_best_is_last
    return bool((is_last or (is_late and is_close)) and smallest > _NEGLIGIBLE_LOSS)


def has_gained(history: History, following: Round) -> bool:
    r"""Return whether the last restart gained enough for the following one.

    True after the first round, which was no restart.
    """
    last_start = following.start - (following.end - following.start) // 2
    if not last_start:
        return True
    losses = [epoch["valid_loss"] for epoch in history]
    return bool(min(losses) <= (1 - _WORTHWHILE) * min(losses[:last_start]))


def has_stalled(history: History, current: Round) -> bool:
    r"""Return whether half of a restart's epochs have passed without a new best."""
    since = max(_best(history) + 1, current.start)
    return 2 * (len(history) - since) >= current.end - current.start


def worse_than_guess(epochs: History, guess: float, is_warm: bool) -> str:
    r"""Return in words that a loss is far above that of a guess; "" if it is not.

    Parameters
    ----------
    epochs : sequence of mapping
        The records up to the epoch that was kept. Fewer than five never tell.
    guess : float
        The loss of a prediction by the frequencies of the classes.
    is_warm : bool
        Whether the training began with a module that predicted better than a guess. A
        loss that is not below the guess then tells that this was of no use.
    """
    if len(epochs) < _FEWEST_TELLING:
        return ""
    key, name = _watched_loss(epochs)
    loss = epochs[-1][key]
    limit = _WARM_WORSE * guess if is_warm else _WORSE * guess + _SMALLEST_EXCESS
    if loss <= limit:
        return ""
    return (
        f"the {name} is {loss:.3g}, and {guess:.3g} for a guess by the frequencies of "
        "the classes"
    )


def late_fall(history: History) -> str:
    r"""Return in words that the loss still fell at the end; "" if it did not.

    The smallest loss of the first half of the epochs is compared with the smallest of
    all: the validation loss if there is one, else the training loss. After one epoch,
    which has no first half, a loss counts as falling.
    """
    key, name = _watched_loss(history)
    losses = [epoch[key] for epoch in history]
    after = min(losses)
    if after <= _NEGLIGIBLE_LOSS:
        return ""
    if len(losses) == 1:
        return f"the {name} is {after:.3g} after a single epoch"
    before = min(losses[: len(losses) // 2])
    if before - after <= max(_LARGE_SHARE * (losses[0] - after), _LARGE_FALL * before):
        return ""
    return (
        f"the {name} fell from {before:.3g} to {after:.3g} in the second half of the "
        "epochs"
    )


def _watched_loss(history: History) -> tuple[str, str]:
    r"""Return the key and the name of the loss by which a training is judged."""
    if "valid_loss" in history[-1]:
        return "valid_loss", "validation loss"
    return "train_loss", "training loss"


def _best(history: History) -> int:
    return min(range(len(history)), key=lambda index: history[index]["valid_loss"])
