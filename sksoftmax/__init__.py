r"""PyTorch softmax classifiers with the manners of scikit-learn's own estimators."""

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
