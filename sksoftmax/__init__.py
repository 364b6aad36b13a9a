r"""PyTorch softmax classifiers with the manners of scikit-learn's own estimators."""

from ._encoders.neighbors import NeighborsEncoder
from ._linear.grid_search import SoftmaxGridSearchCV
from ._linear.regression import SoftmaxRegression
from ._linear.regression_cv import SoftmaxRegressionCV
from ._nets.cnn import SoftmaxCNNClassifier
from ._nets.mlp import SoftmaxMLPClassifier
from ._nets.net import SoftmaxNetClassifier
from .datasets import _otto as datasets
from .persistence import _save as persistence

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
