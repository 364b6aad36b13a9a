r"""The minimum of a quadratic model plus a lasso, for few unknowns.

Proximal gradient steps need as many iterations as the model is badly conditioned: a
column of outliers, or a penalty that hardly counts, makes that tens of thousands.
Coordinate descent with exact solutions on the support does not depend on it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

Array = NDArray[np.float64]

# Most sweeps over the coordinates.
_MOST_SWEEPS = 200
# Relative to a coordinate's curvature, so that a shift of all classes has some.
_LEAST_CURVATURE = 1e-13


def softmax_hessian(Z: Array, share: Array, proba: Array, ridge: Array) -> Array:
    r"""Return the Hessian of the mean loss and a ridge, ``(K * p, K * p)``.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_columns)
        Rows.
    share : ndarray of shape (n_samples,)
        Their weights.
    proba : ndarray of shape (n_classes, n_samples)
        Their probabilities.
    ridge : ndarray of shape (n_columns,)
        Penalty of each column.
    """
    n_classes, n_columns = len(proba), Z.shape[1]
    hessian = np.empty((n_classes, n_columns, n_classes, n_columns))
    for k in range(n_classes):
        # Not 1 - p, which has no digits left where p is almost 1.
        factors = -proba[k] * proba
        factors[k] = proba[k] * np.delete(proba, k, 0).sum(0)
        for other in range(k + 1):
            part = (Z * (share * factors[other])[:, None]).T @ Z
            hessian[k, :, other] = part
            hessian[other, :, k] = part.T
        hessian[k, range(n_columns), k, range(n_columns)] += ridge
    return hessian.reshape(n_classes * n_columns, -1)


def minimize_with_lasso(
    hessian: Array, gradient: Array, lasso: Array, origin: Array, goal: float
) -> Array:
    r"""Minimise a quadratic model plus a lasso by coordinate descent.

    Parameters
    ----------
    hessian : ndarray of shape (n, n)
        Curvature of the model.
    gradient : ndarray of shape (n,)
        Its gradient at ``origin``.
    lasso : ndarray of shape (n,)
        Penalty of each absolute value.
    origin : ndarray of shape (n,)
        Where to start.
    goal : float
        Largest entry of the smallest subgradient at which to stop.

    Returns
    -------
    target : ndarray of shape (n,)
        The minimum, with exact zeros.
    """
    theta, slope = origin.copy(), gradient.copy()
    curvature = hessian.diagonal().copy()
    for _ in range(_MOST_SWEEPS):
        for j in np.flatnonzero(curvature > 0):
            free = theta[j] - slope[j] / curvature[j]
            kept = max(abs(free) - lasso[j] / curvature[j], 0.0)
            change = (kept if free > 0 else -kept) - theta[j]
            if change:
                theta[j] += change
                slope += change * hessian[j]
        if _size(theta, slope, lasso) <= goal:
            break
        _solve_on_support(hessian, theta, slope, lasso)
        if _size(theta, slope, lasso) <= goal:
            break
    return theta


def _size(theta: Array, slope: Array, lasso: Array) -> float:
    at_zero = np.maximum(np.abs(slope) - lasso, 0.0)
    moving = np.abs(slope + lasso * np.sign(theta))
    return float(np.where(theta == 0, at_zero, moving).max())


def _solve_on_support(hessian: Array, theta: Array, slope: Array, lasso: Array) -> None:
    r"""Go to the minimum for the present signs, as far as the signs stay, in place."""
    for _ in range(len(theta)):
        support = np.flatnonzero((theta != 0) | (lasso == 0))
        if not len(support):
            return
        part = hessian[np.ix_(support, support)]
        diagonal = np.einsum("ii->i", part)
        diagonal += _LEAST_CURVATURE * diagonal
        right = slope[support] + lasso[support] * np.sign(theta[support])
        try:
            step = -cho_solve(cho_factor(part), right)
        except LinAlgError:
            return
        ends = np.full(len(support), np.inf)
        shrinks = (lasso[support] > 0) & (step * theta[support] < 0)
        ends[shrinks] = -theta[support[shrinks]] / step[shrinks]
        length = min(1.0, float(ends.min()))
        theta[support] += length * step
        theta[support[ends <= length]] = 0.0
        slope += hessian[:, support] @ (length * step)
        if length == 1.0:
            return
