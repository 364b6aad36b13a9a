r"""Layers of an ensemble: one batched product for all members.

Shapes: K members, B rows of a batch, D input features, H output features, C classes.
Between these layers, features have the shape (K, B, D).
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from ._sparse import SparseRows

# The temperature at which members are averaged. On Otto and 39 small tables it predicts
# better than 1, the mean of the probabilities, and than the mean of the logits.
AVERAGING_TEMPERATURE = 1.5


class EnsembleLinear(nn.Module):
    r"""Base of the linear maps of K members.

    Notes
    -----
    **Shape**

    - input: ``(n_members, batch_size, in_features)``
    - output: ``(n_members, batch_size, out_features)``
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    def _make_bias(self, n_members: int, out_features: int) -> nn.Parameter:
        return nn.Parameter(torch.zeros(n_members, 1, out_features))

    @torch.no_grad()
    def initialize(self, gain: float, generator: torch.Generator | None) -> None:
        r"""Draw normal parameters of standard deviation gain / sqrt(in_features)."""
        std = gain / math.sqrt(self.weight.shape[-2])
        self.weight.normal_(0, std, generator=generator)


class MemberLinear(EnsembleLinear):
    r"""A linear map for each member.

    Parameters
    ----------
    n_members : int
        Number of members.
    in_features : int
        Number of input features.
    out_features : int
        Number of output features.
    bias : bool, default=True
        Whether there is a bias, one for each member.
    """

    def __init__(
        self, n_members: int, in_features: int, out_features: int, bias: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_members, in_features, out_features))
        self.bias = self._make_bias(n_members, out_features) if bias else None

    def forward(self, x: Tensor | SparseRows) -> Tensor:
        r"""Map each member's features."""
        # (K, B, D) @ (K, D, H) -> (K, B, H)
        if isinstance(x, SparseRows):
            mapped = x.products(self.weight)
            return mapped if self.bias is None else mapped + self.bias
        if self.bias is None:
            return torch.bmm(x, self.weight)
        return torch.baddbmm(self.bias, x, self.weight)

    def map_by(self, x: Tensor, members: Tensor) -> Tensor:
        r"""Map the features of some members, given by their numbers: (M, B, D)."""
        mapped = torch.bmm(x, self.weight[members])
        return mapped if self.bias is None else mapped + self.bias[members]


class BinnedMemberLinear(EnsembleLinear):
    r"""A linear map for each member of inputs in two parts: features, and bins.

    Parameters
    ----------
    n_members : int
        Number of members.
    in_features : int
        Number of features, which all members have.
    n_members_with_bins : int
        Number of members, the first ones, that have bins.
    n_bins : int
        Number of bins, or of the elements of vectors made of bins.
    out_features : int
        Number of output features.
    bias : bool, default=True
        Whether there is a bias, one for each member.

    Notes
    -----
    **Shape**

    - input: a tuple of features, ``(n_members, batch_size, in_features)``, and bins,
      ``(n_members_with_bins, batch_size, n_bins)``
    - output: ``(n_members, batch_size, out_features)``
    """

    def __init__(
        self,
        n_members: int,
        in_features: int,
        n_members_with_bins: int,
        n_bins: int,
        out_features: int,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_members, in_features, out_features))
        self.bin_weight = nn.Parameter(
            torch.empty(n_members_with_bins, n_bins, out_features)
        )
        self.bias = self._make_bias(n_members, out_features) if bias else None

    @torch.no_grad()
    def initialize(self, gain: float, generator: torch.Generator | None) -> None:
        r"""Draw normal parameters by the number of inputs that a member has."""
        super().initialize(gain, generator)
        n_with_bins, n_bins, _ = self.bin_weight.shape
        n_features = self.weight.shape[1]
        std = gain / math.sqrt(n_features + n_bins)
        self.bin_weight.normal_(0, std, generator=generator)
        self.weight[:n_with_bins] *= math.sqrt(n_features / (n_features + n_bins))

    def full_weight(self) -> Tensor:
        r"""Return the matrices for both parts one after the other, zeros for no bins.

        Of shape (n_members, in_features + n_bins, out_features).
        """
        n_lacking = len(self.weight) - len(self.bin_weight)
        padded = nn.functional.pad(self.bin_weight, (0, 0, 0, 0, 0, n_lacking))
        return torch.cat([self.weight, padded], 1)

    def forward(self, x: tuple[Tensor, Tensor]) -> Tensor:
        r"""Map each member's features and bins."""
        features, bins = x
        return self._sum(
            torch.bmm(features, self.weight), torch.bmm(bins, self.bin_weight)
        )

    def map_by(self, x: tuple[Tensor, Tensor], members: Tensor) -> Tensor:
        r"""Map the parts of some members, given by their numbers in order."""
        features, bins = x
        mapped = torch.bmm(features, self.weight[members])
        with_bins = members[members < len(self.bin_weight)]
        mapped[: len(with_bins)].baddbmm_(bins, self.bin_weight[with_bins])
        return mapped if self.bias is None else mapped + self.bias[members]

    def _sum(self, of_features: Tensor, of_bins: Tensor) -> Tensor:
        if len(of_bins) < len(of_features):
            n_with_bins = len(of_bins)
            of_bins = of_features[:n_with_bins] + of_bins
            total = torch.cat([of_bins, of_features[n_with_bins:]])
        else:
            total = of_features + of_bins
        return total if self.bias is None else total + self.bias


