r"""
Displays in one figure
======================

The picture of the README: four displays of scikit-learn's digits. Needs ``pip install
matplotlib``; ``python examples/readme_pictures.py docs/pictures`` draws it.
"""

# %%
# Two classifiers of digits
# -------------------------
import sys
from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from sksoftmax import SoftmaxMLPClassifier, SoftmaxRegression
from sksoftmax.inspection import (
    PredictionsDisplay,
    ReliabilityDisplay,
    TrainingCurveDisplay,
    WeightsDisplay,
)

X_train, X_test, y_train, y_test = train_test_split(
    *load_digits(return_X_y=True), test_size=0.3, random_state=0
)
regression = make_pipeline(MinMaxScaler(), SoftmaxRegression(C=0.1))
regression.fit(X_train, y_train)
mlp = SoftmaxMLPClassifier(
    (64,), n_estimators=1, max_epochs=30, early_stopping=True, random_state=0
).fit(X_train, y_train)

# %%
# One figure
# ----------
# The weights of each digit, the most confident mistakes, the training curve, and the
# reliability of the probabilities. Displays draw in any axes.
figure, axes = plt.subplots(2, 2, figsize=(11, 6.4), layout="constrained")
figure.get_layout_engine().set(wspace=0.06, hspace=0.06, rect=(0, 0, 1, 0.96))
WeightsDisplay.from_estimator(regression, ax=axes[0, 0], n_columns=5)
PredictionsDisplay.from_estimator(
    mlp, X_test, y_test, ax=axes[0, 1], n_images=10, n_columns=5
)
TrainingCurveDisplay.from_estimator(mlp, ax=axes[1, 0])
for model, name in [
    (mlp, "SoftmaxMLPClassifier"),
    (regression, "SoftmaxRegression(C=0.1)"),
]:
    ReliabilityDisplay.from_estimator(
        model, X_test, y_test, ax=axes[1, 1], name=name, histogram=False, n_bins=4
    )

# %%
# The file
# --------
folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "displays.png", dpi=100)
plt.close(figure)
print("displays.png")
