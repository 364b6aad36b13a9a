r"""From validated rows to a trained module: hold out, build, train, temperature."""

from __future__ import annotations

import copy
import sys
import time
import warnings
from abc import abstractmethod
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted
from torch import nn

from .._data.hold_out import HoldOut, Split
from .._data.training_rows import TrainingRows
from .._training.callbacks import BestEpoch, EpochReport, epoch_metrics, kept_epoch
from .._training.checkpoint import Checkpoint
from .._training.ending import Ending
from .._training.make_net import make_net
from .._training.recipe import Recipe
from .._training.restarts import late_fall, worse_than_guess
from .._training.scores import MONITORS, ValidationScore, monitor_of
from .._training.stream import Pace
from .._training.temperature import held_out_temperature
from .._training.tensor_table import TensorTable
from .._training.train import train
from .._utils.arrays import as_tensor, canonical
from .._utils.devices import has_float64, resolve_precision
from .._utils.memmap import Pages
from .._utils.progress import FitReport
from .._utils.random import draw_seed, global_generators, make_generator
from ..modules._base import (
    favor_class,
    generator_of,
    largest_product_of,
    set_generator,
    temperature_of,
)
from ..modules._user_module import copied
from .module_classifier import ModuleClassifier
from .plan import Plan
from .state import check_described, fresh_module, net_without_optimizer, open_checkpoint


