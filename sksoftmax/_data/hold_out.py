r"""Validation rows: held out by all members of an ensemble, or by some of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from torch import Tensor, nn

from .group_folds import deal_groups, only_groups
from .training_rows import TrainingRows


def unseen_by(weight: Tensor | None) -> Tensor | None:
    r"""Return the mask of members that held a row out, (N, K); None if all did."""
    return None if weight is None or weight.ndim == 1 else weight > 0


def parts_of(weights: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return the sets of members that held out the same rows.

    Parameters
    ----------
    weights : Tensor of shape (n_samples, n_members)
        Weights of the validation rows, 0 for members that were trained on a row.

    Returns
    -------
    parts : Tensor of shape (n_parts, n_members), bool
        The sets.
    left_out_by : Tensor of shape (n_samples,), int64
        For each row, the index of the set that held it out.
    """
    parts, left_out_by = torch.unique(weights > 0, dim=0, return_inverse=True)
    return parts, left_out_by


def row_weight(weight: Tensor | None) -> Tensor | None:
    r"""Return the weight of each row: the largest of its weights for the members."""
    return weight if weight is None or weight.ndim == 1 else weight.amax(1)


def predict_by(module: nn.Module, X: Tensor, members: Tensor | None) -> Tensor:
    r"""Return the logits of the members in the mask (N, K); of all if None."""
    logits: Tensor = module(X) if members is None else module(X, members)
    return logits


# Validation rows that determine a temperature well. "auto" learns a temperature if they
# are at most `validation_fraction` of the rows: from 20,000 rows on, by default.
_TEMPERATURE_ROWS = 2000
# Share of the rows that all members can do without. Below it, weights of every row for
# every member would cost more memory than the rows are worth.
_NEGLIGIBLE_SHARE = 0.01

# Number of folds that members hold out in turn, at most.
_MAX_FOLDS = 6
# Members that hold out the same fold, at least, if only a temperature is learned. That
# of the ensemble follows from the temperatures of one member and of several.
_MEMBERS_PER_FOLD = 2
# Number of rows in all folds together if only a temperature is learned.
_CROSSED_ROWS = 4000


class Part(NamedTuple):
    r"""Some rows of a table, and the weights of all rows of the table.

    The weights are of shape (N,), or (N, K) if the members hold out different rows.
    """

    rows: NDArray[np.int64]
    weight: NDArray[np.float64] | None


class Split(NamedTuple):
    r"""Training rows and validation rows of a fit."""

    training: Part
    held_out: Part | None
    # True if the validation rows choose the epoch. Otherwise they are held out for a
    # temperature, and tell whether a restart improved the net.
    chooses_epoch: bool


