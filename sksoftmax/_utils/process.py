r"""One thread for small work on NumPy, whatever pools of threads are about."""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from threadpoolctl import ThreadpoolController

# The largest piece that glibc can be made to keep on its heap is 32 MiB, with what it
# adds itself; those that follow must be smaller than that one.
_LARGEST = 2**25 - 2**16
_PIECE = 2**25 - 2**18
# As much as a step of a net that is trained on a CPU asks for.
_N_PIECES = 8


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    r"""Let tensors that are freed in the block leave their memory to later ones.

    By itself, glibc returns large pieces to the system, and what lies free at the end
    of its heap. The next tensor's pages then come one by one from the system, each
    zeroed first, which takes a sixth of a convolutional net's training. Reserving is
    free: no page is there before a tensor is. Where environment variables tell glibc
    what to keep, as in Dask's workers, it keeps to that.
    """
    if sys.platform != "linux":
        yield
        return
    # PyTorch's error where memory counts before it is used, and there is too little.
    with suppress(RuntimeError):
        # Once one of them was freed that is not on glibc's heap, it keeps smaller ones
        # there; the first few may have found a place on it.
        pieces = [_reserve(_LARGEST) for _ in range(_N_PIECES)]
        del pieces
        # The last one lies at the end of the heap: nothing below it can be given back.
        pieces = [_reserve(_PIECE) for _ in range(_N_PIECES)]
        del pieces[:-1]
    yield


def _reserve(n_bytes: int) -> torch.Tensor:
    return torch.empty(n_bytes, dtype=torch.uint8)


# PyTorch's generator for a device is one object for the whole process, so fits that
# have to borrow it, because the user's module draws from it, take turns.
generator_lock = threading.RLock()

# True if this process may have computed with several threads.
has_computed = False

_blas_lock = threading.Lock()
# Blocks that are running now, in all threads; the first one sets the limit and the last
# one lifts it.
_n_blocks = 0
_limiter: Any = None


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    r"""Let NumPy's BLAS compute in the calling thread in the block.

    NumPy, SciPy and PyTorch have a pool of threads each, and those of one go on
    spinning for a while beside those of the next. A product of small matrices that
    waits for a thread may then take a thousand times as long.
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
    # Looking for the libraries takes longer than a small fit.
    return ThreadpoolController()


def _after_fork_in_child() -> None:
    r"""Let a forked process compute, which has only one thread of its parent's.

    OpenMP would wait forever for the threads that are missing, and the thread that
    held a lock may be missing, too. A limit of BLAS stays.
    """
    global generator_lock, _blas_lock
    generator_lock, _blas_lock = threading.RLock(), threading.Lock()
    if has_computed:
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # Windows does not fork.
    os.register_at_fork(after_in_child=_after_fork_in_child)
