r"""Fits of a grid search: candidates that share the work, and their scores."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline

from .._data.training_rows import check_number_of_classes, check_training_rows
from .._utils.compat import (
    check_method_params,
    check_parameters,
    fit_and_score,
    has_callbacks,
    num_samples,
    safe_split,
    score_estimator,
)
from .._utils.devices import modes_of_training, resolve_device
from .regression import MINIBATCH_SOLVERS, SoftmaxRegression
from .solver import Candidate, solve_in_place

_PENALTY_PARAMETERS = ("C", "l1_ratio")
# Characters of a printed line, which scikit-learn fills up with dots.
_LINE_WIDTH = 80


class ClassifierGroup(BaseEstimator):
    r"""Stand-in for softmax regressions in a pipeline: `fit` fits all of them.

    scikit-learn then fits the other steps once, routes metadata and caches as usual.
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
        # An exact solver holds out no rows, for which groups would count.
        fit_together(self.classifiers, X, y, sample_weight)
        return self


@modes_of_training()
def fit_together(
    classifiers: list[SoftmaxRegression],
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
) -> None:
    r"""Fit classifiers with an exact solver to the same rows, as one problem.

    They are not fitted yet and may differ in ``C`` and ``l1_ratio``. Afterwards they
    have the attributes that ``fit`` would have set.
    """
    for classifier in classifiers:
        check_parameters(classifier)
    first = classifiers[0]
    first._check_exact(validation=None)
    first.device_ = resolve_device(first.device)
    data, first.classes_ = check_training_rows(first, X, y, sample_weight)
    check_number_of_classes(first, data)
    learned, rows = vars(first).copy(), data.take(data.indices())
    for classifier in classifiers:
        # Attributes learned from the rows are the same for all classifiers.
        classifier.__dict__.update({**learned, **vars(classifier)})
        classifier._begin_exact_fit(data, None)
    candidates = [Candidate(0, model.C, model.l1_ratio) for model in classifiers]
    solve_in_place(classifiers, candidates, rows)


class Split(NamedTuple):
    r"""Number of a fold, and the indices of its rows."""

    fold: int
    train: NDArray[np.int64]
    test: NDArray[np.int64]


