r"""PyTorch's optimizers, at the cost of their arithmetic."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from .._utils import compat

# Averages below this size are set to zero. Where gradients stay zero, as in a unit that
# died, their moving average shrinks to denormal numbers, below 1e-38, on which a
# processor is slow: a step can take twice as long. Smaller averages change no
# parameter: Adam divides them by at least 1e-8.
_NEGLIGIBLE_AVERAGE = 1e-34

# Steps between two such flushes. With a decay of 0.9, an average needs 87 steps from
# _NEGLIGIBLE_AVERAGE to 1e-38.
_STEPS_BETWEEN_FLUSHES = 64


def make_gradients_dense(parameters: Iterable[Tensor]) -> None:
    r"""Replace sparse gradients, which the fused kernels do not take."""
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is not None and gradient.is_sparse:
            parameter.grad = gradient.to_dense()


def merged_groups(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    r"""Return the groups of parameters, with one group for equal options.

    skorch makes a group of each pattern of names, and a step makes one call per group.
    """
    merged: dict[str, dict[str, Any]] = {}
    for group in groups:
        options = {name: value for name, value in group.items() if name != "params"}
        known = merged.setdefault(repr(options), {**options, "params": []})
        known["params"] += group["params"]
    return list(merged.values())


class _Optimizer(torch.optim.Optimizer):
    r"""Base of the optimizers: steps by the kernels alone, and shares of steps.

    State and parameter groups are those of the PyTorch class that a subclass inherits
    from as well.
    """

    # Attributes of the class, because PyTorch pickles none of an optimizer's instance.
    # Number of steps so far.
    n_done = 0
    # Share of a full step that the next step is; see `Pace` of partial_fit. Averages
    # decay by their factor to the power of the share: shares add up to a full step.
    share = 1.0

    # The first call of a decorated method would import PyTorch's compiler: a second or
    # more in the first fit of every process.
    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)

    def zero_grad(self, set_to_none: bool = True) -> None:
        r"""Drop the gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        r"""Take a step; return the loss of the closure, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            make_gradients_dense(parameters)
            # As in PyTorch's optimizers: a kernel of a GPU takes tensors of one dtype.
            for dtype in {p.dtype for p in parameters}:
                same = [p for p in parameters if p.dtype is dtype]
                if self.share < 1:
                    self._take_share(group, same)
                else:
                    self._take_step(group, same)
        self.n_done += 1
        if self.n_done % _STEPS_BETWEEN_FLUSHES == 0:
            self._flush()
        return loss

    # PyTorch would wrap the method to show it in profiles, at a tenth of its cost.
    step.hooked = True  # type: ignore[attr-defined]

    def _take_step(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        r"""Take a full step with parameters of a group that have a gradient."""
        raise NotImplementedError

    def _take_share(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        r"""Take a share of a step with parameters of a group that have a gradient."""
        raise NotImplementedError

    def _flush(self) -> None:
        for state in self.state.values():
            for average in state.values():
                if isinstance(average, Tensor) and average.ndim:
                    average.copy_(F.hardshrink(average, _NEGLIGIBLE_AVERAGE))


class SGD(_Optimizer, torch.optim.SGD):
    r"""The steps of :class:`torch.optim.SGD` with ``fused=True``."""

    def _momenta(self, parameters: list[Tensor]) -> list[Tensor]:
        r"""Return the momentum of each parameter; after zeros it is the gradient."""
        for parameter in parameters:
            state = self.state[parameter]
            if state.get("momentum_buffer") is None:
                state["momentum_buffer"] = torch.zeros_like(parameter)
        return [self.state[parameter]["momentum_buffer"] for parameter in parameters]

    def _take_step(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        compat.fused_sgd_(
            parameters,
            [p.grad for p in parameters if p.grad is not None],
            self._momenta(parameters) if group["momentum"] else [],
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=group["lr"],
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=False,
        )

    def _take_share(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        momentum = group["momentum"]
        kept = momentum**self.share
        for parameter in parameters:
            assert parameter.grad is not None
            step = parameter.grad.add(parameter, alpha=group["weight_decay"])
            if momentum:
                added = (1 - kept) / (1 - momentum)
                [average] = self._momenta([parameter])
                step = average.mul_(kept).add_(step, alpha=added)
            parameter.sub_(step, alpha=group["lr"] * self.share)


class _LeanAdam(_Optimizer):
    r"""Adam's steps without the bookkeeping, which takes longer than a small layer."""

    # PyTorch's kernel, which changes parameters and averages in place.
    _update: ClassVar[Callable[..., None]]
    # Whether the decay is apart from the gradient.
    _is_decoupled: ClassVar[bool] = False

    def _states(
        self, group: dict[str, Any], parameters: list[Tensor]
    ) -> list[dict[str, Tensor]]:
        r"""Return the state of each parameter.

        Parameters that begin together take the same steps, and have one tensor that
        counts them, until one of them has no gradient in a step.
        """
        if len(parameters) < len(group["params"]):
            for parameter in group["params"]:
                if parameter.grad is None and self.state.get(parameter):
                    state = self.state[parameter]
                    state["step"] = state["step"].clone()
        new = [p for p in parameters if not self.state[p]]
        if new:
            step = torch.zeros((), dtype=torch.float32, device=new[0].device)
        for parameter in new:
            self.state[parameter] = {
                "step": step,
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        return [self.state[p] for p in parameters]

    def _take_step(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        states = self._states(group, parameters)
        steps = [state["step"] for state in states]
        # A tensor is added in half the time of a Python number.
        one = torch.ones((), device=steps[0].device)
        compat.foreach_add_(list({id(step): step for step in steps}.values()), one)
        beta1, beta2 = group["betas"]
        self._update(
            parameters,
            [p.grad for p in parameters],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            steps,
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )

    def _take_share(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        r"""Take a share of a step.

        As by Malladi et al. (2022), https://arxiv.org/abs/2205.10287: the square of a
        gradient of fewer rows is larger in inverse proportion to the rows.
        """
        share, decay, (beta1, beta2) = self.share, group["weight_decay"], group["betas"]
        states = self._states(group, parameters)
        gradients = [p.grad for p in parameters if p.grad is not None]
        averages = [state["exp_avg"] for state in states]
        squares = [state["exp_avg_sq"] for state in states]
        for count in {id(state["step"]): state["step"] for state in states}.values():
            count += share
        n_steps = [float(state["step"]) for state in states]
        if self._is_decoupled:
            compat.foreach_mul_(parameters, 1 - group["lr"] * share * decay)
        elif decay:
            gradients = list(compat.foreach_add(gradients, parameters, alpha=decay))
        compat.foreach_lerp_(averages, gradients, 1 - beta1**share)
        compat.foreach_mul_(squares, beta2**share)
        added = (1 - beta2**share) * share
        compat.foreach_addcmul_(squares, gradients, gradients, added)
        roots = compat.foreach_sqrt(squares)
        compat.foreach_div_(roots, [math.sqrt(1 - beta2**n) for n in n_steps])
        compat.foreach_add_(roots, group["eps"])
        rates = [-group["lr"] * share / (1 - beta1**n) for n in n_steps]
        compat.foreach_addcdiv_(parameters, averages, roots, rates)

    def state_dict(self) -> dict[str, Any]:
        r"""Return the state as PyTorch has it, with a count for each parameter."""
        packed: dict[str, Any] = super().state_dict()
        packed["state"] = {
            index: {**state, "step": state["step"].clone()}
            for index, state in packed["state"].items()
        }
        return packed


class Adam(_LeanAdam, torch.optim.Adam):
    r"""The steps of :class:`torch.optim.Adam` with ``fused=True``."""

    _update = staticmethod(compat.fused_adam_)


class AdamW(_LeanAdam, torch.optim.AdamW):
    r"""The steps of :class:`torch.optim.AdamW` with ``fused=True``."""

    _update = staticmethod(compat.fused_adamw_)
    _is_decoupled = True


OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adamw": AdamW,
    "adam": Adam,
    "sgd": SGD,
}
