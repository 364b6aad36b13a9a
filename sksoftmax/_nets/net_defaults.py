r"""How the user's module is trained: the meaning of the parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

from torch import Tensor

from .._training.recipe import Recipe, TrainingLength, net_recipe
from .._training.user_optimizers import check_optimizer
from .._utils.arrays import InputPart
from .constraints import version_of

# Meaning of "auto" in the latest version, and in each version.
_LENGTH = TrainingLength(
    largest_batch=256, n_steps=3000, fewest_epochs=15, most_epochs=100
)
VERSIONS = {"0.1": _LENGTH, "0.2": _LENGTH}


def recipe(parameters: Any, n_rows: int) -> Recipe:
    r"""Return how a module is trained with such parameters on a number of rows.

    Parameters
    ----------
    parameters : SoftmaxNetClassifier
        Its parameters are read.
    n_rows : int
        Number of training rows, without copies.
    """
    rates = parameters.learning_rate
    optimizer_params = parameters.optimizer_params or {}
    check_optimizer(parameters.optimizer, optimizer_params, parameters.weight_decay)
    plan = replace(
        net_recipe(parameters, n_rows, VERSIONS[version_of(parameters.defaults)]),
        optimizer_params=optimizer_params,
        frozen=_patterns(parameters.frozen),
        unfreeze_after=parameters.unfreeze_after,
        gradient_clipping=parameters.gradient_clipping,
    )
    if not isinstance(rates, Mapping):
        return plan
    _check_rates(rates)
    return replace(plan, learning_rate=max(rates.values()), rates=rates)


def whole_inputs(sample: Tensor, parts: Sequence[InputPart]) -> tuple[bool, ...]:
    r"""Return whether each input has whole numbers only; one flag without parts."""
    is_whole = sample == sample.trunc()
    if not parts:
        return (bool(is_whole.all()),)
    return tuple(bool(is_whole[:, list(part.columns)].all()) for part in parts)


def _patterns(frozen: Any) -> tuple[str, ...]:
    r"""Return the patterns of frozen parameters; a text is one pattern."""
    patterns = (frozen,) if isinstance(frozen, str) else tuple(frozen or ())
    if not all(isinstance(pattern, str) for pattern in patterns):
        raise ValueError(
            f"Got frozen={frozen!r}, but expected a list of patterns of parameters' "
            "names, such as ['backbone.*']."
        )
    return patterns


def _check_rates(rates: Mapping[Any, Any]) -> None:
    r"""Raise an error unless patterns of names have positive rates."""
    if not rates or not all(
        isinstance(pattern, str) and isinstance(rate, Real) and float(rate) > 0
        for pattern, rate in rates.items()
    ):
        raise ValueError(
            f"Got learning_rate={dict(rates)!r}, but expected a positive number for "
            "each pattern of parameters' names, such as {'fc.*': 1e-3, '*': 1e-5}."
        )
