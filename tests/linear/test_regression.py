r"""Softmax regression against scikit-learn and the analytic gradient."""

import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import approx_fprime
from scipy.sparse import csr_array
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
    load_wine,
    make_classification,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from sksoftmax import SoftmaxRegression
from sksoftmax._convex.common import Penalty
from sksoftmax._convex.design_matrix import DenseRows, SparseRows
from sksoftmax._convex.newton import minimize
from sksoftmax._convex.objective import SoftmaxProblem
from sksoftmax.datasets import load_otto

DATA = os.environ.get("SKSOFTMAX_DATA")
LOADERS = [load_iris, load_wine, load_digits, load_breast_cancer]


def standardized(X):
    return StandardScaler().fit_transform(X)


def at_the_optimum(**parameters):
    r"""Return scikit-learn's estimator, iterated until nothing changes.

    Its default stops where the gradient is 1e-4, which on the standardised digits
    leaves coefficients 0.07 away from its own optimum.
    """
    return LogisticRegression(
        solver="newton-cholesky", tol=1e-12, max_iter=1000, **parameters
    )


def objective(X, y, coef, intercept, C):
    r"""scikit-learn's objective, written out."""
    logits = X @ coef.T + intercept
    if logits.shape[1] == 1:
        logits = np.hstack([np.zeros_like(logits), logits])
    losses = logsumexp(logits, axis=1) - logits[np.arange(len(y)), y]
    return C * losses.sum() + 0.5 * (coef**2).sum()


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
def test_same_coefficients_as_scikit_learn(load, C):
    X, y = load(return_X_y=True)
    X = standardized(X)
    # A gradient of tol may leave a coefficient tol * C * n_samples from the optimum,
    # where nothing but the penalty determines it.
    ours = SoftmaxRegression(C=C, tol=1e-10).fit(X, y)
    theirs = at_the_optimum(C=C).fit(X, y)
    assert ours.coef_.shape == theirs.coef_.shape
    assert_allclose(ours.coef_, theirs.coef_, atol=1e-4)
    assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-4)
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-4)


@pytest.mark.parametrize("load", LOADERS)
def test_objective_is_no_higher_than_the_default_of_scikit_learn(load):
    X, y = load(return_X_y=True)
    X = standardized(X)
    ours, theirs = SoftmaxRegression().fit(X, y), LogisticRegression().fit(X, y)
    ours, theirs = (objective(X, y, m.coef_, m.intercept_, 1) for m in (ours, theirs))
    assert ours <= theirs * (1 + 1e-12)


# Most iterations of the rivals: what they have not done by then, they never will.
RIVALS = {"newton-cholesky": 1000, "newton-cg": 30, "lbfgs": 1000}

SYNTHETIC = [
    *((n_classes, "collinear") for n_classes in (2, 3, 5, 8, 12, 20, 35, 50)),
    *((n_classes, "badly scaled") for n_classes in (2, 2, 3, 4, 6, 10, 15, 30)),
    *((n_classes, "both") for n_classes in (2, 4, 10, 25)),
]


def synthetic(n_classes, kind, seed):
    collinear = kind != "badly scaled"
    X, y = make_classification(
        max(200, 12 * n_classes),
        12,
        n_informative=7,
        n_redundant=3 * collinear,
        n_repeated=2 * collinear,
        n_classes=n_classes,
        n_clusters_per_class=1,
        flip_y=0.1,
        random_state=seed,
    )
    if kind != "collinear":
        X *= np.random.default_rng(seed).permutation(np.logspace(-6, 6, 12))
    return X, y


def rivals(X, y, C):
    r"""Return scikit-learn's solvers, and whether newton-cholesky gave up."""
    fitted = {}
    gave_up = False
    for solver, max_iter in RIVALS.items():
        rival = LogisticRegression(C=C, solver=solver, tol=1e-8, max_iter=max_iter)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fitted[solver] = rival.fit(X, y)
        gave_up |= solver == "newton-cholesky" and bool(caught)
    return fitted, gave_up


