r"""Piecewise-linear encoding of numbers: the position in each of their bins."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ._scaling import InputScaling


def bin_edges(values: Tensor, n_bins: int) -> Tensor:
    r"""Return the edges of the bins of a feature.

    One edge is the most frequent value. The others are quantiles of all other values,
    so that a feature that is 0 in most rows has bins for the positive values.

    Parameters
    ----------
    values : Tensor of shape (n_samples,)
        Values of the feature. NaN and infinities are left out.
    n_bins : int
        Largest number of bins.

    Returns
    -------
    edges : Tensor of shape (n_edges,), float64
        At most ``n_bins + 1`` values in ascending order. Empty for up to two distinct
        values, whose only bin would repeat the feature.
    """
    known = values[values.isfinite()].double().numpy()
    distinct, counts = np.unique(known, return_counts=True)
    if len(distinct) <= 2:
        return torch.empty(0, dtype=torch.float64)
    most_frequent = counts.argmax()
    counts[most_frequent] = 0
    # Number of the other values up to each distinct one.
    rank = counts.cumsum()
    # Quantiles that occur as values: edges around a value would enclose no others. They
    # are those of np.quantile with method="inverted_cdf", without a second sort.
    place = np.ceil(np.linspace(0, 1, n_bins) * rank[-1] - 1).clip(0)
    quantiles = np.searchsorted(rank, place, side="right")
    return torch.from_numpy(distinct[np.unique([most_frequent, *quantiles])])


class PiecewiseLinear(nn.Module):
    r"""Encode each feature by its position in each of its bins.

    A bin from ``left`` to ``right`` is 0 for values to its left, 1 for values to its
    right and ``(x - left) / (right - left)`` in between; the results are scaled. The
    next layer then has one parameter for each part of a feature's range.

    Parameters
    ----------
    n_bins : sequence of int
        Number of bins of each feature, which may be 0.
    method : {"smooth", "standard"} or None, default="smooth"
        Method of the :class:`InputScaling` of the results.

    Notes
    -----
    **Shape**

    - input: ``(batch_size, n_features)``
    - output: ``(batch_size, sum(n_bins))``; NaN where the feature is NaN

    References
    ----------
    Gorishniy, Rubachev and Babenko (2022). On Embeddings for Numerical Features in
    Tabular Deep Learning. https://arxiv.org/abs/2203.05556

    Examples
    --------
    >>> import torch
    >>> from sksoftmax.modules import PiecewiseLinear
    >>> pieces = PiecewiseLinear([2], method=None)
    >>> x = torch.tensor([[-1.0], [0.5], [3.0]])
    >>> pieces.learn([torch.tensor([0.0, 1.0, 5.0])], x)
    >>> pieces(x).tolist()
    [[0.0, 0.0], [0.5, 0.0], [1.0, 0.5]]
    """

    __module__ = "sksoftmax.modules"

    column: Tensor
    left: Tensor
    width: Tensor

    def __init__(self, n_bins: Sequence[int], *, method: str | None = "smooth") -> None:
        super().__init__()
        columns = [column for column, n in enumerate(n_bins) for _ in range(n)]
        self.register_buffer("column", torch.tensor(columns, dtype=torch.int64))
        self.register_buffer("left", torch.zeros(len(columns)))
        self.register_buffer("width", torch.ones(len(columns)))
        self.scaling: nn.Module = nn.Identity()
        if method is not None:
            self.scaling = InputScaling((len(columns),), method=method)

    def learn(self, edges: Sequence[Tensor], x: Tensor) -> None:
        r"""Set the bins, and learn the scaling of the results from rows.

        Parameters
        ----------
        edges : sequence of Tensor
            Ascending edges of the bins of each feature, one more than bins.
        x : Tensor of shape (n_samples, n_features)
            The rows.
        """
        self.left.copy_(torch.cat([edge[:-1] for edge in edges]))
        widths = torch.cat([edge.diff() for edge in edges])
        # Two edges may be equal in float32.
        self.width.copy_(torch.where(widths > 0, widths, 1.0))
        if isinstance(self.scaling, InputScaling):
            self.scaling.reset()
            self.scaling.update(self._pieces(x))

    def forward(self, x: Tensor) -> Tensor:
        r"""Encode a batch.

        Parameters
        ----------
        x : Tensor of shape (batch_size, n_features)
            The features.

        Returns
        -------
        pieces : Tensor of shape (batch_size, sum(n_bins))
            One column for each bin of each feature.
        """
        pieces: Tensor = self.scaling(self._pieces(x))
        return pieces

    def _pieces(self, x: Tensor) -> Tensor:
        return ((x.index_select(1, self.column) - self.left) / self.width).clamp(0, 1)

    def extra_repr(self) -> str:
        r"""Describe the layer in the module's representation."""
        return f"{len(self.column)} bins"


