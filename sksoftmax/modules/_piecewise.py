r"""Piecewise-linear encoding: how far a number has come in each of its bins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ._scaling import InputScaling


def bin_edges(values: Tensor, n_bins: int) -> Tensor:
    r"""Return between which values the bins of a feature lie.

    One edge is the commonest value, and the others are quantiles of the rest, so that
    a feature which is 0 in most rows has bins for those where it is not.

    Parameters
    ----------
    values : Tensor of shape (n_samples,)
        The values of some rows. NaN and infinities are left out.
    n_bins : int
        The most bins.

    Returns
    -------
    edges : Tensor of shape (n_edges,), float64
        In ascending order, at most ``n_bins + 1``. None for up to two distinct values,
        of which one bin would say what the feature itself says.
    """
    known = values[values.isfinite()].double().numpy()
    distinct, counts = np.unique(known, return_counts=True)
    if len(distinct) <= 2:
        return torch.empty(0, dtype=torch.float64)
    commonest = distinct[counts.argmax()]
    # Of values that occur: nothing would lie between two edges around such a value.
    quantiles = np.quantile(
        known[known != commonest], np.linspace(0, 1, n_bins), method="inverted_cdf"
    )
    return torch.from_numpy(np.unique([commonest, *quantiles]))


class PiecewiseLinear(nn.Module):
    r"""Encode each feature by how far it has come in each of its bins.

    A bin from ``left`` to ``right`` contributes 0 to its left, 1 to its right and
    ``(x - left) / (right - left)`` in between; the results are scaled. What follows can
    then weigh each part of a feature's range by itself.

    Parameters
    ----------
    n_bins : sequence of int
        Number of bins of each feature; a feature of 0 contributes nothing.
    method : {"smooth", "standard"} or None, default="smooth"
        Method of the :class:`InputScaling` of the results.

    Notes
    -----
    **Shape**

    - input: ``(batch_size, n_features)``
    - output: ``(batch_size, sum(n_bins))``; NaN where the feature is

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
        r"""Set the bins, and learn from rows how to scale what they contribute.

        Parameters
        ----------
        edges : sequence of Tensor
            The edges of each feature's bins in ascending order, one more than bins.
        x : Tensor of shape (n_samples, n_features)
            The rows.
        """
        self.left.copy_(torch.cat([one[:-1] for one in edges]))
        widths = torch.cat([one.diff() for one in edges])
        # Edges that float32 cannot tell apart.
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
