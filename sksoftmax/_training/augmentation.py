r"""Random changes of images in training, made before batches reach the module."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .._utils.arrays import convert
from .._utils.random import global_generator_seeded
from .tensor_table import Batch, TensorTable

# Bytes of the images of the batches that are varied together: 64 MiB.
_MOST_BYTES = 2**26

# Images that a call gets at least: with fewer, the time would be that of the calls.
_FEWEST_IMAGES = 16

# Takes the rows of a batch by their index, with features that are varied already.
Take = Callable[[Tensor, Tensor], Batch]


@dataclass(frozen=True)
class BatchAugmentation:  # numpydoc ignore=PR02
    r"""How the images of a batch are varied before they reach the module.

    Parameters
    ----------
    vary : callable
        Returns images of shape (N, C, H, W), varied, given such images in the dtype of
        the table. It draws from PyTorch's global generators, which are seeded for it.
    image_shape : tuple of int
        Shape of an image, which flat rows get.
    n_batches : int, default=1
        1 if ``vary`` draws for each image, and then it gets whole batches. Else it
        draws once for each call, and a call gets one image of each of this number of
        batches, so that no two images of a batch have the same draw. With fewer batches
        than 16 in an epoch, a call gets 16 images.
    """

    vary: Callable[[Tensor], Tensor]
    image_shape: tuple[int, ...]
    n_batches: int = 1

    def batches(
        self,
        table: TensorTable,
        indices: Sequence[Tensor],
        take: Take,
        generator: torch.Generator | None,
    ) -> Iterator[Batch]:
        r"""Yield the batches of the rows at the indices, with varied images."""
        row_bytes = table.stored_X[:1].nbytes * max(map(len, indices), default=1)
        step = max(1, min(self.n_batches, _MOST_BYTES // max(1, row_bytes)))
        for start in range(0, len(indices), step):
            group = indices[start : start + step]
            local = [table.local(index) for index in group]
            seed = int(torch.randint(2**31, (), generator=generator))
            with global_generator_seeded(seed, table.stored_y.device):
                images = table.stored(torch.cat(local)).view(-1, *self.image_shape)
                images = self._varied(images, max(map(len, local)))
            parts = torch.split(images, [len(index) for index in local])
            for index, X in zip(group, parts, strict=True):
                yield take(index, convert(X, table.dtype))

    def _varied(self, images: Tensor, largest_batch: int) -> Tensor:
        if self.n_batches == 1:
            return self.vary(images)
        fewest = min(self.n_batches, _FEWEST_IMAGES)
        n_draws = min(largest_batch, math.ceil(len(images) / fewest))
        for draw in range(n_draws):
            images[draw::n_draws] = self.vary(images[draw::n_draws])
        return images
