r"""
The pictures of the README
==========================

Four displays of scikit-learn's digits, each in a file. Needs
``pip install matplotlib``; ``python examples/readme_pictures.py docs/pictures``
draws them.
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

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
folder.mkdir(parents=True, exist_ok=True)


def write(name, draw, size):
    r"""Draw into a figure of a size in inches, and write it."""
    figure = plt.figure(figsize=size, layout="constrained")
    draw(figure.add_subplot())
    figure.savefig(folder / f"{name}.png", dpi=100)
    plt.close(figure)


# %%
# Weights of each digit
# ---------------------
write(
    "weights",
    lambda ax: WeightsDisplay.from_estimator(regression, ax=ax, n_columns=5),
    (6, 3),
)

# %%
# The most confident mistakes
# ---------------------------
write(
    "mistakes",
    lambda ax: PredictionsDisplay.from_estimator(
        mlp, X_test, y_test, ax=ax, n_images=10, n_columns=5
    ),
    (6, 3),
)

# %%
# Training curve, and reliability of the probabilities
# ----------------------------------------------------
write("training", lambda ax: TrainingCurveDisplay.from_estimator(mlp, ax=ax), (6, 3.6))


def draw_reliability(ax):
    for model, name in [
        (mlp, "SoftmaxMLPClassifier"),
        (regression, "SoftmaxRegression(C=0.1)"),
    ]:
        ReliabilityDisplay.from_estimator(
            model, X_test, y_test, ax=ax, name=name, histogram=False, n_bins=6
        )


write("reliability", draw_reliability, (6, 3.6))
print(*sorted(path.name for path in folder.glob("*.png")))
