r"""Predictions that average over shifted images."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage
from sklearn.datasets import load_digits

from .images import images, load_large_digits, make_cnn


@pytest.fixture(scope="module")
def large_digits():
    return load_large_digits()


SHIFTS = [(0, 0), (-1, -1), (1, 1)]


class TestTestTimeAugmentation:
    def moved(self, X, by, flip):
        batch = X.reshape(-1, 16, 16)
        batch = ndimage.shift(batch, (0, *by), order=0, mode="nearest")
        return (batch[..., ::-1] if flip else batch).reshape(X.shape).copy()

    @pytest.mark.parametrize("augmentation", ["shift", "shift_flip", "warp", None])
    def test_is_the_average(self, augmentation, large_digits):
        X, y = large_digits
        model = make_cnn(augmentation=augmentation, test_time_augmentation=False)
        model.fit(X, y)
        flips = (False, True) if augmentation == "shift_flip" else (False,)
        expected = np.mean(
            [
                model.predict_proba(self.moved(X, by, flip))
                for by in SHIFTS
                for flip in flips
            ],
            axis=0,
        )
        plain = model.predict_proba(X)
        model.set_params(test_time_augmentation=True)
        assert_allclose(model.predict_proba(X), expected, atol=1e-6)
        assert np.abs(plain - expected).max() > 0.001
        assert_allclose(model.predict_log_proba(X), np.log(expected), atol=1e-5)
        assert_allclose(model.decision_function(X), np.log(expected), atol=1e-5)
        assert_array_equal(model.predict(X), model.classes_[expected.argmax(1)])

    @pytest.mark.parametrize(
        ("augmentation", "expected"),
        [
            ("auto", True),
            ("shift", True),
            ("shift_flip", True),
            ("warp", True),
            (None, False),
            (torch.clone, False),
        ],
    )
    def test_auto_goes_by_training(self, augmentation, expected, large_digits):
        X, y = large_digits
        model = make_cnn(augmentation=augmentation).fit(X, y)
        probabilities = model.predict_proba(X)
        model.set_params(test_time_augmentation=expected)
        assert_array_equal(model.predict_proba(X), probabilities)
        model.set_params(test_time_augmentation=not expected)
        assert np.abs(model.predict_proba(X) - probabilities).max() > 0.001

    def test_auto_leaves_small_images_alone(self):
        X, y = load_digits(return_X_y=True)
        model = make_cnn().fit(X, y)
        probabilities = model.predict_proba(X)
        model.set_params(test_time_augmentation=False)
        assert_array_equal(model.predict_proba(X), probabilities)

    def test_two_classes(self, large_digits):
        X, y = large_digits
        model = make_cnn(test_time_augmentation=True).fit(X, y > 4)
        probabilities = model.predict_proba(X)
        assert_allclose(probabilities.sum(1), 1, atol=1e-6)
        assert_allclose(
            model.decision_function(X),
            np.log(probabilities[:, 1] / probabilities[:, 0]),
            atol=1e-4,
        )

    def test_color_images_that_are_not_square(self):
        X = images(60, 3 * 6 * 10).numpy()
        y = X[:, 0] > 128
        model = make_cnn(image_shape=(3, 6, 10), test_time_augmentation=False).fit(X, y)
        batch = torch.from_numpy(X).reshape(-1, 3, 6, 10)
        expected = np.mean(
            [
                model.predict_proba(
                    ndimage.shift(
                        batch.numpy(), (0, 0, *by), order=0, mode="nearest"
                    ).reshape(X.shape)
                )
                for by in SHIFTS
            ],
            axis=0,
        )
        model.set_params(test_time_augmentation=True)
        assert_allclose(model.predict_proba(X), expected, atol=1e-6)

    def test_a_single_row_and_a_pickle(self, large_digits):
        X, y = large_digits
        model = make_cnn(test_time_augmentation=True).fit(X, y)
        restored = pickle.loads(pickle.dumps(model))
        assert_array_equal(model.predict_proba(X), restored.predict_proba(X))
        assert_allclose(model.predict_proba(X[:1]), model.predict_proba(X)[:1], 1e-5)

    def test_training_is_the_same(self, large_digits):
        X, y = large_digits
        with_it, without = (
            make_cnn(test_time_augmentation=value).fit(X, y) for value in (True, False)
        )
        with_it.set_params(test_time_augmentation=False)
        assert_array_equal(with_it.predict_proba(X), without.predict_proba(X))
