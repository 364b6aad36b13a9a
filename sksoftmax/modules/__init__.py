r"""The ``nn.Module`` s behind the estimators.

They take a batch of rows and return logits, so they fit a plain PyTorch loop with
:class:`torch.nn.CrossEntropyLoss` or a bare skorch net as well as the estimators.
"""

from ._augmentation import RandomShift, RandomWarp
from ._cnn import SoftmaxCNN
from ._layers import Dropout, Temperature
from ._linear import SoftmaxLinear
from ._mlp import SoftmaxMLP
from ._piecewise import PiecewiseLinear
from ._scaling import InputScaling
from ._table_input import TableInput

__all__ = [
    "Dropout",
    "InputScaling",
    "PiecewiseLinear",
    "RandomShift",
    "RandomWarp",
    "SoftmaxCNN",
    "SoftmaxLinear",
    "SoftmaxMLP",
    "TableInput",
    "Temperature",
]
