r"""Scores of a search: their means over folds, where some of them are NaN."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import UndefinedMetricWarning

Array = NDArray[np.float64]


def mean_over_folds(scores: Array) -> Array:
    r"""Return the mean of each candidate's scores over the folds.

    A fold in which every candidate's score is NaN, as the area under the ROC curve is
    where a class is missing, is left out. A candidate whose score is NaN in another
    fold has a mean of NaN, unless all have: then their means leave out what is NaN.

    Parameters
    ----------
    scores : ndarray of shape (n_folds, n_candidates)
        Score of each candidate in each fold.

    Returns
    -------
    means : ndarray of shape (n_candidates,)
        The means; NaN only if all scores are, or where other candidates have a mean.
    """
    missing = np.isnan(scores)
    counted = scores[~missing.all(1)]
    if not len(counted):
        return np.full(scores.shape[1], np.nan)
    means: Array = counted.mean(0)
    if np.isnan(means).all():
        with np.errstate(invalid="ignore"):
            means = np.nansum(counted, axis=0) / (~np.isnan(counted)).sum(0)
    return means


def warn_about_missing_scores(scores: Array, name: str) -> None:
    r"""Warn that scores are NaN, of which folds, and how the means are taken.

    ``scores`` are those of :func:`mean_over_folds`.
    """
    missing = np.isnan(scores)
    folds = np.flatnonzero(missing.any(1)) + 1
    if not len(folds):
        return
    warnings.warn(
        f"{missing.sum()} of {scores.size} scores by {name} are NaN, in fold "
        f"{', '.join(map(str, folds))} of {len(scores)}. A fold without any score is "
        "left out of the means, and a candidate without a score in another fold comes "
        "last. A score can be undefined where the held-out rows lack a class: check "
        "`cv`, or use fewer folds.",
        UndefinedMetricWarning,
        stacklevel=2,
    )
