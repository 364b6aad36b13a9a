r"""The gradients of a training step: written out where possible, else by autograd."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from .._utils.compat import BATCH_NORMS
from ..modules._base import SoftmaxModule
from .optimizers import make_gradients_dense
from .tensor_table import Batch

if TYPE_CHECKING:
    from .skorch_net import SoftmaxNet


class Step(NamedTuple):
    r"""The loss and the logits of a batch, before the parameters change."""

    loss: Tensor
    logits: Tensor
    # False if no parameter requires a gradient.
    has_gradients: bool


def set_gradients(net: SoftmaxNet, batch: Batch) -> Step:
    r"""Set the gradients of the parameters of a net for a batch.

    The loss is the mean of K members, and the gradients are those of its K-fold: each
    member learns as it would alone.
    """
    X, (y, weight) = batch
    module, recipe = net.module_, net.recipe
    # Rows are encoded here only if autograd will not encode them once more.
    if (
        isinstance(module, SoftmaxModule)
        and recipe.dtype is torch.float32
        and (net.is_encoded or module.writes_gradients)
    ):
        encoded = X if net.is_encoded else module.encode(X)
        step = module.set_gradients(encoded, y, weight, recipe.label_smoothing)
        if step is not None:
            return Step(*step, has_gradients=True)
    logits = _training_logits(net, X)
    loss = net.get_loss(logits, batch[1], training=True)
    if loss.requires_grad:
        # A factor as an argument of `backward` would make PyTorch import SymPy.
        n_members = logits.shape[1] if logits.ndim == 3 else 1
        torch.autograd.backward(loss * n_members if n_members > 1 else loss)
    elif not net.has_users_callbacks_:
        # No callback will unfreeze a layer later.
        raise ValueError(nothing_learns(module))
    return Step(loss.detach(), logits, bool(loss.requires_grad))


def clip_gradients(module: nn.Module, largest: float) -> None:
    r"""Scale the gradient of all parameters down to a norm, if it is larger."""
    parameters = list(module.parameters())
    make_gradients_dense(parameters)
    nn.utils.clip_grad_norm_(parameters, largest)


def _training_logits(net: SoftmaxNet, X: Tensor) -> Tensor:
    r"""Return the logits of a batch, computed in the dtype of the recipe."""
    try:
        if net.recipe.dtype is torch.float32:
            return net.infer(X)
        with torch.autocast(X.device.type, dtype=net.recipe.dtype):
            return net.infer(X).float()
    except ValueError as error:
        layers = net.module_.modules()
        if len(X) > 1 or not any(isinstance(layer, BATCH_NORMS) for layer in layers):
            raise
        raise ValueError(
            "Got a batch of 1 row, but batch normalization (normalization='batch', "
            "or a layer of your module) needs at least 2. Expected more rows, a "
            "larger batch_size or another normalization."
        ) from error


def nothing_learns(module: nn.Module) -> str:
    r"""Return the message of a module without a parameter to learn."""
    parameters = list(module.parameters())
    n_free = sum(parameter.requires_grad for parameter in parameters)
    return (
        "Nothing can be learned: the loss depends on no parameter that requires a "
        f"gradient; {n_free} of the module's {len(parameters)} parameters do. Expected "
        "at least one: call requires_grad_(True) on a layer, and leave out "
        "torch.no_grad() and detach() in forward."
    )
