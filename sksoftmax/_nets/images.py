r"""Checks of rows that are taken for images."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .._data.training_rows import TrainingRows
from .._utils.images import CHANNELS

# Images that tell in which order their channels are.
_SAMPLE_IMAGES = 200

# Ratio of differences between neighbors: for noise, the order makes no difference.
_MISORDERED = 2


def check_order_of_channels(
    data: TrainingRows, rows: NDArray[np.int64], image_shape: tuple[int, ...]
) -> None:
    r"""Warn if images look as if their channels were another axis.

    Parameters
    ----------
    data : TrainingRows
        The images.
    rows : ndarray of shape (n_rows,), int64
        The rows that are trained on.
    image_shape : tuple of int, (n_channels, height, width)
        The shape that they are taken for.
    """
    if image_shape[0] not in CHANNELS[1:]:
        return
    n_channels, *size = image_shape
    last = (*size, n_channels)
    images = data.sample(rows, _SAMPLE_IMAGES).float().view(-1, *image_shape)
    is_last = data.layout is not None and data.layout.is_last
    if is_last:
        # In the order of memory, (N, H, W, C), read as (N, C, H, W).
        other = images.movedim(1, -1).reshape(images.shape)
    else:
        other = images.reshape(-1, *last).movedim(-1, 1)
    # NaN, the roughness of a single line of pixels, compares as False.
    if not _MISORDERED * _roughness(other) < _roughness(images):
        return
    taken, expected = (last, image_shape) if is_last else (image_shape, last)
    warnings.warn(
        f"X is taken for images of shape {taken}, but its rows look as if they were "
        f"images of shape {expected}: neighboring pixels are more alike in that order. "
        f"Set image_shape={expected} for flat rows, or pass X.reshape{(-1, *expected)} "
        'otherwise, with channels_last="auto".',
        UserWarning,
        stacklevel=2,
    )


def _roughness(images: Tensor) -> float:
    r"""Return the mean squared difference between neighboring pixels.

    Neighboring pixels of an image are alike. In the wrong order they are distant pixels
    or different channels.
    """
    return sum(float(images.diff(dim=axis).square().mean()) for axis in (2, 3))
