r"""Approximate inverses of the Hessian of softmax regression.

All work on stacks of directions of shape ``(n_candidates, n_classes, n_columns)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Relative to the largest, a curvature that cannot be told from none in float32.
_FLOOR = 1e-6


class Kronecker:
    r"""The Hessian as if all rows had the mean row's probabilities.

    It is then ``P (x) G + penalty``, with the mean covariance ``P`` of the classes and
    the Gram matrix ``G`` of the features; both are diagonalised. Exact where all rows
    are predicted alike, as at zero.

    Parameters
    ----------
    grams : Tensor of shape (n_folds, n_columns, n_columns), float64
        Gram matrices of the standardised features.
    unit : Tensor of shape (n_columns,), float64
        Root of each column's share in the penalty; 0 for the intercept, which is last.
    """

    def __init__(self, grams: Tensor, unit: Tensor) -> None:
        # The features are centred, so the intercept hardly mixes with them.
        n_features = int((unit > 0).sum())
        root = 1 / unit[:n_features]
        blocks = grams[:, :n_features, :n_features] * root * root[:, None]
        eigenvalues, vectors = torch.linalg.eigh(blocks)
        self.eigenvalues = eigenvalues.clamp_(min=0)
        self.vectors = (root[:, None] * vectors).float()

    def at(self, fold: Tensor, penalty: Tensor, covariance: Tensor) -> KroneckerInverse:
        r"""Return the inverse for candidates.

        Parameters
        ----------
        fold : Tensor of shape (n_candidates,), int64
            Which Gram matrix is whose.
        penalty : Tensor of shape (n_candidates,), float64
            Factor of the penalty.
        covariance : Tensor of shape (n_candidates, n_classes, n_classes), float64
            Mean covariance of the classes' indicators.
        """
        spread, classes = torch.linalg.eigh(covariance)
        spread = spread.clamp(min=0)
        # (B, K, 1) * (B, 1, p) -> (B, K, p)
        curvature = spread[:, :, None] * self.eigenvalues[fold][:, None, :]
        floor = _FLOOR * curvature.amax((1, 2), keepdim=True)
        curvature = torch.maximum(curvature + penalty[:, None, None], floor)
        # One direction, the same shift of all classes, has no curvature.
        spread = torch.maximum(spread, _FLOOR * spread.amax(1, keepdim=True))
        return KroneckerInverse(
            self.vectors,
            fold,
            classes.float(),
            (1 / curvature).float(),
            (1 / spread).float().unsqueeze(2),
        )


@dataclass(frozen=True)
class KroneckerInverse:
    r"""Inverse of :class:`Kronecker` for candidates."""

    vectors: Tensor
    fold: Tensor
    classes: Tensor
    features: Tensor
    intercept: Tensor

    def select(self, keep: Tensor) -> KroneckerInverse:
        r"""Return it for some of the candidates."""
        return KroneckerInverse(
            self.vectors,
            self.fold[keep],
            self.classes[keep],
            self.features[keep],
            self.intercept[keep],
        )

    def solve(self, residual: Tensor) -> Tensor:
        r"""Return the inverse times a stack of directions."""
        rotated = self.classes.mT @ residual
        n_features = self.features.shape[2]
        solved = torch.empty_like(rotated)
        for fold, vectors in enumerate(self.vectors):
            mine = slice(None) if len(self.vectors) == 1 else (self.fold == fold)
            rows = rotated[mine, :, :n_features] @ vectors
            solved[mine, :, :n_features] = (rows * self.features[mine]) @ vectors.T
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


def exact(
    Z: Tensor, proba: Tensor, share: Tensor, ridge: Tensor, accuracy: torch.dtype
) -> Tensor | None:
    r"""Return the inverse of the Hessian itself; None where it cannot be inverted.

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
    accuracy : torch.dtype
        What the inverse will be multiplied in.
    """
    n_classes = proba.shape[1]
    n_columns = Z.shape[1]
    dtype = Z.dtype
    share = share.to(dtype)
    # (B, K, 1, n) * (p, n) -> (B, K, p, n)
    spread = proba[:, :, None, :].to(dtype) * Z.T.contiguous()
    weighted = spread * share[:, None, None, :]
    own = (weighted @ Z).double()
    # (B, K * p, n) @ (B, n, K * p)
    hessian = -(weighted.flatten(1, 2) @ spread.flatten(1, 2).mT).double()
    blocks = hessian.view(-1, n_classes, n_columns, n_classes, n_columns)
    blocks.diagonal(dim1=1, dim2=3).add_(own.permute(0, 2, 3, 1))
    diagonal = hessian.diagonal(dim1=1, dim2=2)
    diagonal += ridge.repeat(1, n_classes)
    # The inverse of a curvature weaker than that would drown all others by rounding.
    diagonal += torch.finfo(accuracy).eps * diagonal.amax(1, keepdim=True)
    # A shift common to all classes has no curvature, which would forbid the inverse.
    level = diagonal.mean(1)[:, None, None, None]
    blocks.diagonal(dim1=2, dim2=4).add_(level)
    factor, failed = torch.linalg.cholesky_ex(hessian)
    if failed.any():
        return None
    inverse: Tensor = torch.cholesky_inverse(factor)
    return inverse.to(accuracy)


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


def jacobi(squares: Tensor, covariance: Tensor, ridge: Tensor) -> DiagonalInverse:
    r"""Return the inverse of the diagonal, as if all rows were predicted alike.

    Parameters
    ----------
    squares : Tensor of shape (n_candidates, n_columns), float64
        Weighted sums of squares of the columns.
    covariance : Tensor of shape (n_candidates, n_classes, n_classes), float64
        Mean covariance of the classes' indicators.
    ridge : Tensor of shape (n_candidates, n_columns), float64
        Penalty of each column.
    """
    spread = covariance.diagonal(dim1=1, dim2=2)
    curvature = spread[:, :, None] * squares[:, None, :] + ridge[:, None, :]
    floor = _FLOOR * curvature.amax((1, 2), keepdim=True)
    return DiagonalInverse((1 / torch.maximum(curvature, floor)).float())
