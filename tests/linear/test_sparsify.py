r"""Sparse coefficients, by sparsify and densify."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, csr_matrix, issparse
from sklearn import config_context, get_config
from sklearn.base import clone
from sklearn.datasets import load_iris, make_classification
from sklearn.exceptions import NotFittedError

from sksoftmax import SoftmaxRegression, SoftmaxRegressionCV
from sksoftmax.inspection import WeightsDisplay
from sksoftmax.modules import SoftmaxLinear
from sksoftmax.persistence import load, save


@pytest.fixture(params=[2, 5])
def rows(request):
    return make_classification(
        300, 200, n_informative=6, n_classes=request.param, random_state=0
    )


@pytest.fixture
def lasso(rows):
    r"""Return a fitted classifier that has less than a tenth of the features in use."""
    classifier = SoftmaxRegression(0.03, l1_ratio=1.0, random_state=0).fit(*rows)
    assert 0 < classifier.coef_.any(0).sum() <= 20
    return classifier


@pytest.mark.parametrize("C", [1e-4, 0.03, 1.0])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_sparse_coefficients_predict_the_same(rows, C, fit_intercept):
    X, y = rows
    X[np.abs(X) < 0.5] = 0
    classifier = SoftmaxRegression(C, l1_ratio=1.0, fit_intercept=fit_intercept)
    classifier.fit(X, y)
    dense, coef = classifier.predict_proba(X), classifier.coef_
    intercept = classifier.intercept_
    assert classifier.sparsify() is classifier
    assert isinstance(classifier.coef_, csr_matrix)
    assert_array_equal(classifier.coef_.toarray(), coef)
    assert_array_equal(classifier.intercept_, intercept)
    for table in (X, np.asfortranarray(X), csr_array(X), X[:1]):
        assert_allclose(
            classifier.predict_proba(table), dense[: table.shape[0]], rtol=1e-9
        )
    assert classifier.predict_proba(X.astype(np.float32)).dtype == np.float32
    assert classifier.densify() is classifier
    assert_array_equal(classifier.coef_, coef)
    assert_array_equal(classifier.predict_proba(X), dense)


def test_other_columns_are_not_read(lasso, rows):
    X, _ = rows
    logits = lasso.decision_function(X)
    unused = ~lasso.coef_.any(0)
    module = lasso.sparsify().module_
    assert len(module.active_columns) == (~unused).sum()
    changed = torch.from_numpy(X.copy())
    changed[:, unused] = torch.nan
    assert module(changed).isfinite().all()
    assert_allclose(lasso.decision_function(X), logits, atol=1e-12)


def test_kind_of_the_sparse_matrix(lasso):
    lasso.sparsify()
    if "sparse_interface" in get_config():
        with config_context(sparse_interface="sparray"):
            assert isinstance(lasso.coef_, csr_array)
    with pytest.raises(ValueError, match="read-only"):
        lasso.coef_.data[0] = 1


def test_not_before_fit():
    for classifier in (SoftmaxRegression(), SoftmaxRegressionCV()):
        with pytest.raises(NotFittedError):
            classifier.sparsify()
        with pytest.raises(NotFittedError):
            classifier.densify()


@pytest.mark.parametrize("solver", ["auto", "adam"])
@pytest.mark.parametrize("warm_start", [False, True])
def test_fit_makes_them_dense(rows, solver, warm_start):
    X, y = rows
    dense = SoftmaxRegression(solver=solver, warm_start=warm_start, random_state=0)
    dense.fit(X, y)
    dense.coef_ = np.zeros_like(dense.coef_)
    sparse = pickle.loads(pickle.dumps(dense)).sparsify()
    # All columns are skipped before the fit, none after it.
    assert sparse.coef_.nnz == 0
    for classifier in (dense, sparse):
        classifier.fit(X, y)
    assert isinstance(sparse.coef_, np.ndarray)
    assert_allclose(sparse.coef_, dense.coef_, atol=1e-6)
    assert_allclose(sparse.predict_proba(X), dense.predict_proba(X), atol=1e-6)


def test_partial_fit_makes_them_dense(lasso, rows):
    X, y = rows
    dense, sparse = pickle.loads(pickle.dumps(lasso)), lasso.sparsify()
    for classifier in (dense, sparse):
        for _ in range(3):
            classifier.partial_fit(X, y)
    assert isinstance(sparse.coef_, np.ndarray)
    assert_array_equal(sparse.coef_, dense.coef_)
    assert_array_equal(sparse.predict_proba(X), dense.predict_proba(X))


def test_failed_fits_change_nothing(lasso, rows):
    X, y = rows
    expected = lasso.sparsify().predict_proba(X)
    for fit in (lasso.fit, lasso.partial_fit):
        with pytest.raises(ValueError, match="NaN"):
            fit(np.full_like(X, np.nan), y)
        assert issparse(lasso.coef_)
        assert_array_equal(lasso.predict_proba(X), expected)


def test_assigned_coefficients_keep_their_format(lasso, rows):
    X, _ = rows
    other = 2 * lasso.coef_
    lasso.sparsify().coef_ = other
    assert isinstance(lasso.coef_, np.ndarray)
    expected = lasso.predict_proba(X)
    lasso.coef_ = csr_array(other)
    assert issparse(lasso.coef_)
    assert_allclose(lasso.predict_proba(X), expected, rtol=1e-9)
    # Other features are in use from here on.
    lasso.coef_ = csr_array(np.roll(other, 1, axis=1))
    assert_allclose(lasso.predict_proba(np.roll(X, 1, axis=1)), expected, rtol=1e-9)
    with pytest.raises(ValueError, match=r"Got coefficients of shape \(1, 2\)"):
        lasso.coef_ = csr_array([[1.0, 2.0]])


def test_pickles_are_sparse_and_files_dense(lasso, rows, tmp_path):
    X, _ = rows
    expected = lasso.sparsify().predict_proba(X)
    copied = pickle.loads(pickle.dumps(lasso))
    assert issparse(copied.coef_)
    assert_array_equal(copied.predict_proba(X), expected)
    save(lasso, tmp_path / "lasso.safetensors")
    loaded = load(tmp_path / "lasso.safetensors")
    assert isinstance(loaded.coef_, np.ndarray)
    assert_allclose(loaded.predict_proba(X), expected, rtol=1e-9)
    assert not hasattr(clone(lasso), "coef_")


def test_chosen_penalty():
    X, y = load_iris(return_X_y=True)
    classifier = SoftmaxRegressionCV([0.1, 1.0], l1_ratios=[1.0], cv=3).fit(X, y)
    score = classifier.score(X, y)
    assert issparse(classifier.sparsify().coef_)
    assert classifier.score(X, y) == pytest.approx(score)


def test_weights_are_drawn():
    pytest.importorskip("matplotlib")
    X, y = load_iris(return_X_y=True)
    classifier = SoftmaxRegression().fit(X, y).sparsify()
    display = WeightsDisplay.from_estimator(classifier)
    assert_array_equal(display.coef, classifier.densify().coef_)


def test_module_without_any_parameter_in_use():
    module = SoftmaxLinear(20, 3).eval()
    module.skip_zero_columns()
    assert_array_equal(module(torch.ones(4, 20)).detach(), np.zeros((4, 3)))
    assert not module.forward_sparse(csr_array(np.ones((4, 20)))).any()
    module.train()
    assert module.active_columns is None
