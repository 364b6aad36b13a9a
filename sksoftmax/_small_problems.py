r"""Newton's method for a problem so small that calls cost more than arithmetic.

On NumPy, whose calls take a fraction of PyTorch's.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

Array = NDArray[np.float64]

# Sufficient decrease in a line search (Armijo), and the smallest step in one.
DECREASE, SMALLEST_STEP = 1e-4, 1e-10
# What rounding may add to an objective, relative to it or to 1.
NOISE = 1e-14


class Observer(Protocol):
    r"""Who is told of every step."""

    def begin_step(self) -> None:
        r"""Begin a step."""

    def end_step(self, objective: float, theta: Any) -> bool:
        r"""End a step; return whether to stop here.

        ``theta``, an array or a tensor, goes on to change.
        """


def solve_small(
    Z: Array,
    y: NDArray[np.int64],
    share: Array,
    ridge: Array,
    theta: Array,
    tol: float,
    max_iter: int,
    observer: Observer | None = None,
) -> tuple[Array, float, list[float]] | None:
    r"""Minimise mean cross-entropy plus a ridge by exact Newton steps.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_columns)
        Standardised rows.
    y : ndarray of shape (n_samples,), int64
        The classes' indices.
    share : ndarray of shape (n_samples,)
        Weights of the rows; they sum to 1.
    ridge : ndarray of shape (n_columns,)
        Penalty of each column.
    theta : ndarray of shape (n_classes, n_columns)
        Where to start.
    tol : float
        Largest absolute entry of the gradient at which to stop.
    max_iter : int
        Most steps.
    observer : Observer, default=None
        Told of every step.

    Returns
    -------
    theta, gradient_norm, objectives : tuple or None
        Where it ended, and how; None where a Hessian is singular, as with hardly a
        penalty on few rows.
    """
    target = np.zeros((len(y), len(theta)))
    target[np.arange(len(y)), y] = 1.0
    value, proba = _evaluate(Z, target, share, ridge, theta)
    objectives, norm = [value], math.inf
    for n_steps in range(max_iter + 1):
        gradient = ((proba - target) * share[:, None]).T @ Z + ridge * theta
        norm = float(np.abs(gradient).max())
        if norm <= tol or n_steps == max_iter:
            break
        if observer is not None:
            observer.begin_step()
        try:
            factor = cho_factor(_hessian(Z, proba, share, ridge), overwrite_a=True)
        except LinAlgError:
            return None
        step = -cho_solve(factor, gradient.ravel()).reshape(gradient.shape)
        step -= step.mean(0)
        slope, length = float((gradient * step).sum()), 1.0
        bound = value + NOISE * max(abs(value), 1.0)
        new_value, proba = _evaluate(Z, target, share, ridge, theta + step)
        while not new_value <= bound + DECREASE * length * slope:
            length /= 2
            if length < SMALLEST_STEP:
                return theta, norm, objectives
            trial = theta + length * step
            new_value, proba = _evaluate(Z, target, share, ridge, trial)
        theta, value = theta + length * step, new_value
        objectives.append(value)
        if observer is not None and observer.end_step(value, theta[None]):
            break
    return theta, norm, objectives


def _evaluate(
    Z: Array, target: Array, share: Array, ridge: Array, theta: Array
) -> tuple[float, Array]:
    r"""Return the objective and the probabilities, ``(n_samples, n_classes)``."""
    logits = Z @ theta.T
    logits -= logits.max(1, keepdims=True)
    proba = np.exp(logits)
    total = proba.sum(1)
    losses = np.log(total) - (logits * target).sum(1)
    value = share @ losses + 0.5 * (ridge * theta * theta).sum()
    return float(value), proba / total[:, None]


def _hessian(Z: Array, proba: Array, share: Array, ridge: Array) -> Array:
    (n_samples, n_columns), n_classes = Z.shape, proba.shape[1]
    # (N, K, 1) * (N, 1, p) -> (N, K * p)
    spread = (proba[:, :, None] * Z[:, None, :]).reshape(n_samples, -1)
    hessian: Array = -(spread * share[:, None]).T @ spread
    blocks = hessian.reshape(n_classes, n_columns, n_classes, n_columns)
    for k in range(n_classes):
        own = (Z * (share * proba[:, k])[:, None]).T @ Z
        blocks[k, :, k] += own
    diagonal = np.einsum("ii->i", hessian)
    diagonal += np.tile(ridge, n_classes)
    diagonal += np.finfo(float).eps * diagonal.max()
    # A shift common to all classes has no curvature, which would forbid the inverse.
    np.einsum("kjlj->klj", blocks)[...] += diagonal.mean()
    return hessian
