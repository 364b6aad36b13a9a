r"""Approximate inverses of the Hessian of softmax regression.

All are applied to stacks of directions of shape ``(n_candidates, n_classes,
n_columns)``. A row with probabilities p and columns z adds
``(diag(p) - p p^T) (x) z z^T`` to the Hessian, with (x) the Kronecker product.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .common import CURVATURE_FLOOR
from .design_matrix import weighted_gram

# Rows of an exact Hessian per product: a cache holds them, multiplied by the
# probabilities of all classes.
_BLOCK_ROWS = 2048


class Kronecker:
    r"""The Hessian if all rows had the mean row's probabilities.

    It is then ``S (x) G + penalty``, with the mean covariance S of the classes'
    indicators and the Gram matrix G of the features; both are diagonalized. This is
    exact where all rows have the same probabilities, as for zero coefficients.

    Parameters
    ----------
    gram : Tensor of shape (n_columns, n_columns), float64
        Gram matrix of the standardized features.
    unit : Tensor of shape (n_columns,), float64
        Root of each column's share in the penalty; 0 for the intercept, which is last.
    """

    def __init__(self, gram: Tensor, unit: Tensor) -> None:
        # The features are centered: the intercept hardly correlates with them.
        n_features = int((unit > 0).sum())
        root = 1 / unit[:n_features]
        block = gram[:n_features, :n_features] * root * root[:, None]
        eigenvalues, vectors = torch.linalg.eigh(block)
        self.eigenvalues = eigenvalues.clamp_(min=0)
        self.vectors = (root[:, None] * vectors).float()

    def invert(self, l2_reg_strength: Tensor, covariance: Tensor) -> KroneckerInverse:
        r"""Return the inverse for candidates.

        Parameters
        ----------
        l2_reg_strength : Tensor of shape (n_candidates,), float64
            Factor of half the squared norm in the objective.
        covariance : Tensor of shape (n_candidates, n_classes, n_classes), float64
            Mean covariance of the classes' indicators.
        """
        spread, classes = torch.linalg.eigh(covariance)
        spread = spread.clamp(min=0)
        # (M, C, 1) * (M, 1, P) -> (M, C, P)
        curvature = spread[:, :, None] * self.eigenvalues
        floor = CURVATURE_FLOOR * curvature.amax((1, 2), keepdim=True)
        curvature = torch.maximum(curvature + l2_reg_strength[:, None, None], floor)
        # The same shift of all classes has no curvature.
        floor = CURVATURE_FLOOR * spread.amax(1, keepdim=True)
        intercept = (1 / torch.maximum(spread, floor)).float().unsqueeze(2)
        features = (1 / curvature).float()
        return KroneckerInverse(self.vectors, classes.float(), features, intercept)


@dataclass(frozen=True)
class KroneckerInverse:
    r"""Inverse of :class:`Kronecker` for candidates, in its eigenvectors."""

    # (D, D), eigenvectors of the features.
    vectors: Tensor
    # (M, C, C), eigenvectors of the classes.
    classes: Tensor
    # (M, C, D) and (M, C, 1), inverse eigenvalues.
    features: Tensor
    intercept: Tensor

    def select(self, keep: Tensor) -> KroneckerInverse:
        r"""Return the inverse of some candidates."""
        names = "classes", "features", "intercept"
        return replace(self, **{name: getattr(self, name)[keep] for name in names})

    def solve(self, residual: Tensor) -> Tensor:
        r"""Return the inverse times a stack of directions."""
        rotated = self.classes.mT @ residual
        n_features = self.features.shape[2]
        solved = torch.empty_like(rotated)
        columns = (rotated[:, :, :n_features] @ self.vectors) * self.features
        solved[:, :, :n_features] = columns @ self.vectors.T
        solved[:, :, n_features:] = rotated[:, :, n_features:] * self.intercept
        return self.classes @ solved


@dataclass(frozen=True)
class DiagonalInverse:
    r"""Inverse of the Hessian's diagonal (Jacobi preconditioner)."""

    inverse: Tensor

    def select(self, keep: Tensor) -> DiagonalInverse:
        r"""Return the inverse of some candidates."""
        return DiagonalInverse(self.inverse[keep])

    def solve(self, residual: Tensor) -> Tensor:
        r"""Return the inverse times a stack of directions."""
        return residual * self.inverse


