r"""Recipes of teaching material, written as parameters of the classifiers."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits
from torch import nn

from sksoftmax import SoftmaxCNNClassifier, SoftmaxMLPClassifier, SoftmaxRegression
from sksoftmax.datasets import fetch_fashion_mnist, fetch_mnist
from sksoftmax.modules import SoftmaxLinear

DATA = os.environ.get("SKSOFTMAX_DATA")


def needs(folder):
    present = DATA is not None and (Path(DATA) / folder).is_dir()
    return [
        pytest.mark.data,
        pytest.mark.skipif(not present, reason=f"no {folder} in SKSOFTMAX_DATA={DATA}"),
    ]


BATCH_1 = [[0.1, 0.2, 0.9], [1.1, 0.1, 0.2], [0.2, 2.1, 0.1]]
BATCH_2 = [[0.8, 0.2, 0.3], [0.2, 0.3, 0.5], [0.2, 0.2, 0.5]]


@pytest.mark.parametrize(
    ("logits", "y", "expected"),
    [
        ([[0.2, 0.1, -0.1]], [0], 0.9729),
        (BATCH_1, [2, 0, 1], 0.4966),
        (BATCH_2, [2, 0, 1], 1.2389),
        ([[2.0, 1.0, 0.1]], [0], 0.4170),
        ([[0.5, 2.0, 0.3]], [0], 1.8406),
        ([[0.1, 0.0, 0.0, 1.0]], [3], 0.7619),
    ],
)
def test_cross_entropy_of_logits(logits, y, expected):
    # With the identity matrix as coefficients, the logits are the rows.
    n_classes = len(logits[0])
    classifier = SoftmaxRegression(
        solver="sgd", learning_rate=1e-30, max_iter=1, fit_intercept=False, C=np.inf
    ).fit(np.eye(n_classes), np.arange(n_classes))
    with torch.no_grad():
        classifier.module_.weight.copy_(torch.eye(n_classes))
    losses = -classifier.predict_log_proba(logits)[np.arange(len(y)), y]
    assert losses.mean() == pytest.approx(expected, abs=5e-5)
    criterion = classifier.net_.criterion_
    assert criterion(torch.tensor(logits), torch.tensor(y)).item() == pytest.approx(
        expected, abs=5e-5
    )


TOY_X = [
    [1, 2, 1, 1],
    [2, 1, 3, 2],
    [3, 1, 3, 4],
    [4, 1, 5, 5],
    [1, 7, 5, 5],
    [1, 2, 5, 6],
    [1, 6, 6, 6],
    [1, 7, 7, 7],
]
TOY_Y = [2, 2, 2, 1, 1, 1, 0, 0]
TOY_LOSSES = [
    1.098612,
    0.568255,
    0.399962,
    0.285279,
    0.246098,
    0.216146,
    0.192427,
    0.173168,
    0.157232,
    0.143840,
    0.132443,
]


def test_full_batch_softmax_regression_on_the_toy():
    classifier = SoftmaxRegression(
        C=np.inf,
        fit_intercept=False,
        solver="sgd",
        learning_rate=0.1,
        momentum=0,
        lr_schedule="constant",
        batch_size=len(TOY_X),
        max_iter=5001,
    ).fit(TOY_X, TOY_Y)
    assert_allclose(classifier.loss_curve_[::500], TOY_LOSSES, atol=1e-4)


def test_first_gradient_step_is_the_analytic_one():
    X, y = load_digits(return_X_y=True)
    X = X / 16
    classifier = SoftmaxRegression(
        C=np.inf,
        solver="sgd",
        learning_rate=0.5,
        momentum=0,
        lr_schedule="constant",
        batch_size=len(X),
        max_iter=1,
    ).fit(X, y)
    residual = np.full((len(X), 10), 0.1) - np.eye(10)[y]
    assert_allclose(classifier.coef_, -0.5 * residual.T @ X / len(X), atol=1e-6)
    assert_allclose(classifier.intercept_, -0.5 * residual.mean(0), atol=1e-6)


def test_initial_weights_have_the_stated_scale():
    generator = torch.Generator().manual_seed(0)
    module = SoftmaxLinear(784, 10, init_scale=0.01, generator=generator)
    assert module.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert module.bias.abs().max() == 0


@pytest.fixture(scope="module")
def mnist():
    train = fetch_mnist(subset="train", return_X_y=True)
    test = fetch_mnist(subset="test", return_X_y=True)
    return *train, *test


def scaled(X, mean=0.0, std=1.0):
    return ((X.astype(np.float32) / 255) - np.float32(mean)) / np.float32(std)


@pytest.mark.parametrize(
    ("n_samples", "n_epochs"),
    # Batches of n_rows / 16, but at least 32 and at most 256 rows.
    [(64, 50), (500, 6), (1000, 8), (2000, 12), (9000, 6)],
)
def test_auto_makes_about_two_hundred_steps_and_fewer_for_few_rows(n_samples, n_epochs):
    X = np.random.default_rng(0).normal(size=(n_samples, 2))
    classifier = SoftmaxMLPClassifier(
        2, n_estimators=1, n_bins=None, early_stopping=False, random_state=0
    )
    assert classifier.fit(X, X[:, 0] > 0).n_iter_ == n_epochs


@pytest.mark.parametrize(
    ("n_samples", "n_features", "rate", "decay"),
    [
        (40, 2, 0.003, 0.3),
        (750, 2, 0.006, 0.3),
        (1_499, 257, 0.012 * 1_499 / 1_500, 0.3),
        (1_500, 256, 0.012, 0.01),
        (1_500, 257, 0.012, 0.1),
    ],
)
def test_auto_learning_rate_is_smaller_for_few_rows(n_samples, n_features, rate, decay):
    X = np.random.default_rng(0).normal(size=(n_samples, n_features))
    classifier = SoftmaxMLPClassifier(2, n_estimators=1, max_epochs=1)
    assert rates(classifier.fit(X, X[:, 0] > 0)) == (pytest.approx(rate), decay)


def test_auto_has_the_usual_rates_with_other_optimizers_and_streams():
    X, y = load_digits(return_X_y=True)
    classifier = SoftmaxMLPClassifier(2, n_estimators=1, max_epochs=1, optimizer="adam")
    assert rates(classifier.fit(X[:100], y[:100])) == (0.012, 0.01)
    # More rows may follow in a stream.
    classifier = SoftmaxMLPClassifier(2, n_estimators=1)
    classifier.partial_fit(X[:100], y[:100], classes=range(10))
    assert rates(classifier) == (0.012, 0.01)


def rates(classifier):
    groups = classifier.net_.optimizer_.param_groups
    [decay] = {group["weight_decay"] for group in groups} - {0.0}
    return classifier.net_.lr, decay


class TestFashionMNIST:
    pytestmark = needs("FashionMNIST")

    def test_softmax_regression(self):
        X_train, y_train = fetch_fashion_mnist(subset="train", return_X_y=True)
        X_test, y_test = fetch_fashion_mnist(subset="test", return_X_y=True)
        classifier = SoftmaxRegression(
            C=np.inf,
            solver="sgd",
            learning_rate=0.1,
            momentum=0,
            lr_schedule="constant",
            batch_size=256,
            max_iter=5,
            init_scale=0.01,
            random_state=0,
        ).fit(scaled(X_train), y_train)
        assert classifier.score(scaled(X_test), y_test) >= 0.81


# Optimizer of the MNIST recipes.
BY_HAND = {
    "optimizer": "sgd",
    "learning_rate": 0.01,
    "momentum": 0.5,
    "lr_schedule": "constant",
    "weight_decay": 0.0,
    "batch_size": 64,
    "random_state": 0,
}


class TestMNIST:
    pytestmark = needs("MNIST")

    @pytest.mark.parametrize(
        ("hidden_layer_sizes", "max_epochs", "pixels", "accuracy"),
        [
            ((512, 256, 128, 64), 10, (0.1307, 0.3081), 0.97),
            ((520, 320, 240, 120), 9, (0.0, 1.0), 0.96),
        ],
        ids=["512-256-128-64", "520-320-240-120"],
    )
    def test_mlp(self, mnist, hidden_layer_sizes, max_epochs, pixels, accuracy):
        X_train, y_train, X_test, y_test = mnist
        classifier = SoftmaxMLPClassifier(
            hidden_layer_sizes,
            activation="relu",
            n_estimators=1,
            dropout=0.0,
            input_scaling=None,
            max_epochs=max_epochs,
            **BY_HAND,
        ).fit(scaled(X_train, *pixels), y_train)
        assert classifier.score(scaled(X_test, *pixels), y_test) >= accuracy

    def test_deep_mlp_trains_with_our_defaults_for_depth(self, mnist):
        X_train, y_train, X_test, y_test = mnist
        classifier = SoftmaxMLPClassifier(
            (650, 570, 490, 400, 320, 240, 160, 80),
            activation="relu",
            n_estimators=1,
            dropout=0.0,
            input_scaling=None,
            max_epochs=5,
            **BY_HAND,
        ).fit(scaled(X_train), y_train)
        assert classifier.score(scaled(X_test), y_test) >= 0.97

    def test_cnn(self, mnist):
        X_train, y_train, X_test, y_test = mnist
        classifier = SoftmaxCNNClassifier(
            (28, 28),
            channels=(10, 20),
            convolutions_per_block=1,
            kernel_size=5,
            padding="valid",
            global_pooling=None,
            normalization=None,
            max_epochs=9,
            **BY_HAND,
        ).fit(X_train, y_train)
        shapes = [
            tuple(layer.weight.shape)
            for layer in classifier.module_.modules()
            if isinstance(layer, nn.Conv2d | nn.Linear)
        ]
        assert shapes == [(10, 1, 5, 5), (20, 10, 5, 5), (10, 320)]
        assert classifier.score(X_test, y_test) >= 0.98
