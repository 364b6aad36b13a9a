r"""Exponential moving averages of the parameters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .._utils import compat

# The first steps have a smaller decay, (1 + n) / (10 + n) after n steps, so that the
# average forgets the initial parameters.
_WARM_UP_STEPS = 10


class ParameterAverage:
    r"""The moving average of a module's parameters over the steps of a training.

    The statistics of normalizations are averaged as well, since they belong to the
    parameters.

    Parameters
    ----------
    module : nn.Module
        The module.
    decay : float
        Share of the average that a step keeps, between 0 and 1.

    References
    ----------
    Polyak and Juditsky (1992). Acceleration of Stochastic Approximation by Averaging.
    https://doi.org/10.1137/0330046
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        statistics = [
            buffer
            for layer in module.modules()
            if isinstance(layer, compat.NORMS_WITH_STATISTICS)
            for buffer in layer.buffers(recurse=False)
            if buffer.is_floating_point()
        ]
        self._present = [*(p.detach() for p in module.parameters()), *statistics]
        self._decay = decay
        self.n_steps = 0
        self.tensors = [tensor.clone() for tensor in self._present]

    @torch.no_grad()
    def update(self) -> None:
        r"""Add the parameters after a step."""
        self.n_steps += 1
        warm = (1 + self.n_steps) / (_WARM_UP_STEPS + self.n_steps)
        share = 1 - min(self._decay, warm)
        compat.foreach_lerp_(self.tensors, self._present, share)

    def restore(self, tensors: list[Tensor], n_steps: int) -> None:
        r"""Set the state: the averages, and the number of steps that are in them."""
        _copy(tensors, self.tensors)
        self.n_steps = n_steps

    def apply(self) -> None:
        r"""Set the parameters of the module to their averages."""
        _copy(self.tensors, self._present)

    @contextmanager
    def applied(self) -> Iterator[None]:
        r"""Set the parameters to their averages in this context."""
        before = [tensor.clone() for tensor in self._present]
        self.apply()
        try:
            yield
        finally:
            _copy(before, self._present)


@torch.no_grad()
def _copy(source: list[Tensor], target: list[Tensor]) -> None:
    r"""Copy tensors in place: layers and optimizers refer to the targets."""
    for old, new in zip(target, source, strict=True):
        old.copy_(new)
