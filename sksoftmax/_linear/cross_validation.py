r"""Penalties and folds of a cross-validation, and the scores of validation rows."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, check_cv

from .._data.copies import FEW_COPIES, first_of_each, join, numbers_of_copies
from .._data.training_rows import TrainingRows
from .solver import weights_of_rows

# Values of ``scoring`` that `score_of_logits` computes.
SCORES_OF_LOGITS = (None, "accuracy", "neg_log_loss")
# Folds of ``cv=None``, as in scikit-learn.
_DEFAULT_N_FOLDS = 5


class Fold(NamedTuple):
    r"""Indices of the rows that a fold trains on, and of its validation rows."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]


def check_grid(
    Cs: int | ArrayLike, l1_ratios: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Return the penalties to try as arrays; an integer is a number of ``Cs``."""
    C_grid = np.asarray(np.logspace(-4, 4, Cs) if isinstance(Cs, Integral) else Cs)
    l1_grid = np.asarray(l1_ratios)
    if not (_is_numeric(C_grid) and (C_grid > 0).all()):
        raise ValueError(f"Got Cs={Cs!r}, but expected a sequence of numbers above 0.")
    if not (_is_numeric(l1_grid) and ((l1_grid >= 0) & (l1_grid <= 1)).all()):
        raise ValueError(
            f"Got l1_ratios={l1_ratios!r}, but expected a sequence of numbers from 0 "
            "to 1."
        )
    return C_grid.astype(float), l1_grid.astype(float)


def _is_numeric(values: NDArray[Any]) -> bool:
    r"""Return whether values are a sequence of numbers, at least one of them."""
    return values.ndim == 1 and len(values) > 0 and values.dtype.kind in "iuf"


def stratified_folds(data: TrainingRows, n_folds: int) -> list[Fold]:
    r"""Return stratified folds in which equal rows, and those of a group, are together.

    Copies of a row are in the fold of the first of them, which is in the fold that it
    has without copies.
    """
    y = data.y
    copies = numbers_of_copies(data.X, np.arange(len(y)))
    if data.group is not None:
        group = data.group if copies is None else join(copies, data.group)
        return [
            Fold(*parts) for parts in StratifiedGroupKFold(n_folds).split(y, y, group)
        ]
    first = np.arange(len(y)) if copies is None else first_of_each(copies)
    if (
        copies is None
        or len(first) > (1 - FEW_COPIES) * len(y)
        or np.bincount(y[first]).max() < n_folds
    ):
        return [Fold(*parts) for parts in StratifiedKFold(n_folds).split(y, y)]
    fold_of = np.empty(len(first), dtype=np.int64)
    for fold, (_, test) in enumerate(StratifiedKFold(n_folds).split(first, y[first])):
        fold_of[test] = fold
    in_fold = fold_of[copies] == np.arange(n_folds)[:, None]
    return [Fold(np.flatnonzero(~test), np.flatnonzero(test)) for test in in_fold]


def split_rows(
    cv: Any,
    X: Any,
    data: TrainingRows,
    labels: NDArray[Any],
    kept: NDArray[np.int64],
    params: Mapping[str, Any],
) -> list[Fold]:
    r"""Return the folds of ``cv``, as indices of the rows that are kept.

    A number of folds is of these rows; a splitter, or a list of folds, is of all rows
    and takes ``params``.
    """
    if cv is None or isinstance(cv, Integral):
        return stratified_folds(data.take(kept), int(cv or _DEFAULT_N_FOLDS))
    place = np.full(len(labels), -1)
    place[kept] = np.arange(len(kept))
    splitter = check_cv(cv, labels, classifier=True)
    folds = []
    for parts in splitter.split(X, labels, **params):
        train, test = (place[part] for part in parts)
        folds.append(Fold(train[train >= 0], test[test >= 0]))
        if not len(folds[-1].test):
            raise ValueError(
                f"Fold {len(folds)} holds out rows whose weights are all 0. Expected "
                "some weight in both parts of every fold: drop the rows without "
                "weight, or shuffle them with `cv`."
            )
    return folds


def weights_in_folds(data: TrainingRows, folds: list[Fold]) -> NDArray[np.float64]:
    r"""Return the weight of each row in each fold, of shape (n_folds, N).

    Validation rows have the weight 0.
    """
    weight = weights_of_rows(data)
    weights = np.zeros((len(folds), len(weight)))
    for fold, (train, _) in enumerate(folds):
        weights[fold, train] = weight[train]
    is_empty = ~weights.any(1)
    if is_empty.any():
        raise ValueError(
            f"Fold {is_empty.argmax() + 1} of {len(folds)} trains on rows whose "
            "weights are all 0. Expected some weight in the training part of every "
            "fold: drop the rows without weight, or shuffle them with `cv`."
        )
    return weights


def score_of_logits(
    scoring: Any,
    logits: NDArray[np.float64],
    y: NDArray[np.int64],
    sample_weight: NDArray[np.float64] | None = None,
) -> float | None:
    r"""Return the accuracy or the negative log loss; None for another scoring.

    scikit-learn's checks of such arguments take longer than a fit of a small table.

    Parameters
    ----------
    scoring : object
        The parameter of an estimator.
    logits : ndarray of shape (N, C) or (N, 1)
        Logits of the rows; with two classes their difference.
    y : ndarray of shape (N,)
        Indices of their classes.
    sample_weight : ndarray of shape (N,), default=None
        Weights of the rows.
    """
    if logits.shape[1] == 1:
        logits = np.hstack([np.zeros_like(logits), logits])
    if scoring in (None, "accuracy"):
        scores = (logits.argmax(1) == y).astype(float)
    elif scoring == "neg_log_loss":
        proba = softmax(logits, axis=1)[np.arange(len(y)), y]
        smallest = np.finfo(float).eps
        scores = np.log(proba.clip(smallest, 1 - smallest))
    else:
        return None
    return float(np.average(scores, weights=sample_weight))


def mean_over_folds(scores: NDArray[np.float64]) -> NDArray[np.float64]:
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
    means: NDArray[np.float64] = counted.mean(0)
    if np.isnan(means).all():
        with np.errstate(invalid="ignore"):
            means = np.nansum(counted, axis=0) / (~np.isnan(counted)).sum(0)
    return means


def best_candidates(
    scores: NDArray[np.float64], name: str, *, is_common: bool
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


def warn_about_missing_scores(scores: NDArray[np.float64], name: str) -> None:
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
