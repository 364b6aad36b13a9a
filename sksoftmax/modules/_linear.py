r"""The module of softmax regression."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ._base import SoftmaxModule


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

    def reset_parameters(self) -> None:
        r"""Draw the initial weights."""
        with torch.no_grad():
            if self.init_scale:
                self.weight.normal_(0, self.init_scale, generator=self.init_generator)
            else:
                self.weight.zero_()
            if self.bias is not None:
                self.bias.zero_()

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
        return super().forward(x.to(self.weight.dtype))

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
        weight = self.weight.detach().cpu().double()
        logits = torch.from_numpy(x @ weight.T.contiguous().numpy())
        if self.bias is not None:
            logits += self.bias.detach().cpu()
        return logits
