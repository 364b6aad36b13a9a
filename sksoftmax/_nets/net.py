r"""The estimator around the user's own module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .._classifier.base import BaseSoftmaxClassifier
from .._classifier.plan import Plan
from .._data.training_rows import TrainingRows
from .._training.recipe import TrainingLength, net_recipe
from .._utils.arrays import as_tensor
from .._utils.keywords import explain_keywords
from ..modules._user_module import build_module, check_logits, check_shape

_PREFIX = "module__"

# Training rows whose outputs are looked at before training.
_CHECKED_ROWS = 16

# Meaning of "auto".
_LENGTH = TrainingLength(
    largest_batch=256, n_steps=3000, fewest_epochs=15, most_epochs=100
)


def _check_module(
    module: nn.Module, data: TrainingRows, rows: NDArray[np.int64]
) -> None:
    r"""Raise or warn if the outputs of a new module for some rows are no logits."""
    X = as_tensor(data.sample(rows, _CHECKED_ROWS)).to(torch.float32)
    check_logits(module, X)


class SoftmaxNetClassifier(BaseSoftmaxClassifier):
    r"""Softmax classifier around a module of your own.

    Minimises the cross-entropy of the softmax of the logits that the module returns.
    Everything else is as in :class:`SoftmaxMLPClassifier`, except that the features
    reach the module unscaled: put a
    :class:`~sklearn.preprocessing.StandardScaler` before it in a pipeline.

    Parameters
    ----------
    module : callable
        ``module(n_features, n_classes, **module_params)`` returns the
        :class:`torch.nn.Module`: a class with such an ``__init__``, or a function. The
        module maps float32 rows of shape ``(batch_size, n_features)`` to logits of
        shape ``(batch_size, n_classes)``: no softmax at the end, since the loss takes
        it. A copy of the returned module is trained, so that layers which exist
        already, such as a pretrained part, stay as they are and no fit learns from
        another.
    module_params : dict or None, default=None
        More arguments for ``module``. A search reaches each of them as
        ``module__<name>``, and so does ``set_params``. A module among them is copied
        before ``module`` gets it.
    optimizer : {"adamw", "adam", "sgd"}, default="adamw"
        Optimizer.
    learning_rate : float, default=0.001
        Learning rate; the highest one that ``lr_schedule`` reaches.
    momentum : float, default=0.9
        Momentum of ``optimizer="sgd"``.
    lr_schedule : {"one_cycle", "cosine", "constant"}, default="constant"
        How the learning rate changes over all steps: up and down to zero, down to
        zero, or not at all.
    weight_decay : float, default=0.0
        Decay of the weights (not of biases and normalisation): decoupled with
        "adamw", an L2 penalty with the other optimizers.
    batch_size : int or "auto", default="auto"
        Rows per step. "auto" is about a sixteenth of the rows, between 32 and 256.
    max_epochs : int or "auto", default="auto"
        Passes over the rows. "auto" makes about 3,000 steps in 15 to 100 passes.
        A number that ends the training while the loss still falls gives a
        ``ConvergenceWarning``.
    label_smoothing : float, default=0.0
        Share of each label's probability that is spread over all classes.
    early_stopping : bool, default=False
        Whether to hold out rows, stop when their score stalls and restore the
        weights of the best epoch.
    validation_fraction : float, default=0.1
        Share of the rows to hold out, stratified by class; equal rows, and those of
        a group that ``fit`` was passed, are held out together. Used only if
        ``early_stopping=True`` and no ``X_val`` is passed to ``fit``.
    n_iter_no_change : int, default=10
        Number of epochs without improvement after which training stops early.
    tol : float, default=1e-4
        By how much the best score must be beaten to count as an improvement.
    scoring : {"loss", "accuracy"}, default="loss"
        Validation score: the negative log loss, or the accuracy.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class in the loss. "balanced" weighs them inversely to their
        frequency. A dict may name classes that ``y`` lacks; those that it does not
        name weigh 1. A class of weight 0 stays in ``classes_``.
    warm_start : bool, default=False
        Whether ``fit`` continues from the weights of the previous fit.
    checkpoint : str or path-like or None, default=None
        File in which ``fit`` keeps the state of the training after each epoch, and from
        which the same fit goes on if it was killed, with the same result to the last
        bit; in a directory, every fit has a file of its own. Needs an integer as
        ``random_state``. See the notes of
        :class:`SoftmaxMLPClassifier`.
    random_state : int, RandomState instance or None, default=None
        Decides everything random: initial weights, the held-out rows, the order of
        the batches, dropout.
    device : str, default="auto"
        Where to compute: "cpu", "cuda", "cuda:1", "mps"; "auto" takes an accelerator
        if there is one.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        What training multiplies in. "auto" is float32, since the sizes in a module of
        yours are not known; "bfloat16" pays for large layers where the processor has
        units for it. Weights and predictions are float32 in any case.
    callbacks : list of skorch callbacks or None, default=None
        Called during training, as by a skorch net; an ``LRScheduler`` only with
        ``lr_schedule="constant"``, and those that watch validation scores only with
        ``X_val`` or ``early_stopping=True``. Callbacks of scikit-learn are set by
        ``set_callbacks`` instead.
    verbose : int, default=0
        1 shows a progress bar with the losses in a terminal (``pip install
        "sksoftmax[progress]"``); elsewhere, in a log for instance, it prints one line
        at the end, and in joblib's workers nothing. 2 prints a line per epoch.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The sorted labels.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if ``X`` had names that are all strings.
    n_samples_seen_ : int
        Number of rows that were learned from in ``fit``, and in the calls of
        ``partial_fit`` that followed.
    module_ : torch.nn.Module
        The fitted module.
    net_ : skorch.NeuralNet
        The skorch net that trained it, with its history and optimizer.
    n_iter_ : int
        Number of epochs run.
    best_epoch_ : int
        Number of the epoch, from 1 to `n_iter_`, whose weights were kept: the last one
        unless validation rows chose another.
    loss_curve_ : list of float
        Mean training loss of each epoch.
    validation_scores_ : list of float or None
        Validation score after each epoch; None if nothing was held out.
    device_ : torch.device
        Where the module is.

    See Also
    --------
    SoftmaxMLPClassifier : Multi-layer perceptron, scales its input.
    SoftmaxCNNClassifier : Convolutional net for images.

    Notes
    -----
    Modules draw their initial weights and their dropout masks from PyTorch's global
    generator. It is seeded while the module is built and trained and gets its state
    back afterwards; fits in several threads take turns for that reason.

    Layers may be frozen by ``requires_grad_(False)``, and unfrozen later by a callback
    such as skorch's ``Unfreezer``. Sparse gradients are turned into dense ones.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sksoftmax import SoftmaxNetClassifier
    >>> from torch import nn
    >>> def make_module(n_features, n_classes, width=32):
    ...     return nn.Sequential(
    ...         nn.Linear(n_features, width), nn.ReLU(), nn.Linear(width, n_classes)
    ...     )
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = SoftmaxNetClassifier(make_module, random_state=0)
    >>> classifier.set_params(module__width=64, learning_rate=0.01)
    SoftmaxNetClassifier(...)
    >>> classifier.fit(X, y).score(X, y) > 0.9
    True
    """

    __module__ = "sksoftmax"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseSoftmaxClassifier._parameter_constraints,
        "module": [callable],
        "module_params": [dict, None],
    }

    _has_user_module = True

    @explain_keywords
    def __init__(
        self,
        module: Callable[..., nn.Module],
        *,
        module_params: Mapping[str, Any] | None = None,
        optimizer: str = "adamw",
        learning_rate: float = 0.001,
        momentum: float = 0.9,
        lr_schedule: str = "constant",
        weight_decay: float = 0.0,
        batch_size: int | str = "auto",
        max_epochs: int | str = "auto",
        label_smoothing: float = 0.0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        scoring: str = "loss",
        class_weight: dict[Any, float] | str | None = None,
        warm_start: bool = False,
        checkpoint: str | PathLike[str] | None = None,
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
        precision: str = "auto",
        callbacks: list[Any] | None = None,
        verbose: int = 0,
    ) -> None:
        self.module = module
        self.module_params = module_params
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.lr_schedule = lr_schedule
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.label_smoothing = label_smoothing
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.scoring = scoring
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.device = device
        self.precision = precision
        self.callbacks = callbacks
        self.verbose = verbose

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        r"""Get the parameters.

        Parameters
        ----------
        deep : bool, default=True
            Whether to list the entries of ``module_params`` as ``module__<name>`` too.

        Returns
        -------
        params : dict
            Parameters and their values.
        """
        params: dict[str, Any] = super().get_params(deep=deep)
        if deep and isinstance(self.module_params, Mapping):
            for name, value in self.module_params.items():
                params[_PREFIX + name] = value
        return params

    def set_params(self, **params: Any) -> Self:
        r"""Set parameters, ``module__<name>`` among them.

        Parameters
        ----------
        **params : dict
            Parameters and their values.

        Returns
        -------
        self : object
            The classifier.
        """
        own = {k: v for k, v in params.items() if not k.startswith(_PREFIX)}
        super().set_params(**own)
        nested = {
            k.removeprefix(_PREFIX): v
            for k, v in params.items()
            if k.startswith(_PREFIX)
        }
        if nested:
            self.module_params = {**(self.module_params or {}), **nested}
        return self

    def _plan(
        self,
        data: TrainingRows,
        rows: NDArray[np.int64],
        *,
        is_new: bool,
        is_stream: bool,
    ) -> Plan:
        recipe = net_recipe(self, self.n_samples_seen_, _LENGTH)
        return Plan(recipe, check_module=_check_module)

    def _build_module(self, generator: torch.Generator) -> nn.Module:
        if isinstance(self.module, nn.Module):
            raise ValueError(
                f"Got module={type(self.module).__name__}(...), a module that is built "
                "already, but expected something that builds one: a class or function "
                "called as module(n_features, n_classes, **module_params)."
            )
        n_features, n_classes = self.n_features_in_, len(self.classes_)
        params = self.module_params or {}
        module = build_module(self.module, n_features, n_classes, params)
        check_shape(module, n_features, n_classes)
        return module
