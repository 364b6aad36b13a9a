r"""Rows encoded by their neighbors: against brute force, and without a leak."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csc_array, csr_array, csr_matrix, issparse
from sklearn.datasets import load_iris, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline, make_union

from sksoftmax import NeighborsEncoder, SoftmaxMLPClassifier


def by_hand(X_train, y_train, x, n_neighbors, power, closest, prior_neighbors=0.3):
    r"""Return the features of one row, one class and neighbor after the other."""
    distances = {
        label: np.sort(np.sqrt(((X_train[y_train == label] - x) ** 2).sum(1)))
        for label in np.unique(y_train)
    }
    distances = {label: d[:n_neighbors] for label, d in distances.items()}
    first = min(d[0] for d in distances.values())
    weights = np.array(
        [
            (((first + closest) / (d + closest)) ** power).sum()
            + prior_neighbors * (y_train == label).mean()
            for label, d in distances.items()
        ]
    )
    return np.concatenate(
        [
            [d[0] for d in distances.values()],
            [d.mean() for d in distances.values()],
            np.log(weights / weights.sum()),
        ]
    )


def test_new_rows_against_brute_force():
    X, y = load_iris(return_X_y=True)
    X = X + np.random.default_rng(0).normal(scale=1e-3, size=X.shape)
    train, test = np.arange(150) % 3 > 0, np.arange(150) % 3 == 0
    encoder = NeighborsEncoder(n_neighbors=5, power=3.0).fit(X[train], y[train])
    nearest = encoder.fit_transform(X[train], y[train])[:, :3].min(1)
    closest = 1e-3 * np.median(nearest)
    expected = [by_hand(X[train], y[train], x, 5, 3.0, closest) for x in X[test]]
    assert_allclose(encoder.transform(X[test]), expected, rtol=1e-6)


def test_training_rows_are_encoded_by_the_others():
    X, y = load_iris(return_X_y=True)
    X = X + np.random.default_rng(0).normal(scale=1e-3, size=X.shape)
    encoded = NeighborsEncoder(n_neighbors=4).fit_transform(X, y)
    for row in range(0, 150, 10):
        others = np.arange(150) != row
        encoder = NeighborsEncoder(n_neighbors=4).fit(X[others], y[others])
        # The distances; the probabilities also depend on the share of each class.
        expected = encoder.transform(X[[row]])[0]
        assert_allclose(encoded[row, :6], expected[:6], rtol=1e-6)
        assert_allclose(encoded[row, 6:], expected[6:], atol=0.05)


def test_labels_do_not_leak():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 3)), rng.integers(2, size=400)
    encoder = NeighborsEncoder()
    honest = encoder.fit_transform(X, y)
    leaking = encoder.transform(X)
    classifier = LogisticRegression(max_iter=1000)
    assert classifier.fit(honest, y).score(honest, y) < 0.6
    assert classifier.fit(leaking, y).score(leaking, y) > 0.9


@settings(max_examples=30, deadline=None)
@given(
    st.integers(2, 30),
    st.integers(1, 4),
    st.integers(1, 40),
    st.floats(0.5, 40.0),
    st.integers(0, 2**32 - 1),
)
def test_any_table_has_finite_features(n_rows, n_classes, n_neighbors, power, seed):
    rng = np.random.default_rng(seed)
    # Few values: rows repeat, also with other labels; classes may have one row.
    X = rng.integers(0, 3, size=(n_rows, 2)).astype(np.float64)
    y = rng.integers(n_classes, size=n_rows)
    encoder = NeighborsEncoder(n_neighbors=n_neighbors, power=power)
    n_present = len(np.unique(y))
    for features in (encoder.fit_transform(X, y), encoder.transform(X + 0.5)):
        assert features.shape == (n_rows, 3 * n_present)
        assert np.isfinite(features).all()
        probabilities = np.exp(features[:, 2 * n_present :])
        assert_allclose(probabilities.sum(1), 1.0, rtol=1e-6)


@settings(max_examples=10, deadline=None)
@given(st.floats(1e-6, 1e6), st.integers(0, 100))
def test_units_do_not_matter_to_the_probabilities(unit, seed):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(40, 3)), rng.integers(3, size=40)
    expected = NeighborsEncoder().fit_transform(X, y)
    features = NeighborsEncoder().fit_transform(X * unit, y)
    assert_allclose(features[:, :6], expected[:, :6] * unit, rtol=1e-5)
    assert_allclose(features[:, 6:], expected[:, 6:], rtol=1e-4)


def test_a_class_of_one_row_is_as_far_from_itself_as_the_farthest():
    X = np.array([[0.0], [1.0], [2.0], [10.0]])
    encoder = NeighborsEncoder(n_neighbors=2)
    features = encoder.fit_transform(X, ["a", "a", "a", "b"])
    # Row 3 is 8, 9 and 10 from the rows of "a", and knows no other of "b".
    assert_array_equal(features[3, :4], [8.0, 8.0, 8.5, 8.5])
    assert features[3, 5] < np.log(0.1)
    assert_array_equal(encoder.transform([[9.0]])[0, :4], [7.0, 1.0, 7.5, 1.0])


def test_names_and_types():
    X = pd.DataFrame({"u": [0.0, 1.0, 2.0, 3.0], "v": [1.0, 0.0, 1.0, 0.0]})
    encoder = NeighborsEncoder(n_neighbors=1).set_output(transform="pandas")
    features = encoder.fit_transform(X, ["no", "yes", "no", "yes"])
    assert list(features) == [
        f"{kind}_{label}"
        for kind in ("nearest", "mean", "log_probability")
        for label in ("no", "yes")
    ]
    assert (features.dtypes == np.float64).all()
    plain = NeighborsEncoder(n_neighbors=1)
    assert plain.fit_transform(X.to_numpy(np.float32), [0, 1, 0, 1]).dtype == np.float32


@pytest.mark.parametrize("container", [csr_matrix, csr_array, csc_array])
def test_sparse_rows_are_as_dense_ones(container):
    rng = np.random.default_rng(0)
    X = np.where(rng.random((80, 30)) < 0.8, 0.0, rng.random((80, 30)))
    y = rng.integers(3, size=80)
    encoder, of_sparse = NeighborsEncoder(), NeighborsEncoder()
    expected = encoder.fit_transform(X[:60], y[:60])
    assert_allclose(of_sparse.fit_transform(container(X[:60]), y[:60]), expected)
    assert all(issparse(search._fit_X) for search in of_sparse.neighbors_)
    expected = encoder.transform(X[60:])
    assert_allclose(of_sparse.transform(container(X[60:])), expected)


def test_bad_input_says_what_is_wrong():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="'n_neighbors' parameter of NeighborsEncoder"):
        NeighborsEncoder(n_neighbors=0).fit(X, y)
    with pytest.raises(ValueError, match="'power' parameter of NeighborsEncoder"):
        NeighborsEncoder(power=0).fit(X, y)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        NeighborsEncoder().fit(np.where(X > 7, np.nan, X), y)
    with pytest.raises(ValueError, match=r"1 sample.* minimum of 2 is required"):
        NeighborsEncoder().fit(X[:1], y[:1])
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        NeighborsEncoder().fit(X, X[:, 0])
    encoder = NeighborsEncoder().fit(X, y)
    with pytest.raises(ValueError, match="X has 2 features, but NeighborsEncoder is"):
        encoder.transform(X[:, :2])
    expected = encoder.transform(X)
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        encoder.fit(X[:, :2], X[:, 0])
    assert_array_equal(encoder.transform(X), expected)
    assert_array_equal(encoder.transform(torch.tensor(X)), expected)


def test_in_front_of_a_net():
    # Many small clusters: what neighbors know at once, a short training does not find.
    X, y = make_classification(
        1200, 12, n_informative=12, n_redundant=0, n_classes=3, n_clusters_per_class=12,
        class_sep=1.5, random_state=0,
    )  # fmt: skip
    net = SoftmaxMLPClassifier((32,), n_estimators=2, max_epochs=8, random_state=0)
    both = make_pipeline(make_union("passthrough", NeighborsEncoder(power=8.0)), net)
    losses = []
    for classifier in (net, both):
        classifier.fit(X[:900], y[:900])
        losses.append(log_loss(y[900:], classifier.predict_proba(X[900:])))
    assert losses[1] < 0.9 * losses[0]


def test_in_a_search():
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(NeighborsEncoder(), LogisticRegression(max_iter=5000))
    search = GridSearchCV(
        pipeline, {"neighborsencoder__n_neighbors": [1, 5]}, cv=3, scoring="accuracy"
    ).fit(X, y)
    assert search.best_score_ > 0.93
    assert cross_val_score(search.best_estimator_, X, y, cv=3).mean() > 0.93
