r"""Inputs of the perceptron: bins, missing values, and the scaling of sparse rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from torch import nn

from .._data.training_rows import TrainingRows
from ..modules._scaling import InputScaling
from . import mlp_defaults
from .mlp_bins import (
    check_n_bins,
    find_bins,
    has_missing,
    learn_scaling_and_bins,
    with_parts,
)

if TYPE_CHECKING:
    from .mlp import SoftmaxMLPClassifier

# Ratio to the usual size of nonzero values up to which a column keeps its size.
_SAME_SIZE = 10.0


class InputPlan(NamedTuple):
    r"""What a fit has to know of its inputs before the module is built."""

    attributes: dict[str, Any]
    learn: Callable[[Any, TrainingRows, NDArray[np.int64]], bool]
    is_sparse: bool


def plan_inputs(
    classifier: SoftmaxMLPClassifier,
    data: TrainingRows,
    rows: NDArray[np.int64],
    *,
    is_new: bool,
) -> InputPlan:
    r"""Return the attributes of a new fit, and how its inputs are learned.

    Raises
    ------
    ValueError
        If ``n_bins`` does not fit to the features, or would make sparse rows dense.
    """
    if not is_new:
        learn = partial(learn_scaling_and_bins, n_bins=classifier.n_bins_)
        is_sparse = classifier._is_sparse
        return InputPlan({}, learn_sparse_scaling if is_sparse else learn, is_sparse)
    is_first_piece, is_sparse = classifier._first_rows is not None, issparse(data.X)
    n_features = classifier.n_features_in_
    numbers = mlp_defaults.numbers_of(classifier.defaults)
    n_bins = check_n_bins(
        classifier.n_bins, len(rows), n_features, classifier._encoder, numbers
    )
    if is_sparse and n_bins.any():
        raise ValueError(
            f"Got n_bins={classifier.n_bins!r} with sparse X of {n_features} columns, "
            "but bins would make each row dense. Expected n_bins='auto' or None."
        )
    n_bins, bins = with_parts(n_bins, classifier._date_columns), None
    if not is_first_piece:
        bins = find_bins(data, rows, n_bins)
        n_bins = bins.numbers
    attributes = {
        "_is_sparse": is_sparse,
        "n_bins_": n_bins,
        "_has_missing": has_missing(data, rows, is_first_piece, numbers),
        "_half_with_bins": mlp_defaults.half_with_bins(len(rows), numbers),
    }
    learn = partial(learn_scaling_and_bins, n_bins=n_bins, bins=bins)
    return InputPlan(
        attributes, learn_sparse_scaling if is_sparse else learn, is_sparse
    )


def learn_sparse_scaling(
    module: Any, data: TrainingRows, rows: NDArray[np.int64]
) -> bool:
    r"""Let a module learn to divide features so that nonzero values are about 1.

    Columns of about the same size are divided by the same number: TF-IDF means that
    rare words count more. Zeros stay zero. Returns False if there is no scaling.
    """
    scaling: nn.Module = module.input_scaling
    if not isinstance(scaling, InputScaling):
        return False
    weight = np.ones(len(rows))
    if data.sample_weight is not None:
        weight = data.sample_weight[rows]
    size, total = _sizes(csr_array(data.X[rows]), weight)
    scale = size
    if total.any():
        # The weighted median of the sizes.
        order = np.argsort(size)
        middle = np.searchsorted(np.cumsum(total[order]), total.sum() / 2)
        usual = size[order[middle]]
        ratio = size / usual
        scale = size / ratio.clip(1 / _SAME_SIZE, _SAME_SIZE)
    scaling.set_scale(torch.from_numpy(scale), torch.tensor(weight.sum()))
    return True


def _sizes(
    X: Any, weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Return the root mean square of each column's nonzero values, and their weight.

    Missing values are left out.
    """
    known = np.nan_to_num(X.data.astype(np.float64), nan=0.0)
    of_value = np.repeat(weight, np.diff(X.indptr)) * (known != 0)
    n_columns = X.shape[1]
    total = np.bincount(X.indices, of_value, n_columns).astype(np.float64)
    largest = np.zeros(n_columns)
    np.maximum.at(largest, X.indices, np.abs(known))
    # Relative to the largest value, squares of huge values are finite.
    relative = known / np.where(largest > 0, largest, 1.0)[X.indices]
    squares = np.bincount(X.indices, of_value * relative**2, n_columns)
    return largest * np.sqrt(squares / np.where(total > 0, total, 1.0)), total
