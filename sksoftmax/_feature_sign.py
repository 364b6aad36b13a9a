r"""Quadratic models with a lasso, minimised exactly: for few unknowns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

Array = NDArray[np.float64]

# Relative to the largest curvature, what is added in a solve: a direction without any
# curvature would have no end. It only shortens steps.
_DAMPING = 1e-10
# Signs change at most so often per unknown; in practice hardly more than once.
_MOST_CHANGES = 10


def minimize_with_lasso(
    hessian: Array, gradient: Array, lasso: Array, origin: Array, tol: float
) -> Array:
    r"""Minimise a quadratic model plus a lasso by feature-sign search.

    Once it is known who is positive, negative or 0, the minimum is that of a quadratic
    function. The signs are found step by step, each of which lowers the objective.

    Parameters
    ----------
    hessian : ndarray of shape (n, n)
        Curvature, positive semidefinite.
    gradient : ndarray of shape (n,)
        Gradient of the quadratic part at the origin.
    lasso : ndarray of shape (n,)
        Factor of each unknown's absolute value; 0 for none.
    origin : ndarray of shape (n,)
        Where the model was made, and where the search begins.
    tol : float
        Largest entry of the smallest subgradient at which to stop.

    Returns
    -------
    x : ndarray of shape (n,)
        The minimum, with exact zeros.

    References
    ----------
    Lee, Battle, Raina and Ng (2006). Efficient sparse coding algorithms. NeurIPS 19.
    https://doi.org/10.7551/mitpress/7503.003.0105
    """
    x = origin.copy()
    is_free = lasso == 0
    damping = _DAMPING * hessian.diagonal().max()
    # Whether rounding lets those who are not 0 come no nearer.
    is_settled = False
    for _ in range(_MOST_CHANGES * len(x)):
        slope = gradient + hessian @ (x - origin)
        sign = np.sign(x)
        active = is_free | (sign != 0)
        excess = np.where(active, 0.0, np.abs(slope) - lasso)
        residual = np.where(active, np.abs(slope + lasso * sign), 0.0)
        has_newcomer = is_settled or residual.max() <= tol
        if has_newcomer:
            newcomer = int(excess.argmax())
            if excess[newcomer] <= tol:
                break
            sign[newcomer] = -np.sign(slope[newcomer])
            active[newcomer] = True
        # Of those who are not active, the step is 0.
        total = slope + lasso * sign
        try:
            step = _solve(hessian, total, active, damping)
        except (LinAlgError, ValueError):
            # There is no curvature, or it is not finite: no model to go by.
            break
        curvature = float(step @ hessian @ step)
        length = _best_length(float(total @ step), curvature, lasso, x, step, sign)
        if not length and has_newcomer:
            break
        is_settled = not length
        # What reaches 0 at that length is 0, whatever rounding says.
        reached = (x != 0) & (x + length * step == 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            reached |= (~is_free) & (x != 0) & (-x / step == length)
        x = np.where(reached, 0.0, x + length * step)
    return x


def _solve(
    hessian: Array, slope: Array, active: NDArray[np.bool_], damping: float
) -> Array:
    r"""Return the step to where the active unknowns have no slope left."""
    block = hessian[np.ix_(active, active)]
    block[np.diag_indices(len(block))] += damping
    step = np.zeros_like(slope)
    step[active] = -cho_solve(cho_factor(block, overwrite_a=True), slope[active])
    return step


def _best_length(
    slope: float, curvature: float, lasso: Array, x: Array, step: Array, sign: Array
) -> float:
    r"""Return how far to go: the whole way, or to where a sign changes."""
    with np.errstate(divide="ignore", invalid="ignore"):
        crossings = -x / step
    crossings = crossings[(lasso > 0) & (crossings > 0) & (crossings < 1)]
    lengths = np.append(np.unique(crossings), 1.0)
    # (n_lengths, n) -> (n_lengths): what the slope takes for less than nothing
    beyond = np.maximum(-sign * (x + lengths[:, None] * step), 0) @ lasso
    change = lengths * slope + 0.5 * lengths**2 * curvature + 2 * beyond
    best = int(change.argmin())
    return float(lengths[best]) if change[best] < 0 else 0.0
