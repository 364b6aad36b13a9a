r"""partial_fit: streams, their learning rate, and how they go on after a fit."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from skorch.callbacks import (
    Callback,
)

from ..factories import (
    CNN,
    Net,
    for_each_class,
    for_each_class_and_solver,
    for_each_net,
    for_each_trained_by_epochs,
)


class LearningRates(Callback):
    def initialize(self):
        self.rates = []
        return self

    def on_batch_end(self, net, **kwargs):
        self.rates.append(net.optimizer_.param_groups[0]["lr"])


@for_each_class_and_solver
def test_repeated_calls_learn(make, iris):
    X, y = iris
    model = make()
    for call in range(1, 31):
        model.partial_fit(X, y, classes=[0, 1, 2])
        assert np.ravel(model.n_iter_)[0] == len(model.loss_curve_) == call
    assert model.score(X, y) > 0.85
    assert model.loss_curve_[-1] < model.loss_curve_[0]


@for_each_class_and_solver
def test_partial_fit_continues_after_fit(make, iris):
    X, y = iris
    model = make().fit(X, y)
    before = model.predict_proba(X)
    model.set_params(learning_rate=0.5).partial_fit(X, y)
    after = model.predict_proba(X)
    assert 1e-6 < np.abs(after - before).max() < 0.5


@for_each_class_and_solver
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sample_weights_after_fit(make, dtype, iris):
    X, y = iris[0].astype(dtype), iris[1]
    model = make().fit(X, y)
    before = model.predict_proba(X)
    model.partial_fit(X, y, sample_weight=np.linspace(0.1, 2, len(y)))
    assert np.abs(model.predict_proba(X) - before).max() > 1e-7


@for_each_trained_by_epochs
def test_partial_fit_after_fit_with_early_stopping(make, iris):
    # The error of partial_fit with early_stopping=True recommends this.
    X, y = iris
    model = make(early_stopping=True).fit(X, y)
    n_epochs = len(model.loss_curve_)
    model.set_params(early_stopping=False).partial_fit(X, y)
    assert len(model.loss_curve_) == n_epochs + 1


@for_each_trained_by_epochs
def test_partial_fit_after_fit_with_validation_rows(make, iris):
    X, y = iris
    model = make().fit(X, y, X_val=X, y_val=y)
    n_epochs = len(model.loss_curve_)
    model.partial_fit(X, y)
    assert len(model.loss_curve_) == n_epochs + 1


@for_each_trained_by_epochs
@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "constant"])
@pytest.mark.parametrize("fitted_before", [False, True])
def test_learning_rate_is_constant_within_a_call(make, schedule, fitted_before, iris):
    X, y = iris
    rates = LearningRates()
    model = make(
        lr_schedule=schedule, learning_rate=0.03, batch_size=30, callbacks=[rates]
    )
    if fitted_before:
        model.fit(X, y)
        rates.rates.clear()
    model.partial_fit(X, y, classes=[0, 1, 2])
    # A fit ends at a small rate. A larger rate would raise its loss again.
    expected = 0.0003 if fitted_before else 0.03
    np.testing.assert_allclose(rates.rates, [expected] * 5)


@for_each_class
def test_classes_that_come_later(make, iris):
    X, y = iris
    model = make()
    for label in (2, 0, 1) * 10:
        rows = y == label
        model.partial_fit(X[rows], y[rows], classes=[2, 1, 0])
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.predict_proba(X).shape == (150, 3)


@for_each_net
def test_one_row_at_a_time(make, iris):
    X, y = iris
    # Batch normalization needs more than a single row.
    model = make(**({"normalization": None} if make is CNN else {}))
    for row in range(5):
        model.partial_fit(X[row : row + 1], y[row : row + 1], classes=[0, 1, 2])
    assert np.isfinite(model.predict_proba(X)).all()


@for_each_net
def test_input_scaling_learns_from_all_chunks(make):
    if make is Net:
        pytest.skip("features reach the user's module unscaled")
    X, y = load_iris(return_X_y=True)
    model = make()
    for rows in np.array_split(np.arange(len(y)), 7):
        model.partial_fit(X[rows], y[rows], classes=[0, 1, 2])
    of_stream, of_fit = (
        # In a module of several input layers, the scaling is one of them.
        getattr(fitted.module_.input_scaling, "scaling", None)
        or fitted.module_.input_scaling
        for fitted in (model, make().fit(X, y))
    )
    # The scaling is estimated again whenever the stream has grown by an eighth.
    torch.testing.assert_close(of_stream.mean, of_fit.mean, rtol=0.1, atol=0)
    torch.testing.assert_close(of_stream.scale, of_fit.scale, rtol=0.1, atol=0)
