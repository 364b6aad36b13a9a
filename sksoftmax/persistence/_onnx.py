r"""Classifiers as converters of skl2onnx: columns, module, labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from skl2onnx import convert_sklearn, update_registered_converter
from skl2onnx.common import data_types
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.pipeline import Pipeline

from .._classifier.module_classifier import ModuleClassifier
from .._data.features import FEATURE_DTYPES
from .._encoders.categories import column_values
from .._utils.frames import is_frame
from ._onnx_graph import Graph, Value
from ._onnx_layers import add_module, log_mean_proba

# Old enough for runtimes of some years, new enough for a layer's normalisation.
_OPSETS = {"": 18, "ai.onnx.ml": 3}

_TEXT = np.dtype(np.str_)
_FLOAT64 = np.dtype(np.float64)
_INT64 = np.dtype(np.int64)

# The types of skl2onnx, and back.
_TYPES: dict[np.dtype[Any], type[Any]] = {
    _TEXT: data_types.StringTensorType,
    np.dtype(np.bool_): data_types.BooleanTensorType,
    np.dtype(np.float32): data_types.FloatTensorType,
    np.dtype(np.float64): data_types.DoubleTensorType,
    np.dtype(np.int8): data_types.Int8TensorType,
    np.dtype(np.int16): data_types.Int16TensorType,
    np.dtype(np.int32): data_types.Int32TensorType,
    np.dtype(np.int64): data_types.Int64TensorType,
    np.dtype(np.uint8): data_types.UInt8TensorType,
}
_NARROWER = {data_types.DoubleTensorType: data_types.FloatTensorType}

# Words are lowercased by the rules of a locale, and every machine has this one.
_LOCALE = "C"

_DTYPES = {kind: dtype for dtype, kind in _TYPES.items()}


def check_classifier(model: Any) -> None:
    r"""Refuse a model that is no classifier of this package, nor ends in one."""
    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    if not isinstance(last, ModuleClassifier):
        raise TypeError(
            f"Got {type(last).__name__}, but expected a classifier of sksoftmax or a "
            "Pipeline whose last step is one. Of a search, pass best_estimator_."
        )


def convert(model: Any, X_sample: Any, *, narrow: bool = False) -> Any:
    r"""Return the ONNX model of a classifier, a pipeline, or the steps of one.

    With ``narrow``, inputs of float64 become inputs of float32.
    """
    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    options: dict[type, dict[str, Any]] = {
        vectorizer: {"locale": _LOCALE}
        for vectorizer in (CountVectorizer, TfidfVectorizer)
    }
    if isinstance(last, ModuleClassifier):
        update_registered_converter(
            type(last),
            f"Sksoftmax{type(last).__name__}",
            _set_types,
            _convert,
            # With options for another step, skl2onnx asks for this one as well.
            options={"zipmap": [False]},
        )
        options[type(last)] = {"zipmap": False}
    types = [
        (name, _NARROWER.get(type(kind), type(kind))(kind.shape) if narrow else kind)
        for name, kind in _input_types(X_sample)
    ]
    return convert_sklearn(
        model,
        name=type(model).__name__,
        initial_types=types,
        target_opset=_OPSETS,
        options=options,
    )


def has_double_input(X: Any) -> bool:
    r"""Return whether an input of the model for such rows is of float64."""
    return any(type(kind) in _NARROWER for _, kind in _input_types(X))


def input_values(X: Any) -> list[NDArray[Any]]:
    r"""Return rows as the inputs of their model."""
    if is_frame(X):
        columns = [
            np.asarray(column_values(X, index))[:, None] for index in range(X.shape[1])
        ]
    else:
        columns = [_as_array(X)]
    dtypes = [_DTYPES[type(kind)] for _, kind in _input_types(X)]
    return [
        # Text cannot be missing in ONNX.
        np.where(pd.isna(column), "", column).astype(object)
        if dtype == _TEXT
        else column.astype(dtype)
        for column, dtype in zip(columns, dtypes, strict=True)
    ]


def _input_types(X: Any) -> list[tuple[str, Any]]:
    r"""Return the inputs: one for each column of a frame, otherwise a single one."""
    if is_frame(X):
        return [
            (str(name), _TYPES[_column_dtype(column_values(X, index))]([None, 1]))
            for index, name in enumerate(X.columns)
        ]
    X = _as_array(X)
    dtype = _TEXT if X.dtype.kind == "U" else X.dtype
    # One text a row is what vectorizers take.
    is_text = X.ndim == 1 and dtype == _TEXT
    if not (X.ndim == 2 or is_text) or dtype not in _TYPES:
        raise ValueError(
            f"Got X_sample of shape {X.shape} and dtype {X.dtype}, but expected rows "
            "as they were fitted to, all numbers or all text. Pass a pandas or polars "
            "DataFrame if the columns differ."
        )
    return [("X", _TYPES[dtype]([None, *X.shape[1:]]))]


def _as_array(X: Any) -> NDArray[Any]:
    r"""Return rows as an array; of dtype str if all of its objects are text."""
    array: NDArray[Any] = np.asarray(X)
    is_text = array.dtype == object and (
        pd.api.types.infer_dtype(array.ravel()) == "string"
    )
    return array.astype(np.str_) if is_text else array


def _column_dtype(column: Any) -> np.dtype[Any]:
    r"""Return the dtype of a column's input: text for all that is no number."""
    # Of categories, this gives the values.
    values = np.asarray(column)
    if values.dtype in _TYPES:
        return values.dtype
    kind = pd.api.types.infer_dtype(values, skipna=True)
    is_number = kind in ("boolean", "integer", "floating", "mixed-integer-float")
    # Only floats can be missing.
    return _FLOAT64 if is_number else _TEXT


