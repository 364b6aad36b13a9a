r"""The standardized features, read through matrix products with blocks of rows.

Shapes: N rows, n rows of a block, P columns (the features, and ones if there is an
intercept), V stacked vectors of coefficients or of residuals.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from .outliers import outlying_columns, outlying_sparse_columns

# Numbers in the larger matrix of a block's product: 4 MB in float32, for a cache.
BLOCK_SIZE = 2**20
# Fewest rows of a block: smaller products are bound by their calls.
_MIN_BLOCK_ROWS = 256
# Bytes of a cache line.
_CACHE_LINE = 64
# Fewest cache lines of a row that is padded to whole lines: the padding of a shorter
# row takes too much memory.
_MIN_PADDED_LINES = 4
# Columns of a symmetric product that are multiplied at a time.
_STRIP_COLUMNS = 128
# Standard deviation of a constant feature, relative to its mean: rounding in float64.
_ROUNDING = 1e-13

# PyTorch warns once that these tensors are in beta. They are created here, since
# filters of warnings are shared by all threads, which may restore them in any order.
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
    torch.eye(1).to_sparse_csr()


@dataclass(frozen=True)
class DenseBlock:
    r"""Standardized rows ``Z`` of shape (n, P), ones last if there is an intercept."""

    rows: slice
    Z: Tensor

    def forward(self, coef: Tensor) -> Tensor:
        r"""Return logits: ``(V, P) -> (V, n)``."""
        return coef @ self.Z.T

    def backward(self, residual: Tensor) -> Tensor:
        r"""Return sums of the residuals times rows: ``(V, n) -> (V, P)``."""
        return residual @ self.Z

    def squares(self, weight: Tensor) -> Tensor:
        r"""Return weighted sums of squares: ``(V, n) -> (V, P)``."""
        return weight @ self.Z.square()

    def row_sizes(self) -> Tensor:
        r"""Return the largest absolute value of each row."""
        return self.Z.abs().amax(1)


class StandardizedRows:
    r"""Base of tables whose columns are shifted and scaled.

    ``mean`` and ``scale`` have an entry for each feature. ``outlying`` has center and
    spread of the usual values for each column of the table with outliers, and
    ``outlying_features`` for each feature of the input.
    """

    mean: Tensor
    scale: Tensor
    fit_intercept: bool
    n_columns: int
    outlying: dict[int, tuple[float, float]]
    outlying_features: dict[int, tuple[float, float]]

    def blocks(self, n_products: int, precise: bool) -> Iterator[Any]:
        r"""Yield blocks of all rows for ``n_products`` stacked vectors.

        In float64 if ``precise``, else in float32.
        """
        raise NotImplementedError

    def diagonal(self, weight: Tensor, precise: bool) -> Tensor:
        r"""Return weighted sums of squares: ``(V, N) -> (V, P)``."""
        total = weight.new_zeros(len(weight), self.n_columns)
        for block in self.blocks(len(weight), precise):
            total += block.squares(weight[:, block.rows])
        return total

    def standardize_by_bulk(self) -> None:
        r"""Standardize columns with outliers by center and spread of the other values.

        Afterwards, only blocks in float64 are valid.
        """
        for column, (center, spread) in self.outlying.items():
            if self.fit_intercept:
                self.mean[column] = center
                self.scale[column] = spread
            else:
                self.scale[column] = math.hypot(center, spread)

    def standardize(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        r"""Return the coefficients of standardized features, of shape (C, P)."""
        columns = weight.double() * self.scale
        if bias is None:
            return columns
        shift = bias.double() + weight.double() @ self.mean
        return torch.cat([columns, shift.unsqueeze(1)], dim=1)

    def restore(self, coef: Tensor) -> tuple[Tensor, Tensor | None]:
        r"""Return weights and intercept on the scale of the input."""
        if not self.fit_intercept:
            return coef / self.scale, None
        weight = coef[:, :-1] / self.scale
        return weight, coef[:, -1] - weight @ self.mean


class DenseRows(StandardizedRows):
    r"""A dense table, centered (if there is an intercept) and scaled.

    It is stored in float32, for products that determine a step. Blocks in float64, for
    gradients that determine where the solver stops, are computed from ``X`` each time.

    Parameters
    ----------
    X : Tensor of shape (n_samples, n_features)
        The features, of any dtype.
    sample_weight : Tensor of shape (n_samples,), float64
        Weights of the rows in mean and scale; they sum to 1.
    fit_intercept : bool
        Whether there is an intercept, which absorbs a shift of the features.
    """

    def __init__(self, X: Tensor, sample_weight: Tensor, fit_intercept: bool) -> None:
        self.X = X
        self.fit_intercept = fit_intercept
        n_samples, n_features = X.shape
        self.n_samples, self.n_columns = n_samples, n_features + fit_intercept
        self.mean = torch.zeros(n_features, dtype=torch.float64, device=X.device)
        if fit_intercept:
            for rows in self._slices(1):
                self.mean += sample_weight[rows] @ X[rows].double()
        variance = torch.zeros_like(self.mean)
        for rows in self._slices(1):
            variance += sample_weight[rows] @ (X[rows].double() - self.mean).square_()
        self.scale = variance.sqrt_()
        is_constant = self.scale <= _ROUNDING * self.mean.abs()
        self.constant = is_constant.nonzero().squeeze(1)
        self.scale[is_constant | (self.scale == 0)] = 1.0
        self.outlying = self.outlying_features = outlying_columns(X, self.scale)
        self.Z = _empty_padded(n_samples, self.n_columns, torch.float32, X.device)
        for rows in self._slices(1):
            self.Z[rows] = self._standardized(rows)

    @property
    def is_small(self) -> bool:
        r"""Whether a cache holds the table, and float64 costs little."""
        return self.Z.numel() <= BLOCK_SIZE

    def thinned(self, step: int) -> DenseRows:
        r"""Return every ``step``-th row, standardized as here."""
        thin = copy.copy(self)
        thin.X, part = self.X[::step], self.Z[::step]
        thin.n_samples = len(part)
        # A copy, for contiguous blocks.
        thin.Z = _empty_padded(thin.n_samples, self.n_columns, part.dtype, part.device)
        thin.Z.copy_(part)
        return thin

    def blocks(self, n_products: int, precise: bool) -> Iterator[Any]:
        for rows in self._slices(n_products):
            Z = self._standardized(rows) if precise else self.Z[rows]
            yield DenseBlock(rows, Z)

    def gram(self, sample_weight: Tensor) -> Tensor:
        r"""Return the weighted sum of outer products of the rows, in float64."""
        total = self.Z.new_zeros(self.n_columns, self.n_columns, dtype=torch.float64)
        for block in self.blocks(1, precise=False):
            total += weighted_gram(block.Z, sample_weight[block.rows].float())
        return total

    def sample(self, n_rows: int) -> tuple[Tensor, slice]:
        r"""Return about ``n_rows`` rows in float32, evenly spread, and their slice."""
        rows = slice(None, None, max(1, self.n_samples // n_rows))
        return self.Z[rows], rows

    def _slices(self, n_products: int) -> Iterator[slice]:
        n_rows = BLOCK_SIZE // max(n_products, self.n_columns)
        n_rows = max(n_rows, _MIN_BLOCK_ROWS)
        for start in range(0, self.n_samples, n_rows):
            yield slice(start, min(start + n_rows, self.n_samples))

    def _standardized(self, rows: slice) -> Tensor:
        X = self.X[rows].double()
        Z = _empty_padded(len(X), self.n_columns, X.dtype, X.device)
        # Ones of the intercept come last.
        Z[:, X.shape[1] :] = 1.0
        features = Z[:, : X.shape[1]]
        torch.sub(X, self.mean, out=features).div_(self.scale)
        features.index_fill_(1, self.constant, 0.0)
        return Z


def _empty_padded(
    n_rows: int, n_columns: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    r"""Return an empty matrix whose rows begin at cache lines.

    Products of tall, narrow matrices take a quarter less time then.
    """
    line = _CACHE_LINE // dtype.itemsize
    width = n_columns
    if n_columns >= _MIN_PADDED_LINES * line:
        width = -(-n_columns // line) * line
    return torch.empty(n_rows, width, dtype=dtype, device=device)[:, :n_columns]


def weighted_gram(Z: Tensor, weight: Tensor) -> Tensor:
    r"""Return the weighted sum of the outer products of rows.

    It is symmetric: only the part right of the beginning of each strip is multiplied.

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


