r"""Temperature scaling: against a search by hand, and what it does to probabilities."""

import math
import pickle
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import log_softmax, softmax
from sklearn.datasets import load_digits, make_classification
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from sksoftmax import SoftmaxCNNClassifier, SoftmaxMLPClassifier
from sksoftmax._training.temperature import (
    best_temperature,
    refined_loss,
    temperature_of_average,
)
from sksoftmax.modules._ensemble import average_members


@cache
def overfitted(temperature_scaling):
    r"""Return a net that is too sure of itself, and rows that it has not seen."""
    X, y = make_classification(
        1500, 20, n_informative=5, n_classes=3, flip_y=0.3, random_state=0
    )
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=500, random_state=0
    )
    classifier = SoftmaxMLPClassifier(
        (256, 256),
        n_estimators=1,
        dropout=0.0,
        max_epochs=60,
        temperature_scaling=temperature_scaling,
        random_state=0,
    ).fit(X_train, y_train)
    return classifier, X_test, y_test


@pytest.mark.parametrize("weighted", [False, True])
def test_temperature_is_the_best_of_a_fine_grid(weighted):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 300)
    logits = 5 * rng.normal(size=(300, 4)) + 4 * np.eye(4)[y]
    weight = rng.uniform(size=300) if weighted else None
    grid = np.linspace(0.5, 10, 4000)
    # A prior worth five rows keeps few rows from asking for certainty.
    losses = [
        -np.average(log_softmax(logits / t, axis=1)[range(300), y], weights=weight)
        + 5 / 300 * np.log(t) ** 2
        for t in grid
    ]
    found = best_temperature(
        torch.tensor(logits)[None],
        torch.tensor(y),
        None if weight is None else torch.tensor(weight),
    )
    assert_allclose(found, grid[np.argmin(losses)], rtol=1e-3)


@pytest.mark.parametrize("weighted", [False, True])
def test_refined_loss_is_the_loss_at_the_best_temperature(weighted):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 20_000)
    logits = 5 * rng.normal(size=(len(y), 4)) + 4 * np.eye(4)[y]
    weight = rng.uniform(size=len(y)) if weighted else None
    least = min(
        np.average(-log_softmax(logits / t, axis=1)[range(len(y)), y], weights=weight)
        for t in np.linspace(4, 9, 200)
    )
    weights = None if weight is None else torch.tensor(weight)
    found = refined_loss(torch.tensor(logits), torch.tensor(y), weights)
    assert_allclose(found, least, rtol=1e-4)
    # Whoever is a tenth as sure is no better and no worse.
    cautious = refined_loss(torch.tensor(logits / 10), torch.tensor(y), weights)
    assert_allclose(cautious, least, rtol=1e-3)


def test_refined_loss_of_infinite_logits_is_nan():
    logits = torch.tensor([[0.0, math.inf], [0.0, 1.0]])
    assert math.isnan(refined_loss(logits, torch.tensor([0, 1])))


@pytest.mark.parametrize("early_stopping", [True, "auto"])
def test_epoch_is_chosen_at_its_best_temperature(early_stopping):
    X, y = make_classification(
        1500, 20, n_informative=5, n_classes=3, flip_y=0.3, random_state=0
    )
    parts = X[:1000], y[:1000]
    scores = {}
    for is_scaled in (False, True):
        classifier = SoftmaxMLPClassifier(
            (64,),
            n_estimators=2,
            learning_rate=0.006,
            weight_decay=0.01,
            max_epochs=30,
            early_stopping=early_stopping,
            n_iter_no_change=30,
            temperature_scaling=is_scaled,
            random_state=2,
        ).fit(*parts, X_val=X[1000:], y_val=y[1000:])
        scores[is_scaled] = np.array(classifier.validation_scores_)
        loss = log_loss(y[1000:], classifier.predict_proba(X[1000:]))
        assert_allclose(loss, -scores[is_scaled].max(), rtol=1e-5)
    # The net memorizes rows, which makes it overconfident above all.
    assert (scores[True] >= scores[False] - 1e-6).all()
    assert scores[True][-1] > scores[False][-1] + 0.05
    assert scores[True].argmax() > scores[False].argmax()


