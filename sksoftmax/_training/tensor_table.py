r"""Tables of tensors: features, labels and weights of the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from skorch.dataset import Dataset
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from .._data.row_shapes import RowLayout
from .._utils.arrays import as_sparse_tensor, convert
from .._utils.memmap import Pages

# Features, and what the loss needs: labels and weights.
Batch = tuple[Tensor, tuple[Tensor, Tensor | None]]


def unfolded(rows: Tensor, layout: RowLayout | None) -> Tensor:
    r"""Return flat rows with their axes; as they are if there is no layout."""
    return rows if layout is None else layout.unfolded(rows)


class TensorTable(Dataset):
    r"""Features, labels and weights of the same rows, on one device.

    Features in a large file are the exception: they stay there until they are in a
    batch. A dataset of skorch, whose callbacks read the attributes ``X`` and ``y``.

    Parameters
    ----------
    X : Tensor or sparse matrix of shape (n_samples, n_features)
        The features in their original dtype; only batches are converted. The batches
        of a matrix of scipy, in CSR format, are sparse tensors.
    y : Tensor of shape (n_samples,), int64
        The classes' indices.
    sample_weight : Tensor of shape (n_samples,) or (n_samples, n_members), float32, \
            default=None
        Weight of each row, for each member of an ensemble if they differ; all the same
        if None.
    rows : Tensor of shape (n_rows,), int64, default=None
        The rows that belong to this table; all if None. A subset shares ``X``.
    dtype : torch.dtype, default=None
        The features of a batch are converted to it; not at all if None.
    pages : Pages, default=None
        Counts the rows that were read from a file; made for ``X`` if None.
    layout : RowLayout, default=None
        The axes that rows have in a batch; none if None.
    """

    def __init__(
        self,
        X: Any,
        y: Tensor | None = None,
        sample_weight: Tensor | None = None,
        rows: Tensor | None = None,
        dtype: torch.dtype | None = None,
        pages: Pages | None = None,
        layout: RowLayout | None = None,
    ) -> None:
        # skorch's constructor would only find out how to index X and y.
        self.is_sparse = issparse(X)
        self.stored_X = X if self.is_sparse else torch.as_tensor(X)
        if y is None:
            y = self.stored_X.new_zeros(len(X), dtype=torch.int64)
        self.stored_y = y
        self.sample_weight = sample_weight
        self.rows = rows
        self.dtype = dtype
        self.pages = Pages(X) if pages is None else pages
        self.layout = layout

    @property
    def X(self) -> Tensor:  # noqa: N802 - skorch's name
        r"""The features of the rows that belong to this table: a copy of a subset."""
        if self.rows is not None:
            return self.features(self.rows)
        if self.is_sparse:
            return self._sparse_rows(slice(None))
        return unfolded(self.stored_X, self.layout)

    @property
    def y(self) -> Tensor:
        r"""The labels of the rows that belong to this table."""
        return self.targets()[0]

    def __len__(self) -> int:
        return self.stored_X.shape[0] if self.rows is None else len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        r"""Return the features and the label of a row, as callbacks of skorch expect.

        Batches are taken by :meth:`take`, with their weights.
        """
        if not -len(self) <= index < len(self):
            # It ends a loop over the rows.
            raise IndexError(f"Got row {index} of {len(self)}.")
        index %= len(self)
        row = index if self.rows is None else int(self.rows[index])
        X, (y, _) = self.take(torch.tensor([row], device=self.stored_y.device))
        return X[0], y[0]

    def take(self, index: Tensor, X: Tensor | None = None) -> Batch:
        r"""Return the batch of the rows of ``X`` at an index, with features if given.

        Parameters
        ----------
        index : Tensor of shape (batch_size,), int64
            The rows.
        X : Tensor of shape (batch_size, ...), default=None
            Their features, if they are varied; those that are stored if None.
        """
        weight = self.sample_weight
        return (
            self.features(index) if X is None else X,
            (
                self.stored_y.index_select(0, index),
                None if weight is None else weight.index_select(0, index),
            ),
        )

    def features(self, index: Tensor) -> Tensor:
        r"""Return the rows of ``X`` at an index, where and as the module takes them."""
        return convert(self.stored(index), self.dtype)

    def stored(self, index: Tensor) -> Tensor:
        r"""Return the rows of ``X`` at an index with their axes, in their dtype."""
        if self.is_sparse:
            return self._sparse_rows(index.cpu().numpy())
        if not self.pages.is_mapped:
            return unfolded(self.stored_X.index_select(0, index), self.layout)
        X = torch.from_numpy(self.pages.take(index.cpu().numpy()))
        return unfolded(X, self.layout).to(self.stored_y.device)

    def local(self, index: Tensor) -> Tensor:
        r"""Return the index of the rows of a batch that are stored here: all."""
        return index

    def targets(self) -> tuple[Tensor, Tensor | None]:
        r"""Return the labels and weights of the rows that belong to this table."""
        return self._targets(slice(None) if self.rows is None else self.rows)

    def _targets(self, index: Tensor | slice) -> tuple[Tensor, Tensor | None]:
        weight = self.sample_weight
        return self.stored_y[index], None if weight is None else weight[index]

    def _sparse_rows(self, index: Any) -> Tensor:
        rows = convert(as_sparse_tensor(self.stored_X[index]), self.dtype)
        return rows.to(self.stored_y.device)

    def slice(self, start: int, stop: int) -> Batch:
        r"""Return consecutive rows of a table that holds all rows."""
        if self.is_sparse:
            index = slice(start, stop)
            return self._sparse_rows(index), self._targets(index)
        X = self.stored_X[start:stop]
        # A copy: a user's module may change it in place.
        X = unfolded(X.to(self.dtype or X.dtype, copy=True), self.layout)
        self.pages.read(len(X))
        return X.to(self.stored_y.device), self._targets(slice(start, stop))


def as_tensors(X: Any, y: Any, device: str) -> tuple[Tensor, Tensor | None]:
    r"""Return rows and labels of the forms that skorch's nets take, as tensors.

    Parameters
    ----------
    X : array-like, Tensor or Dataset
        The rows; a dataset has them with their labels.
    y : array-like of shape (n_samples,) or None
        The classes' indices, from 0 on.
    device : str
        The device of the tensors.
    """
    if isinstance(X, TorchDataset):
        pairs = [X[index] for index in range(len(X))]  # type: ignore[arg-type]
        X = torch.stack([torch.as_tensor(pair[0]) for pair in pairs])
        y = [int(pair[1]) for pair in pairs] if y is None else y
    if y is not None:
        labels = y.cpu().numpy() if isinstance(y, Tensor) else np.asarray(y)
        if labels.dtype.kind not in "iub" or labels.ndim != 1:
            raise ValueError(
                f"Got y of dtype {labels.dtype} and shape {labels.shape}, but net_ "
                "expected the classes' indices, from 0 on. Call the classifier's "
                "own methods for other labels."
            )
        y = torch.as_tensor(labels.astype(np.int64)).to(device)
    return torch.as_tensor(X).to(device), y
