r"""The training engine: a skorch net that costs what the arithmetic costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EpochTimer, PrintLog, ProgressBar
from torch import Tensor

from .._data.hold_out import predict_by, row_weight, unseen_by
from .averaging import ParameterAverage
from .batches import BatchIterator
from .callbacks import EpochReport, interrupts_stop_training, listen
from .checkpoint import Checkpoint
from .ending import Ending, early_end
from .epoch import record_batches, record_epoch
from .gradients import clip_gradients, nothing_learns, set_gradients
from .losses import (
    EpochTotals,
    ValidationTotals,
)
from .monitors import (
    missing_validation_explained,
    users_callbacks,
)
from .optimizers import make_gradients_dense, merged_groups
from .parameter_groups import frozen_norms, parameters_frozen, set_frozen
from .pruning import EasyRows
from .recipe import Recipe
from .restarts import Round, has_gained, has_stalled, plan_rounds, underfits
from .schedules import StepSchedule
from .scores import ValidationScore
from .stream import FEWEST_NORMALIZED, Pace, running_statistics
from .tensor_table import Batch, TensorTable, as_tensors


class _Data(NamedTuple):
    r"""The data of a training: skorch's datasets, and the batches made of them."""

    datasets: dict[str, TensorTable | None]
    training: BatchIterator
    validation: BatchIterator | None


