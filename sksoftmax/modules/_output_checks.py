r"""Checks of the output of a user's module, which has to be logits."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .._utils.estimators import shortened

# Distance to 1 of the sum of a row's probabilities: half precision reaches 1e-3.
_SUM_TOLERANCE = 1e-3

# Difference between rows: only above it, numbers tell probabilities from logits.
_SMALLEST_DIFFERENCE = 1e-2

# Name, lowest and highest value of last operations, by PyTorch's names in the autograd
# graph.
_BOUNDED = {
    "SigmoidBackward0": ("sigmoid", 0, 1),
    "HardsigmoidBackward0": ("hardsigmoid", 0, 1),
    "TanhBackward0": ("tanh", -1, 1),
}

# Beginnings of the names of operations that leave values in their range.
_PASSED_OVER = ("Alias", "Clamp", "Clone", "Slice", "Squeeze", "ToCopy", "View")


def check_shape(
    module: nn.Module,
    row_shape: tuple[int, ...],
    n_classes: int,
    dtypes: Sequence[torch.dtype] = (torch.float32,),
) -> torch.dtype:
    r"""Raise an error unless the module maps rows to one column for each class.

    The pass through the module also initializes lazy layers. Returns the first of the
    dtypes of rows that the module takes.
    """
    rows = f"rows of {row_shape[0]} features"
    if len(row_shape) > 1:
        rows = f"rows of shape {row_shape}"
    batch_shape = f"(batch_size, {', '.join(map(str, row_shape))})"
    module.eval()
    errors = []
    for dtype in dtypes:
        try:
            with torch.no_grad():
                output = module(torch.zeros(2, *row_shape, dtype=dtype))
            break
        except Exception as error:
            errors.append(error)
    else:
        reasons = [f"{type(error).__name__}: {error}" for error in errors]
        raise ValueError(
            f"The module failed on 2 {rows} ({'; as whole numbers, '.join(reasons)}). "
            f"Expected it to take float32 rows of shape {batch_shape}."
        ) from errors[0]
    module.train()
    shape = tuple(output.shape) if isinstance(output, Tensor) else None
    if shape != (2, n_classes):
        raise ValueError(
            f"The module returned {type(output).__name__} of shape {shape} for 2 "
            f"{rows}, but expected logits: a Tensor of "
            f"shape (2, {n_classes}), one column for each class."
        )
    return dtype


def check_tokens(module: nn.Module, tokens: Tensor) -> None:
    r"""Raise an error unless a module takes rows of whole numbers.

    Parameters
    ----------
    module : nn.Module
        The module.
    tokens : Tensor of shape (n_rows, ...)
        Rows with the smallest and the largest numbers.
    """
    module.eval()
    try:
        with torch.no_grad():
            module(tokens.to(torch.int64))
    except Exception as error:
        raise token_error(tokens, error) from error
    module.train()


def token_error(tokens: Tensor, error: Exception) -> ValueError:
    r"""Return the error for rows of whole numbers that a module does not take."""
    smallest, largest = int(tokens.min()), int(tokens.max())
    return ValueError(
        f"The module failed on X, whose numbers go from {smallest} to {largest} "
        f"({type(error).__name__}: {error}). Expected it to take all tokens: an "
        "embedding takes 0 to num_embeddings - 1, and needs num_embeddings of "
        f"{largest + 1} or more if tokens begin with 0. Tokens that it was not built "
        "for, of new words, become one that it has, for unknown words."
    )


def check_output(module: nn.Module, X: Tensor, output: str) -> None:
    r"""Raise an error or warn if a module returns something else than it should.

    Parameters
    ----------
    module : nn.Module
        The module.
    X : Tensor of shape (n_rows, ...)
        Training rows. For rows of zeros, all outputs of a new layer are often equal.
    output : {"logits", "log_proba"}
        Expected output.
    """
    module.eval()
    with torch.enable_grad():
        returned = module(X)
    module.train()
    _warn_of_unregistered(module, returned)
    last = _last_operation(returned)
    # (N, C)
    logits = returned.detach().double().cpu()
    spread = (logits.amax(0) - logits.amin(0)).max()
    rows_differ = bool(spread > _SMALLEST_DIFFERENCE)
    _raise_for_softmax(last, logits, rows_differ)
    if output == "log_proba":
        _check_log_proba(logits)
    else:
        _warn_of_end(last, logits, rows_differ)


def _raise_for_softmax(last: str, logits: Tensor, rows_differ: bool) -> None:
    if last.startswith("Softmax") or (rows_differ and _are_probabilities(logits)):
        n_classes = logits.shape[1]
        raise ValueError(
            "The module returned probabilities (rows of positive numbers whose sum is "
            "1), but expected logits: the loss takes their softmax itself, and the "
            "softmax of probabilities never exceeds "
            f"{_largest_probability(n_classes, 1):.3f} with {n_classes} classes. "
            "Remove the softmax at the end of the module; or replace it by a "
            "log_softmax (nn.LogSoftmax), and set output='log_proba'."
        )
    if last.startswith("LogSoftmax") and _are_probabilities(logits.exp().T):
        raise ValueError(
            "The module takes the log_softmax over the rows of a batch (dim=0), so "
            "that the logits of a row depend on the other rows. Expected logits: "
            "remove the log_softmax at the end of the module."
        )


def _check_log_proba(log_proba: Tensor) -> None:
    r"""Raise an error unless the output is logarithms of probabilities."""
    proba = log_proba.exp()
    if not _are_probabilities(proba):
        sums = proba.sum(1)
        raise ValueError(
            "Got output='log_proba', but the exponentials of the module's output sum "
            f"to {float(sums.min()):.3g} to {float(sums.max()):.3g} in a row, and "
            "expected 1. Set output='logits', or end the module with a log_softmax."
        )


def _warn_of_end(last: str, logits: Tensor, rows_differ: bool) -> None:
    r"""Warn if the last operation is superfluous or bounds the logits."""
    are_logarithms = rows_differ and _are_probabilities(logits.exp())
    if last.startswith("LogSoftmax") or are_logarithms:
        warnings.warn(
            "The module returns logarithms of probabilities, but expected logits: the "
            "loss and the predictions take the softmax themselves. This softmax "
            "changes nothing here, but costs time. Remove the log_softmax at the end "
            "of the module, or set output='log_proba'.",
            UserWarning,
            stacklevel=3,
        )
    elif last in _BOUNDED:
        name, low, high = _BOUNDED[last]
        n_classes = logits.shape[1]
        limit = _largest_probability(n_classes, high - low)
        warnings.warn(
            f"The module ends with a {name}, whose values lie between {low} and "
            f"{high}, but expected logits of any size: the softmax of such values "
            f"never exceeds {limit:.3f} with {n_classes} classes. Remove the {name} at "
            "the end of the module.",
            UserWarning,
            stacklevel=3,
        )


def _warn_of_unregistered(module: nn.Module, output: Tensor) -> None:
    r"""Warn if gradients reach tensors that are no parameters of the module."""
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
    r"""Return the leaves of the autograd graph of a tensor."""
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
    r"""Return PyTorch's name of the last operation that changes the range of values."""
    node = output.grad_fn
    while node is not None and node.name().startswith(_PASSED_OVER):
        node = node.next_functions[0][0]
    return "" if node is None else node.name()


def _are_probabilities(rows: Tensor) -> bool:
    return bool((rows >= 0).all() and ((rows.sum(1) - 1).abs() < _SUM_TOLERANCE).all())


def _largest_probability(n_classes: int, width: float) -> float:
    r"""Return the largest softmax of numbers from an interval of a width."""
    return 1 / (1 + (n_classes - 1) * math.exp(-width))
