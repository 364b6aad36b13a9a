r"""What stands between NumPy and PyTorch: devices, seeds and arrays."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from torch import Tensor

# PyTorch's generator for a device is one object for the whole process, so fits that
# have to borrow it, because the user's module draws from it, take turns.
_GLOBAL_GENERATOR = threading.RLock()

# Whether this process may have computed with several threads.
_has_computed = False

_DEVICE_TYPES = ("cpu", "cuda", "mps")


def resolve_device(device: str) -> torch.device:
    r"""Turn the ``device`` parameter into a device that can be used here."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        resolved = torch.device(device)
        if resolved.type not in _DEVICE_TYPES:
            raise RuntimeError(f"it is none of {', '.join(_DEVICE_TYPES)}.")
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"Got device={device!r}, which cannot be used here: "
            f"{str(error).splitlines()[0]} "
            "Expected 'auto', 'cpu', 'cuda', 'cuda:<index>' or 'mps'; 'auto' takes "
            "an accelerator where there is one."
        ) from error
    return resolved


def resolve_precision(precision: str, device: torch.device, work: int) -> torch.dtype:
    r"""Turn the ``precision`` parameter into the dtype that training computes in.

    Decided by hardware and shapes alone, never by a timing: the same fit must give
    the same bits.

    Parameters
    ----------
    precision : {"auto", "float32", "bfloat16"}
        The parameter.
    device : torch.device
        Where training runs.
    work : int
        Multiplications of the largest layer for one batch.
    """
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    if device.type == "cuda":
        has_units = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_units = device.type == "cpu" and _cpu_multiplies_bfloat16()
    # Below this much work, converting costs more than multiplying faster saves.
    return torch.bfloat16 if has_units and work >= 2**25 else torch.float32


def _cpu_multiplies_bfloat16() -> bool:
    r"""Return whether this processor has matrix units for bfloat16."""
    # PyTorch has no public name for this yet, and older releases have fewer.
    tests = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, test, bool)() for test in tests)


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
    global _has_computed
    # Every fit and every prediction begins here.
    _has_computed = True
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


@contextmanager
def modes_of_training() -> Iterator[None]:
    r"""Compute as PyTorch does by default, whatever modes the caller has set.

    Tensors made in inference mode cannot be trained, and a default device other than
    the CPU would hold half of the tensors of a step.
    """
    with ExitStack() as modes:
        if torch.get_default_device().type != "cpu":
            modes.enter_context(torch.device("cpu"))
        modes.enter_context(torch.inference_mode(False))
        modes.enter_context(torch.enable_grad())
        yield


def make_generator(seed: int, device: torch.device | None = None) -> torch.Generator:
    r"""Return a new generator, independent of PyTorch's global ones."""
    return torch.Generator(device or "cpu").manual_seed(seed)


def global_generators(device: torch.device) -> dict[str, torch.Generator]:
    r"""Return PyTorch's own generators that a module on a device may draw from."""
    generators = {"cpu": torch.default_generator}
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        generators["cuda"] = torch.cuda.default_generators[index]
    elif device.type == "mps":
        generators["mps"] = torch.mps._get_default_mps_generator()
    return generators


@contextmanager
def global_generator_seeded(seed: int, device: torch.device) -> Iterator[None]:
    r"""Seed PyTorch's global generators in the block and restore them after it."""
    accelerated = device.type != "cpu"
    index = device.index or 0
    with (
        _GLOBAL_GENERATOR,
        torch.random.fork_rng(
            devices=[index] if accelerated else [],
            device_type=device.type if accelerated else "cuda",
        ),
    ):
        torch.default_generator.manual_seed(seed)
        if accelerated:
            getattr(torch, device.type).manual_seed(seed)
        yield


def _after_fork_in_child() -> None:
    r"""Let a forked process compute, which has only one thread of its parent's.

    OpenMP would wait for the others for ever, unless it is told to do without. And who
    held the lock is not here to release it.
    """
    global _GLOBAL_GENERATOR
    _GLOBAL_GENERATOR = threading.RLock()
    if _has_computed:
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
