r"""The loss of an ensemble and its gradient, written out without autograd.

Autograd takes as long as the products of a small batch. Shapes: K members, B rows of a
batch, D input features, H output features, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._ensemble import MemberLinear, SplitMemberLinear

# Output features: a product with fewer is computed transposed. On a CPU a product of 10
# columns takes four times as long as one of 10 rows.
_FEW_OUTPUTS = 32


class _Activation(NamedTuple):
    r"""An activation h = f(z), and its backward: (gradient by h, z, h) -> by z."""

    forward: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor], Tensor]


_ACTIVATIONS: dict[type[nn.Module], _Activation] = {
    nn.ReLU: _Activation(torch.relu, lambda g, z, h: g * (h > 0)),
    nn.GELU: _Activation(F.gelu, lambda g, z, h: torch.ops.aten.gelu_backward(g, z)),
    nn.SiLU: _Activation(F.silu, lambda g, z, h: torch.ops.aten.silu_backward(g, z)),
    nn.Tanh: _Activation(torch.tanh, lambda g, z, h: g * (1 - h.square())),
    nn.Identity: _Activation(lambda z: z, lambda g, z, h: g),
}


def can_be_fused(layers: Sequence[nn.Module]) -> bool:
    r"""Return whether `set_gradients` takes the layers.

    These are linear maps of members and activations, in turn. All parameters have to be
    learned.
    """
    if len(layers) % 2 == 0:
        return False
    are_linear = all(
        isinstance(layer, MemberLinear | SplitMemberLinear)
        and all(parameter.requires_grad for parameter in layer.parameters())
        for layer in layers[::2]
    )
    return are_linear and all(type(layer) in _ACTIVATIONS for layer in layers[1::2])


class Gradients(NamedTuple):
    r"""The loss of a batch, the logits, and the gradient by the inputs."""

    loss: Tensor
    # (K, B, C)
    logits: Tensor
    # (K, B, D); None if it is not needed
    of_inputs: Tensor | None


@torch.no_grad()
def set_gradients(
    x: Tensor,
    layers: Sequence[Any],
    y: Tensor,
    sample_weight: Tensor | None,
    label_smoothing: float = 0.0,
) -> Gradients:
    r"""Set the gradients of the cross-entropy, summed over members, by parameters.

    The layers are :math:`z_i = h_{i-1} W_i + b_i` and :math:`h_i = f_i(z_i)`, with
    :math:`h_0 = x`. The gradients are :math:`dW_i = h_{i-1}^T dz_i`, :math:`db_i` the
    sum of :math:`dz_i` over the rows, and :math:`dh_{i-1} = dz_i W_i^T`.

    Parameters
    ----------
    x : Tensor of shape (n_members, batch_size, n_inputs)
        The inputs of the first layer.
    layers : sequence of Module
        The layers, for which `can_be_fused` is True.
    y : Tensor of shape (batch_size,), int64
        The classes' indices.
    sample_weight : Tensor of shape (batch_size,) or (batch_size, n_members) or None
        Weight of each row; all the same if None.
    label_smoothing : float, default=0.0
        Share of each label's probability that is spread over all classes.
    """
    linear = layers[::2]
    activations = [_ACTIVATIONS[type(layer)] for layer in layers[1::2]]
    inputs, before = [x], []
    for layer, activation in zip(linear, activations, strict=False):
        z = _product(inputs[-1], layer).add_(layer.bias)
        before.append(z)
        inputs.append(activation.forward(z))
    logits = _product(inputs[-1], linear[-1]).add_(linear[-1].bias)
    loss, gradient = _cross_entropy(logits, y, sample_weight, label_smoothing)
    for i in reversed(range(len(linear))):
        _set_gradient(linear[i], inputs[i], gradient)
        if i:
            gradient = torch.bmm(gradient, linear[i].weight.transpose(1, 2))
            gradient = activations[i - 1].backward(gradient, before[i - 1], inputs[i])
    of_inputs = _of_inputs(x, linear[0], gradient) if x.requires_grad else None
    return Gradients(loss, logits, of_inputs)


def _cross_entropy(
    logits: Tensor, y: Tensor, sample_weight: Tensor | None, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    r"""Return the mean loss over members, and the gradient of the sum over members."""
    n_members, n_rows, n_classes = logits.shape
    label = y.expand(n_members, n_rows).unsqueeze(2)
    log_proba = logits.log_softmax(2)
    losses = log_proba.gather(2, label).neg_()
    if label_smoothing:
        uniform = log_proba.mean(2, keepdim=True)
        losses = (1 - label_smoothing) * losses - label_smoothing * uniform
    gradient = log_proba.exp_()
    of_label = gradient.new_full((), label_smoothing - 1.0).expand(label.shape)
    gradient.scatter_add_(2, label, of_label)
    if label_smoothing:
        gradient -= label_smoothing / n_classes
    if sample_weight is None:
        return losses.mean(), gradient.div_(n_rows)
    # (B) or (B, K) -> (K, B, 1)
    weight = sample_weight.reshape(n_rows, -1).T.expand(n_members, -1).unsqueeze(2)
    weight = weight.to(losses.dtype)
    # A batch whose weights are all 0 has no gradient, instead of NaN.
    share = weight / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)
    return (losses * share).sum(), gradient.mul_(share * n_members)


def _product(x: Tensor, layer: Any) -> Tensor:
    r"""Return x @ weight for each member: (K, B, H)."""
    weight = layer.weight
    if isinstance(layer, SplitMemberLinear):
        n_complete, short = len(weight), layer.short_weight
        z = x.new_empty(len(x), x.shape[1], weight.shape[2])
        torch.bmm(x[:n_complete], weight, out=z[:n_complete])
        torch.bmm(x[n_complete:, :, : short.shape[1]], short, out=z[n_complete:])
        return z
    if weight.shape[2] >= _FEW_OUTPUTS:
        return torch.bmm(x, weight)
    # (K, C, H) @ (K, H, B) -> (K, C, B) -> (K, B, C)
    z = torch.bmm(weight.transpose(1, 2), x.transpose(1, 2))
    return z.transpose(1, 2).contiguous()


def _set_gradient(layer: Any, x: Tensor, gradient: Tensor) -> None:
    r"""Set the gradients by the parameters of a layer."""
    weight = layer.weight
    layer.bias.grad = gradient.sum(1, keepdim=True)
    if isinstance(layer, SplitMemberLinear):
        n_complete, short = len(weight), layer.short_weight
        x = x.transpose(1, 2)
        weight.grad = torch.bmm(x[:n_complete], gradient[:n_complete])
        short.grad = torch.bmm(
            x[n_complete:, : short.shape[1]], gradient[n_complete:]
        )
    elif weight.shape[2] >= _FEW_OUTPUTS:
        weight.grad = torch.bmm(x.transpose(1, 2), gradient)
    else:
        product = torch.bmm(gradient.transpose(1, 2), x)
        weight.grad = product.transpose(1, 2).contiguous()


def _of_inputs(x: Tensor, layer: Any, gradient: Tensor) -> Tensor:
    r"""Return the gradient by the inputs of the first layer: (K, B, D)."""
    weight = layer.weight
    if not isinstance(layer, SplitMemberLinear):
        return torch.bmm(gradient, weight.transpose(1, 2))
    n_complete, short = len(weight), layer.short_weight
    of_x = torch.zeros_like(x)
    torch.bmm(
        gradient[:n_complete], weight.transpose(1, 2), out=of_x[:n_complete]
    )
    of_x[n_complete:, :, : short.shape[1]] = torch.bmm(
        gradient[n_complete:], short.transpose(1, 2)
    )
    return of_x
