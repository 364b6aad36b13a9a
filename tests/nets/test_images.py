r"""Images with axes and as flat rows: the order of the axes, errors and warnings."""

import re
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from torch import nn
from torch.utils.data import DataLoader, Dataset

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
)
from sksoftmax.datasets import fetch_fashion_mnist

from ..datasets.files import REAL_DATA, needs_real_data


def pictures(n_rows=120, shape=(16, 16)):
    r"""Return smooth images (n, H, W, 3) whose class is the place of a red spot."""
    rng = np.random.default_rng(0)
    y = np.arange(n_rows) % 2
    row, column = np.mgrid[: shape[0], : shape[1]]
    middle = np.where(y == 0, 4, 11)[:, None, None] + rng.normal(size=(n_rows, 1, 1))
    spot = np.exp(-((row - middle) ** 2 + (column - 8) ** 2) / 8)
    tilt = rng.random((n_rows, 1, 1)) * row / 16
    images = np.stack([spot, tilt, 1 - tilt], axis=3)
    return images + rng.normal(scale=0.02, size=images.shape), y


def as_bytes(images):
    return (100 * images.clip(0, 2)).astype(np.uint8)


def convolutions(n_features, n_classes, n_channels=3):
    return nn.Sequential(
        nn.Conv2d(n_channels, 8, 3),
        nn.ReLU(),
        nn.AdaptiveMaxPool2d(4),
        nn.Flatten(),
        nn.Linear(128, n_classes),
    )


def cnn(**parameters):
    return SoftmaxCNNClassifier(
        **{"channels": (8, 8), "max_epochs": 8, "random_state": 0, **parameters}
    )


def net(**parameters):
    options = {"max_epochs": 8, "random_state": 0, "learning_rate": 0.01}
    return SoftmaxNetClassifier(convolutions, **{**options, **parameters})


def first(images):
    return images.transpose(0, 3, 1, 2).reshape(len(images), -1)


# Each gives the same images, (n, H, W, 3) of bytes, in another shape, dtype or
# container.
FORMS = {
    "last": lambda X: X,
    "last, float32": lambda X: X.astype(np.float32),
    "last, int64": lambda X: X.astype(np.int64),
    "first": lambda X: np.ascontiguousarray(X.transpose(0, 3, 1, 2)),
    "first, a view": lambda X: X.transpose(0, 3, 1, 2),
    "last, a view": lambda X: FORMS["first"](X).transpose(0, 2, 3, 1),
    "tensor": torch.tensor,
    "tensor, first": lambda X: torch.tensor(X).permute(0, 3, 1, 2).contiguous(),
    "tensor, channels_last": lambda X: torch.tensor(X).permute(0, 3, 1, 2),
    "tensor, float32": lambda X: torch.tensor(X).float(),
    "list": list,
    "list of tensors": lambda X: list(torch.tensor(X)),
    "array of objects": lambda X: np.array([*X, None], dtype=object)[:-1],
    "every second one of more": lambda X: np.repeat(X, 2, axis=0)[::2],
}
MAKES = [pytest.param(cnn, id="cnn"), pytest.param(net, id="net")]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("make", MAKES)
def test_same_images_same_bits_in_every_form(make, form):
    X = as_bytes(pictures(60)[0])
    # Logits of three classes: the difference of two is rounded to the dtype of X.
    y = np.arange(60) % 3
    make = partial(make, max_epochs=2)
    flat = make(image_shape=(3, 16, 16)).fit(first(X), y)
    expected = flat.decision_function(first(X))
    model = make().fit(form(X), y)
    assert model.n_features_in_ == 768
    assert np.array_equal(model.decision_function(form(X)), expected)
    # Fitted to one form, it predicts from the others.
    assert np.array_equal(model.decision_function(X), expected)
    assert np.array_equal(flat.decision_function(form(X)), expected)


@pytest.mark.parametrize(
    ("parameters", "flatten"),
    [
        ({"image_shape": (16, 16, 3)}, lambda X: X.reshape(len(X), -1)),
        ({"image_shape": (3, 16, 16)}, first),
        (
            {"image_shape": (16, 16, 3), "channels_last": True},
            lambda X: X.reshape(len(X), -1),
        ),
    ],
)
@pytest.mark.parametrize("make", MAKES)
def test_image_shape_is_the_shape_that_reshape_gives(make, parameters, flatten):
    X, y = pictures()
    model = make(**parameters).fit(flatten(X[:80]), y[:80])
    assert model.score(flatten(X[80:]), y[80:]) > 0.95
    same = make().fit(X[:80], y[:80])
    assert np.array_equal(
        model.decision_function(flatten(X)), same.decision_function(X)
    )
    # Rows with axes need no second word about their order.
    assert np.array_equal(model.decision_function(X), same.decision_function(X))


