r"""Shapes of images: which axis has the channels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .estimators import check_sizes

# Numbers of channels that images have: gray, RGB, and RGB with transparency.
CHANNELS = (1, 3, 4)

# Endings of the names of image files, in lower case.
IMAGE_ENDINGS = (
    ".avif",
    ".bmp",
    ".gif",
    ".jp2",
    ".jpeg",
    ".jpg",
    ".pgm",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)


def square_image_shape(n_features: int) -> tuple[int, int, int] | None:
    r"""Return the shape of a square image of one channel or three, None without one."""
    for n_channels in (1, 3):
        side = math.isqrt(n_features // n_channels)
        if n_channels * side**2 == n_features:
            return n_channels, side, side
    return None


def channels_are_last(shape: Sequence[int]) -> bool:
    r"""Return whether a shape of three axes is (height, width, n_channels).

    It is if the last axis alone has as many entries as images have channels.
    """
    return shape[2] in CHANNELS and min(shape[:2]) > max(CHANNELS)


def channels_are_first(shape: Sequence[int]) -> bool:
    r"""Return whether a shape of three axes is clearly (n_channels, height, width)."""
    return shape[0] in CHANNELS and min(shape[1:]) > max(CHANNELS)


def channels_first(shape: Sequence[int], *, is_last: bool) -> tuple[int, int, int]:
    r"""Return (n_channels, height, width) of a shape of two or three axes."""
    if len(shape) == 2:
        return 1, shape[0], shape[1]
    first, second, third = shape
    return (third, first, second) if is_last else (first, second, third)


def check_image_shape(
    image_shape: int | Sequence[int],
    n_features: int,
    channels_last: bool | str = "auto",
) -> tuple[tuple[int, int, int], bool]:
    r"""Return the shape of an image, and whether the channels are its last axis.

    Parameters
    ----------
    image_shape : sequence of int
        (height, width), (n_channels, height, width) or (height, width, n_channels).
    n_features : int
        Number of features of a row, the product of the shape.
    channels_last : bool or "auto", default="auto"
        The order of three axes; "auto" tells by :func:`channels_are_last`.

    Returns
    -------
    shape : tuple of int, (n_channels, height, width)
        The shape with the channels first.
    is_last : bool
        Whether ``image_shape`` has them last.

    Raises
    ------
    ValueError
        If the shape does not fit to the number of features.
    """
    shape = check_sizes("image_shape", image_shape)
    if len(shape) not in (2, 3) or math.prod(shape) != n_features:
        raise ValueError(
            f"Got image_shape={shape}, which stands for {math.prod(shape)} "
            f"pixels, but X has {n_features} features. Expected (height, width), "
            "(n_channels, height, width) or (height, width, n_channels) whose product "
            "is the number of features."
        )
    if len(shape) == 2:
        return channels_first(shape, is_last=False), False
    if isinstance(channels_last, str):
        channels_last = channels_are_last(shape)
    return channels_first(shape, is_last=channels_last), bool(channels_last)
