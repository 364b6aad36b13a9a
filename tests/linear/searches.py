r"""A search by our class and by scikit-learn's, compared."""

import pytest
from numpy.testing import assert_allclose
from sklearn.model_selection import (
    GridSearchCV,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sksoftmax import SoftmaxGridSearchCV, SoftmaxRegression

CS = [0.01, 0.1, 1.0, 10.0]

TIMES = {f"{kind}_{part}_time" for kind in ("mean", "std") for part in ("fit", "score")}


def scaled(**params):
    return Pipeline([("scale", StandardScaler()), ("clf", SoftmaxRegression(**params))])


def assert_same_search(estimator, grid, X, y, fit_params=None, **params):
    r"""Search with both, compare everything but times; return ours."""
    fit_params = {} if fit_params is None else fit_params
    ours = SoftmaxGridSearchCV(estimator, grid, **params).fit(X, y, **fit_params)
    theirs = GridSearchCV(estimator, grid, **params).fit(X, y, **fit_params)
    assert list(ours.cv_results_) == list(theirs.cv_results_)
    for name, expected in theirs.cv_results_.items():
        got = ours.cv_results_[name]
        if name in TIMES:
            assert (got >= 0).all()
        elif name == "params" or name.startswith("param_"):
            assert str(got) == str(expected)
        else:
            assert_allclose(got, expected, atol=1e-6, err_msg=name)
    for name in ("best_index_", "multimetric_", "n_splits_"):
        assert getattr(ours, name, None) == getattr(theirs, name, None)
    assert set(vars(ours)) == set(vars(theirs)) - {"_checked_cv_orig"}
    if ours.refit:
        assert str(ours.best_params_) == str(theirs.best_params_)
        assert type(ours.best_estimator_) is type(theirs.best_estimator_)
        assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-4)
        assert ours.score(X, y) == pytest.approx(theirs.score(X, y), abs=1e-6)
    return ours
