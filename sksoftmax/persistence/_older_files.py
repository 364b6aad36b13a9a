r"""Files of version 0.1.0: another average, and order of inputs and members."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Name of the tensors of the first layer, and of its inputs.
_FIRST = "module.hidden.0."
_INPUTS = "module.input_scaling."

# Name of the tensors of the last layers.
_AVERAGE = "module.average.temperature"
_TEMPERATURE = "module.temperature.value"

# Attribute of version 0.1.0: True if only every other member had the bins.
_ALTERNATE = "_alternate_bins"


def upgraded(
    document: dict[str, Any], tensors: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    r"""Return a document and its tensors in the form of this version.

    In version 0.1.0 the probabilities of members were averaged at a temperature of 1.
    The bins followed the numbers, and the members with bins alternated with those
    without. Now the bins come last, and the members with bins first. Bins had no
    learned vectors.
    """
    is_ensemble = document["parameters"].get("n_estimators", 1) > 1
    if is_ensemble and _TEMPERATURE in tensors and _AVERAGE not in tensors:
        tensors = tensors | {_AVERAGE: torch.ones(())}
    attributes = dict(document["attributes"])
    if _ALTERNATE not in attributes:
        return document, tensors
    half_with_bins = bool(attributes.pop(_ALTERNATE))
    attributes["_half_with_bins"] = half_with_bins
    parameters = document["parameters"] | {"embedding_size": None}
    document = document | {"attributes": attributes, "parameters": parameters}
    tensors = dict(tensors)
    bins = tensors.get(_INPUTS + "pieces.column")
    if bins is None or _FIRST + "weight" not in tensors:
        return document, tensors
    n_members = int(parameters["n_estimators"])
    _put_bins_last(tensors, len(tensors[_INPUTS + "numeric"]), len(bins))
    if n_members > 1:
        order = torch.arange(n_members)
        if half_with_bins:
            order = torch.cat([order[::2], order[1::2]])
        n_with_bins = len(order[::2]) if half_with_bins else n_members
        _put_members_with_bins_first(tensors, order)
        _separate_bins(tensors, n_with_bins, len(bins))
    return document, tensors


def _put_bins_last(tensors: dict[str, Tensor], n_numbers: int, n_bins: int) -> None:
    weight = tensors[_FIRST + "weight"]
    # (H, D) of a single net, (D, H) of shared parameters, (K, D, H) of members
    is_single = weight.ndim == 2 and _FIRST + "input_scale" not in tensors
    axis = 1 if is_single else weight.ndim - 2
    order = torch.arange(weight.shape[axis])
    parts = order.tensor_split([n_numbers, n_numbers + n_bins])
    order = torch.cat([parts[0], parts[2], parts[1]])
    tensors[_FIRST + "weight"] = weight.index_select(axis, order)
    scale = tensors.get(_FIRST + "input_scale")
    if scale is not None:
        # (K, 1, D)
        tensors[_FIRST + "input_scale"] = scale.index_select(2, order)


def _put_members_with_bins_first(tensors: dict[str, Tensor], order: Tensor) -> None:
    for name, tensor in tensors.items():
        if name.startswith(("module.hidden.", "module.output.")) and tensor.ndim == 3:
            tensors[name] = tensor[order]
        elif name.startswith(_INPUTS + "embeddings."):
            # (1 + cardinality, K * E)
            parts = tensor.reshape(len(tensor), len(order), -1)
            tensors[name] = parts[:, order].flatten(1)


def _separate_bins(tensors: dict[str, Tensor], n_with_bins: int, n_bins: int) -> None:
    scale = tensors.get(_FIRST + "input_scale")
    if scale is not None:
        # All members share the parameters of the bins.
        scale[n_with_bins:, :, -n_bins:] = 0
        return
    weight = tensors[_FIRST + "weight"]
    tensors[_FIRST + "weight"] = weight[:, :-n_bins].contiguous()
    tensors[_FIRST + "bin_weight"] = weight[:n_with_bins, -n_bins:].contiguous()
