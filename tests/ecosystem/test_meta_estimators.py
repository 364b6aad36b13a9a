r"""The classifiers as parts of scikit-learn's other classifiers."""

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from ..factories import CNN, MLP, Net, Regression, for_each_class, same_bits


@for_each_class
@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibrated_classifier(make, method, three_or_eight):
    X, y = three_or_eight
    calibrated = CalibratedClassifierCV(make(), method=method, cv=3)
    calibrated.fit(X[::2], y[::2])
    assert calibrated.score(X[1::2], y[1::2]) > 0.93
    assert len(calibrated.calibrated_classifiers_) == 3


def test_voting_classifier(iris):
    X, y = iris
    members = [("linear", Regression()), ("mlp", MLP()), ("net", Net())]
    voting = VotingClassifier(members, voting="soft").fit(X, y)
    # VotingClassifier encodes the labels and averages the probabilities.
    expected = np.mean([m.fit(X, y).predict_proba(X) for _, m in members], axis=0)
    np.testing.assert_allclose(voting.predict_proba(X), expected, atol=1e-12)
    assert voting.score(X, y) > 0.9


def test_stacking_classifier(iris):
    X, y = iris
    members = [("linear", Regression()), ("mlp", MLP()), ("cnn", CNN())]
    stacking = StackingClassifier(members, LogisticRegression(), cv=3).fit(X, y)
    assert stacking.stack_method_ == ["predict_proba"] * 3
    assert stacking.final_estimator_.n_features_in_ == 9
    assert stacking.score(X, y) > 0.9


@for_each_class
def test_bagging_classifier(make, iris):
    X, y = iris
    bagging = BaggingClassifier(
        make(random_state=None), n_estimators=3, oob_score=False, random_state=0
    ).fit(X, y)
    assert bagging.score(X, y) > 0.85
    first, second, _ = [m.predict_proba(X) for m in bagging.estimators_]
    assert not same_bits(first, second)
    again = clone(bagging).fit(X, y)
    assert same_bits(again.predict_proba(X), bagging.predict_proba(X))


@for_each_class
def test_ada_boost_classifier(make, iris):
    X, y = iris
    boost = AdaBoostClassifier(make(), n_estimators=3, random_state=0).fit(X, y)
    assert boost.score(X, y) > 0.85
    assert len(boost.estimators_) == 3
    # Each classifier of the boosting has other sample weights.
    probabilities = [member.predict_proba(X) for member in boost.estimators_]
    assert np.abs(probabilities[0] - probabilities[1]).max() > 1e-3


@for_each_class
def test_one_vs_rest_classifier(make, iris):
    X, y = iris
    one_vs_rest = OneVsRestClassifier(make()).fit(X, y)
    assert one_vs_rest.score(X, y) > 0.85
    setosa = make().fit(X, (y == "setosa").astype(int))
    assert same_bits(
        one_vs_rest.decision_function(X)[:, 0],
        setosa.decision_function(X).astype(np.float64),
    )


@for_each_class
def test_permutation_importance(make, iris):
    X, y = iris
    noise = np.random.default_rng(0).normal(size=len(y))
    X = np.column_stack([X[:, 2], noise])
    model = make().fit(X, y)
    importance = permutation_importance(model, X, y, n_repeats=3, random_state=0)
    assert importance.importances_mean[0] > 0.3
    assert abs(importance.importances_mean[1]) < 0.05


@for_each_class
def test_fits_in_threads_agree(make, iris):
    X, y = iris
    bagging = BaggingClassifier(make(), n_estimators=4, n_jobs=2, random_state=0)
    with joblib.parallel_config("threading"):
        threaded = clone(bagging).fit(X, y)
    alone = bagging.set_params(n_jobs=1).fit(X, y)
    for first, second in zip(threaded.estimators_, alone.estimators_, strict=True):
        assert same_bits(first.predict_proba(X), second.predict_proba(X))
