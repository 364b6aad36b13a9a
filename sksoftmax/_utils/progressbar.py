r"""Display of a fit with ``verbose=1``: a progress bar, or one line in a log.

scikit-learn's callback `ProgressBar` is no substitute: version 1.8 does not have it,
and it shows neither metrics nor a line in a log.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType


# Seconds between two versions of a line in a notebook.
_SECONDS_BETWEEN_LINES = 0.2

# Escape codes that set the colors of a terminal.
_COLORS = re.compile(r"\x1b\[[0-9;]*m")


class Display:
    r"""Display of a fit; this one shows nothing."""

    is_visible = False

    def begin(self, n_steps: int | None, unit: str) -> None:
        r"""Begin with the number of steps ahead; None if it is unknown."""

    def expect(self, n_steps: int) -> None:
        r"""Increase the number of all steps."""

    def advance(self, metrics: dict[str, float]) -> None:
        r"""Show the end of a step and its metrics."""

    def keep(self, name: str, metrics: dict[str, float]) -> None:
        r"""Show the name and the metrics of the step that is kept."""

    def end(self) -> None:
        r"""Show that the fit is done."""

    def close(self) -> None:
        r"""Restore the terminal."""


class ClosingLine(Display):
    r"""Display for logs: one line at the end of a fit."""

    is_visible = True

    def __init__(self, name: str) -> None:
        self._name = name
        self._metrics = ""

    def begin(self, n_steps: int | None, unit: str) -> None:
        self._start, self._unit, self._n_done = time.perf_counter(), unit, 0

    def advance(self, metrics: dict[str, float]) -> None:
        self._n_done += 1
        self.keep("", metrics)

    def keep(self, name: str, metrics: dict[str, float]) -> None:
        self._metrics = name + ", ".join(formatted(metrics))

    def end(self) -> None:
        print(self._line())

    def _line(self) -> str:
        seconds = time.perf_counter() - self._start
        done = f"{counted(self._n_done, self._unit)} in {seconds:.1f} s"
        return ", ".join([f"{self._name}: {done}", *filter(None, [self._metrics])])


class Bar(Display):
    r"""Display for terminals and notebooks: a progress bar."""

    is_visible = True

    def __init__(self, name: str, progress: Any) -> None:
        self._name = name
        self._progress = progress

    def begin(self, n_steps: int | None, unit: str) -> None:
        self._unit, self._n_done, self._n_steps = unit, 0, n_steps
        self._task = self._progress.add_task(
            self._name, total=n_steps, done=self._done(), metrics=""
        )
        self._progress.start()

    def expect(self, n_steps: int) -> None:
        self._n_steps = n_steps
        self._progress.update(self._task, total=n_steps, done=self._done())

    def advance(self, metrics: dict[str, float]) -> None:
        self._n_done += 1
        self._progress.update(self._task, completed=self._n_done, done=self._done())
        self.keep("", metrics)

    def keep(self, name: str, metrics: dict[str, float]) -> None:
        self._progress.update(self._task, metrics=name + "  ".join(formatted(metrics)))

    def end(self) -> None:
        # The fit may stop before the expected number of steps, or have no steps.
        self._n_steps = self._n_done
        total = max(self._n_done, 1)
        self._progress.update(
            self._task, total=total, completed=total, done=self._done()
        )

    def close(self) -> None:
        self._progress.stop()

    def _done(self) -> str:
        if self._n_steps is None or self._n_steps == self._n_done:
            return counted(self._n_done, self._unit)
        return f"{self._n_done}/{counted(self._n_steps, self._unit)}"


class StreamedLine(ClosingLine):
    r"""Display for notebooks without widgets: one line that is written anew.

    A carriage return begins the line again, in every front end, without escape codes.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._shown = -math.inf
        self._width = 0

    def advance(self, metrics: dict[str, float]) -> None:
        super().advance(metrics)
        now = time.perf_counter()
        if now - self._shown >= _SECONDS_BETWEEN_LINES:
            self._shown = now
            self._write(self._line())

    def end(self) -> None:
        self._write(self._line())
        self._finish()

    def close(self) -> None:
        # After an error, the next output begins on a line of its own.
        self._finish()

    def _write(self, line: str) -> None:
        # Spaces hide the rest of a longer line.
        sys.stdout.write("\r" + line.ljust(self._width))
        sys.stdout.flush()
        self._width = len(line)

    def _finish(self) -> None:
        if self._width:
            sys.stdout.write("\n")
        self._width = 0


def make_display(name: str, verbose: int) -> Display:
    r"""Return the display for ``verbose``.

    From 2 on, skorch prints a line for each epoch. Workers show nothing, because many
    of them may run at once.
    """
    is_worker = (
        multiprocessing.parent_process() is not None
        or threading.current_thread() is not threading.main_thread()
    )
    if verbose != 1 or is_worker:
        return Display()
    has_rich = find_spec("rich") is not None
    if is_in_notebook():
        if not (has_rich and find_spec("ipywidgets") is not None):
            return StreamedLine(name)
    elif not (has_rich and sys.stdout.isatty()):
        return ClosingLine(name)
    return Bar(name, make_progress())


def is_in_notebook() -> bool:
    r"""Return whether the output is shown by Jupyter, Colab or another notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    # A shell in a terminal has no kernel.
    return shell is not None and hasattr(shell, "kernel")


def print_plainly(text: str = "") -> None:
    r"""Print without colors unless a terminal or a notebook shows them."""
    has_colors = "NO_COLOR" not in os.environ and (
        is_in_notebook() or sys.stdout.isatty()
    )
    print(text if has_colors else _COLORS.sub("", text))


def make_progress() -> Any:
    r"""Return rich's progress bar."""
    from rich import get_console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = get_console()

    class TwoLines(Progress):
        # A terminal of 80 columns has no room for the metrics beside the bar.
        def get_renderables(self) -> Iterator[RenderableType]:
            for task in self.tasks:
                yield self.make_tasks_table([task])
                if task.fields["metrics"]:
                    yield f"  {task.fields['metrics']}"

    return TwoLines(
        TextColumn("{task.description}"),
        # Blue and green of the Okabe-Ito palette, for readers with color blindness.
        BarColumn(bar_width=20, complete_style="#0072B2", finished_style="#009E73"),
        TextColumn("{task.fields[done]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        refresh_per_second=5,
    )


def counted(number: int, unit: str) -> str:
    return f"{number} {unit}{'s' * (number != 1)}"


def formatted(metrics: dict[str, float]) -> list[str]:
    return [f"{name} {value:.4f}" for name, value in metrics.items()]
