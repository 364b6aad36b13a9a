r"""Layers that the modules share: input scaling, and dropout with its own seed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class InputScaling(nn.Module):
    r"""Centre and scale features with statistics learned from data.

    ``method="standard"`` gives zero mean and unit variance, as
    :class:`~sklearn.preprocessing.StandardScaler` does. ``method="smooth"`` follows
    that with the inverse hyperbolic sine, which is the identity around zero and a
    logarithm far from it: counts and heavy tails lose their outliers, and a value
    never seen in training cannot blow up the first layer.

    Parameters
    ----------
    shape : tuple of int
        Shape of one row's statistics. Axes of length one are averaged over:
        ``(n_features,)`` scales each feature, ``(n_channels, 1, 1)`` each channel.
    method : {"standard", "smooth"}, default="smooth"
        What is done to the values.

    Notes
    -----
    **Shape**

    - input: ``(batch_size, *row)``, any dtype, ``row`` broadcastable with ``shape``
    - output: the same shape, float32

    Before the first :meth:`update` the mean is 0 and the scale 1.

    Examples
    --------
    >>> import torch
    >>> from sksoftmax.modules import InputScaling
    >>> scaling = InputScaling((2,), method="standard")
    >>> X = torch.tensor([[0.0, 10.0], [2.0, 30.0]])
    >>> scaling.update(X)
    >>> scaling(X).tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
    """

    mean: Tensor
    mean_remainder: Tensor
    scale: Tensor
    variance: Tensor
    weight_seen: Tensor

    # Rows that are converted to float64 at a time while the statistics are computed.
    _CHUNK_ROWS = 4096

    def __init__(self, shape: Sequence[int], *, method: str = "smooth") -> None:
        super().__init__()
        self.method = method
        self.register_buffer("mean", torch.zeros(*shape))
        # What float32 cannot hold of the mean; not every device has float64.
        self.register_buffer("mean_remainder", torch.zeros(*shape))
        self.register_buffer("scale", torch.ones(*shape))
        self.register_buffer("variance", torch.zeros(*shape))
        self.register_buffer("weight_seen", torch.zeros(()))

    @torch.no_grad()
    def update(self, X: Tensor, sample_weight: Tensor | None = None) -> None:
        r"""Merge the statistics of more rows into those of the rows seen before.

        Parameters
        ----------
        X : Tensor of shape (n_samples, *row)
            The rows.
        sample_weight : Tensor of shape (n_samples,), default=None
            How often each row counts; once each if None.
        """
        shape = (1, *self.mean.shape)
        seen = self.weight_seen.double().cpu()
        mean = self.mean.double().cpu() + self.mean_remainder.double().cpu()
        mean = mean.reshape(shape)
        variance = self.variance.double().cpu().reshape(shape)
        for start in range(0, len(X), self._CHUNK_ROWS):
            rows = X[start : start + self._CHUNK_ROWS].cpu().double()
            weight = (
                torch.ones(len(rows), dtype=torch.float64)
                if sample_weight is None
                else sample_weight[start : start + self._CHUNK_ROWS].cpu().double()
            )
            if not weight.any():
                continue
            averaged = [0] + [d for d in range(1, rows.ndim) if shape[d] == 1]
            normalized = weight.reshape(-1, *[1] * (rows.ndim - 1))
            normalized = normalized / (
                weight.sum() * math.prod(rows.shape[d] for d in averaged[1:])
            )
            chunk_mean = (rows * normalized).sum(averaged, keepdim=True)
            chunk_variance = ((rows - chunk_mean) ** 2 * normalized).sum(
                averaged, keepdim=True
            )
            # Chan, Golub and LeVeque's pairwise update, stable for large means.
            share = weight.sum() / (seen + weight.sum())
            delta = chunk_mean - mean
            variance = (
                (1 - share) * variance
                + share * chunk_variance
                + share * (1 - share) * delta**2
            )
            mean = mean + share * delta
            seen = seen + weight.sum()
        # What rounding alone makes of a constant is no variance (scikit-learn's rule).
        epsilon = torch.finfo(torch.float64).eps * len(X)
        constant = variance <= epsilon * variance + (epsilon * mean) ** 2
        scale = torch.where(constant, 1.0, variance.sqrt())
        for buffer, value in (
            (self.mean, mean),
            (self.variance, variance),
            (self.scale, scale),
        ):
            buffer.copy_(value.reshape(buffer.shape))
        rounded = self.mean.double().cpu().reshape(shape)
        self.mean_remainder.copy_((mean - rounded).reshape(self.mean.shape))
        self.weight_seen.copy_(seen)

    def forward(self, x: Tensor) -> Tensor:
        r"""Scale a batch."""
        centred = x - self.mean
        if x.dtype == torch.float64:
            # In float64, a large offset does not drown the differences between rows.
            centred = centred - self.mean_remainder
        z = (centred / self.scale).to(self.mean.dtype)
        return z.asinh() if self.method == "smooth" else z

    def extra_repr(self) -> str:
        r"""Describe the layer in the module's representation."""
        return f"{tuple(self.mean.shape)}, method={self.method!r}"


