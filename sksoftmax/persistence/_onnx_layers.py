r"""The modules' layers as nodes of an ONNX graph, in evaluation mode.

Needs no ``onnxscript``, keeps float64 where the modules do, and says which layer of a
user's module it does not know.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from .._utils.bulk import UNLIMITED
from ..modules._augmentation import RandomShift, RandomWarp, SeededTransform
from ..modules._cnn import Block, SoftmaxCNN
from ..modules._ensemble import MemberBatchNorm, MemberLinear, SharedLinear
from ..modules._layers import Dropout, Temperature
from ..modules._linear import SoftmaxLinear
from ..modules._mlp import SoftmaxMLP
from ..modules._piecewise import PiecewiseLinear
from ..modules._scaling import _ANSCOMBE, _STRAIGHT_COUNTS, InputScaling
from ..modules._table_input import TableInput
from ._onnx_graph import Graph, Value

_FLOAT32 = np.dtype(np.float32)
_INT64 = np.dtype(np.int64)
_BOOL = np.dtype(np.bool_)


def add_module(graph: Graph, module: nn.Module, x: Value) -> Value:
    r"""Add the nodes of a module and return what it makes of ``x``.

    Raises
    ------
    ValueError
        If there is a layer that is not known here.
    """
    kind = type(module)
    if kind not in _LAYERS:
        known = sorted(
            layer.__name__ for layer in _LAYERS if layer in vars(nn).values()
        )
        raise ValueError(
            f"Got a module with the layer {kind.__name__}, which to_onnx cannot "
            f"express. Expected layers of {', '.join(known)}; or export the logits "
            "with torch.onnx.export(classifier.module_, ...)."
        )
    return _LAYERS[kind](graph, module, x)


def _array(tensor: Any) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().numpy()
    return array


def _same(graph: Graph, module: nn.Module, x: Value) -> Value:
    return x


def _in_order(graph: Graph, module: Any, x: Value) -> Value:
    for layer in module:
        x = add_module(graph, layer, x)
    return x


def _with_bias(graph: Graph, module: Any, x: Value) -> Value:
    return x if module.bias is None else graph.add("Add", x, _array(module.bias))


def _parameters(module: Any) -> list[NDArray[Any]]:
    r"""Return a layer's weight and bias, without those that it does not have."""
    return [_array(one) for one in (module.weight, module.bias) if one is not None]


def _linear(graph: Graph, module: Any, x: Value) -> Value:
    return _with_bias(graph, module, graph.add("MatMul", x, _array(module.weight.T)))


def _member_linear(graph: Graph, module: Any, x: Value) -> Value:
    # (B, D) or (K, B, D) @ (K, D, H): the members are an axis to broadcast over.
    return _with_bias(graph, module, graph.add("MatMul", x, _array(module.weight)))


def _shared_linear(graph: Graph, module: Any, x: Value) -> Value:
    x = graph.add("Mul", x, _array(module.input_scale))
    x = graph.add("MatMul", x, _array(module.weight))
    x = graph.add("Mul", x, _array(module.output_scale))
    return _with_bias(graph, module, x)


def _batch_norm(graph: Graph, module: Any, x: Value, shape: tuple[int, ...]) -> Value:
    r"""Add what the statistics learned in training come to: a factor and a shift."""
    mean, variance = _array(module.running_mean), _array(module.running_var)
    factor = (variance.astype(np.float64) + module.eps) ** -0.5
    if module.affine:
        factor = factor * _array(module.weight)
    shift = -mean * factor
    if module.affine:
        shift = shift + _array(module.bias)
    x = graph.add("Mul", x, factor.reshape(shape).astype(x.dtype))
    return graph.add("Add", x, shift.reshape(shape).astype(x.dtype))


def _batch_norm_1d(graph: Graph, module: Any, x: Value) -> Value:
    return _batch_norm(graph, module, x, (-1,))


def _batch_norm_2d(graph: Graph, module: Any, x: Value) -> Value:
    return _batch_norm(graph, module, x, (-1, 1, 1))


