r"""The user's module: a copy of what the builder returned, and what it must return."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from .._utils.estimators import shortened

# How far from 1 the sum of a row's probabilities may be; half precision needs 1e-3.
_ROUNDING = 1e-3

# Numbers tell probabilities from logits only where rows differ by more than this.
_SMALLEST_SPREAD = 1e-2

# Last operations with a bounded range, by their names in PyTorch's graph of gradients.
_BOUNDED = {
    "SigmoidBackward0": ("sigmoid", 0, 1),
    "HardsigmoidBackward0": ("hardsigmoid", 0, 1),
    "TanhBackward0": ("tanh", -1, 1),
}
# Operations that leave numbers in the range they had.
_PASSED_OVER = ("Alias", "Clamp", "Clone", "Slice", "Squeeze", "ToCopy", "View")


def build_module(
    build: Callable[..., nn.Module],
    n_features: int,
    n_classes: int,
    params: Mapping[str, Any],
) -> nn.Module:
    r"""Return a module that shares nothing with the caller's modules.

    A builder may return a module that exists already, or put such a module into a new
    one, and ``params`` may hold modules. Training these in place would carry what was
    learned from one fit into the next.

    Raises
    ------
    TypeError
        If the builder does not take these arguments or returns no module.
    ValueError
        If the module is shared and cannot be copied.
    """
    module = _call(build, n_features, n_classes, params)
    try:
        module = copied(module)
    except ValueError as error:
        # A module that cannot be copied must be new in every call.
        if _share(module, _call(build, n_features, n_classes, params)):
            raise ValueError(
                "module(n_features, n_classes, **module_params) returned the same "
                "layers or tensors in two calls, and they cannot be copied for "
                f"training ({error}). Expected new ones in each call: create all "
                "layers inside the function."
            ) from error
    # Parts made before may be elsewhere than the rest; training chooses the device.
    return module.cpu()


def copied(module: nn.Module) -> nn.Module:
    r"""Return a copy of a module.

    Raises
    ------
    ValueError
        If there is no copy that works without the original.
    """
    layers = [*module.modules()]
    parts = {id(part) for part in (*layers, *module.parameters(), *module.buffers())}
    # A function has no copy: a hook or an attribute that refers to ``self`` would
    # refer to the original in the copy as well.
    for layer in layers:
        for function in _functions(vars(layer).values()):
            if any(id(value) in parts for value in _values_in(function)):
                raise ValueError(f"the function {function.__qualname__} uses a layer")
    try:
        # A copy of a TorchScript module would be a part of the graph of gradients.
        with torch.no_grad():
            twin = copy.deepcopy(module)
        for ours, theirs in zip(twin.parameters(), module.parameters(), strict=True):
            if ours.requires_grad != theirs.requires_grad:
                ours.requires_grad_(theirs.requires_grad)
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    return twin


def check_shape(module: nn.Module, n_features: int, n_classes: int) -> None:
    r"""Raise an error unless the module maps rows to one column for each class.

    The pass through the module also initialises lazy layers.
    """
    module.eval()
    try:
        with torch.no_grad():
            output = module(torch.zeros(2, n_features, dtype=torch.float32))
    except Exception as error:
        raise ValueError(
            f"The module failed on 2 rows of {n_features} features "
            f"({type(error).__name__}: {error}). "
            f"Expected it to take float32 rows of shape (batch_size, {n_features})."
        ) from error
    module.train()
    shape = tuple(output.shape) if isinstance(output, Tensor) else None
    if shape != (2, n_classes):
        raise ValueError(
            f"The module returned {type(output).__name__} of shape {shape} for 2 "
            f"rows of {n_features} features, but expected logits: a Tensor of "
            f"shape (2, {n_classes}), one column for each class."
        )


def check_logits(module: nn.Module, X: Tensor) -> None:
    r"""Raise an error or warn if a module returns something else than logits.

    Parameters
    ----------
    module : nn.Module
        The module.
    X : Tensor of shape (n_rows, n_features), float32
        Training rows. With zeros for rows, all outputs of a new layer are often equal.
    """
    module.eval()
    with torch.enable_grad():
        output = module(X)
    module.train()
    _warn_of_unregistered(module, output)
    last = _last_operation(output)
    # (R, C)
    logits = output.detach().double().cpu()
    n_classes = logits.shape[1]
    spread = (logits.amax(0) - logits.amin(0)).max()
    is_telling = bool(spread > _SMALLEST_SPREAD)
    if last.startswith("Softmax") or (is_telling and _are_probabilities(logits)):
        raise ValueError(
            "The module returned probabilities (rows of positive numbers whose sum is "
            "1), but expected logits: the loss takes their softmax itself, and the "
            "softmax of probabilities never exceeds "
            f"{_largest_probability(n_classes, 1):.3f} with {n_classes} classes. "
            "Remove the softmax at the end of the module."
        )
    if last.startswith("LogSoftmax") and _are_probabilities(logits.exp().T):
        raise ValueError(
            "The module takes the log_softmax over the rows of a batch (dim=0), so "
            "that the logits of a row depend on the other rows. Expected logits: "
            "remove the log_softmax at the end of the module."
        )
    if last.startswith("LogSoftmax") or (
        is_telling and _are_probabilities(logits.exp())
    ):
        warnings.warn(
            "The module returns logarithms of probabilities, but expected logits: the "
            "loss and the predictions take the softmax themselves. This softmax "
            "changes nothing here, but costs time. Remove the log_softmax at the end "
            "of the module.",
            UserWarning,
            stacklevel=2,
        )
    elif last in _BOUNDED:
        name, low, high = _BOUNDED[last]
        limit = _largest_probability(n_classes, high - low)
        warnings.warn(
            f"The module ends with a {name}, whose values lie between {low} and "
            f"{high}, but expected logits of any size: the softmax of such values "
            f"never exceeds {limit:.3f} with {n_classes} classes. Remove the {name} at "
            "the end of the module.",
            UserWarning,
            stacklevel=2,
        )


def _warn_of_unregistered(module: nn.Module, output: Tensor) -> None:
    r"""Warn if gradients reach tensors that the optimizer will not know."""
    known = {id(parameter) for parameter in module.parameters()}
    unknown = [leaf for leaf in _leaves(output) if id(leaf) not in known]
    if not unknown:
        return
    shapes = shortened([tuple(leaf.shape) for leaf in unknown], 4)
    warnings.warn(
        f"The module computes with {len(unknown)} tensors that require gradients, but "
        f"are not among its parameters (shapes {shapes}): they are neither "
        "trained nor saved. Assign their layers to attributes of the module; layers in "
        "a list belong into a torch.nn.ModuleList, tensors into a torch.nn.Parameter. "
        "If they should stay as they are, call requires_grad_(False).",
        UserWarning,
        stacklevel=3,
    )


def _leaves(output: Tensor) -> list[Tensor]:
    r"""Return the tensors at the ends of the graph of gradients of a tensor."""
    leaves, seen, nodes = [], set(), [output.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            leaves.append(node.variable)
        nodes += [following for following, _ in node.next_functions]
    return leaves


def _last_operation(output: Tensor) -> str:
    node = output.grad_fn
    while node is not None and node.name().startswith(_PASSED_OVER):
        node = node.next_functions[0][0]
    return "" if node is None else node.name()


def _call(
    build: Callable[..., nn.Module],
    n_features: int,
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
    r"""Return the parameters with copies of modules, which a builder may change."""
    modules = {k: v for k, v in params.items() if isinstance(v, nn.Module)}
    try:
        # One copy of all of them: they may share layers.
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
    r"""Yield what a function refers to: outer variables and defaults."""
    yield from function.__defaults__ or ()
    for cell in function.__closure__ or ():
        # A variable that was never set has no content.
        with suppress(ValueError):
            yield cell.cell_contents


def _share(module: nn.Module, other: nn.Module) -> bool:
    r"""Return whether two modules have a layer or the memory of a tensor in common."""
    layers = not set(module.modules()).isdisjoint(other.modules())
    return layers or not _places(module).isdisjoint(_places(other))


def _places(module: nn.Module) -> set[int]:
    r"""Return where the parameters and buffers are in memory."""
    tensors = [*module.parameters(), *module.buffers()]
    return {
        tensor.untyped_storage().data_ptr()
        for tensor in tensors
        if not nn.parameter.is_lazy(tensor) and tensor.numel()
    }


def _are_probabilities(rows: Tensor) -> bool:
    return bool((rows >= 0).all() and ((rows.sum(1) - 1).abs() < _ROUNDING).all())


def _largest_probability(n_classes: int, width: float) -> float:
    r"""Return the largest softmax of numbers from a range of a width."""
    return 1 / (1 + (n_classes - 1) * math.exp(-width))
