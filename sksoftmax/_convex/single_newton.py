r"""Newton's method in float64 for the objective of one candidate.

:class:`SingleNewton` has the loop, the line search and conjugate gradients; its
subclasses compute objectives and steps. Arrays are NumPy's or PyTorch's.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .common import (
    ARMIJO,
    FLOAT64_NOISE,
    SIGNIFICANT_DECREASE,
    SMALLEST_STEP,
    StoppingCriteria,
)

# Objective that is a minimum whatever the penalty is.
_NEGLIGIBLE_OBJECTIVE = 1e-12
# Newton decrement at which a solver stops whatever the objective is.
_NEGLIGIBLE_DECREMENT = 1e-15
# Newton decrement relative to the distance from the minimum, at least, if the rows are
# classified ever better: it is the smaller, the more their distances differ.
_SHARE_OF_DECREMENT = 0.001
# The same where rounding has stopped the solver, and not the size of a step.
_SHARE_IF_STUCK = 0.1
# Steps without a decrease after which rounding has stopped the solver.
_MAX_STALLED_STEPS = 8
# Decrease of the objective in these steps, relative to it, that counts as none.
_NEGLIGIBLE_DECREASE = 1e-13
# Curvature that the objective has at least in a standardized column without penalty,
# relative to its value.
_SHARE_OF_CURVATURE = 1e-6

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
    # (C, P): the step from here, once it is known.
    coef_newton: Any = field(default=None, kw_only=True)

    @property
    def subgradient(self) -> Any:
        r"""The smallest subgradient, or its absolute values; the gradient here."""
        return self.gradient

    @property
    def gradient_norm(self) -> float:
        r"""Largest absolute entry of the smallest subgradient."""
        return float(abs(self.subgradient).max())


class Minimum(NamedTuple):
    r"""Where a solver stopped.

    Attributes
    ----------
    coef : ndarray or Tensor of shape (C, P)
        The last coefficients.
    gradient_norm : float
        Largest absolute entry of their gradient.
    objectives : list of float
        Objective at the start and after each step.
    converged : bool
        Whether the objective is at its minimum but for ``tol``, or for rounding.
    """

    coef: Any
    gradient_norm: float
    objectives: list[float]
    converged: bool


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
    ridge : ndarray or Tensor of shape (P,)
        L2 penalty of each column.
    is_penalized : bool
        Whether any is positive.
    restarts : bool
        Whether to start again at zero where a given start has no curvature.
    decrement_is_reliable : bool
        Whether a small Newton decrement means a minimum where the gradient is large.
    tol : float
        Norm of the gradient at which ``solve`` stops.
    is_stopped : bool
        Whether the observer has stopped ``solve``.
    """

    n_classes: int
    zeros: Any
    ridge: Any
    is_penalized: bool
    restarts: bool
    decrement_is_reliable: bool
    tol: float
    is_stopped: bool

    @abstractmethod
    def evaluate(self, coef: Any) -> Any:
        r"""Return the iterate at coefficients."""

    @abstractmethod
    def inner_solve(self, iterate: Any) -> Any:
        r"""Return the Newton step, of shape (C, P)."""

    def solve(self, starts: Sequence[Any], criteria: StoppingCriteria) -> Minimum:
        r"""Minimize the objective.

        Parameters
        ----------
        starts : sequence of ndarray or Tensor, of shape (C, P)
            Coefficients to start from: those with the smallest objective.
        criteria : StoppingCriteria
            When to stop.
        """
        iterate, self.is_stopped = self._best(starts), False
        may_restart = self.restarts and bool(iterate.coef.any())
        history, is_stuck = [(iterate.value, iterate.gradient_norm)], False
        for _ in range(criteria.max_iter):
            is_stuck = self.is_stalled(history)
            if is_stuck or self.is_converged(iterate, history, criteria):
                break
            criteria.begin_step()
            self.tol = criteria.gradient_tolerance(iterate.value, self.is_penalized)
            coef_newton = self.newton_step(iterate)
            new, _ = self.line_search(iterate, coef_newton)
            if new is None:
                significant = SIGNIFICANT_DECREASE * max(abs(iterate.value), 1.0)
                if not (may_restart and self.decrement(iterate) > significant):
                    is_stuck = True
                    break
                new, history, may_restart = self.evaluate(self.zeros), [], False
            iterate = new
            history.append((iterate.value, iterate.gradient_norm))
            self.is_stopped = criteria.end_step(iterate.value, iterate.coef[None])
            if self.is_stopped:
                break
        converged = self.is_converged(iterate, history, criteria)
        if is_stuck and not converged:
            # Rounding may keep the gradient of a minimum above its tolerance.
            bound = max(criteria.tol * _SHARE_IF_STUCK * iterate.value, FLOAT64_NOISE)
            converged = self.is_minimal(iterate, criteria.tol) or (
                self.decrement_is_reliable and self.decrement(iterate) <= bound
            )
        objectives = [value for value, _ in history]
        return Minimum(iterate.coef, iterate.gradient_norm, objectives, converged)

    def _best(self, starts: Sequence[Any]) -> Any:
        r"""Return the iterate with the smallest objective, zeros if all are worse."""
        iterates = [self.evaluate(coef) for coef in starts]
        # NaN is worse than any number.
        best = min(iterates, key=lambda each: (math.isnan(each.value), each.value))
        if best.coef.any() and not best.value <= math.log(self.n_classes):
            return self.evaluate(self.zeros)
        return best

    def newton_step(self, iterate: Any) -> Any:
        r"""Return the step from an iterate, which is computed once."""
        if iterate.coef_newton is None:
            iterate.coef_newton = self.inner_solve(iterate)
        return iterate.coef_newton

    def is_converged(
        self, iterate: Any, history: History, criteria: StoppingCriteria
    ) -> bool:
        r"""Return whether to stop, given objectives and gradient norms of all steps."""
        if not criteria.checks_decrement:
            tol = criteria.gradient_tolerance(iterate.value, self.is_penalized)
            return bool(iterate.gradient_norm <= tol)
        tol, bound = criteria.tol, _NEGLIGIBLE_DECREMENT
        bound = max(tol * _SHARE_OF_DECREMENT * iterate.value, bound)
        return iterate.gradient_norm <= tol and (
            self.is_minimal(iterate, tol) or self.decrement(iterate) <= bound
        )

    def is_stalled(self, history: History) -> bool:
        r"""Return whether the last steps decreased neither objective nor gradient."""
        if len(history) < _MAX_STALLED_STEPS:
            return False
        (first, first_norm), *rest = history[-_MAX_STALLED_STEPS:]
        smallest_norm = min(norm for _, norm in rest)
        is_flat = first - rest[-1][0] <= _NEGLIGIBLE_DECREASE * rest[-1][0]
        return is_flat and smallest_norm > 0.5 * first_norm

    def is_minimal(self, iterate: Any, tol: float) -> bool:
        r"""Return whether the objective is at its minimum but for ``tol``, relatively.

        No objective is negative; without a penalty, the infimum for separable classes
        is zero. Since a ridge is strongly convex, the distance from the minimum is at
        most ``sum(gradient**2 / (2 * ridge))``. An intercept has no ridge. If the
        ridge of others lets it classify rows ever better, its curvature may be as small
        as its gradient.
        """
        if not self.is_penalized or iterate.value <= _NEGLIGIBLE_OBJECTIVE:
            return bool(iterate.value <= max(tol, _NEGLIGIBLE_OBJECTIVE))
        gradient = iterate.subgradient
        free_curvature = _SHARE_OF_CURVATURE * iterate.value
        ridges = self.ridge[self.ridge > 0]
        if len(ridges) and float(ridges.min()) < iterate.gradient_norm:
            free_curvature = abs(gradient) + FLOAT64_NOISE
        curvature = self.ridge + free_curvature * (self.ridge == 0)
        distance = float((gradient**2 / (2 * curvature)).sum())
        return bool(distance <= max(tol * iterate.value, FLOAT64_NOISE))

    def decrement(self, iterate: Any) -> float:
        r"""Return the Newton decrement, by which the slope predicts a decrease."""
        return -self.slope(iterate, self.newton_step(iterate))

    def slope(self, iterate: Any, step: Any) -> float:
        r"""Return the first-order change of the objective by a step."""
        return float((iterate.gradient * step).sum())

    def line_search(self, iterate: Any, coef_newton: Any) -> tuple[Any, float]:
        r"""Halve the step until the objective decreases sufficiently.

        Returns
        -------
        iterate, length : Iterate or None, float
            The new iterate, None if there is no decrease; and the length of the step.
        """
        value, length = iterate.value, 1.0
        gradient_times_newton = self.slope(iterate, coef_newton)
        bound = value + FLOAT64_NOISE * max(abs(value), 1.0)
        new = self.evaluate(iterate.coef + coef_newton)
        while not new.value <= bound + ARMIJO * length * gradient_times_newton:
            length /= 2
            if length < SMALLEST_STEP:
                return None, 0.0
            new = self.evaluate(iterate.coef + length * coef_newton)
        return new, length


def cross_entropy(
    logits: NDArray[np.float64],
    y: NDArray[np.int64],
    sample_weight: NDArray[np.float64],
) -> tuple[float, NDArray[np.float64]]:
    r"""Return the weighted sum of the losses, and the probabilities of all classes.

    Parameters
    ----------
    logits : ndarray of shape (C, N)
        Logits, which the probabilities replace: in this layout, sums over classes
        are fast.
    y : ndarray of shape (N,)
        Indices of the classes.
    sample_weight : ndarray of shape (N,)
        Weights of the rows.
    """
    logits -= logits.max(0)
    true_logit = logits[y, np.arange(len(y))]
    proba = np.exp(logits, out=logits)
    total = proba.sum(0)
    loss = sample_weight @ (np.log(total) - true_logit)
    proba /= total
    return float(loss), proba


def complement(proba: NDArray[np.float64]) -> NDArray[np.float64]:
    r"""Return ``1 - proba``, of shape (C, N), precise where it is almost 0."""
    others: NDArray[np.float64] = 1.0 - np.eye(len(proba))
    return others @ proba


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
