r"""State of a fitted classifier: named tensors, checkpoints, pickles."""

from __future__ import annotations

import copy
import copyreg
import hashlib
import re
import sys
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from .._data.training_rows import TrainingRows
from .._encoders.categories import TableEncoder
from .._training.checkpoint import Checkpoint
from .._training.make_net import make_net
from .._training.skorch_net import SoftmaxNet
from .._training.stream import FirstRows
from .._utils.arrays import as_tensor, to_be_stored
from .._utils.compat import __version__
from .._utils.devices import has_float64, resolve_device
from .._utils.random import make_generator
from ..modules._user_transforms import SeededTransform

if TYPE_CHECKING:
    from .base import BaseSoftmaxClassifier
    from .module_classifier import ModuleClassifier


# Parameters that do not change what an epoch learns; callbacks are compared by their
# names.
_WITHOUT_EFFECT = {
    "callbacks",
    "checkpoint",
    "on_interrupt",
    "time_limit",
    "verbose",
}


def open_checkpoint(
    estimator: BaseSoftmaxClassifier,
    data: TrainingRows,
    validation: TrainingRows | None,
) -> Checkpoint | None:
    r"""Return the checkpoint of a fit whose net is built; None without the parameter.

    Raises
    ------
    ValueError
        If ``random_state`` is no integer, or if there is something else at the path
        than a checkpoint of the same fit.
    """
    path = getattr(estimator, "checkpoint", None)
    if path is None:
        return None
    if not isinstance(estimator.random_state, Integral):
        raise ValueError(
            f"Got checkpoint={str(path)!r} with "
            f"random_state={estimator.random_state!r}, from which no second fit starts "
            "the same way. Expected an integer as random_state."
        )
    identity = _identity(estimator, data, validation)
    return Checkpoint(Path(path), identity, estimator._generators())


def _identity(
    estimator: BaseSoftmaxClassifier,
    data: TrainingRows,
    validation: TrainingRows | None,
) -> dict[str, str]:
    weights = hashlib.sha256()
    for name, value in estimator.module_.state_dict().items():
        weights.update(name.encode())
        if isinstance(value, Tensor):
            value = value.cpu().contiguous().reshape(-1)
            weights.update(value.view(torch.uint8).numpy().data)
    with np.printoptions(threshold=sys.maxsize):
        parameters = {
            # An address in memory differs from run to run.
            name: re.sub(r" at 0x[0-9A-Fa-f]+", "", repr(value))
            for name, value in estimator.get_params(deep=False).items()
            if name not in _WITHOUT_EFFECT
        }
    return {
        "estimator": type(estimator).__name__,
        "sksoftmax": __version__,
        "torch": torch.__version__,
        **parameters,
        # A NumPy integer is the same seed.
        "random_state": str(int(estimator.random_state)),
        "device": str(estimator.device_),
        "callbacks": ", ".join(estimator.net_.remembering_callbacks),
        "training data": data.digest(),
        "validation data": "None" if validation is None else validation.digest(),
        "initial state": weights.hexdigest(),
    }


def weights_of(classifier: ModuleClassifier) -> dict[str, Tensor]:
    r"""Return the state of a fitted classifier's module, as tensors on the CPU.

    Raises
    ------
    ValueError
        If the parameters no longer describe the module, so that it could not be built
        again, or if the state of the module is more than tensors.
    """
    name, module = type(classifier).__name__, classifier.module_
    weights = {}
    for key, value in module.state_dict().items():
        if not isinstance(value, Tensor):
            raise ValueError(
                f"The state of {name}.module_ holds {key!r} of type "
                f"{type(value).__name__}, but expected tensors only. Keep such things "
                "in buffers, or use joblib."
            )
        weights[key] = to_be_stored(value)
    check_described(classifier, module)
    return weights


def check_described(classifier: ModuleClassifier, module: nn.Module) -> None:
    r"""Raise an error unless a classifier's parameters would build such a module."""
    state = module.state_dict()
    # Building sets attributes: here those of a copy.
    fresh = fresh_module(copy.copy(classifier)).to(module_dtype(state))
    _check_same(_layers(fresh), _layers(module))
    _check_same(_shapes(fresh.state_dict()), _shapes(state))


