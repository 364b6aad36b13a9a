r"""Images as rows: the order of the axes, and errors and warnings about it."""

import numpy as np
import pytest
import torch

from sksoftmax import SoftmaxCNNClassifier, SoftmaxMLPClassifier


def pictures(n_rows=120):
    r"""Return smooth images (n, 16, 16, 3) whose class is the place of a red spot."""
    rng = np.random.default_rng(0)
    y = np.arange(n_rows) % 2
    row, column = np.mgrid[:16, :16]
    middle = np.where(y == 0, 4, 11)[:, None, None] + rng.normal(size=(n_rows, 1, 1))
    spot = np.exp(-((row - middle) ** 2 + (column - 8) ** 2) / 8)
    tilt = rng.random((n_rows, 1, 1)) * row / 16
    images = np.stack([spot, tilt, 1 - tilt], axis=3)
    return images + rng.normal(scale=0.02, size=images.shape), y


def cnn(**parameters):
    return SoftmaxCNNClassifier(
        **{"channels": (8, 8), "max_epochs": 8, "random_state": 0, **parameters}
    )


def first(images):
    return images.transpose(0, 3, 1, 2).reshape(len(images), -1)


@pytest.mark.parametrize("make", [np.asarray, torch.tensor])
def test_error_about_channels_last_recommends_the_right_order(make):
    X, y = pictures()
    with pytest.raises(ValueError, match=r"pass X\.transpose\(0, 3, 1, 2\)") as caught:
        cnn().fit(make(X), y)
    message = str(caught.value)
    assert "reshape(len(X), -1) with image_shape=(3, 16, 16)" in message
    model = cnn(image_shape=(3, 16, 16)).fit(first(X[:80]), y[:80])
    assert model.score(first(X[80:]), y[80:]) > 0.95


@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((20, 3, 16, 16), r"pass X\.reshape\(len\(X\), -1\) with .*\(3, 16, 16\)\.$"),
        ((20, 16, 12), r"pass X\.reshape\(len\(X\), -1\) with image_shape=\(16, 12\)"),
        ((20, 16, 12, 1), r"transpose.*image_shape=\(1, 16, 12\)"),
        ((20, 16, 12, 4), r"transpose.*image_shape=\(4, 16, 12\)"),
        ((20, 2, 3, 4, 5), r"pass X\.reshape\(len\(X\), -1\)\.$"),
    ],
)
def test_error_depends_on_the_shape(shape, advice):
    with pytest.raises(ValueError, match=advice):
        cnn().fit(np.zeros(shape), np.arange(20) % 2)


def test_other_classifiers_flatten_images_of_any_order():
    with pytest.raises(ValueError, match=r"pass X\.reshape\(len\(X\), -1\)\.$"):
        SoftmaxMLPClassifier().fit(np.zeros((20, 8, 8, 3)), np.arange(20) % 2)


@pytest.mark.parametrize("image_shape", [(28, 28, 1), (16, 16, 3), (8, 12, 4)])
def test_channels_as_the_last_entry_of_the_shape(image_shape):
    X = np.zeros((20, np.prod(image_shape)))
    expected = (image_shape[2], *image_shape[:2])
    with pytest.raises(ValueError, match=r"looks like .height, width, n_ch") as caught:
        cnn(image_shape=image_shape).fit(X, np.arange(20) % 2)
    assert f"expected (n_channels, height, width): {expected}" in str(caught.value)
    assert f"X.reshape{(-1, *image_shape)}.transpose(0, 3, 1, 2)" in str(caught.value)


@pytest.mark.parametrize("image_shape", [(3, 8, 8), (1, 8, 3), (3, 4, 4), (4, 1, 1)])
def test_shapes_with_few_pixels_are_accepted(image_shape):
    X = np.random.default_rng(0).random((20, np.prod(image_shape)))
    model = cnn(image_shape=image_shape, max_epochs=1, pool_size=1)
    assert model.fit(X, np.arange(20) % 2).image_shape_ == image_shape


@pytest.mark.parametrize("image_shape", [None, (3, 16, 16)])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_flat_rows_with_the_channels_last_warn(image_shape, dtype):
    X, y = pictures(60)
    X = (100 * X.clip(0, 2)).astype(dtype)
    model = cnn(image_shape=image_shape, max_epochs=1)
    with pytest.warns(UserWarning, match=r"channels were the last .*\(-1, 16, 16, 3\)"):
        model.fit(X.reshape(60, -1), y)
    # Warnings are errors in these tests.
    model.fit(first(X), y)


@pytest.mark.parametrize("kind", ["noise", "constant", "gray noise", "checkerboard"])
def test_no_warning_for_rows_that_are_not_pictures(kind):
    rng = np.random.default_rng(0)
    X = {
        "noise": rng.random((40, 16, 16, 3)),
        "constant": np.ones((40, 16, 16, 3)),
        "gray noise": np.repeat(rng.random((40, 16, 16, 1)), 3, 3),
        "checkerboard": np.indices((40, 16, 16, 3)).sum(0) % 2.0,
    }[kind]
    for rows in (first(X), X.reshape(40, -1)):
        cnn(max_epochs=1).fit(rows, np.arange(40) % 2)