def test_temperature_is_that_of_the_average_over_views():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 300)
    logits = 5 * rng.normal(size=(3, 300, 4)) + 4 * np.eye(4)[y]
    grid = np.linspace(0.3, 5, 4000)
    losses = [
        -np.log(softmax(logits / t, axis=2).mean(0)[range(300), y]).mean()
        + 5 / 300 * np.log(t) ** 2
        for t in grid
    ]
    found = best_temperature(torch.tensor(logits), torch.tensor(y))
    assert_allclose(found, grid[np.argmin(losses)], rtol=1e-3)
    # One view alone is surer of itself than the average.
    alone = best_temperature(torch.tensor(logits[:1]), torch.tensor(y))
    assert alone > 1.2 * found


def members_of_two_kinds(n_rows=20_000, n_members=12, seed=0):
    r"""Return log probabilities of members that see true logits with noise, and labels.

    Every other member exaggerates, and its noise is larger.
    """
    rng = np.random.default_rng(seed)
    right = 2 * rng.normal(size=(n_rows, 4))
    y = torch.tensor((right + rng.gumbel(size=right.shape)).argmax(1))
    noise = rng.normal(size=(n_members, *right.shape))
    scale = np.resize([2.0, 0.8], n_members)[:, None, None]
    return torch.tensor(scale * (right + noise)).log_softmax(2), y


@pytest.mark.parametrize("n_in_part", [1, 2, 4])
def test_temperature_of_all_members_follows_from_that_of_parts(n_in_part):
    logits, y = members_of_two_kinds()
    parts = torch.stack([average_members(part) for part in logits.split(n_in_part)])
    temperatures = [best_temperature(part[None], y) for part in parts]
    whole = average_members(logits)
    best = best_temperature(whole[None], y)
    # (G, N, C) -> (G * N, C): one temperature for the parts
    of_parts = best_temperature(parts.flatten(0, 1)[None], y.repeat(len(parts)))
    assert min(temperatures) <= of_parts <= max(temperatures)
    weight = torch.ones(parts.shape[:2])
    least = n_in_part / 12 * of_parts
    found = temperature_of_average(parts, whole, weight, of_parts, least)
    assert_allclose(found, best, rtol=0.03)
    assert of_parts > 1.05 * best


@given(
    temperature=st.floats(0.05, 20),
    n_parts=st.integers(1, 6),
    n_classes=st.integers(2, 5),
    spread=st.floats(0, 30),
    seed=st.integers(0, 9),
)
def test_temperature_of_an_average_is_between_its_bounds(
    temperature, n_parts, n_classes, spread, seed
):
    rng = np.random.default_rng(seed)
    logits = torch.tensor(spread * rng.normal(size=(n_parts, 20, n_classes)))
    parts = logits.log_softmax(2)
    whole, weight = average_members(parts), torch.ones(n_parts, 20)
    least = temperature / n_parts
    found = temperature_of_average(parts, whole, weight, temperature, least)
    assert least * (1 - 1e-9) <= found <= temperature * (1 + 1e-9)


def test_a_part_that_is_the_whole_keeps_its_temperature():
    logits, _ = members_of_two_kinds(n_rows=100)
    whole = average_members(logits)
    found = temperature_of_average(whole[None], whole, torch.ones(1, 100), 1.3, 0.1)
    assert_allclose(found, 1.3, rtol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        # By default, every other member is shown bins.
        {},
        {"n_bins": None, "hidden_layer_sizes": 64},
        {"n_estimators": 4, "hidden_layer_sizes": 64},
    ],
    ids=["default", "alike", "four"],
)
def test_temperature_is_that_of_all_members(options):
    X, y = make_classification(
        7000, 20, n_informative=5, n_classes=3, flip_y=0.1, random_state=1
    )
    classifier = SoftmaxMLPClassifier(random_state=0, **options)
    classifier.fit(X[:2000], y[:2000])
    value = classifier.module_.temperature.value
    chosen = value.item()
    value.fill_(1.0)
    logits = torch.tensor(classifier.decision_function(X[2000:]))
    best = best_temperature(logits[None], torch.tensor(y[2000:]))
    assert 0.88 < best / chosen < 1.12


