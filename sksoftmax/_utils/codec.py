r"""Parameters and fitted attributes as JSON and tensors, and back, exactly."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._encoders.categories import TableEncoder
from .arrays import to_be_stored

# JSON has these of its own. What is not, is an object of one entry: its kind.
_PLAIN = (type(None), bool, int, str)

# Kinds of arrays that a tensor can hold; text and objects go into the JSON.
_NUMERIC_KINDS = "biuf"


def encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    r"""Return a value as JSON; its arrays of numbers are added to ``tensors``.

    Raises
    ------
    TypeError
        If it is, or holds, something that is not data.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if kind is list:
        return [encode(element, tensors) for element in value]
    if kind is tuple:
        return {"tuple": [encode(element, tensors) for element in value]}
    if kind is set:
        return {"set": [encode(element, tensors) for element in value]}
    if kind is dict:
        items = [[encode(x, tensors) for x in item] for item in value.items()]
        return {"dict": items}
    if isinstance(value, np.generic):
        return {"scalar": encode(np.asarray(value), tensors)}
    if kind is np.ndarray:
        return _encode_array(value, tensors)
    if isinstance(value, Tensor):
        return {"tensor": _add(value, tensors)}
    if kind is TableEncoder:
        return {"encoder": encode(value.to_arrays(), tensors)}
    raise TypeError(f"{kind.__module__}.{kind.__qualname__}")


def decode(encoded: Any, tensors: dict[str, Tensor]) -> Any:
    r"""Return the value that :func:`encode` was given."""
    if isinstance(encoded, list):
        return [decode(element, tensors) for element in encoded]
    if not isinstance(encoded, dict):
        return encoded
    [(kind, content)] = encoded.items()
    return _DECODERS[kind](content, tensors)


def _encode_array(array: NDArray[Any], tensors: dict[str, Tensor]) -> dict[str, Any]:
    dtype = array.dtype
    if dtype.kind in _NUMERIC_KINDS:
        native = np.array(array, dtype=dtype.newbyteorder("="), order="C")
        return {"array": _add(torch.from_numpy(native), tensors)}
    if dtype.kind not in "UO":
        raise TypeError(f"numpy.ndarray of dtype {dtype}")
    elements = [encode(element, tensors) for element in array.ravel().tolist()]
    return {"objects": [dtype.str, list(array.shape), elements]}


def _add(tensor: Tensor, tensors: dict[str, Tensor]) -> str:
    name = f"array.{len(tensors)}"
    tensors[name] = to_be_stored(tensor)
    return name


def _decode_objects(content: Any, tensors: dict[str, Tensor]) -> NDArray[Any]:
    dtype, shape, elements = content
    array = np.empty(len(elements), dtype=dtype)
    # One by one, or NumPy would make an axis of elements that are sequences.
    for index, element in enumerate(elements):
        array[index] = decode(element, tensors)
    return array.reshape(shape)


_DECODERS: dict[str, Callable[[Any, dict[str, Tensor]], Any]] = {
    "float": lambda text, _: float(text),
    "tuple": lambda elements, tensors: tuple(decode(elements, tensors)),
    "set": lambda elements, tensors: set(decode(elements, tensors)),
    "dict": lambda items, tensors: dict(decode(items, tensors)),
    "scalar": lambda array, tensors: decode(array, tensors)[()],
    "array": lambda name, tensors: tensors[name].numpy().copy(),
    "tensor": lambda name, tensors: tensors[name],
    "objects": _decode_objects,
    "encoder": lambda arrays, tensors: TableEncoder.from_arrays(
        decode(arrays, tensors)
    ),
}
