r"""Flat rows as the named inputs of a user's module."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from .._utils.arrays import InputPart, convert
from ._output_checks import check_shape


class SplitInputs:
    r"""A hook that splits a batch of flat rows into the arguments of ``forward``.

    Parameters
    ----------
    parts : sequence of InputPart
        The arguments, and their values in a row.
    dtypes : sequence of torch.dtype
        The dtype of each of them.
    """

    def __init__(
        self, parts: Sequence[InputPart], dtypes: Sequence[torch.dtype]
    ) -> None:
        self.parts = parts
        self.dtypes = dtypes

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if kwargs or len(args) != 1:
            # A caller passes the inputs themselves.
            return args, kwargs
        [rows] = args
        return (), {
            part.name: self._part(rows, part, dtype)
            for part, dtype in zip(self.parts, self.dtypes, strict=True)
        }

    @staticmethod
    def _part(rows: Tensor, part: InputPart, dtype: torch.dtype) -> Tensor:
        first, last = part.columns[0], part.columns[-1]
        if part.columns == tuple(range(first, last + 1)):
            values = rows[:, first : last + 1]
        else:
            values = rows[:, list(part.columns)]
        # An export to ONNX would take a number of rows for a constant.
        return convert(values, dtype).reshape(-1, *part.shape)


def _dtypes_of_inputs(is_whole: Sequence[bool]) -> Iterator[list[torch.dtype]]:
    r"""Yield the dtypes that inputs may have, those with few of int64 first.

    Only inputs of whole numbers, which may be tokens, become int64.
    """
    choices = [[False, True] if whole else [False] for whole in is_whole]
    for are_tokens in sorted(product(*choices), key=sum):
        yield [torch.int64 if is_token else torch.float32 for is_token in are_tokens]


def split_inputs(
    module: nn.Module,
    parts: Sequence[InputPart],
    is_whole: Sequence[bool],
    n_features: int,
    n_classes: int,
) -> None:
    r"""Let a module split flat rows into its inputs, of dtypes that it takes.

    Parameters
    ----------
    module : nn.Module
        The module, which gets a hook.
    parts : sequence of InputPart
        Its inputs.
    is_whole : sequence of bool
        Whether the values of each input are whole numbers.
    n_features : int
        Number of values in a flat row.
    n_classes : int
        Number of logits that it has to return.
    """
    split = SplitInputs(parts, [])
    module.register_forward_pre_hook(split, with_kwargs=True)
    errors = []
    for dtypes in _dtypes_of_inputs(is_whole):
        split.dtypes = dtypes
        try:
            check_shape(module, (n_features,), n_classes)
            return
        except ValueError as error:
            errors.append(error)
    names = ", ".join(f"{part.name} of shape {(2, *part.shape)}" for part in parts)
    raise ValueError(f"With the inputs {names}: {errors[0]}") from errors[0]