def test_temperature_of_images_is_that_of_averaged_views():
    X, y = load_digits(return_X_y=True)
    X = X.reshape(-1, 8, 8).repeat(2, axis=1).repeat(2, axis=2).reshape(len(X), -1)
    # A fifth of the labels are wrong, and the net memorizes them.
    rng = np.random.default_rng(0)
    y = np.where(rng.random(len(y)) < 0.2, rng.integers(0, 10, len(y)), y)
    classifier = SoftmaxCNNClassifier(
        channels=(8, 16),
        max_epochs=15,
        augmentation="shift",
        temperature_scaling=True,
        random_state=0,
    ).fit(X[600:], y[600:], X_val=X[:600], y_val=y[:600])
    value = classifier.module_.temperature.value
    chosen, losses = value.item(), {}
    for factor in (0.9, 1.0, 1.1):
        value.fill_(chosen * factor)
        losses[factor] = log_loss(y[:600], classifier.predict_proba(X[:600]))
    assert min(losses, key=losses.get) == 1.0


def test_temperature_lowers_the_log_loss_and_changes_no_winner():
    sure, X, y = overfitted(False)
    scaled, _, _ = overfitted(True)
    assert scaled.module_.temperature.value > 1.5
    loss = log_loss(y, scaled.predict_proba(X))
    assert loss < 0.8 * log_loss(y, sure.predict_proba(X))
    before = scaled.decision_function(X) * scaled.module_.temperature.value.item()
    assert log_loss(y, np.exp(log_softmax(before, axis=1))) > loss
    assert_array_equal(scaled.predict(X), scaled.classes_[before.argmax(1)])


def test_temperature_is_learned_from_given_rows():
    X, y = load_digits(return_X_y=True)
    # Labels at random call for probabilities that are all alike.
    noise = np.random.default_rng(0).integers(0, 10, 400)
    classifier = SoftmaxMLPClassifier(
        32, n_estimators=1, max_epochs=5, temperature_scaling=True, random_state=0
    ).fit(X[400:], y[400:], X_val=X[:400], y_val=noise)
    assert classifier.module_.temperature.value > 5
    assert classifier.score(X, y) > 0.8


def test_auto_holds_out_no_rows_of_small_tables():
    X, y = load_digits(return_X_y=True)
    options = {
        "hidden_layer_sizes": 8,
        "n_estimators": 1,
        "max_epochs": 1,
        "random_state": 0,
    }
    auto = SoftmaxMLPClassifier(**options).fit(X, y)
    off = SoftmaxMLPClassifier(temperature_scaling=False, **options).fit(X, y)
    assert auto.module_.temperature.value == 1
    assert_array_equal(auto.predict_proba(X), off.predict_proba(X))


def test_auto_scales_large_tables():
    X, y = make_classification(21_000, 5, flip_y=0.2, random_state=0)
    options = {"hidden_layer_sizes": 8, "max_epochs": 1, "random_state": 0}
    auto = SoftmaxMLPClassifier(**options).fit(X, y)
    assert auto.module_.temperature.value != 1
    # A class with a single row cannot be held out and trained on.
    y[0] = 2
    rare = SoftmaxMLPClassifier(**options).fit(X, y)
    assert rare.module_.temperature.value == 1


def test_temperature_goes_with_pickles_and_starts_anew():
    classifier, X, y = overfitted(True)
    restored = pickle.loads(pickle.dumps(classifier))
    assert_array_equal(restored.predict_proba(X), classifier.predict_proba(X))
    restored.set_params(temperature_scaling=False, warm_start=True, max_epochs=1)
    assert restored.fit(X, y).module_.temperature.value == 1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("n_estimators", [2, 3, 12])
def test_rows_that_no_part_learned_from_leave_the_temperature(n_estimators):
    # All members learn from the only row of a class and from its copies, so that one
    # row is left out by a part, and the other parts have none to compare with.
    X, y = np.array([[0.1, 1.0], [-0.7, 0.0], [0.1, 1.0]]), np.array([0, 1, 1])
    classifier = SoftmaxMLPClassifier(
        (6,), n_estimators=n_estimators, max_epochs=2, random_state=0
    )
    proba = classifier.fit(X, y).predict_proba(X)
    assert np.isfinite(proba).all()
