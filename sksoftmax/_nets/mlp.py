r"""The multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from .._classifier.base import BaseSoftmaxClassifier
from .._classifier.plan import Plan, learn_scaling
from .._data.training_rows import TrainingRows
from .._utils.arrays import as_tensor
from .._utils.compat import Interval, StrOptions
from .._utils.estimators import check_sizes
from .._utils.keywords import explain_keywords
from ..modules._layers import ACTIVATIONS
from ..modules._mlp import SoftmaxMLP
from ..modules._piecewise import bin_edges
from . import mlp_defaults

# Rows that tell between which values the bins lie.
_SAMPLE_ROWS = 10_000


class SoftmaxMLPClassifier(BaseSoftmaxClassifier):
    r"""Multi-layer perceptron with a softmax output.

    Several nets, trained as one and averaged: each minimises the cross-entropy of the
    softmax of its logits. Scales its input itself,
    so raw tables and pixels can go in. Prefer it to :class:`SoftmaxRegression` when
    classes are not separated by planes, and to :class:`SoftmaxCNNClassifier` unless
    the features are the pixels of an image.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int or "auto", default="auto"
        Width of each hidden layer. "auto" means two layers: of 128 units where
        fewer than 20,000 rows are trained on, since wider ones would be too sure of
        themselves, and of 192 elsewhere, or 256 for more than 256 features.
    activation : {"relu", "gelu", "silu", "tanh", "identity"}, default="silu"
        Activation function of the hidden layers.
    normalization : {"auto", "batch", "layer"} or None, default="auto"
        Normalisation of each hidden layer. "auto" normalises by batch from five
        hidden layers on, where a net does not train without.
    dropout : float, default=0.0
        Dropout rate after each hidden layer.
    input_dropout : float or "auto", default="auto"
        Dropout rate of the scaled inputs. "auto" means 0.1, and 0.2 for more than 256
        features, which repeat one another; and 0 in further rounds of training.
    input_scaling : {"smooth", "standard"} or None, default="smooth"
        What happens to the features before the first layer, with statistics learned
        in ``fit``. "standard" gives zero mean and unit variance; "smooth" follows
        that with the inverse hyperbolic sine, which tames heavy tails and outliers,
        and takes the square root of counts before it; None leaves them as they are.
    n_bins : int, array-like of shape (n_features,), "auto" or None, default="auto"
        Into how many bins the range of each column of numbers is divided, so that the
        first layer can weigh each part of it by itself (piecewise-linear encoding);
        0 in an array leaves a column as it is. "auto" means 8 for up to 256
        features; for more of them, pixels for example, none, as None does. Of several
        nets trained on fewer than 20,000 rows every other one is shown the bins: those
        that are see what goes up and down, and the others do not overfit to it.
    n_estimators : int, default=12
        Number of nets, trained together on the same batches and averaged in
        prediction.
    share_weights : bool, default=False
        Whether these nets have their weight matrices in common, and differ in scales
        and biases, as in TabM: less memory, but not less time on a CPU.
    categorical_features : array-like, "from_dtype" or None, default="from_dtype"
        Which features are categories: a boolean mask, indices, names of columns, or
        none. "from_dtype" finds the columns of a pandas or polars DataFrame that hold
        categories, text or booleans; none in an array. See the notes.
    optimizer : {"adamw", "adam", "sgd"}, default="adamw"
        Optimizer.
    learning_rate : float or "auto", default="auto"
        Learning rate; the highest one that ``lr_schedule`` reaches. "auto" means 0.012;
        where ``fit`` has fewer than 1,500 rows, "adamw" learns at less in proportion,
        but at least at 0.0015.
    momentum : float, default=0.9
        Momentum of ``optimizer="sgd"``.
    lr_schedule : {"one_cycle", "cosine", "constant"}, default="cosine"
        How the learning rate changes over all steps: up and down to zero, down to
        zero, or not at all.
    weight_decay : float or "auto", default="auto"
        Decay of the weights (not of biases and normalisation): decoupled with
        "adamw", an L2 penalty with the other optimizers. "auto" means 0.01; 0.1 for
        more than 256 features, whose many weights would be too sure of themselves; and
        0.3 where ``fit`` has fewer than 1,500 rows for "adamw".
    batch_size : int or "auto", default="auto"
        Rows per step. "auto" is about a sixteenth of the rows, between 32 and 256.
    max_epochs : int or "auto", default="auto"
        Passes over the rows. "auto" makes about 200 steps, in 6 to 100 passes;
        in 32 for 20,000 rows or more of more than 256 features. Where the net
        underfits, up to two further rounds follow, each twice as long as the one
        before. See the notes.
        A number that ends the training while the loss still falls gives a
        ``ConvergenceWarning``.
    label_smoothing : float, default=0.0
        Share of each label's probability that is spread over all classes.
    early_stopping : bool or "auto", default="auto"
        Whether to hold out rows, stop when their score stalls and restore the
        weights of the best epoch. "auto" trains to the end; but with several nets and
        fewer than 20,000 rows, each net leaves out rows of its own, a sixth of them
        if there are six nets or more, and the epoch is kept in which the rows were
        predicted best by those nets that did not see them. So it does with ``X_val``.
    validation_fraction : float, default=0.1
        Share of the rows to hold out, stratified by class; equal rows, and those of
        a group that ``fit`` was passed, are held out together. Used only if
        ``early_stopping=True`` or a temperature is learned, and no ``X_val`` is passed
        to ``fit``.
    n_iter_no_change : int, default=10
        Number of epochs without improvement after which training stops early.
    temperature_scaling : bool or "auto", default="auto"
        Whether to divide the logits by a number, learned after the training from
        held-out rows, so that the probabilities are neither too sure nor too cautious.
        They are those of early stopping, or else at most 2,000; of four nets or more,
        groups leave out different ones of at most 4,000, so that all rows are learned
        from. "auto" does it where rows are held out anyway, and from 20,000 rows on.
        Found for averages of the nets that left a row out, it is carried over to the
        average of all nets.
        In 92 fits to real and made-up tables of 200 to 15,000 rows, the best
        temperature on test rows was 0.99 times it in the median, and the log loss was
        within 1% of the least in 86%: few rows tell a temperature to about 10%.
        The epoch is then chosen by the loss that is left once there is a temperature.
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
        ``random_state``. See the notes.
    random_state : int, RandomState instance or None, default=None
        Decides everything random: initial weights, the held-out rows, the order of
        the batches, dropout.
    device : str, default="auto"
        Where to compute: "cpu", "cuda", "cuda:1", "mps"; "auto" takes an accelerator
        if there is one.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        What training multiplies in. "auto" takes bfloat16 where the processor has units
        for it and the layers are large enough to gain, float32 elsewhere.
        Weights and predictions are float32 in any case.
    callbacks : list of skorch callbacks or None, default=None
        Called during training, as by a skorch net; an ``LRScheduler`` only with
        ``lr_schedule="constant"``, and those that watch validation scores only with
        held-out rows or ``X_val``. Callbacks of scikit-learn are set by
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
    is_categorical_ : ndarray of bool of shape (`n_features_in_`,) or None
        Which features are categorical; None if none is.
    categories_ : list of (ndarray or None) of length `n_features_in_`, or None
        The categories of each feature, None for features that are numbers; None if no
        feature is categorical.
    n_bins_ : ndarray of shape (`n_features_in_`,)
        The number of bins of each feature; 0 for categories, for numbers of one or two
        values, and where there are no bins.
    hidden_layer_sizes_ : tuple of int
        Width of each hidden layer of the module.
    module_ : SoftmaxMLP
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
        Validation score after each epoch; None if nothing was held out. With a
        temperature, the log loss is that at the temperature best for the epoch.
    device_ : torch.device
        Where the module is.

    See Also
    --------
    SoftmaxRegression : Linear classifier, exact optimum.
    SoftmaxCNNClassifier : Convolutional net for images.
    SoftmaxNetClassifier : The same estimator around a module of your own.
    sklearn.neural_network.MLPClassifier : The one of scikit-learn.

    Notes
    -----
    Missing values (NaN, None, NA, null) need no preparation. In a feature of numbers
    they count as its mean (as 0 with ``input_scaling=None``); in a category they are
    a category of their own. Features in which a value was missing in ``fit`` have one
    more input, which says so, so that missingness itself can be learned from.

    A feature of up to 16 categories is one-hot encoded; one of more has a learned
    vector for each category. Categories that were not seen in ``fit`` count as missing
    ones. ``partial_fit`` learns in its first call what the categories are and where
    values are missing: pass a categorical dtype there that has all the categories.
    ``fit`` warns about features whose categories hardly repeat (from 30 rows on, more
    than half as many categories as rows) and about dates as text: the net learns little
    from either, and an encoder, of skrub for example, serves better. ``predict`` warns
    about a feature in which no value, of ten or more, is a known category. A column of
    dates, durations, intervals or other objects is an error.

    With ``max_epochs="auto"``, rows that are held out, by "auto" as well, say whether
    the net underfits: if they are predicted best late, and about as well as those that
    it learns from; below 20,000 rows also if they are predicted best at the end. Then a
    further round of training begins, at the full learning rate, without dropout of the
    inputs unless that is a number. It ends when half of it has gained nothing, and what
    was best is kept. With ``early_stopping=False`` there is one round.

    Copies of a row, with equal features (as float32) and labels, count as one row with
    their weights added up. Else copies would be learned from and held out, and tables
    be taken for larger than they are: where this page speaks of a number of rows, it
    is that of the distinct ones. Equal rows with other labels are held out together.
    Tables of few categories or levels are exempt, if a quarter of all combinations
    occurs: there new rows are equal to those that were seen. Rows that are more alike
    than new ones will be, those of a patient for example, or neighbors that an
    oversampling made of each other, are held out together if ``fit`` is passed
    ``groups``.

    With ``checkpoint=path``, ``fit`` goes on from the last whole epoch if it finds the
    file of a fit with the same parameters, data and ``random_state``; a finished one
    is returned at once. Anything else at ``path`` is an error, and stays as it is: the
    file is never deleted, so delete it to train anew. In a directory the file is named
    after the fit, so that a search, whose fits may run at the same time, can go on,
    too. The file holds data and no code. skorch's callbacks go on if what they remember
    is data, as that of ``EarlyStopping`` is; ``partial_fit`` keeps no checkpoint.

    References
    ----------
    Berta, Holzmüller, Jordan and Bach (2025). Rethinking Early Stopping: Refine, Then
    Calibrate. https://arxiv.org/abs/2501.19195

    Gorishniy, Kotelnikov and Babenko (2025). TabM. https://arxiv.org/abs/2410.24210

    Guo, Pleiss, Sun and Weinberger (2017). On Calibration of Modern Neural Networks.
    https://arxiv.org/abs/1706.04599

    Loshchilov and Hutter (2017). SGDR: Stochastic Gradient Descent with Warm Restarts.
    https://arxiv.org/abs/1608.03983

    Loshchilov and Hutter (2019). Decoupled Weight Decay Regularization.
    https://arxiv.org/abs/1711.05101

    Smith and Topin (2018). Super-Convergence. https://arxiv.org/abs/1708.07120

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from sksoftmax import SoftmaxMLPClassifier
    >>> X_train, X_test, y_train, y_test = train_test_split(
    ...     *load_digits(return_X_y=True), random_state=0
    ... )
    >>> classifier = SoftmaxMLPClassifier(max_epochs=20, random_state=0)
    >>> classifier.fit(X_train, y_train).score(X_test, y_test) > 0.95
    True

    A table as it comes:

    >>> import pandas as pd
    >>> table = pd.DataFrame(
    ...     {"colour": ["red", "blue", None] * 30, "size": [1.0, None] * 45}
    ... )
    >>> is_red = table["colour"] == "red"
    >>> classifier.fit(table, is_red).score(table, is_red)
    1.0
    >>> [str(colour) for colour in classifier.categories_[0]]
    ['blue', 'red']
    """

    __module__ = "sksoftmax"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseSoftmaxClassifier._parameter_constraints,
        "hidden_layer_sizes": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
            "array-like",
        ],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "normalization": [StrOptions({"auto", "batch", "layer"}), None],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "input_dropout": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="left")],
        "input_scaling": [StrOptions({"smooth", "standard"}), None],
        "n_bins": [
            StrOptions({"auto"}),
            Interval(Integral, 2, None, closed="left"),
            "array-like",
            None,
        ],
        "learning_rate": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "weight_decay": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "share_weights": ["boolean"],
        "early_stopping": ["boolean", StrOptions({"auto"})],
        "temperature_scaling": ["boolean", StrOptions({"auto"})],
        "categorical_features": [StrOptions({"from_dtype"}), "array-like", None],
    }

    hidden_layer_sizes_: tuple[int, ...]
    n_bins_: NDArray[np.int64]

    # True for each feature in which a value was missing in ``fit``.
    _has_missing: NDArray[np.bool_]
    # True if only every other member is shown the bins.
    _alternate_bins: bool

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
        label_smoothing: float = 0.0,
        early_stopping: bool | str = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        temperature_scaling: bool | str = "auto",
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
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.normalization = normalization
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.input_scaling = input_scaling
        self.n_bins = n_bins
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
        self.label_smoothing = label_smoothing
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.temperature_scaling = temperature_scaling
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

    @property
    def is_categorical_(self) -> NDArray[np.bool_] | None:
        r"""Mask of the features that are categories; None if there are none."""
        check_is_fitted(self)
        return None if self._encoder is None else self._encoder.is_categorical

    @property
    def categories_(self) -> list[NDArray[Any] | None] | None:
        r"""Categories of each feature, None for numbers; None if there are none."""
        check_is_fitted(self)
        return None if self._encoder is None else self._encoder.to_arrays()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
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
            self, self.n_samples_seen_, self.n_features_in_, is_stream=is_stream
        )
        if is_new:
            attributes, edges = self._describe_module(data, rows)
            learn_inputs = partial(self._learn_inputs, known_edges=edges)
            return Plan(recipe, attributes=attributes, learn_inputs=learn_inputs)
        attributes = {}
        if not (is_stream or isinstance(self.hidden_layer_sizes, str)):
            sizes = check_sizes("hidden_layer_sizes", self.hidden_layer_sizes)
            attributes = {"hidden_layer_sizes_": sizes}
        return Plan(recipe, attributes=attributes, learn_inputs=self._learn_inputs)

    def _describe_module(
        self, data: TrainingRows, rows: NDArray[np.int64]
    ) -> tuple[dict[str, Any], list[Tensor] | None]:
        r"""Return what a new module is built from, and the edges of the bins if known.

        Early in a stream, every feature gets as many bins as it may have, and an input
        for missing values: later rows may need them.
        """
        n_bins, edges = self._most_bins(), None
        has_missing = data.missing_columns(rows)
        if self._first_rows is None:
            edges = self._bin_edges(data, rows, n_bins)
            n_bins = np.array([max(0, len(values) - 1) for values in edges])
        elif self.n_features_in_ <= mlp_defaults.MANY_FEATURES:
            has_missing = np.ones_like(has_missing)
        attributes = {
            "hidden_layer_sizes_": mlp_defaults.hidden_layer_sizes(
                self.hidden_layer_sizes, len(rows), self.n_features_in_
            ),
            "n_bins_": n_bins,
            "_has_missing": has_missing,
            "_alternate_bins": mlp_defaults.alternate_bins(len(rows)),
        }
        return attributes, edges

    def _most_bins(self) -> NDArray[np.int64]:
        r"""Return the most bins that each feature may have; categories have none."""
        n_bins, n_features = self.n_bins, self.n_features_in_
        if n_bins is None or isinstance(n_bins, Integral | str):
            n_bins = np.full(n_features, mlp_defaults.n_bins(n_bins, n_features))
        n_bins = np.asarray(n_bins)
        if (
            n_bins.shape != (n_features,)
            or not np.issubdtype(n_bins.dtype, np.integer)
            or ((n_bins < 2) & (n_bins != 0)).any()
        ):
            raise ValueError(
                f"Got n_bins={self.n_bins!r}, but expected an integer for each of the "
                f"{n_features} features: 2 or more, or 0 for none."
            )
        n_bins = n_bins.astype(np.int64)
        if self._encoder is not None:
            n_bins[self._encoder.is_categorical] = 0
        return n_bins

    def _bin_edges(
        self, data: TrainingRows, rows: NDArray[np.int64], n_bins: NDArray[np.int64]
    ) -> list[Tensor]:
        r"""Return the values between which the bins of each feature lie."""
        if not n_bins.any():
            return [torch.empty(0)] * len(n_bins)
        X = as_tensor(data.sample(rows, _SAMPLE_ROWS))
        return [
            # No values have no bins.
            bin_edges(column if most else column[:0], most)
            for column, most in zip(X.T, n_bins, strict=True)
        ]

    def _learn_inputs(
        self,
        module: Any,
        data: TrainingRows,
        rows: NDArray[np.int64],
        known_edges: list[Tensor] | None = None,
    ) -> bool:
        r"""Let a module learn the scaling of its inputs and the edges of their bins."""
        is_scaled = learn_scaling(module, data, rows)
        if not self.n_bins_.any():
            return is_scaled
        edges = known_edges
        if edges is None:
            # A bin between infinite values contributes 0.
            edges = [
                nn.functional.pad(found, (0, 1 + most - len(found)), value=torch.inf)
                if most
                else found
                for found, most in zip(
                    self._bin_edges(data, rows, self.n_bins_), self.n_bins_, strict=True
                )
            ]
        X = as_tensor(data.sample(rows, _SAMPLE_ROWS))
        module.input_scaling.learn_bins(edges, X)
        return True

    def _build_module(self, generator: torch.Generator) -> SoftmaxMLP:
        sizes, n_features = self.hidden_layer_sizes_, self.n_features_in_
        cardinalities = None
        if self._encoder is not None:
            cardinalities = [
                None if categories is None else len(categories)
                for categories in self._encoder.categories
            ]
        return SoftmaxMLP(
            n_features,
            len(self.classes_),
            hidden_layer_sizes=sizes,
            activation=self.activation,
            normalization=mlp_defaults.normalization(self.normalization, len(sizes)),
            dropout=self.dropout,
            input_dropout=mlp_defaults.input_dropout(self.input_dropout, n_features),
            input_scaling=self.input_scaling,
            n_estimators=self.n_estimators,
            share_weights=self.share_weights,
            cardinalities=cardinalities,
            missing=self._has_missing.tolist() if self._has_missing.any() else None,
            n_bins=self.n_bins_.tolist() if self.n_bins_.any() else None,
            alternate_bins=self._alternate_bins,
            generator=generator,
        )
