r"""Predictions: logits of pieces of rows, and labels and probabilities from them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from .._data.containers import as_column
from .._data.features import check_features
from .._data.labels import as_labels
from .._data.row_shapes import RowLayout
from .._training.tensor_table import unfolded
from .._utils.array_api import Place, check_same_place, moved, rows_place
from .._utils.arrays import (
    as_sparse_tensor,
    as_tensor,
    canonical,
    convert,
    with_values,
)
from .._utils.devices import has_float64
from .._utils.memmap import Pages
from ..modules._base import largest_product_of
from ..modules._ensemble import average_views
from ..modules._linear import SoftmaxLinear
from ..modules._output_checks import token_error

# Logits: sums and differences of smaller ones are far from the limits of float32.
_LARGE_LOGIT = 1e15


def large_rows(logits: Tensor) -> Tensor | None:
    r"""Return indices of rows with a large, infinite or NaN logit; None without any.

    The norm of all logits is read first: if it is finite, there is no such row.
    """
    if math.isfinite(torch.linalg.vector_norm(logits)):
        return None
    rows = (~(logits.abs().amax(1) < _LARGE_LOGIT)).nonzero().flatten()
    return rows if len(rows) else None


def recomputed(
    module: nn.Module,
    forward: Callable[[Tensor, nn.Module], Tensor],
    parts: Iterable[Tensor],
) -> Tensor:
    r"""Return the logits of rows in float64, whose range is wide enough.

    Raises
    ------
    ValueError
        If logits are infinite or NaN in float64 as well.
    """
    wide = copy.deepcopy(module).cpu().double()
    try:
        logits = torch.cat([forward(part, wide) for part in parts])
    except RuntimeError as error:
        raise ValueError(
            "The module's logits are infinite or NaN in float32, and in float64 it "
            f"failed ({error}). Scale the features, for instance with a StandardScaler "
            "in a Pipeline."
        ) from error
    if not logits.amax(1).isfinite().all():
        raise ValueError(
            "The module's logits are infinite or NaN for some rows, and so would be "
            "probabilities. Scale the features, for instance with a StandardScaler in "
            "a Pipeline; or fit again, if parameters were changed by hand."
        )
    return logits


def into_range(logits: Tensor, dtype: torch.dtype) -> Tensor:
    r"""Convert float64 logits; rows that are too large for the dtype are shifted.

    The largest logit of such a row becomes 0, which changes no probability.
    """
    if dtype == logits.dtype:
        return logits
    converted = logits.to(dtype)
    rows = large_rows(converted)
    if rows is None:
        return converted
    shifted = logits[rows]
    shifted -= shifted.amax(1, keepdim=True)
    lowest = torch.finfo(dtype).min
    # A logit of minus infinity, of an impossible class, stays so.
    shifted = torch.where(shifted.isinf(), shifted, shifted.clamp(min=lowest))
    return logits.index_copy(0, rows, shifted).to(dtype)


# Rows: a smaller batch is filled up with zeros. Matrix libraries round differently for
# few rows, and a prediction must not depend on the number of rows beside it.
_FEWEST_ROWS = 16
# Multiplications of a layer per row, from which on zeros would multiply the cost.
_COSTLY_PRODUCT = 2**18


class PredictionMixin:
    r"""Predictions of an estimator whose fitted module maps rows to logits."""

    classes_: NDArray[Any]
    module_: Any
    device_: torch.device

    # True if the module is the user's: it takes float32 rows, or int64 rows, may change
    # them in place, and may draw from PyTorch's global generators.
    _has_user_module: ClassVar[bool] = False

    # True if that module takes whole numbers only, as an embedding of tokens does.
    _takes_integers: bool = False

    # Library and device of the rows of the fit; None if these are NumPy's and the CPU.
    _rows_place: Place | None = None

    # The inputs of that module, if it has several.
    _inputs: tuple[tuple[Any, ...], ...] | None

    # Columns up to which a sparse table becomes dense; a wider one is trained in sparse
    # batches. None if the estimator has no use for sparse batches.
    _most_dense_columns: ClassVar[int | None] = None

    # Rows per forward pass: about as many as a processor's cache holds.
    _prediction_rows = 2048

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        r"""Predict the most probable class of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows, in any form that ``fit`` takes.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels, of the type that ``fit`` was given.
        """
        logits, place = self._logits(X, "predict")
        labels: NDArray[Any] = moved(self._labels(logits), place)
        return labels

    def predict_proba(self, X: ArrayLike) -> NDArray[np.floating[Any]]:
        r"""Predict the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows, in any form that ``fit`` takes.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Rows sum to 1; columns in the order of ``classes_``. float32 if ``X`` is
            float32, else float64.
        """
        probabilities: NDArray[np.floating[Any]]
        logits, place = self._logits(X, "predict_proba")
        probabilities = moved(logits.softmax(1), place)
        return probabilities

    def predict_log_proba(self, X: ArrayLike) -> NDArray[np.floating[Any]]:
        r"""Predict the logarithm of each class's probability.

        Computed from the logits, so that it is finite where the probability itself
        is too small for a float.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows, in any form that ``fit`` takes.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        log_probabilities: NDArray[np.floating[Any]]
        logits, place = self._logits(X, "predict_log_proba")
        log_probabilities = moved(logits.log_softmax(1), place)
        return log_probabilities

    def score(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        r"""Return the accuracy of the predictions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows, in any form that ``fit`` takes.
        y : array-like of shape (n_samples,)
            Their labels, in any container that ``fit`` takes.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row; all equal if None.

        Returns
        -------
        score : float
            The share of the rows, or of their weight, whose class is predicted.
        """
        weight = (
            None if sample_weight is None else as_column(sample_weight, "sample_weight")
        )
        predicted = self._labels(self._logits(X, "score")[0])
        return float(accuracy_score(as_labels(y), predicted, sample_weight=weight))

    def decision_function(self, X: ArrayLike) -> NDArray[np.floating[Any]]:
        r"""Return the logits.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows, in any form that ``fit`` takes.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            One column per class; with two classes, the difference of their logits,
            positive where the second class is more probable.
        """
        logits, place = self._logits(X, "decision_function")
        if len(self.classes_) == 2:
            logits = logits[:, 1] - logits[:, 0]
        scores: NDArray[np.floating[Any]] = moved(logits, place)
        return scores

    def _follow(self, X: Any) -> None:
        r"""Let fitted arrays be where the rows of the fit are; in NumPy for None."""
        place = rows_place(X)
        if place is not None:
            self._rows_place = place
        else:
            self.__dict__.pop("_rows_place", None)

    def _labels(self, logits: Tensor) -> NDArray[Any]:
        labels: NDArray[Any] = self.classes_[logits.argmax(1).cpu().numpy()]
        return labels

    def _logits(self, X: ArrayLike, method: str) -> tuple[Tensor, Place | None]:
        r"""Return the logits of rows for a method, and where its results belong."""
        if not hasattr(self, "module_"):
            # Called for its error alone: for one row it takes as long as a layer.
            check_is_fitted(self)
        place = rows_place(X)
        check_same_place(self, method, place, self._rows_place)
        features, layout = check_features(self, X, reset=False)
        return self._logits_of(features, layout), place

    def _logits_of(self, features: NDArray[Any], layout: RowLayout | None) -> Tensor:
        r"""Return the logits of validated rows."""
        dtype = torch.float32 if features.dtype == np.float32 else torch.float64
        if issparse(features) and isinstance(self.module_, SoftmaxLinear):
            return into_range(self.module_.forward_sparse(features), dtype)
        if self.module_.training:
            self.module_.eval()
        if issparse(features):
            return self._sparse_logits(canonical(features), dtype)
        pages = Pages(features)
        with torch.inference_mode():
            rows = as_tensor(features)
            try:
                logits = self._in_pieces(rows, pages, layout).cpu().to(dtype)
            except (IndexError, RuntimeError) as error:
                if not self._takes_integers:
                    raise
                raise token_error(rows, error) from error
            large = large_rows(logits)
            if large is None:
                return logits
            rows = unfolded(as_tensor(pages.take(large.numpy())), layout)
            rows = rows.cpu().to(torch.int64 if self._takes_integers else torch.float64)
            parts = torch.split(rows, self._prediction_rows)
            wide = recomputed(self.module_, self._forward, parts)
            return logits.index_copy(0, large, into_range(wide, dtype))

    def _sparse_logits(self, features: Any, dtype: torch.dtype) -> Tensor:
        r"""Return the logits of validated rows of a sparse matrix."""

        def pieces(matrix: Any) -> Iterable[Tensor]:
            for start in range(0, matrix.shape[0], self._prediction_rows):
                yield as_sparse_tensor(matrix[start : start + self._prediction_rows])

        with torch.inference_mode():
            logits = torch.cat(
                [
                    self._forward(self._to_device(piece), self.module_)
                    for piece in pieces(features)
                ]
            )
            logits = logits.cpu().to(dtype)
            large = large_rows(logits)
            if large is None:
                return logits
            rows = features[large.numpy()].astype(np.float64)
            wide = recomputed(self.module_, self._forward, pieces(rows))
            return logits.index_copy(0, large, into_range(wide, dtype))

    def _in_pieces(
        self, rows: Tensor, pages: Pages, layout: RowLayout | None
    ) -> Tensor:
        n_rows = self._prediction_rows
        if len(rows) <= n_rows:
            return self._forward(self._batch(rows, layout), self.module_)
        first, *later = torch.split(rows, n_rows)
        start = self._forward(self._batch(first, layout), self.module_)
        # One large tensor: small ones would split the memory that pieces free.
        logits = start.new_empty(len(rows), start.shape[1])
        logits[:n_rows] = start
        for number, piece in enumerate(later, 1):
            part = self._forward(self._batch(piece, layout), self.module_)
            logits[number * n_rows :][: len(piece)] = part
            pages.read(len(piece))
        return logits

    @property
    def _input_dtype(self) -> torch.dtype | None:
        r"""Dtype of batches; None if the module converts them itself."""
        if not self._has_user_module or self._inputs is not None:
            return None
        return torch.int64 if self._takes_integers else torch.float32

    def _batch(self, rows: Tensor, layout: RowLayout | None) -> Tensor:
        r"""Return rows as the module takes them: on its device, with axes and dtype."""
        batch = unfolded(self._to_device(rows), layout)
        if not self._has_user_module:
            return batch
        batch = convert(batch, self._input_dtype)
        # The module may work in place, and these rows may be the caller's.
        return batch.clone() if batch.data_ptr() == rows.data_ptr() else batch

    def _forward(self, rows: Tensor, module: nn.Module) -> Tensor:
        logits = [self._view_logits(view, module) for view in self._views(rows)]
        return logits[0] if len(logits) == 1 else average_views(torch.stack(logits))

    def _views(self, rows: Tensor) -> list[Tensor]:
        r"""Return the views of the rows, variants whose predictions are averaged."""
        return [rows]

    def _view_logits(self, rows: Tensor, module: nn.Module) -> Tensor:
        n_missing = _FEWEST_ROWS - len(rows)
        if n_missing <= 0 or largest_product_of(module) >= _COSTLY_PRODUCT:
            logits: Tensor = module(rows)
            return logits
        if rows.is_sparse:
            filled = with_values(rows, rows.values(), _FEWEST_ROWS)
        else:
            filled = torch.cat([rows, rows.new_zeros(n_missing, *rows.shape[1:])])
        logits = module(filled)[: len(rows)]
        return logits

    def _to_device(self, tensor: Tensor) -> Tensor:
        if tensor.dtype == torch.float64 and not has_float64(self.device_):
            tensor = tensor.float()
        return tensor.to(self.device_)
