r"""
Pictures of a classifier
========================

Four displays in the manner of scikit-learn's own: the training curve, the weights of
each class, the most confident mistakes, and the reliability of the probabilities. The
data are scikit-learn's digits and wines. They need matplotlib
(``pip install matplotlib``).
"""

# %%
# Training curve
# --------------
# The multi-layer perceptron holds out a tenth of the images for validation. The
# training loss still falls when the validation loss no longer does. The parameters of
# the best epoch are kept.
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits, load_wine
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from sksoftmax import SoftmaxMLPClassifier, SoftmaxRegression
from sksoftmax.inspection import (
    PredictionsDisplay,
    ReliabilityDisplay,
    TrainingCurveDisplay,
    WeightsDisplay,
)

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.3, stratify=y, random_state=0
)
mlp = SoftmaxMLPClassifier(
    hidden_layer_sizes=(64,),
    n_estimators=1,
    max_epochs=30,
    early_stopping=True,
    random_state=0,
).fit(X_train, y_train)
curve = TrainingCurveDisplay.from_estimator(mlp)
print(f"best epoch: {curve.best_epoch_} of {mlp.n_iter_}")
plt.show()

# %%
# The weights of a softmax regression
# -----------------------------------
# Ink on a red pixel raises the score of the digit, ink on a blue pixel lowers it. A
# zero has no ink in its middle.
regression = make_pipeline(MinMaxScaler(), SoftmaxRegression(C=0.1))
WeightsDisplay.from_estimator(regression.fit(X_train, y_train))
plt.show()

# %%
# Named features are drawn as bars, the largest weights first. After a scaler, a weight
# is per standard deviation of its feature, so that weights can be compared.
wines = load_wine(as_frame=True)
wine_model = make_pipeline(StandardScaler(), SoftmaxRegression())
wine_model.fit(wines.data, wines.target_names[wines.target])
bars = WeightsDisplay.from_estimator(wine_model, max_features=6)
for name, panel in zip(wine_model.classes_, bars.axes_, strict=True):
    print(f"{name}: {panel.get_yticklabels()[0].get_text()}")
plt.show()

# %%
# The most confident mistakes
# ---------------------------
# Look first at mistakes of high probability: often the image is unusual, or its label
# is wrong.
predictions = PredictionsDisplay.from_estimator(mlp, X_test, y_test, n_images=10)
print(f"{predictions.n_mistakes} of {predictions.n_samples} predictions are wrong")
plt.show()

# %%
# Reliability of the probabilities
# --------------------------------
# Of all predictions with probability 0.8, four in five should be right. The strong
# penalty above makes the probabilities of the regression too low: it is right more
# often than they say, and its curve lies above the diagonal. The expected calibration
# error (ECE) is the mean distance from the diagonal.
reliable = ReliabilityDisplay.from_estimator(mlp, X_test, y_test)
modest = ReliabilityDisplay.from_estimator(
    regression, X_test, y_test, ax=reliable.ax_, histogram=False
)
for display in (reliable, modest):
    print(f"{display.name}: ECE {display.expected_calibration_error:.3f}")
plt.show()
