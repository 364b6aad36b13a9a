r"""Pictures of fitted classifiers, in the manner of scikit-learn's displays.

They draw with matplotlib (``pip install "sksoftmax[plot]"``), into any ``ax``.
"""

from ._predictions import PredictionsDisplay
from ._reliability import ReliabilityDisplay
from ._training_curve import TrainingCurveDisplay
from ._weights import WeightsDisplay

__all__ = [
    "PredictionsDisplay",
    "ReliabilityDisplay",
    "TrainingCurveDisplay",
    "WeightsDisplay",
]