class SharedLinear(EnsembleLinear):
    r"""One matrix for all members, each of which scales its inputs and outputs.

    Parameters
    ----------
    n_members : int
        Number of members.
    in_features : int
        Number of input features.
    out_features : int
        Number of output features.
    bias : bool, default=True
        Whether there is a bias, one for each member.
    is_first : bool, default=False
        Whether the scales of the inputs begin as random signs, which make the members
        differ. In later layers they begin as ones.

    References
    ----------
    Wen, Tran and Ba (2020). BatchEnsemble. https://arxiv.org/abs/2002.06715

    Gorishniy, Kotelnikov and Babenko (2025). TabM. https://arxiv.org/abs/2410.24210
    """

    def __init__(
        self,
        n_members: int,
        in_features: int,
        out_features: int,
        bias: bool = True,
        is_first: bool = False,
    ) -> None:
        super().__init__()
        self.is_first = is_first
        self.weight = nn.Parameter(torch.empty(in_features, out_features))
        self.input_scale = nn.Parameter(torch.ones(n_members, 1, in_features))
        self.output_scale = nn.Parameter(torch.ones(n_members, 1, out_features))
        self.bias = self._make_bias(n_members, out_features) if bias else None

    @torch.no_grad()
    def initialize(self, gain: float, generator: torch.Generator | None) -> None:
        r"""Draw the matrix, and the signs of a first layer."""
        super().initialize(gain, generator)
        if self.is_first:
            self.input_scale.bernoulli_(0.5, generator=generator).mul_(2).sub_(1)

    def forward(self, x: Tensor | SparseRows) -> Tensor:
        r"""Map each member's features."""
        # (K, B, D) @ (D, H) -> (K, B, H): one product of K * B rows
        if isinstance(x, SparseRows):
            scaled = x.values * self.input_scale[:, 0].index_select(1, x.columns)
            x = replace(x, values=scaled).products(self.weight[None])
            x = x * self.output_scale
        else:
            x = ((x * self.input_scale) @ self.weight) * self.output_scale
        return x if self.bias is None else x + self.bias


class MemberBatchNorm(nn.BatchNorm1d):
    r"""Batch normalization of each member's features.

    Parameters
    ----------
    n_members : int
        Number of members.
    n_features : int
        Number of features of a member.

    Notes
    -----
    **Shape**

    - input: ``(n_members, batch_size, n_features)``
    - output: the same
    """

    def __init__(self, n_members: int, n_features: int) -> None:
        super().__init__(n_members * n_features)
        self.n_members = n_members

    def forward(self, x: Tensor) -> Tensor:
        r"""Normalize each member's features over the batch."""
        n_members, n_rows, n_features = x.shape
        # (K, B, H) -> (B, K * H), as if they were features of one net
        flat = x.transpose(0, 1).reshape(n_rows, n_members * n_features)
        normalized: Tensor = super().forward(flat)
        return normalized.view(n_rows, n_members, n_features).transpose(0, 1)


class MemberAverage(nn.Module):
    r"""The logits of the average of the members, at a temperature that files keep.

    Attributes
    ----------
    temperature : Tensor of shape ()
        The temperature at which probabilities are averaged, 1.5; in ensembles of files
        of version 0.1.0, it is 1.

    Notes
    -----
    **Shape**

    - input: ``(n_members, batch_size, n_classes)``
    - members: ``(..., batch_size, n_members)``, bool
    - output: ``(..., batch_size, n_classes)``
    """

    temperature: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("temperature", torch.tensor(AVERAGING_TEMPERATURE))

    def forward(self, logits: Tensor, members: Tensor | None = None) -> Tensor:
        r"""Average all members, or those that are given for each row."""
        return average_members(logits, members, self.temperature)


def average_members(
    logits: Tensor,
    members: Tensor | None = None,
    temperature: float | Tensor = AVERAGING_TEMPERATURE,
) -> Tensor:
    r"""Return the logits of the average of the members.

    For the logits :math:`\ell_k` of member :math:`k`, it is
    :math:`a \log \mathrm{mean}_k \, \mathrm{softmax}(\ell_k / a)`. With a temperature
    :math:`a` of 1, the probabilities are averaged; with a large one, the logits are.

    Parameters
    ----------
    logits : Tensor of shape (n_members, batch_size, n_classes)
        The logits of each member.
    members : Tensor of shape (..., batch_size, n_members), bool, default=None
        Members that are averaged for each row; all of them if None.
    temperature : float or Tensor of shape (), default=1.5
        The temperature at which probabilities are averaged.

    Returns
    -------
    logits : Tensor of shape (..., batch_size, n_classes)
        The logits of the average. Equal members have these logits, except for a
        constant of each row.
    """
    # (K, B, C) -> (B, C, K): PyTorch sums over the last axis in the same order for each
    # row; over the first axis the order depends on the row's place in the batch.
    log_proba = (logits / temperature).log_softmax(2).movedim(0, -1).contiguous()
    if members is None:
        return (log_proba.logsumexp(-1) - math.log(len(logits))) * temperature
    # (..., B, K) -> (..., B, 1, K)
    log_proba = log_proba.masked_fill(~members.unsqueeze(-2), -math.inf)
    n_members = members.sum(-1, keepdim=True)
    return (log_proba.logsumexp(-1) - n_members.log()) * temperature


def average_views(logits: Tensor) -> Tensor:
    r"""Return the logarithm of the mean probabilities of several views of each row.

    Parameters
    ----------
    logits : Tensor of shape (n_views, batch_size, n_classes)
        The logits of each view.

    Returns
    -------
    log_proba : Tensor of shape (batch_size, n_classes)
        These are also logits of the mean probabilities.
    """
    return average_members(logits, temperature=1.0)
