r"""The plan of a fit: the meaning of a classifier's parameters for given rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from .._data.training_rows import TrainingRows
from .._training.recipe import Recipe
from ..modules._base import input_scaling_of


def learn_scaling(
    module: nn.Module, data: TrainingRows, rows: NDArray[np.int64]
) -> bool:
    r"""Let a module learn the scaling of its inputs; return False if it has none."""
    scaling = input_scaling_of(module)
    if scaling is None:
        return False
    scaling.reset()
    data.fit_layer(scaling, rows)
    return True


def _accept(module: nn.Module, data: TrainingRows, rows: NDArray[np.int64]) -> None:
    r"""Accept a new module."""


def _leave(module: nn.Module) -> None:
    r"""Leave a module as it is."""


def _untouched(module: nn.Module) -> AbstractContextManager[None]:
    r"""Return the context of a training that needs no preparation."""
    return nullcontext()


@dataclass(frozen=True)
class Plan:  # numpydoc ignore=PR02
    r"""How a classifier is fitted to rows; nothing in it is "auto".

    Parameters
    ----------
    recipe : Recipe or None
        How the net is trained; None with an exact solver.
    attributes : mapping
        Fitted attributes by name that the module is built from, set before it is.
    check_module : callable
        Called with a new module, the data and the rows: raises or warns if the module
        does not fit to them.
    learn_inputs : callable
        Called with a module, the data and the rows: learns the scaling of the inputs,
        and returns False if there is nothing to learn. In a stream it is called again
        while there are few rows.
    training_scope : callable
        Returns, for a module, the context in which it is trained.
    restore : callable
        Turns a copy of a module amid the training into a module for predictions.
    epochs_parameter : str
        Name of the parameter that is the number of epochs.
    n_iter : callable
        Returns ``n_iter_`` from the number of epochs.
    settings : callable
        Returns what the parameters mean that are "auto" and of the estimator alone; it
        is called when the module is built.
    """

    recipe: Recipe | None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    check_module: Callable[[Any, TrainingRows, NDArray[np.int64]], None] = _accept
    learn_inputs: Callable[[Any, TrainingRows, NDArray[np.int64]], bool] = learn_scaling
    training_scope: Callable[[Any], AbstractContextManager[None]] = _untouched
    restore: Callable[[Any], None] = _leave
    epochs_parameter: str = "max_epochs"
    n_iter: Callable[[int], Any] = int
    settings: Callable[[], Mapping[str, Any]] = dict
