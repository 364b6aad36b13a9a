r"""Wide tables: the space that few rows span, in orthonormal coordinates.

Where the gradient of a loss of ``X @ W.T`` plus a multiple of the squared norm of ``W``
is zero, every row of ``W`` is a sum of multiples of rows of ``X``. So the minimum is
found among these sums: with an orthonormal basis ``Q`` of the rows' span, from the
table ``X @ Q`` of at most as many columns as rows, under the same penalty.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpstrf
from scipy.sparse import issparse
from torch import Tensor

from .design_matrix import DenseRows
from .outliers import outlying_columns, outlying_sparse_columns

# Numbers of a table that are read at a time: what a cache can hold.
_BLOCK_SIZE = 2**20
# Rows that are averaged at a time.
_ROWS_AT_ONCE = 64
# So many columns for each row pay for the basis.
_FEWEST_COLUMNS_PER_ROW = 1.25
# Up to so many rows, a basis and the inverses for as many columns cost little; beyond,
# a preconditioner without inverses does for a wide table.
_MOST_ROWS = 1000
# Relative to a center's norm, what rounding leaves of rows that are equal to it; and
# relative to a row's squared norm, what rounding leaves of its distance from a span.
_ROUNDING, _SQUARED_ROUNDING = 1e-13, 1e-15


def is_wide(n_samples: int, n_features: int) -> bool:
    r"""Return whether a basis of the rows' span saves more than it costs."""
    is_short = n_samples <= _MOST_ROWS
    return is_short and n_features >= _FEWEST_COLUMNS_PER_ROW * n_samples


class RowSpace:
    r"""The rows of a table in an orthonormal basis of what they span.

    The basis comes from the rows' products with each other, by a Cholesky factorization
    with pivots. Rows are divided by their norms for it, so that a row of another order
    of magnitude does not drown the others in rounding.

    Parameters
    ----------
    X : Tensor or scipy.sparse CSR array, of shape (n_samples, n_features)
        The table; not all of its rows need be independent.
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
        # Centered equal rows leave nothing but rounding.
        length[length <= _ROUNDING * float(center.norm())] = 0.0
        norm = np.where(length > 0, length, np.inf)
        gram /= norm
        gram /= norm[:, None]
        factor, pivots, rank, _ = dpstrf(
            gram, tol=n_samples * _SQUARED_ROUNDING, lower=1, overwrite_a=1
        )
        if rank == 0:
            # All rows are zero. A table has a column all the same.
            rank, factor[0, 0] = 1, 1.0
        factor, pivots = np.tril(factor[:, :rank]), pivots - 1
        # Copies of a row leave rounding, which is no spread of the other rows.
        factor[np.abs(factor) < _ROUNDING] = 0.0
        table = np.empty_like(factor)
        table[pivots] = factor
        self.table = torch.from_numpy(table * length[:, None]).to(center.device)
        self._pivots, self._norm = pivots[:rank], norm[pivots[:rank]]
        self._factor = factor[:rank]

    def restore(self, weight: Tensor) -> Tensor:
        r"""Return weights of features: ``(m, rank) -> (m, n_features)``."""
        solved = solve_triangular(
            self._factor,
            weight.cpu().numpy().T,
            lower=True,
            trans="T",
            check_finite=False,
        )
        # (m, N): multiples of the rows.
        multiples = np.zeros((weight.shape[0], len(self.table)))
        multiples[:, self._pivots] = (solved / self._norm[:, None]).T
        if issparse(self.X):
            return torch.from_numpy(np.ascontiguousarray((self.X.T @ multiples.T).T))
        factors = torch.from_numpy(multiples).to(self.center)
        return torch.cat([factors @ part for _, part in self._columns()], dim=1)

    def project(self, weight: Tensor) -> Tensor:
        r"""Return the part of weights in this space: ``(m, n_features) -> (m, rank)``.

        For rows of the table, the rest changes no product.
        """
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
        r"""Return the products of the centered rows, ``(N, N)``, in Fortran's order."""
        if issparse(self.X):
            X = self.X.astype(np.float64)
            return np.asfortranarray((X @ X.T).toarray())
        n_samples = len(self.X)
        gram = self.center.new_zeros(n_samples, n_samples)
        for _, part in self._columns():
            gram.addmm_(part, part.T)
        return np.asfortranarray(gram.cpu().numpy())

    def _columns(self) -> Iterator[tuple[slice, Tensor]]:
        r"""Yield centered columns in float64, some at a time."""
        n_samples, n_features = self.X.shape
        width = max(_BLOCK_SIZE // n_samples, 16)
        for start in range(0, n_features, width):
            columns = slice(start, start + width)
            yield columns, self.X[:, columns].double() - self.center[columns]


class SpannedRows(DenseRows):
    r"""The rows of a wide table, as a table of what they span.

    Parameters are those of :class:`DenseRows`, but ``X`` may be sparse.
    """

    def __init__(self, X: Any, share: Tensor, fit_intercept: bool) -> None:
        center = share.new_zeros(X.shape[1])
        if fit_intercept and not issparse(X):
            for start in range(0, len(X), _ROWS_AT_ONCE):
                rows = slice(start, start + _ROWS_AT_ONCE)
                center += share[rows] @ X[rows].double()
        if issparse(X):
            outlying = outlying_sparse_columns(X)
        else:
            outlying = outlying_columns(X, X.double().std(0, correction=0))
            for column, (location, _) in outlying.items():
                center[column] = location * fit_intercept
        self.space = RowSpace(X, center)
        super().__init__(self.space.table, share, fit_intercept)
        self.outlying_features = outlying

    def standardize(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        r"""Return ``(n_classes, n_columns)`` for standardised columns."""
        weight = weight.double()
        if bias is not None:
            bias = bias.double() + weight @ self.space.center
        return super().standardize(self.space.project(weight), bias)

    def restore(self, theta: Tensor) -> tuple[Tensor, Tensor | None]:
        r"""Return weights and intercept on the input's scale."""
        spanned, bias = super().restore(theta)
        weight = self.space.restore(spanned)
        if bias is not None:
            bias = bias - weight @ self.space.center
        return weight, bias
