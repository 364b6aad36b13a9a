r"""Validation scores by the scorers of scikit-learn and of the user."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.metrics import get_scorer
from torch import Tensor

from .._utils.arrays import from_any_device
from .._utils.compat import score_function
from .._utils.scorers import (
    PredictedRows,
    scorer_with_classes,
    takes_sample_weight,
    weights_that_differ,
)
from .temperature import best_temperature
from .tensor_table import TensorTable

# Record of the net for each value of ``scoring``, and its sign as a score: a greater
# score is better.
MONITORS = {"loss": ("valid_loss", -1), "accuracy": ("valid_acc", 1)}


def monitor_of(scoring: Any) -> tuple[str, int]:
    r"""Return the record of the net for ``scoring``, and its sign as a score."""
    known = MONITORS.get(scoring) if isinstance(scoring, str) else None
    return known or ("valid_score", 1)


class ValidationScore:
    r"""The score of validation rows by a scorer.

    Parameters
    ----------
    scoring : str or callable
        Name of a scorer, or ``scorer(estimator, X, y)``.
    classes : ndarray of shape (C,)
        The labels.
    table : TensorTable
        The validation rows, in the order of their predictions.
    """

    def __init__(
        self,
        scoring: str | Callable[..., float],
        classes: NDArray[Any],
        table: TensorTable,
    ) -> None:
        self._scoring = scoring
        self._scorer = scorer_with_classes(get_scorer(scoring), classes)
        self._classes = classes
        self._table = table

    def __call__(
        self,
        logits: Tensor,
        y: Tensor,
        sample_weight: Tensor | None,
        at_best_temperature: bool,
    ) -> float:
        r"""Return the score of logits (N, C) of rows of the classes y (N,).

        With ``at_best_temperature``, the probabilities are those at the temperature
        that is best for these rows.
        """
        if at_best_temperature:
            logits = logits / best_temperature(logits[None], y, sample_weight)
        proba = logits.double().softmax(1).cpu().numpy()
        labels = self._classes[y.cpu().numpy()]
        weight = weights_that_differ(
            None if sample_weight is None else sample_weight.cpu().numpy()
        )
        options: dict[str, Any] = {}
        if weight is not None and takes_sample_weight(self._scorer):
            options["sample_weight"] = weight
        predicted = PredictedRows(self._classes, proba)
        score = float(self._scorer(predicted, self._rows(), labels, **options))
        if not math.isfinite(score):
            raise ValueError(
                f"Got the score {score} by scoring={self._scoring!r} of "
                f"{len(labels)} validation rows of the classes "
                f"{np.unique(labels).tolist()}, but expected a number. Pass X_val and "
                "y_val with rows of every class, or choose another scoring."
            )
        return score

    def _rows(self) -> Any:
        r"""Return the rows for a function of the user, and a stand-in for metrics."""
        if score_function(self._scorer) is not None:
            return range(len(self._table))
        rows = from_any_device(self._table.X.float())
        return rows.tocsr() if issparse(rows) else rows
