r"""The modules on their own: shapes, initialization, scaling, dropout, plain loops."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from torch import nn

from sksoftmax.modules import (
    Dropout,
    InputScaling,
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
    X, y = torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y)
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


@pytest.mark.parametrize(
    ("image_shape", "options", "flat"),
    [
        (
            (1, 28, 28),
            {
                "channels": (10, 20),
                "kernel_size": 5,
                "padding": "valid",
                "convolutions_per_block": 1,
            },
            320,
        ),
        ((3, 32, 32), {"channels": (4, 4, 4), "kernel_size": 3}, 64),
        ((1, 1, 7), {"channels": (4, 6), "kernel_size": (5, 3)}, 6),
        ((1, 5, 9), {"channels": (4,), "kernel_size": 3, "pool_size": 3}, 12),
        ((1, 5, 9), {"channels": (4,), "kernel_size": np.int64(3)}, 4 * 2 * 4),
        ((1, 28, 32), {"channels": (4, 6), "padding": "valid"}, 6 * 2 * 3),
    ],
)
def test_flattened_size_of_the_last_block(image_shape, options, flat):
    module = SoftmaxCNN(
        image_shape, 2, global_pooling=None, generator=generator(), **options
    )
    assert module.output.in_features == flat
    assert module(torch.zeros(2, *image_shape)).shape == (2, 2)


@pytest.mark.parametrize(
    ("n_convolutions", "global_pooling", "kernels", "windows"),
    [
        (1, "max", [5, 3], [2, 7]),
        (2, "max", [5, 3, 3, 3], [2, 2, 3]),
        (3, None, [5, 3, 3, 3, 3, 3], [2, 2]),
    ],
)
def test_blocks_pool_after_their_first_convolution(
    n_convolutions, global_pooling, kernels, windows
):
    module = SoftmaxCNN(
        (1, 14, 14),
        10,
        channels=(4, 6),
        convolutions_per_block=n_convolutions,
        global_pooling=global_pooling,
        generator=generator(),
    )
    convolutions = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    assert [layer.kernel_size[0] for layer in convolutions] == kernels
    assert [layer.out_channels for layer in convolutions] == (
        [4] * n_convolutions + [6] * n_convolutions
    )
    pools = [m for m in module.modules() if isinstance(m, nn.MaxPool2d)]
    assert [pool.kernel_size[0] for pool in pools] == windows
    names = [type(layer).__name__ for layer in module.blocks[0]]
    first = ["Conv2d", "MaxPool2d", "BatchNorm2d", "ReLU"]
    more = ["Conv2d", "BatchNorm2d", "ReLU"] * (n_convolutions - 1)
    assert names == first + more


def test_largest_product_of_a_cnn():
    # 14 x 14 pixels before the pooling, 7 x 7 after it.
    one, two = (
        SoftmaxCNN(
            (1, 14, 14),
            2,
            channels=(8, 8),
            convolutions_per_block=n,
            kernel_size=(5, 3),
            generator=generator(),
        )
        for n in (1, 2)
    )
    assert one.largest_product == 1 * 8 * 25 * 196
    assert two.largest_product == 8 * 8 * 25 * 49


def test_cnn_reads_rows_channel_after_channel():
    images = torch.randn(4, 3, 6, 5, generator=generator())
    module = SoftmaxCNN(
        (3, 6, 5), 2, channels=(4,), kernel_size=3, generator=generator()
    ).eval()
    with torch.no_grad():
        assert torch.equal(module(images), module(images.reshape(4, -1)))


class TestInputScaling:
    @settings(deadline=None, max_examples=25)
    @given(
        seed=st.integers(0, 2**16),
        n_samples=st.integers(2, 60),
        offset=st.sampled_from([0.0, -3.0, 1e6]),
        unit=st.sampled_from([1e-6, 1.0, 1e6]),
        parts=st.integers(1, 4),
    )
    def test_agrees_with_standard_scaler(self, seed, n_samples, offset, unit, parts):
        X = np.random.default_rng(seed).normal(offset, 1, (n_samples, 3)) * unit
        scaling = InputScaling((3,), method="standard")
        for part in np.array_split(X, parts):
            scaling.update(torch.tensor(part))
        expected = StandardScaler().fit_transform(X)
        assert_allclose(scaling(torch.tensor(X)), expected, atol=1e-4)

    def test_weights_stand_for_repetitions(self):
        X = torch.randn(20, 3, generator=generator())
        weight = torch.arange(20) % 3
        weighted, repeated = InputScaling((3,)), InputScaling((3,))
        weighted.update(X, weight)
        repeated.update(X.repeat_interleave(weight, dim=0))
        assert_allclose(weighted.mean, repeated.mean, atol=1e-6)
        assert_allclose(weighted.scale, repeated.scale, atol=1e-6)

    def test_large_offset_in_float64_keeps_the_differences(self):
        X = 1.6e9 + np.random.default_rng(0).normal(size=(50, 1))
        scaling = InputScaling((1,), method="standard")
        scaling.update(torch.tensor(X))
        z = scaling(torch.tensor(X)).numpy().astype(np.float64)
        assert np.corrcoef(z[:, 0], X[:, 0])[0, 1] > 0.999999
        assert z.std() == pytest.approx(1, abs=1e-3)

    def test_constant_feature_is_centered_and_other_values_stay_small(self):
        scaling = InputScaling((2,), method="standard")
        scaling.update(torch.tensor([[0.1, 1.0], [0.1, 3.0], [0.1, 5.0]]))
        assert_allclose(scaling(torch.tensor([[0.1, 3.0]])), [[0, 0]], atol=1e-6)
        # Nothing was learned of other values.
        assert_allclose(scaling(torch.tensor([[1e9, 3.0]])), [[0, 0]], atol=1e-6)

    def test_smooth_is_the_identity_near_zero_and_a_logarithm_far_from_it(self):
        scaling = InputScaling((1,), method="smooth")
        x = torch.tensor([[1e-3], [-1e-3], [1e6]])
        assert_allclose(scaling(x)[:2], x[:2], rtol=1e-5)
        assert scaling(x)[2].item() == pytest.approx(np.log(2e6), rel=1e-5)

    def test_smooth_takes_the_root_of_counts_only(self):
        rng = np.random.default_rng(0)
        counts = rng.poisson(2.0, 200)
        columns = [counts, counts / 2, -counts, counts.clip(max=1), 100 * counts]
        X = torch.tensor(np.column_stack(columns).astype(np.float64))
        X[0, 0] = torch.nan
        scaling = InputScaling((5,), method="smooth")
        scaling.update(X[:100])
        # What comes later changes no feature's kind, or the statistics would be wrong.
        scaling.update(X[100:] + 0.5)
        assert scaling.is_count.tolist() == [True, False, False, False, False]
        known = np.concatenate([counts[1:100], counts[100:] + 0.5])
        root = np.sqrt(known + 3 / 8)
        z = (root - root.mean()) / root.std()
        later = torch.full((101, 5), 0.0, dtype=torch.float64)
        later[:, 0] = torch.tensor(np.append(known[-100:], -1.0))
        scaled = scaling(later)[:, 0].numpy()
        assert_allclose(scaled[:-1], 4 * np.arcsinh(z[-100:] / 4), rtol=1e-5)
        # A value below 0 is no count, but not an error either.
        assert np.isfinite(scaled[-1])
        assert scaled[-1] < scaled[:-1].min()

    def test_rows_without_weight_make_no_difference_to_what_is_a_count(self):
        scaling = InputScaling((1,), method="smooth")
        X = torch.tensor([[0.0], [3.0], [0.5]])
        scaling.update(X, torch.tensor([1.0, 1.0, 0.0]))
        assert scaling.is_count.item()

    def test_channels_are_averaged_over_the_image(self):
        images = torch.randn(30, 2, 4, 5, generator=generator()) * 3 + 7
        scaling = InputScaling((2, 1, 1), method="standard")
        scaling.update(images)
        z = scaling(images)
        assert_allclose(z.mean((0, 2, 3)), [0, 0], atol=1e-5)
        assert_allclose(z.std((0, 2, 3), correction=0), [1, 1], atol=1e-5)


class TestDropout:
    @pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
    def test_expectation_and_rate(self, p):
        dropout = Dropout(p)
        dropout.generator = generator()
        out = dropout(torch.ones(400_000))
        assert (out == 0).float().mean().item() == pytest.approx(p, abs=5e-3)
        assert out.mean().item() == pytest.approx(1, abs=1e-2)

    def test_gradient_passes_where_the_value_does(self):
        dropout = Dropout(0.5)
        dropout.generator = generator()
        x = torch.ones(1000, requires_grad=True)
        out = dropout(x)
        out.sum().backward()
        assert torch.equal(x.grad, out.detach())

    def test_evaluation_and_zero_rate_are_the_identity(self):
        x = torch.randn(10, generator=generator())
        assert Dropout(0.5).eval()(x) is x
        assert Dropout(0.0)(x) is x

    def test_seed_decides_and_the_state_is_pickled(self):
        dropout = Dropout(0.5)
        dropout.generator = generator(3)
        copy = pickle.loads(pickle.dumps(dropout))
        x = torch.ones(100)
        assert torch.equal(dropout(x), copy(x))
        assert not torch.equal(dropout(x), Dropout(0.5).eval()(x))

    @pytest.mark.parametrize("p", [-0.1, 1.0, 2])
    def test_impossible_rate(self, p):
        with pytest.raises(ValueError, match=r"Got p=.*expected a number in \[0, 1\)"):
            Dropout(p)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": (3, 3)}, "of length 2, but channels has length 3"),
        (
            {"kernel_size": 3, "padding": "valid", "pool_size": 2},
            "nothing is left in block 2",
        ),
    ],
)
def test_impossible_cnn(options, message):
    with pytest.raises(ValueError, match=message):
        SoftmaxCNN((1, 8, 8), 10, **options)
