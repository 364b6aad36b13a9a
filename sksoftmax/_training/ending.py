r"""Early ends of a training: Ctrl-C and a time limit, without loss of whole epochs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

from .callbacks import copied_state

if TYPE_CHECKING:
    from .skorch_net import SoftmaxNet


# Reason of an early end, in words.
TIME_LIMIT = "time_limit"


class TimeIsOverError(Exception):
    r"""Ends an epoch at the time limit; the training ends with the epoch before."""


class Ending:
    r"""What ends a training before its schedule does, and what is kept then.

    Parameters
    ----------
    start : float
        Time at which the fit began, as of :func:`time.monotonic`.
    time_limit : float or None
        Seconds that the fit may take; any time if None.
    keeps_interrupted : bool
        Whether Ctrl-C ends the training with the epochs that are whole.

    Attributes
    ----------
    n_whole : int
        Number of epochs whose result is complete.
    reason : str
        What has shortened or ended the training, in words; empty if nothing has.
    warning : str
        What the user is to be warned of; empty if there is nothing.
    """

    def __init__(
        self, start: float, time_limit: float | None, keeps_interrupted: bool
    ) -> None:
        self._end = None if time_limit is None else start + time_limit
        self.keeps_interrupted = keeps_interrupted
        self.n_whole = 0
        self.reason = self.warning = ""
        # Seconds of each epoch of this training, and the time of its last one.
        self._seconds: list[float] = []
        self._last = start
        self._n_batches = 0
        self._state: dict[str, Any] = {}

    def ends_epoch(self) -> bool:
        r"""Return whether the time limit ends an epoch after the present batch.

        Raises
        ------
        TimeIsOverError
            If an epoch before is whole; this one is dropped then. The first epoch
            counts as whole instead.
        """
        if self._end is None:
            return False
        now = time.monotonic()
        self._n_batches += 1
        if self._n_batches == 1:
            # The first batch of a process takes longer than the others.
            self._last = now
        if now < self._end:
            return False
        if self.n_whole:
            raise TimeIsOverError
        self.reason = TIME_LIMIT
        return True

    def begin(self, net: SoftmaxNet, n_epochs: int) -> None:
        r"""Begin a training that goes on after a number of epochs."""
        self.n_whole = n_epochs
        if n_epochs:
            self._copy_state(net)

    def end_epoch(self, net: SoftmaxNet) -> None:
        r"""Note that an epoch is whole, and copy its parameters of predictions."""
        self._copy_state(net)
        self.n_whole += 1
        seconds, self._last = time.monotonic() - self._last, time.monotonic()
        if self._seconds:
            self._seconds.append(seconds)
        elif self._n_batches > 1:
            self._seconds.append(seconds * self._n_batches / (self._n_batches - 1))

    def _copy_state(self, net: SoftmaxNet) -> None:
        if self.keeps_interrupted or self._end is not None:
            self._state = copied_state(net.module_.state_dict())

    def allows(self, n_epochs: int) -> bool:
        r"""Return whether so many epochs ahead end before the time limit.

        False only if even epochs as short as the shortest so far would take too long.
        """
        if self.reason:
            return False
        if self._end is None or not self._seconds:
            return True
        is_in_time = n_epochs * min(self._seconds) <= self._end - time.monotonic()
        if not is_in_time:
            self.reason = TIME_LIMIT
        return is_in_time

    def epochs_that_fit(self, n_ahead: int) -> int:
        r"""Return how many epochs ahead end in time, if each takes the median."""
        assert self._end is not None
        left = max(self._end - time.monotonic(), 0.0)
        return min(int(left / median(self._seconds)), n_ahead)

    def cut(self, net: SoftmaxNet, reason: str) -> None:
        r"""Return a net to the end of its last whole epoch, and end its training."""
        self.reason = reason
        del net.history[net.n_before_ + self.n_whole :]
        net.module_.load_state_dict(self._state)
        # The state has the averages of the parameters already.
        net.average = None


@contextmanager
def early_end(net: SoftmaxNet, n_done: int) -> Iterator[None]:
    r"""Keep the whole epochs of a training that Ctrl-C or the time limit ends.

    ``n_done`` epochs were done by an earlier process. Without an ``ending``, Ctrl-C
    passes.
    """
    ending = net.ending
    if ending is None:
        yield
        return
    ending.begin(net, n_done)
    try:
        yield
    except TimeIsOverError:
        ending.cut(net, TIME_LIMIT)
    except KeyboardInterrupt as error:
        n_whole = ending.n_whole
        if not (ending.keeps_interrupted and n_whole):
            error.add_note(
                f"fit was interrupted in epoch {n_whole + 1}; the classifier is as it "
                "was before. With on_interrupt='keep', fit keeps the best whole epoch."
            )
            raise
        ending.cut(net, "Ctrl-C")
        ending.warning = (
            f"fit was interrupted in epoch {n_whole + 1}. As on_interrupt='keep' says, "
            f"the best of {n_whole} whole epochs is kept; best_epoch_ is its number."
        )
    net.stop_training_ |= bool(ending.reason)