class SparseRows(StandardizedRows):
    r"""A sparse table in CSR form, scaled but not centered.

    ``X`` is used for gradients in float64. For products that determine a step there are
    two copies in float32, by rows and by columns, of half its size each.

    Parameters
    ----------
    X : scipy.sparse CSR array of shape (n_samples, n_features), float64
        The features.
    sample_weight : Tensor of shape (n_samples,), float64
        Weights of the rows in the scale; they sum to 1.
    fit_intercept : bool
        Whether there is an intercept.
    """

    is_small = True

    def __init__(self, X: Any, sample_weight: Tensor, fit_intercept: bool) -> None:
        self.X = X
        self.fit_intercept = fit_intercept
        self.n_samples, n_features = X.shape
        self.n_columns = n_features + fit_intercept
        self.mean = torch.zeros(n_features, dtype=torch.float64)
        squares = X.astype(np.float64)
        squares.data *= squares.data
        self.scale = torch.from_numpy(squares.T @ sample_weight.numpy()).sqrt()
        del squares
        self.scale[self.scale == 0] = 1.0
        self.outlying = self.outlying_features = outlying_sparse_columns(X)
        # PyTorch multiplies with 32-bit indices without converting them.
        index = np.int32 if X.nnz <= np.iinfo(np.int32).max else np.int64
        indices = X.indices.astype(index, copy=False)
        values = (X.data / self.scale.numpy()[indices]).astype(np.float32)
        arrays = values, indices, X.indptr.astype(index, copy=False)
        Z = csr_array(arrays, shape=X.shape)
        self._Z, self._transposed = csr_tensor(Z), csr_tensor(Z.T.tocsr())

    def blocks(self, n_products: int, precise: bool) -> Iterator[Any]:
        rows = slice(0, self.n_samples)
        if precise:
            yield SparseBlock(rows, self.fit_intercept, self.X, self.X.T, self.scale)
        else:
            yield SparseBlock(rows, self.fit_intercept, self._Z, self._transposed, None)


