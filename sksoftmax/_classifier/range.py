r"""Logits that are too large for float32: to compute, to hold or to subtract."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

# Differences and sums of anything smaller are far from float32's limits.
_LARGE = 1e15


def large_rows(logits: Tensor) -> Tensor | None:
    r"""Return the indices of the rows with a logit that is large, infinite or NaN.

    None if there are none, which one pass can nearly always tell.
    """
    if math.isfinite(torch.linalg.vector_norm(logits)):
        return None
    rows = (~(logits.abs().amax(1) < _LARGE)).nonzero().flatten()
    return rows if len(rows) else None


def recomputed(
    module: nn.Module,
    forward: Callable[[Tensor, nn.Module], Tensor],
    parts: Iterable[Tensor],
) -> Tensor:
    r"""Return the logits of rows in float64, which is wide enough for any float32.

    Raises
    ------
    ValueError
        If they are infinite or NaN all the same.
    """
    wide = copy.deepcopy(module).cpu().double()
    try:
        logits = torch.cat([forward(part.cpu().double(), wide) for part in parts])
    except RuntimeError as error:
        raise ValueError(
            "The module's logits are infinite or NaN in float32, and in float64 it "
            f"failed ({error}). Scale the features, for instance with a StandardScaler "
            "in a Pipeline."
        ) from error
    if not logits.amax(1).isfinite().all():
        raise ValueError(
            "The module's logits are infinite or NaN for some rows, and so would be "
            "probabilities. Scale the features, for instance with a StandardScaler in "
            "a Pipeline; or fit again, if weights were changed by hand."
        )
    return logits


def into_range(logits: Tensor, dtype: torch.dtype) -> Tensor:
    r"""Convert float64 logits; those too large for the dtype are shifted to fit.

    The largest of such a row becomes 0, which leaves all probabilities as they are.
    """
    if dtype == logits.dtype:
        return logits
    converted = logits.to(dtype)
    rows = large_rows(converted)
    if rows is None:
        return converted
    shifted = logits[rows]
    shifted -= shifted.amax(1, keepdim=True)
    lowest = torch.finfo(dtype).min
    # A class that a module rules out stays out.
    shifted = torch.where(shifted.isinf(), shifted, shifted.clamp(min=lowest))
    return logits.index_copy(0, rows, shifted).to(dtype)
