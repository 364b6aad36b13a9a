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

from ._ensemble import BinnedMemberLinear, MemberLinear
from ._sparse import SparseRows

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

    These are linear maps of members and activations, in turn. A map learns as a whole,
    or is frozen as a whole; the last one learns.
    """
    linear, activations = layers[::2], layers[1::2]
    return (
        len(linear) == len(activations) + 1
        and all(type(layer) in _ACTIVATIONS for layer in activations)
        and all(
            isinstance(layer, MemberLinear | BinnedMemberLinear)
            and layer.bias is not None
            and len({parameter.requires_grad for parameter in layer.parameters()}) == 1
            for layer in linear
        )
        and _learns(linear[-1])
    )


def _learns(layer: Any) -> bool:
    r"""Return whether the parameters of a linear map learn, not only what it maps."""
    return bool(layer.weight.requires_grad)


class Gradients(NamedTuple):
    r"""The loss of a batch, and the logits of all members, (K, B, C)."""

    loss: Tensor
    logits: Tensor


def set_gradients(
    x: Tensor | SparseRows | tuple[Tensor, Tensor],
    layers: Sequence[Any],
    y: Tensor,
    sample_weight: Tensor | None,
    label_smoothing: float = 0.0,
) -> Gradients:
    r"""Set the gradients of the cross-entropy, summed over members, by parameters.

    The layers are :math:`z_i = h_{i-1} W_i + b_i` and :math:`h_i = f_i(z_i)`, with
    :math:`h_0 = x`. The gradients are :math:`dW_i = h_{i-1}^T dz_i`, :math:`db_i` the
    sum of :math:`dz_i` over the rows, and :math:`dh_{i-1} = dz_i W_i^T`. Autograd goes
    on from inputs that depend on parameters. Below the first layer that learns, nothing
    is computed.

    Parameters
    ----------
    x : Tensor of shape (n_members, batch_size, n_inputs), or SparseRows, or tuple of \
            Tensor
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
    with torch.no_grad():
        linear = layers[::2]
        activations = [_ACTIVATIONS[type(layer)] for layer in layers[1::2]]
        inputs: list[Any] = [x]
        before: list[Tensor] = []
        for layer, activation in zip(linear, activations, strict=False):
            before.append(_mapped(inputs[-1], layer))
            inputs.append(activation.forward(before[-1]))
        logits = _mapped(inputs[-1], linear[-1])
        loss, gradient = _cross_entropy(logits, y, sample_weight, label_smoothing)
        first = _first_that_learns(x, linear)
        for i in range(len(linear) - 1, first, -1):
            _set_gradient(linear[i], inputs[i], gradient)
            gradient = torch.bmm(gradient, linear[i].weight.transpose(1, 2))
            gradient = activations[i - 1].backward(gradient, before[i - 1], inputs[i])
        _set_gradient(linear[first], inputs[first], gradient)
        learned = _of_learned_inputs(x, linear[0], gradient)
    if learned:
        torch.autograd.backward([_Potential.apply(*pair) for pair in learned])
    return Gradients(loss, logits)


class _Potential(torch.autograd.Function):
    r"""A number whose gradient by a tensor is given.

    Gradients as an argument of `backward` would make PyTorch import SymPy.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return x.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        # The gradient by the number is 1.
        return ctx.saved_tensors[0], None


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


def _mapped(x: Any, layer: Any) -> Tensor:
    r"""Return the outputs of a linear layer: (K, B, H)."""
    if isinstance(x, SparseRows):
        return x.products(layer.weight).add_(layer.bias)
    if isinstance(x, tuple):
        features, bins = x
        z = torch.baddbmm(layer.bias, features, layer.weight)
        z[: len(bins)].baddbmm_(bins, layer.bin_weight)
        return z
    if layer.weight.shape[2] >= _FEW_OUTPUTS:
        return torch.baddbmm(layer.bias, x, layer.weight)
    # (K, C, H) @ (K, H, B) -> (K, C, B) -> (K, B, C)
    z = torch.bmm(layer.weight.transpose(1, 2), x.transpose(1, 2))
    return z.transpose(1, 2).contiguous().add_(layer.bias)


def _parts(x: Any) -> tuple[Tensor, ...]:
    r"""Return the tensors of inputs; none of sparse rows, which never learn."""
    if isinstance(x, SparseRows):
        return ()
    return x if isinstance(x, tuple) else (x,)


def _first_that_learns(x: Any, linear: Sequence[Any]) -> int:
    r"""Return the number of the first layer that learns; 0 if the inputs do."""
    if any(part.requires_grad for part in _parts(x)):
        return 0
    return next(i for i, layer in enumerate(linear) if _learns(layer))


def _set_gradient(layer: Any, x: Any, gradient: Tensor) -> None:
    r"""Set the gradients by the parameters of a layer that learns."""
    if not _learns(layer):
        return
    layer.bias.grad = gradient.sum(1, keepdim=True)
    if isinstance(x, SparseRows):
        layer.weight.grad = x.transposed_products(gradient)
        return
    if isinstance(x, tuple):
        x, bins = x
        of_bins = torch.bmm(bins.transpose(1, 2), gradient[: len(bins)])
        layer.bin_weight.grad = of_bins
    if layer.weight.shape[2] >= _FEW_OUTPUTS:
        layer.weight.grad = torch.bmm(x.transpose(1, 2), gradient)
    else:
        product = torch.bmm(gradient.transpose(1, 2), x)
        layer.weight.grad = product.transpose(1, 2).contiguous()


def _of_learned_inputs(
    x: Any, layer: Any, gradient: Tensor
) -> list[tuple[Tensor, Tensor]]:
    r"""Return the inputs that depend on parameters, and the gradients by them."""
    weights = [layer.weight]
    if isinstance(x, tuple):
        weights.append(layer.bin_weight)
    return [
        (part, _of_input(gradient[: len(part)], weight, part))
        # Sparse rows have no part.
        for part, weight in zip(_parts(x), weights, strict=False)
        if part.requires_grad
    ]


def _of_input(gradient: Tensor, weight: Tensor, x: Tensor) -> Tensor:
    r"""Return the gradient by an input, (K, B, D), with its order in memory."""
    if x.is_contiguous():
        return torch.bmm(gradient, weight.transpose(1, 2))
    # (K, D, H) @ (K, H, B) -> (K, D, B) -> (K, B, D)
    return torch.bmm(weight, gradient.transpose(1, 2)).transpose(1, 2)
