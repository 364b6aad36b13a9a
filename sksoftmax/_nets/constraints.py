r"""Values that the parameters of the nets may have."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from .._classifier.base import BaseSoftmaxClassifier
from .._training.optimizers import OPTIMIZERS
from .._utils.compat import Interval, StrOptions
from ..modules._layers import ACTIVATIONS

# Versions of the values of "auto", the latest one last.
VERSIONS = ("0.1", "0.2")
LATEST = VERSIONS[-1]


def version_of(defaults: str) -> str:
    r"""Return the version that a value of the parameter ``defaults`` stands for."""
    return LATEST if defaults == "latest" else defaults


_NETS: dict[str, list[Any]] = {
    **BaseSoftmaxClassifier._parameter_constraints,
    "defaults": [StrOptions({"latest", *VERSIONS})],
}

# SoftmaxMLPClassifier.
MLP_CONSTRAINTS: dict[str, list[Any]] = {
    **_NETS,
    # "auto" or sizes as text, "128-64".
    "hidden_layer_sizes": [
        str,
        Interval(Integral, 1, None, closed="left"),
        "array-like",
    ],
    "activation": [StrOptions(set(ACTIVATIONS))],
    "normalization": [StrOptions({"auto", "batch", "layer"}), None],
    "dropout": [Interval(Real, 0, 1, closed="left")],
    "input_dropout": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="left")],
    "input_scaling": [StrOptions({"smooth", "standard"}), None],
    "n_bins": [
        StrOptions({"auto"}),
        Interval(Integral, 2, None, closed="left"),
        "array-like",
        None,
    ],
    "embedding_size": [
        StrOptions({"auto"}),
        Interval(Integral, 1, None, closed="left"),
        None,
    ],
    "learning_rate": [
        StrOptions({"auto"}),
        Interval(Real, 0, None, closed="neither"),
    ],
    "weight_decay": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
    "n_estimators": [Interval(Integral, 1, None, closed="left")],
    "share_weights": ["boolean"],
    "early_stopping": ["boolean", StrOptions({"auto"})],
    "temperature_scaling": ["boolean", StrOptions({"auto"})],
    "categorical_features": [StrOptions({"from_dtype"}), "array-like", None],
}

# SoftmaxCNNClassifier.
CNN_CONSTRAINTS: dict[str, list[Any]] = {
    **_NETS,
    "image_shape": ["array-like", None],
    "channels_last": ["boolean", StrOptions({"auto"})],
    "channels": [str, "array-like"],
    "convolutions_per_block": [Interval(Integral, 1, None, closed="left")],
    "kernel_size": [
        str,
        Interval(Integral, 1, None, closed="left"),
        "array-like",
    ],
    "padding": [StrOptions({"same", "valid"})],
    "pool_size": [Interval(Integral, 1, None, closed="left")],
    "global_pooling": [StrOptions({"max", "average"}), None],
    "hidden_layer_sizes": [
        str,
        Interval(Integral, 1, None, closed="left"),
        "array-like",
    ],
    "activation": [StrOptions(set(ACTIVATIONS))],
    "normalization": [StrOptions({"batch"}), None],
    "dropout": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="left")],
    "input_scaling": [StrOptions({"standard"}), None],
    "augmentation": [
        StrOptions({"auto", "shift", "shift_flip", "warp"}),
        callable,
        None,
    ],
    "test_time_augmentation": ["boolean", StrOptions({"auto"})],
    "data_pruning": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="left")],
    "n_estimators": [Interval(Integral, 1, None, closed="left")],
    "temperature_scaling": ["boolean"],
}

# SoftmaxNetClassifier.
NET_CONSTRAINTS: dict[str, list[Any]] = {
    **_NETS,
    "module": [callable],
    "module_params": [dict, None],
    "image_shape": ["array-like", None],
    "channels_last": ["boolean", StrOptions({"auto"})],
    "augmentation": [
        StrOptions({"shift", "shift_flip", "warp"}),
        callable,
        None,
    ],
    "inputs": [dict, None],
    "output": [StrOptions({"logits", "log_proba"})],
    "optimizer": [StrOptions(set(OPTIMIZERS)), type],
    "optimizer_params": [dict, None],
    "learning_rate": [Interval(Real, 0, None, closed="neither"), dict],
    "frozen": [str, list, tuple, None],
    "unfreeze_after": [Interval(Integral, 1, None, closed="left"), None],
    "gradient_clipping": [Interval(Real, 0, None, closed="neither"), None],
}
