r"""Training and validation rows: validated, with encoded labels and weights."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from scipy.special import entr
from sklearn.base import BaseEstimator
from torch import Tensor

from .._utils.arrays import as_tensor, dense
from .._utils.memmap import Pages, blocks, in_parts
from .._utils.robust_scale import RobustScale, sample_size
from .copies import FEW_COPIES, first_of_each, join, numbers_of_copies, renumbered
from .features import check_features
from .labels import (
    check_groups,
    check_target,
    check_weights,
    class_weights,
    encode_target,
)
from .row_shapes import RowLayout, RowShape


@dataclass(frozen=True)
class TrainingRows:
    r"""Validated rows with encoded labels."""

    X: NDArray[Any]
    y: NDArray[np.int64]
    # Weights in the loss: sample weight times class weight.
    loss_weight: NDArray[np.float64] | None
    # Weights in statistics and scores: the sample weight alone.
    sample_weight: NDArray[np.float64] | None
    # Rows of a group stay on one side of every split.
    group: NDArray[np.int64] | None = None
    # Axes of a row, such as those of an image; None if rows have none.
    layout: RowLayout | None = None

    def indices(self) -> NDArray[np.int64]:
        r"""Return the indices of the rows with a positive weight."""
        if self.loss_weight is None:
            return np.arange(len(self.y))
        return np.flatnonzero(self.loss_weight)

    def entropy(self, label_smoothing: float) -> float:
        r"""Return the smallest mean loss of a constant prediction."""
        # (C) frequencies of the classes
        shares = np.bincount(self.y, weights=self.loss_weight)
        shares = shares / shares.sum()
        shares = (1 - label_smoothing) * shares + label_smoothing / len(shares)
        return float(entr(shares).sum())

    def missing_columns(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        r"""Return the mask of the columns with NaN in the given rows."""
        if self.X.dtype.kind != "f":
            return np.zeros(self.X.shape[1], dtype=bool)
        # The maximum of a column is NaN if any value is; it needs no table of booleans.
        largest = np.maximum.reduce([block.max(axis=0) for block in blocks(self.X)])
        has_missing: NDArray[np.bool_] = np.isnan(largest)
        if has_missing.any() and len(rows) < len(self.X):
            candidates = np.flatnonzero(has_missing)
            has_missing[candidates] = False
            pages = Pages(self.X)
            for part in in_parts(rows):
                is_missing = np.isnan(pages.take(part)[:, candidates])
                has_missing[candidates] |= is_missing.any(axis=0)
        return has_missing

    def fit_layer(self, layer: Any, rows: NDArray[np.int64]) -> None:
        r"""Update the statistics of a layer with the given rows."""
        robust = layer.robust_scale(self.sample(rows, sample_size(self.X.shape[1])))
        self.update_layer(layer, rows, robust)

    def update_layer(
        self, layer: Any, rows: NDArray[np.int64], robust: RobustScale | None
    ) -> None:
        r"""Update the statistics of a layer, given the robust scale of the rows."""
        pages, weight = Pages(self.X), self.sample_weight
        for part in in_parts(rows):
            layer.update(
                self._unfolded(pages.take(part)),
                None if weight is None else as_tensor(weight[part]),
                robust,
            )

    def sample(self, rows: NDArray[np.int64], n_rows: int) -> Tensor:
        r"""Return a sample of the given rows, evenly spread, as a module takes them."""
        return self._unfolded(Pages(self.X).take(evenly_spread(rows, n_rows)))

    def extremes(self, rows: NDArray[np.int64]) -> Tensor:
        r"""Return those of the rows with the extreme values of each feature."""
        X = Pages(self.X).take(rows)
        return self._unfolded(X[np.unique([X.argmin(0), X.argmax(0)])])

    def _unfolded(self, features: NDArray[Any]) -> Tensor:
        rows = as_tensor(dense(features))
        return rows if self.layout is None else self.layout.unfolded(rows)

    def value_range(self) -> tuple[float, float, bool]:
        r"""Return the lowest and highest value, and whether all are whole numbers."""
        pages = Pages(self.X)
        low, high, is_whole = math.inf, -math.inf, True
        for part in in_parts(np.arange(len(self.X))):
            values = self.X[part[0] : part[-1] + 1]
            low, high = min(low, values.min()), max(high, values.max())
            is_whole = is_whole and bool((np.trunc(values) == values).all())
            pages.read(len(part))
        return float(low), float(high), is_whole

    def digest(self) -> str:
        r"""Return the SHA-256 digest of the rows, in hexadecimal digits."""
        digest = hashlib.sha256()
        X: Any = self.X
        arrays = [X.data, X.indices, X.indptr] if issparse(X) else [X]
        arrays += [self.y, self.loss_weight, self.sample_weight]
        if self.group is not None:
            arrays.append(self.group)
        if self.layout is not None:
            digest.update(repr(self.layout).encode())
        for array in arrays:
            if array is None:
                digest.update(b"None")
                continue
            digest.update(f"{array.dtype} {array.shape}".encode())
            for block in blocks(array):
                digest.update(np.ascontiguousarray(block).data)
        return digest.hexdigest()

    def take(self, rows: NDArray[np.int64]) -> TrainingRows:
        r"""Return a table of the given rows; the same table if they are all."""
        if len(rows) == len(self.y):
            return self
        fields = vars(self).items()
        taken: Any = {
            name: x if isinstance(x, RowLayout | None) else x[rows]
            for name, x in fields
        }
        return TrainingRows(**taken)

    def without_copies(
        self, is_categorical: NDArray[np.bool_] | None = None
    ) -> TrainingRows:
        r"""Return the rows with the weight of all copies on the first, 0 on the others.

        Copies have equal features and labels. Only distinct rows count as rows, because
        their number decides how soon a net overfits. Few copies keep their weights.
        Rows of equal features form a group, whatever their labels.
        """
        rows = self.indices()
        numbers = numbers_of_copies(self.X, rows, is_categorical)
        if numbers is None:
            return self
        group = np.zeros(len(self.y), dtype=np.int64)
        group[rows] = numbers if self.group is None else join(numbers, self.group[rows])
        labeled = renumbered(numbers * (self.y.max() + 1) + self.y[rows])
        first = first_of_each(labeled)
        if len(first) > (1 - FEW_COPIES) * len(rows):
            return replace(self, group=group)

        def merged(weight: NDArray[np.float64] | None) -> NDArray[np.float64]:
            sums = np.zeros(len(self.y))
            counted = None if weight is None else weight[rows]
            sums[rows[first]] = np.bincount(labeled, counted)
            return sums

        return replace(
            self,
            loss_weight=merged(self.loss_weight),
            sample_weight=merged(self.sample_weight),
            group=group,
        )

    def groups(self, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
        r"""Return the groups of the given rows, from 0 on; None if all differ."""
        if self.group is None:
            return None
        codes = renumbered(self.group[rows])
        return codes if codes.max() + 1 < len(rows) else None

    def total_weight(self, rows: NDArray[np.int64]) -> float:
        r"""Return the sum of the weights of the given rows in the loss."""
        return len(rows) if self.loss_weight is None else self.loss_weight[rows].sum()


def evenly_spread(rows: NDArray[np.int64], n_rows: int) -> NDArray[np.int64]:
    r"""Return ``n_rows`` of the given rows, evenly spread; all if there are fewer."""
    if len(rows) <= n_rows:
        return rows
    chosen = np.linspace(0, len(rows) - 1, n_rows).round().astype(np.int64)
    return rows[chosen]


def check_training_rows(
    estimator: BaseEstimator,
    X: Any,
    y: Any,
    sample_weight: ArrayLike | None,
    *,
    groups: ArrayLike | None = None,
    classes: NDArray[Any] | None = None,
    reset: bool = True,
) -> tuple[TrainingRows, NDArray[Any]]:
    r"""Validate training rows; return them with the sorted classes."""
    # If all classes are given in advance, rows with other categories may follow.
    features, layout = check_features(
        estimator, X, reset=reset, declared=classes is not None
    )
    labels = check_target(estimator, features, y)
    weight = check_weights(estimator, sample_weight, features)
    if weight is not None and classes is None:
        features = estimator._forget_categories(features, np.flatnonzero(weight))
    encoded, classes = encode_target(labels, classes, weight)
    loss_weight = weight
    if estimator.class_weight is not None:
        by_class = class_weights(estimator.class_weight, classes, labels, weight)
        loss_weight = by_class[encoded]
        if weight is not None:
            loss_weight = loss_weight * weight
        if not loss_weight.any():
            raise ValueError(
                f"class_weight={estimator.class_weight!r} leaves no row with a "
                "positive weight. Expected one for at least two classes in y."
            )
    group = check_groups(groups, features)
    data = TrainingRows(features, encoded, loss_weight, weight, group, layout)
    return data, classes


def check_number_of_classes(estimator: BaseEstimator, data: TrainingRows) -> None:
    r"""Raise an error unless there are rows of at least two classes.

    Sample weights may leave a single one of the classes in ``y``, for example those of
    ``BaggingClassifier``. Its probability is then about 1, as in scikit-learn.
    """
    present = np.unique(data.y[data.indices()])
    if len(present) > 1:
        return
    counted = data.y if data.sample_weight is None else data.y[data.sample_weight > 0]
    if len(estimator.classes_) > 1 and len(np.unique(counted)) == 1:
        return
    weighted = "" if data.loss_weight is None else " with a positive weight"
    raise ValueError(
        f"{type(estimator).__name__} needs samples of at least 2 classes in the "
        f"data, but the data contains only one class{weighted}: "
        f"{estimator.classes_[present].tolist()[0]!r}. Check y; if it is sorted, "
        "shuffle the rows before splitting them."
    )


def check_same_problem(estimator: BaseEstimator, fitted: Mapping[str, Any]) -> None:
    r"""Raise an error unless a warm start can continue from the fitted attributes."""
    before, now = _problem_of(fitted), _problem_of(vars(estimator))
    for name, value in now.items():
        if before[name] != value:
            raise ValueError(
                f"warm_start=True continues from a fit with {name}={before[name]}, but "
                f"the new data gives {name}={value}. Expected the same; set "
                "warm_start=False to start anew."
            )


def _problem_of(fitted: Mapping[str, Any]) -> dict[str, Any]:
    r"""Return the attributes that must not change in a warm start."""
    encoder = fitted.get("_encoder")
    return {
        "classes_": fitted["classes_"].tolist(),
        "n_features_in_": fitted["n_features_in_"],
        "the shape of a row": _shape_of_a_row(fitted),
        "is_categorical_": None if encoder is None else encoder.is_categorical.tolist(),
    }


def _shape_of_a_row(fitted: Mapping[str, Any]) -> tuple[int, ...]:
    row_shape = fitted.get("_row_shape")
    # Version 0.1.0 had flat rows only.
    flat: tuple[int, ...] = fitted.get("image_shape_", (fitted["n_features_in_"],))
    return flat if row_shape is None else RowShape(*row_shape).shape


def check_validation_rows(
    estimator: BaseEstimator,
    X_val: Any,
    y_val: Any,
    sample_weight_val: ArrayLike | None,
) -> TrainingRows | None:
    r"""Validate the validation rows; None if the caller passed none."""
    if X_val is None and y_val is None and sample_weight_val is None:
        return None
    if X_val is None or y_val is None:
        raise ValueError(
            f"Got X_val={'None' if X_val is None else 'rows'} and "
            f"y_val={'None' if y_val is None else 'labels'}. Expected both of them, "
            "or neither."
        )
    try:
        features, layout = check_features(estimator, X_val, reset=False)
        labels = check_target(estimator, features, y_val)
        weight = check_weights(estimator, sample_weight_val, features)
        encoded, _ = encode_target(labels, estimator.classes_, weight)
    except (TypeError, ValueError) as error:
        # The message names X, y or sample_weight: it gets the names of the arguments.
        message = re.sub(r"\b(X|y|sample_weight)\b", r"\1_val", str(error))
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"In the validation data X_val, y_val: {message}") from error
    return TrainingRows(features, encoded, weight, weight, layout=layout)
