r"""Optima of softmax regression against the solvers of scikit-learn."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
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

from sksoftmax import SoftmaxRegression
from sksoftmax.datasets import load_otto

from .references import at_the_optimum, objective, standardized

DATA = os.environ.get("SKSOFTMAX_DATA")

LOADERS = [load_iris, load_wine, load_digits, load_breast_cancer]


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


# Maximum iterations of each solver of scikit-learn: more do not lower the objective.
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
    r"""Return scikit-learn's solvers, and whether newton-cholesky did not converge."""
    fitted = {}
    is_unconverged = False
    for solver, max_iter in RIVALS.items():
        rival = LogisticRegression(C=C, solver=solver, tol=1e-8, max_iter=max_iter)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fitted[solver] = rival.fit(X, y)
        is_unconverged |= solver == "newton-cholesky" and bool(caught)
    return fitted, is_unconverged


@pytest.mark.parametrize(
    ("seed", "n_classes", "kind"),
    [(seed, *synthetic) for seed, synthetic in enumerate(SYNTHETIC)],
)
def test_objective_is_at_most_the_best_of_scikit_learns_solvers(seed, n_classes, kind):
    X, y = synthetic(n_classes, kind, seed)
    C = (0.01, 1.0, 100.0)[seed % 3]
    ours = SoftmaxRegression(C).fit(X, y)
    fitted, is_unconverged = rivals(X, y, C)
    best = min(objective(X, y, m.coef_, m.intercept_, C) for m in fitted.values())
    assert objective(X, y, ours.coef_, ours.intercept_, C) <= best * (1 + 1e-6)
    assert not (is_unconverged and kind == "collinear")
    # With both, a ridge of 1e-12 alone decides between collinear columns, and
    # newton-cholesky with another `tol` differs from itself by more than this.
    if kind != "both" and not is_unconverged:
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


def test_separable_without_penalty_warns_and_stays_finite():
    X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    with pytest.warns(
        ConvergenceWarning, match=r"newton-cg failed to converge: after 5 .* lower C"
    ):
        classifier = SoftmaxRegression(C=np.inf, max_iter=5).fit(X, [0, 0, 1, 1])
    assert np.isfinite(classifier.predict_log_proba(X)).all()
    assert classifier.n_iter_ == 5


def test_small_gradient_above_the_minimum_is_no_convergence():
    X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    with pytest.warns(
        ConvergenceWarning, match="after 19 steps the objective is still above its min"
    ):
        SoftmaxRegression(C=1e10, max_iter=19).fit(X, [0, 0, 1, 1])
    classifier = SoftmaxRegression(C=1e10).fit(X, [0, 0, 1, 1])
    w, b = classifier.coef_[0, 0], classifier.intercept_[0]
    margins = X[:, 0] * [-1, -1, 1, 1] * w + b * np.array([-1, -1, 1, 1])
    # The derivative by w is zero to ten digits of its terms.
    slope = (abs(X[:, 0]) / (1 + np.exp(margins))).sum()
    assert_allclose(slope, w / 1e10, rtol=1e-4)


@pytest.mark.parametrize("C", [1e30, np.inf])
def test_more_features_than_rows_hardly_penalized(C):
    X, y = make_classification(10, 20, random_state=42)
    classifier = SoftmaxRegression(C).fit(X, y)
    assert classifier.score(X, y) == 1
    assert classifier.predict_proba(X).max(1).min() > 1 - 1e-6


def test_tolerance_below_rounding_is_no_reason_to_go_on():
    X, y = load_iris(return_X_y=True)
    assert SoftmaxRegression(tol=0.0, max_iter=1000).fit(X, y).n_iter_[0] < 20


def test_many_more_features_than_rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 2500)) * rng.uniform(0.1, 10, 2500)
    y = rng.integers(0, 3, 80)
    ours = SoftmaxRegression().fit(X, y)
    rival = LogisticRegression(tol=1e-10, max_iter=10_000).fit(X, y)
    assert_allclose(ours.coef_, rival.coef_, atol=1e-5)
