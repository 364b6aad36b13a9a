r"""The choice of an approximate inverse of the Hessian for each candidate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .deflation import Deflation
from .design_matrix import DenseRows, SparseRows
from .inverses import (
    DiagonalInverse,
    Kronecker,
    KroneckerInverse,
    invert_class_blocks,
    invert_diagonal,
    invert_hessian,
)
from .objective import SoftmaxProblem, is_representative, penalty_levels

# Products with the Hessian per Newton step, at the usual accuracy, above which the
# preconditioner is rebuilt.
_MAX_USUAL_PRODUCTS = 8
# Relative accuracy of a Newton step to which numbers of products are converted.
_USUAL_ACCURACY = 0.03
# Products per step above which inverses of class blocks are rebuilt.
_MAX_PRODUCTS_WITH_BLOCKS = 3 * _MAX_USUAL_PRODUCTS
# An exact Hessian that costs more products than this in a step is never affordable.
_NEVER_AFFORDABLE = 100
# Rows per unknown from which an exact Hessian is estimated.
_ROWS_PER_UNKNOWN = 16
# Fewest rows per column from which blocks of the Hessian are estimated.
_ROWS_PER_COLUMN = 8
# Blocks are estimated from as many rows as cost this number of products.
_PRODUCTS_FOR_BLOCKS = 5
# Columns above which eigenvectors and inverses cost more than they save.
_MAX_COLUMNS = 2000
# Numbers of a sample up to which the Hessian is estimated in float64: float32 loses
# weak curvatures.
_MAX_FLOAT64_NUMBERS = 2**18
# A product with the Hessian is bound by memory: its operations take about ten times as
# long as those of an exact Hessian.
_COST_OF_PRODUCT = 10.0
# The same where the products of several candidates are one wide product.
_COST_OF_WIDE_PRODUCT = 10 / 3


@dataclass(frozen=True)
class Inverse:
    r"""Approximate inverses of the Hessians of candidates.

    Attributes
    ----------
    matrix_index : Tensor of shape (n_candidates,), int64
        Index of each candidate's matrix, or -1 if it has none.
    matrices : list of Tensor of shape (n_blocks, size, size)
        Inverses of the diagonal blocks: one block of all unknowns, or one for each
        class.
    approximate : KroneckerInverse, DiagonalInverse or None
        Inverses of the candidates without a matrix, in their order.
    deflation : Deflation
        Directions along which the inverses are exact.
    """

    matrix_index: Tensor
    matrices: list[Tensor]
    approximate: KroneckerInverse | DiagonalInverse | None
    deflation: Deflation

    def select(self, keep: Tensor) -> Inverse:
        r"""Return the inverses of some candidates, as a mask."""
        approximate = self.approximate
        if approximate is not None:
            approximate = approximate.select(keep[self.matrix_index < 0])
        index, deflation = self.matrix_index[keep], self.deflation.select(keep)
        return Inverse(index, self.matrices, approximate, deflation)

    def solve(self, residual: Tensor) -> Tensor:
        r"""Return the inverses times a stack of directions."""
        return self.deflation.apply(self._solve, residual)

    def _solve(self, residual: Tensor) -> Tensor:
        has_matrix = self.matrix_index >= 0
        solved = torch.empty_like(residual)
        if self.approximate is not None:
            if not has_matrix.any():
                return self.approximate.solve(residual)
            solved[~has_matrix] = self.approximate.solve(residual[~has_matrix])
        for index in set(self.matrix_index[has_matrix].tolist()):
            group, blocks = self.matrix_index == index, self.matrices[index]
            part = residual[group]
            # (m, C, P) -> (n_blocks, m, C * P / n_blocks)
            rows = part.view(len(part), len(blocks), -1).transpose(0, 1)
            solved[group] = (rows @ blocks).transpose(0, 1).reshape(part.shape)
        return solved


class _Estimate(NamedTuple):
    r"""How a matrix is computed for a candidate."""

    invert: Callable[..., Tensor | None]
    n_rows: int
    # Products per step above which the matrix is replaced.
    max_products: int


class Preconditioner:
    r"""Chooses the inverse with the least total cost for each candidate.

    Candidates begin with a cheap approximation. Where conjugate gradients need many
    products with it, a matrix is inverted, and again where that becomes outdated.

    Parameters
    ----------
    problem : SoftmaxProblem
        The problem whose Hessians are inverted.
    n_candidates : int
        Number of its candidates.
    n_steps : int, default=3
        Number of Newton steps that a matrix is expected to serve.
    """

    def __init__(
        self, problem: SoftmaxProblem, n_candidates: int, n_steps: int = 3
    ) -> None:
        self.problem = problem
        self.n_steps = n_steps
        rows, device = problem.rows, problem.y.device
        # (M,): products with the Hessian in a Newton step of the usual accuracy.
        self._n_products = torch.zeros(n_candidates, dtype=torch.float32, device=device)
        # (M,): number of products above which a (new) matrix is inverted.
        self._max_products = torch.full_like(self._n_products, _MAX_USUAL_PRODUCTS)
        self._matrix_index = torch.full((n_candidates,), -1, device=device)
        self._matrices: list[Tensor] = []
        self._kronecker: Kronecker | None = None
        # The directions take no more memory than the probabilities. For few rows, a
        # product costs no more than the directions save.
        max_directions = 0 if rows.is_small else rows.n_samples // (2 * rows.n_columns)
        shape = n_candidates, problem.n_classes, rows.n_columns
        self._deflation = Deflation.empty(shape, max_directions, device)

    def continue_from(self, coarse: Preconditioner, index: Tensor) -> None:
        r"""Take over the state of a coarse problem's preconditioner.

        Parameters
        ----------
        coarse : Preconditioner
            That of a problem with fewer rows or candidates.
        index : Tensor of shape (n_candidates,), int64
            Index of each candidate in the coarse problem.
        """
        self._n_products = coarse._n_products[index]
        self._kronecker = coarse._kronecker
        matrix_index = coarse._matrix_index[index]
        if coarse.problem.rows is self.problem.rows:
            self._matrix_index, self._matrices = matrix_index, coarse._matrices
            self._max_products = coarse._max_products[index]
            self._deflation = coarse._deflation.select(index)
        else:
            # A matrix was needed for some of the rows, hence for all: if it is inverted
            # in the first step, it serves most steps.
            self.request_matrix((matrix_index >= 0).nonzero().squeeze(1))

    def record(
        self, candidates: Tensor, n_products: Tensor, accuracy: Tensor, new: Deflation
    ) -> None:
        r"""Store how many products the last step of candidates took, and directions."""
        self._deflation.assign(candidates, new)
        usual = math.log(_USUAL_ACCURACY) / accuracy.log()
        self._n_products[candidates] = (n_products * usual).float()

    def request_matrix(self, candidates: Tensor) -> None:
        r"""Let the next inverse of candidates have a new matrix, if it is affordable.

        For candidates whose number of products says nothing.
        """
        n_products = self._max_products[candidates] + 1
        self._n_products[candidates] = self._n_products[candidates].maximum(n_products)

    def inverse(self, proba: Tensor, candidates: Tensor) -> Inverse:
        r"""Return the inverses of the Hessians at these probabilities."""
        self._add_matrices(proba, candidates)
        matrix_index = self._matrix_index[candidates]
        is_approximate = matrix_index < 0
        approximate = None
        if is_approximate.any():
            approximate = self._approximate(
                proba[is_approximate], candidates[is_approximate]
            )
        deflation = self._deflation.select(candidates)
        return Inverse(matrix_index, self._matrices, approximate, deflation)

    def _add_matrices(self, proba: Tensor, candidates: Tensor) -> None:
        r"""Invert matrices where the last step took many products."""
        rows, problem = self.problem.rows, self.problem
        is_slow = self._n_products[candidates] > self._max_products[candidates]
        slow = is_slow.nonzero().squeeze(1)
        if isinstance(rows, SparseRows) or not len(slow):
            return
        # Folds share most rows: one matrix serves all of them at (nearly) the same
        # penalty.
        levels = penalty_levels(problem.l2_reg_strength[candidates[slow]])
        for level in set(levels.tolist()):
            places = slow[levels == level]
            group = candidates[places]
            estimate = self._affordable_estimate(rows, group, len(candidates) == 1)
            if estimate is not None:
                self._add_matrix(rows, estimate, proba[places[0]], group)

    def _add_matrix(
        self, rows: DenseRows, estimate: _Estimate, proba: Tensor, group: Tensor
    ) -> None:
        r"""Invert the matrix of a group's first candidate for all of the group."""
        problem = self.problem
        Z, sample = rows.sample(estimate.n_rows)
        if Z.numel() <= _MAX_FLOAT64_NUMBERS:
            Z = Z.double()
        first = group[0]
        weight = problem.sample_weight[problem.fold[first], sample]
        if not is_representative(weight[None], rows.n_samples):
            return
        ridge = problem.ridge[first]
        matrix = estimate.invert(Z, proba[:, sample], weight / weight.sum(), ridge)
        if matrix is not None:
            self._matrix_index[group] = len(self._matrices)
            self._max_products[group] = estimate.max_products
            self._matrices.append(matrix)

    def _affordable_estimate(
        self, rows: DenseRows, group: Tensor, is_single: bool
    ) -> _Estimate | None:
        r"""Return the matrix that saves more products than it costs, or None.

        Parameters
        ----------
        rows : DenseRows
            The rows.
        group : Tensor of shape (n_group,), int64
            Indices of the candidates that share the matrix.
        is_single : bool
            Whether no other candidates are solved in the same step.
        """
        n_columns = rows.n_columns
        size = self.problem.n_classes * n_columns
        cost_factor = _COST_OF_PRODUCT if is_single else _COST_OF_WIDE_PRODUCT
        # Costs are operations per unknown.
        cost = cost_factor * rows.n_samples
        n_products = self.n_steps * self._n_products[group].sum().item()
        n_rows = min(rows.n_samples, _ROWS_PER_UNKNOWN * size)
        # Blocks mostly suffice for a single candidate of many rows. Folds share an
        # exact Hessian, which saves wide products.
        is_new = bool((self._matrix_index[group] < 0).any())
        blocks_first = is_single and is_new and not rows.is_small
        if n_rows * size <= n_products * cost and not blocks_first:
            return _Estimate(invert_hessian, n_rows, _MAX_USUAL_PRODUCTS)
        never_affordable = self.n_steps * _NEVER_AFFORDABLE * cost
        if not is_single and n_rows * size < never_affordable:
            # The exact Hessian will be affordable soon, and is better than its blocks.
            return None
        n_rows = int(_PRODUCTS_FOR_BLOCKS * cost / (2 * n_columns))
        n_rows = min(rows.n_samples, max(n_rows, _ROWS_PER_COLUMN * n_columns))
        if n_columns > _MAX_COLUMNS or 2 * n_rows * n_columns > n_products * cost:
            return None
        return _Estimate(invert_class_blocks, n_rows, _MAX_PRODUCTS_WITH_BLOCKS)

    def _approximate(
        self, proba: Tensor, candidates: Tensor
    ) -> KroneckerInverse | DiagonalInverse:
        problem, rows = self.problem, self.problem.rows
        if isinstance(rows, SparseRows) or rows.n_columns > _MAX_COLUMNS:
            weight = problem.sample_weight[problem.fold[candidates], None, :].float()
            variance = (proba * (1 - proba)).mul_(weight)
            squares = rows.diagonal(variance.flatten(0, 1), precise=False)
            squares = squares.view(*proba.shape[:2], -1)
            return invert_diagonal(squares, problem.ridge[candidates])
        if self._kronecker is None:
            # Folds share most rows: one Gram matrix of all rows serves every fold.
            gram = rows.gram(problem.sample_weight.mean(0))
            self._kronecker = Kronecker(gram, problem.unit)
        covariance = problem.covariance(proba, candidates)
        return self._kronecker.invert(problem.l2_reg_strength[candidates], covariance)
