r"""Scores in a cross-validation, some of which are NaN: means and best candidates."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import UndefinedMetricWarning

Array = NDArray[np.float64]


def mean_over_folds(scores: Array) -> Array:
    r"""Return the mean of each candidate's scores over the folds.

    A fold in which the score of every candidate is NaN, as the area under the ROC curve
    is where a class is missing, is left out. A candidate whose score is NaN in another
    fold has a mean of NaN, unless all have: then each mean leaves out what is NaN.
    scikit-learn's means would all be NaN.

    Parameters
    ----------
    scores : ndarray of shape (n_folds, M)
        Score of each candidate in each fold.

    Returns
    -------
    means : ndarray of shape (M,)
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


def best_candidates(
    scores: Array, name: str, *, is_common: bool
) -> tuple[NDArray[np.int64], tuple[Any, ...]]:
    r"""Return indices of folds, and for each the place of its best candidate.

    Parameters
    ----------
    scores : ndarray of shape (n_folds, *grid)
        Score of each candidate of a grid in each fold.
    name : str
        Name of the scores in a warning or an error.
    is_common : bool
        Whether one candidate is chosen by the mean over the folds. Otherwise each fold
        has its best, and a fold without any score is left out.

    Raises
    ------
    ValueError
        If all scores are NaN.
    """
    n_folds, *shape = scores.shape
    scores = scores.reshape(n_folds, -1)
    missing = np.isnan(scores)
    if missing.all():
        raise ValueError(
            f"All scores by {name} are NaN, so no penalty is better than another. "
            "Expected a number in one fold at least: check that the held-out rows of "
            "`cv` have the classes that the score needs."
        )
    warn_about_missing_scores(scores, name)
    if is_common:
        folds, best = np.arange(n_folds), np.nanargmax(mean_over_folds(scores))
    else:
        folds = np.flatnonzero(~missing.all(1))
        best = np.nanargmax(scores[folds], axis=1)
    return folds, np.unravel_index(best, shape)


def warn_about_missing_scores(scores: Array, name: str) -> None:
    r"""Warn about scores that are NaN: their folds, and how the means are taken.

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
