r"""Coefficients and intercepts as attributes."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
)

from sksoftmax import SoftmaxRegression


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_float32_stays_float32_and_agrees(fit_intercept):
    X, y = load_digits(return_X_y=True)
    double = SoftmaxRegression(fit_intercept=fit_intercept).fit(X, y)
    single = SoftmaxRegression(fit_intercept=fit_intercept).fit(X.astype(np.float32), y)
    assert single.coef_.dtype == single.intercept_.dtype == np.float32
    assert double.coef_.dtype == double.intercept_.dtype == np.float64
    assert_allclose(single.coef_, double.coef_, atol=1e-5)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("load", [load_iris, load_breast_cancer])
def test_assigned_coefficients_predict(load, fit_intercept):
    X, y = load(return_X_y=True)
    fitted = SoftmaxRegression(fit_intercept=fit_intercept).fit(X, y)
    assigned = SoftmaxRegression(0.01, fit_intercept=fit_intercept).fit(X, y)
    assigned.coef_, assigned.intercept_ = fitted.coef_, fitted.intercept_
    assert_allclose(assigned.predict_proba(X), fitted.predict_proba(X), rtol=1e-10)
    assert_allclose(assigned.coef_, fitted.coef_, rtol=1e-12)
    with pytest.raises(ValueError, match=r"Got coefficients of shape \(1, 2\)"):
        assigned.coef_ = [[1.0, 2.0]]
    with pytest.raises(ValueError, match="read-only"):
        assigned.coef_[0] = 0
    if not fit_intercept:
        with pytest.raises(ValueError, match="fit_intercept=False left no place"):
            assigned.intercept_ = fitted.intercept_ + 1


def test_no_coefficients_before_fit():
    assert not hasattr(SoftmaxRegression(), "coef_")
    with pytest.raises(AttributeError, match="not fitted yet"):
        _ = SoftmaxRegression().intercept_


def test_coefficients_and_module_say_the_same():
    for load in (load_iris, load_breast_cancer):
        X, y = load(return_X_y=True)
        classifier = SoftmaxRegression().fit(X, y)
        scores = X @ classifier.coef_.T + classifier.intercept_
        assert_allclose(
            classifier.decision_function(X), np.squeeze(scores), rtol=1e-9, atol=1e-9
        )
        with torch.no_grad():
            assert classifier.module_(torch.tensor(X)).shape == (len(X), len(set(y)))