def test_flat_rows_of_square_images_with_the_channels_last():
    X, y = pictures()
    model = cnn(channels_last=True).fit(X.reshape(120, -1), y)
    assert model.image_shape_ == (3, 16, 16)
    assert np.array_equal(
        model.predict_proba(X.reshape(120, -1)), cnn().fit(X, y).predict_proba(X)
    )


@pytest.mark.parametrize("shape", [(16, 12), (1, 16, 12), (16, 12, 1)])
def test_gray_images(shape):
    X, y = pictures(shape=(16, 12))
    X = X[..., 0].reshape(-1, *shape)
    model = cnn().fit(X[:80], y[:80])
    assert model.image_shape_ == (1, 16, 12)
    assert model.score(X[80:], y[80:]) > 0.95
    flat = model.decision_function(X.reshape(120, -1))
    for other in [(16, 12), (1, 16, 12), (16, 12, 1)]:
        assert np.array_equal(model.decision_function(X.reshape(-1, *other)), flat)


@pytest.mark.parametrize("image_shape", [(3, 8, 8), (1, 8, 3), (3, 4, 4), (4, 1, 1)])
def test_shapes_with_few_pixels_have_the_channels_first(image_shape):
    X = np.random.default_rng(0).random((20, np.prod(image_shape)))
    model = cnn(image_shape=image_shape, max_epochs=1, pool_size=1)
    assert model.fit(X, np.arange(20) % 2).image_shape_ == image_shape


@pytest.mark.parametrize("shape", [(8, 8, 8), (8, 8, 10), (3, 8, 4), (4, 4, 4)])
def test_axes_that_do_not_tell_the_order_ask_for_it(shape):
    rng = np.random.default_rng(0)
    X, y = rng.random((20, *shape)), np.arange(20) % 2
    with pytest.raises(ValueError, match=r"first or the last axis") as caught:
        cnn().fit(X, y)
    advice = re.findall(r"channels_last=(\w+) if a row is \(?(\w+)", str(caught.value))
    assert advice == [("True", "height")]
    last = cnn(channels_last=True, max_epochs=1).fit(X, y)
    assert last.image_shape_ == (shape[2], *shape[:2])
    assert "channels_last=False if it is (n_channels" in str(caught.value)
    assert cnn(channels_last=False, max_epochs=1).fit(X, y).image_shape_ == shape
    # The axes of later rows are compared with those of the fit.
    moved = np.ascontiguousarray(np.moveaxis(X, -1, 1))
    if shape[2] != shape[0]:
        assert np.array_equal(last.predict_proba(moved), last.predict_proba(X))


@pytest.mark.parametrize("make", MAKES)
def test_flat_rows_after_colored_images_ask_for_their_order(make):
    X, y = pictures()
    model = make().fit(X[:80], y[:80])
    with pytest.raises(ValueError, match="Got flat rows, but") as caught:
        model.predict(X[80:].reshape(40, -1))
    # Both pieces of advice, fed back with rows of that order.
    last, channels_first = re.findall(r"X\.reshape\((.*?)\)", str(caught.value))
    assert "if the channels of a pixel follow one another" in str(caught.value)
    expected = model.predict_proba(X[80:])
    for rows, shape in [
        (X[80:].reshape(40, -1), last),
        (first(X[80:]), channels_first),
    ]:
        rows = rows.reshape([int(n) for n in shape.split(",")])
        assert np.array_equal(model.predict_proba(rows), expected)
    # Set before fit, image_shape tells it as well.
    model = make(image_shape=(16, 16, 3)).fit(X[:80], y[:80])
    assert np.array_equal(model.predict_proba(X[80:].reshape(40, -1)), expected)


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((40, 16, 12, 3), r"\(n_samples, 3, 16, 16\) or \(n_samples, 16, 16, 3\)\.$"),
        ((40, 16, 16), r"Got X of shape \(n_samples, 16, 16\)"),
        ((16, 16, 3), r"For a single row, pass X\[None\]"),
        ((40, 1, 3, 16, 16), r"Got X of shape \(n_samples, 1, 3, 16, 16\)"),
        ((40, 767), "767 features.* 768 features"),
    ],
)
def test_rows_of_another_shape_than_in_fit(make, shape, message):
    X, y = pictures()
    model = make(image_shape=(16, 16, 3), max_epochs=1).fit(X, y)
    for call in (model.predict, model.predict_proba, lambda X: model.score(X, y[:40])):
        with pytest.raises(ValueError, match=message):
            call(np.zeros(shape))
    with pytest.raises(ValueError, match=r"X_val, y_val"):
        model.fit(
            X, y, X_val=np.zeros(shape), y_val=np.arange(len(np.zeros(shape))) % 2
        )
    assert model.predict(X[0][None]).shape == (1,)


