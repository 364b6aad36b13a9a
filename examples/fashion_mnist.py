r"""
Fashion-MNIST: from the textbook's recipe to a confusion matrix
===============================================================

Fashion-MNIST has the format of MNIST, with ten kinds of clothes instead of ten digits.
The example begins as courses on deep learning do, with softmax regression by mini-batch
gradient descent. A convolutional net follows, and its confusion matrix. The images are
downloaded if the folder that the environment variable ``SKSOFTMAX_DATA`` names does not
have them.
With ``pip install matplotlib`` there is a picture at the end.
"""

# %%
# The recipe
# ----------
# Pixels between 0 and 1, initial parameters from a normal distribution with standard
# deviation 0.01, no penalty, plain stochastic gradient descent with batches of 256 rows
# and a constant learning rate of 0.1, five epochs.
from importlib.util import find_spec

import numpy as np
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sksoftmax import SoftmaxCNNClassifier, SoftmaxRegression
from sksoftmax.datasets import fetch_fashion_mnist

train = fetch_fashion_mnist()
test = fetch_fashion_mnist(subset="test")


def to_unit_interval(pixels):
    return pixels / np.float32(255)


regression = make_pipeline(
    FunctionTransformer(to_unit_interval),
    SoftmaxRegression(
        C=np.inf,
        solver="sgd",
        init_scale=0.01,
        learning_rate=0.1,
        momentum=0,
        lr_schedule="constant",
        batch_size=256,
        max_iter=5,
        random_state=0,
    ),
).fit(train.data, train.target)

accuracy = regression.score(test.data, test.target)
print("mean loss of each epoch:", *np.round(regression[-1].loss_curve_, 3))
print(f"softmax regression: test accuracy {accuracy:.3f}")

# %%
# A convolutional net
# -------------------
# On raw pixels: it scales them itself, and derives the shape of the images from the
# number of features. This net is small and trains briefly; with default parameters, it
# takes a few minutes and its accuracy is 0.935.
cnn = SoftmaxCNNClassifier(
    channels=(16, 32, 64), convolutions_per_block=1, max_epochs=8, random_state=0
).fit(train.data, train.target)
accuracy = cnn.score(test.data, test.target)
print(f"convolutional net:  test accuracy {accuracy:.3f}")

# %%
# Which classes are confused
# --------------------------
# A row of the confusion matrix counts the predictions for the images of one class. The
# largest entries off the diagonal are the most frequent mistakes.
matrix = confusion_matrix(test.target, cnn.predict(test.data), labels=range(10))
mistakes = matrix - np.diag(matrix.diagonal())
print(f"\nof {mistakes.sum()} mistakes the most frequent:")
for flat in mistakes.ravel().argsort()[:-7:-1]:
    actual, predicted = np.unravel_index(flat, mistakes.shape)
    names = f"{test.target_names[actual]} taken for {test.target_names[predicted]}"
    print(f"{mistakes[actual, predicted]:>5}  {names}")

# %%
# Shirts, T-shirts, pullovers, coats and dresses are hard to distinguish at 28 x 28
# pixels. Trousers, bags and shoes are hardly ever confused with others.
upper = np.isin(
    test.target_names, ["T-shirt/top", "Pullover", "Dress", "Coat", "Shirt"]
)
share = mistakes[np.ix_(upper, upper)].sum() / max(mistakes.sum(), 1)
print(f"{share:.0%} of the mistakes are among what covers the upper body")

if find_spec("matplotlib"):
    import matplotlib.pyplot as plt

    ConfusionMatrixDisplay(matrix, display_labels=test.target_names).plot(
        cmap="Blues", colorbar=False, xticks_rotation="vertical"
    )
    plt.tight_layout()
    plt.show()
