r"""Who is told how a fit goes: scikit-learn's callbacks, and who sets `verbose`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numpy.typing import ArrayLike

from .compat import callback_context, has_callbacks
from .progressbar import Display, make_display

try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupportMixin
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        r"""Stands where scikit-learn, before version 1.9, has no callbacks."""


Snapshot = Callable[[], dict[str, Any]]


class FitReport:
    r"""Tells how a fit goes, step by step.

    To a callback of scikit-learn, a fit is a tree of tasks: the fit itself, below it
    its epochs, or first its stages and below them their steps. Every task has a
    context, in which the callback is called as the task begins and as it ends.
    """

    def __init__(self, estimator: Any, data: dict[str, Any], task_name: str) -> None:
        self._estimator = estimator
        # What the caller passed to fit, since that is what can be predicted again.
        self._data = data
        # Contexts of the tasks that have begun, the fit itself first; empty if nobody
        # of scikit-learn listens.
        self._tasks: list[Any] = []
        self._display: Display | None = make_display(
            type(estimator).__name__, getattr(estimator, "verbose", 0)
        )
        self.has_callbacks = has_callbacks(estimator)
        self._fit_task = callback_context(estimator, task_name)

    @property
    def is_watched(self) -> bool:
        r"""Return whether there is anybody to tell; if not, a step costs nothing."""
        return self.has_callbacks or self._display is not None

    def begin(self, n_steps: int | None, unit: str) -> None:
        r"""Begin the fit, of so many steps; None if their number is not known."""
        self._unit, self._n_steps, self._n_done = unit, n_steps, 0
        if self._display is not None:
            self._display.begin(n_steps, unit)
        if self._fit_task is not None:
            # It was made before the data was looked at, which says how many there are.
            self._fit_task.max_subtasks = n_steps
            self._push(self._fit_task)

    def expect(self, n_ahead: int) -> None:
        r"""Learn how many steps are ahead, perhaps more than the fit began with."""
        n_steps = self._n_done + n_ahead
        if self._n_steps is None or n_steps <= self._n_steps:
            return
        self._n_steps = n_steps
        if self._display is not None:
            self._display.expect(n_steps)
        if self._fit_task is not None:
            self._fit_task.max_subtasks = n_steps

    def begin_step(self) -> None:
        r"""Begin a step."""
        if self._tasks:
            self._push(self._tasks[-1].subcontext(task_name=self._unit))

    def end_step(
        self, metrics: dict[str, float], snapshot: Snapshot | None = None
    ) -> bool:
        r"""End a step; return whether to stop here.

        ``snapshot`` returns the fitted attributes of an estimator that stays what it
        is now. It is called only if somebody wants one.
        """
        self._n_done += 1
        if self._display is not None:
            self._display.advance(metrics)
        return bool(self._tasks) and self._pop(snapshot)

    def keep(self, number: int, is_last: bool, metrics: dict[str, float]) -> None:
        r"""Learn which step's result the fit keeps, and what came of that step."""
        if self._display is not None:
            name = "" if is_last else f"kept {self._unit} {number}: "
            self._display.keep(name, metrics)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        r"""Put the steps taken meanwhile below a task of their own."""
        if not self._tasks:
            yield
            return
        self._push(self._tasks[-1].subcontext(task_name=name, max_subtasks=None))
        yield
        self._pop(None)

    def end(self) -> None:
        r"""End the fit."""
        if self._display is not None:
            self._display.end()
        if self._tasks:
            self._pop(dict)

    def close(self) -> None:
        r"""Leave the terminal as it was, whether the fit succeeded or not."""
        if self._display is not None:
            self._display.close()

    def _push(self, task: Any) -> None:
        self._tasks.append(task)
        task.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def _pop(self, snapshot: Snapshot | None) -> bool:
        stops: bool = self._tasks.pop().call_on_fit_task_end(
            estimator=self._estimator,
            reconstruction_attributes=snapshot,
            **self._data,
        )
        return stops


@contextmanager
def reported(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike | None,
    sample_weight: ArrayLike | None,
    task_name: str = "fit",
) -> Iterator[FitReport]:
    r"""Report a fit, which says itself when it begins.

    Enter it before what gives an estimator its attributes back after a failure:
    scikit-learn keeps there whom to tell of the end.
    """
    metadata = None if sample_weight is None else {"sample_weight": sample_weight}
    data = {"X": X, "y": y, "metadata": metadata}
    report = FitReport(estimator, data, task_name)
    try:
        yield report
        report.end()
    finally:
        report.close()
