r"""A net that underfits trains for further rounds; one that does not is left alone."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import make_hastie_10_2
from sklearn.metrics import log_loss
from skorch.callbacks import Callback

from sksoftmax._nets import mlp_defaults
from sksoftmax._nets.constraints import LATEST
from sksoftmax._training.restarts import (
    Round,
    has_gained,
    has_stalled,
    plan_rounds,
    underfits,
)

from ..factories import FourNets
from .rounds import Stop, history_of


@pytest.fixture(scope="module")
def spirals():
    r"""Return two spirals, which take many steps to tell apart."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 1200)
    angle = 3 * np.pi * np.sqrt(rng.random(len(y)))
    direction = angle + np.pi * y
    X = angle[:, None] * np.column_stack([np.cos(direction), np.sin(direction)])
    return X + rng.normal(scale=0.5, size=X.shape), y


@pytest.fixture
def short_spirals(spirals, monkeypatch):
    r"""Return half of the rows, and let the first round have three epochs."""
    numbers = mlp_defaults.numbers_of("latest")
    length = replace(numbers.length, n_steps=40, fewest_epochs=3)
    monkeypatch.setitem(mlp_defaults.VERSIONS, LATEST, replace(numbers, length=length))
    X, y = spirals
    return X[:600], y[:600]


class Record(Callback):
    r"""Keeps the weights and the dropout of inputs of every epoch."""

    def on_train_begin(self, net, **kwargs):
        self.weights_, self.dropout_ = [], []

    def on_batch_begin(self, net, training, **kwargs):
        if training and len(self.dropout_) < len(net.history):
            self.dropout_.append(net.module_.input_dropout.p)

    def on_epoch_end(self, net, **kwargs):
        self.weights_.append(copy.deepcopy(net.module_.state_dict()))


class KilledError(Exception):
    pass


def first_round(classifier):
    r"""Return the number of epochs that "auto" begins with."""
    return classifier.net_.max_epochs


def test_every_round_is_twice_as_long_as_the_one_before():
    assert plan_rounds(6, 0) == [(0, 6)]
    assert plan_rounds(6, 2) == [(0, 6), (6, 18), (18, 42)]


@pytest.mark.parametrize(
    ("held_out", "trained", "expected"),
    [
        ([0.9, 0.8, 0.7, 0.6, 0.5], 0.50, True),
        # The best epoch need not be the last.
        ([0.9, 0.8, 0.7, 0.5, 0.6], 0.50, True),
        ([0.9, 0.8, 0.5, 0.7, 0.6], 0.50, False),
        # The training loss is far below the validation loss: the net memorizes.
        ([0.9, 0.8, 0.7, 0.6, 0.5], 0.30, False),
        # There is nothing to gain.
        ([9e-3, 8e-3, 7e-3, 2e-3, 9e-4], 1e-3, False),
    ],
)
def test_when_a_net_underfits(held_out, trained, expected):
    assert underfits(history_of(held_out, trained)) is expected


@pytest.mark.parametrize(
    ("held_out", "expected"),
    [
        ([0.9, 0.8, 0.7, 0.6, 0.5], True),
        ([0.9, 0.8, 0.7, 0.5, 0.6], False),
        # A difference of a thousandth is chance.
        ([0.9, 0.8, 0.6, 0.5, 0.5005], True),
        ([9e-3, 8e-3, 7e-3, 2e-3, 9e-4], False),
        # Nothing was learned.
        ([0.701, 0.7, 0.7005, 0.7, 0.7005], False),
    ],
)
def test_restart_if_the_last_epoch_is_about_as_good_as_the_best(held_out, expected):
    assert (
        underfits(history_of(held_out, 1e-4), restart_if_best_is_last=True) is expected
    )


@pytest.mark.parametrize(("n_rows", "expected"), [(19_999, True), (20_000, False)])
def test_large_tables_restart_only_if_the_losses_are_close(n_rows, expected):
    recipe = mlp_defaults.recipe(FourNets(), n_rows, n_features=2, is_stream=False)
    assert recipe.restart_if_best_is_last is expected


