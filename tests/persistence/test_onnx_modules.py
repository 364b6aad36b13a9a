r"""Conversion to ONNX of modules that PyTorch's exporter takes."""

import warnings

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torchvision.models import ShuffleNetV2

from sksoftmax import SoftmaxNetClassifier
from sksoftmax.persistence import to_onnx

RNG = np.random.default_rng(0)
N = 60
Y = np.array(["a", "b", "c"])[np.arange(N) % 3]
TOKENS = RNG.integers(0, 20, (N, 5))
ROWS = RNG.normal(size=(N, 4))
IMAGES = RNG.integers(0, 256, (N, 32, 32, 3)).astype(np.uint8)


class Recurrent(nn.Module):
    def __init__(self, n_features, n_classes):
        super().__init__()
        self.words = nn.Embedding(20, 8)
        self.layer = nn.LSTM(8, 8, batch_first=True)
        self.fc = nn.Linear(8, n_classes)

    def forward(self, tokens):
        return self.fc(self.layer(self.words(tokens))[0][:, -1])


class Attention(nn.Module):
    def __init__(self, n_features, n_classes):
        super().__init__()
        self.words = nn.Embedding(20, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.fc = nn.Linear(8, n_classes)

    def forward(self, tokens):
        return self.fc(self.layer(self.words(tokens)).mean(1))


class Bag(nn.Module):
    def __init__(self, n_features, n_classes, mode="mean", padding_idx=None):
        super().__init__()
        self.words = nn.EmbeddingBag(20, 8, mode=mode, padding_idx=padding_idx)
        self.fc = nn.Linear(8, n_classes)

    def forward(self, tokens):
        return self.fc(self.words(tokens))


class Residual(nn.Module):
    def __init__(self, n_features, n_classes):
        super().__init__()
        self.layer = nn.Linear(n_features, n_features)
        self.fc = nn.Linear(n_features, n_classes)

    def forward(self, x):
        return self.fc(x + nn.functional.elu(self.layer(x)))


class Inputs(nn.Module):
    def __init__(self, sizes, n_classes):
        super().__init__()
        self.words = nn.Embedding(20, 4)
        self.fc = nn.Linear(sizes["numbers"] + 4 * sizes["tokens"], n_classes)

    def forward(self, numbers, tokens):
        return self.fc(torch.cat([numbers, self.words(tokens).flatten(1)], 1))


class Bessel(nn.Linear):
    def forward(self, x):
        return super().forward(torch.special.bessel_j0(x))


def backbone(n_features, n_classes):
    return ShuffleNetV2([1, 1, 1], [8, 16, 24, 32, 48], num_classes=n_classes)


def unknown_option(n_features, n_classes):
    return nn.Sequential(
        nn.Linear(n_features, 8), nn.GELU("tanh"), nn.Linear(8, n_classes)
    )


def hooked(n_features, n_classes):
    module = nn.Sequential(nn.Linear(n_features, n_classes))
    module.register_forward_hook(double)
    return module


def double(module, args, output):
    return 2 * output


def fitted(module, X, **options):
    with warnings.catch_warnings():
        # The labels are random: more epochs would learn them by heart.
        warnings.simplefilter("ignore")
        return SoftmaxNetClassifier(
            module, max_epochs=2, random_state=0, **options
        ).fit(X, Y)


def check_same(model, X, onnx_model):
    session = onnxruntime.InferenceSession(onnx_model.SerializeToString())
    inputs = {"X": X}
    if isinstance(X, pd.DataFrame):
        inputs = {name: X[name].to_numpy()[:, None] for name in X.columns}
    for n_rows in (1, len(X)):
        label, proba = session.run(None, {k: v[:n_rows] for k, v in inputs.items()})
        assert_allclose(proba, model.predict_proba(X[:n_rows]), atol=1e-5)
        assert (label == model.predict(X[:n_rows])).all()


@pytest.mark.parametrize(
    ("module", "X"),
    [
        (Recurrent, TOKENS),
        (Attention, TOKENS),
        (Bag, TOKENS),
        (Residual, ROWS),
        (Residual, ROWS.astype(np.float32)),
        (unknown_option, ROWS),
        (hooked, ROWS),
        (backbone, IMAGES),
        (backbone, IMAGES.transpose(0, 3, 1, 2).astype(np.float32)),
    ],
)
def test_modules_that_pytorch_exports(module, X):
    model = fitted(module, X)
    check_same(model, X, to_onnx(model, X[:20]))


@pytest.mark.parametrize("mode", ["mean", "sum", "max"])
def test_bags_of_tokens_with_padding(mode):
    tokens = TOKENS.copy()
    # Some texts are shorter, and one is empty.
    tokens[::3, 1:] = 0
    tokens[5] = 0
    model = fitted(Bag, tokens, module_params={"mode": mode, "padding_idx": 0})
    check_same(model, tokens, to_onnx(model, tokens))


def test_a_module_of_several_inputs():
    X = pd.DataFrame(ROWS[:, :2], columns=["a", "b"])
    X["t"], X["u"] = TOKENS[:, 0], TOKENS[:, 1]
    inputs = {"numbers": ["a", "b"], "tokens": ["t", "u"]}
    model = fitted(Inputs, X, inputs=inputs)
    check_same(model, X, to_onnx(model, X[:20]))


def test_a_pipeline_that_ends_in_such_a_module():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make_pipeline(
            StandardScaler(), SoftmaxNetClassifier(Residual, max_epochs=2)
        ).fit(ROWS, Y)
    check_same(model, ROWS, to_onnx(model, ROWS[:20]))


def test_a_module_that_cannot_be_exported_is_told():
    model = fitted(Bessel, ROWS)
    message = r"layer Bessel, which to_onnx cannot.*torch\.onnx\.export failed as well"
    with pytest.raises(ValueError, match=message):
        to_onnx(model, ROWS)
