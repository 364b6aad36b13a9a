r"""Approximate inverses of the Hessian of softmax regression.

All work on stacks of directions of shape ``(n_candidates, n_classes, n_columns)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .common import CURVATURE_FLOOR
from .deflation import Measured
from .design_matrix import DenseRows, SparseRows, weighted_gram
from .objective import SoftmaxProblem, are_typical, kinds

# So many products with a Hessian, for a Newton step of such an accuracy, call for a
# better preconditioner; with blocks of the Hessian, so many more are no surprise.
_MANY_PRODUCTS, _USUAL_ACCURACY, _MORE_WITH_BLOCKS = 8, 0.03, 3
# An exact Hessian worth more products than that is out of reach: its blocks will do.
_FAR_TOO_MANY_PRODUCTS = 100
# Rows per unknown to estimate an exact Hessian, and fewest per column to estimate its
# blocks, or as many as cost no more than a few products.
_ROWS_PER_UNKNOWN, _ROWS_PER_COLUMN, _FEW_PRODUCTS = 16, 8, 5
# Eigenvectors and inverses of more columns would cost more than they save.
_MOST_COLUMNS = 2000
# So few numbers are multiplied in float64: weak curvatures drown in float32.
_SMALL = 2**18
# Rows of an exact Hessian that a cache can hold with all classes' probabilities.
_EXACT_BLOCK_ROWS = 2048


class Kronecker:
    r"""The Hessian as if all rows had the mean row's probabilities.

    It is then ``P (x) G + penalty``, with the mean covariance ``P`` of the classes and
    the Gram matrix ``G`` of the features; both are diagonalised. Exact where all rows
    are predicted alike, as at zero.

    Parameters
    ----------
    gram : Tensor of shape (n_columns, n_columns), float64
        Gram matrix of the standardised features.
    unit : Tensor of shape (n_columns,), float64
        Root of each column's share in the penalty; 0 for the intercept, which is last.
    """

    def __init__(self, gram: Tensor, unit: Tensor) -> None:
        # The features are centred, so the intercept hardly mixes with them.
        n_features = int((unit > 0).sum())
        root = 1 / unit[:n_features]
        block = gram[:n_features, :n_features] * root * root[:, None]
        eigenvalues, vectors = torch.linalg.eigh(block)
        self.eigenvalues = eigenvalues.clamp_(min=0)
        self.vectors = (root[:, None] * vectors).float()

    def at(self, penalty: Tensor, covariance: Tensor) -> KroneckerInverse:
        r"""Return the inverse for candidates.

        Parameters
        ----------
        penalty : Tensor of shape (n_candidates,), float64
            Factor of the penalty.
        covariance : Tensor of shape (n_candidates, n_classes, n_classes), float64
            Mean covariance of the classes' indicators.
        """
        spread, classes = torch.linalg.eigh(covariance)
        spread = spread.clamp(min=0)
        # (B, K, 1) * (B, 1, p) -> (B, K, p)
        curvature = spread[:, :, None] * self.eigenvalues
        floor = CURVATURE_FLOOR * curvature.amax((1, 2), keepdim=True)
        curvature = torch.maximum(curvature + penalty[:, None, None], floor)
        # One direction, the same shift of all classes, has no curvature.
        spread = torch.maximum(spread, CURVATURE_FLOOR * spread.amax(1, keepdim=True))
        return KroneckerInverse(
            self.vectors,
            classes.float(),
            (1 / curvature).float(),
            (1 / spread).float().unsqueeze(2),
        )


@dataclass(frozen=True)
class KroneckerInverse:
    r"""Inverse of :class:`Kronecker` for candidates."""

    vectors: Tensor
    classes: Tensor
    features: Tensor
    intercept: Tensor

    def select(self, keep: Tensor) -> KroneckerInverse:
        r"""Return it for some of the candidates."""
        return KroneckerInverse(
            self.vectors,
            self.classes[keep],
            self.features[keep],
            self.intercept[keep],
        )

    def solve(self, residual: Tensor) -> Tensor:
        r"""Return the inverse times a stack of directions."""
        rotated = self.classes.mT @ residual
        n_features = self.features.shape[2]
        solved = torch.empty_like(rotated)
        rows = (rotated[:, :, :n_features] @ self.vectors) * self.features
        solved[:, :, :n_features] = rows @ self.vectors.T
        solved[:, :, n_features:] = rotated[:, :, n_features:] * self.intercept
        return self.classes @ solved


def exact(Z: Tensor, proba: Tensor, share: Tensor, ridge: Tensor) -> Tensor | None:
    r"""Return the inverse of the Hessian itself; None where it cannot be inverted.

    Its products are taken in float32. It is one block, of shape
    ``(1, n_classes * n_columns, n_classes * n_columns)``.

    Parameters
    ----------
    Z : Tensor of shape (n_rows, n_columns)
        Standardised rows, of the dtype to multiply in.
    proba : Tensor of shape (n_classes, n_rows), float32
        Their probabilities.
    share : Tensor of shape (n_rows,), float64
        Their weights.
    ridge : Tensor of shape (n_columns,), float64
        Penalty of each column.
    """
    n_classes, n_columns = len(proba), Z.shape[1]
    hessian = -_joint(Z.T.contiguous(), proba.to(Z.dtype), share.to(Z.dtype))
    # Classes' probabilities sum to 1: so do the blocks of a row, to zero.
    blocks = hessian.view(n_classes, n_columns, n_classes, n_columns)
    blocks.diagonal(dim1=0, dim2=2).copy_(-blocks.sum(2).permute(1, 2, 0))
    diagonal = hessian.diagonal()
    # A shift common to all classes has no curvature, which would forbid the inverse.
    blocks.diagonal(dim1=1, dim2=3).add_(diagonal.mean())
    return _inverses(hessian.unsqueeze(0), ridge.repeat(n_classes))


def class_blocks(
    Z: Tensor, proba: Tensor, share: Tensor, ridge: Tensor
) -> Tensor | None:
    r"""Return inverses of the Hessian's blocks of each class with itself.

    They are of shape ``(n_classes, n_columns, n_columns)``; None where one cannot be
    inverted. Where an exact Hessian is too dear, they still know, unlike
    :class:`Kronecker`, which rows a class is uncertain of. Parameters as in
    :func:`exact`.
    """
    # (K, n)
    weight = (proba * (1 - proba)).to(Z.dtype) * share.to(Z.dtype)
    blocks = [weighted_gram(Z, row).double() for row in weight]
    return _inverses(torch.stack(blocks), ridge)


def _inverses(blocks: Tensor, ridge: Tensor) -> Tensor | None:
    r"""Return the blocks' inverses in float32, after adding the ridge in place."""
    diagonal = blocks.diagonal(dim1=1, dim2=2)
    diagonal += ridge
    # The inverse of a curvature weaker than that would drown all others by rounding.
    diagonal += torch.finfo(torch.float32).eps * diagonal.amax(1, keepdim=True)
    factors, failed = torch.linalg.cholesky_ex(blocks)
    if failed.any():
        return None
    inverses: Tensor = torch.cholesky_inverse(factors)
    return inverses.float()


