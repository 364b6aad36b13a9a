r"""One thread for small work on NumPy, whatever pools of threads are about."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
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
    with _lock:
        if not _n_blocks:
            _limiter = _controller().limit(limits=1, user_api="blas")
        _n_blocks += 1
    try:
        yield
    finally:
        with _lock:
            _n_blocks -= 1
            if not _n_blocks:
                _limiter.restore_original_limits()


@functools.cache
def _controller() -> ThreadpoolController:
    # Looking for the libraries takes longer than a small fit.
    return ThreadpoolController()


def _after_fork_in_child() -> None:
    r"""Make a new lock: who held it is not here to release it.

    Blocks of other threads never end here, and leave the child with one thread.
    """
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
