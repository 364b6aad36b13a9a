r"""The reliability diagram and its error are those of the literature."""

import numpy as np
import pytest
from matplotlib import pyplot
from sklearn.calibration import calibration_curve

from sksoftmax.inspection import (
    ReliabilityDisplay,
)

from .figures import texts_that_overlap


def expected_calibration_error(y, proba, n_bins):
    r"""Follow Guo and others' equation 3, a bin at a time."""
    confidence = proba.max(axis=1)
    right = proba.argmax(axis=1) == y
    error = 0.0
    for b in range(n_bins):
        inside = (confidence > b / n_bins) & (confidence <= (b + 1) / n_bins)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            error += inside.mean() * gap
    return error


@pytest.mark.parametrize("n_bins", [15, 4])
def test_calibration_error(on_digits, digits, n_bins):
    X, y = digits[2:]
    proba = on_digits.predict_proba(X)
    display = ReliabilityDisplay.from_estimator(on_digits, X, y, n_bins=n_bins)
    expected = expected_calibration_error(y, proba, n_bins)
    assert expected > 0.005
    assert display.expected_calibration_error == pytest.approx(expected, abs=1e-12)
    label = display.line_.get_label()
    assert label == f"SoftmaxRegression (ECE = {expected:.3f})"


def test_curve_is_that_of_scikit_learn(on_digits, digits):
    X, y = digits[2:]
    proba = on_digits.predict_proba(X)
    display = ReliabilityDisplay.from_estimator(on_digits, X, y)
    # Two classes: the most probable label is correct, or it is wrong.
    prob_true, prob_pred = calibration_curve(
        proba.argmax(1) == y, proba.max(1), n_bins=15
    )
    np.testing.assert_allclose(display.line_.get_xdata(), prob_pred)
    np.testing.assert_allclose(display.line_.get_ydata(), prob_true)
    heights = [bar.get_height() for bar in display.bars_]
    edges = np.linspace(0, 1, 16)
    expected = np.histogram(proba.max(1), edges)[0] / len(y)
    np.testing.assert_allclose(heights, expected)
    np.testing.assert_allclose([bar.get_x() for bar in display.bars_], edges[:-1])
    gaps = np.array(display.gap_lines_.get_segments())
    np.testing.assert_allclose(gaps[:, 0, 1], prob_pred)
    np.testing.assert_allclose(gaps[:, 1, 1], prob_true)
    assert texts_that_overlap(display.figure_) == []


def test_a_weight_counts_as_often_as_the_row(on_digits, digits):
    X, y = digits[2:]
    weight = np.arange(len(y)) % 3
    weighted = ReliabilityDisplay.from_estimator(on_digits, X, y, sample_weight=weight)
    repeated = ReliabilityDisplay.from_estimator(
        on_digits, X.repeat(weight, axis=0), y.repeat(weight)
    )
    for name in ("prob_true", "prob_pred", "counts", "expected_calibration_error"):
        np.testing.assert_allclose(getattr(weighted, name), getattr(repeated, name))


def test_classes_in_another_order(on_digits, digits):
    X, y = digits[2:]
    proba = on_digits.predict_proba(X)
    straight = ReliabilityDisplay.from_predictions(y, proba)
    reverse = ReliabilityDisplay.from_predictions(
        y, proba[:, ::-1], classes=np.arange(10)[::-1]
    )
    np.testing.assert_allclose(straight.prob_true, reverse.prob_true)


def test_two_in_the_same_axes(on_digits, digits):
    X, y = digits[2:]
    first = ReliabilityDisplay.from_estimator(on_digits, X, y, name="one")
    second = ReliabilityDisplay.from_estimator(
        on_digits, X[::2], y[::2], name="two", ax=first.ax_, histogram=False
    )
    assert second.ax_histogram_ is None
    assert second.ax_ is first.ax_
    labels = [text.get_text() for text in first.ax_.get_legend().get_texts()]
    assert [label.split()[0] for label in labels] == ["one", "perfectly", "two"]
    assert first.ax_.get_xlabel() == ""
    assert first.ax_histogram_.get_xlabel() == "Confidence"
    assert texts_that_overlap(first.figure_) == []


def test_into_given_axes(on_digits, digits):
    figure, axes = pyplot.subplots(1, 2, layout="constrained", figsize=(9, 5))
    display = ReliabilityDisplay.from_estimator(on_digits, *digits[2:], ax=axes[1])
    figure.canvas.draw()
    left = axes[0].get_position().x1
    assert display.ax_ is axes[1]
    assert display.ax_histogram_.get_position().x0 > left
    assert display.ax_histogram_.get_position().y1 < axes[1].get_position().y0


def test_predictions_that_are_no_probabilities_are_refused():
    draw = ReliabilityDisplay.from_predictions
    y, proba = [0, 1, 1], np.array([[0.5, 0.5], [0.2, 0.8], [0.1, 0.9]])
    with pytest.raises(ValueError, match=r"y_proba of shape \(3,\) and 2 classes"):
        draw(y, proba[:, 0])
    with pytest.raises(ValueError, match=r"sum to values from 1 to 2"):
        draw(y, proba * [[1], [2], [1]])
    with pytest.raises(ValueError, match=r"values from -0.5 to 1.5"):
        draw(y, [[1.5, -0.5]] * 3)
    with pytest.raises(ValueError, match=r"the labels \[1\], but the classes are"):
        draw(y, proba, classes=[0, 2])
    with pytest.raises(ValueError, match="Got n_bins=0"):
        draw(y, proba, n_bins=0)
    with pytest.raises(ValueError, match="Got no samples"):
        draw([], np.zeros((0, 2)), classes=[0, 1])
    inset = pyplot.figure().add_axes((0, 0, 1, 1))
    with pytest.raises(ValueError, match="With histogram=False any ax will do"):
        draw(y, proba, ax=inset)
