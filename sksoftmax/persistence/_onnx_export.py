r"""A user's module in an ONNX graph: layer by layer, or by PyTorch's own exporter."""

from __future__ import annotations

import copy
import io
import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .._utils.compat import has_forward_hooks
from ._onnx_graph import FLOAT32, Graph, Value
from ._onnx_layers import add_module

# Names of the input and the output of an exported module. The names of all other values
# have a slash, a dot or a colon, which skl2onnx's names do not have.
_ROWS, _LOGITS = "exported/rows", "exported/logits"

# A node that stands for an exported graph until skl2onnx has put the model together: it
# does not know optional inputs, nor graphs within nodes.
_KIND, _DOMAIN = "Exported", "sksoftmax"

# Characters of the exporter's message, which can be as long as a program.
_SHOWN_CHARACTERS = 300


class _Nowhere:
    r"""A scope and a container of skl2onnx that keep nothing: for a trial."""

    def get_unique_variable_name(self, name: str) -> str:
        r"""Return the name."""
        return name

    def get_unique_operator_name(self, name: str) -> str:
        r"""Return the name."""
        return name

    def add_node(self, *args: Any, **attributes: Any) -> None:
        r"""Drop a node."""

    def add_initializer(self, *args: Any) -> None:
        r"""Drop a constant."""


def add_user_module(
    module: nn.Module, x: Value, row_shape: tuple[int, ...], opset: int
) -> Value:
    r"""Add the nodes of a user's module; return its logits.

    Parameters
    ----------
    module : nn.Module
        The module. One with hooks is exported by PyTorch.
    x : Value
        Rows, of the dtype that the module takes.
    row_shape : tuple of int
        Shape of a row.
    opset : int
        Version of ONNX's operators.

    Raises
    ------
    ValueError
        If there is neither a conversion for a layer nor an export of the module.
    """
    reason = "It has hooks, which layers do not show."
    if not has_forward_hooks(module):
        nowhere = _Nowhere()
        try:
            add_module(module, Value(Graph(nowhere, nowhere), x.name, x.dtype))
        except ValueError as error:
            reason = str(error)
        else:
            return add_module(module, x)
    try:
        exported = _exported(module, _zeros(x.dtype, row_shape), opset)
    except Exception as error:
        message = str(error).strip()[:_SHOWN_CHARACTERS]
        raise ValueError(
            f"{reason} torch.onnx.export failed as well ({type(error).__name__}: "
            f"{message})."
        ) from error
    return x.graph.add(
        _KIND,
        [x],
        FLOAT32,
        op_domain=_DOMAIN,
        op_version=1,
        graph=exported.graph.SerializeToString(),
    )


def expand_exported(onnx_model: Any, opset: int) -> None:
    r"""Replace the node that stands for an exported graph, if there is one.

    ``opset`` is the version of ONNX's operators that the graph was exported for.
    """
    graph = onnx_model.graph
    found = [i for i, node in enumerate(graph.node) if node.domain == _DOMAIN]
    if not found:
        return
    [index] = found
    node = graph.node[index]
    exported = onnx.GraphProto()
    exported.ParseFromString(onnx.helper.get_attribute_value(node.attribute[0]))
    rows = onnx.helper.make_node("Identity", [node.input[0]], [_ROWS])
    logits = onnx.helper.make_node("Identity", [_LOGITS], [node.output[0]])
    nodes = [*graph.node[:index], rows, *exported.node, logits]
    nodes += graph.node[index + 1 :]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(exported.initializer)
    imports = [entry for entry in onnx_model.opset_import if entry.domain != _DOMAIN]
    del onnx_model.opset_import[:]
    onnx_model.opset_import.extend(imports)
    # skl2onnx imports the lowest version that its own nodes need.
    for entry in onnx_model.opset_import:
        if not entry.domain:
            entry.version = opset


class _Exported(nn.Module):
    r"""A module within another, so that all names begin with ``exported``."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.exported = module

    def forward(self, rows: Tensor) -> Tensor:
        logits: Tensor = self.exported(rows)
        return logits


class _PaddedBag(nn.Module):
    r"""A bag of embeddings without the padding, which the exporter cannot leave out."""

    def __init__(self, bag: nn.EmbeddingBag, padding_idx: int) -> None:
        super().__init__()
        self.bag = bag
        self.padding_idx = padding_idx

    def forward(self, tokens: Tensor) -> Tensor:
        # (B, L) -> (B, L, D) -> (B, D), L tokens
        embedded = nn.functional.embedding(tokens, self.bag.weight)
        is_token: Tensor = torch.ne(tokens, self.padding_idx).unsqueeze(-1)
        if self.bag.mode == "max":
            largest = embedded.masked_fill(~is_token, -torch.inf).amax(1)
            return torch.where(is_token.any(1), largest, 0.0)
        total = (embedded * is_token).sum(1)
        if self.bag.mode == "sum":
            return total
        return total / is_token.sum(1).clamp(min=1)


def _with_padded_bags(module: nn.Module) -> nn.Module:
    r"""Replace the bags of embeddings with padding in a module."""
    for name, child in list(module.named_modules()):
        if isinstance(child, nn.EmbeddingBag) and child.padding_idx is not None:
            module.set_submodule(name, _PaddedBag(child, child.padding_idx))
    return module


def _zeros(dtype: np.dtype[Any], row_shape: tuple[int, ...]) -> Tensor:
    rows: NDArray[Any] = np.zeros((2, *row_shape), dtype)
    return torch.from_numpy(rows)


def _exported(module: nn.Module, rows: Tensor, opset: int) -> Any:
    r"""Return the ONNX model of a module, for any number of rows."""
    # A copy: the exporter changes the mode of a module.
    module = _with_padded_bags(_Exported(copy.deepcopy(module).cpu())).eval()
    options: dict[str, Any] = {
        "input_names": [_ROWS],
        "output_names": [_LOGITS],
        "opset_version": opset,
    }
    file: Any = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter that traces a call is deprecated; the other one needs onnxscript.
        warnings.simplefilter("ignore")
        try:
            axes = {_ROWS: {0: "n_rows"}, _LOGITS: {0: "n_rows"}}
            torch.onnx.export(
                module, (rows,), file, dynamo=False, dynamic_axes=axes, **options
            )
        except Exception:
            if find_spec("onnxscript") is None:
                raise
            n_rows = torch.export.Dim("n_rows", min=1)
            program: Any = torch.onnx.export(
                module, (rows,), dynamo=True, dynamic_shapes=({0: n_rows},), **options
            )
            return program.model_proto
    return onnx.load_from_string(file.getvalue())
