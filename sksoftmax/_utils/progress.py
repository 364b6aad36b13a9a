r"""Reports of a fit's progress: to scikit-learn's callbacks and to the user."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numpy.typing import ArrayLike

from .compat import callback_context, has_callbacks
from .progressbar import make_display

try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupportMixin
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        r"""Substitute for scikit-learn before version 1.9, which has no callbacks."""


Snapshot = Callable[[], dict[str, Any]]


class FitReport:
    r"""Progress of a fit, step by step.

    For a callback of scikit-learn, a fit is a tree of tasks: the fit, and below it its
    epochs, or its stages with their steps. Each task has a context, which calls the
    callback when the task begins and when it ends.
    """

    def __init__(self, estimator: Any, data: dict[str, Any], task_name: str) -> None:
        self._estimator = estimator
        # The arguments of fit as the caller passed them: callbacks may predict them.
        self._data = data
        # Contexts of the tasks in progress, the fit first. Empty without callbacks.
        self._tasks: list[Any] = []
        self._display = make_display(
            type(estimator).__name__, getattr(estimator, "verbose", 0)
        )
        self.has_callbacks = has_callbacks(estimator)
        self._fit_task = callback_context(estimator, task_name)

    @property
    def is_watched(self) -> bool:
        r"""Whether callbacks or a display follow the steps."""
        return self.has_callbacks or self._display.is_visible

    def begin(self, n_steps: int | None, unit: str) -> None:
        r"""Begin the fit with its number of steps; None if it is unknown."""
        self._unit, self._n_steps, self._n_done = unit, n_steps, 0
        self._display.begin(n_steps, unit)
        if self._fit_task is not None:
            # The task was made before the data, which decides the number of steps.
            self._fit_task.max_subtasks = n_steps
            self._push(self._fit_task)

    def expect(self, n_ahead: int) -> None:
        r"""Set the number of steps ahead, which may exceed the number at the begin."""
        n_steps = self._n_done + n_ahead
        if self._n_steps is None or n_steps <= self._n_steps:
            return
        self._n_steps = n_steps
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
        r"""End a step; return whether a callback stops the fit here.

        ``snapshot`` returns the fitted attributes of an estimator that is trained up to
        this step. It is called only if a callback needs them.
        """
        self._n_done += 1
        self._display.advance(metrics)
        return bool(self._tasks) and self._pop(snapshot)

    def keep(
        self, number: int, is_last: bool, metrics: dict[str, float], ended_by: str = ""
    ) -> None:
        r"""Show the number and the metrics of the step whose result the fit keeps."""
        name = "" if is_last else f"kept {self._unit} {number}: "
        if ended_by:
            name = f"ended by {ended_by}, {name}"
        self._display.keep(name, metrics)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        r"""Put the steps of the block below a task of their own."""
        if not self._tasks:
            yield
            return
        self._push(self._tasks[-1].subcontext(task_name=name, max_subtasks=None))
        yield
        self._pop(None)

    def end(self) -> None:
        r"""End the fit."""
        self._display.end()
        # The fit, and a step that was not finished.
        while self._tasks:
            self._pop(dict)

    def close(self) -> None:
        r"""Restore the terminal, whether the fit succeeded or not."""
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
    r"""Report a fit, which calls ``begin`` itself.

    Enter this context before :func:`fitted_state_kept`: scikit-learn stores the
    callbacks to call at the end in attributes of the estimator.
    """
    metadata = None if sample_weight is None else {"sample_weight": sample_weight}
    report = FitReport(estimator, {"X": X, "y": y, "metadata": metadata}, task_name)
    try:
        yield report
        report.end()
    finally:
        report.close()
