r"""The array API: results in the library and on the device of the rows.

scikit-learn dispatches to other libraries than NumPy if ``array_api_dispatch`` is set.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import get_config
from torch import Tensor

from .compat import array_device, array_namespace
from .devices import has_float64


class Place(NamedTuple):
    r"""A library of arrays and a device."""

    namespace: Any
    device: Any


def rows_place(X: Any) -> Place | None:
    r"""Return where rows are; None for those of NumPy, frames and lists.

    It is also None as long as scikit-learn's ``array_api_dispatch`` is off.
    """
    if type(X) is np.ndarray or not get_config()["array_api_dispatch"]:
        return None
    namespace, is_array_api = array_namespace(X)
    if not is_array_api or isinstance(X, np.ndarray):
        return None
    return Place(namespace, array_device(X))


def moved(values: NDArray[Any] | Tensor, place: Place | None) -> Any:
    r"""Return values as an array of NumPy, or of the library and device of a place.

    Text stays in NumPy, since no other library has it.
    """
    if isinstance(values, Tensor):
        if place is not None and isinstance(place.device, torch.device):
            if values.is_inference():
                # The caller may compute gradients, or change the copy in place.
                values = values.clone()
            if values.dtype == torch.float64 and not has_float64(place.device):
                values = values.float()
            return values.to(place.device)
        values = values.cpu().numpy()
    if place is None or values.dtype.kind not in "biuf":
        return values
    if isinstance(place.device, torch.device):
        # A copy: the array may be read-only, of which PyTorch warns.
        return moved(torch.from_numpy(values.copy()), place)
    return place.namespace.asarray(values, device=place.device)


def check_same_place(
    estimator: Any, method: str, place: Place | None, fitted: Place | None
) -> None:
    r"""Refuse rows elsewhere than those of a fit to arrays of another library.

    scikit-learn requires it of its own estimators. Rows of any library are taken after
    a fit to NumPy's arrays, and after a classifier was moved or loaded.
    """
    if fitted is None or place == fitted or not get_config()["array_api_dispatch"]:
        return
    raise ValueError(
        f"Inputs passed to {type(estimator).__name__}.{method}() must use the same "
        "namespace and the same device as those passed to fit(). Got "
        f"{_name(place)}, but expected {_name(fitted)}. Convert the rows, or call "
        "to(device) of the classifier, which then takes rows of any library."
    )


def _name(place: Place | None) -> str:
    if place is None:
        return "rows of NumPy or in another container"
    namespace = place.namespace.__name__.split(".")[-1]
    return f"an array of {namespace} on {place.device}"


class FittedArray:
    r"""A fitted attribute that follows the rows of the fit, as in scikit-learn.

    It is kept as an array of NumPy, which files and pickles hold, and is read as an
    array of the library and on the device of the rows.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        try:
            value = vars(instance)[self._name]
        except KeyError:
            raise AttributeError(
                f"{owner.__name__!r} object has no attribute {self._name!r}"
            ) from None
        return moved(value, instance._rows_place)

    def __set__(self, instance: Any, value: Any) -> None:
        vars(instance)[self._name] = value
