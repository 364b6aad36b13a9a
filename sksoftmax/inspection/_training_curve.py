r"""Display of the loss and the validation score of each epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._plotting import BLUE, GRAY, ORANGE, add_legend_above, axes_for, final_estimator

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Most steps that get markers, without which a curve of one step is invisible.
_MOST_MARKED_STEPS = 25


@dataclass(kw_only=True, eq=False, repr=False)
class TrainingCurveDisplay:  # numpydoc ignore=PR02
    r"""Loss and validation score of each epoch.

    Create it with :meth:`from_estimator`. A validation loss shares the axis of the
    training loss; an accuracy has an axis on the right.

    Parameters
    ----------
    loss_curve : array-like of shape (n_steps,)
        Training loss of each epoch, or the objective at the start and after each step
        of an exact solver.
    validation_scores : array-like of shape (n_steps,), default=None
        Validation score after each epoch; greater is better.
    scoring : {"loss", "accuracy"}, default="loss"
        Kind of validation score: the negative log loss, or the accuracy.
    best_epoch : int, default=None
        The epoch, counted from 1, whose parameters were kept. If None, the epoch of the
        best validation score.
    is_exact : bool, default=False
        Whether the steps are those of an exact solver.
    name : str, default=None
        Title; none if None.

    Attributes
    ----------
    best_epoch_ : int or None
        The epoch, counted from 1, whose parameters the estimator kept; None without
        scores.
    ax_ : matplotlib Axes
        The axes with the loss.
    ax_score_ : matplotlib Axes or None
        The axes with the accuracy; None without such scores.
    figure_ : matplotlib Figure
        The figure.
    line_ : matplotlib Line2D
        The loss.
    validation_line_ : matplotlib Line2D or None
        The validation score; a negative log loss with its sign changed.
    best_line_ : matplotlib Line2D or None
        The vertical line at the epoch that was kept.

    See Also
    --------
    sklearn.model_selection.LearningCurveDisplay : Scores by the number of rows.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sksoftmax import SoftmaxMLPClassifier
    >>> from sksoftmax.inspection import TrainingCurveDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = SoftmaxMLPClassifier(
    ...     hidden_layer_sizes=(16,), early_stopping=True, random_state=0
    ... ).fit(X, y)
    >>> display = TrainingCurveDisplay.from_estimator(classifier)
    >>> len(display.line_.get_ydata()) == classifier.n_iter_
    True
    """

    __module__ = "sksoftmax.inspection"

    loss_curve: ArrayLike
    validation_scores: ArrayLike | None = None
    scoring: str = "loss"
    best_epoch: int | None = None
    is_exact: bool = False
    name: str | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        name: str | None = None,
        ax: Axes | None = None,
        line_kw: dict[str, Any] | None = None,
        validation_line_kw: dict[str, Any] | None = None,
    ) -> Self:
        r"""Draw the training curve of a fitted classifier.

        Parameters
        ----------
        estimator : estimator
            A fitted classifier of this package, or a pipeline or search that ends in
            one; scikit-learn's ``MLPClassifier`` is accepted as well.
        name : str, default=None
            The title; the class's name if None.
        ax : matplotlib Axes, default=None
            Axes to draw in; a new figure if None.
        line_kw : dict, default=None
            Keyword arguments for the line of the loss.
        validation_line_kw : dict, default=None
            Keyword arguments for the line of the validation score.

        Returns
        -------
        display : TrainingCurveDisplay
            The display, after :meth:`plot`.

        Raises
        ------
        ValueError
            If the estimator keeps no ``loss_curve_``.
        """
        classifier = final_estimator(estimator)
        if not hasattr(classifier, "loss_curve_"):
            raise ValueError(
                f"{type(classifier).__name__} has no loss_curve_. Expected a fitted "
                "classifier that keeps one, such as SoftmaxMLPClassifier."
            )
        best_epoch = getattr(classifier, "best_epoch_", None)
        display = cls(
            loss_curve=classifier.loss_curve_,
            validation_scores=getattr(classifier, "validation_scores_", None),
            # MLPClassifier has no such parameter: its score is the accuracy.
            scoring=getattr(classifier, "scoring", None) or "accuracy",
            best_epoch=best_epoch,
            # Exact solvers have steps, but no epochs.
            is_exact=hasattr(classifier, "coef_") and best_epoch is None,
            name=type(classifier).__name__ if name is None else name,
        )
        return display.plot(
            ax=ax, line_kw=line_kw, validation_line_kw=validation_line_kw
        )

    def plot(
        self,
        ax: Axes | None = None,
        *,
        line_kw: dict[str, Any] | None = None,
        validation_line_kw: dict[str, Any] | None = None,
    ) -> Self:
        r"""Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in; a new figure if None.
        line_kw : dict, default=None
            Keyword arguments for the line of the loss.
        validation_line_kw : dict, default=None
            Keyword arguments for the line of the validation score.

        Returns
        -------
        display : TrainingCurveDisplay
            The display.
        """
        losses = np.asarray(self.loss_curve, dtype=np.float64)
        if losses.ndim != 1 or not len(losses):
            raise ValueError(
                f"Got a loss_curve of shape {losses.shape}. Expected (n_steps,), of at "
                "least one step."
            )
        ax = axes_for(self, ax)
        # The curve of an exact solver begins with the objective before the first step.
        steps = np.arange(len(losses)) + (not self.is_exact)
        marker = "o" if len(steps) <= _MOST_MARKED_STEPS else ""
        style = {"color": BLUE, "label": "training loss", "marker": marker}
        self.line_: Any = ax.plot(steps, losses, **(style | (line_kw or {})))[0]
        self.ax_, self.figure_ = ax, ax.figure
        ax.set(
            xlabel="Newton step" if self.is_exact else "Epoch",
            ylabel="Objective" if self.is_exact else "Loss",
        )
        has_legend = self.validation_scores is not None
        ax.set_title(self.name or "", loc="left", pad=26 if has_legend else 8)
        ax.locator_params(axis="x", integer=True)
        self._plot_validation(steps, marker, validation_line_kw or {})
        return self

    def _plot_validation(
        self, steps: NDArray[np.int64], marker: str, line_kw: dict[str, Any]
    ) -> None:
        self.ax_score_ = self.validation_line_ = self.best_line_ = None
        self.best_epoch_ = None
        if self.validation_scores is None:
            return
        scores = np.asarray(self.validation_scores, dtype=np.float64)
        if scores.shape != steps.shape:
            raise ValueError(
                f"Got validation_scores of shape {scores.shape} and a loss_curve of "
                f"shape {steps.shape}. Expected as many scores as losses."
            )
        ax = self.ax_
        if self.scoring != "loss":
            ax = self.ax_score_ = self.ax_.twinx()
            ax.set_ylabel("Validation accuracy")
        values = -scores if self.scoring == "loss" else scores
        style = {
            "color": ORANGE,
            "label": f"validation {self.scoring}",
            "linestyle": "--",
            "marker": marker,
        }
        (self.validation_line_,) = ax.plot(steps, values, **(style | line_kw))
        self.best_epoch_ = self.best_epoch or int(steps[scores.argmax()])
        label = f"best epoch: {self.best_epoch_}"
        self.best_line_ = self.ax_.axvline(
            self.best_epoch_, color=GRAY, label=label, linestyle=":", zorder=0
        )
        lines = [self.line_, self.validation_line_, self.best_line_]
        add_legend_above(ax, handles=lines, ncols=3, borderpad=0.2)