@pytest.mark.parametrize(("last", "expected"), [(0.89, True), (0.91, False)])
def test_a_second_restart_needs_a_gain_of_the_first(last, expected):
    first, second = plan_rounds(1, 2)[1:]
    assert has_gained(history_of([1.0], 1), first)
    assert has_gained(history_of([1.0, 1.5, last], 1), second) is expected


def test_no_restart_without_validation_rows():
    assert underfits([{"train_loss": 0.7}]) is False


def test_a_round_stalls_after_half_of_its_epochs_without_gain():
    two = Round(4, 12)
    assert not has_stalled(history_of([5, 4, 3, 2, 2, 2, 2], 1), two)
    assert has_stalled(history_of([5, 4, 3, 2, 2, 2, 2, 2], 1), two)
    assert not has_stalled(history_of([5, 4, 3, 2, 2, 1, 2, 2, 2], 1), two)
    assert has_stalled(history_of([5, 4, 3, 2, 2, 1, 2, 2, 2, 2], 1), two)


def test_restarts_learn_more_than_one_round(spirals, monkeypatch):
    X, y = spirals
    losses = []
    for n_extensions in (0, 2):
        numbers = replace(mlp_defaults.numbers_of("latest"), restarts=n_extensions)
        monkeypatch.setitem(mlp_defaults.VERSIONS, LATEST, numbers)
        classifier = FourNets().fit(X[:800], y[:800])
        losses.append(log_loss(y[800:], classifier.predict_proba(X[800:])))
    assert classifier.n_iter_ > first_round(classifier)
    assert losses[1] < 0.7 * losses[0]


def test_noise_is_not_restarted(coins):
    classifier = FourNets().fit(*coins)
    assert classifier.n_iter_ == first_round(classifier)


def test_no_restart_after_a_given_number_of_epochs(short_spirals):
    assert FourNets(max_epochs=5).fit(*short_spirals).n_iter_ == 5


@pytest.mark.parametrize(("given", "later"), [("auto", 0.0), (0.05, 0.05)])
def test_dropout_of_inputs_ends_with_the_first_round_if_it_is_auto(
    short_spirals, given, later
):
    record = Record()
    classifier = FourNets(input_dropout=given, callbacks=[record]).fit(*short_spirals)
    n_first = first_round(classifier)
    rates = dict(classifier.net_.callbacks_)["Record"].dropout_
    assert len(rates) == classifier.n_iter_ > n_first
    before = 0.1 if given == "auto" else given
    assert rates == [before] * n_first + [later] * (classifier.n_iter_ - n_first)
    # partial_fit and warm starts find it as it was.
    assert classifier.module_.input_dropout.p == before


def test_no_restart_without_early_stopping(short_spirals):
    X, y = short_spirals
    watched = FourNets(early_stopping=False).fit(X[:500], y[:500], X_val=X, y_val=y)
    alone = FourNets(early_stopping=False).fit(X[:500], y[:500])
    assert watched.n_iter_ == first_round(watched)
    assert watched.loss_curve_ == alone.loss_curve_


def test_learning_rate_starts_anew(short_spirals):
    class Rates(Callback):
        def on_train_begin(self, net, **kwargs):
            self.rates_ = []

        def on_epoch_end(self, net, **kwargs):
            self.rates_.append(net.optimizer_.param_groups[0]["lr"])

    classifier = FourNets(callbacks=[Rates()], learning_rate=0.01).fit(*short_spirals)
    n_first = first_round(classifier)
    rates = dict(classifier.net_.callbacks_)["Rates"].rates_
    assert rates[n_first - 1] < 0.001
    assert 0.009 < rates[n_first] <= 0.01


