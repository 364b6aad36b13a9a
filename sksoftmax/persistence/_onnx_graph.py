r"""ONNX graphs, written as arithmetic with their intermediate results."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partialmethod
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import Tensor

BOOL = np.dtype(np.bool_)
FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
INT64 = np.dtype(np.int64)
TEXT = np.dtype(np.str_)

# Inputs of a node: a result, or the content of a constant.
Operand: TypeAlias = "Value | Tensor | NDArray[Any] | float"

# Dtypes of results that differ from the dtype of the node's first input.
_RESULT_DTYPES = {
    "ArgMax": INT64,
    "Equal": BOOL,
    "Greater": BOOL,
    "IsNaN": BOOL,
    "Less": BOOL,
}


class Graph:
    r"""A graph within a conversion by skl2onnx."""

    def __init__(self, scope: Any, container: Any) -> None:
        self._scope = scope
        self._container = container

    def add(
        self,
        kind: str,
        inputs: list[Value],
        dtype: np.dtype[Any],
        name: str | None = None,
        **attributes: Any,
    ) -> Value:
        r"""Add a node; return its result, which has the given dtype and name."""
        name = name or self._scope.get_unique_variable_name(kind.lower())
        self._container.add_node(
            kind,
            [value.name for value in inputs],
            [name],
            name=self._scope.get_unique_operator_name(kind),
            **attributes,
        )
        return Value(self, name, dtype)

    def constant(self, content: Any, dtype: np.dtype[Any] | None = None) -> Value:
        r"""Add a number, an array or a tensor as a constant."""
        if isinstance(content, Tensor):
            content = content.detach().cpu()
        array = np.asarray(content, dtype)
        name = self._scope.get_unique_variable_name("constant")
        tensor: Any
        if array.dtype.kind == "U":
            tensor, code = array.ravel().tolist(), int(onnx.TensorProto.STRING)
        else:
            tensor = onnx.numpy_helper.from_array(array)
            code = tensor.data_type
        self._container.add_initializer(name, code, array.shape, tensor)
        return Value(self, name, array.dtype)


@dataclass(frozen=True)
class Value:
    r"""A result in a graph. Arithmetic with it adds nodes to the graph."""

    graph: Graph
    name: str
    dtype: np.dtype[Any]

    def node(
        self,
        kind: str,
        *inputs: Value | Tensor | NDArray[Any],
        dtype: np.dtype[Any] | None = None,
        **attributes: Any,
    ) -> Value:
        r"""Add a node with this value as its first input.

        Its result has the given dtype, or the one that belongs to such a node.
        """
        values = [
            value if isinstance(value, Value) else self.graph.constant(value)
            for value in inputs
        ]
        dtype = dtype or _RESULT_DTYPES.get(kind, self.dtype)
        return self.graph.add(kind, [self, *values], dtype, **attributes)

    def binary(self, kind: str, other: Operand) -> Value:
        r"""Add a node of two inputs; a constant gets the dtype of this value."""
        if not isinstance(other, Value):
            other = self.graph.constant(other, self.dtype)
        return self.node(kind, other)

    __add__ = partialmethod(binary, "Add")
    __sub__ = partialmethod(binary, "Sub")
    __mul__ = partialmethod(binary, "Mul")
    __truediv__ = partialmethod(binary, "Div")
    __matmul__ = partialmethod(binary, "MatMul")

    def cast(self, dtype: np.dtype[Any]) -> Value:
        r"""Convert the values, unless they have the dtype."""
        if self.dtype == dtype:
            return self
        code = onnx.helper.np_dtype_to_tensor_dtype(dtype)
        return self.node("Cast", dtype=dtype, to=code)

    def cast_like(self, tensor: Tensor) -> Value:
        r"""Convert the values to the dtype of a tensor."""
        return self.cast(tensor.detach().cpu().numpy().dtype)

    def replace(self, mask: Value | Tensor, other: Operand) -> Value:
        r"""Add ``other`` in the place of the values where ``mask`` is true."""
        if not isinstance(mask, Value):
            mask = self.graph.constant(mask)
        if not isinstance(other, Value):
            other = self.graph.constant(other, self.dtype)
        return mask.node("Where", other, self, dtype=self.dtype)