class SoftmaxNet(NeuralNetClassifier):
    r"""A skorch net whose loop does per batch only what a callback needs.

    Everything that is public in :class:`skorch.NeuralNetClassifier` works: history,
    callbacks, ``predict``, ``predict_proba``, ``save_params``. Its classes are 0 to
    C - 1, the positions of the labels in the estimator's ``classes_``. Differences: a
    batch is cut from tensors by one operation, the loss has sample weights, the
    learning rate follows a schedule by step, and losses are recorded by epoch; they are
    also recorded by batch, as in skorch, if the user gave callbacks. Ctrl-C raises a
    KeyboardInterrupt.

    Parameters
    ----------
    *args : tuple
        Positional parameters of the skorch net.
    recipe : Recipe or None, default=None
        How the net is trained; None if it cannot be: an exact solver fitted the module,
        or it was loaded from a file.
    **kwargs : dict
        Other parameters of the skorch net.
    """

    def __init__(self, *args: Any, recipe: Recipe | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.recipe: Any = recipe
        self.pace: Pace | None = None
        # The average of the parameters, while `fit` computes one.
        self.average: ParameterAverage | None = None
        # Early ends of the training, and the score of the validation rows.
        self.ending: Ending | None = None
        self.score_rows: ValidationScore | None = None
        # Patterns of the names of parameters that do not learn in this epoch.
        self.frozen: tuple[str, ...] = ()
        # True while the batches are encoded rows.
        self.is_encoded = False

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        return [("epoch_timer", EpochTimer()), ("print_log", PrintLog())]

    @property
    def remembering_callbacks(self) -> dict[str, Callback]:
        r"""The callbacks with a state of the training: all but timers and displays."""
        return {
            name: callback
            for name, callback in self.callbacks_
            if not isinstance(
                callback, EpochTimer | PrintLog | ProgressBar | EpochReport
            )
        }

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        # It is ``module_``, which the state holds already.
        state["module"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.module = self.module_

    def initialize_optimizer(self, triggered_directly: Any = None) -> SoftmaxNet:
        if self.recipe is None:
            # The first optimizer imports PyTorch's compiler, which takes seconds.
            self.optimizer_: Any = None
            return self
        if next(self.module_.parameters(), None) is None:
            raise ValueError(nothing_learns(self.module_))
        super().initialize_optimizer()
        groups = self.optimizer_.param_groups
        groups[:] = merged_groups(groups)
        return self

    def get_loss(
        self,
        y_pred: Tensor,
        y_true: Any,
        X: Tensor | None = None,
        training: bool = False,
    ) -> Tensor:
        # A caller may pass labels alone, without weights, as to skorch's nets.
        targets = (y_true, None) if isinstance(y_true, Tensor) else y_true
        loss: Tensor = self.criterion_(y_pred, *targets)
        return loss

    def get_dataset(self, X: Any, y: Any = None) -> Any:
        r"""Return a table of rows; arrays and datasets of pairs are converted.

        Parameters
        ----------
        X : TensorTable, array-like, Tensor or Dataset
            The rows; a dataset has them with their labels.
        y : array-like of shape (n_samples,), default=None
            The classes' indices, from 0 on.
        """
        if isinstance(X, TensorTable):
            return X
        return super().get_dataset(*as_tensors(X, y, self.device))

    def infer(self, x: Tensor, **fit_params: Any) -> Tensor:
        logits: Tensor
        logits = self.module_.forward_encoded(x) if self.is_encoded else self.module_(x)
        return logits

    def partial_fit(
        self, X: Any, y: Any = None, classes: Any = None, **fit_params: Any
    ) -> SoftmaxNet:
        if not self.initialized_:
            self.initialize()
        self.notify("on_train_begin", X=X, y=y)
        self.fit_loop(X, y, **fit_params)
        self.notify("on_train_end", X=X, y=y)
        return self

    def fit_loop(
        self,
        X: Any,
        y: Any = None,
        epochs: int | None = None,
        checkpoint: Checkpoint | None = None,
        pace: Pace | None = None,
        **fit_params: Any,
    ) -> SoftmaxNet:
        if self.recipe is None:
            raise ValueError(
                "net_ has no optimizer: an exact solver fitted the classifier, or it "
                "was loaded from a file. Expected a call of the classifier's own "
                "partial_fit, which makes one."
            )
        self.pace = pace
        # A given number of epochs goes on where a schedule has ended.
        is_further = epochs is not None
        schedule = "constant" if is_further else self.recipe.lr_schedule
        n_restarts = 0 if is_further else self.recipe.n_restarts
        n_epochs = self.max_epochs if epochs is None else epochs
        decay = None if is_further else self.recipe.weight_averaging
        train, valid = self.get_split_datasets(X, y, **fit_params)
        data = self._begin_training(train, valid, decay)
        n_steps_before = self.optimizer_.n_done
        first = 0
        if checkpoint is not None:
            first = checkpoint.n_epochs
            checkpoint.resume(self)
        rounds = plan_rounds(n_epochs, n_restarts)
        with early_end(self, first):
            self._run_rounds(rounds, schedule, first, data, checkpoint)
        if n_epochs and self.optimizer_.n_done == n_steps_before:
            raise ValueError(nothing_learns(self.module_))
        if self.average is not None:
            self.average.apply()
        return self

    def _run_rounds(
        self,
        rounds: Sequence[Round],
        schedule: str,
        first: int,
        data: _Data,
        checkpoint: Checkpoint | None,
    ) -> None:
        r"""Train for the first round and for the restarts that follow."""
        for current in rounds:
            if not self._begins(current):
                break
            self.round_ = current
            self._start_schedule(schedule, first)
            with self._round_context():
                epoch = max(first, current.start)
                while epoch < self.round_.end and not self.stop_training_:
                    self._run_epoch(epoch, data, checkpoint)
                    epoch += 1
                    self._shorten(epoch)

    def _shorten(self, n_done: int) -> None:
        r"""Shorten the round if its epochs do not end before the time limit."""
        if self.ending is None:
            return
        start, end = self.round_
        n_ahead = end - n_done
        if not self.ending.allows(n_ahead):
            n_ahead = self.ending.epochs_that_fit(n_ahead)
            self.round_ = Round(start, n_done + n_ahead)
            self.schedule_.shorten(n_ahead)

    def _begin_training(
        self, train: TensorTable, valid: TensorTable | None, decay: float | None
    ) -> _Data:
        r"""Set the attributes of a training that begins, and return its data."""
        self.average = None if decay is None else ParameterAverage(self.module_, decay)
        batches = self.get_iterator(train, training=True)
        batches.augmentation = self.recipe.augmentation
        self.easy_rows_ = None
        if self.recipe.data_pruning:
            self.easy_rows_ = EasyRows(
                self.recipe.data_pruning, batches.dataset, batches.generator
            )
            batches.selection = self.easy_rows_
        self.stop_training_ = False
        callbacks = self.callbacks_
        self.has_batch_listeners_ = listen(callbacks, "on_batch_begin", "on_batch_end")
        self.has_gradient_listeners_ = listen(callbacks, "on_grad_computed")
        self.has_users_callbacks_ = bool(users_callbacks(callbacks))
        self.n_before_ = len(self.history)
        return _Data(
            {"dataset_train": train, "dataset_valid": valid},
            batches,
            None if valid is None else self.get_iterator(valid),
        )

    def n_epochs_ahead(self) -> int:
        r"""Return how many epochs of the round follow the last one in the history."""
        return self.round_.end - len(self._epochs_here())

    def _epochs_here(self) -> list[dict[str, Any]]:
        r"""Return the records of the epochs since this training began."""
        return list(self.history)[self.n_before_ :]

    def _begins(self, current: Round) -> bool:
        r"""Return whether a round follows on those before it."""
        if not current.start:
            return True
        before = self._epochs_here()[: current.start]
        begins = (
            not self.stop_training_
            and underfits(before, self.recipe.restart_if_best_is_last)
            and has_gained(before, current)
        )
        if begins and self.ending is not None:
            begins = self.ending.allows(current.end - current.start)
        return begins

    def _start_schedule(self, name: str, first: int) -> None:
        r"""Start the schedule of a round whose epochs before ``first`` are done."""
        start, end = self.round_
        n_done = max(first - start, 0)
        rate = self.lr if self.pace is None else self.lr * self.pace.rate
        self.schedule_ = StepSchedule(name, rate, end - start, n_done)
        if not n_done:
            self.schedule_.start(self.optimizer_)

    def _round_context(self) -> AbstractContextManager[None]:
        r"""Return the context of a round: restarts may leave all inputs in."""
        context: AbstractContextManager[None] = nullcontext()
        if self.recipe.restarts_without_input_dropout and self.round_.start:
            context = self.module_.without_input_dropout()
        return context

    def _run_epoch(
        self, epoch: int, data: _Data, checkpoint: Checkpoint | None
    ) -> None:
        r"""Train on all batches, validate, and call the callbacks."""
        start, end = self.round_
        if self.easy_rows_ is not None:
            self.easy_rows_.begin_epoch(epoch - start, end - start)
        self._freeze()
        self.notify("on_epoch_begin", **data.datasets)
        with self._ended_learning((epoch - start) / (end - start)):
            self.run_single_epoch(data.training, True, "train", self.train_step)
        with nullcontext() if self.average is None else self.average.applied():
            self._end_epoch(data)
        if start and has_stalled(self._epochs_here(), self.round_):
            self.stop_training_ = True
        if checkpoint is not None:
            checkpoint.write(self)

    def _end_epoch(self, data: _Data) -> None:
        r"""Validate, and call the callbacks, for the parameters of predictions."""
        self.run_single_epoch(data.validation, False, "valid", self.validation_step)
        if self.ending is not None:
            self.ending.end_epoch(self)
        with (
            interrupts_stop_training(self),
            missing_validation_explained(data.validation is not None),
        ):
            self.notify("on_epoch_end", **data.datasets)

    def _freeze(self) -> None:
        r"""Freeze or unfreeze parameters for the epoch that begins."""
        if not self.recipe.frozen:
            return
        last = self.recipe.unfreeze_after
        is_frozen = last is None or len(self.history) < last
        self.frozen = self.recipe.frozen if is_frozen else ()
        set_frozen(self.module_, self.recipe.frozen, is_frozen)

    def _ended_learning(self, progress: float) -> AbstractContextManager[None]:
        r"""Return the context of an epoch at a progress in its round, from 0 to 1."""
        ended = [
            pattern
            for pattern, share in self.recipe.learns_until.items()
            if self.schedule_.falls and progress >= share
        ]
        return parameters_frozen(self.module_, ended)

    def _set_training(self, training: bool = True) -> None:
        super()._set_training(training)
        if training and self.frozen:
            for layer in frozen_norms(self.module_, self.frozen):
                layer.eval()

    def run_single_epoch(
        self,
        iterator: BatchIterator | None,
        training: bool,
        prefix: str,
        step_fn: Callable[..., dict[str, Tensor]],
        **fit_params: Any,
    ) -> None:
        if iterator is None:
            return
        self._set_training(training)
        at_best_temperature = self.recipe.temperature_scaling
        totals = (
            EpochTotals()
            if training
            else ValidationTotals(at_best_temperature, self.score_rows)
        )
        batches = iter(iterator)
        if training:
            self.schedule_.begin_epoch(len(iterator))
            if not self.has_users_callbacks_:
                # One record of batches for the epoch: skorch's load_params reads it.
                self.history.new_batch()
        for batch in batches:
            if self.has_batch_listeners_:
                self._begin_batch(batch, training)
            step = step_fn(batch)
            totals.add(batch, step)
            if training and self.easy_rows_ is not None:
                self.easy_rows_.learn(step["y_pred"], batch[1][0])
            if self.has_batch_listeners_:
                self._end_batch(batch, training, prefix, step)
            if training and self.ending is not None and self.ending.ends_epoch():
                break
        if self.has_users_callbacks_ and not self.has_batch_listeners_:
            record_batches(self.history, prefix, totals)
        record_epoch(self.history, prefix, totals, self.lr)

    def _begin_batch(self, batch: Batch, training: bool) -> None:
        X, (y, _) = batch
        self.notify("on_batch_begin", batch=(X, y), training=training)
        # A callback that predicts leaves the module in evaluation mode.
        self._set_training(training)

    def _end_batch(
        self, batch: Batch, training: bool, prefix: str, step: dict[str, Tensor]
    ) -> None:
        X, (y, _) = batch
        self.history.record_batch(f"{prefix}_loss", step["loss"].item())
        self.history.record_batch(f"{prefix}_batch_size", len(X))
        self.notify("on_batch_end", batch=(X, y), training=training, **step)

    def train_step(self, batch: Batch, **fit_params: Any) -> dict[str, Tensor]:
        self.schedule_.step(self.optimizer_)
        self.optimizer_.zero_grad()
        if self.pace is None:
            # All steps of `fit` are full ones.
            self.optimizer_.share = 1.0
            return self._step(batch)
        n_rows = len(batch[0])
        has_few_rows = n_rows < FEWEST_NORMALIZED
        with (
            running_statistics(self.module_, n_rows, self.pace)
            if has_few_rows
            else nullcontext()
        ):
            self.optimizer_.share = self.pace.share(n_rows, self.batch_size)
            return self._step(batch)

    def _step(self, batch: Batch) -> dict[str, Tensor]:
        loss, logits, has_gradients = set_gradients(self, batch)
        if not has_gradients:
            return {"loss": loss, "y_pred": logits}
        if self.has_gradient_listeners_:
            make_gradients_dense(self.module_.parameters())
            self.notify(
                "on_grad_computed",
                named_parameters=list(self.get_all_learnable_params()),
                batch=batch,
                training=True,
            )
        if self.recipe.gradient_clipping is not None:
            clip_gradients(self.module_, self.recipe.gradient_clipping)
        self.optimizer_.step()
        if self.average is not None:
            self.average.update()
        return {"loss": loss, "y_pred": logits}

    @torch.no_grad()
    def validation_step(self, batch: Batch, **fit_params: Any) -> dict[str, Tensor]:
        X, (y, weight) = batch
        if self.is_encoded:
            logits = self.module_.forward_encoded(X, unseen_by(weight))
        else:
            logits = predict_by(self.module_, X, unseen_by(weight))
        loss = self.get_loss(logits, (y, row_weight(weight)))
        return {"loss": loss, "y_pred": logits}
