r"""
Pictures of a classifier
========================

How training went, what a class is recognized by, which images are mistaken and whether
the probabilities can be trusted: four displays in the manner of scikit-learn's own, on
its bundled digits and wines. They need matplotlib (``pip install "sksoftmax[plot]"``).
"""

# %%
# How training went
# -----------------
# The multi-layer perceptron holds out a tenth of the images. The training loss goes on
# falling when the validation loss no longer does, and the weights of the best epoch are
# the ones that are kept.
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
# Where a pixel is red, ink speaks for the digit; where it is blue, against it. A zero
# has no ink in its middle.
regression = make_pipeline(MinMaxScaler(), SoftmaxRegression(C=0.1))
WeightsDisplay.from_estimator(regression.fit(X_train, y_train))
plt.show()

# %%
# Features that have names become bars, the largest weights first. With a scaler before
# the classifier they are weights of standard deviations, and compare with each other.
wines = load_wine(as_frame=True)
wine_model = make_pipeline(StandardScaler(), SoftmaxRegression())
wine_model.fit(wines.data, wines.target_names[wines.target])
bars = WeightsDisplay.from_estimator(wine_model, max_features=6)
for name, panel in zip(wine_model.classes_, bars.axes_, strict=True):
    print(f"{name}: {panel.get_yticklabels()[0].get_text()}")
plt.show()

# %%
# The surest mistakes
# -------------------
# A mistake made with much confidence is the first thing to look at: often the image is
# odd, or its label wrong.
predictions = PredictionsDisplay.from_estimator(mlp, X_test, y_test, n_images=10)
print(f"{predictions.n_mistakes} of {predictions.n_samples} predictions are wrong")
plt.show()

# %%
# Whether a probability means what it says
# ----------------------------------------
# Of the answers given with a confidence of 80%, four in five should be right. The
# strong penalty above leaves the regression far less sure than it could be: it is right
# more often than it says, and its curve lies above the diagonal. The expected
# calibration error (ECE) is the mean distance from it.
reliable = ReliabilityDisplay.from_estimator(mlp, X_test, y_test)
modest = ReliabilityDisplay.from_estimator(
    regression, X_test, y_test, ax=reliable.ax_, histogram=False
)
for display in (reliable, modest):
    print(f"{display.name}: ECE {display.expected_calibration_error:.3f}")
plt.show()