@dataclass(frozen=True)
class HoldOut:
    r"""Choice of the validation rows; the fields are parameters of the estimators."""

    early_stopping: bool | str
    temperature_scaling: bool | str
    validation_fraction: float
    n_estimators: int

    def keep(self, data: TrainingRows) -> Split:
        r"""Return all rows for training: the caller passed validation rows."""
        chooses_epoch = bool(self.early_stopping)
        if self.early_stopping == "auto":
            chooses_epoch = self.n_estimators > 1
        return Split(Part(data.indices(), data.loss_weight), None, chooses_epoch)

    def split(self, data: TrainingRows, random_state: int) -> Split:
        r"""Hold out rows if early stopping or a temperature needs them."""
        rows = data.indices()
        all_rows = Split(Part(rows, data.loss_weight), None, chooses_epoch=False)
        n_rows, is_auto = len(rows), self.early_stopping == "auto"
        if is_auto and self.n_estimators > 1 and not self._is_large(n_rows):
            n_folds = min(self.n_estimators, _MAX_FOLDS)
            parts = self._cross(data, rows, n_folds, 1.0, random_state)
            return Split(*parts, chooses_epoch=True) if len(parts[1].rows) else all_rows
        if self.early_stopping and not is_auto:
            parts = self._cut(data, rows, self.validation_fraction, random_state)
            return Split(*parts, chooses_epoch=True)
        if not self._learns_temperature(data, rows):
            return all_rows
        n_folds = min(self.n_estimators // _MEMBERS_PER_FOLD, _MAX_FOLDS)
        if n_folds > 1 and _NEGLIGIBLE_SHARE * n_rows < _TEMPERATURE_ROWS:
            fraction = min(self.validation_fraction, _CROSSED_ROWS / n_rows)
            parts = self._cross(data, rows, n_folds, fraction, random_state)
        else:
            fraction = min(self.validation_fraction, _TEMPERATURE_ROWS / n_rows)
            parts = self._cut(data, rows, fraction, random_state)
        return Split(*parts, chooses_epoch=False)

    def _is_large(self, n_rows: int) -> bool:
        r"""Return whether the validation fraction has the rows for a temperature."""
        return bool(n_rows * self.validation_fraction >= _TEMPERATURE_ROWS)

    def _learns_temperature(self, data: TrainingRows, rows: NDArray[np.int64]) -> bool:
        if self.temperature_scaling != "auto":
            return bool(self.temperature_scaling)
        if not self._is_large(len(rows)):
            return False
        y, group = data.y[rows], data.groups(rows)
        if group is not None:
            return not len(only_groups(y, group)[0])
        return bool(np.unique(y, return_counts=True)[1].min() > 1)

    def _cut(
        self,
        data: TrainingRows,
        rows: NDArray[np.int64],
        fraction: float,
        random_state: int,
    ) -> tuple[Part, Part]:
        r"""Let all members hold out the same rows."""
        training, held_out = split_for_validation(
            data.y, rows, fraction, random_state, data.groups(rows)
        )
        return Part(training, data.loss_weight), Part(held_out, data.sample_weight)

    def _cross(
        self,
        data: TrainingRows,
        rows: NDArray[np.int64],
        n_folds: int,
        fraction: float,
        random_state: int,
    ) -> tuple[Part, Part]:
        r"""Let each member hold out one fold of a fraction of the rows.

        A row is validated by the members that did not train on its fold. The ensemble
        as a whole is trained on all rows.
        """
        n_parts = round(n_folds / fraction)
        parts = np.full(len(data.y), n_parts)
        group = data.groups(rows)
        if group is None:
            parts[rows] = deal_folds(data.y[rows], n_parts, random_state)
        else:
            shares = np.full(n_parts, 1 / n_parts)
            parts[rows] = deal_groups(data.y[rows], group, shares, random_state)
        # The first and the second half of the members may differ in kind: a fold is
        # left out by members of both halves.
        fold = np.arange(self.n_estimators) % n_folds
        # (N, 1) == (K) -> (N, K)
        leaves_out = parts[:, None] == fold
        weight = data.loss_weight
        if weight is None:
            weight = np.ones(len(data.y))
        held_out = rows[parts[rows] < n_folds]
        # The validation loss has the class weights, as the training loss does.
        return (
            Part(rows, weight[:, None] * ~leaves_out),
            Part(held_out, weight[:, None] * leaves_out),
        )


def split_for_validation(
    y: NDArray[np.int64],
    rows: NDArray[np.int64],
    validation_fraction: float,
    random_state: int,
    group: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    r"""Split rows into a training and a validation part, stratified by class.

    The rows of a group stay together; ``group`` has the numbers of the groups.
    """
    present, counts = np.unique(y[rows], return_counts=True)
    n_validation = int(np.ceil(validation_fraction * len(rows)))
    n_training = len(rows) - n_validation
    if min(n_validation, n_training) < len(present) or counts.min() < 2:
        raise ValueError(
            f"Holding out validation_fraction={validation_fraction:.3g} of the rows "
            f"leaves {n_training} rows for training and {n_validation} for "
            f"validation, and the rarest class has {counts.min()} of {len(rows)} "
            f"rows. Expected at least one row of each of the {len(present)} classes "
            "in both parts: change validation_fraction, or pass X_val and y_val. "
            "Copies of a row count as one row."
        )
    if group is not None:
        return _cut_groups(y, rows, group, validation_fraction, random_state)
    training, validation = train_test_split(
        rows,
        test_size=n_validation,
        stratify=y[rows],
        random_state=random_state,
    )
    # Rows in the order of memory are read faster; training shuffles the batches.
    return np.sort(training), np.sort(validation)


def _cut_groups(
    y: NDArray[np.int64],
    rows: NDArray[np.int64],
    group: NDArray[np.int64],
    validation_fraction: float,
    random_state: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    r"""Split rows into a training and a validation part of whole groups."""
    alone = only_groups(y[rows], group)[0]
    shares = np.array([validation_fraction, 1 - validation_fraction])
    is_held_out = deal_groups(y[rows], group, shares, random_state) == 0
    if len(alone) or not is_held_out.any():
        raise ValueError(
            f"Holding out validation_fraction={validation_fraction:.3g} of the rows, "
            "with rows that belong together (equal rows, and `groups`) in one part, "
            f"leaves {is_held_out.sum()} of {len(rows)} rows for validation; "
            f"{len(alone)} of {len(np.unique(y[rows]))} classes have all of their rows "
            "in a single group. Expected at least two groups of each class: change "
            "validation_fraction or groups, or pass X_val and y_val."
        )
    return rows[~is_held_out], rows[is_held_out]


def deal_folds(
    y: NDArray[np.int64], n_folds: int, random_state: int
) -> NDArray[np.int64]:
    r"""Return each row's fold, with the rows of every class spread evenly.

    The only row of a class gets the number ``n_folds``: every net is trained on it.
    """
    shuffled = check_random_state(random_state).permutation(len(y))
    folds = np.empty(len(y), dtype=np.int64)
    folds[np.lexsort((shuffled, y))] = np.arange(len(y)) % n_folds
    folds[np.bincount(y)[y] == 1] = n_folds
    return folds
