r"""Data of several test files."""

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:300], y[:300]


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return X, load_iris().target_names[y]


@pytest.fixture(scope="module")
def coins():
    r"""Return rows that say nothing about their labels."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(400, 20)), rng.integers(0, 2, 400)
