r"""The table of probabilities for Kaggle."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sksoftmax.datasets import (
    otto_submission,
)

from .files import (
    CLASSES,
    FEATURES,
    make_otto,
)


class Fixed(ClassifierMixin, BaseEstimator):
    """A classifier whose probabilities are the rows that it is given."""

    def __init__(self, classes=CLASSES):
        self.classes = classes

    def fit(self, X, y=None):
        self.classes_ = np.array(self.classes)
        return self

    def predict_proba(self, X):
        return np.asarray(X)


@settings(deadline=None, max_examples=50)
@given(
    order=st.permutations(range(9)),
    rows=hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        st.tuples(st.integers(1, 6), st.just(9)),
        elements=st.floats(0, 1, width=32),
    ),
    first_id=st.integers(0, 10**6),
)
def test_probabilities_are_clipped_and_sum_to_1(order, rows, first_id):
    classes = [CLASSES[position] for position in order]
    ids = np.arange(first_id, first_id + len(rows))
    submission = otto_submission(Fixed(classes).fit(None), rows, ids)
    assert submission.columns.tolist() == ["id", *CLASSES]
    np.testing.assert_array_equal(submission["id"], ids)
    probabilities = submission[CLASSES].to_numpy()
    assert probabilities.dtype == np.float64
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=0, atol=1e-9)
    assert probabilities.min() > 0
    clipped = np.clip(rows.astype(np.float64), 1e-15, None)
    expected = clipped / clipped.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(submission[classes], expected, rtol=1e-12)


def make_linear():
    return LogisticRegression(max_iter=1000)


@pytest.mark.parametrize(
    "make",
    [
        make_linear,
        lambda: make_pipeline(StandardScaler(), make_linear()),
        lambda: GridSearchCV(make_linear(), {"C": [0.1, 1.0]}, cv=2),
    ],
    ids=["classifier", "pipeline", "search"],
)
def test_submission_of_classifiers_of_scikit_learn(tmp_path, make):
    table = make_otto(n_rows=90)
    X = table[FEATURES] / 400
    classifier = make().fit(X, table["target"])
    submission = otto_submission(classifier, X, table["id"])
    np.testing.assert_allclose(submission[CLASSES], classifier.predict_proba(X))

    submission.to_csv(tmp_path / "submission.csv", index=False)
    lines = (tmp_path / "submission.csv").read_text().splitlines()
    assert lines[0] == "id," + ",".join(CLASSES)
    assert lines[1].startswith(f"{table['id'][0]},0.")
    read = pd.read_csv(tmp_path / "submission.csv")
    assert read["id"].tolist() == table["id"].tolist()
    np.testing.assert_allclose(read[CLASSES].sum(axis=1), 1, rtol=0, atol=1e-9)


def test_submission_of_sparse_rows():
    table = make_otto(n_rows=90)
    X = csr_array(table[FEATURES].to_numpy() / 400)
    classifier = make_linear().fit(X, table["target"])
    submission = otto_submission(classifier, X, table["id"].tolist())
    np.testing.assert_allclose(submission[CLASSES], classifier.predict_proba(X))


def test_submission_needs_predict_proba():
    message = (
        "The 'classifier' parameter of otto_submission must be an object implementing "
        r"'predict_proba'\. Got LinearSVC\(\) instead"
    )
    with pytest.raises(ValueError, match=message):
        otto_submission(LinearSVC(), np.ones((2, 9)), [1, 2])


def test_submission_needs_a_fitted_classifier():
    with pytest.raises(NotFittedError, match="This Fixed instance is not fitted yet"):
        otto_submission(Fixed(), np.ones((2, 9)), [1, 2])


@pytest.mark.parametrize(
    "classes", [CLASSES[:8], [*CLASSES, "Class_10"], list(range(9))]
)
def test_other_classes_are_an_error(classes):
    classifier = Fixed(classes).fit(None)
    message = r"Got classes_ \[.*\], but expected \['Class_1', .*'Class_9'\]"
    with pytest.raises(ValueError, match=message):
        otto_submission(classifier, np.ones((2, len(classes))), [1, 2])


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, 2, 3], r"ids of shape \(3,\) and dtype int64, but expected 2 integers"),
        ([[1], [2]], r"ids of shape \(2, 1\) and dtype int64, but expected 2 integers"),
        ([1.0, 2.0], r"ids of shape \(2,\) and dtype float64, but expected 2 integers"),
        ([7, 7], r"Got the ids \[7\] more than once, but expected a different one"),
    ],
)
def test_ids_that_do_not_fit_are_an_error(ids, message):
    with pytest.raises(ValueError, match=message):
        otto_submission(Fixed().fit(None), np.ones((2, 9)), ids)


def test_an_id_alone_is_an_error():
    message = "The 'ids' parameter of otto_submission must be an array-like"
    with pytest.raises(ValueError, match=message):
        otto_submission(Fixed().fit(None), np.ones((2, 9)), 3)
