r"""The base of the modules: what training, prediction and saving ask of a module."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from ._ensemble import MemberAverage
from ._layers import RandomLayer, Temperature
from ._scaling import InputScaling
from ._table_input import TableInput

# Added to the logit of the only class that has rows, log odds: the probabilities of all
# other classes are then about 2e-9.
_CERTAIN_LOGIT = 20.0


class SoftmaxModule(nn.Module):
    r"""Base of the modules behind the estimators.

    ``forward(x)`` maps rows to logits. A subclass may set the attributes below in its
    constructor. They are all optional: a plain :class:`torch.nn.Module` of the user may
    lack them, and :func:`input_scaling_of`, :func:`temperature_of` and
    :func:`largest_product_of` are the only functions that look for them.

    Attributes
    ----------
    input_scaling : InputScaling, TableInput or another Module
        First layer. An :class:`InputScaling` or a :class:`TableInput` learns the
        statistics of the training rows before the first step; any other module, and
        none at all, learns nothing.
    temperature : Temperature
        Last layer. It is learned from validation rows after training.
    largest_product : int, default=0
        Multiplications that the largest layer spends on one row; 0 if unknown. It
        decides whether bfloat16 and a filled-up batch are worth their overhead.
    has_encoding : bool, default=False
        Whether ``encode`` computes something, which training then does once for all
        rows instead of once for each batch.
    n_estimators : int, default=1
        Number K of members. With several, ``forward(x, members)`` averages a part of
        them in evaluation.
    average : MemberAverage
        Averages the logits of several members; only modules with several have it.

    Notes
    -----
    **Shape**

    - input: ``(batch_size, n_features)``, any dtype
    - members: ``(..., batch_size, n_estimators)``, bool
    - output: ``(batch_size, n_classes)``, logits; in training mode with several members
      ``(batch_size, n_estimators, n_classes)``, the logits of each

    Layers that draw random numbers in training inherit from :class:`RandomLayer`, so
    that :func:`set_generator` finds them.
    """

    input_scaling: nn.Module
    temperature: nn.Module
    largest_product: int = 0
    has_encoding: bool = False
    n_estimators: int = 1
    average: MemberAverage

    @property
    def writes_gradients(self) -> bool:
        r"""Whether :meth:`set_gradients` sets gradients, for the present layers."""
        return False

    def encode(self, x: Tensor) -> Tensor:
        r"""Return what training does not change of the rows; by default all of them.

        Parameters
        ----------
        x : Tensor of shape (batch_size, n_features)
            The rows.

        Returns
        -------
        encoded : Tensor of shape (batch_size, n_encoded)
            The argument of :meth:`forward_encoded`.
        """
        return x

    def forward_encoded(self, encoded: Tensor, members: Tensor | None = None) -> Tensor:
        r"""Return the logits of rows that :meth:`encode` has returned.

        Parameters
        ----------
        encoded : Tensor of shape (batch_size, n_encoded)
            The encoded rows.
        members : Tensor of shape (..., batch_size, n_estimators), bool, default=None
            The members that are averaged for each row in evaluation; all if None.

        Returns
        -------
        logits : Tensor of shape (batch_size, n_classes)
            The logits, as ``forward`` returns them.
        """
        logits: Tensor = self(encoded) if members is None else self(encoded, members)
        return logits

    def set_gradients(
        self,
        encoded: Tensor,
        y: Tensor,
        sample_weight: Tensor | None,
        label_smoothing: float,
    ) -> tuple[Tensor, Tensor] | None:
        r"""Set the gradients of a training step faster than autograd, where possible.

        Parameters
        ----------
        encoded : Tensor of shape (batch_size, n_encoded)
            The result of :meth:`encode`.
        y : Tensor of shape (batch_size,), int64
            The classes' indices.
        sample_weight : Tensor of shape (batch_size,) or (batch_size, n_estimators)
            Weight of each row, for each member if they differ; all the same if None.
        label_smoothing : float
            Share of each label's probability that is spread over all classes.

        Returns
        -------
        step : tuple of Tensor, or None
            The mean loss, of shape (), and the logits, as ``forward`` returns them in
            training; the gradients are those of the loss summed over members. None if
            the module leaves the gradients to autograd.
        """
        return None

    def without_input_dropout(self) -> AbstractContextManager[None]:
        r"""Return a context in which no inputs are dropped.

        Returns
        -------
        context : context manager
            Without an effect in modules that never drop inputs.
        """
        return nullcontext()

    def _combine_members(self, logits: Tensor, members: Tensor | None) -> Tensor:
        r"""Return the logits of `forward`, made of those of the members.

        Parameters
        ----------
        logits : Tensor of shape (batch_size, n_classes)
            The logits; of shape (n_estimators, batch_size, n_classes) with several
            members.
        members : Tensor of shape (..., batch_size, n_estimators), bool, or None
            The members that are averaged for each row in evaluation; all if None.
        """
        if self.n_estimators > 1 and self.training:
            # (K, B, C) -> (B, K, C)
            logits = logits.transpose(0, 1)
        elif self.n_estimators > 1:
            logits = self.average(logits, members)
        scaled: Tensor = self.temperature(logits)
        return scaled


def input_scaling_of(module: nn.Module) -> InputScaling | TableInput | None:
    r"""Return the first layer that learns statistics; None without such a layer."""
    scaling = getattr(module, "input_scaling", None)
    return scaling if isinstance(scaling, InputScaling | TableInput) else None


def temperature_of(module: nn.Module) -> Temperature | None:
    r"""Return the last layer that divides the logits; None without such a layer."""
    temperature = getattr(module, "temperature", None)
    return temperature if isinstance(temperature, Temperature) else None


def largest_product_of(module: nn.Module) -> int:
    r"""Return the multiplications of the largest layer for one row; 0 if unknown."""
    return module.largest_product if isinstance(module, SoftmaxModule) else 0


def generator_of(module: nn.Module) -> torch.Generator | None:
    r"""Return the generator of the layers that draw in training; None without any."""
    layers = (layer for layer in module.modules() if isinstance(layer, RandomLayer))
    return next((layer.generator for layer in layers), None)


def set_generator(module: nn.Module, generator: torch.Generator) -> None:
    r"""Let every layer of a module that draws in training draw from one generator."""
    for layer in module.modules():
        if isinstance(layer, RandomLayer):
            layer.generator = generator


def favor_class(module: nn.Module, label: int, n_classes: int) -> None:
    r"""Give a class a probability of about 1, for training rows of that class alone.

    The bias of the last layer that has one entry for each class is raised, if there is
    such a layer: few steps of training would not get there.
    """
    biases = [
        bias
        for layer in module.modules()
        if isinstance(bias := getattr(layer, "bias", None), nn.Parameter)
        and bias.shape[-1] == n_classes
    ]
    if biases:
        with torch.no_grad():
            biases[-1][..., label] += _CERTAIN_LOGIT
