"""
A model for TabArena and BeyondArena
====================================

``SoftmaxSystem`` is :class:`sksoftmax.SoftmaxMLPClassifier` with the interface that
TabArena has for systems which prepare the columns themselves: it gets the raw frame,
the number of cores, the seconds and the seed of the split, and it returns a frame of
probabilities. In TabArena's own runner it is a method like any other. ::

    from arena import SoftmaxSystem  # ``pip install tabarena``

The tables of TabArena are downloaded. Without the package and a network, this file
measures the same class by the same protocol on the tables at hand: three repeats of
three stratified folds, scored by log loss, with Elo ratings of ``bencheval`` where that
is installed.

Run with ``python examples/benchmarks/arena.py [--tables NAME ...] [--repeats 3]
[--cores 2] [--seconds 3600] [--rivals NAME ...] [--save FILE]``.
"""

import argparse
from contextlib import contextmanager

import numpy as np
import pandas as pd
import small_tables
import torch
from contestants import TABLES
from leaderboards import show_tables
from measurements import Measurements, cross_validation
from sklearn.base import BaseEstimator

from sksoftmax import SoftmaxMLPClassifier

try:
    from tabarena.benchmark.exec_models.external import ExternalSystemModel
except ImportError:

    class ExternalSystemModel:
        r"""The part of TabArena's class that a fit and a prediction need."""

        def __init__(self, *, problem_type, eval_metric, fit_kwargs=None):
            self.problem_type, self.eval_metric = problem_type, eval_metric
            self.budget = {
                name: (fit_kwargs or {}).get(name)
                for name in ("num_cpus", "num_gpus", "memory_limit", "time_limit")
            }

        def fit(self, X, y, X_val=None, y_val=None):
            return self._fit_system(
                X.copy(),
                y,
                target_name=y.name,
                problem_type=self.problem_type,
                eval_metric=self.eval_metric,
                validation_metadata=None,
                random_state=None,
                **self.budget,
            )

        def predict_proba(self, X):
            return self._predict_proba(X)


# %%
# The system.
@contextmanager
def threads(number):
    r"""Use as many threads of PyTorch in the block; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def groups_of(X, metadata):
    r"""Return the group of each row that the task names; None without groups."""
    names = getattr(metadata, "group_on", None)
    names = [names] if isinstance(names, str) else names or []
    known = [name for name in names if name in X]
    return X.groupby(known, dropna=False).ngroup() if known else None


class SoftmaxSystem(ExternalSystemModel):
    r"""A perceptron of this package, as TabArena runs it.

    Parameters
    ----------
    parameters : dict or None
        Parameters of the classifier.
    **kwargs : dict
        Arguments of TabArena: the task, the metric and the budget.
    """

    def __init__(self, *, parameters=None, **kwargs):
        super().__init__(**kwargs)
        self.parameters = parameters or {}

    def _fit_system(
        self,
        X,
        y,
        *,
        target_name,
        problem_type,
        eval_metric,
        validation_metadata,
        num_cpus,
        num_gpus,
        memory_limit,
        time_limit,
        random_state,
    ):
        if problem_type == "regression":
            raise ValueError(
                "Got problem_type='regression', but expected 'binary' or 'multiclass'. "
                "Run the classification tasks of the benchmark only."
            )
        self.num_threads = num_cpus
        self.classifier = SoftmaxMLPClassifier(
            **{
                "random_state": random_state or 0,
                "time_limit": time_limit,
                "device": "auto" if num_gpus else "cpu",
                **self.parameters,
            }
        )
        with threads(num_cpus):
            self.classifier.fit(X, y, groups=groups_of(X, validation_metadata))
        return self

    def _predict_proba(self, X):
        with threads(self.num_threads):
            proba = self.classifier.predict_proba(X)
        return pd.DataFrame(proba, index=X.index, columns=self.classifier.classes_)


# %%
# The protocol on the tables at hand.
class Contestant(BaseEstimator):
    r"""A system with the interface of scikit-learn, for ``measurements.py``."""

    def __init__(self, budget, seed):
        self.budget = budget
        self.seed = seed

    def fit(self, X, y):
        task = "binary" if len(np.unique(y)) == 2 else "multiclass"
        self.system_ = SoftmaxSystem(
            problem_type=task,
            eval_metric="log_loss",
            fit_kwargs=self.budget,
            parameters={"random_state": self.seed},
        )
        self.system_.fit(X, pd.Series(y, index=X.index, name="target"))
        self.classes_ = self.system_.classifier.classes_
        return self

    def predict_proba(self, X):
        return self.system_.predict_proba(X)[self.classes_].to_numpy()


def main(command_line=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("--tables", nargs="+", default=small_tables.AVAILABLE)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cores", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--rivals", nargs="+", default=["RandomForest"])
    parser.add_argument("--save")
    arguments = parser.parse_args(command_line)
    budget = {"num_cpus": arguments.cores, "time_limit": arguments.seconds}
    contestants = {"SoftmaxSystem": lambda seed: Contestant(budget, seed)}
    contestants |= {name: TABLES[name] for name in arguments.rivals}
    measurements = Measurements(save=arguments.save)
    measured = []
    for name in arguments.tables:
        splits = cross_validation(*small_tables.load(name), arguments.repeats, 3)
        with threads(arguments.cores):
            measured.append(measurements.compare(name, contestants, splits))
    show_tables(pd.concat(measured), None)


if __name__ == "__main__":
    main()