def _set_types(operator: Any) -> None:
    r"""Say what the two outputs are, of which skl2onnx knows the names."""
    classifier = operator.raw_operator
    label, probabilities = operator.outputs
    label.type = _TYPES[_label_dtype(classifier)](shape=[None])
    inputs = [_DTYPES[type(variable.type)] for variable in operator.inputs]
    kind = _TYPES[_output_dtype(_feature_dtype(classifier, inputs))]
    probabilities.type = kind(shape=[None, len(classifier.classes_)])


def _convert(scope: Any, operator: Any, container: Any) -> None:
    r"""Add a classifier's nodes, from its inputs to its two outputs."""
    classifier, graph = operator.raw_operator, Graph(scope, container)
    inputs = [
        Value(variable.full_name, _DTYPES[type(variable.type)])
        for variable in operator.inputs
    ]
    dtype = _feature_dtype(classifier, [value.dtype for value in inputs])
    if classifier._encoder is not None:
        inputs = _encoded(graph, classifier, inputs, dtype)
    inputs = [graph.cast(value, dtype) for value in inputs]
    x = inputs[0] if len(inputs) == 1 else graph.add("Concat", *inputs, axis=1)
    logits = graph.cast(_logits(graph, classifier, x), _output_dtype(dtype))
    winner = graph.add("ArgMax", logits, axis=1, keepdims=0, dtype=_INT64)
    classes = classifier.classes_.astype(_label_dtype(classifier))
    label, probabilities = (variable.full_name for variable in operator.outputs)
    labels = graph.add("Identity", classes)
    graph.name_as(graph.add("Gather", labels, winner, axis=0), label)
    graph.name_as(graph.add("Softmax", logits, axis=1), probabilities)


def _label_dtype(classifier: ModuleClassifier) -> np.dtype[Any]:
    r"""Return the dtype that ONNX has for the labels."""
    kind = pd.api.types.infer_dtype(classifier.classes_)
    dtypes: dict[str, Any] = {
        "string": np.str_,
        "boolean": np.bool_,
        "integer": np.int64,
        "floating": np.float64,
    }
    if kind not in dtypes:
        raise ValueError(
            f"Got classes_={classifier.classes_.tolist()}, labels of kind {kind!r}, "
            "but expected text, integers, floats or booleans, which ONNX has. Fit to "
            "such labels."
        )
    dtype: np.dtype[Any] = np.dtype(dtypes[kind])
    return dtype


def _output_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    r"""Return the dtype of the probabilities, as in ``predict_proba``."""
    return dtype if dtype == np.float32 else _FLOAT64


