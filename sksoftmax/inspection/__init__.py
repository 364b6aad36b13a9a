r"""Plots of fitted classifiers, as displays like scikit-learn's.

They draw with matplotlib (``pip install matplotlib``), in any ``ax``.
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
