r"""All modules on their own: shapes, initialization, plain loops."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits
from skorch import NeuralNetClassifier
from torch import nn

from sksoftmax.modules import (
    SoftmaxCNN,
    SoftmaxLinear,
    SoftmaxMLP,
)
from sksoftmax.modules._base import set_generator


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


MODULES = {
    "linear": lambda g: SoftmaxLinear(64, 10, init_scale=0.01, generator=g),
    "mlp": lambda g: SoftmaxMLP(64, 10, hidden_layer_sizes=(32, 16), generator=g),
    "mlp-batch": lambda g: SoftmaxMLP(
        64, 10, hidden_layer_sizes=(32,), normalization="batch", generator=g
    ),
    "mlp-layer": lambda g: SoftmaxMLP(
        64, 10, hidden_layer_sizes=(32,), normalization="layer", generator=g
    ),
    "mlp-none": lambda g: SoftmaxMLP(64, 10, hidden_layer_sizes=(), generator=g),
    "mlp-ensemble": lambda g: SoftmaxMLP(
        64, 10, hidden_layer_sizes=(32,), n_estimators=3, generator=g
    ),
    "mlp-shared": lambda g: SoftmaxMLP(
        64,
        10,
        hidden_layer_sizes=(32,),
        n_estimators=3,
        share_weights=True,
        generator=g,
    ),
    "cnn": lambda g: SoftmaxCNN(
        (1, 8, 8), 10, channels=(8, 16), kernel_size=3, generator=g
    ),
    "cnn-flat": lambda g: SoftmaxCNN(
        (1, 8, 8),
        10,
        channels=(8,),
        kernel_size=3,
        padding="valid",
        global_pooling=None,
        hidden_layer_sizes=(12,),
        dropout=0.1,
        normalization=None,
        generator=g,
    ),
    "cnn-average": lambda g: SoftmaxCNN(
        (1, 8, 8),
        10,
        channels=(8, 16),
        kernel_size=3,
        global_pooling="average",
        input_scaling="standard",
        generator=g,
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_plain_loop_learns_the_digits(name):
    X, y = load_digits(return_X_y=True)
    X, y = torch.tensor(X[:400] / 16, dtype=torch.float32), torch.tensor(y[:400])
    module = MODULES[name](generator())
    set_generator(module, generator())
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        # The members of an ensemble are each to learn: (N, K, C) -> (N, C, K)
        logits = module(X)
        logits = logits.mT if logits.ndim == 3 else logits
        target = y if logits.ndim == 2 else y[:, None].expand(-1, logits.shape[2])
        loss = nn.functional.cross_entropy(logits, target)
        loss.backward()
        optimizer.step()
    assert loss.item() < 1.2
    assert module.eval()(X).shape == (len(X), 10)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float64])
def test_any_dtype_goes_in_and_float32_logits_come_out(name, dtype):
    module = MODULES[name](generator()).eval()
    X = torch.randint(0, 17, (5, 64), generator=generator())
    with torch.no_grad():
        logits = module(X.to(dtype))
        assert logits.dtype == torch.float32
        assert_allclose(logits, module(X.float()), atol=1e-5)


@pytest.mark.parametrize("name", MODULES)
def test_generator_decides_the_initial_weights(name):
    before = torch.get_rng_state()
    first, again, other = (MODULES[name](generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert any(
        not torch.equal(a, b)
        for a, b in zip(first.parameters(), other.parameters(), strict=True)
    )


def test_module_works_in_a_bare_skorch_net():
    X, y = load_digits(return_X_y=True)
    net = NeuralNetClassifier(
        SoftmaxMLP,
        module__n_features=64,
        module__n_classes=10,
        module__hidden_layer_sizes=(32,),
        module__generator=generator(),
        iterator_train__generator=generator(),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.01,
        max_epochs=10,
        verbose=0,
    )
    X = X.astype(np.float32)
    # skorch's data loaders draw from the global generator.
    with torch.random.fork_rng(devices=[]):
        assert net.fit(X, y).score(X, y) > 0.9


@pytest.mark.parametrize("depth", [1, 8])
def test_signal_keeps_its_size_through_the_hidden_layers(depth):
    module = SoftmaxMLP(
        256, 10, hidden_layer_sizes=(256,) * depth, generator=generator()
    )
    x = torch.randn(500, 256, generator=generator(1))
    with torch.no_grad():
        hidden = module.hidden(x)
    assert 0.5 < hidden.square().mean().item() < 2.0
