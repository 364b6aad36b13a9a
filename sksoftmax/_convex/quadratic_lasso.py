r"""The minimum of a quadratic model plus a lasso.

With the signs of the nonzero coefficients given, the minimum solves linear equations.
The number of equations to solve hardly depends on the condition of the model, unlike
the number of steps of coordinate descent or of proximal gradients.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError
from scipy.linalg.lapack import dposv

Array = NDArray[np.float64]
Index = NDArray[np.intp]

# Linear equations to solve for one model.
_MAX_SOLUTIONS = 1000
# Equations after which zeros leave one at a time: then each step lowers the objective.
_MAX_JOINT_SOLUTIONS = 50
# Added to the curvature of each coefficient, relative to it: equal features have none
# along their difference.
_ADDED_CURVATURE = 1e-12
# Decrease of the objective, relative to the step times the slope. A step to the minimum
# of a parabola has one half.
_SUFFICIENT_DECREASE = 0.1
# Length below which a step ends at the first coefficient that becomes zero.
_SHORTEST_STEP = 0.1


def minimize_with_lasso(
    hessian: Array, gradient: Array, lasso: Array, start: Array, goal: float
) -> Array:
    r"""Minimize a quadratic model plus a lasso by an active-set method.

    Each step solves the equations of the active coefficients: those that are not zero,
    and zeros whose gradient exceeds the lasso. Coefficients that would change their
    sign become zero. If that does not lower the objective enough, zeros that would move
    against their gradient stay zero, and the step is shortened.

    Parameters
    ----------
    hessian : ndarray of shape (n, n)
        Curvature of the model.
    gradient : ndarray of shape (n,)
        Its gradient at ``start``.
    lasso : ndarray of shape (n,)
        Penalty of each absolute value.
    start : ndarray of shape (n,)
        Coefficients to start from.
    goal : float
        Largest entry of the smallest subgradient at which to stop.

    Returns
    -------
    target : ndarray of shape (n,)
        The minimum, with exact zeros.

    References
    ----------
    Lee, Battle, Raina and Ng (2006). Efficient sparse coding algorithms. NeurIPS 19.
    """
    model = _Model(hessian, lasso)
    coef, slope = start.copy(), gradient.copy()
    free = lasso == 0
    n_solutions = 0
    while n_solutions < _MAX_SOLUTIONS:
        if subgradient(coef, slope, lasso).max() <= goal:
            break
        active = free | (coef != 0)
        excess = np.where(active, 0.0, np.abs(slope) - lasso)
        if n_solutions < _MAX_JOINT_SOLUTIONS:
            active |= excess > goal
        elif excess.max() > goal:
            active[excess.argmax()] = True
        support = np.flatnonzero(active)
        step = None
        while step is None and len(support):
            step, support = model.step(coef, slope, support)
            n_solutions += 1
        if step is None:
            break
        coef[support] = step.target
        slope += step.change_of_slope
    return coef


def subgradient(coef: Array, gradient: Array, lasso: Array) -> Array:
    r"""Return the absolute values of the smallest subgradient."""
    at_zero = np.maximum(np.abs(gradient) - lasso, 0.0)
    return np.where(coef == 0, at_zero, np.abs(gradient + lasso * np.sign(coef)))


class _Step(NamedTuple):
    r"""New coefficients of the support, and the change of all slopes."""

    target: Array
    change_of_slope: Array


class _Model(NamedTuple):
    r"""A quadratic model plus a lasso."""

    hessian: Array
    lasso: Array

    def step(
        self, coef: Array, slope: Array, support: Index
    ) -> tuple[_Step | None, Index]:
        r"""Minimize on a support with given signs.

        Returns
        -------
        step, support : _Step or None, ndarray
            The step; None if it does not lower the objective before zeros that would
            move against their gradient leave the support. The new support.
        """
        start, lasso = coef[support], self.lasso[support]
        signs = np.where(start == 0, -np.sign(slope[support]), np.sign(start))
        gradient = slope[support] + lasso * signs
        change = _solve(self.hessian[np.ix_(support, support)], -gradient)
        crosses = (lasso > 0) & ((start + change) * signs < 0)
        # The Hessian is symmetric, and its rows are contiguous.
        columns = self.hessian[support]
        if not crosses.any():
            return _Step(start + change, change @ columns), support
        # Length of the step at which each coefficient becomes zero.
        zero_at = np.full(len(support), np.inf)
        zero_at[crosses] = -start[crosses] / change[crosses]
        is_wrong = zero_at == 0
        length, first = 1.0, zero_at[~is_wrong].min(initial=1.0)
        while True:
            target = np.where(zero_at <= length, 0.0, start + length * change)
            moved = target - start
            slopes = moved @ columns
            decrease = moved @ (slope[support] + 0.5 * slopes[support])
            decrease += lasso @ (np.abs(target) - np.abs(start))
            if decrease <= _SUFFICIENT_DECREASE * length * (gradient @ change):
                return _Step(target, slopes), support
            if is_wrong.any():
                if length <= max(first, _SHORTEST_STEP):
                    return None, support[~is_wrong]
            elif length <= first:
                return _Step(target, slopes), support
            length = max(length / 2, first)
            if length < _SHORTEST_STEP:
                length = first


def _solve(matrix: Array, right: Array) -> Array:
    r"""Solve symmetric equations; the diagonal of a singular matrix is raised."""
    diagonal = np.einsum("ii->i", matrix)
    added = _ADDED_CURVATURE
    while True:
        diagonal += added * diagonal
        _, solution, failed = dposv(matrix, right, lower=1)
        if not failed:
            return np.asarray(solution)
        added *= 100
        if not added < 1:
            raise LinAlgError("The model is not finite.")
