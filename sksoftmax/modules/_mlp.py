r"""The module of hidden layers for rows of a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn

from ._base import SoftmaxModule
from ._layers import (
    Dropout,
    Temperature,
    hidden_layers,
    initialize,
    linear,
    make_input_scaling,
)
from ._table_input import TableInput, fill_missing


class SoftmaxMLP(SoftmaxModule):
    r"""Feed-forward net: hidden layers, then a linear map to the logits.

    A hidden layer is linear -> normalization -> activation -> dropout. Its parameters
    begin with He's normal initialization, so that the signal keeps its size at any
    depth. With ``n_estimators`` above 1 it is an ensemble of that many nets, trained
    together; in evaluation mode their probabilities are averaged.

    Parameters
    ----------
    n_features : int
        Number of input features.
    n_classes : int
        Number of classes.
    hidden_layer_sizes : sequence of int, default=(512, 512, 512)
        Width of each hidden layer.
    activation : {"relu", "gelu", "silu", "tanh", "identity"}, default="relu"
        Activation function of the hidden layers.
    normalization : {"batch", "layer"} or None, default=None
        Normalization of each hidden layer.
    dropout : float, default=0.0
        Dropout rate after each hidden layer.
    input_dropout : float, default=0.0
        Dropout rate of the (scaled) inputs.
    input_scaling : {"smooth", "standard"} or None, default=None
        Method of the :class:`InputScaling` in front.
    n_estimators : int, default=1
        Number of members.
    share_weights : bool, default=False
        Whether the members share the matrices of the hidden layers, and differ in
        biases and in scales of each layer's inputs and outputs, as in TabM.
    cardinalities : sequence of (int or None), default=None
        Number of categories of each feature, for a :class:`TableInput` in front.
    missing : sequence of bool, default=None
        Features with missing values to learn from, for a :class:`TableInput` in front.
    n_bins : sequence of int, default=None
        Number of bins of each feature, for a :class:`TableInput` in front.
    alternate_bins : bool, default=False
        Whether only every other member, beginning with the first, has the bins among
        its inputs.
    generator : torch.Generator, default=None
        Draws the initial weights; PyTorch's global generator if None.

    Notes
    -----
    **Shape**

    - input: ``(batch_size, n_features)``, any dtype; NaN counts as the mean
    - output: ``(batch_size, n_classes)``, logits; in training mode with several members
      ``(batch_size, n_estimators, n_classes)``, the logits of each

    References
    ----------
    He et al. (2015). Delving Deep into Rectifiers. https://arxiv.org/abs/1502.01852

    Gorishniy, Kotelnikov and Babenko (2025). TabM. https://arxiv.org/abs/2410.24210

    Examples
    --------
    >>> import torch
    >>> from sksoftmax.modules import SoftmaxMLP
    >>> module = SoftmaxMLP(93, 9, hidden_layer_sizes=(128, 64))
    >>> module(torch.randn(8, 93)).shape
    torch.Size([8, 9])
    """

    __module__ = "sksoftmax.modules"

    # 1 for the inputs of a member, 0 for the bins that it does not have: (K, 1, D).
    shown: Tensor | None

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        hidden_layer_sizes: Sequence[int] = (512, 512, 512),
        activation: str = "relu",
        normalization: str | None = None,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        input_scaling: str | None = None,
        n_estimators: int = 1,
        share_weights: bool = False,
        cardinalities: Sequence[int | None] | None = None,
        missing: Sequence[bool] | None = None,
        n_bins: Sequence[int] | None = None,
        alternate_bins: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.n_estimators = n_estimators
        shown = None
        self.input_scaling = make_input_scaling((n_features,), input_scaling)
        if cardinalities is not None or missing is not None or n_bins is not None:
            self.input_scaling = TableInput(
                [None] * n_features if cardinalities is None else cardinalities,
                [False] * n_features if missing is None else missing,
                method=input_scaling,
                n_bins=n_bins,
                n_members=n_estimators,
            )
            n_features = self.input_scaling.n_outputs
            if alternate_bins and n_estimators > 1 and any(n_bins or ()):
                shown = torch.ones(n_estimators, 1, n_features)
                shown[1::2, :, self.input_scaling.binned_outputs] = 0
        self.register_buffer("shown", shown, persistent=False)
        sizes = [n_features, *hidden_layer_sizes]
        self.input_dropout = Dropout(input_dropout)
        self.hidden = nn.Sequential(
            *hidden_layers(
                sizes, activation, normalization, dropout, n_estimators, share_weights
            )
        )
        self.output = linear(n_estimators, sizes[-1], n_classes)
        self.temperature = Temperature()
        self.largest_product = n_estimators * max(
            map(math.prod, pairwise([*sizes, n_classes]))
        )
        initialize(self, activation, generator)

    def forward(self, x: Tensor, members: Tensor | None = None) -> Tensor:
        r"""Return the logits.

        Parameters
        ----------
        x : Tensor of shape (batch_size, n_features)
            The rows.
        members : Tensor of shape (..., batch_size, n_estimators), bool, default=None
            The members that are averaged for each row in evaluation; all if None. With
            more than two axes, there are several averages of each row.

        Returns
        -------
        logits : Tensor of shape (batch_size, n_classes)
            The logits; in training with several members those of each, of shape
            (batch_size, n_estimators, n_classes).
        """
        x = self.input_scaling(x).to(self.output.weight.dtype)
        if not isinstance(self.input_scaling, TableInput):
            # A TableInput has filled in missing values itself.
            x = fill_missing(x)
        if self.n_estimators > 1 and x.ndim == 2:
            # (B, D) -> (K, B, D)
            x = x.expand(self.n_estimators, *x.shape)
        if self.shown is not None:
            x = x * self.shown
        logits = self.output(self.hidden(self.input_dropout(x)))
        return self._combine_members(logits, members)

    @contextmanager
    def without_input_dropout(self) -> Iterator[None]:
        r"""Return a context in which no inputs are dropped.

        Yields
        ------
        None
        """
        p, self.input_dropout.p = self.input_dropout.p, 0.0
        try:
            yield
        finally:
            self.input_dropout.p = p
