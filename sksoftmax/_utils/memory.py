r"""Memory that one training step frees and the next one asks for again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

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
