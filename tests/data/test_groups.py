r"""Copies of rows, and rows that belong together: learned from or held out together."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import resample
from torch import nn

from sksoftmax import (
    NeighborsEncoder,
    SoftmaxCNNClassifier,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)
from sksoftmax._data.copies import join, numbers_of_copies, row_numbers
from sksoftmax._data.group_folds import deal_groups
from sksoftmax._data.hold_out import HoldOut
from sksoftmax._data.training_rows import TrainingRows
from sksoftmax._linear.cross_validation import stratified_folds
from sksoftmax._utils import memmap as _mapped


class Module(nn.Sequential):
    def __init__(self, n_features, n_classes):
        super().__init__(nn.Linear(n_features, 8), nn.ReLU(), nn.Linear(8, n_classes))


def mlp(**options):
    return SoftmaxMLPClassifier(
        **{"hidden_layer_sizes": (32, 32), "n_estimators": 4, "random_state": 0}
        | options
    )


STOPPING = {"early_stopping": True, "validation_fraction": 0.2, "random_state": 0}
CLASSIFIERS = {
    "mlp": mlp(max_epochs=8),
    "mlp, temperature": mlp(
        max_epochs=8, early_stopping=False, temperature_scaling=True
    ),
    "mlp, stopping": mlp(max_epochs=20, **STOPPING),
    "adam": SoftmaxRegression(solver="adam", max_iter=20, **STOPPING),
    "cnn": SoftmaxCNNClassifier(
        channels=(4,), kernel_size=3, max_epochs=5, temperature_scaling=True, **STOPPING
    ),
    "net": SoftmaxNetClassifier(Module, max_epochs=20, learning_rate=0.01, **STOPPING),
}
for_every = pytest.mark.parametrize(
    "classifier", CLASSIFIERS.values(), ids=CLASSIFIERS.keys()
)
few_examples = settings(max_examples=2, deadline=None, derandomize=True)


def noisy(n_rows, seed=0):
    r"""Return rows of which the first feature says something about the label."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 5))
    return X, (X[:, 0] + rng.normal(size=n_rows) > 0) * 1


def patients(n_patients, n_rows, seed=0):
    r"""Return rows that differ little within a patient, who has the label."""
    rng = np.random.default_rng(seed)
    center = rng.normal(size=(n_patients, 6))
    label = (center[:, 0] + 0.8 * rng.normal(size=n_patients) > 0) * 1
    patient = np.repeat(np.arange(n_patients), n_rows)
    noise = 0.15 * rng.normal(size=(len(patient), 6))
    return center[patient] + noise, label[patient], patient


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