class Pairs(Dataset):
    def __init__(self, X, y):
        self.X, self.y = torch.tensor(X).movedim(-1, 1), y

    def __len__(self):
        return len(self.X)

    def __getitem__(self, index):
        return self.X[index], self.y[index]


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("kind", [Pairs, DataLoader])
def test_what_the_error_about_a_dataset_advises_is_learned_from(make, kind):
    X, y = pictures(shape=(16, 14))
    dataset = Pairs(X[:80], y[:80])
    loader = DataLoader(dataset, batch_size=32)
    given = dataset if kind is Pairs else loader
    with pytest.raises(TypeError, match="Collect its") as caught:
        make().fit(given, y[:80])
    # The code in the message, run as it is.
    [code] = re.findall(r"X, y = .*\)", str(caught.value))
    scope = {"torch": torch, "dataset": dataset, "loader": loader}
    # A loader draws from PyTorch's global generator.
    with torch.random.fork_rng():
        exec(code, scope)
    model = make().fit(scope["X"], scope["y"])
    assert model.score(X[80:], y[80:]) > 0.95


def colored_clothes(subset, n_rows, seed):
    r"""Return Fashion-MNIST, each image in a color of its own on another color."""
    X, y = fetch_fashion_mnist(data_home=REAL_DATA, subset=subset, return_X_y=True)
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(X), n_rows, replace=False)
    ink = X[rows].reshape(-1, 28, 28, 1) / 255
    bright = rng.integers(96, 256, (n_rows, 1, 1, 3))
    dark = rng.integers(0, 96, (n_rows, 1, 1, 3))
    return (ink * bright + (1 - ink) * dark).astype(np.uint8), y[rows]


@needs_real_data("FashionMNIST")
def test_colored_clothes_are_learned_as_they_come():
    # With their pixels scrambled, they were recognized at .66 instead of .76.
    X, y = colored_clothes("train", 4000, 0)
    X_test, y_test = colored_clothes("test", 2000, 1)
    model = SoftmaxCNNClassifier(max_epochs=5, random_state=0).fit(X, y)
    assert model.score(X_test, y_test) > 0.8


def test_rows_that_are_no_images():
    y = np.arange(20) % 2
    with pytest.raises(ValueError, match=r"expected images: \(n_samples, height"):
        cnn().fit(np.zeros((20, 2, 3, 4, 5)), y)
    with pytest.raises(ValueError, match=r"minimum of 1 is required"):
        cnn().fit(np.zeros((0, 16, 16, 3)), [])
    with pytest.raises(ValueError, match=r"NaN"):
        cnn().fit(np.full((20, 16, 16), np.nan), y)


@pytest.mark.parametrize("make", [SoftmaxMLPClassifier, SoftmaxRegression])
def test_other_classifiers_flatten_images_of_any_order(make):
    X, y = pictures()
    with pytest.raises(ValueError, match=r"pass X\.reshape\(len\(X\), -1\)\.$"):
        make().fit(X, y)
    model = make(random_state=0).fit(X[:80].reshape(80, -1), y[:80])
    assert model.score(X[80:].reshape(40, -1), y[80:]) > 0.95


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
@pytest.mark.parametrize("make", MAKES)
def test_images_in_the_wrong_order_warn_and_the_advice_is_right(make, dtype):
    X, y = pictures(60)
    X = (100 * X.clip(0, 2)).astype(dtype)
    right = make(max_epochs=1).fit(X, y).predict_proba(X)
    flat_last, flat_first = X.reshape(60, -1), first(X)
    for rows, shape, advised in [
        (flat_last, (3, 16, 16), (16, 16, 3)),
        (flat_first, (16, 16, 3), (3, 16, 16)),
    ]:
        with pytest.warns(UserWarning, match="images of shape") as warned:
            make(image_shape=shape, max_epochs=1).fit(rows, y)
        message = str(warned[0].message)
        assert f"Set image_shape={advised}" in message
        assert f"X.reshape{(-1, *advised)}" in message
        # Warnings are errors in these tests.
        model = make(image_shape=advised, max_epochs=1).fit(rows, y)
        assert np.array_equal(model.predict_proba(rows), right)
        with pytest.warns(
            UserWarning, match=f"Set image_shape={re.escape(str(advised))}"
        ):
            make(max_epochs=1).fit(rows.reshape(60, *shape), y)
        images = rows.reshape(-1, *advised)
        model = make(max_epochs=1).fit(images, y)
        assert np.array_equal(model.predict_proba(images), right)


