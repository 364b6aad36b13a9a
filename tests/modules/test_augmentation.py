r"""Layers that vary images in training, alone and in a classifier."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage
from sklearn.base import clone
from sklearn.datasets import load_digits
from torch import nn
from torchvision.transforms import v2

from sksoftmax._nets import cnn_defaults
from sksoftmax.modules import RandomShift, RandomWarp, SoftmaxCNN
from sksoftmax.modules._augmentation import make_augmentation, shifted
from sksoftmax.modules._base import set_generator

from .images import generator, images, load_large_digits, make_cnn


def invert(batch):
    return 255 - batch


def noisy(batch):
    return batch + torch.rand(batch.shape)


@pytest.fixture(scope="module")
def large_digits():
    return load_large_digits()


@pytest.fixture(scope="module")
def few_digits(large_digits):
    X, y = large_digits
    return X[:130], y[:130]


class TestShifted:
    @pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
    @pytest.mark.parametrize("shape", [(1, 7, 7), (3, 5, 9), (2, 1, 6)])
    def test_equals_scipy(self, shape, dtype):
        batch = images(20, *shape).to(dtype)
        down = torch.randint(-3, 4, (20,), generator=generator(1))
        right = torch.randint(-3, 4, (20,), generator=generator(2))
        result = shifted(batch, down, right)
        assert result.dtype == dtype
        for before, after, *by in zip(batch, result, down, right, strict=True):
            expected = ndimage.shift(before.numpy(), (0, *by), order=0, mode="nearest")
            assert_array_equal(after, expected)

    def test_images_are_mirrored_before_the_shift(self):
        batch = images(6, 2, 4, 5)
        down, right = torch.tensor([[0, 1, -1, 2, 0, 1], [1, 0, -2, 1, -1, 0]])
        mirrored = torch.tensor([True, False] * 3)
        result = shifted(batch, down, right, mirrored)
        plain = shifted(batch, down, right)
        assert torch.equal(result[1::2], plain[1::2])
        mirrors = shifted(batch.flip(-1), down, right)
        assert torch.equal(result[::2], mirrors[::2])


class TestRandomShift:
    def test_every_shift_is_as_frequent(self):
        position = torch.zeros(1, 1, 9, 9)
        position[0, 0, 4, 4] = 1
        layer = RandomShift((2, 1), flip=True)
        layer.generator = generator()
        counts = layer(position.expand(15_000, -1, -1, -1)).sum((0, 1))
        assert counts.sum() == 15_000
        assert_allclose(counts[2:7, 3:6], 1000, atol=5 * np.sqrt(1000))

    def test_half_of_the_images_are_mirrored(self):
        batch = torch.arange(3.0).expand(4000, 1, 1, 3)
        layer = RandomShift((0, 0), flip=True)
        layer.generator = generator()
        first = layer(batch)[:, 0, 0, 0]
        assert set(first.tolist()) == {0.0, 2.0}
        assert 0.45 < (first == 2).double().mean() < 0.55

    def test_channels_of_an_image_move_together(self):
        batch = images(50, 1, 8, 6).expand(-1, 3, -1, -1)
        layer = RandomShift((2, 2), flip=True)
        layer.generator = generator()
        result = layer(batch)
        assert torch.equal(result[:, 0], result[:, 1])
        assert torch.equal(result[:, 0], result[:, 2])
        assert not torch.equal(result, batch)

    def test_evaluation_and_no_shift_change_nothing(self):
        batch = images(50, 1, 8, 8)
        assert RandomShift((2, 2), flip=True).eval()(batch) is batch
        still = RandomShift((0, 0))
        still.generator = generator()
        assert torch.equal(still(batch), batch)

    def test_generator_decides(self):
        batch = images(50, 1, 8, 8)
        results = []
        for seed in (0, 0, 1):
            layer = RandomShift((2, 2))
            set_generator(layer, generator(seed))
            results.append(layer(batch))
        assert torch.equal(results[0], results[1])
        assert not torch.equal(results[0], results[2])

    @pytest.mark.parametrize("max_shift", [(-1, 2), (2,), (1, 1, 1)])
    def test_impossible_shifts(self, max_shift):
        with pytest.raises(ValueError, match=r"Got max_shift=.*two integers"):
            RandomShift(max_shift)

    def test_in_front_of_a_module_in_a_plain_loop(self):
        augmentation = RandomShift((1, 1))
        set_generator(augmentation, generator())
        module = SoftmaxCNN(
            (1, 8, 8),
            2,
            channels=(4,),
            kernel_size=3,
            augmentation=augmentation,
            generator=generator(),
        )
        batch = images(5, 1, 8, 8).float()
        first, second = module(batch), module(batch)
        assert not torch.equal(first, second)
        module.eval()
        assert torch.equal(module(batch), module(batch))


STILL = dict.fromkeys(["max_angle", "max_scale", "max_shear", "max_shift", "bend"], 0.0)


class TestRandomWarp:
    @pytest.mark.parametrize(
        "moved",
        [
            {},
            {"max_angle": 20.0},
            {"max_scale": 0.3},
            {"max_shear": 0.4},
            {"max_shift": 0.15},
            {"max_angle": 8.0, "max_scale": 0.1, "max_shear": 0.1, "max_shift": 0.05},
        ],
        ids=lambda moved: "-".join(moved) or "still",
    )
    @pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
    def test_equals_scipy(self, moved, dtype, monkeypatch):
        # As far as it goes, in the direction that is given.
        monkeypatch.setattr(
            RandomWarp, "_draw", lambda self, x, most: torch.full((len(x), 1, 1), most)
        )
        batch = images(3, 2, 13, 18).to(dtype)
        most = {**STILL, **moved}
        layer = RandomWarp(**most)
        layer.generator = generator()
        result = layer(batch)
        assert result.dtype == (torch.float32 if dtype == torch.uint8 else dtype)
        angle = np.deg2rad(most["max_angle"])
        # Coordinates are (row, column).
        turn = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
        shear = [[1, 0], [most["max_shear"], 1]]
        matrix = np.array(turn) @ shear * np.exp(most["max_scale"])
        size = np.array([13, 18])
        middle = (size - 1) / 2
        offset = middle + most["max_shift"] * size - matrix @ middle
        for before, after in zip(
            batch.flatten(0, 1), result.flatten(0, 1), strict=True
        ):
            expected = ndimage.affine_transform(
                before.double().numpy(), matrix, offset, order=1, mode="nearest"
            )
            assert_allclose(after, expected, atol=2e-3)

    def test_bends_have_the_given_size_and_are_smooth(self):
        # Pixels that say where they are.
        ramp = torch.arange(29.0).expand(29, 29)
        batch = torch.stack([ramp, ramp.T]).expand(4000, -1, -1, -1)
        layer = RandomWarp(**{**STILL, "bend": 0.03})
        layer.generator = generator()
        by = layer(batch) - batch
        # A point of the grid is the middle.
        assert_allclose(by[:, :, 14, 14].std(0), 0.03 * 29, rtol=0.05)
        assert_allclose(by[:, :, 14, 14].mean(0), 0, atol=0.05)
        correlation = torch.corrcoef(by[:, :, 14, 14].T)
        assert abs(correlation[0, 1]) < 0.1
        assert by.diff(dim=2).abs().mean() < 0.15

    def test_each_image_by_itself_and_its_channels_together(self):
        batch = images(1, 1, 16, 16).expand(200, 3, -1, -1)
        layer = RandomWarp()
        layer.generator = generator()
        result = layer(batch)
        assert torch.equal(result[:, 0], result[:, 2])
        assert len(result.flatten(1).unique(dim=0)) == 200

    def test_shifts_reach_the_maximum_in_both_directions(self):
        ramp = torch.arange(20.0).expand(1000, 1, 20, 20)
        layer = RandomWarp(**{**STILL, "max_shift": 0.1})
        layer.generator = generator()
        by = (layer(ramp) - ramp)[:, 0, 10, 10]
        assert_allclose(torch.aminmax(by), (-2, 2), atol=0.02)
        assert_allclose(by.mean(), 0, atol=0.15)

    def test_generator_decides_and_evaluation_changes_nothing(self):
        batch = images(50, 1, 8, 8)
        results = []
        for seed in (0, 0, 1):
            layer = RandomWarp()
            set_generator(layer, generator(seed))
            results.append(layer(batch))
        assert torch.equal(results[0], results[1])
        assert not torch.equal(results[0], results[2])
        assert layer.eval()(batch) is batch

    def test_reduced_precision_of_the_net_does_not_move_pixels(self):
        batch = images(50, 1, 28, 28)
        results = []
        for enabled in (True, False):
            layer = RandomWarp()
            layer.generator = generator()
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                results.append(layer(batch))
        assert torch.equal(*results)

    @pytest.mark.parametrize("name", STILL)
    @pytest.mark.parametrize("value", [-0.1, np.inf, np.nan])
    def test_impossible_values(self, name, value):
        with pytest.raises(ValueError, match=rf"Got {name}=.*at least 0"):
            RandomWarp(**{name: value})


class TestAuto:
    @pytest.mark.parametrize(
        ("size", "max_shift"),
        [
            ((28, 28), (1, 1)),
            ((32, 32), (1, 1)),
            ((16, 16), (1, 1)),
            ((64, 16), (2, 1)),
            ((15, 64), None),
            ((8, 8), None),
            ((1, 93), None),
        ],
    )
    def test_shift_by_size(self, size, max_shift):
        layer = make_augmentation(cnn_defaults.augmentation("auto", size), size)
        assert getattr(layer, "max_shift", None) == max_shift
        if layer is not None:
            assert not layer.flip

    def test_explicit_shift_moves_small_images_by_a_pixel(self):
        assert make_augmentation("shift", (8, 8)).max_shift == (1, 1)
        assert make_augmentation("shift_flip", (8, 8)).flip
        assert make_augmentation(None, (28, 28)) is None

    def test_layer_is_taken_as_it_is_and_left_alone(self, large_digits):
        layer = RandomShift((1, 1), flip=True)
        by_layer = make_cnn(augmentation=layer).fit(*large_digits)
        by_name = make_cnn(augmentation="shift_flip").fit(*large_digits)
        assert layer.training
        assert layer.generator is None
        # Predictions average over the views that suit it, too.
        X = large_digits[0][:50]
        assert_array_equal(by_layer.predict_proba(X), by_name.predict_proba(X))

    def test_small_images_train_as_without(self):
        X, y = load_digits(return_X_y=True)
        auto, without = (
            make_cnn(augmentation=augmentation).fit(X, y).predict_proba(X)
            for augmentation in ("auto", None)
        )
        assert_array_equal(auto, without)

    def test_large_images_train_otherwise(self, large_digits):
        curves = {
            augmentation: make_cnn(augmentation=augmentation)
            .fit(*large_digits)
            .loss_curve_
            for augmentation in ("auto", "shift", "shift_flip", None)
        }
        assert curves["auto"] == curves["shift"]
        assert curves["auto"] != curves[None]
        assert curves["auto"] != curves["shift_flip"]


AUGMENTATIONS = [
    pytest.param("shift", id="shift"),
    pytest.param("shift_flip", id="shift_flip"),
    pytest.param("warp", id="warp"),
    pytest.param(invert, id="function"),
    pytest.param(noisy, id="noise"),
    pytest.param(
        v2.Compose([v2.RandomCrop(16, padding=2), v2.RandomHorizontalFlip()]),
        id="torchvision",
    ),
    # Alone, it has a method get_params that scikit-learn's clone takes for its own.
    pytest.param(v2.Compose([v2.RandomAffine(degrees=20)]), id="affine"),
]


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
class TestClassifier:
    def test_random_state_decides_every_bit(self, augmentation, few_digits):
        X, y = few_digits
        first, again, other = (
            make_cnn(augmentation=augmentation, random_state=seed).fit(X, y)
            for seed in (0, 0, 1)
        )
        assert_array_equal(first.predict_proba(X), again.predict_proba(X))
        assert (first.predict_proba(X) != other.predict_proba(X)).any()

    def test_prediction_is_not_augmented(self, augmentation, few_digits):
        X, y = few_digits
        model = make_cnn(augmentation=augmentation).fit(X, y)
        assert_array_equal(model.predict_proba(X), model.predict_proba(X))

    def test_copies_continue_with_the_same_bits(self, augmentation, few_digits):
        X, y = few_digits
        model = make_cnn(augmentation=augmentation)
        cloned = clone(model).fit(X, y)
        model.fit(X, y)
        restored = pickle.loads(pickle.dumps(model))
        for each in (model, cloned, restored):
            each.partial_fit(X, y)
        assert_array_equal(model.predict_proba(X), cloned.predict_proba(X))
        assert_array_equal(model.predict_proba(X), restored.predict_proba(X))


@pytest.mark.parametrize("augmentation", ["flip", 2, True])
def test_unknown_augmentation(augmentation, large_digits):
    with pytest.raises(ValueError, match=r"The 'augmentation' parameter .* must be"):
        make_cnn(augmentation=augmentation).fit(*large_digits)


def test_transform_gets_the_images_as_they_came():
    X = images(80, 2 * 4 * 6, seed=1).numpy()
    batches = []

    def recording(batch):
        batches.append(batch.clone())
        return batch

    make_cnn(
        image_shape=(2, 4, 6), augmentation=recording, batch_size=40, max_epochs=1
    ).fit(X, np.arange(80) % 2)
    assert [tuple(batch.shape) for batch in batches] == [(40, 2, 4, 6)] * 2
    seen = torch.cat(batches).flatten(1).numpy()
    assert_array_equal(seen[np.lexsort(seen.T)], X[np.lexsort(X.T)])


def test_learns_what_is_shifted(large_digits):
    # Trained on images in the middle, tested on images two pixels aside.
    X, y = large_digits
    scores = {}
    for augmentation in (None, lambda batch: RandomShift((3, 3))(batch)):
        model = make_cnn(
            augmentation=augmentation,
            channels=(8, 16),
            global_pooling=None,
            max_epochs=25,
            learning_rate=0.02,
        ).fit(X, y)
        aside = np.roll(X.reshape(-1, 16, 16), (2, 2), axis=(1, 2)).reshape(X.shape)
        scores[augmentation is None] = model.score(aside, y)
    assert scores[False] > 0.85
    assert scores[False] > scores[True] + 0.1


def test_state_of_the_module_is_that_without_augmentation(large_digits):
    with_it = make_cnn(augmentation="shift").fit(*large_digits).module_
    without = make_cnn(augmentation=None).fit(*large_digits).module_
    assert list(with_it.state_dict()) == list(without.state_dict())
    assert isinstance(without.augmentation, nn.Identity)
