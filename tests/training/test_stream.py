r"""Streams: ``partial_fit`` in pieces of any size, after ``fit`` and without it."""

import copy
import pickle
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from torch import nn
from torch.utils.data import TensorDataset

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
)
from sksoftmax._training.optimizers import SGD, Adam, AdamW
from sksoftmax.persistence import load, save

X, y = load_digits(return_X_y=True)
X /= 16
CLASSES = np.arange(10)
TEST = slice(1300, None)


def make_net(n_features, n_classes, normalized=False):
    norm = [nn.BatchNorm1d(32)] if normalized else []
    return nn.Sequential(
        nn.Linear(n_features, 32), *norm, nn.ReLU(), nn.Linear(32, n_classes)
    )


CLASSIFIERS = {
    "exact": SoftmaxRegression(),
    "adam": SoftmaxRegression(solver="adam", max_iter=50, random_state=0),
    "sgd": SoftmaxRegression(
        solver="sgd", learning_rate=0.1, max_iter=50, random_state=0
    ),
    "mlp": SoftmaxMLPClassifier((64,), n_estimators=4, max_epochs=12, random_state=0),
    "cnn": SoftmaxCNNClassifier(channels=(8, 16), max_epochs=8, random_state=0),
    "net": SoftmaxNetClassifier(
        make_net, learning_rate=0.01, max_epochs=30, random_state=0
    ),
    "batchnorm": SoftmaxNetClassifier(
        make_net,
        module_params={"normalized": True},
        learning_rate=0.01,
        lr_schedule="cosine",
        max_epochs=20,
        random_state=0,
    ),
}
_FITTED = {}


def fitted(name):
    r"""Return a classifier that was fitted to 1,000 rows; made once."""
    if name not in _FITTED:
        _FITTED[name] = clone(CLASSIFIERS[name]).fit(X[:1000], y[:1000])
    return copy.deepcopy(_FITTED[name])


def stream(classifier, rows, sizes):
    r"""Learn rows in pieces of these sizes, in turn."""
    start, piece = 0, 0
    while start < len(rows):
        part = rows[start : start + sizes[piece % len(sizes)]]
        classifier.partial_fit(X[part], y[part], classes=CLASSES)
        start, piece = start + len(part), piece + 1
    return classifier


def quality(classifier):
    proba = classifier.predict_proba(X[TEST])
    return classifier.score(X[TEST], y[TEST]), log_loss(y[TEST], proba)


class TestAfterFit:
    @pytest.mark.parametrize("size", [3, 300])
    @pytest.mark.parametrize("name", CLASSIFIERS)
    def test_more_rows_do_no_harm(self, name, size):
        classifier = fitted(name)
        accuracy, loss = quality(classifier)
        stream(classifier, np.arange(1000, 1300), [size])
        assert classifier.n_samples_seen_ == 1300
        accuracy_after, loss_after = quality(classifier)
        # A row is .002; the sampling error of such an accuracy is .01.
        assert accuracy_after >= accuracy - 0.003
        assert loss_after <= 1.01 * loss

    @settings(max_examples=5, deadline=None, derandomize=True)
    @given(
        name=st.sampled_from(["exact", "mlp", "cnn", "batchnorm"]),
        sizes=st.lists(st.integers(1, 150), min_size=1, max_size=4),
    )
    def test_it_hardly_matters_where_a_stream_is_cut(self, name, sizes):
        rows = np.arange(1000, 1200)
        before = quality(fitted(name))
        cut = quality(stream(fitted(name), rows, sizes))
        at_once = quality(stream(fitted(name), rows, [200]))
        assert abs(cut[0] - at_once[0]) <= 0.01
        assert abs(cut[1] - at_once[1]) <= 0.05 * at_once[1]
        assert cut[0] >= before[0] - 0.006

    @pytest.mark.parametrize("name", ["exact", "adam", "mlp", "cnn"])
    def test_many_more_rows_are_a_gain(self, name):
        classifier = clone(CLASSIFIERS[name]).fit(X[:300], y[:300])
        accuracy, loss = quality(classifier)
        stream(classifier, np.arange(300, 1300), [20])
        accuracy_after, loss_after = quality(classifier)
        assert accuracy_after > accuracy
        assert loss_after < 0.95 * loss

    @pytest.mark.parametrize("unit", [1e-4, 16.0, 1e5])
    def test_units_after_an_exact_fit_do_not_matter(self, unit):
        scaled = SoftmaxRegression(C=unit**-2).fit(unit * X[:1000], y[:1000])
        before = scaled.predict_proba(unit * X[TEST])
        for row in range(1000, 1100):
            scaled.partial_fit(unit * X[row : row + 1], y[row : row + 1])
        after = scaled.predict_proba(unit * X[TEST])
        assert 1e-5 < np.abs(after - before).max() < 0.3
        assert log_loss(y[TEST], after) < 1.02 * log_loss(y[TEST], before)

    def test_features_far_from_zero(self):
        table, labels = load_wine(return_X_y=True)
        table += 1000
        classifier = SoftmaxRegression(max_iter=1000).fit(table, labels)
        for row in range(0, len(table), 3):
            classifier.partial_fit(table[row : row + 1], labels[row : row + 1])
        assert classifier.score(table, labels) > 0.97

    @pytest.mark.parametrize("name", ["exact", "adam"])
    def test_the_penalty_is_that_of_all_rows_seen(self, name):
        # A penalty per call would take the weights to zero.
        classifier = fitted(name)
        norm = np.linalg.norm(classifier.coef_)
        for _ in range(200):
            classifier.partial_fit(X[:1], y[:1])
        assert np.linalg.norm(classifier.coef_) > 0.9 * norm


