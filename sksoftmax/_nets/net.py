r"""The estimator around the user's own module."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .._classifier.base import BaseSoftmaxClassifier
from .._classifier.plan import Plan
from .._data.training_rows import TrainingRows
from .._utils.arrays import convert
from .._utils.keywords import explain_keywords
from ..modules._named_inputs import split_inputs
from ..modules._output_checks import check_output, check_shape, check_tokens
from ..modules._user_module import build_module
from . import net_defaults
from .constraints import NET_CONSTRAINTS, version_of
from .images import AugmentedMixin, batch_augmentation, check_order_of_channels

# Parameters that are dicts, by the prefix of the names of their entries.
_DICTS = {"module__": "module_params", "optimizer__": "optimizer_params"}

# Training rows whose outputs are looked at before training.
_CHECKED_ROWS = 16


class SoftmaxNetClassifier(AugmentedMixin, BaseSoftmaxClassifier):
    r"""Softmax classifier around a module of your own.

    Minimizes the cross-entropy of the softmax of the logits that the module returns.
    Training is as in :class:`SoftmaxMLPClassifier`, but the features reach the module
    unscaled: put a :class:`~sklearn.preprocessing.StandardScaler` before it in a
    pipeline. Prefer it if you have an architecture of your own.

    Parameters
    ----------
    module : torch.nn.Module or callable
        The module, or ``module(n_features, n_classes, **module_params)`` returns it: a
        class with such an ``__init__``, or a function, where ``n_features`` is the
        number of values in a row. The module maps float32 rows of shape
        ``(batch_size, n_features)``, or with the axes of the rows of ``X``, to logits
        of shape ``(batch_size, n_classes)``, without a softmax at the end, which is
        part of the loss. If it fails for float32, as an embedding of tokens does, and
        ``X`` holds whole numbers, the rows are int64. A copy of the module is trained,
        so that layers which exist already, such as a pretrained part, stay as they are
        and no fit learns from another.
    module_params : dict or None, default=None
        Further arguments of ``module``. ``set_params`` and a search reach each of them
        as ``module__<name>``. ``module`` gets copies of the modules among them.
    image_shape : tuple of int or None, default=None
        Shape of an image, such that ``row.reshape(image_shape)`` is the image of a flat
        row: ``(height, width)``, ``(n_channels, height, width)`` or ``(height, width,
        n_channels)``. The module gets batches of shape ``(batch_size, n_channels,
        height, width)``. None leaves rows as they are in ``X``, flat or with axes.
    channels_last : bool or "auto", default="auto"
        Whether the channels are the last axis of an image, in ``image_shape`` if it is
        given and else in ``X`` of four axes. The module gets them as the first one.
        "auto" takes three axes of a row for such an image if the last one has 1, 3 or 4
        entries and both others have more.
    augmentation : {"shift", "shift_flip", "warp"}, callable or None, default=None
        Random changes of the images in training, as in :class:`SoftmaxCNNClassifier`,
        but before they become float32 and reach the module. A callable that is neither
        a layer nor a transform of torchvision gets batches of rows of any shape.
    inputs : dict or None, default=None
        Columns of ``X`` for each argument of the module's ``forward``, if it has
        several: names or positions, a list of them or a slice. Instead of it, ``X`` may
        be a dict of arrays of any shapes, with these arguments as keys. ``module`` then
        gets a dict of numbers of values as ``n_features``. See the notes.
    output : {"logits", "log_proba"}, default="logits"
        Output of the module. "log_proba" takes a ``LogSoftmax`` at its end.
    optimizer : {"adamw", "adam", "sgd"} or class, default="adamw"
        Optimizer: a name, or a class such as ``torch.optim.RMSprop``.
    optimizer_params : dict or None, default=None
        Further arguments of ``optimizer``. ``set_params`` and a search reach each of
        them as ``optimizer__<name>``.
    learning_rate : float or dict of str to float, default=0.001
        Highest learning rate of ``lr_schedule``. A dict has a rate for each pattern of
        parameters' names, such as ``{"fc.*": 1e-3, "*": 1e-5}``, with the wildcards of
        ``fnmatch``; the first pattern that matches a name counts.
    momentum : float, default=0.9
        Momentum of ``optimizer="sgd"``.
    lr_schedule : {"one_cycle", "cosine", "constant"}, default="constant"
        Course of the learning rate over all steps: up and down to zero, down to zero,
        or constant.
    weight_decay : float, default=0.0
        Decay of the matrices, not of biases and normalization: decoupled with "adamw",
        an L2 penalty with the other optimizers.
    batch_size : int or "auto", default="auto"
        Rows per step. "auto" is about a sixteenth of the rows, between 32 and 256.
    max_epochs : int or "auto", default="auto"
        Passes over the rows. "auto" makes about 3,000 steps in 15 to 100 epochs. A
        number at which the loss still falls gives a ``ConvergenceWarning``.
    time_limit : float or None, default=None
        Seconds after which ``fit`` ends with the best epoch so far. The schedule is
        shortened once the epochs left would take longer. A training that does not come
        near it is the same as without it.
    label_smoothing : float, default=0.0
        Share of each label's probability that is spread over all classes.
    frozen : str, list of str or None, default=None
        Patterns of the names of parameters that do not learn, ``["backbone.*"]`` for
        example. Batch normalizations of such names keep their statistics.
    unfreeze_after : int or None, default=None
        Number of epochs of each ``fit`` after which the ``frozen`` parameters learn as
        well; never if None.
    gradient_clipping : float or None, default=None
        Largest norm of the gradient of all parameters; a larger one is scaled down.
    weight_averaging : float or None, default=None
        Decay, such as 0.99, of an exponential moving average of the parameters over the
        steps of ``fit``, which validation and predictions use; none if None.
    early_stopping : bool, default=False
        Whether to hold out validation rows, to stop when their score stalls and to keep
        the best epoch.
    validation_fraction : float, default=0.1
        Share of the rows to hold out, stratified by class. Equal rows, and rows of an
        equal entry in ``groups``, are held out together. For ``early_stopping=True``,
        if ``fit`` gets no ``X_val``.
    n_iter_no_change : int, default=10
        Number of epochs without improvement after which training stops early.
    tol : float, default=1e-4
        Smallest improvement of the best score that counts.
    scoring : {"loss", "accuracy"}, name of a scorer or callable, default="loss"
        Validation score: the negative log loss, the accuracy, a score of scikit-learn,
        such as "balanced_accuracy", or ``scorer(estimator, X, y)``.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class in the loss. "balanced" is inverse to the frequency. A
        dict may name classes that ``y`` lacks; classes without an entry weigh 1. A
        class of weight 0 stays in ``classes_``.
    warm_start : bool, default=False
        Whether ``fit`` continues from the module of the previous fit.
    checkpoint : str or path-like or None, default=None
        File in which ``fit`` keeps the state of the training after each epoch, or a
        directory with a file for each fit. A killed fit goes on from there and ends
        with the same bits. Needs an integer as ``random_state``. See the notes of
        :class:`SoftmaxMLPClassifier`.
    on_interrupt : {"raise", "keep"}, default="raise"
        What Ctrl-C does in ``fit``: "raise" leaves the classifier as it was; "keep"
        keeps the best whole epoch so far, with a warning. In a search or an ensemble,
        "keep" ends one of the fits only.
    defaults : {"latest", "0.1", "0.2"}, default="latest"
        Version of sksoftmax whose values "auto" has. They are the
        same in all versions so far.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial parameters, the validation rows, the order of the batches
        and dropout.
    device : str, default="auto"
        Device: "cpu", "cuda", "cuda:1", "mps", "xpu"; "auto" takes an accelerator.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Type of the products in training. "auto" is float32, since the sizes of the
        layers are not known; "bfloat16" pays for large layers if the processor has
        units for it. Parameters and predictions are float32 in any case.
    callbacks : list of skorch callbacks or None, default=None
        Called during training, as by a skorch net. An ``LRScheduler`` needs
        ``lr_schedule="constant"``; callbacks that watch validation scores need
        ``X_val`` or ``early_stopping=True``. Callbacks of scikit-learn are set by
        ``set_callbacks``.
    verbose : int, default=0
        1 shows a progress bar with the losses in a terminal (``pip install rich``),
        updates one line in a notebook, prints one line at the end elsewhere, and
        nothing in joblib's workers. 2 prints a line per epoch.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The sorted labels.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if ``X`` had names that are all strings.
    n_samples_seen_ : int
        Number of training rows of ``fit`` and of the calls of ``partial_fit`` since.
    module_ : torch.nn.Module
        The fitted module.
    net_ : skorch.NeuralNet
        The skorch net that trained it, with its history and optimizer.
    n_iter_ : int
        Number of epochs run.
    best_epoch_ : int
        Number of the epoch, from 1 to `n_iter_`, whose parameters were kept: the last
        one unless validation rows chose another.
    loss_curve_ : list of float
        Mean training loss of each epoch.
    validation_scores_ : list of float or None
        Validation score after each epoch; None without validation rows.
    temperature_ : float
        Always 1 here: no temperature is learned.
    settings_ : dict
        What each "auto" became in ``fit``, by the name of the parameter;
        ``"early_stopping"`` is True if validation rows chose the epoch.
    device_ : torch.device
        Device of the module.

    See Also
    --------
    SoftmaxMLPClassifier : Multi-layer perceptron, scales its input.
    SoftmaxCNNClassifier : Convolutional net for images.

    Notes
    -----
    Modules draw their initial parameters and their dropout masks from PyTorch's global
    generator. It is seeded while the module is built and trained and gets its state
    back afterwards; fits in several threads take turns for that reason.

    scikit-learn's searches and cross-validations split tables, but no dicts: use
    ``inputs`` for them. Inputs of whole numbers are int64 if the module fails for
    float32.

    Layers may also be frozen by ``requires_grad_(False)``, and unfrozen later by a
    callback such as skorch's ``Unfreezer``. Sparse gradients are turned into dense
    ones.

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

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = NET_CONSTRAINTS

    _has_user_module = True

    # Whether each input has whole numbers, which may be tokens, in the rows of ``fit``
    # that are looked at.
    _are_whole: tuple[bool, ...] = (False,)

    @explain_keywords
    def __init__(
        self,
        module: nn.Module | Callable[..., nn.Module],
        *,
        module_params: Mapping[str, Any] | None = None,
        image_shape: Sequence[int] | None = None,
        channels_last: bool | str = "auto",
        augmentation: str | Callable[[Tensor], Tensor] | None = None,
        inputs: Mapping[str, Any] | None = None,
        output: str = "logits",
        optimizer: str | type[torch.optim.Optimizer] = "adamw",
        optimizer_params: Mapping[str, Any] | None = None,
        learning_rate: float | Mapping[str, float] = 0.001,
        momentum: float = 0.9,
        lr_schedule: str = "constant",
        weight_decay: float = 0.0,
        batch_size: int | str = "auto",
        max_epochs: int | str = "auto",
        time_limit: float | None = None,
        label_smoothing: float = 0.0,
        frozen: str | Sequence[str] | None = None,
        unfreeze_after: int | None = None,
        gradient_clipping: float | None = None,
        weight_averaging: float | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        scoring: str | Callable[..., float] = "loss",
        class_weight: dict[Any, float] | str | None = None,
        warm_start: bool = False,
        checkpoint: str | PathLike[str] | None = None,
        on_interrupt: str = "raise",
        defaults: str = "latest",
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
        precision: str = "auto",
        callbacks: list[Any] | None = None,
        verbose: int = 0,
    ) -> None:
        self.module = module
        self.module_params = module_params
        self.image_shape = image_shape
        self.channels_last = channels_last
        self.augmentation = augmentation
        self.inputs = inputs
        self.output = output
        self.optimizer = optimizer
        self.optimizer_params = optimizer_params
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.lr_schedule = lr_schedule
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.time_limit = time_limit
        self.label_smoothing = label_smoothing
        self.frozen = frozen
        self.unfreeze_after = unfreeze_after
        self.gradient_clipping = gradient_clipping
        self.weight_averaging = weight_averaging
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.scoring = scoring
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.checkpoint = checkpoint
        self.on_interrupt = on_interrupt
        self.defaults = defaults
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
            Whether to list the entries of ``module_params`` as ``module__<name>`` too,
            and those of ``optimizer_params`` as ``optimizer__<name>``.

        Returns
        -------
        params : dict
            Parameters and their values.
        """
        params: dict[str, Any] = super().get_params(deep=deep)
        if not deep:
            return params
        for prefix, parameter in _DICTS.items():
            if isinstance(params[parameter], Mapping):
                for name, value in params[parameter].items():
                    params[prefix + name] = value
        return params

    def set_params(self, **params: Any) -> Self:
        r"""Set parameters, ``module__<name>`` and ``optimizer__<name>`` among them.

        Parameters
        ----------
        **params : dict
            Parameters and their values.

        Returns
        -------
        self : object
            The classifier.
        """
        prefixes = tuple(_DICTS)
        super().set_params(
            **{k: v for k, v in params.items() if not k.startswith(prefixes)}
        )
        for prefix, parameter in _DICTS.items():
            nested = {
                k.removeprefix(prefix): v
                for k, v in params.items()
                if k.startswith(prefix)
            }
            if nested:
                present = self.get_params(deep=False)[parameter] or {}
                super().set_params(**{parameter: {**present, **nested}})
        return self

    def _plan(
        self,
        data: TrainingRows,
        rows: NDArray[np.int64],
        *,
        is_new: bool,
        is_stream: bool,
    ) -> Plan:
        augmentation = batch_augmentation(
            self.augmentation,
            data,
            rows,
            self._row_shape_in_fit.shape,
            is_checked=is_new or not is_stream,
        )
        recipe = replace(
            net_defaults.recipe(self, self.n_samples_seen_), augmentation=augmentation
        )
        settings = partial(dict[str, Any], defaults=version_of(self.defaults))
        if not is_new:
            return Plan(recipe, settings=settings)
        sample = data.sample(rows, _CHECKED_ROWS)
        attributes = {"_are_whole": net_defaults.whole_inputs(sample, self._parts)}
        return Plan(
            recipe, attributes, check_module=self._check_module, settings=settings
        )

    def _check_module(
        self, module: nn.Module, data: TrainingRows, rows: NDArray[np.int64]
    ) -> None:
        r"""Raise or warn if a new module returns something else than it should."""
        X = convert(data.sample(rows, _CHECKED_ROWS), self._input_dtype)
        if self._takes_integers or (self._parts and any(self._are_whole)):
            check_tokens(module, data.extremes(rows))
        check_output(module, X, self.output)
        shape, is_image, _ = self._row_shape_in_fit
        if is_image:
            check_order_of_channels(data, rows, shape)

    def _build_module(self, generator: torch.Generator) -> nn.Module:
        n_features, n_classes = self.n_features_in_, len(self.classes_)
        params, parts = self.module_params or {}, self._parts
        sizes = {part.name: len(part.columns) for part in parts} or n_features
        module = build_module(self.module, sizes, n_classes, params)
        if parts:
            split_inputs(module, parts, self._are_whole, n_features, n_classes)
            return module
        dtypes = [torch.float32, torch.int64][: 1 + any(self._are_whole)]
        dtype = check_shape(module, self._row_shape_in_fit.shape, n_classes, dtypes)
        self._takes_integers = not dtype.is_floating_point
        return module
