r"""Rows of the tables of bad input: what is wrong, and the message of the error."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.preprocessing import StandardScaler
from torch import nn

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
)


def make_module(n_features, n_classes, width=8):
    return nn.Sequential(
        nn.Linear(n_features, width), nn.Tanh(), nn.Linear(width, n_classes)
    )


# Called like the classes, but small and reproducible.
Regression = partial(SoftmaxRegression, random_state=0)

MinibatchRegression = partial(
    SoftmaxRegression, solver="sgd", max_iter=3, random_state=0
)

MLP = partial(
    SoftmaxMLPClassifier,
    hidden_layer_sizes=(8,),
    n_estimators=1,
    max_epochs=3,
    random_state=0,
)

CNN = partial(
    SoftmaxCNNClassifier, channels=(4, 4), kernel_size=3, max_epochs=3, random_state=0
)

Net = partial(SoftmaxNetClassifier, module=make_module, max_epochs=3, random_state=0)
EVERY = [Regression, MLP, CNN, Net]
BY_EPOCHS = [MinibatchRegression, MLP, CNN, Net]

# The MLP takes missing values and categories; tests/encoders/ has the tests of them.
NUMBERS_ONLY = [Regression, CNN, Net]

NAMES = {
    Regression: "regression",
    MinibatchRegression: "minibatch",
    MLP: "mlp",
    CNN: "cnn",
    Net: "net",
}

X, y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
SPECIES = np.array(["setosa", "versicolor", "virginica"])[y]
ONES = np.ones(len(y))


def changed(array, value, index=(7, 2), dtype=None):
    r"""Return a copy with another value at one place."""
    array = np.array(array, dtype=dtype)
    array[index[: array.ndim]] = value
    return array


@dataclass
class Row:
    r"""Something bad, and what is to be said about it."""

    what: str
    call: object
    message: str
    error: type[Exception] = ValueError
    makes: list | None = None  # the table's, if None


def table(*rows, makes=EVERY):
    r"""Run a test for each row, with the row's own estimators or the table's."""
    cases = [
        pytest.param(make, row, id=f"{row.what}-{NAMES[make]}")
        for row in rows
        for make in row.makes or makes
    ]
    return pytest.mark.parametrize(("make", "row"), cases)


def fit(X, y, /, **arguments):
    r"""Return the call of ``fit`` with these arguments."""
    return lambda model: model.fit(X, y, **arguments)


def fit_with(**params):
    r"""Return a fit to good data, but with other parameters."""
    return lambda model: model.set_params(**params).fit(X, y)


def partial_fit(*args, **params):
    return lambda model: model.set_params(**params).partial_fit(*args)


def parameters_of(model):
    return {name: p.clone() for name, p in model.module_.state_dict().items()}


def assert_refused_and_nothing_lost(model, row, X=X):
    r"""Assert that a fitted model refuses and still predicts the same bits."""
    before = model.predict_proba(X)
    parameters = parameters_of(model)
    fitted = {name for name in vars(model) if name.endswith("_")}
    with pytest.raises(row.error, match=row.message):
        row.call(model)
    assert model.predict_proba(X).tobytes() == before.tobytes()
    assert fitted == {name for name in vars(model) if name.endswith("_")}
    for name, value in parameters_of(model).items():
        assert torch.equal(value, parameters[name])
