r"""Wide tables in the space that their few rows span.

At the minimum of a loss of ``X @ W.T`` plus a multiple of ``||W||^2``, each row of W is
a linear combination of rows of X, since the gradient is zero. With an orthonormal basis
Q of the rows' span, the problem is therefore the same for the table ``X @ Q``, which
has at most as many columns as rows, under the same penalty.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import qr, solve_triangular
from scipy.linalg.lapack import dpstrf
from scipy.sparse import issparse
from torch import Tensor

from .design_matrix import BLOCK_SIZE, DenseRows
from .outliers import outlying_columns, outlying_sparse_columns

# Fewest columns that are read at a time.
_MIN_BLOCK_COLUMNS = 16
# Rows that are averaged at a time.
_MEAN_ROWS = 64
# Columns per row from which the basis saves more time than it takes.
_MIN_COLUMNS_PER_ROW = 1.25
# Rows up to which the basis, and inverses for as many columns, take little time. For
# more rows, the diagonal preconditioner suffices for a wide table.
_MAX_ROWS_FOR_BASIS = 1000
# Norm of a row that equals the center, relative to the center's norm: rounding.
_ROUNDING = 1e-13
# Distance of a row from the span of others, relative to its norm, below which a Gram
# matrix is not precise.
_LEAST_PIVOT = 1e-4
# Numbers, rows times columns, up to which a QR factorization takes little time.
_MAX_QR_NUMBERS = 2**17
# Squared distance of a row from the span of others that contains it, relative to its
# squared norm: rounding.
_SQUARED_ROUNDING = 1e-15


def is_wide(n_samples: int, n_features: int) -> bool:
    r"""Return whether a basis of the rows' span saves time."""
    n_rows_is_small = n_samples <= _MAX_ROWS_FOR_BASIS
    return n_rows_is_small and n_features >= _MIN_COLUMNS_PER_ROW * n_samples


