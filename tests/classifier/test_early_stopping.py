r"""early_stopping and validation rows: scores, the best epoch, patience."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.metrics import log_loss
from skorch.callbacks import (
    Callback,
)

from ..factories import (
    MLP,
    MinibatchRegression,
    Net,
    for_each_net,
    for_each_trained_by_epochs,
    state,
    with_epochs,
)


def watched(make, noisy, **params):
    r"""Fit a net to noise for 25 epochs, with validation rows."""
    (X, y), (X_val, y_val) = noisy
    model = make(
        # Rates at which each net is best before its last epoch.
        learning_rate=0.1 if hasattr(make(), "image_shape") else 0.05,
        lr_schedule="constant",
        batch_size=32,
        **params,
    )
    return with_epochs(model, 25).fit(X, y, X_val=X_val, y_val=y_val)


@for_each_trained_by_epochs
@pytest.mark.parametrize("scoring", ["loss", "accuracy"])
def test_best_epoch_is_restored(make, scoring, noisy):
    model = watched(
        make, noisy, early_stopping=True, scoring=scoring, n_iter_no_change=25
    )
    X_val, y_val = noisy[1]
    scores = model.validation_scores_
    assert len(scores) == len(model.loss_curve_) == np.ravel(model.n_iter_)[0] == 25
    if scoring == "loss":
        final = -log_loss(y_val, model.predict_proba(X_val))
    else:
        final = model.score(X_val, y_val)
    assert final == pytest.approx(max(scores), abs=1e-5)
    assert model.best_epoch_ == np.argmax(scores) + 1
    # The last epoch is not the best: the parameters were restored.
    assert scores[-1] < max(scores) - 1e-3


@for_each_trained_by_epochs
def test_coefficients_are_those_of_the_best_epoch(make, noisy):
    model = watched(make, noisy, early_stopping=True, n_iter_no_change=25)
    X_val, _ = noisy[1]
    np.testing.assert_allclose(
        model.net_.predict_proba(X_val.astype(np.float32)),
        model.predict_proba(X_val),
        atol=1e-5,
    )
    if make is MinibatchRegression:
        logits = X_val @ model.coef_.T + model.intercept_
        np.testing.assert_allclose(logits, model.decision_function(X_val), atol=1e-4)


@for_each_trained_by_epochs
def test_training_stops_without_improvement(make, noisy):
    model = watched(make, noisy, early_stopping=True, n_iter_no_change=1)
    scores = model.validation_scores_
    n_epochs = np.ravel(model.n_iter_)[0]
    assert len(scores) == len(model.loss_curve_) == n_epochs < 25
    # Training went on while each epoch was better than the last by `tol`.
    assert all(later > earlier + model.tol for earlier, later in pairwise(scores[:-1]))
    assert scores[-1] <= max(scores[:-1]) + model.tol


@for_each_trained_by_epochs
def test_n_iter_no_change_is_the_patience(make, noisy):
    model = watched(make, noisy, early_stopping=True, n_iter_no_change=3, tol=10.0)
    # No epoch can be better than the first by 10: 1 + 3 epochs.
    assert np.ravel(model.n_iter_).tolist() == [4]


@for_each_trained_by_epochs
def test_validation_rows_without_early_stopping_change_nothing(make, noisy):
    model = watched(make, noisy)
    (X, y), (X_val, y_val) = noisy
    assert len(model.validation_scores_) == model.best_epoch_ == 25
    final = -log_loss(y_val, model.predict_proba(X_val))
    assert model.validation_scores_[-1] == pytest.approx(final, abs=1e-5)
    alone = clone(model).fit(X, y)
    assert alone.validation_scores_ is None
    assert state(alone) == state(model)


@for_each_trained_by_epochs
def test_validation_rows_are_stratified(make):
    X, y = make_classification(
        300, 4, n_informative=3, n_redundant=0, weights=[0.9], random_state=0
    )
    table = {}

    class KeepValidation(Callback):
        def on_epoch_begin(self, net, dataset_train, dataset_valid, **kwargs):
            table["train"] = dataset_train.rows
            table["valid"] = dataset_valid.rows

    model = make(
        early_stopping=True,
        validation_fraction=0.2,
        callbacks=[KeepValidation()],
    ).fit(X, y)
    train, valid = table["train"].numpy(), table["valid"].numpy()
    assert sorted([*train, *valid]) == list(range(300))
    assert len(valid) == 60
    assert y[valid].mean() == pytest.approx(y.mean(), abs=1 / 60)
    final = -log_loss(y[valid], model.predict_proba(X[valid]))
    assert max(model.validation_scores_) == pytest.approx(final, abs=1e-5)


@for_each_net
def test_input_scaling_ignores_validation_rows(make, iris):
    if make is Net:
        pytest.skip("features reach the user's module unscaled")
    X, y = iris
    options = {"n_bins": None} if make is MLP else {}
    validated = make(early_stopping=True, **options).fit(X, y).module_.input_scaling
    trained_on_all = make(**options).fit(X, y).module_.input_scaling
    assert (validated.weight_seen == 135).all()
    assert (trained_on_all.weight_seen == 150).all()
    assert not torch.equal(validated.mean, trained_on_all.mean)


@for_each_trained_by_epochs
def test_sample_weights_of_validation_rows(make, noisy):
    (X, y), (X_val, y_val) = noisy
    weight = np.linspace(0, 3, len(y_val))
    for scoring in ("loss", "accuracy"):
        model = make(scoring=scoring).fit(
            X, y, X_val=X_val, y_val=y_val, sample_weight_val=weight
        )
        expected = (
            -log_loss(y_val, model.predict_proba(X_val), sample_weight=weight)
            if scoring == "loss"
            else model.score(X_val, y_val, sample_weight=weight)
        )
        assert model.validation_scores_[-1] == pytest.approx(expected, abs=1e-5)


@for_each_trained_by_epochs
@pytest.mark.parametrize("how", ["held out", "passed"])
def test_class_weight_is_for_training_only(make, how, noisy):
    # The validation score is documented as the plain negative log loss.
    (X, y), (X_val, y_val) = noisy
    table = {}

    class KeepValidation(Callback):
        def on_epoch_begin(self, net, dataset_train, dataset_valid, **kwargs):
            table["valid"] = dataset_valid.rows

    model = make(
        early_stopping=True, class_weight={0: 5.0}, callbacks=[KeepValidation()]
    )
    if how == "passed":
        model.fit(X, y, X_val=X_val, y_val=y_val)
    else:
        model.fit(X, y)
        X_val, y_val = X[table["valid"]], y[table["valid"]]
    final = -log_loss(y_val, model.predict_proba(X_val))
    assert max(model.validation_scores_) == pytest.approx(final, abs=1e-5)


@for_each_net
def test_label_smoothing_is_for_training_only(make, noisy):
    # The validation score is documented as the plain negative log loss.
    model = watched(make, noisy, label_smoothing=0.3)
    X_val, y_val = noisy[1]
    final = -log_loss(y_val, model.predict_proba(X_val))
    assert model.validation_scores_[-1] == pytest.approx(final, abs=1e-5)
