r"""Features as full-batch solvers read them: standardised, through matrix products."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from .outliers import outlying_columns, outlying_sparse_columns

# Numbers in the larger matrix of a product of one block: what a cache can hold.
_BLOCK_SIZE = 2**20
_FEWEST_BLOCK_ROWS = 256
# Bytes of a cache line; rows of fewer than four lines are not begun at one, since too
# much of the room would be empty.
_CACHE_LINE, _FEWEST_ALIGNED = 64, 4
# Columns of a symmetric product that are multiplied at a time.
_STRIP_COLUMNS = 128
# Relative to its mean, a spread that rounding leaves of a constant feature.
_ROUNDING = 1e-13

# PyTorch says once that these tensors are in beta: here, since several threads would
# restore the filters of warnings, which they share, in the wrong order.
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
    torch.eye(1).to_sparse_csr()


@dataclass(frozen=True)
class DenseBlock:
    r"""Standardised rows, with a last column of ones if there is an intercept."""

    rows: slice
    Z: Tensor

    def forward(self, theta: Tensor) -> Tensor:
        r"""Return the logits: ``(m, n_columns) -> (m, n_rows)``."""
        return theta @ self.Z.T

    def backward(self, residual: Tensor) -> Tensor:
        r"""Return the residuals' sums over rows: ``(m, n_rows) -> (m, n_columns)``."""
        return residual @ self.Z

    def squared(self, weight: Tensor) -> Tensor:
        r"""Return weighted sums of squares: ``(m, n_rows) -> (m, n_columns)``."""
        return weight @ self.Z.square()

    def sizes(self) -> Tensor:
        r"""Return the largest absolute value of each row."""
        return self.Z.abs().amax(1)


