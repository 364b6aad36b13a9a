r"""Searches by other libraries: Optuna, and scikit-learn's successive halving."""

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna_integration import OptunaSearchCV, SkorchPruningCallback
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    HalvingGridSearchCV,
    StratifiedKFold,
    cross_val_score,
    train_test_split,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksoftmax import SoftmaxMLPClassifier

X, y = load_iris(return_X_y=True)
y = np.array(["setosa", "versicolor", "virginica"])[y]
FOLDS = StratifiedKFold(n_splits=3, shuffle=True, random_state=0)


@pytest.fixture(autouse=True)
def quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def make_mlp(**parameters):
    parameters = {
        "hidden_layer_sizes": (8,),
        "n_estimators": 1,
        "max_epochs": 6,
        "random_state": 0,
        **parameters,
    }
    return SoftmaxMLPClassifier(**parameters)


# `OptunaSearchCV` warns that it is experimental.
@pytest.mark.filterwarnings("ignore:OptunaSearchCV is experimental")
# It imports a deprecated module of Optuna.
@pytest.mark.filterwarnings("ignore:`optuna.terminator` module:FutureWarning")
def test_optuna_search_scores_as_cross_validation_does():
    pipeline = make_pipeline(StandardScaler(), make_mlp())
    name = "softmaxmlpclassifier__learning_rate"
    search = OptunaSearchCV(
        pipeline,
        {name: FloatDistribution(1e-3, 0.1, log=True)},
        cv=FOLDS,
        n_trials=4,
        random_state=0,
        scoring="neg_log_loss",
    ).fit(X, y)
    assert len({trial.params[name] for trial in search.trials_}) == 4
    for trial in search.trials_:
        candidate = clone(pipeline).set_params(**trial.params)
        scores = cross_val_score(candidate, X, y, cv=FOLDS, scoring="neg_log_loss")
        assert trial.value == pytest.approx(scores.mean(), abs=1e-12)
    assert search.best_score_ == max(trial.value for trial in search.trials_)
    assert search.predict(X[:1]).tolist() == ["setosa"]


# The callback's class is experimental as well.
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_study_prunes_by_epoch():
    X_fit, X_val, y_fit, y_val = train_test_split(X, y, stratify=y, random_state=0)
    # Three good rates set the median; the fourth is too small, the fifth is good.
    rates = [0.02, 0.03, 0.04, 1e-7, 0.05]
    fitted = {}

    def objective(trial):
        rate = trial.suggest_float("learning_rate", 1e-8, 1.0)
        classifier = make_mlp(
            learning_rate=rate,
            callbacks=[SkorchPruningCallback(trial, "valid_loss")],
        )
        fitted[rate] = classifier
        classifier.fit(X_fit, y_fit, X_val=X_val, y_val=y_val)
        return -classifier.validation_scores_[-1]

    study = optuna.create_study(
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=1)
    )
    for rate in rates:
        study.enqueue_trial({"learning_rate": rate})
    study.optimize(objective, n_trials=len(rates))
    pruned = study.trials[3]
    assert pruned.state == optuna.trial.TrialState.PRUNED
    # The fourth trial is pruned in the first epoch possible. It leaves no fitted state.
    assert len(pruned.intermediate_values) == 2
    assert not fitted[1e-7].__sklearn_is_fitted__()
    for trial in (*study.trials[:3], study.trials[4]):
        losses = [
            -score for score in fitted[trial.params["learning_rate"]].validation_scores_
        ]
        assert list(trial.intermediate_values.values()) == losses
        assert trial.value == losses[-1]
    assert study.best_value < 0.5


def test_halving_spends_epochs():
    search = HalvingGridSearchCV(
        make_mlp(),
        {"learning_rate": [1e-6, 1e-5, 0.03, 0.05]},
        resource="max_epochs",
        min_resources=2,
        max_resources=8,
        factor=2,
        cv=FOLDS,
        scoring="neg_log_loss",
        random_state=0,
    ).fit(X, y)
    assert search.n_resources_ == [2, 4, 8]
    assert search.n_candidates_ == [4, 2, 1]
    results = search.cv_results_
    spent = [params["max_epochs"] for params in results["params"]]
    assert spent == [2, 2, 2, 2, 4, 4, 8]
    assert search.best_params_["learning_rate"] in (0.03, 0.05)
    assert search.best_params_["max_epochs"] == search.best_estimator_.n_iter_ == 8
    last = clone(search.best_estimator_)
    scores = cross_val_score(last, X, y, cv=FOLDS, scoring="neg_log_loss")
    assert results["mean_test_score"][-1] == pytest.approx(scores.mean(), abs=1e-12)
