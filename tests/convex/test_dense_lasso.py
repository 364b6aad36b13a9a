r"""The minimum of a quadratic model plus a lasso."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sksoftmax._convex.dense_lasso import minimize_with_lasso, softmax_hessian

from .problems import RecordingProblem, table


def smallest_subgradient(hessian, gradient, lasso, start, coef):
    slope = gradient + hessian @ (coef - start)
    at_zero = np.maximum(np.abs(slope) - lasso, 0)
    return np.where(coef == 0, at_zero, slope + lasso * np.sign(coef))


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
    left = smallest_subgradient(hessian, gradient, lasso, start, coef)
    assert np.abs(left).max() <= goal


def test_strong_penalty_gives_exact_zeros():
    coef = minimize_with_lasso(
        np.eye(3), np.array([0.5, -0.5, 3.0]), np.ones(3), np.zeros(3), 1e-12
    )
    assert_allclose(coef, [0, 0, -2])
    assert not coef[:2].any()


def test_hessian_is_that_of_the_problem():
    problem = RecordingProblem(*table(50, 3, 3), 3, l2=[0.1])
    candidate = torch.zeros(1, dtype=torch.int64)
    proba = problem.evaluate(problem.far_out(0.5), candidate, True).proba
    [block] = problem.rows.blocks(1, precise=True)
    hessian = softmax_hessian(
        block.Z.numpy(),
        problem.sample_weight[0].numpy(),
        proba[0].double().numpy(),
        problem.ridge[0].numpy(),
    )
    direction = torch.ones(1, 3, 4)
    direction[0, 1] = -1
    expected = problem.hessian(proba, candidate, direction)
    assert_allclose(
        hessian @ direction.flatten().numpy(), expected.flatten(), atol=1e-5
    )
