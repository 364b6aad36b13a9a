r"""Seeds and generators. PyTorch's global generators keep their states."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from sklearn.utils import check_random_state

from . import process
from .compat import mps_generator


def make_generator(seed: int, device: torch.device | None = None) -> torch.Generator:
    r"""Return a new generator, independent of PyTorch's global ones."""
    return torch.Generator(device or "cpu").manual_seed(seed)


def global_generators(device: torch.device) -> dict[str, torch.Generator]:
    r"""Return the global generators that a module on a device may draw from."""
    generators = {"cpu": torch.default_generator}
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        generators["cuda"] = torch.cuda.default_generators[index]
    elif device.type == "xpu":
        index = torch.xpu.current_device() if device.index is None else device.index
        generators["xpu"] = torch.xpu.default_generators[index]
    elif device.type == "mps":
        generators["mps"] = mps_generator()
    return generators


@contextmanager
def global_generator_seeded(seed: int, device: torch.device) -> Iterator[None]:
    r"""Seed PyTorch's global generators in the block and restore them after it."""
    accelerated = device.type != "cpu"
    index = device.index or 0
    with (
        process.generator_lock,
        torch.random.fork_rng(
            devices=[index] if accelerated else [],
            device_type=device.type if accelerated else "cuda",
        ),
    ):
        torch.default_generator.manual_seed(seed)
        if accelerated:
            getattr(torch, device.type).manual_seed(seed)
        yield


def draw_seed(random_state: int | np.random.RandomState | None) -> int:
    r"""Draw the seed of all random numbers of a fit."""
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