class TestFolds:
    @settings(max_examples=25, deadline=None, derandomize=True)
    @given(
        st.integers(1, 300), st.integers(1, 120), st.integers(2, 4), st.integers(0, 99)
    )
    def test_hold_whole_groups_and_leave_all_classes(
        self, n, n_groups, n_classes, seed
    ):
        rng = np.random.default_rng(seed)
        y, group = rng.integers(0, n_classes, n), rng.integers(0, n_groups, n)
        group = pd.factorize(group)[0]
        shares = rng.dirichlet(np.ones(rng.integers(2, 7)))
        folds = deal_groups(y, group, shares, seed)
        assert_array_equal(folds, deal_groups(y, group, shares, seed))
        assert pd.Series(folds).groupby(group).nunique().max() == 1
        for fold in range(len(shares)):
            assert set(y[folds != fold]) == set(y)

    @pytest.mark.parametrize("n_groups", [60, 3000])
    def test_have_their_shares(self, n_groups):
        rng = np.random.default_rng(0)
        group = np.sort(rng.integers(0, n_groups, 6000))
        group = pd.factorize(group)[0]
        # Three quarters of a group have its class, which is rare for some.
        y = np.where(rng.random(6000) < 0.75, (group % 10 > 0) * 1, rng.integers(0, 2))
        shares = np.array([0.1, 0.3, 0.6])
        folds = deal_groups(y, group, shares, 0)
        for label in (0, 1):
            counts = np.bincount(folds[y == label], minlength=3) / (y == label).sum()
            assert_allclose(counts, shares, atol=0.1 if n_groups == 60 else 0.02)

    def test_of_a_cross_validation_follow_the_first_copy(self):
        X, y = noisy(90)
        alone = stratified_folds(TrainingRows(X, y, None, None), 4)
        copied = TrainingRows(np.repeat(X, 3, 0), np.repeat(y, 3), None, None)
        for one, other in zip(alone, stratified_folds(copied, 4), strict=True):
            assert_array_equal(np.repeat(3 * one[1], 3) // 3, other[1] // 3)


class TestCopies:
    @few_examples
    @given(st.integers(0, 1000), st.integers(2, 12))
    def test_of_all_rows_change_nothing(self, seed, times):
        X, y = noisy(150, seed)
        X_test, y_test = noisy(1000, seed + 1)
        losses = [
            log_loss(y_test, mlp().fit(*copies).predict_proba(X_test))
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
        loss = log_loss(y_test, mlp().fit(X, y).predict_proba(X_test))
        proba = mlp().fit(X[drawn], y[drawn]).predict_proba(X_test)
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
        copied = mlp().fit(np.repeat(X, times, 0), np.repeat(y, times))
        weight = np.where(y_test == 1, 8, 1)
        loss = log_loss(y_test, copied.predict_proba(X_test), sample_weight=weight)
        by_weight = mlp(class_weight={0: 1, 1: 8}).fit(X, y).predict_proba(X_test)
        assert loss < 1.02 * log_loss(y_test, by_weight, sample_weight=weight)

    def test_with_validation_rows_and_a_warm_start(self):
        X, y = noisy(150)
        X_val, y_val = noisy(100, 1)
        X_test, y_test = noisy(1000, 2)
        losses = []
        for times in (1, 6):
            classifier = mlp(warm_start=True)
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
        classifier = mlp(max_epochs=3).fit(np.repeat(X, 50, 0), np.repeat(y, 50))
        assert np.isfinite(classifier.predict_proba(X)).all()

    def test_natural_ones_are_learned(self):
        # Four distinct rows, each in all nets.
        X = np.random.default_rng(0).integers(0, 2, (300, 2)).astype(float)
        y = X[:, 0] != X[:, 1]
        assert log_loss(y, mlp().fit(X, y).predict_proba(X)) < 0.05


class TestGroups:
    @for_every
    def test_are_held_out_as_a_whole(self, classifier, monkeypatch):
        X, y, group = patients(40, 5)
        seen, split = [], HoldOut.split

        def spy(plan, data, random_state):
            seen.append(split(plan, data, random_state))
            return seen[-1]

        monkeypatch.setattr(HoldOut, "split", spy)
        names = np.array([f"patient {number}" for number in group])
        classifier = clone(classifier)
        if isinstance(classifier, SoftmaxCNNClassifier):
            classifier.set_params(image_shape=(2, 3))
        classifier.fit(X, y, groups=names)
        assert seen[0].held_out is not None
        assert_groups_are_whole(seen[0], group)

    def test_make_sure_of_a_sane_loss(self):
        X, y, group = patients(60, 12)
        X_test, y_test, _ = patients(1000, 1, seed=1)
        alone, grouped = (
            log_loss(y_test, mlp().fit(X, y, groups=groups).predict_proba(X_test))
            for groups in (None, group)
        )
        assert grouped < 0.69 < alone

    @pytest.mark.parametrize("kind", [list, pd.Series, np.array])
    def test_of_any_kind(self, kind):
        X, y, group = patients(20, 5)
        one = mlp(max_epochs=2).fit(X, y, groups=kind(group.tolist()))
        other = mlp(max_epochs=2).fit(X, y, groups=[f"g{g}" for g in group])
        assert_array_equal(one.predict_proba(X), other.predict_proba(X))

    def test_are_routed(self):
        X, y, group = patients(20, 5)
        model = mlp(max_epochs=2)
        with config_context(enable_metadata_routing=True):
            scaler = StandardScaler()
            pipeline = make_pipeline(scaler, clone(model)).fit(X, y, groups=group)
            result = cross_validate(
                model,
                X,
                y,
                cv=GroupKFold(4),
                params={"groups": group},
                return_estimator=True,
                return_indices=True,
            )
            exact = SoftmaxRegressionCV(Cs=3, cv=4).fit(X, y, groups=group)
        scaled = scaler.transform(X)
        direct = clone(model).fit(scaled, y, groups=group)
        assert_array_equal(pipeline.predict_proba(X), direct.predict_proba(scaled))
        train = result["indices"]["train"][0]
        direct = clone(model).fit(X[train], y[train], groups=group[train])
        fitted = result["estimator"][0]
        assert_array_equal(fitted.predict_proba(X), direct.predict_proba(X))
        assert exact.scores_.shape == (4, 1, 3)

    def test_with_copies_across_them(self):
        X, y, group = patients(30, 4)
        copies = np.vstack([X, X[:4]]), np.r_[y, y[:4]], np.r_[group, [29] * 4]
        data = TrainingRows(*copies[:2], None, None, copies[2]).without_copies()
        assert len(set(data.group[[0, 119, 120]])) == 1

    @pytest.mark.parametrize(
        ("groups", "message"),
        [
            (np.zeros(99), "groups has 99 entries, but X has 100 rows"),
            ([None, *range(99)], "groups contains NaN: 1 of 100 entries"),
            (np.zeros((100, 2)), r"groups has the shape \(100, 2\)"),
        ],
    )
    def test_that_are_none_are_refused(self, groups, message):
        X, y, _ = patients(20, 5)
        with pytest.raises(ValueError, match=message):
            mlp().fit(X, y, groups=groups)

    def test_belong_to_the_checkpoint(self, tmp_path):
        X, y, group = patients(20, 5)
        classifier = mlp(max_epochs=2, checkpoint=tmp_path / "fit.safetensors")
        classifier.fit(X, y, groups=group)
        with pytest.raises(ValueError, match="belongs to another fit: training data"):
            classifier.fit(X, y, groups=group // 2)


class TestDegenerateGroups:
    @pytest.mark.parametrize(
        "groups",
        [
            np.zeros(100),
            np.r_[np.zeros(95), np.arange(1, 6)],
            np.arange(100) % 2,
            np.arange(100) % 3,
            np.arange(100),
        ],
        ids=["one", "a huge one", "two", "three", "none"],
    )
    def test_fit_and_beat_a_guess(self, groups):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(100, 3))
        y = (X[:, 0] > 0) * 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            classifier = mlp().fit(X, y, groups=groups)
        assert log_loss(y, classifier.predict_proba(X)) < 0.69

    def test_a_class_in_one_group_is_learned_by_all(self):
        X, y, group = patients(40, 5)
        X, y = np.vstack([X, X[:20] + 9]), np.r_[y, np.full(20, 2)]
        classifier = mlp().fit(X, y, groups=np.r_[group, np.full(20, 99)])
        assert (classifier.predict(X[-20:]) == 2).all()

    @pytest.mark.parametrize("name", ["mlp, stopping", "adam", "cnn", "net"])
    def test_a_class_in_one_group_cannot_be_held_out(self, name):
        X, y, group = patients(20, 5)
        group[y == 1] = 99
        with pytest.raises(ValueError, match="Expected at least two groups of each"):
            clone(CLASSIFIERS[name]).fit(X, y, groups=group)


def assert_groups_are_whole(split, group):
    r"""Check that no member learns from a group of which it holds out a row."""
    training, held_out = split.training, split.held_out
    if training.weight is None or training.weight.ndim == 1:
        assert not set(group[training.rows]) & set(group[held_out.rows])
        return
    for learned, unseen in zip(training.weight.T, held_out.weight.T, strict=True):
        rows = held_out.rows[unseen[held_out.rows] > 0]
        assert len(rows)
        assert not set(group[learned > 0]) & set(group[rows])
