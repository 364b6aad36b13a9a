r"""The training curve shows losses, scores and the epoch that was kept."""

import sys

import numpy as np
import pytest
from matplotlib import pyplot
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksoftmax import (
    SoftmaxRegression,
    SoftmaxRegressionCV,
)
from sksoftmax.inspection import (
    TrainingCurveDisplay,
)

from .figures import net, texts_that_overlap


def test_validation_loss_beside_the_training_loss(digits):
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
def test_accuracy_has_axes_of_its_own(make, digits):
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
def test_exact_solver_starts_at_step_zero(classifier):
    X, y = load_iris(return_X_y=True)
    classifier.fit(X, y)
    display = TrainingCurveDisplay.from_estimator(classifier)
    n_steps = len(classifier.loss_curve_) - 1
    np.testing.assert_array_equal(display.line_.get_xdata(), range(n_steps + 1))
    assert display.ax_.get_xlabel() == "Newton step"
    assert display.validation_line_ is None
    assert display.best_epoch_ is None


def test_minibatch_solver_counts_epochs():
    model = SoftmaxRegression(solver="adam", max_iter=3)
    display = TrainingCurveDisplay.from_estimator(
        model.fit(*load_iris(return_X_y=True)), name="three", line_kw={"lw": 7}
    )
    assert list(display.line_.get_xdata()) == [1, 2, 3]
    assert display.ax_.get_xlabel() == "Epoch"
    assert display.ax_.get_title(loc="left") == "three"
    assert display.line_.get_linewidth() == 7


def test_through_a_search_over_a_pipeline_into_given_axes():
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


def test_estimators_without_a_curve_and_wrong_shapes_are_refused():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match=r"GaussianNB has no loss_curve_"):
        TrainingCurveDisplay.from_estimator(GaussianNB().fit(X, y))
    with pytest.raises(ValueError, match=r"shape \(2,\) and a loss_curve of shape"):
        TrainingCurveDisplay(loss_curve=[1], validation_scores=[1, 2]).plot()
    with pytest.raises(ValueError, match=r"loss_curve of shape \(0,\)"):
        TrainingCurveDisplay(loss_curve=[]).plot()


def test_without_matplotlib_everything_but_drawing_works(monkeypatch):
    # Imports without matplotlib, in a new process: `repository/test_packaging.py`.
    for name in ("matplotlib", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, name, None)
    display = TrainingCurveDisplay(loss_curve=[2.0, 1.0])
    with pytest.raises(ImportError, match="TrainingCurveDisplay draws with") as error:
        display.plot()
    assert "pip install matplotlib" in str(error.value)
