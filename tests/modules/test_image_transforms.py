r"""Transforms of torchvision: drawn per image, on their scale, checked before fit."""

import pickle
import statistics
import time

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from torch import nn
from torchvision.transforms import v2

from sksoftmax import SoftmaxNetClassifier
from sksoftmax._training.augmentation import BatchAugmentation
from sksoftmax._training.batches import BatchIterator
from sksoftmax._training.tensor_table import TensorTable
from sksoftmax.modules import RandomShift, RandomWarp
from sksoftmax.modules._image_transforms import ScaledTransform, images_per_call
from sksoftmax.modules._user_transforms import SeededTransform

from .images import generator, images, load_large_digits, make_cnn


def convolutions(n_features, n_classes):
    return nn.Sequential(
        nn.Conv2d(1, 8, 5),
        nn.ReLU(),
        nn.MaxPool2d(12),
        nn.Flatten(),
        nn.Linear(8, n_classes),
    )


def make_net(**params):
    options = {"image_shape": (16, 16), "max_epochs": 2, "random_state": 0}
    return SoftmaxNetClassifier(convolutions, **{**options, **params})


MAKES = [pytest.param(make_cnn, id="cnn"), pytest.param(make_net, id="net")]


class Recorder(Callback):
    r"""Keeps the batches of a training, labels with them."""

    def initialize(self):
        self.batches = []
        return self

    def on_batch_begin(self, net, batch, training, **kwargs):
        if training:
            self.batches.append((batch[0].clone(), batch[1].clone()))


def ramps(n_rows, dtype=np.uint8):
    r"""Return images that are brighter on the right, and labels in their first line."""
    ramp = np.tile(np.arange(16) * 10 + 50, (n_rows, 16, 1))
    y = np.arange(n_rows) % 4
    # Equal images would count as one.
    ramp[:, 1:3] = np.random.default_rng(0).integers(0, 256, (n_rows, 2, 16))
    ramp[:, 0] = 10 * y[:, None]
    return ramp.astype(dtype), y


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("data_pruning", [0.0, 0.5])
def test_each_image_of_a_batch_is_flipped_or_not(make, data_pruning):
    X, y = ramps(1280)
    params = {"augmentation": v2.Compose([v2.RandomHorizontalFlip()]), "batch_size": 64}
    if make is make_cnn:
        params["data_pruning"] = data_pruning
    model = make(callbacks=[Recorder()], max_epochs=3, **params).fit(X, y)
    recorder = dict(model.net_.callbacks_)["Recorder"]
    shares = []
    for batch, labels in recorder.batches:
        assert batch.shape[1:] == (1, 16, 16)
        # Images stay with their labels.
        assert torch.equal(batch[:, 0, 0, 0], 10 * labels.to(batch.dtype))
        shares.append(float((batch[:, 0, 5, 0] > batch[:, 0, 5, -1]).float().mean()))
    assert 0.35 < np.mean(shares) < 0.65
    # With one draw for a batch, they were 0 or 1.
    assert 0.2 < min(shares) < max(shares) < 0.8


def test_a_short_epoch_is_drawn_in_small_groups():
    table = TensorTable(torch.zeros(60, 16), torch.arange(60))
    calls = []

    def vary(group):
        calls.append(len(group))
        return group + len(calls)

    batches = BatchIterator(table, 20, True, generator())
    batches.augmentation = BatchAugmentation(vary, (1, 4, 4), n_batches=128)
    X, y = zip(*batches, strict=True)
    assert torch.cat([labels for labels, _ in y]).sort().values.tolist() == list(
        range(60)
    )
    assert calls == [15] * 4
    assert [len(part[:, 0, 0, 0].unique()) for part in X] == [4] * 3


def test_no_two_images_of_a_batch_have_the_same_draw():
    table = TensorTable(torch.zeros(1010, 16, dtype=torch.uint8), torch.arange(1010))
    n_calls = 0

    def vary(group):
        nonlocal n_calls
        n_calls += 1
        return group + n_calls

    batches = BatchIterator(table, 20, True, generator())
    batches.augmentation = BatchAugmentation(vary, (1, 4, 4), n_batches=30)
    for X, _ in batches:
        assert len(X[:, 0, 0, 0].unique()) == len(X)
    # The second group of batches has 21 of them.
    assert n_calls == 2 * 20


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [
        (0, 255, np.uint8),
        (0, 255, np.float32),
        (0, 255, np.int64),
        (0, 254.5, np.float64),
        (0, 1, np.float32),
        (-1, 1, np.float32),
        (0, 16, np.float64),
    ],
)
def test_transforms_get_the_scale_that_they_expect(make, low, high, dtype):
    X, y = load_large_digits()
    X = (low + (high - low) * (X / X.max())).astype(dtype)
    transform = v2.Compose([v2.RandomInvert(0.5), v2.RandomSolarize(0.5, 0.5)])
    if dtype == np.uint8:
        transform = v2.RandomInvert(0.5)
    model = make(augmentation=transform, callbacks=[Recorder()]).fit(X, y)
    batches = [X for X, _ in dict(model.net_.callbacks_)["Recorder"].batches]
    lowest, highest = torch.cat(batches).aminmax()
    np.testing.assert_allclose([lowest, highest], [low, high], rtol=1e-5)
    assert transform is model.augmentation


