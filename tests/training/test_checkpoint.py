r"""A fit that is killed goes on from its checkpoint, and ends with the same bits."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, LRScheduler
from torch import nn

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
)
from sksoftmax.distributed import fit_distributed
from sksoftmax.persistence import InvalidFileError, load, save

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:300], y[:300]


class KilledError(Exception):
    r"""What stands for a signal that would end this process."""


class Watch(Callback):
    r"""Counts epochs, and may do something in the middle of one of them."""

    def __init__(self, epoch=None, act=None):
        self.epoch = epoch
        self.act = act
        self.n_epochs = 0

    def on_epoch_begin(self, net, **kwargs):
        self.n_epochs += 1

    def on_batch_end(self, net, training, **kwargs):
        if len(net.history) == self.epoch and training:
            self.act()


def kill():
    raise KilledError


def make_module(n_features, n_classes):
    return nn.Sequential(
        nn.Linear(n_features, 16),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(16, n_classes),
    )


def brightened(images):
    return images * (0.5 + torch.rand(len(images), 1, 1, 1))


def mlp(**options):
    return SoftmaxMLPClassifier(
        **{"hidden_layer_sizes": (16,), "max_epochs": 5, "random_state": 0} | options
    )


def cnn(**options):
    return SoftmaxCNNClassifier(
        **{
            "image_shape": (8, 8),
            "channels": (4, 8),
            "max_epochs": 4,
            "random_state": 0,
        }
        | options
    )


CLASSIFIERS = {
    "ensemble": mlp(dropout=0.2),
    "shared weights": mlp(share_weights=True, optimizer="adam", lr_schedule="constant"),
    "early stopping, SGD": mlp(
        optimizer="sgd", early_stopping=True, n_iter_no_change=1, max_epochs=30
    ),
    "one net, deep": mlp(
        hidden_layer_sizes=(16,) * 5,
        n_estimators=1,
        normalization="batch",
        temperature_scaling=True,
        class_weight="balanced",
    ),
    "images": cnn(augmentation="shift_flip", dropout=0.1),
    "images, a transform": cnn(augmentation=brightened, convolutions_per_block=1),
    "images, ensemble": cnn(
        n_estimators=2,
        data_pruning=0.5,
        early_stopping=True,
        temperature_scaling=True,
    ),
    "a module": SoftmaxNetClassifier(
        make_module, max_epochs=5, lr_schedule="one_cycle", random_state=0
    ),
}


def with_callbacks(classifier, *callbacks, **options):
    return clone(classifier).set_params(callbacks=list(callbacks), **options)


def assert_same_bits(first, second, X):
    first_state, second_state = (
        {
            **one.module_.state_dict(),
            **{
                (index, name): torch.as_tensor(value)
                for index, moments in one.net_.optimizer_.state_dict()["state"].items()
                for name, value in moments.items()
                if value is not None
            },
        }
        for one in (first, second)
    )
    assert first_state.keys() == second_state.keys()
    for name, value in first_state.items():
        assert torch.equal(value, second_state[name]), name
    assert first.net_.optimizer_.n_done == second.net_.optimizer_.n_done
    assert first.n_iter_ == second.n_iter_
    assert first.loss_curve_ == second.loss_curve_
    assert first.validation_scores_ == second.validation_scores_
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))


class TestGoesOn:
    @pytest.mark.parametrize("name", CLASSIFIERS)
    def test_to_the_same_bits_from_the_last_whole_epoch(self, name, digits, tmp_path):
        X, y = digits
        never_stopped = with_callbacks(CLASSIFIERS[name], Watch()).fit(X, y)
        options = {"checkpoint": tmp_path / "fit"}
        for epoch in (1, 3):
            watch = Watch(epoch, kill)
            with pytest.raises(KilledError):
                with_callbacks(CLASSIFIERS[name], watch, **options).fit(X, y)
        assert watch.n_epochs == 3
        watch = Watch()
        resumed = with_callbacks(CLASSIFIERS[name], watch, **options).fit(X, y)
        assert watch.n_epochs == resumed.n_iter_ - 2
        assert_same_bits(resumed, never_stopped, X)
        # What is trained further has the same moments and generators, too.
        for one in (resumed, never_stopped):
            one.set_params(early_stopping=False, class_weight=None).partial_fit(X, y)
        assert_same_bits(resumed, never_stopped, X)

    def test_with_weights_and_validation_rows(self, digits, tmp_path):
        X, y = digits
        rows = {
            "sample_weight": np.arange(200) % 3,
            "X_val": X[200:],
            "y_val": y[200:],
            "sample_weight_val": np.ones(100),
        }
        never_stopped = mlp(callbacks=[Watch()]).fit(X[:200], y[:200], **rows)
        path = tmp_path / "fit"
        with pytest.raises(KilledError):
            mlp(callbacks=[Watch(2, kill)], checkpoint=path).fit(
                X[:200], y[:200], **rows
            )
        resumed = mlp(callbacks=[Watch()], checkpoint=path)
        assert_same_bits(resumed.fit(X[:200], y[:200], **rows), never_stopped, X)

    def test_with_a_table_as_it_comes(self, tmp_path):
        table = pd.DataFrame(
            {
                "colour": ["red", "blue", None] * 30,
                "town": [f"town {number}" for number in range(30)] * 3,
                "size": [1.0, None] * 45,
            }
        )
        is_red = table["colour"] == "red"
        options = {"checkpoint": tmp_path / "fit"}
        never_stopped = mlp(callbacks=[Watch()]).fit(table, is_red)
        with pytest.raises(KilledError):
            mlp(callbacks=[Watch(3, kill)], **options).fit(table, is_red)
        resumed = mlp(callbacks=[Watch()], **options).fit(table, is_red)
        assert_same_bits(resumed, never_stopped, table)

    def test_with_what_a_callback_of_skorch_remembers(self, digits, tmp_path):
        def stopping():
            return EarlyStopping(
                "train_loss", patience=2, threshold=0.4, load_best=True, sink=str
            )

        options = {"max_epochs": 50, "n_estimators": 2, "checkpoint": tmp_path / "fit"}
        never_stopped = mlp(**options | {"checkpoint": None})
        never_stopped.set_params(callbacks=[stopping(), Watch()]).fit(*digits)
        n_iter = never_stopped.n_iter_
        assert n_iter < 50
        with pytest.raises(KilledError):
            # Amid the patience.
            mlp(**options, callbacks=[stopping(), Watch(n_iter, kill)]).fit(*digits)
        watch = Watch()
        resumed = mlp(**options, callbacks=[stopping(), watch]).fit(*digits)
        assert watch.n_epochs == 1
        assert_same_bits(resumed, never_stopped, digits[0])

    def test_at_the_rate_that_a_callback_has_set(self, digits, tmp_path):
        class Halving(Callback):
            def on_epoch_end(self, net, **kwargs):
                for group in net.optimizer_.param_groups:
                    group["lr"] /= 2

        options = {"lr_schedule": "constant", "checkpoint": tmp_path / "fit"}
        never_stopped = mlp(**options | {"checkpoint": None})
        never_stopped.set_params(callbacks=[Halving(), Watch()]).fit(*digits)
        with pytest.raises(KilledError):
            mlp(**options, callbacks=[Halving(), Watch(4, kill)]).fit(*digits)
        resumed = mlp(**options, callbacks=[Halving(), Watch()]).fit(*digits)
        assert_same_bits(resumed, never_stopped, digits[0])

    def test_with_a_callback_that_holds_code(self, digits, tmp_path):
        def loss(net, X, y):
            return 1.0

        scoring = EpochScoring(loss, name="mine", use_caching=False)
        model = mlp(callbacks=[scoring], checkpoint=tmp_path / "fit").fit(*digits)
        again = mlp(callbacks=[clone(scoring)], checkpoint=tmp_path / "fit")
        assert again.fit(*digits).net_.history == model.net_.history

    def test_from_the_weights_of_a_warm_start(self, digits, tmp_path):
        X, y = digits
        warm = mlp(warm_start=True).fit(X, y)
        never_stopped = with_callbacks(warm, Watch())
        parameters = warm.get_params()
        never_stopped.__dict__.update(
            {k: v for k, v in vars(warm).items() if k not in parameters}
        )
        never_stopped.fit(X, y)
        warm.set_params(checkpoint=tmp_path / "fit", callbacks=[Watch(3, kill)])
        with pytest.raises(KilledError):
            warm.fit(X, y)
        warm.set_params(callbacks=[Watch()]).fit(X, y)
        assert_same_bits(warm, never_stopped, X)

    def test_from_a_finished_fit_at_once(self, digits, tmp_path):
        X, y = digits
        model = CLASSIFIERS["early stopping, SGD"]
        path = tmp_path / "fit"
        finished = with_callbacks(model, Watch(), checkpoint=path).fit(X, y)
        assert finished.n_iter_ < 30
        contents = path.read_bytes()
        watch = Watch()
        again = with_callbacks(model, watch, checkpoint=str(path)).fit(X, y)
        assert watch.n_epochs == 0
        assert_same_bits(again, finished, X)
        assert path.read_bytes() == contents

    def test_with_a_bar_that_is_told_of_what_is_left(self, digits, tmp_path, capsys):
        options = {"checkpoint": tmp_path / "fit", "verbose": 1}
        with pytest.raises(KilledError):
            mlp(callbacks=[Watch(4, kill)], **options).fit(*digits)
        mlp(callbacks=[Watch()], **options).fit(*digits)
        assert "2 epochs" in capsys.readouterr().out

    def test_in_a_search_with_a_file_for_every_fit(self, digits, tmp_path):
        grid = {"learning_rate": [0.01, 0.02]}
        model = mlp(max_epochs=2, checkpoint=tmp_path)
        first = GridSearchCV(model, grid, cv=2).fit(*digits)
        # Two folds of two candidates, and the best one on all rows.
        assert len(list(tmp_path.iterdir())) == 5
        written = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
        again = GridSearchCV(model, grid, cv=2).fit(*digits)
        assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == written
        for name in ("mean_test_score", "std_test_score"):
            np.testing.assert_array_equal(
                again.cv_results_[name], first.cv_results_[name]
            )

    def test_when_it_is_really_killed(self):
        # By the script whose default is fifty fits.
        completed = subprocess.run(
            [sys.executable, "-W", "error", "examples/benchmarks/kill.py", "--fits=2"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert completed.returncode == 0, completed.stderr
        counts = [line.split()[-5:] for line in completed.stdout.splitlines()[1:]]
        fits, kills, _, _, same = np.array(counts, dtype=int).sum(0)
        assert same == fits == 2
        assert kills >= 2


def other_parameters(X, y, path):
    return mlp(learning_rate=0.02, checkpoint=path).fit(X, y)


def other_seed(X, y, path):
    return mlp(random_state=1, checkpoint=path).fit(X, y)


def other_features(X, y, path):
    return mlp(checkpoint=path).fit(np.where(np.arange(64) == 20, X + 1, X), y)


def other_labels(X, y, path):
    return mlp(checkpoint=path).fit(X, np.roll(y, 1))


def other_weights(X, y, path):
    weight = np.where(np.arange(len(y)) == 5, 2.0, 1.0)
    return mlp(checkpoint=path).fit(X, y, sample_weight=weight)


def other_validation_rows(X, y, path):
    return mlp(checkpoint=path).fit(X, y, X_val=X[:50], y_val=y[:50])


def other_callbacks(X, y, path):
    return mlp(checkpoint=path, callbacks=[Watch()]).fit(X, y)


def other_estimator(X, y, path):
    return cnn(checkpoint=path).fit(X, y)


@pytest.fixture(scope="module")
def written(digits, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "fit"
    mlp(checkpoint=path).fit(*digits)
    return path.read_bytes()


class TestRefuses:
    @pytest.mark.parametrize(
        ("fit_other", "named"),
        [
            (other_parameters, r"learning_rate: 'auto' then, 0\.02 now"),
            (other_seed, "random_state: 0 then, 1 now"),
            (other_features, "training data"),
            (other_labels, "training data"),
            (other_weights, "training data"),
            (other_validation_rows, "validation data: None then"),
            (other_callbacks, "callbacks: best_epoch then, best_epoch, Watch now"),
            (other_estimator, "estimator: SoftmaxMLPClassifier then"),
        ],
    )
    def test_another_fit(self, fit_other, named, written, digits, tmp_path):
        path = tmp_path / "fit"
        path.write_bytes(written)
        with pytest.raises(
            ValueError, match=rf"another fit: .*{named}.*Delete the file"
        ):
            fit_other(*digits, path)
        assert path.read_bytes() == written

    def test_another_version(self, digits, written, tmp_path, monkeypatch):
        path = tmp_path / "fit"
        path.write_bytes(written)
        monkeypatch.setattr("sksoftmax._classifier.state.__version__", "99")
        with pytest.raises(ValueError, match=r"sksoftmax: .* then, 99 now"):
            mlp(checkpoint=path).fit(*digits)

    def test_what_is_damaged(self, digits, written, tmp_path):
        path = tmp_path / "fit"
        middle = len(written) // 2
        flipped = bytes([written[middle] ^ 1])
        for contents in (
            b"",
            written[:7],
            written[:middle],
            written[:-1],
            written + b"\0",
            written[:middle] + flipped + written[middle + 1 :],
            written[:100] + b"\xff" + written[101:],
            b"weights, some day",
        ):
            path.write_bytes(contents)
            with pytest.raises(InvalidFileError, match=r"Got checkpoint=.*Delete it"):
                mlp(checkpoint=path).fit(*digits)
            assert path.read_bytes() == contents

    def test_what_is_no_checkpoint(self, digits, written, tmp_path):
        save(mlp().fit(*digits), tmp_path / "classifier")
        save_file({"weight": torch.zeros(3)}, tmp_path / "tensors")
        for name in ("classifier", "tensors"):
            contents = (tmp_path / name).read_bytes()
            with pytest.raises(InvalidFileError, match=r"Got checkpoint=.*Delete it"):
                mlp(checkpoint=tmp_path / name).fit(*digits)
            assert (tmp_path / name).read_bytes() == contents
        # From which reading would never return.
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(InvalidFileError, match=r"Got checkpoint=.*Delete it"):
            mlp(checkpoint=tmp_path / "pipe").fit(*digits)
        (tmp_path / "fit").write_bytes(written)
        with pytest.raises(InvalidFileError, match="no file that save wrote"):
            load(tmp_path / "fit")

    def test_where_nothing_can_be_written(self, digits, tmp_path):
        (tmp_path / "file").write_text("")
        for path, error in (
            (tmp_path / "missing" / "fit", FileNotFoundError),
            (tmp_path / "file" / "fit", NotADirectoryError),
        ):
            watch = Watch()
            with pytest.raises(error, match=r"could not be written.*another path"):
                mlp(checkpoint=path, callbacks=[watch]).fit(*digits)
            # Before anything was trained.
            assert watch.n_epochs == 0

    def test_a_full_disk_and_keeps_what_is_there(self, digits, tmp_path):
        path, limits = tmp_path / "fit", resource.getrlimit(resource.RLIMIT_FSIZE)
        never_stopped = mlp(callbacks=[Watch()]).fit(*digits)
        model = mlp(checkpoint=path)

        def fill_up():
            contents.append(path.read_bytes())
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))

        contents = []
        model.set_params(callbacks=[Watch(3, fill_up)])
        try:
            with pytest.raises(OSError, match=r"could not be written.*earlier.*room"):
                model.fit(*digits)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert path.read_bytes() == contents[-1]
        assert os.listdir(tmp_path) == ["fit"]
        assert not hasattr(model, "module_")
        watch = Watch()
        model.set_params(callbacks=[watch]).fit(*digits)
        assert watch.n_epochs == 3
        assert_same_bits(model, never_stopped, digits[0])

    @pytest.mark.parametrize("random_state", [None, np.random.RandomState(0)])
    def test_a_random_state_that_is_another_each_time(
        self, random_state, digits, tmp_path
    ):
        model = mlp(random_state=random_state, checkpoint=tmp_path / "fit")
        with pytest.raises(ValueError, match=r"random_state=.*Expected an integer"):
            model.fit(*digits)

    def test_a_callback_that_remembers_more_than_data(self, digits, tmp_path):
        model = mlp(
            callbacks=[LRScheduler("StepLR", step_size=1)],
            lr_schedule="constant",
            checkpoint=tmp_path / "fit",
        )
        with pytest.raises(ValueError, match=r"StepLR.*data only.*checkpoint=None"):
            model.fit(*digits)

    def test_several_processes(self, digits, tmp_path):
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        try:
            with pytest.raises(ValueError, match=r"checkpoint='x'.*expected None"):
                fit_distributed(mlp(checkpoint="x"), *digits)
        finally:
            dist.destroy_process_group()


class TestFile:
    def test_what_a_killed_process_left_half_written_is_removed(self, digits, tmp_path):
        abandoned, fresh, other = (
            tmp_path / name for name in (".fit.0123abcd", ".fit.4567cdef", ".fit.mine")
        )
        for path in (abandoned, fresh, other):
            path.write_bytes(b"half")
        for path in (abandoned, other):
            os.utime(path, (time.time() - 100,) * 2)
        mlp(checkpoint=tmp_path / "fit").fit(*digits)
        assert {path.name for path in tmp_path.iterdir()} == {
            "fit",
            fresh.name,
            other.name,
        }

    def test_partial_fit_writes_none(self, digits, tmp_path):
        X, y = digits
        mlp(checkpoint=tmp_path / "fit").partial_fit(X, y, classes=np.unique(y))
        assert not list(tmp_path.iterdir())

    def test_is_no_part_of_a_saved_classifier(self, digits, tmp_path):
        model = mlp(checkpoint=tmp_path / "fit").fit(*digits)
        save(model, tmp_path / "classifier")
        assert load(tmp_path / "classifier").checkpoint is None

    def test_is_written_by_no_other_parameter(self, digits, tmp_path):
        # Neither printing nor the kind of integer makes it another fit.
        path = tmp_path / "fit"
        mlp(checkpoint=path).fit(*digits)
        mlp(checkpoint=path, verbose=1, random_state=np.int64(0)).fit(*digits)


class Pressing(Callback):
    r"""Has somebody press Ctrl-C at the end of an epoch."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 3:
            signal.raise_signal(signal.SIGINT)