class Dropout(nn.Module):
    r"""Dropout that can be seeded on its own and costs little on a CPU.

    Does what :class:`torch.nn.Dropout` does, but draws from :attr:`generator`, so
    that training neither depends on PyTorch's global generator nor disturbs it. On a
    CPU, where drawing a float per element takes half of a training step, it draws a
    byte per element; the rate is then the nearest multiple of 1/256 (from 1/64 on),
    and the scale is that rate's, so that the expectation is exact.

    Parameters
    ----------
    p : float, default=0.5
        Probability of an element to be zeroed; the others are divided by ``1 - p``.

    Attributes
    ----------
    generator : torch.Generator or None
        Where the random numbers come from; PyTorch's global generator if None.

    Notes
    -----
    **Shape**

    - input: any
    - output: the same

    References
    ----------
    Srivastava et al. (2014). Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting. Journal of Machine Learning Research 15.
    https://jmlr.org/papers/v15/srivastava14a.html

    Examples
    --------
    >>> import torch
    >>> from sksoftmax.modules import Dropout
    >>> dropout = Dropout(0.5)
    >>> dropout.generator = torch.Generator().manual_seed(0)
    >>> sorted(set(dropout(torch.ones(1000)).tolist()))
    [0.0, 2.0]
    >>> bool((dropout.eval()(torch.ones(1000)) == 1).all())
    True
    """

    # Below this threshold of 256, rounding the rate to a byte would change it much.
    _LOWEST_THRESHOLD = 4

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"Got p={p!r}, but expected a number in [0, 1).")
        self.p = p
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        r"""Zero elements at random in training, do nothing in evaluation."""
        if not self.training or self.p == 0:
            return x
        threshold = min(round(256 * self.p), 255)
        if x.device.type != "cpu" or threshold < self._LOWEST_THRESHOLD:
            mask = torch.empty_like(x).bernoulli_(1 - self.p, generator=self.generator)
            return x * mask.div_(1 - self.p)
        # `random_` without an upper end leaves the sign bit at 0, hence the range.
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64)
        words.random_(-(2**63), None, generator=self.generator)
        bits = words.view(torch.uint8)[: x.numel()].view(x.shape)
        mask = (bits >= threshold).to(x.dtype)
        return x * mask.mul_(256 / (256 - threshold))

    def extra_repr(self) -> str:
        r"""Describe the layer in the module's representation."""
        return f"p={self.p}"


def set_generator(module: nn.Module, generator: torch.Generator) -> None:
    r"""Let every :class:`Dropout` of a module draw from one generator."""
    for layer in module.modules():
        if isinstance(layer, Dropout):
            layer.generator = generator