@pytest.mark.parametrize(
    ("seed", "n_classes", "kind"),
    [(seed, *synthetic) for seed, synthetic in enumerate(SYNTHETIC)],
)
def test_objective_is_at_most_the_best_of_scikit_learns_solvers(seed, n_classes, kind):
    X, y = synthetic(n_classes, kind, seed)
    C = (0.01, 1.0, 100.0)[seed % 3]
    ours = SoftmaxRegression(C).fit(X, y)
    fitted, gave_up = rivals(X, y, C)
    best = min(objective(X, y, m.coef_, m.intercept_, C) for m in fitted.values())
    assert objective(X, y, ours.coef_, ours.intercept_, C) <= best * (1 + 1e-6)
    assert not (gave_up and kind == "collinear")
    # With both, a ridge of 1e-12 alone decides between collinear columns, and
    # newton-cholesky with another `tol` differs from itself by more than this.
    if kind != "both" and not gave_up:
        theirs, scale = fitted["newton-cholesky"], X.std(0)
        if n_classes > 2:
            # The optimum's sum to zero; newton-cholesky leaves a common shift, for
            # which a ridge of 1e-12 is all there is.
            theirs.coef_ -= theirs.coef_.mean(0)
        assert_allclose(ours.coef_ * scale, theirs.coef_ * scale, atol=1e-4, rtol=0)
        assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-4, rtol=0)


@pytest.mark.data
@pytest.mark.skipif(
    DATA is None or not (Path(DATA) / "otto").is_dir(), reason="no Otto files"
)
def test_same_coefficients_on_otto():
    X, y = load_otto(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(X))[:5000]
    X, y = standardized(X.iloc[rows]), y.iloc[rows]
    ours, theirs = SoftmaxRegression().fit(X, y), at_the_optimum().fit(X, y)
    assert_allclose(ours.coef_, theirs.coef_, atol=1e-3)
    assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-3)


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 1000),
    n_classes=st.integers(2, 6),
    fit_intercept=st.booleans(),
    weighted=st.booleans(),
    C=st.sampled_from([0.1, 1.0, 50.0]),
)
def test_random_problems_agree(seed, n_classes, fit_intercept, weighted, C):
    X, y = make_classification(
        120,
        8,
        n_informative=5,
        n_redundant=2,
        n_classes=n_classes,
        n_clusters_per_class=1,
        flip_y=0.2,
        random_state=seed,
    )
    weight = np.random.default_rng(seed).uniform(0, 3, 120) if weighted else None
    parameters = {"C": C, "fit_intercept": fit_intercept, "class_weight": "balanced"}
    ours = SoftmaxRegression(**parameters).fit(X, y, weight)
    theirs = at_the_optimum(**parameters).fit(X, y, weight)
    assert_allclose(ours.coef_, theirs.coef_, atol=1e-4)
    assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-4)
    assert_allclose(ours.decision_function(X), theirs.decision_function(X), atol=1e-3)


# Before 1.9, scikit-learn warns that it ignores C where it is infinite.
@pytest.mark.filterwarnings("ignore:Setting penalty=None:UserWarning")
def test_no_penalty_agrees():
    X, y = load_iris(return_X_y=True)
    rng = np.random.default_rng(0)
    y = np.where(rng.random(150) < 0.2, rng.integers(0, 3, 150), y)
    ours = SoftmaxRegression(C=np.inf).fit(X, y)
    theirs = at_the_optimum(C=np.inf).fit(X, y)
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    assert_allclose(ours.intercept_.sum(), 0, atol=1e-8)


@pytest.mark.parametrize(
    ("n_samples", "n_features", "n_classes"),
    [
        # Conjugate gradients fail where the curvature is beyond float32; then come
        # exact steps, and for more than a thousand unknowns another way from the start.
        pytest.param(1000, 40, 8, id="exact steps"),
        pytest.param(400, 120, 12, id="another way"),
    ],
)
def test_separable_classes_without_a_penalty(n_samples, n_features, n_classes):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, n_features))
    y = (X @ rng.normal(size=(n_features, n_classes))).argmax(1)
    ours = SoftmaxRegression(C=np.inf).fit(X, y)
    assert ours.score(X, y) == 1
    assert log_loss(y, ours.predict_proba(X)) < 1e-5