def test_large_tables_keep_the_end_of_a_round(monkeypatch):
    # Held out for a temperature alone, they do not choose the epoch.
    monkeypatch.setattr("sksoftmax._data.hold_out._TEMPERATURE_ROWS", 200)
    X, y = make_hastie_10_2(3000, random_state=0)
    classifier = FourNets(n_estimators=1, callbacks=[Record()]).fit(X, y)
    n_first = first_round(classifier)
    assert classifier.n_iter_ > n_first
    ends = [round_.end - 1 for round_ in plan_rounds(n_first, 2)]
    ends = [end for end in ends if end < classifier.n_iter_]
    best = max(ends, key=lambda end: classifier.validation_scores_[end])
    kept = dict(classifier.net_.callbacks_)["Record"].weights_[best]
    for name, weight in classifier.module_.hidden.state_dict().items():
        assert torch.equal(weight, kept[f"hidden.{name}"])


def test_no_restart_after_a_callback_stops_training(short_spirals):
    n_first = first_round(FourNets().fit(*short_spirals))
    for epoch in (n_first, n_first + 1):
        classifier = FourNets(callbacks=[Stop(epoch, KeyboardInterrupt())])
        assert classifier.fit(*short_spirals).n_iter_ == epoch


@pytest.mark.parametrize("n_further", [-1, 0, 1])
def test_killed_fit_goes_on_in_its_round(short_spirals, tmp_path, n_further):
    expected = FourNets().fit(*short_spirals)
    n_first = first_round(expected)
    assert expected.n_iter_ > n_first + 2
    path = tmp_path / "checkpoint"
    stop = Stop(n_first + 1 + n_further, KilledError())
    classifier = FourNets(checkpoint=path, callbacks=[stop])
    with pytest.raises(KilledError):
        classifier.fit(*short_spirals)
    # Without a kill this time.
    classifier.set_params(callbacks=[Stop(None, None)]).fit(*short_spirals)
    assert classifier.loss_curve_ == expected.loss_curve_
    proba = classifier.predict_proba(short_spirals[0])
    np.testing.assert_array_equal(proba, expected.predict_proba(short_spirals[0]))
    # The next fit reads the finished checkpoint.
    assert classifier.fit(*short_spirals).loss_curve_ == expected.loss_curve_


def test_callbacks_of_scikit_learn_see_all_rounds(short_spirals):
    callback = pytest.importorskip("sklearn.callback", reason="before 1.9")
    classifier = FourNets().set_callbacks(callback.ProgressBar()).fit(*short_spirals)
    assert classifier.n_iter_ > first_round(classifier)


def test_closing_line_counts_all_rounds(short_spirals, capsys):
    classifier = FourNets(verbose=1).fit(*short_spirals)
    assert classifier.n_iter_ > first_round(classifier)
    assert f"{classifier.n_iter_} epochs in" in capsys.readouterr().out


@pytest.fixture(scope="module")
def thrown_away():
    r"""Return a fit to few rows of noise around a line, whose last epoch was no use."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5))
    y = (X[:, 0] + rng.normal(size=300) > 0) * 1
    return X, y


def test_printed_numbers_are_those_of_the_kept_epoch(thrown_away, capsys):
    classifier = FourNets(verbose=1).fit(*thrown_away)
    best = int(np.argmax(classifier.validation_scores_)) + 1
    assert classifier.best_epoch_ == best < classifier.n_iter_
    line = capsys.readouterr().out
    assert f"kept epoch {best}: loss {classifier.loss_curve_[best - 1]:.4f}, " in line
    score = classifier.validation_scores_[best - 1]
    assert f", validation loss {-score:.4f}, " in line


def test_best_epoch_of_a_fit_that_goes_on(thrown_away, tmp_path):
    expected = FourNets().fit(*thrown_away)
    assert expected.best_epoch_ < expected.n_iter_
    stop = Stop(expected.best_epoch_ + 1, KilledError())
    classifier = FourNets(checkpoint=tmp_path / "checkpoint", callbacks=[stop])
    with pytest.raises(KilledError):
        classifier.fit(*thrown_away)
    classifier.set_params(callbacks=[Stop(None, None)])
    # The second fit reads what is finished.
    for _ in range(2):
        assert classifier.fit(*thrown_away).best_epoch_ == expected.best_epoch_
    classifier.partial_fit(*thrown_away)
    assert classifier.best_epoch_ == classifier.n_iter_ == expected.n_iter_ + 1