class RowSpace:
    r"""The rows of a table in an orthonormal basis of their span.

    The basis is computed from the Gram matrix of the rows by a Cholesky factorization
    with pivots. The rows are divided by their norms before: otherwise the rounding of a
    large row would exceed the small ones.

    Parameters
    ----------
    X : Tensor or scipy.sparse CSR array, of shape (n_samples, n_features)
        The table; its rows may be linearly dependent.
    center : Tensor of shape (n_features,), float64
        Subtracted from every row. Zeros for a sparse table.

    Attributes
    ----------
    table : Tensor of shape (n_samples, rank), float64
        Coordinates of the centered rows.
    """

    def __init__(self, X: Any, center: Tensor) -> None:
        self.X, self.center = X, center
        gram = self._gram()
        n_samples = len(gram)
        length = np.sqrt(gram.diagonal())
        # If all rows are equal, the centered ones are rounding.
        length[length <= _ROUNDING * float(center.norm())] = 0.0
        norm = np.where(length > 0, length, np.inf)
        gram /= norm
        gram /= norm[:, None]
        factor, pivots, rank, _ = dpstrf(
            gram, tol=n_samples * _SQUARED_ROUNDING, lower=1, overwrite_a=1
        )
        if rank == 0:
            # All rows are zero, but a table has at least one column.
            rank, factor[0, 0] = 1, 1.0
        factor, pivots = np.tril(factor[:, :rank]), pivots - 1
        # (P, rank), where it is needed.
        self._basis: Tensor | None = None
        is_precise = factor.diagonal().min() > _LEAST_PIVOT
        is_precise &= rank == n_samples - bool(center.any())
        if not is_precise and math.prod(X.shape) <= _MAX_QR_NUMBERS:
            factor, pivots = self._factor_by_qr(norm, length.max())
            rank = factor.shape[1]
        # Differences of equal rows are rounding, and no spread of a column.
        factor[np.abs(factor) < _ROUNDING] = 0.0
        table = np.empty_like(factor)
        table[pivots] = factor
        self.table = torch.from_numpy(table * length[:, None]).to(center.device)
        self._pivots, self._norm = pivots[:rank], norm[pivots[:rank]]
        self._factor = factor[:rank]

    def restore(self, weight: Tensor) -> Tensor:
        r"""Return weights of features: ``(V, rank) -> (V, n_features)``."""
        if self._basis is not None:
            return weight @ self._basis.T
        vectors = weight.cpu().numpy().T
        solved = solve_triangular(self._factor.T, vectors, check_finite=False)
        # (V, N): factors of the rows in the linear combination.
        factors = np.zeros((weight.shape[0], len(self.table)))
        factors[:, self._pivots] = (solved / self._norm[:, None]).T
        if issparse(self.X):
            return torch.from_numpy(np.ascontiguousarray((self.X.T @ factors.T).T))
        multipliers = torch.from_numpy(factors).to(self.center)
        return torch.cat([multipliers @ part for _, part in self._columns()], dim=1)

    def project(self, weight: Tensor) -> Tensor:
        r"""Return the part of weights in this space: ``(V, n_features) -> (V, rank)``.

        The remaining part is orthogonal to all rows, and changes no prediction.
        """
        if self._basis is not None:
            return weight @ self._basis
        if issparse(self.X):
            products = torch.from_numpy(self.X @ weight.numpy().T)
        else:
            products = weight.new_zeros(len(self.table), len(weight))
            for columns, part in self._columns():
                products += part @ weight[:, columns].T
        chosen = products.cpu().numpy()[self._pivots] / self._norm[:, None]
        solved = solve_triangular(self._factor, chosen, lower=True, check_finite=False)
        return torch.from_numpy(np.ascontiguousarray(solved.T)).to(weight)

    def _gram(self) -> NDArray[np.float64]:
        r"""Return the Gram matrix ``(N, N)`` of centered rows, in Fortran order."""
        if issparse(self.X):
            X = self.X.astype(np.float64)
            return np.asfortranarray((X @ X.T).toarray())
        n_samples = len(self.X)
        gram = self.center.new_zeros(n_samples, n_samples)
        for _, part in self._columns():
            gram.addmm_(part, part.T)
        return np.asfortranarray(gram.cpu().numpy())

    def _factor_by_qr(
        self, norm: NDArray[np.float64], largest: float
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        r"""Return the factor and pivots, precise where rows are almost parallel.

        A Gram matrix has half of the digits. With the largest columns first, each is as
        precise as its own size allows.
        """
        X = self.X.toarray() if issparse(self.X) else self.X.double().cpu().numpy()
        rows = (X - self.center.cpu().numpy()) / norm[:, None]
        order = np.argsort(-np.abs(rows).max(0), kind="stable")
        basis, factor, pivots = qr(rows[:, order].T, mode="economic", pivoting=True)
        rounding = _ROUNDING * max(
            1.0, float(self.center.norm()) / max(largest, 1e-300)
        )
        rank = max(int((np.abs(factor.diagonal()) > rounding).sum()), 1)
        self._basis = self.center.new_empty(rows.shape[1], rank)
        self._basis[order] = torch.from_numpy(basis[:, :rank]).to(self.center)
        return factor[:rank].T, pivots

    def _columns(self) -> Iterator[tuple[slice, Tensor]]:
        r"""Yield blocks of centered columns in float64."""
        n_samples, n_features = self.X.shape
        width = max(BLOCK_SIZE // n_samples, _MIN_BLOCK_COLUMNS)
        for start in range(0, n_features, width):
            columns = slice(start, start + width)
            yield columns, self.X[:, columns].double() - self.center[columns]


class SpannedRows(DenseRows):
    r"""A wide table in an orthonormal basis of the span of its rows.

    Parameters are those of :class:`DenseRows`, but ``X`` may be sparse.
    """

    def __init__(self, X: Any, sample_weight: Tensor, fit_intercept: bool) -> None:
        center = sample_weight.new_zeros(X.shape[1])
        if issparse(X):
            outlying = outlying_sparse_columns(X)
        else:
            if fit_intercept:
                for start in range(0, len(X), _MEAN_ROWS):
                    rows = slice(start, start + _MEAN_ROWS)
                    center += sample_weight[rows] @ X[rows].double()
            outlying = outlying_columns(X, X.double().std(0, correction=0))
            for column, (location, _) in outlying.items():
                center[column] = location * fit_intercept
        self.space = RowSpace(X, center)
        super().__init__(self.space.table, sample_weight, fit_intercept)
        self.outlying_features = outlying
        if not outlying:
            # The coordinates of equal rows may be tiny beside those of the others.
            self.outlying = {}

    def standardize(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        weight = weight.double()
        if bias is not None:
            bias = bias.double() + weight @ self.space.center
        return super().standardize(self.space.project(weight), bias)

    def restore(self, coef: Tensor) -> tuple[Tensor, Tensor | None]:
        spanned, bias = super().restore(coef)
        weight = self.space.restore(spanned)
        if bias is not None:
            bias = bias - weight @ self.space.center
        return weight, bias