def restore_module(classifier: ModuleClassifier, weights: dict[str, Tensor]) -> None:
    r"""Set ``module_``, ``net_`` and ``device_`` of a classifier that has the rest.

    The net has no optimizer; ``partial_fit`` makes one. A device that this machine does
    not have is replaced by "auto".

    Raises
    ------
    ValueError
        If these are not tensors of the module that the parameters describe.
    """
    try:
        classifier.device_ = resolve_device(classifier.device)
    except ValueError:
        classifier.device = "auto"
        classifier.device_ = resolve_device(classifier.device)
    module = fresh_module(classifier).to(module_dtype(weights))
    _check_same(_shapes(module.state_dict()), _shapes(weights))
    module.load_state_dict(weights)
    if not has_float64(classifier.device_):
        module.float()
    classifier.module_ = module.to(classifier.device_).eval()
    classifier.net_ = net_without_optimizer(classifier, classifier.module_)


def net_without_optimizer(
    classifier: ModuleClassifier, module: nn.Module
) -> SoftmaxNet:
    r"""Return a net around a trained module; ``partial_fit`` makes its optimizer."""
    return make_net(
        module,
        None,
        classifier.device_,
        make_generator(0),
        n_classes=len(classifier.classes_),
        verbose=getattr(classifier, "verbose", 0),
        input_dtype=classifier._input_dtype,
    )


def module_dtype(weights: Mapping[str, Tensor]) -> torch.dtype | None:
    r"""Return the dtype of all floats, None if they have no dtype in common."""
    dtypes = {tensor.dtype for tensor in weights.values() if tensor.is_floating_point()}
    return dtypes.pop() if len(dtypes) == 1 else None


def fresh_module(classifier: ModuleClassifier) -> nn.Module:
    r"""Return a new module, as ``fit`` would build it."""
    with classifier._random_scope(0):
        return classifier._build_module(make_generator(0))


def _check_same(expected: dict[str, str], got: dict[str, str]) -> None:
    differing = [
        f"{key or 'module_'}: {got.get(key, 'nothing')}, not "
        f"{expected.get(key, 'nothing')}"
        for key in sorted({*expected, *got})
        if expected.get(key) != got.get(key)
    ]
    if differing:
        raise ValueError(
            "Got a module that the parameters do not describe: "
            f"{'; '.join(differing[:5])}. Fit again after changing a parameter, "
            "without warm_start, or set it back."
        )


def _layers(module: nn.Module) -> dict[str, str]:
    r"""Return a description of each layer that takes part in predictions."""
    idle = [
        name
        for name, layer in module.named_modules()
        if isinstance(layer, SeededTransform)
    ]
    return {
        name: f"{type(layer).__name__}({layer.extra_repr()})"
        for name, layer in module.named_modules()
        if not isinstance(layer, nn.Identity | SeededTransform)
        and not any(name.startswith(f"{prefix}.") for prefix in idle)
    }


def _shapes(state: Mapping[str, Any]) -> dict[str, str]:
    return {
        key: f"{value.dtype} of shape {tuple(value.shape)}"
        for key, value in state.items()
    }


class StateMixin(BaseEstimator):
    r"""State of a fitted classifier for pickle, copy and skops."""

    _encoder: TableEncoder | None
    _first_rows: FirstRows | None

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        # Pickles and copies keep the net with its optimizer and history. The net holds
        # the module as well, and pickles it apart from everything else.
        state = dict(super().__getstate__())
        # The place of rows is a device, which another machine may lack.
        state.pop("_rows_place", None)
        if "net_" in state:
            del state["module_"]
        return copyreg.__newobj__, (type(self),), state  # type: ignore[attr-defined]

    def __getstate__(self) -> dict[str, Any]:
        # The state that skops stores: data, but no objects like a net.
        state = dict(super().__getstate__())
        state.pop("_rows_place", None)
        if "module_" in state:
            state.pop("net_", None)
            del state["device_"]
            weights = weights_of(self)
            state["module_"] = {name: w.numpy() for name, w in weights.items()}
        if self._encoder is not None:
            state["_encoder"] = self._encoder.to_arrays()
        if self._first_rows is not None:
            state["_first_rows"] = vars(self._first_rows).copy()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if isinstance(self._first_rows, dict):
            self._first_rows = FirstRows(**self._first_rows)
        if "net_" in state:
            self.module_ = self.net_.module_
        elif isinstance(state.get("module_"), dict):
            if self._encoder is not None:
                self._encoder = TableEncoder.from_arrays(state["_encoder"])
            weights = {name: as_tensor(w) for name, w in state["module_"].items()}
            restore_module(self, weights)
