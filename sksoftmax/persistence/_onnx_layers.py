r"""The modules' layers as nodes of an ONNX graph, in evaluation mode.

Written by hand, because ``torch.onnx.export`` needs onnxscript, imports PyTorch's
compiler and takes about a second, and has no conversion for the ``copysign`` of the
scaling.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .._utils.robust_scale import UNLIMITED
from ..modules._augmentation import RandomShift, RandomWarp
from ..modules._cnn import Block, SoftmaxCNN
from ..modules._ensemble import (
    BinnedMemberLinear,
    MemberAverage,
    MemberBatchNorm,
    MemberLinear,
    SharedLinear,
)
from ..modules._layers import Dropout, Temperature
from ..modules._linear import SoftmaxLinear
from ..modules._mlp import SoftmaxMLP
from ..modules._piecewise import BinVectors, PiecewiseLinear
from ..modules._scaling import _ANSCOMBE, _LINEAR_COUNTS, InputScaling
from ..modules._sparse import SparseLinear
from ..modules._table_input import TableInput
from ..modules._user_transforms import SeededTransform
from ._onnx_graph import FLOAT32, INT64, Value

# ONNX's names of the paddings of a convolution that have a name in PyTorch.
_AUTO_PADS = {"same": "SAME_UPPER", "valid": "VALID"}


def add_module(module: nn.Module, x: Value) -> Value:
    r"""Add the nodes of a module to the graph of ``x``; return the module's output.

    Raises
    ------
    ValueError
        If no conversion is known for a layer or its options.
    """
    kind = type(module)
    if kind not in _LAYERS:
        known = sorted(
            layer.__name__ for layer in _LAYERS if layer in vars(nn).values()
        )
        raise ValueError(
            f"Got a module with the layer {kind.__name__}, which to_onnx cannot "
            f"express. Expected layers of {', '.join(known)}."
        )
    return _LAYERS[kind](module, x)


def log_mean_proba(logits: Value, axis: int) -> Value:
    r"""Add the logarithm of the mean probabilities over the first or second axis."""
    proba = logits.node("Softmax", axis=2)
    return proba.node("ReduceMean", np.array([axis]), keepdims=0).node("Log")


def _member_average(module: MemberAverage, logits: Value) -> Value:
    temperature = module.temperature.cpu().numpy()
    # (K, B, C) -> (B, C)
    mean = log_mean_proba(logits.node("Div", temperature), axis=0)
    return mean.node("Mul", temperature)


def _check_options(module: nn.Module, **options: Any) -> None:
    r"""Refuse a layer with other options than these."""
    for name, expected in options.items():
        if getattr(module, name) != expected:
            raise ValueError(
                f"Got {type(module).__name__}({name}={getattr(module, name)!r}), but "
                f"to_onnx only knows {name}={expected!r}."
            )


def _sequential(module: Any, x: Value) -> Value:
    for layer in module:
        x = add_module(layer, x)
    return x


def _gelu(module: Any, x: Value) -> Value:
    _check_options(module, approximate="none")
    return x * 0.5 * ((x / math.sqrt(2)).node("Erf") + 1.0)


def _temperature(module: Any, x: Value) -> Value:
    return x if module.value == 1 else x / module.value


def _flatten(module: Any, x: Value) -> Value:
    _check_options(module, start_dim=1, end_dim=-1)
    return x.node("Flatten", axis=1)


def _with_bias(module: Any, x: Value) -> Value:
    return x if module.bias is None else x + module.bias


def _linear(module: Any, x: Value) -> Value:
    return _with_bias(module, x @ module.weight.T)


def _member_linear(module: Any, x: Value) -> Value:
    # (B, D) or (K, B, D) @ (K, D, H): the members are an axis to broadcast over.
    return _with_bias(module, x @ module.weight)


def _binned_linear(module: Any, x: Value) -> Value:
    return _with_bias(module, x @ module.full_weight())


def _shared_linear(module: Any, x: Value) -> Value:
    x = (x * module.input_scale) @ module.weight * module.output_scale
    return _with_bias(module, x)


def _weight_and_bias(module: Any) -> list[Any]:
    r"""Return the parameters that a layer has of the two."""
    return [tensor for tensor in (module.weight, module.bias) if tensor is not None]


def _batch_norm(module: Any, x: Value, shape: tuple[int, ...]) -> Value:
    r"""Add (x - mean) / sqrt(variance + eps) * weight + bias, with two constants."""
    # On the CPU: some devices have no float64.
    mean, variance = module.running_mean.cpu(), module.running_var.cpu().double()
    factor: Tensor = (variance + module.eps).rsqrt()
    if module.affine:
        factor = factor * module.weight.cpu()
    shift: Tensor = -mean * factor
    if module.affine:
        shift = shift + module.bias.cpu()
    return x * factor.reshape(shape) + shift.reshape(shape)


def _member_batch_norm(module: Any, x: Value) -> Value:
    return _batch_norm(module, x, (module.n_members, 1, -1))


def _layer_norm(module: Any, x: Value) -> Value:
    parameters = _weight_and_bias(module) or [
        np.ones(module.normalized_shape, dtype=x.dtype)
    ]
    return x.node(
        "LayerNormalization",
        *parameters,
        axis=-len(module.normalized_shape),
        epsilon=module.eps,
    )


def _convolution(module: Any, x: Value) -> Value:
    _check_options(module, padding_mode="zeros")
    padding: dict[str, Any] = {"pads": [*module.padding] * 2}
    if isinstance(module.padding, str):
        padding = {"auto_pad": _AUTO_PADS[module.padding]}
    return x.node(
        "Conv",
        *_weight_and_bias(module),
        kernel_shape=list(module.kernel_size),
        strides=list(module.stride),
        dilations=list(module.dilation),
        group=module.groups,
        **padding,
    )


def _pooling(module: Any, x: Value, kind: str, **options: Any) -> Value:
    _check_options(module, **options)
    kernel, stride, padding = (
        np.broadcast_to(size, 2).tolist()
        for size in (module.kernel_size, module.stride, module.padding)
    )
    return x.node(
        kind,
        kernel_shape=kernel,
        strides=stride,
        pads=padding * 2,
        ceil_mode=int(module.ceil_mode),
    )


def _scaling(module: InputScaling, x: Value) -> Value:
    if x.dtype.kind != "f":
        x = x.cast_like(module.mean)
    if module.method == "smooth" and module.is_count.any():
        x = x.replace(module.is_count, _root(x))
    x = x - module.mean
    if x.dtype != FLOAT32:
        x = x - module.mean_remainder
    if (module.reach < UNLIMITED).any():
        x = _clipped(x, module.reach)
    z = (x / module.scale).cast_like(module.mean)
    if module.method != "smooth":
        return z
    straight = torch.where(module.is_count, _LINEAR_COUNTS, 1.0)
    return (z / straight).node("Asinh") * straight


def _root(x: Value) -> Value:
    r"""Add Anscombe's root, as in ``InputScaling``."""
    root = (x.node("Abs") + _ANSCOMBE).node("Sqrt") - math.sqrt(_ANSCOMBE)
    return root * x.node("Sign")


