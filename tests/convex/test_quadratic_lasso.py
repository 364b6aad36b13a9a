r"""The minimum of a quadratic model plus a lasso."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from sksoftmax._convex.quadratic_lasso import minimize_with_lasso, subgradient


@pytest.mark.parametrize("condition", [1e0, 1e6, 1e12])
def test_subgradient_is_zero_at_the_minimum(condition):
    rng = np.random.default_rng(0)
    scale = np.geomspace(1, condition**0.5, 6)
    A = rng.normal(size=(40, 6)) * scale
    hessian, gradient, start = A.T @ A, scale * rng.normal(size=6), rng.normal(size=6)
    # The last coefficient is not penalized, as an intercept.
    lasso = np.array([1e-3, 2.0, 5.0, 2.0, 5.0, 0.0]) * scale
    goal = 1e-8 * scale.max()
    coef = minimize_with_lasso(hessian, gradient, lasso, start, goal)
    slope = gradient + hessian @ (coef - start)
    assert subgradient(coef, slope, lasso).max() <= goal


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(2, 40),
    st.integers(0, 10_000),
    st.sampled_from([1e-3, 0.1, 1.0]),
    st.booleans(),
)
def test_minimum_of_random_models(n_unknowns, n_rows, seed, strength, is_warm):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n_rows, n_unknowns))
    # Equal columns, whose difference has no curvature.
    A[:, n_unknowns // 2] = A[:, 0]
    hessian = A.T @ A / n_rows
    # In the span of the rows: otherwise there is no minimum.
    gradient = A.T @ rng.normal(size=n_rows) / n_rows
    start = rng.normal(size=n_unknowns) * is_warm
    lasso = np.full(n_unknowns, strength)
    goal = 1e-9 * max(np.abs(gradient).max(), 1e-3)
    coef = minimize_with_lasso(hessian, gradient, lasso, start, goal)
    slope = gradient + hessian @ (coef - start)
    assert subgradient(coef, slope, lasso).max() <= goal


def test_strong_penalty_gives_exact_zeros():
    coef = minimize_with_lasso(
        np.eye(3), np.array([0.5, -0.5, 3.0]), np.ones(3), np.zeros(3), 1e-12
    )
    assert_allclose(coef, [0, 0, -2])
    assert not coef[:2].any()