@dataclass(frozen=True)
class SparseBlock:
    r"""All rows of a sparse table; the ones of an intercept are not stored.

    Attributes
    ----------
    rows : slice
        All rows.
    fit_intercept : bool
        Whether there is an intercept.
    matrix, transposed : scipy.sparse arrays in float64, or CSR tensors in float32
        The table, of shape (N, D), and its transpose.
    scale : Tensor of shape (D,), or None
        Scale of the columns; None if the table is scaled.
    """

    rows: slice
    fit_intercept: bool
    matrix: Any
    transposed: Any
    scale: Tensor | None

    def forward(self, coef: Tensor) -> Tensor:
        r"""Return logits: ``(V, P) -> (V, n)``."""
        columns = coef[:, : self.matrix.shape[1]]
        if self.scale is not None:
            columns = columns / self.scale
        logits = _multiply(self.matrix, columns)
        if self.fit_intercept:
            logits = logits + coef[:, -1:]
        return logits.contiguous()

    def backward(self, residual: Tensor) -> Tensor:
        r"""Return sums of the residuals times rows: ``(V, n) -> (V, P)``."""
        columns = _multiply(self.transposed, residual)
        if self.scale is not None:
            columns = columns / self.scale
        if not self.fit_intercept:
            return columns
        return torch.cat([columns, residual.sum(1, keepdim=True)], dim=1)

    def squares(self, weight: Tensor) -> Tensor:
        r"""Return weighted sums of squares: ``(V, n) -> (V, P)``."""
        scale = None if self.scale is None else self.scale.square()
        squares = replace(self, transposed=_squared(self.transposed), scale=scale)
        return squares.backward(weight)

    def row_sizes(self) -> Tensor:
        r"""Return the largest absolute value of each row, in float64."""
        scaled = abs(self.matrix).multiply(1 / self.scale.numpy()).tocsr()  # type: ignore[union-attr]
        return torch.from_numpy(scaled.max(axis=1).toarray().ravel())


def _multiply(matrix: Any, vectors: Tensor) -> Tensor:
    r"""Return products of a sparse matrix with vectors: ``(V, D) -> (V, N)``."""
    columns = vectors.T.contiguous()
    if isinstance(matrix, Tensor):
        return (matrix @ columns).T
    return torch.from_numpy(matrix @ columns.numpy()).T


def _squared(matrix: Any) -> Any:
    r"""Return a sparse matrix with squared values."""
    if not isinstance(matrix, Tensor):
        return matrix.multiply(matrix)
    indptr, indices = matrix.crow_indices(), matrix.col_indices()
    values = matrix.values().square()
    return torch.sparse_csr_tensor(
        indptr, indices, values, matrix.shape, check_invariants=False
    )


def csr_tensor(matrix: Any) -> Tensor:
    r"""Return a scipy.sparse CSR array as a tensor, without a copy."""
    arrays = matrix.indptr, matrix.indices, matrix.data
    indptr, indices, values = (torch.from_numpy(array) for array in arrays)
    return torch.sparse_csr_tensor(
        indptr, indices, values, matrix.shape, check_invariants=False
    )
