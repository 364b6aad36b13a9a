r"""Converters of skl2onnx for classifiers: inputs, categories, module, labels."""

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
from .._utils.arrays import from_any_device
from .._utils.frames import is_frame
from ._onnx_export import add_user_module, expand_exported
from ._onnx_graph import BOOL, FLOAT32, FLOAT64, INT64, TEXT, Graph, Value
from ._onnx_layers import add_module, log_mean_proba

# Operator sets, of 2022: runtimes have them, and the first has LayerNormalization.
_OPSETS = {"": 18, "ai.onnx.ml": 3}

# Locale whose rules vectorizers follow to lowercase words; every machine has it.
_LOCALE = "C"

# skl2onnx's types of inputs and outputs.
_TYPES: dict[np.dtype[Any], type[Any]] = {
    TEXT: data_types.StringTensorType,
    BOOL: data_types.BooleanTensorType,
    FLOAT32: data_types.FloatTensorType,
    FLOAT64: data_types.DoubleTensorType,
    np.dtype(np.int8): data_types.Int8TensorType,
    np.dtype(np.int16): data_types.Int16TensorType,
    np.dtype(np.int32): data_types.Int32TensorType,
    INT64: data_types.Int64TensorType,
    np.dtype(np.uint8): data_types.UInt8TensorType,
}
_DTYPES = {kind: dtype for dtype, kind in _TYPES.items()}

# Kinds of labels, and of columns of numbers, by pandas.api.types.infer_dtype.
_LABEL_DTYPES = {"string": TEXT, "boolean": BOOL, "integer": INT64, "floating": FLOAT64}
_NUMBERS = {"boolean", "integer", "floating", "mixed-integer-float"}


def check_classifier(model: Any) -> None:
    r"""Refuse a model that is no classifier of this package, nor ends in one."""
    last = _last_step(model)
    if not isinstance(last, ModuleClassifier):
        raise TypeError(
            f"Got {type(last).__name__}, but expected a classifier of "
            "sksoftmax or a Pipeline whose last step is one. Of a search, pass "
            "best_estimator_."
        )
    if last._dates:
        names = getattr(last, "feature_names_in_", np.arange(last.n_features_in_))
        columns = [names[column] for column, *_ in last._dates]
        raise ValueError(
            f"Got {type(last).__name__} that was fitted to dates or durations in the "
            f"columns {columns}, but ONNX has no such types. Expected numbers: encode "
            "dates before the model that is exported, for instance with "
            "skrub.DatetimeEncoder, and durations with .dt.total_seconds()."
        )


def convert(
    model: Any, X_sample: Any, *, narrow: bool = False, is_joined: bool = False
) -> Any:
    r"""Return the ONNX model of a classifier, a pipeline, or the steps of one.

    With ``narrow``, inputs of float64 become inputs of float32. With ``is_joined``,
    columns of numbers become one input, a matrix of floats.
    """
    last = _last_step(model)
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
            # With options for another step, skl2onnx requires this one as well.
            options={"zipmap": [False]},
        )
        options[type(last)] = {"zipmap": False}
    types, inputs = [], model_inputs(X_sample)
    if is_joined:
        dtype = np.result_type(*inputs.values(), np.float32)
        inputs = {"matrix": np.hstack([x.astype(dtype) for x in inputs.values()])}
    for name, values in inputs.items():
        dtype = TEXT if values.dtype == object else values.dtype
        kind = _TYPES[FLOAT32 if narrow and dtype == FLOAT64 else dtype]
        types.append((name, kind([None, *values.shape[1:]])))
    onnx_model = convert_sklearn(
        model,
        name=type(model).__name__,
        initial_types=types,
        target_opset=_OPSETS,
        options=options,
    )
    expand_exported(onnx_model, _OPSETS[""])
    return onnx_model


