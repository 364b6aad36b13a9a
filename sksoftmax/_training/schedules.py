r"""Schedules of the learning rate, by step."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from .parameter_groups import RATE_SHARE

# Share of the steps in which the rate of "one_cycle" grows.
_PEAK = 0.15

# Share of the learning rate at the first step of "one_cycle".
_START = 0.04


def _one_cycle(progress: float) -> float:
    r"""Grow and fall along half a cosine each: Smith and Topin's super-convergence."""
    if progress < _PEAK:
        return _START + (1 - _START) * (1 - math.cos(math.pi * progress / _PEAK)) / 2
    return (1 + math.cos(math.pi * (progress - _PEAK) / (1 - _PEAK))) / 2


def _cosine(progress: float) -> float:
    return (1 + math.cos(math.pi * progress)) / 2


def _constant(progress: float) -> float:
    return 1.0


# Share of `learning_rate` at a share of all steps, from 0 to below 1.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": _constant,
    "cosine": _cosine,
    "one_cycle": _one_cycle,
}


class StepSchedule:
    r"""Sets the learning rate of an optimizer before each step."""

    def __init__(
        self, name: str, learning_rate: float, n_epochs: int, n_done: int = 0
    ) -> None:
        self._factor = SCHEDULES[name]
        # A constant rate is set once: a user's callback may change it afterwards.
        self.falls = name != "constant"
        self._learning_rate = learning_rate
        self._n_epochs = n_epochs
        # The first epoch is 0; `begin_epoch` increments it.
        self._epoch = n_done - 1
        # Epochs and progress, from 0 to 1, at which the epochs left were last counted.
        self._origin, self._progress = 0, 0.0

    def start(self, optimizer: torch.optim.Optimizer) -> None:
        r"""Set the rate of the first step."""
        self._set(optimizer, self._learning_rate)

    def begin_epoch(self, n_steps: int) -> None:
        r"""Begin the next epoch, of a number of steps."""
        self._epoch += 1
        self._n_steps = n_steps
        self._n_steps_done = 0

    def shorten(self, n_epochs: int) -> None:
        r"""Go through the rest of the schedule in a number of epochs."""
        done = self._epoch + 1
        self._progress = self._progress_at(done)
        self._origin, self._n_epochs = done, max(n_epochs, 1)

    def _progress_at(self, epochs: float) -> float:
        r"""Return the share of the schedule that is over after epochs."""
        since = (epochs - self._origin) / self._n_epochs
        return self._progress + (1 - self._progress) * since

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        r"""Set the rate of the next step."""
        if self.falls:
            epochs = self._epoch + self._n_steps_done / self._n_steps
            factor = self._factor(self._progress_at(epochs))
            self._set(optimizer, self._learning_rate * factor)
            self._n_steps_done += 1

    @staticmethod
    def _set(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * group.get(RATE_SHARE, 1.0)
