r"""scikit-learn's callbacks: every epoch is reported, and no bit changes."""

import pickle
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Checkpoint, EarlyStopping

from sksoftmax import (
    SoftmaxGridSearchCV,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)

from .watched import ALL, EXACT, MLP, N_EPOCHS, TRAINED_BY_EPOCHS, Recorder, for_each

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn before 1.9")


class Keeper(Recorder):
    r"""Keeps the estimators that could be fitted at the end of each task."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
        self.kept.append((context.task_name, fitted_estimator, X, y, metadata))


class TestTasks:
    @for_each(TRAINED_BY_EPOCHS)
    def test_every_epoch_begins_and_ends_within_the_fit(self, make, iris):
        recorder = Recorder()
        make().set_callbacks(recorder).fit(*iris)
        epochs = [
            (event, "epoch", epoch)
            for epoch in range(N_EPOCHS)
            for event in ("begin", "end")
        ]
        fit = [("begin", "fit", 0), *epochs, ("end", "fit", 0)]
        assert recorder.events == ["setup", *fit, "teardown"]

    @for_each(EXACT)
    def test_every_step_of_an_exact_solver(self, make, iris):
        recorder = Recorder()
        model = make().set_callbacks(recorder).fit(*iris)
        steps = [event for event in recorder.events if "step" in event]
        assert recorder.n_ended == len(model.loss_curve_) - 1 > 2
        assert len(steps) == 2 * recorder.n_ended

    def test_larger_problem_is_solved_by_other_steps(self):
        X, y = load_digits(return_X_y=True)
        recorder = Recorder()
        SoftmaxRegression(C=0.01).set_callbacks(recorder).fit(X, y)
        assert recorder.n_ended > 2

    def test_folds_and_refit_are_stages(self, iris):
        recorder = Recorder()
        SoftmaxRegressionCV(Cs=2, cv=2).set_callbacks(recorder).fit(*iris)
        stages = [
            e for e in recorder.events if e[0] in ("begin", "end") and e[1] != "step"
        ]
        assert stages == [
            ("begin", "fit", 0),
            ("begin", "fit-folds", 0),
            ("end", "fit-folds", 0),
            ("begin", "refit-with-best-penalty", 1),
            ("end", "refit-with-best-penalty", 1),
            ("end", "fit", 0),
        ]

    def test_partial_fit_is_a_fit_of_one_epoch(self, iris):
        recorder = Recorder()
        model = MLP().set_callbacks(recorder)
        model.partial_fit(*iris, classes=np.unique(iris[1])).partial_fit(*iris)
        assert recorder.events.count(("end", "epoch", 0)) == 2
        assert recorder.events.count(("end", "partial-fit", 0)) == 2
        assert recorder.events.count("teardown") == 2

    def test_early_stopping_ends_the_epochs(self, iris):
        recorder = Recorder()
        model = MLP(max_epochs=200, early_stopping=True, n_iter_no_change=2)
        model.set_callbacks(recorder).fit(*iris)
        assert recorder.n_ended == model.n_iter_ < 200

    def test_skorch_callbacks_that_stop_do_not_hide_the_last_epoch(self, iris):
        from skorch.callbacks import EarlyStopping

        stopping = EarlyStopping(
            monitor="train_loss", patience=2, threshold=1e6, threshold_mode="abs"
        )
        recorder = Recorder()
        MLP(callbacks=[stopping]).set_callbacks(recorder).fit(*iris)
        assert recorder.events.count(("end", "epoch", 2)) == 1
        assert recorder.n_ended == 3


class TestBits:
    @for_each([*ALL, pytest.param(partial(SoftmaxRegressionCV, Cs=3, cv=2), id="cv")])
    def test_watching_changes_no_bit(self, make, iris):
        quiet = make().fit(*iris)
        monitor = callback.ScoringMonitor(scoring="neg_log_loss")
        watched = make().set_callbacks(monitor, Keeper()).fit(*iris)
        for (name, a), b in zip(
            quiet.module_.state_dict().items(),
            watched.module_.state_dict().values(),
            strict=True,
        ):
            assert torch.equal(a, b), name
        assert quiet.loss_curve_ == watched.loss_curve_
        np.testing.assert_array_equal(quiet.n_iter_, watched.n_iter_)

    def test_no_reports_without_callbacks(self, iris, monkeypatch):
        from sksoftmax._classifier import training

        def fail(*args):
            raise AssertionError("an epoch was reported")

        monkeypatch.setattr(training, "EpochReport", fail)
        MLP().fit(*iris)
        with pytest.raises(AssertionError, match="an epoch was reported"):
            MLP().set_callbacks(Recorder()).fit(*iris)


class TestFittedEstimator:
    @for_each(ALL)
    def test_predicts_as_after_its_epoch(self, make, iris):
        X, y = iris
        keeper = Keeper()
        model = make().set_callbacks(keeper).fit(X, y, np.full(len(y), 2.0))
        losses = []
        for name, fitted, X_given, y_given, metadata in keeper.kept:
            assert X_given is X
            assert y_given is y
            np.testing.assert_array_equal(metadata["sample_weight"], 2.0)
            losses.append(log_loss(y, fitted.predict_proba(X)))
            if name != "fit":
                assert fitted.module_ is not model.module_
                assert fitted.loss_curve_[-1] in model.loss_curve_
        # The last epoch's is the model itself, the first one's is worse.
        assert losses[-2] == pytest.approx(losses[-1], rel=1e-6)
        assert losses[0] > losses[-1] + 1e-3
        assert losses[-1] == pytest.approx(log_loss(y, model.predict_proba(X)))

    def test_has_the_validation_scores_so_far(self, iris):
        X, y = iris
        keeper = Keeper()
        model = MLP().set_callbacks(keeper).fit(X, y, X_val=X[::3], y_val=y[::3])
        for n_done, (_, fitted, *_) in enumerate(keeper.kept[:-1], start=1):
            assert fitted.validation_scores_ == model.validation_scores_[:n_done]
            assert fitted.n_iter_ == n_done

    @for_each(ALL)
    def test_is_an_estimator_like_any_other(self, make, iris):
        X, y = iris
        keeper = Keeper()
        make().set_callbacks(keeper).fit(X, y)
        fitted = keeper.kept[0][1].set_callbacks()
        proba = fitted.predict_proba(X)
        again = pickle.loads(pickle.dumps(fitted))
        np.testing.assert_array_equal(again.predict_proba(X), proba)
        again.partial_fit(X, y)
        np.testing.assert_array_equal(fitted.predict_proba(X), proba)


class TestStopping:
    @for_each(TRAINED_BY_EPOCHS)
    def test_callback_ends_training(self, make, iris):
        model = make().set_callbacks(Recorder(stop_after=2)).fit(*iris)
        assert np.ravel(model.n_iter_).tolist() == [2]
        assert len(model.loss_curve_) == 2
        assert model.predict(iris[0]).shape == (150,)

    @for_each(EXACT)
    def test_callback_ends_an_exact_solver_without_a_warning(self, make, iris):
        model = make().set_callbacks(Recorder(stop_after=2)).fit(*iris)
        assert model.n_iter_.tolist() == [2]
        assert model.score(*iris) > 0.6

    def test_best_epoch_is_restored(self, iris):
        X, y = iris
        model = MLP(early_stopping=True, learning_rate=0.5, max_epochs=30)
        model.set_callbacks(Recorder(stop_after=8)).fit(X, y, X_val=X, y_val=y)
        best = -max(model.validation_scores_)
        assert model.n_iter_ == 8
        assert log_loss(y, model.predict_proba(X)) <= best + 1e-4

    @for_each(ALL)
    def test_failing_callback_leaves_what_was_fitted(self, make, iris):
        X, y = iris
        model = make().fit(X, y)
        before = model.predict_proba(X)
        recorder = Recorder(fail_after=2)
        with pytest.raises(RuntimeError, match="as asked for"):
            model.set_callbacks(recorder).fit(X[:100], y[:100])
        assert recorder.events[-1] == "teardown"
        np.testing.assert_array_equal(model.predict_proba(X), before)
        model.set_callbacks(Recorder()).fit(X, y)
        np.testing.assert_array_equal(model.predict_proba(X), before)

    def test_invalid_data_is_torn_down(self, iris):
        recorder = Recorder()
        with pytest.raises(ValueError, match="NaN"):
            SoftmaxRegression().set_callbacks(recorder).fit([[np.nan], [1]], [0, 1])
        assert recorder.events == ["setup", "teardown"]


class Tree(callback.ProgressBar):
    r"""scikit-learn's own progress bar, whose tree of tasks is kept."""

    def teardown(self, estimator, context):
        from sklearn.callback._progressbar import _run_monitors

        monitor = _run_monitors[context.root_uuid]
        super().teardown(estimator, context)
        self.root = monitor.root_rich_task


