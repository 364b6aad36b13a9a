r"""The user's module: built by a function, and copied for training."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from types import FunctionType
from typing import Any

import torch
from torch import nn


def build_module(
    build: nn.Module | Callable[..., nn.Module],
    n_features: int | dict[str, int],
    n_classes: int,
    params: Mapping[str, Any],
) -> nn.Module:
    r"""Return a module that shares no layer and no tensor with the caller's modules.

    Instead of a builder, the module itself may be given. A builder may return an
    existing module, or put one into a new module, and
    ``params`` may hold modules. If these were trained in place, a fit would begin where
    the fit before ended.

    Raises
    ------
    TypeError
        If the builder does not take these arguments or returns no module.
    ValueError
        If the module is shared and cannot be copied.
    """
    if isinstance(build, nn.Module):
        return _copy_of_instance(build, params).cpu()
    module = _call(build, n_features, n_classes, params)
    try:
        module = copied(module)
    except ValueError as error:
        # A module that cannot be copied has to be new in every call.
        if _share(module, _call(build, n_features, n_classes, params)):
            raise ValueError(
                "module(n_features, n_classes, **module_params) returned the same "
                "layers or tensors in two calls, and they cannot be copied for "
                f"training ({error}). Expected new ones in each call: create all "
                "layers inside the function."
            ) from error
    # Existing parts may be on another device; training moves all of them.
    return module.cpu()


def copied(module: nn.Module) -> nn.Module:
    r"""Return a copy of a module.

    Raises
    ------
    ValueError
        If a copy would still use the original.
    """
    layers = [*module.modules()]
    parts = {id(part) for part in (*layers, *module.parameters(), *module.buffers())}
    # deepcopy does not copy functions: a hook or an attribute that refers to ``self``
    # refers to the original in the copy as well.
    for layer in layers:
        for function in _functions(vars(layer).values()):
            if any(id(value) in parts for value in _values_in(function)):
                raise ValueError(f"the function {function.__qualname__} uses a layer")
    try:
        # Without it, the copy of a TorchScript module has a grad_fn.
        with torch.no_grad():
            result = copy.deepcopy(module)
        pairs = zip(result.parameters(), module.parameters(), strict=True)
        for parameter, original in pairs:
            if parameter.requires_grad != original.requires_grad:
                parameter.requires_grad_(original.requires_grad)
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    return result


def _copy_of_instance(module: nn.Module, params: Mapping[str, Any]) -> nn.Module:
    r"""Return a copy of a module that the user passed instead of a builder."""
    if params:
        raise ValueError(
            f"Got module_params={dict(params)!r} with a module that is built already, "
            f"{type(module).__name__}(...). Expected module_params=None; or pass the "
            "class or a function as module, which is called with them."
        )
    try:
        return copied(module)
    except ValueError as error:
        raise ValueError(
            f"Got module={type(module).__name__}(...), which cannot be copied for "
            f"training ({error}). Expected a function that builds it: "
            "module(n_features, n_classes)."
        ) from error


def _call(
    build: Callable[..., nn.Module],
    n_features: int | dict[str, int],
    n_classes: int,
    params: Mapping[str, Any],
) -> nn.Module:
    try:
        module = build(n_features, n_classes, **_with_copied_modules(params))
    except TypeError as error:
        raise TypeError(
            f"module(n_features, n_classes, **module_params) failed: {error}. "
            "Expected a callable that takes the two numbers, and the entries of "
            f"module_params={params!r} by name."
        ) from error
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"module(n_features, n_classes) returned {type(module).__name__}, but "
            "expected a torch.nn.Module."
        )
    return module


def _with_copied_modules(params: Mapping[str, Any]) -> dict[str, Any]:
    r"""Return the parameters with copies of the modules among them."""
    modules = {k: v for k, v in params.items() if isinstance(v, nn.Module)}
    try:
        # One copy of the dict, since modules may share layers.
        modules = copy.deepcopy(modules)
    except Exception as error:
        raise ValueError(
            f"Got module_params with modules that cannot be copied for training "
            f"({type(error).__name__}: {error}). Expected modules that copy.deepcopy "
            "takes: create them inside the function that is passed as module."
        ) from error
    return {**params, **modules}


def _functions(values: Iterable[Any]) -> Iterator[FunctionType]:
    r"""Yield the functions among values, and those in lists and dicts of them."""
    for value in values:
        if isinstance(value, FunctionType):
            yield value
        elif isinstance(value, partial):
            yield from _functions([value.func])
        elif isinstance(value, dict):
            yield from _functions(value.values())
        elif isinstance(value, list | tuple):
            yield from _functions(value)


def _values_in(function: FunctionType) -> Iterator[Any]:
    r"""Yield the values that a function refers to: outer variables and defaults."""
    yield from function.__defaults__ or ()
    for cell in function.__closure__ or ():
        # The cell of a variable that was never set is empty.
        with suppress(ValueError):
            yield cell.cell_contents


def _share(module: nn.Module, other: nn.Module) -> bool:
    r"""Return whether two modules have a layer or the memory of a tensor in common."""
    shares_layers = not set(module.modules()).isdisjoint(other.modules())
    return shares_layers or not _addresses(module).isdisjoint(_addresses(other))


def _addresses(module: nn.Module) -> set[int]:
    r"""Return the memory addresses of parameters and buffers."""
    tensors = [*module.parameters(), *module.buffers()]
    return {
        tensor.untyped_storage().data_ptr()
        for tensor in tensors
        if not nn.parameter.is_lazy(tensor) and tensor.numel()
    }