class TestControlC:
    @pytest.fixture(autouse=True)
    def _pythons_own_handler(self):
        # pytest's workers ignore the signal.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, before)

    def test_while_an_epoch_ends_is_not_taken_for_early_stopping(
        self, digits, tmp_path
    ):
        X, y = digits
        never_stopped = mlp(callbacks=[Watch()]).fit(X, y)
        model = mlp(callbacks=[Pressing()], checkpoint=tmp_path / "fit")
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, y)
        assert vars(model).keys() == vars(clone(model)).keys()
        # In the place of the one that pressed it.
        watch = Watch()
        watch.__class__ = type("Pressing", (Watch,), {})
        model.set_params(callbacks=[watch]).fit(X, y)
        assert watch.n_epochs == 3
        assert_same_bits(model, never_stopped, X)

    def test_keeps_the_earlier_fit(self, digits):
        X, y = digits
        model = mlp(max_epochs=2).fit(X, y)
        before = model.predict_proba(X)
        with pytest.raises(KeyboardInterrupt):
            model.set_params(max_epochs=9, callbacks=[Pressing()]).fit(X, y)
        np.testing.assert_array_equal(model.predict_proba(X), before)
        assert model.n_iter_ == 2

    def test_of_a_handler_that_only_takes_note(self, digits):
        noted = []
        signal.signal(signal.SIGINT, lambda *_: noted.append(True))
        try:
            stopping = EarlyStopping("train_loss", patience=1, threshold=1e6, sink=str)
            model = mlp(callbacks=[Pressing(), stopping], max_epochs=9).fit(*digits)
            assert model.n_iter_ == 2
            assert mlp(callbacks=[Pressing()]).fit(*digits).n_iter_ == 5
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        assert noted == [True]

    def test_early_stopping_ends_a_fit_in_another_thread(self, digits):
        stopping = EarlyStopping("train_loss", patience=1, threshold=1e6, sink=str)
        model = mlp(callbacks=[stopping])
        thread = threading.Thread(target=model.fit, args=digits)
        thread.start()
        thread.join()
        assert model.n_iter_ == 2
