r"""What the displays share: matplotlib, colours, panels, and what X looks like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from .._utils.arrays import from_any_device
from .._utils.images import check_image_shape, square_image_shape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of the palette of Okabe and Ito, which those who are colour-blind can tell apart.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#5F5F5F"

NOT_IN_A_GRID = (
    "Got an ax that is not part of a grid, so that its place cannot be divided. "
    "Expected one made by pyplot.subplots or Figure.add_subplot."
)

# What is small enough to be a table by accident is no image: 7 x 7 pixels and less.
_SMALLEST_IMAGE = 64


def import_pyplot(name: str) -> Any:
    r"""Return ``matplotlib.pyplot``, which only who draws has to have."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            f"{name} draws with matplotlib, which is not installed. Run "
            'pip install "sksoftmax[plot]".'
        ) from error
    return pyplot


def final_estimator(estimator: Any) -> Any:
    r"""Return what is at the end of searches and pipelines."""
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
                "no square image of 1 or 3 channels. Expected (height, width) or "
                "(n_channels, height, width)."
            )
    else:
        shape = check_image_shape(image_shape, n_features)
    return shape[1:] if shape[0] == 1 else shape


def looks_like_image(n_features: int) -> bool:
    r"""Return whether a number of features is that of a square image."""
    return n_features >= _SMALLEST_IMAGE and math.isqrt(n_features) ** 2 == n_features


def make_panels(
    pyplot: Any,
    ax: Axes | None,
    n_panels: int,
    n_columns: int,
    panel_size: tuple[float, float],
) -> tuple[Axes, NDArray[np.object_]]:
    r"""Return what bounds the panels, and the panels, in place of ``ax`` if given."""
    from matplotlib.gridspec import GridSpecFromSubplotSpec

    n_columns = min(n_columns, n_panels)
    n_rows = math.ceil(n_panels / n_columns)
    if ax is None:
        width, height = panel_size
        size = (width * n_columns, height * n_rows)
        ax = pyplot.figure(figsize=size, layout="constrained").add_subplot()
    assert ax is not None
    spec = ax.get_subplotspec()
    if spec is None:
        raise ValueError(NOT_IN_A_GRID)
    ax.set_axis_off()
    grid = GridSpecFromSubplotSpec(n_rows, n_columns, subplot_spec=spec)
    figure = ax.figure
    panels = np.empty(n_panels, dtype=object)
    for index in range(n_panels):
        panels[index] = figure.add_subplot(grid[index // n_columns, index % n_columns])
    return ax, panels


def check_probabilities(
    y_true: ArrayLike, y_proba: ArrayLike, classes: ArrayLike | None
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[Any]]:
    r"""Validate predictions; return the true labels' indices first."""
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
    if np.abs(sums - 1).max() > 1e-3:
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
