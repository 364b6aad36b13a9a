r"""Rows that belong together, as those of a patient, are held out together."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksoftmax import SoftmaxCNNClassifier, SoftmaxRegressionCV
from sksoftmax._data.group_folds import deal_groups
from sksoftmax._data.hold_out import HoldOut
from sksoftmax._data.training_rows import TrainingRows
from sksoftmax._linear.cross_validation import stratified_folds

from ..factories import FourNets
from .hold_out import CLASSIFIERS, assert_groups_are_whole, for_every, noisy


def patients(n_patients, n_rows, seed=0):
    r"""Return rows that differ little within a patient, who has the label."""
    rng = np.random.default_rng(seed)
    center = rng.normal(size=(n_patients, 6))
    label = (center[:, 0] + 0.8 * rng.normal(size=n_patients) > 0) * 1
    patient = np.repeat(np.arange(n_patients), n_rows)
    noise = 0.15 * rng.normal(size=(len(patient), 6))
    return center[patient] + noise, label[patient], patient


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
            log_loss(y_test, FourNets().fit(X, y, groups=groups).predict_proba(X_test))
            for groups in (None, group)
        )
        assert grouped < 0.69 < alone

    @pytest.mark.parametrize("kind", [list, pd.Series, np.array])
    def test_of_any_kind(self, kind):
        X, y, group = patients(20, 5)
        one = FourNets(max_epochs=2).fit(X, y, groups=kind(group.tolist()))
        other = FourNets(max_epochs=2).fit(X, y, groups=[f"g{g}" for g in group])
        assert_array_equal(one.predict_proba(X), other.predict_proba(X))

    def test_are_routed(self):
        X, y, group = patients(20, 5)
        model = FourNets(max_epochs=2)
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
            FourNets().fit(X, y, groups=groups)

    def test_belong_to_the_checkpoint(self, tmp_path):
        X, y, group = patients(20, 5)
        classifier = FourNets(max_epochs=2, checkpoint=tmp_path / "fit.safetensors")
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
            classifier = FourNets().fit(X, y, groups=groups)
        assert log_loss(y, classifier.predict_proba(X)) < 0.69

    def test_a_class_in_one_group_is_learned_by_all(self):
        X, y, group = patients(40, 5)
        X, y = np.vstack([X, X[:20] + 9]), np.r_[y, np.full(20, 2)]
        classifier = FourNets().fit(X, y, groups=np.r_[group, np.full(20, 99)])
        assert (classifier.predict(X[-20:]) == 2).all()

    @pytest.mark.parametrize("name", ["mlp, stopping", "adam", "cnn", "net"])
    def test_a_class_in_one_group_cannot_be_held_out(self, name):
        X, y, group = patients(20, 5)
        group[y == 1] = 99
        with pytest.raises(ValueError, match="Expected at least two groups of each"):
            clone(CLASSIFIERS[name]).fit(X, y, groups=group)
