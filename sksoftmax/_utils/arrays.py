r"""What stands between NumPy and PyTorch: devices, seeds and arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from torch import Tensor

from . import process


class _WritableView:
    r"""Show NumPy the memory of a read-only array as writable."""

    def __init__(self, array: NDArray[np.generic]) -> None:
        interface = dict(array.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface
        self._owner = array


def from_any_device(values: Any) -> Any:
    r"""Return a tensor as an array, whatever its device; anything else as it is.

    A sparse matrix becomes one of scipy. Floats below 32 bits become float32, since
    NumPy has only one such type and computes slowly in it.
    """
    if not isinstance(values, Tensor):
        return values
    tensor = values.detach()
    if tensor.is_nested:
        raise TypeError(
            "Got a nested tensor, whose rows may differ in length, but expected rows "
            "of one length. Pass torch.nested.to_padded_tensor(X, 0.0)."
        )
    try:
        if tensor.is_quantized:
            tensor = tensor.dequantize()
        elif tensor.is_floating_point() and tensor.dtype.itemsize < 4:
            tensor = tensor.float()
        if tensor.layout != torch.strided:
            return _as_scipy(tensor)
        return tensor.cpu().resolve_conj().resolve_neg().numpy()
    except (TypeError, RuntimeError) as error:
        raise TypeError(
            f"Got a tensor of {tensor.dtype} and {tensor.layout} on the device "
            f"{tensor.device}, which has no NumPy array ({error}). Pass a dense tensor "
            "of torch.float32 with data."
        ) from error


def _as_scipy(tensor: Tensor) -> Any:
    r"""Return a sparse matrix of PyTorch as one of scipy, any other tensor dense."""
    if tensor.ndim != 2 or tensor.dense_dim():
        return tensor.to_dense().cpu().numpy()
    matrix = tensor.cpu().to_sparse().coalesce()
    return coo_array(
        (matrix.values().numpy(), tuple(matrix.indices().numpy())),
        shape=tuple(matrix.shape),
    )


def as_tensor(array: NDArray[np.generic]) -> Tensor:
    r"""Share the memory of an array with a tensor, a read-only array's as well.

    PyTorch has no read-only tensors and warns about such an array. Nothing in this
    package writes to its input, so the warning would be noise and a copy a waste.
    """
    # Every fit and every prediction begins here.
    process.has_computed = True
    if min(array.strides, default=0) < 0:
        # NumPy calls one reversed row contiguous; PyTorch refuses it all the same.
        array = array.copy()
    if not array.flags.writeable and array.size:
        array = np.asarray(_WritableView(array))
    return torch.from_numpy(array)


def to_be_stored(tensor: Tensor) -> Tensor:
    r"""Return a copy on the CPU that shares nothing and lies in the usual order.

    A file of tensors holds neither shared memory nor another order of it.
    """
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