def _member_batch_norm(graph: Graph, module: Any, x: Value) -> Value:
    return _batch_norm(graph, module, x, (module.n_members, 1, -1))


def _layer_norm(graph: Graph, module: Any, x: Value) -> Value:
    parameters = _parameters(module) or [
        np.ones(module.normalized_shape, dtype=x.dtype)
    ]
    return graph.add(
        "LayerNormalization",
        x,
        *parameters,
        axis=-len(module.normalized_shape),
        epsilon=module.eps,
    )


def _only(module: nn.Module, **options: Any) -> None:
    r"""Refuse a layer with other options than these."""
    for name, expected in options.items():
        if getattr(module, name) != expected:
            raise ValueError(
                f"Got {type(module).__name__}({name}={getattr(module, name)!r}), but "
                f"to_onnx only knows {name}={expected!r}. Export the logits with "
                "torch.onnx.export(classifier.module_, ...)."
            )


def _gelu(graph: Graph, module: Any, x: Value) -> Value:
    _only(module, approximate="none")
    error = graph.add("Erf", graph.add("Div", x, math.sqrt(2)))
    return graph.add("Mul", graph.add("Mul", x, 0.5), graph.add("Add", error, 1.0))


def _silu(graph: Graph, module: Any, x: Value) -> Value:
    return graph.add("Mul", x, graph.add("Sigmoid", x))


def _simple(kind: str) -> Callable[[Graph, Any, Value], Value]:
    return lambda graph, module, x: graph.add(kind, x)


def _convolution(graph: Graph, module: Any, x: Value) -> Value:
    _only(module, padding_mode="zeros")
    # PyTorch has the sides' paddings from the last axis to the first, in pairs.
    right = module._reversed_padding_repeated_twice
    pads = [right[2], right[0], right[3], right[1]]
    return graph.add(
        "Conv",
        x,
        *_parameters(module),
        kernel_shape=list(module.kernel_size),
        pads=pads,
        strides=list(module.stride),
        dilations=list(module.dilation),
        group=module.groups,
    )


