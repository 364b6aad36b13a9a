r"""Conversion between arrays of NumPy and tensors of PyTorch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array, issparse
from torch import Tensor

from . import process
from .compat import array_to_numpy


class _WritableView:
    r"""Array interface of a read-only array that says it is writable."""

    def __init__(self, array: NDArray[np.generic]) -> None:
        interface = dict(array.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface
        self._owner = array


def from_any_device(values: Any) -> Any:
    r"""Return an array of any library on any device as NumPy's; others as they are.

    A sparse tensor becomes a matrix of scipy. Floats of less than 32 bits become
    float32: NumPy has no bfloat16, and its float16 is slow.
    """
    if not isinstance(values, Tensor):
        if isinstance(values, np.ndarray) or not hasattr(values, "__array_namespace__"):
            return values
        return array_to_numpy(values, values.__array_namespace__())
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
    r"""Return a sparse matrix of PyTorch as one of scipy, other tensors as arrays."""
    if tensor.ndim != 2 or tensor.dense_dim():
        return tensor.to_dense().cpu().numpy()
    matrix = tensor.cpu().to_sparse().coalesce()
    return coo_array(
        (matrix.values().numpy(), tuple(matrix.indices().numpy())),
        shape=tuple(matrix.shape),
    )


def as_tensor(array: NDArray[np.generic]) -> Tensor:
    r"""Return a tensor that shares the memory of an array, also if it is read-only.

    PyTorch warns about read-only arrays, because it has no read-only tensors. The
    package never writes to its input, hence neither warning nor copy is needed.
    """
    # Every fit and every prediction calls this function before it computes.
    process.has_computed = True
    if min(array.strides, default=0) < 0:
        # PyTorch takes no negative strides, even of an axis of length 1.
        array = array.copy()
    if not array.flags.writeable and array.size:
        array = np.asarray(_WritableView(array))
    return torch.from_numpy(array)


def dense(X: Any) -> NDArray[Any]:
    r"""Return an array or a sparse matrix of scipy as an array."""
    array: NDArray[Any] = X.toarray() if issparse(X) else X
    return array


def canonical(matrix: Any) -> Any:
    r"""Return a matrix of scipy in CSR format without two values for one place."""
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    return matrix


def as_sparse_tensor(matrix: Any) -> Tensor:
    r"""Return a matrix of scipy in CSR format as a sparse tensor in COO format.

    PyTorch multiplies its CSR format on a CPU only by a library that not every
    processor has.
    """
    n_values = torch.from_numpy(np.diff(matrix.indptr))
    rows = torch.repeat_interleave(n_values.long())
    columns = torch.from_numpy(matrix.indices).long()
    return torch.sparse_coo_tensor(
        torch.stack([rows, columns]),
        as_tensor(matrix.data),
        matrix.shape,
        is_coalesced=True,
        check_invariants=False,
    )


def with_values(x: Tensor, values: Tensor, n_rows: int | None = None) -> Tensor:
    r"""Return a sparse tensor with other values, and with empty rows at its end."""
    shape = x.shape if n_rows is None else (n_rows, x.shape[1])
    return torch.sparse_coo_tensor(
        x.indices(), values, shape, is_coalesced=True, check_invariants=False
    )


def to_be_stored(tensor: Tensor) -> Tensor:
    r"""Return a contiguous copy on the CPU: safetensors takes no other tensors."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def convert(x: Tensor, dtype: torch.dtype | None) -> Tensor:
    r"""Return a batch in a dtype; as it is if that is None.

    Raises
    ------
    ValueError
        If a number has to become whole, but is not.
    """
    if dtype is None:
        return x
    becomes_whole = x.is_floating_point() and not dtype.is_floating_point
    if becomes_whole and bool((x != x.trunc()).any()):
        raise ValueError(
            "Got numbers that are not whole in X, but the module takes whole numbers "
            "only, as an embedding of tokens does. Expected tokens in X."
        )
    return x.to(dtype)


class InputPart(NamedTuple):
    r"""An input of a module: some values of a flat row."""

    # The argument of ``forward``.
    name: str
    # Positions of the values in a row.
    columns: tuple[int, ...]
    # Shape that they get.
    shape: tuple[int, ...]
