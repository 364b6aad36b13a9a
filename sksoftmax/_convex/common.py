r"""Classes and constants that all convex solvers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from torch import Tensor

# Sufficient decrease in a line search, relative to the step times the slope (Armijo;
# Nocedal and Wright, Numerical Optimization, section 3.1).
ARMIJO = 1e-4
# Smallest step length in a line search, relative to the Newton step.
SMALLEST_STEP = 1e-10
# Rounding error of an objective in float64, relative to it or to 1.
FLOAT64_NOISE = 1e-14
# Rounding error of an objective in float32, relative to it or to 1.
FLOAT32_NOISE = 5e-7
# Decrease of an objective, relative to it or to 1, that is certainly not rounding. If a
# step promises more, but the line search finds none, the start has no curvature.
SIGNIFICANT_DECREASE = 1e-6
# Smallest tolerance of a gradient: rounding lets no gradient become smaller.
SMALLEST_TOL = 1e-14
# Mean loss below which the tolerance of the gradient is smaller in proportion: with a
# penalty, such a loss (of separable classes) is of the order of its gradient.
SMALL_OBJECTIVE = 1e-3
# Smallest curvature in float32, relative to the largest: smaller ones are rounding.
CURVATURE_FLOOR = 1e-6


class Penalty(NamedTuple):
    r"""Penalty of one candidate, and the fold that it is fitted on.

    The mean loss plus ``l2_reg_strength / 2 * (coef**2).sum() + l1_reg_strength *
    abs(coef).sum()`` is minimized.
    """

    fold: int
    l2_reg_strength: float
    l1_reg_strength: float


class Observer(Protocol):
    r"""Callback of a solver, called around every step."""

    def begin_step(self) -> None:
        r"""Begin a step."""

    def end_step(self, objective: float, coef: Any) -> bool:
        r"""End a step; return whether to stop here.

        ``coef`` is an array or tensor that the solver may write to later.
        """


class StoppingCriteria(NamedTuple):
    r"""When a solver stops, and the observer of its steps.

    Attributes
    ----------
    tol : float
        Largest absolute entry of the gradient.
    max_iter : int
        Largest number of steps.
    checks_decrement : bool, default=True
        Whether a small gradient does not suffice: where a weak penalty is all the
        curvature that there is, the minimum may be far away. Then the Newton decrement
        decides, for the price of one more step.
    observer : Observer, default=None
        Called around every step.
    """

    tol: float
    max_iter: int
    checks_decrement: bool = True
    observer: Observer | None = None

    def gradient_tolerance(self, objective: float, is_penalized: bool) -> float:
        r"""Return the largest entry of the gradient at which a solver stops."""
        if not is_penalized or not objective < SMALL_OBJECTIVE:
            return self.tol
        tol = self.tol * max(objective, 0.0) / SMALL_OBJECTIVE
        return max(tol, min(self.tol, SMALLEST_TOL))

    def begin_step(self) -> None:
        r"""Notify the observer, if there is one."""
        if self.observer is not None:
            self.observer.begin_step()

    def end_step(self, objective: float, coef: Any) -> bool:
        r"""Notify the observer, if there is one; return whether to stop."""
        return self.observer is not None and self.observer.end_step(objective, coef)


@dataclass
class Solution:
    r"""Coefficients of one candidate on the scale of the input."""

    # (C, D) and (C,).
    weight: Tensor
    bias: Tensor | None
    gradient_norm: float
    # Objectives at the start and after each step.
    objectives: list[float]
    converged: bool

    @property
    def n_iter(self) -> int:
        r"""Number of steps taken, at least 1."""
        return max(len(self.objectives) - 1, 1)
