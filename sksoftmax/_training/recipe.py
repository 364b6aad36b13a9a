r"""Recipes: how a net is trained, and what that means for the skorch net."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .optimizers import OPTIMIZERS


@dataclass(frozen=True)
class Recipe:
    r"""How a net is trained, with nothing left to decide."""

    optimizer: str
    learning_rate: float
    momentum: float
    weight_decay: float
    lr_schedule: str
    batch_size: int
    max_epochs: int
    data_pruning: float = 0.0
    label_smoothing: float = 0.0
    dtype: torch.dtype = torch.float32
    # How many rounds may follow while the net underfits, whether one also follows on a
    # mere chance, and whether the dropout of its inputs ends with the first.
    n_extensions: int = 0
    is_patient: bool = False
    relaxes: bool = False
    # Whether a temperature will be learned from the rows that are held out.
    refines: bool = False


def auto_batch_size(n_rows: int, most: int) -> int:
    r"""Return the batch size that "auto" is: about a sixteenth of the rows.

    Small tables need small batches, or there are too few steps to learn in.
    """
    power = 2 ** round(math.log2(max(n_rows, 1) / 16))
    return int(min(max(power, 32), most))


def auto_epochs(
    steps_per_epoch: int, n_steps: int, fewest_and_most: tuple[int, int]
) -> int:
    r"""Return how many passes "auto" is: those that make about so many steps."""
    fewest, most = fewest_and_most
    return min(max(round(n_steps / steps_per_epoch), fewest), most)


def net_options(module: nn.Module, recipe: Recipe) -> dict[str, Any]:
    r"""Return what a recipe means for the skorch net around a module."""
    options: dict[str, Any] = {
        "criterion__label_smoothing": recipe.label_smoothing,
        "optimizer": OPTIMIZERS[recipe.optimizer],
        "optimizer__weight_decay": recipe.weight_decay,
        "optimizer__fused": True,
        "lr": recipe.learning_rate,
        "lr_schedule": recipe.lr_schedule,
        "data_pruning": recipe.data_pruning,
        "max_epochs": recipe.max_epochs,
        "batch_size": recipe.batch_size,
        "training_dtype": recipe.dtype,
        "n_extensions": recipe.n_extensions,
        "is_patient": recipe.is_patient,
        "relaxes": recipe.relaxes,
        "refines": recipe.refines,
    }
    if recipe.weight_decay:
        # Only matrices decay: shrinking a shift or a scale regularises nothing. With
        # one group alone, a fused optimizer has one call to make. Members of an
        # ensemble stack their shifts and scales.
        options["optimizer__param_groups"] = [
            (name, {"weight_decay": 0.0})
            for name, parameter in module.named_parameters()
            if parameter.ndim < 2 or name.endswith(("bias", "_scale"))
        ]
    if recipe.optimizer == "sgd":
        options["optimizer__momentum"] = recipe.momentum
    return options
