r"""
Fashion-MNIST: from the textbook's recipe to a confusion matrix
===============================================================

Fashion-MNIST has the format of MNIST, ten kinds of clothes instead of ten digits, and
room for improvement. The example starts where courses on deep learning start, softmax
regression by minibatch gradient descent, goes on to a convolutional net and asks which
clothes it still takes for which. The images are downloaded if the folder that the
environment variable ``SKSOFTMAX_DATA`` names does not hold them.
With ``pip install "sksoftmax[plot]"`` there is a picture at the end.
"""

# %%
# The recipe
# ----------
# Pixels between 0 and 1, weights drawn from a normal distribution with a standard
# deviation of 0.01, no penalty, plain stochastic gradient descent in batches of 256 at
# a constant learning rate of 0.1, five epochs.
from importlib.util import find_spec
from time import perf_counter

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
# The default one, on raw pixels. It scales them itself, and finds the shape of the
# image from the number of features.
start = perf_counter()
cnn = SoftmaxCNNClassifier(random_state=0).fit(train.data, train.target)
seconds = perf_counter() - start
accuracy = cnn.score(test.data, test.target)
print(f"convolutional net:  test accuracy {accuracy:.3f} after {seconds:.0f} s")

# %%
# What is taken for what
# ----------------------
# A row of the confusion matrix says what became of the images of one kind. The largest
# entries off the diagonal are where the remaining mistakes are.
matrix = confusion_matrix(test.target, cnn.predict(test.data), labels=range(10))
mistakes = matrix - np.diag(matrix.diagonal())
print(f"\nof {mistakes.sum()} mistakes the most frequent:")
for flat in mistakes.ravel().argsort()[:-7:-1]:
    actual, predicted = np.unravel_index(flat, mistakes.shape)
    names = f"{test.target_names[actual]} taken for {test.target_names[predicted]}"
    print(f"{mistakes[actual, predicted]:>5}  {names}")

# %%
# Shirts, T-shirts, pullovers, coats and dresses: what covers the upper body is hard to
# tell apart at 28 x 28 pixels. Trousers, bags and shoes hardly ever leave the diagonal.
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
