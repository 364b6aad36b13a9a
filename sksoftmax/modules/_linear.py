r"""The module of softmax regression."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ._base import SoftmaxModule

# Share of the columns up to which it is faster to gather those that have a parameter
# other than zero than to multiply by all, on one core with 2 to 10 classes.
_LARGEST_ACTIVE_SHARE = 0.1


class SoftmaxLinear(nn.Linear, SoftmaxModule):
    r"""The linear map of softmax regression.

    Parameters
    ----------
    n_features : int
        Number of input features.
    n_classes : int
        Number of classes.
    bias : bool, default=True
        Whether there is an intercept.
    init_scale : float, default=0.0
        Standard deviation of the normal initial weights. The intercept starts at 0.
    generator : torch.Generator, default=None
        Draws the initial weights; PyTorch's global generator if None.

    Attributes
    ----------
    active_columns : Tensor of int64, or None
        Indices of the columns of ``weight`` that are not zero, after
        :meth:`skip_zero_columns`; else None.

    Notes
    -----
    **Shape**

    - input: ``(batch_size, n_features)``, any dtype
    - output: ``(batch_size, n_classes)``, logits

    Examples
    --------
    >>> import torch
    >>> from sksoftmax.modules import SoftmaxLinear
    >>> SoftmaxLinear(4, 3)(torch.randn(8, 4)).shape
    torch.Size([8, 3])
    """

    __module__ = "sksoftmax.modules"

    active_columns: Tensor | None

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        bias: bool = True,
        init_scale: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        # nn.Linear calls reset_parameters, which draws from this generator.
        self.init_scale = init_scale
        self.init_generator = generator
        super().__init__(n_features, n_classes, bias=bias)
        del self.init_generator
        self.register_buffer("active_columns", None, persistent=False)

    def reset_parameters(self) -> None:
        r"""Draw the initial weights."""
        with torch.no_grad():
            if self.init_scale:
                self.weight.normal_(0, self.init_scale, generator=self.init_generator)
            else:
                self.weight.zero_()
            if self.bias is not None:
                self.bias.zero_()

    def skip_zero_columns(self) -> None:
        r"""Let ``forward`` multiply by the columns that are not zero only, if few.

        Training ends this. Before another change of ``weight``, set
        ``active_columns = None``.
        """
        self.active_columns = self.weight.detach().any(0).nonzero().flatten()

    def train(self, mode: bool = True) -> Self:
        r"""Set the mode of training or evaluation.

        Parameters
        ----------
        mode : bool, default=True
            Whether to train; then no column is skipped any more.

        Returns
        -------
        self : SoftmaxLinear
            The module.
        """
        if mode:
            # A step of an optimizer may move any parameter away from zero.
            self.active_columns = None
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        r"""Return the logits.

        Parameters
        ----------
        x : Tensor of shape (batch_size, n_features)
            The rows.

        Returns
        -------
        logits : Tensor of shape (batch_size, n_classes)
            The logits.
        """
        columns = self._few_columns()
        if columns is None:
            return super().forward(x.to(self.weight.dtype))
        weight = self.weight[:, columns]
        return linear(x.index_select(-1, columns).to(weight.dtype), weight, self.bias)

    def forward_sparse(self, x: Any) -> Tensor:
        r"""Return the logits of sparse rows, in float64 and on the CPU.

        Parameters
        ----------
        x : sparse matrix of shape (batch_size, n_features)
            The rows, of scipy.

        Returns
        -------
        logits : Tensor of shape (batch_size, n_classes)
            The logits.
        """
        weight, columns = self.weight.detach(), self._few_columns()
        if columns is not None:
            x, weight = x[:, columns.cpu().numpy()], weight[:, columns]
        weight = weight.cpu().double()
        logits = torch.from_numpy(x @ weight.T.contiguous().numpy())
        if self.bias is not None:
            logits += self.bias.detach().cpu()
        return logits

    def _few_columns(self) -> Tensor | None:
        r"""Return the columns that suffice; None if skipping others saves no time."""
        columns = self.active_columns
        if columns is None or len(columns) > self.in_features * _LARGEST_ACTIVE_SHARE:
            return None
        return columns
