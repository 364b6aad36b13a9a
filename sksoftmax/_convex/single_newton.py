r"""Newton's method in float64 for the objective of one candidate.

:class:`SingleNewton` has the loop, the line search and conjugate gradients; its
subclasses compute objectives and steps. Arrays are NumPy's or PyTorch's.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .common import (
    ARMIJO,
    FLOAT64_NOISE,
    SIGNIFICANT_DECREASE,
    SMALLEST_STEP,
    StoppingCriteria,
)

# Objective and norm of the gradient at the start and after each step.
History = list[tuple[float, float]]


@dataclass
class Iterate:
    r"""Objective at coefficients of shape (C, P)."""

    coef: Any
    value: float
    # (C, P)
    gradient: Any
    proba: Any

    @property
    def gradient_norm(self) -> float:
        r"""Largest absolute entry of the gradient."""
        return float(abs(self.gradient).max())


class SingleNewton(ABC):
    r"""Newton's method with line search.

    ``solve`` evaluates the start and then repeats, until ``is_converged``:
    ``inner_solve`` solves ``H @ coef_newton = -gradient``, and ``line_search``
    evaluates ``coef + length * coef_newton`` for lengths in (0, 1].

    Attributes
    ----------
    n_classes : int
        Number of classes.
    zeros : ndarray or Tensor of shape (C, P)
        Zero coefficients.
    is_penalized : bool
        Whether there is an L2 penalty.
    restarts : bool
        Whether to start again at zero where a given start has no curvature.
    """

    n_classes: int
    zeros: Any
    is_penalized: bool
    restarts: bool

    @abstractmethod
    def evaluate(self, coef: Any) -> Any:
        r"""Return the iterate at coefficients."""

    @abstractmethod
    def inner_solve(self, iterate: Any) -> Any:
        r"""Return the Newton step, of shape (C, P)."""

    def solve(
        self, coef: Any, criteria: StoppingCriteria
    ) -> tuple[Any, float, list[float]]:
        r"""Minimize the objective.

        Parameters
        ----------
        coef : ndarray or Tensor of shape (C, P)
            Coefficients to start from.
        criteria : StoppingCriteria
            When to stop.

        Returns
        -------
        coef : ndarray or Tensor of shape (C, P)
            The last coefficients.
        norm : float
            Largest absolute entry of their gradient.
        objectives : list of float
            Objective at the start and after each step.
        """
        iterate, may_restart = self.evaluate(coef), self.restarts and bool(coef.any())
        if coef.any() and not iterate.value <= math.log(self.n_classes):
            # Zero coefficients are better than these, which may be NaN.
            iterate, may_restart = self.evaluate(self.zeros), False
        history = [(iterate.value, iterate.gradient_norm)]
        for _ in range(criteria.max_iter):
            if self.is_converged(iterate, history, criteria):
                break
            criteria.begin_step()
            coef_newton = self.inner_solve(iterate)
            # The same shift of all classes has no curvature.
            coef_newton -= coef_newton.mean(0)
            gradient_times_newton = float((iterate.gradient * coef_newton).sum())
            new, _ = self.line_search(iterate, coef_newton, gradient_times_newton)
            if new is None:
                significant = SIGNIFICANT_DECREASE * max(abs(iterate.value), 1.0)
                if not (may_restart and -gradient_times_newton > significant):
                    break
                new, history, may_restart = self.evaluate(self.zeros), [], False
            iterate = new
            history.append((iterate.value, iterate.gradient_norm))
            if criteria.end_step(iterate.value, iterate.coef[None]):
                break
        objectives = [value for value, _ in history]
        return iterate.coef, self.final_norm(iterate, criteria), objectives

    def final_norm(self, iterate: Any, criteria: StoppingCriteria) -> float:
        r"""Return the norm of the gradient that decides on convergence."""
        return float(iterate.gradient_norm)

    def is_converged(
        self, iterate: Any, history: History, criteria: StoppingCriteria
    ) -> bool:
        r"""Return whether to stop, given objectives and gradient norms of all steps."""
        value, norm = history[-1]
        return norm <= criteria.gradient_tolerance(value, self.is_penalized)

    def line_search(
        self, iterate: Any, coef_newton: Any, gradient_times_newton: float
    ) -> tuple[Any, float]:
        r"""Halve the step until the objective decreases sufficiently.

        Returns
        -------
        iterate, length : Iterate or None, float
            The new iterate, None if there is no decrease; and the length of the step.
        """
        value, length = iterate.value, 1.0
        bound = value + FLOAT64_NOISE * max(abs(value), 1.0)
        new = self.evaluate(iterate.coef + coef_newton)
        while not new.value <= bound + ARMIJO * length * gradient_times_newton:
            length /= 2
            if length < SMALLEST_STEP:
                return None, 0.0
            new = self.evaluate(iterate.coef + length * coef_newton)
        return new, length


def conjugate_gradients(
    hessian: Callable[[Any], Any],
    precondition: Callable[[Any], Any],
    dot: Callable[[Any, Any], Any],
    residual: Any,
    accuracy: float,
    max_products: int,
) -> tuple[Any, int, bool]:
    r"""Solve ``H @ step = residual`` by preconditioned conjugate gradients.

    Parameters
    ----------
    hessian, precondition : callable
        Multiply a direction by H, and by an approximate inverse of H.
    dot : callable
        The inner product of two directions.
    residual : ndarray or Tensor
        Right-hand side.
    accuracy : float
        Factor by which the preconditioned norm of the residual is reduced.
    max_products : int
        Largest number of products with H.

    Returns
    -------
    step, n_products, is_accurate : ndarray or Tensor, int, bool
        The step, which is the preconditioned residual if that has no curvature.
    """
    direction = solved = precondition(residual)
    squared_norm = dot(residual, solved)
    goal = accuracy**2 * squared_norm
    step: Any = 0.0
    for n_products in range(1, max_products + 1):
        product = hessian(direction)
        curvature = dot(direction, product)
        if not curvature > 0 or not 0 < (length := squared_norm / curvature) < math.inf:
            return (step if n_products > 1 else direction), n_products, False
        step = step + length * direction
        residual = residual - length * product
        solved = precondition(residual)
        previous, squared_norm = squared_norm, dot(residual, solved)
        if not squared_norm > goal:
            return step, n_products, bool(squared_norm >= 0)
        direction = solved + squared_norm / previous * direction
    return step, max_products, False
