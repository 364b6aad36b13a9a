r"""Images and a small classifier of images, for several test files."""

import numpy as np
import torch
from sklearn.datasets import load_digits

from sksoftmax import SoftmaxCNNClassifier


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(*shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator(seed))


def load_large_digits():
    r"""Return digits of 16 x 16 pixels, few enough for a fit in a tenth of a second."""
    X, y = load_digits(return_X_y=True)
    X = X[:400].reshape(-1, 8, 8).repeat(2, axis=1).repeat(2, axis=2)
    return X.reshape(len(X), -1).astype(np.uint8), y[:400]


def make_cnn(**params):
    options = {"channels": (4, 8), "kernel_size": 3, "max_epochs": 2, "random_state": 0}
    return SoftmaxCNNClassifier(**{**options, **params})
