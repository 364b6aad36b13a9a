r"""onnxruntime predicts the same labels and probabilities as the classifiers."""

import sys

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import polars as pl
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    StandardScaler,
)
from torch import nn

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)
from sksoftmax.persistence import to_onnx

from ..datasets.files import needs_real_data
from ..pipeline_steps import LABELS, STEPS


def make_module(n_features, n_classes):
    return nn.Sequential(
        nn.Linear(n_features, 8),
        nn.BatchNorm1d(8),
        nn.GELU(),
        nn.LayerNorm(8, elementwise_affine=False),
        nn.Dropout(0.1),
        nn.Linear(8, n_classes, bias=False),
    )


def iris(dtype=np.float64, labels=("setosa", "versicolor", "virginica")):
    X, y = load_iris(return_X_y=True)
    X = X * 10 if np.issubdtype(dtype, np.integer) else X
    return X.astype(dtype), np.array(labels)[y]


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


def table():
    X, y = iris()
    frame = pd.DataFrame(
        {
            "number": X[:, 0],
            "text": np.where(X[:, 1] > 3, "wide", "narrow"),
            "many": (X[:, 2] * 10).astype(int).astype(str),
            "many_numbers": (X[:, 2] * 10).astype(int),
            "coded": np.where(X[:, 3] > 1, 7, 2),
            "flag": X[:, 0] > 6,
            "whole": (X[:, 3] * 10).astype(int),
        }
    ).astype({"coded": "category", "many_numbers": "category"})
    frame.loc[::7, "number"] = np.nan
    frame.loc[::5, "text"] = None
    return frame, y


def polars_table():
    frame, y = table()
    return pl.from_pandas(frame.drop(columns=["coded", "many_numbers"])), y


def columns(X):
    r"""Return a table as the inputs of a graph."""
    if not isinstance(X, pd.DataFrame | pl.DataFrame):
        return {"X": np.asarray(X)}
    series = {name: X[name].to_numpy() for name in X.columns}
    return {
        # Text cannot be missing in ONNX.
        name: (np.where(pd.isna(x), "", x) if x.dtype == object else x)[:, None]
        for name, x in series.items()
    }


def run(model, X):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    assert [output.name for output in session.get_outputs()] == [
        "label",
        "probabilities",
    ]
    return session.run(None, columns(X))


def check_same(classifier, X, model, atol=1e-5):
    onnx.checker.check_model(model, full_check=True)
    for rows in (X, X[:1], X[:7]):
        label, probabilities = run(model, rows)
        assert label.tolist() == classifier.predict(rows).tolist()
        expected = classifier.predict_proba(rows)
        assert probabilities.shape == expected.shape
        np.testing.assert_allclose(probabilities, expected, atol=atol, rtol=0)
    return label, probabilities


def mlp(**params):
    defaults = {"hidden_layer_sizes": (8, 8), "max_epochs": 4, "random_state": 0}
    return SoftmaxMLPClassifier(**{**defaults, **params})


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