def _pair(value: int | tuple[int, int]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def _pooling(kind: str, **options: Any) -> Callable[[Graph, Any, Value], Value]:
    def add(graph: Graph, module: Any, x: Value) -> Value:
        _only(module, **options)
        return graph.add(
            kind,
            x,
            kernel_shape=_pair(module.kernel_size),
            strides=_pair(module.stride),
            pads=_pair(module.padding) * 2,
            ceil_mode=int(module.ceil_mode),
        )

    return add


def _flatten(graph: Graph, module: Any, x: Value) -> Value:
    _only(module, start_dim=1, end_dim=-1)
    return graph.add("Flatten", x, axis=1)


def _temperature(graph: Graph, module: Any, x: Value) -> Value:
    value = float(module.value)
    return x if value == 1 else graph.add("Div", x, value)


def _root(graph: Graph, x: Value) -> Value:
    r"""Add Anscombe's root, as in ``_layers``."""
    root = graph.add("Sqrt", graph.add("Add", graph.add("Abs", x), _ANSCOMBE))
    root = graph.add("Sub", root, math.sqrt(_ANSCOMBE))
    return graph.add("Mul", root, graph.add("Sign", x))


def _scaling(graph: Graph, module: InputScaling, x: Value) -> Value:
    if x.dtype.kind != "f":
        x = graph.cast(x, _FLOAT32)
    is_count = _array(module.is_count)
    if module.method == "smooth" and is_count.any():
        condition = graph.add("Identity", is_count)
        x = graph.add("Where", condition, _root(graph, x), x, dtype=x.dtype)
    mean, remainder, scale, reach = (
        _array(one).astype(x.dtype)
        for one in (module.mean, module.mean_remainder, module.scale, module.reach)
    )
    x = graph.add("Sub", x, mean)
    if x.dtype != _FLOAT32:
        x = graph.add("Sub", x, remainder)
    if (reach < UNLIMITED).any():
        x = _clipped(graph, x, reach)
    z = graph.cast(graph.add("Div", x, scale), np.dtype(_array(module.mean).dtype))
    if module.method != "smooth":
        return z
    straight = np.where(is_count, _STRAIGHT_COUNTS, 1.0).astype(z.dtype)
    return graph.add("Mul", graph.add("Asinh", graph.add("Div", z, straight)), straight)


def _clipped(graph: Graph, x: Value, reach: NDArray[Any]) -> Value:
    r"""Add a limit to both sides of 0. NaN stays, which "Clip" does not promise."""
    for comparison, limit in (("Greater", reach), ("Less", -reach)):
        is_far = graph.add(comparison, x, limit, dtype=_BOOL)
        x = graph.add("Where", is_far, limit, x, dtype=x.dtype)
    return x


def _fill_missing(graph: Graph, x: Value) -> Value:
    if x.dtype.kind != "f":
        return x
    zero = np.zeros((), dtype=x.dtype)
    is_missing = graph.add("IsNaN", x, dtype=_BOOL)
    return graph.add("Where", is_missing, zero, x, dtype=x.dtype)


def _table(graph: Graph, module: TableInput, x: Value) -> Value:
    def columns(which: Tensor | list[int]) -> Value:
        return graph.add("Gather", x, np.asarray(which, dtype=np.int64), axis=1)

    dtype = np.dtype(_array(module.slot_code).dtype)
    parts = []
    if len(module.numeric):
        scaled = add_module(graph, module.scaling, columns(module.numeric.cpu()))
        scaled = graph.cast(scaled, dtype)
        parts.append(_fill_missing(graph, scaled))
    if module.pieces is not None:
        pieces = add_module(graph, module.pieces, scaled)
        parts.append(_fill_missing(graph, pieces))
    if len(module.indicated) and x.dtype.kind == "f":
        is_missing = graph.add("IsNaN", columns(module.indicated.cpu()), dtype=_BOOL)
        parts.append(graph.cast(is_missing, dtype))
    elif len(module.indicated):
        # Whole numbers are never missing.
        zero = graph.add("Mul", columns(module.indicated.cpu()), 0)
        parts.append(graph.cast(zero, dtype))
    if len(module.slot_code):
        codes = _array(module.slot_code).astype(x.dtype)
        is_code = graph.add(
            "Equal", columns(module.slot_column.cpu()), codes, dtype=_BOOL
        )
        parts.append(graph.cast(is_code, dtype))
    vectors = [
        _vectors(graph, module, layer, columns([column]))
        for column, layer in zip(module.embedded, module.embeddings, strict=True)
    ]
    if module.n_members == 1 or not vectors:
        return graph.add("Concat", *parts, *vectors, axis=1)
    if parts:
        # (N, D) -> (K, N, D)
        shape = np.array([module.n_members, 1, 1], dtype=np.int64)
        parts = [graph.add("Expand", graph.add("Concat", *parts, axis=1), shape)]
    return graph.add("Concat", *parts, *vectors, axis=2)


def _vectors(graph: Graph, module: TableInput, layer: Any, column: Value) -> Value:
    # (N, 1) -> (N): code + 1, and 0 for a missing one
    code = graph.add("Squeeze", column, np.array([1], dtype=np.int64))
    row = graph.cast(_fill_missing(graph, graph.add("Add", code, 1)), _INT64)
    weight = graph.add("Identity", _array(layer.weight))
    vectors = graph.add("Gather", weight, row, axis=0)
    if module.n_members == 1:
        return vectors
    # (N, K * E) -> (K, N, E)
    size = layer.embedding_dim // module.n_members
    shape = np.array([-1, module.n_members, size], dtype=np.int64)
    return graph.add("Transpose", graph.add("Reshape", vectors, shape), perm=[1, 0, 2])


def _piecewise_linear(graph: Graph, module: PiecewiseLinear, z: Value) -> Value:
    z = graph.add("Gather", z, _array(module.column), axis=1)
    distance = graph.add("Sub", z, _array(module.left))
    share = graph.add("Div", distance, _array(module.width))
    ends = np.zeros((), dtype=z.dtype), np.ones((), dtype=z.dtype)
    return add_module(graph, module.scaling, graph.add("Clip", share, *ends))


def _softmax_linear(graph: Graph, module: Any, x: Value) -> Value:
    dtype = np.dtype(_array(module.weight).dtype)
    return _linear(graph, module, graph.cast(x, dtype))


def _softmax_mlp(graph: Graph, module: SoftmaxMLP, x: Value) -> Value:
    x = add_module(graph, module.input_scaling, x)
    x = graph.cast(x, np.dtype(_array(module.output.weight).dtype))
    x = _fill_missing(graph, x)
    if module.shown is not None:
        x = graph.add("Mul", x, _array(module.shown))
    x = add_module(graph, module.hidden, x)
    return _logits(graph, module, x)


def _logits(graph: Graph, module: SoftmaxMLP | SoftmaxCNN, x: Value) -> Value:
    logits = add_module(graph, module.output, x)
    if module.n_estimators > 1:
        logits = log_mean_proba(graph, logits, axis=0)
    return add_module(graph, module.temperature, logits)


def _softmax_cnn(graph: Graph, module: SoftmaxCNN, x: Value) -> Value:
    # (N, C * H * W) -> (N, C, H, W)
    shape = np.array([-1, *module.image_shape], dtype=np.int64)
    x = graph.add("Reshape", x, shape)
    x = add_module(graph, module.augmentation, x)
    x = add_module(graph, module.input_scaling, x)
    x = graph.cast(x, np.dtype(_array(module.output.weight).dtype))
    x = add_module(graph, module.blocks, x)
    x = add_module(graph, module.global_pooling, x)
    # (N, K * C', H', W') -> (N, K * C' * H' * W')
    x = graph.add("Flatten", x, axis=1)
    if module.n_estimators > 1:
        # (N, K * D) -> (N, K, D) -> (K, N, D)
        shape = np.array([0, module.n_estimators, -1], dtype=np.int64)
        x = graph.add("Transpose", graph.add("Reshape", x, shape), perm=[1, 0, 2])
    return _logits(graph, module, add_module(graph, module.hidden, x))


def log_mean_proba(graph: Graph, logits: Value, axis: int) -> Value:
    r"""Add the logarithm of the mean probabilities over the first or second axis."""
    proba = graph.add("Softmax", logits, axis=2)
    mean = graph.add("ReduceMean", proba, np.array([axis], dtype=np.int64), keepdims=0)
    return graph.add("Log", mean)


_LAYERS: dict[type[nn.Module], Callable[[Graph, Any, Value], Value]] = {
    Dropout: _same,
    InputScaling: _scaling,
    MemberBatchNorm: _member_batch_norm,
    MemberLinear: _member_linear,
    RandomShift: _same,
    RandomWarp: _same,
    SeededTransform: _same,
    PiecewiseLinear: _piecewise_linear,
    SharedLinear: _shared_linear,
    SoftmaxCNN: _softmax_cnn,
    SoftmaxLinear: _softmax_linear,
    SoftmaxMLP: _softmax_mlp,
    TableInput: _table,
    Temperature: _temperature,
    Block: _in_order,
    nn.AvgPool2d: _pooling("AveragePool", padding=0, divisor_override=None),
    nn.BatchNorm1d: _batch_norm_1d,
    nn.BatchNorm2d: _batch_norm_2d,
    nn.Conv2d: _convolution,
    nn.Dropout: _same,
    nn.Dropout2d: _same,
    nn.Flatten: _flatten,
    nn.GELU: _gelu,
    nn.Identity: _same,
    nn.LayerNorm: _layer_norm,
    nn.Linear: _linear,
    nn.MaxPool2d: _pooling("MaxPool", dilation=1),
    nn.ReLU: _simple("Relu"),
    nn.Sequential: _in_order,
    nn.SiLU: _silu,
    nn.Sigmoid: _simple("Sigmoid"),
    nn.Tanh: _simple("Tanh"),
}
