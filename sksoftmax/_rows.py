r"""Features as full-batch solvers read them: standardised, through matrix products."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Numbers in the larger matrix of a product of one block: what a cache can hold.
_BLOCK_SIZE = 2**20
_FEWEST_BLOCK_ROWS = 256
# Relative to its mean, a spread that rounding leaves of a constant feature.
_ROUNDING = 1e-13


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


class DenseRows:
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
        self._constant = self.scale <= _ROUNDING * self.mean.abs()
        self.scale[self._constant | (self.scale == 0)] = 1.0
        self.Z = torch.empty(n_samples, self.n_columns, device=X.device)
        for rows in self._slices(1):
            self.Z[rows] = self._standardized(rows)

    @property
    def is_small(self) -> bool:
        r"""Whether float64 throughout costs little."""
        return self.Z.numel() <= _BLOCK_SIZE

    def thinned(self, step: int) -> DenseRows:
        r"""Return every so manieth row, standardised as here."""
        thin = copy.copy(self)
        # One copy, so that a block of it is contiguous.
        thin.X, thin.Z = self.X[::step], self.Z[::step].contiguous()
        thin.n_samples = len(thin.Z)
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
            weighted = block.Z * share[block.rows, None].float()
            total += block.Z.T @ weighted
        return total

    def diagonal(self, share: Tensor) -> Tensor:
        r"""Return the weighted sum of squares of each column, in float64."""
        total = self.Z.new_zeros(self.n_columns, dtype=torch.float64)
        for block in self.blocks(1, precise=False):
            total += share[block.rows].float() @ block.Z.square()
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
        Z = (self.X[rows].double() - self.mean).div_(self.scale)
        Z[:, self._constant] = 0.0
        if not self.fit_intercept:
            return Z
        return torch.cat([Z, Z.new_ones(len(Z), 1)], dim=1)


@dataclass(frozen=True)
class SparseBlock:
    r"""All rows of a sparse table, scaled in passing."""

    rows: slice
    X: Any
    scale: Tensor
    fit_intercept: bool

    def forward(self, theta: Tensor) -> Tensor:
        r"""Return the logits: ``(m, n_columns) -> (m, n_rows)``."""
        weight = theta[:, : len(self.scale)].double() / self.scale
        logits = torch.from_numpy(self.X @ weight.T.contiguous().numpy()).T
        if self.fit_intercept:
            logits = logits + theta[:, -1:]
        return logits.to(theta.dtype).contiguous()

    def backward(self, residual: Tensor) -> Tensor:
        r"""Return the residuals' sums over rows: ``(m, n_rows) -> (m, n_columns)``."""
        residual = residual.double()
        sums = self.X.T @ residual.T.contiguous().numpy()
        columns = torch.from_numpy(sums).T / self.scale
        if not self.fit_intercept:
            return columns
        return torch.cat([columns, residual.sum(1, keepdim=True)], dim=1)


class SparseRows:
    r"""A sparse table in CSR form, scaled but not centred; it is never copied.

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
        self._squares = self._sum_of_squares(share)
        self.scale = self._squares.sqrt()
        self.scale[self.scale == 0] = 1.0

    def blocks(self, n_products: int, precise: bool) -> Iterator[SparseBlock]:
        r"""Yield all rows."""
        yield SparseBlock(
            slice(0, self.n_samples), self.X, self.scale, self.fit_intercept
        )

    def diagonal(self, share: Tensor) -> Tensor:
        r"""Return the weighted sum of squares of each column."""
        squares = self._sum_of_squares(share) / self.scale.square()
        if not self.fit_intercept:
            return squares
        return torch.cat([squares, share.sum().reshape(1)])

    def _sum_of_squares(self, share: Tensor) -> Tensor:
        weights = np.repeat(share.numpy(), np.diff(self.X.indptr))
        weights *= self.X.data
        weights *= self.X.data
        sums = np.bincount(self.X.indices, weights, minlength=self.X.shape[1])
        return torch.from_numpy(sums)
