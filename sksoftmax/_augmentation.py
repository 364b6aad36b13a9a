r"""Layers that vary images in training, and what is averaged in prediction."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ._layers import RandomLayer
from ._torch import global_generator_seeded

# Share of a side by which "auto" shifts at most: 2 of 28 pixels.
_SHIFT = 0.07

# Sides from which a shift by a pixel leaves an image what it is. In an 8 x 8 digit it
# moves as much as distinguishes two classes.
_SMALLEST_SIDE = 16

# The image itself and its shifts by one pixel along a diagonal: down, right. On
# Fashion-MNIST they gain what four shifts along the axes do, for three fifths of the
# time.
_NEIGHBOURS = ((0, 0), (-1, -1), (1, 1))


class RandomShift(RandomLayer):
    r"""Shift each image of a batch at random, and mirror every other one if asked to.

    An augmentation for training; does nothing in evaluation. Each image gets its own
    whole number of pixels along each axis. What moves in at an edge repeats the
    pixels of that edge.

    Parameters
    ----------
    max_shift : tuple of int, (vertical, horizontal), default=(2, 2)
        By how many pixels an image moves at most, in either direction.
    flip : bool, default=False
        Whether half of the images, drawn at random, are mirrored left to right.

    Attributes
    ----------
    generator : torch.Generator or None
        Where the random numbers come from; PyTorch's global generator if None.

    Notes
    -----
    **Shape**

    - input: ``(batch_size, n_channels, height, width)``, any dtype
    - output: the same

    Examples
    --------
    >>> import torch
    >>> from sksoftmax.modules import RandomShift
    >>> augmentation = RandomShift((0, 1))
    >>> augmentation.generator = torch.Generator().manual_seed(0)
    >>> image = torch.tensor([[[[1, 2, 3]]]])
    >>> outcomes = {tuple(augmentation(image).flatten().tolist()) for _ in range(50)}
    >>> sorted(outcomes)
    [(1, 1, 2), (1, 2, 3), (2, 3, 3)]
    """

    def __init__(
        self, max_shift: tuple[int, int] = (2, 2), *, flip: bool = False
    ) -> None:
        super().__init__()
        if len(max_shift) != 2 or min(max_shift) < 0:
            raise ValueError(
                f"Got max_shift={max_shift!r}, but expected two integers of at least "
                "0: (vertical, horizontal)."
            )
        self.max_shift = tuple(max_shift)
        self.flip = flip

    def forward(self, x: Tensor) -> Tensor:
        r"""Shift the images in training, do nothing in evaluation.

        Parameters
        ----------
        x : Tensor of shape (batch_size, n_channels, height, width)
            The images, of any dtype.

        Returns
        -------
        x : Tensor of shape (batch_size, n_channels, height, width)
            The images that became of them.
        """
        if not self.training:
            return x
        down, right = (self._draw(x, -most, most) for most in self.max_shift)
        mirrored = self._draw(x, 0, 1).bool() if self.flip else None
        return shifted(x, down, right, mirrored)

    def _draw(self, x: Tensor, lowest: int, highest: int) -> Tensor:
        r"""Draw an integer for each image."""
        return torch.randint(
            lowest, highest + 1, (len(x),), generator=self.generator, device=x.device
        )

    def extra_repr(self) -> str:
        r"""Describe the layer in the module's representation."""
        return f"{self.max_shift}, flip={self.flip}"


class SeededTransform(RandomLayer):
    r"""A user's transform of a batch of images, applied in training only.

    Such a transform draws from PyTorch's global generator. It is seeded from
    :attr:`generator` for the call and gets its state back afterwards.
    """

    def __init__(self, transform: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        # torchvision's are modules. What the net trains and moves is a copy.
        is_module = isinstance(transform, nn.Module)
        self.transform = copy.deepcopy(transform) if is_module else transform

    def forward(self, x: Tensor) -> Tensor:
        r"""Transform the images in training, do nothing in evaluation."""
        if not self.training:
            return x
        seed = torch.randint(
            2**31,
            (),
            generator=self.generator,
            device="cpu" if self.generator is None else self.generator.device,
        )
        with global_generator_seeded(int(seed), x.device):
            images = self.transform(x)
        shape = tuple(images.shape) if isinstance(images, Tensor) else None
        if shape != tuple(x.shape):
            raise ValueError(
                f"augmentation returned {type(images).__name__} of shape {shape} for a "
                f"batch of images of shape {tuple(x.shape)}. Expected a Tensor of the "
                "same shape."
            )
        return images


def make_augmentation(
    augmentation: str | Callable[[Tensor], Tensor] | None, size: Sequence[int]
) -> RandomLayer | None:
    r"""Turn the ``augmentation`` parameter into a layer for images of a size."""
    if augmentation == "auto":
        augmentation = "shift" if min(size) >= _SMALLEST_SIDE else None
    if augmentation is None:
        return None
    if isinstance(augmentation, str):
        down, right = (max(1, round(_SHIFT * side)) for side in size)
        return RandomShift((down, right), flip=augmentation == "shift_flip")
    return SeededTransform(augmentation)


def shifted(
    images: Tensor, down: Tensor, right: Tensor, mirrored: Tensor | None = None
) -> Tensor:
    r"""Move each image by its own number of pixels; the edges' pixels fill up.

    Those to be mirrored are so before they move. One gather of pixels by index: about
    a percent of what a step of training costs.
    """
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device) - down[:, None]
    columns = torch.arange(width, device=images.device) - right[:, None]
    rows, columns = rows.clamp_(0, height - 1), columns.clamp_(0, width - 1)
    if mirrored is not None:
        columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
    # (B, H, 1), (B, 1, W) -> (B, 1, H * W)
    index = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)[:, None]
    # (B, C, H, W) -> (B, C, H * W) -> (B, C, H, W)
    pixels = images.flatten(2)
    return pixels.gather(2, index.expand(-1, images.shape[1], -1)).view_as(images)


def variants(images: Tensor, *, flip: bool) -> list[Tensor]:
    r"""Return the images and their shifts by one pixel; mirrored as well if asked."""
    still = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    moved = [
        shifted(images, still + down, still + right) for down, right in _NEIGHBOURS
    ]
    return [*moved, *(image.flip(-1) for image in moved)] if flip else moved
