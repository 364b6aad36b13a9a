r"""warm_start: a fit goes on where the last fit ended."""

import numpy as np
import pytest

from ..factories import (
    CNN,
    MLP,
    MinibatchRegression,
    Net,
    Regression,
    bytes_of,
    for_each_class_and_solver,
    for_each_trained_by_epochs,
    state,
    with_epochs,
)


@for_each_trained_by_epochs
def test_loss_goes_on_where_it_ended(make, iris):
    X, y = iris
    options = {} if make in (MinibatchRegression, Net) else {"dropout": 0.0}
    model = with_epochs(make(warm_start=True, **options), 20).fit(X, y)
    first = model.loss_curve_
    second = model.fit(X, y).loss_curve_
    assert len(second) == 20
    assert second[0] < (first[0] + first[-1]) / 2
    assert min(second) < min(first)


@for_each_trained_by_epochs
def test_the_same_validation_rows_are_held_out_again(make, iris):
    # With other validation rows, rows of the first training would be among them.
    options = {"normalization": None} if make is CNN else {}
    model = make(warm_start=True, early_stopping=True, random_state=None, **options)
    model = with_epochs(model, 1).set_params(learning_rate=1e-12)
    scores = [model.fit(*iris).validation_scores_[0] for _ in range(3)]
    np.testing.assert_allclose(scores, scores[0], rtol=1e-5)


@for_each_class_and_solver
def test_parameters_and_buffers_are_not_reset(make, iris):
    X, y = iris
    # Running statistics of batch normalization change without gradients.
    options = {"normalization": None} if make is CNN else {}
    model = make(warm_start=True, **options).fit(X, y)
    before = model.predict_proba(X)
    if make is Regression:
        model.fit(X, y)
        # The solver starts at the optimum: one step at most.
        assert len(model.loss_curve_) <= 2
    else:
        model.set_params(learning_rate=1e-12).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), before, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "changed", "difference"),
    [
        (MLP, {"hidden_layer_sizes": (5,)}, "hidden.0.*=5"),
        (MLP, {"n_estimators": 2}, "hidden.0"),
        (MLP, {"activation": "tanh"}, "not Tanh"),
        (CNN, {"channels": (4, 5)}, "Conv2d"),
        (Regression, {"fit_intercept": False}, "bias=True.*, not .*bias=False"),
        (Net, {"module_params": {"width": 3}}, "not Linear.*features=3"),
    ],
)
def test_another_architecture_is_refused(make, changed, difference, iris):
    model = make(warm_start=True).fit(*iris)
    before = model.predict_proba(iris[0])
    with pytest.raises(ValueError, match=f"parameters do not describe: .*{difference}"):
        model.set_params(**changed).fit(*iris)
    np.testing.assert_array_equal(model.predict_proba(iris[0]), before)


@for_each_trained_by_epochs
def test_module_of_the_earlier_fit_is_not_changed(make, iris):
    model = make(warm_start=True).fit(*iris)
    module, before = model.module_, state(model)
    model.fit(*iris)
    assert model.module_ is not module
    assert bytes_of(module) == before
    assert state(model) != before


@for_each_trained_by_epochs
def test_without_warm_start_a_fit_starts_anew(make, iris):
    model = make().fit(*iris)
    before = state(model)
    assert state(model.fit(*iris)) == before
