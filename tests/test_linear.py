r"""Softmax regression against scikit-learn and the analytic gradient."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import approx_fprime
from scipy.special import logsumexp
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
    load_wine,
    make_classification,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sksoftmax import SoftmaxRegression
from sksoftmax._solvers import SoftmaxObjective, newton_cg
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
    ours, theirs = SoftmaxRegression(C=C).fit(X, y), at_the_optimum(C=C).fit(X, y)
    assert ours.coef_.shape == theirs.coef_.shape
    assert_allclose(ours.coef_, theirs.coef_, atol=1e-3)
    assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-3)
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-4)


@pytest.mark.parametrize("load", LOADERS)
def test_objective_is_no_higher_than_the_default_of_scikit_learn(load):
    X, y = load(return_X_y=True)
    X = standardized(X)
    ours, theirs = SoftmaxRegression().fit(X, y), LogisticRegression().fit(X, y)
    ours, theirs = (objective(X, y, m.coef_, m.intercept_, 1) for m in (ours, theirs))
    assert ours <= theirs * (1 + 1e-12)


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


def test_no_penalty_agrees():
    X, y = load_iris(return_X_y=True)
    rng = np.random.default_rng(0)
    y = np.where(rng.random(150) < 0.2, rng.integers(0, 3, 150), y)
    ours = SoftmaxRegression(C=np.inf).fit(X, y)
    theirs = at_the_optimum(C=np.inf).fit(X, y)
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    assert_allclose(ours.intercept_.sum(), 0, atol=1e-8)


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


def test_separable_without_penalty_warns_and_stays_finite():
    X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    with pytest.warns(ConvergenceWarning, match=r"newton-cg stopped .* lower C"):
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


class TestObjective:
    def problem(self, seed=0, fit_intercept=True, weighted=True):
        rng = np.random.default_rng(seed)
        X, y = rng.normal(3, 5, (30, 4)), rng.integers(0, 3, 30)
        weight = torch.tensor(rng.uniform(0.1, 2, 30)) if weighted else None
        objective = SoftmaxObjective(
            torch.tensor(X), torch.tensor(y), weight, 3, 0.3, fit_intercept
        )
        theta = torch.tensor(rng.normal(size=(3, 4 + fit_intercept)))
        return objective, theta, X, y, weight

    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("weighted", [True, False])
    def test_value_is_that_of_the_original_problem(self, fit_intercept, weighted):
        problem, theta, X, y, weight = self.problem(0, fit_intercept, weighted)
        coef, intercept = problem.restore(theta)
        intercept = np.zeros(3) if intercept is None else intercept.numpy()
        logits = X @ coef.numpy().T + intercept
        losses = logsumexp(logits, axis=1) - logits[np.arange(30), y]
        expected = np.average(losses, weights=weight) + 0.15 * (coef**2).sum().item()
        assert problem.value(theta)[0] == pytest.approx(expected, rel=1e-12)
        restored = problem.standardize(
            coef, None if not fit_intercept else torch.tensor(intercept)
        )
        assert_allclose(restored, theta, rtol=1e-10)

    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_gradient_and_hessian_are_the_derivatives(self, fit_intercept):
        problem, theta, *_ = self.problem(1, fit_intercept)

        def value(flat):
            return problem.value(torch.tensor(flat).reshape(theta.shape))[0]

        proba = problem.value(theta)[1].exp()
        gradient = problem.gradient(theta, proba)
        numeric = approx_fprime(theta.numpy().ravel(), value, 1e-7)
        assert_allclose(gradient.numpy().ravel(), numeric, atol=1e-5)
        direction = torch.randn(
            theta.shape, dtype=theta.dtype, generator=torch.Generator()
        )
        step = 1e-6 * direction
        ahead = problem.gradient(theta + step, problem.value(theta + step)[1].exp())
        assert_allclose(
            problem.hessian_product(proba, direction),
            (ahead - gradient) / 1e-6,
            atol=1e-4,
        )

    def test_solution_reports_what_it_reached(self):
        problem, *_ = self.problem(2)
        start = torch.zeros(3, 4), torch.zeros(3)
        solution = newton_cg(problem, *start, tol=1e-10, max_iter=50)
        assert solution.converged
        assert solution.gradient_norm <= 1e-10
        assert np.all(np.diff(solution.objectives) <= 1e-12)
        cut = newton_cg(problem, *start, tol=1e-10, max_iter=1)
        assert not cut.converged
        assert cut.n_iter == 1
