r"""scikit-learn's tests of its logistic regression, run with our classes.

The installed ``sklearn/linear_model/tests/test_logistic.py`` is executed anew with our
classes under the names of scikit-learn's, and its test functions are collected here.
What is skipped or expected to fail is listed, each with its reason.
"""

import importlib.util
import os
import subprocess
import sys
from fnmatch import fnmatchcase
from typing import ClassVar
from unittest import mock

import numpy as np
import pytest
import sklearn
from sklearn.utils.fixes import parse_version

from sksoftmax import SoftmaxRegression, SoftmaxRegressionCV

if parse_version(sklearn.__version__) < parse_version("1.9"):
    pytest.skip("the file differs before scikit-learn 1.9", allow_module_level=True)

# First imported as it is: the modules that it imports keep scikit-learn's classes.
THEIRS = pytest.importorskip(
    "sklearn.linear_model.tests.test_logistic",
    reason="scikit-learn is installed without its tests",
)


class LogisticRegression(SoftmaxRegression):
    r"""Ours with the parameters of scikit-learn's; any ``solver`` is our exact one.

    The defaults are ours, above all ``tol``, which each solver of scikit-learn defines
    differently.
    """

    _parameter_constraints: ClassVar = {
        **SoftmaxRegression._parameter_constraints,
        "solver": [str],
    }

    def __init__(
        self,
        *,
        C=1.0,
        l1_ratio=0.0,
        fit_intercept=True,
        class_weight=None,
        solver="lbfgs",
        tol=1e-8,
        max_iter=100,
        warm_start=False,
        random_state=None,
        dual=False,
        intercept_scaling=1.0,
    ):
        super().__init__(
            C,
            l1_ratio=l1_ratio,
            fit_intercept=fit_intercept,
            class_weight=class_weight,
            solver=solver,
            tol=tol,
            max_iter=max_iter,
            warm_start=warm_start,
            random_state=random_state,
        )
        self.dual = dual
        self.intercept_scaling = intercept_scaling


# Compared by identity: the older layout has no axis for shares that were not given.
NO_LASSO = (0.0,)


class LogisticRegressionCV(SoftmaxRegressionCV):
    r"""Ours with the parameters of scikit-learn's, and the attributes' older layout."""

    def __init__(
        self,
        *,
        Cs=10,
        l1_ratios=NO_LASSO,
        fit_intercept=True,
        cv=None,
        scoring=None,
        refit=True,
        class_weight=None,
        solver="lbfgs",
        tol=1e-8,
        max_iter=100,
        random_state=None,
        use_legacy_attributes=True,
    ):
        super().__init__(
            Cs,
            l1_ratios=l1_ratios,
            fit_intercept=fit_intercept,
            cv=cv,
            scoring=scoring,
            refit=refit,
            class_weight=class_weight,
            tol=tol,
            max_iter=max_iter,
        )
        self.solver = solver
        self.random_state = random_state
        self.use_legacy_attributes = use_legacy_attributes

    def fit(self, X, y, sample_weight=None, **params):
        super().fit(X, y, sample_weight, **params)
        if self.use_legacy_attributes:
            self._take_older_layout()
        return self

    def _take_older_layout(self):
        keys = self.classes_ if len(self.classes_) > 2 else self.classes_[1:]
        # To (n_classes, n_folds, n_cs, n_l1_ratios, n_columns), and so the others.
        paths = np.moveaxis(self.coefs_paths_, (3, 0, 2, 1), (0, 1, 2, 3))
        scores, n_iter = self.scores_.swapaxes(1, 2), self.n_iter_.swapaxes(1, 2)[None]
        if self.l1_ratios is NO_LASSO:
            paths, scores, n_iter = paths[..., 0, :], scores[..., 0], n_iter[..., 0]
        self.coefs_paths_ = dict(zip(keys, paths, strict=True))
        self.scores_ = dict.fromkeys(keys, scores)
        self.n_iter_ = n_iter
        self.C_ = np.full(len(keys), self.C_)
        self.l1_ratio_ = np.full(len(keys), self.l1_ratio_)


PENALTY = "the parameter `penalty`, which scikit-learn deprecates, is not ours"
DEPRECATED = "expects a warning that scikit-learn changes a default or a parameter"
PRIVATE = "tests a private function of scikit-learn"
ANOTHER_SOLVER = "is about a solver that is not ours"
LOOSE = (
    "tol bounds the gradient here, not a step: so loose a one leaves two ways to the "
    "optimum further apart than the test allows"
)
LBFGS_TASKS = "counts the tasks of their lbfgs, which begins one task too many"

