r"""Layers that vary images in training, and what is averaged in prediction."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from .._utils.random import global_generator_seeded
from ._layers import RandomLayer

# Share of a side by which "shift" moves at most: a pixel of 28. Two of them teach less
# in the time of a dozen passes.
_SHIFT = 0.036

# Sides from which a shift by a pixel leaves an image what it is. In an 8 x 8 digit it
# moves as much as distinguishes two classes.
_SMALLEST_SIDE = 16

# The image itself and its shifts by one pixel along a diagonal: down, right. On
# Fashion-MNIST they gain what four shifts along the axes do, for three fifths of the
# time.
_NEIGHBOURS = ((0, 0), (-1, -1), (1, 1))

# Points of an image that a warp moves on their own.
_BENDS = (5, 5)

# Images that are so many times darker than they were are on another scale, if so many
# draws in a row say it: a change of brightness may be as dark by chance, but not twice.
_DARKER, _REDRAWS = 50, 4

# Share of negative pixels from which their absence says that they were clamped.
_SIGNED = 0.05

# Share of the largest pixel: a mean below the negative of it is another scale.
_NEGATIVE = 0.1

# Correlation from which pixels are a linear function of what they were.
_LINEAR = 0.999


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
            The images that became of them.
        """
        return self._vary(x) if self.training else x

    @abstractmethod
    def _vary(self, x: Tensor) -> Tensor:
        r"""Return what becomes of a batch of images."""


class RandomShift(Augmentation):
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

    __module__ = "sksoftmax.modules"

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

    def _vary(self, x: Tensor) -> Tensor:
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


