r"""Layers that vary images in training, and the views that a prediction averages."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from ._layers import Augmentation
from ._user_transforms import SeededTransform

# Share of a side: the largest shift of "shift", 1 pixel of 28. In a dozen epochs, 2
# pixels teach less.
_SHIFT = 0.036

# Pixels (down, right): the image itself, and its shifts along a diagonal. On
# Fashion-MNIST they gain as much as four shifts along the axes, in 60% of the time.
_VIEW_SHIFTS = ((0, 0), (-1, -1), (1, 1))

# Rows and columns of the grid of points that a warp moves independently.
_BEND_GRID = (5, 5)


class RandomShift(Augmentation):
    r"""Shift each image of a batch at random, and mirror half of them on request.

    An augmentation for training; does nothing in evaluation. Each image moves by its
    own whole number of pixels along each axis. The pixels that move in at an edge
    repeat those of the edge.

    Parameters
    ----------
    max_shift : tuple of int, (vertical, horizontal), default=(2, 2)
        Largest shift in pixels, in either direction.
    flip : bool, default=False
        Whether each image is mirrored left to right with a probability of 0.5.

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
        down, right = (self._draw(x, -largest, largest) for largest in self.max_shift)
        is_mirrored = self._draw(x, 0, 1).bool() if self.flip else None
        return shifted(x, down, right, is_mirrored)

    def _draw(self, x: Tensor, low: int, high: int) -> Tensor:
        r"""Draw an integer from ``low`` to ``high`` for each image, of shape (B,)."""
        return torch.randint(
            low, high + 1, (len(x),), generator=self.generator, device=x.device
        )

    def extra_repr(self) -> str:
        r"""Describe the layer in the module's representation."""
        return f"{self.max_shift}, flip={self.flip}"


class RandomWarp(Augmentation):
    r"""Rotate, scale, shear, shift and bend each image of a batch at random.

    An augmentation for training; does nothing in evaluation. Handwriting varies like
    this. Each image has its own numbers, uniform between plus and minus the given
    maximum. Pixels are interpolated linearly. The pixels that move in at an edge repeat
    those of the edge.

    Parameters
    ----------
    max_angle : float, default=10.0
        Largest rotation in degrees.
    max_scale : float, default=0.1
        Logarithm of the largest scale, drawn for each axis: 0.1 is about 10%.
    max_shear : float, default=0.1
        Largest shear: the number of pixels by which a line of pixels moves sideways
        against the next line.
    max_shift : float, default=0.07
        Largest shift along each axis, as a share of the side.
    bend : float, default=0.02
        Standard deviation of the additional shifts of a grid of 5 x 5 points, as a
        share of the side; the pixels between them follow smoothly.

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
        for name, value in self._sizes().items():
            if not 0 <= value < math.inf:
                raise ValueError(
                    f"Got {name}={value!r}, but expected a finite number of at least 0."
                )

    def _sizes(self) -> dict[str, float]:
        names = ("max_angle", "max_scale", "max_shear", "max_shift", "bend")
        return {name: getattr(self, name) for name in names}

    def _vary(self, x: Tensor) -> Tensor:
        x = x if x.is_floating_point() else x.float()
        # grid_sample takes (column, row), from -1 to 1 between the borders of the
        # image. Beyond the centers of the pixels at an edge, these pixels repeat.
        sources = [
            (2 / length * source).clamp(1 / length - 1, 1 - 1 / length)
            for length, source in zip(x.shape[-2:], self._sources(x), strict=True)
        ]
        # (B, H, W, 2)
        grid = torch.stack(sources[::-1], 3)
        return grid_sample(x, grid.to(x.dtype), align_corners=False)

    def _sources(self, x: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return the source of each pixel: row and column, in pixels from the center.

        For a pixel at (row, column) with scales s and t, a shear k, a rotation R and a
        shift, it is R (s * row, t * column + k * s * row) + shift + bend.
        """
        height, width = x.shape[-2:]
        angle = self._draw(x, math.radians(self.max_angle))
        rows = torch.arange(height, device=x.device) - (height - 1) / 2
        columns = torch.arange(width, device=x.device) - (width - 1) / 2
        # (B, H, 1), (B, H, W)
        rows = rows[:, None] * self._draw(x, self.max_scale).exp()
        columns = columns * self._draw(x, self.max_scale).exp()
        columns = columns + self._draw(x, self.max_shear) * rows
        cosine, sine = angle.cos(), angle.sin()
        # (B, 2, 5, 5) -> (B, 2, H, W)
        bends = torch.randn(
            len(x), 2, *_BEND_GRID, generator=self.generator, device=x.device
        )
        bends = interpolate(bends, (height, width), mode="bicubic", align_corners=True)
        down = sine * columns + cosine * rows + self._draw(x, self.max_shift * height)
        right = cosine * columns - sine * rows + self._draw(x, self.max_shift * width)
        down = down + self.bend * height * bends[:, 0]
        return down, right + self.bend * width * bends[:, 1]

    def _draw(self, x: Tensor, largest: float) -> Tensor:
        r"""Draw a number up to ``largest`` in size for each image, (B, 1, 1)."""
        uniform = torch.rand(len(x), 1, 1, generator=self.generator, device=x.device)
        return largest * (2 * uniform - 1)

    def extra_repr(self) -> str:
        r"""Describe the layer in the module's representation."""
        return ", ".join(f"{name}={size}" for name, size in self._sizes().items())


def make_augmentation(
    augmentation: str | Callable[[Tensor], Tensor] | None, size: Sequence[int]
) -> Augmentation | None:
    r"""Return the layer of the ``augmentation`` parameter for images (H, W)."""
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
    images: Tensor, down: Tensor, right: Tensor, is_mirrored: Tensor | None = None
) -> Tensor:
    r"""Return each image, shifted by its own number of pixels.

    One gather of pixels by index: about 1% of the time of a training step.

    Parameters
    ----------
    images : Tensor of shape (batch_size, n_channels, height, width)
        The images.
    down, right : Tensor of shape (batch_size,), int64
        Shifts in pixels. The pixels that move in at an edge repeat those of the edge.
    is_mirrored : Tensor of shape (batch_size,), bool, default=None
        Whether each image is mirrored left to right before the shift; none if None.
    """
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device) - down[:, None]
    columns = torch.arange(width, device=images.device) - right[:, None]
    rows, columns = rows.clamp_(0, height - 1), columns.clamp_(0, width - 1)
    if is_mirrored is not None:
        columns = torch.where(is_mirrored[:, None], width - 1 - columns, columns)
    # (B, H, 1), (B, 1, W) -> (B, 1, H * W)
    index = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)[:, None]
    # (B, C, H, W) -> (B, C, H * W) -> (B, C, H, W)
    pixels = images.flatten(2)
    return pixels.gather(2, index.expand(-1, images.shape[1], -1)).view_as(images)


def variants(images: Tensor, *, flip: bool) -> list[Tensor]:
    r"""Return the views that a prediction averages: the images and their shifts.

    With ``flip`` each view is there a second time, mirrored left to right.
    """
    zeros = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    views = [
        shifted(images, zeros + down, zeros + right) for down, right in _VIEW_SHIFTS
    ]
    return [*views, *(view.flip(-1) for view in views)] if flip else views
