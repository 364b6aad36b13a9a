r"""The lines and the progress bar that `verbose` prints."""

import os
import pty
import re
import sys
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from joblib import Parallel, delayed
from sklearn.base import clone

from sksoftmax import (
    SoftmaxRegression,
)
from sksoftmax._utils import progressbar
from sksoftmax._utils.progressbar import print_plainly

from .watched import ALL, MLP, N_EPOCHS, TRAINED_BY_EPOCHS, Recorder, for_each

pytest.importorskip("sklearn.callback", reason="scikit-learn before 1.9")


class TestVerbose:
    def test_nothing_is_printed_without(self, iris, capsys):
        MLP().fit(*iris)
        SoftmaxRegression().fit(*iris)
        assert capsys.readouterr().out == ""

    @for_each(ALL)
    def test_one_line_in_a_log(self, make, iris, capsys):
        model = make(verbose=1)
        if make in [param.values[0] for param in TRAINED_BY_EPOCHS]:
            model.fit(*iris, X_val=iris[0], y_val=iris[1])
            numbers = [
                f"loss {model.loss_curve_[-1]:.4f}",
                f"validation loss {-model.validation_scores_[-1]:.4f}",
                r"validation accuracy \d\.\d{4}",
            ]
            counted = f"{N_EPOCHS} epochs"
        else:
            model.fit(*iris)
            numbers = [f"objective {model.loss_curve_[-1]:.4f}"]
            counted = f"{len(model.loss_curve_) - 1} steps"
        name = type(model).__name__
        line = ", ".join([rf"{name}: {counted} in \d+\.\d s", *numbers])
        assert re.fullmatch(line + "\n", capsys.readouterr().out)

    def test_two_prints_a_line_per_epoch(self, iris, capsys):
        MLP(verbose=2).fit(*iris)
        printed = capsys.readouterr().out
        assert "train_loss" in printed
        assert len(printed.strip().splitlines()) == 2 + N_EPOCHS

    def test_two_writes_no_colors_into_a_file(self, iris, capsys):
        MLP(verbose=2).fit(*iris)
        assert "\x1b" not in capsys.readouterr().out

    def test_two_says_what_was_restored(self, iris, capsys):
        model = MLP(verbose=2, max_epochs=9, early_stopping=True, scoring="accuracy")
        model.fit(*iris)
        assert model.best_epoch_ < model.n_iter_
        last = capsys.readouterr().out.strip().splitlines()[-1]
        assert last == f"Restored the parameters of epoch {model.best_epoch_}."

    def test_printing_changes_no_bit(self, iris, capsys):
        proba = [MLP(verbose=v).fit(*iris).predict_proba(iris[0]) for v in (0, 1, 2)]
        np.testing.assert_array_equal(proba[0], proba[1])
        np.testing.assert_array_equal(proba[0], proba[2])

    def test_failed_fit_says_so_only_once(self, iris, capsys):
        with pytest.raises(RuntimeError, match="as asked for"):
            MLP(verbose=1).set_callbacks(Recorder(fail_after=1)).fit(*iris)
        assert capsys.readouterr().out == ""

    @pytest.mark.parametrize("backend", ["loky", "threading"])
    def test_quiet_in_workers(self, backend, iris, capfd):
        model = MLP(verbose=1)
        Parallel(n_jobs=2, backend=backend)(
            delayed(clone(model).fit)(*iris) for _ in range(2)
        )
        assert capfd.readouterr().out == ""


SCRIPT = """
import os
import sys
import warnings
warnings.simplefilter("error")
os.environ |= {{"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}}
{before}
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sksoftmax import SoftmaxMLPClassifier, SoftmaxRegression
warnings.simplefilter("ignore", ConvergenceWarning)
X, y = load_iris(return_X_y=True)
SoftmaxMLPClassifier((8,), n_estimators=1, max_epochs=4, verbose=1).fit(
    X, y, X_val=X, y_val=y
)
SoftmaxRegression(verbose=1).fit(X, y)
"""


def in_terminal(programs, script):
    r"""Return what a script writes to a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    written = b""
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(programs.run, script, terminal=os.ttyname(theirs))
        ended.add_done_callback(lambda _: os.close(theirs))
        try:
            while chunk := os.read(ours, 4096):
                written += chunk
        except OSError:
            # Linux raises an error when the other end is closed.
            pass
    os.close(ours)
    print(written.decode())
    ended.result()
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written.decode())


class TestTerminal:
    def test_bar_with_losses(self, programs):
        lines = (
            in_terminal(programs, SCRIPT.format(before=""))
            .replace("\r", "\n")
            .splitlines()
        )
        bars = [line for line in lines if line.startswith("SoftmaxMLP")]
        assert "0/4 epochs" in bars[0]
        assert "4 epochs" in bars[-1]
        assert "4/4" not in bars[-1]
        losses = r"  loss \d\.\d{4}  validation loss \d\.\d{4}  validation accuracy \S+"
        assert any(re.fullmatch(losses, line.rstrip()) for line in lines)
        assert any("SoftmaxRegression" in line and "8 steps" in line for line in lines)
        assert max(map(len, lines)) <= 80

    def test_without_rich_a_line(self, programs):
        before = "sys.modules['rich'] = None"
        lines = in_terminal(programs, SCRIPT.format(before=before)).split("\r\n")
        assert re.match(r"SoftmaxMLPClassifier: 4 epochs in .* s, loss", lines[0])
        assert re.match(r"SoftmaxRegression: 8 steps in .* s, objective", lines[1])
        assert lines[2:] == [""]


def test_colors_are_for_terminals(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    print_plainly("\x1b[36m0.5\x1b[0m")
    monkeypatch.setenv("NO_COLOR", "1")
    print_plainly("\x1b[36m0.5\x1b[0m")
    assert capsys.readouterr().out == "\x1b[36m0.5\x1b[0m\n0.5\n"


class TestNotebook:
    @pytest.fixture(autouse=True)
    def _without_widgets(self, monkeypatch):
        # As in a kernel of Jupyter, but without the seconds of its start.
        kernel = types.SimpleNamespace(kernel=True)
        shell = types.SimpleNamespace(get_ipython=lambda: kernel)
        monkeypatch.setitem(sys.modules, "IPython", shell)
        monkeypatch.setattr(progressbar, "find_spec", lambda name: None)
        monkeypatch.setattr(progressbar, "_SECONDS_BETWEEN_LINES", 0.0)

    def test_one_line_is_updated(self, iris, capsys):
        MLP(verbose=1).fit(*iris)
        written = capsys.readouterr().out
        assert written[0] == "\r"
        assert written[-1] == "\n"
        lines = written[1:-1].split("\r")
        assert len(lines) == N_EPOCHS + 1
        for number, line in enumerate(lines, start=1):
            counted = f"{min(number, N_EPOCHS)} epoch{'s' * (number > 1)}"
            assert re.match(rf"SoftmaxMLPClassifier: {counted} in .* s, loss", line)
        assert "\x1b" not in written

    def test_the_epoch_that_is_kept_is_in_the_last_line(self, iris, capsys):
        model = MLP(verbose=1, max_epochs=9, early_stopping=True, scoring="accuracy")
        model.fit(*iris)
        last = capsys.readouterr().out.strip().split("\r")[-1]
        assert f"kept epoch {model.best_epoch_}: loss" in last

    def test_an_error_leaves_whole_lines(self, iris, capsys):
        with pytest.raises(RuntimeError, match="as asked for"):
            MLP(verbose=1).set_callbacks(Recorder(fail_after=1)).fit(*iris)
        print("next")
        assert capsys.readouterr().out.endswith("\nnext\n")
