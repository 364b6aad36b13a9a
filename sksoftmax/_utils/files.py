r"""Files of tensors and a JSON document: safetensors with a checksum."""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from .arrays import to_be_stored

# Types that JSON has. A value of another type is an object with one entry: its kind.
_PLAIN = (type(None), bool, int, str)
# Kinds of arrays that become tensors; text and objects become JSON.
_NUMERIC_KINDS = "biuf"


def encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    r"""Return a value as JSON, and add its arrays of numbers to ``tensors``.

    Raises
    ------
    TypeError
        If the value is, or contains, an object of any other type.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if kind is list:
        return [encode(element, tensors) for element in value]
    if kind in (tuple, set):
        return {kind.__name__: [encode(element, tensors) for element in value]}
    if kind is dict:
        items = [[encode(x, tensors) for x in item] for item in value.items()]
        return {"dict": items}
    if isinstance(value, np.generic):
        return {"scalar": encode(np.asarray(value), tensors)}
    if kind is np.ndarray:
        return _encode_array(value, tensors)
    if isinstance(value, Tensor):
        return {"tensor": _add(value, tensors)}
    name = getattr(value, "__name__", None)
    if name is not None and _optimizer(name) is value:
        return {"optimizer": name}
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


def _optimizer(name: str) -> type[torch.optim.Optimizer] | None:
    r"""Return the class of ``torch.optim`` of that name, None without one."""
    found = getattr(torch.optim, name, None)
    is_optimizer = isinstance(found, type) and issubclass(found, torch.optim.Optimizer)
    return found if is_optimizer else None


def _decode_optimizer(name: str, _: Any) -> type[torch.optim.Optimizer]:
    found = _optimizer(name)
    if found is None:
        raise ValueError(f"torch.optim has no {name!r}")
    return found


def _decode_objects(content: Any, tensors: dict[str, Tensor]) -> NDArray[Any]:
    dtype, shape, elements = content
    array = np.empty(len(elements), dtype=dtype)
    # An assignment of all elements would make an axis of elements that are sequences.
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
    "optimizer": _decode_optimizer,
}


_FORMAT = "sksoftmax"

# Versions that can be read. The last one is written.
_FORMAT_VERSIONS = ("1",)


class InvalidFileError(ValueError):
    r"""A file that :func:`load` cannot read, or does not trust.

    Examples
    --------
    >>> from sksoftmax.persistence import InvalidFileError
    >>> issubclass(InvalidFileError, ValueError)
    True
    """

    __module__ = "sksoftmax.persistence"


def write_document(
    path: Path,
    document: dict[str, Any],
    tensors: dict[str, Tensor],
    kind: str = _FORMAT,
) -> None:
    r"""Write a document and its tensors into one file."""
    text = json.dumps(document)
    metadata = {
        "format": kind,
        "format_version": _FORMAT_VERSIONS[-1],
        "document": text,
        "sha256": _digest(text, tensors),
    }
    write_whole(path, safetensors.torch.save(tensors, metadata))


def read_document(
    path: Path, kind: str = _FORMAT
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    r"""Return the document and the tensors of a file, after a check of its digest."""
    contents = path.read_bytes()
    expected = f"expected one of format version {', '.join(_FORMAT_VERSIONS)}"
    try:
        tensors = safetensors.torch.load(contents)
        with safetensors.safe_open(path, "pt") as file:
            header = file.metadata() or {}
    except (safetensors.SafetensorError, ValueError, KeyError, RecursionError) as error:
        raise InvalidFileError(
            f"Got {path}, which is no file that save wrote, or not all of it "
            f"({error}), but {expected}. Save the classifier again with "
            "sksoftmax.persistence.save; load reads neither pickles nor skops files."
        ) from error
    if header.get("format") != kind:
        raise InvalidFileError(
            f"Got {path}, which has tensors but is no file that save wrote, but "
            f"{expected}. Load such weights with safetensors.torch.load_file."
        )
    version = header.get("format_version")
    if version not in _FORMAT_VERSIONS:
        raise InvalidFileError(
            f"Got {path} of format version {version!r}, but {expected}. Install a "
            "newer sksoftmax."
        )
    document = header.get("document")
    if not isinstance(document, str) or header.get("sha256") != _digest(
        document, tensors
    ):
        raise InvalidFileError(
            f"Got {path}, whose contents do not match its checksum, but {expected} as "
            "it was saved. It was damaged or changed: get another copy."
        )
    return _parse(path, document), tensors


def write_whole(path: Path, contents: bytes) -> None:
    r"""Write a file as a whole, or leave the old one: never a part of it."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with partial.open("xb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _digest(document: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(document.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
        if not isinstance(document, dict):
            raise ValueError(f"it is a {type(document).__name__}")
    except (ValueError, RecursionError) as error:
        raise InvalidFileError(
            f"Got {path}, whose document cannot be used ({error}), but expected the "
            "JSON that save writes. Save the classifier again."
        ) from error
    return document
