r"""The state of a training in a file, from which a killed fit goes on."""

from __future__ import annotations

import glob
import hashlib
import inspect
import json
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .._utils.files import (
    InvalidFileError,
    decode,
    encode,
    read_document,
    write_document,
)

if TYPE_CHECKING:
    from .skorch_net import SoftmaxNet

_KIND = "sksoftmax checkpoint"
# Exceptions of reading a file that is no checkpoint, or a damaged one.
_MALFORMED = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)

# Seconds since the last change of a partial file. A process that still writes changes
# it more often; an older file was left by a process that was killed.
_ABANDONED = 60.0


class Checkpoint:
    r"""The file with the state of a training, written after every epoch.

    Parameters
    ----------
    path : Path
        The file; in a directory, a file named by a hash of the identity.
    identity : dict of str to str
        All that determines the fit; a file of another identity is refused.
    generators : dict of str to torch.Generator
        The generators that training draws from.

    Attributes
    ----------
    n_epochs : int
        Number of epochs whose result is in the file.
    """

    def __init__(
        self,
        path: Path,
        identity: dict[str, str],
        generators: Mapping[str, torch.Generator],
    ) -> None:
        if path.is_dir():
            fingerprint = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
            path = path / f"{fingerprint[:32]}.safetensors"
        self._path = path
        self._identity = identity
        self._generators = generators
        self.n_epochs = 0
        self._saved = self._read()

    def resume(self, net: SoftmaxNet) -> None:
        r"""Restore the state of the file in a net whose training begins.

        Without a file, one is written at once, so that an error of the path comes
        before the first epoch.
        """
        self._remove_abandoned()
        if self._saved is None:
            self.write(net)
            return
        try:
            _restore(net, self._saved, self._generators)
        except _MALFORMED as error:
            raise self._unusable() from error
        self._saved = None

    def write(self, net: SoftmaxNet) -> None:
        r"""Replace the state in the file by that of a net between two epochs."""
        tensors: dict[str, Tensor] = {}
        try:
            state = encode(_state_of(net, self._generators), tensors)
        except TypeError as error:
            raise ValueError(
                f"Got checkpoint={str(self._path)!r}, but the module, the history or "
                f"callbacks={net.callbacks!r} hold a {error} during training, and a "
                "checkpoint holds data only: numbers, text, lists, dicts, arrays and "
                "tensors. Leave out the callback or attribute, or set checkpoint=None."
            ) from error
        document = {"identity": self._identity, "state": state}
        try:
            write_document(self._path, document, tensors, kind=_KIND)
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror}: the checkpoint could not be written. A file of an "
                "earlier epoch is unchanged, and fit goes on from there. Make room for "
                "the file, or pass another path as checkpoint",
                str(self._path),
            ) from error

    def _read(self) -> dict[str, Any] | None:
        if not self._path.exists():
            return None
        try:
            if not self._path.is_file():
                raise ValueError("it is no file")
            document, tensors = read_document(self._path, kind=_KIND)
            identity = dict(document["identity"])
            state = dict(decode(document["state"], tensors))
            self.n_epochs = len(state["history"])
        except _MALFORMED as error:
            raise self._unusable() from error
        differing = [
            f"{name}: {identity.get(name)!s:.40} then, "
            f"{self._identity.get(name)!s:.40} now"
            for name in {**self._identity, **identity}
            if identity.get(name) != self._identity.get(name)
        ]
        if differing:
            raise ValueError(
                f"Got checkpoint={str(self._path)!r}, which belongs to another fit: "
                f"{'; '.join(differing)}. Expected the parameters and the data that it "
                "was written with. Delete the file to start anew, or choose another "
                "path: in a directory, every fit has its own file."
            )
        return state

    def _unusable(self) -> InvalidFileError:
        return InvalidFileError(
            f"Got checkpoint={str(self._path)!r}, which is no checkpoint or a damaged "
            "one. Expected a checkpoint that fit wrote, or no file. Delete it to start "
            "anew, or choose another path."
        )

    def _remove_abandoned(self) -> None:
        pattern = f".{glob.escape(self._path.name)}.{'[0-9a-f]' * 8}"
        for partial in self._path.parent.glob(pattern):
            if time.time() - partial.stat().st_mtime > _ABANDONED:
                partial.unlink(missing_ok=True)


def _state_of(
    net: SoftmaxNet, generators: Mapping[str, torch.Generator]
) -> dict[str, Any]:
    r"""Return all state that the next epochs depend on, as data."""
    optimizer = net.optimizer_
    state = optimizer.state_dict()
    return {
        "module": dict(net.module_.state_dict()),
        # A callback may have changed requires_grad.
        "frozen": [
            name for name, p in net.module_.named_parameters() if not p.requires_grad
        ],
        "moments": state["state"],
        "groups": [
            {name: value for name, value in group.items() if name != "params"}
            for group in state["param_groups"]
        ],
        "optimizer_steps": optimizer.n_done,
        "average": None
        if net.average is None
        else [net.average.n_steps, net.average.tensors],
        "row_losses": None if net.easy_rows_ is None else net.easy_rows_.losses,
        "generators": {name: g.get_state() for name, g in generators.items()},
        "history": list(net.history),
        "callbacks": {
            name: {
                key: dict(value) if isinstance(value, OrderedDict) else value
                for key, value in vars(callback).items()
                # skorch's names of fitted attributes. Functions and classes are not
                # state.
                if key.endswith("_")
                and not (inspect.isroutine(value) or inspect.isclass(value))
            }
            for name, callback in net.remembering_callbacks.items()
        },
        "stopped": net.stop_training_,
    }


def _restore(
    net: SoftmaxNet, state: dict[str, Any], generators: Mapping[str, torch.Generator]
) -> None:
    net.module_.load_state_dict(state["module"])
    for name, parameter in net.module_.named_parameters():
        parameter.requires_grad_(name not in state["frozen"])
    optimizer = net.optimizer_
    for group, saved in zip(optimizer.param_groups, state["groups"], strict=True):
        group.update(saved)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for index, moments in state["moments"].items():
        parameter = parameters[index]
        optimizer.state[parameter] = {
            name: _laid_out_like(parameter, moment) for name, moment in moments.items()
        }
    optimizer.n_done = state["optimizer_steps"]
    if net.average is not None:
        n_steps, tensors = state["average"]
        net.average.restore(tensors, n_steps)
    if net.easy_rows_ is not None:
        net.easy_rows_.losses.copy_(state["row_losses"])
    for name, generator in generators.items():
        generator.set_state(state["generators"][name])
    net.history[:] = state["history"]
    for name, callback in net.remembering_callbacks.items():
        vars(callback).update(state["callbacks"][name])
    net.stop_training_ = state["stopped"]


def _laid_out_like(parameter: Tensor, moment: Any) -> Any:
    r"""Return a moment in the memory format of its parameter, as fused kernels need."""
    if not isinstance(moment, Tensor):
        return moment
    if moment.shape != parameter.shape:
        return moment.to(parameter.device)
    return torch.empty_like(parameter, requires_grad=False).copy_(moment)