class TestFromTheFirstRow:
    # Accuracy after one pass in pieces of 10, and after three. After one, SGDClassifier
    # reaches .87 and MLPClassifier .83; of pieces of 1000, MLPClassifier .13.
    @pytest.mark.parametrize(
        ("name", "least"),
        [
            ("exact", (0.86, 0.88)),
            ("adam", (0.84, 0.84)),
            ("mlp", (0.84, 0.87)),
            ("net", (0.82, 0.85)),
        ],
    )
    @pytest.mark.parametrize("size", [10, 1000])
    def test_accuracy(self, name, least, size):
        classifier = clone(CLASSIFIERS[name])
        scores = []
        for _ in range(1 if size == 10 else 3):
            stream(classifier, np.arange(1300), [size])
            scores.append(quality(classifier)[0])
        assert scores[-1] > least[size == 1000]

    @pytest.mark.parametrize("name", ["exact", "mlp"])
    def test_a_first_piece_of_one_row_does_no_harm(self, name):
        classifiers = [clone(CLASSIFIERS[name]) for _ in range(2)]
        accuracies = []
        for classifier, first in zip(classifiers, (1, 500), strict=True):
            stream(classifier, np.arange(first), [first])
            for _ in range(5):
                stream(classifier, np.arange(1000), [250])
            accuracies.append(quality(classifier)[0])
        assert abs(accuracies[0] - accuracies[1]) < 0.02
        assert min(accuracies) > 0.88

    def test_at_least_as_good_as_sgd_of_sklearn(self):
        theirs, ours = (
            SGDClassifier(loss="log_loss", random_state=0),
            SoftmaxRegression(),
        )
        for classifier in (theirs, ours):
            stream(classifier, np.arange(1300), [10])
        assert ours.score(X[TEST], y[TEST]) > theirs.score(X[TEST], y[TEST]) - 0.005

    def test_the_classes_may_change_places(self):
        # A drift: after 1,000 rows the labels are others.
        classifier = clone(CLASSIFIERS["exact"])
        stream(classifier, np.arange(1000), [10])
        for _ in range(3):
            for start in range(0, 1300, 20):
                rows = slice(start, start + 20)
                classifier.partial_fit(X[rows], (y[rows] + 1) % 10)
        assert np.mean(classifier.predict(X[TEST]) == (y[TEST] + 1) % 10) > 0.8

    def test_batch_normalization_learns_rows_one_by_one(self):
        classifier = clone(CLASSIFIERS["batchnorm"])
        stream(classifier, np.arange(1000), [1, 5])
        assert quality(classifier)[0] > 0.75

    def test_values_may_first_be_missing_later(self):
        rng = np.random.default_rng(0)
        table = rng.normal(size=(600, 3))
        labels = (rng.random(600) < 0.5).astype(int)
        # Missing values say what the class is, after 100 rows.
        table[100:, 0] = np.where(labels[100:] == 1, np.nan, table[100:, 0])
        classifier = clone(CLASSIFIERS["mlp"])
        for _ in range(4):
            for start in range(0, 600, 20):
                rows = slice(start, start + 20)
                classifier.partial_fit(table[rows], labels[rows], classes=[0, 1])
        assert classifier.score(table[100:], labels[100:]) > 0.95

    def test_the_bins_are_those_of_many_rows(self):
        classifier = clone(CLASSIFIERS["mlp"])
        table = np.random.default_rng(0).exponential(size=(1200, 2))
        labels = (table[:, 0] > 1).astype(int)
        for start in (0, *range(1, 1200, 40)):
            rows = slice(start, start + 1 if start == 0 else start + 40)
            classifier.partial_fit(table[rows], labels[rows], classes=[0, 1])
        assert classifier.n_bins_.tolist() == [8, 8]
        assert classifier._first_rows is None
        once = clone(CLASSIFIERS["mlp"]).fit(table[:1000], labels[:1000])
        for name in ("mean", "scale"):
            stream, fit = (
                getattr(model.module_.input_scaling.scaling, name)
                for model in (classifier, once)
            )
            torch.testing.assert_close(stream, fit, rtol=0.1, atol=0)

    def test_a_failed_call_keeps_the_first_rows(self):
        classifier = clone(CLASSIFIERS["mlp"])
        classifier.partial_fit(X[:50], y[:50], classes=CLASSES)
        with pytest.raises(ValueError, match="labels"):
            classifier.partial_fit(X[:50], y[:50] + 5)
        assert len(classifier._first_rows.X) == classifier.n_samples_seen_ == 50


