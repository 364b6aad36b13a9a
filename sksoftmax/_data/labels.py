r"""Validation of labels, sample weights, groups and class weights."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, column_or_1d

from .._utils.compat import check_sample_weight
from .._utils.estimators import shortened
from .._utils.frames import nan_for_missing
from .containers import as_column

# Dtype of labels that come as objects, by pandas' name for their kind.
_DTYPES: dict[str, Any] = {
    "integer": np.int64,
    "boolean": np.bool_,
    "floating": np.float64,
    "mixed-integer-float": np.float64,
    "decimal": np.float64,
}

# Number of classes that a message names.
_N_SHOWN = 10


def as_labels(y: Any, name: str = "y", *, warn: bool = False) -> NDArray[Any]:
    r"""Return labels of any container as an array of shape (N,).

    Numbers and booleans of dtype object get a numeric dtype; missing labels stay.
    """
    labels: NDArray[Any] = column_or_1d(as_column(y, name), warn=warn)
    if labels.dtype != object or pd.isna(labels).any():
        return labels
    return _typed(labels)


def refuse_missing(labels: NDArray[Any]) -> None:
    r"""Raise an error if labels are missing."""
    n_missing = int(pd.isna(labels).sum())
    if n_missing:
        raise ValueError(
            f"Input y contains NaN: {n_missing} of {len(labels)} labels are missing "
            "(None, NaN or NA). Expected a label for each row: drop these rows."
        )


def check_target(
    estimator: BaseEstimator, X: NDArray[np.generic], y: Any
) -> NDArray[np.generic]:
    r"""Validate labels of any kind; one for each row of X."""
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is "
            "None."
        )
    labels = as_labels(y, warn=True)
    refuse_missing(labels)
    assert_all_finite(labels, input_name="y")
    if not labels.dtype.isnative:
        # Files of machines with another byte order have them; pandas refuses them.
        labels = labels.astype(labels.dtype.newbyteorder("="))
    check_classification_targets(_sortable(labels))
    if len(labels) != X.shape[0]:
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: "
            f"X has {X.shape[0]} rows, y has {len(labels)} labels."
        )
    return labels


def _typed(labels: NDArray[Any]) -> NDArray[Any]:
    r"""Return numbers and booleans of dtype object in a numeric dtype.

    Raises
    ------
    ValueError
        If labels of dtype object are neither numbers, nor booleans, nor text.
    """
    kind = pd.api.types.infer_dtype(labels, skipna=False)
    # scikit-learn has messages for bytes and for several labels in a row.
    if kind in ("string", "empty", "bytes") or isinstance(labels[0], list | tuple):
        return labels
    if kind in _DTYPES:
        try:
            return labels.astype(_DTYPES[kind])
        except OverflowError:
            kind = "integer beyond 64 bits"
    text = [label for label in labels if isinstance(label, str)]
    if text:
        raise ValueError(
            f"y mixes text with labels of other types: {len(text)} of {len(labels)} "
            f"are text, {text[0]!r} for example. Expected labels of one type: convert "
            "them all to text, for example."
        )
    raise ValueError(
        f"Unknown label type: y holds labels of kind {kind!r}, {labels[0]!r} for "
        "example. Expected text, integers or booleans: convert the labels, for "
        "instance with y.astype(str)."
    )


def _sortable(labels: NDArray[Any]) -> NDArray[Any]:
    r"""Return integers for text, because sorting text takes most of a check."""
    is_text = len(labels) > 0 and isinstance(labels[0], str)
    sortable: NDArray[Any] = pd.factorize(labels)[0] if is_text else labels
    return sortable


def encode_target(
    y: NDArray[Any],
    classes: NDArray[Any] | None,
    sample_weight: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    r"""Return each label's index in the sorted classes, and the classes.

    If ``classes`` is None, they are the labels of the rows with a positive weight: a
    row of weight zero is the same as no row, and its index may be arbitrary. If these
    rows have a single label, all labels are classes, as in scikit-learn:
    ``BaggingClassifier`` draws such weights.
    """
    codes, present = pd.factorize(y)
    has_weight = np.ones(len(present), dtype=bool)
    if sample_weight is not None:
        has_weight = np.bincount(codes, sample_weight > 0, len(present)) > 0
    if classes is None:
        classes = np.unique(present[has_weight])
        if len(classes) < 2:
            classes = np.unique(present)
    is_known = np.isin(present, classes)
    unknown = np.sort(present[has_weight & ~is_known])
    if unknown.size:
        known = shortened([repr(label) for label in classes.tolist()], _N_SHOWN)
        raise ValueError(
            f"y contains the labels {unknown.tolist()}, but the classes are [{known}]. "
            "Expected no other label: add rows of the new classes to the first call of "
            "fit, or name them in `classes` in the first call of partial_fit."
        )
    index = np.zeros(len(present), dtype=np.int64)
    index[is_known] = np.searchsorted(classes, present[is_known])
    return index[codes], classes


def check_weights(
    estimator: BaseEstimator,
    sample_weight: ArrayLike | None,
    X: NDArray[np.generic],
) -> NDArray[np.float64] | None:
    r"""Validate sample weights: finite in sum, none negative, at least one positive."""
    if sample_weight is None:
        return None
    column: Any = sample_weight
    if not isinstance(sample_weight, numbers.Number):
        column = nan_for_missing(np.asarray(as_column(sample_weight, "sample_weight")))
        if column.dtype.kind in "mM":
            raise TypeError(
                f"Got sample_weight of dtype {column.dtype}. Expected numbers of at "
                "least 0: convert dates or durations to them."
            )
    weight: NDArray[np.float64] = check_sample_weight(column, X, dtype=np.float64)
    if (weight < 0).any():
        raise ValueError(
            f"Negative values in data passed to `sample_weight`: the smallest is "
            f"{weight.min():.3g}. Expected weights of at least 0."
        )
    with np.errstate(over="ignore"):
        is_finite = np.isfinite(weight.sum())
    if not is_finite:
        raise ValueError(
            "The sum of the weights in `sample_weight`, of which the largest is "
            f"{weight.max():.3g}, is beyond double precision. Expected at most 1.8e308 "
            "in all: divide them all by the same number."
        )
    # scikit-learn raises this itself from 1.9 on.
    if not weight.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weight


def check_groups(
    groups: ArrayLike | None, X: NDArray[np.generic]
) -> NDArray[np.int64] | None:
    r"""Return each row's group as a number from 0 on, in the order of appearance."""
    if groups is None:
        return None
    column = np.asarray(as_column(groups, "groups"))
    if column.ndim != 1 and column.shape != (X.shape[0], 1):
        raise ValueError(
            f"groups has the shape {column.shape}. Expected one entry for each row, "
            f"({X.shape[0]},): rows with equal entries belong together."
        )
    values: NDArray[Any] = column_or_1d(column)
    if len(values) != X.shape[0]:
        raise ValueError(
            f"groups has {len(values)} entries, but X has {X.shape[0]} rows. Expected "
            "one for each row: rows with equal entries belong together."
        )
    codes: NDArray[np.int64] = pd.factorize(values)[0].astype(np.int64)
    n_missing = int((codes < 0).sum())
    if n_missing:
        raise ValueError(
            f"groups contains NaN: {n_missing} of {len(values)} entries are missing. "
            "Expected a group for each row: give a row that belongs to no other a "
            "number of its own."
        )
    return codes


