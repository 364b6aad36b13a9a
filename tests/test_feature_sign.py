r"""Quadratic models with a lasso: at the minimum, no subgradient leads down."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from sksoftmax._feature_sign import minimize_with_lasso


def stationarity(hessian, gradient, lasso, origin, x):
    slope = gradient + hessian @ (x - origin)
    at_zero = np.maximum(np.abs(slope) - lasso, 0)
    return np.where(x == 0, at_zero, np.abs(slope + lasso * np.sign(x))).max()


@given(
    n=st.integers(1, 30),
    n_rows=st.integers(1, 40),
    strength=st.sampled_from([1e-6, 0.01, 0.3, 2.0]),
    share_free=st.sampled_from([0.0, 0.2]),
    starts_at_zero=st.booleans(),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=150, deadline=None)
def test_no_subgradient_leads_down(
    n, n_rows, strength, share_free, starts_at_zero, seed
):
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(n_rows, n)) * 10 ** generator.uniform(-2, 2, n)
    hessian = rows.T @ rows / n_rows
    origin = np.zeros(n) if starts_at_zero else generator.normal(size=n)
    # There is a minimum: the gradient is a combination of the rows.
    gradient = rows.T @ generator.normal(size=n_rows) / n_rows
    lasso = np.where(generator.random(n) < share_free, 0.0, strength)
    tol = 1e-6 * max(np.abs(gradient).max(), hessian.max())
    x = minimize_with_lasso(hessian, gradient, lasso, origin, tol)
    assert stationarity(hessian, gradient, lasso, origin, x) <= tol


def test_without_a_lasso_it_is_newtons_step():
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(30, 8))
    hessian, gradient = rows.T @ rows, generator.normal(size=8)
    x = minimize_with_lasso(hessian, gradient, np.zeros(8), np.ones(8), 1e-9)
    assert_allclose(x, 1 - np.linalg.solve(hessian, gradient), rtol=1e-6)


@pytest.mark.parametrize("slope", [-3.0, 0.5, 3.0])
def test_one_unknown_is_thresholded(slope):
    x = minimize_with_lasso(
        np.array([[2.0]]), np.array([slope]), np.ones(1), np.zeros(1), 1e-12
    )
    expected = -np.sign(slope) * max(abs(slope) - 1, 0) / 2
    assert_allclose(x, [expected], rtol=1e-8)
    assert (x == 0).all() == (expected == 0)