class BinVectors(nn.Module):
    r"""Map the bins of each feature to a learned vector.

    The vector of a feature is ``silu(bins @ weight + bias)``, with parameters of its
    own for each feature and member. A first layer with fewer inputs than bins
    generalizes better, and its product takes less time.

    Parameters
    ----------
    n_bins : sequence of int
        Number of bins of each feature, which may be 0.
    size : int
        Elements of a vector.
    n_members : int, default=1
        Number of members.

    Notes
    -----
    **Shape**

    - input: ``(batch_size, n_slots)``, the result of :meth:`spread`
    - output: ``(n_members, batch_size, n_vectors * size)``, a vector for each feature
      with bins

    References
    ----------
    Gorishniy, Rubachev and Babenko (2022). On Embeddings for Numerical Features in
    Tabular Deep Learning. https://arxiv.org/abs/2203.05556
    """

    slots: Tensor

    def __init__(self, n_bins: Sequence[int], size: int, n_members: int = 1) -> None:
        super().__init__()
        self.n_members, self.size = n_members, size
        counts = [n for n in n_bins if n]
        largest = max(counts)
        ends = np.cumsum(counts)
        # (F, W + 1): positions of the bins of each of F features, filled up with a
        # position of 0, and the position of a 1, for the bias
        slots = np.full((len(counts), largest + 1), ends[-1])
        for row, end, count in zip(slots, ends, counts, strict=True):
            row[:count] = np.arange(end - count, end)
        slots[:, -1] = ends[-1] + 1
        self.register_buffer("slots", torch.from_numpy(slots.ravel()))
        shape = (len(counts), largest + 1, n_members * size)
        self.weight = nn.Parameter(torch.empty(shape))

    @property
    def n_outputs(self) -> int:
        r"""Number of outputs of a member."""
        return len(self.weight) * self.size

    @torch.no_grad()
    def initialize(self, generator: torch.Generator | None) -> None:
        r"""Draw normal parameters of standard deviation 1 / sqrt(number of bins)."""
        std = 1 / math.sqrt(self.weight.shape[1])
        self.weight.normal_(0, std, generator=generator)

    def spread(self, bins: Tensor) -> Tensor:
        r"""Return a slot for each bin of each feature, as many as the most bins.

        Parameters
        ----------
        bins : Tensor of shape (batch_size, sum(n_bins))
            The result of :class:`PiecewiseLinear`.

        Returns
        -------
        slots : Tensor of shape (batch_size, n_slots)
            The bins, 0 in slots without a bin, and 1 in the last slot of a feature.
        """
        with_zero = nn.functional.pad(bins, (0, 1))
        with_one = nn.functional.pad(with_zero, (0, 1), value=1.0)
        return with_one.index_select(1, self.slots)

    def forward(self, slots: Tensor, members: Tensor | None = None) -> Tensor:
        r"""Return the vectors of a batch.

        Parameters
        ----------
        slots : Tensor of shape (batch_size, n_slots)
            The result of :meth:`spread`.
        members : Tensor of int64, default=None
            Numbers of the members whose vectors are returned; all if None.

        Returns
        -------
        vectors : Tensor of shape (n_members, batch_size, n_vectors * size)
            The vectors of each member; in memory, the last two axes change places.
        """
        n_vectors, n_slots, _ = self.weight.shape
        weight: Tensor = self.weight
        if members is not None:
            shape = (n_vectors, n_slots, self.n_members, self.size)
            weight = weight.view(shape)[:, :, members].flatten(2)
        n_members, n_rows = weight.shape[2] // self.size, slots.shape[0]
        # (B, F, W) -> (F, W, B); (F, K * E, W) @ (F, W, B) -> (F, K * E, B)
        slots = slots.reshape(-1, n_vectors, n_slots).permute(1, 2, 0)
        vectors = nn.functional.silu(torch.bmm(weight.transpose(1, 2), slots))
        # (F, K, E * B) -> (K, F, E * B) -> (K, F * E, B): rows of a vector's element
        # stay together, since a copy of E numbers at a time takes as long as a product.
        vectors = vectors.view(n_vectors, n_members, self.size * n_rows)
        vectors = vectors.transpose(0, 1)
        vectors = vectors.reshape(n_members, n_vectors * self.size, n_rows)
        return vectors.transpose(1, 2)

    def extra_repr(self) -> str:
        r"""Describe the layer in the module's representation."""
        return f"{len(self.weight)} vectors of {self.size}, n_members={self.n_members}"
