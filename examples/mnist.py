r"""
MNIST: three classifiers, three scores
======================================

Handwritten digits: 60,000 training images and 10,000 test images of 28 x 28 pixels.
They are downloaded if the folder that the environment variable ``SKSOFTMAX_DATA`` names
does not have them. On two processor cores the example takes about a minute. With
``pip install matplotlib`` there is a picture at the end.
"""

# %%
# Data
# ----
# A row is an image, pixel after pixel, as ``uint8``. The nets convert one batch at a
# time and never copy the whole table.
from importlib.util import find_spec
from time import perf_counter

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sksoftmax import SoftmaxCNNClassifier, SoftmaxMLPClassifier, SoftmaxRegression
from sksoftmax.datasets import fetch_mnist

X_train, y_train = fetch_mnist(return_X_y=True)
X_test, y_test = fetch_mnist(subset="test", return_X_y=True)

# %%
# Three classifiers
# -----------------
# Softmax regression is trained by mini-batches here: with 60,000 rows, ten epochs come
# close to the optimum in less time than the default solver. The nets scale the pixels
# themselves. They are small here and train briefly, to keep the example short. With
# default parameters they take minutes and are better: 98.9% and 99.6%. The
# convolutional net derives the shape of the images from the number of features: they
# are square.


def to_unit_interval(pixels):
    return pixels / np.float32(255)


classifiers = {
    "SoftmaxRegression": make_pipeline(
        FunctionTransformer(to_unit_interval),
        SoftmaxRegression(C=np.inf, solver="adam", max_iter=10, random_state=0),
    ),
    "SoftmaxMLPClassifier": SoftmaxMLPClassifier(
        (128, 64), n_estimators=2, max_epochs=6, random_state=0
    ),
    "SoftmaxCNNClassifier": SoftmaxCNNClassifier(
        channels=(16, 32, 64), convolutions_per_block=1, max_epochs=5, random_state=0
    ),
}

print(f"{'estimator':<22}{'test accuracy':>15}{'fit seconds':>13}")
for name, classifier in classifiers.items():
    start = perf_counter()
    classifier.fit(X_train, y_train)
    seconds = perf_counter() - start
    accuracy = classifier.score(X_test, y_test)
    print(f"{name:<22}{accuracy:>15.2%}{seconds:>13.1f}")

# %%
# Each classifier makes a fraction of the mistakes of the one before. Hidden layers
# separate classes that planes cannot separate, and a convolution has the same
# parameters at each position, so it learns the form of a stroke only once.

# %%
# The most confident mistakes
# ---------------------------
# These are the wrong predictions with the highest probabilities. A person would misread
# some of these digits as well, and some labels are doubtful.
cnn = classifiers["SoftmaxCNNClassifier"]
probabilities = cnn.predict_proba(X_test)
predicted, certainty = cnn.predict(X_test), probabilities.max(axis=1)
wrong = np.flatnonzero(predicted != y_test)
wrong = wrong[certainty[wrong].argsort()[::-1]]

print(f"\n{len(wrong)} mistakes, the most confident:")
for row in wrong[:5]:
    print(f"  a {y_test[row]} taken for a {predicted[row]} with {certainty[row]:.1%}")

if find_spec("matplotlib"):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 5, figsize=(8, 4))
    for axis, row in zip(axes.flat, wrong, strict=False):
        axis.imshow(X_test[row].reshape(28, 28), cmap="gray_r")
        axis.set_title(f"{y_test[row]}, not {predicted[row]}")
    for axis in axes.flat:
        axis.set_axis_off()
    figure.suptitle("The most confident mistakes: label, not prediction")
    plt.show()
