r"""Training of one classifier by several processes, each with a part of the rows."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from skorch.callbacks import Callback
from torch import Tensor, nn

from ._classifier.base import BaseSoftmaxClassifier
from ._classifier.plan import Plan
from ._data.features import check_features
from ._data.labels import check_target, check_weights, class_weights, encode_target
from ._data.training_rows import TrainingRows, check_number_of_classes, evenly_spread
from ._linear.regression import MINIBATCH_SOLVERS
from ._training.epoch import record
from ._training.tensor_table import Batch, TensorTable
from ._utils.compat import BATCH_NORMS, check_parameters
from ._utils.devices import modes_of_training, resolve_device
from ._utils.estimators import fitted_state_kept
from ._utils.progress import FitReport, reported
from ._utils.random import make_generator
from ._utils.robust_scale import sample_size
from .modules._base import set_generator

__all__ = ["fit_distributed"]

Classifier = TypeVar("Classifier", bound=BaseSoftmaxClassifier)

# Values that parameters may have with several processes, where a classifier has them.
_ACCEPTED: dict[str, list[Any]] = {
    "checkpoint": [None],
    "early_stopping": [False, "auto"],
    "l1_ratio": [0],
    "on_interrupt": ["raise"],
    "solver": sorted(MINIBATCH_SOLVERS),
    "temperature_scaling": [False, "auto"],
    "time_limit": [None],
    "warm_start": [False],
}


def fit_distributed(
    estimator: Classifier,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
) -> Classifier:
    r"""Fit a classifier in all processes of a group, each of which has some rows.

    Every process calls this function with its own rows and gets the same classifier:
    up to rounding, the result of ``fit`` with the rows of all processes one after
    another. Each batch is drawn from all rows. Every process computes the gradient of
    its rows in the batch, and the gradients are added up. Run it with ``torchrun``,
    after :func:`torch.distributed.init_process_group`.

    Parameters
    ----------
    estimator : BaseSoftmaxClassifier
        The classifier to fit, in place, with the same parameters in every process:
        ``random_state`` an integer, no early stopping, no temperature (where these are
        "auto", they are off), no batch normalization, no full-batch solver, no
        checkpoint, no time limit, ``on_interrupt="raise"``. ``data_pruning`` has no
        effect: no rows are left out.
    X : array-like of shape (n_samples, n_features)
        The rows of this process.
    y : array-like of shape (n_samples,)
        Their labels. Not every process needs rows of every class.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each row in the loss; all equal if None.

    Returns
    -------
    estimator : BaseSoftmaxClassifier
        The fitted classifier, the same in all processes.

    Raises
    ------
    RuntimeError
        If there is no process group.
    TypeError
        If the estimator is no such classifier, or for rows for which ``fit`` raises it.
    ValueError
        If a parameter has another value than described above, if ``fit`` refuses the
        rows of a process, or if the columns of the processes differ. All processes
        raise.

    Notes
    -----
    The example below is a group of one process. Under ``torchrun``, which describes the
    group in the environment, ``init_process_group()`` needs no arguments.

    Dropout draws different noise in every process. A classifier with dropout, such as
    :class:`~sksoftmax.SoftmaxMLPClassifier` with its default dropout of the inputs,
    therefore differs from the one of a single process. Copies of a row count as several
    rows, unlike in ``fit``. The labels and weights of all rows are in the memory of
    every process, the features only in one.

    References
    ----------
    Li et al. (2020). PyTorch Distributed: Experiences on Accelerating Data Parallel
    Training. https://arxiv.org/abs/2006.15704

    Examples
    --------
    >>> import torch.distributed as dist
    >>> from sklearn.datasets import load_iris
    >>> from sksoftmax import SoftmaxMLPClassifier
    >>> from sksoftmax.distributed import fit_distributed
    >>> store = dist.HashStore()
    >>> dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = SoftmaxMLPClassifier(max_epochs=20, random_state=0)
    >>> fit_distributed(classifier, X, y).score(X, y) > 0.9
    True
    >>> dist.destroy_process_group()
    """
    if not (
        isinstance(estimator, BaseSoftmaxClassifier)
        # Each process learns from a part of the rows, like partial_fit.
        and hasattr(estimator, "partial_fit")
    ):
        raise TypeError(
            f"Got a {type(estimator).__name__}, but expected a SoftmaxRegression, "
            "SoftmaxMLPClassifier, SoftmaxCNNClassifier or SoftmaxNetClassifier."
        )
    if not (dist.is_available() and dist.is_initialized()):
        raise RuntimeError(
            "fit_distributed needs a process group, but torch.distributed is not "
            "initialized. Start the script with torchrun, and call "
            "torch.distributed.init_process_group() first."
        )
    with (
        reported(estimator, X, y, sample_weight) as report,
        modes_of_training(),
        fitted_state_kept(estimator),
    ):
        data = _gather_rows(estimator, X, y, sample_weight)
        rows = data.indices()
        check_number_of_classes(estimator, data)
        estimator._begin_fit(data, rows)
        plan = estimator._plan(data, rows, is_new=True, is_stream=False)
        if plan.recipe is not None:
            # Each process would leave out different rows.
            plan = replace(plan, recipe=replace(plan.recipe, data_pruning=0.0))
        estimator._build(plan, data, rows)
        _check_no_batch_norm(estimator.module_)
        _train(estimator, plan, data, rows, report)
        # All processes know the same losses.
        if dist.get_rank() == 0:
            estimator._warn_of_training(plan, data, is_warm=False)
    return estimator


@dataclass(frozen=True)
class ShardedRows(TrainingRows):
    r"""The labels and weights of all processes, and the features of this process."""

    # Index of this process's first row among the rows of all processes.
    start: int = 0

    def local(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        r"""Return the indices, in ``X``, of the rows of this process."""
        rows = rows - self.start
        return rows[(rows >= 0) & (rows < len(self.X))]

    def missing_columns(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        r"""Return the mask of the columns with a NaN in some rows of any process."""
        masks = _gather(super().missing_columns(self.local(rows)))
        mask: NDArray[np.bool_] = np.any(masks, axis=0)
        return mask

    def sample(self, rows: NDArray[np.int64], n_rows: int) -> Tensor:
        r"""Return some rows of all processes, as a module takes them."""
        chosen = self.local(evenly_spread(rows, n_rows))
        return torch.cat(_gather(super().sample(chosen, len(chosen))))

    def value_range(self) -> tuple[float, float, bool]:
        r"""Return the range of the values of all processes."""
        lows, highs, are_whole = zip(*_gather(super().value_range()), strict=True)
        return min(lows), max(highs), all(are_whole)

    def fit_layer(self, layer: Any, rows: NDArray[np.int64]) -> None:
        r"""Update the layer's statistics with all rows, one process after another."""
        assert self.sample_weight is not None
        # Equal in all processes.
        robust = layer.robust_scale(self.sample(rows, sample_size(self.X.shape[1])))
        part = slice(self.start, self.start + len(self.X))
        weight = self.sample_weight[part]
        shard = TrainingRows(self.X, self.y[part], None, weight, layout=self.layout)
        rows = self.local(rows)
        for rank in range(dist.get_world_size()):
            if rank == dist.get_rank() and len(rows):
                shard.update_layer(layer, rows, robust)
            state = [layer.state_dict()]
            dist.broadcast_object_list(state, src=rank)
            layer.load_state_dict(state[0])


