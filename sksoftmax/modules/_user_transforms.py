r"""A user's function as a layer that varies images in training."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor

from .._utils.random import global_generator_seeded
from ._layers import Augmentation

# Ratio of the largest pixel before and after: beyond it, the pixels seem to be on
# another scale.
_DARKENING = 50

# Further calls that must darken as much before a transform is refused: a random
# brightness is that low now and then.
_REPEATED_CALLS = 4

# Share of negative pixels: with more, a minimum of 0 afterwards means that they were
# clamped.
_NEGATIVE_PIXELS = 0.05

# Share of the largest pixel: a mean below the negative of it is another scale.
_NEGATIVE_MEAN = 0.1

# Correlation of pixels before and after: above it, one is a linear function of the
# other.
_LINEAR = 0.999


class SeededTransform(Augmentation):
    r"""A user's transform of a batch of images, applied in training only.

    Such a transform draws from PyTorch's global generator. That one is seeded from
    :attr:`generator` for the call, and has its former state afterwards.
    """

    def __init__(self, transform: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        # A copy: training changes the attributes of a transform, and the device and the
        # parameters of a module.
        self.transform = copy.deepcopy(transform)

    def _vary(self, x: Tensor) -> Tensor:
        device = "cpu" if self.generator is None else self.generator.device
        seed = torch.randint(2**31, (), generator=self.generator, device=device)
        with global_generator_seeded(int(seed), x.device):
            images = self._transformed(x)
            if _is_out_of_range(x, images) or self._darkens(x, images):
                raise ValueError(
                    f"augmentation turned {x.dtype} pixels from {_range(x)} into "
                    f"pixels from {_range(images)}, but expected the same scale, since "
                    "predictions are made from pixels as they are. torchvision's "
                    "functions take floats for 0 to 1 and clamp what is beyond: pass "
                    "X.astype('uint8') for pixels of 0 to 255, or (X - X.min()) / "
                    "(X.max() - X.min()), and leave out normalize and "
                    "to_dtype(scale=True)."
                )
        return images

    def _darkens(self, x: Tensor, images: Tensor) -> bool:
        r"""Return whether this call and all further ones make pixels far smaller."""
        return _is_darker(x, images) and all(
            _is_darker(x, self._transformed(x)) for _ in range(_REPEATED_CALLS)
        )

    def _transformed(self, x: Tensor) -> Tensor:
        images = transformed(self.transform, x)
        check_finite(images, x)
        return images


def transformed(transform: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    r"""Return what a transform makes of a batch of images.

    Raises
    ------
    ValueError
        If it fails, or returns something else than a tensor of the same shape.
    """
    try:
        images = transform(x)
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
    return images


def check_finite(images: Tensor, x: Tensor) -> None:
    r"""Raise an error unless what a transform has made of images is finite."""
    if images.is_complex() or not math.isfinite(_largest(images)):
        raise ValueError(
            "augmentation returned NaN, infinite or complex pixels for a batch of "
            f"{x.dtype} images. Expected finite numbers."
        )


def changes_scale(before: Tensor, after: Tensor) -> bool:
    r"""Return whether images seem to be on another scale than before."""
    return _is_out_of_range(before, after) or _is_darker(before, after)


def _largest(images: Tensor) -> float:
    r"""Return the largest absolute value of a batch; NaN if there is a NaN."""
    lowest, highest = images.aminmax()
    return max(-float(lowest), float(highest))


def _range(images: Tensor) -> str:
    r"""Return the smallest and the largest value of a batch, for a message."""
    lowest, highest = images.aminmax()
    return f"{float(lowest):.6g} to {float(highest):.6g}"


def _is_out_of_range(before: Tensor, after: Tensor) -> bool:
    r"""Return whether a transform assumed another range of float pixels.

    torchvision's transforms clamp floats to 0 and 1, and invert them as 1 - x.
    """
    if not after.is_floating_point():
        return False
    largest, lowest = _largest(before), float(after.min())
    if _largest(after) == 1 and largest > 2:
        return True
    if float(before.min()) < 0:
        is_clamped = float((before < 0).float().mean()) > _NEGATIVE_PIXELS
        return lowest == 0 and is_clamped
    if lowest > -_NEGATIVE_MEAN * largest:
        return False
    # Noise also makes single pixels negative, but neither their mean nor all of them by
    # a linear function.
    pairs = torch.stack([before.flatten().double(), after.flatten().double()])
    is_linear = abs(float(pairs.corrcoef()[0, 1])) > _LINEAR
    return is_linear or float(after.float().mean()) < -_NEGATIVE_MEAN * largest


def _is_darker(before: Tensor, after: Tensor) -> bool:
    r"""Return whether the largest pixel seems to be on another scale."""
    largest, largest_after = _largest(before), _largest(after)
    return (largest_after <= 1 and largest > 2) or (
        largest_after * _DARKENING < largest
    )
