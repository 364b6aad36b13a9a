r"""Groups of parameters by patterns of their names: learning rates, frozen layers."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from .._utils.compat import NORMS_WITH_STATISTICS
from .._utils.estimators import shortened

# Option of a group: its learning rate as a share of the highest one.
RATE_SHARE = "rate_share"

# Names of parameters in an error message.
_SHOWN_NAMES = 12


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _matching(module: nn.Module, patterns: Iterable[str]) -> list[nn.Parameter]:
    r"""Return the parameters of a module that one of the patterns matches."""
    return [p for name, p in module.named_parameters() if _matches(name, patterns)]


def check_patterns(module: nn.Module, patterns: Sequence[str], parameter: str) -> None:
    r"""Raise an error for a pattern that matches no parameter of a module.

    Parameters
    ----------
    module : nn.Module
        The module.
    patterns : sequence of str
        Patterns of names, as in :mod:`fnmatch`.
    parameter : str
        Name of the estimator's parameter, for the message.
    """
    names = [name for name, _ in module.named_parameters()]
    for pattern in patterns:
        if not any(_matches(name, [pattern]) for name in names):
            raise ValueError(
                f"Got {parameter} with the pattern {pattern!r}, which matches no "
                "parameter of the module. Expected patterns of names such as "
                f"{shortened(names, _SHOWN_NAMES)}."
            )


def rates_by_name(module: nn.Module, rates: Mapping[str, float]) -> dict[str, float]:
    r"""Return the learning rate of each parameter: that of the first pattern.

    Raises
    ------
    ValueError
        If no pattern matches a parameter, or if a pattern is the first one for none.
    """
    check_patterns(module, list(rates), "learning_rate")
    first = {
        name: next((p for p in rates if _matches(name, [p])), None)
        for name, _ in module.named_parameters()
    }
    missed = [name for name, pattern in first.items() if pattern is None]
    if missed:
        raise ValueError(
            f"Got learning_rate={dict(rates)}, in which no pattern matches the "
            f"parameters {shortened(missed, _SHOWN_NAMES)}. Expected a rate for each "
            "parameter: add '*' as the last pattern."
        )
    for pattern in rates:
        if pattern not in first.values():
            raise ValueError(
                f"Got learning_rate={dict(rates)}, in which patterns before "
                f"{pattern!r} match all of its parameters. The first pattern that "
                "matches a parameter sets its rate: put the more special ones first."
            )
    return {name: rates[pattern] for name, pattern in first.items() if pattern}


def parameter_groups(
    module: nn.Module, rates: Mapping[str, float] | None, *, has_decay: bool
) -> list[tuple[str, dict[str, Any]]]:
    r"""Return the options of parameters that differ, by name, as skorch takes them.

    Parameters
    ----------
    module : nn.Module
        The module.
    rates : mapping of str to float, or None
        Learning rates by patterns of names; the same rate for all if None.
    has_decay : bool
        Whether there is a weight decay, which only matrices have: to shrink a shift or
        a scale regularizes nothing.
    """
    options: dict[str, dict[str, Any]] = {}
    if has_decay:
        # Members of an ensemble stack their shifts and scales.
        options = {
            name: {"weight_decay": 0.0}
            for name, parameter in module.named_parameters()
            if parameter.ndim < 2
            or name.endswith(("bias", "_scale", "bin_vectors.weight"))
        }
    if rates is not None:
        highest = max(rates.values())
        for name, rate in rates_by_name(module, rates).items():
            shares = {"lr": rate, RATE_SHARE: rate / highest}
            options[name] = {**options.get(name, {}), **shares}
    # A name may hold characters that are special in a pattern.
    return [(glob.escape(name), option) for name, option in options.items()]


def set_frozen(module: nn.Module, patterns: Sequence[str], is_frozen: bool) -> None:
    r"""Freeze or unfreeze the parameters that one of the patterns matches."""
    for parameter in _matching(module, patterns):
        parameter.requires_grad_(not is_frozen)


@contextmanager
def parameters_frozen(module: nn.Module, patterns: Sequence[str]) -> Iterator[None]:
    r"""Freeze, in a context, the parameters that one of the patterns matches.

    Yields
    ------
    None
    """
    learning = [p for p in _matching(module, patterns) if p.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def frozen_norms(module: nn.Module, patterns: Sequence[str]) -> list[nn.Module]:
    r"""Return the normalizations whose running statistics a pattern matches."""
    return [
        layer
        for prefix, layer in module.named_modules()
        if isinstance(layer, NORMS_WITH_STATISTICS)
        and _matches(f"{prefix}.running_mean", patterns)
    ]
