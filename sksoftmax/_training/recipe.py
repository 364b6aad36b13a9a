r"""Recipes: how a net is trained, with every "auto" resolved."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from .augmentation import BatchAugmentation
from .optimizers import OPTIMIZERS
from .parameter_groups import parameter_groups
from .user_optimizers import make_optimizer, takes_weight_decay

# Batches per epoch with batch_size="auto": with fewer, small tables get too few steps.
_BATCHES_PER_EPOCH = 16

# Rows: smallest batch with batch_size="auto".
SMALLEST_BATCH = 32


@dataclass(frozen=True)
class Recipe:
    r"""How a net is trained.

    Attributes
    ----------
    optimizer : {"adamw", "adam", "sgd"} or class
        Key of ``OPTIMIZERS``, or a class of an optimizer.
    learning_rate : float
        The highest rate of the schedule.
    momentum : float
        Momentum of "sgd".
    weight_decay : float
        Decay of the matrices.
    lr_schedule : {"one_cycle", "cosine", "constant"}
        Key of ``SCHEDULES``.
    batch_size : int
        Rows per step.
    max_epochs : int
        Epochs of the first round of the schedule.
    data_pruning : float, default=0.0
        Share of the easy rows that an epoch leaves out.
    label_smoothing : float, default=0.0
        Share of each label's probability that is spread over all classes.
    dtype : torch.dtype, default=torch.float32
        Type that training multiplies in.
    n_restarts : int, default=0
        Most restarts while the net underfits.
    restart_if_best_is_last : bool, default=False
        Whether a restart also follows if the last epoch is about as good as the best.
    restarts_without_input_dropout : bool, default=False
        Whether the dropout of the inputs is off in restarts.
    temperature_scaling : bool, default=False
        Whether a temperature will be learned: then the validation loss of an epoch is
        that at its best temperature.
    largest_stream_batch : int or None, default=None
        Rows: the batch size of a stream without a ``fit`` grows up to here with the
        number of rows seen; None if it is fixed.
    decay_of_weight : callable or None, default=None
        Returns the weight decay of a stream from the sum of the sample weights seen;
        None if the decay is fixed.
    optimizer_params : mapping
        Further arguments of the optimizer.
    rates : mapping of str to float, or None, default=None
        Learning rates by patterns of parameters' names, of which ``learning_rate`` is
        the highest; None if all are the same.
    frozen : tuple of str, default=()
        Patterns of the names of parameters that do not learn.
    unfreeze_after : int or None, default=None
        Number of epochs after which they learn; never if None.
    learns_until : mapping of str to float
        Shares of a round of a falling learning rate after which parameters stay as they
        are, by patterns of names. A step then takes less time.
    gradient_clipping : float or None, default=None
        Largest norm of the gradient; any if None.
    weight_averaging : float or None, default=None
        Decay of the average of the parameters, which takes their place; none if None.
    augmentation : BatchAugmentation or None, default=None
        Varies images before they reach the module; they stay as they are if None.
    """

    optimizer: str | type[torch.optim.Optimizer]
    learning_rate: float
    momentum: float
    weight_decay: float
    lr_schedule: str
    batch_size: int
    max_epochs: int
    data_pruning: float = 0.0
    label_smoothing: float = 0.0
    dtype: torch.dtype = torch.float32
    n_restarts: int = 0
    restart_if_best_is_last: bool = False
    restarts_without_input_dropout: bool = False
    temperature_scaling: bool = False
    largest_stream_batch: int | None = None
    decay_of_weight: Callable[[float], float] | None = None
    optimizer_params: Mapping[str, Any] = field(default_factory=dict)
    rates: Mapping[str, float] | None = None
    frozen: tuple[str, ...] = ()
    unfreeze_after: int | None = None
    learns_until: Mapping[str, float] = field(default_factory=dict)
    gradient_clipping: float | None = None
    weight_averaging: float | None = None
    augmentation: BatchAugmentation | None = None

    def optimizer_options(self, module: nn.Module) -> dict[str, Any]:
        r"""Return the optimizer and its arguments, as skorch names them."""
        kind, arguments = self.optimizer, dict(self.optimizer_params)
        if isinstance(kind, str):
            arguments |= {"weight_decay": self.weight_decay, "fused": True}
            if kind == "sgd":
                arguments["momentum"] = self.momentum
        elif takes_weight_decay(kind):
            arguments["weight_decay"] = self.weight_decay
        options: dict[str, Any] = {
            "optimizer": (
                OPTIMIZERS[kind]
                if isinstance(kind, str)
                else partial(make_optimizer, kind)
            )
        }
        options |= {f"optimizer__{name}": value for name, value in arguments.items()}
        groups = parameter_groups(module, self.rates, has_decay=bool(self.weight_decay))
        if groups:
            options["optimizer__param_groups"] = groups
        return options


@dataclass(frozen=True)
class TrainingLength:  # numpydoc ignore=PR02
    r"""Meaning of "auto" for ``batch_size`` and ``max_epochs``.

    Parameters
    ----------
    largest_batch : int
        Rows of the largest batch; a batch is about a sixteenth of the rows, at least
        32.
    n_steps : int
        Number of steps of a training.
    fewest_epochs, most_epochs : int
        Limits of the number of epochs that make these steps.
    """

    largest_batch: int
    n_steps: int
    fewest_epochs: int
    most_epochs: int

    def batch_size(self, n_rows: int) -> int:
        r"""Return the batch size of a table: a power of 2."""
        power = 2 ** round(math.log2(max(n_rows, 1) / _BATCHES_PER_EPOCH))
        return int(min(max(power, SMALLEST_BATCH), self.largest_batch))

    def max_epochs(self, n_rows: int, batch_size: int) -> int:
        r"""Return the number of epochs of a table."""
        epochs = round(self.n_steps / math.ceil(n_rows / batch_size))
        return min(max(epochs, self.fewest_epochs), self.most_epochs)


def net_recipe(parameters: Any, n_rows: int, length: TrainingLength) -> Recipe:
    r"""Return the recipe of the parameters that all nets have.

    Parameters
    ----------
    parameters : SoftmaxMLPClassifier or another estimator of a net
        Its parameters are read.
    n_rows : int
        Number of training rows.
    length : TrainingLength
        Meaning of "auto" for ``batch_size`` and ``max_epochs``.
    """
    batch_size, max_epochs = parameters.batch_size, parameters.max_epochs
    if isinstance(batch_size, str):
        batch_size = length.batch_size(n_rows)
    if isinstance(max_epochs, str):
        max_epochs = length.max_epochs(n_rows, batch_size)
    return Recipe(
        optimizer=parameters.optimizer,
        learning_rate=parameters.learning_rate,
        momentum=parameters.momentum,
        weight_decay=parameters.weight_decay,
        lr_schedule=parameters.lr_schedule,
        batch_size=batch_size,
        max_epochs=max_epochs,
        label_smoothing=parameters.label_smoothing,
        largest_stream_batch=(
            length.largest_batch if isinstance(parameters.batch_size, str) else None
        ),
        weight_averaging=parameters.weight_averaging,
    )
