r"""Fits of a grid search: groups of candidates that share the work, and how they do."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline

from .._utils.compat import (
    check_method_params,
    fit_and_score,
    has_callbacks,
    num_samples,
    safe_split,
    score_estimator,
)
from .regression import MINIBATCH_SOLVERS, SoftmaxRegression, fit_together

_PENALTIES = ("C", "l1_ratio")
# The width that scikit-learn fills up with dots.
_REPORT_WIDTH = 80


class Together(BaseEstimator):
    r"""Takes the place of softmax regressions in a fit, and passes it on to all.

    In a pipeline, scikit-learn then fits the other steps once, routes metadata and
    caches as ever.
    """

    def __init__(self, classifiers: list[SoftmaxRegression]) -> None:
        self.classifiers = classifiers

    def get_metadata_routing(self) -> Any:
        return self.classifiers[0].get_metadata_routing()

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
    ) -> Self:
        # An exact solver holds no rows out, by groups or otherwise.
        fit_together(self.classifiers, X, y, sample_weight)
        return self


@dataclass(frozen=True)
class Evaluation:
    r"""What all fits of a search have in common."""

    estimator: Any
    X: Any
    y: Any
    candidates: list[dict[str, Any]]
    n_splits: int
    scorer: Any
    fit_params: dict[str, Any]
    score_params: dict[str, Any]
    return_train_score: bool
    error_score: Any
    verbose: int

    def run(
        self,
        group: list[int],
        fold: int,
        train: NDArray[np.int64],
        test: NDArray[np.int64],
    ) -> list[dict[str, Any]]:
        r"""Return the results of some candidates in a fold."""
        if len(group) > 1:
            try:
                fitted, seconds = self._fit(group, train)
            except Exception:
                # Alone, those who are to blame fail, as error_score says; others not.
                pass
            else:
                return [
                    self._score(estimator, candidate, fold, train, test, seconds)
                    for estimator, candidate in zip(fitted, group, strict=True)
                ]
        return [self._fit_and_score(one, fold, train, test) for one in group]

    def _fit_and_score(
        self,
        candidate: int,
        fold: int,
        train: NDArray[np.int64],
        test: NDArray[np.int64],
    ) -> dict[str, Any]:
        result: dict[str, Any] = fit_and_score(
            clone(self.estimator),
            self.X,
            self.y,
            train=train,
            test=test,
            parameters=self.candidates[candidate],
            split_progress=(fold, self.n_splits),
            candidate_progress=(candidate, len(self.candidates)),
            scorer=self.scorer,
            fit_params=self.fit_params,
            score_params=self.score_params,
            return_train_score=self.return_train_score,
            return_n_test_samples=True,
            return_times=True,
            error_score=self.error_score,
            verbose=self.verbose,
        )
        return result

    def _fit(
        self, group: list[int], train: NDArray[np.int64]
    ) -> tuple[list[Any], float]:
        r"""Return the candidates, fitted together, and how long one of them took."""
        fit_params = check_method_params(self.X, params=self.fit_params, indices=train)
        estimators = [
            with_parameters(self.estimator, self.candidates[one]) for one in group
        ]
        start = time.time()
        X, y = safe_split(estimators[0], self.X, self.y, train)
        if not isinstance(estimators[0], Pipeline):
            Together(estimators).fit(X, y, **fit_params)
            return estimators, (time.time() - start) / len(group)
        classifiers = [pipeline.steps[-1][1] for pipeline in estimators]
        shared, name = estimators[0], estimators[0].steps[-1][0]
        shared.set_params(**{name: Together(classifiers)}).fit(X, y, **fit_params)
        transformers = shared.steps[:-1]
        for pipeline, classifier in zip(estimators, classifiers, strict=True):
            pipeline.set_params(steps=[*transformers, (name, classifier)])
        return estimators, (time.time() - start) / len(group)

    def _score(
        self,
        estimator: Any,
        candidate: int,
        fold: int,
        train: NDArray[np.int64],
        test: NDArray[np.int64],
        seconds: float,
    ) -> dict[str, Any]:
        r"""Return what ``_fit_and_score`` does, of an estimator that is fitted."""
        parts = {"test_scores": test}
        if self.return_train_score:
            parts["train_scores"] = train
        result: dict[str, Any] = {
            "fit_error": None,
            "fit_time": seconds,
            "n_test_samples": num_samples(test),
        }
        for name, rows in parts.items():
            start = time.time()
            X, y = safe_split(estimator, self.X, self.y, rows, train)
            params = check_method_params(self.X, params=self.score_params, indices=rows)
            result[name] = score_estimator(
                estimator, X, y, self.scorer, params, self.error_score
            )
            # As in scikit-learn, the time is that of the test rows alone.
            result.setdefault("score_time", time.time() - start)
        if self.verbose > 1:
            print(self._report(candidate, fold, result))
        return result

    def _report(self, candidate: int, fold: int, result: dict[str, Any]) -> str:
        r"""Return the line that scikit-learn prints of a fit."""
        begin = "[CV"
        if self.verbose > 2:
            begin += f" {fold + 1}/{self.n_splits}"
        if self.verbose > 9:
            begin += f"; {candidate + 1}/{len(self.candidates)}"
        begin += "] END "
        parameters = self.candidates[candidate]
        end = ", ".join(f"{name}={parameters[name]}" for name in sorted(parameters))
        end += ";"
        if self.verbose > 2:
            end += self._reported_scores(result)
        end += f" total time={result['fit_time'] + result['score_time']:6.1f}s"
        return begin + "." * (_REPORT_WIDTH - len(begin) - len(end)) + end

    def _reported_scores(self, result: dict[str, Any]) -> str:
        test, train = result["test_scores"], result.get("train_scores")
        if not isinstance(test, dict):
            if train is None:
                return f", score={test:.3f}"
            return f", score=(train={train:.3f}, test={test:.3f})"
        both = {
            name: f"test={test[name]:.3f}"
            if train is None
            else f"train={train[name]:.3f}, test={test[name]:.3f}"
            for name in sorted(test)
        }
        return "".join(f" {name}: ({scores})" for name, scores in both.items())


def with_parameters(estimator: Any, parameters: dict[str, Any]) -> Any:
    # Parameters may be estimators, which belong to the grid.
    return clone(estimator).set_params(**clone(parameters, safe=False))


def groups_of(estimator: Any, candidates: list[dict[str, Any]]) -> list[list[int]]:
    r"""Return the indices of candidates that can be fitted together."""
    groups: dict[Any, list[int]] = {}
    for index, parameters in enumerate(candidates):
        penalties = _penalties(with_parameters(estimator, parameters))
        key: Any = index
        if penalties:
            # Values may be anything, arrays or estimators: those of one grid are the
            # same objects, and the list of candidates keeps them alive.
            key = frozenset(
                (name, id(value))
                for name, value in parameters.items()
                if name not in penalties
            )
        groups.setdefault(key, []).append(index)
    return list(groups.values())


def _penalties(estimator: Any) -> set[str]:
    r"""Return the names of the parameters that may differ in one problem, if any."""
    prefix, last = "", estimator
    if type(estimator) is Pipeline and estimator.steps:
        name, last = estimator.steps[-1]
        prefix = f"{name}__"
    if type(last) is not SoftmaxRegression or last.solver in MINIBATCH_SOLVERS:
        return set()
    parts = [estimator, *estimator.get_params().values()]
    if any(has_callbacks(part) for part in parts):
        return set()
    return {prefix + name for name in _PENALTIES}
