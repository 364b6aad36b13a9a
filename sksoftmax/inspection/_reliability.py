r"""Display of how well the probabilities of predictions are calibrated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from .._utils.compat import check_sample_weight
from ._plotting import (
    GRAY,
    add_legend_above,
    axes_for,
    check_probabilities,
    final_estimator,
    subplot_spec,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Labels of the diagonal and of the x axis.
_DIAGONAL = "perfectly calibrated"
_CONFIDENCE = "Confidence"


@dataclass(kw_only=True, eq=False, repr=False)
class ReliabilityDisplay:  # numpydoc ignore=PR02
    r"""Accuracy of predictions as a function of their confidence.

    The confidence is the probability of the predicted class. There may be any number of
    classes; :class:`~sklearn.calibration.CalibrationDisplay` takes two. Create it with
    :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    prob_true : array-like of shape (n_nonempty_bins,)
        Accuracy of the predictions in each bin.
    prob_pred : array-like of shape (n_nonempty_bins,)
        Their mean confidence.
    counts : array-like of shape (n_bins,)
        Weight of the predictions in each bin, empty ones included, as a share of all.
    expected_calibration_error : float
        Mean of the bins' gaps between accuracy and confidence, weighted by ``counts``.
    name : str, default=None
        Name in the legend; none if None.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the diagram.
    ax_histogram_ : matplotlib Axes or None
        The axes with the histogram of the confidences.
    figure_ : matplotlib Figure
        The figure.
    line_ : matplotlib Line2D
        The accuracies.
    gap_lines_ : matplotlib LineCollection
        Lines from each accuracy to the diagonal.
    bars_ : matplotlib BarContainer or None
        The histogram.

    See Also
    --------
    sklearn.calibration.CalibrationDisplay : Calibration of the second of two classes.

    References
    ----------
    Guo, Pleiss, Sun and Weinberger (2017). On Calibration of Modern Neural Networks.
    https://arxiv.org/abs/1706.04599

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sksoftmax import SoftmaxRegression
    >>> from sksoftmax.inspection import ReliabilityDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = SoftmaxRegression(C=10).fit(X[::2], y[::2])
    >>> display = ReliabilityDisplay.from_estimator(classifier, X[1::2], y[1::2])
    >>> display.expected_calibration_error < 0.1
    True
    """

    __module__ = "sksoftmax.inspection"

    prob_true: ArrayLike
    prob_pred: ArrayLike
    counts: ArrayLike
    expected_calibration_error: float
    name: str | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike,
        *,
        n_bins: int = 15,
        sample_weight: ArrayLike | None = None,
        name: str | None = None,
        ax: Axes | None = None,
        histogram: bool = True,
        line_kw: dict[str, Any] | None = None,
    ) -> Self:
        r"""Draw the reliability diagram of a fitted classifier.

        Parameters
        ----------
        estimator : estimator
            A fitted classifier with ``predict_proba``.
        X : array-like of shape (n_samples, n_features)
            Rows that the classifier was not fitted to.
        y : array-like of shape (n_samples,)
            Their labels.
        n_bins : int, default=15
            Number of bins, of equal width.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row; all equal if None.
        name : str, default=None
            Name in the legend; the class's name if None.
        ax : matplotlib Axes, default=None
            Axes to draw in; a new figure if None.
        histogram : bool, default=True
            Whether to draw the histogram below.
        line_kw : dict, default=None
            Keyword arguments for the line.

        Returns
        -------
        display : ReliabilityDisplay
            The display, after :meth:`plot`.

        Raises
        ------
        ValueError
            If ``y`` holds a label that the estimator does not know.
        """
        return cls.from_predictions(
            y,
            estimator.predict_proba(X),
            classes=estimator.classes_,
            n_bins=n_bins,
            sample_weight=sample_weight,
            name=type(final_estimator(estimator)).__name__ if name is None else name,
            ax=ax,
            histogram=histogram,
            line_kw=line_kw,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_proba: ArrayLike,
        *,
        classes: ArrayLike | None = None,
        n_bins: int = 15,
        sample_weight: ArrayLike | None = None,
        name: str | None = None,
        ax: Axes | None = None,
        histogram: bool = True,
        line_kw: dict[str, Any] | None = None,
    ) -> Self:
        r"""Draw the reliability diagram of predictions.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            True labels.
        y_proba : array-like of shape (n_samples, n_classes)
            Probability of each class.
        classes : array-like of shape (n_classes,), default=None
            The labels of the columns; if None, the sorted labels of ``y_true``.
        n_bins : int, default=15
            Number of bins, of equal width.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row; all equal if None.
        name : str, default=None
            Name in the legend; none if None.
        ax : matplotlib Axes, default=None
            Axes to draw in; a new figure if None.
        histogram : bool, default=True
            Whether to draw the histogram below.
        line_kw : dict, default=None
            Keyword arguments for the line.

        Returns
        -------
        display : ReliabilityDisplay
            The display, after :meth:`plot`.

        Raises
        ------
        ValueError
            If the arguments are not such labels, probabilities and numbers.
        """
        true, proba, _ = check_probabilities(y_true, y_proba, classes)
        if n_bins < 1:
            raise ValueError(f"Got n_bins={n_bins}. Expected at least 1.")
        weight = check_sample_weight(sample_weight, proba, ensure_non_negative=True)
        confidence, is_right = proba.max(1), proba.argmax(1) == true
        # Bins are closed on the right, as in Guo et al. (2017).
        bins = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
        counts, sums, hits = (
            np.bincount(bins, weight * values, minlength=n_bins)
            for values in (np.ones(len(true)), confidence, is_right)
        )
        filled = counts > 0
        prob_true = hits[filled] / counts[filled]
        prob_pred = sums[filled] / counts[filled]
        shares = counts / counts.sum()
        error = shares[filled] @ np.abs(prob_true - prob_pred)
        display = cls(
            prob_true=prob_true,
            prob_pred=prob_pred,
            counts=shares,
            expected_calibration_error=float(error),
            name=name,
        )
        return display.plot(ax=ax, histogram=histogram, line_kw=line_kw)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        histogram: bool = True,
        line_kw: dict[str, Any] | None = None,
    ) -> Self:
        r"""Draw the diagram.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in; a new figure if None. With the axes of another display and
            ``histogram=False``, both are in one diagram.
        histogram : bool, default=True
            Whether to draw the histogram below.
        line_kw : dict, default=None
            Keyword arguments for the line.

        Returns
        -------
        display : ReliabilityDisplay
            The display.
        """
        ax = axes_for(self, ax, (5.0, 6.2 if histogram else 5.0))
        self.ax_, self.figure_ = ax, ax.figure
        label = f"ECE = {self.expected_calibration_error:.3f}"
        label = label if self.name is None else f"{self.name} ({label})"
        style: Any = {"marker": "o", "markersize": 5, "label": label, "clip_on": False}
        style |= line_kw or {}
        self.line_: Any = ax.plot(self.prob_pred, self.prob_true, **style)[0]
        self.gap_lines_ = ax.vlines(
            self.prob_pred,
            self.prob_pred,
            self.prob_true,
            color=self.line_.get_color(),
            alpha=0.35,
            linewidth=4,
        )
        if not any(line.get_label() == _DIAGONAL for line in ax.lines):
            ax.plot([0, 1], [0, 1], color=GRAY, linestyle=":", label=_DIAGONAL)
        ax.set(ylabel="Accuracy", xlim=(0, 1), ylim=(0, 1))
        add_legend_above(ax, fontsize="small")
        self.ax_histogram_ = self.bars_ = None
        if histogram:
            self._plot_histogram()
        elif len(ax.get_shared_x_axes().get_siblings(ax)) == 1:
            # No histogram of another display below has the label.
            ax.set_xlabel(_CONFIDENCE)
        return self

    def _plot_histogram(self) -> None:
        counts = np.asarray(self.counts)
        spec = subplot_spec(self.ax_, advice=" With histogram=False any ax will do.")
        grid = spec.subgridspec(2, 1, height_ratios=(4, 1), hspace=0.08)
        self.ax_.set_subplotspec(grid[0])
        ax: Any = self.figure_.add_subplot(grid[1], sharex=self.ax_)
        edges = np.linspace(0, 1, len(counts) + 1)
        self.bars_ = ax.bar(
            edges[:-1],
            counts,
            width=np.diff(edges),
            align="edge",
            color=self.line_.get_color(),
            edgecolor="white",
        )
        ax.set(xlabel=_CONFIDENCE, ylabel="Share")
        self.ax_.tick_params(labelbottom=False)
        self.ax_histogram_ = ax
