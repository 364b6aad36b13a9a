r"""Softmax regression."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import Tags
from torch import Tensor, nn

from .._classifier.base import BaseSoftmaxClassifier
from .._classifier.plan import Plan
from .._data.training_rows import TrainingRows, evenly_spread
from .._training.recipe import Recipe
from .._utils.array_api import FittedArray
from .._utils.arrays import as_tensor
from .._utils.compat import Interval, StrOptions, remove_forward_pre_hooks
from .._utils.devices import has_float64
from .._utils.keywords import explain_keywords
from .._utils.progress import FitReport
from ..modules._linear import SoftmaxLinear
from .coefficients import LinearClassifier, center_intercepts
from .solver import Candidate, penalty_of, solve_in_place
from .stream import column_moments, restore_units, standardized

# Values of ``solver`` that train by mini-batches; all others go to the optimum.
MINIBATCH_SOLVERS = {"sgd", "adam"}

# Rows from which the units of the features are taken, for `partial_fit` after an exact
# fit: as many as the first rows of a stream.
_SAMPLE_ROWS = 1000

# Parameters of the nets that have another name here, or no use.
_NOT_LINEAR = {
    "checkpoint",
    "optimizer",
    "weight_decay",
    "max_epochs",
    "label_smoothing",
    "precision",
}


class SoftmaxRegression(LinearClassifier, BaseSoftmaxClassifier):
    r"""Multinomial logistic regression.

    It minimizes

    .. math:: C \sum_i s_i \log \frac{\sum_k e^{z_{ik}}}{e^{z_{i y_i}}}
              + \frac{1 - r}{2} \lVert W \rVert_2^2 + r \lVert W \rVert_1,
              \qquad z_i = W x_i + b

    with sample weights :math:`s_i` and ``l1_ratio`` :math:`r`, as
    :class:`~sklearn.linear_model.LogisticRegression` does, and finds the same
    coefficients. The default solver goes to the optimum of this convex problem; "sgd"
    and "adam" train by mini-batches. Prefer it when you need coefficients to read, a
    baseline, or calibrated probabilities from few rows.

    Parameters
    ----------
    C : float, default=1.0
        Inverse of the strength of the penalty, in units of one sample's loss, as in
        :class:`~sklearn.linear_model.LogisticRegression`. With ``np.inf`` there is no
        penalty.
    fit_intercept : bool, default=True
        Whether there is an intercept, which is not penalized.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class in the loss. "balanced" weights are inversely proportional
        to the frequencies. A dict may name classes that ``y`` lacks; a class that it
        does not name has weight 1. A class of weight 0 stays in ``classes_``.
    l1_ratio : float, default=0.0
        Share of the L1 penalty, as in
        :class:`~sklearn.linear_model.LogisticRegression`: 0 is a pure L2 penalty, 1 a
        pure L1 penalty, anything between an elastic net. For full-batch solvers only.
    solver : {"auto", "newton-cg", "sgd", "adam"}, default="auto"
        "newton-cg" is a full-batch Newton method that goes to the optimum and takes
        sparse rows as well; "auto" is the same. "sgd" and "adam" train on mini-batches
        for ``max_iter`` passes over the rows.
    tol : float, default=1e-8
        The Newton method stops when no entry of the mean loss's gradient, with respect
        to the coefficients of standardized features, is larger. Small tables, and fits
        with an L1 penalty, also end within ``tol`` of the least objective, relative to
        it. For others, ``tol`` is smaller in proportion where a penalized mean loss is
        below 0.001, down to 1e-14. With a mini-batch solver: smallest increase of the
        best validation score that counts as an improvement.
    max_iter : int, default=100
        Maximum number of Newton steps, or number of passes over the rows. There is a
        ``ConvergenceWarning`` if they end before the optimum, or while the loss of a
        mini-batch solver still falls.
    learning_rate : float, default=0.01
        Learning rate of a mini-batch solver. The parameters up to ``scoring`` are for
        mini-batch solvers only.
    momentum : float, default=0.9
        Momentum of ``solver="sgd"``.
    lr_schedule : {"one_cycle", "cosine", "constant"}, default="cosine"
        How the learning rate changes over all steps: up and down to zero, down to
        zero, or not at all.
    batch_size : int, default=256
        Rows per step.
    init_scale : float, default=0.0
        Standard deviation of the normally distributed initial coefficients.
    early_stopping : bool, default=False
        Whether to hold out validation rows, stop when their score stalls and restore
        the coefficients of the best epoch.
    validation_fraction : float, default=0.1
        Share of the rows to hold out, stratified by class; equal rows are held out
        together, and so are the rows of a group in ``groups`` of ``fit``. Used only if
        ``early_stopping=True`` and no ``X_val`` is passed to ``fit``.
    n_iter_no_change : int, default=10
        Number of epochs without improvement after which training stops early.
    scoring : {"loss", "accuracy"}, name of a scorer or callable, default="loss"
        Validation score: the negative log loss, the accuracy, a score of scikit-learn,
        such as "balanced_accuracy", or ``scorer(estimator, X, y)``.
    time_limit : float or None, default=None
        Seconds after which a mini-batch solver ends with the best epoch so far. The
        schedule is shortened once the epochs left would take longer. A training that
        does not come near it is the same as without it.
    on_interrupt : {"raise", "keep"}, default="raise"
        What Ctrl-C does while a mini-batch solver runs: "raise" leaves the classifier
        as it was; "keep" keeps the best whole epoch so far, with a warning. In a search
        or an ensemble, "keep" ends one of the fits only.
    warm_start : bool, default=False
        Whether ``fit`` starts from the coefficients of the previous fit.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial coefficients, the validation rows and the order of the
        batches.
    device : str, default="auto"
        Device: "cpu", "cuda", "cuda:1", "mps", "xpu"; "auto" takes an accelerator.
    callbacks : list of skorch callbacks or None, default=None
        Called during training by a mini-batch solver, as by a skorch net; the exact
        solver warns that it calls none. Callbacks of scikit-learn are set by
        ``set_callbacks`` instead.
    verbose : int, default=0
        1 shows a progress bar with the losses in a terminal (``pip install rich``);
        elsewhere, in a log for instance, it prints one line at the end, and in joblib's
        workers nothing. 2 prints a line per epoch of a mini-batch solver.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The sorted labels.
    coef_ : ndarray of shape (n_classes, n_features) or (1, n_features)
        Coefficients on the scale of the input. With two classes there is one row, of
        the log odds of the second class, as in scikit-learn. Read-only, but another
        array can be assigned, and changes the predictions.
    intercept_ : ndarray of shape (n_classes,) or (1,)
        Intercepts; zeros if ``fit_intercept=False``.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if ``X`` had names that are all strings.
    n_samples_seen_ : int
        Number of training rows in ``fit`` and in the calls of ``partial_fit`` that
        followed.
    module_ : SoftmaxLinear
        The fitted module. With two classes it has a row for each, of opposite signs.
    net_ : skorch.NeuralNet
        The skorch net around the module.
    n_iter_ : ndarray of shape (1,), int32
        Number of Newton steps or epochs run.
    best_epoch_ : int or None
        Number of the epoch, from 1, whose coefficients a mini-batch solver kept: the
        last one unless validation rows chose another. None with an exact solver.
    loss_curve_ : list of float
        The objective, as a mean over rows, at the start and after each Newton step,
        without the first steps on a part of a large table; for a mini-batch solver the
        mean training loss of each epoch.
    validation_scores_ : list of float or None
        Validation score after each epoch; None if nothing was held out.
    temperature_ : float
        The number that the logits are divided by; always 1 here.
    settings_ : dict
        What each "auto" became in ``fit``, by the name of the parameter.
    device_ : torch.device
        Device of the module.

    See Also
    --------
    sklearn.linear_model.LogisticRegression : The same model on NumPy.
    SoftmaxRegressionCV : The penalty chosen by cross-validation.
    SoftmaxMLPClassifier : Multi-layer perceptron.

    Notes
    -----
    The intercepts of more than two classes are determined up to a common constant;
    they sum to zero here.

    With an L2 penalty, up to 1,000 rows of at least 1.25 times as many features are
    solved in an orthonormal basis of the span of the rows, so that the time depends on
    the number of rows. With ``C=np.inf``, the coefficients are in that span.

    A feature whose standard deviation is more than 10,000 times the spread of most of
    its values has outliers: it is standardized by location and spread of most values.
    If rounding prevents convergence, which is possible with an L1 penalty or with
    outliers of more than 1e15 spreads, a
    :class:`~sklearn.exceptions.ConvergenceWarning` names the feature.

    With ``warm_start=True``, the solver starts from zeros if the previous coefficients
    are worse.

    References
    ----------
    Nocedal and Wright (2006). Numerical Optimization, chapter 7.
    https://doi.org/10.1007/978-0-387-40065-5

    Lee, Sun and Saunders (2014). Proximal Newton-type Methods for Minimizing Composite
    Functions. https://arxiv.org/abs/1206.1623

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sksoftmax import SoftmaxRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = SoftmaxRegression().fit(X, y)
    >>> classifier.coef_.shape
    (3, 4)
    >>> classifier.score(X, y) > 0.95
    True
    """

    __module__ = "sksoftmax"

    _feature_mean, _feature_scale = FittedArray(), FittedArray()

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **{
            name: constraint
            for name, constraint in BaseSoftmaxClassifier._parameter_constraints.items()
            if name not in _NOT_LINEAR
        },
        "C": [Interval(Real, 0, None, closed="right")],
        "fit_intercept": ["boolean"],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "solver": [StrOptions({"auto", "newton-cg", *MINIBATCH_SOLVERS})],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "init_scale": [Interval(Real, 0, None, closed="left")],
    }

    @explain_keywords
    def __init__(
        self,
        C: float = 1.0,
        *,
        fit_intercept: bool = True,
        class_weight: dict[Any, float] | str | None = None,
        l1_ratio: float = 0.0,
        solver: str = "auto",
        tol: float = 1e-8,
        max_iter: int = 100,
        learning_rate: float = 0.01,
        momentum: float = 0.9,
        lr_schedule: str = "cosine",
        batch_size: int = 256,
        init_scale: float = 0.0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        scoring: str | Callable[..., float] = "loss",
        time_limit: float | None = None,
        on_interrupt: str = "raise",
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
        callbacks: list[Any] | None = None,
        verbose: int = 0,
    ) -> None:
        self.C = C
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.l1_ratio = l1_ratio
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.lr_schedule = lr_schedule
        self.batch_size = batch_size
        self.init_scale = init_scale
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.scoring = scoring
        self.time_limit = time_limit
        self.on_interrupt = on_interrupt
        self.warm_start = warm_start
        self.random_state = random_state
        self.device = device
        self.callbacks = callbacks
        self.verbose = verbose

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.solver not in MINIBATCH_SOLVERS
        return tags

    def _plan(
        self,
        data: TrainingRows,
        rows: NDArray[np.int64],
        *,
        is_new: bool,
        is_stream: bool,
    ) -> Plan:
        n_iter = partial(np.full, 1, dtype=np.int32)
        decay_of_weight = partial(_decay, self.C, len(self.classes_))
        decay = decay_of_weight(self._weight_seen)
        recipe = Recipe(
            optimizer=self.solver,
            learning_rate=self.learning_rate,
            momentum=self.momentum,
            weight_decay=decay,
            lr_schedule=self.lr_schedule,
            batch_size=self.batch_size,
            max_epochs=self.max_iter,
            # The first piece of a stream may have fewer rows than a batch.
            largest_stream_batch=self.batch_size,
            decay_of_weight=decay_of_weight,
        )
        if self.solver in MINIBATCH_SOLVERS:
            return Plan(
                recipe,
                training_scope=_centered,
                restore=center_intercepts,
                epochs_parameter="max_iter",
                n_iter=n_iter,
                settings=partial(dict, solver=self.solver),
            )
        # A stream that goes on from an optimum must not depend on the units of the
        # features either. Its penalty is a part of the gradient, not of the optimizer.
        stream = replace(recipe, optimizer="adam", weight_decay=0.0)
        return Plan(
            stream if is_stream else None,
            learn_inputs=self._learn_units,
            training_scope=partial(self._standardized, decay=decay),
            restore=self._restore_units,
            n_iter=n_iter,
            settings=partial(dict, solver="newton-cg"),
        )

    def _learn_units(
        self, module: nn.Module, data: TrainingRows, rows: NDArray[np.int64]
    ) -> bool:
        r"""Set mean and scale of the features, for a stream that may follow."""
        sample = data.take(evenly_spread(rows, _SAMPLE_ROWS))
        self._feature_mean, self._feature_scale = column_moments(
            sample.X, sample.sample_weight, self.fit_intercept
        )
        return True

    def _units(self) -> tuple[Tensor, Tensor]:
        r"""Return mean and scale of the features, in the widest dtype of the device."""
        dtype = torch.float64 if has_float64(self.device_) else torch.float32
        mean, scale = (
            as_tensor(values).to(self.device_, dtype)
            for values in (self._feature_mean, self._feature_scale)
        )
        return mean, scale

    @contextmanager
    def _standardized(self, module: SoftmaxLinear, decay: float) -> Iterator[None]:
        r"""Let a module learn on standardized features."""
        with standardized(module, *self._units(), decay):
            yield
        center_intercepts(module)

    def _restore_units(self, module: SoftmaxLinear) -> None:
        r"""Convert a module from standardized features to the scale of X."""
        remove_forward_pre_hooks(module)
        restore_units(module, *self._units())
        center_intercepts(module)

    def _fit_rows(
        self,
        data: TrainingRows,
        validation: TrainingRows | None,
        module: nn.Module | None,
        report: FitReport,
    ) -> None:
        if self.solver not in MINIBATCH_SOLVERS:
            self._check_exact(validation)
            self._begin_exact_fit(data, module)
            # The number of Newton steps is not known in advance.
            report.begin(None, "step")
            candidate = Candidate(0, self.C, self.l1_ratio)
            solve_in_place([self], [candidate], data.take(data.indices()), report)
            return
        if self.l1_ratio:
            raise ValueError(
                f"Got l1_ratio={self.l1_ratio} with solver={self.solver!r}, whose "
                "steps give no exact zeros. Expected solver='newton-cg', or l1_ratio=0."
            )
        super()._fit_rows(data, validation, module, report)

    def _begin_exact_fit(self, data: TrainingRows, module: nn.Module | None) -> None:
        r"""Set all fitted attributes but the solution, from where the solver starts."""
        rows = data.indices()
        self._begin_fit(data, rows)
        plan = self._plan(data, rows, is_new=module is None, is_stream=False)
        self._build(plan, data, rows, module)
        self.validation_scores_ = self.best_epoch_ = None

    def _check_exact(self, validation: TrainingRows | None) -> None:
        r"""Raise or warn if an exact solver cannot do what the parameters say."""
        if self.early_stopping or validation is not None:
            raise ValueError(
                f"Got solver={self.solver!r} with "
                f"{'early_stopping=True' if self.early_stopping else 'X_val'}, but a "
                "full-batch solver goes to the optimum and has no use for validation "
                "rows. Expected solver='sgd' or 'adam'."
            )
        if self.callbacks:
            warnings.warn(
                f"Got callbacks with solver={self.solver!r}, which calls none of "
                "skorch's callbacks. Expected solver='sgd' or 'adam', or callbacks of "
                "scikit-learn, attached by set_callbacks.",
                UserWarning,
                stacklevel=2,
            )


def _decay(C: float, n_classes: int, total_weight: float) -> float:
    r"""Return the factor of half the squared norm of a mean loss."""
    return penalty_of(Candidate(0, C, 0.0), total_weight, n_classes).l2_reg_strength


@contextmanager
def _centered(module: SoftmaxLinear) -> Iterator[None]:
    r"""Let the intercepts sum to zero after a training."""
    yield
    center_intercepts(module)