# Tests that are not about our classes.
NOT_OURS = {
    "test_check_solver_option*": "any of our solvers takes what theirs refuse",
    "test_elastic_net_l1_l2_equivalence*": PENALTY,
    "test_elasticnet_l1_ratio_err_helpful*": PENALTY,
    "test_get_default_scorer": PRIVATE,
    "test_l1_ratio_None_deprecated": DEPRECATED,
    "test_l1_ratio_non_elasticnet": PENALTY,
    "test_liblinear_dual_random_state": ANOTHER_SOLVER,
    "test_liblinear_multiclass_raises*": ANOTHER_SOLVER,
    "test_liblinear_with_large_values": ANOTHER_SOLVER,
    "test_logistic_cv_multinomial_score*": PRIVATE,
    "test_logistic_regression_callback_support_warning": ANOTHER_SOLVER,
    "test_logistic_regression_path_*": PRIVATE,
    "test_logisticregression_warns_with_n_jobs": DEPRECATED,
    "test_logisticregressioncv_warns_with_use_legacy_attributes": DEPRECATED,
    "test_logreg_predict_proba_multinomial": PRIVATE,
    "test_lr_penalty_l1ratio_incompatible*": PENALTY,
    "test_lr_scoring_warns": DEPRECATED,
    "test_newton_cholesky_fallback_to_lbfgs": ANOTHER_SOLVER,
    "test_penalty_deprecated*": PENALTY,
    "test_penalty_none*": PENALTY,
}

# Tests that our classes fail.
FAILS = {
    "test_logistic_regression_callback_support[*": LBFGS_TASKS,
    "test_scores_attribute_layout_elasticnet": LOOSE,
    "test_write_parameters": (
        "coef_ is made from the module and read-only; another array can be assigned"
    ),
}


def with_our_classes():
    r"""Return their module, made anew, in which their names mean our classes."""
    spec = importlib.util.spec_from_file_location("their_tests", THEIRS.__file__)
    module = importlib.util.module_from_spec(spec)
    with mock.patch.multiple(
        "sklearn.linear_model",
        LogisticRegression=LogisticRegression,
        LogisticRegressionCV=LogisticRegressionCV,
    ):
        spec.loader.exec_module(module)
    return module


# Libraries and devices of tables that every machine has that these tests run on.
TABLES = [("numpy", None), ("torch", "cpu")]


def bounded(mark):
    r"""Return a parametrization with one solver only, as all are the same here."""
    if mark.name != "parametrize":
        return mark
    # pytest deprecates iterators, of which scikit-learn has some.
    names, values = mark.args[0], list(mark.args[1])
    if "array_namespace" in names:
        values = [value for value in values if value[:2] in TABLES]
    if "solver" in names:
        ours = [value for value in values if "newton-cg" in value]
        values = ours or values[:1]
    return pytest.mark.parametrize(names, values).mark


def functions_of(module):
    tests = {name: test for name, test in vars(module).items() if name[:5] == "test_"}
    for test in tests.values():
        marks = getattr(test, "pytestmark", [])
        test.pytestmark = [bounded(mark) for mark in marks]
    return tests


MODULE = with_our_classes()
TESTS = functions_of(MODULE)
pytestmark = MODULE.pytestmark
globals().update(TESTS)


@pytest.fixture
def global_random_seed():
    r"""Stand in for the fixture of scikit-learn's conftest.py; 42 is its default."""
    return 42


def reason_in(listed, name):
    r"""Return why a test is listed, None if it is not."""
    for pattern, reason in listed.items():
        # A bracket is part of the name of a test, not a set of characters.
        if fnmatchcase(name, pattern.replace("[", "[[]")):
            return reason
    return None


@pytest.fixture(autouse=True)
def _listed(request):
    if reason := reason_in(NOT_OURS, request.node.name):
        pytest.skip(reason)
    if reason := reason_in(FAILS, request.node.name):
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))


@pytest.mark.parametrize("pattern", [*NOT_OURS, *FAILS])
def test_what_is_listed_exists(pattern):
    assert any(fnmatchcase(name, pattern.split("[")[0]) for name in TESTS)


@pytest.mark.skipif("SCIPY_ARRAY_API" in os.environ, reason="they run here then")
def test_those_about_array_libraries():
    # SciPy looks at the variable once, when it is imported.
    completed = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", "-k", "array_api", "-q", __file__],
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
    )
    assert completed.returncode == 0, completed.stdout
    assert " passed" in completed.stdout
    assert "skipped" not in completed.stdout