def _feature_dtype(
    classifier: ModuleClassifier, inputs: list[np.dtype[Any]]
) -> np.dtype[Any]:
    r"""Return the dtype that features have once they are validated in ``predict``."""
    encoder = classifier._encoder
    if encoder is not None:
        n_columns = len(encoder.categories)
        columns = inputs if len(inputs) == n_columns else inputs * n_columns
        inputs = [
            dtype
            for dtype, is_one in zip(columns, encoder.is_categorical, strict=True)
            if not is_one
        ]
        codes = np.float32 if set(inputs) == {np.dtype(np.float32)} else np.float64
        inputs = [*inputs, np.dtype(codes)]
    if _TEXT in inputs:
        raise ValueError(
            f"Got text in X_sample where {type(classifier).__name__} was fitted to "
            "numbers. Expected rows like those that it was fitted to."
        )
    dtype: np.dtype[Any] = np.result_type(*inputs)
    return dtype if dtype in FEATURE_DTYPES else _FLOAT64


def _encoded(
    graph: Graph,
    classifier: ModuleClassifier,
    inputs: list[Value],
    dtype: np.dtype[Any],
) -> list[Value]:
    r"""Return the columns, each of shape (N, 1), with codes for the categories."""
    assert classifier._encoder is not None
    columns = []
    for index, categories in enumerate(classifier._encoder.categories):
        if len(inputs) > 1:
            column = inputs[index]
        else:
            column = graph.add(
                "Gather", inputs[0], np.array([index], dtype=_INT64), axis=1
            )
        if categories is not None:
            column = _codes(graph, column, index, categories.to_numpy())
        columns.append(graph.cast(column, dtype))
    return columns


def _codes(graph: Graph, column: Value, index: int, categories: NDArray[Any]) -> Value:
    r"""Return the index of each value among the categories, NaN if it is none."""
    kind = pd.api.types.infer_dtype(categories)
    is_text = kind == "string"
    if is_text != (column.dtype == _TEXT) or kind.startswith("mixed"):
        raise ValueError(
            f"Column {index} has the categories {categories[:5].tolist()}, of kind "
            f"{kind!r}, but X_sample has {column.dtype} there. Expected the same kind, "
            "text, or numbers and booleans: pass a DataFrame like the one of fit."
        )
    if is_text:
        return graph.add(
            "LabelEncoder",
            column,
            dtype=np.dtype(np.float32),
            domain="ai.onnx.ml",
            keys_strings=categories.tolist(),
            values_floats=[float(code) for code in range(len(categories))],
            default_float=float("nan"),
        )
    # (N, 1) == (K) -> (N, K)
    keys = categories.astype(np.float64)
    is_key = graph.add(
        "Equal", graph.cast(column, _FLOAT64), keys, dtype=np.dtype(np.bool_)
    )
    is_key = graph.cast(is_key, np.dtype(np.float32))
    code = graph.add("ArgMax", is_key, axis=1, keepdims=1, dtype=_INT64)
    axes = np.array([1], dtype=np.int64)
    is_known = graph.cast(
        graph.add("ReduceMax", is_key, axes, keepdims=1), np.dtype(np.bool_)
    )
    code = graph.cast(code, np.dtype(np.float32))
    return graph.add(
        "Where", is_known, code, np.array(np.nan, dtype=np.float32), dtype=code.dtype
    )


def _logits(graph: Graph, classifier: ModuleClassifier, x: Value) -> Value:
    module = classifier.module_
    if classifier._input_dtype is not None:
        x = graph.cast(x, np.dtype(np.float32))
    # What is done to an image's pixels, done to their indices.
    n_pixels = classifier.n_features_in_
    pixels = classifier._views(torch.arange(n_pixels)[None])
    if len(pixels) == 1:
        return add_module(graph, module, x)
    index = torch.cat(pixels).flatten().numpy()
    # (N, D) -> (N, V * D) -> (N * V, D) -> (N * V, C) -> (N, V, C) -> (N, C)
    x = graph.add("Gather", x, index, axis=1)
    x = graph.add("Reshape", x, np.array([-1, n_pixels], dtype=np.int64))
    logits = add_module(graph, module, x)
    n_classes = len(classifier.classes_)
    shape = np.array([-1, len(pixels), n_classes], dtype=np.int64)
    return log_mean_proba(graph, graph.add("Reshape", logits, shape), axis=1)
