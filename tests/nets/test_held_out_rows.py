r"""Rows that members of an ensemble hold out in turn, to validate and to calibrate."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss

from sksoftmax import SoftmaxCNNClassifier, SoftmaxMLPClassifier
from sksoftmax._data.hold_out import HoldOut, deal_folds


def fit_and_see_held_out(classifier, X, y, monkeypatch):
    r"""Return training rows, weights by member, and the number of validation rows."""
    found = []
    hold_out = HoldOut.split

    def spy(self, *args):
        found.append(hold_out(self, *args))
        return found[-1]

    monkeypatch.setattr(HoldOut, "split", spy)
    classifier.fit(X, y)
    [split] = found
    return *split.training, len(split.held_out.rows)


def test_members_hold_out_rows_in_turn():
    # Labels at random: a member predicts only rows that it was trained on.
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 20)), rng.integers(0, 2, 200)
    classifier = SoftmaxMLPClassifier(
        (64, 64), n_estimators=4, dropout=0.0, max_epochs=60, random_state=0
    ).fit(X, y)
    assert classifier.n_iter_ == 60
    # The members that were not trained on a row predict it as by chance.
    scores = np.array(classifier.validation_scores_)
    assert scores.max() < -0.6
    assert classifier.loss_curve_[-1] < 0.3
    # The epoch with the best validation score is kept; it is not the last.
    assert scores.argmax() < 50
    assert log_loss(y, classifier.predict_proba(X)) > classifier.loss_curve_[-1]
    assert classifier.module_.temperature.value > 1


def test_rows_are_held_out_by_members_with_bins_and_without(monkeypatch):
    # The first half of the members has bins.
    X, y = load_digits(return_X_y=True)
    classifier = SoftmaxMLPClassifier(4, max_epochs=1, random_state=0)
    _, weight, _ = fit_and_see_held_out(classifier, X, y, monkeypatch)
    has_bins = np.arange(12) < len(classifier.module_.hidden[0].bin_weight)
    assert has_bins.sum() == 6
    left_out = weight == 0
    assert (left_out[:, has_bins].sum(1) == 1).all()
    assert (left_out[:, ~has_bins].sum(1) == 1).all()


def test_the_only_row_of_a_class_is_trained_on_by_all_members():
    rng = np.random.default_rng(0)
    centers = 2 * rng.normal(size=(40, 12))
    y = np.arange(40)
    assert (deal_folds(y, 6, 0) == 6).all()
    X, X_test = (centers + rng.normal(size=centers.shape) for _ in range(2))
    classifier = SoftmaxMLPClassifier(random_state=0)
    with pytest.warns(UserWarning, match="number of unique classes"):
        classifier.fit(X, y)
    # If a sixth of the members held them out, no class would be learned: accuracy 0.1.
    assert classifier.score(X_test, y) > 0.6


@pytest.mark.parametrize("n_folds", [2, 8])
def test_folds_are_dealt_evenly_within_each_class(n_folds):
    y = np.random.default_rng(0).choice(5, size=203, p=[0.6, 0.2, 0.1, 0.08, 0.02])
    folds = deal_folds(y, n_folds, 0)
    assert_array_equal(folds, deal_folds(y, n_folds, 0))
    assert (folds != deal_folds(y, n_folds, 1)).any()
    for rows in (np.ones(203, dtype=bool), *(y == label for label in range(5))):
        counts = np.bincount(folds[rows], minlength=n_folds)
        assert counts.max() - counts.min() <= 1


class TestTemperatureOfManyRows:
    r"""From 20,000 rows on, here from 200, the temperature has rows of its own."""

    @pytest.fixture(autouse=True)
    def few_are_many(self, monkeypatch):
        monkeypatch.setattr("sksoftmax._data.hold_out._TEMPERATURE_ROWS", 20)
        monkeypatch.setattr("sksoftmax._data.hold_out._CROSSED_ROWS", 40)

    def held_out(self, monkeypatch, **parameters):
        r"""Return the rows, weights by member, and the number of validation rows."""
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(400, 4)), np.arange(400) % 4
        classifier = SoftmaxMLPClassifier(
            (4,), max_epochs=1, n_bins=None, random_state=0, **parameters
        )
        return fit_and_see_held_out(classifier, X, y, monkeypatch)

    def test_groups_of_members_hold_out_different_rows(self, monkeypatch):
        rows, weight, n_held_out = self.held_out(monkeypatch, n_estimators=9)
        assert_array_equal(rows, np.arange(400))
        # 40 rows in four parts, each predicted by two or three members.
        left_out = weight == 0
        assert n_held_out == left_out.any(1).sum() == 40
        assert_array_equal(left_out.sum(0), 10)
        for member, fold in enumerate([0, 1, 2, 3, 0, 1, 2, 3, 0]):
            assert_array_equal(left_out[:, member], left_out[:, fold])

    @pytest.mark.parametrize("n_estimators", [1, 3])
    def test_few_members_hold_out_the_same_rows(self, monkeypatch, n_estimators):
        rows, weight, n_held_out = self.held_out(monkeypatch, n_estimators=n_estimators)
        assert weight is None
        assert (len(rows), n_held_out) == (380, 20)

    def test_members_hold_out_images_in_turn(self, monkeypatch):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(400, 16)), np.arange(400) % 4
        classifier = SoftmaxCNNClassifier(
            channels=(2,),
            n_estimators=4,
            max_epochs=1,
            temperature_scaling=True,
            random_state=0,
        )
        _, weight, n_held_out = fit_and_see_held_out(classifier, X, y, monkeypatch)
        assert n_held_out == 40
        assert_array_equal((weight == 0).sum(0), 20)
        assert classifier.module_.temperature.value != 1

    def test_rows_of_large_tables_are_held_out_by_all_members(self, monkeypatch):
        monkeypatch.setattr("sksoftmax._data.hold_out._TEMPERATURE_ROWS", 4)
        _, weight, n_held_out = self.held_out(monkeypatch, n_estimators=9)
        assert weight is None
        assert n_held_out == 4

    def test_rows_for_the_temperature_do_not_choose_the_epoch(self):
        # Labels at random: early stopping would keep an early epoch.
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(400, 4)), rng.integers(2, size=400)
        classifiers = [
            SoftmaxMLPClassifier(
                (32,),
                n_estimators=4,
                learning_rate=0.012,
                max_epochs=30,
                early_stopping=early_stopping,
                temperature_scaling=True,
                random_state=0,
            ).fit(X, y)
            for early_stopping in ("auto", False)
        ]
        scores = classifiers[0].validation_scores_
        assert len(scores) == 30
        assert np.argmax(scores) < 15
        assert_array_equal(*(classifier.predict_proba(X) for classifier in classifiers))


def test_a_class_may_have_a_single_row():
    X, y = load_digits(return_X_y=True)
    y = y[:100].copy()
    y[0] = 11
    classifier = SoftmaxMLPClassifier(16, max_epochs=5, random_state=0).fit(X[:100], y)
    assert 11 in classifier.classes_
    assert np.isfinite(classifier.predict_log_proba(X)).all()


@pytest.mark.parametrize("n_estimators", [1, 2, 3])
def test_from_two_members_on_each_holds_out_rows(n_estimators):
    X, y = load_digits(return_X_y=True)
    classifier = SoftmaxMLPClassifier(
        4, n_estimators=n_estimators, max_epochs=2, random_state=0
    ).fit(X, y)
    assert (classifier.validation_scores_ is not None) == (n_estimators > 1)
