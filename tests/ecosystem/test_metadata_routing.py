r"""Sample weights and validation rows pass through pipelines and searches."""

import numpy as np
import pytest
import sklearn
from sklearn.feature_selection import SelectKBest
from sklearn.metrics import log_loss
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ..factories import MLP, for_each_class, same_bits


@pytest.fixture(autouse=True)
def _enabled():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.fixture
def weight(iris):
    # Weights that differ enough to change every model.
    rng = np.random.default_rng(0)
    return rng.uniform(0.01, 1, len(iris[1])) ** 4


@for_each_class
def test_sample_weights_through_a_pipeline(make, iris, weight):
    X, y = iris
    pipeline = make_pipeline(
        StandardScaler().set_fit_request(sample_weight=False),
        make().set_fit_request(sample_weight=True),
    ).fit(X, y, sample_weight=weight)
    scaled = pipeline[0].transform(X)
    expected = make().fit(scaled, y, sample_weight=weight).predict_proba(scaled)
    unweighted = make().fit(scaled, y).predict_proba(scaled)
    assert same_bits(pipeline.predict_proba(X), expected)
    assert np.abs(expected - unweighted).max() > 1e-3


@for_each_class
def test_sample_weights_through_a_grid_search(make, iris, weight):
    X, y = iris
    model = make().set_fit_request(sample_weight=True)
    model.set_score_request(sample_weight=True)
    folds = StratifiedKFold(2)
    search = GridSearchCV(
        make_pipeline(SelectKBest(k=4), model),
        {"selectkbest__k": [4]},
        cv=folds,
    ).fit(X, y, sample_weight=weight)
    for i, (train, test) in enumerate(folds.split(X, y)):
        direct = make().fit(X[train], y[train], sample_weight=weight[train])
        score = direct.score(X[test], y[test], sample_weight=weight[test])
        assert search.cv_results_[f"split{i}_test_score"][0] == score
    refitted = make().fit(X, y, sample_weight=weight)
    assert same_bits(search.predict_proba(X), refitted.predict_proba(X))


def test_validation_rows_through_a_pipeline(iris):
    X, y = iris
    model = MLP(early_stopping=True).set_fit_request(X_val=True, y_val=True)
    pipeline = Pipeline(
        [("scale", StandardScaler()), ("mlp", model)], transform_input=["X_val"]
    ).fit(X[:100], y[:100], X_val=X[100:], y_val=y[100:])
    # The validation rows were scaled by the pipeline as well.
    score = -log_loss(y[100:], pipeline.predict_proba(X[100:]))
    assert max(pipeline["mlp"].validation_scores_) == pytest.approx(score, abs=1e-5)
