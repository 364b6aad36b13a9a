r"""A fit that is killed goes on from its checkpoint, and ends with the same bits."""

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback, EarlyStopping, EpochScoring

from sksoftmax.persistence import load, save

from .checkpoints import (
    CLASSIFIERS,
    KilledError,
    Watch,
    assert_same_bits,
    kill,
    mlp,
    with_callbacks,
)

ROOT = Path(__file__).parents[2]


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
        # Further training has the same moments and generators.
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
                "color": ["red", "blue", None] * 30,
                "town": [f"town {number}" for number in range(30)] * 3,
                "size": [1.0, None] * 45,
            }
        )
        is_red = table["color"] == "red"
        options = {"checkpoint": tmp_path / "fit"}
        never_stopped = mlp(callbacks=[Watch()]).fit(table, is_red)
        with pytest.raises(KilledError):
            mlp(callbacks=[Watch(3, kill)], **options).fit(table, is_red)
        resumed = mlp(callbacks=[Watch()], **options).fit(table, is_red)
        assert_same_bits(resumed, never_stopped, table)

    def test_with_the_state_of_a_skorch_callback(self, digits, tmp_path):
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

    def test_with_a_progress_bar_of_the_remaining_epochs(
        self, digits, tmp_path, capsys
    ):
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

    def test_after_a_kill_signal(self, programs):
        # By the script whose default is fifty fits of all digits.
        script = ROOT / "examples" / "benchmarks" / "kill.py"
        code = (
            "import runpy, warnings; warnings.simplefilter('error');"
            f"runpy.run_path({str(script)!r}, run_name='__main__')"
        )
        printed = programs.run(code, "--fits=2", "--rows=300")
        counts = [line.split()[-5:] for line in printed.splitlines()[1:]]
        fits, kills, _, _, same = np.array(counts, dtype=int).sum(0)
        assert same == fits == 2
        assert kills >= 2


class TestFile:
    def test_half_written_files_of_killed_processes_are_removed(self, digits, tmp_path):
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