@dataclass(frozen=True)
class Evaluation:
    r"""Data and options of all fits of a search."""

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

    def run(self, group: list[int], split: Split) -> list[dict[str, Any]]:
        r"""Return the results of a group of candidates in a fold."""
        if len(group) > 1:
            try:
                estimators, seconds = self._fit_together(group, split.train)
            except Exception:
                # Alone, those that cause the error fail, as error_score says.
                pass
            else:
                return [
                    self._score(estimator, index, split, seconds)
                    for estimator, index in zip(estimators, group, strict=True)
                ]
        return [self._fit_alone(index, split) for index in group]

    def _fit_alone(self, index: int, split: Split) -> dict[str, Any]:
        result: dict[str, Any] = fit_and_score(
            clone(self.estimator),
            self.X,
            self.y,
            train=split.train,
            test=split.test,
            parameters=self.candidates[index],
            split_progress=(split.fold, self.n_splits),
            candidate_progress=(index, len(self.candidates)),
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

    def _fit_together(
        self, group: list[int], train: NDArray[np.int64]
    ) -> tuple[list[Any], float]:
        r"""Return the fitted candidates and the seconds for each of them."""
        fit_params = check_method_params(self.X, params=self.fit_params, indices=train)
        estimators = [
            with_parameters(self.estimator, self.candidates[index]) for index in group
        ]
        first = estimators[0]
        start = time.time()
        X, y = safe_split(first, self.X, self.y, train)
        if isinstance(first, Pipeline):
            name = first.steps[-1][0]
            classifiers = [pipeline.steps[-1][1] for pipeline in estimators]
            first.set_params(**{name: ClassifierGroup(classifiers)})
            first.fit(X, y, **fit_params)
            transformers = first.steps[:-1]
            for pipeline, classifier in zip(estimators, classifiers, strict=True):
                pipeline.set_params(steps=[*transformers, (name, classifier)])
        else:
            ClassifierGroup(estimators).fit(X, y, **fit_params)
        return estimators, (time.time() - start) / len(group)

    def _score(
        self, estimator: Any, index: int, split: Split, seconds: float
    ) -> dict[str, Any]:
        r"""Return what scikit-learn's ``_fit_and_score`` does, without the fit."""
        result: dict[str, Any] = {
            "fit_error": None,
            "fit_time": seconds,
            "n_test_samples": num_samples(split.test),
        }
        parts = {"test_scores": split.test}
        if self.return_train_score:
            parts["train_scores"] = split.train
        for name, rows in parts.items():
            start = time.time()
            X, y = safe_split(estimator, self.X, self.y, rows, split.train)
            params = check_method_params(self.X, params=self.score_params, indices=rows)
            result[name] = score_estimator(
                estimator, X, y, self.scorer, params, self.error_score
            )
            # The time for the validation rows alone, as in scikit-learn.
            result.setdefault("score_time", time.time() - start)
        if self.verbose > 1:
            print(self._printed_line(index, split.fold, result))
        return result

    def _printed_line(self, index: int, fold: int, result: dict[str, Any]) -> str:
        r"""Return the line that scikit-learn prints after a fit."""
        progress = f" {fold + 1}/{self.n_splits}" * (self.verbose > 2)
        progress += f"; {index + 1}/{len(self.candidates)}" * (self.verbose > 9)
        begin = f"[CV{progress}] END "
        parameters = sorted(self.candidates[index].items())
        end = ", ".join(f"{name}={value}" for name, value in parameters) + ";"
        if self.verbose > 2:
            end += _scores_text(result["test_scores"], result.get("train_scores"))
        seconds = result["fit_time"] + result["score_time"]
        end += f" total time={seconds:6.1f}s"
        return begin + end.rjust(_LINE_WIDTH - len(begin), ".")


def _scores_text(test: Any, train: Any) -> str:
    r"""Return the scores of one scorer, or of a dict of them, as scikit-learn does."""
    if not isinstance(test, dict):
        if train is None:
            return f", score={test:.3f}"
        return f", score=(train={train:.3f}, test={test:.3f})"
    return "".join(
        f" {name}: ("
        + ("" if train is None else f"train={train[name]:.3f}, ")
        + f"test={test[name]:.3f})"
        for name in sorted(test)
    )


def with_parameters(estimator: Any, parameters: dict[str, Any]) -> Any:
    r"""Return a clone with parameters; those that are estimators are cloned as well."""
    return clone(estimator).set_params(**clone(parameters, safe=False))


def group_candidates(
    estimator: Any, candidates: list[dict[str, Any]]
) -> list[list[int]]:
    r"""Return the indices of the candidates, those that can share the work together."""
    groups: dict[Any, list[int]] = {}
    for index, parameters in enumerate(candidates):
        penalty_names = _penalty_names(with_parameters(estimator, parameters))
        key: Any = index
        if penalty_names:
            # Values need no equality: they may be arrays or estimators. Those of one
            # grid are the same objects, which `candidates` keeps alive.
            key = frozenset(
                (name, id(value))
                for name, value in parameters.items()
                if name not in penalty_names
            )
        groups.setdefault(key, []).append(index)
    return list(groups.values())


def _penalty_names(estimator: Any) -> set[str]:
    r"""Return the names of the parameters in which one problem's candidates differ.

    The set is empty if the estimator cannot share the work.
    """
    prefix, last = "", estimator
    if type(estimator) is Pipeline and estimator.steps:
        name, last = estimator.steps[-1]
        prefix = f"{name}__"
    if type(last) is not SoftmaxRegression or last.solver in MINIBATCH_SOLVERS:
        return set()
    if any(map(has_callbacks, [estimator, *estimator.get_params().values()])):
        return set()
    return {prefix + name for name in _PENALTY_PARAMETERS}