def _joint(columns: Tensor, proba: Tensor, share: Tensor) -> Tensor:
    r"""Return the mean of two classes' probabilities times two columns, in float64.

    Only for pairs of different classes; zero for the others.
    """
    (n_columns, n_rows), n_classes = columns.shape, len(proba)
    size = n_classes * n_columns
    total = columns.new_zeros(size, size, dtype=torch.float64)
    for start in range(0, n_rows, _EXACT_BLOCK_ROWS):
        rows = slice(start, start + _EXACT_BLOCK_ROWS)
        # (K, 1, n) * (p, n) -> (K * p, n)
        spread = (proba[:, None, rows] * columns[:, rows]).flatten(0, 1)
        for end in range(n_columns, size, n_columns):
            own = slice(end - n_columns, end)
            total[own, end:] += (spread[own] * share[rows]) @ spread[end:].T
    return total + total.T


@dataclass(frozen=True)
class DiagonalInverse:
    r"""Inverse of the Hessian's diagonal."""

    inverse: Tensor

    def select(self, keep: Tensor) -> DiagonalInverse:
        r"""Return it for some of the candidates."""
        return DiagonalInverse(self.inverse[keep])

    def solve(self, residual: Tensor) -> Tensor:
        r"""Return the inverse times a stack of directions."""
        return residual * self.inverse


