r"""The training engine: a skorch net that costs what the arithmetic costs.

The only file that imports skorch, but for those with callbacks of it: ``_epochs`` and
``distributed``.
"""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import Any

import numpy as np
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EpochTimer, PrintLog, ProgressBar
from skorch.helper import predefined_split
from skorch.history import History
from torch import Tensor, nn
from torch.utils.data import Dataset

from .._data.hold_out import predict_by, row_weight, unseen_by
from .._utils.compat import BATCH_NORMS, NORMS_WITH_STATISTICS
from .._utils.process import freed_memory_kept
from .batches import Batch, BatchIterator, TensorTable
from .callbacks import BestEpoch, EarlyStopping, EpochReport, interrupts_stop_training
from .checkpoint import Checkpoint
from .losses import EpochTotals, ValidationTotals, WeightedCrossEntropy
from .monitors import (
    check_callbacks,
    check_monitors,
    missing_validation_explained,
    users_callbacks,
)
from .optimizers import make_gradients_dense
from .pruning import EasyRows
from .recipe import Recipe
from .restarts import Round, has_stalled, plan_rounds, underfits
from .schedules import StepSchedule
from .stream import FEWEST_NORMALIZED, Pace, running_statistics


class SoftmaxNet(NeuralNetClassifier):
    r"""A skorch net whose loop does per batch only what a callback needs.

    Everything that is public in :class:`skorch.NeuralNetClassifier` works: history,
    callbacks, ``predict``, ``predict_proba``, ``save_params``. Its classes are 0 to
    C - 1, the places of the labels in the estimator's ``classes_``. Differences:
    batches are cut from tensors at once, the loss is weighted, the learning rate
    follows a schedule by step, and losses are recorded per epoch. Per-batch records
    are kept, as skorch keeps them, when the user gave callbacks. Ctrl-C is not
    swallowed.
    """

    def __init__(self, *args: Any, recipe: Recipe | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # None if there is nothing to train by: an exact solver's net, or one of a file.
        self.recipe: Any = recipe
        self.pace: Pace | None = None

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        return [("epoch_timer", EpochTimer()), ("print_log", PrintLog())]

    @property
    def remembering_callbacks(self) -> dict[str, Callback]:
        r"""The callbacks that training may depend on: no clock and no display."""
        return {
            name: callback
            for name, callback in self.callbacks_
            if not isinstance(
                callback, EpochTimer | PrintLog | ProgressBar | EpochReport
            )
        }

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        # What the net was made of is what it trains: once in a pickle is enough.
        state["module"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.module = self.module_

    def initialize_optimizer(self, triggered_directly: Any = None) -> SoftmaxNet:
        if self.recipe is None:
            # A solver fits this module at once. PyTorch's optimizers import its
            # compiler when the first of them is made, which takes seconds.
            self.optimizer_: Any = None
            return self
        if next(self.module_.parameters(), None) is None:
            raise ValueError(_nothing_learns(self.module_))
        super().initialize_optimizer()
        return self

    def get_loss(
        self,
        y_pred: Tensor,
        y_true: Any,
        X: Tensor | None = None,
        training: bool = False,
    ) -> Tensor:
        # Without weights if a caller passes labels alone, as to skorch's own nets.
        targets = (y_true, None) if isinstance(y_true, Tensor) else y_true
        loss: Tensor = self.criterion_(y_pred, *targets)
        return loss

    def get_dataset(self, X: Any, y: Any = None) -> Any:
        r"""Return a table of rows, made of arrays or of a dataset of pairs if need be.

        Parameters
        ----------
        X : TensorTable, array-like, Tensor or Dataset
            The rows; a dataset has them with their labels.
        y : array-like of shape (n_samples,), default=None
            The classes' indices, from 0 on.
        """
        if isinstance(X, TensorTable):
            return X
        if isinstance(X, Dataset):
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
            y = torch.as_tensor(labels.astype(np.int64)).to(self.device)
        table = torch.as_tensor(X).to(self.device)
        return super().get_dataset(table, y)

    def infer(self, x: Tensor, **fit_params: Any) -> Tensor:
        logits: Tensor = self.module_(x)
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
        # A given number of epochs continues a training, whose schedule is at its end.
        schedule = "constant" if epochs is not None else self.recipe.lr_schedule
        n_restarts = 0 if epochs is not None else self.recipe.n_restarts
        epochs = self.max_epochs if epochs is None else epochs
        train, valid = self.get_split_datasets(X, y, **fit_params)
        batches = self.get_iterator(train, training=True)
        self.easy_rows_ = None
        if self.recipe.data_pruning:
            self.easy_rows_ = EasyRows(
                self.recipe.data_pruning, batches.dataset, batches.generator
            )
            batches.selection = self.easy_rows_
        self.stop_training_ = False
        self.has_batch_listeners_ = self._listened("on_batch_begin", "on_batch_end")
        self.has_gradient_listeners_ = self._listened("on_grad_computed")
        self.has_users_callbacks_ = bool(users_callbacks(self.callbacks_))
        n_steps_before = self.optimizer_.n_done
        self.n_before_ = len(self.history)
        first = 0 if checkpoint is None else checkpoint.n_epochs
        if checkpoint is not None:
            checkpoint.resume(self)
        datasets = {"dataset_train": train, "dataset_valid": valid}
        for current in plan_rounds(epochs, n_restarts):
            if not self._begins(current):
                break
            self.round_ = current
            self._start_schedule(schedule, first)
            with self._relaxed():
                self._run_round(first, batches, datasets, checkpoint)
        if epochs and self.optimizer_.n_done == n_steps_before:
            raise ValueError(_nothing_learns(self.module_))
        return self

    def n_epochs_ahead(self) -> int:
        r"""Return how many epochs of the round follow the last one in the history."""
        return self.round_.end - len(self._epochs_here())

    def _epochs_here(self) -> list[dict[str, Any]]:
        r"""Return what was recorded since this training began."""
        return list(self.history)[self.n_before_ :]

    def _begins(self, current: Round) -> bool:
        r"""Return whether a round follows on those before it."""
        if not current.start:
            return True
        before = self._epochs_here()[: current.start]
        is_patient = self.recipe.restart_if_best_is_last
        return not self.stop_training_ and underfits(before, is_patient)

    def _start_schedule(self, name: str, first: int) -> None:
        start, end = self.round_
        n_done = max(first - start, 0)
        rate = self.lr if self.pace is None else self.lr * self.pace.rate
        self.schedule_ = StepSchedule(name, rate, end - start, n_done)
        if not n_done:
            self.schedule_.start(self.optimizer_)

    def _relaxed(self) -> AbstractContextManager[None]:
        r"""Return the context of the round: further ones do with less dropout."""
        if self.recipe.restarts_without_input_dropout and self.round_.start:
            relaxed: AbstractContextManager[None] = self.module_.without_input_dropout()
            return relaxed
        return nullcontext()

    def _run_round(
        self,
        first: int,
        batches: BatchIterator,
        datasets: dict[str, Any],
        checkpoint: Checkpoint | None,
    ) -> None:
        start, end = self.round_
        valid = datasets["dataset_valid"]
        batches_valid = None if valid is None else self.get_iterator(valid)
        for epoch in range(max(first, start), end):
            if self.stop_training_:
                break
            if self.easy_rows_ is not None:
                self.easy_rows_.begin_epoch(epoch - start, end - start)
            self.notify("on_epoch_begin", **datasets)
            self.run_single_epoch(batches, True, "train", self.train_step)
            self.run_single_epoch(batches_valid, False, "valid", self.validation_step)
            with (
                interrupts_stop_training(self),
                missing_validation_explained(valid is not None),
            ):
                self.notify("on_epoch_end", **datasets)
            if start and has_stalled(self._epochs_here(), self.round_):
                self.stop_training_ = True
            if checkpoint is not None:
                checkpoint.write(self)

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
        totals = EpochTotals() if training else ValidationTotals(at_best_temperature)
        if training and not self.has_users_callbacks_:
            # One record for the epoch, since skorch's load_params reads the last one.
            self.history.new_batch()
        batches = iter(iterator)
        if training:
            self.schedule_.begin_epoch(len(iterator))
        for batch in batches:
            X, (y, _) = batch
            if self.has_batch_listeners_:
                self.notify("on_batch_begin", batch=(X, y), training=training)
                # A callback that predicts leaves the module in evaluation mode.
                self._set_training(training)
            step = step_fn(batch)
            totals.add(batch, step)
            if training and self.easy_rows_ is not None:
                self.easy_rows_.learn(step["y_pred"], y)
            if self.has_batch_listeners_:
                self.history.record_batch(f"{prefix}_loss", step["loss"].item())
                self.history.record_batch(f"{prefix}_batch_size", len(X))
                self.notify("on_batch_end", batch=(X, y), training=training, **step)
        if self.has_users_callbacks_ and not self.has_batch_listeners_:
            sizes = totals.batch_sizes
            for loss, size in zip(totals.batch_losses(), sizes, strict=True):
                self.history.new_batch()
                self.history.record_batch(f"{prefix}_loss", loss)
                self.history.record_batch(f"{prefix}_batch_size", size)
        self._record_epoch(prefix, totals)
        self.history.record(f"{prefix}_batch_count", len(iterator))

    def _record_epoch(self, prefix: str, totals: EpochTotals) -> None:
        loss = totals.loss()
        if not math.isfinite(loss):
            raise ValueError(
                f"The {prefix} loss became {loss} in epoch {len(self.history)} with "
                f"learning_rate={self.lr}. Lower learning_rate, or scale the features."
            )
        record(self.history, f"{prefix}_loss", loss, operator.lt)
        if isinstance(totals, ValidationTotals):
            record(self.history, "valid_acc", totals.accuracy(), operator.gt)

    def train_step(self, batch: Batch, **fit_params: Any) -> dict[str, Tensor]:
        self.schedule_.step(self.optimizer_)
        self.optimizer_.zero_grad()
        try:
            return self._step_at_pace(batch)
        except ValueError as error:
            if len(batch[0]) > 1 or not _has_batch_norm(self.module_):
                raise
            raise ValueError(
                "Got a batch of 1 row, but batch normalisation (normalization='batch', "
                "or a layer of your module) needs at least 2. Expected more rows, a "
                "larger batch_size or another normalisation."
            ) from error

    def _step_at_pace(self, batch: Batch) -> dict[str, Tensor]:
        n_rows = len(batch[0])
        if self.pace is None:
            # In ``fit`` all steps are full.
            self.optimizer_.share = 1.0
            return self._step(batch)
        if n_rows >= FEWEST_NORMALIZED:
            self.optimizer_.share = self.pace.share(n_rows, self.batch_size)
            return self._step(batch)
        with running_statistics(self.module_, n_rows, self.pace):
            self.optimizer_.share = self.pace.share(n_rows, self.batch_size)
            return self._step(batch)

    def _step(self, batch: Batch) -> dict[str, Tensor]:
        if self.recipe.dtype is torch.float32:
            logits = self.infer(batch[0])
        else:
            device_type = batch[0].device.type
            with torch.autocast(device_type, dtype=self.recipe.dtype):
                logits = self.infer(batch[0])
            logits = logits.float()
        loss = self.get_loss(logits, batch[1], training=True)
        if not loss.requires_grad:
            if not self.has_users_callbacks_:
                # No callback will unfreeze a layer later.
                raise ValueError(_nothing_learns(self.module_))
            return {"loss": loss, "y_pred": logits}
        # Each member learns as it would alone, though the loss is the members' mean. A
        # factor given to `backward` apart would make PyTorch import SymPy.
        torch.autograd.backward(loss * logits.shape[1] if logits.ndim == 3 else loss)
        if self.has_gradient_listeners_:
            make_gradients_dense(self.module_.parameters())
            self.notify(
                "on_grad_computed",
                named_parameters=list(self.get_all_learnable_params()),
                batch=batch,
                training=True,
            )
        self.optimizer_.step()
        return {"loss": loss.detach(), "y_pred": logits}

    @torch.no_grad()
    def validation_step(self, batch: Batch, **fit_params: Any) -> dict[str, Tensor]:
        X, (y, weight) = batch
        logits = predict_by(self.module_, X, unseen_by(weight))
        loss = self.get_loss(logits, (y, row_weight(weight)))
        return {"loss": loss, "y_pred": logits}

    def _listened(self, *methods: str) -> bool:
        r"""Return whether a callback defines one of the methods itself."""
        return any(
            getattr(type(callback), method) is not getattr(Callback, method)
            for _, callback in self.callbacks_
            for method in methods
        )


def record(
    history: History,
    name: str,
    value: float,
    is_better: Callable[[float, float], bool],
) -> None:
    r"""Record a score of the last epoch, and whether it is the best so far."""
    # The latest of the best epochs is the best; there is mostly one not far back.
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


def probabilities(logits: Tensor) -> Tensor:
    r"""Return the probabilities: ``(B, C) -> (B, C)``, ``(B, K, C) -> (B, C)``."""
    proba = logits.softmax(-1)
    return proba.mean(1) if proba.ndim == 3 else proba


def _nothing_learns(module: nn.Module) -> str:
    parameters = list(module.parameters())
    n_free = sum(parameter.requires_grad for parameter in parameters)
    return (
        "Nothing can be learned: the loss depends on no parameter that requires a "
        f"gradient; {n_free} of the module's {len(parameters)} parameters do. Expected "
        "at least one: call requires_grad_(True) on a layer, and leave out "
        "torch.no_grad() and detach() in forward."
    )


def make_net(
    module: nn.Module,
    recipe: Recipe | None,
    device: torch.device,
    generator: torch.Generator,
    *,
    n_classes: int,
    early_stopping: EarlyStopping | None = None,
    callbacks: Sequence[Callback] | None = None,
    verbose: int = 0,
    input_dtype: torch.dtype | None = None,
) -> SoftmaxNet:
    r"""Return an initialised skorch net around a module; untrainable without recipe."""
    check_callbacks(
        callbacks or [], "constant" if recipe is None else recipe.lr_schedule
    )
    own = []
    if early_stopping is not None:
        own = [("best_epoch", BestEpoch(**vars(early_stopping)))]
    options: dict[str, Any] = {"optimizer": None}
    if recipe is not None:
        options = {
            **recipe.optimizer_options(module),
            "criterion__label_smoothing": recipe.label_smoothing,
            "lr": recipe.learning_rate,
            "max_epochs": recipe.max_epochs,
            "batch_size": recipe.batch_size,
        }
    # With 1, the fit as a whole is shown instead.
    if verbose < 2:
        options["callbacks__print_log"] = None
    net = SoftmaxNet(
        module,
        recipe=recipe,
        criterion=WeightedCrossEntropy,
        classes=np.arange(n_classes),
        predict_nonlinearity=probabilities,
        dataset=TensorTable,
        dataset__dtype=input_dtype,
        iterator_train=BatchIterator,
        iterator_train__shuffle=True,
        iterator_train__generator=generator,
        iterator_valid=BatchIterator,
        iterator_valid__batch_size=1024,
        train_split=None,
        callbacks=[*own, *(callbacks or [])],
        verbose=verbose,
        device=str(device),
        **options,
    )
    net.initialize()
    return net


def train(
    net: SoftmaxNet,
    table: TensorTable,
    validation: TensorTable | None = None,
    epochs: int | None = None,
    observer: Callback | None = None,
    checkpoint: Checkpoint | None = None,
    pace: Pace | None = None,
) -> None:
    r"""Train a net on a table, watching the validation table if there is one.

    ``observer`` is called before the net's own callbacks, and not kept. A net that has
    a ``checkpoint`` goes on from there, and keeps it up to date.
    """
    check_monitors(net.callbacks_, has_validation=validation is not None)
    net.train_split = None if validation is None else predefined_split(validation)
    callbacks = net.callbacks_
    if observer is not None:
        net.callbacks_ = [("observer", observer), *callbacks]
    try:
        with freed_memory_kept():
            net.partial_fit(table, epochs=epochs, checkpoint=checkpoint, pace=pace)
        if not _is_finite(net.module_):
            raise ValueError(
                "The weights became infinite or NaN, or statistics of batch "
                f"normalisation did, in epoch {len(net.history)} with "
                f"learning_rate={net.lr}. Lower learning_rate, or scale the features."
            )
    finally:
        # The net outlives the fit; the data and those who watched must not.
        net.train_split = None
        net.easy_rows_ = net.pace = None
        net.callbacks_ = callbacks


@contextmanager
def net_kept(net: SoftmaxNet) -> Iterator[None]:
    r"""Give a net back what it had learned if the block raises an error.

    Half an epoch is no state that anybody asked for.
    """
    n_epochs = len(net.history)
    before = copy.deepcopy((net.module_.state_dict(), net.optimizer_.state_dict()))
    try:
        yield
    except BaseException:
        net.module_.load_state_dict(before[0])
        net.optimizer_.load_state_dict(before[1])
        del net.history[n_epochs:]
        raise


def _has_batch_norm(module: nn.Module) -> bool:
    return any(isinstance(layer, BATCH_NORMS) for layer in module.modules())


def _is_finite(module: nn.Module) -> bool:
    r"""Return whether what was learned is; a mask among the buffers need not be."""
    statistics = [
        buffer
        for layer in module.modules()
        if isinstance(layer, NORMS_WITH_STATISTICS)
        for buffer in layer.buffers(recurse=False)
    ]
    return all(bool(x.isfinite().all()) for x in [*module.parameters(), *statistics])
