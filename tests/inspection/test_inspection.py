r"""The displays draw what the estimators know, and say what they cannot draw."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_rgba
from sklearn.calibration import calibration_curve
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxMLPClassifier,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)
from sksoftmax.inspection import (
    PredictionsDisplay,
    ReliabilityDisplay,
    TrainingCurveDisplay,
    WeightsDisplay,
)


@pytest.fixture(autouse=True)
def _agg():
    pyplot.switch_backend("agg")
    yield
    try:
        for number in pyplot.get_fignums():
            # Nothing warns, a layout that fails for example, when it is really drawn.
            pyplot.figure(number).canvas.draw()
    finally:
        pyplot.close("all")


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:600], y[:600], X[600:], y[600:]


@pytest.fixture(scope="module")
def on_digits(digits):
    return SoftmaxRegression(C=0.1).fit(*digits[:2])


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True, as_frame=True)
    names = load_wine().target_names[y]
    return make_pipeline(StandardScaler(), SoftmaxRegression()).fit(X, names), X, names


def net(**options):
    return SoftmaxMLPClassifier(
        hidden_layer_sizes=(16,),
        n_estimators=1,
        max_epochs=6,
        random_state=0,
        **options,
    )


def texts_that_overlap(figure):
    r"""Return pairs of texts, tick labels and titles included, that overlap."""
    figure.canvas.draw()
    boxes = []
    for ax in figure.axes:
        if not ax.axison:
            continue
        texts = [ax.title, ax._left_title]
        for axis in (ax.xaxis, ax.yaxis):
            # The one that a twin shares is drawn once.
            texts += [axis.label, *axis.get_ticklabels()] * axis.get_visible()
        legend = ax.get_legend()
        texts += [] if legend is None else legend.get_texts()
        boxes += [
            (text.get_text(), text.get_window_extent().shrunk(0.9, 0.9))
            for text in texts
            if text.get_visible() and text.get_text()
        ]
    return [
        (a, b)
        for index, (a, box) in enumerate(boxes)
        for b, other in boxes[:index]
        if box.overlaps(other)
    ]


class TestTrainingCurve:
    def test_validation_loss_beside_the_training_loss(self, digits):
        model = net().fit(*digits[:2], X_val=digits[2], y_val=digits[3])
        display = TrainingCurveDisplay.from_estimator(model)
        np.testing.assert_array_equal(display.line_.get_xdata(), np.arange(1, 7))
        np.testing.assert_array_equal(display.line_.get_ydata(), model.loss_curve_)
        drawn = display.validation_line_.get_ydata()
        np.testing.assert_array_equal(drawn, -np.array(model.validation_scores_))
        best = int(np.argmax(model.validation_scores_)) + 1
        assert display.best_epoch_ == best
        assert list(display.best_line_.get_xdata()) == [best, best]
        labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
        expected = ["training loss", "validation loss", f"best epoch: {best}"]
        assert labels == expected
        assert display.ax_score_ is None
        assert texts_that_overlap(display.figure_) == []

    @pytest.mark.parametrize("make", [net, MLPClassifier])
    def test_accuracy_has_axes_of_its_own(self, make, digits):
        options = {"scoring": "accuracy"} if make is net else {"max_iter": 6}
        if make is MLPClassifier:
            options |= {"hidden_layer_sizes": (16,), "tol": 1e9}
            options |= {"n_iter_no_change": 2, "random_state": 0}
        model = make(early_stopping=True, **options).fit(*digits[:2])
        display = TrainingCurveDisplay.from_estimator(model)
        assert display.validation_line_.axes is display.ax_score_
        scores = display.validation_line_.get_ydata()
        np.testing.assert_array_equal(scores, model.validation_scores_)
        assert display.ax_score_.get_ylabel() == "Validation accuracy"
        assert texts_that_overlap(display.figure_) == []

    @pytest.mark.parametrize(
        "classifier", [SoftmaxRegression(), SoftmaxRegressionCV(Cs=2, cv=2)]
    )
    def test_exact_solver_starts_at_step_zero(self, classifier):
        X, y = load_iris(return_X_y=True)
        classifier.fit(X, y)
        display = TrainingCurveDisplay.from_estimator(classifier)
        n_steps = len(classifier.loss_curve_) - 1
        np.testing.assert_array_equal(display.line_.get_xdata(), range(n_steps + 1))
        assert display.ax_.get_xlabel() == "Newton step"
        assert display.validation_line_ is None
        assert display.best_epoch_ is None

    def test_minibatch_solver_counts_epochs(self):
        model = SoftmaxRegression(solver="adam", max_iter=3)
        display = TrainingCurveDisplay.from_estimator(
            model.fit(*load_iris(return_X_y=True)), name="three", line_kw={"lw": 7}
        )
        assert list(display.line_.get_xdata()) == [1, 2, 3]
        assert display.ax_.get_xlabel() == "Epoch"
        assert display.ax_.get_title(loc="left") == "three"
        assert display.line_.get_linewidth() == 7

    def test_through_a_search_over_a_pipeline_into_given_axes(self):
        search = GridSearchCV(
            make_pipeline(StandardScaler(), net()),
            {"softmaxmlpclassifier__learning_rate": [0.01]},
            cv=2,
        ).fit(*load_iris(return_X_y=True))
        _, ax = pyplot.subplots()
        display = TrainingCurveDisplay.from_estimator(search, ax=ax)
        curve = search.best_estimator_[-1].loss_curve_
        assert display.ax_ is ax
        np.testing.assert_array_equal(display.line_.get_ydata(), curve)

    def test_bad_input(self):
        X, y = load_iris(return_X_y=True)
        with pytest.raises(ValueError, match=r"GaussianNB has no loss_curve_"):
            TrainingCurveDisplay.from_estimator(GaussianNB().fit(X, y))
        with pytest.raises(ValueError, match=r"shape \(2,\) and a loss_curve of shape"):
            TrainingCurveDisplay(loss_curve=[1], validation_scores=[1, 2]).plot()
        with pytest.raises(ValueError, match=r"loss_curve of shape \(0,\)"):
            TrainingCurveDisplay(loss_curve=[]).plot()


class TestWeights:
    def test_images_have_a_common_scale_around_zero(self, on_digits):
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

    def test_bars_are_the_largest_weights_in_order(self, wine):
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

    def test_two_classes_have_one_panel_that_names_both(self):
        data = load_breast_cancer(as_frame=True)
        y = data.target_names[data.target]
        pipeline = make_pipeline(StandardScaler(), SoftmaxRegression())
        display = WeightsDisplay.from_estimator(pipeline.fit(data.data, y))
        assert display.axes_.shape == (1,)
        assert display.axes_[0].get_title() == "malignant vs. benign"
        assert len(display.bars_[0]) == 10
        assert texts_that_overlap(display.figure_) == []

    def test_names_and_shapes_can_be_given(self, on_digits, digits):
        bars = WeightsDisplay.from_estimator(on_digits, image_shape=None)
        order = np.argsort(-np.abs(on_digits.coef_[0]), kind="stable")[:10]
        names = [text.get_text() for text in bars.axes_[0].get_yticklabels()]
        assert names == [f"x{j}" for j in order]
        wide = WeightsDisplay.from_estimator(on_digits, image_shape=(1, 4, 16))
        assert wide.images_[0].get_array().shape == (4, 16)
        named = WeightsDisplay.from_estimator(on_digits, feature_names=["n" * 40] * 64)
        assert named.axes_[0].get_yticklabels()[0].get_text() == "n" * 27 + "…"

    def test_a_step_that_cannot_name_its_output_leaves_numbers(self, wine):
        _, X, y = wine
        pipeline = make_pipeline(FunctionTransformer(np.log1p), SoftmaxRegression())
        display = WeightsDisplay.from_estimator(pipeline.fit(X.to_numpy(), y))
        assert display.axes_[0].get_yticklabels()[0].get_text().startswith("x")

    def test_takes_the_place_of_given_axes(self, wine):
        figure, axes = pyplot.subplots(1, 2, layout="constrained", figsize=(16, 6))
        display = WeightsDisplay.from_estimator(wine[0], ax=axes[1], n_columns=1)
        figure.canvas.draw()
        left = axes[0].get_position().x1
        assert display.figure_ is figure
        assert display.ax_ is axes[1]
        assert all(panel.get_position().x0 > left for panel in display.axes_)

    def test_bad_input(self, on_digits, digits):
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


class TestPredictions:
    def test_surest_mistakes_come_first(self, on_digits, digits):
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

    def test_then_the_least_certain_of_the_right_ones(self):
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

    def test_a_square_of_three_channels_is_a_color_image(self, on_digits, digits):
        X, y = digits[2:]
        colors = np.tile(X, 3)
        display = PredictionsDisplay.from_predictions(
            y, on_digits.predict_proba(X), colors, n_images=2
        )
        assert display.images.shape == (2, 8, 8, 3)

    @pytest.mark.parametrize("dtype", [np.uint8, np.float32])
    def test_colors_and_the_shape_that_a_cnn_knows(self, dtype):
        rng = np.random.default_rng(0)
        X = rng.integers(256, size=(40, 3 * 8 * 6)).astype(dtype)
        y = np.arange(40) % 2
        model = SoftmaxCNNClassifier(
            image_shape=(3, 8, 6), channels=(4,), kernel_size=3, max_epochs=1
        ).fit(X, y)
        display = PredictionsDisplay.from_estimator(model, X, y, n_images=2)
        assert display.images.shape == (2, 8, 6, 3)
        row = next(
            i
            for i in range(40)
            if (X[i][:48] == display.images[0][..., 0].ravel()).all()
        )
        expected = np.moveaxis(X[row].reshape(3, 8, 6), 0, -1)
        np.testing.assert_array_equal(display.images[0], expected)
        drawn = display.images_[0].get_array()
        if dtype is np.uint8:
            np.testing.assert_array_equal(drawn, expected)
        else:
            low, high = display.images.min(), display.images.max()
            np.testing.assert_allclose(
                drawn, (expected - low) / (high - low), rtol=1e-6
            )

    def test_bad_input(self, on_digits, digits):
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
        pixels = np.tile(X, 3)
        with pytest.raises(ValueError, match=r"expected .*: \(3, 8, 8\)"):
            draw(y, proba, pixels, image_shape=(8, 8, 3))
        with pytest.raises(ValueError, match="Got images of 2 channels"):
            draw(y, proba, X, image_shape=(2, 4, 8))
        with pytest.raises(ValueError, match=r"contains the labels \[9\]"):
            draw(
                y,
                proba[:, :9] / proba[:, :9].sum(1, keepdims=True),
                X,
                classes=range(9),
            )


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


class TestReliability:
    @pytest.mark.parametrize("n_bins", [15, 4])
    def test_calibration_error(self, on_digits, digits, n_bins):
        X, y = digits[2:]
        proba = on_digits.predict_proba(X)
        display = ReliabilityDisplay.from_estimator(on_digits, X, y, n_bins=n_bins)
        expected = expected_calibration_error(y, proba, n_bins)
        assert expected > 0.005
        assert display.expected_calibration_error == pytest.approx(expected, abs=1e-12)
        label = display.line_.get_label()
        assert label == f"SoftmaxRegression (ECE = {expected:.3f})"

    def test_curve_is_that_of_scikit_learn(self, on_digits, digits):
        X, y = digits[2:]
        proba = on_digits.predict_proba(X)
        display = ReliabilityDisplay.from_estimator(on_digits, X, y)
        # Whether the top label is right is a problem of two classes.
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

    def test_a_weight_counts_as_often_as_the_row(self, on_digits, digits):
        X, y = digits[2:]
        weight = np.arange(len(y)) % 3
        weighted = ReliabilityDisplay.from_estimator(
            on_digits, X, y, sample_weight=weight
        )
        repeated = ReliabilityDisplay.from_estimator(
            on_digits, X.repeat(weight, axis=0), y.repeat(weight)
        )
        for name in ("prob_true", "prob_pred", "counts", "expected_calibration_error"):
            np.testing.assert_allclose(getattr(weighted, name), getattr(repeated, name))

    def test_classes_in_another_order(self, on_digits, digits):
        X, y = digits[2:]
        proba = on_digits.predict_proba(X)
        straight = ReliabilityDisplay.from_predictions(y, proba)
        reverse = ReliabilityDisplay.from_predictions(
            y, proba[:, ::-1], classes=np.arange(10)[::-1]
        )
        np.testing.assert_allclose(straight.prob_true, reverse.prob_true)

    def test_two_in_the_same_axes(self, on_digits, digits):
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

    def test_into_given_axes(self, on_digits, digits):
        figure, axes = pyplot.subplots(1, 2, layout="constrained", figsize=(9, 5))
        display = ReliabilityDisplay.from_estimator(on_digits, *digits[2:], ax=axes[1])
        figure.canvas.draw()
        left = axes[0].get_position().x1
        assert display.ax_ is axes[1]
        assert display.ax_histogram_.get_position().x0 > left
        assert display.ax_histogram_.get_position().y1 < axes[1].get_position().y0

    def test_bad_input(self):
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


def test_without_matplotlib_everything_but_drawing_works():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from sksoftmax.inspection import TrainingCurveDisplay\n"
        "display = TrainingCurveDisplay(loss_curve=[2.0, 1.0])\n"
        "try:\n    display.plot()\n"
        "except ImportError as error:\n    print(error)\n"
    )
    completed = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert 'pip install "sksoftmax[plot]"' in completed.stdout
    assert "TrainingCurveDisplay draws with matplotlib" in completed.stdout
