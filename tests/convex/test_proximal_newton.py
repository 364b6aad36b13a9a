r"""Softmax regression with a lasso on NumPy: minima, work, and hard problems."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.sparse import csr_array

from sksoftmax._convex.common import StoppingCriteria
from sksoftmax._convex.dense_newton import DenseNewton
from sksoftmax._convex.newton import minimize, minimize_together
from sksoftmax._convex.proximal_newton import ProximalNewton

from .problems import RecordingProblem, table

CRITERIA = StoppingCriteria(1e-9, 200)


def solver(X, y, n_classes, l2, l1):
    columns = np.vstack([X.T, np.ones(len(X))])
    newton = ProximalNewton(columns, y, np.full(len(X), 1 / len(X)), n_classes)
    penalized = np.append(np.ones(X.shape[1]), 0.0)
    newton.set_penalty(l2 * penalized, l1 * penalized)
    return newton


def numerical_gradient(function, coef, step=1e-6):
    gradient = np.zeros_like(coef)
    for index in np.ndindex(coef.shape):
        shift = np.zeros_like(coef)
        shift[index] = step
        gradient[index] = (function(coef + shift) - function(coef - shift)) / 2 / step
    return gradient


def test_gradient_and_hessian_are_derivatives_of_the_loss():
    X, y = table(50, 3, 3)
    newton = solver(X, y, 3, 0.1, 0.0)
    coef = np.random.default_rng(0).normal(size=(3, 4))
    iterate = newton.evaluate(coef)
    expected = numerical_gradient(lambda c: newton.evaluate(c).value, coef)
    assert_allclose(iterate.gradient, expected, atol=1e-7)
    # Directions without a shift of all classes, which gets some curvature.
    direction = np.random.default_rng(1).normal(size=(3, 4))
    direction -= direction.mean(0)
    hessian = newton.hessian(iterate.proba, np.arange(12))
    change = newton.evaluate(coef + 1e-6 * direction).gradient - iterate.gradient
    assert_allclose(hessian @ direction.ravel(), change.ravel() / 1e-6, atol=1e-4)
    part = newton.hessian(iterate.proba, np.array([0, 3, 4, 9]))
    assert_allclose(part, hessian[np.ix_([0, 3, 4, 9], [0, 3, 4, 9])], atol=1e-6)


def test_curvature_of_certain_rows_has_all_digits():
    X = np.array([[1.0], [-1.0]])
    newton = solver(X, np.array([0, 1]), 2, 0.0, 1e-20)
    coef = np.array([[20.0, 0.0], [-20.0, 0.0]])
    hessian = newton.hessian(newton.evaluate(coef).proba, np.array([0]))
    # p (1 - p) with 1 - p = exp(-40) = 4e-18, where 1 - p rounds to zero.
    assert hessian[0, 0] == pytest.approx(np.exp(-40.0), rel=1e-6)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(6, 80),
    st.integers(1, 12),
    st.integers(2, 5),
    st.integers(0, 10_000),
    st.floats(-6, 0),
    st.sampled_from([0.1, 0.5, 1.0]),
    st.sampled_from(["plain", "copies", "units", "separable"]),
)
def test_minimum_of_random_problems(
    n_samples, n_features, n_classes, seed, log_strength, l1_ratio, kind
):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features))
    y = rng.integers(0, n_classes, n_samples)
    if kind == "copies":
        X[:, -1] = X[:, 0]
    if kind == "units":
        X *= 10.0 ** rng.integers(-6, 7, n_features)
    if kind == "separable":
        X[:, 0] = y + 0.01 * X[:, 0]
    strength = 10**log_strength
    problem = RecordingProblem(
        X, y, n_classes, l2=[(1 - l1_ratio) * strength], l1=[l1_ratio * strength]
    )
    [solution] = minimize(problem, problem.start(), tol=1e-9, max_iter=200)
    assert solution.converged
    assert not problem.evaluations
    # Accelerated proximal gradients, which take no Hessian, find nothing better.
    [other] = minimize_together(problem, problem.start(), StoppingCriteria(1e-7, 30))
    best = other.objectives[-1]
    assert solution.objectives[-1] <= best * (1 + 1e-8) + 1e-12


@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
@pytest.mark.parametrize("strength", [1e-2, 1e-5, 1e-8])
def test_sparse_rows_have_the_same_minimum(l1_ratio, strength):
    X, y = table(300, 8, 3)
    X[np.abs(X) < 3] = 0.0
    dense = solver(X, y, 3, (1 - l1_ratio) * strength, l1_ratio * strength)
    sparse = ProximalNewton(csr_array(dense.Z), y, dense.sample_weight, 3)
    sparse.set_penalty(dense.ridge, dense.lasso)
    found, expected = (
        newton.solve([newton.zeros], CRITERIA) for newton in (sparse, dense)
    )
    assert found.converged
    assert found.objectives[-1] == pytest.approx(expected.objectives[-1], rel=1e-12)
    assert_allclose(found.coef, expected.coef, atol=1e-6)


def test_wide_table_needs_few_columns_of_the_hessian():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 5000))
    y = (X[:, :3].sum(1) > 0).astype(np.int64)
    newton = solver(X, y, 2, 0.0, 0.02)
    sizes = []

    def hessian(proba, index):
        sizes.append(len(index))
        return ProximalNewton.hessian(newton, proba, index)

    newton.hessian = hessian
    minimum = newton.solve([newton.zeros], CRITERIA)
    assert minimum.converged
    assert max(sizes) <= 250
    assert len(sizes) <= 12


def test_many_rows_take_few_hessians(monkeypatch):
    # A weak lasso starts at the minimum with a ridge.
    calls = Counter()

    def count(holder, name):
        original = getattr(holder, name)

        def counted(*arguments):
            calls[name] += 1
            return original(*arguments)

        monkeypatch.setattr(holder, name, counted)

    count(ProximalNewton, "hessian")
    count(DenseNewton, "solve")
    X, y = table(4000, 10, 4)
    problem = RecordingProblem(X, y, 4, l2=[0.0], l1=[1e-6])
    [solution] = minimize(problem, problem.start(), tol=1e-9, max_iter=100)
    assert solution.converged
    assert calls == {"hessian": 1, "solve": 1}
    calls.clear()
    # A strong one does not.
    problem = RecordingProblem(X, y, 4, l2=[0.0], l1=[0.05])
    [solution] = minimize(problem, problem.start(), tol=1e-9, max_iter=100)
    assert solution.converged
    assert not calls["solve"]


def test_start_without_curvature_is_left():
    X, y = table(200, 3, 3)
    newton = solver(X, y, 3, 1e-4, 1e-4)
    expected = newton.solve([newton.zeros], CRITERIA)
    start = np.random.default_rng(0).normal(size=(3, 4)) * 1e3
    newton.set_penalty(newton.ridge, newton.lasso)
    minimum = newton.solve([start], CRITERIA)
    assert minimum.converged
    assert minimum.objectives[-1] == pytest.approx(expected.objectives[-1], rel=1e-9)
