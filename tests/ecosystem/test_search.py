r"""Searches and cross-validation of scikit-learn."""

import pytest
from scipy.stats import loguniform
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.metrics import log_loss
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_validate,
    learning_curve,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from ..factories import MLP, Net, for_each_class, same_bits


@for_each_class
def test_grid_search(make, iris):
    X, y = iris
    grid = {"class_weight": [None, {"setosa": 0.0}]}
    search = GridSearchCV(make(), grid, cv=3).fit(X, y)
    assert search.best_params_ == {"class_weight": None}
    assert search.best_score_ > 0.85
    unseen = search.cv_results_["mean_test_score"][1]
    assert unseen < 0.7
    direct = make().fit(X, y)
    assert same_bits(search.predict_proba(X), direct.predict_proba(X))


def test_randomized_search(iris):
    X, y = iris
    space = {"learning_rate": loguniform(1e-5, 1e-1), "max_epochs": [1, 20]}
    search = RandomizedSearchCV(
        MLP(), space, n_iter=5, scoring="neg_log_loss", cv=3, random_state=0
    ).fit(X, y)
    scores = search.cv_results_["mean_test_score"]
    assert search.best_score_ == scores.max() > -0.4
    assert scores.min() < -0.9
    # A distribution of SciPy draws np.float64.
    assert 1e-5 < search.best_estimator_.learning_rate < 1e-1


def test_halving_grid_search_over_epochs(iris):
    X, y = iris
    search = HalvingGridSearchCV(
        MLP(),
        {"learning_rate": [1e-5, 1e-4, 1e-3, 3e-2]},
        resource="max_epochs",
        max_resources=16,
        min_resources=4,
        factor=2,
        cv=3,
        random_state=0,
    ).fit(X, y)
    assert search.n_resources_ == [4, 8, 16]
    assert search.best_params_ == {"learning_rate": 3e-2, "max_epochs": 16}
    assert search.best_estimator_.n_iter_ == 16


@for_each_class
def test_cross_validation_with_several_scorers(make, iris):
    X, y = iris
    scorers = ["accuracy", "neg_log_loss", "roc_auc_ovr", "f1_macro"]
    folds = StratifiedKFold(3)
    result = cross_validate(
        make(), X, y, cv=folds, scoring=scorers, return_estimator=True
    )
    for i, (_, test) in enumerate(folds.split(X, y)):
        proba = result["estimator"][i].predict_proba(X[test])
        expected = -log_loss(y[test], proba)
        assert result["test_neg_log_loss"][i] == pytest.approx(expected)
    assert result["test_accuracy"].mean() > 0.85
    assert result["test_roc_auc_ovr"].mean() > 0.95


def test_learning_curve(cancer):
    X, y = cancer
    sizes, train_scores, test_scores = learning_curve(
        MLP(),
        X,
        y,
        train_sizes=[20, 300],
        cv=3,
        scoring="neg_log_loss",
        shuffle=True,
        random_state=0,
    )
    assert sizes.tolist() == [20, 300]
    assert train_scores.shape == (2, 3)
    assert test_scores[1].mean() > test_scores[0].mean()


def test_search_over_a_module_parameter_in_a_pipeline(iris):
    X, y = iris
    pipeline = Pipeline([("scale", StandardScaler()), ("net", Net())])
    search = GridSearchCV(pipeline, {"net__module__width": [1, 16]}, cv=3)
    search.fit(X, y)
    assert search.best_params_ == {"net__module__width": 16}
    module = search.best_estimator_["net"].module_
    assert module[0].out_features == 16
    # The search does not change the pipeline that it was given.
    assert pipeline["net"].module_params is None
