r"""The choice of the penalty against scikit-learn's."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.datasets import (
    load_breast_cancer,
    load_iris,
    load_wine,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer, log_loss
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksoftmax import SoftmaxRegression, SoftmaxRegressionCV

from .references import load_standardized

LOADERS = [load_iris, load_wine, load_breast_cancer]


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize("scoring", ["accuracy", "neg_log_loss"])
def test_same_scores_and_choice_as_a_grid_search_over_scikit_learn(load, scoring):
    X, y = load_standardized(load)
    Cs = np.logspace(-3, 2, 6)
    ours = SoftmaxRegressionCV(Cs, cv=4, scoring=scoring).fit(X, y)
    rival = LogisticRegression(solver="newton-cholesky", tol=1e-10, max_iter=1000)
    search = GridSearchCV(rival, {"C": Cs}, cv=4, scoring=scoring).fit(X, y)
    expected = [search.cv_results_[f"split{fold}_test_score"] for fold in range(4)]
    assert ours.scores_.shape == (4, 1, 6)
    assert_allclose(ours.scores_[:, 0], expected, atol=1e-4)
    assert search.best_params_["C"] == ours.C_
    assert_allclose(ours.coef_, search.best_estimator_.coef_, atol=1e-4)
    assert_allclose(ours.predict_proba(X), search.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("load", [load_iris, load_breast_cancer])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_paths_are_the_folds_fits(load, fit_intercept):
    X, y = load_standardized(load)
    folds = list(StratifiedKFold(3).split(X, y))
    ours = SoftmaxRegressionCV(
        [0.1, 1.0],
        l1_ratios=[0.0, 0.5],
        fit_intercept=fit_intercept,
        cv=folds,
        scoring="accuracy",
    ).fit(X, y)
    for (fold, r, c), score in np.ndenumerate(ours.scores_):
        train, test = folds[fold]
        alone = SoftmaxRegression(
            ours.Cs_[c], l1_ratio=ours.l1_ratios_[r], fit_intercept=fit_intercept
        ).fit(X[train], y[train])
        columns = ours.coefs_paths_[fold, r, c]
        assert_allclose(columns[:, : X.shape[1]], alone.coef_, atol=2e-3)
        if fit_intercept:
            assert_allclose(columns[:, -1], alone.intercept_, atol=2e-3)
        else:
            assert columns.shape[1] == X.shape[1]
        assert score == pytest.approx(alone.score(X[test], y[test]), abs=0.03)
    assert (ours.n_iter_ > 0).all()


def test_refit_is_the_fit_with_the_choice():
    X, y = load_standardized(load_wine)
    weight = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    chosen = SoftmaxRegressionCV(5, scoring="neg_log_loss", class_weight="balanced")
    chosen.fit(X, y, weight)
    alone = SoftmaxRegression(chosen.C_, class_weight="balanced").fit(X, y, weight)
    assert_allclose(chosen.coef_, alone.coef_, atol=1e-6)
    assert_array_equal(chosen.predict(X), alone.predict(X))


def test_without_refit_the_folds_best_are_averaged():
    X, y = load_standardized(load_iris)
    averaged = SoftmaxRegressionCV(4, cv=3, refit=False).fit(X, y)
    best = averaged.scores_[:, 0].argmax(1)
    paths = averaged.coefs_paths_[np.arange(3), 0, best]
    assert_allclose(averaged.coef_, paths.mean(0)[:, :4], rtol=1e-10)
    assert pytest.approx(averaged.Cs_[best].mean()) == averaged.C_
    assert averaged.score(X, y) > -0.1


def test_sparse_rows_and_string_labels():
    X, y = load_wine(return_X_y=True)
    X[np.median(X, axis=0) > X] = 0
    X /= X.max(0)
    labels = np.array(["red", "rose", "white"])[y]
    sparse = SoftmaxRegressionCV(4, cv=3).fit(csr_array(X), labels)
    dense = SoftmaxRegressionCV(4, cv=3).fit(X, labels)
    assert_allclose(sparse.scores_, dense.scores_, atol=1e-12)
    assert_allclose(sparse.coef_, dense.coef_, atol=1e-4)
    assert set(sparse.predict(X)) <= {"red", "rose", "white"}


def test_frame_is_fitted_without_a_warning():
    X, y = load_iris(return_X_y=True, as_frame=True)
    classifier = SoftmaxRegressionCV(2, cv=3).fit(X, y)
    assert_array_equal(classifier.feature_names_in_, X.columns)
    assert classifier.score(X, y) > -0.1


def test_in_a_pipeline():
    X, y = load_wine(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), SoftmaxRegressionCV(4))
    assert pipeline.fit(X, y).score(X, y) > -0.05


def test_score_is_by_the_scorer():
    X, y = load_standardized(load_iris)
    classifier = SoftmaxRegressionCV(2, cv=3).fit(X, y)
    weight = np.arange(150.0)
    expected = -log_loss(y, classifier.predict_proba(X), sample_weight=weight)
    assert classifier.score(X, y, weight) == pytest.approx(expected)
    accurate = SoftmaxRegressionCV(2, cv=3, scoring=None).fit(X, y)
    assert accurate.score(X, y) == pytest.approx((accurate.predict(X) == y).mean())


def test_scores_by_default_are_log_losses():
    X, y = load_standardized(load_wine)
    default = SoftmaxRegressionCV(3, cv=3).fit(X, y)
    named = SoftmaxRegressionCV(3, cv=3, scoring="neg_log_loss").fit(X, y)
    assert_array_equal(default.scores_, named.scores_)
    assert default.get_params()["scoring"] == "neg_log_loss"


@pytest.mark.parametrize("scoring", ["neg_log_loss", "neg_brier_score", "f1_macro"])
def test_rows_without_a_class_are_scored(scoring):
    X, y = load_standardized(load_iris)
    classifier = SoftmaxRegressionCV([1.0], cv=3, scoring=scoring).fit(X, y)
    kept = y < 2
    scorer = get_scorer(scoring)
    # A score of probabilities needs to know all classes; the others do not.
    if scoring != "f1_macro":
        with pytest.raises(ValueError, match="labels"):
            scorer(classifier, X[kept], y[kept])
        expected = scorer(classifier, X, y, sample_weight=kept.astype(float))
    else:
        expected = scorer(classifier, X[kept], y[kept])
    assert classifier.score(X[kept], y[kept]) == pytest.approx(expected)


def test_there_is_no_partial_fit():
    assert not hasattr(SoftmaxRegressionCV(), "partial_fit")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"Cs": [1.0, -1.0]}, r"Got Cs=\[1.0, -1.0\], but expected .* above 0"),
        ({"Cs": []}, r"Got Cs=\[\], but expected"),
        ({"Cs": 2**70}, r"'Cs' parameter .* range \[1, 10000\]"),
        ({"l1_ratios": [1.5]}, r"Got l1_ratios=\[1.5\], but expected .* from 0 to 1"),
        ({"Cs": 0}, "'Cs' parameter"),
        ({"scoring": "speed"}, "'scoring' parameter"),
    ],
)
def test_bad_grid(params, message):
    X, y = load_standardized(load_iris)
    with pytest.raises(ValueError, match=message):
        SoftmaxRegressionCV(**params).fit(X, y)


def test_too_few_steps_are_reported():
    X, y = load_standardized(load_iris)
    with pytest.warns(ConvergenceWarning, match="in 10 of 10 fits: after 1 steps"):
        SoftmaxRegressionCV(2, cv=5, max_iter=1, refit=False).fit(X, y)