def test_units_of_the_features_do_not_matter_for_convergence():
    X, y = load_wine(return_X_y=True)
    X = standardized(X)
    units = np.logspace(-6, 6, X.shape[1])
    plain = SoftmaxRegression(C=np.inf, tol=1e-6)
    y = np.where(np.random.default_rng(0).random(len(y)) < 0.4, 0, y)
    expected = plain.fit(X, y).predict_proba(X)
    n_iter = plain.n_iter_[0]
    shifted = (X + 3) * units
    assert_allclose(plain.fit(shifted, y).predict_proba(shifted), expected, atol=1e-6)
    assert plain.n_iter_[0] == n_iter


def test_collinear_and_constant_features():
    X, y = load_iris(return_X_y=True)
    X = np.hstack([X, X[:, :2], np.full((150, 1), 7.0)])
    ours, theirs = SoftmaxRegression().fit(X, y), at_the_optimum().fit(X, y)
    assert_allclose(ours.coef_, theirs.coef_, atol=1e-4)
    assert_allclose(ours.coef_[:, -1], 0, atol=1e-12)


def test_an_exact_solver_keeps_no_epoch():
    X, y = load_iris(return_X_y=True)
    classifier = SoftmaxRegression(solver="adam", max_iter=3).fit(X, y)
    assert classifier.best_epoch_ == classifier.n_iter_ == 3
    assert (
        classifier.set_params(solver="auto", max_iter=100).fit(X, y).best_epoch_ is None
    )


def test_separable_without_penalty_warns_and_stays_finite():
    X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    with pytest.warns(
        ConvergenceWarning, match=r"newton-cg failed to converge: after 5 .* lower C"
    ):
        classifier = SoftmaxRegression(C=np.inf, max_iter=5).fit(X, [0, 0, 1, 1])
    assert np.isfinite(classifier.predict_log_proba(X)).all()
    assert classifier.n_iter_ == 5


def test_warm_start_needs_no_more_steps():
    X, y = load_digits(return_X_y=True)
    classifier = SoftmaxRegression(warm_start=True, tol=1e-6).fit(X, y)
    coef, n_iter = classifier.coef_, classifier.n_iter_[0]
    classifier.fit(X, y)
    assert n_iter > 2
    assert classifier.n_iter_[0] == 1
    assert_allclose(classifier.coef_, coef, atol=1e-6)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_float32_stays_float32_and_agrees(fit_intercept):
    X, y = load_digits(return_X_y=True)
    double = SoftmaxRegression(fit_intercept=fit_intercept).fit(X, y)
    single = SoftmaxRegression(fit_intercept=fit_intercept).fit(X.astype(np.float32), y)
    assert single.coef_.dtype == single.intercept_.dtype == np.float32
    assert double.coef_.dtype == double.intercept_.dtype == np.float64
    assert_allclose(single.coef_, double.coef_, atol=1e-5)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("load", [load_iris, load_breast_cancer])
def test_assigned_coefficients_predict(load, fit_intercept):
    X, y = load(return_X_y=True)
    fitted = SoftmaxRegression(fit_intercept=fit_intercept).fit(X, y)
    other = SoftmaxRegression(0.01, fit_intercept=fit_intercept).fit(X, y)
    other.coef_, other.intercept_ = fitted.coef_, fitted.intercept_
    assert_allclose(other.predict_proba(X), fitted.predict_proba(X), rtol=1e-10)
    assert_allclose(other.coef_, fitted.coef_, rtol=1e-12)
    with pytest.raises(ValueError, match=r"Got coefficients of shape \(1, 2\)"):
        other.coef_ = [[1.0, 2.0]]
    with pytest.raises(ValueError, match="read-only"):
        other.coef_[0] = 0
    if not fit_intercept:
        with pytest.raises(ValueError, match="fit_intercept=False left no place"):
            other.intercept_ = fitted.intercept_ + 1


def test_no_coefficients_before_fit():
    assert not hasattr(SoftmaxRegression(), "coef_")
    with pytest.raises(AttributeError, match="not fitted yet"):
        _ = SoftmaxRegression().intercept_


