r"""Newton's method for one candidate: conjugate gradients and stopping criteria."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sksoftmax._convex.common import StoppingCriteria
from sksoftmax._convex.single_newton import conjugate_gradients


def hessian(size):
    A = np.random.default_rng(0).normal(size=(size, size))
    return A @ A.T + np.eye(size)


def solve(H, right, accuracy=1e-10, max_products=100):
    diagonal = H.diagonal()
    return conjugate_gradients(
        lambda direction: H @ direction,
        lambda residual: residual / np.where(diagonal > 0, diagonal, 1.0),
        np.vdot,
        right,
        accuracy,
        max_products,
    )


def test_conjugate_gradients_solve_the_linear_system():
    H, right = hessian(8), np.arange(8.0) + 1
    step, n_products, is_accurate = solve(H, right)
    assert is_accurate
    assert n_products <= 10
    assert_allclose(H @ step, right, rtol=1e-6)


def test_conjugate_gradients_stop_at_the_accuracy():
    H, right = hessian(30), np.ones(30)
    step, n_products, is_accurate = solve(H, right, accuracy=0.1)
    assert is_accurate
    assert n_products < solve(H, right)[1]
    residual = right - H @ step
    norm = np.sqrt(residual @ (residual / H.diagonal()))
    assert norm <= 0.1 * np.sqrt(right @ (right / H.diagonal()))


def test_conjugate_gradients_stop_at_max_products():
    _, n_products, is_accurate = solve(hessian(30), np.ones(30), max_products=3)
    assert n_products == 3
    assert not is_accurate


def test_step_without_curvature_is_the_preconditioned_residual():
    step, n_products, is_accurate = solve(np.zeros((3, 3)), np.array([1.0, -2.0, 0.5]))
    assert not is_accurate
    assert n_products == 1
    assert_allclose(step, [1.0, -2.0, 0.5])


@pytest.mark.parametrize(
    ("objective", "is_penalized", "expected"),
    [
        pytest.param(0.5, True, 1e-8, id="usual objective"),
        pytest.param(1e-5, True, 1e-10, id="small objective"),
        pytest.param(1e-5, False, 1e-8, id="no penalty"),
        pytest.param(0.0, True, 1e-14, id="zero objective"),
        pytest.param(np.nan, True, 1e-8, id="NaN"),
    ],
)
def test_tolerance_is_smaller_for_small_penalized_objectives(
    objective, is_penalized, expected
):
    criteria = StoppingCriteria(tol=1e-8, max_iter=10)
    tolerance = criteria.gradient_tolerance(objective, is_penalized)
    assert tolerance == pytest.approx(expected)
