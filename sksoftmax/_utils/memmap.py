r"""Memory-mapped arrays: read in parts, few of which stay in memory."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Bytes of a file up to which it may be in memory as a whole: 128 MiB.
SMALL_FILE = 2**27

# Bytes of a larger file that may be in memory.
MAX_BYTES = 2**27

# Bytes that the system reads with a row: a large page.
PAGE_BYTES = 2**21

# Number of rows that are copied at once: about the size of a processor's cache.
_ROWS_AT_ONCE = 1024


class Pages:
    r"""Pages of a memory-mapped file that are in memory.

    The system counts pages that were read as memory of the process, until it needs them
    otherwise. This class returns them when there are many of them. The next read takes
    them from the system's cache, or else from the file.

    Parameters
    ----------
    X : array of shape (n_samples, ...)
        Any array. Nothing is done unless it is a view of a large memory-mapped file.
    """

    def __init__(self, X: Any) -> None:
        self._X = X
        self._mapping = _mapping_of(X)
        self._row_bytes: int = X.nbytes // len(X) if self.is_mapped else 0
        self._n_read = 0

    @property
    def is_mapped(self) -> bool:
        r"""Whether the array is a view of a large file."""
        return self._mapping is not None

    @property
    def rows_at_once(self) -> int:
        r"""Number of consecutive rows of a large file that may be in memory."""
        return max(1, MAX_BYTES // self._row_bytes)

    def read(self, n_rows: int) -> None:
        r"""Count consecutive rows that were read."""
        if self._mapping is None:
            return
        self._n_read += n_rows
        if self._n_read >= self.rows_at_once:
            self._release(self._mapping)

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        r"""Return a copy of the given rows, in any order."""
        X = self._X
        if self._mapping is None:
            copied: NDArray[Any] = X[rows]
            return copied
        copied = np.empty((len(rows), *X.shape[1:]), dtype=X.dtype)
        step = max(1, MAX_BYTES // (self._row_bytes + PAGE_BYTES))
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            copied[part] = X[rows[part]]
            self._release(self._mapping)
        return copied

    def _release(self, mapping: mmap.mmap) -> None:
        mapping.madvise(mmap.MADV_DONTNEED)
        self._n_read = 0


def blocks(X: NDArray[Any]) -> Iterator[NDArray[Any]]:
    r"""Yield the rows of a large file in blocks, or any other array as one block."""
    pages = Pages(X)
    if not pages.is_mapped:
        yield X
        return
    for start in range(0, len(X), pages.rows_at_once):
        block = X[start : start + pages.rows_at_once]
        yield block
        pages.read(len(block))


@contextmanager
def temporary_file(folder: str | os.PathLike[str] | None) -> Iterator[str]:
    r"""Return the path of an empty file, which is deleted after the block.

    An array that maps it keeps its contents until the array is deleted.
    """
    descriptor, path = tempfile.mkstemp(prefix="sksoftmax-", dir=folder)
    os.close(descriptor)
    try:
        yield path
    finally:
        # Windows has deleted it if it was mapped.
        with suppress(FileNotFoundError, PermissionError):
            os.unlink(path)


def map_temporary(path: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    r"""Return the bytes of a temporary file as an array that can be written to."""
    # Windows deletes no file that is mapped, unless it was opened with this flag.
    flags = os.O_RDWR | getattr(os, "O_TEMPORARY", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "r+b") as file:
        return np.memmap(file, dtype=np.uint8, mode="r+", shape=shape)


def in_parts(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    r"""Split row indices into parts whose rows fit into a processor's cache."""
    return np.array_split(rows, math.ceil(len(rows) / _ROWS_AT_ONCE))


def _mapping_of(X: Any) -> mmap.mmap | None:
    if not isinstance(X, np.ndarray) or X.nbytes < SMALL_FILE:
        return None
    owner: Any = X
    while isinstance(owner, np.ndarray):
        if isinstance(owner, np.memmap) and owner.mode == "c":
            # Copy on write: values that the caller wrote are in memory only.
            return None
        owner = owner.base
    is_mapping = isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED")
    return owner if is_mapping else None
