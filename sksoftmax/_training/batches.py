r"""Batches that are cut from a table of tensors, in order or shuffled."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .augmentation import BatchAugmentation
from .pruning import EasyRows
from .tensor_table import Batch, TensorTable


class BatchIterator:
    r"""Batches of a table, each by one indexing operation, unlike a ``DataLoader``.

    Parameters
    ----------
    dataset : TensorTable
        The table.
    batch_size : int
        Number of rows per batch. A last batch of one row is joined with the batch
        before it, since batch normalization needs two rows.
    shuffle : bool, default=False
        Whether each epoch visits the rows in a new random order.
    generator : torch.Generator, default=None
        Draws the order; PyTorch's global generator if None.

    Attributes
    ----------
    selection : EasyRows or None
        Selects the rows of an epoch; all of them if None.
    augmentation : BatchAugmentation or None
        Varies the images of each batch; they stay as they are if None.
    """

    def __init__(
        self,
        dataset: TensorTable,
        batch_size: int,
        shuffle: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.generator = generator
        self.selection: EasyRows | None = None
        self.augmentation: BatchAugmentation | None = None
        # Number of rows in the epoch that began last.
        self._n_rows = len(dataset)

    def __len__(self) -> int:
        return len(self._sizes())

    def __iter__(self) -> Iterator[Batch]:
        table = self.dataset
        if not self.shuffle and table.rows is None:
            return self._slices()
        # Drawn before the first batch, so that `len` is that of this epoch.
        order, take = self._order(), table.take
        if self.selection is not None:
            order, take = self.selection.choose(order), self.selection.take
            self._n_rows = len(order)
        indices = torch.split(order, self._sizes())
        if self.augmentation is None:
            return map(take, indices)
        return self.augmentation.batches(table, indices, take, self.generator)

    def _slices(self) -> Iterator[Batch]:
        start = 0
        for n_rows in self._sizes():
            yield self.dataset.slice(start, start + n_rows)
            start += n_rows

    def _order(self) -> Tensor:
        table = self.dataset
        order = table.rows
        if self.shuffle:
            # Drawn on the CPU, so that every device sees the same order.
            shuffled = torch.randperm(len(table), generator=self.generator)
            shuffled = shuffled.to(table.stored_y.device)
            order = shuffled if order is None else order[shuffled]
        assert order is not None
        return order

    def _sizes(self) -> list[int]:
        n_batches, n_rows_left = divmod(self._n_rows, self.batch_size)
        sizes = [self.batch_size] * n_batches
        if n_rows_left == 1 and sizes:
            sizes[-1] += 1
        elif n_rows_left:
            sizes.append(n_rows_left)
        return sizes
