r"""Display of the weights of a linear classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.pipeline import Pipeline

from .._utils.arrays import from_any_device
from ._plotting import (
    BLUE,
    ORANGE,
    final_estimator,
    looks_like_image,
    make_panels,
    resolve_image_shape,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Characters: longer names of features would leave too little room for the bars.
_LONGEST_NAME = 28

# Panels of bars beside each other: their names need room.
_MOST_COLUMNS_OF_BARS = 3


@dataclass(kw_only=True, eq=False, repr=False)
class WeightsDisplay:  # numpydoc ignore=PR02
    r"""Weights of a linear classifier, its ``coef_``, in one panel for each class.

    The weights are drawn as images if the features are pixels, otherwise as bars, the
    largest first. They can be compared with each other only if the features have the
    same scale: put a :class:`~sklearn.preprocessing.StandardScaler` before the
    classifier.

    Parameters
    ----------
    coef : array-like of shape (n_classes, n_features) or (1, n_features)
        The weights; a single row if there are two classes.
    classes : array-like of shape (n_classes,)
        The labels.
    feature_names : array-like of shape (n_features,), default=None
        Names of the features; "x0", "x1" and so on if None.
    image_shape : tuple of int or None, default=None
        Height and width of the images; bars if None.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes whose place the panels divide.
    axes_ : ndarray of matplotlib Axes, of shape (n_panels,)
        The panels.
    figure_ : matplotlib Figure
        The figure.
    images_ : list of matplotlib AxesImage or None
        The images; None if there are bars.
    colorbar_ : matplotlib Colorbar or None
        The scale of the images' colors.
    bars_ : list of matplotlib BarContainer or None
        The bars, the largest first; None if there are images.

    See Also
    --------
    sklearn.inspection.permutation_importance : For classifiers of any kind.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sksoftmax import SoftmaxRegression
    >>> from sksoftmax.inspection import WeightsDisplay
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> pipeline = make_pipeline(StandardScaler(), SoftmaxRegression()).fit(X, y)
    >>> display = WeightsDisplay.from_estimator(pipeline, max_features=5)
    >>> display.axes_.shape, len(display.bars_[0])
    ((3,), 5)
    """

    __module__ = "sksoftmax.inspection"

    coef: ArrayLike
    classes: ArrayLike
    feature_names: ArrayLike | None = None
    image_shape: tuple[int, ...] | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        feature_names: ArrayLike | None = None,
        image_shape: Sequence[int] | str | None = "auto",
        max_features: int = 10,
        n_columns: int = 5,
        cmap: str = "RdBu_r",
        ax: Axes | None = None,
    ) -> Self:
        r"""Draw the weights of a fitted classifier.

        Parameters
        ----------
        estimator : estimator
            A fitted :class:`~sksoftmax.SoftmaxRegression`, another linear classifier,
            or a pipeline or search that ends in one.
        feature_names : array-like of shape (n_features,), default=None
            Names of the features; the estimator's own if None.
        image_shape : tuple of int, "auto" or None, default="auto"
            Height and width of the images; None draws bars. "auto" draws images if the
            features have no names and their number is a square of at least 64.
        max_features : int, default=10
            Largest number of bars in a panel.
        n_columns : int, default=5
            Largest number of panels in a row; at most 3 with bars.
        cmap : str, default="RdBu_r"
            Colormap of the images. Its middle stands for zero.
        ax : matplotlib Axes, default=None
            Axes to draw in; a new figure if None.

        Returns
        -------
        display : WeightsDisplay
            The display, after :meth:`plot`.

        Raises
        ------
        ValueError
            If the estimator has no ``coef_``, or if ``image_shape`` or
            ``feature_names`` do not fit its features.
        """
        classifier = final_estimator(estimator)
        if not hasattr(classifier, "coef_"):
            raise ValueError(
                f"{type(classifier).__name__} has no coef_. Expected a linear "
                "classifier, such as SoftmaxRegression."
            )
        coef = classifier.coef_
        if issparse(coef):
            coef = coef.toarray()
        n_features = coef.shape[1]
        if feature_names is None:
            feature_names = _names_of_features(estimator)
        shape: tuple[int, ...] | None = None
        is_auto = isinstance(image_shape, str)
        if is_auto and (feature_names is not None or not looks_like_image(n_features)):
            image_shape = None
        if image_shape is not None:
            shape = resolve_image_shape(image_shape, n_features)
        display = cls(
            coef=coef,
            classes=classifier.classes_,
            feature_names=feature_names,
            image_shape=shape,
        )
        return display.plot(
            ax=ax, max_features=max_features, n_columns=n_columns, cmap=cmap
        )

    def plot(
        self,
        ax: Axes | None = None,
        *,
        max_features: int = 10,
        n_columns: int = 5,
        cmap: str = "RdBu_r",
    ) -> Self:
        r"""Draw the weights.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in; a new figure if None.
        max_features : int, default=10
            Largest number of bars in a panel.
        n_columns : int, default=5
            Largest number of panels in a row; at most 3 with bars.
        cmap : str, default="RdBu_r"
            Colormap of the images. Its middle stands for zero.

        Returns
        -------
        display : WeightsDisplay
            The display.
        """
        coef, titles = self._check()
        if max_features < 1 or n_columns < 1:
            raise ValueError(
                f"Got max_features={max_features} and n_columns={n_columns}. Expected "
                "at least 1."
            )
        n_bars = min(max_features, coef.shape[1])
        has_bars = self.image_shape is None
        # Inches.
        size = (4.2, 0.8 + 0.26 * n_bars) if has_bars else (1.8, 2.0)
        n_columns = min(n_columns, _MOST_COLUMNS_OF_BARS) if has_bars else n_columns
        self.ax_, self.axes_ = make_panels(self, ax, len(coef), n_columns, size)
        self.figure_ = self.ax_.figure
        self.images_: list[Any] | None = None
        self.bars_: list[Any] | None = None
        self.colorbar_: Any = None
        if has_bars:
            self._plot_bars(coef, n_bars)
        else:
            self._plot_images(coef, cmap)
        for panel, title in zip(self.axes_, titles, strict=True):
            panel.set_title(title, fontsize="medium")
        return self

    def _check(self) -> tuple[NDArray[np.float64], list[str]]:
        r"""Return the weights and a title for each panel."""
        coef = np.asarray(from_any_device(self.coef), dtype=np.float64)
        labels = np.asarray(self.classes).tolist()
        n_rows = 1 if len(labels) == 2 else len(labels)
        if coef.ndim != 2 or coef.shape[0] not in (n_rows, len(labels)):
            raise ValueError(
                f"Got coef of shape {coef.shape} for {len(labels)} classes. Expected "
                f"({n_rows}, n_features)."
            )
        if self.image_shape is not None and len(self.image_shape) != 2:
            raise ValueError(
                f"Got image_shape={self.image_shape}. Expected (height, width), since "
                "a weight has a sign and no color. With image_shape=None bars are "
                "drawn."
            )
        if len(coef) < len(labels):
            return coef, [f"{labels[1]} vs. {labels[0]}"]
        return coef, [str(label) for label in labels]

    def _plot_images(self, coef: NDArray[np.float64], cmap: str) -> None:
        largest = np.abs(coef).max() or 1.0
        images = self.images_ = [
            panel.imshow(
                weights.reshape(self.image_shape),
                cmap=cmap,
                vmin=-largest,
                vmax=largest,
            )
            for panel, weights in zip(self.axes_, coef, strict=True)
        ]
        for panel in self.axes_:
            panel.set(xticks=[], yticks=[])
        self.colorbar_ = self.figure_.colorbar(
            images[0], ax=list(self.axes_), label="Weight", shrink=0.8
        )

    def _plot_bars(self, coef: NDArray[np.float64], n_bars: int) -> None:
        names = self.feature_names
        if names is None:
            names = [f"x{index}" for index in range(coef.shape[1])]
        names = [str(name) for name in np.asarray(names)]
        names = [
            name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
            for name in names
        ]
        if len(names) != coef.shape[1]:
            raise ValueError(
                f"Got {len(names)} feature_names for {coef.shape[1]} features. "
                "Expected one for each."
            )
        # The same scale for all classes, with a margin of 5% at the ends.
        lowest, highest = 1.05 * coef.min(), 1.05 * coef.max()
        bars = self.bars_ = []
        for panel, weights in zip(self.axes_, coef, strict=True):
            largest = np.argsort(-np.abs(weights), kind="stable")[:n_bars]
            values = weights[largest]
            colors = np.where(values > 0, BLUE, ORANGE).tolist()
            bars.append(panel.barh(np.arange(n_bars), values, color=colors))
            panel.axvline(0, color="black", linewidth=0.8)
            panel.set_yticks(np.arange(n_bars), [names[index] for index in largest])
            panel.tick_params(axis="y", length=0)
            panel.invert_yaxis()
            panel.set(xlabel="Weight", xlim=(min(lowest, 0), max(highest, 0)))
            panel.spines[["top", "right", "left"]].set_visible(False)


def _names_of_features(estimator: Any) -> NDArray[Any] | None:
    r"""Return the names of the features of the last step, None if they are unknown."""
    if hasattr(estimator, "best_estimator_"):
        return _names_of_features(estimator.best_estimator_)
    names: NDArray[Any] | None = getattr(estimator, "feature_names_in_", None)
    if names is not None and isinstance(estimator, Pipeline) and len(estimator) > 1:
        try:
            names = estimator[:-1].get_feature_names_out()
        except (AttributeError, ValueError):
            # Some transformers do not name their output.
            return None
    return names
