r"""A user's transform of images: its generator, and results that are refused."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from sksoftmax.modules import Dropout
from sksoftmax.modules._base import set_generator
from sksoftmax.modules._user_transforms import SeededTransform

from .images import generator, images, load_large_digits, make_cnn


def invert(batch):
    return 255 - batch


def noisy(batch):
    return batch + torch.rand(batch.shape)


@pytest.fixture(scope="module")
def large_digits():
    return load_large_digits()


def function_of(transform):
    r"""Return a function that draws once for a batch, as a transform does."""
    return lambda batch: transform(batch)


def posterized(batch):
    if batch.dtype != torch.uint8:
        raise TypeError("Only torch.uint8 image tensors are supported.")
    return batch & 0xF0


class TestTransforms:
    def test_same_seed_same_noise_and_global_generator_as_before(self):
        batch = images(4, 1, 5, 5).float()
        before = torch.get_rng_state()
        results = []
        for seed in (0, 0, 1):
            layer = SeededTransform(noisy)
            set_generator(layer, generator(seed))
            results.append(layer(batch))
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.equal(results[0], results[1])
        assert not torch.equal(results[0], results[2])

    def test_every_call_draws_anew(self):
        layer = SeededTransform(noisy)
        set_generator(layer, generator())
        batch = images(4, 1, 5, 5).float()
        assert not torch.equal(layer(batch), layer(batch))

    def test_evaluation_changes_nothing(self):
        batch = images(4, 1, 5, 5)
        assert SeededTransform(invert).eval()(batch) is batch

    def test_module_given_by_the_user_is_copied(self):
        dropout = Dropout(0.5)
        layer = SeededTransform(dropout)
        set_generator(layer, generator())
        layer.eval()
        assert dropout.training
        assert dropout.generator is None
        assert layer.transform.generator is not None

    @pytest.mark.parametrize(
        ("transform", "got"),
        [
            (lambda batch: batch[..., :-1], r"Tensor of shape \(\d+, 1, 16, 15\)"),
            (lambda batch: batch[:3], r"Tensor of shape \(3, 1, 16, 16\)"),
            (lambda batch: batch.numpy(), "ndarray of shape None"),
        ],
    )
    def test_other_shapes_are_refused(self, transform, got, large_digits):
        with pytest.raises(ValueError, match=f"augmentation returned {got}.*same"):
            make_cnn(augmentation=transform).fit(*large_digits)

    def test_clamped_floats_are_refused(self, large_digits):
        # In silence, the accuracy fell from .8 to .1.
        X, y = large_digits
        X = (255 * (X / X.max())).astype(np.float32)
        jitter = v2.Compose([v2.ColorJitter(brightness=0.3)])
        for transform in (jitter, v2.Compose([v2.RandomApply([jitter])])):
            model = make_cnn(augmentation=function_of(transform), max_epochs=3)
            with pytest.raises(ValueError, match=r"to 255 into .* to 1, .*uint8"):
                model.fit(X, y)
            assert not hasattr(model, "module_")

    @pytest.mark.parametrize("scale", [1, 255])
    def test_scales_that_torchvision_knows_are_learned_from(self, scale, large_digits):
        X, y = large_digits
        X = scale * (X / X.max()).astype(np.float32)
        X = X.astype(np.uint8) if scale == 255 else X
        jitter = v2.Compose([v2.ColorJitter(brightness=0.3)])
        scores = [
            make_cnn(augmentation=augmentation, max_epochs=8).fit(X, y).score(X, y)
            for augmentation in (None, function_of(jitter))
        ]
        assert scores[0] > 0.5
        assert scores[1] > scores[0] - 0.2

    def test_another_scale_is_refused(self, large_digits):
        X, y = large_digits
        X = (255 * (X / X.max())).astype(np.uint8)
        scaled = v2.Compose([v2.ToDtype(torch.float32, scale=True)])
        for augmentation in (function_of(scaled), lambda batch: batch.float() / 100):
            with pytest.raises(ValueError, match="expected the same scale"):
                make_cnn(augmentation=augmentation).fit(X, y)

    @pytest.mark.parametrize(
        ("low", "high", "transform"),
        [
            (-1, 1, v2.ColorJitter(brightness=0.3)),
            (0, 255, v2.RandomInvert(0.5)),
            (0, 255, v2.RandomSolarize(0.5)),
            (0, 1, v2.Normalize([0.5], [0.5])),
        ],
    )
    def test_another_range_is_refused(self, low, high, transform, large_digits):
        # With pixels from -1 to 1, the accuracy fell from .93 to .48 in silence.
        X, y = large_digits
        X = (low + (high - low) * (X / X.max())).astype(np.float32)
        with pytest.raises(ValueError, match="expected the same scale"):
            make_cnn(augmentation=function_of(transform), max_epochs=3).fit(X, y)

    @pytest.mark.parametrize(
        ("low", "transform"),
        [
            (-1, v2.RandomAffine(5)),
            (-1, v2.RandomErasing(0.9)),
            (0, v2.GaussianNoise(sigma=0.5, clip=False)),
            (0, v2.RandomInvert(0.5)),
        ],
    )
    def test_the_same_range_is_learned_from(self, low, transform, large_digits):
        X, y = large_digits
        X = (low + (1 - low) * (X / X.max())).astype(np.float32)
        make_cnn(augmentation=function_of(transform), max_epochs=1).fit(X, y)

    def test_some_dark_results_are_accepted(self):
        # A draw in five is almost black.
        layer = SeededTransform(
            lambda batch: batch * (1e-3 if torch.rand(()) < 0.2 else 1.0)
        )
        set_generator(layer, generator())
        batch = 255 * images(4, 1, 5, 5).float() / images(4, 1, 5, 5).max()
        largest = [float(layer(batch).max()) for _ in range(50)]
        assert min(largest) < 1 < max(largest)

    def test_transforms_of_whole_numbers_refuse_floats(self, large_digits):
        X, y = large_digits
        X = (X / X.max()).astype(np.float32)
        model = make_cnn(augmentation=function_of(v2.RandomEqualize(p=1)))
        # Some versions of torchvision equalize floats, too.
        with pytest.raises(ValueError, match=r"float32 images .*uint8"):
            make_cnn(augmentation=posterized).fit(X, y)
        model.fit((255 * X).astype(np.uint8), y)

    @pytest.mark.parametrize("value", [np.nan, np.inf, 1j])
    def test_pixels_that_are_no_numbers_are_refused(self, value, large_digits):
        with pytest.raises(ValueError, match="NaN, infinite or complex"):
            make_cnn(augmentation=lambda batch: batch * value).fit(*large_digits)
