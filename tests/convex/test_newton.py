r"""What the full-batch solvers spend: passes over rows, products, and who makes them.

That they arrive is tested in test_linear.py. These tests hold what makes them fast: a
change of a constant or a comparison that only costs time fails here.
"""

from collections import Counter

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.special import expit
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler

from sksoftmax._convex.common import Penalty
from sksoftmax._convex.dense_newton import DenseNewton
from sksoftmax._convex.design_matrix import DenseRows
from sksoftmax._convex.newton import minimize
from sksoftmax._convex.objective import SoftmaxProblem
from sksoftmax._convex.preconditioner import Preconditioner
from sksoftmax._convex.steps import newton_steps


class Work(SoftmaxProblem):
    r"""A problem that notes what is asked of it.

    The parts and poolings that a solver derives from it are copies, which note into the
    same lists.
    """

    def __init__(self, X, y, n_classes, *, l2, l1=(0.0,), shares=None, fold=None):
        n_samples = len(X)
        if shares is None:
            shares = np.full((1, n_samples), 1 / n_samples)
        shares = torch.as_tensor(shares, dtype=torch.float64)
        fold = [0] * len(l2) if fold is None else fold
        l1 = np.broadcast_to(l1, len(l2))
        penalties = [Penalty(*numbers) for numbers in zip(fold, l2, l1, strict=True)]
        rows = DenseRows(torch.from_numpy(X), shares.mean(0), True)
        super().__init__(rows, torch.from_numpy(y), n_classes, shares, penalties)
        self.evaluations, self.products = [], []

    def evaluate(self, theta, which, precise):
        self.evaluations.append((self.rows.n_samples, precise, len(which)))
        return super().evaluate(theta, which, precise)

    def hessian(self, proba, which, directions):
        self.products.append((self.rows.n_samples, len(directions)))
        return super().hessian(proba, which, directions)

    def start(self):
        return torch.zeros(
            len(self.fold), self.n_classes, self.rows.n_columns, dtype=torch.float64
        )

    def far_out(self, distance):
        generator = torch.Generator().manual_seed(0)
        return distance * torch.randn(self.start().shape, generator=generator).double()


