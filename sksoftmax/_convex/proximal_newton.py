r"""Newton's method with a lasso, for one candidate.

Each step minimizes the quadratic model plus the lasso over a working set: coefficients
that are not zero, and zeros whose gradient exceeds the lasso. Only the working set
needs a Hessian. It is exact and in float64: where classes are separable, the curvature
is far below the rounding of float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError
from scipy.sparse import csr_array, issparse

from .quadratic_lasso import minimize_with_lasso, subgradient
from .single_newton import Iterate, SingleNewton, complement, cross_entropy

Array = NDArray[np.float64]
Index = NDArray[np.intp]

# Largest subgradient of a model's minimum, relative to that at its start.
_LARGEST_ACCURACY = 0.3
# Factor on the unknowns per row by which models of many rows are minimized more
# accurately: their equations take little time relative to their Hessian.
_EQUATIONS_PER_HESSIAN = 3
# Factor on the gradient's norm of a step, at most, after which the next step has the
# same Hessian.
_FAST_GAIN = 0.1
# Curvature of the same shift of all classes, relative to the mean curvature. The loss
# has none there.
_SHIFT_CURVATURE = 1e-8
# Decrease of the objective, as a share of the step times the slope, above which a step
# is doubled.
_FAST_DECREASE = 0.55
# Longest step, in Newton steps.
_LONGEST_STEP = 64
# Curvatures that are added, in turn, while no step lowers the objective, relative to
# that of each coefficient. With the last one, the step is a proximal gradient's.
_DAMPINGS = (1e-6, 1e-3, 1.0, 1e3, 1e6)
# Coefficients that may leave zero at the first step: fewer equations make up for more
# steps.
_MIN_WORKING_SET = 250
# Numbers of a block of rows: 2 MB, for a cache.
_BLOCK_SIZE = 2**18
# Fewest rows of a block: smaller products are bound by their calls.
_MIN_BLOCK_ROWS = 256
# Unknowns of a model: its equations take a second.
_MAX_WORKING_SET = 4000


@dataclass
class LassoIterate(Iterate):
    r"""Objective at coefficients; ``gradient`` is without the lasso."""

    # (C, P): absolute values.
    smallest_subgradient: Array

    @property
    def subgradient(self) -> Array:
        return self.smallest_subgradient


class ProximalNewton(SingleNewton):
    r"""Proximal Newton method for mean cross-entropy plus an elastic net.

    Parameters
    ----------
    Z : ndarray or scipy.sparse CSR array of shape (P, N)
        The table's columns, with ones of an intercept.
    y : ndarray of shape (N,)
        Indices of the classes.
    sample_weight : ndarray of shape (N,)
        Weights of the rows; they sum to 1.
    n_classes : int
        Number of classes.

    References
    ----------
    Yuan, Ho and Lin (2012). An Improved GLMNET for L1-regularized Logistic Regression.
    https://jmlr.org/papers/v13/yuan12a.html
    """

    is_penalized = True
    restarts = True
    decrement_is_reliable = True
    preconditioner = None

    def __init__(
        self, Z: Any, y: NDArray[np.int64], sample_weight: Array, n_classes: int
    ) -> None:
        self.Z, self.y, self.sample_weight = Z, y, sample_weight
        self.n_classes = n_classes
        self.zeros = np.zeros((n_classes, Z.shape[0]))
        self._rows = np.arange(len(y))

    def set_penalty(self, ridge: Array, lasso: Array) -> None:
        r"""Set the penalty of each column, of shape (P,)."""
        self.ridge, self.lasso = ridge, lasso
        self._last_norm = 1.0
        # Working set and Hessian of the last model.
        self._model: tuple[Index, Array] | None = None

    def evaluate(self, coef: Array) -> LassoIterate:
        r"""Return the iterate, with probabilities of shape (C, N)."""
        loss, proba = cross_entropy(coef @ self.Z, self.y, self.sample_weight)
        penalized, lasso = self.ridge * coef, np.broadcast_to(self.lasso, coef.shape)
        value = loss + (0.5 * penalized * coef + lasso * np.abs(coef)).sum()
        # Not p - 1, which has no significant digits where p is almost 1.
        residual = proba.copy()
        residual[self.y, self._rows] = 0.0
        residual[self.y, self._rows] = -residual.sum(0)
        residual *= self.sample_weight
        gradient = residual @ self.Z.T + penalized
        return LassoIterate(
            coef, float(value), gradient, proba, subgradient(coef, gradient, lasso)
        )

    def inner_solve(self, iterate: LassoIterate, damping: float = 0.0) -> Array:
        r"""Return the step to the minimum of the model plus the lasso.

        The damping is added curvature, relative to that of each coefficient.
        """
        coef, gradient = iterate.coef.ravel(), iterate.gradient.ravel()
        lasso = np.broadcast_to(self.lasso, iterate.coef.shape).ravel()
        working = self._working_set(coef, gradient, lasso)
        if not len(working):
            return np.zeros_like(iterate.coef)
        norm = iterate.gradient_norm
        if damping or norm > _FAST_GAIN * self._last_norm:
            self._model = None
        model = self._model_of(iterate, working)
        np.einsum("ii->i", model)[...] *= 1 + damping
        # Less accurate where the steps before gained little (Eisenstat and Walker).
        accuracy = min(_LARGEST_ACCURACY, (norm / self._last_norm) ** 0.5)
        accuracy *= min(1.0, _EQUATIONS_PER_HESSIAN * len(working) / len(self.y))
        self._last_norm = norm
        target = np.zeros_like(coef)
        target[working] = minimize_with_lasso(
            model, gradient[working], lasso[working], coef[working], accuracy * norm
        )
        step: Array = (target - coef).reshape(iterate.coef.shape)
        return step

    def _model_of(self, iterate: LassoIterate, working: Index) -> Array:
        r"""Return the Hessian of a working set, that of an earlier step if it has it.

        Near the minimum the Hessian hardly changes.
        """
        if self._model is not None:
            index, hessian = self._model
            place = np.searchsorted(index, working).clip(max=len(index) - 1)
            if (index[place] == working).all():
                part: Array = hessian[np.ix_(place, place)]
                return part
        self._model = working, self.hessian(iterate.proba, working)
        return self._model[1].copy()

    def _working_set(self, coef: Array, gradient: Array, lasso: Array) -> Index:
        r"""Return the indices of coefficients that may move.

        These are all that are not zero, and the zeros whose gradient exceeds the lasso
        by most.
        """
        moves = (coef != 0) | (lasso == 0)
        excess = np.where(moves, np.inf, np.abs(gradient) - lasso)
        n_moving = int(moves.sum())
        size = max(_MIN_WORKING_SET, 2 * n_moving)
        if n_moving > _MAX_WORKING_SET:
            raise LinAlgError("The working set is too large.")
        working = np.flatnonzero(excess > 0)
        if len(working) > size:
            largest = np.argpartition(-excess[working], size)[:size]
            working = np.sort(working[largest])
        return working

    def slope(self, iterate: LassoIterate, step: Array) -> float:
        lasso = self.lasso * (np.abs(iterate.coef + step) - np.abs(iterate.coef))
        return super().slope(iterate, step) + float(lasso.sum())

    def line_search(
        self, iterate: LassoIterate, coef_newton: Array
    ) -> tuple[LassoIterate | None, float]:
        r"""Halve the step, or double it while the objective decreases fast.

        If no length decreases the objective, curvature is added to the model. No
        coefficient passes zero beyond a full step.
        """
        new, length = super().line_search(iterate, coef_newton)
        for damping in _DAMPINGS:
            if new is not None:
                break
            coef_newton = self.inner_solve(iterate, damping)
            new, length = super().line_search(iterate, coef_newton)
        if new is None or length < 1:
            return new, length
        signs = np.sign(new.coef)
        fast = -_FAST_DECREASE * self.slope(iterate, coef_newton)
        while length < _LONGEST_STEP and iterate.value - new.value > fast * length:
            coef = iterate.coef + 2 * length * coef_newton
            farther = self.evaluate(np.where(coef * signs > 0, coef, 0.0))
            if not farther.value < new.value:
                break
            new, length = farther, 2 * length
        return new, length

    def hessian(self, proba: Array, index: Index) -> Array:
        r"""Return the Hessian of some coefficients, given by their flat indices."""
        classes, columns = np.divmod(index, len(self.ridge))
        bounds = np.searchsorted(classes, np.arange(self.n_classes + 1)).tolist()
        # (C, N)
        weighted = proba * np.sqrt(self.sample_weight)
        deviation = np.sqrt(proba * complement(proba) * self.sample_weight)
        hessian: Array = np.zeros((len(index), len(index)))
        blocks = [np.zeros((last - first,) * 2) for first, last in pairwise(bounds)]
        for rows in self._slices(len(index)):
            # (n, N)
            Z = self.Z[columns] if issparse(self.Z) else self.Z[:, rows][columns]
            hessian -= _gram(Z, weighted[:, rows], classes)
            for k, (first, last) in enumerate(pairwise(bounds)):
                part = slice(first, last)
                blocks[k] += _gram(Z[part], deviation[:, rows], classes[part])
        for block, (first, last) in zip(blocks, pairwise(bounds), strict=True):
            hessian[first:last, first:last] = block
        diagonal = np.einsum("ii->i", hessian)
        diagonal += self.ridge[columns]
        shift = _SHIFT_CURVATURE * diagonal.mean()
        hessian[columns[:, None] == columns] += shift
        return hessian

    def _slices(self, n_unknowns: int) -> Iterator[slice]:
        n_samples = len(self.y)
        n_rows = max(_BLOCK_SIZE // n_unknowns, _MIN_BLOCK_ROWS)
        if issparse(self.Z):
            n_rows = n_samples
        for start in range(0, n_samples, n_rows):
            yield slice(start, start + n_rows)


def _gram(Z: Any, factors: Array, classes: Index) -> Any:
    r"""Return the Gram matrix of columns times the factors of their classes.

    Parameters
    ----------
    Z : ndarray or scipy.sparse CSR array of shape (n, N)
        The columns.
    factors : ndarray of shape (C, N)
        Factors of the rows.
    classes : ndarray of shape (n,)
        Class of each column.
    """
    if not issparse(Z):
        scaled = Z * factors[classes]
        return scaled @ scaled.T
    data = Z.data * factors[np.repeat(classes, np.diff(Z.indptr)), Z.indices]
    scaled = csr_array((data, Z.indices, Z.indptr), shape=Z.shape)
    return (scaled @ scaled.T).toarray()
