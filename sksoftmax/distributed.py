r"""One classifier, trained by several processes that have a part of the rows each."""

from __future__ import annotations

import operator
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import ArrayLike, NDArray
from skorch.callbacks import Callback
from torch import Tensor, nn

from ._classifier.base import BaseSoftmaxClassifier
from ._classifier.plan import Plan
from ._data.features import check_features
from ._data.labels import check_target, check_weights, class_weights, encode_target
from ._data.training_rows import TrainingRows, check_number_of_classes, evenly_spread
from ._linear.regression import MINIBATCH_SOLVERS
from ._training.batches import Batch, TensorTable
from ._training.skorch_net import record
from ._utils.arrays import as_tensor
from ._utils.compat import BATCH_NORMS, check_parameters
from ._utils.devices import modes_of_training, resolve_device
from ._utils.estimators import fitted_state_kept
from ._utils.memmap import Pages
from ._utils.progress import FitReport, reported
from ._utils.random import make_generator
from ._utils.robust_scale import sample_size
from .modules._base import set_generator

__all__ = ["fit_distributed"]

Classifier = TypeVar("Classifier", bound=BaseSoftmaxClassifier)


def fit_distributed(
    estimator: Classifier,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
) -> Classifier:
    r"""Fit a classifier in all processes of a group, each of which has some rows.

    Every process calls this with its own rows, and gets the same classifier: the one
    that ``fit`` would make, up to rounding, of the rows of all processes one after
    another. Each batch is drawn from all rows, so a process gets those of it that are
    its own; the gradients are added up. Run it with ``torchrun``, after
    :func:`torch.distributed.init_process_group`.

    Parameters
    ----------
    estimator : BaseSoftmaxClassifier
        What to fit, in place, with the same parameters in every process:
        ``random_state`` an integer, no early stopping, no temperature (where these are
        "auto", they are off), no batch normalisation, no full-batch solver, no
        checkpoint. No rows are left out, whatever ``data_pruning`` is.
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
        If the estimator is none of these, or for rows for which ``fit`` raises it.
    ValueError
        If the parameters are others than above, or if the rows of any process are
        refused by ``fit`` or do not go with those of the others. All processes raise.

    Notes
    -----
    The example below is a group of one process. Under ``torchrun``, which says in the
    environment what the group is, ``init_process_group()`` needs no arguments.

    Dropout draws other noise in every process, so that a classifier with dropout, of
    the inputs by default in :class:`~sksoftmax.SoftmaxMLPClassifier`, is not the same
    as that of a single process. Nor do copies of a row count as one row, as they do in
    ``fit``; but no rows are held out. Labels and weights of all rows are in the
    memory of every process, features are not.

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
        # What learns from a part of the rows can learn from those of a process.
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
        data = _agree_on_rows(estimator, X, y, sample_weight)
        rows = data.indices()
        check_number_of_classes(estimator, data)
        estimator._begin_fit(data, rows)
        plan = estimator._plan(data, rows, is_new=True, is_stream=False)
        if plan.recipe is not None:
            # Each process would leave out other rows.
            plan = replace(plan, recipe=replace(plan.recipe, data_pruning=0.0))
        estimator._build(plan, data, rows)
        _check_no_batch_norm(estimator.module_)
        _train(estimator, plan, data, rows, report)
        # All processes know the same losses.
        if dist.get_rank() == 0:
            estimator._warn_of_training(plan, data, is_warm=False)
    return estimator


class ShardedRows(TrainingRows):
    r"""The labels and weights of all processes, but the features of this one only."""

    @property
    def start(self) -> int:
        r"""The place of this process's first row among all rows."""
        return int(sum(_gather(len(self.X))[: dist.get_rank()]))

    def own(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        r"""Return those of some rows that are here, counted from the first of them."""
        rows = rows - self.start
        return rows[(rows >= 0) & (rows < len(self.X))]

    def missing_columns(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        r"""Return the mask of the columns with a NaN in some rows of any process."""
        here = super().missing_columns(self.own(rows))
        anywhere: NDArray[np.bool_] = np.any(_gather(here), axis=0)
        return anywhere

    def sample(self, rows: NDArray[np.int64], n_rows: int) -> NDArray[Any]:
        r"""Return the features of some rows of all processes."""
        chosen = evenly_spread(rows, n_rows)
        return np.concatenate(_gather(Pages(self.X).take(self.own(chosen))))

    def teach(self, layer: Any, rows: NDArray[np.int64]) -> None:
        r"""Let a layer learn the statistics of all rows, one process after another."""
        start, weight = self.start, self.sample_weight
        assert weight is not None
        # The same in all processes.
        robust = layer.robust_scale(
            as_tensor(self.sample(rows, sample_size(self.X.shape[1])))
        )
        here = TrainingRows(
            self.X,
            self.y[start : start + len(self.X)],
            None,
            weight[start : start + len(self.X)],
        )
        own = self.own(rows)
        for rank in range(dist.get_world_size()):
            if rank == dist.get_rank() and len(own):
                here.teach_within(layer, own, robust)
            state = [layer.state_dict()]
            dist.broadcast_object_list(state, src=rank)
            layer.load_state_dict(state[0])


class ShardedTable(TensorTable):
    r"""A table of all rows, of whose batches only this process's rows are taken.

    Parameters are those of :class:`TensorTable`, and the place of the first row of
    ``X`` among all rows.
    """

    def __init__(self, X: Tensor, *args: Any, start: int, **kwargs: Any) -> None:
        super().__init__(X, *args, **kwargs)
        self.start = start

    def __len__(self) -> int:
        return len(self.stored_y) if self.rows is None else len(self.rows)

    def take(self, index: Tensor) -> Batch:
        r"""Return those rows at an index of all rows that are here."""
        place = index - self.start
        is_here = (place >= 0) & (place < len(self.stored_X))
        index = index[is_here]
        assert self.sample_weight is not None
        weight = self.sample_weight.index_select(0, index)
        return (
            self.features(place[is_here]),
            (self.stored_y.index_select(0, index), weight),
        )


class AllReduce(Callback):
    r"""Make gradients and losses of a part of a batch those of the whole."""

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
        losses, weights = zip(
            *_gather((net.history[-1, "train_loss"], self.weight_)), strict=True
        )
        loss = float(np.average(losses, weights=weights))
        record(net.history, "train_loss", loss, operator.lt)


def _gather(value: Any) -> list[Any]:
    r"""Return the values of all processes, in the order of their ranks."""
    values = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def _agree_on_rows(
    estimator: BaseSoftmaxClassifier,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None,
) -> ShardedRows:
    r"""Validate the rows of this process, and learn of those of the others."""
    here: Any
    try:
        _check_parameters(estimator)
        features = check_features(estimator, X, reset=True, declared=True)
        labels = check_target(estimator, features, y)
        weight = check_weights(estimator, sample_weight, features)
        if weight is None:
            weight = np.ones(len(labels))
        here = (labels, weight, _what_must_be_equal(estimator))
    except Exception as error:
        here = error
    everywhere = _gather(here)
    for rank, there in enumerate(everywhere):
        if isinstance(there, Exception):
            # Nobody waits for a process that has given up.
            kind = TypeError if isinstance(there, TypeError) else ValueError
            raise kind(f"In the process of rank {rank}: {there}") from there
    all_labels, all_weights, equal = zip(*everywhere, strict=True)
    for rank, there in enumerate(equal):
        if there != equal[0]:
            raise ValueError(
                f"Got {there} in the process of rank {rank}, but {equal[0]} in that of "
                "rank 0. Expected the same: pass the same parameters and columns, and "
                "categories as a dtype that has all of them."
            )
    labels, weight = np.concatenate(all_labels), np.concatenate(all_weights)
    encoded, estimator.classes_ = encode_target(labels, None, weight)
    by_class = class_weights(estimator.class_weight, estimator.classes_, labels, weight)
    return ShardedRows(features, encoded, by_class[encoded] * weight, weight)


def _check_parameters(estimator: BaseSoftmaxClassifier) -> None:
    check_parameters(estimator)
    estimator.device_ = resolve_device(estimator.device)
    parameters = estimator.get_params(deep=False)
    for name, wrong in (("early_stopping", True), ("temperature_scaling", True)):
        if parameters.get(name) is wrong:
            raise ValueError(
                f"Got {name}=True, but expected False with several processes."
            )
    if parameters.get("checkpoint") is not None:
        raise ValueError(
            f"Got checkpoint={parameters['checkpoint']!r}, but expected None with "
            "several processes."
        )
    if not isinstance(estimator.random_state, int | np.integer):
        raise ValueError(
            f"Got random_state={estimator.random_state!r}, but expected an integer, "
            "the same in all processes."
        )
    if parameters.get("solver", "adam") not in MINIBATCH_SOLVERS:
        raise ValueError(
            f"Got solver={parameters['solver']!r}, but expected one of "
            f"{sorted(MINIBATCH_SOLVERS)} with several processes."
        )
    if parameters.get("l1_ratio") or estimator.warm_start:
        raise ValueError(
            "Got l1_ratio or warm_start, but expected l1_ratio=0 and warm_start=False "
            "with several processes."
        )


def _what_must_be_equal(estimator: BaseSoftmaxClassifier) -> dict[str, Any]:
    categories = getattr(estimator, "categories_", None)
    return {
        "n_features_in_": estimator.n_features_in_,
        "feature_names_in_": np.asarray(
            getattr(estimator, "feature_names_in_", [])
        ).tolist(),
        "categories_": categories
        and [None if one is None else one.tolist() for one in categories],
        "random_state": int(estimator.random_state),
    }


def _check_no_batch_norm(module: nn.Module) -> None:
    if any(isinstance(layer, BATCH_NORMS) for layer in module.modules()):
        raise ValueError(
            "Got a module with batch normalisation, whose statistics would be those of "
            "a part of a batch. Expected another normalisation, or none."
        )


def _train(
    estimator: BaseSoftmaxClassifier,
    plan: Plan,
    data: ShardedRows,
    rows: NDArray[np.int64],
    report: FitReport,
) -> None:
    r"""Train from one start, with one order of batches, and leave the net as usual."""
    net, module, device = estimator.net_, estimator.module_, estimator.device_
    with torch.no_grad():
        for tensor in module.state_dict().values():
            # The same already, but for what a user's module draws elsewhere.
            dist.broadcast(tensor, src=0)
    noise = make_generator(int(estimator.random_state) + dist.get_rank(), device)
    set_generator(module, noise)
    make_table = partial(ShardedTable, start=data.start)
    table = estimator._table(data, rows, data.loss_weight, make_table)
    reduce = ("all_reduce", AllReduce())
    # First, so that a user's callback that clips gradients clips those of the batch.
    net.callbacks_.insert(0, reduce)
    try:
        estimator._train(plan, table, None, report)
    finally:
        net.callbacks_.remove(reduce)
