r"""PyTorch's optimizers, at the cost of their arithmetic."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from .._utils.compat import (
    foreach_add,
    foreach_add_,
    foreach_addcdiv_,
    foreach_addcmul_,
    foreach_div_,
    foreach_lerp_,
    foreach_mul_,
    foreach_sqrt,
    fused_adam_,
    fused_adamw_,
)

# Where gradients stay zero, as in a unit that died, their moving average shrinks until
# the processor's slow path for denormal numbers takes over, which can double the time
# of a step. It starts below 1e-38; a decay of 0.9 needs 87 steps to get there from
# here. So small an average moves no weight: Adam divides it by at least 1e-8.
_NEGLIGIBLE = 1e-34
_STEPS_BETWEEN_FLUSHES = 64


def make_gradients_dense(parameters: Iterable[Tensor]) -> None:
    r"""Replace sparse gradients, which the fused kernels do not take."""
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is not None and gradient.is_sparse:
            parameter.grad = gradient.to_dense()


class _Optimizer(torch.optim.Optimizer):
    r"""What all of them do: drop gradients, and averages that became negligible."""

    # On the class, because PyTorch pickles no attribute of an optimizer's own.
    n_done = 0
    # Share of a full step that the next one is; see `_stream.Pace`. Averages decay by
    # their factor to the power of it, so that parts add up to a whole step.
    share = 1.0

    # As PyTorch decorates them, the first call of one imports the compiler: a second or
    # more, which the first fits of every process would wait for.
    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)

    def zero_grad(self, set_to_none: bool = True) -> None:
        r"""Drop the gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def _count_step(self) -> None:
        self.n_done += 1
        if self.n_done % _STEPS_BETWEEN_FLUSHES == 0:
            for state in self.state.values():
                for average in state.values():
                    if isinstance(average, Tensor) and average.ndim:
                        average.copy_(F.hardshrink(average, _NEGLIGIBLE))


class SGD(_Optimizer, torch.optim.SGD):
    r"""What :class:`torch.optim.SGD` computes."""

    # Its decorator, too, imports the compiler, and besides only turns gradients off.
    _step = staticmethod(inspect.unwrap(torch.optim.SGD.step))

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        r"""Take one step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        n_parameters = 0
        for group in self.param_groups:
            make_gradients_dense(group["params"])
            n_parameters += len(group["params"])
        if self.share < 1:
            for group in self.param_groups:
                self._step_partly(group)
        else:
            if 0 < len(self.state) < n_parameters:
                self._start_late()
            self._step(self)
        self._count_step()
        return loss

    def _start_late(self) -> None:
        r"""Give momentum to parameters whose first gradient comes after others'.

        PyTorch's kernel starts all parameters of a step together, or none of them.
        After zeros, the momentum is the gradient, as it is after a start.
        """
        state = self.state
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            new = [
                p for p in parameters if state.get(p, {}).get("momentum_buffer") is None
            ]
            if len(new) < len(parameters):
                for parameter in new:
                    momentum = torch.zeros_like(parameter)
                    state[parameter]["momentum_buffer"] = momentum

    def _step_partly(self, group: dict[str, Any]) -> None:
        r"""Take a part of a step."""
        momentum = group["momentum"]
        kept = momentum**self.share
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            step = parameter.grad.add(parameter, alpha=group["weight_decay"])
            if momentum:
                state = self.state[parameter]
                if state.get("momentum_buffer") is None:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
                added = (1 - kept) / (1 - momentum)
                step = state["momentum_buffer"].mul_(kept).add_(step, alpha=added)
            parameter.sub_(step, alpha=group["lr"] * self.share)


class _LeanAdam(_Optimizer):
    r"""Adam's step without the bookkeeping, which takes longer than a small layer.

    State and parameter groups are those of the PyTorch class it is mixed into.
    """

    # PyTorch's kernel, which changes parameters and averages in place.
    _update: ClassVar[Callable[..., None]]
    # Whether weights decay apart from the gradient.
    _is_decoupled: ClassVar[bool] = False

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        r"""Take one step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            make_gradients_dense(parameters)
            if len(parameters) < len(group["params"]):
                self._part_from([p for p in group["params"] if p.grad is None])
            new = [p for p in parameters if not self.state[p]]
            if new:
                self._start(new)
            states = [self.state[p] for p in parameters]
            if self.share < 1:
                self._step_partly(group, parameters, states)
                continue
            steps = [state["step"] for state in states]
            # Half as expensive as adding a Python number.
            one = torch.ones((), device=steps[0].device)
            foreach_add_(list({id(step): step for step in steps}.values()), one)
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
        self._count_step()
        return loss

    # PyTorch would wrap the method to show it in profiles, at a tenth of its cost.
    step.hooked = True  # type: ignore[attr-defined]

    def _step_partly(
        self,
        group: dict[str, Any],
        parameters: list[Tensor],
        states: list[dict[str, Tensor]],
    ) -> None:
        r"""Take a part of a step.

        As by Malladi et al. (2022), https://arxiv.org/abs/2205.10287: squares of a
        gradient of fewer rows are larger in inverse proportion to the rows.
        """
        share, decay, (beta1, beta2) = self.share, group["weight_decay"], group["betas"]
        gradients = [p.grad for p in parameters if p.grad is not None]
        averages = [state["exp_avg"] for state in states]
        squares = [state["exp_avg_sq"] for state in states]
        for count in {id(state["step"]): state["step"] for state in states}.values():
            count += share
        n_steps = [float(state["step"]) for state in states]
        if self._is_decoupled:
            foreach_mul_(parameters, 1 - group["lr"] * share * decay)
        elif decay:
            gradients = list(foreach_add(gradients, parameters, alpha=decay))
        foreach_lerp_(averages, gradients, 1 - beta1**share)
        foreach_mul_(squares, beta2**share)
        added = (1 - beta2**share) * share
        foreach_addcmul_(squares, gradients, gradients, added)
        roots = foreach_sqrt(squares)
        foreach_div_(roots, [math.sqrt(1 - beta2**n) for n in n_steps])
        foreach_add_(roots, group["eps"])
        rates = [-group["lr"] * share / (1 - beta1**n) for n in n_steps]
        foreach_addcdiv_(parameters, averages, roots, rates)

    def state_dict(self) -> dict[str, Any]:
        r"""Return the state as PyTorch has it, with a count for each parameter."""
        packed: dict[str, Any] = super().state_dict()
        packed["state"] = {
            index: {**state, "step": state["step"].clone()}
            for index, state in packed["state"].items()
        }
        return packed

    def _start(self, parameters: list[Tensor]) -> None:
        # They take the same steps from here on, and those are counted once.
        step = torch.zeros((), dtype=torch.float32, device=parameters[0].device)
        for parameter in parameters:
            self.state[parameter] = {
                "step": step,
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }

    def _part_from(self, parameters: list[Tensor]) -> None:
        r"""Count the steps of parameters apart that have no gradient in this step."""
        for parameter in parameters:
            state = self.state.get(parameter)
            if state:
                state["step"] = state["step"].clone()


class Adam(_LeanAdam, torch.optim.Adam):
    r"""What :class:`torch.optim.Adam` computes with ``fused=True``."""

    _update = staticmethod(fused_adam_)


class AdamW(_LeanAdam, torch.optim.AdamW):
    r"""What :class:`torch.optim.AdamW` computes with ``fused=True``."""

    _update = staticmethod(fused_adamw_)
    _is_decoupled = True


OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adamw": AdamW,
    "adam": Adam,
    "sgd": SGD,
}
