r"""Candidates solved one after another along the path of penalties."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sksoftmax._convex.common import StoppingCriteria
from sksoftmax._convex.newton import minimize, minimize_along_path, minimize_together

from .problems import RecordingProblem, table

STRENGTHS = np.logspace(0, -6, 7)


def folds(l1_ratio=0.0, strengths=STRENGTHS):
    r"""Return three folds with every penalty, in an order that is not a path's."""
    X, y = table(600, 8, 3)
    shares = (np.arange(len(X)) % 3 != np.arange(3)[:, None]).astype(float)
    shares /= shares.sum(1, keepdims=True)
    rng = np.random.default_rng(0)
    order = rng.permutation(3 * len(strengths))
    fold = np.repeat(range(3), len(strengths))[order]
    strength = np.tile(strengths, 3)[order]
    return RecordingProblem(
        X,
        y,
        3,
        l2=(1 - l1_ratio) * strength,
        l1=l1_ratio * strength,
        shares=shares,
        fold=fold.tolist(),
    )


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
def test_minima_are_those_of_single_candidates(l1_ratio):
    problem = folds(l1_ratio, STRENGTHS[:3])
    minima = minimize_along_path(problem, problem.start(), StoppingCriteria(1e-9, 100))
    together = minimize_together(problem, problem.start(), StoppingCriteria(1e-9, 100))
    for minimum, expected in zip(minima, together, strict=True):
        assert minimum.converged
        assert minimum.objectives[-1] == pytest.approx(expected.objectives[-1], 1e-9)


def test_path_takes_fewer_steps_than_single_candidates():
    problem = folds()
    criteria = StoppingCriteria(1e-8, 100, checks_decrement=False)
    minima = minimize_along_path(problem, problem.start(), criteria)
    n_steps = sum(len(minimum.objectives) - 1 for minimum in minima)
    X, y = table(600, 8, 3)
    alone = 0
    for l2 in STRENGTHS:
        single = RecordingProblem(X, y, 3, l2=[l2])
        [minimum] = minimize_along_path(single, single.start(), criteria)
        alone += 3 * (len(minimum.objectives) - 1)
    assert n_steps < 0.75 * alone


def test_given_starts_are_taken_where_they_are_better():
    problem = folds()
    minima = minimize_along_path(problem, problem.start(), StoppingCriteria(1e-8, 100))
    start = torch.stack([minimum.coef for minimum in minima])
    again = minimize_along_path(problem, start, StoppingCriteria(1e-8, 100))
    assert all(len(minimum.objectives) <= 2 for minimum in again)
    for minimum, same in zip(minima, again, strict=True):
        assert_allclose(minimum.coef, same.coef, atol=1e-6)


def test_candidates_without_a_penalty_come_last():
    X, y = table(600, 4, 3)
    problem = RecordingProblem(X, y, 3, l2=[0.0, 1e-3, 0.0])
    solutions = minimize(problem, problem.start(), tol=1e-8, max_iter=100)
    assert all(solution.converged for solution in solutions)
    assert_allclose(solutions[0].weight, solutions[2].weight, atol=1e-6)
    assert solutions[0].objectives[-1] < solutions[1].objectives[-1]


def test_observer_that_stops_ends_all_candidates():
    class Observer:
        n_steps = 0

        def begin_step(self):
            self.n_steps += 1

        def end_step(self, objective, coef):
            return self.n_steps == 3

    problem, observer = folds(), Observer()
    criteria = StoppingCriteria(1e-8, 100, observer=observer)
    minima = minimize_along_path(problem, problem.start(), criteria)
    assert observer.n_steps == 3
    assert not all(minimum.converged for minimum in minima)
    assert all(torch.isfinite(minimum.coef).all() for minimum in minima)
