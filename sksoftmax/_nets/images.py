r"""Rows that are taken for images: their order, and their random changes."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from torch import Tensor

from .._data.training_rows import TrainingRows
from .._training.augmentation import BatchAugmentation
from .._utils.images import CHANNELS
from ..modules._augmentation import make_augmentation
from ..modules._image_transforms import (
    CHECKED_IMAGES,
    ScaledTransform,
    draws_once_per_call,
    images_per_call,
)
from ..modules._layers import Augmentation

# Images that tell in which order their channels are.
_SAMPLE_IMAGES = 200

# Ratio of differences between neighbors: for noise, the order makes no difference.
_MISORDERED = 2


class AugmentedMixin(BaseEstimator):
    r"""Parameters of a classifier, one of which is a transform of torchvision.

    Some of these have a ``get_params`` that is not scikit-learn's.
    """

    augmentation: str | Callable[[Tensor], Tensor] | None

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        r"""Get the parameters.

        Parameters
        ----------
        deep : bool, default=True
            Without an effect: no parameter is an estimator.

        Returns
        -------
        params : dict
            Parameters and their values.
        """
        params: dict[str, Any] = super().get_params(deep=False)
        return params

    def __sklearn_clone__(self) -> Self:
        augmentation = self.augmentation
        without = copy.copy(self)
        without.augmentation = None
        cloned: Self = super(AugmentedMixin, without).__sklearn_clone__()
        cloned.augmentation = copy.deepcopy(augmentation)
        return cloned


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


def batch_augmentation(
    augmentation: str | Callable[[Tensor], Tensor] | None,
    data: TrainingRows,
    rows: NDArray[np.int64],
    shape: tuple[int, ...],
    *,
    is_checked: bool,
) -> BatchAugmentation | None:
    r"""Return how batches are varied before they reach the module.

    Parameters
    ----------
    augmentation : str, callable or None
        The parameter of the estimator.
    data : TrainingRows
        The training rows.
    rows : ndarray of shape (n_rows,), int64
        The rows that are trained on.
    shape : tuple of int
        Shape of a row as the module takes it.
    is_checked : bool
        Whether a transform of torchvision is tried on some of the images.

    Raises
    ------
    ValueError
        If rows are no images, or if a transform returns other ones than it gets.
    """
    if augmentation is None:
        return None
    draws_once = draws_once_per_call(augmentation)
    needs_images = draws_once or isinstance(augmentation, str | Augmentation)
    if needs_images and len(shape) != 3:
        raise ValueError(
            f"Got augmentation={augmentation!r} for rows of shape {shape}, but "
            "expected images with an axis for the channels. Set image_shape to "
            "(height, width), (n_channels, height, width) or (height, width, "
            "n_channels)."
        )
    if isinstance(augmentation, str) or not draws_once:
        layer = make_augmentation(augmentation, shape[1:])
        return None if layer is None else BatchAugmentation(layer.train(), shape)
    low, high, is_whole = 0.0, 255.0, True
    if data.X.dtype != np.uint8:
        low, high, is_whole = data.value_range()
    transform = ScaledTransform.for_range(augmentation, low, high, is_whole=is_whole)
    if is_checked:
        transform.check(data.sample(rows, CHECKED_IMAGES).view(-1, *shape))
    return BatchAugmentation(transform, shape, images_per_call(math.prod(shape)))


def _roughness(images: Tensor) -> float:
    r"""Return the mean squared difference between neighboring pixels.

    Neighboring pixels of an image are alike. In the wrong order they are distant pixels
    or different channels.
    """
    return sum(float(images.diff(dim=axis).square().mean()) for axis in (2, 3))