@pytest.mark.parametrize("solver", ["auto", "adam"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_no_steps_leave_the_start(solver):
    X, y = load_iris(return_X_y=True)
    classifier = SoftmaxRegression(solver=solver, max_iter=0).fit(X, y)
    assert classifier.n_iter_.tolist() == [0]
    assert not classifier.coef_.any()


@pytest.mark.parametrize("C", [1e30, np.inf])
def test_more_features_than_rows_hardly_penalized(C):
    X, y = make_classification(10, 20, random_state=42)
    classifier = SoftmaxRegression(C).fit(X, y)
    assert classifier.score(X, y) == 1
    assert classifier.predict_proba(X).max(1).min() > 1 - 1e-6


def test_tolerance_below_rounding_is_no_reason_to_go_on():
    X, y = load_iris(return_X_y=True)
    assert SoftmaxRegression(tol=0.0, max_iter=1000).fit(X, y).n_iter_[0] < 20


def test_balanced_class_without_weight_is_no_class():
    X, y = load_iris(return_X_y=True)
    weight = np.where(y == 1, 0.0, 1.0 + (y == 2))
    classifier = SoftmaxRegression(class_weight="balanced", fit_intercept=False)
    alone = clone(classifier).fit(X[y != 1], y[y != 1], weight[y != 1])
    proba = classifier.fit(X, y, weight).predict_proba(X)
    assert_array_equal(classifier.classes_, [0, 2])
    assert_allclose(proba, alone.predict_proba(X))


def test_tensors_are_taken():
    X, y = load_iris(return_X_y=True)
    expected = SoftmaxRegression().fit(X, y, np.ones(150))
    tensors = torch.tensor(X, requires_grad=True), torch.tensor(y), torch.ones(150)
    classifier = SoftmaxRegression().fit(*tensors)
    assert_array_equal(classifier.coef_, expected.coef_)
    assert_array_equal(classifier.predict(tensors[0]), expected.predict(X))


def test_coefficients_and_module_say_the_same():
    for load in (load_iris, load_breast_cancer):
        X, y = load(return_X_y=True)
        classifier = SoftmaxRegression().fit(X, y)
        scores = X @ classifier.coef_.T + classifier.intercept_
        assert_allclose(
            classifier.decision_function(X), np.squeeze(scores), rtol=1e-9, atol=1e-9
        )
        with torch.no_grad():
            assert classifier.module_(torch.tensor(X)).shape == (len(X), len(set(y)))


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("load", [load_iris, load_breast_cancer])
def test_mini_batches_approach_the_same_optimum(solver, load):
    X, y = load(return_X_y=True)
    X = standardized(X)
    exact = SoftmaxRegression(C=0.1).fit(X, y)
    approximate = SoftmaxRegression(
        C=0.1,
        solver=solver,
        learning_rate=0.05,
        batch_size=32,
        max_iter=200,
        random_state=0,
    ).fit(X, y)
    assert_allclose(approximate.coef_, exact.coef_, atol=0.02)
    assert_allclose(approximate.intercept_, exact.intercept_, atol=0.02)
    assert approximate.n_iter_.tolist() == [200]


def test_partial_fit_approaches_the_optimum():
    X, y = load_digits(return_X_y=True)
    X = standardized(X)
    classifier = SoftmaxRegression(batch_size=32, random_state=0)
    for _ in range(30):
        classifier.partial_fit(X, y, classes=np.arange(10))
    assert classifier.score(X, y) > 0.97
    assert classifier.n_iter_.tolist() == [30]
    assert_allclose(
        X @ classifier.coef_.T + classifier.intercept_,
        classifier.decision_function(X),
        atol=1e-4,
    )


class TestProblem:
    r"""Several candidates at once: two foldings, of which the second is weighted."""

    which = torch.arange(3)

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
        theta = torch.tensor(rng.normal(size=(3, 3, 4 + fit_intercept)))
        return problem, theta, X, y

    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("sparse", [True, False])
    def test_value_is_that_of_the_original_problem(self, fit_intercept, sparse):
        problem, theta, X, y = self.problem(fit_intercept, sparse)
        for precise, accuracy in ((True, 1e-12), (False, 1e-5)):
            values = problem.evaluate(theta, self.which, precise).value
            for b, value in enumerate(values):
                coef, intercept = problem.rows.restore(theta[b])
                shift = 0 if intercept is None else intercept.numpy()
                logits = X @ coef.numpy().T + shift
                losses = logsumexp(logits, axis=1) - logits[np.arange(30), y]
                loss = losses @ problem.share[problem.fold[b]].numpy()
                expected = loss + 0.5 * problem.l2[b] * (coef**2).sum()
                assert value.item() == pytest.approx(expected.item(), rel=accuracy)
                restored = problem.rows.standardize(coef, intercept)
                assert_allclose(restored, theta[b], rtol=1e-10)

    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("sparse", [True, False])
    def test_gradient_and_hessian_are_the_derivatives(self, fit_intercept, sparse):
        problem, theta, *_ = self.problem(fit_intercept, sparse)
        point = problem.evaluate(theta, self.which, True)

        def value(flat):
            moved = torch.tensor(flat).reshape(theta.shape)
            return problem.evaluate(moved, self.which, True).value.sum().item()

        numeric = approx_fprime(theta.numpy().ravel(), value, 1e-7)
        assert_allclose(point.gradient.numpy().ravel(), numeric, atol=1e-5)
        direction = torch.randn(theta.shape, generator=torch.Generator())
        ahead = problem.evaluate(theta + 1e-6 * direction, self.which, True)
        assert_allclose(
            problem.hessian(point.proba, self.which, direction),
            (ahead.gradient - point.gradient) / 1e-6,
            rtol=1e-3,
            atol=1e-4,
        )

    @pytest.mark.parametrize("sparse", [True, False])
    def test_candidates_are_solved_as_if_alone(self, sparse):
        problem, *_ = self.problem(sparse=sparse)
        together = minimize(
            problem, torch.zeros(3, 3, 5).double(), tol=1e-10, max_iter=50
        )
        for b, solution in enumerate(together):
            penalty = Penalty(int(problem.fold[b]), float(problem.l2[b]), 0.0)
            alone = SoftmaxProblem(problem.rows, problem.y, 3, problem.share, [penalty])
            [expected] = minimize(
                alone, torch.zeros(1, 3, 5).double(), tol=1e-10, max_iter=50
            )
            assert solution.converged
            assert expected.converged
            assert_allclose(solution.weight, expected.weight, atol=1e-8)
            assert solution.objectives[-1] == pytest.approx(expected.objectives[-1])

    def test_solution_reports_what_it_reached(self):
        problem, *_ = self.problem()
        start = torch.zeros(3, 3, 5).double()
        for solution in minimize(problem, start, tol=1e-10, max_iter=50):
            assert solution.converged
            assert solution.gradient_norm <= 1e-10
            assert np.all(np.diff(solution.objectives) <= 1e-12)
        for cut in minimize(problem, start, tol=1e-10, max_iter=1):
            assert not cut.converged
            assert cut.n_iter == 1


def test_more_features_than_eigenvectors_pay_for():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 2500)) * rng.uniform(0.1, 10, 2500)
    y = rng.integers(0, 3, 80)
    ours = SoftmaxRegression().fit(X, y)
    rival = LogisticRegression(tol=1e-10, max_iter=10_000).fit(X, y)
    assert_allclose(ours.coef_, rival.coef_, atol=1e-5)


