r"""Display of images with their true and predicted labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._utils.arrays import from_any_device
from .._utils.images import CHANNELS
from ._plotting import (
    BLUE,
    ORANGE,
    as_pictures,
    check_probabilities,
    final_estimator,
    make_panels,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(kw_only=True, eq=False, repr=False)
class PredictionsDisplay:  # numpydoc ignore=PR02
    r"""Images with their true and predicted labels, the most confident mistakes first.

    First come the mistakes, in descending order of the predicted label's probability,
    then the correct predictions, in ascending order. Create it with
    :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    images : array-like of shape (n_images, height, width)
        The images in the order in which they are shown. A fourth axis, of size 3,
        holds colors.
    y_true : array-like of shape (n_images,)
        True labels.
    y_pred : array-like of shape (n_images,)
        Predicted labels.
    confidence : array-like of shape (n_images,)
        Probabilities of the predicted labels.
    n_mistakes : int, default=None
        Number of mistakes among all predictions, for the title; no title if None.
    n_samples : int, default=None
        Number of all predictions, for the title.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes whose place the panels divide.
    axes_ : ndarray of matplotlib Axes, of shape (n_images,)
        The panels.
    figure_ : matplotlib Figure
        The figure.
    images_ : list of matplotlib AxesImage
        The images.

    See Also
    --------
    sklearn.metrics.ConfusionMatrixDisplay : Mistakes by pairs of classes.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sksoftmax import SoftmaxRegression
    >>> from sksoftmax.inspection import PredictionsDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> classifier = SoftmaxRegression().fit(X[:500], y[:500])
    >>> display = PredictionsDisplay.from_estimator(classifier, X[500:], y[500:])
    >>> bool(display.y_true[0] != display.y_pred[0])
    True
    """

    __module__ = "sksoftmax.inspection"

    images: ArrayLike
    y_true: ArrayLike
    y_pred: ArrayLike
    confidence: ArrayLike
    n_mistakes: int | None = None
    n_samples: int | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike,
        *,
        image_shape: Sequence[int] | str = "auto",
        n_images: int = 15,
        n_columns: int = 5,
        cmap: str = "gray_r",
        ax: Axes | None = None,
    ) -> Self:
        r"""Draw the predictions of a fitted classifier.

        Parameters
        ----------
        estimator : estimator
            A fitted classifier with ``predict_proba``.
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            The images, flat or with their axes.
        y : array-like of shape (n_samples,)
            Their labels.
        image_shape : tuple of int or "auto", default="auto"
            Shape of a flat image: height and width, with the channels before or after
            them if there are several. "auto" takes the estimator's own, or a square of
            one channel or three.
        n_images : int, default=15
            Largest number of images.
        n_columns : int, default=5
            Largest number of images in a row.
        cmap : str, default="gray_r"
            Colormap of images of one channel.
        ax : matplotlib Axes, default=None
            Axes to draw in; a new figure if None.

        Returns
        -------
        display : PredictionsDisplay
            The display, after :meth:`plot`.

        Raises
        ------
        ValueError
            If ``image_shape`` does not fit the features, or ``y`` holds a label that
            the estimator does not know.
        """
        final = final_estimator(estimator)
        known_shape = getattr(final, "image_shape", None)
        if known_shape is None and getattr(final, "channels_last", None) is True:
            # Flat rows of the convolutional net, whose square shape is known.
            n_channels, *size = getattr(final, "image_shape_", (1,))
            known_shape = (*size, n_channels) if size else None
        if isinstance(image_shape, str) and known_shape is not None:
            image_shape = known_shape
        return cls.from_predictions(
            y,
            estimator.predict_proba(X),
            X,
            classes=estimator.classes_,
            image_shape=image_shape,
            n_images=n_images,
            n_columns=n_columns,
            cmap=cmap,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_proba: ArrayLike,
        X: ArrayLike,
        *,
        classes: ArrayLike | None = None,
        image_shape: Sequence[int] | str = "auto",
        n_images: int = 15,
        n_columns: int = 5,
        cmap: str = "gray_r",
        ax: Axes | None = None,
    ) -> Self:
        r"""Draw predictions.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            True labels.
        y_proba : array-like of shape (n_samples, n_classes)
            Probability of each class.
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            The images, flat or with their axes.
        classes : array-like of shape (n_classes,), default=None
            The labels of the columns of ``y_proba``; if None, the sorted labels of
            ``y_true``.
        image_shape : tuple of int or "auto", default="auto"
            Shape of a flat image: height and width, with the channels before or after
            them if there are several. "auto" takes a square of one channel or three.
        n_images : int, default=15
            Largest number of images.
        n_columns : int, default=5
            Largest number of images in a row.
        cmap : str, default="gray_r"
            Colormap of images of one channel.
        ax : matplotlib Axes, default=None
            Axes to draw in; a new figure if None.

        Returns
        -------
        display : PredictionsDisplay
            The display, after :meth:`plot`.

        Raises
        ------
        ValueError
            If the arguments are not such labels, probabilities and images.
        """
        true, proba, known = check_probabilities(y_true, y_proba, classes)
        if n_images < 1:
            raise ValueError(f"Got n_images={n_images}. Expected at least 1.")
        rows = np.asarray(from_any_device(X))
        if rows.ndim not in (2, 3, 4) or len(rows) != len(true):
            raise ValueError(
                f"Got X of shape {rows.shape} for {len(true)} predictions. Expected "
                "an image for each, flat or with two or three axes."
            )
        predicted, confidence = proba.argmax(1), proba.max(1)
        is_wrong = predicted != true
        # First the mistakes, in descending order of confidence; then the correct
        # predictions, in ascending order.
        order = np.lexsort((np.where(is_wrong, -confidence, confidence), ~is_wrong))
        drawn = order[:n_images]
        display = cls(
            images=as_pictures(rows[drawn], image_shape),
            y_true=known[true[drawn]],
            y_pred=known[predicted[drawn]],
            confidence=confidence[drawn],
            n_mistakes=int(is_wrong.sum()),
            n_samples=len(true),
        )
        return display.plot(ax=ax, n_columns=n_columns, cmap=cmap)

    def plot(
        self, ax: Axes | None = None, *, n_columns: int = 5, cmap: str = "gray_r"
    ) -> Self:
        r"""Draw the images.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in; a new figure if None.
        n_columns : int, default=5
            Largest number of images in a row.
        cmap : str, default="gray_r"
            Colormap of images of one channel.

        Returns
        -------
        display : PredictionsDisplay
            The display.
        """
        if n_columns < 1:
            raise ValueError(f"Got n_columns={n_columns}. Expected at least 1.")
        images = _as_colors(np.asarray(self.images))
        true, predicted = np.asarray(self.y_true), np.asarray(self.y_pred)
        confidence = np.asarray(self.confidence)
        size = (1.7, 2.2)  # inches
        self.ax_, self.axes_ = make_panels(self, ax, len(images), n_columns, size)
        self.figure_ = self.ax_.figure
        # A figure that was passed keeps its own title.
        if ax is None and self.n_mistakes is not None:
            title = f"{self.n_mistakes} of {self.n_samples} predictions are wrong"
            self.figure_.suptitle(title)
        # One scale for all, or a faint image would look like a strong one.
        style = {"cmap": cmap, "vmin": images.min(), "vmax": images.max()}
        self.images_ = []
        for index, panel in enumerate(self.axes_):
            self.images_.append(panel.imshow(images[index], **style))
            panel.set(xticks=[], yticks=[])
            color = BLUE if true[index] == predicted[index] else ORANGE
            panel.set_title(
                f"pred {predicted[index]} ({confidence[index]:.0%})\n"
                f"true {true[index]}",
                fontsize="small",
                color=color,
            )
            panel.spines[:].set(color=color, linewidth=1.5)
        return self


def _as_colors(images: NDArray[Any]) -> NDArray[Any]:
    r"""Return images as matplotlib takes them: colors as bytes, or from 0 to 1."""
    if images.ndim == 3:
        return images
    if images.shape[-1] not in CHANNELS[1:]:
        raise ValueError(
            f"Got images of {images.shape[-1]} channels. Expected 1, 3 or 4."
        )
    if images.dtype != np.uint8:
        low, high = images.min(), images.max()
        images = (images - low) / ((high - low) or 1.0)
    return images
