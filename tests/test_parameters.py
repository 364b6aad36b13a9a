r"""Parameters of all estimators: which names there are, and which there are not."""

import pytest
from sklearn.base import clone
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

ESTIMATORS = [
    NeighborsEncoder(),
    SoftmaxCNNClassifier(),
    SoftmaxGridSearchCV(SoftmaxRegression(), {"C": [0.1, 1.0]}),
    SoftmaxMLPClassifier(),
    SoftmaxNetClassifier(nn.Linear),
    SoftmaxRegression(),
    SoftmaxRegressionCV(),
]


def name_of(estimator):
    return type(estimator).__name__


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=name_of)
def test_public_attributes_before_fit_are_parameters(estimator):
    # Other libraries ask `hasattr` what they can set: BaggingClassifier, for example,
    # and tests of scikit-learn do so with `n_estimators` and `random_state`.
    others = {
        name
        for name in set(dir(estimator)) - set(estimator.get_params(deep=False))
        if not name.startswith("_")
        and hasattr(estimator, name)
        and not callable(getattr(estimator, name))
    }
    assert others == set()


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=name_of)
def test_parameters_of_other_estimators_are_neither_there_nor_settable(estimator):
    parameters = estimator.get_params(deep=False)
    others = {name for other in ESTIMATORS for name in other.get_params(deep=False)}
    for name in others - set(parameters):
        assert not hasattr(estimator, name)
        with pytest.raises(ValueError, match="Invalid parameter"):
            clone(estimator).set_params(**{name: 2})
