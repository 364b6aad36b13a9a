r"""Conversion to ONNX, with a check of the result on sample rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.pipeline import Pipeline

from .._utils.frames import is_frame
from ._onnx import convert, model_inputs

# Largest difference between probabilities that rounding to float32 explains.
_TOLERANCE = 1e-4

# The same for the output of a step, relative to its largest value.
_STEP_TOLERANCE = 1e-3

# Steps that return the rows as they are.
_EMPTY_STEPS = (None, "passthrough")

# Codes of the types float32 and float64.
_FLOAT = onnx.TensorProto.FLOAT
_DOUBLE = onnx.TensorProto.DOUBLE


def checked_conversion(model: Any, X: Any) -> Any:
    r"""Return the ONNX model of a classifier or a pipeline, which predicts ``X`` alike.

    If skl2onnx or onnxruntime has no float64 version of a pipeline's step, the pipeline
    is converted for float32, and its inputs are cast.
    """
    if not isinstance(model, Pipeline):
        onnx_model = convert(model, X)
        _check_probabilities(onnx_model, model, X)
        return onnx_model
    # skl2onnx knows no such steps.
    model = Pipeline(
        [(name, step) for name, step in model.steps if step not in _EMPTY_STEPS]
    )
    try:
        return _first_that_works(model, X, _check_probabilities)
    except Exception as error:
        raise _step_error(model, X, error) from error


def _first_that_works(
    model: Any, X: Any, check: Callable[[Any, Any, Any], None]
) -> Any:
    r"""Return the first conversion that passes a check, or raise an error.

    The conversions take the inputs as they are, as float32, and columns of numbers as
    one matrix: some of skl2onnx's converters read the first column only.
    """
    dtypes = {values.dtype for values in model_inputs(X).values()}
    are_narrow = (False, True) if np.dtype(np.float64) in dtypes else (False,)
    are_joined = (
        (False, True) if is_frame(X) and np.dtype(object) not in dtypes else (False,)
    )
    failure: Exception | None = None
    for is_joined, narrow in product(are_joined, are_narrow):
        try:
            onnx_model = convert(model, X, narrow=narrow, is_joined=is_joined)
            if is_joined:
                _split_input(onnx_model, X, narrow=narrow)
            if narrow:
                _widen_inputs(onnx_model)
            check(onnx_model, model, X)
        except Exception as error:
            # Errors of the joined columns would speak of an input that X does not have.
            failure = failure if is_joined else error
        else:
            return onnx_model
    assert failure is not None
    raise failure


def _split_input(onnx_model: Any, X: Any, *, narrow: bool) -> None:
    r"""Replace the matrix of columns that a model takes by an input for each column."""
    graph = onnx_model.graph
    [matrix] = graph.input
    kind = matrix.type.tensor_type.elem_type
    nodes, columns = [], []
    del graph.input[:]
    for name, values in model_inputs(X).items():
        dtype = np.float32 if narrow and values.dtype == np.float64 else values.dtype
        own_kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        name = re.sub(r"\W", "_", name)
        graph.input.append(
            onnx.helper.make_tensor_value_info(name, own_kind, [None, 1])
        )
        columns.append(f"{name}_in_matrix")
        nodes.append(onnx.helper.make_node("Cast", [name], [columns[-1]], to=kind))
    nodes.append(onnx.helper.make_node("Concat", columns, [matrix.name], axis=1))
    for node in reversed(nodes):
        graph.node.insert(0, node)


def _widen_inputs(onnx_model: Any) -> None:
    r"""Add a cast to each float32 input, so that the model accepts float64."""
    graph = onnx_model.graph
    for value in graph.input:
        tensor = value.type.tensor_type
        if tensor.elem_type != _FLOAT:
            continue
        tensor.elem_type = _DOUBLE
        narrow = f"{value.name}_float32"
        for node in graph.node:
            for index, name in enumerate(node.input):
                if name == value.name:
                    node.input[index] = narrow
        cast = onnx.helper.make_node("Cast", [value.name], [narrow], to=_FLOAT)
        graph.node.insert(0, cast)


def _check_probabilities(onnx_model: Any, model: Any, X: Any) -> None:
    difference = np.abs(_run(onnx_model, X)[1] - model.predict_proba(X)).max()
    if not difference <= _TOLERANCE:
        raise ValueError(
            f"The probabilities of onnxruntime differ by up to {difference:.2g} from "
            f"those of predict_proba, but expected at most {_TOLERANCE:.0e}."
        )


def _check_features(onnx_model: Any, steps: Pipeline, X: Any) -> None:
    expected = steps.transform(X)
    expected = np.asarray(expected.toarray() if issparse(expected) else expected)
    features = _run(onnx_model, X)[0].reshape(expected.shape)
    if expected.dtype.kind in "biuf":
        atol = _STEP_TOLERANCE * np.nanmax(np.abs(expected), initial=1.0)
        is_same = np.allclose(features, expected, rtol=0, atol=atol, equal_nan=True)
    else:
        is_same = bool((features.astype(str) == expected.astype(str)).all())
    if not is_same:
        raise ValueError("onnxruntime gives other values than transform.")


def _run(onnx_model: Any, X: Any) -> list[NDArray[Any]]:
    r"""Return the outputs of a model for such rows."""
    options = onnxruntime.SessionOptions()
    # No threads beside the caller's; errors as exceptions, not as messages.
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        onnx_model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    # skl2onnx replaces some of the characters in names.
    names = [value.name for value in session.get_inputs()]
    inputs = dict(zip(names, model_inputs(X).values(), strict=True))
    outputs: list[NDArray[Any]] = session.run(None, inputs)
    return outputs


def _step_error(model: Pipeline, X: Any, error: Exception) -> ValueError:
    r"""Return the error that names the first step that cannot be converted."""
    name, step = model.steps[-1]
    for end in range(1, len(model.steps)):
        steps = model[:end]
        try:
            _first_that_works(steps, X, _check_features)
        except Exception as step_error:
            (name, step), error = steps.steps[-1], step_error
            break
    reason = str(error).strip().split("\n")[0]
    return ValueError(
        f"Got the step {name!r}, {type(step).__name__}, which skl2onnx and onnxruntime "
        f"do not compute as scikit-learn does ({type(error).__name__}: {reason}). "
        "Expected steps that skl2onnx converts: replace it, or convert only the "
        "classifier, and pass what the steps before it give: "
        "to_onnx(model[-1], model[:-1].transform(X_sample))."
    )