class TestSearch:
    r"""Two processes, three folds, two candidates, and a fit of the best."""

    grid = {"softmaxmlpclassifier__learning_rate": [0.001, 0.01]}  # noqa: RUF012

    def test_every_epoch_of_every_fold_is_reported(self, iris, capsys):
        monitor = callback.ScoringMonitor(scoring="neg_log_loss")
        pipeline = make_pipeline(StandardScaler(), MLP().set_callbacks(monitor))
        bar = Tree(max_propagation_depth=None)
        search = GridSearchCV(pipeline, self.grid, cv=3, n_jobs=2)
        search.set_callbacks(bar).fit(*iris)

        log = monitor.get_logs().data_as_pandas
        epochs = log[log["task_name"] == "epoch"]
        assert len(epochs) == (2 * 3 + 1) * N_EPOCHS
        by_fit = epochs.groupby("parent_task_id_path")["task_id"].apply(list)
        assert by_fit.tolist() == [list(range(N_EPOCHS))] * 7
        assert np.isfinite(epochs["neg_log_loss"]).all()
        # The fit of the best, whose last epoch is the estimator itself.
        [best] = epochs[epochs["task_id_path"] == (0, 1, 1, N_EPOCHS - 1)].to_dict(
            "records"
        )
        proba = search.predict_proba(iris[0])
        assert best["neg_log_loss"] == pytest.approx(
            -log_loss(iris[1], proba), rel=1e-6
        )

        folds = list(bar.root.children[0].children.values())
        fits = [fold.children[1] for fold in folds] + [bar.root.children[1].children[1]]
        assert [sorted(fit.children) for fit in fits] == [list(range(N_EPOCHS))] * 7
        assert all(fit.progress == 1 for fit in fits)
        assert "SoftmaxMLPClassifier - fit" in capsys.readouterr().out

    def test_stopping_callback_in_the_workers(self, iris):
        model = MLP().set_callbacks(Recorder(stop_after=1))
        search = GridSearchCV(model, {"learning_rate": [0.01]}, cv=2, n_jobs=2)
        assert search.fit(*iris).best_estimator_.n_iter_ == 1

    def test_a_search_that_shares_the_work_reports_steps(self, iris):
        monitor = callback.ScoringMonitor(scoring="accuracy")
        model = SoftmaxRegression().set_callbacks(monitor)
        SoftmaxGridSearchCV(model, {"C": [0.1, 1.0]}, cv=2).fit(*iris)
        log = monitor.get_logs().data_as_pandas
        assert (log["task_name"] == "candidate-split-evaluation").sum() == 0
        assert log["parent_task_id_path"][log["task_name"] == "step"].nunique() == 5

    def test_clones_have_the_callbacks(self):
        recorder = Recorder()
        assert clone(MLP().set_callbacks(recorder))._skl_callbacks == [recorder]


