r"""The module that takes rows as images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from ._base import SoftmaxModule
from ._ensemble import MemberAverage
from ._layers import (
    ACTIVATIONS,
    Dropout,
    Temperature,
    hidden_layers,
    initialize,
    linear,
    make_input_scaling,
    uninitialized,
)


class SoftmaxCNN(SoftmaxModule):
    r"""Convolutional net: convolutions and pooling, hidden layers, logits.

    A block is convolution -> max pooling -> normalization -> activation, followed by
    further convolutions -> normalization -> activation of the smaller image. After the
    last block, the whole image is pooled, unless ``global_pooling`` is None. With
    ``n_estimators`` above 1 it is an ensemble of that many nets, trained together; in
    evaluation mode their probabilities are averaged.

    Parameters
    ----------
    image_shape : tuple of int, (n_channels, height, width)
        Shape of one image.
    n_classes : int
        Number of classes.
    channels : sequence of int, default=(16, 32, 96)
        Number of output channels of each block. Processors are fastest with
        multiples of 16.
    convolutions_per_block : int, default=2
        Number of convolutions in each block.
    kernel_size : int, sequence of int or "auto", default="auto"
        Side of the kernels of each block. "auto" is 5 for the first convolution of the
        net and 3 for all others.
    padding : {"same", "valid"}, default="same"
        Whether convolutions keep the size of the image ("same") or shrink it.
    pool_size : int, default=2
        Side of the pooling window; smaller images are not pooled.
    global_pooling : {"max", "average"} or None, default="max"
        How the whole image is pooled after the last block; not at all if None.
    hidden_layer_sizes : sequence of int, default=()
        Widths of hidden layers between the last block and the logits.
    activation : {"relu", "gelu", "silu", "tanh", "identity"}, default="relu"
        Activation function.
    normalization : {"batch"} or None, default="batch"
        Normalization in each block and hidden layer.
    dropout : float, default=0.0
        Dropout rate before each linear layer.
    input_scaling : {"standard"} or None, default=None
        Whether an :class:`InputScaling` in front scales each channel.
    augmentation : torch.nn.Module, default=None
        First layer, which varies the images in training, such as :class:`RandomShift`;
        they stay as they are if None.
    n_estimators : int, default=1
        Number of members, computed as groups of each convolution.
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

    __module__ = "sksoftmax.modules"

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        n_classes: int,
        *,
        channels: Sequence[int] = (16, 32, 96),
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
        self.input_scaling = make_input_scaling((image_shape[0], 1, 1), input_scaling)
        pool_sizes = [pool_size] * len(channels)
        if global_pooling is not None and convolutions_per_block == 1:
            # The pooling over the whole image follows at once.
            pool_sizes[-1:] = [1]
        make_block = partial(
            Block,
            padding=padding,
            activation=activation,
            normalization=normalization,
            n_members=n_estimators,
        )
        blocks = _chain_blocks(
            make_block,
            self.image_shape,
            channels,
            kernel_sizes(kernel_size, len(channels), convolutions_per_block, padding),
            pool_sizes,
        )
        shape = blocks[-1].output_shape if blocks else self.image_shape
        self.largest_product = max(
            (block.largest_product for block in blocks), default=0
        )
        # Pooling and normalization are several times faster with channels last.
        self.blocks = nn.Sequential(*blocks).to(memory_format=torch.channels_last)
        self.global_pooling = _global_pooling(global_pooling, shape[1:])
        n_values = math.prod(shape) if global_pooling is None else shape[0]
        sizes = [n_values, *hidden_layer_sizes]
        head: list[nn.Module] = [Dropout(dropout)] if dropout else []
        head += hidden_layers(sizes, activation, normalization, dropout, n_estimators)
        self.hidden = nn.Sequential(*head)
        self.output = linear(n_estimators, sizes[-1], n_classes)
        if n_estimators > 1:
            self.average = MemberAverage()
        self.temperature = Temperature()
        initialize(self, activation, generator)

    def forward(self, x: Tensor, members: Tensor | None = None) -> Tensor:
        r"""Return the logits.

        Parameters
        ----------
        x : Tensor of shape (batch_size, n_channels * height * width)
            The images, flat or with their axes.
        members : Tensor of shape (..., batch_size, n_estimators), bool, default=None
            The members that are averaged for each row in evaluation; all if None. With
            more than two axes, there are several averages of each row.

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
        return self._combine_members(self.output(self.hidden(x)), members)

    def extra_repr(self) -> str:
        r"""Describe the net in its representation."""
        return f"image_shape={self.image_shape}"


class Block(nn.Sequential):
    r"""Convolution -> pooling -> normalization -> activation, further convolutions.

    The channels of the members follow one another. The first block of an ensemble takes
    the same image for all members.

    Attributes
    ----------
    output_shape : tuple of int
        Shape (channels, height, width) of a member's output.
    largest_product : int
        Multiplications that the largest convolution spends on one row.
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
        self.largest_product = 0
        n_groups = 1 if is_first else n_members
        for index, side in enumerate(kernel_sizes):
            if padding == "valid":
                size = [length - side + 1 for length in size]
            convolution = uninitialized(
                nn.Conv2d,
                n_channels * n_groups,
                out_channels * n_members,
                side,
                padding=padding,
                groups=n_groups,
                # Normalization ends with a shift, so a bias would have no effect.
                bias=normalization is None,
            )
            self.append(convolution)
            product = convolution.weight.numel() * math.prod(size)
            self.largest_product = max(self.largest_product, product)
            if index == 0 and pool_size > 1:
                # Normalization and activation then have a smaller image.
                window = [max(1, min(pool_size, length)) for length in size]
                self.append(nn.MaxPool2d((window[0], window[1])))
                size = [n // step for n, step in zip(size, window, strict=True)]
            if normalization == "batch":
                self.append(nn.BatchNorm2d(out_channels * n_members))
            self.append(ACTIVATIONS[activation]())
            n_channels, n_groups = out_channels, n_members
        self.output_shape = (out_channels, *size)


def _chain_blocks(
    make_block: Callable[..., Block],
    image_shape: tuple[int, ...],
    channels: Sequence[int],
    kernel_sizes: Sequence[Sequence[int]],
    pool_sizes: Sequence[int],
) -> list[Block]:
    r"""Return one block for each number of channels, on images of a shape."""
    blocks: list[Block] = []
    shape = image_shape
    for out_channels, sides, pool_size in zip(
        channels, kernel_sizes, pool_sizes, strict=True
    ):
        block = make_block(
            shape,
            out_channels,
            kernel_sizes=sides,
            pool_size=pool_size,
            is_first=not blocks,
        )
        blocks.append(block)
        shape = block.output_shape
        if min(shape) < 1:
            raise ValueError(
                f"Got image_shape={image_shape}, which is too small for "
                f"kernel_size={tuple(sides[0] for sides in kernel_sizes)} with "
                f"padding='valid': nothing is left in block {len(blocks)}. Expected a "
                "larger image, smaller kernels, fewer channels or padding='same'."
            )
    return blocks


def _global_pooling(method: str | None, size: Sequence[int]) -> nn.Module:
    if method is None:
        return nn.Identity()
    pooling = nn.AvgPool2d if method == "average" else nn.MaxPool2d
    return pooling((size[0], size[1]))


def kernel_sizes(
    kernel_size: int | Sequence[int] | str,
    n_blocks: int,
    n_per_block: int,
    padding: str,
) -> list[list[int]]:
    r"""Return the sides of the kernels of the convolutions of each block."""
    if isinstance(kernel_size, str):
        sides = [[3] * n_per_block for _ in range(n_blocks)]
        if sides:
            sides[0][0] = 5
        return sides
    if isinstance(kernel_size, int | np.integer):
        kernel_size = [int(kernel_size)] * n_blocks
    if len(kernel_size) != n_blocks:
        raise ValueError(
            f"Got kernel_size={kernel_size!r} of length {len(kernel_size)}, but "
            f"channels has length {n_blocks}. Expected one integer for all blocks or "
            "one for each."
        )
    if padding == "same" and any(side % 2 == 0 for side in kernel_size):
        raise ValueError(
            f"Got kernel_size={kernel_size!r} with padding='same', but an even side "
            "has no center. Expected odd sides, or padding='valid'."
        )
    return [[int(side)] * n_per_block for side in kernel_size]
