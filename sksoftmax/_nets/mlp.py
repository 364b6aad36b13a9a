r"""The multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import validate_data
from torch import Tensor, nn

from .._classifier.base import BaseSoftmaxClassifier
from .._data.training_rows import TrainingRows
from .._encoders.categories import TableEncoder, learn_encoder, n_columns
from .._training.callbacks import EarlyStopping
from .._training.recipe import Recipe
from .._utils.arrays import as_tensor
from .._utils.compat import Interval, StrOptions
from .._utils.estimators import check_sizes
from .._utils.frames import is_frame
from .._utils.keywords import explain_keywords
from ..modules._layers import ACTIVATIONS
from ..modules._mlp import SoftmaxMLP
from ..modules._piecewise import bin_edges

# From this depth on, gradient descent needs normalised layers to make progress.
_DEEP = 5
# Hidden layers of "auto" for few rows to train on, from so many rows on, and for as
# many rows of many features.
_NARROW, _WIDE, _WIDEST, _MANY_ROWS = (128, 128), (192, 192), (256, 256), 20_000
# Bins of "auto", and from how many features on it has other rules: of pixels, bins
# would only be a burden, and they bear more passes.
_BINS, _MANY_FEATURES = 8, 256
# The rate of "auto", and in proportion to fewer rows down to a share of it: the net
# would know them by heart before the best epoch could be told from the next.
_LEARNING_RATE, _FEW_ROWS, _LEAST_SHARE = 0.012, 1_500, 1 / 8
# How many rounds may follow while the net underfits.
_EXTENSIONS = 2
# So many rows tell where the bins lie.
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

    _constant_in_warm_start = (
        *BaseSoftmaxClassifier._constant_in_warm_start,
        "is_categorical_",
    )

    # Averaged nets learn best in few passes at a high rate: more of them overfit, and
    # what regularises them costs time that further members use better.
    _auto_steps = 200
    _auto_epochs = (6, 100)
    _auto_epochs_of_many_features = (32, 100)

    hidden_layer_sizes_: tuple[int, ...]
    n_bins_: NDArray[np.int64]
    is_categorical_: NDArray[np.bool_] | None
    categories_: list[NDArray[Any] | None] | None

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

    def _accepts_missing(self) -> bool:
        return True

    def _epochs_range(self, n_rows: int) -> tuple[int, int]:
        if self.n_features_in_ > _MANY_FEATURES and n_rows >= _MANY_ROWS:
            return self._auto_epochs_of_many_features
        return self._auto_epochs

    def _n_extensions(self) -> int:
        is_free = self.max_epochs == "auto" and bool(self.early_stopping)
        return _EXTENSIONS if is_free else 0

    def _recipe(self, n_rows: int, total_weight: float, is_part: bool) -> Recipe:
        recipe = super()._recipe(n_rows, total_weight, is_part)
        # Measured with this optimizer alone; of a part nobody knows what will follow.
        are_few = n_rows < _FEW_ROWS and self.optimizer == "adamw" and not is_part
        # A round in vain takes seconds there; Otto, with more, is best at its end, too.
        recipe = replace(recipe, is_patient=n_rows < _MANY_ROWS)
        if isinstance(self.input_dropout, str):
            recipe = replace(recipe, relaxes=True)
        if isinstance(self.learning_rate, str):
            share = max(n_rows / _FEW_ROWS, _LEAST_SHARE) if are_few else 1.0
            recipe = replace(recipe, learning_rate=_LEARNING_RATE * share)
        if isinstance(self.weight_decay, str):
            decay = 0.1 if self.n_features_in_ > _MANY_FEATURES else 0.01
            recipe = replace(recipe, weight_decay=0.3 if are_few else decay)
        return recipe

    def _encode_table(self, X: Any, *, reset: bool, declared: bool) -> Any:
        before = self._encoder if self.warm_start or not reset else None
        if reset:
            self._set_encoder(
                learn_encoder(
                    X, self.categorical_features, declared=declared, before=before
                )
            )
        width = n_columns(X)
        if self._encoder is None or width is None:
            return X
        if not reset and not self._has_columns_of_fit(X):
            # Says which columns differ; they could not be told apart below.
            validate_data(self, X, reset=False, skip_check_array=True)
        return self._encoder.encode(X, is_new=self._encoder is not before)

    def _has_columns_of_fit(self, X: Any) -> bool:
        names = getattr(self, "feature_names_in_", None)
        if names is not None and is_frame(X):
            return bool(np.array_equal(names, X.columns))
        return bool(X.shape[1] == self.n_features_in_)

    def _set_encoder(self, encoder: TableEncoder | None) -> None:
        self._encoder = encoder
        self.is_categorical_ = self.categories_ = None
        if encoder is not None:
            self.is_categorical_ = encoder.is_categorical
            self.categories_ = encoder.to_arrays()

    def _forget_categories(
        self, features: NDArray[Any], rows: NDArray[np.int64]
    ) -> NDArray[Any]:
        is_refit = self.warm_start and hasattr(self, "module_")
        if self._encoder is None or is_refit or len(rows) == len(features):
            return features
        encoder, features = self._encoder.restricted(features, rows)
        self._set_encoder(encoder)
        return features

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
        bins = None
        is_short = is_part and self._first_rows is not None
        if module is None:
            self._has_missing = data.missing_columns(rows)
            if is_short and self.n_features_in_ <= _MANY_FEATURES:
                # Values may be missing in later rows.
                self._has_missing = np.ones_like(self._has_missing)
            sizes = self.hidden_layer_sizes
            if isinstance(sizes, str):
                wide = _WIDE if self.n_features_in_ <= _MANY_FEATURES else _WIDEST
                sizes = wide if len(rows) >= _MANY_ROWS else _NARROW
            self.hidden_layer_sizes_ = check_sizes("hidden_layer_sizes", sizes)
            if is_short:
                self.n_bins_ = self._most_bins()
            else:
                bins = self._find_bins(data, rows)
            # Few rows are soon known by heart where they fall into bins.
            self._alternate_bins = len(rows) < _MANY_ROWS
        elif not (is_part or isinstance(self.hidden_layer_sizes, str)):
            sizes = check_sizes("hidden_layer_sizes", self.hidden_layer_sizes)
            self.hidden_layer_sizes_ = sizes
        super()._build(
            data,
            rows,
            module,
            early_stopping=early_stopping,
            with_optimizer=with_optimizer,
            is_part=is_part,
        )
        if bins is not None:
            self.module_.input_scaling.learn_bins(*bins)

    def _find_bins(
        self, data: TrainingRows, rows: NDArray[np.int64]
    ) -> tuple[list[Tensor], Tensor] | None:
        r"""Set ``n_bins_``; return the bins' edges and the rows that they come from."""
        self.n_bins_ = self._most_bins()
        if not self.n_bins_.any():
            return None
        X = as_tensor(data.sample(rows, _SAMPLE_ROWS))
        edges = self._bin_edges(X)
        self.n_bins_ = np.array([max(0, len(one) - 1) for one in edges])
        return (edges, X) if self.n_bins_.any() else None

    def _bin_edges(self, X: Tensor) -> list[Tensor]:
        r"""Return between which values the bins of each column lie."""
        return [
            # No values have no bins.
            bin_edges(column if most else column[:0], most)
            for column, most in zip(X.T, self.n_bins_, strict=True)
        ]

    def _most_bins(self) -> NDArray[np.int64]:
        r"""Return the most bins of each column; those of categories have none."""
        n_bins = self._check_n_bins().astype(np.int64)
        if self.is_categorical_ is not None:
            n_bins[self.is_categorical_] = 0
        return n_bins

    def _learn_inputs(self, data: TrainingRows, rows: NDArray[np.int64]) -> bool:
        is_scaled = super()._learn_inputs(data, rows)
        if self._first_rows is None or not self.n_bins_.any():
            return is_scaled
        X = as_tensor(data.sample(rows, _SAMPLE_ROWS))
        edges = [
            # A bin between infinite values contributes 0.
            nn.functional.pad(found, (0, 1 + most - len(found)), value=torch.inf)
            if most
            else found
            for found, most in zip(self._bin_edges(X), self.n_bins_, strict=True)
        ]
        self.module_.input_scaling.learn_bins(edges, X)
        return True

    def _check_n_bins(self) -> NDArray[np.int64]:
        r"""Return the most bins that each feature may have."""
        n_features = self.n_features_in_
        n_bins = self.n_bins
        if n_bins is None or isinstance(n_bins, Integral):
            return np.full(n_features, n_bins or 0)
        if isinstance(n_bins, str):
            return np.full(n_features, _BINS if n_features <= _MANY_FEATURES else 0)
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
        return n_bins

    def _build_module(
        self, n_features: int, n_classes: int, generator: torch.Generator
    ) -> SoftmaxMLP:
        normalization = self.normalization
        if normalization == "auto":
            normalization = "batch" if len(self.hidden_layer_sizes_) >= _DEEP else None
        input_dropout = self.input_dropout
        if isinstance(input_dropout, str):
            input_dropout = 0.2 if n_features > _MANY_FEATURES else 0.1
        cardinalities = None
        if self.categories_ is not None:
            cardinalities = [
                None if categories is None else len(categories)
                for categories in self.categories_
            ]
        return SoftmaxMLP(
            n_features,
            n_classes,
            hidden_layer_sizes=self.hidden_layer_sizes_,
            activation=self.activation,
            normalization=normalization,
            dropout=self.dropout,
            input_dropout=input_dropout,
            input_scaling=self.input_scaling,
            n_estimators=self.n_estimators,
            share_weights=self.share_weights,
            cardinalities=cardinalities,
            missing=self._has_missing.tolist() if self._has_missing.any() else None,
            n_bins=self.n_bins_.tolist() if self.n_bins_.any() else None,
            alternate_bins=self._alternate_bins,
            generator=generator,
        )
