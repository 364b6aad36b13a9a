r"""sample_weight: weight zero is removal, integers are repetitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.datasets import load_iris

from sksoftmax import (
    SoftmaxRegression,
)

from ..factories import (
    CNN,
    MLP,
    Regression,
    few_examples,
    for_each_class,
    for_each_class_and_solver,
    for_each_net,
    for_each_trained_by_epochs,
    same_bits,
    standardized_iris,
    state,
    with_epochs,
)


def copies_of(*arrays, times):
    return [np.repeat(array, times, axis=0) for array in arrays]


@for_each_class_and_solver
@few_examples
@given(seed=st.integers(0, 10**6))
def test_rows_of_weight_zero_are_removed(make, seed):
    X, y = standardized_iris()
    rng = np.random.default_rng(seed)
    weight = rng.uniform(0.1, 3, len(y)) * (rng.random(len(y)) < 0.7)
    kept = weight > 0
    model = with_epochs(make(), 30 if make is Regression else 2)
    model.fit(X, y, sample_weight=weight)
    alone = clone(model).fit(X[kept], y[kept], sample_weight=weight[kept])
    assert state(model) == state(alone)


@for_each_class_and_solver
def test_weights_zero_and_one_select_rows(make, iris):
    X, y = iris
    kept = np.random.default_rng(0).random(len(y)) < 0.7
    model = make().fit(X, y, sample_weight=kept.astype(float))
    alone = make().fit(X[kept], y[kept])
    np.testing.assert_allclose(
        model.predict_proba(X), alone.predict_proba(X), atol=1e-4
    )


@for_each_trained_by_epochs
def test_rows_of_weight_zero_are_removed_before_the_validation_split(make, iris):
    X, y = iris
    kept = np.random.default_rng(0).random(len(y)) < 0.7
    weight = kept.astype(float)
    model = make(early_stopping=True).fit(X, y, sample_weight=weight)
    alone = make(early_stopping=True)
    alone.fit(X[kept], y[kept], sample_weight=weight[kept])
    assert state(model) == state(alone)
    assert model.validation_scores_ == alone.validation_scores_


@for_each_class_and_solver
def test_rows_of_weight_zero_in_partial_fit(make, iris):
    X, y = iris
    weight = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    kept = weight > 0
    model, alone = make(), make()
    for _ in range(2):
        model.partial_fit(X, y, [0, 1, 2], weight)
        alone.partial_fit(X[kept], y[kept], [0, 1, 2], weight[kept])
    assert state(model) == state(alone)


@few_examples
@given(
    times=st.lists(st.integers(0, 4), min_size=150, max_size=150).filter(
        lambda times: sum(times[:50]) * sum(times[50:100]) * sum(times[100:])
    ),
    C=st.sampled_from([0.01, 1.0, 100.0]),
)
def test_integer_weights_are_repetitions(times, C):
    X, y = load_iris(return_X_y=True)
    weighted = SoftmaxRegression(C=C).fit(X, y, sample_weight=times)
    repeated = SoftmaxRegression(C=C).fit(*copies_of(X, y, times=times))
    np.testing.assert_allclose(
        weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-6
    )
    np.testing.assert_allclose(
        weighted.coef_, repeated.coef_, atol=1e-6 * np.abs(repeated.coef_).max()
    )


@for_each_class
def test_weights_of_one_are_no_weights(make, iris):
    X, y = iris
    plain = make().fit(X, y).predict_proba(X)
    ones = make().fit(X, y, sample_weight=np.ones(len(y))).predict_proba(X)
    np.testing.assert_allclose(ones, plain, atol=1e-4)


@for_each_net
@pytest.mark.parametrize("exponent", [-10, 20, -200, 200])
def test_common_factor_of_the_weights_changes_no_bit(make, exponent, iris):
    X, y = iris
    weight = np.random.default_rng(0).uniform(0.1, 3, len(y))
    model = make().fit(X, y, sample_weight=weight)
    # Multiplying by a power of two rounds nothing.
    scaled = make().fit(X, y, sample_weight=2.0**exponent * weight)
    assert same_bits(scaled.predict_proba(X), model.predict_proba(X))


@for_each_class_and_solver
def test_tiny_weights_beside_large_weights(make, iris):
    # AdaBoost makes such weights. Whole batches have tiny weights only.
    X, y = iris
    weight = np.where(np.arange(len(y)) < 20, 1.0, 1e-50)
    proba = make().fit(X, y, sample_weight=weight).predict_proba(X)
    assert np.isfinite(proba).all()


@for_each_trained_by_epochs
def test_share_of_the_weight_is_learned(make):
    # All features are zero: a model can learn only the share of each class.
    if make is CNN:
        pytest.skip("normalizes by batch")
    X = np.zeros((128, 4))
    y = np.tile([0, 1], 64)
    weight = np.where(y == 1, 9.0, 1.0)
    model = make(batch_size=128, lr_schedule="cosine")
    if make is MLP:
        model.set_params(dropout=0.0)
    with_epochs(model, 400).fit(X, y, weight)
    assert model.predict_proba(X[:1])[0, 1] == pytest.approx(0.9, abs=0.03)


@for_each_class
def test_list_of_weights(make, iris):
    X, y = iris
    weight = np.linspace(0.5, 2, len(y))
    as_array = make().fit(X, y, sample_weight=weight).predict_proba(X)
    as_list = make().fit(X, y, sample_weight=weight.tolist()).predict_proba(X)
    assert same_bits(as_array, as_list)
