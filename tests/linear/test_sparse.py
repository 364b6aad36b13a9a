r"""Softmax regression of sparse rows."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from sksoftmax import SoftmaxRegression


def table(n_classes=4):
    rng = np.random.default_rng(0)
    X = csr_array(rng.random((300, 80)) * (rng.random((300, 80)) < 0.05))
    y = (X @ rng.normal(size=(80, n_classes)) + rng.gumbel(size=(300, 4))).argmax(1)
    return X, y


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("C", [0.1, 10.0])
def test_same_as_dense(fit_intercept, C):
    X, y = table()
    weight = np.random.default_rng(1).uniform(0, 2, len(y)).round(1)
    sparse, dense = (
        SoftmaxRegression(C, fit_intercept=fit_intercept).fit(table, y, weight)
        for table in (X, X.toarray())
    )
    assert_allclose(sparse.coef_, dense.coef_, atol=1e-5)
    assert_allclose(sparse.intercept_, dense.intercept_, atol=1e-5)
    assert_allclose(
        sparse.predict_proba(X), dense.predict_proba(X.toarray()), atol=1e-6
    )
    assert_array_equal(sparse.predict(X), sparse.predict(X.toarray()))


def test_every_sparse_form_is_taken():
    X, y = table()
    expected = SoftmaxRegression().fit(X, y).coef_
    for form in ("csc", "coo", "lil"):
        classifier = SoftmaxRegression().fit(X.asformat(form), y)
        assert_allclose(classifier.coef_, expected)
    single = SoftmaxRegression().fit(X.astype(np.float32), y)
    assert_allclose(single.coef_, expected, atol=1e-4)
    assert single.predict_proba(X.astype(np.float32)).dtype == np.float32
    frame = pd.DataFrame.sparse.from_spmatrix(X)
    classifier = SoftmaxRegression().fit(frame, y)
    assert_allclose(classifier.coef_, expected)
    assert_array_equal(classifier.predict(frame), classifier.predict(X))


def test_mini_batches_refuse_it():
    X, y = table()
    with pytest.raises(TypeError, match="dense data is required"):
        SoftmaxRegression(solver="adam").fit(X, y)
    with pytest.raises(ValueError, match=r"Pass X.toarray\(\)"):
        SoftmaxRegression().partial_fit(X, y, classes=np.arange(4))