def model_inputs(X: Any) -> dict[str, NDArray[Any]]:
    r"""Return rows as inputs of a model: one for each column of a frame, or one.

    Text has the dtype object, and "" for a missing value, which ONNX does not have.
    """
    if is_frame(X):
        return {
            str(name): _column_input(np.asarray(column_values(X, index)))[:, None]
            for index, name in enumerate(X.columns)
        }
    values: NDArray[Any] = np.asarray(from_any_device(X))
    is_text = pd.api.types.infer_dtype(values.ravel()) == "string"
    # Vectorizers take one text per row; rows of numbers may have axes.
    has_rows = values.ndim in (1, 2) if is_text else values.ndim > 1
    if not has_rows or not (is_text or values.dtype in _TYPES):
        raise ValueError(
            f"Got X_sample of shape {values.shape} and dtype {values.dtype}, but "
            "expected rows as they were fitted to, all numbers or all text. Pass a "
            "pandas or polars DataFrame if the columns differ."
        )
    return {"X": values.astype(object) if is_text else values}


def _column_input(values: NDArray[Any]) -> NDArray[Any]:
    r"""Return a column as numbers, or as text if it holds anything else."""
    if values.dtype in _TYPES:
        return values
    if pd.api.types.infer_dtype(values, skipna=True) in _NUMBERS:
        # Only floats can be missing.
        return values.astype(FLOAT64)
    return np.where(pd.isna(values), "", values).astype(object)


def _last_step(model: Any) -> Any:
    return model.steps[-1][1] if isinstance(model, Pipeline) else model


def _set_types(operator: Any) -> None:
    r"""Set the types of the two outputs, whose names skl2onnx has chosen."""
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
        Value(graph, variable.full_name, _DTYPES[type(variable.type)])
        for variable in operator.inputs
    ]
    dtype = _feature_dtype(classifier, [value.dtype for value in inputs])
    if classifier._encoder is not None:
        inputs = _encoded(classifier, inputs, dtype)
    x, *rest = (value.cast(dtype) for value in inputs)
    if rest:
        x = x.node("Concat", *rest, axis=1)
    x = _with_axes(classifier, x, operator.inputs[0].type.shape[1:])
    logits = _logits(classifier, x).cast(_output_dtype(dtype))
    classes = graph.constant(classifier.classes_, _label_dtype(classifier))
    label = classes.node("Gather", logits.node("ArgMax", axis=1, keepdims=0), axis=0)
    results = label, logits.node("Softmax", axis=1)
    for output, value in zip(operator.outputs, results, strict=True):
        graph.add("Identity", [value], value.dtype, output.full_name)


def _with_axes(classifier: ModuleClassifier, x: Value, shape: list[int]) -> Value:
    r"""Return rows as the module takes them, from the shape that a row of input has."""
    if len(shape) == 1:
        # Columns of a frame have been concatenated.
        shape = [classifier.n_features_in_]
    layout = classifier._row_layout(tuple(shape), reset=False)
    if layout is None:
        return x
    if layout.is_last:
        stored = (*layout.shape[1:], layout.shape[0])
        x = x.node("Reshape", np.array([-1, *stored]))
        x = x.node("Transpose", perm=[0, 3, 1, 2])
    is_flat = not classifier._has_user_module
    row = [classifier.n_features_in_] if is_flat else layout.shape
    return x.node("Reshape", np.array([-1, *row]))


def _label_dtype(classifier: ModuleClassifier) -> np.dtype[Any]:
    r"""Return the dtype that ONNX has for the labels."""
    kind = pd.api.types.infer_dtype(classifier.classes_)
    if kind not in _LABEL_DTYPES:
        raise ValueError(
            f"Got classes_={classifier.classes_.tolist()}, labels of kind {kind!r}, "
            "but expected text, integers, floats or booleans, which ONNX has. Fit to "
            "such labels."
        )
    return _LABEL_DTYPES[kind]


def _output_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    r"""Return the dtype of the probabilities, as in ``predict_proba``."""
    return dtype if dtype == np.float32 else FLOAT64


