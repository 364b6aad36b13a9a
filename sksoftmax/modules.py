r"""The ``nn.Module`` s behind the estimators.

They take a batch of rows and return logits, so they fit a plain PyTorch loop with
:class:`torch.nn.CrossEntropyLoss` or a bare skorch net as well as the estimators.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ._augmentation import RandomShift
from ._ensemble import (
    MemberBatchNorm,
    MemberLinear,
    SharedLinear,
    average_members,
)
from ._inputs import TableInput, fill_missing
from ._layers import Dropout, InputScaling, Temperature
from ._piecewise import PiecewiseLinear

__all__ = [
    "Dropout",
    "InputScaling",
    "PiecewiseLinear",
    "RandomShift",
    "SoftmaxCNN",
    "SoftmaxLinear",
    "SoftmaxMLP",
    "TableInput",
    "Temperature",
]

_Layer = TypeVar("_Layer", bound=nn.Module)

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "identity": nn.Identity,
}


class SoftmaxLinear(nn.Linear):
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

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        bias: bool = True,
        init_scale: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        # Linear's own initialisation would draw from the global generator.
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


class SoftmaxMLP(nn.Module):
    r"""Feed-forward net: hidden layers, then a linear map to the logits.

    A hidden layer is linear -> normalisation -> activation -> dropout. Weights start
    with He's normal initialisation, so that the signal keeps its size at any depth.
    With ``n_estimators`` above 1 it is that many nets, trained together; in evaluation
    mode their probabilities are averaged.

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
        Normalisation of each hidden layer.
    dropout : float, default=0.0
        Dropout rate after each hidden layer.
    input_dropout : float, default=0.0
        Dropout rate of the (scaled) inputs.
    input_scaling : {"smooth", "standard"} or None, default=None
        Method of the :class:`InputScaling` in front.
    n_estimators : int, default=1
        Number of members.
    share_weights : bool, default=False
        Whether the members have the weight matrices in common, and differ in scales of
        each layer's inputs and outputs and in biases, as in TabM.
    cardinalities : sequence of (int or None), default=None
        Number of categories of each feature, for a :class:`TableInput` in front.
    missing : sequence of bool, default=None
        Where to learn from missing values, for a :class:`TableInput` in front.
    n_bins : sequence of int, default=None
        Number of bins of each feature, for a :class:`TableInput` in front.
    alternate_bins : bool, default=False
        Whether of several members only every other one is shown the bins, beginning
        with the first.
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
        self.input_scaling = _input_scaling((n_features,), input_scaling)
        if cardinalities is not None or missing is not None or n_bins is not None:
            self.input_scaling = TableInput(
                [None] * n_features if cardinalities is None else cardinalities,
                [False] * n_features if missing is None else missing,
                method=input_scaling,
                n_bins=n_bins,
                generator=generator,
            )
            n_features = self.input_scaling.n_outputs
            if alternate_bins and n_estimators > 1 and any(n_bins or ()):
                shown = torch.ones(n_estimators, 1, n_features)
                shown[1::2, :, self.input_scaling.binned_outputs] = 0
        self.register_buffer("shown", shown, persistent=False)
        sizes = [n_features, *hidden_layer_sizes]
        layers: list[nn.Module] = [Dropout(input_dropout)] if input_dropout else []
        layers += _hidden_layers(
            sizes, activation, normalization, dropout, n_estimators, share_weights
        )
        self.hidden = nn.Sequential(*layers)
        self.output = _linear(n_estimators, sizes[-1], n_classes)
        self.temperature = Temperature()
        # Multiplications that the largest layer spends on one row.
        self.largest_product = max(
            layer.weight.numel() * (n_estimators if is_shared else 1)
            for layer in self.modules()
            if (is_shared := isinstance(layer, SharedLinear))
            or isinstance(layer, nn.Linear | MemberLinear)
        )
        _initialize(self, activation, generator)

    def forward(self, x: Tensor, members: Tensor | None = None) -> Tensor:
        r"""Return the logits.

        Parameters
        ----------
        x : Tensor of shape (batch_size, n_features)
            The rows.
        members : Tensor of shape (batch_size, n_estimators), bool, default=None
            Which members are averaged for each row in evaluation; all of them if None.

        Returns
        -------
        logits : Tensor of shape (batch_size, n_classes)
            The logits; in training with several members those of each, of shape
            (batch_size, n_estimators, n_classes).
        """
        x = self.input_scaling(x).to(self.output.weight.dtype)
        # A value may be missing also where none was while the scaling was learned.
        x = fill_missing(x)
        if self.n_estimators > 1:
            # (B, D) -> (K, B, D)
            x = x.expand(self.n_estimators, *x.shape)
        if self.shown is not None:
            x = x * self.shown
        logits: Tensor = self.output(self.hidden(x))
        if self.n_estimators > 1:
            if self.training:
                return logits.transpose(0, 1)
            logits = average_members(logits, members)
        scaled: Tensor = self.temperature(logits)
        return scaled


