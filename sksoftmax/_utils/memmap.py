r"""Arrays that are files: read in parts, of which few stay in memory."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A file below this size may be in memory as a whole; reading it again would cost time.
_SMALL_FILE = 2**27

# What may be in memory of a larger one.
_MOST_BYTES = 2**27

# Reading a row brings in what surrounds it: a large page, where the system has them.
_BYTES_AROUND = 2**21

# Rows that are copied at a time: about what a processor's cache can hold.
_ROWS_AT_ONCE = 1024


class Pages:
    r"""What reading an array has brought into memory, if the array is a file.

    Such pages are counted as memory of the process until the system needs them for
    something else. This gives them back as soon as there are many; the next read finds
    them in the system's cache, or else in the file.

    Parameters
    ----------
    X : array of shape (n_samples, ...)
        Any array; unless it is a view of a large memory-mapped file, nothing is done.
    """

    def __init__(self, X: Any) -> None:
        self._X = X
        self._mapping = _mapping_of(X)
        self._row_bytes: int = X.nbytes // len(X) if self.is_mapped else 0
        self._n_read = 0

    @property
    def is_mapped(self) -> bool:
        r"""Whether the array is a large file."""
        return self._mapping is not None

    @property
    def rows_at_once(self) -> int:
        r"""The most rows of a large file, one after another, to have in memory."""
        return max(1, _MOST_BYTES // self._row_bytes)

    def read(self, n_rows: int) -> None:
        r"""Count rows that were read, one after another."""
        if self._mapping is None:
            return
        self._n_read += n_rows
        if self._n_read >= self.rows_at_once:
            self._release(self._mapping)

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        r"""Return a copy of some rows, wherever they are."""
        X = self._X
        if self._mapping is None:
            copied: NDArray[Any] = X[rows]
            return copied
        copied = np.empty((len(rows), *X.shape[1:]), dtype=X.dtype)
        step = max(1, _MOST_BYTES // (self._row_bytes + _BYTES_AROUND))
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            copied[part] = X[rows[part]]
            self._release(self._mapping)
        return copied

    def _release(self, mapping: mmap.mmap) -> None:
        mapping.madvise(mmap.MADV_DONTNEED)
        self._n_read = 0


def blocks(X: NDArray[Any]) -> Iterator[NDArray[Any]]:
    r"""Yield the rows of a large file in blocks, those of any other array at once."""
    return iter([X]) if _mapping_of(X) is None else _read_blocks(X)


def _read_blocks(X: NDArray[Any]) -> Iterator[NDArray[Any]]:
    pages = Pages(X)
    for start in range(0, len(X), pages.rows_at_once):
        block = X[start : start + pages.rows_at_once]
        yield block
        pages.read(len(block))


def in_parts(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    r"""Return rows in parts to be copied, looked at and forgotten one by one."""
    return np.array_split(rows, math.ceil(len(rows) / _ROWS_AT_ONCE))


def _mapping_of(X: Any) -> mmap.mmap | None:
    if not isinstance(X, np.ndarray) or X.nbytes < _SMALL_FILE:
        return None
    owner: Any = X
    while isinstance(owner, np.ndarray):
        if isinstance(owner, np.memmap) and owner.mode == "c":
            # What the caller wrote into it is nowhere else.
            return None
        owner = owner.base
    is_mapping = isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED")
    return owner if is_mapping else None
