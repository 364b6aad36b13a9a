r"""Modules of the user are checked: outputs must be logits, layers registered."""

import functools

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris, make_blobs
from torch import nn
from torch.nn import functional as F

from sksoftmax import SoftmaxNetClassifier

from .user_modules import net

pytestmark = pytest.mark.usefixtures("global_seed")


def ending_with(function):
    class Ending(nn.Module):
        def __init__(self, n_features, n_classes):
            super().__init__()
            self.linear = nn.Linear(n_features, n_classes)

        def forward(self, x):
            return function(self.linear(x))

    return Ending


def softmax_by_hand(z):
    return z.exp() / z.exp().sum(1, keepdim=True)


def softmax_in_prediction(n_features, n_classes):
    class OnlyInPrediction(nn.Linear):
        def forward(self, x):
            z = super().forward(x)
            return z if self.training else z.softmax(1)

    return OnlyInPrediction(n_features, n_classes)


def zero_linear(n_features, n_classes, bias=0.0):
    layer = nn.Linear(n_features, n_classes)
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, bias)
    return layer


def zero_softmax(n_features, n_classes):
    return nn.Sequential(zero_linear(n_features, n_classes), nn.Softmax(1))


class TestOutputs:
    @pytest.fixture(scope="class")
    @staticmethod
    def blobs():
        return make_blobs(60, centers=3, random_state=0)

    @pytest.mark.parametrize(
        "make",
        [
            lambda a, b: nn.Sequential(nn.Linear(a, b), nn.Softmax(1)),
            ending_with(softmax_by_hand),
            ending_with(lambda z: F.softmax(z, 1) * 1.0),
            ending_with(lambda z: F.softmax(z.half(), 1).float()),
            softmax_in_prediction,
            zero_softmax,
        ],
    )
    def test_probabilities_are_an_error(self, make, blobs):
        X, y = blobs
        message = r"probabilities.* never exceeds 0\.576 with 3 classes\. Remove the so"
        with pytest.raises(ValueError, match=message):
            net(make).fit(X, y)
        with pytest.raises(ValueError, match=message):
            net(make).partial_fit(X, y, classes=[0, 1, 2])
        with pytest.raises(ValueError, match=r"never exceeds 0\.731 with 2 classes"):
            net(make).fit(X, y > 0)

    @pytest.mark.parametrize(
        "function", [nn.LogSoftmax(1), lambda z: softmax_by_hand(z).log()]
    )
    def test_logarithms_of_probabilities_warn(self, function, blobs):
        with pytest.warns(UserWarning, match="Remove the log_softmax"):
            told = net(ending_with(function)).fit(*blobs)
        expected = net(ending_with(lambda z: z)).fit(*blobs)
        np.testing.assert_allclose(
            told.predict_proba(blobs[0]), expected.predict_proba(blobs[0]), rtol=1e-4
        )

    @pytest.mark.parametrize(
        ("layer", "limit"),
        [
            (nn.Sigmoid(), "0.576"),
            (lambda z: z.sigmoid().clamp(1e-6, 1 - 1e-6)[:, :], "0.576"),
            (nn.Tanh(), "0.787"),
        ],
    )
    def test_bounded_outputs_warn(self, layer, limit, blobs):
        with pytest.warns(UserWarning, match=f"never exceeds {limit} with 3 classes"):
            model = net(ending_with(layer)).fit(*blobs)
        assert model.predict_proba(blobs[0]).max() <= float(limit) + 1e-3

    @pytest.mark.parametrize(
        "make",
        [
            nn.Linear,
            lambda a, b: nn.Sequential(nn.Linear(a, b), nn.ReLU()),
            zero_linear,
            # Before training, their exponentials sum to 1 in each row.
            functools.partial(zero_linear, bias=-np.log(3)),
            functools.partial(zero_linear, bias=1 / 3),
            # Logits with a soft limit of 30.
            ending_with(lambda z: 30 * torch.tanh(z / 30)),
        ],
    )
    @pytest.mark.parametrize("scale", [1e-6, 1.0])
    def test_logits_do_not_warn(self, make, scale, blobs):
        # Warnings are errors in these tests.
        X, y = blobs
        net(make).fit(X * scale, y)
        net(make).fit(X * scale, y > 0)

    def test_the_check_of_outputs_changes_nothing(self, blobs):
        class Random(nn.Linear):
            def forward(self, x):
                return F.dropout(super().forward(x), 0.1)

        X, y = blobs
        X = X.astype(np.float32)
        before, state = X.copy(), torch.get_rng_state()
        net(lambda a, b: nn.Sequential(nn.ReLU(inplace=True), Random(a, b))).fit(X, y)
        np.testing.assert_array_equal(X, before)
        assert torch.equal(torch.get_rng_state(), state)


class InList(nn.Module):
    """Keeps a layer where PyTorch does not find it."""

    def __init__(self, n_features, n_classes, requires_grad=True):
        super().__init__()
        self.hidden = [nn.Linear(n_features, 8).requires_grad_(requires_grad)]
        self.output = nn.Linear(8, n_classes)

    def forward(self, x):
        return self.output(self.hidden[0](x).relu())


def test_layers_that_are_not_registered_warn():
    X, y = load_iris(return_X_y=True)
    model = SoftmaxNetClassifier(InList, random_state=0)
    message = r"2 tensors .*\(shapes \(8, 4\), \(8,\)\).* torch\.nn\.ModuleList"
    with pytest.warns(UserWarning, match=message):
        model.fit(X, y)


def test_frozen_layers_need_not_be_registered():
    X, y = load_iris(return_X_y=True)
    frozen = {"requires_grad": False}
    model = SoftmaxNetClassifier(InList, module_params=frozen)
    model.fit(X, y)


def test_log_softmax_over_the_rows_of_a_batch_is_an_error():
    X, y = load_iris(return_X_y=True)

    def build(n_features, n_classes):
        return nn.Sequential(nn.Linear(n_features, n_classes), nn.LogSoftmax(0))

    with pytest.raises(ValueError, match="depend on the other rows"):
        SoftmaxNetClassifier(build).fit(X, y)
