r"""Softmax regression as an estimator: options, warm starts, mini-batches."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
)

from sksoftmax import SoftmaxRegression

from .references import standardized


def test_exact_solver_has_no_best_epoch():
    X, y = load_iris(return_X_y=True)
    classifier = SoftmaxRegression(solver="adam", max_iter=3).fit(X, y)
    assert classifier.best_epoch_ == classifier.n_iter_ == 3
    assert (
        classifier.set_params(solver="auto", max_iter=100).fit(X, y).best_epoch_ is None
    )


def test_warm_start_needs_no_more_steps():
    X, y = load_digits(return_X_y=True)
    classifier = SoftmaxRegression(warm_start=True, tol=1e-6).fit(X, y)
    coef, n_iter = classifier.coef_, classifier.n_iter_[0]
    classifier.fit(X, y)
    assert n_iter > 2
    assert classifier.n_iter_[0] == 1
    assert_allclose(classifier.coef_, coef, atol=1e-6)


@pytest.mark.parametrize("solver", ["auto", "adam"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_max_iter_of_zero_leaves_the_start(solver):
    X, y = load_iris(return_X_y=True)
    classifier = SoftmaxRegression(solver=solver, max_iter=0).fit(X, y)
    assert classifier.n_iter_.tolist() == [0]
    assert not classifier.coef_.any()


def test_balanced_class_without_weight_is_no_class():
    X, y = load_iris(return_X_y=True)
    weight = np.where(y == 1, 0.0, 1.0 + (y == 2))
    classifier = SoftmaxRegression(class_weight="balanced", fit_intercept=False)
    alone = clone(classifier).fit(X[y != 1], y[y != 1], weight[y != 1])
    proba = classifier.fit(X, y, weight).predict_proba(X)
    assert_array_equal(classifier.classes_, [0, 2])
    assert_allclose(proba, alone.predict_proba(X))


def test_tensors_are_accepted():
    X, y = load_iris(return_X_y=True)
    expected = SoftmaxRegression().fit(X, y, np.ones(150))
    tensors = torch.tensor(X, requires_grad=True), torch.tensor(y), torch.ones(150)
    classifier = SoftmaxRegression().fit(*tensors)
    assert_array_equal(classifier.coef_, expected.coef_)
    assert_array_equal(classifier.predict(tensors[0]), expected.predict(X))


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
