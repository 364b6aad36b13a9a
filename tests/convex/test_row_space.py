r"""Tables with fewer rows than columns: the same optimum from the span of the rows."""

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.sparse import csr_array
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression

from sksoftmax import SoftmaxGridSearchCV, SoftmaxRegression, SoftmaxRegressionCV
from sksoftmax._convex.row_space import RowSpace, SpannedRows


def table(n_samples, n_features, n_classes=2, seed=0):
    r"""Return correlated features with large means, and labels of every class."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n_samples, 5))
    X = factors @ rng.normal(size=(5, n_features)) + 10
    X += 0.3 * rng.normal(size=X.shape)
    y = (factors[:, :n_classes] + rng.gumbel(size=(n_samples, n_classes))).argmax(1)
    y[:n_classes] = np.arange(n_classes)
    return X, y


def objective(model, X, y, C, weight=None):
    logits = X @ model.coef_.astype(float).T + model.intercept_
    if logits.shape[1] == 1:
        logits = np.hstack([np.zeros_like(logits), logits])
    losses = logsumexp(logits, axis=1) - logits[np.arange(len(y)), y]
    return np.average(losses, weights=weight) * len(y) + (model.coef_**2).sum() / 2 / C


def reference(X, y, C, **options):
    rival = LogisticRegression(C=C, tol=1e-9, max_iter=5000, **options)
    return rival.fit(X.astype(float), y)


@pytest.mark.parametrize("C", [1e3, 1e6])
@pytest.mark.parametrize("shape", [(72, 7129), (2, 10_000), (150, 4), (20_000, 5)])
def test_separable_classes_with_a_weak_penalty(shape, C):
    rng = np.random.default_rng(0)
    X = rng.normal(size=shape)
    y = np.arange(len(X)) % 2 if shape[1] > shape[0] else (X[:, 0] > X[:, 1]) * 1
    best = LogisticRegression(C=C, tol=1e-12, max_iter=20_000).fit(X, y)
    ours = SoftmaxRegression(C).fit(X, y)
    # A tolerance that ignores the size of the objective gives one that is .83 larger.
    assert objective(ours, X, y, C) <= objective(best, X, y, C) * (1 + 1e-6)


def test_time_depends_on_the_rows():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(72, 7129)), np.arange(72) % 2
    SoftmaxRegression().fit(X[:, :100], y)
    start = time.process_time()
    model = SoftmaxRegression().fit(X, y)
    # .02 seconds here, and 19 with the inverse of a matrix of columns by columns.
    assert time.process_time() - start < 1
    expected = reference(X, y, 1.0).coef_
    assert_allclose(model.coef_, expected, atol=1e-6 * abs(expected).max())


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_optimum_for_any_shape(data):
    n_samples = int(2 ** data.draw(st.floats(1, 13.2), label="log2 of rows"))
    max_features = min(2**18 / n_samples, 10_000)
    n_features = int(
        max_features ** data.draw(st.floats(0.1, 1), label="share of columns")
    )
    n_features = max(n_features, 2)
    n_classes = data.draw(st.integers(2, min(3, n_samples)))
    C = data.draw(st.sampled_from([1e-3, 0.1, 1.0, 10.0]))
    fit_intercept = data.draw(st.booleans())
    X, y = table(n_samples, n_features, n_classes, data.draw(st.integers(0, 99)))
    if data.draw(st.booleans(), label="sparse"):
        X = csr_array(np.where(np.random.default_rng(0).random(X.shape) < 0.2, X, 0))
    dtype = data.draw(st.sampled_from(["float64", "float32"]))
    model = SoftmaxRegression(C, fit_intercept=fit_intercept)
    model.fit(X.astype(dtype), y)
    assert model.coef_.shape == (n_classes if n_classes > 2 else 1, n_features)
    X = X.astype(dtype).astype(float)
    rival = LogisticRegression(
        C=C, fit_intercept=fit_intercept, solver="newton-cg", tol=1e-7, max_iter=2000
    )
    # An upper bound of the minimum is enough.
    best = objective(rival.fit(X, y), X, y, C)
    slack = 1e-6 if dtype == "float64" else 1e-4
    assert objective(model, X, y, C) <= best * (1 + slack)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_same_coefficients_as_scikit_learn(n_classes, fit_intercept):
    X, y = table(40, 200, n_classes)
    # Copies of a row do not change the span.
    X[5:9] = X[4]
    weight = np.random.default_rng(1).integers(0, 3, len(y))
    for C in (0.01, 1.0):
        model = SoftmaxRegression(C, fit_intercept=fit_intercept)
        model.fit(X, y, sample_weight=weight)
        rival = LogisticRegression(
            C=C, fit_intercept=fit_intercept, solver="newton-cholesky", tol=1e-10
        ).fit(X, y, sample_weight=weight)
        atol = 1e-6 * abs(rival.coef_).max()
        assert_allclose(model.coef_, rival.coef_, atol=atol)
        difference = model.decision_function(X) - rival.decision_function(X)
        assert_allclose(difference, 0, atol=1e-5)


def test_folds_share_one_basis(monkeypatch):
    X, y = table(60, 800, 3)
    Cs, bases = [1e-3, 0.1, 10.0], []
    original = RowSpace.__init__

    def counted(self, *arguments):
        bases.append(self)
        original(self, *arguments)

    monkeypatch.setattr(RowSpace, "__init__", counted)
    search = SoftmaxRegressionCV(Cs, cv=3, scoring="neg_log_loss").fit(X, y)
    # One for all folds, and one for the final fit.
    assert len(bases) == 2
    grid = SoftmaxGridSearchCV(
        SoftmaxRegression(), {"C": Cs}, cv=3, scoring="neg_log_loss"
    ).fit(X, y)
    # One for each fold, and one for the final fit.
    assert len(bases) == 6
    scores = [grid.cv_results_[f"split{fold}_test_score"] for fold in range(3)]
    assert_allclose(search.scores_[:, 0], scores, atol=1e-5)
    assert_allclose(search.C_, grid.best_params_["C"])
    assert_allclose(search.coef_, grid.best_estimator_.coef_, atol=1e-7)
    expected = reference(X, y, search.C_).coef_
    assert_allclose(search.coef_, expected, atol=1e-5 * abs(expected).max())


def test_warm_start_at_the_optimum():
    X, y = table(50, 600, 3)
    model = SoftmaxRegression(warm_start=True).fit(X, y)
    before = model.coef_
    model.fit(X, y)
    assert len(model.loss_curve_) == 1
    assert_allclose(model.coef_, before, atol=1e-12)
    # A part that is orthogonal to all rows changes no prediction.
    model.coef_ = before + np.random.default_rng(0).normal(size=before.shape)
    assert_allclose(model.fit(X, y).coef_, before, atol=1e-6)


def test_equal_rows_leave_the_intercept():
    X, y = np.full((6, 40), 3.0), np.array([0, 0, 0, 0, 1, 1])
    model = SoftmaxRegression().fit(X, y)
    assert_allclose(model.coef_, 0, atol=1e-9)
    assert_allclose(model.predict_proba(X)[0], [2 / 3, 1 / 3], atol=1e-6)
    sparse = SoftmaxRegression().fit(csr_array((60, 2000)), np.arange(60) % 2)
    assert not sparse.coef_.any()


def test_coordinates_are_no_outliers_unless_features_are():
    # A coordinate of two equal rows is tiny, since a third one is almost like them.
    X, y = np.zeros((4, 7)), [2, 0, 1, 3]
    X[:, 0], X[:3, 1], X[0, 2], X[3, 3] = 0.739642686, 0.100447825, 1.4e-5, 0.54288507
    weight = torch.full((4,), 0.25, dtype=torch.float64)
    assert not SpannedRows(torch.from_numpy(X), weight, False).outlying
    model = SoftmaxRegression(np.inf, fit_intercept=False).fit(X, y)
    # The rows that are not equal are classified perfectly.
    assert_allclose(objective(model, X, y, np.inf), 2 * np.log(2), rtol=1e-8)


def test_unpenalized_coefficients_are_in_the_span():
    X, y = table(30, 400)
    y = np.random.default_rng(0).integers(0, 2, len(y))
    model = SoftmaxRegression(np.inf).fit(X, y)
    assert model.score(X, y) == 1
    span = np.linalg.svd(X - X.mean(0), full_matrices=False)[2][:-1]
    assert_allclose(model.coef_ @ span.T @ span, model.coef_, atol=1e-9)


def test_memory_mapped_table(tmp_path):
    X, y = table(50, 600)
    X.tofile(tmp_path / "X")
    mapped = np.memmap(tmp_path / "X", dtype=X.dtype, mode="r", shape=X.shape)
    expected = SoftmaxRegression().fit(X, y).coef_
    assert_allclose(SoftmaxRegression().fit(mapped, y).coef_, expected, atol=1e-12)


def test_coordinates_are_precise_for_rows_of_any_scale():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 300))
    X[3] *= 1e8
    X[7] *= 1e-8
    X[11] = X[12]
    space = RowSpace(torch.from_numpy(X), torch.zeros(300, dtype=torch.float64))
    table = space.table.numpy()
    assert table.shape == (20, 19)
    norms = np.linalg.norm(X, axis=1)
    gram = (table / norms[:, None]) @ (table / norms[:, None]).T
    expected = (X / norms[:, None]) @ (X / norms[:, None]).T
    assert_allclose(gram, expected, atol=1e-13)
    weight = torch.from_numpy(rng.normal(size=(2, 19)))
    restored = space.restore(weight)
    assert_allclose(space.project(restored), weight, atol=1e-10)
    assert_allclose(
        (X @ restored.numpy().T) / norms[:, None],
        (table @ weight.numpy().T) / norms[:, None],
        atol=1e-12,
    )


def test_one_row_with_weight_is_fitted_without_a_warning():
    # PyTorch warns if a standard deviation is computed from one row.
    X = np.array([[0.1, -0.1], [0.6, 0.1], [-0.5, 0.4]])
    classifier = SoftmaxRegression(max_iter=20)
    classifier.fit(X, [0, 1, 1], sample_weight=[0.0, 0.0, 1.0])
    assert classifier.predict(X[2:]) == [1]
