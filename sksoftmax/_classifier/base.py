r"""What all estimators share: validate -> encode labels -> seed -> build -> train."""

from __future__ import annotations

import copy
import math
import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from .._data.hold_out import HoldOut, Split
from .._data.labels import as_labels
from .._data.training_rows import (
    TrainingRows,
    check_number_of_classes,
    check_same_problem,
    check_training_rows,
    check_validation_rows,
)
from .._training.batches import TensorTable
from .._training.callbacks import EarlyStopping, EpochReport, epoch_metrics, kept_epoch
from .._training.checkpoint import Checkpoint
from .._training.optimizers import OPTIMIZERS
from .._training.pruning import resolve_rate
from .._training.recipe import Recipe, auto_batch_size, auto_epochs
from .._training.restarts import late_fall, worse_than_guess
from .._training.schedules import SCHEDULES
from .._training.skorch_net import make_net, net_kept, train
from .._training.stream import FirstRows, Pace
from .._training.temperature import held_out_temperature
from .._utils.arrays import as_tensor
from .._utils.compat import (
    Interval,
    StrOptions,
    check_partial_fit_first_call,
    fit_context,
)
from .._utils.devices import modes_of_training, resolve_device, resolve_precision
from .._utils.estimators import fitted_state_kept
from .._utils.keywords import explain_keywords
from .._utils.memmap import Pages
from .._utils.progress import FitReport, reported
from .._utils.random import draw_seed, make_generator
from ..modules._base import (
    favor_class,
    generator_of,
    input_scaling_of,
    set_generator,
    temperature_of,
)
from .module_classifier import ModuleClassifier
from .state import (
    check_described,
    net_without_optimizer,
    open_checkpoint,
)

# What the net records for a `scoring`, and its sign as a score: greater is better.
MONITORS = {"loss": ("valid_loss", -1), "accuracy": ("valid_acc", 1)}


