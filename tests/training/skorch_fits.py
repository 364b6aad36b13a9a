r"""Fits with callbacks of skorch."""

from functools import partial

import pytest
from sklearn.datasets import load_iris
from torch import nn

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
)


def make_module(n_features, n_classes):
    return nn.Sequential(
        nn.Linear(n_features, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, n_classes)
    )


CLASSIFIERS = {
    "net": partial(
        SoftmaxNetClassifier, make_module, max_epochs=3, batch_size=40, random_state=0
    ),
    "ensemble": partial(
        SoftmaxMLPClassifier,
        (8,),
        n_estimators=3,
        dropout=0.2,
        early_stopping=False,
        temperature_scaling=False,
        lr_schedule="constant",
        max_epochs=3,
        batch_size=40,
        random_state=0,
    ),
    "cnn": partial(
        SoftmaxCNNClassifier,
        (2, 2),
        channels=(4,),
        lr_schedule="constant",
        max_epochs=3,
        batch_size=40,
        random_state=0,
    ),
    "linear": partial(
        SoftmaxRegression,
        solver="adam",
        lr_schedule="constant",
        max_iter=3,
        batch_size=40,
        random_state=0,
    ),
}
for_each = pytest.mark.parametrize("name", CLASSIFIERS)


def fitted(name, callbacks, data, *, is_watched=True, **options):
    X, y = data
    rows = {"X_val": X[::3], "y_val": y[::3]} if is_watched else {}
    return CLASSIFIERS[name](callbacks=callbacks, **options).fit(X, y, **rows)


def scaled_iris():
    X, y = load_iris(return_X_y=True)
    X = (X - X.mean(0)) / X.std(0)
    return X, load_iris().target_names[y]