def test_jitter_of_floats_from_0_to_255_no_longer_destroys_them():
    # In silence, the accuracy once fell from .8 to .1.
    X, y = load_large_digits()
    X = (255 * (X / X.max())).astype(np.float32)
    jitter = v2.Compose([v2.ColorJitter(brightness=0.3)])
    scores = [
        make_cnn(augmentation=augmentation, max_epochs=8).fit(rows, y).score(rows, y)
        for rows in (X, X.astype(np.uint8))
        for augmentation in (None, jitter)
    ]
    assert min(scores) > 0.6
    assert max(scores) - min(scores) < 0.1


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize(
    ("transform", "dtype", "message"),
    [
        (v2.Normalize([0.5], [0.5]), np.float32, "expected the same scale.*Normalize"),
        (
            v2.Compose([v2.RandomRotation(5), v2.Normalize([0.1], [0.3])]),
            np.float32,
            "expected the same scale",
        ),
        (v2.Normalize([0.5], [0.5]), np.uint8, "augmentation failed"),
        (v2.ToDtype(torch.float32, scale=True), np.uint8, "Leave out ToDtype"),
        (v2.Resize(12), np.uint8, r"Tensor of shape \(\d+, 1, 12, 12\)"),
        (v2.RandomCrop(17), np.uint8, "augmentation failed"),
        (v2.Grayscale(3), np.uint8, r"Tensor of shape \(\d+, 3, 16, 16\)"),
        (v2.ToPILImage(), np.uint8, "augmentation failed|returned"),
        (nn.Sequential(v2.Resize(8)), np.uint8, r"Tensor of shape"),
    ],
)
def test_what_a_transform_returns_is_checked_before_training(
    make, transform, dtype, message
):
    X, y = load_large_digits()
    X = X.astype(dtype) / (X.max() if dtype == np.float32 else 1)
    model = make(augmentation=transform)
    with pytest.raises(ValueError, match=message):
        model.fit(X.astype(dtype), y)
    assert not hasattr(model, "module_")


@pytest.mark.parametrize(
    "transform",
    [
        v2.RandomAffine(5),
        v2.RandomErasing(0.9),
        v2.AutoAugment(),
        v2.RandomEqualize(1.0),
        v2.GaussianNoise(sigma=0.5, clip=False),
        v2.RandomCrop(16, padding=2),
        nn.Sequential(v2.RandomHorizontalFlip(), v2.ColorJitter(0.3)),
    ],
    ids=lambda transform: type(transform).__name__,
)
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_usual_transforms_are_learned_from(transform, dtype):
    X, y = load_large_digits()
    if isinstance(transform, v2.GaussianNoise) and dtype == np.uint8:
        pytest.skip("torchvision has no noise of bytes without clamping")
    X = (X / X.max() * (255 if dtype == np.uint8 else 1)).astype(dtype)
    make_cnn(augmentation=transform, max_epochs=1).fit(X, y)


@pytest.mark.parametrize("make", MAKES)
def test_same_seed_same_bits_and_global_generator_as_before(make):
    X, y = load_large_digits()
    before = torch.get_rng_state()
    transform = v2.RandomAffine(10)
    a, b = (make(augmentation=transform).fit(X, y).predict_proba(X) for _ in range(2))
    assert np.array_equal(a, b)
    assert torch.equal(torch.get_rng_state(), before)
    other = make(augmentation=transform, random_state=1).fit(X, y)
    assert not np.array_equal(a, other.predict_proba(X))


