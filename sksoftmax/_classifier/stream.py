r"""Streams: rows that come in pieces, by calls of ``partial_fit``."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .._data.training_rows import TrainingRows
from .._training.stream import FirstRows, Pace
from .._training.train import net_kept
from .._utils.progress import FitReport
from .plan import Plan
from .training import TrainedClassifier


class StreamedClassifier(TrainedClassifier):
    r"""Training for one epoch on each piece of a stream."""

    def _learn_piece(
        self, data: TrainingRows, report: FitReport, *, is_first_call: bool
    ) -> None:
        r"""Train on validated rows; a net of ``fit`` or of a former call goes on."""
        rows = data.indices()
        net = None if is_first_call else getattr(self, "net_", None)
        goes_on = net is not None and net.recipe is not None
        if net is None:
            self._begin_stream(data, rows)
        pace = Pace(self.n_samples_seen_, self._n_fitted)
        self.n_samples_seen_ += len(rows)
        self._weight_seen += data.total_weight(rows)
        plan = self._plan(data, rows, is_new=net is None, is_stream=True)
        # After an error, a new net is dropped, and another gets its state back.
        with net_kept(self.net_) if goes_on else nullcontext():
            if not goes_on:
                module = None if net is None else self.module_
                self._build(plan, data, rows, module, is_stream=True)
            elif pace.is_first_after_fit:
                # The optimizer's moments are those of learned rows, near zero.
                self.net_.optimizer_.state.clear()
            self._learn_from_first_rows(plan, data, rows)
            self._adapt_net(pace)
            table = self._table(data, rows, data.loss_weight)
            self._train(plan, table, None, report, epochs=1, pace=pace)

    def _begin_stream(self, data: TrainingRows, rows: NDArray[np.int64]) -> None:
        r"""Count from zero, and keep the first rows if there are few."""
        self.n_samples_seen_ = self._n_fitted = 0
        self._weight_seen = 0.0
        first = FirstRows.begin(data, rows)
        if first is not None:
            self._first_rows = first

    def _learn_from_first_rows(
        self, plan: Plan, data: TrainingRows, rows: NDArray[np.int64]
    ) -> None:
        r"""Learn the scaling of the inputs again early in a stream."""
        if self._first_rows is None:
            return
        first = self._first_rows.extended(data, rows)
        if first.is_due:
            known = first.as_data()
            if not plan.learn_inputs(self.module_, known, known.indices()):
                del self._first_rows
                return
            first = replace(first, n_learned=len(first.X))
        if first.is_complete:
            del self._first_rows
        else:
            self._first_rows = first

    def _adapt_net(self, pace: Pace) -> None:
        r"""Set the batch size and the weight decay, which depend on the rows seen."""
        recipe = self.net_.recipe
        if recipe.largest_stream_batch is not None and not self._n_fitted:
            self.net_.batch_size = pace.batch_size(
                self.n_samples_seen_, recipe.largest_stream_batch
            )
        if recipe.decay_of_weight is not None:
            decay = recipe.decay_of_weight(self._weight_seen)
            for group in self.net_.optimizer_.param_groups:
                # Groups without decay, of intercepts for example, stay so.
                if group["weight_decay"]:
                    group["weight_decay"] = decay
