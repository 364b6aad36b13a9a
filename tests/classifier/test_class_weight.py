r"""class_weight multiplies the sample weights."""

import numpy as np
import pytest

from ..factories import CNN, MLP, SPECIES, for_each_class_and_solver, state


@pytest.fixture
def unbalanced(noisy):
    (X, y), _ = noisy
    kept = (y != 1) | (np.arange(len(y)) % 5 == 0)
    return X[kept], y[kept]


def balanced_weights(y):
    return {k: len(y) / (3 * np.sum(y == k)) for k in range(3)}


@for_each_class_and_solver
def test_balanced_equals_its_dict(make, unbalanced):
    X, y = unbalanced
    balanced = make(class_weight="balanced").fit(X, y)
    written = make(class_weight=balanced_weights(y)).fit(X, y)
    assert state(balanced) == state(written)


@for_each_class_and_solver
def test_dict_equals_sample_weight(make, unbalanced):
    X, y = unbalanced
    # Class weights do not count in the input scaling; sample weights do.
    options = {"input_scaling": None} if make in (MLP, CNN) else {}
    by_class = make(class_weight=balanced_weights(y), **options).fit(X, y)
    weight = np.array([balanced_weights(y)[label] for label in y])
    by_row = make(**options).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(
        by_class.predict_proba(X), by_row.predict_proba(X), atol=1e-6
    )


@for_each_class_and_solver
def test_balanced_raises_the_probability_of_a_rare_class(make, unbalanced):
    X, y = unbalanced
    # With piecewise-linear inputs, the net separates the classes without weights.
    options = {"n_bins": None, "input_dropout": 0.0} if make is MLP else {}
    plain = make(**options).fit(X, y).predict_proba(X)[:, 1].mean()
    balanced = make(class_weight="balanced", **options).fit(X, y)
    assert balanced.predict_proba(X)[:, 1].mean() > plain + 0.1


@for_each_class_and_solver
def test_class_weight_multiplies_sample_weight(make, iris):
    X, y = iris
    options = {"input_scaling": None} if make in (MLP, CNN) else {}
    weight = np.linspace(0.5, 2, len(y))
    both = make(class_weight={1: 3.0}, **options).fit(X, y, weight)
    product = weight * np.where(y == 1, 3.0, 1.0)
    expected = make(**options).fit(X, y, product).predict_proba(X)
    np.testing.assert_allclose(both.predict_proba(X), expected, atol=1e-6)


@for_each_class_and_solver
def test_class_weight_of_text_labels(make, iris):
    X, y = iris
    names = np.array(SPECIES)[y]
    by_name = make(class_weight={"versicolor": 3.0}).fit(X, names)
    by_number = make(class_weight={1: 3.0}).fit(X, y)
    assert state(by_name) == state(by_number)
