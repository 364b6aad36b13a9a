r"""onnxruntime predicts the same labels and probabilities as the classifiers."""

import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)
from sksoftmax.persistence import to_onnx

from .onnx_runs import check_same, iris, mlp, run, table


def make_module(n_features, n_classes):
    return nn.Sequential(
        nn.Linear(n_features, 8),
        nn.BatchNorm1d(8),
        nn.GELU(),
        nn.LayerNorm(8, elementwise_affine=False),
        nn.Dropout(0.1),
        nn.Linear(8, n_classes, bias=False),
    )


def with_missing(dtype=np.float64):
    X, y = iris(dtype)
    X[::9, 1] = np.nan
    return X, y


def digits(dtype=np.float64):
    X, y = load_digits(return_X_y=True)
    return X[:300].astype(dtype), y[:300]


def images(axis, dtype=np.float64):
    r"""Return digits in colors, channels at an axis; gray at axis 1, flat at 0."""
    X, y = digits()
    X = X.reshape(-1, 1, 8, 8).repeat(2, axis=2).repeat(2, axis=3)
    if axis != 1:
        X = np.concatenate([X, X // 2, 16 - X], axis=1)
    if axis < 1:
        X = np.ascontiguousarray(np.moveaxis(X, 1, -1))
    return (X if axis else X.reshape(len(X), -1)).astype(dtype), y


def net_of_images(**params):
    return SoftmaxNetClassifier(
        make_convolutions, max_epochs=2, random_state=0, **params
    )


def make_convolutions(n_features, n_classes):
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.MaxPool2d(7), nn.Flatten(), nn.Linear(16, n_classes)
    )


def polars_table():
    frame, y = table()
    return pl.from_pandas(frame.drop(columns=["coded", "many_numbers"])), y


def cnn(**params):
    defaults = {"channels": (4, 8), "max_epochs": 2, "random_state": 0}
    return SoftmaxCNNClassifier(**{**defaults, **params})


CASES = {
    "regression": (SoftmaxRegression(), iris()),
    "regression, large offset": (SoftmaxRegression(), (iris()[0] + 1e5, iris()[1])),
    "regression, float32": (SoftmaxRegression(), iris(np.float32)),
    "regression, integers": (SoftmaxRegression(fit_intercept=False), iris(np.int64)),
    "cv": (SoftmaxRegressionCV(Cs=2, cv=2), iris()),
    "two classes": (SoftmaxRegression(), iris(labels=(True, False, True))),
    "float labels": (SoftmaxRegression(), iris(labels=(0.0, 1.0, 2.0))),
    "object labels": (mlp(), iris(labels=np.array(["b", "a", "c"], dtype=object))),
    "mlp": (mlp(), iris()),
    "mlp, bytes": (mlp(dropout=0.1, input_dropout=0.1), digits(np.uint8)),
    "mlp, counts": (mlp(n_estimators=1), iris(np.int32)),
    "mlp, layer": (mlp(normalization="layer", activation="gelu"), with_missing()),
    "mlp, batch": (
        mlp(normalization="batch", activation="tanh", temperature_scaling=True),
        with_missing(np.float32),
    ),
    "mlp, single batch": (mlp(normalization="batch", n_estimators=1), iris()),
    "mlp, no hidden layer": (mlp(hidden_layer_sizes=()), iris()),
    "mlp, unscaled": (mlp(input_scaling=None, activation="identity"), with_missing()),
    "mlp, standard": (mlp(input_scaling="standard", activation="relu"), iris()),
    "shared": (mlp(share_weights=True, temperature_scaling=True), table()),
    "table": (mlp(n_estimators=2), table()),
    "vectors": (mlp(n_estimators=2), (table()[0][["many"]], table()[1])),
    "bins": (mlp(n_bins=4, categorical_features=[0]), (iris()[0].round(1), iris()[1])),
    "bins, missing": (mlp(n_bins=3), table()),
    "polars": (mlp(n_estimators=1), polars_table()),
    "indices": (mlp(categorical_features=[0]), (iris()[0].round(), iris()[1])),
    "cnn": (cnn(), digits()),
    "cnn, bytes": (cnn(augmentation="shift"), digits(np.uint8)),
    "cnn, plain": (
        cnn(
            convolutions_per_block=1,
            kernel_size=3,
            normalization=None,
            dropout=0.1,
            global_pooling="average",
            padding="valid",
        ),
        digits(np.float32),
    ),
    "cnn, kernels of two sizes": (cnn(kernel_size=(5, 1)), digits()),
    "cnn, hidden layer": (
        cnn(hidden_layer_sizes=(8,), global_pooling=None, image_shape=(1, 4, 16)),
        digits(),
    ),
    "cnn, members": (
        cnn(n_estimators=2, hidden_layer_sizes=(8,), temperature_scaling=True),
        digits(),
    ),
    "tta": (cnn(test_time_augmentation=True, augmentation="shift_flip"), digits()),
    "cnn, gray images": (cnn(), images(1, np.uint8)),
    "cnn, images": (cnn(n_estimators=2), images(3)),
    "cnn, channels last": (cnn(augmentation="shift_flip"), images(-1, np.uint8)),
    "cnn, flat, channels last": (cnn(image_shape=(16, 16, 3)), images(0, np.float32)),
    "net, images": (net_of_images(), images(3)),
    "net, channels last": (net_of_images(), images(-1, np.float32)),
    "net, flat": (net_of_images(image_shape=(16, 16, 3)), images(0)),
    "net": (SoftmaxNetClassifier(make_module, max_epochs=3, random_state=0), iris()),
    "pipeline": (make_pipeline(StandardScaler(), SoftmaxRegression()), iris()),
    "pipeline, float32": (make_pipeline(StandardScaler(), mlp()), iris(np.float32)),
    "pipeline, frame": (make_pipeline(mlp()), table()),
}


@pytest.mark.parametrize(("classifier", "data"), CASES.values(), ids=CASES)
def test_same_labels_and_probabilities(classifier, data):
    X, y = data
    classifier.fit(X, y)
    _, probabilities = check_same(classifier, X, to_onnx(classifier, X[:5]))
    if "standardscaler" not in getattr(classifier, "named_steps", {}):
        assert probabilities.dtype == classifier.predict_proba(X).dtype


@pytest.mark.parametrize("classifier", [SoftmaxRegression(), mlp()])
def test_sparse_rows_stand_for_dense_ones(classifier):
    X, y = iris()
    X[X < 1] = 0
    classifier.fit(csr_array(X), y)
    check_same(classifier, X, to_onnx(classifier, csr_array(X)))


def test_missing_and_unknown_values_in_new_rows():
    X, y = table()
    classifier = mlp().fit(X, y)
    model = to_onnx(classifier, X[:1])
    rows = X[:20].copy()
    rows.loc[:9, "whole"] = 10**6
    rows["text"] = "never seen"
    rows["many_numbers"] = pd.Series([1000] * 20).astype("category")
    with pytest.warns(UserWarning, match="They count as missing"):
        check_same(classifier, rows, model)


def test_numbers_of_dtype_object_become_floats():
    X, y = table()
    X = X[["number", "many"]].assign(coded=X["coded"].astype(object))
    X.loc[::4, "coded"] = None
    classifier = mlp().fit(X, y)
    _, probabilities = run(to_onnx(classifier, X), X.astype({"coded": float}))
    np.testing.assert_allclose(probabilities, classifier.predict_proba(X), atol=1e-5)


def test_labels_without_a_type_in_onnx_are_refused():
    X, y = iris(labels=np.array(["2026-01-01", "2026-01-02", "2026-01-03"], "M8[D]"))
    classifier = SoftmaxRegression().fit(X, y)
    with pytest.raises(ValueError, match="labels of kind 'datetime64'"):
        to_onnx(classifier, X)


def test_augmentation_of_the_user_has_no_effect():
    X, y = digits()
    classifier = cnn(augmentation=torch.relu).fit(X, y)
    check_same(classifier, X, to_onnx(classifier, X))


def test_unfitted_and_other_estimators_are_refused():
    X, y = iris()
    with pytest.raises(NotFittedError):
        to_onnx(mlp(), X)
    with pytest.raises(TypeError, match="LogisticRegression"):
        to_onnx(LogisticRegression(max_iter=1000).fit(X, y), X)
    with pytest.raises(TypeError, match="best_estimator_"):
        to_onnx(GridSearchCV(mlp(max_epochs=1), {}, cv=2).fit(X, y), X)


def test_rows_unlike_those_of_the_fit_are_refused():
    X, y = iris()
    classifier = mlp().fit(X, y)
    with pytest.raises(ValueError, match="Expected 2D array"):
        to_onnx(classifier, X[0])
    with pytest.raises(ValueError, match="Got text in X_sample"):
        to_onnx(classifier, X.astype(str))
    with pytest.raises(ValueError, match="X has 3 features, but"):
        to_onnx(classifier, X[:, :3])
    frame, y = table()
    classifier = mlp().fit(frame, y)
    with (
        pytest.warns(UserWarning, match="They count as missing"),
        pytest.raises(ValueError, match=r"categories .*'narrow'"),
    ):
        to_onnx(classifier, frame.assign(text=1.0))
    with pytest.raises(ValueError, match="feature names"):
        to_onnx(classifier, frame[frame.columns[::-1]])
    mixed = frame.assign(text=pd.Series([1, "one", True] * 50, dtype=object))
    with pytest.raises(ValueError, match="mixed"):
        to_onnx(mlp().fit(mixed, y), mixed)


def test_missing_library_is_named(monkeypatch):
    X, y = iris()
    classifier = SoftmaxRegression().fit(X, y)
    for name in ("_onnx", "_onnx_check", "_onnx_graph", "_onnx_layers"):
        monkeypatch.delitem(sys.modules, f"sksoftmax.persistence.{name}", raising=False)
        monkeypatch.delattr(f"sksoftmax.persistence.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match="pip install onnx onnxruntime"):
        to_onnx(classifier, X)


@pytest.mark.parametrize(
    ("classifier", "data"),
    [
        (SoftmaxRegression(), iris()),
        (mlp(), with_missing(np.float32)),
        (mlp(share_weights=True), iris(np.float32)),
        (cnn(), digits(np.float32)),
    ],
    ids=["regression", "mlp", "shared", "cnn"],
)
def test_torch_export_of_the_module(classifier, data):
    X, y = data
    module = classifier.fit(X, y).module_
    rows = torch.export.Dim("rows")
    program = torch.export.export(
        module, (torch.from_numpy(X[:8]),), dynamic_shapes=({0: rows},)
    )
    with torch.inference_mode():
        logits = program.module()(torch.from_numpy(X))
        torch.testing.assert_close(logits, module(torch.from_numpy(X)))
