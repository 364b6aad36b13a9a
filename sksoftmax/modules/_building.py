r"""What the modules are built of: layers by name, and their first weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import nn

from ._ensemble import MemberBatchNorm, MemberLinear, SharedLinear
from ._layers import Dropout, InputScaling

_Layer = TypeVar("_Layer", bound=nn.Module)

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "identity": nn.Identity,
}


def empty(layer: Callable[..., _Layer], *args: Any, **kwargs: Any) -> _Layer:
    r"""Return a layer whose parameters are left for `initialize` to draw."""
    made = layer(*args, device="meta", **kwargs)
    for name, parameter in list(made.named_parameters(recurse=False)):
        # `skip_init` asks for one like it instead, which imports SymPy: half a second.
        setattr(made, name, nn.Parameter(torch.empty(parameter.shape)))
    return made


def make_input_scaling(shape: Sequence[int], method: str | None) -> nn.Module:
    r"""Return the scaling in front of a module, which may be none."""
    return nn.Identity() if method is None else InputScaling(shape, method=method)


def hidden_layers(
    sizes: Sequence[int],
    activation: str,
    normalization: str | None,
    dropout: float,
    n_members: int = 1,
    share_weights: bool = False,
) -> list[nn.Module]:
    r"""Return linear -> normalisation -> activation -> dropout for each width."""
    layers: list[nn.Module] = []
    for size_in, size_out in pairwise(sizes):
        # A shift follows every normalisation, so the linear map needs none.
        has_bias = normalization is None
        if n_members > 1 and share_weights:
            is_first = not layers
            layers.append(
                SharedLinear(n_members, size_in, size_out, has_bias, is_first)
            )
        else:
            layers.append(linear(n_members, size_in, size_out, has_bias))
        if normalization == "batch" and n_members > 1:
            layers.append(MemberBatchNorm(n_members, size_out))
        elif normalization == "batch":
            layers.append(nn.BatchNorm1d(size_out))
        elif normalization == "layer":
            layers.append(nn.LayerNorm(size_out))
        layers.append(ACTIVATIONS[activation]())
        if dropout:
            layers.append(Dropout(dropout))
    return layers


def linear(
    n_members: int, size_in: int, size_out: int, has_bias: bool = True
) -> nn.Linear | MemberLinear:
    r"""Return a linear map, or one for each of several members."""
    if n_members > 1:
        return MemberLinear(n_members, size_in, size_out, has_bias)
    return empty(nn.Linear, size_in, size_out, bias=has_bias)


def initialize(
    module: nn.Module, activation: str, generator: torch.Generator | None
) -> None:
    r"""Draw hidden weights by He's method, those of the logits with a gain of 1."""
    hidden_gain = math.sqrt(2.0) if activation in ("relu", "gelu", "silu") else 1.0
    with torch.no_grad():
        for layer in module.modules():
            gain = 1.0 if layer is getattr(module, "output", None) else hidden_gain
            if isinstance(layer, MemberLinear | SharedLinear):
                layer.initialize(gain, generator)
            elif isinstance(layer, nn.Linear | nn.Conv2d):
                std = gain / math.sqrt(math.prod(layer.weight.shape[1:]))
                layer.weight.normal_(0, std, generator=generator)
                if layer.bias is not None:
                    layer.bias.zero_()