def class_weights(
    class_weight: str | Mapping[Any, float] | None,
    classes: NDArray[np.generic],
    y: NDArray[np.generic],
    sample_weight: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    r"""Return the weight of each class, in the order of the classes."""
    if class_weight is None:
        return np.ones(len(classes))
    if isinstance(class_weight, Mapping):
        return _named_weights(class_weight, classes)
    if sample_weight is None:
        sample_weight = np.ones(len(y))
    # A class whose weight is 0 in all rows gets 0: scikit-learn cannot balance it.
    is_weighted = sample_weight > 0
    present = np.isin(classes, y[is_weighted])
    weights = np.zeros(len(classes))
    weights[present] = compute_class_weight(
        class_weight,
        classes=classes[present],
        y=y[is_weighted],
        sample_weight=sample_weight[is_weighted],
    )
    return weights


def _named_weights(
    class_weight: Mapping[Any, float], classes: NDArray[np.generic]
) -> NDArray[np.float64]:
    r"""Return the weights in a dict, 1 for classes that it does not name.

    It may name absent classes: a fold of a cross-validation may lack rows of them.
    """
    for label, value in class_weight.items():
        if not (isinstance(value, numbers.Real) and 0 <= value < np.inf):
            raise ValueError(
                f"class_weight gives class {label!r} the weight {value!r}. "
                "Expected a finite number of at least 0."
            )
    labels = classes.tolist()
    if class_weight and not any(label in class_weight for label in labels):
        raise ValueError(
            f"class_weight names the classes {list(class_weight)}, but the classes in "
            f"y are [{shortened([repr(label) for label in labels], _N_SHOWN)}]. "
            "Expected a weight of at least one of them."
        )
    return np.array([float(class_weight.get(label, 1.0)) for label in labels])