class ShardedTable(TensorTable):
    r"""A table of all rows, from whose batches only this process's rows are taken.

    Parameters
    ----------
    table : TensorTable
        Labels and weights of all rows, and the features of this process.
    start : int
        Index of the first row of the features among all rows.
    """

    def __init__(self, table: TensorTable, start: int) -> None:
        X, y, rows = table.stored_X, table.stored_y, table.rows
        super().__init__(
            X, y, table.sample_weight, rows, table.dtype, table.pages, table.layout
        )
        self.start = start

    def __len__(self) -> int:
        return len(self.stored_y) if self.rows is None else len(self.rows)

    def take(self, index: Tensor, X: Tensor | None = None) -> Batch:
        r"""Return this process's rows of the batch at an index of all rows."""
        if X is None:
            X = self.features(self.local(index))
        assert self.sample_weight is not None
        index = self.local(index) + self.start
        weight = self.sample_weight.index_select(0, index)
        return X, (self.stored_y.index_select(0, index), weight)

    def local(self, index: Tensor) -> Tensor:
        r"""Return the index, in ``X``, of this process's rows of a batch."""
        local = index - self.start
        return local[(local >= 0) & (local < len(self.stored_X))]


class AllReduce(Callback):
    r"""Averages gradients and losses over the rows of all processes."""

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        self.weight_ = 0.0

    def on_grad_computed(
        self, net: Any, named_parameters: Any, batch: Batch, **kwargs: Any
    ) -> None:
        weight = batch[1][1]
        assert weight is not None
        total = weight.sum()
        gradients = [p.grad for _, p in named_parameters if p.grad is not None]
        # One message: the gradients of sums over rows, and the weight of the rows.
        flat = torch.cat([*(g.flatten() * total for g in gradients), total[None]])
        dist.all_reduce(flat)
        self.weight_ += float(total)
        parts = torch.split(flat[:-1] / flat[-1], [g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        local = net.history[-1, "train_loss"], self.weight_
        losses, weights = zip(*_gather(local), strict=True)
        loss = float(np.average(losses, weights=weights))
        record(net.history, "train_loss", loss, operator.lt)


def _gather(value: Any) -> list[Any]:
    r"""Return the values of all processes, in the order of their ranks."""
    values = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def _gather_rows(
    estimator: BaseSoftmaxClassifier,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None,
) -> ShardedRows:
    r"""Validate the rows of this process, and gather labels and weights of all."""
    local: Any
    try:
        _check_parameters(estimator)
        features, layout = check_features(estimator, X, reset=True, declared=True)
        if issparse(features):
            raise ValueError(
                f"Got sparse X of {features.shape[1]} columns, but expected dense rows "
                "with several processes. Pass X.toarray(), or call fit in one process."
            )
        labels = check_target(estimator, features, y)
        weight = check_weights(estimator, sample_weight, features)
        if weight is None:
            weight = np.ones(len(labels))
        local = (labels, weight, _settings(estimator))
    except Exception as error:
        # All processes raise it, or they would wait for the one that has failed.
        local = error
    gathered = _gather(local)
    for rank, result in enumerate(gathered):
        if isinstance(result, Exception):
            kind = TypeError if isinstance(result, TypeError) else ValueError
            raise kind(f"In the process of rank {rank}: {result}") from result
    all_labels, all_weights, settings = zip(*gathered, strict=True)
    for rank, found in enumerate(settings):
        if found != settings[0]:
            raise ValueError(
                f"Got {found} in the process of rank {rank}, but {settings[0]} in that "
                "of rank 0. Expected the same: pass the same parameters and columns, "
                "and categories as a dtype that has all of them."
            )
    start = sum(map(len, all_labels[: dist.get_rank()]))
    labels, weight = np.concatenate(all_labels), np.concatenate(all_weights)
    encoded, estimator.classes_ = encode_target(labels, None, weight)
    by_class = class_weights(estimator.class_weight, estimator.classes_, labels, weight)
    loss_weight = by_class[encoded] * weight
    return ShardedRows(
        features, encoded, loss_weight, weight, layout=layout, start=start
    )


def _check_parameters(estimator: BaseSoftmaxClassifier) -> None:
    check_parameters(estimator)
    estimator.device_ = resolve_device(estimator.device)
    parameters = estimator.get_params(deep=False)
    for name, accepted in _ACCEPTED.items():
        if name in parameters and parameters[name] not in accepted:
            raise ValueError(
                f"Got {name}={parameters[name]!r}, but expected "
                f"{' or '.join(map(repr, accepted))} with several processes."
            )
    if not isinstance(estimator.random_state, Integral):
        raise ValueError(
            f"Got random_state={estimator.random_state!r}, but expected an integer, "
            "the same in all processes."
        )


def _settings(estimator: BaseSoftmaxClassifier) -> dict[str, Any]:
    r"""Return parameters and attributes that must be equal in all processes."""
    names = getattr(estimator, "feature_names_in_", np.array([]))
    categories = getattr(estimator, "categories_", None)
    return {
        "n_features_in_": estimator.n_features_in_,
        "the shape of a row": estimator._row_shape,
        "feature_names_in_": names.tolist(),
        "the columns of dates": estimator._dates,
        "categories_": categories
        and [None if values is None else values.tolist() for values in categories],
        "random_state": int(estimator.random_state),
    }


def _check_no_batch_norm(module: nn.Module) -> None:
    if any(isinstance(layer, BATCH_NORMS) for layer in module.modules()):
        raise ValueError(
            "Got a module with batch normalization, whose statistics would be those of "
            "a part of a batch. Expected another normalization, or none."
        )


def _train(
    estimator: BaseSoftmaxClassifier,
    plan: Plan,
    data: ShardedRows,
    rows: NDArray[np.int64],
    report: FitReport,
) -> None:
    r"""Train from the same start and with the same batches in all processes."""
    net, module, device = estimator.net_, estimator.module_, estimator.device_
    with torch.no_grad():
        for tensor in module.state_dict().values():
            # They differ if a user's module draws from other generators.
            dist.broadcast(tensor, src=0)
    noise = make_generator(int(estimator.random_state) + dist.get_rank(), device)
    set_generator(module, noise)
    table = ShardedTable(
        estimator._table(data, rows, data.loss_weight), start=data.start
    )
    reduce = ("all_reduce", AllReduce())
    # First: callbacks that clip gradients then clip the gradients of the whole batch.
    net.callbacks_.insert(0, reduce)
    try:
        estimator._train(plan, table, None, report)
    finally:
        net.callbacks_.remove(reduce)
