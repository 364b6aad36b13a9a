r"""Settings for all tests: few threads, and where the real data is."""

import gc
import os

# Two processes of two threads each would be slow on two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import pytest
import torch

from .programs import Programs

# Nearly all objects of the collection stay: looking for garbage among them takes a
# third of its time.
gc.disable()


def pytest_collection_finish():
    gc.enable()


def pytest_collection_modifyitems(items):
    # Tests on real data take longest: they start first, and two processes end together.
    items.sort(key=lambda item: "data" not in item.keywords)
    # Most tests train for few epochs to save time, and the examples run on few rows.
    # Code of the documentation must not warn.
    ignored = "ignore:Maximum number of epochs:sklearn.exceptions.ConvergenceWarning"
    for item in items:
        is_shown = item.path.name in {"test_blocks.py", "test_docs.py"}
        if not (is_shown or isinstance(item, pytest.DoctestItem)):
            item.add_marker(pytest.mark.filterwarnings(ignored))


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def programs():
    r"""Return what runs a program in a new process."""
    programs = Programs()
    yield programs
    programs.close()


@pytest.fixture(autouse=True)
def _global_state_untouched():
    r"""Check that a test leaves the generator, threads and dtype of PyTorch alone."""
    generator = torch.get_rng_state()
    threads = torch.get_num_threads()
    dtype = torch.get_default_dtype()
    yield
    assert torch.equal(torch.get_rng_state(), generator)
    assert torch.get_num_threads() == threads
    assert torch.get_default_dtype() == dtype