def invert_diagonal(curvature: Tensor, ridge: Tensor) -> DiagonalInverse:
    r"""Return the inverse of the Hessian's diagonal.

    Parameters
    ----------
    curvature : Tensor of shape (n_candidates, n_classes, n_columns)
        Diagonal of the Hessian without the penalty.
    ridge : Tensor of shape (n_candidates, n_columns), float64
        L2 penalty of each column.
    """
    # Not relative to the penalty, which may be large where the data say little.
    floor = CURVATURE_FLOOR * curvature.amax((1, 2), keepdim=True)
    diagonal = torch.maximum(curvature, floor).double() + ridge[:, None, :]
    return DiagonalInverse((1 / diagonal).float())


def invert_hessian(
    Z: Tensor, proba: Tensor, sample_weight: Tensor, ridge: Tensor
) -> Tensor | None:
    r"""Return the inverse of the exact Hessian; None where it is singular.

    The result has one block: ``(1, n_classes * n_columns, n_classes * n_columns)``, in
    float32.

    Parameters
    ----------
    Z : Tensor of shape (n_rows, n_columns)
        Standardized rows, of the dtype to multiply in.
    proba : Tensor of shape (n_classes, n_rows), float32
        Their probabilities.
    sample_weight : Tensor of shape (n_rows,), float64
        Their weights.
    ridge : Tensor of shape (n_columns,), float64
        L2 penalty of each column.
    """
    n_classes, n_columns = len(proba), Z.shape[1]
    hessian = -_products_of_classes(
        Z.T.contiguous(), proba.to(Z.dtype), sample_weight.to(Z.dtype)
    )
    # The probabilities of a row sum to 1, hence the blocks of a class to zero.
    blocks = hessian.view(n_classes, n_columns, n_classes, n_columns)
    blocks.diagonal(dim1=0, dim2=2).copy_(-blocks.sum(2).permute(1, 2, 0))
    # The same shift of all classes has no curvature: any will do.
    blocks.diagonal(dim1=1, dim2=3).add_(hessian.diagonal().mean())
    return _invert_blocks(hessian.unsqueeze(0), ridge.repeat(n_classes))


def _products_of_classes(
    columns: Tensor, proba: Tensor, sample_weight: Tensor
) -> Tensor:
    r"""Return the mean of p_j p_k z z^T for all classes j != k, in float64.

    The blocks with j = k are zero.
    """
    (n_columns, n_rows), n_classes = columns.shape, len(proba)
    size = n_classes * n_columns
    total = columns.new_zeros(size, size, dtype=torch.float64)
    for start in range(0, n_rows, _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        # (C, 1, n) * (P, n) -> (C * P, n)
        spread = (proba[:, None, rows] * columns[:, rows]).flatten(0, 1)
        for end in range(n_columns, size, n_columns):
            block = slice(end - n_columns, end)
            total[block, end:] += (spread[block] * sample_weight[rows]) @ spread[end:].T
    return total + total.T


def invert_class_blocks(
    Z: Tensor, proba: Tensor, sample_weight: Tensor, ridge: Tensor
) -> Tensor | None:
    r"""Return inverses of the Hessian's diagonal blocks; None where one is singular.

    They have the shape ``(n_classes, n_columns, n_columns)``. They cost less than the
    exact inverse, and unlike :class:`Kronecker` they depend on which rows a class is
    uncertain of. Parameters as in :func:`invert_hessian`.
    """
    # (C, n)
    weight = (proba * (1 - proba)).to(Z.dtype) * sample_weight.to(Z.dtype)
    blocks = [weighted_gram(Z, row).double() for row in weight]
    return _invert_blocks(torch.stack(blocks), ridge)


def _invert_blocks(blocks: Tensor, ridge: Tensor) -> Tensor | None:
    r"""Return the blocks' inverses in float32, after adding the ridge in place."""
    diagonal = blocks.diagonal(dim1=1, dim2=2)
    diagonal += ridge
    # The inverse of a weaker curvature would exceed all others by rounding.
    diagonal += torch.finfo(torch.float32).eps * diagonal.amax(1, keepdim=True)
    factors, failed = torch.linalg.cholesky_ex(blocks)
    if failed.any():
        return None
    inverses: Tensor = torch.cholesky_inverse(factors)
    return inverses.float()
