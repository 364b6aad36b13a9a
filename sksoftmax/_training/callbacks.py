r"""Callbacks of skorch that look at every epoch: one keeps the best, one reports."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skorch.callbacks import Callback, Checkpoint
from torch import Tensor

from .._utils.progress import FitReport, Snapshot

if TYPE_CHECKING:
    from .skorch_net import SoftmaxNet
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_asked_for() -> Iterator[list[bool]]:
    r"""Take a KeyboardInterrupt for a callback's wish to stop, but let Ctrl-C through.

    skorch's own callbacks, EarlyStopping say, end training that way. The list that is
    given is empty until one does.
    """
    asked: list[bool] = []
    pressed = False
    handler: Any = signal.getsignal(signal.SIGINT)
    # Signals come to the main thread only, and only there can be listened to.
    listens = callable(handler) and (
        threading.current_thread() is threading.main_thread()
    )

    def note(signum: int, frame: FrameType | None) -> Any:
        nonlocal pressed
        try:
            return handler(signum, frame)
        except KeyboardInterrupt:
            pressed = True
            raise

    try:
        if listens:
            signal.signal(signal.SIGINT, note)
        yield asked
    except KeyboardInterrupt:
        if pressed:
            raise
        asked.append(True)
    finally:
        if signal.getsignal(signal.SIGINT) is note:
            signal.signal(signal.SIGINT, handler)


# What is reported of an epoch, and by what name.
_REPORTED = {
    "train_loss": "loss",
    "valid_loss": "validation loss",
    "valid_acc": "validation accuracy",
}


@dataclass(frozen=True)
class EarlyStopping:
    r"""When to end training before the last epoch, and by which score."""

    monitor: str
    patience: int
    tol: float
    sign: int = 1
    # Whether only the last epoch of a round may be kept.
    of_rounds: bool = False


class BestEpoch(Callback):
    r"""End training when the validation score stalls; keep the best epoch's weights.

    Follows :class:`~sklearn.neural_network.MLPClassifier`: an epoch counts as stalled
    if it does not beat the best score by ``tol``, and any new best is kept.
    """

    # skorch's name for a callback that gives the module back its best parameters.
    load_best = True

    def __init__(
        self, monitor: str, patience: int, tol: float, sign: int, of_rounds: bool
    ) -> None:
        self.monitor = monitor
        self.patience = patience
        self.tol = tol
        # -1 if less of what is monitored is better.
        self.sign = sign
        self.of_rounds = of_rounds

    def on_train_begin(self, net: SoftmaxNet, **kwargs: Any) -> None:
        self.best_score_ = -math.inf
        self.stalled_ = 0
        # Counted from 1; None until there is a score.
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
            self.best_score_ = score
            self.best_epoch_ = len(net.history)
            self.best_state_ = copy.deepcopy(dict(net.module_.state_dict()))
        if self.stalled_ >= self.patience:
            net.stop_training_ = True

    def on_train_end(self, net: SoftmaxNet, **kwargs: Any) -> None:
        if self.best_state_ is not None:
            net.module_.load_state_dict(self.best_state_)
            # The table of losses shows all epochs, the last one at its end.
            if net.verbose > 1 and self.best_epoch_ != len(net.history):
                print(f"Restored the parameters of epoch {self.best_epoch_}.")
        self.best_state_ = None


class EpochReport(Callback):
    r"""Reports every epoch of a training, which ends when somebody asks for it."""

    def __init__(self, report: FitReport, snapshot: Snapshot) -> None:
        self.report = report
        self.snapshot = snapshot

    def on_epoch_begin(self, net: SoftmaxNet, **kwargs: Any) -> None:
        # The one that begins is in the history already.
        self.report.expect(1 + net.n_epochs_ahead())
        self.report.begin_step()

    def on_epoch_end(self, net: SoftmaxNet, **kwargs: Any) -> None:
        if self.report.end_step(epoch_metrics(net.history[-1]), self.snapshot):
            net.stop_training_ = True


def epoch_metrics(epoch: Mapping[str, Any]) -> dict[str, float]:
    r"""Return the losses of an epoch under the names by which they are reported."""
    return {label: epoch[name] for name, label in _REPORTED.items() if name in epoch}


def kept_epoch(net: SoftmaxNet) -> int:
    r"""Return the number, from 1, of the epoch whose parameters training kept.

    Callbacks restore parameters in their order, skorch's after `BestEpoch`: the choice
    of the last one counts.
    """
    kept = len(net.history)
    for _, callback in net.callbacks_:
        if not getattr(callback, "load_best", False):
            continue
        if isinstance(callback, Checkpoint):
            kept = _last_saved(net, callback)
        elif getattr(callback, "best_epoch_", None):
            kept = int(callback.best_epoch_)
    # A checkpoint restores the history as well, which then ends with its epoch.
    return min(kept, len(net.history))


def _last_saved(net: SoftmaxNet, checkpoint: Checkpoint) -> int:
    r"""Return the number of the last epoch that a checkpoint of skorch saved."""
    epochs = enumerate(net.history, start=1)
    saved = [number for number, epoch in epochs if epoch.get(checkpoint.event_name)]
    return saved[-1] if saved else len(net.history)
