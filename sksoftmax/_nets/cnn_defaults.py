r"""Every "auto" of the convolutional net, resolved by pure functions.

The numbers were chosen by cross-validation on the training images of MNIST and
Fashion-MNIST, and those of color images on colorings of both, on photographs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

from .._training.recipe import Recipe, TrainingLength, net_recipe
from .._utils.estimators import check_sizes
from ..modules._cnn import kernel_sizes
from ..modules._image_transforms import draws_once_per_call
from .constraints import version_of

_LENGTH = TrainingLength(
    largest_batch=128, n_steps=7000, fewest_epochs=12, most_epochs=60
)


@dataclass(frozen=True)
class CNNDefaults:
    r"""The numbers behind "auto" in one version; the fields' defaults are the latest.

    Attributes
    ----------
    length : TrainingLength
        Meaning of "auto" for ``batch_size`` and ``max_epochs``.
    data_pruning : float
        Share of the easy rows that an epoch leaves out.
    fewest_pruned_rows : int
        Rows: with fewer, a pruned epoch has too few steps.
    fewest_shifted_pixels : int
        Pixels of the shorter side: smaller images are not shifted. In a digit of 8 x 8
        pixels, one pixel distinguishes two classes.
    channels, channels_of_colors : tuple of int
        Output channels of each block, of gray images and of images in color.
    dropout, dropout_of_colors : float
        Dropout rate, of gray images and of images in color: there is more in color to
        memorize. A rate of 0.3 lowers the log loss of three colorings by 6% to 10%.
    """

    length: TrainingLength = _LENGTH
    data_pruning: float = 0.5
    fewest_pruned_rows: int = 10_000
    fewest_shifted_pixels: int = 16
    channels: tuple[int, ...] = (16, 32, 96)
    channels_of_colors: tuple[int, ...] = (24, 48, 128)
    dropout: float = 0.0
    dropout_of_colors: float = 0.3


# Channels of an image in color, at least.
_FEWEST_COLORS = 3

# The numbers of each version, which the parameter ``defaults`` chooses.
VERSIONS = {
    "0.1": CNNDefaults(channels_of_colors=(16, 32, 96), dropout_of_colors=0.0),
    "0.2": CNNDefaults(),
}


def numbers_of(defaults: str) -> CNNDefaults:
    r"""Return the numbers of a value of the parameter ``defaults``."""
    return VERSIONS[version_of(defaults)]


def recipe(parameters: Any, n_rows: int) -> Recipe:
    r"""Return how a net with such parameters is trained on a number of images.

    Parameters
    ----------
    parameters : SoftmaxCNNClassifier
        Its parameters are read.
    n_rows : int
        Number of training images, without copies.
    """
    numbers = numbers_of(parameters.defaults)
    data_pruning = parameters.data_pruning
    if isinstance(data_pruning, str):
        is_pruned = n_rows >= numbers.fewest_pruned_rows
        data_pruning = numbers.data_pruning if is_pruned else 0.0
    return replace(
        net_recipe(parameters, n_rows, numbers.length),
        data_pruning=data_pruning,
        temperature_scaling=parameters.temperature_scaling,
    )


def channels(value: Any, n_colors: int, defaults: str = "latest") -> tuple[int, ...]:
    r"""Return the output channels of each block; "auto" is more of them for colors.

    Parameters
    ----------
    value : sequence of int or str
        The parameter ``channels``.
    n_colors : int
        Number of channels of an image.
    defaults : str, default="latest"
        The version of the defaults.
    """
    if not (isinstance(value, str) and value == "auto"):
        return check_sizes("channels", value)
    numbers = numbers_of(defaults)
    return numbers.channels_of_colors if _is_colored(n_colors) else numbers.channels


def _is_colored(n_colors: int) -> bool:
    r"""Return whether images of so many channels are in color."""
    return n_colors >= _FEWEST_COLORS


def dropout(value: float | str, n_colors: int, defaults: str = "latest") -> float:
    r"""Return the dropout rate; "auto" is none for gray images."""
    if not isinstance(value, str):
        return value
    numbers = numbers_of(defaults)
    return numbers.dropout_of_colors if _is_colored(n_colors) else numbers.dropout


def augmentation(value: Any, size: Sequence[int], defaults: str = "latest") -> Any:
    r"""Return the augmentation by the module of images (H, W).

    "auto" shifts images that are large. Transforms of torchvision are applied before
    batches reach the module.
    """
    if draws_once_per_call(value):
        return None
    if not (isinstance(value, str) and value == "auto"):
        return value
    is_shifted = min(size) >= numbers_of(defaults).fewest_shifted_pixels
    return "shift" if is_shifted else None


def averages_views(value: bool | str, *, is_shifted: bool) -> bool:
    r"""Return whether predictions average views; "auto" if training shifted images."""
    return is_shifted if isinstance(value, str) else value


def sides_of_kernels(value: Any) -> Any:
    r"""Return the sides of the kernels: a text other than "auto" as integers."""
    if isinstance(value, Integral) or (isinstance(value, str) and value == "auto"):
        return value
    return check_sizes("kernel_size", value)


def settings(
    classifier: Any, recipe: Recipe, channels_are_last: bool
) -> dict[str, Any]:
    r"""Return what each "auto" of a convolutional net alone became in ``fit``."""
    n_colors = classifier.image_shape_[0]
    channels_of_blocks = channels(classifier.channels, n_colors, classifier.defaults)
    found = {
        "image_shape": classifier.image_shape_,
        "channels_last": channels_are_last,
        "channels": channels_of_blocks,
        "dropout": dropout(classifier.dropout, n_colors, classifier.defaults),
        "kernel_size": kernel_sizes(
            sides_of_kernels(classifier.kernel_size),
            len(channels_of_blocks),
            classifier.convolutions_per_block,
            classifier.padding,
        ),
        "test_time_augmentation": classifier._averages_views(),
        "data_pruning": recipe.data_pruning,
        "defaults": version_of(classifier.defaults),
    }
    # Code is no setting.
    value = classifier.augmentation
    if value is None or isinstance(value, str):
        size = classifier.image_shape_[1:]
        found["augmentation"] = augmentation(value, size, classifier.defaults)
    return found