def test_pipeline_with_columns_of_text(tmp_path):
    X, y = table()
    X["text"] = X["text"].fillna("unknown")
    prepare = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["number"]),
            ("text", OneHotEncoder(handle_unknown="ignore"), ["text", "many"]),
        ],
        sparse_threshold=0,
    )
    X = X[["number", "text", "many"]]
    pipeline = make_pipeline(prepare, mlp()).fit(X, y)
    path = tmp_path / "pipeline.onnx"
    model = to_onnx(pipeline, X[:1], path)
    check_same(pipeline, X, onnx.load(path))
    assert [value.name for value in model.graph.input] == ["number", "text", "many"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("classifier", [SoftmaxRegression(), mlp()])
def test_sparse_rows_stand_for_dense_ones(classifier):
    X, y = iris()
    X[X < 1] = 0
    classifier.fit(csr_array(X), y)
    check_same(classifier, X, to_onnx(classifier, csr_array(X)))


# Steps that skl2onnx does not convert, or not with these parameters.
UNKNOWN_STEPS = {
    "CountVectorizer characters": "countvectorizer",
    "FunctionTransformer log1p": "functiontransformer",
    "HashingVectorizer": "hashingvectorizer",
    "ImageReader": "imagereader",
    "IterativeImputer": "iterativeimputer",
    "KBinsDiscretizer": "kbinsdiscretizer",
    "MissingIndicator": "featureunion",
    "NeighborsEncoder": "neighborsencoder",
    "OneHotEncoder rare": "onehotencoder",
    "SimpleImputer median": "simpleimputer",
    "SimpleImputer text": "pipeline",
    "SplineTransformer": "splinetransformer",
    "TargetEncoder": "targetencoder",
    "TargetEncoder of categories": "targetencoder",
}


@pytest.mark.parametrize("name", STEPS)
def test_steps_of_scikit_learn_are_converted_or_named(name):
    step, X = STEPS[name]
    pipeline = make_pipeline(clone(step), SoftmaxRegression(max_iter=3, tol=1.0))
    pipeline.fit(X, LABELS)
    if name in UNKNOWN_STEPS:
        with pytest.raises(ValueError, match=f"the step '{UNKNOWN_STEPS[name]}'"):
            to_onnx(pipeline, X)
    else:
        check_same(pipeline, X, to_onnx(pipeline, X[:20]))


@pytest.mark.parametrize(
    "step",
    [KNNImputer(), PolynomialFeatures(2), OrdinalEncoder(), "passthrough", None],
    ids=lambda step: str(step).split("(")[0],
)
def test_columns_of_numbers_of_several_dtypes(step):
    # skl2onnx converts each of these steps for a single input only, or not at all.
    X, y = iris()
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    frame = frame.assign(count=(X[:, 2] * 10).astype(int), is_wide=X[:, 1] > 3)
    frame = frame[["a", "count", "is_wide", "c"]]
    pipeline = make_pipeline(step, SoftmaxRegression(C=1e-2)).fit(frame, y)
    check_same(pipeline, frame, to_onnx(pipeline, frame), atol=1e-4)


@pytest.mark.parametrize("step", [SimpleImputer(), StandardScaler(), OneHotEncoder()])
def test_a_single_column(step):
    X, y = iris()
    column = X[:, 2:3].round()
    pipeline = make_pipeline(step, SoftmaxRegression()).fit(column, y)
    check_same(pipeline, column, to_onnx(pipeline, column[:4]))


def test_only_the_classifier_where_a_step_cannot_be_converted():
    step, X = STEPS["SplineTransformer"]
    pipeline = make_pipeline(clone(step), SoftmaxRegression()).fit(X, LABELS)
    rows = pipeline[:-1].transform(X)
    check_same(pipeline[-1], rows, to_onnx(pipeline[-1], rows))


def test_words_that_onnx_splits_in_another_way_are_an_error():
    # skl2onnx forms no pairs with a neighbor of a word of one letter.
    texts = ["a red house", "a blue house", "red a b house", "blue b house"] * 5
    pipeline = make_pipeline(CountVectorizer(ngram_range=(1, 2)), SoftmaxRegression())
    pipeline.fit(texts, [0, 1, 2, 3] * 5)
    with pytest.raises(ValueError, match=r"the step 'countvectorizer'.*other values"):
        to_onnx(pipeline, texts)


def test_rounding_that_changes_the_probabilities_is_an_error():
    # The imputer is converted for float32 only, which rounds these numbers.
    X = 1e9 + np.arange(40.0)[:, None]
    pipeline = make_pipeline(SimpleImputer(), StandardScaler(), SoftmaxRegression())
    pipeline.fit(X, np.arange(40) > 20)
    with pytest.raises(ValueError, match="the step"):
        to_onnx(pipeline, X)


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


def test_array_of_objects_is_refused():
    X, y = np.array([[1], [2], [3]] * 10, dtype=object), [0, 1, 2] * 10
    pipeline = make_pipeline(OneHotEncoder(sparse_output=False), SoftmaxRegression())
    with pytest.raises(ValueError, match=r"shape \(30, 1\) and dtype object"):
        to_onnx(pipeline.fit(X, y), X)


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


@needs_real_data("otto")
def test_otto_predicts_the_same_in_onnxruntime():
    from sksoftmax.datasets import load_otto

    X, y = load_otto(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    training, rest = order[:3000], order[-10_000:]
    prepare = ColumnTransformer(
        [("scale", StandardScaler(), list(X.columns[:40]))], remainder="passthrough"
    )
    pipeline = make_pipeline(prepare, mlp(hidden_layer_sizes=(64,), n_estimators=4))
    pipeline.fit(X.iloc[training], y.iloc[training])
    rows = X.iloc[rest]
    label, probabilities = run(to_onnx(pipeline, X[:1]), rows)
    assert (label == pipeline.predict(rows)).all()
    expected = pipeline.predict_proba(rows)
    np.testing.assert_allclose(probabilities, expected, atol=1e-5, rtol=0)
