r"""Classifiers that hold out rows, a noisy table, and a check of what is held out."""

import numpy as np
import pytest
from torch import nn

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
)

from ..factories import FourNets


class Module(nn.Sequential):
    def __init__(self, n_features, n_classes):
        super().__init__(nn.Linear(n_features, 8), nn.ReLU(), nn.Linear(8, n_classes))


STOPPING = {"early_stopping": True, "validation_fraction": 0.2, "random_state": 0}
CLASSIFIERS = {
    "mlp": FourNets(max_epochs=8),
    "mlp, temperature": FourNets(
        max_epochs=8, early_stopping=False, temperature_scaling=True
    ),
    "mlp, stopping": FourNets(max_epochs=20, **STOPPING),
    "adam": SoftmaxRegression(solver="adam", max_iter=20, **STOPPING),
    "cnn": SoftmaxCNNClassifier(
        channels=(4,), kernel_size=3, max_epochs=5, temperature_scaling=True, **STOPPING
    ),
    "net": SoftmaxNetClassifier(Module, max_epochs=20, learning_rate=0.01, **STOPPING),
}
for_every = pytest.mark.parametrize(
    "classifier", CLASSIFIERS.values(), ids=CLASSIFIERS.keys()
)


def noisy(n_rows, seed=0):
    r"""Return rows of which the first feature says something about the label."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 5))
    return X, (X[:, 0] + rng.normal(size=n_rows) > 0) * 1


def assert_groups_are_whole(split, group):
    r"""Check that no member learns from a group of which it holds out a row."""
    training, held_out = split.training, split.held_out
    if training.weight is None or training.weight.ndim == 1:
        assert not set(group[training.rows]) & set(group[held_out.rows])
        return
    for learned, unseen in zip(training.weight.T, held_out.weight.T, strict=True):
        rows = held_out.rows[unseen[held_out.rows] > 0]
        assert len(rows)
        assert not set(group[learned > 0]) & set(group[rows])
