r"""Work of the batched Newton solver: evaluations, products and steps.

Convergence is tested with the estimators. A change that only costs time fails here.
"""

from collections import Counter

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.preprocessing import StandardScaler

from sksoftmax._convex.common import StoppingCriteria
from sksoftmax._convex.newton import minimize, minimize_together

from .problems import RecordingProblem, table

N_SAMPLES = 40_000


@pytest.fixture(scope="module")
def large():
    r"""Return a table beyond the size at which float64 throughout costs little."""
    return table(N_SAMPLES, 30, 5)


class TestLarge:
    def test_most_steps_use_float32_and_a_quarter_of_the_rows(self, large):
        problem = RecordingProblem(*large, 5, l2=[1e-3])
        [solution] = minimize(problem, problem.start(), tol=1e-8, max_iter=50)
        assert solution.converged
        assert solution.gradient_norm <= 1e-8
        count = Counter((n, precise) for n, precise, _ in problem.evaluations)
        # A quarter of the rows is small enough for float64 throughout.
        assert count.keys() == {
            (N_SAMPLES // 4, True),
            (N_SAMPLES, False),
            (N_SAMPLES, True),
        }
        # One at the result of float32, and one for each step after it.
        assert count[N_SAMPLES, True] <= 3
        assert count[N_SAMPLES, False] <= 5
        assert count[N_SAMPLES // 4, True] <= 8
        assert solution.n_iter == len(solution.objectives) - 1
        products = Counter(n for n, _ in problem.products)
        assert products[N_SAMPLES] <= 18
        assert products[N_SAMPLES // 4] <= 10

    def test_large_tolerance_uses_float32_alone(self, large):
        problem = RecordingProblem(*large, 5, l2=[1e-3])
        [solution] = minimize(problem, problem.start(), tol=1e-4, max_iter=50)
        assert solution.converged
        assert solution.gradient_norm <= 1e-4
        full = [precise for n, precise, _ in problem.evaluations if n == N_SAMPLES]
        assert not any(full)
        assert len(full) <= 4

    def test_given_start_skips_the_coarse_problem(self, large):
        problem = RecordingProblem(*large, 5, l2=[1e-3])
        [solution] = minimize(problem, problem.start(), tol=1e-8, max_iter=50)
        again = RecordingProblem(*large, 5, l2=[1e-3])
        coef = again.rows.standardize(solution.weight, solution.bias)[None]
        [same] = minimize(again, coef, tol=1e-8, max_iter=50)
        assert same.converged
        assert_allclose(same.weight, solution.weight, atol=1e-9)
        assert {n for n, *_ in again.evaluations} == {N_SAMPLES}
        assert len(again.evaluations) == 2
        assert not again.products

    def test_weak_penalty_takes_few_products_per_step(self, large):
        # The preconditioner was rebuilt after the first steps.
        problem = RecordingProblem(*large, 5, l2=[1e-9])
        [solution] = minimize(problem, problem.start(), tol=1e-10, max_iter=50)
        assert solution.converged
        assert sum(n == N_SAMPLES for n, _ in problem.products) <= 28

    def test_coarse_problem_shows_that_a_matrix_is_needed(self):
        # Skewed features: the curvature differs between rows.
        X, y = table(N_SAMPLES, 30, 20)
        problem = RecordingProblem(np.exp(X / 3), y, 20, l2=[1e-3])
        [solution] = minimize(problem, problem.start(), tol=1e-8, max_iter=50)
        assert solution.converged
        # 86 if the matrix were inverted after the first step on all rows.
        assert sum(n == N_SAMPLES for n, _ in problem.products) <= 75

    def test_rare_features_take_few_steps(self):
        # Standardized, as pixels at the border of an image: rows with one of them are
        # misclassified with certainty, where the loss has no curvature.
        rng = np.random.default_rng(0)
        X, y = table(10_000, 20, 5)
        rare = np.zeros((len(X), 100))
        for column in rare.T:
            column[rng.choice(len(X), 3, replace=False)] = rng.integers(1, 255, size=3)
        X = StandardScaler().fit_transform(np.hstack([X, rare]))
        problem = RecordingProblem(X, y, 5, l2=[1 / len(X)])
        [solution] = minimize(problem, problem.start(), tol=1e-8, max_iter=100)
        assert solution.converged
        # 30 without softening.
        assert solution.n_iter <= 22


def together(problem, start):
    return minimize_together(problem, start, StoppingCriteria(1e-9, 100))


class TestManyCandidates:
    l2 = (3e-5, 1e-4, 3e-4, 1e-3, 1e-2, 1e-1)

    def folds(self):
        r"""Return a problem of three folds, each with every penalty."""
        X, y = table(3000, 20, 4)
        held_out = np.arange(len(X)) % 3 == np.arange(3)[:, None]
        shares = (~held_out).astype(float)
        shares /= shares.sum(1, keepdims=True)
        fold = np.repeat(range(3), len(self.l2))
        return RecordingProblem(X, y, 4, l2=self.l2 * 3, shares=shares, fold=fold)

    def penalties(self):
        r"""Return a problem whose candidates take different numbers of steps."""
        X, y = table(3000, 20, 4)
        return RecordingProblem(X, y, 4, l2=[1e-6, 1e-4, 1e-2, 1.0, 10.0, 100.0])

    def test_converged_candidates_are_not_evaluated(self):
        problem = self.penalties()
        solutions = together(problem, problem.start())
        assert all(solution.converged for solution in solutions)
        n_iter = [len(solution.objectives) - 1 for solution in solutions]
        assert min(n_iter) < max(n_iter)
        widths = [width for *_, width in problem.evaluations]
        assert widths[0] == len(solutions)
        # Once at the start, and once for each step.
        assert sum(widths) == len(solutions) + sum(n_iter)

    def test_folds_start_from_the_pooled_solution(self):
        problem = self.folds()
        solutions = together(problem, problem.start())
        # All penalties on the rows of all folds, then every fold with every penalty.
        assert {width for *_, width in problem.evaluations} == {6, 18}
        assert max(len(solution.objectives) for solution in solutions) <= 5

    def test_pooled_problem_starts_with_a_quarter_of_the_rows(self, large):
        X, y = large
        shares = np.ones((2, N_SAMPLES))
        shares[[0, 1], [0, 1]] = 0
        shares /= shares.sum(1, keepdims=True)
        fold = np.repeat(range(2), 3)
        problem = RecordingProblem(
            X, y, 5, l2=[1e-3, 1e-2, 1e-1] * 2, shares=shares, fold=fold
        )
        minimize(problem, problem.start(), tol=1e-6, max_iter=50)
        first = {}
        for n_rows, _, width in problem.evaluations:
            first[n_rows] = first.get(n_rows, width)
        # A quarter of the rows of all folds for each penalty, then all rows.
        assert first == {N_SAMPLES // 4: 3, N_SAMPLES: 3}
        assert problem.evaluations[0][0] == N_SAMPLES // 4
        assert max(width for *_, width in problem.evaluations) == 6


class Observer:
    def __init__(self, max_steps):
        self.n_begun, self.objectives, self.max_steps = 0, [], max_steps

    def begin_step(self):
        self.n_begun += 1

    def end_step(self, objective, coef):
        self.objectives.append(objective)
        return len(self.objectives) == self.max_steps


class TestSteps:
    def test_steps_that_are_too_long_are_halved(self):
        # Far from the minimum, the quadratic model is wrong, and steps are halved.
        X, y = table(600, 5, 3)
        problem = RecordingProblem(X, y, 3, l2=[1e-4, 1e-2])
        solutions = together(problem, problem.far_out(20))
        from_zero = together(problem, problem.start())
        n_steps = sum(len(solution.objectives) - 1 for solution in solutions)
        assert sum(width for *_, width in problem.evaluations) > n_steps
        for solution, expected in zip(solutions, from_zero, strict=True):
            assert solution.converged
            assert (np.diff(solution.objectives) <= 1e-12).all()
            assert_allclose(solution.coef, expected.coef, atol=1e-6)

    def test_steps_without_curvature_follow_the_gradient(self):
        # Every probability is 0 or 1 in float32, and half of the rows are wrong.
        X, y = table(600, 3, 2)
        problem = RecordingProblem(X, y, 2, l2=[0.0, 0.0])
        for solution in minimize(problem, problem.far_out(1e6), tol=1e-9, max_iter=3):
            assert len(solution.objectives) > 1
            assert solution.objectives[-1] < solution.objectives[0]
            assert torch.isfinite(solution.weight).all()

    def test_at_most_max_iter_steps(self):
        X, y = table(600, 5, 3)
        for l2 in ([1e-4], [1e-4, 1e-2]):
            problem = RecordingProblem(X, y, 3, l2=l2)
            for solution in minimize(problem, problem.start(), tol=1e-9, max_iter=2):
                assert not solution.converged
                assert solution.n_iter == len(solution.objectives) - 1 == 2
            for solution in minimize(problem, problem.start(), tol=1e-9, max_iter=0):
                assert not solution.weight.any()
                assert solution.n_iter == 1

    def test_observer_is_called_at_every_step_and_may_stop(self):
        X, y = table(600, 5, 3)

        for l2 in ([1e-4], [1e-4, 1e-2]):
            problem = RecordingProblem(X, y, 3, l2=l2)
            for max_steps in (2, 100):
                observer = Observer(max_steps)
                solutions = minimize(
                    problem, problem.start(), tol=1e-9, max_iter=50, observer=observer
                )
                # One after another, each ends with its own objective.
                n_steps = sum(len(solution.objectives) - 1 for solution in solutions)
                assert observer.n_begun == len(observer.objectives) == n_steps
                assert all(s.converged for s in solutions) == (max_steps == 100)
                last = [s.objectives[-1] for s in solutions if len(s.objectives) > 1]
                assert observer.objectives[-1] in last

    def test_observer_of_candidates_that_are_solved_together(self):
        X, y = table(600, 5, 3)
        problem = RecordingProblem(X, y, 3, l2=[1e-4, 1e-2])
        for max_steps in (2, 100):
            observer = Observer(max_steps)
            criteria = StoppingCriteria(1e-9, 50, observer=observer)
            minima = minimize_together(problem, problem.start(), criteria)
            n_steps = max(len(minimum.objectives) - 1 for minimum in minima)
            assert observer.n_begun == len(observer.objectives) == n_steps
            assert all(minimum.converged for minimum in minima) == (max_steps == 100)
            mean = np.mean([minimum.objectives[-1] for minimum in minima])
            assert observer.objectives[-1] == pytest.approx(mean)
