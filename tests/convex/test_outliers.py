r"""Tables with outliers: the optimum, or a warning that names the columns."""

import re
import time
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.sparse import csr_array
from scipy.special import logsumexp
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from sksoftmax import (
    SoftmaxGridSearchCV,
    SoftmaxMLPClassifier,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)
from sksoftmax._convex.common import Penalty
from sksoftmax._convex.outliers import bulk
from sksoftmax._linear.solver import make_problem


def table(n_samples=800, n_features=5, n_classes=2, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features))
    logits = X @ rng.normal(size=(n_features, n_classes))
    y = (logits + 0.1 * rng.gumbel(size=logits.shape)).argmax(1)
    y[:n_classes] = np.arange(n_classes)
    return X, y


def objective(model, X, y, C=1.0):
    logits = X @ model.coef_.astype(float).T + model.intercept_
    if logits.shape[1] == 1:
        logits = np.hstack([np.zeros_like(logits), logits])
    losses = logsumexp(logits, axis=1) - logits[np.arange(len(y)), y]
    return losses.sum() + (model.coef_.astype(float) ** 2).sum() / 2 / C


def fitted(model, X, y):
    r"""Return the fitted model, and the message that it did not converge, if any."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    messages = [
        str(w.message) for w in caught if issubclass(w.category, ConvergenceWarning)
    ]
    assert len(messages) <= 1
    return model, "".join(messages)


def best(X, y, C=1.0):
    r"""Return the least objective found otherwise.

    Rows that are classified correctly with clipped values are so without clipping.
    """
    values = []
    for limit in (1e3, 1e6):
        clipped = X * np.minimum(1, limit / abs(X).max(1))[:, None]
        rival = LogisticRegression(C=C, solver="newton-cg", tol=1e-8, max_iter=200)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values.append(objective(rival.fit(clipped, y), X, y, C))
            rival.fit(np.clip(X, -limit, limit), y)
            values.append(objective(rival, X, y, C))
    return min(values)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("size", [1e5, 1e8, 1e10, 2.0**63])
def test_one_placeholder_in_a_column(size, sign):
    X, y = table()
    X[3, 2] = sign * size
    model, message = fitted(SoftmaxRegression(), X, y)
    # Division by the standard deviation gave an accuracy of .736, instead of .98.
    assert not message
    assert objective(model, X, y) <= best(X, y) * (1 + 1e-6)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_optimum_or_warning_for_any_outliers(data):
    n_classes = data.draw(st.integers(2, 3))
    X, y = table(200, 4, n_classes, data.draw(st.integers(0, 50)))
    n_columns = data.draw(st.integers(1, 4))
    n_rows = data.draw(st.sampled_from([1, 2, 20]))
    rows = np.random.default_rng(n_rows).choice(len(X), n_rows, replace=False)
    size = 10 ** data.draw(st.floats(3, 30))
    if data.draw(st.booleans(), label="one row has all of them"):
        X[rows[:, None], np.arange(n_columns)] *= size
    else:
        X[rows, np.arange(n_rows) % n_columns] = size
    C = data.draw(st.sampled_from([1e-2, 1.0, 100.0]))
    is_single = data.draw(st.booleans())
    is_sparse = data.draw(st.booleans())
    if is_single:
        X = X.astype(np.float32).astype(float)
    given_X = X.astype(np.float32) if is_single else X
    model = SoftmaxRegression(C)
    model, message = fitted(model, csr_array(given_X) if is_sparse else given_X, y)
    assert "X has outliers in column" in message or not message
    if not message and not is_single:
        assert objective(model, X, y, C) <= best(X, y, C) * (1 + 1e-6)
    # The other rows are fitted in any case.
    usual = np.delete(np.arange(len(X)), rows)
    assert objective(model, X[usual], y[usual], C) < len(y) * np.log(n_classes)


def test_warning_names_the_columns():
    X, y = table(n_classes=3)
    X[3, 1] = X[4, 3] = 1e30
    frame = pd.DataFrame(X, columns=["age", "income", "height", "date", "weight"])
    model, message = fitted(SoftmaxRegression(), frame, y)
    assert "column 'income', column 'date'" in message
    assert re.search(r"within \S+ of \S+, but", message)
    assert model.score(frame[5:], y[5:]) > 0.6
    _, message = fitted(SoftmaxRegression(l1_ratio=0.5, max_iter=5), frame, y)
    assert "column 'income', column 'date'" in message


@pytest.mark.parametrize("l1_ratio", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("size", [1e4, 1e5, 1e9])
def test_lasso_with_an_outlier_takes_little_time(size, l1_ratio):
    X, y = table()
    X[7, 0] = size
    start = time.process_time()
    model, message = fitted(SoftmaxRegression(l1_ratio=l1_ratio), X, y)
    # .2 seconds; 9 to 30 by proximal gradient steps alone.
    assert time.process_time() - start < 3
    assert model.score(X, y) > 0.9
    if message:
        assert "X has outliers in column 0" in message
        return
    exact, _ = fitted(SoftmaxRegression(l1_ratio=l1_ratio, tol=1e-13), X, y)

    def value(model):
        coef = model.coef_
        ridge = (coef**2).sum() / 2
        loss = objective(model, X, y) - ridge
        return loss + l1_ratio * np.abs(coef).sum() + (1 - l1_ratio) * ridge

    assert value(model) <= value(exact) * (1 + 1e-9)


def test_lasso_on_large_numbers_takes_little_time():
    X, y = load_iris(return_X_y=True)
    start = time.process_time()
    large = SoftmaxRegression(l1_ratio=0.5).fit(X * 1e4, y)
    # .5 seconds, and 21 by proximal gradient steps alone.
    assert time.process_time() - start < 5
    plain = SoftmaxRegression(C=1e4, l1_ratio=1.0, max_iter=500).fit(X, y)
    loss = [
        log_loss(y, m.predict_proba(rows)) for m, rows in ((large, X * 1e4), (plain, X))
    ]
    assert loss[0] < loss[1]


@pytest.mark.parametrize(
    "shape", [(400, 20, 8), (3000, 10, 3), (40, 200, 2)], ids=["many", "tall", "wide"]
)
def test_one_outlier_in_tables_of_other_shapes(shape):
    X, y = table(*shape)
    expected = fitted(SoftmaxRegression(), X, y)[0]
    X[3, 2] = 1e10
    model, message = fitted(SoftmaxRegression(), X, y)
    assert not message
    clean = np.delete(np.arange(len(X)), 3)
    loss = objective(expected, X[clean], y[clean])
    # The row with the outlier may be misclassified.
    assert objective(model, X, y) <= best(X, y) * (1 + 1e-6)
    assert objective(model, X, y) >= loss * 0.8


def test_grid_searches_find_the_optimum():
    X, y = table(300)
    X[3, 2] = 1e10
    Cs = [1e-3, 1.0]
    search = SoftmaxRegressionCV(Cs, cv=3, scoring="neg_log_loss").fit(X, y)
    grid = SoftmaxGridSearchCV(
        SoftmaxRegression(), {"C": Cs}, cv=3, scoring="neg_log_loss"
    ).fit(X, y)
    scores = [grid.cv_results_[f"split{fold}_test_score"] for fold in range(3)]
    assert_allclose(search.scores_[:, 0], scores, rtol=1e-3)
    for model in (search, grid.best_estimator_):
        assert objective(model, X, y) <= best(X, y) * (1 + 1e-6)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6])
def test_placeholders_in_many_rows(share):
    X, y = table()
    expected = SoftmaxRegression().fit(X, y).score(X, y)
    missing = np.random.default_rng(0).random(len(X)) < share
    # A column with a weak effect, and a placeholder in many rows.
    column = X[:, 0] + y
    column[missing] = -1e18
    model, _ = fitted(SoftmaxRegression(), np.column_stack([X, column]), y)
    assert model.score(np.column_stack([X, column]), y) >= expected - 0.01


def test_usual_tables_have_no_outliers():
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.2, size=(2000, 3)) * rng.integers(1, 100, size=(2000, 3))
    rare = rng.random((2000, 3)) < 0.002
    dates = 1.7e18 + 1e16 * rng.normal(size=(2000, 1))
    X = np.hstack([counts, rare, dates, rng.lognormal(size=(2000, 2))])
    y = rng.integers(0, 2, len(X))
    digits = load_digits(return_X_y=True)
    for X, y in ((X, y), digits, load_iris(return_X_y=True)):  # noqa: B020
        for convert in (np.asarray, csr_array):
            model = SoftmaxRegression(0.1).fit(X[:10], np.arange(10) % 2)
            model.classes_ = np.unique(y)
            rows = make_problem(
                model,
                _Data(convert(X), y),
                np.full((1, len(y)), 1 / len(y)),
                [Penalty(0, 1.0, 0.0)],
            ).rows
            assert not rows.outlying


class _Data:
    def __init__(self, X, y):
        self.X, self.y = X, y


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0] * 70 + [1] * 29 + [1e10], 3),
        ([-1e18] * 60 + list(range(40)), 30),
        ([5] * 10, 0),
        ([*range(99), 1e30], 75),
    ],
)
def test_spread_of_most_values(values, expected):
    _, spread = bulk(np.array(values, dtype=float))
    assert_allclose(spread, expected, rtol=0.6)


@pytest.mark.parametrize("share", [0.4, 0.6])
@pytest.mark.parametrize("placeholder", [1e9, -1e30])
def test_perceptron_with_a_placeholder_in_half_of_the_rows(placeholder, share):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1600, 5))
    y = (X[:, 0] + 0.1 * rng.normal(size=1600) > 0) * 1
    X[rng.random(1600) < share, 0] = placeholder
    model = SoftmaxMLPClassifier(n_estimators=2, max_epochs=20, random_state=0)
    proba = model.fit(X[:800], y[:800]).predict_proba(X[800:])
    # .70 if the placeholder determined the scale; log(2) for rows without a value.
    assert log_loss(y[800:], proba) < share * np.log(2) + (1 - share) * 0.35


def test_strong_penalty_on_a_column_of_almost_equal_values():
    # Most values differ by 1e-9: the others count as outliers, and the penalty on the
    # scale of the usual values is 1e18 times as strong.
    rng = np.random.default_rng(0)
    column = np.array([-1.0, -2.3, -1.7, -1.7, -1.6, -1.7, -1.7, -2.3])
    X = np.column_stack([column + 1e-9 * rng.normal(size=8), column > -1.65])
    y, C = np.array([2, 0, 0, 2, 0, 2, 1, 1]), 1e-9
    model = SoftmaxRegression(C=C).fit(X, y)
    residual = model.predict_proba(X) - np.eye(3)[y]
    assert_allclose(residual.T @ X, -model.coef_ / C, atol=1e-6)
