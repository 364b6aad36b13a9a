r"""KeyboardInterrupt: a fit that the user stops loses nothing."""

import numpy as np
import pytest
from sklearn.base import clone
from skorch.callbacks import (
    Callback,
)
from torch import nn

from ..factories import CNN, MLP, Net, same_bits


class Interrupting(nn.Module):
    r"""Raises KeyboardInterrupt in the forward pass of a given training step."""

    def __init__(self, n_features, n_classes, step=None):
        super().__init__()
        self.linear = nn.Linear(n_features, n_classes)
        self.step = step
        self.n_steps = 0

    def forward(self, x):
        if self.training:
            self.n_steps += 1
            if self.n_steps == self.step:
                raise KeyboardInterrupt
        return self.linear(x)


def test_interrupted_fit_keeps_the_earlier_fit(named_iris):
    X, y = named_iris
    model = Net(module=Interrupting).fit(X, y)
    before = model.predict_proba(X)
    state = vars(model).copy()
    model.set_params(module__step=3)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X[:, :2], y)
    assert same_bits(model.predict_proba(X), before)
    assert vars(model).keys() == state.keys()
    assert model.n_iter_ == state["n_iter_"]


def test_interrupted_first_fit_leaves_no_attributes(named_iris):
    model = Net(module=Interrupting, module_params={"step": 1})
    with pytest.raises(KeyboardInterrupt):
        model.fit(*named_iris)
    assert vars(model).keys() == vars(clone(model)).keys()


@pytest.mark.parametrize("make", [MLP, CNN])
def test_interrupted_partial_fit_keeps_the_input_scaling(make, named_iris):
    class InterruptsTheSecondEpoch(Callback):
        def on_batch_end(self, net, **kwargs):
            if len(net.history) == 2:
                raise KeyboardInterrupt

    X, y = named_iris
    model = make(callbacks=[InterruptsTheSecondEpoch()])
    model.partial_fit(X, y, classes=np.unique(y))
    before = model.predict_proba(X)
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(100 * X, y)
    assert same_bits(model.predict_proba(X), before)


def test_partial_fit_goes_on_after_an_interrupt(named_iris):
    X, y = named_iris
    model = Net(module=Interrupting, batch_size=30)
    model.partial_fit(X, y, classes=np.unique(y))
    model.module_.step = model.module_.n_steps + 3
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(X, y)
    assert model.n_iter_ == len(model.loss_curve_) == 1
    model.module_.step = None
    model.partial_fit(X, y)
    assert model.n_iter_ == len(model.loss_curve_) == 2


def test_interrupt_in_a_callback_is_raised(named_iris):
    class Interrupt(Callback):
        def on_batch_end(self, net, **kwargs):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        MLP(callbacks=[Interrupt()]).fit(*named_iris)
