r"""Scorers of scikit-learn for rows whose predictions are known already."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from .compat import score_function, with_options


class PredictedRows(ClassifierMixin, BaseEstimator):
    r"""A classifier for a scorer: it returns predictions that were made before.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        The labels.
    proba : ndarray of shape (N, n_classes)
        The probabilities of the only rows that it can predict.
    """

    def __init__(self, classes: NDArray[Any], proba: NDArray[Any]) -> None:
        self.classes = classes
        self.proba = proba
        # Scorers read it, as of a fitted classifier.
        self.classes_ = classes

    def predict_proba(self, X: Any) -> NDArray[Any]:
        r"""Return the probabilities, whatever the rows are."""
        if len(X) != len(self.proba):
            raise ValueError(
                f"Got {len(X)} rows to predict in scoring, but expected all "
                f"{len(self.proba)} validation rows at once. Select rows of the "
                "predictions instead."
            )
        return self.proba

    def predict(self, X: Any) -> NDArray[Any]:
        r"""Return the labels, whatever the rows are."""
        labels: NDArray[Any] = self.classes[self.predict_proba(X).argmax(1)]
        return labels


def scorer_with_classes(
    scorer: Callable[..., float], classes: NDArray[Any]
) -> Callable[..., float]:
    r"""Return a scorer with all classes, some of which a fold's labels may lack."""
    metric = score_function(scorer)
    if metric is None:
        return scorer
    accepted = inspect.signature(metric).parameters
    if "labels" not in accepted:
        return scorer
    known: dict[str, Any] = {"labels": classes}
    if len(classes) == 2 and "pos_label" in accepted:
        known["pos_label"] = classes[1]
    fold_scorer: Callable[..., float] = with_options(scorer, known)
    return fold_scorer


def takes_sample_weight(scorer: Callable[..., float]) -> bool:
    r"""Return whether a scorer, or its metric, has sample weights as an argument."""
    parameters = inspect.signature(score_function(scorer) or scorer).parameters
    return "sample_weight" in parameters


def weights_that_differ(weight: NDArray[Any] | None) -> NDArray[Any] | None:
    r"""Return sample weights; None if all are the same."""
    return None if weight is None or np.ptp(weight) == 0 else weight
