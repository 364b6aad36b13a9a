r"""Fixtures of the displays: figures that are drawn and closed, and classifiers."""

import pytest
from matplotlib import pyplot
from sklearn.datasets import load_digits, load_wine
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksoftmax import (
    SoftmaxRegression,
)


@pytest.fixture(autouse=True)
def _agg():
    pyplot.switch_backend("agg")
    yield
    try:
        for number in pyplot.get_fignums():
            # Drawing gives no warning, such as that of a layout that fails.
            pyplot.figure(number).canvas.draw()
    finally:
        pyplot.close("all")


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:600], y[:600], X[600:], y[600:]


@pytest.fixture(scope="module")
def on_digits(digits):
    return SoftmaxRegression(C=0.1).fit(*digits[:2])


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True, as_frame=True)
    names = load_wine().target_names[y]
    return make_pipeline(StandardScaler(), SoftmaxRegression()).fit(X, names), X, names
