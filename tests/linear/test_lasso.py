r"""Softmax regression with an L1 penalty against scikit-learn's saga."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import (
    load_breast_cancer,
    load_iris,
    load_wine,
)
from sklearn.linear_model import LogisticRegression

from sksoftmax import SoftmaxRegression

from .references import objective, standardized


# Settings at which saga converges within seconds.
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
def test_objective_is_at_most_scikit_learns(load, C, l1_ratio):
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


def test_opposed_features():
    # Their leading direction is orthogonal to that of equal weights.
    X = np.array([[1.0, 3.0], [2.0, 1.0], [3.0, 3.0], [4.0, 1.0]])
    y, weight = np.array([0, 1, 0, 1]), np.array([13.0, 4.0, 4.0, 4.0])
    ours = SoftmaxRegression(l1_ratio=0.5).fit(X, y, weight)
    saga = LogisticRegression(l1_ratio=0.5, solver="saga", tol=1e-10, max_iter=9999)
    assert_allclose(ours.coef_, saga.fit(X, y, weight).coef_, atol=1e-5)


def test_strong_lasso_leaves_the_class_frequencies():
    X, y = load_iris(return_X_y=True)
    classifier = SoftmaxRegression(C=1e-4, l1_ratio=1.0).fit(X[:120], y[:120])
    assert not classifier.coef_.any()
    frequencies = np.bincount(y[:120]) / 120
    assert_allclose(classifier.predict_proba(X[:1])[0], frequencies, atol=1e-7)


def test_mini_batches_refuse_it():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match=r"Got l1_ratio=0.5 with solver='sgd'"):
        SoftmaxRegression(l1_ratio=0.5, solver="sgd").fit(X, y)
