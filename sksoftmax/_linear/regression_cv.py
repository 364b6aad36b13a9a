r"""Softmax regression with its penalty chosen by cross-validation."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn import get_config
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.model_selection import (
    BaseCrossValidator,
    StratifiedGroupKFold,
    StratifiedKFold,
    check_cv,
)
from sklearn.utils import Bunch
from sklearn.utils.metadata_routing import (
    UNUSED,
    MetadataRouter,
    MethodMapping,
    process_routing,
)

from .._classifier.base import BaseSoftmaxClassifier
from .._convex.common import Penalty
from .._convex.newton import minimize
from .._data.containers import as_column
from .._data.copies import FEW_COPIES, first_of_each, join, numbers_of_copies
from .._data.labels import as_labels, check_weights
from .._data.training_rows import (
    TrainingRows,
    check_number_of_classes,
    check_training_rows,
)
from .._training.recipe import Recipe
from .._utils.compat import (
    Interval,
    StrOptions,
    check_method_params,
    fit_context,
    raise_for_params,
    score_function,
    with_options,
)
from .._utils.devices import modes_of_training, resolve_device
from .._utils.estimators import fitted_state_kept
from .._utils.keywords import explain_keywords
from .._utils.progress import FitReport, reported
from .base import LinearSoftmaxClassifier, StepReport, center_intercepts, penalties
from .fold_scores import mean_over_folds, warn_about_missing_scores
from .regression import SoftmaxRegression

# Which rows are learned from, and which are held out.
Fold = tuple[NDArray[np.int64], NDArray[np.int64]]

# The score of many rows cannot tell coefficients apart that are this close.
_FOLD_TOL = 1e-5


def folds_of_groups(data: TrainingRows, n_folds: int) -> list[Fold]:
    r"""Return stratified folds in which equal rows, and those of a group, are together.

    Copies follow the first of them, whose fold is that which it has without copies.
    """
    y = data.y
    copies = numbers_of_copies(data.X, np.arange(len(y)))
    if data.group is not None:
        group = data.group if copies is None else join(copies, data.group)
        return list(StratifiedGroupKFold(n_folds).split(y, y, group))
    first = np.arange(len(y)) if copies is None else first_of_each(copies)
    if (
        copies is None
        or len(first) > (1 - FEW_COPIES) * len(y)
        or np.bincount(y[first]).max() < n_folds
    ):
        return list(StratifiedKFold(n_folds).split(y, y))
    fold_of = np.empty(len(first), dtype=np.int64)
    for fold, (_, test) in enumerate(StratifiedKFold(n_folds).split(first, y[first])):
        fold_of[test] = fold
    in_fold = fold_of[copies] == np.arange(n_folds)[:, None]
    return [(np.flatnonzero(~test), np.flatnonzero(test)) for test in in_fold]


class SoftmaxRegressionCV(LinearSoftmaxClassifier):
    r"""Multinomial logistic regression that chooses its penalty by cross-validation.

    What :class:`~sklearn.linear_model.LogisticRegressionCV` does, but all folds and all
    penalties are one problem: the rows stand in memory once, a fold is a set of
    weights, one wide matrix product serves every candidate, and a candidate that has
    arrived drops out. Prefer it to a grid search over :class:`SoftmaxRegression`.

    Parameters
    ----------
    Cs : int or array-like of float, default=10
        Inverse strengths to try; an integer, at most 10,000, is that many between 1e-4
        and 1e4.
    l1_ratios : array-like of float, default=(0.0,)
        Shares of the lasso in the penalty to try with each of them.
    fit_intercept : bool, default=True
        Whether there is an intercept, which is not penalised.
    cv : int, cross-validation generator or iterable, default=None
        The folds, stratified by class if it is a number; five if None. Then copies of
        a row are in the same fold, if they are 1% of the rows or more.
    scoring : str, callable or None, default=None
        What the held-out rows are scored by, and what :meth:`score` returns: a name,
        or ``scorer(estimator, X, y)``; the accuracy if None.
    refit : bool, default=True
        Whether to fit all rows with the best penalty. Otherwise coefficients and
        penalties are averages over the folds of each fold's best.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class in the loss. "balanced" weighs them inversely to their
        frequency. A dict may name classes that ``y`` lacks; those that it does not
        name weigh 1. A class of weight 0 stays in ``classes_``.
    tol : float, default=1e-8
        The last fit ends when no entry of the mean loss's gradient, with respect to
        the weights of standardised features, is larger; where a penalized mean loss
        is below 0.001, ``tol`` is smaller in proportion. With more than a million
        numbers in ``X``, the folds' fits end at 1e-5 already.
    max_iter : int, default=100
        Most Newton steps.
    device : str, default="auto"
        Where to compute: "cpu", "cuda", "cuda:1", "mps"; "auto" takes an accelerator
        if there is one.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The sorted labels.
    C_ : float
        The best inverse strength.
    l1_ratio_ : float
        The best share of the lasso.
    Cs_ : ndarray of shape (n_cs,)
        Inverse strengths that were tried.
    l1_ratios_ : ndarray of shape (n_l1_ratios,)
        Shares of the lasso that were tried.
    scores_ : ndarray of shape (n_folds, n_l1_ratios, n_cs)
        Score of the rows that each fold held out. Where it is NaN, as the area under
        the ROC curve is if a class is missing, there is a warning: a fold without any
        score is left out of the choice, and a candidate without a score in another
        fold comes last.
    coefs_paths_ : ndarray of shape (n_folds, n_l1_ratios, n_cs, n_rows, n_columns)
        Coefficients of each fold's fit; one row for each class, but a single one for
        two classes; the intercepts, if any, are the last column.
    coef_ : ndarray of shape (n_classes, n_features) or (1, n_features)
        Weights on the scale of the input. With two classes one row, the weights of
        the second class's log odds.
    intercept_ : ndarray of shape (n_classes,) or (1,)
        Intercepts; zeros if ``fit_intercept=False``.
    n_iter_ : ndarray of shape (n_folds, n_l1_ratios, n_cs), int32
        Number of Newton steps of each fit.
    loss_curve_ : list of float
        The objective of the last fit, as a mean over rows, at its start and after each
        Newton step. Not there with ``refit=False``.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if ``X`` had names that are all strings.
    module_ : SoftmaxLinear
        The fitted module. With two classes it has a row for each, of opposite signs.
    net_ : skorch.NeuralNet
        The skorch net around the module.
    device_ : torch.device
        Where the module is.

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
    >>> classifier = SoftmaxRegressionCV(Cs=5, scoring="neg_log_loss").fit(X, y)
    >>> classifier.scores_.shape
    (5, 1, 5)
    >>> classifier.score(X, y) > -0.1
    True
    """

    __module__ = "sksoftmax"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "Cs": [Interval(Integral, 1, 10_000, closed="both"), "array-like"],
        "l1_ratios": ["array-like"],
        "fit_intercept": ["boolean"],
        "cv": ["cv_object"],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "refit": ["boolean"],
        "class_weight": BaseSoftmaxClassifier._parameter_constraints["class_weight"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "device": [str],
    }

    # Weights given to `score` go to the scorer, so there is nothing to ask for.
    __metadata_request__score: ClassVar[dict[str, str]] = {"sample_weight": UNUSED}

    # An exact solver draws nothing, starts at zero and reports no epochs.
    _fixed_parameters: ClassVar[dict[str, Any]] = {
        **BaseSoftmaxClassifier._fixed_parameters,
        "callbacks": None,
        "init_scale": 0.0,
        "random_state": 0,
        "verbose": 0,
    }

    @explain_keywords
    def __init__(
        self,
        Cs: int | ArrayLike = 10,
        *,
        l1_ratios: Sequence[float] = (0.0,),
        fit_intercept: bool = True,
        cv: int | BaseCrossValidator | None = None,
        scoring: str | Callable[..., float] | None = None,
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

    @property
    def partial_fit(self) -> None:  # type: ignore[override]
        r"""Not there: a penalty cannot be chosen from a part of the rows."""
        raise AttributeError("SoftmaxRegressionCV has no partial_fit.")

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
        rows that were learned from would choose too weak a penalty.

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
            What the splitter or the scorer requests, with
            ``sklearn.set_config(enable_metadata_routing=True)``; ``groups`` are for
            folds of a number ``cv`` as well: rows with equal entries are in the same.

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
            ``Cs`` or ``l1_ratios`` are not such numbers, or if all scores are NaN.
            What was fitted before stays as it was.
        """
        raise_for_params(params, self, "fit")
        with (
            reported(self, X, y, sample_weight) as report,
            modes_of_training(),
            fitted_state_kept(self),
        ):
            self.device_ = resolve_device(self.device)
            self.Cs_, self.l1_ratios_ = self._check_grid()
            data, self.classes_ = check_training_rows(
                self, X, y, sample_weight, groups=params.get("groups")
            )
            check_number_of_classes(self, data)
            weight = check_weights(self, sample_weight, data.X)
            routed = self._route("fit", weight, params)
            # A row of weight zero is the same as no row, in the score as well.
            kept = np.arange(len(data.y)) if weight is None else np.flatnonzero(weight)
            folds = self._split(X, data, kept, routed.splitter.split)
            to_scorer = check_method_params(X, routed.scorer.score, indices=kept)
            data = data.take(kept)
            report.begin(2 if self.refit else 1, "step")
            with report.stage("fit-folds"):
                solutions = self._fit_folds(data, folds, report)
            rows = data.indices()
            self._build(data, rows, None, with_optimizer=False)
            self._score_folds(data, folds, solutions, to_scorer)
            self._choose(data, rows, report)
        return self

    def score(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        **params: Any,
    ) -> float:
        r"""Score the predictions by ``scoring``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,)
            Their labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row; all equal if None.
        **params : dict
            What the scorer requests, with
            ``sklearn.set_config(enable_metadata_routing=True)``.

        Returns
        -------
        score : float
            The score; greater is better.
        """
        raise_for_params(params, self, "score")
        if sample_weight is not None:
            sample_weight = as_column(sample_weight, "sample_weight")
        routed = self._route("score", sample_weight, params)
        labels = as_labels(y)
        score: float = self._get_scorer()(self, X, labels, **routed.scorer.score)
        return score

    def get_metadata_routing(self) -> MetadataRouter:
        r"""Return what of the metadata goes to the splitter and to the scorer.

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
        r"""Return who gets which metadata; the scorer the weights, if nobody is asked.

        ``params`` are empty then.
        """
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        if get_config()["enable_metadata_routing"]:
            return process_routing(self, caller, **weights, **params)
        return Bunch(splitter=Bunch(split={}), scorer=Bunch(score=weights))

    def _split(
        self,
        X: Any,
        data: TrainingRows,
        kept: NDArray[np.int64],
        params: Mapping[str, Any],
    ) -> list[Fold]:
        r"""Return the folds, as places among the rows that are kept.

        Folds of ours are made of these rows; a splitter, or a list of folds, is about
        all rows.
        """
        labels = self.classes_[data.y]
        if self.cv is None or isinstance(self.cv, Integral):
            return folds_of_groups(data.take(kept), int(self.cv or 5))
        place = np.full(len(labels), -1)
        place[kept] = np.arange(len(kept))
        splitter = check_cv(self.cv, labels, classifier=True)
        folds = []
        for parts in splitter.split(X, labels, **params):
            train, test = (place[part] for part in parts)
            folds.append((train[train >= 0], test[test >= 0]))
            if not len(folds[-1][1]):
                raise ValueError(
                    f"Fold {len(folds)} holds out rows whose weights are all 0. "
                    "Expected some weight in both parts of every fold: drop the rows "
                    "without weight, or shuffle them with `cv`."
                )
        return folds

    def _get_scorer(self) -> Callable[..., float]:
        scorer: Callable[..., float] = get_scorer(self.scoring or "accuracy")
        return scorer

    def _get_fold_scorer(self) -> Callable[..., float]:
        r"""Return the scorer that knows the classes that a fold's labels may lack."""
        scorer = self._get_scorer()
        metric = score_function(scorer)
        if metric is None:
            return scorer
        taken = inspect.signature(metric).parameters
        if "labels" not in taken:
            return scorer
        known = {"labels": self.classes_}
        if len(self.classes_) == 2 and "pos_label" in taken:
            known["pos_label"] = self.classes_[1]
        fold_scorer: Callable[..., float] = with_options(scorer, known)
        return fold_scorer

    def _accepts_sparse(self) -> bool:
        return True

    def _recipe(self, n_rows: int, total_weight: float, is_part: bool) -> Recipe:
        raise NotImplementedError("An exact solver has no recipe.")

    def _check_grid(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        Cs = self.Cs
        Cs = np.logspace(-4, 4, Cs) if isinstance(Cs, Integral) else np.asarray(Cs)
        l1_ratios = np.asarray(self.l1_ratios)
        for name, values, expected in (
            ("Cs", Cs, "above 0"),
            ("l1_ratios", l1_ratios, "from 0 to 1"),
        ):
            fine = values.ndim == 1 and len(values) > 0 and values.dtype.kind in "iuf"
            if fine and name == "Cs":
                fine = bool((values > 0).all())
            elif fine:
                fine = bool(((values >= 0) & (values <= 1)).all())
            if not fine:
                raise ValueError(
                    f"Got {name}={getattr(self, name)!r}, but expected a sequence of "
                    f"numbers {expected}."
                )
        return Cs.astype(float), l1_ratios.astype(float)

    def _fit_folds(
        self, data: TrainingRows, folds: list[Fold], report: FitReport
    ) -> NDArray[np.object_]:
        r"""Return the solutions, of shape (n_folds, n_l1_ratios, n_cs)."""
        weight = data.loss_weight
        if weight is None:
            weight = np.ones(len(data.y))
        weights = np.zeros((len(folds), len(data.y)))
        for fold, (train, _) in enumerate(folds):
            weights[fold, train] = weight[train]
        totals = weights.sum(1)
        if not totals.all():
            raise ValueError(
                f"Fold {totals.argmin() + 1} of {len(folds)} trains on rows whose "
                "weights are all 0. Expected some weight in the training part of "
                "every fold: drop the rows without weight, or shuffle them with `cv`."
            )
        candidates = [
            Penalty(fold, *penalties(C, l1_ratio, total, len(self.classes_)))
            for fold, total in enumerate(totals)
            for l1_ratio in self.l1_ratios_
            for C in self.Cs_
        ]
        problem = self._make_problem(data, weights / totals[:, None], candidates)
        start = torch.zeros(
            len(candidates),
            len(self.classes_),
            problem.rows.n_columns,
            dtype=torch.float64,
            device=problem.y.device,
        )
        tol = self.tol if problem.rows.is_small else max(self.tol, _FOLD_TOL)
        observer = StepReport.of(report)
        solved = minimize(
            problem, start, tol=tol, max_iter=self.max_iter, observer=observer
        )
        if observer is None or not observer.is_stopped:
            self._warn_unless_converged(problem, solved, self.Cs_.max())
        solutions = np.empty(len(solved), dtype=object)
        solutions[:] = solved
        return solutions.reshape(len(folds), len(self.l1_ratios_), len(self.Cs_))

    def _score_folds(
        self,
        data: TrainingRows,
        folds: list[Fold],
        solutions: NDArray[np.object_],
        score_params: Mapping[str, Any],
    ) -> None:
        r"""Set what is known of each fit: scores, coefficients, number of steps."""
        scorer = self._get_fold_scorer()
        # As in scikit-learn, its own `score` is the accuracy, so a scorer may call it.
        candidate = SoftmaxRegression(fit_intercept=self.fit_intercept)
        # Equal indices are equal labels, and text takes longer to compare.
        is_accuracy = self.scoring in (None, "accuracy")
        classes = np.arange(len(self.classes_)) if is_accuracy else self.classes_
        candidate.classes_, candidate.device_ = classes, self.device_
        candidate.n_features_in_ = self.n_features_in_
        candidate.module_ = copy.deepcopy(self.module_).to(torch.float64)
        candidate.module_.eval()
        self.scores_ = np.zeros(solutions.shape)
        self.n_iter_ = np.zeros(solutions.shape, dtype=np.int32)
        paths = []
        for fold, (_, test) in enumerate(folds):
            held_out, labels = data.X[test], classes[data.y[test]]
            options = check_method_params(data.X, score_params, indices=test)
            for index, solution in np.ndenumerate(solutions[fold]):
                module = candidate.module_
                self._set_weights(module, solution.weight, solution.bias)
                center_intercepts(module)
                score = scorer(candidate, held_out, labels, **options)
                self.scores_[fold, *index] = score
                self.n_iter_[fold, *index] = min(solution.n_iter, self.max_iter)
                columns = [candidate.coef_]
                if self.fit_intercept:
                    columns.append(candidate.intercept_[:, None])
                paths.append(np.hstack(columns))
        self.coefs_paths_ = np.reshape(paths, (*solutions.shape, *paths[0].shape))

    def _choose(
        self, data: TrainingRows, rows: NDArray[np.int64], report: FitReport
    ) -> None:
        r"""Choose the penalty and set the coefficients."""
        folds, best = self._best_candidates()
        self.l1_ratio_ = float(self.l1_ratios_[best[0]].mean())
        self.C_ = float(self.Cs_[best[1]].mean())
        mean = self.coefs_paths_[folds, *best].mean(0)
        self.module_.to(torch.float64).eval()
        self.coef_ = mean[:, : self.n_features_in_]
        if self.fit_intercept:
            self.intercept_ = mean[:, -1]
        if self.refit:
            n_iter = self.n_iter_
            with report.stage("refit-with-best-penalty"):
                self._solve(data, rows, [(self, self.C_, self.l1_ratio_)], report)
            self.n_iter_ = n_iter

    def _best_candidates(self) -> tuple[NDArray[np.int64], tuple[Any, ...]]:
        r"""Return folds, and where in the grid their best candidate is.

        With ``refit=True`` the latter is the same for all folds; otherwise a fold
        without any score is left out.
        """
        n_folds, shape = len(self.scores_), self.scores_.shape[1:]
        scores = self.scores_.reshape(n_folds, -1)
        missing = np.isnan(scores)
        if missing.all():
            raise ValueError(
                f"All scores by scoring={self.scoring!r} are NaN, so no penalty is "
                "better than another. Expected a number in one fold at least: check "
                "that the held-out rows of `cv` have the classes that the score needs."
            )
        warn_about_missing_scores(scores, f"scoring={self.scoring!r}")
        if self.refit:
            best: Any = np.nanargmax(mean_over_folds(scores))
            return np.arange(n_folds), np.unravel_index(best, shape)
        folds = np.flatnonzero(~missing.all(1))
        best = np.nanargmax(scores[folds], axis=1)
        return folds, np.unravel_index(best, shape)
