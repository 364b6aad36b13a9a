r"""Checks of every fit: sane predictions, or a documented error."""

import copy
import pickle
import traceback
import warnings
from contextlib import contextmanager

import numpy as np
import pandas as pd
import polars as pl
import torch
from scipy import sparse
from sklearn.exceptions import (
    ConvergenceWarning,
    DataConversionWarning,
    FitFailedWarning,
    UndefinedMetricWarning,
)
from torch.utils.data import TensorDataset

from sksoftmax import SoftmaxGridSearchCV

# Documented errors. ValueError and TypeError include scikit-learn's own errors.
DOCUMENTED = (ValueError, TypeError)
# Packages that may raise them: an error of another one names internals.
RAISED_BY = ("/sksoftmax/", "/sklearn/")
# Warnings of scikit-learn that a user should see, for example about the score of a
# fold that lacks a class.
WARNINGS = (
    ConvergenceWarning,
    DataConversionWarning,
    FitFailedWarning,
    UndefinedMetricWarning,
)
# Documented warnings: no optimum within max_iter, a column vector as target, too few
# rows of a class for the folds, a fold whose score is not defined, categories that
# hardly repeat or that are unknown, pixels in an unlikely order.
TOLD = ("converge", "column-vector", "least populated class", "Scoring failed",
        "number of unique classes is greater", "undefined", "ill-defined",
        "test scores are non-finite", "Each different value is a category",
        "They count as missing", "channels")  # fmt: skip


@contextmanager
def only_what_is_documented():
    r"""Let documented errors and warnings pass; all others are failures."""
    told = TOLD
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except DOCUMENTED as error:
            # NumPy warns within scikit-learn's check of labels that it refuses.
            told = (*TOLD, "invalid value encountered in cast")
            place = traceback.extract_tb(error.__traceback__)[-1].filename
            if not any(part in place for part in RAISED_BY) or not str(error).strip():
                raise AssertionError("not an error of ours") from error
    for warning in caught:
        is_told = issubclass(warning.category, WARNINGS) or any(
            part in str(warning.message) for part in told
        )
        assert is_told, f"{warning.category.__name__}: {warning.message}"


def same(left, right):
    r"""Return whether two inputs of any type have equal values."""
    if sparse.issparse(left):
        left, right = left.tocoo(), right.tocoo()
        parts = zip((left.data, *left.coords), (right.data, *right.coords), strict=True)
        return all(same(*part) for part in parts)
    if isinstance(left, (pd.DataFrame, pd.Series)):
        return left.equals(right)
    if isinstance(left, torch.Tensor):
        dense = (part.to_dense().contiguous() for part in (left, right))
        return same(*(part.view(torch.uint8).numpy() for part in dense))
    if isinstance(left, pl.LazyFrame):
        return left.collect().equals(right.collect())
    if isinstance(left, TensorDataset):
        return all(map(same, left.tensors, right.tensors))
    if isinstance(left, np.ma.MaskedArray):
        return same(left.data, right.data) and same(left.mask, right.mask)
    if isinstance(left, np.ndarray) and left.dtype != object:
        return left.tobytes() == right.tobytes()
    return repr(left) == repr(right)


def check_fit(case):
    classifier, *given_ = case
    # Sparse tensors have no deepcopy.
    before = [
        given.clone() if isinstance(given, torch.Tensor) else copy.deepcopy(given)
        for given in given_
    ]
    X, y, weight = given_
    with only_what_is_documented():
        keywords = {} if weight is None else {"sample_weight": weight}
        classifier.fit(X, y, **keywords)
        check_predictions(classifier, X)
    for now, then in zip(given_, before, strict=True):
        assert same(now, then), "an input was changed"


def check_predictions(classifier, X):
    proba = classifier.predict_proba(X)
    rows = X.collect() if isinstance(X, pl.LazyFrame) else X
    n_samples = rows.shape[0] if hasattr(rows, "shape") else len(rows)
    assert proba.shape == (n_samples, len(classifier.classes_))
    assert np.isfinite(proba).all(), "probabilities are not finite"
    assert (proba >= 0).all(), "probabilities below 0"
    np.testing.assert_allclose(proba.sum(axis=1), 1.0, atol=1e-6)
    log_proba = classifier.predict_log_proba(X)
    assert not np.isnan(log_proba).any(), "log probabilities are not numbers"
    labels = classifier.predict(X)
    assert np.isin(labels, classifier.classes_).all()
    np.testing.assert_array_equal(classifier.classes_, np.unique(classifier.classes_))
    fitted = getattr(classifier, "best_estimator_", classifier)
    for name, value in fitted.module_.state_dict().items():
        assert value.isfinite().all(), f"{name} is not finite"
    np.testing.assert_array_equal(classifier.predict_proba(X), proba)


def check_sequence(case):
    r"""Check predictions after each of several calls; a failed one changes nothing."""
    classifier, X, other, y, steps = case
    classes = np.unique(y)
    for step in ["fit", *steps]:
        rows = other if step == "fit other rows" else X
        if step == "pickle":
            classifier = pickle.loads(pickle.dumps(classifier))
        with only_what_is_documented():
            take_step(classifier, step, rows, y, classes)
        if hasattr(classifier, "classes_"):
            with only_what_is_documented():
                check_predictions(classifier, rows)


def take_step(classifier, step, X, y, classes):
    if step == "zero weights":
        weight = np.ones(len(y))
        weight[2:] = 0
        if not isinstance(classifier, SoftmaxGridSearchCV):
            classifier.fit(X, y, sample_weight=weight)
    elif step.startswith("partial_fit"):
        if hasattr(classifier, "partial_fit"):
            n_rows = {"partial_fit row": 1, "partial_fit part": 5}.get(step, len(y))
            classifier.partial_fit(X[:n_rows], y[:n_rows], classes)
    elif "fit" in step:
        if step == "warm fit" and "warm_start" in classifier.get_params():
            classifier.set_params(warm_start=True)
        classifier.fit(X, y)