@pytest.mark.parametrize("kind", ["noise", "constant", "gray noise", "checkerboard"])
def test_no_warning_for_rows_that_are_not_pictures(kind):
    rng = np.random.default_rng(0)
    X = {
        "noise": rng.random((40, 16, 16, 3)),
        "constant": np.ones((40, 16, 16, 3)),
        "gray noise": np.repeat(rng.random((40, 16, 16, 1)), 3, 3),
        "checkerboard": np.indices((40, 16, 16, 3)).sum(0) % 2.0,
    }[kind]
    for rows in (first(X), X.reshape(40, -1), X):
        cnn(max_epochs=1).fit(rows, np.arange(40) % 2)


@pytest.mark.parametrize("make", MAKES)
def test_validation_rows_warm_start_and_streams_of_images(make):
    X, y = pictures()
    parameters = {"early_stopping": True, "max_epochs": 4}
    flat = make(image_shape=(3, 16, 16), **parameters)
    flat.fit(first(X[:80]), y[:80], X_val=first(X[80:]), y_val=y[80:])
    model = make(**parameters).fit(X[:80], y[:80], X_val=X[80:], y_val=y[80:])
    assert model.validation_scores_ == flat.validation_scores_

    flat = make(image_shape=(3, 16, 16), warm_start=True).fit(first(X), y)
    model = make(warm_start=True).fit(X, y)
    # The second piece has the channels elsewhere.
    flat.fit(first(X), y)
    model.fit(first(X).reshape(-1, 3, 16, 16), y)
    assert np.array_equal(model.predict_proba(X), flat.predict_proba(first(X)))
    with pytest.raises(ValueError, match=r"shape of a row=\(3, 16, 16\)"):
        model.fit(X.reshape(-1, 32, 8, 3), y)

    flat, model = make(image_shape=(3, 16, 16)), make()
    for start in range(0, 120, 40):
        piece = slice(start, start + 40)
        flat.partial_fit(first(X[piece]), y[piece], classes=[0, 1])
        images = X[piece] if start != 40 else X[piece].transpose(0, 3, 1, 2)
        model.partial_fit(images, y[piece], classes=[0, 1])
    assert np.array_equal(model.predict_proba(X), flat.predict_proba(first(X)))


def test_pipelines_and_searches_take_images():
    X, y = pictures()
    scaled = make_pipeline(FunctionTransformer(lambda X: X / 2), cnn(max_epochs=8))
    assert cross_val_score(scaled, X, y, cv=2).min() > 0.9
    assert clone(scaled).fit(X, y).score(X, y) > 0.95


def test_any_shape_reaches_the_module_as_it_is():
    rng = np.random.default_rng(0)
    shapes = []

    class Flat(nn.Sequential):
        def forward(self, x):
            shapes.append(tuple(x.shape[1:]))
            return super().forward(x.flatten(1))

    def make_module(n_features, n_classes):
        return Flat(nn.Linear(n_features, n_classes))

    for shape in [(16, 12), (5, 7, 6), (3, 9, 9), (2, 3, 4, 5), (1, 2, 2, 1, 2)]:
        X, y = rng.random((40, *shape)), np.arange(40) % 2
        X[y == 1] += 1.0
        model = SoftmaxNetClassifier(
            make_module, max_epochs=30, learning_rate=0.01, random_state=0
        )
        assert model.fit(X, y).score(X, y) > 0.9
        assert set(shapes) == {shape}
        flat = model.predict_proba(X.reshape(40, -1)) if len(shape) != 3 else None
        if flat is not None:
            assert np.array_equal(flat, model.predict_proba(X))
        shapes.clear()
    X = rng.random((40, 16, 16, 3))
    for channels_last, expected in [("auto", (3, 16, 16)), (False, (16, 16, 3))]:
        SoftmaxNetClassifier(
            make_module, max_epochs=1, channels_last=channels_last
        ).fit(X, np.arange(40) % 2)
        assert set(shapes) == {expected}
        shapes.clear()


def test_module_that_fails_on_images_is_told_their_shape():
    X, y = pictures()
    with pytest.raises(ValueError, match=r"2 rows of shape \(3, 16, 16\)"):
        SoftmaxNetClassifier(nn.Linear).fit(X, y)
