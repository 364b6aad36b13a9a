r"""Tables for the tests of ONNX, and predictions of onnxruntime."""

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import polars as pl
from sklearn.datasets import load_iris

from sksoftmax import SoftmaxMLPClassifier


def iris(dtype=np.float64, labels=("setosa", "versicolor", "virginica")):
    X, y = load_iris(return_X_y=True)
    X = X * 10 if np.issubdtype(dtype, np.integer) else X
    return X.astype(dtype), np.array(labels)[y]


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
