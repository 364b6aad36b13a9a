r"""Classifiers of every kind and their data, for the tests of files."""

import numpy as np
import pandas as pd
import polars as pl
from scipy.sparse import csr_array
from sklearn.datasets import load_digits, load_iris
from torch import nn

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxMLPClassifier,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)


def make_module(n_features, n_classes, width=16):
    return nn.Sequential(
        nn.Linear(n_features, width), nn.BatchNorm1d(width), nn.Linear(width, n_classes)
    )


def iris(labels=("setosa", "versicolor", "virginica")):
    X, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    return X[order], np.array(labels)[y][order]


def digits():
    X, y = load_digits(return_X_y=True)
    return X[:300], y[:300]


def images():
    X, y = digits()
    return X.reshape(-1, 8, 8, 1).astype(np.uint8), y


def table():
    r"""Columns of every kind, some of their values missing."""
    X, y = iris()
    frame = pd.DataFrame(
        {
            "number": X[:, 0],
            "text": np.where(X[:, 1] > 3, "wide", "narrow"),
            "many": (X[:, 2] * 10).astype(int).astype(str),
            "coded": pd.Series(np.where(X[:, 3] > 1, 7, 2)).astype("category"),
            "mixed": pd.Series([1, "one", True] * 50, dtype=object),
            "flag": X[:, 0] > 6,
        }
    )
    frame.loc[::7, "number"] = np.nan
    frame.loc[::5, "text"] = None
    return frame, y


def mlp(**params):
    defaults = {"hidden_layer_sizes": (8,), "max_epochs": 3, "random_state": 0}
    return SoftmaxMLPClassifier(**{**defaults, **params})


def cnn(**params):
    defaults = {"channels": (4, 8), "max_epochs": 1, "random_state": 0}
    return SoftmaxCNNClassifier(**{**defaults, **params})


def sparse():
    X, y = iris()
    return csr_array(X), y


CASES = {
    "regression": (SoftmaxRegression(C=np.float64(0.1)), iris),
    "float32": (SoftmaxRegression(), lambda: (iris()[0].astype(np.float32), iris()[1])),
    "sparse": (SoftmaxRegression(), sparse),
    "minibatch": (SoftmaxRegression(solver="adam", max_iter=3, random_state=0), iris),
    "cv": (SoftmaxRegressionCV(Cs=np.array([0.1, 1.0]), l1_ratios=(0, 0.5)), iris),
    "mlp": (mlp(class_weight={"setosa": 2.0}), iris),
    "single": (mlp(n_estimators=1, normalization="batch"), lambda: iris((3, 1, 2))),
    "early stopping": (mlp(early_stopping=True), lambda: iris((0.0, 1.0, 2.0))),
    "two classes": (mlp(), lambda: iris((True, False, True))),
    "object labels": (mlp(), lambda: iris(np.array(["b", "a", "c"], dtype=object))),
    "shared": (mlp(share_weights=True, temperature_scaling=True), table),
    "table": (mlp(n_estimators=2), table),
    "bins": (mlp(n_bins=3), table),
    "indices": (mlp(categorical_features=np.array([0])), iris),
    "polars": (
        mlp(),
        lambda: (pl.from_pandas(table()[0].drop(columns=["mixed"])), table()[1]),
    ),
    "cnn": (cnn(), digits),
    "cnn, members": (cnn(n_estimators=2, temperature_scaling=True), digits),
    "tta": (cnn(test_time_augmentation=True, augmentation="shift_flip"), digits),
    "images": (cnn(), images),
    "images, channels last": (
        cnn(),
        lambda: (images()[0][..., [0, 0, 0]], images()[1]),
    ),
    "dropout": (
        cnn(image_shape=(4, 16), dropout=0.1, kernel_size=np.array([3, 3])),
        digits,
    ),
}


def same(value, other):
    r"""Return whether two values are equal to the last bit, and of one type."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f":
            return value.dtype == other.dtype and value.tobytes() == other.tobytes()
        return value.dtype == other.dtype and value.tolist() == other.tolist()
    if isinstance(value, list | tuple):
        return len(value) == len(other) and all(map(same, value, other))
    return type(value) is type(other) and value == other


def check_same_predictions(classifier, other, X, y):
    for method in ("predict", "predict_proba", "predict_log_proba"):
        assert same(getattr(classifier, method)(X), getattr(other, method)(X))
    assert other.score(X, y) == classifier.score(X, y)