class TestLasso:
    # Where saga converges within the patience of a test.
    @pytest.mark.parametrize(
        ("load", "C", "l1_ratio"),
        [
            (load_iris, 0.1, 1.0),
            (load_iris, 1.0, 0.5),
            (load_wine, 0.1, 0.5),
            (load_wine, 1.0, 1.0),
            (load_breast_cancer, 0.1, 1.0),
        ],
    )
    def test_objective_is_at_most_scikit_learns(self, load, C, l1_ratio):
        X, y = load(return_X_y=True)
        X = standardized(X)
        ours = SoftmaxRegression(C=C, l1_ratio=l1_ratio).fit(X, y)
        saga = LogisticRegression(
            C=C, l1_ratio=l1_ratio, solver="saga", tol=1e-9, max_iter=20_000
        ).fit(X, y)

        def value(model):
            lasso = l1_ratio * np.abs(model.coef_).sum()
            ridge = 0.5 * (1 - l1_ratio) * (model.coef_**2).sum()
            loss = objective(X, y, model.coef_, model.intercept_, C)
            return loss - 0.5 * (model.coef_**2).sum() + lasso + ridge

        assert value(ours) <= value(saga) * (1 + 1e-6)
        assert_allclose(ours.coef_, saga.coef_, atol=2e-3)
        assert_array_equal(ours.coef_ == 0, np.abs(saga.coef_) < 1e-6)

    def test_opposed_features(self):
        # Their leading direction is orthogonal to that of equal weights.
        X = np.array([[1.0, 3.0], [2.0, 1.0], [3.0, 3.0], [4.0, 1.0]])
        y, weight = np.array([0, 1, 0, 1]), np.array([13.0, 4.0, 4.0, 4.0])
        ours = SoftmaxRegression(l1_ratio=0.5).fit(X, y, weight)
        saga = LogisticRegression(l1_ratio=0.5, solver="saga", tol=1e-10, max_iter=9999)
        assert_allclose(ours.coef_, saga.fit(X, y, weight).coef_, atol=1e-5)

    def test_strong_lasso_leaves_the_class_frequencies(self):
        X, y = load_iris(return_X_y=True)
        classifier = SoftmaxRegression(C=1e-4, l1_ratio=1.0).fit(X[:120], y[:120])
        assert not classifier.coef_.any()
        frequencies = np.bincount(y[:120]) / 120
        assert_allclose(classifier.predict_proba(X[:1])[0], frequencies, atol=1e-7)

    def test_mini_batches_refuse_it(self):
        X, y = load_iris(return_X_y=True)
        with pytest.raises(ValueError, match=r"Got l1_ratio=0.5 with solver='sgd'"):
            SoftmaxRegression(l1_ratio=0.5, solver="sgd").fit(X, y)


