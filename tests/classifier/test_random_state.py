r"""random_state decides every bit, and global generators stay as they were."""

import random

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from ..factories import (
    Net,
    Regression,
    for_each_class_and_solver,
    for_each_net,
    for_each_trained_by_epochs,
    state,
    with_epochs,
)


@for_each_trained_by_epochs
def test_same_integer_same_bits(make, iris):
    a, b = make(random_state=7).fit(*iris), make(random_state=7).fit(*iris)
    assert state(a) == state(b)
    assert a.loss_curve_ == b.loss_curve_
    # A second fit starts from the same initial parameters.
    assert state(a.fit(*iris)) == state(b)


@for_each_trained_by_epochs
def test_other_integer_other_bits(make, iris):
    a, b = make(random_state=7).fit(*iris), make(random_state=8).fit(*iris)
    assert state(a) != state(b)
    assert a.loss_curve_ != b.loss_curve_


@for_each_trained_by_epochs
def test_initial_parameters_follow_random_state(make, iris):
    X, y = iris
    initial = {}
    for seed in (7, 8):
        model = make(random_state=seed)
        # The rate is so small that the parameters stay as they were initialized.
        model.set_params(learning_rate=1e-12)
        initial[seed] = with_epochs(model, 1).fit(X, y).predict_proba(X)
    assert np.abs(initial[7] - initial[8]).max() > 1e-4


@for_each_trained_by_epochs
def test_generator_is_consumed(make, iris):
    generator = np.random.RandomState(7)
    a = make(random_state=generator).fit(*iris)
    b = make(random_state=generator).fit(*iris)
    assert state(a) != state(b)
    again = np.random.RandomState(7)
    assert state(make(random_state=again).fit(*iris)) == state(a)
    assert state(make(random_state=again).fit(*iris)) == state(b)


@for_each_trained_by_epochs
def test_none_differs_in_each_fit(make, iris):
    models = [make(random_state=None).fit(*iris) for _ in range(2)]
    assert state(models[0]) != state(models[1])


@for_each_trained_by_epochs
def test_none_follows_the_generator_of_numpy(make, iris):
    # As everywhere in scikit-learn, None means NumPy's global generator.
    before = np.random.get_state()
    try:
        models = []
        for _ in range(2):
            np.random.seed(3)
            models.append(make(random_state=None).fit(*iris))
    finally:
        np.random.set_state(before)
    assert state(models[0]) == state(models[1])


@for_each_trained_by_epochs
@pytest.mark.parametrize("early_stopping", [False, True])
def test_global_generators_are_untouched(make, early_stopping, iris):
    def generators():
        return (
            torch.get_rng_state().numpy().tobytes(),
            str(np.random.get_state()),
            random.getstate(),
        )

    X, y = iris
    before = generators()
    model = make(early_stopping=early_stopping).fit(X, y)
    model.predict_proba(X)
    model.set_params(early_stopping=False, warm_start=True).fit(X, y)
    clone(model).partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X, y)
    assert generators() == before


@for_each_trained_by_epochs
def test_fit_is_independent_of_global_generators(make, iris):
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    states = []
    try:
        for seed in (1, 2):
            torch.manual_seed(seed)
            np.random.seed(seed)
            random.seed(seed)
            states.append(state(make().fit(*iris)))
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])
    assert states[0] == states[1]


def test_global_generator_is_restored_after_an_error(iris):
    class Fails(nn.Linear):
        def forward(self, x):
            if self.training:
                torch.rand(3)
                raise ArithmeticError
            return super().forward(x)

    before = torch.get_rng_state()
    with pytest.raises(ArithmeticError):
        Net(module=Fails).fit(*iris)
    assert torch.equal(torch.get_rng_state(), before)


@for_each_class_and_solver
def test_fits_with_two_threads_agree(make, digits):
    X, y = digits[0][:64], digits[1][:64]
    model = with_epochs(make(), 30 if make is Regression else 2).fit(X, y)
    torch.set_num_threads(2)
    try:
        with_two, again = clone(model).fit(X, y), clone(model).fit(X, y)
    finally:
        torch.set_num_threads(1)
    assert state(with_two) == state(again)
    np.testing.assert_allclose(
        with_two.predict_proba(X), model.predict_proba(X), atol=1e-4
    )


@for_each_net
def test_dropout_is_drawn_again_in_each_step(make, iris):
    X, y = iris
    model = make(
        learning_rate=1e-12,
        batch_size=150,
        lr_schedule="constant",
        weight_decay=0.0,
    ).fit(X, y)
    # The parameters stay, the masks of dropout change, and so does the loss.
    assert len(set(np.round(model.loss_curve_, 5))) > 5


@for_each_trained_by_epochs
def test_fit_within_no_grad(make, iris):
    expected = state(make().fit(*iris))
    with torch.no_grad():
        assert state(make().fit(*iris)) == expected
        assert not torch.is_grad_enabled()
