r"""Memory that a training step frees and the next one asks for again."""

import platform
import subprocess
import sys

import pytest

# Whether memory is kept depends on what a process did before.
STEPS = """
import resource
import torch
from sksoftmax._memory import freed_memory_kept

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


def run(program):
    return subprocess.run(
        [sys.executable, "-c", STEPS + program],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    ).stdout.split()


def test_steps_take_the_memory_that_was_freed_before():
    without, first, inside = map(
        int,
        run("""
print(page_faults())
with freed_memory_kept():
    page_faults()
    print(page_faults(), page_faults())
"""),
    )
    # Of 96 MiB in pages of at most 64 KiB, each step asks for all of them anew.
    assert without >= 20 * 96 * 2**20 / 2**16
    assert max(first, inside) < without / 20


def test_a_limit_on_memory_is_no_error():
    assert run("""
with open("/proc/self/statm") as file:
    in_use = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + 2**26,) * 2)
with freed_memory_kept():
    print(int(torch.ones(2**20).sum()))
""") == [str(2**20)]
