r"""Moving averages of the parameters."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import log_loss
from skorch.callbacks import Callback, Checkpoint

from sksoftmax import SoftmaxMLPClassifier

from ..factories import (
    CNN,
    MLP,
    Net,
    few_digits,
    for_each_net,
    noisy_tables,
    same_bits,
    short,
)

DECAY = 0.6


class Average(Callback):
    r"""Averages the parameters after each step, in float64."""

    def on_train_begin(self, net, **kwargs):
        self.module = net.module_
        self.average = self.parameters()
        self.n_steps = 0
        self.validated = []

    def parameters(self):
        return [p.detach().double().clone() for p in self.module.parameters()]

    def on_batch_end(self, net, training, **kwargs):
        if not training:
            self.validated.append(self.parameters())
            return
        self.n_steps += 1
        decay = min(DECAY, (1 + self.n_steps) / (10 + self.n_steps))
        self.average = [
            decay * old + (1 - decay) * new
            for old, new in zip(self.average, self.parameters(), strict=True)
        ]


def assert_close(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a.detach(), b.detach(), atol=1e-5)


@for_each_net
class TestEveryNet:
    def test_the_average_is_that_of_all_steps(self, make, iris):
        X, y = iris
        average = Average()
        model = short(make, weight_averaging=DECAY, callbacks=[average])
        model.fit(X, y, X_val=X, y_val=y)
        assert_close(model.module_.parameters(), average.average)
        # Validation rows see the averages as well, and training does not.
        assert_close(average.validated[-1], average.average)
        model = short(make, callbacks=[average]).fit(X, y)
        assert not np.allclose(
            next(model.module_.parameters()).detach(), average.average[0], atol=1e-5
        )

    def test_training_takes_the_same_steps(self, make, iris):
        X, y = iris
        plain = short(make).fit(X, y)
        averaged = short(make, weight_averaging=DECAY).fit(X, y)
        assert plain.loss_curve_ == averaged.loss_curve_
        assert not same_bits(plain.predict_proba(X), averaged.predict_proba(X))

    def test_no_average_is_kept_after_a_fit(self, make, iris):
        X, y = iris
        model = short(make, weight_averaging=DECAY).fit(X, y)
        assert model.net_.average is None
        copied = pickle.loads(pickle.dumps(model))
        assert same_bits(
            copied.partial_fit(X, y).predict_proba(X),
            model.partial_fit(X, y).predict_proba(X),
        )

    def test_the_best_epoch_is_that_of_the_averages(self, make, iris):
        X, y = iris
        model = short(make, weight_averaging=DECAY, early_stopping=True)
        model.set_params(max_epochs=8).fit(X, y, X_val=X[::3], y_val=y[::3])
        score = -log_loss(y[::3], model.predict_proba(X[::3]))
        assert max(model.validation_scores_) == pytest.approx(score, abs=1e-4)

    @pytest.mark.parametrize("decay", [0.0, 1.0, -0.1])
    def test_a_decay_is_between_0_and_1(self, make, iris, decay):
        with pytest.raises(ValueError, match=r"weight_averaging.*in the range \(0"):
            short(make, weight_averaging=decay).fit(*iris)


def test_checkpoints_of_skorch_hold_the_averages(iris, tmp_path):
    X, y = iris
    saving = Checkpoint(monitor=None, dirname=tmp_path)
    model = short(Net, weight_averaging=DECAY, callbacks=[saving]).fit(X, y)
    saved = torch.load(tmp_path / "params.pt", weights_only=True)
    for name, value in model.module_.state_dict().items():
        assert torch.equal(saved[name], value)


def test_statistics_of_normalizations_are_averaged(iris):
    X, y = few_digits()
    model = short(CNN, weight_averaging=0.9).fit(X, y)
    plain = short(CNN).fit(X, y)
    averaged, last = (
        {n: b for n, b in m.module_.named_buffers() if n.endswith("running_mean")}
        for m in (model, plain)
    )
    assert averaged
    assert any(not torch.equal(averaged[name], last[name]) for name in last)


def test_an_average_lowers_the_loss_at_a_constant_rate():
    (X, y), (X_test, y_test) = noisy_tables()
    losses = {}
    for decay in (None, 0.98):
        models = [
            MLP(
                lr_schedule="constant",
                early_stopping=False,
                weight_averaging=decay,
                max_epochs=30,
                batch_size=16,
                random_state=seed,
            ).fit(X, y)
            for seed in range(3)
        ]
        losses[decay] = np.mean(
            [log_loss(y_test, model.predict_proba(X_test)) for model in models]
        )
    assert losses[0.98] < 0.97 * losses[None]


def test_an_ensemble_with_its_defaults(iris):
    X, y = iris
    model = SoftmaxMLPClassifier(weight_averaging=0.9, random_state=0)
    proba = model.fit(X, y).predict_proba(X)
    assert log_loss(y, proba) < 0.15
    again = clone(model).fit(X, y)
    assert same_bits(again.predict_proba(X), proba)
    assert same_bits(copy.deepcopy(model).predict_proba(X), proba)