def table(n_samples, n_features, n_classes):
    r"""Return rows of correlated features, and labels that follow from them in part."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, n_features)) @ rng.normal(
        size=(n_features, n_features)
    )
    logits = X @ rng.normal(size=(n_features, n_classes)) / n_features
    return X, (logits + rng.gumbel(size=logits.shape)).argmax(1)


N_SAMPLES = 40_000


@pytest.fixture(scope="module")
def large():
    r"""Return a table beyond the size at which float64 throughout costs little."""
    return table(N_SAMPLES, 30, 5)


class TestLarge:
    def test_most_of_the_way_is_in_float32_and_on_a_quarter_of_the_rows(self, large):
        problem = Work(*large, 5, l2=[1e-3])
        [solution] = minimize(problem, problem.start(), tol=1e-8, max_iter=50)
        assert solution.converged
        assert solution.gradient_norm <= 1e-8
        count = Counter((n, precise) for n, precise, _ in problem.evaluations)
        # A quarter of them is few enough for float64 throughout.
        assert count.keys() == {
            (N_SAMPLES // 4, True),
            (N_SAMPLES, False),
            (N_SAMPLES, True),
        }
        # One to see that float32's end is not the end, one for each step from there.
        assert count[N_SAMPLES, True] <= 3
        assert count[N_SAMPLES, False] <= 5
        assert count[N_SAMPLES // 4, True] <= 8
        assert solution.n_iter == len(solution.objectives) - 1
        products = Counter(n for n, _ in problem.products)
        assert products[N_SAMPLES] <= 18
        assert products[N_SAMPLES // 4] <= 10

    def test_a_tolerance_within_float32_needs_no_float64(self, large):
        problem = Work(*large, 5, l2=[1e-3])
        [solution] = minimize(problem, problem.start(), tol=1e-4, max_iter=50)
        assert solution.converged
        assert solution.gradient_norm <= 1e-4
        full = [precise for n, precise, _ in problem.evaluations if n == N_SAMPLES]
        assert not any(full)
        assert len(full) <= 4

    def test_a_start_that_is_given_is_not_left_for_a_part_of_the_rows(self, large):
        problem = Work(*large, 5, l2=[1e-3])
        [solution] = minimize(problem, problem.start(), tol=1e-8, max_iter=50)
        again = Work(*large, 5, l2=[1e-3])
        theta = again.rows.standardize(solution.weight, solution.bias)[None]
        [same] = minimize(again, theta, tol=1e-8, max_iter=50)
        assert same.converged
        assert_allclose(same.weight, solution.weight, atol=1e-9)
        assert {n for n, *_ in again.evaluations} == {N_SAMPLES}
        assert len(again.evaluations) == 2
        assert not again.products

    def test_few_products_for_each_step(self, large):
        # As many as the weakest penalty asks for: the preconditioner has learned.
        problem = Work(*large, 5, l2=[1e-9])
        [solution] = minimize(problem, problem.start(), tol=1e-10, max_iter=50)
        assert solution.converged
        assert sum(n == N_SAMPLES for n, _ in problem.products) <= 28

    def test_a_part_of_the_rows_tells_that_a_matrix_is_needed(self):
        # Skewed features: the rows differ in what they say of the curvature.
        X, y = table(N_SAMPLES, 30, 20)
        problem = Work(np.exp(X / 3), y, 20, l2=[1e-3])
        [solution] = minimize(problem, problem.start(), tol=1e-8, max_iter=50)
        assert solution.converged
        # 86 if the first step on all rows had to show it once more.
        assert sum(n == N_SAMPLES for n, _ in problem.products) <= 75

    def test_rare_features_take_few_steps(self):
        # Standardised, as the pixels at an image's border: rows that have one are lost
        # far from any boundary, where the loss has no curvature.
        rng = np.random.default_rng(0)
        X, y = table(20_000, 20, 5)
        rare = np.zeros((len(X), 200))
        for column in rare.T:
            column[rng.choice(len(X), 3, replace=False)] = rng.integers(1, 255, size=3)
        X = StandardScaler().fit_transform(np.hstack([X, rare]))
        problem = Work(X, y, 5, l2=[1 / len(X)])
        [solution] = minimize(problem, problem.start(), tol=1e-8, max_iter=100)
        assert solution.converged
        # 30 if the curvature were that of the rows' own probabilities.
        assert solution.n_iter <= 22


class TestSoftening:
    @pytest.fixture
    def problem(self):
        X, y = table(50, 4, 3)
        return Work(X, y, 3, l2=[1e-3, 1e-2])

    @pytest.fixture
    def proba(self, problem):
        generator = torch.Generator().manual_seed(0)
        logits = 4 * torch.randn(2, 3, 50, generator=generator)
        return logits.softmax(1)

    def test_only_lost_rows_change_and_all_remain_probabilities(self, problem, proba):
        softened = problem.soften(proba, torch.tensor([1.0, 0.0]))
        own = proba[0].gather(0, problem.y[None])[0]
        lost = own < 0.5
        assert 0 < lost.sum() < len(lost)
        assert_allclose(softened.sum(1), 1, rtol=1e-5)
        assert_allclose(softened[1], proba[1], rtol=1e-5)
        assert_allclose(softened[0][:, ~lost], proba[0][:, ~lost], rtol=1e-5)
        changed = softened[0].gather(0, problem.y[None])[0]
        assert (changed > own)[lost].all()
        # The other classes keep their proportions.
        ratio = softened[0] / proba[0]
        ratio.scatter_(0, problem.y[None], torch.nan)
        low, high = ratio.nan_to_num(torch.inf).amin(0), ratio.nan_to_num(0).amax(0)
        assert_allclose(low, high, rtol=1e-4)

    @pytest.mark.parametrize("margin", [0.5, 3.0, 20.0, 60.0])
    def test_a_step_leads_as_far_beyond_the_boundary(self, problem, margin):
        logits = torch.zeros(1, 3, 50)
        # Two classes, since the third is out of question.
        logits[0, 2] = -200
        other = (problem.y == 0).long()
        logits[0, other, torch.arange(50)] += margin
        two = problem.y < 2
        proba = logits.softmax(1)
        own = problem.soften(proba, torch.ones(1))[0].gather(0, problem.y[None])[0]
        gradient = 1 - proba[0].gather(0, problem.y[None])[0]
        step = gradient / (own * (1 - own))
        # To the minimum of Jaakkola and Jordan's parabola: twice the margin if it is
        # large.
        expected = 2 * margin * expit(margin) / np.tanh(margin / 2)
        assert_allclose(step[two], expected, rtol=1e-3)

    def test_certain_rows_stay_finite(self, problem):
        proba = torch.zeros(2, 3, 50)
        proba[:, 0] = 1
        softened = problem.soften(proba, torch.ones(2))
        assert softened.isfinite().all()
        assert_allclose(softened.sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("n_features", [5, 93, 96])
def test_rows_begin_where_cache_lines_begin(n_features, fit_intercept):
    X = torch.from_numpy(table(1000, n_features, 3)[0])
    share = torch.full((1000,), 1e-3, dtype=torch.float64)
    rows = DenseRows(X, share, fit_intercept)
    part = rows.thinned(4)
    [block] = rows.blocks(1, precise=True)
    for Z in (rows.Z, part.Z, block.Z):
        assert Z.shape[1] == n_features + fit_intercept
        # Of few columns, room for a whole line would be mostly empty.
        line = 64 if n_features > 5 else Z.itemsize
        assert Z.stride(0) * Z.itemsize % line == 0
        assert Z.stride(0) < 1.2 * Z.shape[1]
    assert_allclose(part.Z, rows.Z[::4])
    assert_allclose(block.Z, rows.Z, rtol=1e-6, atol=1e-6)
    if fit_intercept:
        expected = StandardScaler().fit_transform(X)
        assert_allclose(block.Z[:, :-1], expected, atol=1e-10)
        assert (block.Z[:, -1] == 1).all()


class TestManyCandidates:
    l2 = (3e-5, 1e-4, 3e-4, 1e-3, 1e-2, 1e-1)

    def folds(self):
        r"""Return a problem of three folds, each with every penalty."""
        X, y = table(3000, 20, 4)
        held_out = np.arange(len(X)) % 3 == np.arange(3)[:, None]
        shares = (~held_out).astype(float)
        shares /= shares.sum(1, keepdims=True)
        fold = np.repeat(range(3), len(self.l2))
        return Work(X, y, 4, l2=self.l2 * 3, shares=shares, fold=fold)

    def penalties(self):
        r"""Return a problem whose candidates have ways of different length."""
        X, y = table(3000, 20, 4)
        return Work(X, y, 4, l2=[1e-6, 1e-4, 1e-2, 1.0, 10.0, 100.0])

    def test_who_has_arrived_costs_nothing(self):
        problem = self.penalties()
        solutions = minimize(problem, problem.start(), tol=1e-9, max_iter=50)
        assert all(solution.converged for solution in solutions)
        n_iter = [solution.n_iter for solution in solutions]
        assert min(n_iter) < max(n_iter)
        widths = [width for *_, width in problem.evaluations]
        assert widths[0] == len(solutions)
        # Where they start, and then once for each step.
        assert sum(widths) == len(solutions) + sum(n_iter)

    def test_who_is_minimised_leaves_conjugate_gradients(self):
        X, y = table(3000, 20, 4)
        problem = Work(X, y, 4, l2=[1e-6] * 6)
        which = torch.arange(6)
        point = problem.evaluate(problem.far_out(1), which, True)
        inverse = Preconditioner(problem, 6).inverse(point.proba, which)
        exact = torch.tensor([False, False, True, False, True, False])
        accuracy = torch.where(exact, 1e-4, 0.3).double()
        steps, n_products, _ = newton_steps(problem, point, inverse, accuracy)
        made = [width for _, width in problem.products]
        # As accurate as asked for, and hardly more.
        left = problem.hessian(point.proba, which, steps.float()) + point.gradient
        left = left.norm(dim=(1, 2)) / point.gradient.norm(dim=(1, 2))
        assert (left < 3 * accuracy).all()
        assert (left[~exact] > 1e-3).all()
        assert n_products[exact].min() > 2 * n_products[~exact].max()
        assert_allclose(steps.mean(1), 0, atol=1e-12)
        assert len(made) == n_products.max()
        # Some may stay until three tenths are done, since leaving costs a copy.
        assert int(n_products.sum()) < sum(made) <= 1.2 * int(n_products.sum())
        assert made[0] == 6
        assert made[-1] <= 2

    def test_folds_begin_where_all_rows_lead(self):
        problem = self.folds()
        solutions = minimize(problem, problem.start(), tol=1e-9, max_iter=50)
        # All penalties on all folds' rows, once; then every fold with every penalty.
        assert {width for *_, width in problem.evaluations} == {6, 18}
        assert max(solution.n_iter for solution in solutions) <= 4

    def test_all_rows_begin_with_a_part_of_them(self, large):
        X, y = large
        shares = np.ones((2, N_SAMPLES))
        shares[[0, 1], [0, 1]] = 0
        shares /= shares.sum(1, keepdims=True)
        fold = np.repeat(range(2), 3)
        problem = Work(X, y, 5, l2=[1e-3, 1e-2, 1e-1] * 2, shares=shares, fold=fold)
        minimize(problem, problem.start(), tol=1e-6, max_iter=50)
        first = {}
        for n_rows, _, width in problem.evaluations:
            first[n_rows] = first.get(n_rows, width)
        # A quarter of all folds' rows for each penalty, then all of them.
        assert first == {N_SAMPLES // 4: 3, N_SAMPLES: 3}
        assert problem.evaluations[0][0] == N_SAMPLES // 4
        assert max(width for *_, width in problem.evaluations) == 6

    def test_a_lasso_lets_go_who_has_arrived(self):
        X, y = table(500, 10, 3)
        l1 = [1e-3, 1e-2, 1e-1]
        problem = Work(X, y, 3, l2=[1e-3] * 3, l1=l1)
        start = problem.start()
        together = minimize(problem, start, tol=1e-8, max_iter=50)
        alone = 0
        for b, solution in enumerate(together):
            single = Work(X, y, 3, l2=[1e-3], l1=l1[b : b + 1])
            [expected] = minimize(single, start[:1], tol=1e-8, max_iter=50)
            assert solution.converged
            assert expected.converged
            assert_allclose(solution.weight, expected.weight, atol=1e-6)
            alone += sum(width for _, width in single.products)
        made = sum(width for _, width in problem.products)
        assert made <= 1.05 * alone
        # Momentum saves most of them.
        assert alone <= 1300


class TestLasso:
    def test_the_bound_holds_and_is_not_far_from_the_curvature(self):
        X, y = table(500, 6, 3)
        problem = Work(X, y, 3, l2=[1e-3, 0.1], l1=[1e-2, 1e-2])
        which = torch.arange(2)
        for distance in (0.0, 0.3, 3.0, 100.0):
            proba = problem.evaluate(problem.far_out(distance), which, True).proba
            bound = problem.curvature_bound(proba, which)
            assert bound.shape == (2, 1, 7)
            units = torch.eye(3 * 7).view(-1, 3, 7)
            for b in which:
                every = b.expand(len(units))
                hessian = problem.hessian(proba[every], every, units).flatten(1)
                diagonal = bound[b].expand(3, 7).flatten()
                above = torch.linalg.eigvalsh(torch.diag(diagonal) - hessian.double())
                assert above[0] > 0
                largest = torch.linalg.eigvalsh(hessian.double())[-1]
                assert bound[b].max() < 2.5 * largest

    def test_rows_that_are_sure_are_no_reason_for_short_steps(self):
        # At the minimum, no probability is far from 0 or 1: there is 1e-7 of the
        # curvature that there could be.
        X, y = table(50, 2, 2)
        share = np.where(y == 0, 1.0, 1e-7)
        problem = Work(X, y, 2, l2=[1e-6], l1=[1e-3], shares=share[None] / share.sum())
        [solution] = minimize(problem, problem.start(), tol=1e-9, max_iter=50)
        assert solution.converged
        assert solution.n_iter < 30
        assert len(problem.products) < 15 * solution.n_iter

    def test_a_weak_penalty_takes_some_thousand_products(self):
        X, y = load_digits(return_X_y=True)
        X = StandardScaler().fit_transform(X)
        problem = Work(X, y, 10, l2=[0.0], l1=[1e-2 / len(X)])
        [solution] = minimize(problem, problem.start(), tol=1e-5, max_iter=50)
        assert solution.converged
        assert len(problem.products) < 3000


class TestSteps:
    def test_no_step_is_too_long(self):
        # Far out, the quadratic model promises too much, and a step is cut.
        X, y = table(600, 5, 3)
        problem = Work(X, y, 3, l2=[1e-4, 1e-2])
        solutions = minimize(problem, problem.far_out(20), tol=1e-9, max_iter=100)
        from_zero = minimize(problem, problem.start(), tol=1e-9, max_iter=100)
        n_steps = sum(len(solution.objectives) - 1 for solution in solutions)
        assert sum(width for *_, width in problem.evaluations) > n_steps
        for solution, expected in zip(solutions, from_zero, strict=True):
            assert solution.converged
            assert (np.diff(solution.objectives) <= 1e-12).all()
            assert_allclose(solution.weight, expected.weight, atol=1e-6)

    def test_without_curvature_it_goes_down_the_gradient(self):
        # So far out that every probability is 0 or 1 in float32, and half are wrong.
        X, y = table(600, 3, 2)
        problem = Work(X, y, 2, l2=[0.0, 0.0])
        for solution in minimize(problem, problem.far_out(1e6), tol=1e-9, max_iter=3):
            assert len(solution.objectives) > 1
            assert solution.objectives[-1] < solution.objectives[0]
            assert torch.isfinite(solution.weight).all()

    def test_no_more_steps_than_allowed(self):
        X, y = table(600, 5, 3)
        for l2 in ([1e-4], [1e-4, 1e-2]):
            problem = Work(X, y, 3, l2=l2)
            for solution in minimize(problem, problem.start(), tol=1e-9, max_iter=2):
                assert not solution.converged
                assert solution.n_iter == len(solution.objectives) - 1 == 2
            for solution in minimize(problem, problem.start(), tol=1e-9, max_iter=0):
                assert not solution.weight.any()
                assert solution.n_iter == 1

    def test_every_step_is_told_and_may_be_the_last(self):
        X, y = table(600, 5, 3)

        class Observer:
            def __init__(self, most):
                self.n_begun, self.objectives, self.most = 0, [], most

            def begin_step(self):
                self.n_begun += 1

            def end_step(self, objective, theta):
                self.objectives.append(objective)
                return len(self.objectives) == self.most

        for l2 in ([1e-4], [1e-4, 1e-2]):
            problem = Work(X, y, 3, l2=l2)
            for most in (2, 100):
                observer = Observer(most)
                solutions = minimize(
                    problem,
                    problem.start(),
                    tol=1e-9,
                    max_iter=50,
                    observer=observer,
                )
                n_steps = max(solution.n_iter for solution in solutions)
                assert observer.n_begun == len(observer.objectives) == n_steps
                assert all(s.converged for s in solutions) == (most == 100)
                mean = np.mean([solution.objectives[-1] for solution in solutions])
                assert observer.objectives[-1] == pytest.approx(mean)


class TestSmall:
    @pytest.fixture
    def calls(self, monkeypatch):
        r"""Return how often the parts of the solver on NumPy were called."""
        calls = Counter()

        def count(holder, name):
            original = getattr(holder, name)

            def counted(*arguments):
                calls[name.strip("_")] += 1
                return original(*arguments)

            monkeypatch.setattr(holder, name, counted)

        count(DenseNewton, "evaluate")
        count(DenseNewton, "hessian")
        count(DenseNewton, "invert_class_blocks")
        count(DenseNewton, "precondition")
        return calls

    def test_tiny_problems_take_exact_steps(self, calls):
        X, y = table(150, 4, 3)
        problem = Work(X, y, 3, l2=[1e-2])
        [solution] = minimize(problem, problem.start(), tol=1e-10, max_iter=50)
        assert solution.converged
        assert not problem.evaluations
        # Quadratic convergence: every step doubles the digits.
        assert calls["hessian"] == solution.n_iter <= 6
        assert calls["evaluate"] == solution.n_iter + 1
        assert not calls["precondition"]

    def test_digits_take_few_products(self, calls):
        X, y = load_digits(return_X_y=True)
        X = StandardScaler().fit_transform(X)
        problem = Work(X, y, 10, l2=[1 / len(X)])
        [solution] = minimize(problem, problem.start(), tol=1e-8, max_iter=50)
        assert solution.converged
        assert not problem.evaluations
        assert not calls["hessian"]
        assert calls["evaluate"] <= solution.n_iter + 2
        assert solution.n_iter <= 9
        # Blocks are inverted anew only where products became many.
        assert 1 < calls["invert_class_blocks"] < solution.n_iter / 2
        n_products = calls["precondition"] - solution.n_iter
        assert n_products <= 12 * solution.n_iter
        calls.clear()
        # Hardly penalised, they need more of everything, but blocks still pay.
        problem = Work(X, y, 10, l2=[1e-6])
        [solution] = minimize(problem, problem.start(), tol=1e-8, max_iter=50)
        assert solution.converged
        assert not calls["hessian"]
        assert solution.n_iter <= 20
        assert 1 < calls["invert_class_blocks"] <= solution.n_iter * 2 / 3
        assert calls["precondition"] - solution.n_iter <= 14 * solution.n_iter

    @pytest.mark.parametrize(
        "shape",
        [
            pytest.param((4100, 255, 9), id="numbers"),
            pytest.param((2**15, 31, 9), id="numbers times classes"),
        ],
    )
    def test_what_a_cache_does_not_hold_is_left_to_tensors(self, calls, shape):
        n_samples, n_features, n_classes = shape
        rng = np.random.default_rng(0)
        X = rng.normal(size=(n_samples, n_features))
        y = rng.integers(0, n_classes, n_samples)
        problem = Work(X, y, n_classes, l2=[1e-2])
        minimize(problem, problem.start(), tol=1e-3, max_iter=2)
        assert problem.evaluations
        assert not calls
