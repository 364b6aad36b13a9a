r"""Scores of skorch's callbacks and of the net are those of the classifier."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.base import is_classifier
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    get_scorer,
    log_loss,
    make_scorer,
    roc_auc_score,
)
from skorch.callbacks import BatchScoring, Callback, EpochScoring

from sksoftmax import SoftmaxRegression

from .skorch_fits import CLASSIFIERS, fitted, for_each, scaled_iris

PREDICTIONS = ("accuracy", "balanced_accuracy", "f1_macro", "neg_log_loss")


@pytest.fixture(scope="module")
def iris():
    return scaled_iris()


@pytest.fixture(scope="module")
def two_classes(iris):
    X, y = iris
    return X[50:], y[50:]


class TestScores:
    @for_each
    @pytest.mark.parametrize("scoring", [*PREDICTIONS, "roc_auc_ovr"])
    def test_last_epoch_is_scored_as_the_classifier_is(self, name, scoring, iris):
        X, y = iris
        callbacks = [
            ("cached", EpochScoring(scoring, name="cached")),
            ("again", EpochScoring(scoring, name="again", use_caching=False)),
            (
                "train",
                EpochScoring(scoring, name="train", on_train=True, use_caching=False),
            ),
        ]
        model = fitted(name, callbacks, iris)
        last = model.net_.history[-1]
        for step, keys in ((3, ("cached", "again")), (1, ["train"])):
            rows = slice(None, None, step)
            expected = get_scorer(scoring)(model, X[rows], y[rows])
            for key in keys:
                assert last[key] == pytest.approx(expected, rel=1e-4)

    @for_each
    @pytest.mark.parametrize("scoring", ["f1", "precision", "roc_auc", "accuracy"])
    def test_of_two_classes_the_second_is_the_positive(
        self, name, scoring, two_classes
    ):
        X, y = two_classes
        callbacks = [EpochScoring(scoring, name="score", lower_is_better=False)]
        model = fitted(name, callbacks, two_classes)
        encoded = np.searchsorted(model.classes_, y[::3])
        if scoring == "roc_auc":
            expected = roc_auc_score(encoded, model.predict_proba(X[::3])[:, 1])
        else:
            predicted = np.searchsorted(model.classes_, model.predict(X[::3]))
            expected = get_scorer(scoring)._score_func(encoded, predicted)
        assert model.net_.history[-1, "score"] == pytest.approx(expected, rel=1e-5)

    @for_each
    @pytest.mark.parametrize(
        "scoring",
        [
            "accuracy",
            accuracy_score,
            make_scorer(f1_score, average="macro"),
            make_scorer(accuracy_score),
            lambda net, X, y: net.score(X, y),
            None,
        ],
    )
    @pytest.mark.parametrize("kind", [EpochScoring, BatchScoring])
    def test_scorings_of_every_kind(self, name, scoring, kind, iris):
        callbacks = [
            ("valid", kind(scoring, name="valid", lower_is_better=False)),
            ("train", kind(scoring, name="train", on_train=True)),
            ("slow", kind(scoring, name="slow", use_caching=False)),
        ]
        history = fitted(name, callbacks, iris).net_.history
        for key in ("valid", "train", "slow"):
            assert all(0 <= score <= 1 for score in history[:, key])
            assert all(isinstance(best, bool) for best in history[:, f"{key}_best"])
        assert_allclose(history[:, "valid"], history[:, "slow"], rtol=1e-5)

    @for_each
    def test_accuracy_is_that_of_the_net(self, name, iris):
        callbacks = [EpochScoring("accuracy", name="score")]
        history = fitted(name, callbacks, iris).net_.history
        assert_allclose(history[:, "score"], history[:, "valid_acc"], rtol=1e-6)

    def test_function_that_reads_the_dataset(self, iris):
        def accuracy(net, dataset, y=None):
            labels = [label for _, label in dataset]
            return np.mean(net.predict(dataset) == np.array(labels))

        scoring = EpochScoring(accuracy, name="score")
        history = fitted("net", [scoring], iris).net_.history
        assert_allclose(history[:, "score"], history[:, "valid_acc"], rtol=1e-6)

    def test_with_early_stopping(self, iris):
        callbacks = [EpochScoring("f1_macro", lower_is_better=False)]
        model = CLASSIFIERS["net"](early_stopping=True, callbacks=callbacks).fit(*iris)
        assert len(model.net_.history[:, "f1_macro"]) == model.n_iter_

    @pytest.mark.parametrize("listens", ["on_batch_end", "on_batch_begin"])
    def test_prediction_amid_an_epoch_leaves_training_as_it_is(self, listens, iris):
        class Predicting(Callback):
            def predict(self, net, batch=None, **kwargs):
                net.predict(batch[0])

        setattr(Predicting, listens, Predicting.predict)
        quiet = fitted("net", None, iris).predict_proba(iris[0])
        observed = fitted("net", [Predicting()], iris).predict_proba(iris[0])
        np.testing.assert_array_equal(quiet, observed)


class TestNet:
    @for_each
    def test_is_a_classifier(self, name, iris):
        X, y = iris
        model = fitted(name, None, iris)
        for net in (model.net_, pickle.loads(pickle.dumps(model)).net_):
            assert is_classifier(net)
            assert net.classes_.tolist() == [0, 1, 2]
            np.testing.assert_array_equal(
                model.classes_[net.predict(X)], model.predict(X)
            )
            proba = net.predict_proba(X)
            assert_allclose(proba.sum(1), 1, rtol=1e-5)
            assert_allclose(proba, model.predict_proba(X), atol=1e-5)
            encoded = np.searchsorted(model.classes_, y)
            assert net.score(X, encoded) == model.score(X, y)

    def test_of_an_exact_solver_is_a_classifier(self, iris):
        model = SoftmaxRegression().fit(*iris)
        labels = model.classes_[model.net_.predict(iris[0])]
        np.testing.assert_array_equal(labels, model.predict(iris[0]))

    def test_predicts_with_the_temperature(self, iris):
        X, _ = iris
        model = CLASSIFIERS["ensemble"](early_stopping=True, temperature_scaling=True)
        model.fit(*iris)
        assert model.module_.temperature.value.item() != 1
        assert_allclose(model.net_.predict_proba(X), model.predict_proba(X), atol=1e-6)

    def test_knows_classes_that_no_row_has(self, iris):
        model = CLASSIFIERS["net"]()
        model.partial_fit(*iris, classes=[*np.unique(iris[1]), "z"])
        assert model.net_.classes_.tolist() == [0, 1, 2, 3]


def test_loss_of_labels_without_weights(iris):
    # As a net of skorch computes it; the labels were taken for several arguments.
    X, y = iris
    model = fitted("net", None, iris)
    logits = model.net_.forward(X)
    indices = torch.as_tensor(np.searchsorted(model.classes_, y))
    loss = model.net_.get_loss(logits, indices).item()
    assert loss == pytest.approx(model.net_.history[-1, "train_loss"], abs=0.2)
    assert loss == pytest.approx(log_loss(y, model.predict_proba(X)), rel=1e-4)