class TestState:
    @pytest.mark.parametrize("name", ["exact", "mlp", "batchnorm"])
    @pytest.mark.parametrize("n_fitted", [0, 100])
    def test_a_pickle_goes_on_with_the_same_bits(self, name, n_fitted):
        classifier = clone(CLASSIFIERS[name])
        if n_fitted:
            classifier.fit(X[:n_fitted], y[:n_fitted])
        stream(classifier, np.arange(100, 150), [10])
        twin = pickle.loads(pickle.dumps(classifier))
        for each in (classifier, twin):
            stream(each, np.arange(150, 200), [10])
        np.testing.assert_array_equal(*(e.predict_proba(X) for e in (classifier, twin)))
        assert twin.n_samples_seen_ == 100 + n_fitted

    @pytest.mark.parametrize("name", ["exact", "adam", "mlp"])
    def test_a_file_knows_how_many_rows_were_seen(self, name, tmp_path):
        classifier = stream(fitted(name), np.arange(1000, 1050), [10])
        save(classifier, tmp_path / "file")
        loaded = load(tmp_path / "file")
        assert loaded.n_samples_seen_ == 1050
        accuracy = quality(loaded)[0]
        stream(loaded, np.arange(1050, 1300), [5])
        assert quality(loaded)[0] >= accuracy - 0.008

    def test_weights_of_zero_are_no_rows(self):
        weight = np.arange(100) % 2
        classifier = SoftmaxRegression().partial_fit(X[:100], y[:100], CLASSES, weight)
        assert classifier.n_samples_seen_ == 50


class TestPartOfAStep:
    @pytest.mark.parametrize("kind", [SGD, Adam, AdamW])
    @pytest.mark.parametrize("decay", [0.0, 0.1])
    def test_parts_add_up(self, kind, decay):
        # A constant gradient, in whole steps and in tenths of them.
        results = []
        for n_parts in (1, 10):
            weight = nn.Parameter(torch.tensor([1.0, -2.0]))
            more = {"momentum": 0.9} if kind is SGD else {}
            optimizer = kind([weight], lr=0.01, weight_decay=decay, **more)
            optimizer.share = 1 / n_parts
            for _ in range(100 * n_parts):
                weight.grad = torch.tensor([1.0, -0.5])
                optimizer.step()
            results.append(weight.detach())
        # Squares of a part's gradient count in proportion, as those of noise would.
        factor = 1.0 if kind is SGD else 10**0.5
        moved = [result - torch.tensor([1.0, -2.0]) for result in results]
        if not decay or kind is SGD:
            torch.testing.assert_close(moved[1], factor * moved[0], rtol=0.1, atol=0.0)
        assert (moved[0].sign() == moved[1].sign()).all()


class TestNet:
    r"""``net_`` as a skorch net."""

    forms: ClassVar = {
        "arrays": lambda X, y: (X, y),
        "tensors": lambda X, y: (torch.tensor(X), torch.tensor(y)),
        "dataset": lambda X, y: (TensorDataset(torch.tensor(X), torch.tensor(y)),),
    }

    @pytest.mark.parametrize("form", forms)
    @pytest.mark.parametrize("name", ["adam", "mlp", "cnn", "net"])
    def test_it_trains(self, name, form):
        classifier = fitted(name)
        before = classifier.predict_proba(X[TEST])
        data = self.forms[form](X[:300].astype(np.float32), y[:300])
        classifier.net_.set_params(max_epochs=1)
        classifier.net_.partial_fit(*data)
        after = classifier.predict_proba(X[TEST])
        assert np.abs(after - before).max() > 1e-5
        assert classifier.score(X[:300], y[:300]) > 0.9

    def test_other_labels(self):
        with pytest.raises(ValueError, match="expected the classes' indices"):
            fitted("net").net_.partial_fit(X.astype(np.float32), y.astype(str))

    def test_no_optimizer(self):
        with pytest.raises(ValueError, match="partial_fit, which makes one"):
            fitted("exact").net_.partial_fit(X, y)