def _clipped(x: Value, reach: Tensor) -> Value:
    r"""Add a limit to both sides of 0. NaN stays, which "Clip" does not promise."""
    x = x.replace(x.binary("Greater", reach), reach)
    return x.replace(x.binary("Less", -reach), -reach)


def _fill_missing(x: Value) -> Value:
    return x.replace(x.node("IsNaN"), 0.0) if x.dtype.kind == "f" else x


def _table(module: TableInput, x: Value) -> Value:
    def columns(index: Tensor | NDArray[np.int64]) -> Value:
        return x.node("Gather", index, axis=1)

    parts, bins = [], []
    if len(module.numeric):
        scaled = add_module(module.scaling, columns(module.numeric))
        scaled = scaled.cast_like(module.slot_code)
        parts.append(_fill_missing(scaled))
    if module.pieces is not None:
        bins.append(_fill_missing(add_module(module.pieces, scaled)))
        if module.bin_vectors is not None:
            bins = [_bin_vectors(module.bin_vectors, bins[0], module.n_members)]
    if len(module.indicated):
        # "IsNaN" takes floats only.
        values = columns(module.indicated).cast_like(module.slot_code)
        parts.append(values.node("IsNaN").cast_like(module.slot_code))
    if len(module.slot_code):
        is_code = columns(module.slot_column).binary("Equal", module.slot_code)
        parts.append(is_code.cast_like(module.slot_code))
    vectors = [
        _vectors(layer, columns(np.array([column])), module.n_members)
        for column, layer in zip(module.embedded, module.embeddings, strict=True)
    ]
    has_member_inputs = bool(vectors) or module.bin_vectors is not None
    if module.n_members == 1 or not has_member_inputs:
        return _concatenated([*parts, *vectors, *bins], axis=1)
    # (N, D) -> (K, N, D)
    shape = np.array([module.n_members, 1, 1])
    if parts:
        parts = [_concatenated(parts, axis=1).node("Expand", shape)]
    if bins and module.bin_vectors is None:
        bins = [bins[0].node("Expand", shape)]
    return _concatenated([*parts, *vectors, *bins], axis=2)


def _bin_vectors(module: BinVectors, bins: Value, n_members: int) -> Value:
    r"""Return the vectors, (K, N, D), or (N, D) of a single member."""
    n_vectors, n_slots, _ = module.weight.shape
    slots = module.slots.cpu().numpy()
    zero, one = slots.max() - 1, slots.max()
    is_bin = (slots < zero).astype(bins.dtype)
    # (N, F * W) -> (N, F, W) -> (F, N, W)
    spread = bins.node("Gather", np.where(slots < zero, slots, 0), axis=1)
    spread = spread * is_bin + (slots == one).astype(bins.dtype)
    spread = spread.node("Reshape", np.array([-1, n_vectors, n_slots]))
    z = spread.node("Transpose", perm=[1, 0, 2]) @ module.weight
    # (F, N, M * E) -> (M, N, F * E)
    vectors = z * z.node("Sigmoid")
    shape = np.array([n_vectors, -1, module.n_members, module.size])
    vectors = vectors.node("Reshape", shape).node("Transpose", perm=[2, 1, 0, 3])
    shape = np.array([module.n_members, -1, n_vectors * module.size])
    vectors = vectors.node("Reshape", shape)
    # The first layer of members without bins has zeros for them.
    members = np.arange(n_members) % module.n_members
    result: Value = (
        vectors.node("Squeeze", np.array([0]))
        if n_members == 1
        else vectors.node("Gather", members, axis=0)
    )
    return result


