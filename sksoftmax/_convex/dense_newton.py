r"""Newton's method on NumPy for one candidate and a table that a cache holds.

For small arrays, calls of PyTorch and the start of its threads take longer than the
arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cholesky, qr, solve_triangular
from scipy.linalg.blas import dtrsv

from .common import CURVATURE_FLOOR, StoppingCriteria
from .single_newton import (
    History,
    Iterate,
    Minimum,
    SingleNewton,
    complement,
    conjugate_gradients,
    cross_entropy,
)

Float64Array = NDArray[np.float64]
Float32Array = NDArray[np.float32]
# Cholesky factor of a matrix with unit diagonal, and the roots of its diagonal before.
Factor = tuple[Float64Array, Float64Array]

# Operations up to which an exact Hessian takes no longer than the calls for it.
_MAX_CHOLESKY_OPERATIONS = 2**23
# Operations up to which an exact Hessian is used where conjugate gradients fail.
_MAX_FALLBACK_OPERATIONS = 2**33
# Added to the unit diagonal of a Hessian until its Cholesky factorization succeeds.
_ADDED_DIAGONALS = (1e-15, 1e-13, 1e-11, 1e-9)
# Added to the unit diagonal, in turn, while no step decreases the objective.
_DAMPINGS = (0.0, 1e-8, 1e-4)
# Least damping, which follows a step of less than this length; a full one ends it.
_LEAST_DAMPING = 1e-6
_SHORT_STEP = 0.2
# Pivot of a Cholesky factor, with unit diagonal, below which rounding matters.
_LEAST_PIVOT = 1e-4
# Part of a column that other columns do not determine, relative to its norm: rounding.
_RANK_TOLERANCE = 1e-14
# The same per standard deviation that the column is away from zero.
_RANK_TOLERANCE_OF_MEAN = 1e-15
# Rounding error of a logit that changes the objective by less than 1e-8, relatively: in
# 25 random problems it did so by a thousandth of the error.
_LARGEST_ROUNDING = 1e-5
# Objective below which the change counts relative to this one.
_SMALL_OBJECTIVE = 1e-4
# Unknowns from which the last factor serves the next steps as a preconditioner.
_MIN_UNKNOWNS_OF_LAST_FACTOR = 1000
# Relative accuracy of such a step.
_ACCURACY_OF_LAST_FACTOR = 0.05
# Products with the Hessian for such a step.
_MAX_PRODUCTS_OF_LAST_FACTOR = 25
# Products with the Hessian for one step.
_MAX_FLOAT32_PRODUCTS = 200
# Variance inflation factor up to which float32 suffices.
_MAX_INFLATION = 1e4
# Largest relative accuracy of a step by conjugate gradients.
_LARGEST_ACCURACY = 0.1
# Smallest relative accuracy: float32 gives no more digits.
_SMALLEST_ACCURACY = 1e-3
# Relative accuracy, in units of the tolerance, of the last step.
_LAST_ACCURACY = 0.3
# Products for a step above which the preconditioner is rebuilt.
_MAX_PRODUCTS_PER_INVERSE = 16


class ClassBlocks(NamedTuple):
    r"""Preconditioner: the Hessian's blocks of each class with itself.

    Attributes
    ----------
    inverses : ndarray of shape (C, P, P), float32
        Inverses of the blocks. The shape is (1, P, P) where all are equal, as at zero.
    inflation : float
        Largest variance inflation factor of the columns.
    """

    inverses: Float32Array
    inflation: float

    def solve(self, residual: Float32Array) -> Float32Array:
        r"""Return the inverses times a residual of shape (C, P)."""
        solved: Float32Array
        solved = np.matmul(self.inverses, residual[:, :, None])[:, :, 0]
        # The same shift of all classes changes nothing but the penalty.
        solved -= solved.sum(0) / len(solved)
        return solved


class DenseNewton(SingleNewton):
    r"""Newton's method for mean cross-entropy plus a ridge.

    ``inner_solve`` solves ``H @ coef_newton = -gradient`` by a Cholesky factorization,
    or in float32 by conjugate gradients where that takes less time.

    Parameters
    ----------
    Z : ndarray of shape (N, P)
        Rows, with ones of an intercept.
    y : ndarray of shape (N,)
        Indices of the classes.
    sample_weight : ndarray of shape (N,)
        Weights of the rows; they sum to 1.
    n_classes : int
        Number of classes.
    largest_mean : float
        Largest mean of a column, in standard deviations, before it was centered.

    Attributes
    ----------
    preconditioner : ClassBlocks or None
        Preconditioner of conjugate gradients, None before a step has computed it.
    """

    restarts = True
    decrement_is_reliable = True

    def __init__(
        self,
        Z: Float64Array,
        y: NDArray[np.int64],
        sample_weight: Float64Array,
        n_classes: int,
        largest_mean: float,
    ) -> None:
        self.Z, self.y, self.sample_weight = Z, y, sample_weight
        self.n_classes, self._largest_mean = n_classes, largest_mean
        self.zeros = np.zeros((n_classes, Z.shape[1]))
        self._rows = np.arange(len(y))
        n_operations = len(y) * self.zeros.size**2
        self._is_tiny = n_operations <= _MAX_CHOLESKY_OPERATIONS
        self._may_be_exact = n_operations <= _MAX_FALLBACK_OPERATIONS
        if not self._is_tiny:
            with np.errstate(over="ignore"):
                self._float32 = Z.astype(np.float32), sample_weight.astype(np.float32)

    def set_penalty(self, ridge: Float64Array, lasso: Float64Array) -> None:
        r"""Set the penalty of each column, of shape (P,); the lasso is zero."""
        self.ridge = ridge
        self.is_penalized = bool(ridge.any())
        self.preconditioner: ClassBlocks | None = None
        self._n_products = 0
        self._is_exact = self._is_tiny
        # (P, R), (N, R) and (R,): see _use_orthonormal_basis.
        self._basis: Float64Array | None = None
        self._Z, self._ridge = self.Z, ridge
        self._factor: Factor | None = None
        # Added to the unit diagonal of exact Hessians.
        self._damping = 0.0
        # Iterate whose decrement is that of an exact step.
        self._verified: Iterate | None = None

    def solve(
        self, starts: Sequence[Float64Array], criteria: StoppingCriteria
    ) -> Minimum:
        minimum = super().solve(starts, criteria)
        if self._basis is None:
            return minimum
        # Coefficients of collinear columns may have too few digits.
        largest = float(abs(minimum.coef).max()) * self._largest_mean
        rounding = np.finfo(float).eps * largest * minimum.objectives[-1]
        bound = _LARGEST_ROUNDING * max(minimum.objectives[-1], _SMALL_OBJECTIVE)
        is_precise = bool(rounding <= bound)
        return minimum._replace(converged=minimum.converged and is_precise)

    def evaluate(self, coef: Float64Array) -> Iterate:
        r"""Return the iterate, with probabilities of shape (N, C)."""
        loss, proba = cross_entropy(coef @ self.Z.T, self.y, self.sample_weight)
        penalized = self.ridge * coef
        value = loss + 0.5 * (penalized * coef).sum()
        residual = proba * self.sample_weight
        residual[self.y, self._rows] -= self.sample_weight
        gradient = residual @ self.Z + penalized
        return Iterate(coef, float(value), gradient, proba.T)

    def inner_solve(self, iterate: Iterate) -> Float64Array:
        r"""Return the Newton step; raise LinAlgError where the Hessian is singular."""
        step = None if self._is_exact else self._step_by_conjugate_gradients(iterate)
        if step is None:
            step = self._exact_step(iterate)
        # The same shift of all classes has no curvature.
        centered: Float64Array = step - step.mean(0)
        return centered

    def is_converged(
        self, iterate: Iterate, history: History, criteria: StoppingCriteria
    ) -> bool:
        if not super().is_converged(iterate, history, criteria):
            return False
        is_rough = self._factor is not None or self._damping > 0
        blocks = self.preconditioner
        is_rough |= blocks is not None and blocks.inflation > _MAX_INFLATION
        is_verified = iterate.coef_newton is None or iterate is self._verified
        if is_verified or not (is_rough and self._may_be_exact):
            return True
        # In float32, the curvature of collinear columns is rounding; damping, and the
        # factor of an earlier Hessian, hide a small curvature.
        self._is_exact, self._factor = True, None
        self._damping, self.preconditioner = 0.0, None
        self._verified, iterate.coef_newton = iterate, None
        return super().is_converged(iterate, history, criteria)

    def line_search(
        self, iterate: Iterate, coef_newton: Float64Array
    ) -> tuple[Iterate | None, float]:
        r"""Halve the step; damp it if no length decreases the objective."""
        new, length = super().line_search(iterate, coef_newton)
        for damping in _DAMPINGS:
            if new is not None:
                break
            self._factor, self._damping = None, 0.0
            coef_newton = self._exact_step(iterate, damping)
            if not damping:
                iterate.coef_newton = coef_newton
            new, length = super().line_search(iterate, coef_newton)
        if self._is_exact and self._factor is None and length < _SHORT_STEP:
            self._damping = max(10 * self._damping, _LEAST_DAMPING)
        elif length == 1:
            is_last = self._damping <= _LEAST_DAMPING
            self._damping = 0.0 if is_last else self._damping / 10
        return new, length

    def _exact_step(self, iterate: Iterate, damping: float = 0.0) -> Float64Array:
        r"""Return the step in float64, where rounding matters in another basis."""
        if not self._may_be_exact:
            raise LinAlgError("The Hessian is singular in float32.")
        self._is_exact, step = True, None
        damping = max(damping, self._damping)
        if self._factor is not None and not damping:
            step = self._step_by_last_factor(iterate, self._factor)
        if step is None:
            step = self._step_by_cholesky(iterate, damping)
        return step if self._basis is None else step @ self._basis.T

    def _step_by_cholesky(self, iterate: Iterate, damping: float) -> Float64Array:
        factor = _factorize(self.hessian(iterate.proba), damping)
        if self._basis is None and factor[0].diagonal().min() < _LEAST_PIVOT:
            self._use_orthonormal_basis()
            factor = _factorize(self.hessian(iterate.proba), damping)
        if self.zeros.size >= _MIN_UNKNOWNS_OF_LAST_FACTOR and not damping:
            self._factor = factor
        return _solve(factor, -self._gradient(iterate))

    def _step_by_last_factor(
        self, iterate: Iterate, factor: Factor
    ) -> Float64Array | None:
        r"""Return the step by few conjugate gradients; None if those do not suffice."""
        proba, Z = iterate.proba, self._Z
        weighted = proba * self.sample_weight[:, None]
        top = proba.argmax(1)[:, None]

        def hessian(direction: Float64Array) -> Any:
            change = Z @ direction.T
            # Relative to the most probable class: otherwise small differences are lost.
            change -= np.take_along_axis(change, top, 1)
            change -= np.einsum("nk,nk->n", proba, change)[:, None]
            return (change * weighted).T @ Z + self._ridge * direction

        def precondition(residual: Float64Array) -> Float64Array:
            solved = _solve(factor, residual)
            centered: Float64Array = solved - solved.mean(0)
            return centered

        step: Float64Array
        step, _, is_accurate = conjugate_gradients(
            hessian,
            precondition,
            np.vdot,
            -self._gradient(iterate),
            _ACCURACY_OF_LAST_FACTOR,
            _MAX_PRODUCTS_OF_LAST_FACTOR,
        )
        return step if is_accurate else None

    def _gradient(self, iterate: Iterate) -> Float64Array:
        r"""Return the gradient in the basis of exact steps."""
        gradient: Float64Array = iterate.gradient
        if self._basis is not None:
            proba = iterate.proba
            residual = proba.copy()
            label = self._rows, self.y
            residual[label] = -complement(proba.T).T[label]
            residual *= self.sample_weight[:, None]
            gradient = residual.T @ self._Z + (self.ridge * iterate.coef) @ self._basis
        return gradient

    def _use_orthonormal_basis(self) -> None:
        r"""Let collinear columns and units not matter any more for exact steps.

        For ``coef = u @ basis.T``, the Hessians of squared losses and of the penalty
        are diagonal in u, and their sum is the identity.
        """
        root = np.sqrt(self.ridge)
        rows = np.sqrt(self.sample_weight)[:, None] * self.Z
        stacked = np.vstack([rows, np.diag(root)])
        norm = np.linalg.norm(stacked, axis=0)
        norm[norm == 0] = 1.0
        factor, pivots = qr(stacked / norm, mode="r", pivoting=True)
        pivot = np.abs(factor.diagonal())
        tolerance = _RANK_TOLERANCE + _RANK_TOLERANCE_OF_MEAN * self._largest_mean
        rank = int((pivot > tolerance * pivot[0]).sum())
        basis = np.zeros((len(norm), rank))
        basis[pivots[:rank]] = solve_triangular(factor[:rank, :rank], np.eye(rank))
        basis /= norm[:, None]
        penalty = root[:, None] * basis
        self._basis = basis @ np.linalg.eigh(penalty.T @ penalty)[1]
        self._Z, self._ridge = self.Z @ self._basis, self.ridge @ self._basis**2

    def hessian(self, proba: Float64Array) -> Float64Array:
        r"""Return the Hessian in the basis of exact steps, of shape (C * R, C * R)."""
        Z, (n_samples, n_columns) = self._Z, self._Z.shape
        n_classes, sample_weight = self.n_classes, self.sample_weight
        # (N, C, 1) * (N, 1, R) -> (N, C * R); a product with itself takes half as long.
        weighted = proba * np.sqrt(sample_weight)[:, None]
        spread = (weighted[:, :, None] * Z[:, None, :]).reshape(n_samples, -1)
        hessian: Float64Array = -(spread.T @ spread)
        blocks = hessian.reshape(n_classes, n_columns, n_classes, n_columns)
        variance = proba.T * complement(proba.T) * sample_weight
        for k, weight in enumerate(variance):
            blocks[k, :, k] = (Z * weight[:, None]).T @ Z
        diagonal = np.einsum("kjkj->kj", blocks)
        diagonal += self._ridge
        diagonal += np.finfo(float).tiny
        # The same shift of all classes has no curvature: any will do.
        np.einsum("kjlj->klj", blocks)[...] += diagonal.mean(0)
        return hessian

    def _step_by_conjugate_gradients(self, iterate: Iterate) -> Float64Array | None:
        r"""Return a step computed in float32; None where float32 does not suffice."""
        (Z, sample_weight), ridge = self._float32, self.ridge.astype(np.float32)
        norm = iterate.gradient_norm
        # A step that ends at the tolerance does not have to be more accurate.
        smallest = max(_LAST_ACCURACY * self.tol / norm, _SMALLEST_ACCURACY)
        accuracy = min(max(math.sqrt(norm), smallest), _LARGEST_ACCURACY)
        with np.errstate(all="ignore"):
            proba = iterate.proba.astype(np.float32)
            blocks = self.preconditioner
            if blocks is None or self._n_products > _MAX_PRODUCTS_PER_INVERSE:
                try:
                    blocks = self.preconditioner = self.class_blocks(proba)
                except LinAlgError:
                    return None
            weighted = proba * sample_weight[:, None]

            def hessian(direction: Float32Array) -> Any:
                # (C, N)
                change = direction @ Z.T
                change -= np.einsum("kn,kn->n", proba.T, change)
                change *= weighted.T
                return change @ Z + ridge * direction

            residual = (iterate.gradient / -norm).astype(np.float32)
            step, self._n_products, is_accurate = conjugate_gradients(
                hessian,
                blocks.solve,
                np.vdot,
                residual,
                accuracy,
                _MAX_FLOAT32_PRODUCTS,
            )
        return step.astype(np.float64) * norm if is_accurate else None

    def class_blocks(self, proba: Float32Array) -> ClassBlocks:
        r"""Return the preconditioner at probabilities of shape (N, C)."""
        (Z, sample_weight), ridge = self._float32, self.ridge.astype(np.float32)
        weight = proba * (1 - proba) * sample_weight[:, None]
        if (weight == weight[:, :1]).all():
            weight = weight[:, :1]
        # NumPy multiplies only half of such a symmetric product.
        rows = (Z * column[:, None] for column in np.sqrt(weight).T)
        blocks = np.stack([scaled.T @ scaled for scaled in rows])
        # (C, P)
        diagonal = np.einsum("kii->ki", blocks)
        diagonal += ridge
        diagonal += CURVATURE_FLOOR * diagonal.max(1, keepdims=True)
        inverses: Float32Array = np.linalg.inv(blocks)
        inflation = float((np.einsum("kii->ki", inverses) * diagonal).max())
        return ClassBlocks(inverses, inflation)


def _factorize(hessian: Float64Array, damping: float) -> Factor:
    r"""Return the Cholesky factor of a Hessian with unit diagonal, and the scale.

    The penalties of features differ by the square of their units.
    """
    root = np.sqrt(hessian.diagonal())
    hessian /= root
    hessian /= root[:, None]
    for added in _ADDED_DIAGONALS:
        np.einsum("ii->i", hessian)[...] = 1.0 + damping + added
        with suppress(LinAlgError):
            return cholesky(hessian, lower=True), root
    raise LinAlgError("The Hessian is singular.")


def _solve(factor: Factor, right: Float64Array) -> Float64Array:
    triangle, root = factor
    # For one vector, cho_solve takes five times as long.
    solved: Float64Array = dtrsv(triangle, right.ravel() / root, lower=1)
    solved = dtrsv(triangle, solved, lower=1, trans=1)
    return (solved / root).reshape(right.shape)
