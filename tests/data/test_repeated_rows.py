r"""Copies of rows: found, counted as weights, and learned from or held out together."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.utils import resample

from sksoftmax import NeighborsEncoder, SoftmaxMLPClassifier, SoftmaxRegressionCV
from sksoftmax._data.copies import join, numbers_of_copies, row_numbers
from sksoftmax._data.hold_out import HoldOut
from sksoftmax._data.training_rows import TrainingRows
from sksoftmax._utils import memmap as _mapped

from ..factories import FourNets
from .hold_out import assert_groups_are_whole, for_every, noisy

few_examples = settings(max_examples=2, deadline=None, derandomize=True)


class TestNumbers:
    @settings(max_examples=20, deadline=None, derandomize=True)
    @given(
        st.integers(1, 60),
        st.integers(1, 20),
        st.sampled_from(["u1", "i1", "i4", "i8", "f4", "f8"]),
        st.integers(0, 1000),
    )
    def test_are_those_of_the_distinct_rows(self, n_rows, n_columns, dtype, seed):
        rng = np.random.default_rng(seed)
        X = rng.integers(0, 3, (n_rows, n_columns)).astype(dtype)
        expected = pd.factorize(pd.Series(map(bytes, X)))[0]
        assert_array_equal(row_numbers(X), expected)
        assert_array_equal(row_numbers(csr_array(X.astype("f8"))), expected)

    def test_all_kinds_of_equal_values(self):
        X = np.array([[0.1, np.nan, 0.0], [0.2, 1.0, 5.0]])
        other = np.array([[np.float32(0.1), -np.nan, -0.0]])
        assert_array_equal(row_numbers(np.vstack([X, other])), [0, 1, 0])

    @pytest.mark.parametrize("offset", [1e6, 1e9, 1e15])
    def test_float32_does_not_drown_differences(self, offset):
        X = offset + np.arange(100.0)[:, None] * [1.0, 2.0]
        assert_array_equal(row_numbers(np.repeat(X, 2, 0)), np.repeat(range(100), 2))

    def test_of_a_file(self, tmp_path, monkeypatch):
        monkeypatch.setattr(_mapped, "SMALL_FILE", 0)
        monkeypatch.setattr(_mapped, "MAX_BYTES", 1000)
        X = np.repeat(noisy(100)[0], 2, axis=0)
        np.save(tmp_path / "rows.npy", X)
        file = np.load(tmp_path / "rows.npy", mmap_mode="r")
        assert_array_equal(row_numbers(file), row_numbers(X))

    def test_rows_of_few_levels_are_no_copies(self):
        rng = np.random.default_rng(0)
        rows = np.arange(300)
        assert numbers_of_copies(rng.integers(0, 2, (300, 4)), rows) is None
        assert numbers_of_copies(np.zeros((300, 4)), rows) is None
        codes = rng.integers(0, 50, (300, 1)).astype(float)
        assert numbers_of_copies(codes, rows) is not None
        assert numbers_of_copies(codes, rows, np.array([True])) is None
        assert numbers_of_copies(np.repeat(noisy(150)[0], 2, axis=0), rows) is not None

    def test_copies_join_groups(self):
        copies = np.array([0, 0, 1, 2, 3, 4, 5, 6, 7, 8])
        groups = np.array([0, 1, 1, 2, 2, 3, 3, 4, 4, 4])
        assert_array_equal(join(copies, groups), [0, 0, 0, 1, 1, 2, 2, 3, 3, 3])
        # Chains that link most of the rows are no copies.
        assert_array_equal(join(np.zeros(10, dtype=int), groups), groups)


class TestCopies:
    @few_examples
    @given(st.integers(0, 1000), st.integers(2, 12))
    def test_of_all_rows_change_nothing(self, seed, times):
        X, y = noisy(150, seed)
        X_test, y_test = noisy(1000, seed + 1)
        losses = [
            log_loss(y_test, FourNets().fit(*copies).predict_proba(X_test))
            for copies in ((X, y), (np.repeat(X, times, 0), np.repeat(y, times)))
        ]
        assert losses[1] < 1.02 * losses[0]
        assert losses[1] < 0.75

    def test_with_the_defaults(self):
        X, y = noisy(300)
        X_test, y_test = noisy(3000, 1)
        classifier = SoftmaxMLPClassifier(random_state=0)
        classifier.fit(np.tile(X, (5, 1)), np.tile(y, 5))
        assert log_loss(y_test, classifier.predict_proba(X_test)) < 0.56
        # That of 1,500 rows is 0.012.
        assert classifier.net_.lr == pytest.approx(0.003)

    @for_every
    def test_count_as_weights(self, classifier):
        X, y = load_digits(n_class=3, return_X_y=True)
        X, y = X[:150], y[:150]
        times = np.random.default_rng(0).integers(1, 4, len(y))
        copied = clone(classifier).fit(np.repeat(X, times, 0), np.repeat(y, times))
        weighted = clone(classifier).fit(X, y, sample_weight=times)
        assert_allclose(copied.predict_proba(X), weighted.predict_proba(X), atol=0.02)

    @few_examples
    @given(st.integers(0, 1000))
    def test_in_bootstrap_samples(self, seed):
        X, y = noisy(150, seed)
        X_test, y_test = noisy(1000, seed + 1)
        drawn = resample(np.arange(150), n_samples=1500, random_state=seed)
        loss = log_loss(y_test, FourNets().fit(X, y).predict_proba(X_test))
        proba = FourNets().fit(X[drawn], y[drawn]).predict_proba(X_test)
        assert log_loss(y_test, proba) < 1.08 * loss

    def test_of_a_rare_class(self):
        X, _ = noisy(400)
        X_test, _ = noisy(2000, 1)
        y, y_test = (X[:, 1] > 1.3) * 1, (X_test[:, 1] > 1.3) * 1
        rng = np.random.default_rng(0)
        y, y_test = (
            np.where(rng.random(len(labels)) < 0.05, 1 - labels, labels)
            for labels in (y, y_test)
        )
        times = np.where(y == 1, 8, 1)
        copied = FourNets().fit(np.repeat(X, times, 0), np.repeat(y, times))
        weight = np.where(y_test == 1, 8, 1)
        loss = log_loss(y_test, copied.predict_proba(X_test), sample_weight=weight)
        by_weight = FourNets(class_weight={0: 1, 1: 8}).fit(X, y).predict_proba(X_test)
        assert loss < 1.02 * log_loss(y_test, by_weight, sample_weight=weight)

    def test_with_validation_rows_and_a_warm_start(self):
        X, y = noisy(150)
        X_val, y_val = noisy(100, 1)
        X_test, y_test = noisy(1000, 2)
        losses = []
        for times in (1, 6):
            classifier = FourNets(warm_start=True)
            rows = np.repeat(X, times, 0), np.repeat(y, times)
            classifier.fit(*rows, X_val=X_val, y_val=y_val).fit(*rows)
            losses.append(log_loss(y_test, classifier.predict_proba(X_test)))
        assert losses[1] < 1.02 * losses[0]

    def test_few_of_them_leave_the_weights_alone(self):
        X, y = noisy(300)
        data = TrainingRows(X, y, None, None)
        assert data.without_copies() is data
        X[7] = X[8]
        few = TrainingRows(X, y, None, None).without_copies()
        assert few.loss_weight is None
        assert few.group[7] == few.group[8]

    def test_with_other_labels_stay_together(self):
        X, _ = noisy(60)
        y = np.random.default_rng(0).integers(0, 2, 300)
        data = TrainingRows(np.repeat(X, 5, 0), y, None, None).without_copies()
        split = HoldOut("auto", "auto", 0.1, 12).split(data, 0)
        assert_groups_are_whole(split, np.repeat(np.arange(60), 5))

    def test_choose_the_penalty_that_the_rows_alone_do(self):
        X, y = noisy(60)
        Cs = np.logspace(-3, 3, 7)
        alone = SoftmaxRegressionCV(Cs, scoring="neg_log_loss").fit(X, y)
        copied = SoftmaxRegressionCV(Cs / 4, scoring="neg_log_loss")
        copied.fit(np.repeat(X, 4, 0), np.repeat(y, 4))
        assert pytest.approx(alone.C_ / 4) == copied.C_
        assert_allclose(copied.scores_, alone.scores_, rtol=1e-4)

    def test_are_no_neighbors_of_one_another(self):
        X, y = noisy(60)
        # The shares of the classes stay the same.
        times = np.full(60, 3)
        alone = NeighborsEncoder(5).fit_transform(X, y)
        encoder = NeighborsEncoder(5)
        copied = encoder.fit_transform(np.repeat(X, times, 0), np.repeat(y, times))
        assert_allclose(copied, np.repeat(alone, times, 0))
        assert_allclose(
            encoder.transform(X), NeighborsEncoder(5).fit(X, y).transform(X)
        )

    def test_of_a_few_rows(self):
        X, y = noisy(6)
        y[:2] = 0, 1
        classifier = FourNets(max_epochs=3).fit(np.repeat(X, 50, 0), np.repeat(y, 50))
        assert np.isfinite(classifier.predict_proba(X)).all()

    def test_natural_ones_are_learned(self):
        # Four distinct rows, each in all nets.
        X = np.random.default_rng(0).integers(0, 2, (300, 2)).astype(float)
        y = X[:, 0] != X[:, 1]
        assert log_loss(y, FourNets().fit(X, y).predict_proba(X)) < 0.05