class SoftmaxCNN(nn.Module):
    r"""Convolutional net: convolutions and pooling, hidden layers, logits.

    A block is convolution -> max pooling -> normalisation -> activation, followed by
    further convolutions -> normalisation -> activation of the smaller image. After the
    last block comes pooling over the whole image, unless ``global_pooling`` is None.
    With ``n_estimators`` above 1 it is that many nets, trained together; in evaluation
    mode their probabilities are averaged.

    Parameters
    ----------
    image_shape : tuple of int, (n_channels, height, width)
        Shape of one image.
    n_classes : int
        Number of classes.
    channels : sequence of int, default=(16, 64, 128)
        Number of output channels of each block. Processors are fastest with
        multiples of 16.
    convolutions_per_block : int, default=2
        Number of convolutions in each block.
    kernel_size : int, sequence of int or "auto", default="auto"
        Side of the kernels of each block. "auto" is 5 for the first convolution of all
        and 3 for the rest.
    padding : {"same", "valid"}, default="same"
        Whether convolutions keep the size of the image or shrink it.
    pool_size : int, default=2
        Side of the pooling window; an image that has become smaller is not pooled.
    global_pooling : {"max", "average"} or None, default="max"
        How the whole image is pooled after the last block; it stays as it is if None.
    hidden_layer_sizes : sequence of int, default=()
        Widths of hidden layers between the last block and the logits.
    activation : {"relu", "gelu", "silu", "tanh", "identity"}, default="relu"
        Activation function.
    normalization : {"batch"} or None, default="batch"
        Normalisation in each block and hidden layer.
    dropout : float, default=0.0
        Dropout rate before each linear layer.
    input_scaling : {"standard"} or None, default=None
        Whether an :class:`InputScaling` in front scales each channel.
    augmentation : torch.nn.Module, default=None
        Layer in front of everything that varies the images in training, such as
        :class:`RandomShift`; nothing does if None.
    n_estimators : int, default=1
        Number of members. They are the groups of one net's convolutions.
    generator : torch.Generator, default=None
        Draws the initial weights; PyTorch's global generator if None.

    Notes
    -----
    **Shape**

    - input: ``(batch_size, n_channels * height * width)`` or
      ``(batch_size, n_channels, height, width)``, any dtype
    - output: ``(batch_size, n_classes)``, logits; in training mode with several members
      ``(batch_size, n_estimators, n_classes)``, the logits of each

    Examples
    --------
    >>> import torch
    >>> from sksoftmax.modules import SoftmaxCNN
    >>> module = SoftmaxCNN((1, 28, 28), 10, channels=(8, 16), kernel_size=3)
    >>> module(torch.zeros(4, 784, dtype=torch.uint8)).shape
    torch.Size([4, 10])
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        n_classes: int,
        *,
        channels: Sequence[int] = (16, 64, 128),
        convolutions_per_block: int = 2,
        kernel_size: int | Sequence[int] | str = "auto",
        padding: str = "same",
        pool_size: int = 2,
        global_pooling: str | None = "max",
        hidden_layer_sizes: Sequence[int] = (),
        activation: str = "relu",
        normalization: str | None = "batch",
        dropout: float = 0.0,
        input_scaling: str | None = None,
        augmentation: nn.Module | None = None,
        n_estimators: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.image_shape = tuple(image_shape)
        self.n_estimators = n_estimators
        self.augmentation = nn.Identity() if augmentation is None else augmentation
        self.input_scaling = _input_scaling((image_shape[0], 1, 1), input_scaling)
        sides = _kernel_sizes(kernel_size, len(channels), padding)
        n_more = convolutions_per_block - 1
        pool_sizes = [pool_size] * len(channels)
        if global_pooling is not None and not n_more:
            # Where pooling over the whole image follows at once, it is enough.
            pool_sizes[-1:] = [1]
        blocks: list[_Block] = []
        shape = self.image_shape
        for out_channels, side, window in zip(channels, sides, pool_sizes, strict=True):
            more = 3 if isinstance(kernel_size, str) else side
            block = _Block(
                shape,
                out_channels,
                kernel_sizes=[side, *[more] * n_more],
                padding=padding,
                pool_size=window,
                activation=activation,
                normalization=normalization,
                n_members=n_estimators,
                is_first=not blocks,
            )
            blocks.append(block)
            shape = block.output_shape
            if min(shape) < 1:
                raise ValueError(
                    f"Got image_shape={self.image_shape}, which is too small for "
                    f"kernel_size={tuple(sides)} with padding={padding!r}: "
                    f"nothing is left in block {len(blocks)}. Expected a larger "
                    "image, smaller kernels, fewer channels or padding='same'."
                )
        # Multiplications that the largest convolution spends on one row.
        self.largest_product = max(
            (block.largest_product for block in blocks), default=0
        )
        # Pooling and normalisation run over neighbouring channels several times faster.
        self.blocks = nn.Sequential(*blocks).to(memory_format=torch.channels_last)
        self.global_pooling = _global_pooling(global_pooling, shape[1:])
        n_values = math.prod(shape) if global_pooling is None else shape[0]
        sizes = [n_values, *hidden_layer_sizes]
        head: list[nn.Module] = [Dropout(dropout)] if dropout else []
        head += _hidden_layers(sizes, activation, normalization, dropout, n_estimators)
        self.hidden = nn.Sequential(*head)
        self.output = _linear(n_estimators, sizes[-1], n_classes)
        self.temperature = Temperature()
        _initialize(self, activation, generator)

    def forward(self, x: Tensor, members: Tensor | None = None) -> Tensor:
        r"""Return the logits.

        Parameters
        ----------
        x : Tensor of shape (batch_size, n_channels * height * width)
            The images, flat or with their axes.
        members : Tensor of shape (batch_size, n_estimators), bool, default=None
            Which members are averaged for each row in evaluation; all of them if None.

        Returns
        -------
        logits : Tensor of shape (batch_size, n_classes)
            The logits; in training mode with several members those of each, of shape
            (batch_size, n_estimators, n_classes).
        """
        # (B, C * H * W) -> (B, C, H, W)
        x = x.reshape(-1, *self.image_shape)
        x = self.input_scaling(self.augmentation(x))
        x = self.blocks(x.to(self.output.weight.dtype))
        # (B, K * C', H', W') -> (B, K * C' * H' * W')
        x = self.global_pooling(x).flatten(1)
        if self.n_estimators > 1:
            # (B, K * D) -> (K, B, D)
            x = x.view(len(x), self.n_estimators, -1).transpose(0, 1)
        logits: Tensor = self.output(self.hidden(x))
        if self.n_estimators > 1:
            if self.training:
                return logits.transpose(0, 1)
            logits = average_members(logits, members)
        scaled: Tensor = self.temperature(logits)
        return scaled

    def extra_repr(self) -> str:
        r"""Describe the net in its representation."""
        return f"image_shape={self.image_shape}"


class _Block(nn.Sequential):
    r"""Convolution -> pooling -> normalisation -> activation, more convolutions.

    The channels of several members follow one another; the first convolution of all
    finds no members in the image.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        out_channels: int,
        *,
        kernel_sizes: Sequence[int],
        padding: str,
        pool_size: int,
        activation: str,
        normalization: str | None,
        n_members: int,
        is_first: bool,
    ) -> None:
        super().__init__()
        n_channels, *size = image_shape
        # Multiplications that the largest convolution spends on one row.
        self.largest_product = 0
        n_groups = 1 if is_first else n_members
        for index, side in enumerate(kernel_sizes):
            if padding == "valid":
                size = [length - side + 1 for length in size]
            convolution = _empty(
                nn.Conv2d,
                n_channels * n_groups,
                out_channels * n_members,
                side,
                padding=padding,
                groups=n_groups,
                # A shift follows every normalisation, so the convolution needs none.
                bias=normalization is None,
            )
            self.append(convolution)
            product = convolution.weight.numel() * math.prod(size)
            self.largest_product = max(self.largest_product, product)
            if index == 0 and pool_size > 1:
                # Before normalisation and activation, which then have less to do.
                window = [max(1, min(pool_size, length)) for length in size]
                self.append(nn.MaxPool2d((window[0], window[1])))
                size = [n // step for n, step in zip(size, window, strict=True)]
            if normalization == "batch":
                self.append(nn.BatchNorm2d(out_channels * n_members))
            self.append(ACTIVATIONS[activation]())
            n_channels, n_groups = out_channels, n_members
        self.output_shape = (out_channels, *size)


def _global_pooling(method: str | None, size: Sequence[int]) -> nn.Module:
    if method is None:
        return nn.Identity()
    pooling = nn.AvgPool2d if method == "average" else nn.MaxPool2d
    return pooling((size[0], size[1]))


def _kernel_sizes(
    kernel_size: int | Sequence[int] | str, n_blocks: int, padding: str
) -> list[int]:
    r"""Return one kernel side per block."""
    if isinstance(kernel_size, str):
        return [5, *[3] * n_blocks][:n_blocks]
    sides = [kernel_size] * n_blocks if isinstance(kernel_size, int) else kernel_size
    if len(sides) != n_blocks:
        raise ValueError(
            f"Got kernel_size={kernel_size!r} of length {len(sides)}, but channels has "
            f"length {n_blocks}. Expected one integer for all blocks or one for each."
        )
    if padding == "same" and any(side % 2 == 0 for side in sides):
        raise ValueError(
            f"Got kernel_size={kernel_size!r} with padding='same', which has no middle "
            "for an even side. Expected odd sides, or padding='valid'."
        )
    return [int(side) for side in sides]


def _empty(layer: Callable[..., _Layer], *args: Any, **kwargs: Any) -> _Layer:
    r"""Return a layer whose parameters are left for `_initialize` to draw."""
    made: _Layer = nn.utils.skip_init(layer, *args, **kwargs)  # type: ignore[no-untyped-call]
    return made


def _input_scaling(shape: Sequence[int], method: str | None) -> nn.Module:
    return nn.Identity() if method is None else InputScaling(shape, method=method)


def _hidden_layers(
    sizes: Sequence[int],
    activation: str,
    normalization: str | None,
    dropout: float,
    n_members: int = 1,
    share_weights: bool = False,
) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for size_in, size_out in pairwise(sizes):
        # A shift follows every normalisation, so the linear map needs none.
        has_bias = normalization is None
        if n_members > 1 and share_weights:
            is_first = not layers
            layers.append(
                SharedLinear(n_members, size_in, size_out, has_bias, is_first)
            )
        else:
            layers.append(_linear(n_members, size_in, size_out, has_bias))
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


def _linear(
    n_members: int, size_in: int, size_out: int, has_bias: bool = True
) -> nn.Linear | MemberLinear:
    if n_members > 1:
        return MemberLinear(n_members, size_in, size_out, has_bias)
    return _empty(nn.Linear, size_in, size_out, bias=has_bias)


def _initialize(
    module: nn.Module, activation: str, generator: torch.Generator | None
) -> None:
    r"""Draw hidden weights by He's method, those of the logits with a gain of 1."""
    hidden_gain = math.sqrt(2.0) if activation in ("relu", "gelu", "silu") else 1.0
    with torch.no_grad():
        for layer in module.modules():
            gain = 1.0 if layer is getattr(module, "output", None) else hidden_gain
            if isinstance(layer, MemberLinear | SharedLinear):
                layer.initialize(gain, generator)
            elif isinstance(layer, nn.Linear | nn.Conv2d):
                std = gain / math.sqrt(math.prod(layer.weight.shape[1:]))
                layer.weight.normal_(0, std, generator=generator)
                if layer.bias is not None:
                    layer.bias.zero_()
