r"""One training of a net: checked before and after, undone after an error."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from skorch.callbacks import Callback
from skorch.helper import predefined_split
from torch import nn

from .._utils.compat import NORMS_WITH_STATISTICS
from .._utils.process import freed_memory_kept
from ..modules._base import SoftmaxModule
from .batches import BatchIterator
from .checkpoint import Checkpoint
from .ending import Ending
from .monitors import check_monitors, users_callbacks
from .scores import ValidationScore
from .skorch_net import SoftmaxNet
from .stream import Pace
from .tensor_table import TensorTable

# Numbers: a larger encoded table, of more than 512 MiB, would cost more memory than the
# time of encoding its batches is worth.
_MOST_ENCODED_NUMBERS = 2**27

# Rows that are encoded at once.
_ENCODED_ROWS = 4096


def train(
    net: SoftmaxNet,
    table: TensorTable,
    validation: TensorTable | None = None,
    epochs: int | None = None,
    observer: Callback | None = None,
    checkpoint: Checkpoint | None = None,
    pace: Pace | None = None,
    ending: Ending | None = None,
    score_rows: ValidationScore | None = None,
) -> None:
    r"""Train a net on a table.

    Parameters
    ----------
    net : SoftmaxNet
        The net; its module changes.
    table : TensorTable
        The training rows.
    validation : TensorTable, default=None
        The validation rows, if there are any.
    epochs : int, default=None
        Number of epochs at the last learning rate; the schedule of the recipe if None.
    observer : Callback, default=None
        Called before the callbacks of the net, in this training only.
    checkpoint : Checkpoint, default=None
        The state to go on from, written after each epoch.
    pace : Pace, default=None
        The sizes of the steps of a stream; full steps if None.
    ending : Ending, default=None
        What may end the training early; nothing if None.
    score_rows : ValidationScore, default=None
        A further score of the validation rows.

    Raises
    ------
    ValueError
        If a callback monitors a score that no epoch will have, or if parameters become
        infinite or NaN.
    """
    check_monitors(
        net.callbacks_,
        has_validation=validation is not None,
        has_score=score_rows is not None,
    )
    encoded = _encoded(net, [table] if validation is None else [table, validation])
    net.is_encoded = encoded is not None
    if encoded is not None:
        table, validation = encoded[0], encoded[1] if validation is not None else None
    net.train_split = None if validation is None else predefined_split(validation)
    net.ending, net.score_rows = ending, score_rows
    callbacks = net.callbacks_
    if observer is not None:
        net.callbacks_ = [("observer", observer), *callbacks]
    try:
        with freed_memory_kept():
            net.partial_fit(table, epochs=epochs, checkpoint=checkpoint, pace=pace)
        if not _is_finite(net.module_):
            raise ValueError(
                "The weights became infinite or NaN, or statistics of batch "
                f"normalization did, in epoch {len(net.history)} with "
                f"learning_rate={net.lr}. Lower learning_rate, or scale the features."
            )
    finally:
        # The fitted estimator keeps the net, but neither the data nor the observer.
        net.train_split = None
        net.is_encoded = False
        net.easy_rows_ = net.pace = net.average = None
        net.ending = net.score_rows = None
        net.callbacks_ = callbacks


def _encoded(net: SoftmaxNet, tables: list[TensorTable]) -> list[TensorTable] | None:
    r"""Return the tables with encoded rows; None if they are encoded by batches.

    These are tables in files, sparse and large ones, and tables that callbacks of the
    user may read.
    """
    module = net.module_
    if not (isinstance(module, SoftmaxModule) and module.has_encoding):
        return None
    if users_callbacks(net.callbacks_) or any(
        t.pages.is_mapped or t.is_sparse for t in tables
    ):
        return None
    with torch.no_grad():
        width = module.encode(next(iter(BatchIterator(tables[0], 1)))[0]).shape[1]
        if width * sum(map(len, tables)) > _MOST_ENCODED_NUMBERS:
            return None
        return [_encode(module, table) for table in tables]


def _encode(module: SoftmaxModule, table: TensorTable) -> TensorTable:
    r"""Return a table of the same rows, encoded."""
    batches = BatchIterator(table, _ENCODED_ROWS)
    X = torch.cat([module.encode(X) for X, _ in batches])
    return TensorTable(X, *table.targets())


@contextmanager
def net_kept(net: SoftmaxNet) -> Iterator[None]:
    r"""Restore the parameters, the moments and the history of a net after an error."""
    n_epochs = len(net.history)
    before = copy.deepcopy((net.module_.state_dict(), net.optimizer_.state_dict()))
    try:
        yield
    except BaseException:
        net.module_.load_state_dict(before[0])
        net.optimizer_.load_state_dict(before[1])
        del net.history[n_epochs:]
        raise


def _is_finite(module: nn.Module) -> bool:
    r"""Return whether all parameters and statistics of normalizations are finite."""
    statistics = [
        buffer
        for layer in module.modules()
        if isinstance(layer, NORMS_WITH_STATISTICS)
        for buffer in layer.buffers(recurse=False)
    ]
    return all(bool(x.isfinite().all()) for x in [*module.parameters(), *statistics])
