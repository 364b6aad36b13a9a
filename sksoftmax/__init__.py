r"""PyTorch softmax classifiers with the manners of scikit-learn's own estimators."""

from . import datasets, inspection, modules, persistence
from ._cnn import SoftmaxCNNClassifier
from ._custom import SoftmaxNetClassifier
from ._linear import SoftmaxRegression
from ._linear_cv import SoftmaxRegressionCV
from ._mlp import SoftmaxMLPClassifier
from ._neighbors import NeighborsEncoder
from ._search import SoftmaxGridSearchCV

__version__ = "0.1.0"

__all__ = [
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