def _feature_dtype(
    classifier: ModuleClassifier, inputs: list[np.dtype[Any]]
) -> np.dtype[Any]:
    r"""Return the dtype that features have once they are validated in ``predict``."""
    encoder, numbers = classifier._encoder, inputs
    if encoder is not None:
        columns = inputs if len(inputs) > 1 else inputs * len(encoder.categories)
        numbers = [
            dtype
            for dtype, is_category in zip(columns, encoder.is_categorical, strict=True)
            if not is_category
        ]
    if TEXT in numbers:
        raise ValueError(
            f"Got text in X_sample where {type(classifier).__name__} was fitted to "
            "numbers. Expected rows like those that it was fitted to."
        )
    if encoder is not None:
        return FLOAT32 if set(numbers) == {FLOAT32} else FLOAT64
    dtype: np.dtype[Any] = np.result_type(*numbers)
    return dtype if dtype in FEATURE_DTYPES else FLOAT64


def _encoded(
    classifier: ModuleClassifier, inputs: list[Value], dtype: np.dtype[Any]
) -> list[Value]:
    r"""Return the columns, each of shape (N, 1), with codes for the categories."""
    assert classifier._encoder is not None
    columns = []
    for index, categories in enumerate(classifier._encoder.categories):
        if len(inputs) > 1:
            column = inputs[index]
        else:
            column = inputs[0].node("Gather", np.array([index]), axis=1)
        if categories is not None:
            column = _codes(column, index, categories.to_numpy())
        columns.append(column.cast(dtype))
    return columns


def _codes(column: Value, index: int, categories: NDArray[Any]) -> Value:
    r"""Return the index of each value among the categories, NaN if it is none."""
    kind = pd.api.types.infer_dtype(categories)
    is_text = kind == "string"
    if is_text != (column.dtype == TEXT) or kind.startswith("mixed"):
        raise ValueError(
            f"Column {index} has the categories {categories[:5].tolist()}, of kind "
            f"{kind!r}, but X_sample has {column.dtype} there. Expected the same kind, "
            "text, or numbers and booleans: pass a DataFrame like the one of fit."
        )
    if is_text:
        return column.node(
            "LabelEncoder",
            dtype=FLOAT32,
            op_domain="ai.onnx.ml",
            keys_strings=categories.tolist(),
            values_floats=np.arange(len(categories), dtype=float).tolist(),
            default_float=float("nan"),
        )
    # (N, 1) == (M) -> (N, M), M categories
    is_key = column.cast(FLOAT64).binary("Equal", categories.astype(FLOAT64))
    is_key = is_key.cast(FLOAT32)
    code = is_key.node("ArgMax", axis=1, keepdims=1).cast(FLOAT32)
    is_unknown = is_key.node("ReduceMax", np.array([1]), keepdims=1).cast(BOOL)
    return code.replace(is_unknown.node("Not"), np.nan)


def _logits(classifier: ModuleClassifier, x: Value) -> Value:
    if classifier._input_dtype is not None:
        x = x.cast(INT64 if classifier._takes_integers else FLOAT32)
    # Views of an image of the pixels' indices: they show which pixels a view holds.
    n_pixels = classifier.n_features_in_
    views = classifier._views(torch.arange(n_pixels)[None])
    if classifier._has_user_module:
        return add_user_module(
            classifier.module_, x, classifier._row_shape_in_fit.shape, _OPSETS[""]
        )
    if len(views) == 1:
        return add_module(classifier.module_, x)
    # (N, D) -> (N, V * D) -> (N * V, D) -> (N * V, C) -> (N, V, C) -> (N, C), V views
    x = x.node("Gather", torch.cat(views).flatten(), axis=1)
    x = x.node("Reshape", np.array([-1, n_pixels]))
    logits = add_module(classifier.module_, x)
    shape = np.array([-1, len(views), len(classifier.classes_)])
    return log_mean_proba(logits.node("Reshape", shape), axis=1)
