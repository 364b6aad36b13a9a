r"""skorch's loggers, freezers and early stopping, and the predictions of ``net_``."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import get_scorer
from skorch.callbacks import (
    Callback,
    EarlyStopping,
    EpochScoring,
    Freezer,
    MlflowLogger,
    SacredLogger,
    Unfreezer,
    WandbLogger,
)

from ..factories import (
    for_each_class_and_solver,
    for_each_trained_by_epochs,
    short,
)


class WandbRun:
    r"""The part of a run of Weights & Biases that skorch's logger calls."""

    def __init__(self, folder):
        self.dir = str(folder)
        self.logged = []
        self.watched = None

    def watch(self, module):
        self.watched = module

    def log(self, values):
        self.logged.append(values)


class Experiment:
    r"""The part of an experiment of Sacred that skorch's logger calls."""

    def __init__(self):
        self.logged = {}

    def log_scalar(self, name, value, step=None):
        self.logged.setdefault(name, []).append(value)


class MlflowClient:
    r"""The part of a client of MLflow that skorch's logger calls."""

    def __init__(self):
        self.logged = {}
        self.files = []
        self.is_terminated = False

    def log_metric(self, run_id, name, value, step):
        self.logged.setdefault(name, []).append(value)

    def log_artifact(self, run_id, path):
        self.files.append(path.name)

    def set_terminated(self, run_id):
        self.is_terminated = True


class States(Callback):
    r"""Keeps the parameters before training and after each epoch."""

    def on_train_begin(self, net, **kwargs):
        self.kept = [copy.deepcopy(dict(net.module_.named_parameters()))]

    def on_epoch_end(self, net, **kwargs):
        self.kept.append(copy.deepcopy(dict(net.module_.named_parameters())))


@for_each_class_and_solver
def test_net_predicts_indices_of_classes(make, iris):
    X, y = iris
    model = make().fit(X, y)
    indices = model.net_.predict(X)
    assert indices.shape == (len(X),)
    assert indices.dtype.kind == "i"
    np.testing.assert_array_equal(model.classes_[indices], model.predict(X))
    encoded = np.searchsorted(model.classes_, y)
    assert get_scorer("accuracy")(model.net_, X, encoded) == model.score(X, y)


@for_each_trained_by_epochs
@pytest.mark.parametrize(
    "scoring", ["accuracy", "f1_macro", "neg_log_loss", "roc_auc_ovr"]
)
def test_scores_of_epochs_are_those_of_the_classifier(make, scoring, iris):
    X, y = iris
    model = short(make, callbacks=[EpochScoring(scoring, lower_is_better=False)])
    model.fit(X, y, X_val=X[::3], y_val=y[::3])
    scores = model.net_.history[:, scoring]
    assert len(scores) == 3
    expected = get_scorer(scoring)(model, X[::3], y[::3])
    assert scores[-1] == pytest.approx(expected, rel=1e-4)


@for_each_trained_by_epochs
def test_weights_and_biases(make, iris, tmp_path):
    X, y = iris
    run = WandbRun(tmp_path)
    model = short(make, callbacks=[WandbLogger(run)])
    model.fit(X, y, X_val=X[::3], y_val=y[::3])
    assert run.watched is model.module_
    assert [values["train_loss"] for values in run.logged] == model.loss_curve_
    assert {"valid_loss", "valid_acc", "dur"} <= run.logged[0].keys()
    saved = torch.load(tmp_path / "best_model.pth", weights_only=True)
    assert saved.keys() == model.module_.state_dict().keys()


@for_each_trained_by_epochs
def test_weights_and_biases_without_validation_rows_is_told(make, iris, tmp_path):
    model = short(make, callbacks=[WandbLogger(WandbRun(tmp_path))])
    with pytest.raises(ValueError, match=r"needs validation rows.* Expected X_val and"):
        model.fit(*iris)
    short(make, callbacks=[WandbLogger(WandbRun(tmp_path), save_model=False)]).fit(
        *iris
    )


@for_each_trained_by_epochs
def test_sacred(make, iris):
    experiment = Experiment()
    logger = SacredLogger(experiment, log_on_batch_end=True)
    model = short(make, callbacks=[logger]).fit(*iris)
    assert experiment.logged["train_loss_epoch"] == model.loss_curve_
    batches = np.reshape(experiment.logged["train_loss_batch"], (3, 5))
    np.testing.assert_allclose(batches.mean(1), model.loss_curve_, rtol=1e-5)


@for_each_trained_by_epochs
def test_mlflow(make, iris):
    client = MlflowClient()
    run = SimpleNamespace(info=SimpleNamespace(run_id="1"))
    model = short(make, callbacks=[MlflowLogger(run, client)]).fit(*iris)
    assert client.logged["train_loss"] == model.loss_curve_
    assert set(client.files) >= {"params.pth", "optimizer.pth", "history.json"}
    assert client.is_terminated


@for_each_trained_by_epochs
def test_freezer_and_unfreezer(make, iris):
    X, y = iris
    names = [name for name, _ in short(make).fit(X, y).module_.named_parameters()]
    frozen, states = names[0], States()
    model = short(
        make,
        callbacks=[
            ("states", states),
            ("freezer", Freezer(frozen)),
            ("unfreezer", Unfreezer(frozen, at=3)),
        ],
    ).fit(X, y)
    start, first, second, third = states.kept
    assert torch.equal(start[frozen], second[frozen])
    assert not torch.equal(second[frozen], third[frozen])
    others = [name for name in names if name != frozen]
    assert not any(torch.equal(start[name], first[name]) for name in others)
    assert model.module_.get_parameter(frozen).requires_grad


@for_each_trained_by_epochs
def test_early_stopping_of_skorch_without_validation_rows_says_what_to_do(make, iris):
    X, y = iris
    model = short(make, callbacks=[EarlyStopping(patience=2)])
    message = "monitor='valid_loss', which needs validation rows.* Expected X_val and"
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)
    # The remedy of the message.
    model.fit(X, y, X_val=X[::3], y_val=y[::3])
    assert len(model.validation_scores_) == 3