class ScaledRows:
    r"""Base of tables whose columns are shifted and scaled.

    ``mean`` and ``scale`` have an entry for each feature.
    """

    mean: Tensor
    scale: Tensor
    fit_intercept: bool

    def standardize(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        r"""Return ``(n_classes, n_columns)`` for standardised features."""
        columns = weight.double() * self.scale
        if bias is None:
            return columns
        shift = bias.double() + weight.double() @ self.mean
        return torch.cat([columns, shift.unsqueeze(1)], dim=1)

    def restore(self, theta: Tensor) -> tuple[Tensor, Tensor | None]:
        r"""Return weights and intercept on the input's scale."""
        if not self.fit_intercept:
            return theta / self.scale, None
        weight = theta[:, :-1] / self.scale
        return weight, theta[:, -1] - weight @ self.mean


class DenseRows(ScaledRows):
    r"""A table, centred (if there is an intercept) and scaled.

    It is kept in float32, for products that only direct a step. Blocks in float64,
    for gradients that decide where the end is, are made from the original each time.

    Parameters
    ----------
    X : Tensor of shape (n_samples, n_features)
        The features, of any dtype.
    share : Tensor of shape (n_samples,), float64
        Weights of the rows in mean and scale; they sum to 1.
    fit_intercept : bool
        Whether there is an intercept, which absorbs a shift of the features.
    """

    def __init__(self, X: Tensor, share: Tensor, fit_intercept: bool) -> None:
        self.X = X
        self.fit_intercept = fit_intercept
        n_samples, n_features = X.shape
        self.n_samples, self.n_columns = n_samples, n_features + fit_intercept
        self.mean = torch.zeros(n_features, dtype=torch.float64, device=X.device)
        if fit_intercept:
            for rows in self._slices(1):
                self.mean += share[rows] @ X[rows].double()
        variance = torch.zeros_like(self.mean)
        for rows in self._slices(1):
            variance += share[rows] @ (X[rows].double() - self.mean).square_()
        self.scale = variance.sqrt_()
        is_constant = self.scale <= _ROUNDING * self.mean.abs()
        self._constant = is_constant.nonzero().squeeze(1)
        self.scale[is_constant | (self.scale == 0)] = 1.0
        self.outlying = outlying_columns(X, self.scale)
        self.outlying_features = self.outlying
        self.Z = _aligned(n_samples, self.n_columns, torch.float32, X.device)
        for rows in self._slices(1):
            self.Z[rows] = self._standardized(rows)

    def standardize_by_bulk(self) -> None:
        r"""Standardise columns with outliers by location and spread of the others.

        From here on, only blocks in float64 are of use.
        """
        for column, (center, spread) in self.outlying.items():
            if self.fit_intercept:
                self.mean[column] = center
                self.scale[column] = spread
            else:
                self.scale[column] = math.hypot(center, spread)

    @property
    def is_small(self) -> bool:
        r"""Whether float64 throughout costs little."""
        return self.Z.numel() <= _BLOCK_SIZE

    def thinned(self, step: int) -> DenseRows:
        r"""Return every so manieth row, standardised as here."""
        thin = copy.copy(self)
        thin.X, part = self.X[::step], self.Z[::step]
        thin.n_samples = len(part)
        # One copy, so that a block of it lies together.
        thin.Z = _aligned(thin.n_samples, self.n_columns, part.dtype, part.device)
        thin.Z.copy_(part)
        return thin

    def blocks(self, n_products: int, precise: bool) -> Iterator[DenseBlock]:
        r"""Yield all rows, in float64 if ``precise``, for products that wide."""
        for rows in self._slices(n_products):
            yield DenseBlock(
                rows, self._standardized(rows) if precise else self.Z[rows]
            )

    def gram(self, share: Tensor) -> Tensor:
        r"""Return the weighted sum of outer products of the rows, in float64."""
        total = self.Z.new_zeros(self.n_columns, self.n_columns, dtype=torch.float64)
        for block in self.blocks(1, precise=False):
            total += weighted_gram(block.Z, share[block.rows].float())
        return total

    def diagonal(self, weight: Tensor) -> Tensor:
        r"""Return weighted sums of squares: ``(m, n_rows) -> (m, n_columns)``."""
        total = self.Z.new_zeros(len(weight), self.n_columns)
        for block in self.blocks(len(weight), precise=False):
            total += weight[:, block.rows] @ block.Z.square()
        return total

    def sample(self, n_rows: int) -> tuple[Tensor, slice]:
        r"""Return about so many standardised rows, spread evenly, and their slice."""
        rows = slice(None, None, max(1, self.n_samples // n_rows))
        return self.Z[rows], rows

    def _slices(self, n_products: int) -> Iterator[slice]:
        n_rows = _BLOCK_SIZE // max(n_products, self.n_columns)
        n_rows = max(n_rows, _FEWEST_BLOCK_ROWS)
        for start in range(0, self.n_samples, n_rows):
            yield slice(start, min(start + n_rows, self.n_samples))

    def _standardized(self, rows: slice) -> Tensor:
        X = self.X[rows].double()
        Z = _aligned(len(X), self.n_columns, X.dtype, X.device)
        # An intercept's ones come last.
        Z[:, X.shape[1] :] = 1.0
        features = Z[:, : X.shape[1]]
        torch.sub(X, self.mean, out=features).div_(self.scale)
        features.index_fill_(1, self._constant, 0.0)
        return Z


def _aligned(
    n_rows: int, n_columns: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    r"""Return room for a matrix whose rows begin where cache lines begin.

    Products of skinny matrices are a quarter faster then.
    """
    unit = _CACHE_LINE // dtype.itemsize
    width = n_columns
    if n_columns >= _FEWEST_ALIGNED * unit:
        width = -(-n_columns // unit) * unit
    return torch.empty(n_rows, width, dtype=dtype, device=device)[:, :n_columns]


def weighted_gram(Z: Tensor, weight: Tensor) -> Tensor:
    r"""Return the weighted sum of the outer products of rows.

    It is symmetric, so only the part right of each strip's beginning is multiplied.

    Parameters
    ----------
    Z : Tensor of shape (n_rows, n_columns)
        The rows.
    weight : Tensor of shape (n_rows,), same dtype
        Their weights.
    """
    n_columns = Z.shape[1]
    weighted = Z * weight[:, None]
    total = Z.new_empty(n_columns, n_columns)
    for start in range(0, n_columns, _STRIP_COLUMNS):
        strip = slice(start, start + _STRIP_COLUMNS)
        part = Z[:, strip].T @ weighted[:, start:]
        total[strip, start:] = part
        total[start:, strip] = part.T
    return total


@dataclass(frozen=True)
class SparseBlock:
    r"""All rows of a sparse table in float64, scaled in passing."""

    rows: slice
    X: Any
    scale: Tensor
    fit_intercept: bool

    def forward(self, theta: Tensor) -> Tensor:
        r"""Return the logits: ``(m, n_columns) -> (m, n_rows)``."""
        weight = theta[:, : len(self.scale)] / self.scale
        logits = torch.from_numpy(self.X @ weight.T.contiguous().numpy()).T
        if self.fit_intercept:
            logits = logits + theta[:, -1:]
        return logits.contiguous()

    def sizes(self) -> Tensor:
        r"""Return the largest absolute value of each row."""
        scaled = abs(self.X).multiply(1 / self.scale.numpy()).tocsr()
        return torch.from_numpy(scaled.max(axis=1).toarray().ravel())

    def squared(self, weight: Tensor) -> Tensor:
        r"""Return weighted sums of squares: ``(m, n_rows) -> (m, n_columns)``."""
        squares = self.X.multiply(self.X).tocsr()
        sums = torch.from_numpy(squares.T @ weight.T.contiguous().numpy()).T
        columns = sums / self.scale.square()
        if not self.fit_intercept:
            return columns
        return torch.cat([columns, weight.sum(1, keepdim=True)], dim=1)

    def backward(self, residual: Tensor) -> Tensor:
        r"""Return the residuals' sums over rows: ``(m, n_rows) -> (m, n_columns)``."""
        sums = self.X.T @ residual.T.contiguous().numpy()
        columns = torch.from_numpy(sums).T / self.scale
        if not self.fit_intercept:
            return columns
        return torch.cat([columns, residual.sum(1, keepdim=True)], dim=1)


@dataclass(frozen=True)
class ScaledSparseBlock:
    r"""All rows of a sparse table, scaled and in float32, for PyTorch's products."""

    rows: slice
    Z: Tensor
    transposed: Tensor
    fit_intercept: bool

    def forward(self, theta: Tensor) -> Tensor:
        r"""Return the logits: ``(m, n_columns) -> (m, n_rows)``."""
        logits = (self.Z @ theta[:, : self.Z.shape[1]].T.contiguous()).T
        if self.fit_intercept:
            logits = logits + theta[:, -1:]
        return logits.contiguous()

    def backward(self, residual: Tensor) -> Tensor:
        r"""Return the residuals' sums over rows: ``(m, n_rows) -> (m, n_columns)``."""
        columns = (self.transposed @ residual.T.contiguous()).T
        if not self.fit_intercept:
            return columns
        return torch.cat([columns, residual.sum(1, keepdim=True)], dim=1)


class SparseRows(ScaledRows):
    r"""A sparse table in CSR form, scaled but not centred.

    The original serves gradients in float64; for products that only direct a step
    there are copies in float32, of half its size each.

    Parameters
    ----------
    X : scipy.sparse CSR array of shape (n_samples, n_features), float64
        The features.
    share : Tensor of shape (n_samples,), float64
        Weights of the rows in the scale; they sum to 1.
    fit_intercept : bool
        Whether there is an intercept.
    """

    is_small = True

    def __init__(self, X: Any, share: Tensor, fit_intercept: bool) -> None:
        self.X = X
        self.fit_intercept = fit_intercept
        self.n_samples, n_features = X.shape
        self.n_columns = n_features + fit_intercept
        self.mean = torch.zeros(n_features, dtype=torch.float64)
        squares = X.astype(np.float64)
        squares.data *= squares.data
        self.scale = torch.from_numpy(squares.T @ share.numpy()).sqrt()
        del squares
        self.scale[self.scale == 0] = 1.0
        self.outlying = outlying_sparse_columns(X)
        self.outlying_features = self.outlying
        # PyTorch's products take 32-bit indices without a conversion.
        index = np.int32 if X.nnz <= np.iinfo(np.int32).max else np.int64
        indices = X.indices.astype(index, copy=False)
        values = (X.data / self.scale.numpy()[indices]).astype(np.float32)
        Z = csr_array(
            (values, indices, X.indptr.astype(index, copy=False)), shape=X.shape
        )
        self._Z, self._transposed = _as_tensor(Z), _as_tensor(Z.T.tocsr())

    def standardize_by_bulk(self) -> None:
        r"""Scale columns with outliers by the size of the other values.

        From here on, only blocks in float64 are of use.
        """
        for column, (_, spread) in self.outlying.items():
            self.scale[column] = spread

    def blocks(
        self, n_products: int, precise: bool
    ) -> Iterator[SparseBlock | ScaledSparseBlock]:
        r"""Yield all rows, in float64 if ``precise``."""
        rows = slice(0, self.n_samples)
        if precise:
            yield SparseBlock(rows, self.X, self.scale, self.fit_intercept)
        else:
            yield ScaledSparseBlock(rows, self._Z, self._transposed, self.fit_intercept)

    def diagonal(self, weight: Tensor) -> Tensor:
        r"""Return weighted sums of squares: ``(m, n_rows) -> (m, n_columns)``."""
        transposed = self._transposed
        squared = torch.sparse_csr_tensor(
            transposed.crow_indices(),
            transposed.col_indices(),
            transposed.values().square(),
            transposed.shape,
            check_invariants=False,
        )
        block = ScaledSparseBlock(slice(0), squared, squared, self.fit_intercept)
        return block.backward(weight)


def _as_tensor(matrix: Any) -> Tensor:
    return torch.sparse_csr_tensor(
        torch.from_numpy(matrix.indptr),
        torch.from_numpy(matrix.indices),
        torch.from_numpy(matrix.data),
        matrix.shape,
        check_invariants=False,
    )