class RandomWarp(Augmentation):
    r"""Turn, scale, shear, move and bend each image of a batch at random.

    An augmentation for training; does nothing in evaluation. Handwriting varies like
    this. Each image gets its own numbers, uniform up to the given ones in either
    direction. Pixels are interpolated linearly; what moves in at an edge repeats the
    pixels of that edge.

    Parameters
    ----------
    max_angle : float, default=10.0
        By how many degrees an image is turned at most.
    max_scale : float, default=0.1
        By which share it is stretched or squeezed at most, along each axis by its own.
    max_shear : float, default=0.1
        By how many pixels at most a line moves sideways against the line below.
    max_shift : float, default=0.07
        By which share of each side it moves at most.
    bend : float, default=0.02
        Standard deviation of what a grid of 5 x 5 points moves besides, as a share of
        each side; the pixels between them follow smoothly.

    Attributes
    ----------
    generator : torch.Generator or None
        Where the random numbers come from; PyTorch's global generator if None.

    Notes
    -----
    **Shape**

    - input: ``(batch_size, n_channels, height, width)``, any dtype
    - output: the same shape; integers become float32

    References
    ----------
    Simard, Steinkraus and Platt (2003). Best practices for convolutional neural
    networks applied to visual document analysis.
    https://doi.org/10.1109/ICDAR.2003.1227801

    Examples
    --------
    >>> import torch
    >>> from sksoftmax.modules import RandomWarp
    >>> augmentation = RandomWarp(max_angle=15.0)
    >>> augmentation.generator = torch.Generator().manual_seed(0)
    >>> augmentation(torch.ones(2, 1, 28, 28, dtype=torch.uint8)).shape
    torch.Size([2, 1, 28, 28])
    """

    __module__ = "sksoftmax.modules"

    def __init__(
        self,
        max_angle: float = 10.0,
        max_scale: float = 0.1,
        max_shear: float = 0.1,
        max_shift: float = 0.07,
        bend: float = 0.02,
    ) -> None:
        super().__init__()
        self.max_angle = max_angle
        self.max_scale = max_scale
        self.max_shear = max_shear
        self.max_shift = max_shift
        self.bend = bend
        for name in ("max_angle", "max_scale", "max_shear", "max_shift", "bend"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(
                    f"Got {name}={value!r}, but expected a finite number of at least 0."
                )

    def _vary(self, x: Tensor) -> Tensor:
        x = x if x.is_floating_point() else x.float()
        down, right = self._origins(x)
        height, width = x.shape[-2:]
        # From pixels to -1 and 1 at the image's borders; beyond the outermost pixels'
        # middles come those pixels.
        right = (2 / width * right).clamp(1 / width - 1, 1 - 1 / width)
        down = (2 / height * down).clamp(1 / height - 1, 1 - 1 / height)
        # (B, H, W, 2)
        grid = torch.stack([right, down], 3)
        return grid_sample(x, grid.to(x.dtype), align_corners=False)

    def _origins(self, x: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return where each pixel comes from, in pixels from the image's middle."""
        height, width = x.shape[-2:]
        angle = self._draw(x, math.radians(self.max_angle))
        rows = torch.arange(height, device=x.device) - (height - 1) / 2
        columns = torch.arange(width, device=x.device) - (width - 1) / 2
        # (B, H, 1), (B, H, W)
        rows = rows[:, None] * self._draw(x, self.max_scale).exp()
        columns = columns * self._draw(x, self.max_scale).exp()
        columns = columns + self._draw(x, self.max_shear) * rows
        cosine, sine = angle.cos(), angle.sin()
        bends = torch.randn(
            len(x), 2, *_BENDS, generator=self.generator, device=x.device
        )
        bends = interpolate(bends, (height, width), mode="bicubic", align_corners=True)
        down = sine * columns + cosine * rows + self._draw(x, self.max_shift * height)
        right = cosine * columns - sine * rows + self._draw(x, self.max_shift * width)
        down = down + self.bend * height * bends[:, 0]
        return down, right + self.bend * width * bends[:, 1]

    def _draw(self, x: Tensor, most: float) -> Tensor:
        r"""Draw a number for each image, up to ``most`` in either direction."""
        uniform = torch.rand(len(x), 1, 1, generator=self.generator, device=x.device)
        return most * (2 * uniform - 1)

    def extra_repr(self) -> str:
        r"""Describe the layer in the module's representation."""
        return (
            f"max_angle={self.max_angle}, max_scale={self.max_scale}, "
            f"max_shear={self.max_shear}, max_shift={self.max_shift}, bend={self.bend}"
        )


class SeededTransform(Augmentation):
    r"""A user's transform of a batch of images, applied in training only.

    Such a transform draws from PyTorch's global generator. It is seeded from
    :attr:`generator` for the call and gets its state back afterwards.
    """

    def __init__(self, transform: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        # A copy: training changes what a transform remembers, and if it is a module,
        # its device and parameters.
        self.transform = copy.deepcopy(transform)

    def _vary(self, x: Tensor) -> Tensor:
        seed = torch.randint(
            2**31,
            (),
            generator=self.generator,
            device="cpu" if self.generator is None else self.generator.device,
        )
        with global_generator_seeded(int(seed), x.device):
            images = self._transformed(x)
            if _is_out_of_range(x, images) or all(
                _is_darker(x, self._transformed(x) if redraws else images)
                for redraws in range(1 + _REDRAWS)
            ):
                raise ValueError(
                    f"augmentation turned {x.dtype} pixels from {_range(x)} into "
                    f"pixels from {_range(images)}, but expected the same scale, since "
                    "predictions are made from pixels as they are. torchvision's "
                    "transforms take floats for 0 to 1 and clamp what is beyond: pass "
                    "X.astype('uint8') for pixels of 0 to 255, or (X - X.min()) / "
                    "(X.max() - X.min()), and leave out Normalize and "
                    "ToDtype(scale=True)."
                )
        return images

    def _transformed(self, x: Tensor) -> Tensor:
        try:
            images = self.transform(x)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"augmentation failed on a batch of {x.dtype} images of shape "
                f"{tuple(x.shape)}: {error} Expected a callable that takes such a "
                "batch. Some transforms of torchvision, AutoAugment, RandomPosterize "
                "and RandomEqualize for example, take whole numbers only: pass "
                "X.astype('uint8') for pixels of 0 to 255."
            ) from error
        shape = tuple(images.shape) if isinstance(images, Tensor) else None
        if shape != tuple(x.shape):
            raise ValueError(
                f"augmentation returned {type(images).__name__} of shape {shape} for a "
                f"batch of images of shape {tuple(x.shape)}. Expected a Tensor of the "
                "same shape."
            )
        if images.is_complex() or not math.isfinite(_largest(images)):
            raise ValueError(
                "augmentation returned NaN, infinite or complex pixels for a batch of "
                f"{x.dtype} images. Expected finite numbers."
            )
        return images


def _largest(images: Tensor) -> float:
    r"""Return the largest absolute value of a batch; NaN if there is a NaN."""
    if images.is_complex():
        return math.nan
    lowest, highest = images.aminmax()
    return max(-float(lowest), float(highest))


def _range(images: Tensor) -> str:
    r"""Return the smallest and the largest value of a batch, for a message."""
    lowest, highest = images.aminmax()
    return f"{float(lowest):.6g} to {float(highest):.6g}"


def _is_out_of_range(x: Tensor, images: Tensor) -> bool:
    r"""Return whether a transform took pixels for floats of another range.

    torchvision's transforms clamp floats to 0 and 1, and invert them as 1 - x.
    """
    if not images.is_floating_point():
        return False
    if _largest(images) == 1 and _largest(x) > 2:
        return True
    lowest, after = float(x.min()), float(images.min())
    if lowest < 0:
        return after == 0 and float((x < 0).float().mean()) > _SIGNED
    if after > -_NEGATIVE * _largest(x):
        return False
    # Noise makes pixels negative as well, but not their mean, and not in proportion.
    is_negative = float(images.float().mean()) < -_NEGATIVE * _largest(x)
    return is_negative or _is_proportional(x, images)


def _is_proportional(x: Tensor, images: Tensor) -> bool:
    r"""Return whether pixels are a linear function of what they were."""
    pairs = torch.stack([x.flatten().double(), images.flatten().double()])
    return abs(float(pairs.corrcoef()[0, 1])) > _LINEAR


def _is_darker(x: Tensor, images: Tensor) -> bool:
    r"""Return whether pixels are so small that they seem to be on another scale."""
    before, after = _largest(x), _largest(images)
    return (after <= 1 and before > 2) or after * _DARKER < before


def make_augmentation(
    augmentation: str | Callable[[Tensor], Tensor] | None, size: Sequence[int]
) -> Augmentation | None:
    r"""Turn the ``augmentation`` parameter into a layer for images of a size."""
    if augmentation == "auto":
        augmentation = "shift" if min(size) >= _SMALLEST_SIDE else None
    if augmentation is None:
        return None
    if augmentation == "warp":
        return RandomWarp()
    if isinstance(augmentation, Augmentation):
        return copy.deepcopy(augmentation)
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
