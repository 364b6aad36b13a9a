r"""How the learning rate changes from step to step."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch


def _one_cycle(progress: float) -> float:
    # Smith and Topin's super-convergence, with a shorter way up: 15% of the steps.
    start, peak = 0.04, 0.15
    if progress < peak:
        return start + (1 - start) * (1 - math.cos(math.pi * progress / peak)) / 2
    return (1 + math.cos(math.pi * (progress - peak) / (1 - peak))) / 2


def _cosine(progress: float) -> float:
    return (1 + math.cos(math.pi * progress)) / 2


def _constant(progress: float) -> float:
    return 1.0


# Learning rate, relative to `learning_rate`, at a fraction of all steps in [0, 1).
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": _constant,
    "cosine": _cosine,
    "one_cycle": _one_cycle,
}


class StepSchedule:
    r"""Sets an optimizer's learning rate before each step."""

    def __init__(
        self, name: str, learning_rate: float, n_epochs: int, n_done: int = 0
    ) -> None:
        self._factor = SCHEDULES[name]
        # A constant rate is set once: a user's callback may change it then.
        self._changes = name != "constant"
        self._learning_rate = learning_rate
        self._n_epochs = n_epochs
        # The first epoch is 0.
        self._epoch = n_done - 1

    def start(self, optimizer: torch.optim.Optimizer) -> None:
        r"""Set the rate that training begins with."""
        self._set(optimizer, self._learning_rate)

    def begin_epoch(self, n_steps: int) -> None:
        r"""Learn that another epoch begins, and of how many steps."""
        self._epoch += 1
        self._n_steps = n_steps
        self._n_steps_done = 0

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        r"""Set the rate of the next step."""
        if self._changes:
            epochs = self._epoch + self._n_steps_done / self._n_steps
            factor = self._factor(epochs / self._n_epochs)
            self._set(optimizer, self._learning_rate * factor)
            self._n_steps_done += 1

    @staticmethod
    def _set(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
