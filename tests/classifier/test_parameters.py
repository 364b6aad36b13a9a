r"""get_params, set_params and clone, with the parameters of the user's module."""

import numpy as np
from sklearn.base import clone

from ..factories import Net, for_each_class, for_each_class_and_solver


@for_each_class_and_solver
def test_parameters_may_be_numbers_of_numpy(make, iris):
    # A search over np.arange sets such numbers.
    model = make()
    kinds = {bool: np.bool_, int: np.int64, float: np.float64}
    numbers = {
        name: kinds[type(value)](value)
        for name, value in model.get_params(deep=False).items()
        if type(value) in kinds
    }
    assert len(numbers) > 4
    proba = clone(model).set_params(**numbers).fit(*iris).predict_proba(iris[0])
    assert (proba == model.fit(*iris).predict_proba(iris[0])).all()


@for_each_class
def test_get_params_and_clone_round_trip(make):
    model = make()
    params = model.get_params()
    assert clone(model).get_params() == params
    assert type(model)(**model.get_params(deep=False)).get_params() == params


@for_each_class
def test_init_only_assigns(make):
    marker = object()
    params = dict.fromkeys(make().get_params(deep=False), marker)
    model = type(make())(**params)
    assert set(vars(model)) == set(params)
    assert all(value is marker for value in vars(model).values())


@for_each_class
def test_fit_does_not_change_parameters(make, iris):
    model = make()
    before = {name: id(value) for name, value in model.get_params().items()}
    model.fit(*iris)
    assert {n: id(value) for n, value in model.get_params().items()} == before


def test_module_parameters(iris):
    net = Net(module_params={"width": 5})
    assert net.get_params()["module__width"] == 5
    assert "module__width" not in net.get_params(deep=False)
    assert net.set_params(module__width=7) is net
    assert net.module_params == {"width": 7}
    assert clone(net).get_params()["module__width"] == 7
    assert clone(net).fit(*iris).module_[0].out_features == 7


def test_set_params_does_not_change_the_dict_of_the_user():
    given = {"width": 5}
    Net(module_params=given).set_params(module__width=7)
    assert given == {"width": 5}


def test_set_module_parameters_where_none_were_given(iris):
    net = Net().set_params(module__width=3, max_epochs=2)
    assert net.module_params == {"width": 3}
    assert net.max_epochs == 2
    assert net.fit(*iris).module_[0].out_features == 3


def test_module_parameters_of_a_clone_are_its_own():
    net = Net(module_params={"width": 8})
    copied = clone(net).set_params(module__width=3)
    assert copied.get_params()["module__width"] == 3
    assert net.get_params()["module__width"] == 8
    assert net.module_params == {"width": 8}
