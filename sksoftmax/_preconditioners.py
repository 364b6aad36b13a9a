r"""Approximate inverses of the Hessian of softmax regression.

All work on stacks of directions of shape ``(n_candidates, n_classes, n_columns)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Relative to the largest, a curvature that cannot be told from none in float32.
_FLOOR = 1e-6
# Rows of an exact Hessian that a cache can hold with all classes' probabilities.
_EXACT_BLOCK_ROWS = 4096


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
        floor = _FLOOR * curvature.amax((1, 2), keepdim=True)
        curvature = torch.maximum(curvature + penalty[:, None, None], floor)
        # One direction, the same shift of all classes, has no curvature.
        spread = torch.maximum(spread, _FLOOR * spread.amax(1, keepdim=True))
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


@dataclass(frozen=True)
class DenseInverse:
    r"""Inverses as matrices of ``n_classes * n_columns`` rows, one for a group."""

    matrices: Tensor
    # Each candidate's group.
    group: Tensor

    def select(self, keep: Tensor) -> DenseInverse:
        r"""Return it for some of the candidates."""
        return DenseInverse(self.matrices, self.group[keep])

    def solve(self, residual: Tensor) -> Tensor:
        r"""Return the inverse times a stack of directions."""
        stacked = residual.flatten(1)
        if len(self.matrices) == 1:
            return (stacked @ self.matrices[0]).view(residual.shape)
        solved = torch.empty_like(stacked)
        for group, matrix in enumerate(self.matrices):
            mine = self.group == group
            solved[mine] = stacked[mine] @ matrix
        return solved.view(residual.shape)


def exact(Z: Tensor, proba: Tensor, share: Tensor, ridge: Tensor) -> Tensor | None:
    r"""Return the inverse of the Hessian itself; None where it cannot be inverted.

    Its products are taken in float32.

    Parameters
    ----------
    Z : Tensor of shape (n_rows, n_columns)
        Standardised rows, of the dtype to multiply in.
    proba : Tensor of shape (n_candidates, n_classes, n_rows), float32
        Their probabilities.
    share : Tensor of shape (n_candidates, n_rows), float64
        Their weights.
    ridge : Tensor of shape (n_candidates, n_columns), float64
        Penalty of each column.
    """
    n_candidates, n_classes, _ = proba.shape
    n_columns = Z.shape[1]
    columns = Z.T.contiguous()
    joint = torch.stack(
        [
            _joint(columns, proba[b].to(Z.dtype), share[b].to(Z.dtype))
            for b in range(n_candidates)
        ]
    )
    # Classes' probabilities sum to 1: so do the blocks of a row, to zero.
    hessian = -joint
    blocks = hessian.view(-1, n_classes, n_columns, n_classes, n_columns)
    blocks.diagonal(dim1=1, dim2=3).copy_(-blocks.sum(3).permute(0, 2, 3, 1))
    diagonal = hessian.diagonal(dim1=1, dim2=2)
    diagonal += ridge.repeat(1, n_classes)
    # The inverse of a curvature weaker than that would drown all others by rounding.
    diagonal += torch.finfo(torch.float32).eps * diagonal.amax(1, keepdim=True)
    # A shift common to all classes has no curvature, which would forbid the inverse.
    level = diagonal.mean(1)[:, None, None, None]
    blocks.diagonal(dim1=2, dim2=4).add_(level)
    factor, failed = torch.linalg.cholesky_ex(hessian)
    if failed.any():
        return None
    inverse: Tensor = torch.cholesky_inverse(factor)
    return inverse.float()


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
    floor = _FLOOR * curvature.amax((1, 2), keepdim=True)
    diagonal = torch.maximum(curvature, floor).double() + ridge[:, None, :]
    return DiagonalInverse((1 / diagonal).float())
