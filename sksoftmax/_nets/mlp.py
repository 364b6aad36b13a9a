r"""The multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from .._classifier.base import BaseSoftmaxClassifier
from .._classifier.plan import Plan
from .._data.training_rows import TrainingRows
from .._utils.array_api import FittedArray
from .._utils.keywords import explain_keywords
from ..modules._mlp import SoftmaxMLP
from . import mlp_defaults
from .constraints import MLP_CONSTRAINTS
from .mlp_inputs import plan_inputs


class SoftmaxMLPClassifier(BaseSoftmaxClassifier):
    r"""Multi-layer perceptrons with a softmax output, trained as one and averaged.

    Each net minimizes the cross-entropy of the softmax of its logits. The inputs are
    scaled inside, so raw tables and pixels can go in. Prefer it to
    :class:`SoftmaxRegression` where planes do not separate the classes, and to
    :class:`SoftmaxCNNClassifier` unless the features are pixels.

    Parameters
    ----------
    hidden_layer_sizes : int, sequence of int, str or "auto", default="auto"
        Width of each hidden layer, also as text: "128-64" is (128, 64). "auto" is two
        layers: of 64 units below 750 rows and for sparse rows, of 128 below 20,000
        rows, and of 256 from there on.
    activation : {"relu", "gelu", "silu", "tanh", "identity"}, default="silu"
        Activation function of the hidden layers.
    normalization : {"auto", "batch", "layer"} or None, default="auto"
        Normalization of each hidden layer. "auto" is "batch" from five hidden layers
        on: deep nets do not learn without it.
    dropout : float, default=0.0
        Dropout rate after each hidden layer.
    input_dropout : float or "auto", default="auto"
        Dropout rate of the scaled inputs. "auto" is 0.1, or 0.2 for more than 256
        features or from 20,000 rows on, and 0 in restarts.
    input_scaling : {"smooth", "standard"} or None, default="smooth"
        Scaling of the features, with statistics learned in ``fit``. "standard" gives
        zero mean and unit variance. "smooth" takes the square root of counts before
        it and the inverse hyperbolic sine after it, which tames heavy tails and
        outliers. None changes nothing. Sparse rows keep their zeros, see the notes.
    n_bins : int, array-like of shape (n_features,), "auto" or None, default="auto"
        Number of bins that the range of each column of numbers is divided into, so
        that a net has a parameter for each part of it (piecewise-linear encoding); 0 in
        an array and None mean no bins. "auto" is 8, or 16 from 20,000 rows on, or 0
        for more than 256 features. Below 20,000 rows only half of the nets get the
        bins, since bins help to memorize a table.
    embedding_size : int, "auto" or None, default="auto"
        Elements of the learned vector that the bins of each column are mapped to, by a
        linear map and the activation SiLU; "auto" is 4, None leaves the bins as they
        are.
    n_estimators : int, default=12
        Number of nets, trained on the same batches; averaged at a temperature of 1.5.
    share_weights : bool, default=False
        Whether the nets share their matrices and differ in scales and biases, as in
        TabM: less memory, but not less time on a CPU.
    categorical_features : array-like, "from_dtype" or None, default="from_dtype"
        The features that are categories: a boolean mask, indices or names of columns,
        or None. "from_dtype" takes the columns of a pandas or polars DataFrame that
        hold categories, text or booleans, and no columns of an array. See the notes.
    optimizer : {"adamw", "adam", "sgd"}, default="adamw"
        Optimizer.
    learning_rate : float or "auto", default="auto"
        Highest learning rate of ``lr_schedule``. "auto" is 0.012. Below 1,500 rows,
        for "adamw", it is less in proportion to the rows, but at least 0.003.
    momentum : float, default=0.9
        Momentum of ``optimizer="sgd"``.
    lr_schedule : {"one_cycle", "cosine", "constant"}, default="cosine"
        Course of the learning rate: up and down to zero, down to zero, or constant.
    weight_decay : float or "auto", default="auto"
        Decay of the matrices, not of biases and normalization: decoupled with "adamw",
        an L2 penalty with the other optimizers. "auto" is 0.01; 0.1 for more than 256
        features; and 0.3 for "adamw" below 1,500 rows.
    batch_size : int or "auto", default="auto"
        Rows per step. "auto" is about a sixteenth of the rows, between 32 and 256.
    max_epochs : int or "auto", default="auto"
        Passes over the rows. "auto" makes about 200 steps, in 6 to 100 epochs: as few
        as 100 for "adamw" below 1,500 rows; from 20,000 rows on at least 9 epochs, or
        32 with more than 256 features. Up to two restarts may follow, see the notes. A
        number at which the loss still falls gives a ``ConvergenceWarning``.
        From 20,000 rows on, vectors of bins learn in half of the epochs, and the first
        layer in 85%, unless the learning rate is constant.
    time_limit : float or None, default=None
        Seconds after which ``fit`` ends with the best epoch so far. The schedule is
        shortened once the epochs left would take longer. A training that does not come
        near it is the same as without it.
    label_smoothing : float, default=0.0
        Share of each label's probability that is spread over all classes.
    weight_averaging : float or None, default=None
        Decay, such as 0.99, of an exponential moving average of the parameters over the
        steps of ``fit``, which validation and predictions use; none if None.
    early_stopping : bool or "auto", default="auto"
        Whether to hold out validation rows, to stop when their score stalls and to
        keep the best epoch. "auto" never stops, but keeps the best epoch of several
        nets below 20,000 rows: each net leaves out other rows, a sixth of them if there
        are six nets or more, and the nets that left out a row predict it. With
        ``X_val``, "auto" keeps the best epoch too.
    validation_fraction : float, default=0.1
        Share of the rows to hold out, stratified by class, for ``early_stopping=True``
        and for a temperature, if ``fit`` gets no ``X_val``.
    n_iter_no_change : int, default=10
        Number of epochs without improvement after which training stops early.
    temperature_scaling : bool or "auto", default="auto"
        Whether to divide the logits by a number that is learned from validation rows
        after training, so that the probabilities are calibrated: from those of early
        stopping, else from at most 2,000 rows, or 4,000 of which groups of four nets or
        more leave out different parts. "auto" does it if rows are held out anyway, and
        from 20,000 rows on. See the notes.
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
        directory with a file for each fit. A killed fit goes on from there, with the
        same bits. Needs an integer as ``random_state``. See the notes.
    on_interrupt : {"raise", "keep"}, default="raise"
        What Ctrl-C does in ``fit``: "raise" leaves the classifier as it was; "keep"
        keeps the best whole epoch so far, with a warning. In a search or an ensemble,
        "keep" ends one of the fits only.
    defaults : {"latest", "0.1", "0.2"}, default="latest"
        Version of sksoftmax whose values "auto" has. See the notes.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial parameters, the validation rows, the batches and dropout.
    device : str, default="auto"
        Device: "cpu", "cuda", "cuda:1", "mps", "xpu"; "auto" takes an accelerator.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Type of the products in training. "auto" is bfloat16 if the processor has units
        for it and the layers are large enough, else float32. Parameters and predictions
        are float32 in any case.
    callbacks : list of skorch callbacks or None, default=None
        Called during training, as by a skorch net. An ``LRScheduler`` needs
        ``lr_schedule="constant"``; callbacks that watch validation scores need
        validation rows. Callbacks of scikit-learn are set by ``set_callbacks``.
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
    is_categorical_ : ndarray of bool of shape (`n_features_in_`,) or None
        Mask of the categorical features; None if there are none.
    categories_ : list of (ndarray or None) of length `n_features_in_`, or None
        Categories of each feature, None for numbers; None without any.
    n_bins_ : ndarray of shape (`n_features_in_`,)
        Number of bins of each feature, and of dates: 0 for categories and two values.
    hidden_layer_sizes_ : tuple of int
        Width of each hidden layer.
    module_ : SoftmaxMLP
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
        Validation score after each epoch, with a temperature at the best one; None
        without validation rows.
    temperature_ : float
        The number that the logits are divided by; 1 unless one was learned.
    settings_ : dict
        What each "auto" became; ``early_stopping``: did validation rows choose?
    device_ : torch.device
        Device of the module.

    See Also
    --------
    SoftmaxRegression : Linear classifier, exact optimum.
    SoftmaxCNNClassifier : Convolutional net for images.
    SoftmaxNetClassifier : The same estimator around a module of your own.
    sklearn.neural_network.MLPClassifier : The perceptron of scikit-learn.

    Notes
    -----
    **Missing values** (NaN, None, NA, null): a missing number is replaced by the mean
    (by 0 with ``input_scaling=None``), and a feature with missing numbers in ``fit``
    gets one more input, which is 1 for them. A missing category is one of its own.

    **Categories**: a feature of up to 16 categories is one-hot encoded; with more, a
    vector is learned for each category. Categories that ``fit`` has not seen count as
    missing. The first call of ``partial_fit`` learns the categories, so pass a
    categorical dtype that has all of them. ``fit`` warns about nearly unique categories
    and dates as text, and ``predict`` if no value of a feature is a known category.

    **Dates**, of pandas, polars, pyarrow, NumPy or ``datetime``, become six numbers:
    days since 1970, year, month, day, weekday and hour. Durations become days.

    **Sparse rows** of more than 256 columns, of TF-IDF for example, stay sparse in
    memory and in products; those of fewer columns become dense. Nonzero values become
    about 1 by a divisor, zeros and missing values are 0, and there are no bins.

    **Restarts**: with ``max_epochs="auto"`` and validation rows, the schedule starts
    again, twice as long, while the net underfits: the best epoch is late and the
    training loss is close to the validation loss; below 20,000 rows also if the last
    epoch is the best. It ends when half of it has gained nothing; another one follows
    if the loss fell by a tenth or more.

    **Copies** of a row, with equal features (as float32) and labels, count as one row
    with the sum of their weights. Equal rows with other labels are held out together,
    as groups are. Tables with a quarter of all combinations of values are exempt.

    **Temperature**: for averages of the nets that left out a row it is carried over to
    the average of all nets. The epoch is chosen by the loss at its best temperature.

    **Defaults**: ``defaults="0.1"`` gives every "auto" the value that version 0.1.0
    had. Bits differ: random numbers come in another order, and restarts are rarer.

    **Checkpoint**: ``fit`` goes on from the last whole epoch if the file is of a fit
    with the same parameters, data and ``random_state``; a finished fit is returned at
    once. Any other file is an error and stays as it is. The file holds data and no
    code. ``partial_fit`` keeps no checkpoint.

    References
    ----------
    Berta, Holzmüller, Jordan and Bach (2025). Rethinking Early Stopping: Refine, Then
    Calibrate. https://arxiv.org/abs/2501.19195

    Gorishniy, Kotelnikov and Babenko (2025). TabM. https://arxiv.org/abs/2410.24210

    Guo, Pleiss, Sun and Weinberger (2017). On Calibration of Modern Neural Networks.
    https://arxiv.org/abs/1706.04599

    Loshchilov and Hutter (2017). SGDR: Stochastic Gradient Descent with Warm Restarts.
    https://arxiv.org/abs/1608.03983

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from sksoftmax import SoftmaxMLPClassifier
    >>> X_train, X_test, y_train, y_test = train_test_split(
    ...     *load_digits(return_X_y=True), random_state=0
    ... )
    >>> classifier = SoftmaxMLPClassifier(n_estimators=2, random_state=0)
    >>> classifier.fit(X_train, y_train).score(X_test, y_test) > 0.95
    True

    A table as it comes:

    >>> import pandas as pd
    >>> table = pd.DataFrame(
    ...     {"color": ["red", "blue", None] * 30, "size": [1.0, None] * 45}
    ... )
    >>> is_red = table["color"] == "red"
    >>> classifier.fit(table, is_red).score(table, is_red)
    1.0
    """

    __module__ = "sksoftmax"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = MLP_CONSTRAINTS

    hidden_layer_sizes_: tuple[int, ...]
    # The second: True for each feature in which a value was missing in ``fit``.
    n_bins_, _has_missing = FittedArray(), FittedArray()
    # True if only the first half of the members has the bins.
    _half_with_bins: bool
    # True if the module was made for sparse rows.
    _is_sparse: bool = False

    _most_dense_columns = mlp_defaults.MLPDefaults.many_features

    @explain_keywords
    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] | str = "auto",
        *,
        activation: str = "silu",
        normalization: str | None = "auto",
        dropout: float = 0.0,
        input_dropout: float | str = "auto",
        input_scaling: str | None = "smooth",
        n_bins: int | ArrayLike | str | None = "auto",
        embedding_size: int | str | None = "auto",
        n_estimators: int = 12,
        share_weights: bool = False,
        categorical_features: ArrayLike | None = "from_dtype",
        optimizer: str = "adamw",
        learning_rate: float | str = "auto",
        momentum: float = 0.9,
        lr_schedule: str = "cosine",
        weight_decay: float | str = "auto",
        batch_size: int | str = "auto",
        max_epochs: int | str = "auto",
        time_limit: float | None = None,
        label_smoothing: float = 0.0,
        weight_averaging: float | None = None,
        early_stopping: bool | str = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        temperature_scaling: bool | str = "auto",
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
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.normalization = normalization
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.input_scaling = input_scaling
        self.n_bins = n_bins
        self.embedding_size = embedding_size
        self.n_estimators = n_estimators
        self.share_weights = share_weights
        self.categorical_features = categorical_features
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.lr_schedule = lr_schedule
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.time_limit = time_limit
        self.label_smoothing = label_smoothing
        self.weight_averaging = weight_averaging
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.temperature_scaling = temperature_scaling
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

    @property
    def is_categorical_(self) -> NDArray[np.bool_] | None:
        r"""The mask of the features that are categories; None if there are none."""
        check_is_fitted(self)
        return None if self._encoder is None else self._encoder.is_categorical

    @property
    def categories_(self) -> list[NDArray[Any] | None] | None:
        r"""The categories of each feature, None for numbers; None without any."""
        check_is_fitted(self)
        return None if self._encoder is None else self._encoder.to_arrays()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        return tags

    def _plan(
        self,
        data: TrainingRows,
        rows: NDArray[np.int64],
        *,
        is_new: bool,
        is_stream: bool,
    ) -> Plan:
        recipe = mlp_defaults.recipe(
            self, self.n_samples_seen_, self._n_inputs, is_stream=is_stream
        )
        inputs = plan_inputs(self, data, rows, is_new=is_new)
        attributes, sizes = inputs.attributes, self.hidden_layer_sizes
        # A warm start keeps widths that are "auto", and checks others.
        is_kept = is_stream or str(sizes) == "auto"
        if is_new or not is_kept:
            attributes["hidden_layer_sizes_"] = mlp_defaults.hidden_layer_sizes(
                sizes,
                len(rows),
                self._n_inputs,
                mlp_defaults.numbers_of(self.defaults),
                is_stream=is_stream,
                is_sparse=inputs.is_sparse,
            )
        return Plan(
            recipe,
            attributes=attributes,
            learn_inputs=inputs.learn,
            settings=partial(mlp_defaults.settings, self, recipe),
        )

    def _build_module(self, generator: torch.Generator) -> SoftmaxMLP:
        settings = mlp_defaults.module_settings(self)
        module = SoftmaxMLP(
            self._n_inputs,
            len(self.classes_),
            hidden_layer_sizes=self.hidden_layer_sizes_,
            activation=self.activation,
            normalization=settings["normalization"],
            dropout=self.dropout,
            input_dropout=settings["input_dropout"],
            input_scaling=self.input_scaling,
            n_estimators=self.n_estimators,
            share_weights=self.share_weights,
            cardinalities=self._cardinalities,
            missing=self._has_missing.tolist() if self._has_missing.any() else None,
            n_bins=self.n_bins_.tolist() if self.n_bins_.any() else None,
            bin_vector_size=settings["embedding_size"],
            half_with_bins=self._half_with_bins,
            sparse_input=self._is_sparse,
            generator=generator,
        )
        if self.n_estimators > 1:
            numbers = mlp_defaults.numbers_of(self.defaults)
            module.average.temperature.fill_(numbers.averaging_temperature)
        return module
