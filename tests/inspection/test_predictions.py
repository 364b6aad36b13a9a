r"""Images of predictions, the most confident mistakes first."""

from functools import partial

import numpy as np
import pytest
import torch

from sksoftmax import (
    SoftmaxCNNClassifier,
)
from sksoftmax.inspection import (
    PredictionsDisplay,
)

from .figures import texts_that_overlap


def test_surest_mistakes_come_first(on_digits, digits):
    X, y = digits[2:]
    proba, predicted = on_digits.predict_proba(X), on_digits.predict(X)
    wrong = np.flatnonzero(predicted != y)
    expected = wrong[np.argsort(-proba[wrong].max(1), kind="stable")]
    display = PredictionsDisplay.from_estimator(on_digits, X, y, n_images=12)
    assert len(expected) > 12
    for row, image, panel in zip(
        expected[:12], display.images_, display.axes_, strict=True
    ):
        np.testing.assert_array_equal(image.get_array(), X[row].reshape(8, 8))
        told = f"pred {predicted[row]} ({proba[row].max():.0%})\ntrue {y[row]}"
        assert panel.get_title() == told
    title = f"{len(wrong)} of {len(y)} predictions are wrong"
    assert display.figure_.get_suptitle() == title
    assert texts_that_overlap(display.figure_) == []


def test_then_the_least_certain_of_the_right_ones():
    y_true = np.array(["a", "b", "a", "b"])
    second = np.array([0.1, 0.6, 0.55, 0.9])
    display = PredictionsDisplay.from_predictions(
        y_true, np.column_stack([1 - second, second]), np.arange(16.0).reshape(4, 4)
    )
    assert display.y_true.tolist() == ["a", "b", "a", "b"]
    assert display.y_pred.tolist() == ["b", "b", "a", "b"]
    np.testing.assert_allclose(display.confidence, [0.55, 0.6, 0.9, 0.9])
    assert display.images[0].tolist() == [[8, 9], [10, 11]]
    assert (display.n_mistakes, display.n_samples) == (1, 4)
    colors = {panel.title.get_color() for panel in display.axes_}
    assert len(colors) == 2


def test_a_square_of_three_channels_is_a_color_image(on_digits, digits):
    X, y = digits[2:]
    colors = np.tile(X, 3)
    display = PredictionsDisplay.from_predictions(
        y, on_digits.predict_proba(X), colors, n_images=2
    )
    assert display.images.shape == (2, 8, 8, 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_colors_and_the_shape_that_a_cnn_knows(dtype):
    rng = np.random.default_rng(0)
    X = rng.integers(256, size=(40, 3 * 8 * 6)).astype(dtype)
    y = np.arange(40) % 2
    model = SoftmaxCNNClassifier(
        image_shape=(3, 8, 6), channels=(4,), kernel_size=3, max_epochs=1
    ).fit(X, y)
    display = PredictionsDisplay.from_estimator(model, X, y, n_images=2)
    assert display.images.shape == (2, 8, 6, 3)
    row = next(
        i for i in range(40) if (X[i][:48] == display.images[0][..., 0].ravel()).all()
    )
    expected = np.moveaxis(X[row].reshape(3, 8, 6), 0, -1)
    np.testing.assert_array_equal(display.images[0], expected)
    drawn = display.images_[0].get_array()
    if dtype is np.uint8:
        np.testing.assert_array_equal(drawn, expected)
    else:
        low, high = display.images.min(), display.images.max()
        np.testing.assert_allclose(drawn, (expected - low) / (high - low), rtol=1e-6)


def test_images_in_every_form_are_drawn_alike():
    X = np.random.default_rng(0).integers(256, size=(10, 8, 8, 3)).astype(np.uint8)
    y = np.arange(10) % 2
    proba = np.eye(2)[y] * 0.8 + 0.1
    first = X.transpose(0, 3, 1, 2)
    draw = partial(PredictionsDisplay.from_predictions, y, proba, n_images=4)
    expected = X[:4]
    for rows, options in [
        (X, {}),
        (first, {}),
        (torch.tensor(first), {}),
        (first.reshape(10, -1), {}),
        (first.reshape(10, -1), {"image_shape": (3, 8, 8)}),
        (X.reshape(10, -1), {"image_shape": (8, 8, 3)}),
    ]:
        display = draw(rows, **options)
        np.testing.assert_array_equal(display.images, expected)
    gray = X[..., 0]
    for rows in (gray, gray[:, None], gray[..., None], gray.reshape(10, -1)):
        display = draw(rows)
        np.testing.assert_array_equal(display.images, gray[:4])
    parameters = {"channels": (4,), "kernel_size": 3, "max_epochs": 1}
    for rows, options in [
        (X, {}),
        (X.reshape(10, -1), {"channels_last": True}),
        (X.reshape(10, -1), {"image_shape": (8, 8, 3)}),
    ]:
        model = SoftmaxCNNClassifier(**parameters, **options).fit(rows, y)
        display = PredictionsDisplay.from_estimator(model, rows, y, n_images=10)
        found = {image.tobytes() for image in display.images}
        assert found == {image.tobytes() for image in X}


def test_shapes_numbers_and_labels_that_do_not_fit_are_refused(on_digits, digits):
    X, y = digits[2:]
    proba = on_digits.predict_proba(X)
    draw = PredictionsDisplay.from_predictions
    with pytest.raises(ValueError, match=r"image_shape='auto' for 63 features"):
        draw(y, proba, X[:, 1:])
    with pytest.raises(ValueError, match=r"X of shape \(5, 64\) for"):
        draw(y, proba, X[:5])
    with pytest.raises(ValueError, match="Got n_images=0"):
        draw(y, proba, X, n_images=0)
    with pytest.raises(ValueError, match=r"image_shape='square' for 64 features"):
        draw(y, proba, X, image_shape="square")
    with pytest.raises(ValueError, match="Got images of 2 channels"):
        draw(y, proba, X, image_shape=(2, 4, 8))
    with pytest.raises(ValueError, match=r"contains the labels \[9\]"):
        draw(
            y,
            proba[:, :9] / proba[:, :9].sum(1, keepdims=True),
            X,
            classes=range(9),
        )
