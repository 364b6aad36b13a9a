r"""Newton's method for one problem that a cache holds.

On NumPy: PyTorch's calls, and what it takes to set several threads to work, cost more
than the arithmetic.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from .common import (
    ARMIJO,
    CURVATURE_FLOOR,
    FLOAT64_NOISE,
    SIGNIFICANT_DECREASE,
    SMALLEST_STEP,
    Observer,
    gradient_tolerance,
)

Array = NDArray[np.float64]
Single = NDArray[np.float32]

# Up to so many operations, an exact Hessian costs no more than the calls for it.
_FEW_OPERATIONS = 2**23
# So many products call for another preconditioner; most for one step.
_MANY_PRODUCTS, _MOST_PRODUCTS = 12, 200
# Up to so many unknowns, an exact Hessian is inverted where that many products fail.
_MOST_UNKNOWNS = 1000


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
    r"""Minimise mean cross-entropy plus a ridge by Newton's method.

    Steps are exact, or found by conjugate gradients where that is less work.

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
        penalty on few rows, or beyond float32.
    """
    target = np.zeros((len(y), len(theta)))
    target[np.arange(len(y)), y] = 1.0
    value, proba = _evaluate(Z, target, share, ridge, theta)
    if not value <= math.log(len(theta)) and theta.any():
        # Zero is a better start, and NaN is none.
        theta = np.zeros_like(theta)
        value, proba = _evaluate(Z, target, share, ridge, theta)
    is_given, is_penalized = bool(theta.any()), bool(ridge.any())
    objectives, norm = [value], math.inf
    steps = _Steps(Z, share, ridge, len(theta))
    for n_steps in range(max_iter + 1):
        gradient = ((proba - target) * share[:, None]).T @ Z + ridge * theta
        norm = float(np.abs(gradient).max())
        if norm <= gradient_tolerance(tol, value, is_penalized) or n_steps == max_iter:
            break
        if observer is not None:
            observer.begin_step()
        try:
            step = steps.find(proba, gradient)
        except LinAlgError:
            return None
        step -= step.mean(0)
        slope, length = float((gradient * step).sum()), 1.0
        unit = max(abs(value), 1.0)
        new_value, proba = _evaluate(Z, target, share, ridge, theta + step)
        while not new_value <= value + FLOAT64_NOISE * unit + ARMIJO * length * slope:
            length /= 2
            if length < SMALLEST_STEP:
                break
            trial = theta + length * step
            new_value, proba = _evaluate(Z, target, share, ridge, trial)
        if length >= SMALLEST_STEP:
            theta, value = theta + length * step, new_value
            objectives.append(value)
        elif is_given and -slope > SIGNIFICANT_DECREASE * unit:
            # The start was without curvature, so the steps begin at zero again.
            theta, is_given = np.zeros_like(theta), False
            value, proba = _evaluate(Z, target, share, ridge, theta)
            objectives = [value]
        else:
            break
        if observer is not None and observer.end_step(value, theta[None]):
            break
    return theta, norm, objectives


class _Steps:
    r"""Minimises the quadratic models, one after another."""

    def __init__(self, Z: Array, share: Array, ridge: Array, n_classes: int) -> None:
        self.Z, self.share, self.ridge = Z, share, ridge
        n_unknowns = n_classes * Z.shape[1]
        self._is_exact = len(Z) * n_unknowns**2 <= _FEW_OPERATIONS
        self._can_be_exact = n_unknowns <= _MOST_UNKNOWNS
        if not self._is_exact:
            with np.errstate(over="ignore"):
                arrays = (Z, share, ridge)
                self._single = [array.astype(np.float32) for array in arrays]
            self._n_products = _MOST_PRODUCTS
            self._inverses: Single

    def find(self, proba: Array, gradient: Array) -> Array:
        r"""Return a step, ``(n_classes, n_columns)``; raise LinAlgError without one."""
        if not self._is_exact:
            step = self._conjugate_gradients(proba, gradient)
            if step is not None:
                return step
            if not self._can_be_exact:
                raise LinAlgError("The Hessian is beyond float32.")
            self._is_exact = True
        hessian = _hessian(self.Z, proba, self.share, self.ridge)
        factor = cho_factor(hessian, overwrite_a=True)
        exact: Array = -cho_solve(factor, gradient.ravel())
        return exact.reshape(gradient.shape)

    def _conjugate_gradients(self, proba: Array, gradient: Array) -> Array | None:
        r"""Return a step as accurate as pays; None where float32 does not suffice."""
        size = float(np.abs(gradient).max())
        accuracy = min(max(math.sqrt(size), 1e-3), 0.1)
        Z, share, ridge = self._single
        with np.errstate(all="ignore"):
            single = proba.astype(np.float32)
            if self._n_products > _MANY_PRODUCTS:
                self._inverses = _inverse_blocks(Z, single, share, ridge)
            residual = (gradient / -size).astype(np.float32)
            weighted = single * share[:, None]
            step = np.zeros_like(residual)
            direction = solved = self._precondition(residual)
            squared = np.vdot(residual, solved)
            goal = accuracy**2 * squared
            for n_products in range(1, _MOST_PRODUCTS + 1):
                # (N, K)
                change = Z @ direction.T
                change -= np.einsum("nk,nk->n", single, change)[:, None]
                change *= weighted
                product = change.T @ Z + ridge * direction
                length = squared / np.vdot(direction, product)
                # Not so where rounding has the last word, or something is infinite.
                if not 0 < length < math.inf:
                    return None
                step += length * direction
                residual = residual - length * product
                solved = self._precondition(residual)
                before, squared = squared, np.vdot(residual, solved)
                if 0 <= squared <= goal:
                    self._n_products = n_products
                    return step.astype(np.float64) * size
                direction = solved + squared / before * direction
        return None

    def _precondition(self, residual: Single) -> Single:
        solved: Single
        solved = np.matmul(self._inverses, residual[:, :, None])[:, :, 0]
        # A shift common to all classes changes nothing but the penalty.
        solved -= solved.mean(0)
        return solved


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


def _inverse_blocks(
    Z: Single,
    proba: Single,
    share: Single,
    ridge: Single,
) -> Single:
    r"""Return the inverse of each class's own block of the Hessian, ``(K, p, p)``.

    Where all are the same, as at the start, once: ``(1, p, p)``.
    """
    weight = proba * (1 - proba) * share[:, None]
    if (weight == weight[:, :1]).all():
        weight = weight[:, :1]
    blocks = np.stack([(Z * own[:, None]).T @ Z for own in weight.T])
    # (K, p)
    diagonal = np.einsum("kii->ki", blocks)
    diagonal += ridge
    diagonal += CURVATURE_FLOOR * diagonal.max(1, keepdims=True)
    inverses: Single = np.linalg.inv(blocks)
    return inverses
