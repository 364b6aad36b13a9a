r"""Objective, gradient and Hessian of several candidates at once."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.optimize import approx_fprime
from scipy.sparse import csr_array
from scipy.special import expit, logsumexp

from sksoftmax._convex.common import Penalty
from sksoftmax._convex.design_matrix import DenseRows, SparseRows
from sksoftmax._convex.newton import minimize
from sksoftmax._convex.objective import SoftmaxProblem

from .problems import RecordingProblem, table


class TestProblem:
    r"""Several candidates at once: two folds, of which the second is weighted."""

    candidates = torch.arange(3)

    def problem(self, fit_intercept=True, sparse=False, l1=0.0):
        rng = np.random.default_rng(0)
        X, y = rng.normal(3, 5, (30, 4)), rng.integers(0, 3, 30)
        X[rng.random(X.shape) < 0.3] = 0
        shares = np.stack([np.ones(30), rng.uniform(0.1, 2, 30)])
        shares = torch.tensor(shares / shares.sum(1, keepdims=True))
        rows = (
            SparseRows(csr_array(X), shares.mean(0), fit_intercept)
            if sparse
            else DenseRows(torch.tensor(X), shares.mean(0), fit_intercept)
        )
        penalties = [Penalty(0, 0.3, l1), Penalty(1, 0.01, l1), Penalty(1, 0.1, l1)]
        problem = SoftmaxProblem(rows, torch.tensor(y), 3, shares, penalties)
        coef = torch.tensor(rng.normal(size=(3, 3, 4 + fit_intercept)))
        return problem, coef, X, y

    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("sparse", [True, False])
    def test_value_equals_that_of_the_original_features(self, fit_intercept, sparse):
        problem, coef, X, y = self.problem(fit_intercept, sparse)
        for precise, accuracy in ((True, 1e-12), (False, 1e-5)):
            values = problem.evaluate(coef, self.candidates, precise).value
            for b, value in enumerate(values):
                weight, bias = problem.rows.restore(coef[b])
                shift = 0 if bias is None else bias.numpy()
                logits = X @ weight.numpy().T + shift
                losses = logsumexp(logits, axis=1) - logits[np.arange(30), y]
                loss = losses @ problem.sample_weight[problem.fold[b]].numpy()
                expected = loss + 0.5 * problem.l2_reg_strength[b] * (weight**2).sum()
                assert value.item() == pytest.approx(expected.item(), rel=accuracy)
                restored = problem.rows.standardize(weight, bias)
                assert_allclose(restored, coef[b], rtol=1e-10)

    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("sparse", [True, False])
    def test_gradient_and_hessian_are_the_derivatives(self, fit_intercept, sparse):
        problem, coef, *_ = self.problem(fit_intercept, sparse)
        iterates = problem.evaluate(coef, self.candidates, True)

        def value(flat):
            moved = torch.tensor(flat).reshape(coef.shape)
            return problem.evaluate(moved, self.candidates, True).value.sum().item()

        numeric = approx_fprime(coef.numpy().ravel(), value, 1e-7)
        assert_allclose(iterates.gradient.numpy().ravel(), numeric, atol=1e-5)
        direction = torch.randn(coef.shape, generator=torch.Generator())
        ahead = problem.evaluate(coef + 1e-6 * direction, self.candidates, True)
        assert_allclose(
            problem.hessian(iterates.proba, self.candidates, direction),
            (ahead.gradient - iterates.gradient) / 1e-6,
            rtol=1e-3,
            atol=1e-4,
        )

    @pytest.mark.parametrize("sparse", [True, False])
    def test_candidates_have_the_solutions_of_separate_problems(self, sparse):
        problem, *_ = self.problem(sparse=sparse)
        together = minimize(
            problem, torch.zeros(3, 3, 5).double(), tol=1e-10, max_iter=50
        )
        for b, solution in enumerate(together):
            penalty = Penalty(
                int(problem.fold[b]), float(problem.l2_reg_strength[b]), 0.0
            )
            alone = SoftmaxProblem(
                problem.rows, problem.y, 3, problem.sample_weight, [penalty]
            )
            [expected] = minimize(
                alone, torch.zeros(1, 3, 5).double(), tol=1e-10, max_iter=50
            )
            assert solution.converged
            assert expected.converged
            assert_allclose(solution.weight, expected.weight, atol=1e-8)
            assert solution.objectives[-1] == pytest.approx(expected.objectives[-1])

    def test_solution_has_convergence_and_objectives(self):
        problem, *_ = self.problem()
        start = torch.zeros(3, 3, 5).double()
        for solution in minimize(problem, start, tol=1e-10, max_iter=50):
            assert solution.converged
            assert solution.gradient_norm <= 1e-10
            assert np.all(np.diff(solution.objectives) <= 1e-12)
        for cut in minimize(problem, start, tol=1e-10, max_iter=1):
            assert not cut.converged
            assert cut.n_iter == 1


class TestSoftening:
    @pytest.fixture
    def problem(self):
        X, y = table(50, 4, 3)
        return RecordingProblem(X, y, 3, l2=[1e-3, 1e-2])

    @pytest.fixture
    def proba(self, problem):
        generator = torch.Generator().manual_seed(0)
        logits = 4 * torch.randn(2, 3, 50, generator=generator)
        return logits.softmax(1)

    def test_only_misclassified_rows_change(self, problem, proba):
        softened = problem.soften(proba, torch.tensor([1.0, 0.0]))
        label_proba = proba[0].gather(0, problem.y[None])[0]
        lost = label_proba < 0.5
        assert 0 < lost.sum() < len(lost)
        assert_allclose(softened.sum(1), 1, rtol=1e-5)
        assert_allclose(softened[1], proba[1], rtol=1e-5)
        assert_allclose(softened[0][:, ~lost], proba[0][:, ~lost], rtol=1e-5)
        changed = softened[0].gather(0, problem.y[None])[0]
        assert (changed > label_proba)[lost].all()
        # The other classes keep their proportions.
        ratio = softened[0] / proba[0]
        ratio.scatter_(0, problem.y[None], torch.nan)
        low, high = ratio.nan_to_num(torch.inf).amin(0), ratio.nan_to_num(0).amax(0)
        assert_allclose(low, high, rtol=1e-4)

    @pytest.mark.parametrize("margin", [0.5, 3.0, 20.0, 60.0])
    def test_step_has_the_length_of_the_quadratic_bound(self, problem, margin):
        logits = torch.zeros(1, 3, 50)
        # Two classes: the third has a probability of zero.
        logits[0, 2] = -200
        other = (problem.y == 0).long()
        logits[0, other, torch.arange(50)] += margin
        two = problem.y < 2
        proba = logits.softmax(1)
        label_proba = problem.soften(proba, torch.ones(1))[0].gather(
            0, problem.y[None]
        )[0]
        gradient = 1 - proba[0].gather(0, problem.y[None])[0]
        step = gradient / (label_proba * (1 - label_proba))
        # To the minimum of Jaakkola and Jordan's bound: twice a large margin.
        expected = 2 * margin * expit(margin) / np.tanh(margin / 2)
        assert_allclose(step[two], expected, rtol=1e-3)

    def test_certain_rows_remain_finite(self, problem):
        proba = torch.zeros(2, 3, 50)
        proba[:, 0] = 1
        softened = problem.soften(proba, torch.ones(2))
        assert softened.isfinite().all()
        assert_allclose(softened.sum(1), 1, rtol=1e-5)