@pytest.mark.parametrize("make", MAKES)
def test_transforms_with_other_get_params_are_cloned_and_searched(make):
    X, y = load_large_digits()
    transform = v2.RandomRotation(10)
    model = make(augmentation=transform, max_epochs=1)
    # torchvision has a get_params of its own.
    assert model.get_params()["augmentation"] is transform
    copy = clone(model)
    assert copy.augmentation is not transform
    assert repr(copy) == repr(model)
    assert model.augmentation is transform
    search = GridSearchCV(model, {"learning_rate": [0.001, 0.01]}, cv=2)
    assert not np.isnan(search.fit(X, y).cv_results_["mean_test_score"]).any()
    fitted = clone(make(augmentation="shift", max_epochs=1).fit(X, y))
    assert fitted.augmentation == "shift"
    assert not hasattr(fitted, "module_")


@pytest.mark.parametrize("make", MAKES)
def test_streams_warm_starts_and_pickles(make):
    X, y = load_large_digits()
    model = make(augmentation=v2.RandomAffine(10), warm_start=True)
    for start in range(0, 400, 100):
        piece = slice(start, start + 100)
        model.partial_fit(X[piece], y[piece], classes=np.arange(10))
    model.fit(X, y).fit(X, y).partial_fit(X[:1], y[:1])
    if make is make_cnn:
        copy = pickle.loads(pickle.dumps(model))
        assert np.array_equal(copy.predict_proba(X), model.predict_proba(X))
        copy.partial_fit(X, y)


@pytest.mark.parametrize(
    "augmentation", ["shift", "shift_flip", "warp", RandomShift((2, 0)), RandomWarp()]
)
def test_layers_vary_each_image_of_a_net(augmentation):
    X, y = ramps(256)
    X[:, 4] = 0
    model = make_net(augmentation=augmentation, callbacks=[Recorder()]).fit(X, y)
    batch, _ = dict(model.net_.callbacks_)["Recorder"].batches[0]
    assert batch.dtype == torch.float32
    assert len(batch[:, 0, 3:6].flatten(1).unique(dim=0)) > 2
    again = make_net(augmentation=augmentation).fit(X, y)
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X))
    plain = make_net().fit(X, y)
    assert not np.array_equal(plain.predict_proba(X), model.predict_proba(X))


def test_augmentation_of_a_net_improves_shifted_digits():
    X, y = load_large_digits()
    X = X.reshape(-1, 1, 16, 16)

    def make_module(n_features, n_classes):
        return nn.Sequential(
            nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10)
        )

    moved = np.roll(X[200:], 2, axis=3)
    scores = [
        SoftmaxNetClassifier(
            make_module, augmentation=augmentation, max_epochs=40, random_state=0
        )
        .fit(X[:200], y[:200])
        .score(moved, y[200:])
        for augmentation in (
            None,
            RandomShift((2, 2)),
            v2.RandomAffine(0, (0.125, 0.125)),
        )
    ]
    assert min(scores[1:]) > scores[0] + 0.1


def test_a_function_may_vary_rows_of_any_shape():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    y = (X.sum(1) > 0).astype(int)
    model = SoftmaxNetClassifier(
        nn.Linear,
        augmentation=lambda rows: rows + 0.1 * torch.randn(rows.shape),
        learning_rate=0.01,
        random_state=0,
    )
    assert model.fit(X, y).score(X, y) > 0.9


@pytest.mark.parametrize("augmentation", ["shift", RandomWarp(), v2.RandomRotation(5)])
@pytest.mark.parametrize("shape", [(256,), (16, 16)])
def test_rows_that_are_no_images_need_an_image_shape(augmentation, shape):
    X, y = load_large_digits()
    X = X.reshape(-1, *shape)
    with pytest.raises(ValueError, match=r"Set image_shape to \(height, width\)"):
        make_net(image_shape=None, augmentation=augmentation).fit(X, y)
    make_net(image_shape=(16, 16), augmentation=augmentation).fit(X, y)


def test_per_image_costs_at_most_twice_a_call_for_the_batch():
    X = images(16384, 784)
    table = TensorTable(X, torch.zeros(len(X), dtype=torch.int64))
    transform = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomRotation(10)])
    scaled = ScaledTransform(transform, as_bytes=True)
    per_image = BatchAugmentation(scaled, (1, 28, 28), images_per_call(784))
    layer = SeededTransform(transform)
    layer.generator = generator()

    def seconds(augmentation, after):
        batches = BatchIterator(table, 128, True, generator())
        batches.augmentation = augmentation
        start = time.process_time()
        for batch, _ in batches:
            after(batch.view(-1, 1, 28, 28))
        return time.process_time() - start

    pairs = [(seconds(per_image, id), seconds(None, layer)) for _ in range(3)]
    own, batched = map(statistics.median, zip(*pairs, strict=True))
    assert own < 2 * batched
