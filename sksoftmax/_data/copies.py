r"""Copies of rows: rows with equal features, and groups of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array, issparse
from scipy.sparse.csgraph import connected_components

from .._utils.memmap import blocks

# Share of copies among the rows below which they change little: they are kept, because
# merging them costs a copy of the weights.
FEW_COPIES = 0.01

# Bytes of the block of rows that is hashed at once: the size of a processor's cache.
_BLOCK_BYTES = 2**19
# Odd factor that spreads the bits of a word: 2**64 divided by the golden ratio.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
# Ratio of a column's largest absolute value to its range above which float32 rounds
# away too much of the differences between its values.
_LARGE_OFFSET = 2.0**10
# Share of all combinations of the columns' values that occur, from which equal rows are
# expected by chance.
_DENSE_SHARE = 0.25
# Number of distinct values up to which a column of numbers is treated as categories.
_MAX_LEVELS = 16


def row_numbers(X: Any) -> NDArray[np.int64]:
    r"""Number the distinct rows in the order of their first appearance.

    Rows are equal if their features are equal after rounding to float32, the precision
    of the nets. -0.0 equals 0.0, and NaN equals NaN.

    Parameters
    ----------
    X : {array, sparse array} of shape (n_samples, n_features)
        The rows; a memory-mapped file is read block by block.

    Returns
    -------
    numbers : ndarray of shape (n_samples,)
        The number of each row.
    """
    numbers = _factorize(X, None)
    if issparse(X) or X.dtype not in (np.float64, np.int64, np.int32):
        return numbers
    if len(X) and numbers.max() + 1 < len(X):
        offset = _large_offsets(X)
        if offset.any():
            return _factorize(X, offset)
    return numbers


def numbers_of_copies(
    X: Any, rows: NDArray[np.int64], is_categorical: NDArray[np.bool_] | None = None
) -> NDArray[np.int64] | None:
    r"""Return the numbers of the given rows; None if there are no copies.

    Equal rows do not count as copies if every column is a category or has few levels,
    and a large share of all combinations occurs. New rows then equal known ones as
    well, hence known copies are proper validation rows.
    """
    numbers = row_numbers(X)
    if len(rows) < X.shape[0]:
        numbers = renumbered(numbers[rows])
    if numbers.max() + 1 == len(rows):
        return None
    distinct = rows[first_of_each(numbers)]
    return None if _is_dense(X, distinct, is_categorical) else numbers


def _is_dense(
    X: Any, distinct: NDArray[np.int64], is_categorical: NDArray[np.bool_] | None
) -> bool:
    r"""Return whether distinct rows are a large share of all combinations of levels."""
    if issparse(X):
        return False
    max_combinations = len(distinct) / _DENSE_SHARE
    n_combinations = 1
    for column in range(X.shape[1]):
        n_levels = len(pd.unique(X[distinct, column]))
        is_category = is_categorical is not None and is_categorical[column]
        n_combinations *= n_levels
        if n_combinations > max_combinations or (
            n_levels > _MAX_LEVELS and not is_category
        ):
            return False
    return True


def first_of_each(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    r"""Return the index of the first row of each number, from 0 on."""
    first: NDArray[np.int64] = np.unique(numbers, return_index=True)[1]
    return first


def renumbered(values: NDArray[Any]) -> NDArray[np.int64]:
    r"""Return numbers from 0 on for distinct values, in the order of appearance."""
    numbers: NDArray[np.int64] = pd.factorize(values)[0].astype(np.int64)
    return numbers


def join(copies: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    r"""Number the groups of rows that are linked by copies or by the user's groups.

    They are the connected components of the graph whose edges link copies, and rows of
    one user's group. If a component has more than half of the rows, the user's groups
    are returned: rows with few levels are equal by chance.
    """
    n_copies = copies.max() + 1
    n_nodes = n_copies + groups.max() + 1
    ones = np.ones(len(copies), dtype=bool)
    links = coo_array((ones, (copies, n_copies + groups)), shape=(n_nodes, n_nodes))
    joined = renumbered(connected_components(links, directed=False)[1][copies])
    return groups if np.bincount(joined).max() > len(joined) / 2 else joined


def _factorize(X: Any, offset: NDArray[np.float64] | None) -> NDArray[np.int64]:
    hashes = _sparse_hashes(X) if issparse(X) else _dense_hashes(X, offset)
    return renumbered(hashes)


def _dense_hashes(X: Any, offset: NDArray[np.float64] | None) -> NDArray[np.uint64]:
    r"""Return a hash of each row: the sum of its mixed words times random factors."""
    parts, factors = [], np.empty(0, dtype=np.uint64)
    for rows in _small_blocks(X):
        if offset is not None:
            rows = rows - offset
        # (N, D) -> (N, W) words of 8 bytes
        words = _mixed(_words(rows))
        if len(factors) != words.shape[1]:
            factors = _factors(words.shape[1])
        parts.append(words @ factors)
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.uint64)


def _sparse_hashes(X: Any) -> NDArray[np.uint64]:
    r"""Return a hash of each row of a sparse table; stored zeros do not change it."""
    X = X.tocsr()
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    values = _words(np.asarray(X.data)[:, None].astype(np.float32))
    terms = _mixed(values)[:, 0] * _factors(X.shape[1])[X.indices]
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
    hashes: NDArray[np.uint64] = sums[X.indptr[1:]] - sums[X.indptr[:-1]]
    return hashes


def _small_blocks(X: Any) -> Iterator[NDArray[Any]]:
    n_rows = max(1, _BLOCK_BYTES // max(1, 4 * X.shape[1]))
    for block in blocks(X):
        for start in range(0, len(block), n_rows):
            yield np.asarray(block[start : start + n_rows])


def _words(rows: NDArray[Any]) -> NDArray[np.uint64]:
    r"""Return rows as words of 8 bytes; equal rows give equal words."""
    if rows.dtype.itemsize > 1:
        # -0.0 + 0.0 is 0.0.
        rows = rows.astype(np.float32) + np.float32(0)
        is_missing = np.isnan(rows)
        if is_missing.any():
            rows[is_missing] = np.nan
    # (N, D) -> (N, bytes), filled up to whole words
    rows = np.ascontiguousarray(rows).view(np.uint8)
    if n_missing := -rows.shape[1] % 8:
        rows = np.pad(rows, ((0, 0), (0, n_missing)))
    return rows.view(np.uint64)


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    r"""Return words in which each bit depends on many bits; 0 stays 0."""
    mixed = words ^ (words >> np.uint64(32))
    mixed *= _SPREAD
    mixed ^= mixed >> np.uint64(29)
    return mixed


def _factors(n_words: int) -> NDArray[np.uint64]:
    r"""Return odd random factors, the same in every call."""
    drawn = np.random.default_rng(0).integers(0, 2**63, n_words, dtype=np.uint64)
    return 2 * drawn + np.uint64(1)


def _large_offsets(X: NDArray[Any]) -> NDArray[np.float64]:
    r"""Return the minimum of columns that float32 would round too much, else 0."""
    low = np.full(X.shape[1], np.inf)
    high = -low
    for block in blocks(X):
        low = np.fmin(low, np.fmin.reduce(block, axis=0))
        high = np.fmax(high, np.fmax.reduce(block, axis=0))
    size, extent = np.maximum(np.abs(low), np.abs(high)), high - low
    is_large = (extent > 0) & (size > _LARGE_OFFSET * extent)
    return np.where(is_large, low, 0.0)
