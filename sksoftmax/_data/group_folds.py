r"""Folds of whole groups of rows, stratified by class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

# Number of groups, the largest ones, that are assigned one by one. The other groups are
# small: they fill up the folds in a random order.
_N_LARGE_GROUPS = 500


def deal_groups(
    y: NDArray[np.int64],
    group: NDArray[np.int64],
    shares: NDArray[np.float64],
    random_state: int,
) -> NDArray[np.int64]:
    r"""Return the fold of each row, the same for all rows of a group.

    A group is in no fold, with number ``n_folds``, if it has more than half of the rows
    or all rows of a class. So is a class whose rows would be in a single fold. A net
    that holds out a fold is therefore trained on rows of every class.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        The classes' indices.
    group : ndarray of shape (n_samples,)
        Numbers of the groups, from 0 on.
    shares : ndarray of shape (n_folds,)
        Share of the rows of each fold; their sum is 1.
    random_state : int
        Seed of the order of the small groups.

    Returns
    -------
    folds : ndarray of shape (n_samples,)
        From 0 to ``n_folds``.
    """
    n_folds = len(shares)
    size = np.bincount(group)
    is_outside = size > len(y) / 2
    is_outside[only_groups(y, group)[1]] = True
    shuffled = check_random_state(random_state).permutation(len(size))
    order = np.lexsort((shuffled, -size))
    order = order[~is_outside[order]]
    n_of_class = np.bincount(y[~is_outside[group]], minlength=y.max() + 1)
    fold_of = np.full(len(size), n_folds)
    # (F, C): number of rows in each fold
    dealt = np.zeros((n_folds, len(n_of_class)))
    _assign_large(y, group, order[:_N_LARGE_GROUPS], shares, n_of_class, fold_of, dealt)
    rest = order[_N_LARGE_GROUPS:]
    _assign_small(y, group, rest[np.argsort(shuffled[rest])], shares, fold_of, dealt)
    # A class in a single fold leaves it, with all rows of its groups.
    classes, in_fold = only_groups(y, fold_of[group])
    fold_of[group[np.isin(y, classes[in_fold < n_folds])]] = n_folds
    folds: NDArray[np.int64] = fold_of[group]
    return folds


def only_groups(
    y: NDArray[np.int64], group: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    r"""Return the classes that occur in a single group, and these groups."""
    n_classes = y.max() + 1
    group_of_pair, class_of_pair = np.divmod(
        np.unique(group * n_classes + y), n_classes
    )
    is_only = np.bincount(class_of_pair, minlength=n_classes)[class_of_pair] == 1
    return class_of_pair[is_only], group_of_pair[is_only]


def _assign_large(
    y: NDArray[np.int64],
    group: NDArray[np.int64],
    largest: NDArray[np.int64],
    shares: NDArray[np.float64],
    n_of_class: NDArray[np.int64],
    fold_of: NDArray[np.int64],
    dealt: NDArray[np.float64],
) -> None:
    r"""Assign each group to the fold that keeps the classes most balanced.

    It minimizes the sum over folds f and classes c of
    ``(dealt[f, c] / n_of_class[c]) ** 2 / shares[f]``.
    """
    place = np.full(len(fold_of), -1)
    place[largest] = np.arange(len(largest))
    rows = np.flatnonzero(place[group] >= 0)
    counts = np.zeros((len(largest), len(n_of_class)))
    np.add.at(counts, (place[group[rows]], y[rows]), 1.0)
    inverse = 1 / np.maximum(n_of_class, 1.0) ** 2
    for index, count in zip(largest, counts, strict=True):
        # (F, C) @ (C) -> (F)
        fold = ((2 * dealt + count) @ (count * inverse) / shares).argmin()
        dealt[fold] += count
        fold_of[index] = fold


def _assign_small(
    y: NDArray[np.int64],
    group: NDArray[np.int64],
    small: NDArray[np.int64],
    shares: NDArray[np.float64],
    fold_of: NDArray[np.int64],
    dealt: NDArray[np.float64],
) -> None:
    r"""Assign small groups, in their order, to folds that lack rows of their class."""
    n_of_class = np.bincount(y, minlength=dealt.shape[1])
    size = np.bincount(group)
    # A group counts for its rarest class: the last one that is written here.
    class_of = np.zeros(len(size), dtype=np.int64)
    rarest_last = np.argsort(-n_of_class[y], kind="stable")
    class_of[group[rarest_last]] = y[rarest_last]
    for label in np.unique(class_of[small]):
        chosen = small[class_of[small] == label]
        total = size[chosen].sum()
        target = shares * (dealt[:, label].sum() + total)
        room = np.maximum(target - dealt[:, label], 0.0)
        edges = np.cumsum(room) / room.sum()
        middle = (np.cumsum(size[chosen]) - size[chosen] / 2) / total
        fold_of[chosen] = np.minimum(np.searchsorted(edges, middle), len(shares) - 1)
