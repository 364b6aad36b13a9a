r"""Warm starts of the exact solver reach the optimum from any coefficients."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.sparse import csr_array
from sklearn.datasets import load_digits, load_iris

from sksoftmax import SoftmaxRegression


def iris():
    return (*load_iris(return_X_y=True), {})


def two_classes():
    X, y = load_iris(return_X_y=True)
    return X[50:], y[50:], {}


def lasso():
    return (*load_iris(return_X_y=True), {"l1_ratio": 0.5})


def digits():
    X, y = load_digits(return_X_y=True)
    return X[:200], y[:200], {}


def sparse():
    X, y, options = digits()
    return csr_array(X), y, options


def wide():
    rng = np.random.default_rng(0)
    return rng.normal(size=(50, 400)), np.arange(50) % 3, {}


def large():
    # A table so large that the solver computes partly in float32.
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40_000, 30))
    return X, (X[:, :3] + rng.gumbel(size=(len(X), 3))).argmax(1), {}


TABLES = [iris, two_classes, lasso, digits, sparse, wide]


def test_optimum_of_the_same_rows_moved_far():
    X, y, _ = iris()
    model = SoftmaxRegression(warm_start=True).fit(X, y).fit(X + 100, y)
    # A start from the old coefficients alone had accuracy 0.333.
    assert model.score(X + 100, y) > 0.96
    expected = SoftmaxRegression().fit(X + 100, y)
    assert_allclose(model.coef_, expected.coef_, atol=1e-6)


def check(make, start):
    r"""Assert that a warm start from changed coefficients reaches the optimum."""
    X, y, options = make()
    model = SoftmaxRegression(warm_start=True, **options).fit(X, y)
    best = model.loss_curve_[-1]
    model.coef_ = start(model.coef_)
    model.fit(X, y)
    assert abs(model.loss_curve_[-1] - best) < 1e-8 * max(best, 1e-3)
    assert (np.diff(model.loss_curve_) < 1e-5).all()
    return model


@settings(max_examples=25, deadline=None)
@given(
    make=st.sampled_from(TABLES),
    seed=st.integers(0, 2**32 - 1),
    size=st.floats(-3, 9),
    share=st.sampled_from([0.02, 0.3, 1.0]),
    is_scaled=st.booleans(),
)
def test_the_optimum_from_anywhere(make, seed, size, share, is_scaled):
    rng = np.random.default_rng(seed)

    def start(coef):
        change = 10**size * rng.normal(size=coef.shape)
        change *= rng.random(coef.shape) < share
        return coef * change if is_scaled else coef + change

    check(make, start)


@pytest.mark.parametrize("size", [1.0, 1e3, 1e8, np.nan])
def test_a_large_table_from_anywhere(size):
    check(large, lambda coef: coef + size * np.cos(np.arange(coef.size)).reshape(3, -1))


@pytest.mark.parametrize("make", TABLES)
def test_coefficients_that_are_nan_are_no_start(make):
    check(make, lambda coef: coef * np.nan)


def test_a_start_that_is_a_little_better_than_zero_is_kept():
    # One iteration improves the objective only a little.
    X, y, _ = iris()
    model = SoftmaxRegression(1e3, warm_start=True, max_iter=1)
    losses = []
    with pytest.warns(UserWarning, match="failed to converge"):
        model.fit(X, y)
    for _ in range(3):
        losses.append(model.loss_curve_[-1])
        with pytest.warns(UserWarning, match="failed to converge"):
            model.fit(X, y)
        assert_allclose(model.loss_curve_[0], losses[-1], atol=1e-9)
    assert (np.diff(losses) < 0).all()
