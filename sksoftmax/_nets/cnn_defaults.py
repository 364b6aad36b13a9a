r"""Every "auto" of the convolutional net, resolved by pure functions.

The numbers were chosen by cross-validation on the training images of MNIST and
Fashion-MNIST.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .._training.recipe import Recipe, TrainingLength, net_recipe
from ..modules._image_transforms import draws_once_per_call

_LENGTH = TrainingLength(
    largest_batch=128, n_steps=7000, fewest_epochs=12, most_epochs=60
)

# Share of the easy rows that an epoch leaves out.
_DATA_PRUNING = 0.5
# Rows: with fewer, a pruned epoch has too few steps.
_FEWEST_PRUNED_ROWS = 10_000

# Pixels of the shorter side: smaller images are not shifted. In a digit of 8 x 8
# pixels, one pixel distinguishes two classes.
_FEWEST_SHIFTED_PIXELS = 16


def recipe(parameters: Any, n_rows: int) -> Recipe:
    r"""Return how a net with such parameters is trained on a number of images.

    Parameters
    ----------
    parameters : SoftmaxCNNClassifier
        Its parameters are read.
    n_rows : int
        Number of training images, without copies.
    """
    data_pruning = parameters.data_pruning
    if isinstance(data_pruning, str):
        data_pruning = _DATA_PRUNING if n_rows >= _FEWEST_PRUNED_ROWS else 0.0
    return replace(
        net_recipe(parameters, n_rows, _LENGTH),
        data_pruning=data_pruning,
        temperature_scaling=parameters.temperature_scaling,
    )


def augmentation(value: Any, size: Sequence[int]) -> Any:
    r"""Return the augmentation by the module of images (H, W).

    "auto" shifts images that are large. Transforms of torchvision are applied before
    batches reach the module.
    """
    if draws_once_per_call(value):
        return None
    if not (isinstance(value, str) and value == "auto"):
        return value
    return "shift" if min(size) >= _FEWEST_SHIFTED_PIXELS else None


def averages_views(value: bool | str, *, is_shifted: bool) -> bool:
    r"""Return whether predictions average views; "auto" if training shifted images."""
    return is_shifted if isinstance(value, str) else value