def jacobi(curvature: Tensor, ridge: Tensor) -> DiagonalInverse:
    r"""Return the inverse of the Hessian's diagonal.

    Parameters
    ----------
    curvature : Tensor of shape (n_candidates, n_classes, n_columns)
        Diagonal of the Hessian without the penalty.
    ridge : Tensor of shape (n_candidates, n_columns), float64
        Penalty of each column.
    """
    # Not relative to the penalty, which may be large where the data say little.
    floor = CURVATURE_FLOOR * curvature.amax((1, 2), keepdim=True)
    diagonal = torch.maximum(curvature, floor).double() + ridge[:, None, :]
    return DiagonalInverse((1 / diagonal).float())


@dataclass(frozen=True)
class Inverse:
    r"""Inverses for candidates: a matrix for some, an approximation for the others.

    A matrix is the stack of its diagonal's blocks: one, or one for each class.
    """

    # (n_candidates,): which of the matrices, or -1.
    group: Tensor
    matrices: list[Tensor]
    # Of those without a matrix, in their order; None if all have one.
    approximate: KroneckerInverse | DiagonalInverse | None
    measured: Measured

    def select(self, keep: Tensor) -> Inverse:
        r"""Return it for some of the candidates, those of a mask."""
        approximate = self.approximate
        if approximate is not None:
            approximate = approximate.select(keep[self.group < 0])
        measured = self.measured.select(keep)
        return Inverse(self.group[keep], self.matrices, approximate, measured)

    def solve(self, residual: Tensor) -> Tensor:
        r"""Return the inverse times a stack of directions."""
        return self.measured.balance(self._solve, residual)

    def _solve(self, residual: Tensor) -> Tensor:
        others = self.group < 0
        solved = torch.empty_like(residual)
        if self.approximate is not None:
            if others.all():
                return self.approximate.solve(residual)
            solved[others] = self.approximate.solve(residual[others])
        for group in set(self.group[~others].tolist()):
            mine, blocks = self.group == group, self.matrices[group]
            # (b, K, p) -> (n_blocks, b, K * p / n_blocks)
            rows = residual[mine].view(int(mine.sum()), len(blocks), -1).transpose(0, 1)
            solved[mine] = (
                (rows @ blocks).transpose(0, 1).reshape(-1, *residual.shape[1:])
            )
        return solved


