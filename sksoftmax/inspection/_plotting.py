r"""Functions that the displays share: matplotlib, panels, shapes and predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from .._utils.arrays import from_any_device
from .._utils.images import (
    channels_are_last,
    check_image_shape,
    square_image_shape,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Two colors of the palette of Okabe and Ito, which color-blind readers can tell apart.
BLUE = "#0072B2"
ORANGE = "#D55E00"

# Lines that the data is compared with.
GRAY = "#5F5F5F"

# Pixels: 8 x 8. A smaller square number of features is likely to be a table's.
_SMALLEST_IMAGE = 64

# Largest distance from 1 of the sum of a row's probabilities: rounding of float16.
_SUM_TOLERANCE = 1e-3


def axes_for(
    display: object, ax: Axes | None, size: tuple[float, float] | None = None
) -> Axes:
    r"""Return the axes that a display draws in: ``ax``, or those of a new figure.

    The size of a new figure is in inches, or matplotlib's default.
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            f"{type(display).__name__} draws with matplotlib, which is not installed. "
            "Run pip install matplotlib."
        ) from error
    if ax is None:
        _, ax = pyplot.subplots(figsize=size, layout="constrained")
    return ax


def add_legend_above(ax: Axes, **options: Any) -> None:
    r"""Add a legend above axes, where it covers no curve."""
    ax.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        frameon=False,
        borderaxespad=0.2,
        **options,
    )


def final_estimator(estimator: Any) -> Any:
    r"""Return the fitted classifier in searches and pipelines."""
    check_is_fitted(estimator)
    if hasattr(estimator, "best_estimator_"):
        return final_estimator(estimator.best_estimator_)
    if isinstance(estimator, Pipeline):
        return final_estimator(estimator.steps[-1][1])
    return estimator


def resolve_image_shape(
    image_shape: Sequence[int] | str, n_features: int
) -> tuple[int, ...]:
    r"""Return the height and width, the number of channels before them if not 1."""
    if isinstance(image_shape, str):
        shape = square_image_shape(n_features) if image_shape == "auto" else None
        if shape is None:
            raise ValueError(
                f"Got image_shape={image_shape!r} for {n_features} features, which are "
                "no square image of 1 or 3 channels. Expected (height, width), "
                "(n_channels, height, width) or (height, width, n_channels)."
            )
    else:
        shape, _ = check_image_shape(image_shape, n_features)
    return shape[1:] if shape[0] == 1 else shape


def as_pictures(rows: NDArray[Any], image_shape: Sequence[int] | str) -> NDArray[Any]:
    r"""Return images as matplotlib takes them: (N, H, W), or (N, H, W, C) in colors.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, ...)
        Flat images, or images with their axes.
    image_shape : sequence of int or "auto"
        Shape of a flat image.
    """
    is_last = False
    if rows.ndim == 4:
        is_last = channels_are_last(rows.shape[1:])
    elif rows.ndim == 2:
        shape = resolve_image_shape(image_shape, rows.shape[1])
        if not isinstance(image_shape, str) and len(shape) == 3:
            is_last = check_image_shape(image_shape, rows.shape[1])[1]
        if is_last:
            shape = (*shape[1:], shape[0])
        rows = rows.reshape(len(rows), *shape)
    if rows.ndim == 4 and not is_last:
        rows = np.moveaxis(rows, 1, -1)
    return rows[..., 0] if rows.ndim == 4 and rows.shape[3] == 1 else rows


def looks_like_image(n_features: int) -> bool:
    r"""Return whether a number of features is that of a square image."""
    return n_features >= _SMALLEST_IMAGE and math.isqrt(n_features) ** 2 == n_features


def subplot_spec(ax: Axes, advice: str = "") -> Any:
    r"""Return the place of axes in their grid, which can be divided."""
    spec = ax.get_subplotspec()
    if spec is None:
        raise ValueError(
            "Got an ax that is not part of a grid, so that its place cannot be "
            "divided. Expected one made by pyplot.subplots or Figure.add_subplot."
            f"{advice}"
        )
    return spec


def make_panels(
    display: object,
    ax: Axes | None,
    n_panels: int,
    n_columns: int,
    panel_size: tuple[float, float],
) -> tuple[Axes, NDArray[np.object_]]:
    r"""Return the axes that a display draws in, and the panels that divide them."""
    n_columns = min(n_columns, n_panels)
    n_rows = math.ceil(n_panels / n_columns)
    ax = axes_for(display, ax, (panel_size[0] * n_columns, panel_size[1] * n_rows))
    grid = subplot_spec(ax).subgridspec(n_rows, n_columns)
    ax.set_axis_off()
    panels = [ax.figure.add_subplot(grid[index]) for index in range(n_panels)]
    return ax, np.array(panels)


def check_probabilities(
    y_true: ArrayLike, y_proba: ArrayLike, classes: ArrayLike | None
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[Any]]:
    r"""Validate predictions; return indices of labels, probabilities and classes."""
    proba = np.asarray(from_any_device(y_proba), dtype=np.float64)
    labels = np.asarray(from_any_device(y_true))
    known = np.unique(labels) if classes is None else np.asarray(classes)
    if labels.ndim != 1 or proba.shape != (len(labels), len(known)):
        raise ValueError(
            f"Got y_true of shape {labels.shape}, y_proba of shape {proba.shape} and "
            f"{len(known)} classes{' in y_true' * (classes is None)}. Expected "
            "(n_samples,) and (n_samples, n_classes), with a column for each of "
            "classes, in their order."
        )
    if not len(labels):
        raise ValueError("Got no samples. Expected at least one.")
    sums = proba.sum(1)
    if not (np.isfinite(proba).all() and proba.min() >= 0):
        raise ValueError(
            f"Got y_proba with values from {proba.min():.3g} to {proba.max():.3g}. "
            "Expected probabilities, as predict_proba returns them."
        )
    if np.abs(sums - 1).max() > _SUM_TOLERANCE:
        raise ValueError(
            f"Got y_proba whose rows sum to values from {sums.min():.3g} to "
            f"{sums.max():.3g}. Expected 1, as predict_proba returns them."
        )
    unknown = np.setdiff1d(labels, known)
    if unknown.size:
        raise ValueError(
            f"y_true contains the labels {unknown.tolist()}, but the classes are "
            f"{known.tolist()}. Expected no other label."
        )
    order = np.argsort(known)
    return order[np.searchsorted(known, labels, sorter=order)], proba, known
