r"""Softmax regression."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from ._base import BaseSoftmaxClassifier
from ._net import Recipe
from ._solvers import SoftmaxObjective, Solution, newton_cg
from ._torch import as_tensor
from ._validation import TrainingRows
from .modules import SoftmaxLinear

# Where the exact solver computes if the device has no float64.
_CPU = torch.device("cpu")

_MINIBATCH_SOLVERS = {"sgd", "adam"}

# Parameters of the nets that have another name here, or no use.
_NOT_LINEAR = {
    "optimizer",
    "weight_decay",
    "max_epochs",
    "label_smoothing",
    "precision",
}


class SoftmaxRegression(BaseSoftmaxClassifier):
    r"""Multinomial logistic regression.

    Minimises

    .. math:: C \sum_i s_i \log \frac{\sum_k e^{z_{ik}}}{e^{z_{i y_i}}}
              + \frac{1}{2} \lVert W \rVert^2, \qquad z_i = W x_i + b

    with sample weights :math:`s_i`, as
    :class:`~sklearn.linear_model.LogisticRegression` does, and finds the same
    coefficients. The default solver goes to the optimum of
    this convex problem; "sgd" and "adam" train by mini-batches. Prefer it when you need
    coefficients to read, a baseline, or calibrated probabilities of few rows.

    Parameters
    ----------
    C : float, default=1.0
        Inverse of the L2 strength, in units of one sample's loss, as in
        :class:`~sklearn.linear_model.LogisticRegression`. ``np.inf`` switches it off.
    fit_intercept : bool, default=True
        Whether there is an intercept, which is not penalised.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class in the loss. "balanced" weighs them inversely to their
        frequency.
    solver : {"auto", "newton-cg", "sgd", "adam"}, default="auto"
        "newton-cg" is a full-batch Newton method and goes to the optimum; "auto"
        takes it. "sgd" and "adam" take ``max_iter`` passes over mini-batches.
    tol : float, default=1e-8
        The Newton method stops when no entry of the mean loss's gradient, with respect
        to the weights of standardised features, is larger. For a mini-batch solver:
        by how much the best validation score must be beaten to count.
    max_iter : int, default=100
        Most Newton steps, or passes over the rows.
    learning_rate : float, default=0.01
        Learning rate of a mini-batch solver, like the parameters that follow.
    momentum : float, default=0.9
        Momentum of ``solver="sgd"``.
    lr_schedule : {"one_cycle", "cosine", "constant"}, default="cosine"
        How the learning rate changes over all steps: up and down to zero, down to
        zero, or not at all.
    batch_size : int, default=256
        Rows per step.
    init_scale : float, default=0.0
        Standard deviation of the normal initial weights; 0 starts at zero.
    early_stopping : bool, default=False
        Whether to hold out rows, stop when their score stalls and restore the
        weights of the best epoch. For mini-batch solvers only.
    validation_fraction : float, default=0.1
        Share of the rows to hold out, stratified by class. Used only if
        ``early_stopping=True`` and no ``X_val`` is passed to ``fit``.
    n_iter_no_change : int, default=10
        Number of epochs without improvement after which training stops early.
    scoring : {"loss", "accuracy"}, default="loss"
        Validation score: the negative log loss, or the accuracy.
    warm_start : bool, default=False
        Whether ``fit`` starts from the coefficients of the previous fit.
    random_state : int, RandomState instance or None, default=None
        Decides what is random with a mini-batch solver: initial weights, the held-out
        rows, the order of the batches.
    device : str, default="auto"
        Where to compute: "cpu", "cuda", "cuda:1", "mps"; "auto" takes an accelerator
        if there is one.
    callbacks : list of skorch callbacks or None, default=None
        Called during training by a mini-batch solver, as by a skorch net.
    verbose : int, default=0
        Whether to print a line per epoch of a mini-batch solver.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The sorted labels.
    coef_ : ndarray of shape (n_classes, n_features) or (1, n_features)
        Weights on the scale of the input. With two classes one row, the weights of
        the second class's log odds, as in scikit-learn.
    intercept_ : ndarray of shape (n_classes,) or (1,)
        Intercepts; zeros if ``fit_intercept=False``.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if ``X`` had names that are all strings.
    module_ : SoftmaxLinear
        The fitted module. With two classes it has a row for each, of opposite signs.
    net_ : skorch.NeuralNet
        The skorch net around the module.
    n_iter_ : ndarray of shape (1,), int32
        Number of Newton steps or epochs run.
    loss_curve_ : list of float
        The objective, as a mean over rows, at the start and after each Newton step;
        for a mini-batch solver the mean training loss of each epoch.
    validation_scores_ : list of float or None
        Validation score after each epoch; None if nothing was held out.
    device_ : torch.device
        Where the module is.

    See Also
    --------
    sklearn.linear_model.LogisticRegression : The same model on NumPy.
    SoftmaxMLPClassifier : Multi-layer perceptron.

    Notes
    -----
    The intercepts of more than two classes are determined up to a common constant;
    they sum to zero here.

    References
    ----------
    Lin, Weng and Keerthi (2008). Trust Region Newton Method for Large-Scale Logistic
    Regression. Journal of Machine Learning Research 9.
    https://jmlr.org/papers/v9/lin08b.html

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

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **{
            name: constraint
            for name, constraint in BaseSoftmaxClassifier._parameter_constraints.items()
            if name not in _NOT_LINEAR
        },
        "C": [Interval(Real, 0, None, closed="right")],
        "fit_intercept": ["boolean"],
        "solver": [StrOptions({"auto", "newton-cg", *_MINIBATCH_SOLVERS})],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "init_scale": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        C: float = 1.0,
        *,
        fit_intercept: bool = True,
        class_weight: dict[Any, float] | str | None = None,
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
        scoring: str = "loss",
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
        callbacks: list[Any] | None = None,
        verbose: int = 0,
    ) -> None:
        self.C = C
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
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
        self.warm_start = warm_start
        self.random_state = random_state
        self.device = device
        self.callbacks = callbacks
        self.verbose = verbose

    def _build_module(
        self, n_features: int, n_classes: int, generator: torch.Generator
    ) -> SoftmaxLinear:
        return SoftmaxLinear(
            n_features,
            n_classes,
            bias=self.fit_intercept,
            init_scale=self.init_scale,
            generator=generator,
        )

    def _recipe(self, n_rows: int, total_weight: float) -> Recipe:
        return Recipe(
            # partial_fit after an exact fit needs an optimizer, too.
            optimizer=self.solver if self.solver in _MINIBATCH_SOLVERS else "adam",
            learning_rate=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self._penalty(total_weight),
            lr_schedule=self.lr_schedule,
            batch_size=self.batch_size,
            max_epochs=self.max_iter,
        )

    def _penalty(self, total_weight: float) -> float:
        r"""Return the factor of half the squared norm beside the *mean* loss."""
        # With two classes scikit-learn penalises the difference w of the two rows.
        # Ours are w / 2 and -w / 2, whose squares sum to half of w's.
        rows_per_weight = 2.0 if len(self.classes_) == 2 else 1.0
        return rows_per_weight / (self.C * total_weight)

    def _fit_rows(
        self,
        data: TrainingRows,
        validation: TrainingRows | None,
        module: nn.Module | None,
    ) -> None:
        if self.solver in _MINIBATCH_SOLVERS:
            super()._fit_rows(data, validation, module)
            return
        if self.early_stopping or validation is not None:
            raise ValueError(
                f"Got solver={self.solver!r} with "
                f"{'early_stopping=True' if self.early_stopping else 'X_val'}, but a "
                "full-batch solver goes to the optimum and watches no validation "
                "rows. Expected solver='sgd' or 'adam'."
            )
        rows = data.indices()
        self._build(data, rows, module, with_optimizer=False)
        has_double = self.device_.type != "mps"
        self.module_.to(
            torch.float64
            if has_double and data.X.dtype != np.float32
            else torch.float32
        )
        solution = self._solve(data, rows, self.device_ if has_double else _CPU)
        with torch.no_grad():
            self.module_.weight.copy_(solution.weight)
            if solution.bias is not None:
                self.module_.bias.copy_(solution.bias)
        self.module_.eval()
        self.n_iter_ = np.array([solution.n_iter], dtype=np.int32)
        self.loss_curve_ = solution.objectives
        self.validation_scores_ = None
        self._set_coefficients()

    def _solve(
        self, data: TrainingRows, rows: NDArray[np.int64], device: torch.device
    ) -> Solution:
        X = data.X if len(rows) == len(data.X) else data.X[rows]
        weight = data.loss_weight
        module = self.module_
        objective = SoftmaxObjective(
            as_tensor(X).to(device),
            as_tensor(data.y[rows]).to(device),
            None if weight is None else as_tensor(weight[rows]).to(device),
            len(self.classes_),
            self._penalty(data.total_weight(rows)),
            self.fit_intercept,
        )
        solution = newton_cg(
            objective,
            module.weight.detach().to(device),
            None if module.bias is None else module.bias.detach().to(device),
            tol=self.tol,
            max_iter=self.max_iter,
        )
        if not solution.converged:
            warnings.warn(
                f"newton-cg stopped after {solution.n_iter} steps with a gradient of "
                f"{solution.gradient_norm:.2g} > tol={self.tol:.2g}. Increase max_iter "
                f"(now {self.max_iter}), or lower C (now {self.C}) if the classes can "
                "be separated.",
                ConvergenceWarning,
                stacklevel=6,
            )
        return solution

    def _train(self, *args: Any, **kwargs: Any) -> None:
        super()._train(*args, **kwargs)
        self.n_iter_ = np.array([self.n_iter_], dtype=np.int32)
        self._set_coefficients()

    def _set_coefficients(self) -> None:
        module = self.module_
        if self.fit_intercept:
            with torch.no_grad():
                # A common shift changes no probability; this one is determined.
                module.bias -= module.bias.mean()
        weight = module.weight.detach().cpu().numpy().copy()
        bias = np.zeros(len(weight), dtype=weight.dtype)
        if self.fit_intercept:
            bias = module.bias.detach().cpu().numpy().copy()
        if len(self.classes_) == 2:
            weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
        self.coef_, self.intercept_ = weight, bias
