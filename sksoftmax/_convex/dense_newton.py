r"""Newton's method on NumPy for one candidate and a table that a cache holds.

For small arrays, calls of PyTorch and the start of its threads take longer than the
arithmetic.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from .common import CURVATURE_FLOOR
from .objective import SoftmaxProblem
from .single_newton import Iterate, SingleNewton, conjugate_gradients

Float64Array = NDArray[np.float64]
Float32Array = NDArray[np.float32]

# Operations up to which an exact Hessian takes no longer than the calls for it.
_MAX_CHOLESKY_OPERATIONS = 2**23
# Unknowns up to which an exact Hessian is used where conjugate gradients fail.
_MAX_CHOLESKY_UNKNOWNS = 1000
# Products with the Hessian for one step.
_MAX_FLOAT32_PRODUCTS = 200
# Products for a step above which the preconditioner is rebuilt.
_MAX_PRODUCTS_PER_INVERSE = 12


class DenseNewton(SingleNewton):
    r"""Newton's method for mean cross-entropy plus a ridge.

    ``inner_solve`` solves ``H @ coef_newton = -gradient`` by a Cholesky factorization,
    or in float32 by conjugate gradients where that takes less time.

    Parameters
    ----------
    problem : SoftmaxProblem
        A problem of dense rows, with one candidate and without a lasso.
    """

    restarts = True

    def __init__(self, problem: SoftmaxProblem) -> None:
        [block] = problem.rows.blocks(1, precise=True)
        # (N, P), (N,) and (P,)
        self.Z: Float64Array = block.Z.cpu().numpy()
        self.sample_weight = problem.sample_weight[problem.fold[0]].cpu().numpy()
        self.ridge = problem.ridge[0].cpu().numpy()
        self.is_penalized = bool(self.ridge.any())
        self.n_classes = problem.n_classes
        (n_samples, n_columns), y = self.Z.shape, problem.y.cpu().numpy()
        # (N, C): indicators of the classes.
        self.target = np.zeros((n_samples, self.n_classes))
        self.target[np.arange(n_samples), y] = 1.0
        self.zeros = np.zeros((self.n_classes, n_columns))
        self._is_exact = n_samples * self.zeros.size**2 <= _MAX_CHOLESKY_OPERATIONS
        if not self._is_exact:
            with np.errstate(over="ignore"):
                arrays = self.Z, self.sample_weight, self.ridge
                self._float32 = [array.astype(np.float32) for array in arrays]
            self._n_products = _MAX_FLOAT32_PRODUCTS
            self._inverses: Float32Array

    def evaluate(self, coef: Float64Array) -> Iterate:
        r"""Return the iterate, with probabilities of shape (N, C)."""
        logits = self.Z @ coef.T
        logits -= logits.max(1, keepdims=True)
        proba = np.exp(logits)
        total = proba.sum(1)
        losses = np.log(total) - (logits * self.target).sum(1)
        value = self.sample_weight @ losses + 0.5 * (self.ridge * coef * coef).sum()
        proba = proba / total[:, None]
        residual = (proba - self.target) * self.sample_weight[:, None]
        gradient = residual.T @ self.Z + self.ridge * coef
        return Iterate(coef, float(value), gradient, proba)

    def inner_solve(self, iterate: Iterate) -> Float64Array:
        r"""Return the Newton step; raise LinAlgError where the Hessian is singular."""
        if not self._is_exact:
            step = self._step_by_conjugate_gradients(iterate)
            if step is not None:
                return step
            if self.zeros.size > _MAX_CHOLESKY_UNKNOWNS:
                raise LinAlgError("The Hessian is singular in float32.")
            self._is_exact = True
        factor = cho_factor(self.hessian(iterate.proba), overwrite_a=True)
        exact: Float64Array = -cho_solve(factor, iterate.gradient.ravel())
        return exact.reshape(iterate.coef.shape)

    def hessian(self, proba: Float64Array) -> Float64Array:
        r"""Return the Hessian, of shape (C * P, C * P)."""
        Z, (n_samples, n_columns) = self.Z, self.Z.shape
        n_classes, sample_weight = self.n_classes, self.sample_weight
        # (N, C, 1) * (N, 1, P) -> (N, C * P)
        spread = (proba[:, :, None] * Z[:, None, :]).reshape(n_samples, -1)
        hessian: Float64Array = -(spread * sample_weight[:, None]).T @ spread
        blocks = hessian.reshape(n_classes, n_columns, n_classes, n_columns)
        for k in range(n_classes):
            blocks[k, :, k] += (Z * (sample_weight * proba[:, k])[:, None]).T @ Z
        diagonal = np.einsum("ii->i", hessian)
        diagonal += np.tile(self.ridge, n_classes)
        diagonal += np.finfo(float).eps * diagonal.max()
        # The same shift of all classes has no curvature: any will do.
        np.einsum("kjlj->klj", blocks)[...] += diagonal.mean()
        return hessian

    def _step_by_conjugate_gradients(self, iterate: Iterate) -> Float64Array | None:
        r"""Return a step computed in float32; None where float32 does not suffice."""
        Z, sample_weight, ridge = self._float32
        norm = iterate.gradient_norm
        accuracy = min(max(math.sqrt(norm), 1e-3), 0.1)
        with np.errstate(all="ignore"):
            proba = iterate.proba.astype(np.float32)
            if self._n_products > _MAX_PRODUCTS_PER_INVERSE:
                self._inverses = self.invert_class_blocks(proba)
            weighted = proba * sample_weight[:, None]

            def hessian(direction: Float32Array) -> Any:
                # (N, C)
                change = Z @ direction.T
                change -= np.einsum("nk,nk->n", proba, change)[:, None]
                change *= weighted
                return change.T @ Z + ridge * direction

            residual = (iterate.gradient / -norm).astype(np.float32)
            step, self._n_products, is_accurate = conjugate_gradients(
                hessian,
                self.precondition,
                np.vdot,
                residual,
                accuracy,
                _MAX_FLOAT32_PRODUCTS,
            )
        return step.astype(np.float64) * norm if is_accurate else None

    def precondition(self, residual: Float32Array) -> Float32Array:
        r"""Return the inverses of the class blocks times a residual of shape (C, P)."""
        solved: Float32Array
        solved = np.matmul(self._inverses, residual[:, :, None])[:, :, 0]
        # The same shift of all classes changes nothing but the penalty.
        solved -= solved.mean(0)
        return solved

    def invert_class_blocks(self, proba: Float32Array) -> Float32Array:
        r"""Return inverses of the Hessian's diagonal blocks, of shape (C, P, P).

        Where all blocks are equal, as at zero, the shape is (1, P, P).
        """
        Z, sample_weight, ridge = self._float32
        weight = proba * (1 - proba) * sample_weight[:, None]
        if (weight == weight[:, :1]).all():
            weight = weight[:, :1]
        blocks = np.stack([(Z * column[:, None]).T @ Z for column in weight.T])
        # (C, P)
        diagonal = np.einsum("kii->ki", blocks)
        diagonal += ridge
        diagonal += CURVATURE_FLOOR * diagonal.max(1, keepdims=True)
        inverses: Float32Array = np.linalg.inv(blocks)
        return inverses
