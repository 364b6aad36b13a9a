r"""Newton steps and proximal Newton steps: accuracy and number of products."""

import numpy as np
import torch
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler

from sksoftmax._convex.newton import minimize
from sksoftmax._convex.preconditioner import Preconditioner
from sksoftmax._convex.steps import newton_steps

from .problems import RecordingProblem, table


def test_candidates_leave_conjugate_gradients_when_accurate():
    X, y = table(3000, 20, 4)
    problem = RecordingProblem(X, y, 4, l2=[1e-6] * 6)
    candidates = torch.arange(6)
    iterates = problem.evaluate(problem.far_out(1), candidates, True)
    inverse = Preconditioner(problem, 6).inverse(iterates.proba, candidates)
    exact = torch.tensor([False, False, True, False, True, False])
    accuracy = torch.where(exact, 1e-4, 0.3).double()
    steps, n_products, _ = newton_steps(problem, iterates, inverse, accuracy)
    made = [width for _, width in problem.products]
    # As accurate as requested, and hardly more.
    left = (
        problem.hessian(iterates.proba, candidates, steps.float()) + iterates.gradient
    )
    left = left.norm(dim=(1, 2)) / iterates.gradient.norm(dim=(1, 2))
    assert (left < 3 * accuracy).all()
    assert (left[~exact] > 1e-3).all()
    assert n_products[exact].min() > 2 * n_products[~exact].max()
    assert_allclose(steps.mean(1), 0, atol=1e-12)
    assert len(made) == n_products.max()
    # Candidates leave when 30% are done, since leaving costs a copy.
    assert int(n_products.sum()) < sum(made) <= 1.2 * int(n_products.sum())
    assert made[0] == 6
    assert made[-1] <= 2


class TestLasso:
    def test_curvature_bound_is_above_and_close_to_the_curvature(self):
        X, y = table(500, 6, 3)
        problem = RecordingProblem(X, y, 3, l2=[1e-3, 0.1], l1=[1e-2, 1e-2])
        candidates = torch.arange(2)
        for distance in (0.0, 0.3, 3.0, 100.0):
            proba = problem.evaluate(problem.far_out(distance), candidates, True).proba
            bound = problem.curvature_bound(proba, candidates)
            assert bound.shape == (2, 1, 7)
            units = torch.eye(3 * 7).view(-1, 3, 7)
            for b in candidates:
                every = b.expand(len(units))
                hessian = problem.hessian(proba[every], every, units).flatten(1)
                diagonal = bound[b].expand(3, 7).flatten()
                above = torch.linalg.eigvalsh(torch.diag(diagonal) - hessian.double())
                assert above[0] > 0
                largest = torch.linalg.eigvalsh(hessian.double())[-1]
                assert bound[b].max() < 2.5 * largest

    def test_certain_rows_do_not_shorten_steps(self):
        # At the minimum, all probabilities are almost 0 or 1: the curvature is 1e-7 of
        # its largest value.
        X, y = table(50, 2, 2)
        share = np.where(y == 0, 1.0, 1e-7)
        problem = RecordingProblem(
            X, y, 2, l2=[1e-6], l1=[1e-3], shares=share[None] / share.sum()
        )
        [solution] = minimize(problem, problem.start(), tol=1e-9, max_iter=50)
        assert solution.converged
        assert solution.n_iter < 30
        assert len(problem.products) < 15 * solution.n_iter

    def test_weak_penalty_takes_some_thousand_products(self):
        X, y = load_digits(return_X_y=True)
        X = StandardScaler().fit_transform(X)
        problem = RecordingProblem(X, y, 10, l2=[0.0], l1=[1e-2 / len(X)])
        [solution] = minimize(problem, problem.start(), tol=1e-5, max_iter=50)
        assert solution.converged
        assert len(problem.products) < 3000

    def test_converged_candidates_take_no_products(self):
        X, y = table(500, 10, 3)
        l1 = [1e-3, 1e-2, 1e-1]
        problem = RecordingProblem(X, y, 3, l2=[1e-3] * 3, l1=l1)
        start = problem.start()
        together = minimize(problem, start, tol=1e-8, max_iter=50)
        alone = 0
        for b, solution in enumerate(together):
            single = RecordingProblem(X, y, 3, l2=[1e-3], l1=l1[b : b + 1])
            [expected] = minimize(single, start[:1], tol=1e-8, max_iter=50)
            assert solution.converged
            assert expected.converged
            assert_allclose(solution.weight, expected.weight, atol=1e-6)
            alone += sum(width for _, width in single.products)
        made = sum(width for _, width in problem.products)
        assert made <= 1.05 * alone
        # Momentum saves most of them.
        assert alone <= 1300
