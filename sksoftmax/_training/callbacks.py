r"""Callbacks of skorch for every epoch: one keeps the best, one reports."""

from __future__ import annotations

import copy
import math
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from skorch.callbacks import Callback, Checkpoint
from torch import Tensor

from .._utils.progress import FitReport, Snapshot

if TYPE_CHECKING:
    from .skorch_net import SoftmaxNet

# Labels of the numbers of an epoch that are reported, by their name in the history.
_REPORTED = {
    "train_loss": "loss",
    "valid_loss": "validation loss",
    "valid_acc": "validation accuracy",
    "valid_score": "validation score",
}


@contextmanager
def interrupts_stop_training(net: SoftmaxNet) -> Iterator[None]:
    r"""End training after a KeyboardInterrupt of a callback; let Ctrl-C through.

    skorch's callbacks, such as its EarlyStopping, end training by that exception. It
    looks like the one that Python raises for Ctrl-C, but that one comes from the
    handler of the signal.
    """
    is_pressed = False
    handler: Any = signal.getsignal(signal.SIGINT)

    def note(signum: int, frame: FrameType | None) -> Any:
        nonlocal is_pressed
        try:
            return handler(signum, frame)
        except KeyboardInterrupt:
            is_pressed = True
            raise

    # Python handles signals in its main thread only.
    if callable(handler) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, note)
    try:
        yield
    except KeyboardInterrupt:
        if is_pressed:
            raise
        net.stop_training_ = True
    finally:
        if signal.getsignal(signal.SIGINT) is note:
            signal.signal(signal.SIGINT, handler)


def listen(callbacks: Iterable[tuple[str, Callback]], *methods: str) -> bool:
    r"""Return whether one of the callbacks defines one of the methods itself."""
    return any(
        getattr(type(callback), method) is not getattr(Callback, method)
        for _, callback in callbacks
        for method in methods
    )


class BestEpoch(Callback):
    r"""End training when the validation score stalls; restore the best epoch.

    As in :class:`~sklearn.neural_network.MLPClassifier`, an epoch has stalled if its
    score does not exceed the best by ``tol``, but any new best is kept.

    Parameters
    ----------
    monitor : str
        Name of the score in the history.
    patience : int
        Number of stalled epochs after which training ends.
    tol : float
        Smallest improvement of an epoch that has not stalled.
    sign : {-1, 1}, default=1
        -1 if a smaller value of what is monitored is better.
    of_rounds : bool, default=False
        Whether only the last epoch of each round of the schedule may be kept.
    """

    # skorch's attribute of callbacks that restore the best parameters.
    load_best = True

    def __init__(
        self,
        monitor: str,
        patience: int,
        tol: float,
        sign: int = 1,
        of_rounds: bool = False,
    ) -> None:
        self.monitor = monitor
        self.patience = patience
        self.tol = tol
        self.sign = sign
        self.of_rounds = of_rounds

    def on_train_begin(self, net: SoftmaxNet, **kwargs: Any) -> None:
        self.best_score_ = -math.inf
        self.stalled_ = 0
        # From 1; None without a score.
        self.best_epoch_: int | None = None
        self.best_state_: dict[str, Tensor] | None = None

    def on_epoch_end(
        self, net: SoftmaxNet, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        if dataset_valid is None or (self.of_rounds and net.n_epochs_ahead()):
            return
        score = self.sign * net.history[-1, self.monitor]
        self.stalled_ = 0 if score > self.best_score_ + self.tol else self.stalled_ + 1
        if score > self.best_score_:
            self.best_state_ = copied_state(net.module_.state_dict())
            self.best_score_, self.best_epoch_ = score, len(net.history)
        if self.stalled_ >= self.patience:
            net.stop_training_ = True

    def on_train_end(self, net: SoftmaxNet, **kwargs: Any) -> None:
        if self.best_state_ is not None:
            net.module_.load_state_dict(self.best_state_)
            # The table that skorch prints ends with the last epoch.
            if net.verbose > 1 and self.best_epoch_ != len(net.history):
                print(f"Restored the parameters of epoch {self.best_epoch_}.")
        self.best_state_ = None


def copied_state(state: dict[str, Any]) -> dict[str, Any]:
    r"""Return a copy of a state; a clone takes a third of the time of `deepcopy`."""
    return {
        name: value.clone() if isinstance(value, Tensor) else copy.deepcopy(value)
        for name, value in state.items()
    }


class EpochReport(Callback):
    r"""Report every epoch to scikit-learn's callbacks, which may end training."""

    def __init__(self, report: FitReport, snapshot: Snapshot) -> None:
        self.report = report
        self.snapshot = snapshot

    def on_epoch_begin(self, net: SoftmaxNet, **kwargs: Any) -> None:
        # The epoch that begins is in the history already.
        self.report.expect(1 + net.n_epochs_ahead())
        self.report.begin_step()

    def on_epoch_end(self, net: SoftmaxNet, **kwargs: Any) -> None:
        if self.report.end_step(epoch_metrics(net.history[-1]), self.snapshot):
            net.stop_training_ = True


def epoch_metrics(epoch: Mapping[str, Any]) -> dict[str, float]:
    r"""Return the numbers of an epoch by the labels with which they are reported."""
    return {label: epoch[name] for name, label in _REPORTED.items() if name in epoch}


def kept_epoch(net: SoftmaxNet) -> int:
    r"""Return the number, from 1, of the epoch whose parameters were kept.

    Callbacks restore parameters in their order, the user's after `BestEpoch`: the last
    of them decides.
    """
    kept = len(net.history)
    for _, callback in net.callbacks_:
        if not getattr(callback, "load_best", False):
            continue
        if isinstance(callback, Checkpoint):
            kept = _last_saved(net, callback)
        elif getattr(callback, "best_epoch_", None):
            kept = int(callback.best_epoch_)
    # skorch's Checkpoint also restores the history, up to that epoch.
    return min(kept, len(net.history))


def _last_saved(net: SoftmaxNet, checkpoint: Checkpoint) -> int:
    r"""Return the number, from 1, of the last epoch that skorch's Checkpoint saved."""
    epochs = enumerate(net.history, start=1)
    saved = [number for number, epoch in epochs if epoch.get(checkpoint.event_name)]
    return saved[-1] if saved else len(net.history)
