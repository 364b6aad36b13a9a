r"""Further rounds of training, for a net that has not learned what it could."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

# A net that learns by heart predicts the rows that it learns from far better than those
# that are held out, though dropout disturbs it: on Otto, their losses are as .61 to 1,
# with neighbours as .68. Where they are closer, and a late epoch was the best, it can
# take more.
_CLOSE, _LATE = 0.75, 0.6
# A smaller loss than this is not worth the time.
_NEGLIGIBLE = 0.001


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

    So it is if held-out rows were predicted best late, and about as well as those that
    were learned from; to the patient also if they were predicted best at the end, where
    a round is often enough in vain. Without held-out rows, nobody knows.
    """
    if "valid_loss" not in history[-1]:
        return False
    best = _best(history)
    least = history[best]["valid_loss"]
    is_late = best >= _LATE * (len(history) - 1)
    is_close = history[-1]["train_loss"] >= _CLOSE * least
    is_last = is_patient and best == len(history) - 1
    return bool((is_last or (is_late and is_close)) and least > _NEGLIGIBLE)


def has_stalled(history: Sequence[Mapping[str, Any]], current: Round) -> bool:
    r"""Return whether half of a further round has gained nothing."""
    since = max(_best(history) + 1, current.start)
    return 2 * (len(history) - since) >= current.end - current.start


def _best(history: Sequence[Mapping[str, Any]]) -> int:
    return min(range(len(history)), key=lambda index: history[index]["valid_loss"])
