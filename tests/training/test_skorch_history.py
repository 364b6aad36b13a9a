r"""What the history of skorch holds, and callbacks that monitor it."""

from functools import partial

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    InputShapeSetter,
    LRScheduler,
    PassthroughScoring,
    ProgressBar,
    TrainEndCheckpoint,
)
from skorch.helper import predefined_split
from torch import nn

from sksoftmax import SoftmaxMLPClassifier, SoftmaxRegression

from .skorch_fits import CLASSIFIERS, fitted, for_each, make_module, scaled_iris


@pytest.fixture(scope="module")
def iris():
    return scaled_iris()


class TestHistory:
    @pytest.fixture(scope="class")
    @staticmethod
    def of_skorch(iris):
        X, y = iris
        X, y = X.astype(np.float32), np.unique(y, return_inverse=True)[1]
        with torch.random.fork_rng(devices=[]):
            from skorch.dataset import Dataset

            net = NeuralNetClassifier(
                make_module(4, 3).append(nn.Softmax(1)),
                max_epochs=3,
                batch_size=40,
                train_split=predefined_split(Dataset(X[::3], y[::3])),
                verbose=0,
            )
            return net.fit(X, y).history

    @for_each
    def test_has_every_key_of_skorch(self, name, iris, of_skorch):
        history = fitted(name, [Callback()], iris).net_.history
        assert len(history) == len(of_skorch)
        for epoch, expected in zip(history, of_skorch, strict=True):
            assert epoch.keys() == expected.keys()
            assert epoch["train_batch_count"] == expected["train_batch_count"]
            train = [batch for batch in epoch["batches"] if "train_loss" in batch]
            valid = [batch for batch in epoch["batches"] if "valid_loss" in batch]
            assert [*train, *valid] == epoch["batches"]
            assert len(train) == epoch["train_batch_count"]
            assert len(valid) == epoch["valid_batch_count"]
            assert train[0].keys() == expected["batches"][0].keys()
            assert valid[0].keys() == expected["batches"][-1].keys()
            for prefix, batches in (("train", train), ("valid", valid)):
                sizes = [batch[f"{prefix}_batch_size"] for batch in batches]
                assert sum(sizes) == {"train": 150, "valid": 50}[prefix]
                losses = [batch[f"{prefix}_loss"] for batch in batches]
                mean = np.average(losses, weights=sizes)
                assert epoch[f"{prefix}_loss"] == pytest.approx(mean, rel=1e-5)

    @for_each
    def test_without_callbacks_has_every_key_of_epochs(self, name, iris, of_skorch):
        history = fitted(name, None, iris).net_.history
        assert history[-1].keys() == of_skorch[-1].keys()

    @for_each
    def test_best_is_the_best_so_far(self, name, iris):
        history = fitted(name, None, iris).net_.history
        for key, best in (("train_loss", min), ("valid_loss", min), ("valid_acc", max)):
            values = history[:, key]
            assert history[:, f"{key}_best"] == [
                values.index(best(values[: epoch + 1])) == epoch
                for epoch in range(len(values))
            ]

    @for_each
    def test_records_of_batches_change_no_bit(self, name, iris):
        quiet = fitted(name, None, iris).predict_proba(iris[0])
        observed = fitted(name, [Callback()], iris).predict_proba(iris[0])
        np.testing.assert_array_equal(quiet, observed)

    @for_each
    @pytest.mark.parametrize(
        "monitor",
        [
            "valid_acc_best",
            "valid_loss_best",
            "train_loss_best",
            lambda net: net.history[-1, "valid_acc_best"],
            lambda net: net.history[-1, "batches", -1, "valid_loss"] > 0,
        ],
    )
    def test_checkpoint_finds_its_monitor(self, name, monitor, iris, tmp_path):
        checkpoint = Checkpoint(
            monitor, dirname=tmp_path, f_params="{last_batch[valid_batch_size]}.pt"
        )
        model = fitted(name, [checkpoint], iris)
        assert any(model.net_.history[:, "event_cp"])
        assert list(tmp_path.glob("*.pt"))

    def test_batch_scores_are_passed_through(self, iris):
        scoring = PassthroughScoring("train_loss", on_train=True)
        history = fitted("net", [scoring], iris).net_.history
        assert all(loss > 0 for loss in history[:, "train_loss"])

    def test_progress_bar_and_last_checkpoint(self, iris, tmp_path, capsys):
        callbacks = [ProgressBar(), TrainEndCheckpoint(dirname=tmp_path)]
        model = fitted("net", callbacks, iris)
        saved = torch.load(tmp_path / "train_end_params.pt", weights_only=True)
        for name, value in model.module_.state_dict().items():
            assert torch.equal(saved[name], value)


def plateau(monitor):
    return LRScheduler("ReduceLROnPlateau", monitor=monitor)


WATCHING = {
    "EarlyStopping": EarlyStopping,
    "EarlyStopping of accuracy": partial(
        EarlyStopping, "valid_acc", lower_is_better=False
    ),
    "Checkpoint": partial(Checkpoint, f_pickle=None),
    "Checkpoint of accuracy": partial(Checkpoint, "valid_acc_best"),
    "plateau": partial(plateau, "valid_loss"),
}