class TestSparse:
    def table(self, n_classes=4):
        rng = np.random.default_rng(0)
        X = csr_array(rng.random((300, 80)) * (rng.random((300, 80)) < 0.05))
        y = (X @ rng.normal(size=(80, n_classes)) + rng.gumbel(size=(300, 4))).argmax(1)
        return X, y

    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("C", [0.1, 10.0])
    def test_same_as_dense(self, fit_intercept, C):
        X, y = self.table()
        weight = np.random.default_rng(1).uniform(0, 2, len(y)).round(1)
        sparse, dense = (
            SoftmaxRegression(C, fit_intercept=fit_intercept).fit(table, y, weight)
            for table in (X, X.toarray())
        )
        assert_allclose(sparse.coef_, dense.coef_, atol=1e-5)
        assert_allclose(sparse.intercept_, dense.intercept_, atol=1e-5)
        assert_allclose(
            sparse.predict_proba(X), dense.predict_proba(X.toarray()), atol=1e-6
        )
        assert_array_equal(sparse.predict(X), sparse.predict(X.toarray()))

    def test_every_sparse_form_is_taken(self):
        X, y = self.table()
        expected = SoftmaxRegression().fit(X, y).coef_
        for form in ("csc", "coo", "lil"):
            classifier = SoftmaxRegression().fit(X.asformat(form), y)
            assert_allclose(classifier.coef_, expected)
        single = SoftmaxRegression().fit(X.astype(np.float32), y)
        assert_allclose(single.coef_, expected, atol=1e-4)
        assert single.predict_proba(X.astype(np.float32)).dtype == np.float32
        frame = pd.DataFrame.sparse.from_spmatrix(X)
        classifier = SoftmaxRegression().fit(frame, y)
        assert_allclose(classifier.coef_, expected)
        assert_array_equal(classifier.predict(frame), classifier.predict(X))

    def test_mini_batches_refuse_it(self):
        X, y = self.table()
        with pytest.raises(TypeError, match="dense data is required"):
            SoftmaxRegression(solver="adam").fit(X, y)
        with pytest.raises(ValueError, match=r"Pass X.toarray\(\)"):
            SoftmaxRegression().partial_fit(X, y, classes=np.arange(4))
