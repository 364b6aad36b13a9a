r"""Softmax regression with an L1 penalty against scikit-learn's saga."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.datasets import (
    load_breast_cancer,
    load_iris,
    load_wine,
)
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold

from sksoftmax import SoftmaxRegression, SoftmaxRegressionCV

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


@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
@pytest.mark.parametrize("C", [1e-2, 1.0, 1e4])
def test_weak_and_strong_penalties_end_at_the_minimum(C, l1_ratio):
    X, y = load_wine(return_X_y=True)
    X = standardized(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = SoftmaxRegression(C=C, l1_ratio=l1_ratio).fit(X, y)
    # The subgradient of the sum of losses, within the penalty's.
    proba = fitted.predict_proba(X)
    gradient = (proba - np.eye(3)[y]).T @ X * C + (1 - l1_ratio) * fitted.coef_
    at_zero = fitted.coef_ == 0
    assert at_zero.any()
    assert np.abs(gradient[at_zero]).max() <= l1_ratio * (1 + 1e-6) + 1e-6 * C
    moving = gradient + l1_ratio * np.sign(fitted.coef_)
    assert_allclose(moving[~at_zero], 0, atol=2e-6 * max(C, 1))


def test_wide_and_sparse_rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3000)) * (rng.random((80, 3000)) < 0.05)
    y = (X[:, :20].sum(1) > 0).astype(int)
    dense = SoftmaxRegression(C=10, l1_ratio=1.0).fit(X, y)
    sparse = SoftmaxRegression(C=10, l1_ratio=1.0).fit(csr_array(X), y)
    assert 0 < (dense.coef_ != 0).sum() < 80
    assert_allclose(sparse.coef_, dense.coef_, atol=1e-5)


def test_cross_validation_has_the_scores_of_single_fits():
    X, y = load_wine(return_X_y=True)
    X = standardized(X)
    Cs, l1_ratios = [0.01, 1.0, 100.0], [0.0, 0.5, 1.0]
    search = SoftmaxRegressionCV(Cs, l1_ratios=l1_ratios, cv=3).fit(X, y)
    for fold, (train, test) in enumerate(StratifiedKFold(3).split(X, y)):
        for i, l1_ratio in enumerate(l1_ratios):
            for j, C in enumerate(Cs):
                single = SoftmaxRegression(C=C, l1_ratio=l1_ratio)
                single.fit(X[train], y[train])
                score = -log_loss(y[test], single.predict_proba(X[test]))
                assert search.scores_[fold, i, j] == pytest.approx(score, rel=1e-4)
