r"""Callbacks of skorch: the events they see and what they may do."""

import numpy as np
import pytest
import torch
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    GradientNormClipping,
    LRScheduler,
    TensorBoard,
)

from ..factories import (
    MLP,
    MinibatchRegression,
    for_each_trained_by_epochs,
    same_bits,
    short,
    with_epochs,
)


class Recorder(Callback):
    r"""Records the events of a net."""

    def initialize(self):
        self.events = []
        self.rates = []
        self.rows = 0
        return self

    def on_train_begin(self, net, **kwargs):
        self.events.append("train begin")

    def on_epoch_begin(self, net, **kwargs):
        self.events.append("epoch begin")

    def on_batch_begin(self, net, batch=None, training=False, **kwargs):
        self.events.append(f"batch begin {training}")

    def on_batch_end(self, net, batch=None, training=False, **kwargs):
        self.events.append(f"batch end {training}")
        if training:
            self.rows += len(batch[0])
            self.rates.append(net.optimizer_.param_groups[0]["lr"])
            assert kwargs["loss"].ndim == 0
            assert kwargs["y_pred"].shape[0] == len(batch[0])

    def on_epoch_end(self, net, **kwargs):
        self.events.append("epoch end")

    def on_train_end(self, net, **kwargs):
        self.events.append("train end")


class FirstState(Callback):
    r"""Keeps the parameters that training starts from."""

    def on_train_begin(self, net, **kwargs):
        parameters = [p.detach().flatten() for p in net.module_.parameters()]
        self.parameters = torch.cat(parameters).clone()


@for_each_trained_by_epochs
def test_every_event_of_every_batch(make, iris):
    X, y = iris
    recorder = Recorder()
    model = short(make, callbacks=[recorder])
    model.fit(X, y, X_val=X[:50], y_val=y[:50])
    epoch = [
        "epoch begin",
        *["batch begin True", "batch end True"] * 5,
        *["batch begin False", "batch end False"],
        "epoch end",
    ]
    assert recorder.events == ["train begin", *epoch * 3, "train end"]
    assert recorder.rows == 3 * 150


@for_each_trained_by_epochs
def test_losses_of_batches_are_in_the_history(make, iris):
    X, y = iris
    model = short(make, callbacks=[Recorder()]).fit(X, y)
    losses = np.array(model.net_.history[:, "batches", :, "train_loss"])
    assert losses.shape == (3, 5)
    np.testing.assert_allclose(losses.mean(1), model.loss_curve_, rtol=1e-5)


@for_each_trained_by_epochs
def test_a_callback_that_listens_changes_no_bit(make, iris):
    X, y = iris
    quiet = short(make).fit(X, y)
    observed = short(make, callbacks=[Recorder()]).fit(X, y)
    assert same_bits(quiet.predict_proba(X), observed.predict_proba(X))


@for_each_trained_by_epochs
def test_end_of_an_epoch(make, iris):
    class Note(Callback):
        def on_epoch_end(self, net, dataset_train=None, **kwargs):
            net.history.record("rows", len(dataset_train))

    model = short(make, callbacks=[("note", Note())]).fit(*iris)
    assert model.net_.history[:, "rows"] == [150, 150, 150]


@for_each_trained_by_epochs
def test_early_stopping_of_skorch(make, iris):
    stopping = EarlyStopping(
        monitor="train_loss", patience=2, threshold=1e6, threshold_mode="abs"
    )
    model = short(make, callbacks=[stopping])
    with_epochs(model, 50).fit(*iris)
    # No epoch improves by a million: the first epoch, and two of patience.
    assert np.ravel(model.n_iter_).tolist() == [3]
    assert len(model.loss_curve_) == 3


