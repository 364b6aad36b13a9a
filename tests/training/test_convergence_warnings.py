r"""Warnings of a training that was too short, or ended worse than a guess."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning

from sksoftmax import SoftmaxCNNClassifier, SoftmaxNetClassifier, SoftmaxRegression
from sksoftmax._training.restarts import late_fall

from ..factories import FourNets
from .rounds import Stop, history_of


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([0.9], True),
        ([0.9, 0.8], True),
        ([0.9, 0.8, 0.6, 0.5], True),
        # A tenth of the fall, or a hundredth of the loss, is little.
        ([2.0, 0.5, 0.45, 0.4], False),
        ([0.7, 0.699, 0.697, 0.696], False),
        ([0.9, 0.5, 0.6, 0.7], False),
        # There is nothing to gain.
        ([9e-3, 8e-3, 2e-3, 9e-4], False),
    ],
)
def test_when_a_loss_still_falls(losses, expected):
    watched = history_of(losses, 1.0)
    assert ("validation loss" in late_fall(watched)) is expected
    alone = [{"train_loss": loss} for loss in losses]
    assert ("training loss" in late_fall(alone)) is expected


def make_module(n_features, n_classes):
    return torch.nn.Linear(n_features, n_classes)


SHORT = {
    "mlp": FourNets(max_epochs=3, learning_rate=0.01),
    "early stopping": FourNets(max_epochs=3, learning_rate=0.01, early_stopping=True),
    "one net": FourNets(max_epochs=1, n_estimators=1),
    "images": SoftmaxCNNClassifier(channels=(4,), max_epochs=4, random_state=0),
    "module": SoftmaxNetClassifier(make_module, learning_rate=0.01, max_epochs=4),
    "regression": SoftmaxRegression(solver="adam", max_iter=5),
}


@pytest.mark.parametrize("name", SHORT)
def test_too_few_epochs_warn(name):
    X, y = load_iris(return_X_y=True)
    classifier = SHORT[name]
    parameter = "max_iter" if name == "regression" else "max_epochs"
    with pytest.warns(ConvergenceWarning, match=rf"{parameter}=\d\) .* loss"):
        classifier.fit(X, y)


@pytest.mark.parametrize(
    "classifier",
    [
        FourNets(),
        FourNets(max_epochs=60),
        # It stopped before the last epoch.
        FourNets(max_epochs=200, early_stopping=True, n_iter_no_change=3),
        FourNets(max_epochs=3, callbacks=[Stop(2, KeyboardInterrupt())]),
        SoftmaxRegression(solver="adam", max_iter=200, learning_rate=0.1),
    ],
    ids=["auto", "enough", "early stopping", "stopped", "regression"],
)
def test_enough_epochs_do_not_warn(classifier):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier.fit(*load_iris(return_X_y=True))


def test_partial_fit_does_not_warn_of_few_epochs():
    X, y = load_iris(return_X_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FourNets(max_epochs=1).partial_fit(X, y, classes=np.unique(y))


class TestWorseThanGuess:
    def test_features_far_from_zero_warn(self):
        X, y = load_iris(return_X_y=True)
        classifier = SoftmaxRegression(solver="adam", random_state=0)
        with pytest.warns(
            ConvergenceWarning, match=r"nothing: .* 1\.1 for a guess.*Scale"
        ):
            classifier.fit(X + 1e6, y)
        # Warnings are errors.
        classifier.fit(X, y)

    def test_a_warm_start_from_other_units_warns(self):
        X, y = load_iris(return_X_y=True)
        classifier = FourNets(warm_start=True).fit(1e6 * (X + 100), y)
        with pytest.warns(
            ConvergenceWarning, match="learned nothing.*warm_start=False"
        ):
            classifier.fit(X, y)

    @pytest.mark.parametrize("early_stopping", [False, True])
    def test_a_warm_start_on_noise_is_no_failure(self, early_stopping):
        rng = np.random.default_rng(1)
        X, y = rng.normal(size=(300, 8)), rng.integers(0, 2, 300)
        classifier = SoftmaxRegression(
            solver="adam",
            early_stopping=early_stopping,
            warm_start=True,
            random_state=0,
        )
        # Warnings are errors: the first fit has learned no more than the second.
        classifier.fit(X, y).fit(X, y)

    def test_noise_is_no_failure(self, coins):
        FourNets().fit(*coins)