def test_best_epoch_is_that_of_a_callback_of_skorch(iris):
    skorch = EarlyStopping(monitor="valid_acc", lower_is_better=False, load_best=True)
    model = MLP(max_epochs=30, callbacks=[skorch])
    model.fit(*iris, X_val=iris[0], y_val=iris[1])
    restored = dict(model.net_.callbacks_)["EarlyStopping"].best_epoch_
    assert model.best_epoch_ == restored < model.n_iter_


@pytest.mark.parametrize("parameters", [{}, {"f_history": None}])
def test_best_epoch_is_that_of_a_checkpoint_of_skorch(parameters, iris, tmp_path):
    # Its history ends with the epoch that it restores; early stopping may choose a
    # later one, which was an IndexError.
    skorch = Checkpoint(
        "valid_acc_best", dirname=str(tmp_path), load_best=True, **parameters
    )
    model = MLP(max_epochs=9, callbacks=[skorch], random_state=0, early_stopping=True)
    model.fit(*iris)
    accuracies = [epoch["valid_acc"] for epoch in model.net_.history]
    assert model.best_epoch_ == 1 + np.argmax(accuracies)
    assert len(accuracies) == (9 if parameters else model.best_epoch_)


OLD_SCIKIT_LEARN = """
import sys
import warnings
import sklearn.ensemble, sklearn.linear_model, sklearn.model_selection, sklearn.pipeline
sys.modules["sklearn.callback"] = None
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sksoftmax import SoftmaxMLPClassifier, SoftmaxRegression
warnings.simplefilter("error")
warnings.simplefilter("ignore", ConvergenceWarning)
X, y = load_iris(return_X_y=True)
for classifier in (SoftmaxMLPClassifier(max_epochs=1), SoftmaxRegression(verbose=1)):
    classifier.fit(X, y)
    assert not hasattr(classifier, "set_callbacks")
"""


def test_scikit_learn_without_callbacks(programs):
    # The program hides scikit-learn's callbacks after scikit-learn has imported them.
    assert programs.run(OLD_SCIKIT_LEARN).startswith("SoftmaxRegression: 8 steps")
