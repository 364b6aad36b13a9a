r"""The search space for Optuna."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch import nn

from sksoftmax import (
    NeighborsEncoder,
    SoftmaxCNNClassifier,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
)
from sksoftmax.tuning import SearchSpace

optuna = pytest.importorskip("optuna")

ESTIMATORS = [
    NeighborsEncoder(),
    SoftmaxCNNClassifier(),
    SoftmaxMLPClassifier(),
    SoftmaxNetClassifier(nn.Linear),
    SoftmaxRegression(),
]


@pytest.fixture(autouse=True)
def _quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_ranges_are_of_parameters_and_hold_the_defaults(estimator):
    space, defaults = SearchSpace(estimator), estimator.get_params()
    distributions = space.distributions()
    assert set(space.ranges) == set(distributions) <= set(defaults)
    for name, distribution in distributions.items():
        default = defaults[name]
        if isinstance(default, tuple):
            default = "-".join(map(str, default))
        # The weight decay of a module is 0 by default, which no log scale has.
        if default not in ("auto", 0.0):
            assert distribution._contains(distribution.to_internal_repr(default))


def test_trials_and_distributions_suggest_the_same_kinds():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    space = SearchSpace(SoftmaxMLPClassifier())
    space.ranges["n_estimators"] = (2, 4)
    for _ in range(5):
        suggested = space.suggest(study.ask())
        asked = study.ask(space.distributions()).params
        assert set(suggested) == set(asked)
        for params in (suggested, asked):
            SoftmaxMLPClassifier().set_params(**params)
            assert params["n_estimators"] in (2, 3, 4)
            assert 0.002 <= params["learning_rate"] <= 0.04


def test_a_search_through_a_pipeline_improves(recwarn):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    y = (X[:, 0] + 0.5 * rng.normal(size=300) > 0).astype(int)
    pipeline = make_pipeline(NeighborsEncoder(), SoftmaxRegression(C=1e-4))
    space = SearchSpace(pipeline)
    assert list(space.ranges) == [
        "neighborsencoder__n_neighbors",
        "neighborsencoder__power",
        "softmaxregression__C",
    ]

    def loss(model):
        proba = model.fit(X[:150], y[:150]).predict_proba(X[150:])
        return -np.log(proba[np.arange(150), y[150:]]).mean()

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(
        lambda trial: loss(clone(pipeline).set_params(**space.suggest(trial))), 8
    )
    assert study.best_value < loss(pipeline) - 0.1


def test_errors_name_what_is_expected():
    with pytest.raises(ValueError, match="Expected one of SoftmaxMLP"):
        SearchSpace(LogisticRegression())
    space = SearchSpace(SoftmaxRegression())
    space.ranges["C"] = (1.0, 2.0, 3.0)
    with pytest.raises(ValueError, match="expected a list of choices"):
        space.distributions()
