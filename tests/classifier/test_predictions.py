r"""All prediction methods are exact and agree with each other."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import make_classification
from sklearn.metrics import log_loss

from sksoftmax import (
    SoftmaxRegression,
)

from ..factories import (
    CNN,
    MLP,
    Regression,
    few_examples,
    for_each_class,
    standardized_iris,
    state,
)


@for_each_class
def test_probabilities_sum_to_one(make, fitted, iris):
    X, y = iris
    proba = fitted(make).predict_proba(X)
    assert proba.shape == (150, 3)
    assert proba.dtype == np.float64
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-12)
    assert (proba > 0).all()
    assert log_loss(y, proba) < 0.6


@for_each_class
@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("float16", "float64"),
        ("float32", "float32"),
        ("float64", "float64"),
        (">f8", "float64"),
        ("int64", "float64"),
        ("int8", "float64"),
        ("bool", "float64"),
    ],
)
def test_float32_rows_give_float32_others_float64(make, dtype, expected, fitted, iris):
    X = iris[0].astype(dtype)
    model = fitted(make)
    for method in ("predict_proba", "predict_log_proba", "decision_function"):
        assert getattr(model, method)(X).dtype == expected
    np.testing.assert_allclose(model.predict_proba(X).sum(1), 1, atol=1e-6)


@for_each_class
def test_prediction_methods_agree_with_each_other(make, fitted, iris):
    X, _ = iris
    model = fitted(make)
    proba, logits = model.predict_proba(X), model.decision_function(X)
    np.testing.assert_allclose(
        proba, torch.from_numpy(logits).softmax(1).numpy(), rtol=1e-12
    )
    # The logarithm of a number close to 1 has few digits.
    np.testing.assert_allclose(
        model.predict_log_proba(X), np.log(proba), rtol=1e-9, atol=1e-15
    )
    assert (model.predict(X) == model.classes_[proba.argmax(1)]).all()


@for_each_class
def test_module_returns_the_logits(make, fitted, iris):
    X = iris[0].astype(np.float32)
    model = fitted(make)
    assert not model.module_.training
    with torch.no_grad():
        logits = model.module_(torch.from_numpy(X).to(first_dtype(model))).numpy()
    np.testing.assert_allclose(model.decision_function(X), logits, atol=1e-5)


@for_each_class
def test_two_classes_have_one_score(make, cancer):
    X, y = cancer
    names = np.array(["malignant", "benign"])[y]
    model = make().fit(X, names)
    scores = model.decision_function(X)
    assert scores.shape == (len(y),)
    assert model.classes_.tolist() == ["benign", "malignant"]
    assert ((scores > 0) == (model.predict(X) == "malignant")).all()
    proba = model.predict_proba(X)
    assert proba.shape == (len(y), 2)
    # The difference of the logits is the log odds.
    np.testing.assert_allclose(proba[:, 1], 1 / (1 + np.exp(-scores)), atol=1e-7)
    assert model.score(X, names) > 0.85


@for_each_class
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_of_probabilities_too_small_for_a_float(make, dtype, iris):
    X, y = iris
    # Rows far outside the training rows have huge logits.
    # Input scaling would limit their distance.
    options = {"input_scaling": None} if make in (MLP, CNN) else {}
    if make is Regression:
        options = {"C": 1e6, "tol": 1e-4}
    model = make(**options).fit(X, y)
    X = (1e5 * X).astype(dtype)
    proba, log_proba = model.predict_proba(X), model.predict_log_proba(X)
    assert (proba == 0).any()
    assert np.isfinite(log_proba).all()
    assert log_proba.min() < -1000
    is_normal = proba > 1e-30
    np.testing.assert_allclose(
        log_proba[is_normal], np.log(proba[is_normal]), rtol=1e-4, atol=1e-6
    )


@for_each_class
@pytest.mark.filterwarnings("ignore:.* has learned nothing")
def test_log_of_probabilities_of_wide_tables(make):
    # The scale of the logits grows with the number of features.
    X, y = make_classification(40, 2000, n_informative=50, random_state=0)
    X = 100 * X.astype(np.float32)
    model = (
        SoftmaxRegression(C=1e3)
        if make is Regression
        else make(learning_rate=0.1).fit(X, y)
    )
    model.fit(X, y)
    log_proba = model.predict_log_proba(X * np.float32(100))
    assert np.isfinite(log_proba).all()
    np.testing.assert_allclose(np.exp(log_proba).sum(1), 1, atol=1e-5)


@for_each_class
def test_prediction_of_one_row(make, fitted, iris):
    X, _ = iris
    model = fitted(make)
    together = model.predict_proba(X)
    for row in (0, 77, 149):
        alone = model.predict_proba(X[row : row + 1])
        assert alone.shape == (1, 3)
        np.testing.assert_allclose(alone[0], together[row], atol=1e-6)


@for_each_class
@few_examples
@given(cuts=st.lists(st.integers(1, 149), max_size=8, unique=True))
def test_rows_in_any_batches(make, fitted, cuts):
    X, _ = standardized_iris()
    model = fitted(make)
    parts = np.split(X, sorted(cuts))
    in_parts = np.concatenate([model.predict_proba(part) for part in parts])
    np.testing.assert_allclose(in_parts, model.predict_proba(X), atol=1e-6)


@for_each_class
@few_examples
@given(order=st.permutations(range(150)), n_rows=st.integers(1, 150))
def test_rows_in_any_order(make, fitted, order, n_rows):
    X, _ = standardized_iris()
    model = fitted(make)
    order = order[:n_rows]
    np.testing.assert_allclose(
        model.predict_proba(X[order]), model.predict_proba(X)[order], atol=1e-6
    )


@for_each_class
def test_more_rows_than_one_forward_pass(make, fitted, iris):
    X, _ = iris
    model = fitted(make)
    many = np.tile(X, (60, 1))
    proba = model.predict_proba(many)
    assert proba.shape == (9000, 3)
    np.testing.assert_allclose(
        proba, np.tile(model.predict_proba(X), (60, 1)), atol=1e-6
    )


@for_each_class
def test_predicting_changes_nothing(make, fitted, iris):
    model = fitted(make)
    before = set(vars(model)), state(model)
    model.predict(iris[0])
    model.predict_log_proba(iris[0])
    assert (set(vars(model)), state(model)) == before


def first_dtype(model):
    return next(model.module_.parameters()).dtype
