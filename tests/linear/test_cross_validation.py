r"""Folds of SoftmaxRegressionCV and the scores of their validation rows."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn import config_context
from sklearn.datasets import (
    load_iris,
    load_wine,
    make_classification,
)
from sklearn.metrics import brier_score_loss, get_scorer, log_loss
from sklearn.model_selection import (
    LeaveOneGroupOut,
    PredefinedSplit,
)

from sksoftmax import SoftmaxRegression, SoftmaxRegressionCV
from sksoftmax._linear.cross_validation import score_of_logits

from .references import load_standardized


def test_scorer_gets_the_sample_weights_of_a_fold():
    X, y = load_standardized(load_iris)
    weight = np.where(y == 0, 1.0, 1e-9)
    seen = []

    def scorer(estimator, X, y, sample_weight=None):
        seen.append(sample_weight)
        return estimator.score(X, y, sample_weight)

    scores = SoftmaxRegressionCV(2, cv=3, scoring=scorer).fit(X, y, weight).scores_
    assert len(seen) == 6
    assert all(len(weights) == 50 for weights in seen)
    # Only the first class counts, and it is easily told from the others.
    assert scores.max() == pytest.approx(1.0)


@pytest.mark.parametrize("scoring", ["neg_log_loss", "neg_brier_score"])
def test_scores_of_folds_without_a_class(scoring):
    X, y = load_standardized(load_wine)
    # The last fold holds out no row of the third class.
    fold = np.where(y == 2, np.arange(len(y)) % 2, np.arange(len(y)) % 3)
    cv = PredefinedSplit(fold)
    scores = SoftmaxRegressionCV([1.0], cv=cv, scoring=scoring).fit(X, y).scores_
    alone = SoftmaxRegression().fit(X[fold != 2], y[fold != 2])
    proba, labels = alone.predict_proba(X[fold == 2]), np.arange(3)
    metric = {"neg_log_loss": log_loss, "neg_brier_score": brier_score_loss}[scoring]
    expected = -metric(y[fold == 2], proba, labels=labels)
    assert scores[2, 0, 0] == pytest.approx(expected, rel=1e-4)


def test_groups_go_to_the_splitter():
    X, y = load_standardized(load_iris)
    groups = np.arange(150) % 5
    with config_context(enable_metadata_routing=True):
        cv = LeaveOneGroupOut().set_split_request(groups=True)
        ours = SoftmaxRegressionCV([1.0], cv=cv).fit(X, y, groups=groups)
    expected = SoftmaxRegressionCV([1.0], cv=PredefinedSplit(groups)).fit(X, y)
    assert_array_equal(ours.scores_, expected.scores_)
    with pytest.raises(ValueError, match="enable_metadata_routing=True"):
        SoftmaxRegressionCV([1.0]).fit(X, y, groups=groups)


def test_folds_of_every_eighth_row():
    # A large fit would begin with every eighth row: the validation rows of one fold.
    X, y = make_classification(4000, 300, n_informative=20, n_classes=2, random_state=0)
    assert X.size > 2**20
    fold = np.arange(len(y)) % 8
    cv = PredefinedSplit(fold)
    ours = SoftmaxRegressionCV([0.01], cv=cv, scoring="accuracy").fit(X, y)
    for k in (0, 3):
        alone = SoftmaxRegression(0.01).fit(X[fold != k], y[fold != k])
        expected = alone.score(X[fold == k], y[fold == k])
        assert ours.scores_[k, 0, 0] == pytest.approx(expected, abs=0.003)


@pytest.mark.parametrize("scoring", ["accuracy", None, "neg_log_loss"])
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_scores_of_logits_are_those_of_scikit_learn(scoring, n_classes, is_weighted):
    X, y = make_classification(
        120, 6, n_informative=4, n_classes=n_classes, random_state=0
    )
    # Some rows are certain: scikit-learn clips their probabilities.
    X[:5] *= 1e3
    rng = np.random.default_rng(0)
    weight = rng.uniform(0.1, 2.0, len(y)) if is_weighted else None
    classifier = SoftmaxRegression(C=10).fit(X, y)
    logits = X @ classifier.coef_.T + classifier.intercept_
    score = score_of_logits(scoring, logits, y, weight)
    scorer = get_scorer(scoring or "accuracy")
    expected = scorer(classifier, X, y, sample_weight=weight)
    assert score == pytest.approx(expected, rel=1e-12)


def test_other_scores_are_left_to_scikit_learn():
    assert score_of_logits("f1_macro", np.zeros((2, 3)), np.array([0, 1])) is None
    assert score_of_logits(lambda *_: 0.0, np.zeros((2, 3)), np.array([0, 1])) is None
