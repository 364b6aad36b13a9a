r"""Optimizers that the user passes as a class of :mod:`torch.optim`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import cache
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from .optimizers import OPTIMIZERS, make_gradients_dense

# Arguments of the optimizers that are named by a string; parameters of the estimator
# give the others.
_ARGUMENTS: dict[str, set[str]] = {
    "adamw": {"betas", "eps"},
    "adam": {"betas", "eps"},
    "sgd": set(),
}

# Arguments that parameters of the estimator give, by the names of these parameters.
_GIVEN = {"params": "module", "lr": "learning_rate", "weight_decay": "weight_decay"}


class _Counted(torch.optim.Optimizer):
    r"""Counts the steps of another optimizer, and takes shares of steps.

    They are the attributes of the optimizers of this package.
    """

    # Attributes of the class, because PyTorch pickles none of an optimizer's instance.
    n_done = 0
    # A smaller share of a step has a learning rate that is smaller in proportion.
    share = 1.0
    kind: ClassVar[type[torch.optim.Optimizer]]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        r"""Take a step, or a share of it."""
        rates = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            if self.kind is not torch.optim.SparseAdam:
                make_gradients_dense(group["params"])
            if self.share < 1:
                group["lr"] = group["lr"] * self.share
        try:
            loss = super().step(closure)
        finally:
            for group, rate in zip(self.param_groups, rates, strict=True):
                group["lr"] = rate
        self.n_done += 1
        return loss

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # The class exists in this process only.
        return _blank, (self.kind,), self.__getstate__()


@cache
def _counted_class(kind: Any) -> type[torch.optim.Optimizer]:
    r"""Return a subclass of an optimizer that counts its steps."""
    return type(kind.__name__, (_Counted, kind), {"kind": kind})


def _blank(kind: type[torch.optim.Optimizer]) -> torch.optim.Optimizer:
    r"""Return an optimizer without a state, which unpickling sets."""
    counted: Any = _counted_class(cast(Hashable, kind))
    optimizer: torch.optim.Optimizer = counted.__new__(counted)
    return optimizer


def make_optimizer(
    kind: type[torch.optim.Optimizer],
    params: Iterable[Tensor] | Iterable[dict[str, Any]],
    **options: Any,
) -> torch.optim.Optimizer:
    r"""Return an optimizer of a class of the user's that counts its steps.

    Raises
    ------
    ValueError
        If the class does not take such options or such parameters.
    """
    try:
        counted: Any = _counted_class(cast(Hashable, kind))
        optimizer: torch.optim.Optimizer = counted(params, **options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"Got optimizer={kind.__name__}, which failed for the parameters of the "
            f"module and {options} ({error}). Expected arguments in optimizer_params "
            "that the class takes."
        ) from error
    return optimizer


def takes_weight_decay(kind: type[torch.optim.Optimizer]) -> bool:
    r"""Return whether the class of an optimizer has an argument ``weight_decay``."""
    return "weight_decay" in inspect.signature(kind).parameters


def check_optimizer(
    optimizer: str | type[torch.optim.Optimizer],
    params: Mapping[str, Any],
    weight_decay: float,
) -> None:
    r"""Raise an error for an optimizer that training cannot use, or its arguments.

    Parameters
    ----------
    optimizer : str or class
        A key of ``OPTIMIZERS``, or a class of an optimizer.
    params : mapping
        Its further arguments.
    weight_decay : float
        The decay that it has to take.
    """
    if isinstance(optimizer, str):
        unknown = sorted(params.keys() - _ARGUMENTS[optimizer])
        if unknown:
            name = OPTIMIZERS[optimizer].__name__
            raise ValueError(
                f"Got optimizer_params with {unknown} and {optimizer=}, but expected "
                f"names among {sorted(_ARGUMENTS[optimizer])}. Pass the class, "
                f"optimizer=torch.optim.{name}, for any of its arguments."
            )
        return
    if not issubclass(optimizer, torch.optim.Optimizer):
        raise ValueError(
            f"Got optimizer={optimizer.__name__}, but expected one of "
            f"{sorted(OPTIMIZERS)} or a class of an optimizer, such as "
            "torch.optim.RMSprop."
        )
    given = [name for name in _GIVEN if name in params]
    if given:
        raise ValueError(
            f"Got optimizer_params with {given[0]!r}, but expected arguments that the "
            f"classifier has no parameter for. Set {_GIVEN[given[0]]} instead."
        )
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ValueError(
            f"Got optimizer={optimizer.__name__}, whose steps need a closure, but "
            "expected an optimizer that takes a step from one gradient, such as "
            "torch.optim.RMSprop."
        )
    if weight_decay and not takes_weight_decay(optimizer):
        raise ValueError(
            f"Got weight_decay={weight_decay} with optimizer={optimizer.__name__}, "
            "which has no such argument. Expected weight_decay=0.0, or another "
            "optimizer."
        )
