r"""The ``nn.Module`` s behind the estimators.

They take a batch of rows and return logits, so they fit a plain PyTorch loop with
:class:`torch.nn.CrossEntropyLoss` or a bare skorch net as well as the estimators.
"""

from ._augmentation import RandomShift, RandomWarp
from ._convolutions import SoftmaxCNN
from ._inputs import TableInput
from ._layers import Dropout, InputScaling, Temperature
from ._perceptrons import SoftmaxLinear, SoftmaxMLP
from ._piecewise import PiecewiseLinear

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
