r"""Layers and builders that several modules share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ._ensemble import EnsembleLinear, MemberBatchNorm, MemberLinear, SharedLinear
from ._piecewise import BinVectors
from ._scaling import InputScaling

_Layer = TypeVar("_Layer", bound=nn.Module)


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "identity": nn.Identity,
}


def uninitialized(layer: Callable[..., _Layer], *args: Any, **kwargs: Any) -> _Layer:
    r"""Return a layer whose parameters `initialize` draws later."""
    made = layer(*args, device="meta", **kwargs)
    for name, parameter in list(made.named_parameters(recurse=False)):
        # torch.nn.utils.skip_init does the same, but imports SymPy: half a second.
        setattr(made, name, nn.Parameter(torch.empty(parameter.shape)))
    return made


def make_input_scaling(shape: Sequence[int], method: str | None) -> nn.Module:
    r"""Return the scaling in front of a module; an identity if the method is None."""
    return nn.Identity() if method is None else InputScaling(shape, method=method)


def hidden_layers(
    sizes: Sequence[int],
    activation: str,
    normalization: str | None,
    dropout: float,
    n_members: int = 1,
    share_weights: bool = False,
) -> list[nn.Module]:
    r"""Return linear -> normalization -> activation -> dropout for each width."""
    layers: list[nn.Module] = []
    for size_in, size_out in pairwise(sizes):
        # Normalization ends with a shift, so a bias would have no effect.
        has_bias = normalization is None
        if n_members > 1 and share_weights:
            is_first = not layers
            layers.append(
                SharedLinear(n_members, size_in, size_out, has_bias, is_first)
            )
        else:
            layers.append(linear(n_members, size_in, size_out, has_bias))
        if normalization == "batch" and n_members > 1:
            layers.append(MemberBatchNorm(n_members, size_out))
        elif normalization == "batch":
            layers.append(nn.BatchNorm1d(size_out))
        elif normalization == "layer":
            layers.append(nn.LayerNorm(size_out))
        layers.append(ACTIVATIONS[activation]())
        if dropout:
            layers.append(Dropout(dropout))
    return layers


def linear(
    n_members: int, size_in: int, size_out: int, has_bias: bool = True
) -> nn.Linear | MemberLinear:
    r"""Return a linear map; of several members, one for each."""
    if n_members > 1:
        return MemberLinear(n_members, size_in, size_out, has_bias)
    return uninitialized(nn.Linear, size_in, size_out, bias=has_bias)


def initialize(
    module: nn.Module, activation: str, generator: torch.Generator | None
) -> None:
    r"""Draw normal parameters of standard deviation gain / sqrt(number of inputs).

    He's method: the gain is sqrt(2) before an activation that halves the signal, and 1
    before other ones and in the layer ``module.output``.
    """
    hidden_gain = math.sqrt(2.0) if activation in ("relu", "gelu", "silu") else 1.0
    with torch.no_grad():
        for layer in module.modules():
            gain = 1.0 if layer is module.output else hidden_gain
            if isinstance(layer, EnsembleLinear):
                layer.initialize(gain, generator)
            elif isinstance(layer, BinVectors):
                layer.initialize(generator)
            elif isinstance(layer, nn.Linear | nn.Conv2d):
                std = gain / math.sqrt(math.prod(layer.weight.shape[1:]))
                layer.weight.normal_(0, std, generator=generator)
                if layer.bias is not None:
                    layer.bias.zero_()


class RandomLayer(nn.Module):
    r"""Base of the layers that draw from their own generator in training."""

    def __init__(self) -> None:
        super().__init__()
        self.generator: torch.Generator | None = None


class Augmentation(RandomLayer, ABC):
    r"""Base of the layers that vary images in training only."""

    def forward(self, x: Tensor) -> Tensor:
        r"""Vary the images in training, do nothing in evaluation.

        Parameters
        ----------
        x : Tensor of shape (batch_size, n_channels, height, width)
            The images, of any dtype.

        Returns
        -------
        x : Tensor of shape (batch_size, n_channels, height, width)
            The varied images.
        """
        return self._vary(x) if self.training else x

    @abstractmethod
    def _vary(self, x: Tensor) -> Tensor:
        r"""Return the varied images of a batch."""


class Dropout(RandomLayer):
    r"""Dropout with its own generator and a small cost on a CPU.

    Computes what :class:`torch.nn.Dropout` does, but draws from ``generator``, so that
    training neither depends on PyTorch's global generator nor changes it. On a CPU, one
    float for each element takes half of the time of a training step. This layer draws
    one byte instead. The rate is then the nearest multiple of 1/256 (from 1/64 on), and
    the scale is exact for that rate.

    Parameters
    ----------
    p : float, default=0.5
        Probability of an element to be zeroed; the others are divided by ``1 - p``.

    Attributes
    ----------
    generator : torch.Generator or None
        Draws the elements; PyTorch's global generator if None.

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

    __module__ = "sksoftmax.modules"

    # In 1/256: smaller rates would change by more than 12% when rounded to a byte.
    _LOWEST_THRESHOLD = 4

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"Got p={p!r}, but expected a number in [0, 1).")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        r"""Zero elements at random in training, do nothing in evaluation.

        Parameters
        ----------
        x : Tensor
            Any values.

        Returns
        -------
        x : Tensor
            The elements that are kept, divided by ``1 - p``, and 0 for the others.
        """
        if not self.training or self.p == 0:
            return x
        threshold = min(round(256 * self.p), 255)
        if x.device.type != "cpu" or threshold < self._LOWEST_THRESHOLD:
            mask = torch.empty_like(x).bernoulli_(1 - self.p, generator=self.generator)
            return x * mask.div_(1 - self.p)
        # Without this range, `random_` leaves the sign bit at 0.
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64)
        words.random_(-(2**63), None, generator=self.generator)
        bits = words.view(torch.uint8)[: x.numel()]
        # In the order of memory of the inputs, whose axes may have changed places. A
        # tensor of booleans in between would take several times as long.
        mask = torch.empty_like(x)
        torch.ge(bits, threshold, out=mask.as_strided(bits.shape, (1,)))
        return x * mask.mul_(256 / (256 - threshold))

    def extra_repr(self) -> str:
        r"""Describe the layer in the module's representation."""
        return f"p={self.p}"


class Temperature(nn.Module):
    r"""Divide logits by a number that is learned after training.

    Attributes
    ----------
    value : Tensor of shape ()
        The temperature; 1 at first.

    Notes
    -----
    **Shape**

    - input: any
    - output: the same; in training mode the input itself

    References
    ----------
    Guo, Pleiss, Sun and Weinberger (2017). On Calibration of Modern Neural Networks.
    https://arxiv.org/abs/1706.04599

    Examples
    --------
    >>> import torch
    >>> from sksoftmax.modules import Temperature
    >>> temperature = Temperature().eval()
    >>> temperature.value.fill_(2.0).item()
    2.0
    >>> temperature(torch.tensor([4.0, -2.0])).tolist()
    [2.0, -1.0]
    """

    __module__ = "sksoftmax.modules"

    value: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("value", torch.ones(()))

    def forward(self, logits: Tensor) -> Tensor:
        r"""Scale the logits in evaluation, do nothing in training.

        Parameters
        ----------
        logits : Tensor of shape (batch_size, n_classes)
            The logits.

        Returns
        -------
        logits : Tensor of shape (batch_size, n_classes)
            The logits, divided by the temperature.
        """
        return logits if self.training else logits / self.value
