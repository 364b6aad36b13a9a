r"""Searches in which folds have no score."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_iris
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.model_selection import GridSearchCV

from sksoftmax import SoftmaxGridSearchCV, SoftmaxRegression, SoftmaxRegressionCV
from sksoftmax._linear.cross_validation import mean_over_folds

CS = [1e-6, 1e-3, 1.0]


def folds_of_iris():
    r"""Return rows, and three folds of which the last holds out two classes only."""
    X, y = load_iris(return_X_y=True)
    index = np.arange(len(X))
    thirds = [(index[index % 3 != k], index[index % 3 == k]) for k in range(3)]
    thirds[2] = (thirds[2][0], thirds[2][1][y[thirds[2][1]] < 2])
    return X, y, thirds


def missing_score_warnings(search, X, y):
    r"""Fit, and return what it warned of itself."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        search.fit(X, y)
    return [w for w in caught if "are NaN, in fold" in str(w.message)]


class TabulatedScores:
    r"""Scores by a table: the folds' candidates, in the order in which they come."""

    def __init__(self, scores):
        self.scores = iter(scores.ravel())

    def __call__(self, estimator, X, y):
        return next(self.scores)


@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("l1_ratios", [(0.0,), (0.0, 0.5)])
def test_fold_without_a_class_does_not_count_in_cv(refit, l1_ratios):
    X, y, folds = folds_of_iris()
    search = SoftmaxRegressionCV(
        CS, l1_ratios=l1_ratios, cv=folds, scoring="roc_auc_ovr", refit=refit
    )
    [warning] = missing_score_warnings(search, X, y)
    assert issubclass(warning.category, UndefinedMetricWarning)
    assert "in fold 3 of 3" in str(warning.message)
    assert search.C_ == 1.0
    assert np.isnan(search.scores_[2]).all()
    known = SoftmaxRegressionCV(
        CS, l1_ratios=l1_ratios, cv=folds[:2], scoring="roc_auc_ovr", refit=refit
    ).fit(X, y)
    assert_allclose(search.coef_, known.coef_, atol=1e-7)


@pytest.mark.parametrize("scoring", ["roc_auc_ovr", ["roc_auc_ovr", "accuracy"]])
def test_fold_without_a_class_does_not_count_in_a_grid_search(scoring):
    X, y, folds = folds_of_iris()
    refit = True if scoring == "roc_auc_ovr" else "roc_auc_ovr"
    grid = {"C": CS}
    search = SoftmaxGridSearchCV(
        SoftmaxRegression(), grid, scoring=scoring, cv=folds, refit=refit
    )
    [warning] = missing_score_warnings(search, X, y)
    assert issubclass(warning.category, UndefinedMetricWarning)
    assert search.best_params_ == {"C": 1.0}
    name = "score" if refit is True else "roc_auc_ovr"
    known = GridSearchCV(
        SoftmaxRegression(), grid, scoring="roc_auc_ovr", cv=folds[:2]
    ).fit(X, y)
    for key in ("mean_test", "std_test", "rank_test"):
        expected = known.cv_results_[f"{key}_score"]
        assert_allclose(search.cv_results_[f"{key}_{name}"], expected, atol=1e-6)
    assert search.best_score_ == pytest.approx(known.best_score_)


def test_nan_scores_alone_raise():
    X, y = load_iris(return_X_y=True)
    search = SoftmaxRegressionCV(CS, cv=2, scoring=lambda *_: np.nan)
    with pytest.raises(ValueError, match=r"All scores by scoring=.* are NaN"):
        search.fit(X, y)
    assert not hasattr(search, "classes_")


@given(data=st.data())
def test_means_leave_out_folds_without_scores(data):
    n_folds, n_candidates = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 6))
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n_folds, n_candidates))
    scores[rng.random(n_folds) < 0.4] = np.nan
    scores[rng.random(scores.shape) < data.draw(st.sampled_from([0, 0.2]))] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        means = mean_over_folds(scores)
    counted = scores[~np.isnan(scores).all(1)]
    assert np.isnan(means).all() == np.isnan(scores).all()
    if not len(counted):
        return
    complete = ~np.isnan(counted).any(0)
    assert_allclose(means[complete], counted[:, complete].mean(0))
    if complete.any():
        assert np.isnan(means[~complete]).all()


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), refit=st.booleans())
def test_best_candidate_with_scores_is_chosen(seed, refit):
    X, y = load_iris(return_X_y=True)
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(3, 2, 3))
    scores[rng.integers(3)] = np.nan
    if rng.random() < 0.5:
        scores[:, rng.integers(2), rng.integers(3)] = np.nan
    search = SoftmaxRegressionCV(
        CS, l1_ratios=(0.0, 1.0), cv=3, scoring=TabulatedScores(scores), refit=refit
    )
    [_] = missing_score_warnings(search, X[::5], y[::5])
    assert_array_equal(search.scores_, scores)
    known = scores[~np.isnan(scores).all((1, 2))]
    if refit:
        best = np.unravel_index(np.nanargmax(known.mean(0)), (2, 3))
        assert (search.l1_ratio_, search.C_) == (
            search.l1_ratios_[best[0]],
            CS[best[1]],
        )
    else:
        by_fold = np.nanargmax(known.reshape(len(known), -1), axis=1) % 3
        assert_allclose(search.C_, np.array(CS)[by_fold].mean())
