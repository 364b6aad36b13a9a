r"""Optimizers of the user: classes of torch.optim and their arguments."""

import copy
import inspect
import pickle

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV

from sksoftmax import SoftmaxNetClassifier
from sksoftmax.persistence import load, save

from ..factories import make_module, same_bits, standardized_iris

X, Y = standardized_iris()

# Those that take steps from one gradient of any shape, and a rate that suits iris.
KINDS = {
    torch.optim.Adadelta: 1.0,
    torch.optim.Adafactor: 0.1,
    torch.optim.Adagrad: 0.1,
    torch.optim.Adam: 0.02,
    torch.optim.AdamW: 0.02,
    torch.optim.Adamax: 0.02,
    torch.optim.ASGD: 0.5,
    torch.optim.NAdam: 0.02,
    torch.optim.RAdam: 0.05,
    torch.optim.RMSprop: 0.01,
    torch.optim.Rprop: 0.01,
    torch.optim.SGD: 0.5,
}


def net(**options):
    options = {"max_epochs": 20, "learning_rate": 0.02, "random_state": 0, **options}
    return SoftmaxNetClassifier(make_module, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_every_class_that_takes_steps_from_one_gradient_learns(kind):
    model = net(optimizer=kind, learning_rate=KINDS[kind], max_epochs=30).fit(X, Y)
    assert isinstance(model.net_.optimizer_, kind)
    assert model.score(X, Y) > 0.9


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_a_class_takes_the_same_steps_as_its_name(kind):
    options = {"weight_decay": 0.05, "lr_schedule": "one_cycle"}
    arguments = {"momentum": 0.9} if kind is torch.optim.SGD else None
    named = net(optimizer=kind.__name__.lower(), **options).fit(X, Y)
    passed = net(optimizer=kind, optimizer_params=arguments, **options).fit(X, Y)
    np.testing.assert_allclose(
        passed.predict_proba(X), named.predict_proba(X), atol=1e-4
    )
    groups = passed.net_.optimizer_.param_groups
    assert sorted(group["weight_decay"] for group in groups) == [0.0, 0.05]


def test_arguments_reach_the_optimizer():
    arguments = {"momentum": 0.8, "nesterov": True}
    model = net(optimizer=torch.optim.SGD, optimizer_params=arguments).fit(X, Y)
    [group] = model.net_.optimizer_.param_groups
    assert group["momentum"] == 0.8
    assert group["nesterov"]
    model = net(optimizer_params={"betas": (0.8, 0.99), "eps": 1e-6}).fit(X, Y)
    [group] = model.net_.optimizer_.param_groups
    assert group["betas"] == (0.8, 0.99)
    assert group["eps"] == 1e-6


def test_a_search_reaches_the_arguments_by_their_names():
    search = GridSearchCV(
        net(optimizer=torch.optim.RMSprop, optimizer_params={"alpha": 0.9}),
        {"optimizer__alpha": [0.9, 0.99], "module__width": [4, 16]},
        cv=2,
    ).fit(X, Y)
    assert search.best_score_ > 0.85
    assert search.best_estimator_.get_params()["optimizer__alpha"] in (0.9, 0.99)
    assert net().set_params(optimizer__eps=1e-5).optimizer_params == {"eps": 1e-5}


def test_files_name_classes_of_pytorch(tmp_path):
    parameters = {"alpha": 0.9, "centered": True}
    model = net(optimizer=torch.optim.RMSprop, optimizer_params=parameters).fit(X, Y)
    save(model, tmp_path / "net")
    loaded = load(tmp_path / "net", module=make_module)
    assert loaded.optimizer is torch.optim.RMSprop
    assert loaded.optimizer_params == parameters
    assert same_bits(loaded.predict_proba(X), model.predict_proba(X))
    assert isinstance(loaded.partial_fit(X, Y).net_.optimizer_, torch.optim.RMSprop)


class OwnAdam(torch.optim.Adam):
    pass


@pytest.mark.parametrize("kind", [torch.optim.RMSprop, torch.optim.NAdam])
class TestState:
    def test_pickles_and_copies_go_on_as_the_original(self, kind):
        model = net(optimizer=kind).fit(X, Y)
        others = [pickle.loads(pickle.dumps(model)), copy.deepcopy(model)]
        proba = model.partial_fit(X, Y).predict_proba(X)
        for other in others:
            assert isinstance(other.net_.optimizer_, kind)
            assert same_bits(other.partial_fit(X, Y).predict_proba(X), proba)

    def test_a_smaller_piece_of_a_stream_takes_a_smaller_step(self, kind):
        model = net(optimizer=kind).fit(X, Y)
        before = [p.clone() for p in model.module_.parameters()]
        distances = []
        for n_rows in (1, 100):
            other = copy.deepcopy(model).partial_fit(X[:n_rows], Y[:n_rows])
            distances.append(
                sum(
                    float((new - old).detach().norm())
                    for new, old in zip(other.module_.parameters(), before, strict=True)
                )
            )
            rates = {group["lr"] for group in other.net_.optimizer_.param_groups}
            assert rates == {model.learning_rate * 0.01}
        assert 0 < distances[0] < distances[1]


def requires_closure(kind):
    closure = inspect.signature(kind.step).parameters["closure"]
    return closure.default is inspect.Parameter.empty


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": torch.optim.LBFGS}, "steps need a closure.* torch.optim.RMSp"),
        ({"optimizer": dict}, "optimizer=dict, but expected one of .*torch.optim.RMSp"),
        ({"optimizer_params": {"amsgrad": True}}, "optimizer=torch.optim.AdamW, for"),
        (
            {"optimizer": "sgd", "optimizer_params": {"nesterov": True}},
            "optimizer=torch.optim.SGD, for",
        ),
        (
            {"optimizer": torch.optim.Adam, "optimizer_params": {"lr": 0.1}},
            "Set learning_rate instead",
        ),
        (
            {"optimizer": torch.optim.Adam, "optimizer_params": {"beta": 0.1}},
            "unexpected keyword argument 'beta'.* that the class takes",
        ),
        (
            {"optimizer": torch.optim.Rprop, "weight_decay": 0.1},
            "Rprop, which has no such argument. Expected weight_decay=0.0",
        ),
    ],
)
def test_an_optimizer_that_cannot_be_used_is_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        net(**options).fit(X, Y)


def test_a_closure_is_only_required_where_the_check_says_so():
    assert requires_closure(torch.optim.LBFGS)
    assert not any(map(requires_closure, KINDS))


def test_a_file_holds_no_other_class_and_its_remedy_works(tmp_path):
    model = net(optimizer=OwnAdam, optimizer_params={"eps": 1e-6})
    proba = model.fit(X, Y).predict_proba(X)
    with pytest.raises(ValueError, match=r"set_params\(optimizer=\.\.\.\)"):
        save(model, tmp_path / "net.safetensors")
    model.set_params(optimizer="adamw", optimizer_params=None)
    save(model, tmp_path / "net.safetensors")
    loaded = load(tmp_path / "net.safetensors", module=make_module)
    assert same_bits(loaded.predict_proba(X), proba)
