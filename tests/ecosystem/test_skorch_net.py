r"""net_ is a net of skorch: it predicts, keeps a history, and saves its parameters."""

import numpy as np

from ..factories import (
    Regression,
    for_each_class,
    for_each_trained_by_epochs,
    same_bits,
    short,
)


@for_each_class
def test_net_predicts_as_the_classifier(make, iris):
    X, y = iris
    model = make().fit(X, y)
    proba = model.net_.predict_proba(X)
    np.testing.assert_allclose(proba, model.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(model.classes_[proba.argmax(1)], model.predict(X))


@for_each_trained_by_epochs
def test_history_of_the_net(make, iris):
    history = short(make).fit(*iris).net_.history
    assert history[:, "epoch"] == [1, 2, 3]
    assert all(seconds > 0 for seconds in history[:, "dur"])
    losses = history[:, "train_loss"]
    assert all(loss > 0 for loss in losses)
    assert history[:, "train_loss_best"] == [
        loss < min(losses[:epoch], default=np.inf) for epoch, loss in enumerate(losses)
    ]


@for_each_trained_by_epochs
def test_history_with_validation_rows(make, iris):
    X, y = iris
    model = short(make).fit(X, y, X_val=X[:50], y_val=y[:50])
    valid_loss = model.net_.history[:, "valid_loss"]
    np.testing.assert_allclose(valid_loss, -np.array(model.validation_scores_))


@for_each_class
def test_save_and_load_parameters_of_the_net(make, iris, tmp_path):
    X, y = iris
    model = make().fit(X, y)
    before = model.predict_proba(X)
    paths = {
        "f_params": tmp_path / "params.pt",
        "f_history": tmp_path / "history.json",
    }
    if make is not Regression:  # The exact solver has no optimizer.
        paths["f_optimizer"] = tmp_path / "optimizer.pt"
    model.net_.save_params(**paths)
    n_epochs = len(model.net_.history)
    for _ in range(2):
        model.partial_fit(X, y)
    assert not same_bits(model.predict_proba(X), before)
    model.net_.load_params(**paths)
    assert same_bits(model.predict_proba(X), before)
    assert len(model.net_.history) == n_epochs
