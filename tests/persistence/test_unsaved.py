r"""Models that cannot be saved are refused, and the error says what to do."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import GradientNormClipping

from sksoftmax import (
    SoftmaxMLPClassifier,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)
from sksoftmax._utils import files
from sksoftmax.persistence import load, save

from .classifiers import (
    check_same_predictions,
    cnn,
    digits,
    iris,
    mlp,
    table,
)


@pytest.mark.parametrize(
    ("params", "remedy"),
    [
        ({"callbacks": [("clip", GradientNormClipping(1.0))]}, {"callbacks": None}),
        ({"random_state": np.random.RandomState(0)}, {"random_state": None}),
    ],
    ids=["callbacks", "random_state"],
)
def test_parameters_that_are_code_are_named(params, remedy, path):
    X, y = iris()
    classifier = mlp(**params).fit(X, y)
    [name] = params
    with pytest.raises(ValueError, match=rf"parameter {name}=.*set_params\({name}="):
        save(classifier, path)
    assert not path.exists()
    save(classifier.set_params(**remedy), path)
    check_same_predictions(classifier, load(path), X, y)


def test_functions_are_named(path):
    X, y = digits()
    classifier = cnn(augmentation=torch.relu).fit(X, y)
    with pytest.raises(ValueError, match=r"parameter augmentation=<built-in"):
        save(classifier, path)
    save(classifier.set_params(augmentation=None), path)
    check_same_predictions(classifier, load(path), X, y)
    search = SoftmaxRegressionCV(Cs=2, cv=KFold(3)).fit(X, y)
    with pytest.raises(ValueError, match=r"parameter cv=KFold"):
        save(search, path)


@pytest.mark.parametrize(
    "params",
    [
        {"activation": "relu"},
        {"dropout": 0.1},
        {"n_estimators": 1},
        {"input_scaling": None},
    ],
    ids=str,
)
def test_parameters_changed_after_the_fit_are_named(params, path):
    classifier = mlp().fit(*iris()).set_params(**params)
    with pytest.raises(ValueError, match="Fit again after changing a parameter"):
        save(classifier, path)


def test_image_shape_changed_after_the_fit_is_named(path):
    classifier = cnn(image_shape=(8, 8)).fit(*digits()).set_params(image_shape=(4, 16))
    with pytest.raises(ValueError, match=r"image_shape=\(1, 8, 8\)\), not .*4, 16"):
        save(classifier, path)


def test_dates_cannot_be_saved(path):
    X, y = table()
    days = pd.date_range("2026-01-01", periods=7).to_numpy()
    X["day"] = pd.Series(np.resize(days, len(X))).astype("category")
    with pytest.raises(ValueError, match=r"attribute _encoder holds .*datetime64"):
        save(mlp().fit(X, y), path)


@pytest.mark.parametrize(
    ("model", "error"),
    [
        (mlp(), NotFittedError),
        (LogisticRegression(), TypeError),
        (make_pipeline(StandardScaler(), mlp()), TypeError),
        (GridSearchCV(mlp(), {}), TypeError),
        (None, TypeError),
        (type("SoftmaxMLPClassifier", (SoftmaxMLPClassifier,), {})(), TypeError),
    ],
    ids=lambda model: type(model).__name__,
)
def test_pipelines_searches_and_other_estimators_cannot_be_saved(model, error, path):
    with pytest.raises(error):
        save(model, path)
    assert not path.exists()


def test_a_failed_save_leaves_the_older_file(path, monkeypatch):
    X, y = iris()
    classifier = SoftmaxRegression().fit(X, y)
    save(classifier, path)
    before = path.read_bytes()

    def fail(descriptor):
        raise OSError("No space left on device")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        save(SoftmaxRegression(C=9).fit(X, y), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
