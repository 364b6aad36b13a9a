r"""Weights are drawn as images or bars."""

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_rgba
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sksoftmax import (
    SoftmaxRegression,
)
from sksoftmax.inspection import (
    WeightsDisplay,
)

from .figures import net, texts_that_overlap


def test_images_have_a_common_scale_around_zero(on_digits):
    display = WeightsDisplay.from_estimator(on_digits)
    assert len(display.images_) == len(display.axes_) == 10
    for image, weights in zip(display.images_, on_digits.coef_, strict=True):
        drawn = image.get_array()
        np.testing.assert_array_equal(drawn, weights.reshape(8, 8))
        low, high = image.get_clim()
        assert low == -high == -np.abs(on_digits.coef_).max()
    assert display.bars_ is None
    titles = [panel.get_title() for panel in display.axes_]
    assert titles == [str(digit) for digit in range(10)]
    assert texts_that_overlap(display.figure_) == []


def test_bars_are_the_largest_weights_in_order(wine):
    pipeline, X, _ = wine
    display = WeightsDisplay.from_estimator(pipeline, max_features=5)
    coef = pipeline[-1].coef_
    blue, orange = to_rgba("#0072B2"), to_rgba("#D55E00")
    for bars, weights, panel, label in zip(
        display.bars_, coef, display.axes_, pipeline.classes_, strict=True
    ):
        order = sorted(range(13), key=lambda j, w=weights: -abs(w[j]))[:5]
        lengths = [bar.get_width() for bar in bars]
        np.testing.assert_array_equal(lengths, weights[order])
        names = [text.get_text() for text in panel.get_yticklabels()]
        assert names == [X.columns[j] for j in order]
        assert panel.get_title() == label
        # The first bar is on top.
        heights = [panel.transData.transform((0, bar.get_y()))[1] for bar in bars]
        assert heights == sorted(heights, reverse=True)
        for bar, weight in zip(bars, weights[order], strict=True):
            assert bar.get_facecolor() == (blue if weight > 0 else orange)
    assert len({panel.get_xlim() for panel in display.axes_}) == 1
    assert texts_that_overlap(display.figure_) == []


def test_two_classes_have_one_panel_that_names_both():
    data = load_breast_cancer(as_frame=True)
    y = data.target_names[data.target]
    pipeline = make_pipeline(StandardScaler(), SoftmaxRegression())
    display = WeightsDisplay.from_estimator(pipeline.fit(data.data, y))
    assert display.axes_.shape == (1,)
    assert display.axes_[0].get_title() == "malignant vs. benign"
    assert len(display.bars_[0]) == 10
    assert texts_that_overlap(display.figure_) == []


def test_names_and_shapes_can_be_given(on_digits, digits):
    bars = WeightsDisplay.from_estimator(on_digits, image_shape=None)
    order = np.argsort(-np.abs(on_digits.coef_[0]), kind="stable")[:10]
    names = [text.get_text() for text in bars.axes_[0].get_yticklabels()]
    assert names == [f"x{j}" for j in order]
    wide = WeightsDisplay.from_estimator(on_digits, image_shape=(1, 4, 16))
    assert wide.images_[0].get_array().shape == (4, 16)
    named = WeightsDisplay.from_estimator(on_digits, feature_names=["n" * 40] * 64)
    assert named.axes_[0].get_yticklabels()[0].get_text() == "n" * 27 + "…"


def test_a_step_that_cannot_name_its_output_leaves_numbers(wine):
    _, X, y = wine
    pipeline = make_pipeline(FunctionTransformer(np.log1p), SoftmaxRegression())
    for rows in (X, X.to_numpy()):
        display = WeightsDisplay.from_estimator(pipeline.fit(rows, y))
        assert display.axes_[0].get_yticklabels()[0].get_text().startswith("x")


def test_names_of_the_best_pipeline_of_a_search(wine):
    pipeline, X, y = wine
    search = GridSearchCV(pipeline, {"softmaxregression__C": [1.0]}, cv=2).fit(X, y)
    display = WeightsDisplay.from_estimator(search)
    assert display.feature_names.tolist() == X.columns.tolist()


def test_takes_the_place_of_given_axes(wine):
    figure, axes = pyplot.subplots(1, 2, layout="constrained", figsize=(16, 6))
    display = WeightsDisplay.from_estimator(wine[0], ax=axes[1], n_columns=1)
    figure.canvas.draw()
    left = axes[0].get_position().x1
    assert display.figure_ is figure
    assert display.ax_ is axes[1]
    assert all(panel.get_position().x0 > left for panel in display.axes_)


def test_estimators_without_weights_and_wrong_shapes_are_refused(on_digits, digits):
    with pytest.raises(ValueError, match="SoftmaxMLPClassifier has no coef_"):
        WeightsDisplay.from_estimator(net().fit(*digits[:2]))
    with pytest.raises(ValueError, match=r"\(7, 9\), .* X has 64 features"):
        WeightsDisplay.from_estimator(on_digits, image_shape=(7, 9))
    with pytest.raises(ValueError, match=r"a weight has a sign and no color"):
        WeightsDisplay.from_estimator(on_digits, image_shape=(4, 4, 4))
    with pytest.raises(ValueError, match="Got 2 feature_names for 64 features"):
        WeightsDisplay.from_estimator(on_digits, feature_names=["a", "b"])
    with pytest.raises(ValueError, match="Got max_features=0"):
        WeightsDisplay.from_estimator(on_digits, max_features=0)
    with pytest.raises(ValueError, match=r"coef of shape \(2, 2\) for 3 classes"):
        WeightsDisplay(coef=np.eye(2), classes=[0, 1, 2]).plot()
    inset = pyplot.figure().add_axes((0, 0, 1, 1))
    with pytest.raises(ValueError, match="ax that is not part of a grid"):
        WeightsDisplay.from_estimator(on_digits, ax=inset)
