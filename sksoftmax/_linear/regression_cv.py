r"""Softmax regression with its penalty chosen by cross-validation."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn import get_config
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import Bunch, Tags
from sklearn.utils.metadata_routing import (
    UNUSED,
    MetadataRouter,
    MethodMapping,
    process_routing,
)

from .._classifier.state import fresh_module, net_without_optimizer
from .._data.containers import as_column, as_table
from .._data.labels import as_labels
from .._data.training_rows import (
    TrainingRows,
    check_number_of_classes,
    check_training_rows,
)
from .._utils.array_api import FittedArray
from .._utils.compat import (
    Interval,
    StrOptions,
    check_method_params,
    fit_context,
    scores_predictions,
)
from .._utils.devices import has_float64, modes_of_training
from .._utils.estimators import fitted_state_kept
from .._utils.keywords import check_metadata, explain_keywords
from .._utils.progress import FitReport, reported
from .._utils.scorers import scorer_with_classes
from .coefficients import LinearClassifier, set_coefficients
from .cross_validation import (
    SCORES_OF_LOGITS,
    Fold,
    best_candidates,
    check_grid,
    score_of_logits,
    split_rows,
    weights_in_folds,
)
from .regression import SoftmaxRegression
from .solver import Candidate, float64_device, solve, solve_in_place


class SoftmaxRegressionCV(LinearClassifier):
    r"""Multinomial logistic regression that chooses its penalty by cross-validation.

    It minimizes the objective of :class:`SoftmaxRegression` for each fold and penalty,
    as :class:`~sklearn.linear_model.LogisticRegressionCV` does. On small tables, and
    with an L1 penalty, each fit starts close to its minimum: where the fits under
    stronger penalties lead to. On large tables, all fits are solved as one problem: the
    rows are in memory once, a fold is a vector of sample weights, and one wide matrix
    product serves all fits that have not converged yet. Prefer it to a grid search over
    :class:`SoftmaxRegression`.

    Parameters
    ----------
    Cs : int or array-like of float, default=10
        Inverse strengths of the penalty to try; an integer, at most 10,000, means so
        many from 1e-4 to 1e4, evenly spaced on a log scale.
    l1_ratios : array-like of float, default=(0.0,)
        Shares of the L1 penalty to try with each of ``Cs``.
    fit_intercept : bool, default=True
        Whether there is an intercept, which is not penalized.
    cv : int, cross-validation generator or iterable, default=None
        The folds; a number of them is stratified by class, None means five. Copies of
        a row are then in the same fold, if they are 1% of the rows or more.
    scoring : str, callable or None, default="neg_log_loss"
        Score of the validation rows, and of :meth:`score`: a name, or
        ``scorer(estimator, X, y)``; the accuracy if None. The default is the one that
        :class:`~sklearn.linear_model.LogisticRegressionCV` has from scikit-learn 1.11.
    refit : bool, default=True
        Whether to fit all rows with the best penalty. Otherwise the coefficients and
        the penalty are the means over the folds of the best of each fold.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class in the loss. "balanced" weights are inversely proportional
        to the frequencies. A dict may name classes that ``y`` lacks; a class that it
        does not name has weight 1. A class of weight 0 stays in ``classes_``.
    tol : float, default=1e-8
        The last fit ends when no entry of the mean loss's gradient, with respect to
        the coefficients of standardized features, is larger; where a penalized mean
        loss is below 0.001, ``tol`` is smaller in proportion. With more than a million
        numbers in ``X``, the fits of the folds end at 1e-5 already.
    max_iter : int, default=100
        Maximum number of Newton steps.
    device : str, default="auto"
        Device: "cpu", "cuda", "cuda:1", "mps", "xpu"; "auto" takes an accelerator.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The sorted labels.
    C_ : float
        The best inverse strength of the penalty.
    l1_ratio_ : float
        The best share of the L1 penalty.
    Cs_ : ndarray of shape (n_cs,)
        Inverse strengths of the penalty that were tried.
    l1_ratios_ : ndarray of shape (n_l1_ratios,)
        Shares of the L1 penalty that were tried.
    scores_ : ndarray of shape (n_folds, n_l1_ratios, n_cs)
        Score of the validation rows of each fold. Where it is NaN, as the area under
        the ROC curve is if a class is missing, there is a warning: a fold without any
        score is left out of the choice, and a candidate without a score in another
        fold comes last.
    coefs_paths_ : ndarray of shape (n_folds, n_l1_ratios, n_cs, n_rows, n_columns)
        Coefficients of the fits of each fold; one row for each class, but a single row
        for two classes; the intercepts, if any, are the last column.
    coef_ : ndarray of shape (n_classes, n_features) or (1, n_features)
        Coefficients on the scale of the input. With two classes there is one row, of
        the log odds of the second class.
    intercept_ : ndarray of shape (n_classes,) or (1,)
        Intercepts; zeros if ``fit_intercept=False``.
    n_iter_ : ndarray of shape (n_folds, n_l1_ratios, n_cs), int32
        Number of Newton steps of each fit.
    loss_curve_ : list of float
        The objective of the last fit, as a mean over rows, at its start and after each
        Newton step. Missing with ``refit=False``.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if ``X`` had names that are all strings.
    module_ : SoftmaxLinear
        The fitted module. With two classes it has a row for each, of opposite signs.
    net_ : skorch.NeuralNet
        The skorch net around the module.
    settings_ : dict
        The penalties ``"Cs"``, the number of folds ``"cv"`` and the ``"device"``.
    device_ : torch.device
        Device of the module.

    See Also
    --------
    SoftmaxRegression : The same for a given penalty.
    sklearn.linear_model.LogisticRegressionCV : The same model on NumPy.

    Notes
    -----
    The attributes have the shapes that scikit-learn calls
    ``use_legacy_attributes=False``.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sksoftmax import SoftmaxRegressionCV
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = SoftmaxRegressionCV(Cs=5).fit(X, y)
    >>> classifier.scores_.shape
    (5, 1, 5)
    >>> classifier.score(X, y) > -0.1
    True
    """

    __module__ = "sksoftmax"
    Cs_, l1_ratios_, scores_, coefs_paths_ = (FittedArray() for _ in range(4))

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "Cs": [Interval(Integral, 1, 10_000, closed="both"), "array-like"],
        "l1_ratios": ["array-like"],
        "fit_intercept": ["boolean"],
        "cv": ["cv_object"],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "refit": ["boolean"],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "device": [str],
    }

    # Groups that a pipeline or a cross-validation has are passed on to `fit`.
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}

    # Sample weights given to `score` go to the scorer.
    __metadata_request__score: ClassVar[dict[str, str]] = {"sample_weight": UNUSED}

    @explain_keywords
    def __init__(
        self,
        Cs: int | ArrayLike = 10,
        *,
        l1_ratios: Sequence[float] = (0.0,),
        fit_intercept: bool = True,
        cv: int | BaseCrossValidator | None = None,
        scoring: str | Callable[..., float] | None = "neg_log_loss",
        refit: bool = True,
        class_weight: dict[Any, float] | str | None = None,
        tol: float = 1e-8,
        max_iter: int = 100,
        device: str = "auto",
    ) -> None:
        self.Cs = Cs
        self.l1_ratios = l1_ratios
        self.fit_intercept = fit_intercept
        self.cv = cv
        self.scoring = scoring
        self.refit = refit
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.device = device

    @fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        **params: Any,
    ) -> Self:
        r"""Fit every fold with every penalty, then all rows with the best.

        If ``cv`` is a number or None and 1% of the rows or more are copies of others,
        equal rows are in the same fold, unlike in
        :class:`~sklearn.linear_model.LogisticRegressionCV`: the score of copies of
        training rows would choose too weak a penalty.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training rows, without missing values.
        y : array-like of shape (n_samples,), default=None
            Labels: strings, integers, booleans or pandas categoricals. Not optional.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row, in the loss and in the score; all equal if None. A row
            of weight zero is the same as no row, as in :class:`SoftmaxRegression`.
        **params : dict
            Metadata that the splitter or the scorer requests, with
            ``sklearn.set_config(enable_metadata_routing=True)``. ``groups`` count if
            ``cv`` is a number as well: rows with equal entries are in the same fold.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        TypeError
            If the data is no table of numbers, as in :class:`SoftmaxRegression`.
        ValueError
            If the data cannot be learned from, as in :class:`SoftmaxRegression`, if
            ``Cs`` or ``l1_ratios`` are not such numbers, or if all scores are NaN. The
            attributes of a former fit then stay as they were.
        """
        check_metadata(params, self, "fit")
        with (
            reported(self, X, y, sample_weight) as report,
            modes_of_training(),
            fitted_state_kept(self),
        ):
            self._begin_on_device()
            self.Cs_, self.l1_ratios_ = check_grid(self.Cs, self.l1_ratios)
            data, self.classes_ = check_training_rows(
                self, X, y, sample_weight, groups=params.get("groups")
            )
            check_number_of_classes(self, data)
            weight = data.sample_weight
            routed = self._route("fit", weight, params)
            # A row of weight zero is the same as no row, in the score as well.
            kept = np.arange(len(data.y)) if weight is None else np.flatnonzero(weight)
            labels = self.classes_[data.y]
            folds = split_rows(self.cv, X, data, labels, kept, routed.splitter.split)
            to_scorer = check_method_params(X, routed.scorer.score, indices=kept)
            data = data.take(kept)
            report.begin(2 if self.refit else 1, "step")
            device, Cs = str(self.device_), self.Cs_.tolist()
            self.settings_ = {"Cs": Cs, "cv": len(folds), "device": device}
            with report.stage("fit-folds"):
                grid = self._solve_folds(data, folds, report)
            self._score_folds(data, folds, grid, to_scorer)
            self._choose(data, report)
            self._follow(X)
        return self

    def score(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        **params: Any,
    ) -> float:
        r"""Score the predictions by ``scoring``, the negative log loss by default.

        A score of probabilities is defined for rows that lack a class as well, for
        which :class:`~sklearn.linear_model.LogisticRegressionCV` raises an error.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,)
            Their labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row; all equal if None.
        **params : dict
            Metadata that the scorer requests, with
            ``sklearn.set_config(enable_metadata_routing=True)``.

        Returns
        -------
        score : float
            The score; greater is better.
        """
        check_metadata(params, self, "score")
        if sample_weight is not None:
            sample_weight = as_column(sample_weight, "sample_weight")
        routed = self._route("score", sample_weight, params)
        X, labels = as_table(X), as_labels(y)
        scorer = self._get_scorer()
        if not scores_predictions(scorer):
            scorer = scorer_with_classes(scorer, self.classes_)
        # The predictions of a copy are NumPy's, as the metrics take them.
        return scorer(copy.copy(self), X, labels, **routed.scorer.score)

    def get_metadata_routing(self) -> MetadataRouter:
        r"""Return which metadata the splitter and the scorer get.

        Returns
        -------
        routing : MetadataRouter
            As scikit-learn's user guide on metadata routing explains.
        """
        to_scorer = MethodMapping().add(caller="fit", callee="score")
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(
                splitter=self.cv,
                method_mapping=MethodMapping().add(caller="fit", callee="split"),
            )
            .add(
                scorer=self._get_scorer(),
                method_mapping=to_scorer.add(caller="score", callee="score"),
            )
        )

    def _route(
        self, caller: str, sample_weight: ArrayLike | None, params: Mapping[str, Any]
    ) -> Bunch:
        r"""Return the metadata of the splitter and of the scorer.

        Without metadata routing, ``params`` are empty and the scorer gets the sample
        weights.
        """
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        if get_config()["enable_metadata_routing"]:
            return process_routing(self, caller, **weights, **params)
        return Bunch(splitter=Bunch(split={}), scorer=Bunch(score=weights))

    def _get_scorer(self) -> Callable[..., float]:
        scorer: Callable[..., float] = get_scorer(self.scoring or "accuracy")
        return scorer

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _solve_folds(
        self, data: TrainingRows, folds: list[Fold], report: FitReport
    ) -> NDArray[np.object_]:
        r"""Return the solutions, of shape (n_folds, n_l1_ratios, n_cs)."""
        shape = (len(folds), len(self.l1_ratios_), len(self.Cs_))
        solutions = solve(
            self,
            data,
            [
                Candidate(fold, C, l1_ratio)
                for fold, l1_ratio, C in product(
                    range(len(folds)), self.l1_ratios_, self.Cs_
                )
            ],
            fold_weights=weights_in_folds(data, folds),
            is_search=self.refit,
            report=report,
        )
        return np.array(solutions, dtype=object).reshape(shape)

    def _score_folds(
        self,
        data: TrainingRows,
        folds: list[Fold],
        grid: NDArray[np.object_],
        score_params: Mapping[str, Any],
    ) -> None:
        r"""Set the scores, the coefficients and the numbers of steps of all fits."""
        scorer = scorer_with_classes(self._get_scorer(), self.classes_)
        # Its own `score` is the accuracy, as in scikit-learn: a scorer may call it.
        candidate = SoftmaxRegression(fit_intercept=self.fit_intercept)
        device = float64_device(self.device_)
        module: Any = fresh_module(self).to(device, torch.float64).eval()
        candidate.classes_, candidate.device_ = self.classes_, device
        candidate.n_features_in_, candidate.module_ = self.n_features_in_, module
        self.scores_ = np.zeros(grid.shape)
        self.n_iter_ = np.zeros(grid.shape, dtype=np.int32)
        paths = []
        for fold, (_, test) in enumerate(folds):
            held_out, y = data.X[test], data.y[test]
            options = check_method_params(data.X, score_params, indices=test)
            takes_logits = set(options) <= {"sample_weight"}
            takes_logits &= self.scoring in SCORES_OF_LOGITS
            for index, solution in np.ndenumerate(grid[fold]):
                set_coefficients(module, solution.weight, solution.bias)
                coef, intercept = candidate.coef_, candidate.intercept_
                score: float | None
                if takes_logits:
                    logits = held_out @ coef.T + intercept
                    score = score_of_logits(self.scoring, logits, y, **options)
                else:
                    score = scorer(candidate, held_out, self.classes_[y], **options)
                self.scores_[fold, *index] = score
                self.n_iter_[fold, *index] = min(solution.n_iter, self.max_iter)
                intercepts = intercept[:, None][:, : self.fit_intercept]
                paths.append(np.hstack([coef, intercepts]))
        self.coefs_paths_ = np.reshape(paths, (*grid.shape, *paths[0].shape))

    def _choose(self, data: TrainingRows, report: FitReport) -> None:
        r"""Choose the penalty and set the coefficients."""
        name = f"scoring={self.scoring!r}"
        folds, best = best_candidates(self.scores_, name, is_common=self.refit)
        self.l1_ratio_ = float(self.l1_ratios_[best[0]].mean())
        self.C_ = float(self.Cs_[best[1]].mean())
        mean = self.coefs_paths_[folds, *best].mean(0)
        dtype = torch.float64 if has_float64(self.device_) else None
        module: Any = fresh_module(self).to(self.device_, dtype).eval()
        self.module_, self.net_ = module, net_without_optimizer(self, module)
        self.coef_ = mean[:, : self.n_features_in_]
        if self.fit_intercept:
            self.intercept_ = mean[:, -1]
        if self.refit:
            n_iter = self.n_iter_
            candidate = Candidate(0, self.C_, self.l1_ratio_)
            with report.stage("refit-with-best-penalty"):
                solve_in_place([self], [candidate], data.take(data.indices()), report)
            self.n_iter_ = n_iter
