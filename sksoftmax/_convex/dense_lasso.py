r"""The minimum of a quadratic model plus a lasso, for few unknowns.

The number of proximal gradient steps grows with the condition number of the model, to
tens of thousands for a column of outliers or a very weak penalty. Coordinate descent
with exact solutions on the support does not depend on it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

Array = NDArray[np.float64]

# Sweeps over the coordinates.
_MAX_SWEEPS = 200
# Added to the curvature of each coordinate, relative to it: a shift of all classes has
# none.
_ADDED_CURVATURE = 1e-13


def softmax_hessian(
    Z: Array, sample_weight: Array, proba: Array, ridge: Array
) -> Array:
    r"""Return the Hessian of the mean loss and a ridge, ``(C * P, C * P)``.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_columns)
        Rows.
    sample_weight : ndarray of shape (n_samples,)
        Weights of the rows.
    proba : ndarray of shape (n_classes, n_samples)
        Probabilities of the rows.
    ridge : ndarray of shape (n_columns,)
        Penalty of each column.
    """
    n_classes, n_columns = len(proba), Z.shape[1]
    hessian = np.empty((n_classes, n_columns, n_classes, n_columns))
    for k in range(n_classes):
        # Not 1 - p, which has no significant digits where p is almost 1.
        factors = -proba[k] * proba
        factors[k] = proba[k] * np.delete(proba, k, 0).sum(0)
        for other in range(k + 1):
            part = (Z * (sample_weight * factors[other])[:, None]).T @ Z
            hessian[k, :, other] = part
            hessian[other, :, k] = part.T
        hessian[k, range(n_columns), k, range(n_columns)] += ridge
    return hessian.reshape(n_classes * n_columns, -1)


def minimize_with_lasso(
    hessian: Array, gradient: Array, lasso: Array, start: Array, goal: float
) -> Array:
    r"""Minimize a quadratic model plus a lasso by coordinate descent.

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
    """
    coef, slope = start.copy(), gradient.copy()
    curvature = hessian.diagonal().copy()
    for _ in range(_MAX_SWEEPS):
        for j in np.flatnonzero(curvature > 0):
            free = coef[j] - slope[j] / curvature[j]
            kept = max(abs(free) - lasso[j] / curvature[j], 0.0)
            change = (kept if free > 0 else -kept) - coef[j]
            if change:
                coef[j] += change
                slope += change * hessian[j]
        if _subgradient_norm(coef, slope, lasso) <= goal:
            break
        _solve_on_support(hessian, coef, slope, lasso)
        if _subgradient_norm(coef, slope, lasso) <= goal:
            break
    return coef


def _subgradient_norm(coef: Array, slope: Array, lasso: Array) -> float:
    r"""Return the largest entry of the smallest subgradient."""
    at_zero = np.maximum(np.abs(slope) - lasso, 0.0)
    moving = np.abs(slope + lasso * np.sign(coef))
    return float(np.where(coef == 0, at_zero, moving).max())


def _solve_on_support(hessian: Array, coef: Array, slope: Array, lasso: Array) -> None:
    r"""Minimize on the support in place, until all signs stay the same.

    A coefficient that would change its sign becomes zero, and leaves the support.
    """
    for _ in range(len(coef)):
        support = np.flatnonzero((coef != 0) | (lasso == 0))
        if not len(support):
            return
        part = hessian[np.ix_(support, support)]
        diagonal = np.einsum("ii->i", part)
        diagonal += _ADDED_CURVATURE * diagonal
        right = slope[support] + lasso[support] * np.sign(coef[support])
        try:
            step = -cho_solve(cho_factor(part), right)
        except LinAlgError:
            return
        lengths = np.full(len(support), np.inf)
        shrinks = (lasso[support] > 0) & (step * coef[support] < 0)
        lengths[shrinks] = -coef[support[shrinks]] / step[shrinks]
        length = min(1.0, float(lengths.min()))
        coef[support] += length * step
        coef[support[lengths <= length]] = 0.0
        slope += hessian[:, support] @ (length * step)
        if length == 1.0:
            return
