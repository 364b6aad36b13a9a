r"""A search space for Optuna."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator

__all__ = ["SearchSpace"]

# Ranges of each estimator, the parameters first that matter most. A list has choices, a
# pair the limits of a number; with "log" it is uniform on a log scale. The limits are
# about 5 times below and above the defaults, farther where the optimum depends on the
# data.
_RANGES: dict[str, dict[str, Any]] = {
    "SoftmaxMLPClassifier": {
        "hidden_layer_sizes": ["64-64", "128-128", "256-256", "512-512", "256-256-256"],
        "learning_rate": (0.002, 0.04, "log"),
        "weight_decay": (0.001, 1.0, "log"),
        "input_dropout": (0.0, 0.4),
        "dropout": (0.0, 0.4),
    },
    "SoftmaxCNNClassifier": {
        "channels": ["16-32-96", "32-64-128", "32-64-192"],
        "learning_rate": (0.002, 0.04, "log"),
        "weight_decay": (0.01, 1.0, "log"),
        "dropout": (0.0, 0.4),
    },
    "SoftmaxNetClassifier": {
        "learning_rate": (1e-4, 0.02, "log"),
        "weight_decay": (1e-6, 0.1, "log"),
        "lr_schedule": ["constant", "cosine", "one_cycle"],
    },
    "SoftmaxRegression": {"C": (1e-4, 1e4, "log")},
    "NeighborsEncoder": {"n_neighbors": (5, 80, "log"), "power": (4.0, 32.0, "log")},
}


class SearchSpace:
    r"""Ranges of the parameters that are worth a search, for Optuna.

    Parameters
    ----------
    estimator : estimator object
        An estimator of this package, or a pipeline or another meta-estimator that holds
        some of them. Only the class counts, not the parameters that are set.

    Attributes
    ----------
    ranges : dict
        The range of each parameter, by the name that ``set_params`` of the estimator
        takes. A list has the choices. ``(low, high)`` are the limits of a number, an
        integer if both are; ``(low, high, "log")`` is uniform on a log scale. Entries
        may be changed, added and deleted.

    Raises
    ------
    ValueError
        If there is no estimator of this package with a search space.

    See Also
    --------
    sksoftmax.SoftmaxRegressionCV : The penalty of softmax regression, without a search.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sksoftmax import SoftmaxRegression
    >>> from sksoftmax.tuning import SearchSpace
    >>> pipeline = make_pipeline(StandardScaler(), SoftmaxRegression())
    >>> space = SearchSpace(pipeline)
    >>> space.ranges
    {'softmaxregression__C': (0.0001, 10000.0, 'log')}

    Optuna's trials call ``suggest``; here is one without Optuna:

    >>> class Lowest:
    ...     def suggest_float(self, name, low, high, log=False):
    ...         return low
    >>> pipeline.set_params(**space.suggest(Lowest()))[-1].C
    0.0001
    """

    def __init__(self, estimator: BaseEstimator) -> None:
        self.ranges: dict[str, Any] = {}
        parts = {"": estimator}
        for name, part in estimator.get_params(deep=True).items():
            parts[f"{name}__"] = part
        for prefix, part in parts.items():
            if type(part).__module__.partition(".")[0] == "sksoftmax":
                own = _RANGES.get(type(part).__name__, {})
                self.ranges |= {prefix + name: values for name, values in own.items()}
        if not self.ranges:
            raise ValueError(
                f"Got {estimator!r}, which has no search space. Expected one of "
                f"{', '.join(_RANGES)}, alone or as a part of another estimator."
            )

    def suggest(self, trial: Any) -> dict[str, Any]:
        r"""Return the parameters that a trial of Optuna suggests.

        Parameters
        ----------
        trial : optuna.Trial
            The trial, as the objective function gets it.

        Returns
        -------
        params : dict
            Arguments of ``set_params``.
        """
        params = {}
        for name, values in self.ranges.items():
            if isinstance(values, list):
                params[name] = trial.suggest_categorical(name, values)
                continue
            low, high, is_integer, log = _limits(values)
            suggest = trial.suggest_int if is_integer else trial.suggest_float
            params[name] = suggest(name, low, high, log=log)
        return params

    def distributions(self) -> dict[str, Any]:
        r"""Return the ranges as distributions of Optuna, for ``OptunaSearchCV``.

        Returns
        -------
        distributions : dict of str to optuna.distributions.BaseDistribution
            Also what ``study.ask`` takes.
        """
        from optuna.distributions import (
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        found: dict[str, Any] = {}
        for name, values in self.ranges.items():
            if isinstance(values, list):
                found[name] = CategoricalDistribution(values)
                continue
            low, high, is_integer, log = _limits(values)
            kind = IntDistribution if is_integer else FloatDistribution
            found[name] = kind(low, high, log=log)
        return found


def _limits(values: Any) -> tuple[Any, Any, bool, bool]:
    r"""Return the limits of a range, and whether it is of integers and logarithmic."""
    low, high, *scale = values
    if scale not in ([], ["log"]):
        raise ValueError(
            f"Got the range {values!r}, but expected a list of choices, (low, high) or "
            "(low, high, 'log')."
        )
    is_integer = isinstance(low, int) and isinstance(high, int)
    return low, high, is_integer, scale == ["log"]
