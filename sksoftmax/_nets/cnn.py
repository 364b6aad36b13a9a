r"""The convolutional net."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .._classifier.base import BaseSoftmaxClassifier
from .._classifier.plan import Plan
from .._data.training_rows import TrainingRows
from .._utils.estimators import check_sizes
from .._utils.keywords import explain_keywords
from ..modules._augmentation import RandomShift, RandomWarp, make_augmentation, variants
from ..modules._cnn import SoftmaxCNN
from ..modules._image_transforms import draws_once_per_call
from . import cnn_defaults
from .constraints import CNN_CONSTRAINTS
from .images import AugmentedMixin, batch_augmentation, check_order_of_channels


class SoftmaxCNNClassifier(AugmentedMixin, BaseSoftmaxClassifier):
    r"""Convolutional net with a softmax output, for images.

    Minimizes the cross-entropy of the softmax of the logits. ``X`` holds images with
    their axes, as Pillow, matplotlib or PyTorch have them, or as flat rows, as other
    steps of a pipeline expect them. Pixels may be 0 to 255 or 0 to 1; each channel is
    scaled. Prefer it to :class:`SoftmaxMLPClassifier` for images.

    Parameters
    ----------
    image_shape : tuple of int or None, default=None
        Shape of an image, such that ``row.reshape(image_shape)`` is the image of a flat
        row: ``(height, width)``, ``(n_channels, height, width)``, or ``(height, width,
        n_channels)`` as Pillow and matplotlib have it. None takes the axes of ``X``.
        Flat rows are then a square gray image if the number of features is a square, a
        square image of three channels if it is three squares, and else one line of
        pixels.
    channels_last : bool or "auto", default="auto"
        Whether the channels are the last axis of an image, in ``image_shape`` if it is
        given and else in ``X``. "auto" finds it out: 1, 3 or 4 entries beside two
        longer axes are the channels. If that does not tell, ``image_shape`` has them
        first, and axes of ``X`` raise a ValueError.
    channels : sequence of int, str or "auto", default="auto"
        Number of output channels of each block of convolutions, also as text:
        "16-32-96". Processors are fastest with multiples of 16. "auto" is (24, 48, 128)
        for images in color, of three channels or more, and else (16, 32, 96).
    convolutions_per_block : int, default=2
        Number of convolutions in each block. The image is pooled after the first.
    kernel_size : int, sequence of int, str or "auto", default="auto"
        Side of the kernels of each block, or of all blocks, also as text: "5-3-3".
        "auto" is 5 for the first convolution and 3 for all others.
    padding : {"same", "valid"}, default="same"
        Whether convolutions keep the size of the image or shrink it.
    pool_size : int, default=2
        Side of each block's max pooling window.
    global_pooling : {"max", "average"} or None, default="max"
        Pooling of the whole image after the last block. With None, all values of that
        block go on.
    hidden_layer_sizes : int, sequence of int or str, default=()
        Width of hidden layers between the last block and the logits, also as text:
        "128-64".
    activation : {"relu", "gelu", "silu", "tanh", "identity"}, default="relu"
        Activation function.
    normalization : {"batch"} or None, default="batch"
        Normalization in each block and hidden layer.
    dropout : float or "auto", default="auto"
        Dropout rate before each linear layer. "auto" is 0.3 for images in color, and
        else 0.
    input_scaling : {"standard"} or None, default="standard"
        Whether each channel is scaled to zero mean and unit variance, with statistics
        learned in ``fit``.
    augmentation : str, callable or None, default="auto"
        Random changes of the images in training. "shift" moves each image by at most 4%
        of each side and repeats the pixels at the edge. "shift_flip" also mirrors half
        of the images, which suits clothes and animals but no writing. "warp" turns,
        scales, shears, moves and bends them a little, as handwriting varies
        (:class:`~sksoftmax.modules.RandomWarp`), and needs more epochs than "auto"
        makes. "auto" is "shift" for images of at least 16 x 16 pixels, else None. A
        layer has parameters: ``RandomShift((2, 2))`` pays with 30 epochs or more. A
        transform of torchvision, such as a :class:`torchvision.transforms.v2.Compose`,
        is drawn for each image, see the notes. Any other callable gets a batch, a
        tensor of shape ``(batch_size, n_channels, height, width)`` with pixels as in
        ``X``, and returns one like it.
    test_time_augmentation : bool or "auto", default="auto"
        Whether predictions average the probabilities of the image, of its shifts by one
        pixel up left and down right, and of all their mirror images if training
        flipped; the logarithm of the average takes the place of the logits. It takes
        three or six times as long. "auto" does it if training shifted or warped the
        images, by name or by a layer. Validation scores look at each image once.
    n_estimators : int, default=1
        Number of members: nets with different initial parameters, trained on the same
        batches as the groups of one net's convolutions. Their probabilities are
        averaged. The time grows in proportion.
    optimizer : {"adamw", "adam", "sgd"}, default="adamw"
        Optimizer.
    learning_rate : float, default=0.01
        Highest learning rate of ``lr_schedule``.
    momentum : float, default=0.9
        Momentum of ``optimizer="sgd"``.
    lr_schedule : {"one_cycle", "cosine", "constant"}, default="one_cycle"
        Course of the learning rate: up and down to zero, down to zero, or constant.
    weight_decay : float, default=0.1
        Decay of the matrices, not of biases and normalization: decoupled with "adamw",
        an L2 penalty with the other optimizers.
    batch_size : int or "auto", default="auto"
        Rows per step. "auto" is about a sixteenth of the rows, between 32 and 128.
    max_epochs : int or "auto", default="auto"
        Passes over the rows. "auto" makes about 7,000 steps without data pruning, in 12
        to 60 epochs. A number at which the loss still falls gives a
        ``ConvergenceWarning``.
    time_limit : float or None, default=None
        Seconds after which ``fit`` ends with the best epoch so far. The schedule is
        shortened once the epochs left would take longer. A training that does not come
        near it is the same as without it.
    data_pruning : float or "auto", default="auto"
        Share of the easy rows that each epoch leaves out at random. A row is easy if
        its loss was below the mean when it was last seen; easy rows that stay weigh
        more, so that the loss is the same on average. The first epoch and the last
        eighth of them see all rows. "auto" is 0.5 from 10,000 rows on, else 0.
    label_smoothing : float, default=0.0
        Share of each label's probability that is spread over all classes.
    weight_averaging : float or None, default=None
        Decay, such as 0.99, of an exponential moving average of the parameters over the
        steps of ``fit``, which validation and predictions use; none if None.
    early_stopping : bool, default=False
        Whether to hold out validation rows, to stop when their score stalls and to keep
        the best epoch.
    validation_fraction : float, default=0.1
        Share of the rows to hold out, stratified by class. Equal rows, and rows of an
        equal entry in ``groups``, are held out together. For ``early_stopping=True``
        and for a temperature, if ``fit`` gets no ``X_val``.
    n_iter_no_change : int, default=10
        Number of epochs without improvement after which training stops early.
    temperature_scaling : bool, default=False
        Whether to divide the logits by a number that is learned from validation rows
        after training, so that the probabilities are calibrated. With
        ``early_stopping=False``, up to 2,000 rows are held out for it, or 4,000 of
        which groups of four nets or more leave out different parts. With
        ``early_stopping=True``, the epoch is chosen by the loss at its best
        temperature.
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
        Version of sksoftmax whose values "auto" has. "0.2" has other values for images
        in color.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial parameters, the validation rows, the batches,
        dropout and augmentation.
    device : str, default="auto"
        Device: "cpu", "cuda", "cuda:1", "mps", "xpu"; "auto" takes an accelerator.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Type of the products in training. "auto" is bfloat16 if the processor has units
        for it and the layers are large enough, else float32. Parameters and predictions
        are float32 in any case.
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
    image_shape_ : tuple of int, (n_channels, height, width)
        Shape of the image in each row.
    module_ : SoftmaxCNN
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
        Validation score after each epoch; None without validation rows. With a
        temperature, the log loss is that at the best temperature of the epoch.
    temperature_ : float
        The number that the logits are divided by; 1 unless one was learned.
    settings_ : dict
        What each "auto" became in ``fit``, by the name of the parameter;
        ``"early_stopping"`` is True if validation rows chose the epoch.
    device_ : torch.device
        Device of the module.

    See Also
    --------
    SoftmaxMLPClassifier : Multi-layer perceptron for tables.
    SoftmaxNetClassifier : The same estimator around a module of your own.

    Notes
    -----
    Images are read as they come: ``X`` has the shape (n_samples, height, width), with
    an axis for the channels before or after these two, or (n_samples, n_features), and
    batches are converted, not the table. Predictions take any of these shapes.

    A transform of torchvision draws once for each call. Here, a call gets up to 128
    images, one of each of as many batches, so that no two images of a batch have the
    same draw; in epochs of fewer than 16 batches, groups of up to 16 images have it.
    Such a call takes about the time of a call for a whole batch. torchvision takes
    uint8 for 0 to 255 and clamps floats to 0 to 1: other pixels are brought to this
    scale before, and back afterwards. A transform that returns another shape, dtype or
    scale raises a ValueError at the start of ``fit``. Any other callable draws for
    itself, and gets pixels as they are in ``X``. Among the values of a search, a
    transform goes into a ``v2.Compose``: scikit-learn mistakes some for estimators.

    References
    ----------
    LeCun et al. (1998). Gradient-based learning applied to document recognition.
    https://doi.org/10.1109/5.726791

    Ioffe and Szegedy (2015). Batch Normalization. https://arxiv.org/abs/1502.03167

    Qin et al. (2024). InfoBatch: Lossless Training Speed Up by Unbiased Dynamic Data
    Pruning. https://arxiv.org/abs/2303.04947

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from sksoftmax import SoftmaxCNNClassifier
    >>> X_train, X_test, y_train, y_test = train_test_split(
    ...     *load_digits(return_X_y=True), random_state=0
    ... )
    >>> classifier = SoftmaxCNNClassifier(
    ...     image_shape=(8, 8),
    ...     channels=(16, 32),
    ...     kernel_size=3,
    ...     max_epochs=8,
    ...     random_state=0,
    ... )
    >>> classifier.fit(X_train, y_train).score(X_test, y_test) > 0.95
    True
    """

    __module__ = "sksoftmax"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CNN_CONSTRAINTS

    _prediction_rows = 128

    @explain_keywords
    def __init__(
        self,
        image_shape: Sequence[int] | None = None,
        *,
        channels_last: bool | str = "auto",
        channels: Sequence[int] | str = "auto",
        convolutions_per_block: int = 2,
        kernel_size: int | Sequence[int] | str = "auto",
        padding: str = "same",
        pool_size: int = 2,
        global_pooling: str | None = "max",
        hidden_layer_sizes: int | Sequence[int] | str = (),
        activation: str = "relu",
        normalization: str | None = "batch",
        dropout: float | str = "auto",
        input_scaling: str | None = "standard",
        augmentation: str | Callable[[Tensor], Tensor] | None = "auto",
        test_time_augmentation: bool | str = "auto",
        n_estimators: int = 1,
        optimizer: str = "adamw",
        learning_rate: float = 0.01,
        momentum: float = 0.9,
        lr_schedule: str = "one_cycle",
        weight_decay: float = 0.1,
        batch_size: int | str = "auto",
        max_epochs: int | str = "auto",
        time_limit: float | None = None,
        data_pruning: float | str = "auto",
        label_smoothing: float = 0.0,
        weight_averaging: float | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        temperature_scaling: bool = False,
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
        self.image_shape = image_shape
        self.channels_last = channels_last
        self.channels = channels
        self.convolutions_per_block = convolutions_per_block
        self.kernel_size = kernel_size
        self.padding = padding
        self.pool_size = pool_size
        self.global_pooling = global_pooling
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.normalization = normalization
        self.dropout = dropout
        self.input_scaling = input_scaling
        self.augmentation = augmentation
        self.test_time_augmentation = test_time_augmentation
        self.n_estimators = n_estimators
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.lr_schedule = lr_schedule
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.time_limit = time_limit
        self.data_pruning = data_pruning
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

    def _plan(
        self,
        data: TrainingRows,
        rows: NDArray[np.int64],
        *,
        is_new: bool,
        is_stream: bool,
    ) -> Plan:
        recipe = cnn_defaults.recipe(self, self.n_samples_seen_)
        if draws_once_per_call(self.augmentation):
            shape = self._row_shape_in_fit.shape
            is_checked = is_new or not is_stream
            transform = batch_augmentation(
                self.augmentation, data, rows, shape, is_checked=is_checked
            )
            recipe = replace(recipe, augmentation=transform)
        is_last = data.layout is not None and data.layout.is_last
        settings = partial(cnn_defaults.settings, self, recipe, is_last)
        return Plan(recipe, check_module=self._check_module, settings=settings)

    def _check_module(
        self, module: nn.Module, data: TrainingRows, rows: NDArray[np.int64]
    ) -> None:
        r"""Warn if the channels of the images seem to be another axis."""
        check_order_of_channels(data, rows, self.image_shape_)

    def _build_module(self, generator: torch.Generator) -> SoftmaxCNN:
        if self._row_shape is None or self.image_shape is not None:
            # A file of version 0.1.0, or a parameter that may have changed.
            self._row_layout((self.n_features_in_,), reset=True)
        n_channels, height, width = self._row_shape_in_fit.shape
        shape = n_channels, height, width
        channels = cnn_defaults.channels(self.channels, n_channels, self.defaults)
        if not channels:
            raise ValueError(
                "Got channels=(), but expected at least one convolution. Without any, "
                "use SoftmaxMLPClassifier."
            )
        augmentation = cnn_defaults.augmentation(
            self.augmentation, shape[1:], self.defaults
        )
        self.image_shape_ = shape
        return SoftmaxCNN(
            shape,
            len(self.classes_),
            channels=channels,
            convolutions_per_block=self.convolutions_per_block,
            kernel_size=cnn_defaults.sides_of_kernels(self.kernel_size),
            padding=self.padding,
            pool_size=self.pool_size,
            global_pooling=self.global_pooling,
            hidden_layer_sizes=check_sizes(
                "hidden_layer_sizes", self.hidden_layer_sizes
            ),
            activation=self.activation,
            normalization=self.normalization,
            dropout=cnn_defaults.dropout(self.dropout, n_channels, self.defaults),
            input_scaling=self.input_scaling,
            augmentation=make_augmentation(augmentation, shape[1:]),
            n_estimators=self.n_estimators,
            generator=generator,
        )

    def _averages_views(self) -> bool:
        shifts = isinstance(self.module_.augmentation, RandomShift | RandomWarp)
        return cnn_defaults.averages_views(
            self.test_time_augmentation, is_shifted=shifts
        )

    def _views(self, rows: Tensor) -> list[Tensor]:
        augmentation = self.module_.augmentation
        if not self._averages_views():
            return [rows]
        images = rows.reshape(-1, *self.image_shape_)
        flip = isinstance(augmentation, RandomShift) and augmentation.flip
        return [view.flatten(1) for view in variants(images, flip=flip)]
