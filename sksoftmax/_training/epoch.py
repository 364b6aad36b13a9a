r"""The records of an epoch in skorch's history."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from itertools import islice

from skorch.history import History

from .losses import EpochTotals, ValidationTotals


def record_epoch(
    history: History, prefix: str, totals: EpochTotals, learning_rate: float
) -> None:
    r"""Record the scores of an epoch on training or on validation rows.

    Raises
    ------
    ValueError
        If the loss is infinite or NaN.
    """
    loss = totals.loss()
    if not math.isfinite(loss):
        raise ValueError(
            f"The {prefix} loss became {loss} in epoch {len(history)} with "
            f"{learning_rate=}. Lower learning_rate, or scale the features."
        )
    record(history, f"{prefix}_loss", loss, operator.lt)
    if isinstance(totals, ValidationTotals):
        record(history, "valid_acc", totals.accuracy(), operator.gt)
        score = totals.score()
        if score is not None:
            record(history, "valid_score", score, operator.gt)
    history.record(f"{prefix}_batch_count", len(totals.batch_sizes))


def record_batches(history: History, prefix: str, totals: EpochTotals) -> None:
    r"""Record the loss of each batch, after the last one."""
    losses = totals.batch_losses()
    for loss, size in zip(losses, totals.batch_sizes, strict=True):
        history.new_batch()
        history.record_batch(f"{prefix}_loss", loss)
        history.record_batch(f"{prefix}_batch_size", size)


def record(
    history: History,
    name: str,
    value: float,
    is_better: Callable[[float, float], bool],
) -> None:
    r"""Record a score of the last epoch, and whether it is the best so far."""
    # The last epoch that was the best so far; it is rarely far back.
    best = next(
        (
            row[name]
            for row in islice(reversed(history), 1, None)
            if row.get(f"{name}_best")
        ),
        None,
    )
    history.record(name, value)
    history.record(f"{name}_best", best is None or is_better(value, best))