class TrainedClassifier(ModuleClassifier):
    r"""Training of a classifier, as its ``_plan`` says."""

    classes_: NDArray[Any]
    n_features_in_: int
    n_samples_seen_: int
    best_epoch_: int | None
    loss_curve_: list[float]
    settings_: dict[str, Any]

    random_state: Any
    early_stopping: bool | str
    validation_fraction: float
    n_iter_no_change: int
    tol: float
    scoring: Any
    time_limit: float | None
    on_interrupt: str
    callbacks: list[Any] | None
    verbose: int

    # Sum of the sample weights seen, and how many of the rows seen came in a ``fit``.
    _weight_seen: float
    _n_fitted: int
    _hold_out_seed: int

    @property
    def temperature_(self) -> float:
        r"""The number that the logits are divided by; 1 unless one was learned."""
        check_is_fitted(self)
        temperature = temperature_of(self.module_)
        return 1.0 if temperature is None else float(temperature.value)

    @abstractmethod
    def _plan(
        self,
        data: TrainingRows,
        rows: NDArray[np.int64],
        *,
        is_new: bool,
        is_stream: bool,
    ) -> Plan:
        r"""Return the plan of a fit to rows, or of a stream that goes on with rows.

        ``n_samples_seen_`` and ``_weight_seen`` count them already. ``is_new`` is False
        if the training goes on from a fitted module.
        """

    def _fit_rows(
        self,
        data: TrainingRows,
        validation: TrainingRows | None,
        module: nn.Module | None,
        report: FitReport,
    ) -> None:
        r"""Fit to validated rows, from the module of a former fit if there is one."""
        ending = self._ending()
        seed = draw_seed(self.random_state)
        if module is None or not hasattr(self, "_hold_out_seed"):
            # A warm start keeps it: the module has learned from all other rows.
            self._hold_out_seed = seed
        data = data.without_copies(self._categorical_inputs)
        split, held_out = self._hold_out(data, validation)
        is_warm = module is not None and self._has_learned(data)
        rows = split.training.rows
        self._begin_fit(data, rows)
        plan = self._plan(data, rows, is_new=module is None, is_stream=False)
        best_epoch = self._best_epoch(plan, split, is_watched=held_out is not None)
        self._build(plan, data, rows, module, best_epoch=best_epoch)
        if held_out is not None and self._has_user_module:
            # Only the module tells whether it takes whole numbers.
            held_out.dtype = self._input_dtype
        temperature = temperature_of(self.module_)
        if temperature is not None:
            temperature.value.fill_(1.0)
        checkpoint = open_checkpoint(self, data, validation)
        table = self._table(data, *split.training)
        self._train(plan, table, held_out, report, checkpoint=checkpoint, ending=ending)
        if ending.warning:
            warnings.warn(ending.warning, UserWarning, stacklevel=5)
        self._warn_of_training(plan, data, is_warm=is_warm)
        learns = temperature is not None and getattr(self, "temperature_scaling", False)
        rows_of_temperature = held_out if learns else None
        self.settings_ |= self._of_parameters(
            early_stopping=split.chooses_epoch and held_out is not None,
            temperature_scaling=rows_of_temperature is not None,
        )
        if temperature is not None and rows_of_temperature is not None:
            temperature.value.fill_(
                held_out_temperature(
                    self.module_,
                    rows_of_temperature,
                    self._views,
                    self._prediction_rows,
                )
            )

    def _hold_out(
        self, data: TrainingRows, validation: TrainingRows | None
    ) -> tuple[Split, TensorTable | None]:
        r"""Return the rows to learn from, and the table of the validation rows."""
        hold_out = HoldOut(
            self.early_stopping,
            getattr(self, "temperature_scaling", False),
            self.validation_fraction,
            getattr(self, "n_estimators", 1),
        )
        if validation is not None:
            rows, weight = validation.indices(), validation.sample_weight
            return hold_out.keep(data), self._table(validation, rows, weight)
        split = hold_out.split(data, self._hold_out_seed)
        if split.held_out is None:
            return split, None
        return split, self._table(data, *split.held_out)

    def _begin_fit(self, data: TrainingRows, rows: NDArray[np.int64]) -> None:
        r"""Count the rows of a fit, which a stream can go on from."""
        self.n_samples_seen_ = self._n_fitted = len(rows)
        self._weight_seen = float(data.total_weight(rows))
        self.__dict__.pop("_first_rows", None)

    def _build(
        self,
        plan: Plan,
        data: TrainingRows,
        rows: NDArray[np.int64],
        module: nn.Module | None = None,
        *,
        best_epoch: BestEpoch | None = None,
        is_stream: bool = False,
    ) -> None:
        r"""Set ``module_`` and ``net_``; start from a copy of a module, if given."""
        seed = draw_seed(self.random_state)
        generator = make_generator(seed)
        self.__dict__.update(plan.attributes)
        if module is not None:
            if not is_stream:
                check_described(self, module)
            self.module_ = self._copied(module)
        else:
            with self._random_scope(seed):
                self.module_ = self._build_module(generator)
                plan.check_module(self.module_, data, rows)
            if self._first_rows is None:
                plan.learn_inputs(self.module_, data, rows)
            present = np.unique(data.y[rows])
            if len(present) == 1 and not is_stream:
                favor_class(self.module_, int(present[0]), len(self.classes_))
        self.module_.to(self.device_)
        noise_seed = int(torch.randint(2**31, (), generator=generator))
        set_generator(self.module_, make_generator(noise_seed, self.device_))
        self.net_ = make_net(
            self.module_,
            self._with_precision(plan.recipe),
            self.device_,
            generator,
            n_classes=len(self.classes_),
            best_epoch=best_epoch,
            callbacks=self.callbacks,
            verbose=self.verbose,
            input_dtype=self._input_dtype,
        )
        self.settings_ = self._resolved(plan)

    def _resolved(self, plan: Plan) -> dict[str, Any]:
        r"""Return what each "auto" became, for a training without validation rows."""
        settings = dict(plan.settings())
        recipe = self.net_.recipe
        if recipe is not None:
            settings |= {
                "batch_size": recipe.batch_size,
                "max_epochs": recipe.max_epochs,
                "early_stopping": False,
                "temperature_scaling": False,
                "precision": str(recipe.dtype).removeprefix("torch."),
            }
        return self._of_parameters(**settings, device=str(self.device_))

    def _of_parameters(self, **settings: Any) -> dict[str, Any]:
        r"""Return the settings that are parameters of this estimator."""
        return {name: x for name, x in settings.items() if hasattr(self, name)}

    def _ending(self) -> Ending:
        r"""Return what may end the training early."""
        keeps = self.on_interrupt == "keep"
        return Ending(time.monotonic(), self.time_limit, keeps)

    def _with_precision(self, recipe: Recipe | None) -> Recipe | None:
        r"""Return the recipe with the dtype of products, which the module decides."""
        if recipe is None:
            return None
        work = recipe.batch_size * largest_product_of(self.module_)
        precision = getattr(self, "precision", "float32")
        return replace(recipe, dtype=resolve_precision(precision, self.device_, work))

    def _best_epoch(
        self, plan: Plan, split: Split, *, is_watched: bool
    ) -> BestEpoch | None:
        r"""Return the callback that keeps the best epoch, and may stop the training.

        Validation rows that do not choose the epoch decide about restarts all the same.
        """
        n_restarts = 0 if plan.recipe is None else plan.recipe.n_restarts
        if not split.chooses_epoch and not (is_watched and n_restarts):
            return None
        monitor, sign = monitor_of(self.scoring)
        stops = split.chooses_epoch and self.early_stopping != "auto"
        patience = self.n_iter_no_change if stops else sys.maxsize
        of_rounds = not split.chooses_epoch
        return BestEpoch(monitor, patience, self.tol, sign, of_rounds)

    def _table(
        self,
        data: TrainingRows,
        rows: NDArray[np.int64],
        weight: NDArray[np.float64] | None,
    ) -> TensorTable:
        r"""Return rows as the table that batches are taken from."""
        if weight is not None:
            # Relative to the largest, weights fit into float32. A positive weight stays
            # positive: 0 means that a member leaves the row out.
            smallest = np.finfo(np.float32).tiny
            weight = weight / weight[rows].max()
            weight = np.where(weight > 0, np.maximum(weight, smallest), 0.0)
        pages, dtype = Pages(data.X), self._input_dtype
        is_sparse = issparse(data.X)
        X: Any = canonical(data.X) if is_sparse else as_tensor(data.X)
        if not (pages.is_mapped or is_sparse):
            X = self._to_device(X)
        elif data.X.dtype == np.float64 and not has_float64(self.device_):
            # Only batches go to the device, which has no float64.
            dtype = torch.float32
        return TensorTable(
            X,
            as_tensor(data.y).to(self.device_),
            None if weight is None else as_tensor(weight).float().to(self.device_),
            as_tensor(rows).to(self.device_) if len(rows) < len(data.y) else None,
            dtype=dtype,
            pages=pages,
            layout=data.layout,
        )

    def _train(
        self,
        plan: Plan,
        table: TensorTable,
        validation: TensorTable | None,
        report: FitReport,
        *,
        epochs: int | None = None,
        checkpoint: Checkpoint | None = None,
        pace: Pace | None = None,
        ending: Ending | None = None,
    ) -> None:
        r"""Train ``net_``, and set the attributes that say how the training went."""
        is_watched = validation is not None
        observer = None
        if report.is_watched:
            observer = EpochReport(report, lambda: self._snapshot(plan, is_watched))
        n_epochs = self.net_.max_epochs if epochs is None else epochs
        n_done = 0 if checkpoint is None else checkpoint.n_epochs
        report.begin(max(n_epochs - n_done, 0), "epoch")
        seed = int(
            torch.randint(2**31, (), generator=self.net_.iterator_train__generator)
        )
        scorer = None
        if validation is not None and self.scoring not in list(MONITORS):
            scorer = ValidationScore(self.scoring, self.classes_, validation)
        with plan.training_scope(self.module_), self._random_scope(seed):
            train(
                self.net_,
                table,
                validation,
                epochs,
                observer,
                checkpoint,
                pace,
                ending,
                scorer,
            )
        self.module_.eval()
        history, kept = self.net_.history, kept_epoch(self.net_)
        if history:
            metrics = epoch_metrics(history[kept - 1])
            reason = "" if ending is None else ending.reason
            report.keep(kept, kept == len(history), metrics, reason)
        self.__dict__.update(self._curves(plan, is_watched), best_epoch_=kept)

    def _curves(self, plan: Plan, is_watched: bool) -> dict[str, Any]:
        r"""Return the fitted attributes that say how the training went so far."""
        history = self.net_.history
        scores = None
        if is_watched:
            monitor, sign = monitor_of(self.scoring)
            scores = [sign * epoch[monitor] for epoch in history]
        return {
            "best_epoch_": len(history),
            "n_iter_": plan.n_iter(len(history)),
            "loss_curve_": [epoch["train_loss"] for epoch in history],
            "validation_scores_": scores,
        }

    def _snapshot(self, plan: Plan, is_watched: bool) -> dict[str, Any]:
        r"""Return the fitted attributes amid the training, as copies."""
        module = self._copied(self.module_).eval()
        plan.restore(module)
        net = net_without_optimizer(self, module)
        net.history = copy.deepcopy(self.net_.history)
        return {"module_": module, "net_": net, **self._curves(plan, is_watched)}

    def _has_learned(self, data: TrainingRows) -> bool:
        r"""Return whether the former fit predicted better than a guess."""
        history = list(self.net_.history)
        if not history:
            # A loaded classifier has the curve, but no history.
            history = [{"train_loss": loss} for loss in self.loss_curve_]
        kept = history[: getattr(self, "best_epoch_", len(history))]
        return not worse_than_guess(kept, self._loss_of_guess(data), is_warm=True)

    def _loss_of_guess(self, data: TrainingRows) -> float:
        r"""Return the training loss of a prediction by the frequencies of classes."""
        return data.entropy(getattr(self, "label_smoothing", 0.0))

    def _warn_of_training(
        self, plan: Plan, data: TrainingRows, *, is_warm: bool
    ) -> None:
        r"""Warn if nothing was learned, or if more epochs would lower the loss."""
        name, history = type(self).__name__, self.net_.history
        guess = self._loss_of_guess(data)
        failure = worse_than_guess(history[: self.best_epoch_], guess, is_warm)
        if failure:
            warnings.warn(
                f"{name} has learned nothing: {failure}. Scale the features, for "
                "instance with a StandardScaler in a Pipeline, or change learning_rate."
                + " With warm_start=False, a fit learns the scaling anew."
                * is_warm,
                ConvergenceWarning,
                stacklevel=6,
            )
            return
        parameter = plan.epochs_parameter
        n_epochs = getattr(self, parameter)
        if n_epochs == "auto" or not history or self.net_.stop_training_:
            return
        fall = late_fall(history)
        if fall:
            warnings.warn(
                f"Maximum number of epochs ({parameter}={n_epochs}) reached and the "
                f"optimization hasn't converged yet: {fall}. Increase {parameter}; "
                "with early_stopping=True, training ends when more epochs do not help.",
                ConvergenceWarning,
                stacklevel=6,
            )

    def _generators(self) -> dict[str, torch.Generator]:
        r"""Return the generators that training draws from."""
        generators = {"batches": self.net_.iterator_train__generator}
        noise = generator_of(self.module_)
        if noise is not None:
            generators["noise"] = noise
        if self._has_user_module:
            generators |= global_generators(self.device_)
        return generators

    def _copied(self, module: nn.Module) -> nn.Module:
        r"""Return a copy of a fitted module."""
        if not self._has_user_module:
            return copy.deepcopy(module)
        try:
            return copied(module)
        except ValueError:
            # Building sets attributes of the classifier, here those of a copy.
            fresh = fresh_module(copy.copy(self)).to(self.device_)
        fresh.load_state_dict(module.state_dict())
        pairs = zip(fresh.parameters(), module.parameters(), strict=True)
        for parameter, trained in pairs:
            parameter.requires_grad_(trained.requires_grad)
        return fresh
