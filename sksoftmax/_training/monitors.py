r"""Checks of the user's skorch callbacks: the records that they read exist."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EpochScoring,
    EpochTimer,
    InputShapeSetter,
    LRScheduler,
    PassthroughScoring,
    PrintLog,
)
from skorch.exceptions import SkorchException
from torch.optim.lr_scheduler import ReduceLROnPlateau

from .._utils.compat import is_missing_in_history
from .callbacks import BestEpoch, EpochReport

# Callbacks that every net has, or that an estimator adds.
_LIBRARY_CALLBACKS = (BestEpoch, EpochReport, EpochTimer, PrintLog)

_SCORINGS = (BatchScoring, EpochScoring, PassthroughScoring)

# Names of the records of each epoch.
_TRAINING_NAMES = {"epoch", "dur", "train_loss", "train_loss_best", "train_batch_count"}

# Names of further records with validation rows.
_VALIDATION_NAMES = {"valid_loss", "valid_acc", "valid_batch_count"} | {
    "valid_loss_best",
    "valid_acc_best",
}

_HOW_TO_HOLD_OUT = (
    "Expected X_val and y_val in fit, or early_stopping=True, which holds out a part "
    "of the rows; partial_fit has no validation rows."
)


def check_callbacks(callbacks: Sequence[Any], lr_schedule: str) -> None:
    r"""Raise an error for what is no callback, or cannot do what it is made for."""
    for item in callbacks:
        callback = item[1] if isinstance(item, tuple) and len(item) == 2 else item
        kind = callback if isinstance(callback, type) else type(callback)
        if not issubclass(kind, Callback):
            raise TypeError(
                f"Got {item!r} among the callbacks, but expected skorch callbacks, or "
                "pairs of a name and a callback."
            )
        if issubclass(kind, LRScheduler) and lr_schedule != "constant":
            raise ValueError(
                f"Got an LRScheduler among the callbacks and {lr_schedule=}, which "
                "sets the learning rate of every step. Expected one of the two: "
                "lr_schedule='constant', or no LRScheduler."
            )
        if issubclass(kind, InputShapeSetter):
            raise ValueError(
                "Got an InputShapeSetter among the callbacks, which would build the "
                "module again once training has begun. Leave it out: every module is "
                "built for the number of features in X, and a module of yours gets it "
                "as n_features."
            )


def users_callbacks(
    callbacks: Iterable[tuple[str, Callback]],
) -> list[tuple[str, Callback]]:
    r"""Return the callbacks of a net that the user gave."""
    return [item for item in callbacks if not isinstance(item[1], _LIBRARY_CALLBACKS)]


def check_monitors(
    callbacks: Iterable[tuple[str, Callback]],
    *,
    has_validation: bool,
    has_score: bool = False,
) -> None:
    r"""Raise an error for a callback whose monitor will not be in the history.

    Parameters
    ----------
    callbacks : iterable of (str, Callback)
        The net's callbacks, initialized, in their order.
    has_validation : bool
        Whether there are validation rows.
    has_score : bool, default=False
        Whether they have a score by a scorer.

    Warns
    -----
    UserWarning
        If callbacks score validation rows, but there are none.
    """
    callbacks = users_callbacks(callbacks)
    # Only the records of skorch's callbacks are known beforehand.
    are_known = all(type(c).__module__.startswith("skorch.") for _, c in callbacks)
    missing = set() if has_validation else set(_VALIDATION_NAMES)
    recorded = (_TRAINING_NAMES | _VALIDATION_NAMES) - missing
    if has_score:
        recorded |= {"valid_score", "valid_score_best"}
    unscored = []
    for label, callback in callbacks:
        monitor = _monitor(callback)
        if monitor in missing:
            raise ValueError(
                f"Got the callback {label} with monitor={monitor!r}, which needs "
                f"validation rows, but there are none. {_HOW_TO_HOLD_OUT}"
            )
        if are_known and monitor is not None and monitor not in recorded:
            raise ValueError(
                f"Got the callback {label} with monitor={monitor!r}, which nothing "
                f"before it records. Expected one of {sorted(recorded)}, or an "
                f"EpochScoring with name={monitor.removesuffix('_best')!r} before it."
            )
        needs_validation = isinstance(callback, _SCORINGS) and not callback.on_train
        if needs_validation and not has_validation:
            unscored.append(label)
            missing |= _names(callback)
        else:
            recorded |= _names(callback)
    if unscored:
        warnings.warn(
            f"Got the callbacks {', '.join(unscored)}, which score validation rows, "
            f"but there are none: no score is recorded. {_HOW_TO_HOLD_OUT} "
            "on_train=True scores the training rows.",
            UserWarning,
            stacklevel=2,
        )


@contextmanager
def missing_validation_explained(has_validation: bool) -> Iterator[None]:
    r"""Explain the error of a callback that reads validation scores without any."""
    try:
        yield
    except (KeyError, SkorchException) as error:
        if has_validation or not is_missing_in_history(error, _VALIDATION_NAMES):
            raise
        raise ValueError(
            f"A callback needs validation rows, but there are none ({error}). "
            f"{_HOW_TO_HOLD_OUT}"
        ) from error


def _monitor(callback: Callback) -> str | None:
    r"""Return the name of the record that a callback reads, if it is known."""
    reads_none = isinstance(callback, LRScheduler) and (
        callback.policy_ is not ReduceLROnPlateau or callback.step_every != "epoch"
    )
    monitor = None if reads_none else getattr(callback, "monitor", None)
    return monitor if isinstance(monitor, str) else None


def _names(callback: Callback) -> set[str]:
    r"""Return the names of the records of a callback of skorch."""
    if isinstance(callback, _SCORINGS):
        name = getattr(callback, "name_", callback.name)
        return {name} if callback.lower_is_better is None else {name, f"{name}_best"}
    if isinstance(callback, Checkpoint | LRScheduler) and callback.event_name:
        return {callback.event_name}
    return set()
