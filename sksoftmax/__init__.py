r"""PyTorch softmax classifiers with the manners of scikit-learn's own estimators."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import datasets, inspection, modules, persistence
    from ._encoders.images import ImageReader
    from ._encoders.neighbors import NeighborsEncoder
    from ._linear.grid_search import SoftmaxGridSearchCV
    from ._linear.regression import SoftmaxRegression
    from ._linear.regression_cv import SoftmaxRegressionCV
    from ._nets.cnn import SoftmaxCNNClassifier
    from ._nets.mlp import SoftmaxMLPClassifier
    from ._nets.net import SoftmaxNetClassifier
    from ._utils.compat import __version__

__all__ = [
    "ImageReader",
    "NeighborsEncoder",
    "SoftmaxCNNClassifier",
    "SoftmaxGridSearchCV",
    "SoftmaxMLPClassifier",
    "SoftmaxNetClassifier",
    "SoftmaxRegression",
    "SoftmaxRegressionCV",
    "__version__",
    "datasets",
    "inspection",
    "modules",
    "persistence",
]

# Modules of the names. They are imported at first use: with the parts of scikit-learn,
# skorch and Pillow that they need, they take as long as a fifth of PyTorch.
_MODULES = {
    "ImageReader": "._encoders.images",
    "NeighborsEncoder": "._encoders.neighbors",
    "SoftmaxCNNClassifier": "._nets.cnn",
    "SoftmaxGridSearchCV": "._linear.grid_search",
    "SoftmaxMLPClassifier": "._nets.mlp",
    "SoftmaxNetClassifier": "._nets.net",
    "SoftmaxRegression": "._linear.regression",
    "SoftmaxRegressionCV": "._linear.regression_cv",
    "__version__": "._utils.compat",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value = getattr(import_module(_MODULES[name], __name__), name)
    elif name in __all__:
        value = import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