def _concatenated(parts: list[Value], axis: int) -> Value:
    return parts[0].node("Concat", *parts[1:], axis=axis)


def _vectors(layer: Any, column: Value, n_members: int) -> Value:
    # (N, 1) -> (N): code + 1, and 0 for a missing one
    row = _fill_missing(column + 1).node("Squeeze", np.array([1])).cast(INT64)
    vectors = column.graph.constant(layer.weight).node("Gather", row, axis=0)
    if n_members == 1:
        return vectors
    # (N, K * E) -> (K, N, E)
    shape = np.array([-1, n_members, layer.embedding_dim // n_members])
    return vectors.node("Reshape", shape).node("Transpose", perm=[1, 0, 2])


def _piecewise_linear(module: PiecewiseLinear, z: Value) -> Value:
    share = (z.node("Gather", module.column, axis=1) - module.left) / module.width
    ends = np.zeros((), dtype=z.dtype), np.ones((), dtype=z.dtype)
    return add_module(module.scaling, share.node("Clip", *ends))


def _softmax_linear(module: Any, x: Value) -> Value:
    return _linear(module, x.cast_like(module.weight))


def _softmax_mlp(module: SoftmaxMLP, x: Value) -> Value:
    x = add_module(module.input_scaling, x).cast_like(module.output.weight)
    x = _fill_missing(x)
    return _logits(module, x)


def _softmax_cnn(module: SoftmaxCNN, x: Value) -> Value:
    # (N, C * H * W) -> (N, C, H, W)
    x = x.node("Reshape", np.array([-1, *module.image_shape]))
    x = add_module(module.augmentation, x)
    x = add_module(module.input_scaling, x).cast_like(module.output.weight)
    x = add_module(module.blocks, x)
    # (N, K * C', H', W') -> (N, K * C' * H' * W')
    x = add_module(module.global_pooling, x).node("Flatten", axis=1)
    if module.n_estimators > 1:
        # (N, K * D) -> (N, K, D) -> (K, N, D)
        x = x.node("Reshape", np.array([0, module.n_estimators, -1]))
        x = x.node("Transpose", perm=[1, 0, 2])
    return _logits(module, x)


def _logits(module: SoftmaxMLP | SoftmaxCNN, x: Value) -> Value:
    logits = add_module(module.output, add_module(module.hidden, x))
    if module.n_estimators > 1:
        logits = add_module(module.average, logits)
    return add_module(module.temperature, logits)


# Layers that change nothing in evaluation mode.
_WITHOUT_EFFECT = (
    Dropout,
    RandomShift,
    RandomWarp,
    SeededTransform,
    nn.Dropout,
    nn.Dropout2d,
    nn.Identity,
)

_LAYERS: dict[type[nn.Module], Callable[[Any, Value], Value]] = {
    **dict.fromkeys(_WITHOUT_EFFECT, lambda module, x: x),
    Block: _sequential,
    InputScaling: _scaling,
    MemberAverage: _member_average,
    MemberBatchNorm: _member_batch_norm,
    MemberLinear: _member_linear,
    PiecewiseLinear: _piecewise_linear,
    SharedLinear: _shared_linear,
    SparseLinear: _linear,
    BinnedMemberLinear: _binned_linear,
    SoftmaxCNN: _softmax_cnn,
    SoftmaxLinear: _softmax_linear,
    SoftmaxMLP: _softmax_mlp,
    TableInput: _table,
    Temperature: _temperature,
    nn.AvgPool2d: partial(
        _pooling, kind="AveragePool", padding=0, divisor_override=None
    ),
    nn.BatchNorm1d: partial(_batch_norm, shape=(-1,)),
    nn.BatchNorm2d: partial(_batch_norm, shape=(-1, 1, 1)),
    nn.Conv2d: _convolution,
    nn.Flatten: _flatten,
    nn.GELU: _gelu,
    nn.LayerNorm: _layer_norm,
    nn.Linear: _linear,
    nn.MaxPool2d: partial(_pooling, kind="MaxPool", dilation=1),
    nn.ReLU: lambda module, x: x.node("Relu"),
    nn.Sequential: _sequential,
    nn.SiLU: lambda module, x: x * x.node("Sigmoid"),
    nn.Sigmoid: lambda module, x: x.node("Sigmoid"),
    nn.Tanh: lambda module, x: x.node("Tanh"),
}