class Preconditioner:
    r"""Chooses the inverse that pays for each candidate.

    Parameters
    ----------
    problem : SoftmaxProblem
        Whose Hessians to invert.
    n_candidates : int
        Number of its candidates.
    n_steps : int, default=3
        Newton steps that an exact inverse is expected to serve.
    """

    def __init__(
        self, problem: SoftmaxProblem, n_candidates: int, n_steps: int = 3
    ) -> None:
        self.problem = problem
        self.n_steps = n_steps
        device = problem.y.device
        # Products with the Hessian that a usual step of each candidate takes.
        self._n_products = torch.zeros(n_candidates, dtype=torch.float32, device=device)
        # More of them call for a (new) matrix.
        self._many_products = torch.full_like(self._n_products, _MANY_PRODUCTS)
        self._group = torch.full((n_candidates,), -1, device=device)
        self._matrices: list[Tensor] = []
        self._kronecker: Kronecker | None = None
        rows = problem.rows
        # No more numbers than the probabilities have; for few rows, a product costs no
        # more than what would be saved.
        most = 0 if rows.is_small else rows.n_samples // (2 * rows.n_columns)
        shape = n_candidates, problem.n_classes, rows.n_columns
        self._measured = Measured.nothing(shape, most, device=device)

    def inherit(self, elder: Preconditioner, member: Tensor) -> None:
        r"""Begin where a simpler problem ended; ``member`` says who is whose."""
        self._n_products = elder._n_products[member]
        self._kronecker = elder._kronecker
        group = elder._group[member]
        if elder.problem.rows is self.problem.rows:
            self._group, self._matrices = group, elder._matrices
            self._many_products = elder._many_products[member]
            self._measured = elder._measured.select(member)
        else:
            # Who needed a matrix of part of the rows needs one of all of them, and
            # the sooner it is there the more steps it serves.
            self.doubt((group >= 0).nonzero().squeeze(1))

    def record(
        self, which: Tensor, n_products: Tensor, accuracy: Tensor, measured: Measured
    ) -> None:
        r"""Note how many products candidates took to minimise so accurately.

        And what these measured.
        """
        self._measured.assign(which, measured)
        usual = math.log(_USUAL_ACCURACY) / accuracy.log()
        self._n_products[which] = (n_products * usual).float()

    def doubt(self, which: Tensor) -> None:
        r"""Note which candidates gained nothing, so that few products prove nothing."""
        many = self._many_products[which] + 1
        self._n_products[which] = self._n_products[which].maximum(many)

    def inverse(self, proba: Tensor, which: Tensor) -> Inverse:
        r"""Return the inverses of the Hessians where the probabilities are these."""
        self._add_matrices(proba, which)
        group = self._group[which]
        others = group < 0
        approximate = None
        if others.any():
            approximate = self._approximate(proba[others], which[others])
        measured = self._measured.select(which)
        return Inverse(group, self._matrices, approximate, measured)

    def _add_matrices(self, proba: Tensor, which: Tensor) -> None:
        r"""Invert Hessians, or their blocks, where the last step took many products."""
        rows = self.problem.rows
        needy = self._n_products[which] > self._many_products[which]
        members = needy.nonzero().squeeze(1)
        if isinstance(rows, SparseRows) or not len(members):
            return
        # Folds share most rows: one Hessian does for (nearly) the same penalty.
        kind = kinds(self.problem.l2[which[members]])
        for one in set(kind.tolist()):
            self._add_matrix(rows, proba, which, members[kind == one])

    def _add_matrix(
        self, rows: DenseRows, proba: Tensor, which: Tensor, members: Tensor
    ) -> None:
        chosen = self._affordable(rows, which, members)
        if chosen is None:
            return
        invert, n_rows, many = chosen
        Z, sample = rows.sample(n_rows)
        if Z.numel() <= _SMALL:
            Z = Z.double()
        first = int(members[0])
        share = self.problem.share[self.problem.fold[which[first]], sample]
        if not are_typical(share[None], rows.n_samples):
            return
        ridge = self.problem.ridge[which[first]]
        matrix = invert(Z, proba[first][:, sample], share / share.sum(), ridge)
        if matrix is not None:
            self._group[which[members]] = len(self._matrices)
            self._many_products[which[members]] = many
            self._matrices.append(matrix)

    def _affordable(
        self, rows: DenseRows, which: Tensor, members: Tensor
    ) -> tuple[Callable[..., Tensor | None], int, int] | None:
        r"""Return what to invert, from how many rows; None if products are cheaper.

        And how many products with it will call for another.
        """
        n_columns, is_single = rows.n_columns, len(which) == 1
        size = self.problem.n_classes * n_columns
        # A product is bound by memory, so its operations take about ten times as long
        # as those of the exact Hessian. Products of many candidates are wide, and less
        # bound by memory.
        product = (10.0 if is_single else 10 / 3) * rows.n_samples
        n_products = self.n_steps * self._n_products[which[members]].sum().item()
        n_rows = min(rows.n_samples, _ROWS_PER_UNKNOWN * size)
        # Blocks mostly do for a single candidate of many rows. Folds share an exact
        # Hessian, which saves wide products.
        is_new = bool((self._group[which[members]] < 0).any())
        blocks_first = is_single and is_new and not rows.is_small
        if n_rows * size <= n_products * product and not blocks_first:
            return exact, n_rows, _MANY_PRODUCTS
        far = self.n_steps * _FAR_TOO_MANY_PRODUCTS * product
        if not is_single and n_rows * size < far:
            # The exact Hessian pays soon, and is better than its blocks.
            return None
        few = int(_FEW_PRODUCTS * product / (2 * n_columns))
        n_rows = min(rows.n_samples, max(few, _ROWS_PER_COLUMN * n_columns))
        if n_columns > _MOST_COLUMNS or 2 * n_rows * n_columns > n_products * product:
            return None
        return class_blocks, n_rows, _MORE_WITH_BLOCKS * _MANY_PRODUCTS

    def _approximate(
        self, proba: Tensor, which: Tensor
    ) -> KroneckerInverse | DiagonalInverse:
        problem = self.problem
        rows = problem.rows
        if isinstance(rows, SparseRows) or rows.n_columns > _MOST_COLUMNS:
            share = problem.share[problem.fold[which], None, :].float()
            spread = (proba * (1 - proba)).mul_(share)
            squares = rows.diagonal(spread.flatten(0, 1))
            return jacobi(squares.view(*proba.shape[:2], -1), problem.ridge[which])
        if self._kronecker is None:
            # Folds share most rows: one matrix of all rows does for every fold.
            gram = rows.gram(problem.share.mean(0))
            self._kronecker = Kronecker(gram, problem.unit)
        covariance = problem.covariance(proba, which)
        return self._kronecker.at(problem.l2[which], covariance)
