r"""Conversion to ONNX, with a check of the result on sample rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.pipeline import Pipeline

from ._onnx import convert, model_inputs

# Largest difference between probabilities that rounding to float32 explains.
_TOLERANCE = 1e-4

# The same for the output of a step, relative to its largest value.
_STEP_TOLERANCE = 1e-3

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
    try:
        return _first_that_works(model, X, _check_probabilities)
    except Exception as error:
        raise _step_error(model, X, error) from error


def _first_that_works(
    model: Any, X: Any, check: Callable[[Any, Any, Any], None]
) -> Any:
    r"""Return the first conversion that passes a check, or raise the last error."""
    try:
        onnx_model = convert(model, X)
        check(onnx_model, model, X)
    except Exception:
        if all(values.dtype != np.float64 for values in model_inputs(X).values()):
            raise
        onnx_model = convert(model, X, narrow=True)
        _widen_inputs(onnx_model)
        check(onnx_model, model, X)
    return onnx_model


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
        if steps.steps[-1][1] in (None, "passthrough"):
            continue
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
