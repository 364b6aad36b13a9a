r"""Streams after an exact fit: steps on standardized features of any unit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import issparse
from torch import Tensor, nn

from ..modules._linear import SoftmaxLinear

# Largest standard deviation that rounding leaves of a constant feature, relative to its
# mean.
_ROUNDING = 1e-7


@contextmanager
def standardized(
    module: SoftmaxLinear, mean: Tensor, scale: Tensor, l2: float
) -> Iterator[None]:
    r"""Let a linear map learn on standardized features.

    The steps then do not depend on the units of the features. The L2 penalty stays on
    the coefficients of the original features.

    Parameters
    ----------
    module : SoftmaxLinear
        The map.
    mean, scale : Tensor of shape (n_features,), float64
        The statistics of the features.
    l2 : float
        Factor of half the squared norm of the coefficients.
    """
    dtype = module.weight.dtype

    def standardize(module: nn.Module, args: tuple[Tensor]) -> Tensor:
        return ((args[0].to(mean.dtype) - mean) / scale).to(dtype)

    decay = (l2 / scale**2).to(dtype)
    hooks = [
        module.register_forward_pre_hook(standardize),
        module.weight.register_hook(  # type: ignore[no-untyped-call]
            lambda gradient: gradient + decay * module.weight
        ),
    ]
    with torch.no_grad():
        if module.bias is not None:
            module.bias.add_((module.weight.to(mean.dtype) @ mean).to(dtype))
        module.weight.mul_(scale.to(dtype))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        restore_units(module, mean, scale)


@torch.no_grad()
def restore_units(module: SoftmaxLinear, mean: Tensor, scale: Tensor) -> None:
    r"""Return a map of standardized features to the scale of the input."""
    dtype = module.weight.dtype
    module.weight.div_(scale.to(dtype))
    if module.bias is not None:
        module.bias.sub_((module.weight.to(mean.dtype) @ mean).to(dtype))


def column_moments(
    X: Any, weight: NDArray[np.float64] | None, is_centered: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Return the mean and the scale of each column, dense or sparse.

    Parameters
    ----------
    X : {array, sparse matrix} of shape (n_samples, n_features)
        The rows.
    weight : ndarray of shape (n_samples,) or None
        Their weights.
    is_centered : bool
        Whether the mean is subtracted; if not, it is 0 and the scale is the root of the
        mean square.

    Returns
    -------
    mean, scale : ndarray of shape (n_features,)
        The scale is 1 where there is no spread.
    """
    share = np.full(X.shape[0], 1 / X.shape[0])
    if weight is not None:
        share = weight / weight.sum()
    X = X.astype(np.float64)
    mean = share @ X if is_centered else np.zeros(X.shape[1])
    if issparse(X):
        # The squares of sparse values lose digits to a large mean, which is rare there.
        variance = share @ X.multiply(X).tocsr() - mean**2
    else:
        variance = share @ (X - mean) ** 2
    scale = np.sqrt(np.maximum(variance, 0))
    return mean, np.where(scale > _ROUNDING * np.abs(mean), scale, 1.0)
