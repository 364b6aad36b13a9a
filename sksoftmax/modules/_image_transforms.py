r"""Transforms of torchvision: on the scale that they expect, and checked."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .._utils.random import global_generator_seeded
from ._user_transforms import changes_scale, check_finite, transformed

# Values of images that one call of a transform gets: it then computes for about as long
# as the call itself takes.
_VALUES_PER_CALL = 2**17

# Images of a call: more would be spread over too many batches.
_MOST_IMAGES_PER_CALL = 128

# Smallest largest pixel of whole numbers that are 8-bit colors for sure.
_BRIGHT = 128

# Images, and calls with them, that are checked before training.
CHECKED_IMAGES = 16
_CHECKED_CALLS = 8


def draws_once_per_call(transform: Any) -> bool:
    r"""Return whether a callable is a transform of torchvision, or a chain of them.

    Such a transform draws once for all images that it gets.
    """
    if isinstance(transform, nn.Sequential):
        return any(map(draws_once_per_call, transform))
    return type(transform).__module__.startswith("torchvision.transforms.")


def images_per_call(n_values: int) -> int:
    r"""Return how many images of a number of values a call should get."""
    return min(max(1, _VALUES_PER_CALL // n_values), _MOST_IMAGES_PER_CALL)


@dataclass(frozen=True)
class ScaledTransform:  # numpydoc ignore=PR02
    r"""A transform of torchvision, on the scale that it expects.

    torchvision takes uint8 for 0 to 255, and clamps floats to 0 to 1. Other pixels are
    brought to this scale and back.

    Parameters
    ----------
    transform : callable
        The transform.
    low, high : float
        Pixels that become 0 and 1; they stay as they are if these are 0 and 1.
    as_bytes : bool
        Whether pixels are whole numbers from 0 to 255, and become uint8.
    """

    transform: Callable[[Tensor], Tensor]
    low: float = 0.0
    high: float = 1.0
    as_bytes: bool = False

    @classmethod
    def for_range(
        cls,
        transform: Callable[[Tensor], Tensor],
        low: float,
        high: float,
        *,
        is_whole: bool,
    ) -> ScaledTransform:
        r"""Return a copy of a transform, for pixels in a range."""
        # Training must not change the user's object.
        transform = copy.deepcopy(transform)
        if is_whole and low >= 0 and _BRIGHT <= high <= 255:
            return cls(transform, as_bytes=True)
        low = min(low, 0.0)
        return cls(transform, low, high if high > 1 or low < 0 else 1.0)

    def __call__(self, images: Tensor) -> Tensor:
        r"""Return transformed images, of the dtype and on the scale of the argument."""
        varied = self._restored(self._checked(self._scaled(images)))
        if varied.is_floating_point() and not images.is_floating_point():
            varied = varied.round()
        return varied.to(images.dtype)

    def _scaled(self, images: Tensor) -> Tensor:
        if self.as_bytes:
            return images.to(torch.uint8)
        if (self.low, self.high) == (0.0, 1.0):
            return images if images.is_floating_point() else images.float()
        return (images.float() - self.low) / (self.high - self.low)

    def _restored(self, images: Tensor) -> Tensor:
        if self.as_bytes or (self.low, self.high) == (0.0, 1.0):
            return images
        return images * (self.high - self.low) + self.low

    def _checked(self, images: Tensor) -> Tensor:
        varied = transformed(self.transform, images)
        if varied.dtype != images.dtype:
            raise ValueError(
                f"augmentation turned {images.dtype} images into {varied.dtype}, but "
                "expected the same dtype, since predictions are made from pixels as "
                "they are. Leave out ToDtype, ToTensor and Normalize: the classifier "
                "scales its input."
            )
        return varied

    def check(self, images: Tensor) -> None:
        r"""Raise an error unless the transform keeps the scale of some images."""
        normalizing = [
            part
            for part in _parts(self.transform)
            if type(part).__name__ == "Normalize"
        ]
        before = self._scaled(images)
        with global_generator_seeded(0, images.device):
            results = [self._checked(before.clone()) for _ in range(_CHECKED_CALLS)]
        for result in results:
            check_finite(result, before)
        changed = [result for result in results if changes_scale(before, result)]
        if normalizing:
            changed = results
        if len(changed) < len(results):
            return
        lowest, highest = (float(limit) for limit in torch.cat(changed).aminmax())
        raise ValueError(
            f"augmentation turned {before.dtype} pixels from {float(before.min()):.4g} "
            f"to {float(before.max()):.4g} into pixels from {lowest:.4g} to "
            f"{highest:.4g}, but expected the same scale, since predictions are made "
            "from pixels as they are. Leave out Normalize, ToDtype and the like: the "
            "classifier scales its input."
        )


def _parts(transform: Any) -> Iterator[Any]:
    r"""Yield a transform and those that it is made of."""
    yield transform
    inner = transform if isinstance(transform, nn.Sequential) else ()
    for part in getattr(transform, "transforms", inner):
        yield from _parts(part)
