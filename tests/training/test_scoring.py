r"""Early stopping by any score of scikit-learn, or by a function of the user."""

import numpy as np
import pytest
from sklearn.datasets import load_digits, make_classification
from sklearn.metrics import brier_score_loss, f1_score, get_scorer

from sksoftmax import SoftmaxMLPClassifier

from ..factories import MLP, Net, for_each_trained_by_epochs, with_epochs


@pytest.fixture(scope="module")
def imbalanced():
    X, y = make_classification(
        900, 8, n_informative=4, weights=[0.85], flip_y=0.1, random_state=0
    )
    labels = np.array(["usual", "rare"])[y]
    return (X[:500], labels[:500]), (X[500:], labels[500:])


@for_each_trained_by_epochs
@pytest.mark.parametrize("scoring", ["balanced_accuracy", "roc_auc"])
def test_the_best_epoch_is_that_of_the_score(make, scoring, imbalanced):
    rows, (X_val, y_val) = imbalanced
    model = with_epochs(make(scoring=scoring, early_stopping=True), 8)
    model.set_params(n_iter_no_change=8)
    model.fit(*rows, X_val=X_val, y_val=y_val)
    scores = model.validation_scores_
    assert len(scores) == 8
    assert model.best_epoch_ == 1 + np.argmax(scores)
    # The same score as by scikit-learn, of the fitted classifier.
    assert get_scorer(scoring)(model, X_val, y_val) == pytest.approx(max(scores))
    assert model.net_.history[-1, "valid_score"] == scores[-1]


def test_a_function_of_the_user_gets_a_classifier_rows_and_labels(imbalanced):
    rows, (X_val, y_val) = imbalanced
    seen = []

    def rare_f1(estimator, X, y):
        seen.append(X.shape)
        return f1_score(y, estimator.predict(X), pos_label="rare")

    model = MLP(scoring=rare_f1, early_stopping=True).fit(
        *rows, X_val=X_val, y_val=y_val
    )
    assert set(seen) == {X_val.shape}
    assert rare_f1(model, X_val, y_val) == pytest.approx(max(model.validation_scores_))


def test_sample_weights_count_in_the_score(imbalanced):
    rows, (X_val, y_val) = imbalanced
    weight = np.where(y_val == "rare", 5.0, 0.5)
    model = MLP(scoring="neg_brier_score").fit(
        *rows, X_val=X_val, y_val=y_val, sample_weight_val=weight
    )
    loss = brier_score_loss(
        y_val, model.predict_proba(X_val), sample_weight=weight, labels=model.classes_
    )
    assert model.validation_scores_[-1] == pytest.approx(-loss)


def test_members_are_scored_on_the_rows_that_they_left_out():
    X, y = load_digits(return_X_y=True)
    model = SoftmaxMLPClassifier(
        "32", n_estimators=4, scoring="f1_macro", max_epochs=6, random_state=0
    ).fit(X[:800], y[:800])
    best = max(model.validation_scores_)
    held_out = f1_score(y[800:], model.predict(X[800:]), average="macro")
    # Rows that were learned would score 1.
    assert best < 0.99
    assert best == pytest.approx(held_out, abs=0.04)


def test_score_is_that_at_the_temperature_that_will_be_learned(imbalanced):
    rows, (X_val, y_val) = imbalanced
    model = MLP(
        scoring="neg_log_loss", early_stopping=True, temperature_scaling=True
    ).fit(*rows, X_val=X_val, y_val=y_val)
    assert model.temperature_ != 1.0
    losses = model.net_.history[:, "valid_loss"]
    np.testing.assert_allclose(model.validation_scores_, -np.array(losses), rtol=1e-6)


def test_wrong_scores_are_errors(imbalanced):
    rows, (X_val, y_val) = imbalanced
    with pytest.raises(ValueError, match="'scoring' parameter"):
        MLP(scoring="f2").fit(*rows)
    with pytest.raises(ValueError, match=r"Got the score nan .* rows of every class"):
        MLP(scoring=lambda *_: np.nan).fit(*rows, X_val=X_val, y_val=y_val)
    half = lambda estimator, X, y: estimator.predict(X[::2]).mean()  # noqa: E731
    with pytest.raises(ValueError, match="expected all 400 validation rows"):
        Net(scoring=half).fit(*rows, X_val=X_val, y_val=y_val)
