r"""Newton's method in float64 for tables with outliers.

A row with a value of 1e10 has a curvature of 1e20 until it is classified correctly, and
none afterwards. Float32 cannot represent both, and a step based on the curvature at its
start is too short. Here every number is precise relative to its own size, and a step
grows while the objective decreases faster than the quadratic model.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import qr_multiply, solve_triangular
from torch import Tensor

from .common import StoppingCriteria
from .design_matrix import DenseRows
from .objective import SoftmaxProblem
from .single_newton import History, Iterate, Minimum, SingleNewton, conjugate_gradients

Array = NDArray[np.float64]

# Operations up to which a step is computed exactly, in hardly any time.
_MAX_QR_OPERATIONS = 2**26
# Columns up to which the Hessian's diagonal blocks are inverted.
_MAX_BLOCK_COLUMNS = 1000
# Products with the Hessian for a step.
_MAX_FLOAT64_PRODUCTS = 300
# Decrease of the objective, as a share of the step times the slope, above which a step
# is doubled. A Newton step decreases a quadratic objective by half of it.
_FAST_DECREASE = 0.55
# Smallest probability, and smallest curvature, whose roots are divisors.
_SMALLEST_RADICAND = 1e-300
# Added to the diagonal of blocks whose diagonal is 1, for the Cholesky factorization.
_ADDED_DIAGONAL = 1e-12
# Part of a column that other columns do not determine, relative to its norm: rounding.
_RANK_TOLERANCE = 1e-15
# Size of a row, in spreads of the columns, up to which float64 is precise with
# coefficients of size 1.
_LARGEST_PRECISE_SIZE = 1e8
# Size of a row above which coefficients of size 1 cannot classify it in float64.
_LARGEST_SIZE = 1e16
# Steps after which the solver stops at the minimum of the objective, whatever the
# gradient.
_MAX_STEPS_TO_TOL = 25


def minimize_precisely(
    problem: SoftmaxProblem, candidate: int, coef: Tensor, criteria: StoppingCriteria
) -> Minimum:
    r"""Minimize one candidate's objective without a lasso.

    Coefficients of size 1 have few digits for a row of size 1e12, and none for 1e16. If
    the solver does not converge, it starts again from the minimum for large rows that
    are scaled down: a row that is classified correctly there is so at any scale.
    """
    newton = PreciseNewton(problem, candidate)
    sizes = newton.row_sizes()
    largest, solution = float(sizes.max()), None
    if largest <= _LARGEST_SIZE or newton.is_exact:
        solution = newton.solve([coef], criteria)
        if solution.converged or largest <= _LARGEST_PRECISE_SIZE:
            return solution
    damped = copy.copy(newton)
    damped.damping = (_LARGEST_PRECISE_SIZE / sizes).clamp(max=1)
    start = damped.solve([coef], criteria)
    again = newton.solve([start.coef], criteria)
    if solution is None or again.objectives[-1] < solution.objectives[-1]:
        return again
    return solution


@dataclass
class PreciseIterate(Iterate):
    r"""Objective at coefficients, with probabilities of shape (C, N).

    ``complement`` is ``1 - proba``, precise where the probabilities are almost 1.
    """

    complement: Tensor


class PreciseNewton(SingleNewton):
    r"""Newton's method for one candidate of a problem without a lasso.

    ``inner_solve`` solves ``H @ coef_newton = -gradient`` by a QR factorization of a
    root of H, or by conjugate gradients where that takes less time.

    Parameters
    ----------
    problem : SoftmaxProblem
        The problem.
    candidate : int
        Index of the candidate.
    """

    ridge: Tensor
    restarts = False
    decrement_is_reliable = False

    def __init__(self, problem: SoftmaxProblem, candidate: int) -> None:
        self.rows, self.y = problem.rows, problem.y
        self.n_classes = problem.n_classes
        self.sample_weight = problem.sample_weight[problem.fold[candidate]]
        self.ridge = problem.ridge[candidate]
        self.is_penalized = bool(self.ridge.any())
        # (N,): factor of each row, features and intercept.
        self.damping = torch.ones_like(self.sample_weight)
        self.zeros = self.ridge.new_zeros(self.n_classes, self.rows.n_columns)
        n_rows_of_root = self.rows.n_samples * self.n_classes
        n_operations = n_rows_of_root * self.zeros.numel() ** 2
        self.is_dense = isinstance(self.rows, DenseRows)
        self.is_exact = self.is_dense and n_operations <= _MAX_QR_OPERATIONS

    def row_sizes(self) -> Tensor:
        r"""Return the largest absolute value of each row."""
        return torch.cat([block.row_sizes() for block in self._blocks()])

    def is_converged(
        self, iterate: PreciseIterate, history: History, criteria: StoppingCriteria
    ) -> bool:
        r"""Return whether to stop; also if rounding prevents a smaller gradient."""
        return super().is_converged(iterate, history, criteria) or (
            len(history) > _MAX_STEPS_TO_TOL and self.is_minimal(iterate, criteria.tol)
        )

    def evaluate(self, coef: Tensor) -> PreciseIterate:
        r"""Return the iterate at coefficients of shape (C, P)."""
        penalized = self.ridge * coef
        value = 0.5 * (penalized * coef).sum()
        gradient, blocks_of_proba = penalized.clone(), []
        for block in self._blocks():
            weight, damping = self.sample_weight[block.rows], self.damping[block.rows]
            logits = block.forward(coef) * damping
            label = self.y[None, block.rows]
            logits = logits - logits.amax(0)
            true_logit = logits.gather(0, label)[0]
            odds = logits.exp()
            total = odds.sum(0)
            value += ((total.log() - true_logit) * weight).sum()
            p = odds / total
            # Not p - 1, which has no significant digits where p is almost 1.
            residual = p.scatter(0, label, 0.0)
            residual.scatter_(0, label, -residual.sum(0, keepdim=True))
            gradient += block.backward(residual * (weight * damping))
            blocks_of_proba.append(p)
        proba = torch.cat(blocks_of_proba, dim=1)
        top = proba.argmax(0, keepdim=True)
        rest = proba.scatter(0, top, 0.0).sum(0, keepdim=True)
        complement = (1 - proba).scatter(0, top, rest)
        return PreciseIterate(coef, float(value), gradient, proba, complement)

    def line_search(
        self, iterate: PreciseIterate, coef_newton: Tensor
    ) -> tuple[PreciseIterate | None, float]:
        r"""Halve the step, or double it while the objective decreases fast."""
        new, length = super().line_search(iterate, coef_newton)
        fast = _FAST_DECREASE * self.decrement(iterate)
        while new is not None and iterate.value - new.value > fast * length:
            farther = self.evaluate(iterate.coef + 2 * length * coef_newton)
            if not farther.value < new.value:
                break
            new, length = farther, 2 * length
        return new, length

    def inner_solve(self, iterate: PreciseIterate) -> Tensor:
        r"""Return the Newton step, of shape (C, P)."""
        if self.is_exact:
            step = self._step_by_qr(iterate)
        else:
            step = self._step_by_conjugate_gradients(iterate)
        # The same shift of all classes has no curvature.
        return step - step.mean(0)

    def _step_by_qr(self, iterate: PreciseIterate) -> Tensor:
        r"""Return the exact step as the least-squares solution of ``A @ step = -b``.

        ``A.T @ A`` is the Hessian and ``A.T @ b`` the gradient. With the largest rows
        first and column pivots, each row is as precise as its own size allows.
        """
        A, b = (
            np.concatenate(parts) for parts in zip(*self._root(iterate), strict=True)
        )
        norm = np.linalg.norm(A, axis=0)
        order = np.argsort(-np.abs(A).max(1), kind="stable")
        rotated, factor, pivots = qr_multiply(
            A[order], b[order], mode="right", pivoting=True
        )
        is_free = np.abs(factor.diagonal()) > _RANK_TOLERANCE * np.minimum(
            norm[pivots], 1.0
        )
        factor, pivots = factor[np.ix_(is_free, is_free)], pivots[is_free]
        step = np.zeros(len(norm))
        step[pivots] = -solve_triangular(factor, rotated[is_free], check_finite=False)
        return torch.from_numpy(step).to(iterate.coef).view_as(iterate.coef)

    def _root(self, iterate: PreciseIterate) -> Iterator[tuple[Array, Array]]:
        r"""Yield blocks of rows of ``A`` and ``b`` in :meth:`_step_by_qr`.

        With q the root of p, ``diag(p) - p p^T = F F^T`` for ``F = diag(q) - p q^T``;
        and ``p - t = F (q - t / q)``, with t the indicator of the row's class.
        """
        n_classes, n_columns = iterate.coef.shape
        p = iterate.proba.clamp(min=_SMALLEST_RADICAND)
        q, label = p.sqrt(), self.y[None]
        F = -p[:, None] * q[None]
        F.diagonal(dim1=0, dim2=1).copy_((q * iterate.complement).T)
        F *= self.sample_weight.sqrt()
        true_class = -iterate.complement.gather(0, label) / q.gather(0, label)
        b = q.scatter(0, label, true_class) * self.sample_weight.sqrt()
        squares = iterate.coef.new_zeros(n_classes * n_columns)
        for block in self._blocks():
            Z = block.Z * self.damping[block.rows, None]
            # (C, C', n) and (n, P) -> (n * C', C * P)
            A = torch.einsum("kln,np->nlkp", F[:, :, block.rows], Z)
            A = A.flatten(2, 3).flatten(0, 1)
            squares += A.square().sum(0)
            yield A.cpu().numpy(), b[:, block.rows].T.flatten().cpu().numpy()
        penalty = self.ridge.sqrt()
        yield (
            np.diag(penalty.repeat(n_classes).cpu().numpy()),
            (penalty * iterate.coef).flatten().cpu().numpy(),
        )
        # The same shift of all classes has no curvature: any will do.
        unit = squares[:n_columns].sqrt().cpu().numpy()
        shift = np.diag(np.where(unit > 0, unit, 1.0))
        yield np.tile(shift, n_classes), np.zeros(n_columns)

    def _step_by_conjugate_gradients(self, iterate: PreciseIterate) -> Tensor:
        norm = iterate.gradient_norm
        step: Tensor
        step, _, _ = conjugate_gradients(
            partial(self._hessian, iterate),
            self._preconditioner(iterate),
            lambda a, b: float((a * b).sum()),
            iterate.gradient / -norm,
            min(max(norm**0.5, 1e-4), 0.1),
            _MAX_FLOAT64_PRODUCTS,
        )
        return step * norm

    def _hessian(self, iterate: PreciseIterate, direction: Tensor) -> Tensor:
        r"""Return the Hessian times a direction."""
        product = self.ridge * direction
        for block in self._blocks():
            p = iterate.proba[:, block.rows]
            weight, damping = self.sample_weight[block.rows], self.damping[block.rows]
            change = block.forward(direction) * damping
            # Relative to the most probable class: otherwise small differences are lost.
            change = change - change.gather(0, p.argmax(0, keepdim=True))
            change = p * (change - (p * change).sum(0))
            product += block.backward(change * (weight * damping))
        return product

    def _preconditioner(self, iterate: PreciseIterate) -> Callable[[Tensor], Tensor]:
        r"""Return the product with an approximate inverse of the Hessian.

        It is the inverse of the diagonal blocks of the classes, or of the diagonal.
        """
        variance = iterate.proba * iterate.complement
        weight = variance * (self.sample_weight * self.damping.square())
        factor, n_columns = None, self.rows.n_columns
        if self.is_dense and n_columns <= _MAX_BLOCK_COLUMNS:
            blocks = weight.new_zeros(self.n_classes, n_columns, n_columns)
            for block in self._blocks():
                for k, row in enumerate(weight[:, block.rows]):
                    blocks[k] += (block.Z * row[:, None]).T @ block.Z
            diagonal = blocks.diagonal(dim1=1, dim2=2).add_(self.ridge)
            root = diagonal.clamp(min=_SMALLEST_RADICAND).rsqrt()
            blocks *= root[:, :, None] * root[:, None, :]
            diagonal += _ADDED_DIAGONAL
            factor, failed = torch.linalg.cholesky_ex(blocks)
            factor = None if failed.any() else factor
        else:
            diagonal = self.ridge + self.rows.diagonal(weight, precise=True)
            root = diagonal.clamp(min=_SMALLEST_RADICAND).rsqrt()

        def solve(residual: Tensor) -> Tensor:
            solved: Tensor = residual * root
            if factor is not None:
                solved = torch.cholesky_solve(solved[:, :, None], factor)[:, :, 0]
            solved = solved * root
            return solved - solved.mean(0)

        return solve

    def _blocks(self) -> Iterator[Any]:
        return self.rows.blocks(self.n_classes, precise=True)