class NeverCalled(Callback):
    def on_epoch_begin(self, net, **kwargs):
        raise AssertionError("training began")


class TestMonitors:
    @for_each
    @pytest.mark.parametrize("watching", WATCHING)
    def test_without_validation_rows_are_an_error(self, name, watching, iris):
        label = watching.split()[0].replace("plateau", "LRScheduler")
        callbacks = [WATCHING[watching](), NeverCalled()]
        with pytest.raises(
            ValueError, match=rf"callback {label} with.* X_val .*early_stopping=True"
        ):
            fitted(name, callbacks, iris, is_watched=False)
        model = CLASSIFIERS[name](callbacks=callbacks)
        with pytest.raises(ValueError, match=r"partial_fit has no validation rows"):
            model.partial_fit(*iris, classes=np.unique(iris[1]))
        assert not hasattr(model, "module_")

    @for_each
    @pytest.mark.parametrize("watching", WATCHING)
    def test_with_validation_rows_are_watched(
        self, name, watching, iris, tmp_path, monkeypatch
    ):
        monkeypatch.chdir(tmp_path)
        fitted(name, [WATCHING[watching]()], iris)
        model = CLASSIFIERS[name](callbacks=[WATCHING[watching]()], early_stopping=True)
        assert model.fit(*iris).n_iter_ > 0

    def test_default_of_the_perceptron_holds_rows_out(self, iris):
        SoftmaxMLPClassifier(
            (8,), max_epochs=3, random_state=0, callbacks=[EarlyStopping()]
        ).fit(*iris)

    def test_may_be_the_score_of_a_callback(self, iris):
        scoring = EpochScoring("f1_macro", name="mine", lower_is_better=False)
        stopping = EarlyStopping("mine", lower_is_better=False)
        fitted("net", [scoring, stopping], iris)
        with pytest.raises(ValueError, match=r"nothing before it records"):
            fitted("net", [stopping, scoring], iris)
        with pytest.raises(ValueError, match=r"monitor='mine', which needs valid"):
            fitted("net", [scoring, stopping], iris, is_watched=False)
        on_train = EpochScoring("f1_macro", name="mine", on_train=True)
        fitted("net", [on_train, stopping], iris, is_watched=False)

    def test_may_be_recorded_by_a_callback_of_the_user(self, iris):
        class Recording(Callback):
            def on_epoch_end(self, net, **kwargs):
                net.history.record("mine", 1.0)

        fitted("net", [Recording(), EarlyStopping("mine")], iris, is_watched=False)

    def test_unknown_name_is_an_error(self, iris):
        with pytest.raises(
            ValueError, match=r"'val_loss'.*Expected one of.*valid_loss"
        ):
            fitted("net", [EarlyStopping("val_loss")], iris)

    @pytest.mark.parametrize("monitor", ["train_loss", "train_loss_best"])
    def test_of_training_rows_need_no_others(self, monitor, iris, tmp_path):
        callbacks = [plateau("train_loss"), Checkpoint(monitor, dirname=tmp_path)]
        if monitor == "train_loss":
            callbacks = [plateau("train_loss"), EarlyStopping("train_loss")]
        fitted("net", callbacks, iris, is_watched=False)

    def test_function_that_looks_for_validation_scores(self, iris):
        checkpoint = Checkpoint(lambda net: net.history[-1, "valid_loss_best"])
        with pytest.raises(ValueError, match=r"X_val .*early_stopping=True"):
            fitted("net", [checkpoint], iris, is_watched=False)

        class Reading(Callback):
            def on_epoch_end(self, net, **kwargs):
                net.history[-1, "nothing"]

        with pytest.raises(KeyError, match="nothing"):
            fitted("net", [Reading()], iris, is_watched=False)

    @pytest.mark.parametrize("kind", [EpochScoring, BatchScoring])
    def test_scoring_without_validation_rows_warns(self, kind, iris):
        with pytest.warns(UserWarning, match=r"no score is recorded.*on_train=True"):
            model = fitted("net", [kind("accuracy")], iris, is_watched=False)
        assert "accuracy" not in model.net_.history[-1]

    def test_with_an_exact_solver_warn(self, iris):
        with pytest.warns(UserWarning, match=r"calls none of skorch's callbacks"):
            SoftmaxRegression(callbacks=[EarlyStopping()]).fit(*iris)

    @for_each
    def test_input_shape_setter_is_an_error(self, name, iris):
        for callback in (
            InputShapeSetter(),
            InputShapeSetter,
            ("a", InputShapeSetter()),
        ):
            with pytest.raises(ValueError, match=r"InputShapeSetter.*Leave it out"):
                fitted(name, [callback], iris)


def test_a_callback_shared_by_fits_begins_anew(iris):
    stopping = EarlyStopping("train_loss", patience=2, threshold=1e9)
    scoring = EpochScoring("accuracy", name="score", lower_is_better=False)
    histories = [
        fitted("net", [stopping, scoring], iris, max_epochs=9).net_.history
        for _ in range(2)
    ]
    for key in ("train_loss", "score", "score_best"):
        assert histories[0][:, key] == histories[1][:, key]
