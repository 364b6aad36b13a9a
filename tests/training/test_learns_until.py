r"""Parameters that learn in the first part of a training only."""

import copy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from sklearn.datasets import load_digits
from skorch.callbacks import Callback

from sksoftmax import SoftmaxMLPClassifier
from sksoftmax._nets import mlp_defaults
from sksoftmax._training import skorch_net

from ..factories import same_bits

# Rows of a large table for these tests; 20,000 would take longer to learn.
MANY_ROWS = 200
FIRST_LAYER = "hidden.0.bin_weight"
VECTORS = "input_scaling.bin_vectors.weight"
X, Y = load_digits(return_X_y=True)
X, Y = X[:300, 18:38], Y[:300]


@pytest.fixture(autouse=True)
def small_table_is_large(monkeypatch):
    # The numbers are frozen: a change would last.
    latest = replace(mlp_defaults.VERSIONS["0.2"], many_rows=MANY_ROWS)
    monkeypatch.setitem(mlp_defaults.VERSIONS, "0.2", latest)


class Recorder(Callback):
    r"""Records the parameters after each epoch, and what learns between epochs."""

    def initialize(self):
        self.states, self.learning = [], []
        return self

    def on_epoch_end(self, net, **kwargs):
        module = net.module_
        self.states.append(copy.deepcopy(module.state_dict()))
        self.learning.append(all(p.requires_grad for p in module.parameters()))


class Failing(Callback):
    r"""Fails in a step of the last epoch, in which parameters are frozen."""

    def on_batch_end(self, net, training, **kwargs):
        self.module = net.module_
        if len(net.history) == 10:
            self.learning = {
                n: p.requires_grad for n, p in net.module_.named_parameters()
            }
            raise RuntimeError("epoch 10")


def recorded(**options):
    recorder = Recorder()
    defaults = {"max_epochs": 10, "early_stopping": False, "callbacks": [recorder]}
    model = SoftmaxMLPClassifier(
        (16, 8), n_estimators=2, random_state=0, **defaults | options
    )
    return model.fit(X, Y), recorder


def changes(states, name):
    r"""Return whether each epoch after the first changed a parameter."""
    values = [state[name].numpy() for state in states]
    return [not same_bits(*pair) for pair in pairwise(values)]


@pytest.mark.parametrize("lr_schedule", ["cosine", "one_cycle"])
def test_vectors_of_bins_and_the_first_layer_stop_learning(lr_schedule):
    model, recorder = recorded(lr_schedule=lr_schedule)
    assert changes(recorder.states, VECTORS) == [True] * 4 + [False] * 5
    # Recorded after the first epoch; the first layer learns in 9 of 10.
    assert changes(recorder.states, FIRST_LAYER) == [True] * 8 + [False]
    assert all(changes(recorder.states, "hidden.2.weight"))
    assert all(changes(recorder.states, "output.weight"))
    # Callbacks and the fitted module find parameters that learn.
    assert all(recorder.learning)
    assert model.module_.input_scaling.bin_vectors.weight.requires_grad


def test_they_learn_to_the_end_at_a_constant_rate():
    _, recorder = recorded(lr_schedule="constant")
    assert all(changes(recorder.states, VECTORS))
    assert all(changes(recorder.states, FIRST_LAYER))


def test_they_learn_to_the_end_from_few_rows(monkeypatch):
    few = replace(mlp_defaults.VERSIONS["0.2"], many_rows=len(X) + 1)
    monkeypatch.setitem(mlp_defaults.VERSIONS, "0.2", few)
    _, recorder = recorded()
    assert all(changes(recorder.states, VECTORS))
    assert all(changes(recorder.states, FIRST_LAYER))


def test_they_learn_in_a_stream_that_goes_on():
    model, _ = recorded()
    before = model.module_.input_scaling.bin_vectors.weight.detach().clone()
    model.partial_fit(X[:50], Y[:50])
    after = model.module_.input_scaling.bin_vectors.weight.detach()
    assert not same_bits(after.numpy(), before.numpy())


def test_each_restart_begins_with_all_of_them(monkeypatch):
    monkeypatch.setattr(skorch_net, "underfits", lambda *args: True)
    monkeypatch.setattr(skorch_net, "has_gained", lambda *args: True)
    monkeypatch.setattr(skorch_net, "has_stalled", lambda *args: False)
    model, recorder = recorded(max_epochs="auto", early_stopping="auto")
    n_first = len(model.net_.history) // 7
    assert len(recorder.states) == 7 * n_first
    learned = changes(recorder.states, VECTORS)
    # Rounds of n, 2 n and 4 n epochs
    for start, end in ((0, n_first), (n_first, 3 * n_first), (3 * n_first, None)):
        part = np.array(learned[start:end][: -1 if end else None])
        share = part.sum() / len(part)
        assert part[0]
        assert not part[-1]
        assert 0.4 < share < 0.6


def test_an_error_in_training_leaves_nothing_frozen():
    failing = Failing()
    with pytest.raises(RuntimeError, match="epoch 10"):
        recorded(callbacks=[failing])
    assert not failing.learning[VECTORS]
    assert not failing.learning[FIRST_LAYER]
    assert all(p.requires_grad for p in failing.module.parameters())


def test_an_error_in_another_fit_leaves_the_fitted_module_as_it_was():
    model = SoftmaxMLPClassifier(
        (16, 8), n_estimators=2, max_epochs=10, random_state=0, warm_start=True
    ).fit(X, Y)
    model.set_params(callbacks=[Failing()])
    with pytest.raises(RuntimeError, match="epoch 10"):
        model.fit(X, Y)
    assert all(p.requires_grad for p in model.module_.parameters())
