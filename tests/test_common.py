r"""scikit-learn's own checks, over every public estimator."""

from dataclasses import replace

import pytest
from sklearn.datasets import make_blobs
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks
from torch import nn

from sksoftmax import (
    NeighborsEncoder,
    SoftmaxCNNClassifier,
    SoftmaxGridSearchCV,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)
from sksoftmax._nets import mlp_defaults
from sksoftmax._nets.constraints import LATEST


class Module(nn.Sequential):
    def __init__(self, n_features, n_classes, width=16):
        super().__init__(
            nn.Linear(n_features, width), nn.ReLU(), nn.Linear(width, n_classes)
        )


# The check repeats rows and shuffles weighted ones, and the order of rows decides the
# batches. scikit-learn exempts SGDClassifier from it.
MINIBATCH = dict.fromkeys(
    [
        "check_sample_weight_equivalence_on_dense_data",
        "check_sample_weight_equivalence_on_sparse_data",
    ],
    "another order of the rows gives other mini-batches",
)


# scikit-learn's SGDClassifier raises the same error and is exempt from these checks.
NOT_IN_PARTS = "partial_fit refuses class_weight='balanced': it does not see all rows"
BALANCED = {
    "check_fit_score_takes_y": NOT_IN_PARTS,
    "check_n_features_in_after_fitting": NOT_IN_PARTS,
    "check_estimators_partial_fit_n_features": NOT_IN_PARTS,
}


# A training row must not be encoded by its own label. scikit-learn exempts its own
# TargetEncoder and StackingClassifier from these checks.
LEAVE_ONE_OUT = dict.fromkeys(
    [
        "check_transformer_general",
        "check_transformer_data_not_an_array",
    ],
    "fit_transform leaves each row out of its own neighbors; transform does not",
)


# scikit-learn exempts its own GridSearchCV from this check.
GRID_SEARCH = {"check_requires_y_none": "Doesn't fail gracefully"}


def expected_failures(estimator):
    if isinstance(estimator, SoftmaxGridSearchCV):
        return GRID_SEARCH
    if isinstance(estimator, NeighborsEncoder):
        return LEAVE_ONE_OUT
    if isinstance(estimator, SoftmaxRegressionCV):
        return {}
    if estimator.class_weight == "balanced":
        return BALANCED
    exact = isinstance(estimator, SoftmaxRegression) and estimator.solver != "adam"
    return {} if exact else MINIBATCH


# scikit-learn's `type_of_target` casts an infinite y.
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
@parametrize_with_checks(
    [
        # scikit-learn checks its own classifiers with balanced classes as well.
        SoftmaxRegression(),
        SoftmaxRegression(solver="newton-cg", class_weight="balanced"),
        SoftmaxRegression(l1_ratio=0.5),
        SoftmaxRegression(solver="adam"),
        SoftmaxRegressionCV(Cs=3, cv=3),
        SoftmaxRegressionCV(Cs=3, cv=3, scoring="accuracy"),
        SoftmaxRegressionCV(Cs=3, cv=3, class_weight="balanced"),
        SoftmaxGridSearchCV(
            SoftmaxRegression(), {"C": [0.1, 1.0]}, cv=2, error_score="raise"
        ),
        SoftmaxGridSearchCV(
            make_pipeline(StandardScaler(), SoftmaxRegression()),
            {"softmaxregression__C": [0.1, 1.0]},
            cv=2,
            error_score="raise",
        ),
        # The checks fit 300 rows at most: few steps at a large rate reach an accuracy
        # of .92, and the checks expect .83.
        SoftmaxMLPClassifier(
            hidden_layer_sizes=(16,),
            n_estimators=2,
            learning_rate=0.05,
            max_epochs=15,
            batch_size=64,
        ),
        SoftmaxMLPClassifier(
            hidden_layer_sizes=(16,) * 5,
            n_estimators=1,
            learning_rate=0.03,
            max_epochs=15,
            batch_size=64,
        ),
        SoftmaxCNNClassifier(
            channels=(8,),
            kernel_size=3,
            learning_rate=0.05,
            max_epochs=10,
            batch_size=64,
        ),
        SoftmaxNetClassifier(Module, learning_rate=0.01, max_epochs=50),
        NeighborsEncoder(),
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn_check(estimator, check):
    check(estimator)


def test_softmax_regression_passes_every_check_none_skipped():
    results = check_estimator(SoftmaxRegression(), on_skip=None, on_fail=None)
    statuses = {result["check_name"]: result["status"] for result in results}
    # Those of the array API need libraries and devices: ecosystem/test_array_api.py.
    statuses = {name: s for name, s in statuses.items() if "array_api" not in name}
    assert set(statuses.values()) == {"passed"}, statuses
    assert len(statuses) > 50


# The checks above train small nets for few epochs. This one holds for the defaults too.
@pytest.mark.parametrize("estimator", [SoftmaxMLPClassifier(), SoftmaxCNNClassifier()])
def test_defaults_reach_the_accuracy_of_the_checks(estimator):
    estimator_checks.check_classifiers_train(type(estimator).__name__, estimator)


# On such small tables, a perceptron restarts its schedule. Rounds of 10, 20 and 40
# epochs instead of 100, 200 and 400 save time.
@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_classifiers_classes,
        estimator_checks.check_classifiers_one_label,
        estimator_checks.check_estimators_pickle,
        estimator_checks.check_fit_idempotent,
    ],
)
def test_checks_pass_with_restarts_of_the_schedule(check, monkeypatch):
    numbers = mlp_defaults.numbers_of("latest")
    length = replace(numbers.length, most_epochs=10)
    monkeypatch.setitem(mlp_defaults.VERSIONS, LATEST, replace(numbers, length=length))
    estimator = SoftmaxMLPClassifier(
        hidden_layer_sizes=(16,), n_estimators=2, random_state=0
    )
    check(type(estimator).__name__, estimator)
    X, y = make_blobs(n_samples=30, random_state=0, cluster_std=0.1)
    assert estimator.fit(X, y).n_iter_ == 70
