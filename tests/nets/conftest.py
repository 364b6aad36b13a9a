r"""Fixtures of the tests of nets."""

import pytest
import torch


@pytest.fixture
def global_seed():
    r"""Let the user's modules be initialized from the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
