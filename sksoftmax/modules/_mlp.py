r"""The module of hidden layers for rows of a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from .._utils.arrays import with_values
from ._base import SoftmaxModule
from ._ensemble import BinnedMemberLinear, MemberAverage, MemberLinear, SharedLinear
from ._layers import (
    Dropout,
    Temperature,
    hidden_layers,
    initialize,
    linear,
    make_input_scaling,
    uninitialized,
)
from ._member_gradient import can_be_fused, set_gradients
from ._scaling import InputScaling
from ._sparse import SparseLinear, SparseRows
from ._table_input import TableInput, fill_missing

# Members: their sets are numbered by integers of 64 bits.
_MOST_MEMBERS_OF_A_CODE = 62

# Multiplications of all members for a batch: with fewer, the calls for each set of
# members take longer than the products that they save.
_MANY_PRODUCTS = 2**27


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
    bin_vector_size : int, default=0
        Elements of the learned vector that the bins of each feature are mapped to; 0
        leaves the bins as they are.
    half_with_bins : bool, default=False
        Whether only the first half of the members has the bins among its inputs. With
        ``share_weights`` all members have them.
    sparse_input : bool, default=False
        Whether rows come as sparse tensors, in COO format and coalesced. They do not
        become dense if zeros stay zero in the :class:`InputScaling`.
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

    has_encoding = True

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
        bin_vector_size: int = 0,
        half_with_bins: bool = False,
        sparse_input: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.n_estimators = n_estimators
        n_with_bins, n_binned = n_estimators, 0
        if half_with_bins and not share_weights and hidden_layer_sizes:
            n_with_bins = (n_estimators + 1) // 2
        self.input_scaling = make_input_scaling((n_features,), input_scaling)
        if cardinalities is not None or missing is not None or n_bins is not None:
            self.input_scaling = TableInput(
                [None] * n_features if cardinalities is None else cardinalities,
                [False] * n_features if missing is None else missing,
                method=input_scaling,
                n_bins=n_bins,
                bin_vector_size=bin_vector_size,
                n_members=n_estimators,
                n_members_with_bins=n_with_bins,
            )
            n_features = self.input_scaling.n_outputs
            n_binned = self.input_scaling.n_binned
        sizes = [n_features, *hidden_layer_sizes]
        self.input_dropout = Dropout(input_dropout)
        layers = hidden_layers(
            sizes, activation, normalization, dropout, n_estimators, share_weights
        )
        if n_binned and layers and isinstance(layers[0], MemberLinear):
            layers[0] = BinnedMemberLinear(
                n_estimators,
                n_features - n_binned,
                n_with_bins,
                n_binned,
                sizes[1],
                normalization is None,
            )
        self.hidden = nn.Sequential(*layers)
        self.output = linear(n_estimators, sizes[-1], n_classes)
        products = list(map(math.prod, pairwise([*sizes, n_classes])))
        if sparse_input:
            self._take_sparse_rows()
            # The first product is one with few values.
            products[0] = 0
        if n_estimators > 1:
            self.average = MemberAverage()
        self.temperature = Temperature()
        self.largest_product = n_estimators * max(products)
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
        return self.forward_encoded(self.encode(x), members)

    def _take_sparse_rows(self) -> None:
        r"""Replace the first layer, if it is a plain linear map."""
        first = self.hidden[0] if len(self.hidden) else self.output
        if not isinstance(first, nn.Linear):
            return
        has_bias = first.bias is not None
        sparse = uninitialized(
            SparseLinear, first.in_features, first.out_features, bias=has_bias
        )
        if len(self.hidden):
            self.hidden[0] = sparse
        else:
            self.output = sparse

    @property
    def takes_sparse(self) -> bool:
        r"""Whether sparse rows stay sparse up to the first layer."""
        scaling = self.input_scaling
        first = self.hidden[0] if len(self.hidden) else self.output
        return isinstance(first, SparseLinear | MemberLinear | SharedLinear) and (
            isinstance(scaling, nn.Identity)
            or (isinstance(scaling, InputScaling) and scaling.keeps_zeros)
        )

    def encode(self, x: Tensor) -> Tensor:
        if x.is_sparse:
            if self.takes_sparse:
                return with_values(x, self._scaled(x.values(), x.indices()[1]))
            x = x.to_dense()
        if isinstance(self.input_scaling, TableInput):
            # It fills in missing values itself.
            return self.input_scaling.encode(x)
        return fill_missing(self.input_scaling(x).to(self.output.weight.dtype))

    def _scaled(self, values: Tensor, columns: Tensor) -> Tensor:
        r"""Return the scaled values of sparse rows."""
        if isinstance(self.input_scaling, InputScaling):
            values = self.input_scaling.forward_stored(values, columns)
        return fill_missing(values.to(self.output.weight.dtype))

    def forward_encoded(self, encoded: Tensor, members: Tensor | None = None) -> Tensor:
        is_dense = not encoded.is_sparse
        if is_dense and members is not None and self._maps_by_members(members):
            logits: Tensor = self.temperature(self._averages(encoded, members))
            return logits
        x = self._inputs(encoded)
        return self._combine_members(self.output(self.hidden(x)), members)

    @property
    def writes_gradients(self) -> bool:
        r"""Whether :meth:`set_gradients` sets gradients, for the present layers."""
        return self.n_estimators > 1 and can_be_fused([*self.hidden, self.output])

    def set_gradients(
        self,
        encoded: Tensor,
        y: Tensor,
        sample_weight: Tensor | None,
        label_smoothing: float,
    ) -> tuple[Tensor, Tensor] | None:
        if not self.writes_gradients:
            return None
        layers = [*self.hidden, self.output]
        x = self._inputs(encoded)
        step = set_gradients(x, layers, y, sample_weight, label_smoothing)
        # (K, B, C) -> (B, K, C)
        return step.loss, step.logits.transpose(0, 1)

    def _inputs(
        self, encoded: Tensor, members: Tensor | None = None
    ) -> Tensor | SparseRows | tuple[Tensor, Tensor]:
        r"""Return the inputs of the first layer.

        Of shape (K, B, D), or (B, D) of a single member. A `BinnedMemberLinear` has the
        features and the bins as two tensors. ``members`` are the numbers of K members.
        """
        n_members = self.n_estimators if self.n_estimators > 1 else None
        if encoded.is_sparse:
            rows = SparseRows.from_tensor(encoded)
            # (V) -> (K, V): each member drops other values.
            values = rows.values.expand(self.n_estimators, -1)
            return replace(rows, values=self._dropped(values))
        if members is not None:
            n_members = len(members)
        x, bins = encoded, None
        if isinstance(self.input_scaling, TableInput):
            x, bins = self.input_scaling.decode(encoded, members)
        first = self.hidden[0] if len(self.hidden) else self.output
        if bins is not None and isinstance(first, BinnedMemberLinear):
            n_with_bins = len(first.bin_weight)
            if members is not None:
                n_with_bins = int((members < n_with_bins).sum())
            bins = bins.expand(n_with_bins, -1, -1)
            return self._dropped(_expanded(x, n_members)), self._dropped(bins)
        if isinstance(self.input_scaling, TableInput):
            x = self.input_scaling.join(x, bins)
        return self._dropped(_expanded(x, n_members))

    def _dropped(self, x: Tensor) -> Tensor:
        dropped: Tensor = self.input_dropout(x.to(self.output.weight.dtype))
        return dropped

    def _maps_by_members(self, members: Tensor) -> bool:
        r"""Return whether only the members of each row are worth computing."""
        return (
            members.ndim == 2
            and len(self.hidden) > 0
            and self.n_estimators <= _MOST_MEMBERS_OF_A_CODE
            and len(members) * self.largest_product >= _MANY_PRODUCTS
            and all(
                isinstance(layer, MemberLinear | BinnedMemberLinear)
                or next(layer.parameters(), None) is None
                for layer in [*self.hidden, self.output]
            )
        )

    def _averages(self, encoded: Tensor, members: Tensor) -> Tensor:
        r"""Return the average of each row's members; no other members are computed.

        Parameters
        ----------
        encoded : Tensor of shape (batch_size, n_encoded)
            The encoded rows.
        members : Tensor of shape (batch_size, n_estimators), bool
            The members of each row.
        """
        # (B, K) @ (K) -> (B): a number for each set of members
        powers = 2 ** torch.arange(self.n_estimators, device=members.device)
        codes, of_row = torch.unique((members * powers).sum(1), return_inverse=True)
        weight = self.output.weight
        logits = weight.new_empty(len(members), weight.shape[-1])
        for number in range(len(codes)):
            rows = (of_row == number).nonzero().flatten()
            chosen = members[rows[0]].nonzero().flatten()
            x: Any = self._inputs(encoded[rows], chosen)
            for layer in [*self.hidden, self.output]:
                x = (
                    layer.map_by(x, chosen)
                    if isinstance(layer, MemberLinear | BinnedMemberLinear)
                    else layer(x)
                )
            logits[rows] = self.average(x)
        return logits

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


def _expanded(x: Tensor, n_members: int | None) -> Tensor:
    r"""Return inputs of all members, (K, B, D); unchanged in a net without members."""
    if n_members is None or x.ndim == 3:
        return x
    return x.expand(n_members, -1, -1)
