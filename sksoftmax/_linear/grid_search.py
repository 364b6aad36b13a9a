r"""Grid search that solves all penalties of a softmax regression together."""

from __future__ import annotations

import time
from itertools import product
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import rankdata
from sklearn.base import is_classifier
from sklearn.model_selection import GridSearchCV, ParameterGrid, check_cv
from sklearn.utils import indexable
from sklearn.utils.parallel import Parallel, delayed
from torch import Tensor, strided

from .._data.containers import refuse
from .._data.labels import as_labels, refuse_missing
from .._utils.arrays import from_any_device
from .._utils.compat import (
    check_method_params,
    fit_context,
    has_callbacks,
    insert_error_scores,
    scorers_by_name,
    warn_or_raise_about_fit_failures,
)
from .._utils.estimators import DOCUMENTATION, fitted_state_kept
from .._utils.frames import collected, collected_column
from .._utils.keywords import ExplainedParametersMixin, explain_keywords
from .cross_validation import mean_over_folds, warn_about_missing_scores
from .grid_search_fits import Evaluation, Split, group_candidates, with_parameters


# The linter does not see parameters that are inherited.
class SoftmaxGridSearchCV(
    ExplainedParametersMixin, GridSearchCV
):  # numpydoc ignore=PR02
    r"""Grid search that solves all penalties of a softmax regression together.

    It has the parameters and results of :class:`~sklearn.model_selection.GridSearchCV`.
    But candidates that differ only in ``C`` and ``l1_ratio`` of a
    :class:`SoftmaxRegression`, alone or as the last step of a
    :class:`~sklearn.pipeline.Pipeline`, share the work in each fold: the steps before
    it are fitted once, and all penalties are solved as one problem. Prefer it if the
    penalty is one of the searched parameters; prefer :class:`SoftmaxRegressionCV` if it
    is the only one and no other step has to be fitted in each fold.

    Parameters
    ----------
    estimator : estimator object
        Estimator whose parameters are searched.
    param_grid : dict or list of dict
        Names of parameters, each with the values to try; or several such grids.
    scoring : str, callable, list, tuple or dict, default=None
        Score of the validation rows; several scores if it is a list, a tuple or a
        dict. The estimator's ``score`` if None.
    n_jobs : int, default=None
        Number of jobs. A job is one fold of all candidates that share the work.
    refit : bool, str or callable, default=True
        Whether to fit all rows with the best parameters. With several scores the name
        of the one that decides; or ``refit(cv_results) -> best_index``.
    cv : int, cross-validation generator or iterable, default=None
        The folds; a number of them is stratified by class, None means five.
    verbose : int, default=0
        Level of printing: 1 prints the number of fits, 2 a line for each of them, 3
        its scores as well.
    pre_dispatch : int or str, default='2*n_jobs'
        Number of jobs that are dispatched ahead.
    error_score : "raise" or float, default=nan
        Score in place of a failed fit or scorer, with a warning; "raise" raises the
        error.
    return_train_score : bool, default=False
        Whether to score the training rows as well.

    Attributes
    ----------
    cv_results_ : dict of ndarrays
        Parameters, scores and times of each candidate. The time of a fit that shared
        the work is an equal part of the time of its group.
    best_estimator_ : estimator
        The estimator with the best parameters, fitted to all rows. It is missing with
        ``refit=False``, and so are the attributes that follow up to ``refit_time_``.
    classes_ : ndarray of shape (n_classes,)
        The sorted labels.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if ``best_estimator_`` has them.
    refit_time_ : float
        Seconds of the last fit.
    best_score_ : float
        Mean score of the best candidate over the folds; missing if ``refit`` is
        callable. With several scores there is a best candidate only if ``refit`` names
        one of them.
    best_params_ : dict
        Parameters of the best candidate.
    best_index_ : int
        Index of the best candidate in ``cv_results_``.
    scorer_ : callable or dict
        The scorer, or all of them by name.
    multimetric_ : bool
        Whether there are several scores.
    n_splits_ : int
        Number of folds.

    See Also
    --------
    SoftmaxRegressionCV : All folds and penalties in one problem, without a pipeline.
    sklearn.model_selection.GridSearchCV : The same search, each candidate alone.

    Notes
    -----
    Candidates share the work if

    - the estimator is a ``SoftmaxRegression``, or a ``Pipeline`` (not a subclass of
      either), of any steps, with a ``SoftmaxRegression`` as the last;
    - its ``solver`` is "auto" or "newton-cg";
    - they differ in its ``C`` and ``l1_ratio`` only. Other parameters can be in the
      grid as well: candidates with the same values of them share the work. Values of
      two grids in a list are the same if they are the same object, as small integers
      and None are;
    - neither the search nor any part of the estimator has callbacks of scikit-learn.

    All other candidates, and those whose common fit fails, are fitted one by one, as by
    :class:`~sklearn.model_selection.GridSearchCV`. The results are the same in both
    cases, up to the tolerance ``tol`` of ``SoftmaxRegression``. Each candidate is
    scored as a pipeline of its own, which transforms the validation rows again.

    A fold in which no candidate has a score (all are NaN, as the area under the ROC
    curve is where a class is missing) is left out of the means, with a warning. In
    :class:`~sklearn.model_selection.GridSearchCV` all means would be NaN, and the first
    candidate would be the best. A candidate without a score in another fold ranks last.

    A common fit of M candidates to N rows of C classes needs memory for a few arrays of
    N x C x M numbers in float32.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sksoftmax import SoftmaxGridSearchCV, SoftmaxRegression
    >>> X, y = load_wine(return_X_y=True)
    >>> pipeline = make_pipeline(StandardScaler(), SoftmaxRegression())
    >>> grid = {"softmaxregression__C": [0.01, 0.1, 1.0, 10.0]}
    >>> search = SoftmaxGridSearchCV(pipeline, grid, scoring="neg_log_loss").fit(X, y)
    >>> len(search.cv_results_["params"])
    4
    >>> search.best_estimator_.score(X, y) > 0.95
    True
    """

    __module__ = "sksoftmax"

    _doc_link_module = "sksoftmax"
    _doc_link_template = DOCUMENTATION

    __init__ = explain_keywords(GridSearchCV.__init__)

    # The estimator's parameters are not validated yet.
    @fit_context(prefer_skip_nested_validation=False)  # type: ignore[untyped-decorator]
    def fit(self, X: ArrayLike, y: ArrayLike | None = None, **params: Any) -> Self:
        r"""Fit and score every candidate in every fold, then fit the best to all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples,)
            Training rows, as the estimator takes them.
        y : array-like of shape (n_samples,), default=None
            Labels.
        **params : dict
            Metadata for the estimator's ``fit``, the scorers and the splitter, as in
            :class:`~sklearn.model_selection.GridSearchCV`; arrays with an entry for
            each row are split along with the rows.

        Returns
        -------
        self : object
            The search.

        Raises
        ------
        TypeError
            If ``X`` or ``y`` is not a sequence of rows, but for example a dataset or a
            generator.
        ValueError
            If all fits fail, if ``param_grid`` names a parameter that the estimator
            lacks, or if there are several scores and ``refit`` names none of them. The
            attributes of a former fit then stay as they were.
        """
        X, y = collected(X), collected_column(y)
        refuse(X, "X")
        refuse(y, "y")
        if isinstance(X, Tensor) and X.layout != strided:
            # Rows cannot be indexed in a sparse tensor.
            X = from_any_device(X)
        y = _typed_labels(y)
        candidates = list(ParameterGrid(self.param_grid))
        groups = group_candidates(self.estimator, candidates)
        with fitted_state_kept(self):
            if len(groups) == len(candidates) or has_callbacks(self):
                super().fit(X, y, **params)
            else:
                self._fit_groups(X, y, params, candidates, groups)
        return self

    def score(self, X: ArrayLike, y: ArrayLike | None = None, **params: Any) -> float:
        r"""Score the predictions of the best estimator by ``scoring``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples,)
            The rows.
        y : array-like of shape (n_samples,), default=None
            Their labels.
        **params : dict
            Metadata for the scorer, as in
            :class:`~sklearn.model_selection.GridSearchCV`.

        Returns
        -------
        score : float
            The score; greater is better.
        """
        score: float = super().score(X, _typed_labels(y), **params)
        return score

    def _fit_groups(
        self,
        X: Any,
        y: Any,
        params: dict[str, Any],
        candidates: list[dict[str, Any]],
        groups: list[list[int]],
    ) -> None:
        r"""Do the same as ``GridSearchCV.fit``, but fit groups of candidates."""
        scorers, refit_metric = self._get_scorers()
        X, y = indexable(X, y)
        routed = self._get_routed_params_for_fit(check_method_params(X, params=params))
        cv = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        splits = [
            Split(fold, *rows)
            for fold, rows in enumerate(cv.split(X, y, **routed.splitter.split))
        ]
        if not splits:
            raise ValueError(f"Expected splits by cv={self.cv!r}, at least one; got 0.")
        self.n_splits_ = len(splits)
        evaluation = Evaluation(
            self.estimator,
            X,
            y,
            candidates,
            self.n_splits_,
            scorers,
            routed.estimator.fit,
            routed.scorer.score,
            self.return_train_score,
            self.error_score,
            self.verbose,
        )
        out = self._evaluate(evaluation, groups, splits)
        results = self._format_results(candidates, self.n_splits_, out)
        scores = out[0]["test_scores"]
        self.multimetric_ = isinstance(scores, dict)
        if callable(self.scoring) and self.multimetric_:
            self._check_refit_for_multimetric(scores)
            refit_metric = self.refit
        self._choose(results, refit_metric)
        if self.refit:
            self._fit_best(X, y, routed.estimator.fit)
        self.scorer_ = scorers_by_name(scorers)
        self.cv_results_ = results

    def _evaluate(
        self, evaluation: Evaluation, groups: list[list[int]], splits: list[Split]
    ) -> list[dict[str, Any]]:
        r"""Return the results in scikit-learn's order: by candidate, then by fold."""
        shape = n_candidates, n_splits = len(evaluation.candidates), len(splits)
        if self.verbose > 0:
            print(
                f"Fitting {n_splits} folds for each of {n_candidates} candidates, "
                f"totalling {n_candidates * n_splits} fits"
            )
        jobs = list(product(groups, splits))
        parallel = Parallel(n_jobs=self.n_jobs, pre_dispatch=self.pre_dispatch)
        results = parallel(delayed(evaluation.run)(*job) for job in jobs)
        table = np.empty(shape, dtype=object)
        for (group, split), in_group in zip(jobs, results, strict=True):
            table[group, split.fold] = in_group
        out: list[dict[str, Any]] = table.ravel().tolist()
        warn_or_raise_about_fit_failures(out, self.error_score)
        if callable(self.scoring):
            insert_error_scores(out, self.error_score)
        return out

    def _choose(self, results: dict[str, Any], metric: Any) -> None:
        if not self.refit and self.multimetric_:
            return
        self.best_index_ = self._select_best_index(self.refit, metric, results)
        if not callable(self.refit):
            self.best_score_ = results[f"mean_test_{metric}"][self.best_index_]
        self.best_params_ = results["params"][self.best_index_]

    def _fit_best(self, X: Any, y: Any, fit_params: dict[str, Any]) -> None:
        self.best_estimator_ = with_parameters(self.estimator, self.best_params_)
        start = time.time()
        self.best_estimator_.fit(X, y, **fit_params)
        self.refit_time_ = time.time() - start
        if hasattr(self.best_estimator_, "feature_names_in_"):
            self.feature_names_in_ = self.best_estimator_.feature_names_in_

    def _format_results(
        self,
        candidate_params: list[dict[str, Any]],
        n_splits: int,
        out: list[dict[str, Any]],
        more_results: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        r"""Return ``cv_results_``; if all means are NaN, means without empty folds."""
        results: dict[str, Any] = super()._format_results(
            candidate_params, n_splits, out, more_results
        )
        for key in [key for key in results if key.startswith("mean_test_")]:
            name = key.removeprefix("mean_test_")
            scores = np.array(
                [results[f"split{fold}_test_{name}"] for fold in range(n_splits)]
            )
            if not np.isnan(results[key]).all() or np.isnan(scores).all():
                continue
            warn_about_missing_scores(scores, name)
            means = results[key] = mean_over_folds(scores)
            variances = mean_over_folds((scores - means) ** 2)
            results[f"std_test_{name}"] = np.sqrt(variances)
            ranked = np.where(np.isnan(means), np.inf, -means)
            ranks = rankdata(ranked, method="min").astype(np.int32)
            results[f"rank_test_{name}"] = ranks
        return results


def _typed_labels(y: Any) -> Any:
    r"""Return labels in a container and dtype that scikit-learn's scorers accept.

    The classifiers accept more kinds of labels than scikit-learn's splitters and
    scorers. Arrays of numbers or text and several columns are returned as they are.
    """
    if isinstance(y, list | tuple):
        is_column = bool(y) and np.ndim(y[0]) == 0
    else:
        is_column = len(getattr(y, "shape", ())) == 1
    dtype = getattr(y, "dtype", None)
    is_plain = isinstance(dtype, np.dtype) and dtype.kind in "biufcUSMm"
    if not is_column or (is_plain and isinstance(y, np.ndarray | pd.Series)):
        return y
    labels = as_labels(y)
    refuse_missing(labels)
    return labels