class BaseSoftmaxClassifier(ModuleClassifier):
    r"""Base of the softmax classifiers that are trained by mini-batches.

    A subclass lists its parameters in ``__init__`` and says in ``_build_module`` how
    its module is made of them. The rest of ``fit`` is here.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "optimizer": [StrOptions(set(OPTIMIZERS))],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "lr_schedule": [StrOptions(set(SCHEDULES))],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "max_epochs": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "scoring": [StrOptions(set(MONITORS))],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "warm_start": ["boolean"],
        "checkpoint": [str, PathLike, None],
        "random_state": ["random_state"],
        "device": [str],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "callbacks": [list, tuple, None],
        "verbose": ["verbose"],
    }

    best_epoch_: int | None
    n_iter_: int | NDArray[np.int32]

    # What "auto" aims at; see `_recipe`.
    _auto_batch_size = 256
    _auto_steps = 3000
    _auto_epochs = (15, 100)

    # The parameter that is the number of epochs.
    _epochs_parameter = "max_epochs"

    # Values of parameters that only some estimators have, for those that lack them.
    # They are not attributes: `hasattr` tells other libraries what can be set.
    _fixed_parameters: ClassVar[dict[str, Any]] = {
        "checkpoint": None,
        "data_pruning": 0.0,
        "label_smoothing": 0.0,
        "n_estimators": 1,
        "temperature_scaling": False,
    }

    # Whoever has groups, a cross-validation by groups for example, passes them on.
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}

    # What a refit with warm_start=True must find unchanged.
    _constant_in_warm_start: ClassVar[tuple[str, ...]] = ("classes_", "n_features_in_")

    n_samples_seen_: int
    # Sum of the weights of these rows, and how many of them came in a fit.
    _weight_seen: float
    _n_fitted: int

    def _parameter(self, name: str) -> Any:
        r"""Return a parameter, or its fixed value in an estimator that lacks it."""
        if hasattr(self, name):
            return getattr(self, name)
        return self._fixed_parameters[name]

    def _copied(self, module: nn.Module) -> nn.Module:
        r"""Return a copy of a fitted module."""
        return copy.deepcopy(module)

    def _check_built(self, data: TrainingRows, rows: NDArray[np.int64]) -> None:
        r"""Check what a new module makes of training rows; a user's may be wrong."""

    def _epochs_range(self, n_rows: int) -> tuple[int, int]:
        r"""Return the fewest and the most passes over so many rows for "auto"."""
        return self._auto_epochs

    def _n_extensions(self) -> int:
        r"""Return how many rounds may follow while the net underfits."""
        return 0

    def _recipe(self, n_rows: int, total_weight: float, is_part: bool) -> Recipe:
        r"""Return how to train on so many rows, with "auto" resolved.

        They may be a part of rows of which nobody knows the number.
        """
        batch_size = self.batch_size
        if batch_size == "auto":
            batch_size = auto_batch_size(n_rows, self._auto_batch_size)
        max_epochs = self.max_epochs
        if max_epochs == "auto":
            max_epochs = auto_epochs(
                math.ceil(n_rows / batch_size),
                self._auto_steps,
                self._epochs_range(n_rows),
            )
        return Recipe(
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            lr_schedule=self.lr_schedule,
            batch_size=batch_size,
            max_epochs=max_epochs,
            data_pruning=resolve_rate(self._parameter("data_pruning"), n_rows),
            label_smoothing=self.label_smoothing,
            n_extensions=self._n_extensions(),
            refines=bool(self._parameter("temperature_scaling")),
            dtype=resolve_precision(
                self.precision, self.device_, batch_size * self._largest_product()
            ),
        )

    @explain_keywords
    @fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        r"""Fit the classifier to rows and their labels.

        Rows that are held out, for the choice of the epoch or for a temperature, are
        not copies of rows that are learned from. Copies, rows of equal features and
        labels, count as a single row with all of their weights.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows: an array, a tensor, a DataFrame of pandas or polars, a table
            of pyarrow or a sequence of rows. float32 and integers stay what they are
            until a batch is taken. Missing values (NaN, None, NA, masked entries) and
            categories are only for :class:`SoftmaxMLPClassifier`.
        y : array-like of shape (n_samples,), default=None
            Labels: strings, integers, booleans or pandas categoricals. Not optional:
            the default only lets the error say how to take them out of a dataset.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the loss; all equal if None. A row of weight zero is
            the same as no row: a label that only such rows have is no class. If the
            other rows have a single label, all labels are classes, and the probability
            of that one is about 1.
        X_val : array-like of shape (n_validation_samples, n_features), default=None
            Rows to watch training by. With ``early_stopping=True`` they take the
            place of the held-out ``validation_fraction``.
        y_val : array-like of shape (n_validation_samples,), default=None
            Labels of ``X_val``.
        sample_weight_val : array-like of shape (n_validation_samples,), default=None
            Weights of ``X_val`` in the validation score.
        groups : array-like of shape (n_samples,), default=None
            Which rows belong together, those of a patient or a session for example:
            rows with equal entries are learned from or held out together. Without
            held-out rows it has no effect. With
            ``sklearn.set_config(enable_metadata_routing=True)``, the groups of
            a ``Pipeline`` or a cross-validation are passed on.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        TypeError
            If ``X`` or ``y`` is no table or column, a dataset or a generator for
            example, or if a column of ``X`` holds dates, intervals, lists or other
            objects. The message names the column and the remedy.
        ValueError
            If the data cannot be learned from: infinite values, missing values or text
            where the classifier does not take them, one class only, lengths that
            differ, negative or all-zero weights, labels in ``y_val`` that ``y`` lacks,
            too few rows for ``validation_fraction``.
            What was fitted before stays as it was.
        """
        with (
            reported(self, X, y, sample_weight) as report,
            modes_of_training(),
            fitted_state_kept(self),
        ):
            self.device_ = resolve_device(self.device)
            fitted = vars(self).copy() if self.warm_start else {}
            data, self.classes_ = check_training_rows(
                self, X, y, sample_weight, groups=groups
            )
            check_number_of_classes(self, data)
            if "module_" in fitted:
                check_same_problem(self, fitted)
            validation = check_validation_rows(self, X_val, y_val, sample_weight_val)
            self._fit_rows(data, validation, fitted.get("module_"), report)
        return self

    @explain_keywords
    @fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        r"""Train for one epoch on more rows, without a schedule.

        The rate is ``learning_rate``. After a ``fit`` of n rows it is 0.01 of it, and
        grows with the cube of the rows seen, to 0.3 of it after 3.1 n rows: a larger
        rate would undo what the end of the fit has gained. A batch of fewer than
        ``batch_size`` rows takes the same share of a step, so that it hardly matters
        where a stream is cut, and rows may come one by one; early in a stream, less
        than ``batch_size`` rows are enough for a whole step: a 256th of the rows seen,
        after a ``fit`` a sixteenth. The first 1,000 rows of a stream that begins with
        fewer are kept until then: the scaling of the inputs is learned from them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,), default=None
            Labels; not optional, as in :meth:`fit`.
        classes : array-like of shape (n_classes,), default=None
            All classes that will ever come. Required in the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the loss; all equal if None.

        Returns
        -------
        self : object
            The classifier.

        Raises
        ------
        TypeError
            For what :meth:`fit` refuses.
        ValueError
            If the first call has no ``classes``, if ``y`` holds a label that is not
            among them, or for what :meth:`fit` refuses.
        """
        if getattr(self, "early_stopping", False) not in (False, "auto"):
            raise ValueError(
                "partial_fit does not support early_stopping=True: a single epoch has "
                "nothing to stop. Set early_stopping=False."
            )
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' is not supported for partial_fit, which does "
                "not see all rows at once. Pass the weights that "
                "sklearn.utils.class_weight.compute_class_weight('balanced', "
                "classes=classes, y=y) gives as a dict."
            )
        with (
            reported(self, X, y, sample_weight, "partial-fit") as report,
            modes_of_training(),
            fitted_state_kept(self),
        ):
            self.device_ = resolve_device(self.device)
            if classes is not None and not isinstance(classes, list):
                classes = as_labels(classes, "classes")
            is_first_call = check_partial_fit_first_call(self, classes)
            if len(self.classes_) < 2:
                raise ValueError(
                    f"Got classes={self.classes_.tolist()}, but expected at least 2 "
                    "classes: all that will ever come."
                )
            data, _ = check_training_rows(
                self, X, y, sample_weight, classes=self.classes_, reset=is_first_call
            )
            if issparse(data.X):
                raise ValueError(
                    f"{type(self).__name__} trains by mini-batches here, which does "
                    "not take sparse X. Pass X.toarray() (X.sparse.to_dense() of a "
                    "DataFrame, X.to_dense() of a tensor), or fit with "
                    "solver='newton-cg'."
                )
            rows = data.indices()
            net = None if is_first_call else getattr(self, "net_", None)
            goes_on = net is not None and net.optimizer is not None
            if net is None:
                self._begin_stream(data, rows)
            pace = Pace(self.n_samples_seen_, self._n_fitted)
            self.n_samples_seen_ += len(rows)
            self._weight_seen += data.total_weight(rows)
            # A new net is given up whole.
            with net_kept(self.net_) if goes_on else nullcontext():
                if not goes_on:
                    module = None if net is None else self.module_
                    self._build(data, rows, module, is_part=True)
                elif pace.is_first_after_fit:
                    # Its gradients were those of learned rows, near zero.
                    self.net_.optimizer_.state.clear()
                self._learn_from_first_rows(data, rows)
                self._adapt_net(pace)
                table = self._table(data, rows, data.loss_weight)
                self._train(table, None, report, epochs=1, pace=pace)
        return self

    def _begin_stream(self, data: TrainingRows, rows: NDArray[np.int64]) -> None:
        self.n_samples_seen_, self._weight_seen = 0, 0.0
        self._n_fitted = 0
        first = FirstRows.begin(data, rows)
        if first is not None:
            self._first_rows = first

    def _learn_from_first_rows(
        self, data: TrainingRows, rows: NDArray[np.int64]
    ) -> None:
        r"""Learn the scaling of the inputs again early in a stream."""
        if self._first_rows is None:
            return
        first = self._first_rows.extended(data, rows)
        if first.are_due:
            known = first.as_data()
            if not self._learn_inputs(known, known.indices()):
                del self._first_rows
                return
            first = replace(first, n_learned=len(first.X))
        if first.are_enough:
            del self._first_rows
        else:
            self._first_rows = first

    def _adapt_net(self, pace: Pace) -> None:
        r"""Change in the net what depends on how many rows were seen."""
        if self.batch_size == "auto" and not self._n_fitted:
            most = self._auto_batch_size
            self.net_.batch_size = pace.batch_size(self.n_samples_seen_, most)

    def _fit_rows(
        self,
        data: TrainingRows,
        validation: TrainingRows | None,
        module: nn.Module | None,
        report: FitReport,
    ) -> None:
        seed = draw_seed(self.random_state)
        if module is None or not hasattr(self, "_hold_out_seed"):
            # A warm start keeps it: the module has learned from all other rows.
            self._hold_out_seed = seed
        data = data.without_copies(getattr(self, "is_categorical_", None))
        split, held_out = self._hold_out(data, validation)
        is_warm = module is not None and self._has_learned(data)
        self._build(
            data,
            split.training.rows,
            module,
            early_stopping=self._early_stopping(split, held_out is not None),
        )
        temperature = temperature_of(self.module_)
        if temperature is not None:
            temperature.value.fill_(1.0)
        checkpoint = open_checkpoint(self, data, validation)
        table = self._table(data, *split.training)
        self._train(table, held_out, report, None, checkpoint)
        self._warn_of_training(data, is_warm=is_warm)
        learns_temperature = self._parameter("temperature_scaling")
        if temperature is not None and held_out is not None and learns_temperature:
            temperature.value.fill_(
                held_out_temperature(
                    self.module_,
                    held_out,
                    self._views,
                    self._prediction_rows,
                )
            )

    def _hold_out(
        self, data: TrainingRows, validation: TrainingRows | None
    ) -> tuple[Split, TensorTable | None]:
        r"""Return what training learns from, and the rows that it is watched by."""
        plan = HoldOut(
            self.early_stopping,
            self._parameter("temperature_scaling"),
            self.validation_fraction,
            self._parameter("n_estimators"),
        )
        if validation is not None:
            rows, weight = validation.indices(), validation.sample_weight
            return plan.keep(data), self._table(validation, rows, weight)
        split = plan.split(data, self._hold_out_seed)
        if split.held_out is None:
            return split, None
        return split, self._table(data, *split.held_out)

    def _early_stopping(self, split: Split, is_watched: bool) -> EarlyStopping | None:
        r"""Return when training stops early; "auto" only keeps the best epoch.

        Rows that do not choose the epoch still say whether a further round was of use.
        """
        if not split.chooses_epoch and not (is_watched and self._n_extensions()):
            return None
        monitor, sign = MONITORS[self.scoring]
        stops = split.chooses_epoch and self.early_stopping != "auto"
        patience = self.n_iter_no_change if stops else sys.maxsize
        of_rounds = not split.chooses_epoch
        return EarlyStopping(monitor, patience, self.tol, sign, of_rounds)

    def _build(
        self,
        data: TrainingRows,
        rows: NDArray[np.int64],
        module: nn.Module | None,
        *,
        early_stopping: EarlyStopping | None = None,
        with_optimizer: bool = True,
        is_part: bool = False,
    ) -> None:
        r"""Set ``module_`` and ``net_``; start from a copy of a module, if given."""
        if not is_part and hasattr(self, "partial_fit"):
            # A stream of rows can go on from here.
            self.n_samples_seen_ = self._n_fitted = len(rows)
            self._weight_seen = float(data.total_weight(rows))
            self.__dict__.pop("_first_rows", None)
        seed = draw_seed(self._parameter("random_state"))
        generator = make_generator(seed)
        if module is not None:
            if not is_part:
                check_described(self, module)
            self.module_ = self._copied(module)
        else:
            with self._random_scope(seed):
                self.module_ = self._build_module(
                    self.n_features_in_, len(self.classes_), generator
                )
                self._check_built(data, rows)
            if self._first_rows is None:
                self._learn_inputs(data, rows)
            present = np.unique(data.y[rows])
            if len(present) == 1 and not is_part:
                favor_class(self.module_, int(present[0]), len(self.classes_))
        self.module_.to(self.device_)
        noise_seed = int(torch.randint(2**31, (), generator=generator))
        set_generator(self.module_, make_generator(noise_seed, self.device_))
        recipe = None
        if with_optimizer:
            recipe = self._recipe(self.n_samples_seen_, self._weight_seen, is_part)
        self.net_ = make_net(
            self.module_,
            recipe,
            self.device_,
            generator,
            n_classes=len(self.classes_),
            early_stopping=early_stopping,
            callbacks=self._parameter("callbacks"),
            verbose=self._parameter("verbose"),
            input_dtype=self._input_dtype,
        )

    def _learn_inputs(self, data: TrainingRows, rows: NDArray[np.int64]) -> bool:
        r"""Learn from rows how inputs are scaled; return False if they are not."""
        scaling = input_scaling_of(self.module_)
        if scaling is None:
            return False
        scaling.reset()
        data.teach(scaling, rows)
        return True

    def _table(
        self,
        data: TrainingRows,
        rows: NDArray[np.int64],
        weight: NDArray[np.float64] | None,
        make_table: Callable[..., TensorTable] = TensorTable,
    ) -> TensorTable:
        if weight is not None:
            # Relative to the largest, weights fit into float32. A positive weight stays
            # positive: a weight of 0 says that a member leaves the row out.
            smallest = np.finfo(np.float32).tiny
            weight = weight / weight[rows].max()
            weight = np.where(weight > 0, np.maximum(weight, smallest), 0.0)
        X, pages, dtype = as_tensor(data.X), Pages(data.X), self._input_dtype
        if not pages.is_mapped:
            X = self._to_device(X)
        elif self.device_.type == "mps" and X.dtype == torch.float64:
            # Only batches go to the device, which has no float64.
            dtype = torch.float32
        return make_table(
            X,
            as_tensor(data.y).to(self.device_),
            None if weight is None else as_tensor(weight).float().to(self.device_),
            as_tensor(rows).to(self.device_) if len(rows) < len(data.y) else None,
            dtype=dtype,
            pages=pages,
        )

    def _train(
        self,
        table: TensorTable,
        validation: TensorTable | None,
        report: FitReport,
        epochs: int | None = None,
        checkpoint: Checkpoint | None = None,
        pace: Pace | None = None,
    ) -> None:
        is_held_out = validation is not None
        observer = None
        if report.is_watched:
            observer = EpochReport(report, lambda: self._snapshot(is_held_out))
        n_epochs = self.net_.max_epochs if epochs is None else epochs
        n_done = 0 if checkpoint is None else checkpoint.n_epochs
        report.begin(max(n_epochs - n_done, 0), "epoch")
        seed = int(
            torch.randint(2**31, (), generator=self.net_.iterator_train__generator)
        )
        with self._random_scope(seed):
            train(self.net_, table, validation, epochs, observer, checkpoint, pace)
        self.module_.eval()
        history, kept = self.net_.history, kept_epoch(self.net_)
        if history:
            metrics = epoch_metrics(history[kept - 1])
            report.keep(kept, kept == len(history), metrics)
        self.__dict__.update(self._curves(is_held_out), best_epoch_=kept)

    def _has_learned(self, data: TrainingRows) -> bool:
        r"""Return whether the former fit predicted better than a guess."""
        history = list(self.net_.history)
        if not history:
            # A file has no more than the curve.
            history = [{"train_loss": loss} for loss in self.loss_curve_]
        kept = history[: getattr(self, "best_epoch_", len(history))]
        guess = data.entropy(self._parameter("label_smoothing"))
        return not worse_than_guess(kept, guess, is_warm=True)

    def _warn_of_training(self, data: TrainingRows, *, is_warm: bool) -> None:
        r"""Warn if nothing was learned, or if more epochs would lower the loss."""
        history = self.net_.history
        smoothing = self._parameter("label_smoothing")
        failure = worse_than_guess(
            history[: self.best_epoch_], data.entropy(smoothing), is_warm
        )
        if failure:
            remedy = "Scale the features, for instance with a StandardScaler in a "
            remedy += "Pipeline, or change learning_rate."
            if is_warm:
                remedy += " With warm_start=False, a fit learns the scaling anew."
            warnings.warn(
                f"{type(self).__name__} has learned nothing: {failure}. {remedy}",
                ConvergenceWarning,
                stacklevel=6,
            )
            return
        n_epochs = getattr(self, self._epochs_parameter)
        if n_epochs == "auto" or not history or self.net_.stop_training_:
            return
        fall = late_fall(history)
        if fall:
            warnings.warn(
                f"Maximum number of epochs ({self._epochs_parameter}={n_epochs}) "
                f"reached and the optimization hasn't converged yet: {fall}. Increase "
                f"{self._epochs_parameter}; with early_stopping=True, training ends "
                "when more epochs do not help.",
                ConvergenceWarning,
                stacklevel=6,
            )

    def _curves(self, is_held_out: bool) -> dict[str, Any]:
        r"""Return the fitted attributes that say how training went so far."""
        history = self.net_.history
        scores = None
        if is_held_out:
            monitor, sign = MONITORS[self.scoring]
            scores = [sign * epoch[monitor] for epoch in history]
        return {
            "best_epoch_": len(history),
            "n_iter_": len(history),
            "loss_curve_": [epoch["train_loss"] for epoch in history],
            "validation_scores_": scores,
        }

    def _snapshot(self, is_held_out: bool) -> dict[str, Any]:
        r"""Return the fitted attributes amid training, which does not change them."""
        module = self._copied(self.module_).eval()
        net = net_without_optimizer(self, module)
        net.history = copy.deepcopy(self.net_.history)
        return {"module_": module, "net_": net, **self._curves(is_held_out)}

    def _generators(self) -> dict[str, torch.Generator]:
        r"""Return what training draws from."""
        generators = {"batches": self.net_.iterator_train__generator}
        noise = generator_of(self.module_)
        return generators if noise is None else {**generators, "noise": noise}
