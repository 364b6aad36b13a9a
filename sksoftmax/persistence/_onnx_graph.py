r"""An ONNX graph that nodes are added to, within a conversion by skl2onnx.

The only file, with ``_onnx``, that imports onnx.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray


@dataclass(frozen=True)
class Value:
    r"""An intermediate result: its name in the graph and its dtype."""

    name: str
    dtype: np.dtype[Any]


class Graph:
    r"""What nodes are added to, within a conversion by skl2onnx."""

    def __init__(self, scope: Any, container: Any) -> None:
        self._scope = scope
        self._container = container

    def add(
        self,
        kind: str,
        *inputs: Value | NDArray[Any] | float,
        dtype: np.dtype[Any] | None = None,
        domain: str = "",
        **attributes: Any,
    ) -> Value:
        r"""Add a node; its result has the dtype of the first input if not told.

        Numbers among the inputs become constants of that dtype.
        """
        first = inputs[0].dtype  # type: ignore[union-attr]
        values = [self._as_value(one, first) for one in inputs]
        name = self._scope.get_unique_variable_name(kind.lower())
        self._container.add_node(
            kind,
            [value.name for value in values],
            [name],
            op_domain=domain,
            name=self._scope.get_unique_operator_name(kind),
            **attributes,
        )
        return Value(name, first if dtype is None else dtype)

    def cast(self, x: Value, dtype: np.dtype[Any]) -> Value:
        r"""Convert a value, if it has to be."""
        if x.dtype == dtype:
            return x
        code = onnx.helper.np_dtype_to_tensor_dtype(dtype)
        return self.add("Cast", x, dtype=dtype, to=code)

    def name_as(self, x: Value, name: str) -> None:
        r"""Let an output of the conversion be a value."""
        self._container.add_node(
            "Identity",
            [x.name],
            [name],
            name=self._scope.get_unique_operator_name("Identity"),
        )

    def _as_value(
        self, value: Value | NDArray[Any] | float, dtype: np.dtype[Any]
    ) -> Value:
        if isinstance(value, Value):
            return value
        array = np.asarray(value)
        if not isinstance(value, np.ndarray):
            array = array.astype(dtype)
        name = self._scope.get_unique_variable_name("constant")
        content: Any
        if array.dtype.kind == "U":
            content, code = array.ravel().tolist(), int(onnx.TensorProto.STRING)
        else:
            content = onnx.numpy_helper.from_array(array)
            code = content.data_type
        self._container.add_initializer(name, code, array.shape, content)
        return Value(name, array.dtype)
