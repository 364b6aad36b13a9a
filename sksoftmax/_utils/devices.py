r"""Device, precision and modes of PyTorch in a fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from .compat import cpu_multiplies_bfloat16

_DEVICE_TYPES = ("cpu", "cuda", "xpu", "mps")

# Multiplications from which bfloat16 saves more time than the conversions cost.
_MIN_WORK = 2**25


def resolve_device(device: str) -> torch.device:
    r"""Return the device that the parameter stands for, after a test that it works."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.xpu.is_available():
            return torch.device("xpu")
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
            "Expected 'auto', 'cpu', 'cuda', 'cuda:<index>', 'xpu' or 'mps'; 'auto' "
            "takes an accelerator where there is one."
        ) from error
    return resolved


def has_float64(device: torch.device) -> bool:
    r"""Return whether a device computes in float64: MPS and some of XPU do not."""
    if device.type == "xpu":
        return bool(torch.xpu.get_device_properties(device).has_fp64)
    return device.type != "mps"


def resolve_precision(precision: str, device: torch.device, work: int) -> torch.dtype:
    r"""Return the dtype that the ``precision`` parameter stands for.

    "auto" depends on hardware and shapes only, never on a timing: the same fit must
    give the same bits.

    Parameters
    ----------
    precision : {"auto", "float32", "bfloat16"}
        The parameter.
    device : torch.device
        Device of the training.
    work : int
        Multiplications of the largest layer for one batch.
    """
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    if device.type == "cuda":
        has_units = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_units = device.type == "cpu" and cpu_multiplies_bfloat16()
    return torch.bfloat16 if has_units and work >= _MIN_WORK else torch.float32


@contextmanager
def modes_of_training() -> Iterator[None]:
    r"""Compute in PyTorch's default modes, whatever modes the caller has set.

    Tensors that are made in inference mode cannot be trained. With a default device
    other than the CPU, tensors of a step would be on different devices.
    """
    with ExitStack() as modes:
        if torch.get_default_device().type != "cpu":
            modes.enter_context(torch.device("cpu"))
        modes.enter_context(torch.inference_mode(False))
        modes.enter_context(torch.enable_grad())
        yield
