r"""Pictures of fitted classifiers, in the manner of scikit-learn's displays.

They draw with matplotlib (``pip install "sksoftmax[plot]"``), into any ``ax``.
"""

from ._predictions_display import PredictionsDisplay
from ._reliability_display import ReliabilityDisplay
from ._training_display import TrainingCurveDisplay
from ._weights_display import WeightsDisplay

__all__ = [
    "PredictionsDisplay",
    "ReliabilityDisplay",
    "TrainingCurveDisplay",
    "WeightsDisplay",
]
