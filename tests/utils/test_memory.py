r"""Memory that a training step frees and the next one asks for again."""

import platform

import pytest

# Whether memory is kept depends on what a process did before.
STEPS = """
import resource
import torch
from sksoftmax._utils.process import freed_memory_kept

def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        tensors = [torch.zeros(2**21) for _ in range(12)]
        del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
"""

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc is asked to keep memory"
)


# Page faults of 20 steps with 96 MiB each, in pages of at most 64 KiB.
FAULTS = 20 * 96 * 2**20 / 2**16


def test_steps_take_the_memory_that_was_freed_before(programs):
    code = """
print(page_faults())
with freed_memory_kept():
    page_faults()
    print(page_faults(), page_faults())
"""
    without, first, inside = map(int, programs.run(STEPS + code).split())
    assert without >= FAULTS
    assert max(first, inside) < FAULTS / 20


def test_memory_that_lies_free_makes_no_difference(programs):
    code = """
# Once a piece is freed, those of its size lie on the heap.
torch.empty(2**23, dtype=torch.uint8)
*pieces, last = [torch.empty(2**22, dtype=torch.uint8) for _ in range(30)]
del pieces
with freed_memory_kept():
    del last
    page_faults()
    print(page_faults())
"""
    assert int(programs.run(STEPS + code)) < FAULTS / 20


def test_a_limit_on_memory_is_no_error(programs):
    code = """
with open("/proc/self/statm") as file:
    in_use = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + 2**26,) * 2)
with freed_memory_kept():
    print(int(torch.ones(2**20).sum()))
"""
    assert int(programs.run(STEPS + code)) == 2**20
