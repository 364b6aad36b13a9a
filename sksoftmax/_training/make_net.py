r"""Nets of skorch around a module, made as a recipe says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import nn

from .._utils.progressbar import print_plainly
from .batches import BatchIterator
from .callbacks import BestEpoch
from .losses import WeightedCrossEntropy, probabilities
from .monitors import check_callbacks
from .parameter_groups import check_patterns
from .recipe import Recipe
from .skorch_net import SoftmaxNet
from .tensor_table import TensorTable


def make_net(
    module: nn.Module,
    recipe: Recipe | None,
    device: torch.device,
    generator: torch.Generator,
    *,
    n_classes: int,
    best_epoch: BestEpoch | None = None,
    callbacks: Sequence[Callback] | None = None,
    verbose: int = 0,
    input_dtype: torch.dtype | None = None,
) -> SoftmaxNet:
    r"""Return an initialized net around a module; without a recipe it cannot train."""
    check_callbacks(
        callbacks or [], "constant" if recipe is None else recipe.lr_schedule
    )
    first = [] if best_epoch is None else [("best_epoch", best_epoch)]
    options: dict[str, Any] = {"optimizer": None}
    if recipe is not None:
        check_patterns(module, recipe.frozen, "frozen")
        options = {
            **recipe.optimizer_options(module),
            "criterion__label_smoothing": recipe.label_smoothing,
            "lr": recipe.learning_rate,
            "max_epochs": recipe.max_epochs,
            "batch_size": recipe.batch_size,
        }
    if verbose < 2:
        # verbose=1 shows the fit as a whole instead of skorch's table of epochs.
        options["callbacks__print_log"] = None
    else:
        options["callbacks__print_log__sink"] = print_plainly
    net = SoftmaxNet(
        module,
        recipe=recipe,
        criterion=WeightedCrossEntropy,
        classes=np.arange(n_classes),
        predict_nonlinearity=probabilities,
        dataset=TensorTable,
        dataset__dtype=input_dtype,
        iterator_train=BatchIterator,
        iterator_train__shuffle=True,
        iterator_train__generator=generator,
        iterator_valid=BatchIterator,
        iterator_valid__batch_size=1024,
        train_split=None,
        callbacks=[*first, *(callbacks or [])],
        verbose=verbose,
        device=str(device),
        **options,
    )
    net.initialize()
    return net
