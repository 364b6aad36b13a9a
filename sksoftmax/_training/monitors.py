r"""The user's skorch callbacks, checked before training: what they monitor is there."""

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
_OURS = (BestEpoch, EpochReport, EpochTimer, PrintLog)

_SCORINGS = (BatchScoring, EpochScoring, PassthroughScoring)

# Names in the history of each epoch, and those that need validation rows.
_TRAINING_NAMES = (
    "epoch",
    "dur",
    "train_loss",
    "train_loss_best",
    "train_batch_count",
)
_VALIDATION_NAMES = (
    "valid_loss",
    "valid_loss_best",
    "valid_acc",
    "valid_acc_best",
    "valid_batch_count",
)

_HOW_TO_HOLD_OUT = (
    "Expected X_val and y_val in fit, or early_stopping=True, which holds out a part "
    "of the rows; partial_fit has no validation rows."
)


def check_callbacks(callbacks: Sequence[Any], lr_schedule: str) -> None:
    r"""Raise an error for what is no callback, or could not do what it is for."""
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
    return [item for item in callbacks if not isinstance(item[1], _OURS)]


def check_monitors(
    callbacks: Iterable[tuple[str, Callback]], *, has_validation: bool
) -> None:
    r"""Raise an error for a callback that monitors what will not be in the history.

    Parameters
    ----------
    callbacks : iterable of (str, Callback)
        The net's callbacks, initialised, in their order.
    has_validation : bool
        Whether there are validation rows.
    """
    callbacks = users_callbacks(callbacks)
    missing = set() if has_validation else set(_VALIDATION_NAMES)
    recorded = {*_TRAINING_NAMES, *_VALIDATION_NAMES} - missing
    unscored = []
    for label, callback in callbacks:
        monitor = _monitor(callback)
        if monitor in missing:
            raise ValueError(
                f"Got the callback {label} with monitor={monitor!r}, which needs "
                f"validation rows, but there are none. {_HOW_TO_HOLD_OUT}"
            )
        if monitor is not None and monitor not in recorded and _are_known(callbacks):
            raise ValueError(
                f"Got the callback {label} with monitor={monitor!r}, which nothing "
                f"before it records. Expected one of {sorted(recorded)}, or an "
                f"EpochScoring with name={monitor.removesuffix('_best')!r} before it."
            )
        names = set(_names(callback))
        if isinstance(callback, _SCORINGS) and not (
            callback.on_train or has_validation
        ):
            unscored.append(label)
            missing |= names
        else:
            recorded |= names
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
    r"""Explain the error of a callback that looks for validation scores in vain."""
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
    r"""Return the name that a callback reads in each epoch's history, if known."""
    if isinstance(callback, LRScheduler) and (
        callback.policy_ is not ReduceLROnPlateau or callback.step_every != "epoch"
    ):
        return None
    monitor = getattr(callback, "monitor", None)
    return monitor if isinstance(monitor, str) else None


def _are_known(callbacks: Iterable[tuple[str, Callback]]) -> bool:
    r"""Return whether all callbacks are skorch's, whose records are known."""
    return all(type(one).__module__.startswith("skorch.") for _, one in callbacks)


def _names(callback: Callback) -> list[str]:
    r"""Return the names that a callback of skorch records."""
    if isinstance(callback, _SCORINGS):
        name = getattr(callback, "name_", callback.name)
        return [name] if callback.lower_is_better is None else [name, f"{name}_best"]
    if isinstance(callback, Checkpoint | LRScheduler):
        return [] if callback.event_name is None else [callback.event_name]
    return []
