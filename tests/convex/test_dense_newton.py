r"""Work of the Newton solver on NumPy: evaluations, Hessians and products."""

from collections import Counter

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler

from sksoftmax import SoftmaxRegression
from sksoftmax._convex.dense_newton import ClassBlocks, DenseNewton
from sksoftmax._convex.newton import minimize

from .problems import RecordingProblem, table


class TestSmall:
    @pytest.fixture
    def calls(self, monkeypatch):
        r"""Return the number of calls of each method of the solver."""
        calls = Counter()

        def count(holder, name):
            original = getattr(holder, name)

            def counted(*arguments):
                calls[name.strip("_")] += 1
                return original(*arguments)

            monkeypatch.setattr(holder, name, counted)

        count(DenseNewton, "evaluate")
        count(DenseNewton, "hessian")
        count(DenseNewton, "class_blocks")
        count(ClassBlocks, "solve")
        return calls

    def test_tiny_problem_takes_exact_steps(self, calls):
        X, y = table(150, 4, 3)
        problem = RecordingProblem(X, y, 3, l2=[1e-2])
        [solution] = minimize(problem, problem.start(), tol=1e-10, max_iter=50)
        assert solution.converged
        assert not problem.evaluations
        # Quadratic convergence: every step doubles the digits.
        assert calls["hessian"] == solution.n_iter <= 6
        assert calls["evaluate"] == solution.n_iter + 1
        assert not calls["solve"]

    def test_digits_take_few_products(self, calls):
        X, y = load_digits(return_X_y=True)
        X = StandardScaler().fit_transform(X)
        problem = RecordingProblem(X, y, 10, l2=[1 / len(X)])
        [solution] = minimize(problem, problem.start(), tol=1e-8, max_iter=50)
        assert solution.converged
        assert not problem.evaluations
        assert not calls["hessian"]
        assert calls["evaluate"] <= solution.n_iter + 2
        assert solution.n_iter <= 9
        # Blocks are inverted again only if a step takes many products.
        assert 1 < calls["class_blocks"] < solution.n_iter / 2
        n_products = calls["solve"] - solution.n_iter
        assert n_products <= 12 * solution.n_iter
        calls.clear()
        # A weak penalty takes more steps and products.
        problem = RecordingProblem(X, y, 10, l2=[1e-6])
        [solution] = minimize(problem, problem.start(), tol=1e-8, max_iter=50)
        assert solution.converged
        assert not calls["hessian"]
        assert solution.n_iter <= 20
        assert 1 < calls["class_blocks"] <= solution.n_iter * 2 / 3
        assert calls["solve"] - solution.n_iter <= 14 * solution.n_iter

    @pytest.mark.parametrize(
        "shape",
        [
            pytest.param((4100, 255, 9), id="numbers"),
            pytest.param((2**15, 31, 9), id="numbers times classes"),
        ],
    )
    def test_large_problem_is_solved_on_tensors(self, calls, shape):
        n_samples, n_features, n_classes = shape
        rng = np.random.default_rng(0)
        X = rng.normal(size=(n_samples, n_features))
        y = rng.integers(0, n_classes, n_samples)
        problem = RecordingProblem(X, y, n_classes, l2=[1e-2])
        minimize(problem, problem.start(), tol=1e-3, max_iter=2)
        assert problem.evaluations
        assert not calls


class TestHardProblems:
    def solve(self, X, y, C, max_iter=100):
        n_classes = y.max() + 1
        problem = RecordingProblem(X, y, n_classes, l2=[1 / C / len(y)])
        [solution] = minimize(problem, problem.start(), tol=1e-8, max_iter=max_iter)
        assert not problem.evaluations
        return solution

    @pytest.mark.parametrize("C", [1e-8, 1.0, 1e6])
    def test_units_do_not_matter_under_any_penalty(self, C):
        X, y = table(200, 6, 3)
        units = np.logspace(-6, 6, 6)
        # Their penalties differ by 24 orders of magnitude.
        solution = self.solve(X * units, y, C)
        assert solution.converged
        assert solution.n_iter <= 15

    def test_small_gradient_is_no_minimum_under_a_weak_penalty(self):
        X, y = table(60, 20, 2)
        y = (X[:, 0] > 0) * 1
        objectives = self.solve(X, y, 1e10).objectives
        # The classes are separable: the gradient is below 1e-8 long before.
        assert objectives[-1] < 1e-9
        assert objectives[-2] - objectives[-1] < 1e-13

    def test_small_gradient_of_an_intercept_is_no_minimum(self):
        X, y = (
            np.array([[0], [25.8], [0], [0], [0], [0], [25.8]]),
            [1, 6, 3, 4, 0, 2, 5],
        )
        weight = np.array([1.5e-4, 4.2e-4, 0.242, 0.755, 2.6e-3, 6.7e-5, 6.2e-6]) * 3338
        # Two classes are less probable after each step in the rows of the others, as
        # long as their coefficient, which a weak penalty lets grow, does not matter.
        model, exact = SoftmaxRegression(1.7e6), SoftmaxRegression(1.7e6, tol=1e-12)
        found = model.fit(X, y, weight).loss_curve_[-1]
        least = exact.fit(X, y, weight).loss_curve_[-1]
        assert found == pytest.approx(least, rel=1e-8)

    @pytest.mark.parametrize("shape", [(100, 10, 3), (450, 40, 12)])
    def test_differences_of_collinear_columns_count_without_a_penalty(self, shape):
        X, y = table(*shape)
        rng = np.random.default_rng(0)
        difference = rng.normal(size=len(X))
        y = np.where(rng.random(len(y)) < 0.3, difference > 0, y).astype(int)
        collinear = np.column_stack([X, X[:, 0] + 1e-7 * difference])
        found = self.solve(collinear, y, np.inf)
        expected = self.solve(np.column_stack([X, difference]), y, np.inf)
        assert found.converged
        assert found.objectives[-1] == pytest.approx(expected.objectives[-1], rel=1e-6)

    def test_the_last_factor_serves_several_steps(self, monkeypatch):
        X, y = table(100, 60, 17)
        n_hessians, original = Counter(), DenseNewton.hessian

        def counted(newton, proba):
            n_hessians["all"] += 1
            return original(newton, proba)

        monkeypatch.setattr(DenseNewton, "hessian", counted)
        solution = self.solve(X * np.logspace(-3, 3, 60), y, 1e8)
        assert solution.converged
        assert 0 < n_hessians["all"] < solution.n_iter / 2
