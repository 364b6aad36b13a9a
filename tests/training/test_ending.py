r"""Early ends of a fit: Ctrl-C and a time limit keep whole epochs."""

import signal

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from skorch.callbacks import Callback

from sksoftmax import SoftmaxMLPClassifier

from ..factories import (
    MLP,
    MinibatchRegression,
    for_each_trained_by_epochs,
    state,
    with_epochs,
)


class Clock:
    r"""Stands for the module `time`: a callback moves it on by batch."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in ("_training.ending", "_classifier.training"):
        monkeypatch.setattr(f"sksoftmax.{module}.time", clock)
    return clock


class Ticks(Callback):
    r"""Each batch takes a second; the first one of a fit may take longer."""

    def __init__(self, clock, first=1.0):
        self.clock = clock
        self.first = first

    def on_train_begin(self, net, **kwargs):
        self.n_batches = 0
        self.rates = []

    def on_batch_end(self, net, training, **kwargs):
        if training:
            self.n_batches += 1
            self.clock.now += self.first if self.n_batches == 1 else 1.0
            self.rates.append(net.optimizer_.param_groups[0]["lr"])


class Presses(Callback):
    r"""Sends Ctrl-C within an epoch, or at its end."""

    def __init__(self, epoch, at_end=False):
        self.epoch = epoch
        self.at_end = at_end

    def press(self, net):
        if len(net.history) == self.epoch:
            signal.raise_signal(signal.SIGINT)

    def on_batch_end(self, net, training, **kwargs):
        if training and not self.at_end:
            self.press(net)

    def on_epoch_end(self, net, **kwargs):
        if self.at_end:
            self.press(net)


@pytest.fixture
def ctrl_c():
    # pytest's workers ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:320], y[:320], X[320:640], y[320:640]


def scaled(make, digits):
    X, y, X_val, y_val = digits
    return (X / 16, y), {"X_val": X_val / 16, "y_val": y_val}


class TestInterrupt:
    @for_each_trained_by_epochs
    def test_keeps_the_whole_epochs(self, make, digits, ctrl_c):
        rows, _ = scaled(make, digits)
        model = with_epochs(make(lr_schedule="constant"), 3).fit(*rows)
        cut = with_epochs(
            make(
                lr_schedule="constant",
                on_interrupt="keep",
                callbacks=[Presses(epoch=4)],
            ),
            9,
        )
        with pytest.warns(
            UserWarning, match=r"interrupted in epoch 4.*best of 3 whole"
        ) as caught:
            cut.fit(*rows)
        if make is not MinibatchRegression:
            # Its fit has one more function, which the other warnings do not skip.
            assert caught[0].filename == __file__
        assert state(cut) == state(model)
        assert cut.loss_curve_ == model.loss_curve_
        assert cut.best_epoch_ == np.ravel(cut.n_iter_)[0] == len(cut.net_.history) == 3

    @pytest.mark.parametrize("at_end", [False, True])
    def test_keeps_the_best_epoch_of_validation_rows(self, at_end, digits, ctrl_c):
        rows, validation = scaled(MLP, digits)
        model = MLP(
            learning_rate=0.3,
            lr_schedule="constant",
            early_stopping=True,
            on_interrupt="keep",
            callbacks=[Presses(6, at_end)],
        )
        with pytest.warns(UserWarning, match="interrupted in epoch"):
            model.fit(*rows, **validation)
        scores = model.validation_scores_
        assert len(scores) == model.n_iter_ == 5 + at_end
        assert model.best_epoch_ == 1 + np.argmax(scores)
        loss = log_loss(validation["y_val"], model.predict_proba(validation["X_val"]))
        assert -loss == pytest.approx(max(scores), abs=1e-5)

    def test_keeps_averaged_parameters(self, digits, ctrl_c):
        rows, _ = scaled(MLP, digits)
        options = {"weight_averaging": 0.9, "lr_schedule": "constant"}
        model = MLP(max_epochs=2, **options).fit(*rows)
        cut = MLP(on_interrupt="keep", callbacks=[Presses(3)], **options)
        with pytest.warns(UserWarning, match="interrupted"):
            cut.fit(*rows)
        assert state(cut) == state(model)

    @pytest.mark.parametrize(("how", "epoch"), [("raise", 3), ("keep", 1)])
    def test_otherwise_raises_and_says_what_is_kept(self, how, epoch, digits, ctrl_c):
        rows, _ = scaled(MLP, digits)
        model = MLP(on_interrupt=how, callbacks=[Presses(epoch)])
        with pytest.raises(KeyboardInterrupt) as caught:
            model.fit(*rows)
        assert (
            f"epoch {epoch}; the classifier is as it was" in caught.value.__notes__[0]
        )
        assert vars(model).keys() == vars(clone(model)).keys()

    def test_goes_on_from_the_checkpoint(self, digits, ctrl_c, tmp_path):
        rows, _ = scaled(MLP, digits)
        whole = MLP(max_epochs=5).fit(*rows)
        cut = MLP(
            max_epochs=5,
            on_interrupt="keep",
            callbacks=[("one", Presses(3))],
            checkpoint=tmp_path / "fit",
        )
        with pytest.warns(UserWarning, match="interrupted"):
            cut.fit(*rows)
        assert cut.n_iter_ == 2
        cut.set_params(on_interrupt="raise", callbacks=[("one", Presses(99))])
        assert state(cut.fit(*rows)) == state(whole)


class TestTimeLimit:
    @for_each_trained_by_epochs
    def test_that_is_not_reached_changes_nothing(self, make, digits):
        rows, _ = scaled(make, digits)
        model = make().fit(*rows)
        assert state(make(time_limit=1e6).fit(*rows)) == state(model)

    @for_each_trained_by_epochs
    def test_shortens_the_schedule(self, make, digits, clock):
        rows, _ = scaled(make, digits)
        ticks = Ticks(clock)
        model = with_epochs(
            make(batch_size=64, lr_schedule="cosine", callbacks=[ticks], time_limit=31),
            40,
        ).fit(*rows)
        # Each epoch has 5 batches.
        n_epochs = np.ravel(model.n_iter_)[0]
        assert n_epochs == model.best_epoch_ == 6
        assert clock.now == 30
        # The rate has fallen as far as it does at the end of the whole schedule.
        assert np.all(np.diff(ticks.rates) < 0)
        assert ticks.rates[-1] < 0.02 * ticks.rates[0]

    def test_learns_better_than_a_training_that_is_cut(self, digits, clock):
        rows, validation = scaled(MLP, digits)
        options = {"batch_size": 32, "learning_rate": 0.03, "dropout": 0.0}
        model = MLP(
            max_epochs=200, time_limit=101, callbacks=[Ticks(clock)], **options
        ).fit(*rows)
        same = MLP(max_epochs=10, **options).fit(*rows)
        X, y = validation.values()
        losses = [log_loss(y, m.predict_proba(X)) for m in (model, same)]
        assert model.n_iter_ == 10
        assert losses[0] < 1.15 * losses[1]

    def test_a_slow_first_batch_shortens_nothing(self, digits, clock):
        rows, _ = scaled(MLP, digits)
        slow = Ticks(clock, first=30.0)
        options = {"batch_size": 64, "max_epochs": 4}
        model = MLP(callbacks=[slow], time_limit=60, **options).fit(*rows)
        # 49 seconds in all, 30 of them in the first batch.
        assert model.n_iter_ == 4
        assert state(model) == state(MLP(**options).fit(*rows))

    def test_within_the_first_epoch_keeps_what_was_learned(self, digits, clock, capsys):
        rows, validation = scaled(MLP, digits)
        model = MLP(
            batch_size=16,
            lr_schedule="constant",
            time_limit=15,
            callbacks=[Ticks(clock)],
            early_stopping=True,
            verbose=1,
        ).fit(*rows, **validation)
        assert model.net_.history[:, "train_batch_count"] == [15]
        assert model.n_iter_ == 1
        assert model.score(*validation.values()) > 0.3
        assert "1 epoch in" in (line := capsys.readouterr().out)
        assert "ended by time_limit" in line

    def test_within_a_later_epoch_keeps_the_epoch_before(self, digits, clock):
        rows, _ = scaled(MLP, digits)

        class SlowsDown(Ticks):
            def on_batch_end(self, net, training, **kwargs):
                self.clock.now += 10.0 * (training and len(net.history) > 2)
                super().on_batch_end(net, training, **kwargs)

        options = {"batch_size": 64, "max_epochs": 4, "lr_schedule": "constant"}
        model = MLP(callbacks=[SlowsDown(clock)], time_limit=40, **options).fit(*rows)
        options["max_epochs"] = model.n_iter_
        assert model.n_iter_ == 2
        assert state(model) == state(MLP(**options).fit(*rows))

    def test_begins_no_restart_that_does_not_fit(self, digits, clock):
        rows, _ = scaled(MLP, digits)
        # Restarts follow while the net underfits.
        model = SoftmaxMLPClassifier((16,), n_estimators=2, n_bins=None, random_state=0)
        n_restarted = model.fit(*rows).n_iter_
        first = model.settings_["max_epochs"]
        assert n_restarted > first
        steps = -(-320 // model.settings_["batch_size"])
        model.set_params(time_limit=1.5 * first * steps, callbacks=[Ticks(clock)])
        assert model.fit(*rows).n_iter_ == first
