r"""State of the process: memory kept by the C library, locks, threads of BLAS."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from threadpoolctl import ThreadpoolController

# Options of glibc's `mallopt`, from malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
# Bytes from which glibc maps memory apart from its heap: the largest value it takes.
_MMAP_THRESHOLD = 2**25
# Free bytes at the end of the heap that glibc returns to the system: none in a fit,
# and its own limit for the value above otherwise, twice as much.
_TRIM_THRESHOLD_IN_FIT = 2**31 - 1
_TRIM_THRESHOLD = 2 * _MMAP_THRESHOLD


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    r"""Let tensors that are freed in the block leave their memory to later ones.

    By default, glibc returns large pieces to the system, and free memory at the end of
    its heap. The system then zeroes each page of the next tensor, which takes a sixth
    of a convolutional net's training. Environment variables that configure glibc, as
    in Dask's workers, take precedence.
    """
    set_option = _mallopt()
    if set_option is None:
        yield
        return
    set_option(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD)
    set_option(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD_IN_FIT)
    try:
        yield
    finally:
        set_option(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)


@functools.cache
def _mallopt() -> Callable[[int, int], int] | None:
    r"""Return the function that sets options of glibc; None if it must not or cannot.

    glibc reads its environment variables at the start of the process alone.
    """
    is_configured = any(name.startswith("MALLOC_") for name in os.environ)
    if sys.platform != "linux" or is_configured:
        return None
    # Other C libraries, such as musl, have no such function.
    return getattr(ctypes.CDLL(None), "mallopt", None)


# A module may draw from PyTorch's generator of its device, of which a process has one.
# Fits that seed it hold this lock.
generator_lock = threading.RLock()

# True if this process may have computed with several threads.
has_computed = False

_blas_lock = threading.Lock()
# Number of blocks of `single_threaded_blas` in progress, in all threads. The first
# block sets the limit, the last one lifts it.
_n_blocks = 0
_limiter: Any = None


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    r"""Let NumPy's BLAS compute in the calling thread in the block.

    NumPy, SciPy and PyTorch have a pool of threads each. Threads of one pool keep
    spinning for a while after a product, and delay those of the next pool: a product
    of small matrices may take a thousand times as long.
    """
    global _n_blocks, _limiter
    with _blas_lock:
        if not _n_blocks:
            _limiter = _controller().limit(limits=1, user_api="blas")
        _n_blocks += 1
    try:
        yield
    finally:
        with _blas_lock:
            _n_blocks -= 1
            if not _n_blocks:
                _limiter.restore_original_limits()


@functools.cache
def _controller() -> ThreadpoolController:
    r"""Return the controller of all libraries with threads: a search of 20 ms."""
    return ThreadpoolController()


def _after_fork_in_child() -> None:
    r"""Let a forked process compute, which has only one thread of its parent.

    OpenMP would wait forever for the missing threads. A missing thread may also hold a
    lock, so that there are new ones. A limit of BLAS stays.
    """
    global generator_lock, _blas_lock
    generator_lock, _blas_lock = threading.RLock(), threading.Lock()
    if has_computed:
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # Windows has no fork.
    os.register_at_fork(after_in_child=_after_fork_in_child)
