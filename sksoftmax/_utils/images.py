r"""Shapes of images whose pixels are the features of a row."""

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


def check_image_shape(
    image_shape: int | Sequence[int], n_features: int
) -> tuple[int, int, int]:
    r"""Return the number of channels, the height and the width of a row's image.

    Raises
    ------
    ValueError
        If the shape does not fit the number of features, or if the number of channels
        seems to be its last element.
    """
    shape = check_sizes("image_shape", image_shape)
    if len(shape) not in (2, 3) or math.prod(shape) != n_features:
        raise ValueError(
            f"Got image_shape={shape}, which stands for {math.prod(shape)} "
            f"pixels, but X has {n_features} features. Expected (height, width) or "
            "(n_channels, height, width) whose product is the number of features."
        )
    n_channels, height, width = (1, *shape) if len(shape) == 2 else shape
    if width in CHANNELS and min(n_channels, height) > max(CHANNELS):
        # The elements of image_shape are then (height, width, n_channels).
        expected = (width, n_channels, height)
        raise ValueError(
            f"Got image_shape={shape}, which looks like (height, width, "
            f"n_channels), but expected (n_channels, height, width): {expected}. "
            "Rows hold channel after channel; turn those that hold pixel after "
            f"pixel with X.reshape{(-1, *shape)}.transpose(0, 3, 1, 2)"
            ".reshape(len(X), -1)."
        )
    return n_channels, height, width