@for_each_trained_by_epochs
@pytest.mark.parametrize("step_every", ["epoch", "batch"])
def test_learning_rate_scheduler(make, step_every, iris):
    recorder = Recorder()
    scheduler = LRScheduler("StepLR", step_size=1, gamma=0.5, step_every=step_every)
    model = short(
        make,
        learning_rate=0.008,
        lr_schedule="constant",
        # Callbacks run in their order: this one sees the rate before the scheduler.
        callbacks=[("recorder", recorder), ("scheduler", scheduler)],
    ).fit(*iris)
    n_steps = 5 if step_every == "epoch" else 1
    expected = [0.008 * 0.5 ** (step // n_steps) for step in range(15)]
    np.testing.assert_allclose(recorder.rates, expected, rtol=1e-6)
    assert len(model.loss_curve_) == 3


@for_each_trained_by_epochs
def test_checkpoint_of_skorch(make, iris, tmp_path):
    X, y = iris
    checkpoint = Checkpoint(monitor=None, dirname=tmp_path)
    model = short(make, callbacks=[checkpoint]).fit(X, y)
    saved = torch.load(tmp_path / "params.pt", weights_only=True)
    for name, value in model.module_.state_dict().items():
        if make is MinibatchRegression and name == "bias":
            # The bias is centered after training.
            saved[name] -= saved[name].mean()
        assert torch.equal(saved[name], value)
    assert (tmp_path / "optimizer.pt").exists()
    assert (tmp_path / "history.json").exists()


@for_each_trained_by_epochs
def test_tensorboard(make, iris, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import (
        EventAccumulator,
    )
    from torch.utils.tensorboard import SummaryWriter

    X, y = iris
    with SummaryWriter(tmp_path) as writer:
        model = short(make, callbacks=[TensorBoard(writer)])
        model.fit(X, y, X_val=X[:50], y_val=y[:50])
    events = EventAccumulator(str(tmp_path)).Reload()
    losses = [event.value for event in events.Scalars("Loss/train_loss")]
    np.testing.assert_allclose(losses, model.loss_curve_, rtol=1e-6)
    losses = [event.value for event in events.Scalars("Loss/valid_loss")]
    expected = -np.array(model.validation_scores_)
    np.testing.assert_allclose(losses, expected, rtol=1e-6)


def test_checkpoint_of_the_best_validation_loss(iris, tmp_path):
    # The default monitor of skorch is "valid_loss_best".
    X, y = iris
    checkpoint = Checkpoint(dirname=tmp_path)
    model = short(MLP, callbacks=[checkpoint])
    model.fit(X, y, X_val=X, y_val=y)
    assert (tmp_path / "params.pt").exists()
    assert model.net_.history[0, "valid_loss_best"] is True


def test_epoch_scoring(iris):
    def accuracy(net, X, y):
        return (net.predict_proba(X).argmax(1) == np.asarray(y)).mean()

    X, y = iris
    scoring = EpochScoring(accuracy, lower_is_better=False, name="mine")
    model = short(MLP, callbacks=[scoring])
    model.fit(X, y, X_val=X[:50], y_val=y[:50])
    history = model.net_.history
    np.testing.assert_allclose(history[:, "mine"], history[:, "valid_acc"])


@for_each_trained_by_epochs
def test_gradient_norm_clipping(make, iris):
    X, y = iris
    options = {"lr_schedule": "constant", "learning_rate": 1.0}
    if make is MinibatchRegression:
        options |= {"solver": "sgd", "C": np.inf, "momentum": 0.0}
    else:
        options |= {"optimizer": "sgd", "weight_decay": 0.0, "momentum": 0.0}
    distance = {}
    for largest in (1e-3, 1e-6):
        start = short(make, **options, callbacks=[FirstState()])
        model = start.set_params(
            callbacks=[*start.callbacks, GradientNormClipping(largest)]
        ).fit(X, y)
        first = start.callbacks[0].parameters
        last = torch.cat([p.flatten() for p in model.module_.parameters()])
        distance[largest] = (last - first).norm().item()
    # 15 steps of learning rate 1, none longer than the largest gradient.
    assert 1e-4 < distance[1e-3] <= 15e-3
    assert distance[1e-6] <= 15e-6 * 1.1


def test_events_of_partial_fit(iris):
    X, y = iris
    recorder = Recorder()
    model = MLP(callbacks=[recorder], batch_size=75)
    model.partial_fit(X, y, classes=np.unique(y)).partial_fit(X, y)
    assert recorder.events.count("train begin") == 2
    assert recorder.events.count("batch end True") == 4
