r"""Conversion to ONNX of pipelines: steps are converted, or named in an error."""

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    StandardScaler,
)

from sksoftmax import SoftmaxRegression
from sksoftmax.persistence import to_onnx

from ..datasets.files import needs_real_data
from ..pipeline_steps import LABELS, STEPS
from .onnx_runs import check_same, iris, mlp, run, table


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


def test_array_of_objects_is_refused():
    X, y = np.array([[1], [2], [3]] * 10, dtype=object), [0, 1, 2] * 10
    pipeline = make_pipeline(OneHotEncoder(sparse_output=False), SoftmaxRegression())
    with pytest.raises(ValueError, match=r"shape \(30, 1\) and dtype object"):
        to_onnx(pipeline.fit(X, y), X)


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
