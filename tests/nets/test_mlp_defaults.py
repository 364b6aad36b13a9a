r"""Every "auto" of the perceptron by table size; the docstring has the same numbers."""

import re
from dataclasses import replace

import numpy as np
import pytest

from sksoftmax import SoftmaxMLPClassifier
from sksoftmax._nets import mlp_defaults as defaults

LATEST = defaults.numbers_of("latest")


def recipe(n_rows=5_000, n_features=20, *, is_stream=False, **parameters):
    classifier = SoftmaxMLPClassifier(**parameters)
    return defaults.recipe(classifier, n_rows, n_features, is_stream=is_stream)


@pytest.mark.parametrize(
    ("n_rows", "expected"),
    [
        (10, 0.003),
        (375, 0.003),
        (750, 0.006),
        (1_499, 0.011992),
        (1_500, 0.012),
        (10**6, 0.012),
    ],
)
def test_learning_rate_of_a_small_table_is_in_proportion_to_its_rows(n_rows, expected):
    assert recipe(n_rows).learning_rate == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("n_rows", "n_features", "expected"),
    [
        (1_499, 20, 0.3),
        (1_500, 20, 0.01),
        (1_500, 256, 0.01),
        (1_500, 257, 0.1),
    ],
)
def test_weight_decay_of_small_and_of_wide_tables(n_rows, n_features, expected):
    assert recipe(n_rows, n_features).weight_decay == expected


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_values_for_small_tables_are_for_adamw_alone(optimizer):
    small = recipe(100, optimizer=optimizer)
    assert (small.learning_rate, small.weight_decay) == (0.012, 0.01)


def test_a_stream_may_become_large_whatever_its_first_rows():
    first = recipe(100, is_stream=True)
    assert (first.learning_rate, first.weight_decay) == (0.012, 0.01)


@pytest.mark.parametrize(
    ("n_rows", "expected"), [(1, 32), (512, 32), (1_024, 64), (10**6, 256)]
)
def test_batch_is_about_a_sixteenth_of_the_rows(n_rows, expected):
    assert recipe(n_rows).batch_size == expected


@pytest.mark.parametrize(
    ("n_rows", "n_features", "expected"),
    [
        (32, 20, 100),
        (160, 20, 20),
        (1_200, 20, 8),
        (3_200, 20, 15),
        (19_999, 20, 6),
        (20_000, 256, 9),
        (50_000, 20, 9),
        (19_999, 257, 6),
        (20_000, 257, 32),
        (20_000, 784, 32),
    ],
)
def test_epochs_make_100_or_200_steps_within_limits(n_rows, n_features, expected):
    batch_size = recipe(n_rows, n_features).batch_size
    n_epochs = recipe(n_rows, n_features).max_epochs
    assert n_epochs == expected
    if 6 < n_epochs < 100 and n_rows < 20_000:
        n_steps = max(100, 200 * min(1, n_rows / 1_500))
        assert n_epochs * n_rows / batch_size == pytest.approx(n_steps, rel=0.1)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [({}, 2), ({"max_epochs": 10}, 0), ({"early_stopping": False}, 0)],
)
def test_restarts_need_free_epochs_and_validation_rows(parameters, expected):
    assert recipe(**parameters).n_restarts == expected


@pytest.mark.parametrize("n_features", [256, 257])
def test_a_fit_follows_the_recipe_of_its_table(n_features):
    X = np.random.default_rng(0).normal(size=(300, n_features)).astype(np.float32)
    classifier = SoftmaxMLPClassifier(
        (2,), n_estimators=1, early_stopping=False, random_state=0, device="cpu"
    )
    classifier.fit(X, X[:, 0] > 0)
    expected = recipe(300, n_features, early_stopping=False)
    assert replace(classifier.net_.recipe, dtype=expected.dtype) == replace(
        expected, temperature_scaling=True
    )
    assert classifier.n_iter_ == expected.max_epochs


def test_parameters_that_are_numbers_stay():
    kept = recipe(100, learning_rate=0.5, weight_decay=0.7, batch_size=17, max_epochs=3)
    assert kept.learning_rate == 0.5
    assert kept.weight_decay == 0.7
    assert (kept.batch_size, kept.max_epochs) == (17, 3)
    assert kept.largest_stream_batch is None


@pytest.mark.parametrize(
    ("value", "n_rows", "expected"),
    [
        ("auto", 749, (64, 64)),
        ("auto", 750, (128, 128)),
        ("auto", 19_999, (128, 128)),
        ("auto", 20_000, (256, 256)),
        (7, 10**6, (7,)),
        ([5, 6], 10**6, (5, 6)),
        ((), 10, ()),
    ],
)
def test_hidden_layers(value, n_rows, expected):
    assert defaults.hidden_layer_sizes(value, n_rows, 20, is_stream=False) == expected


def test_hidden_layers_of_a_stream_are_those_of_more_rows():
    assert defaults.hidden_layer_sizes("auto", 1, 20, is_stream=True) == (128, 128)


@pytest.mark.parametrize(
    ("value", "n_layers", "expected"),
    [("auto", 4, None), ("auto", 5, "batch"), (None, 9, None), ("layer", 1, "layer")],
)
def test_normalization(value, n_layers, expected):
    assert defaults.normalization(value, n_layers) == expected


def test_bins_and_dropout_of_the_inputs():
    assert [defaults.n_bins(v, 9, 256) for v in ("auto", None, 5)] == [8, 0, 5]
    assert defaults.n_bins("auto", 20_000, 256) == 16
    assert defaults.n_bins("auto", 20_000, 257) == 0
    for value, n_features, n_rows_is_large, expected in (
        ("auto", 256, False, 0.1),
        ("auto", 256, True, 0.2),
        ("auto", 257, False, 0.2),
        (0.4, 257, True, 0.4),
    ):
        rate = defaults.input_dropout(value, n_features, n_rows_is_large)
        assert rate == expected
    assert [defaults.embedding_size(v) for v in ("auto", None, 7)] == [4, 0, 7]
    assert defaults.half_with_bins(19_999)
    assert not defaults.half_with_bins(20_000)


@pytest.mark.parametrize(
    ("parameter", "numbers"),
    [
        (
            "hidden_layer_sizes",
            {
                LATEST.units_of_very_few_rows,
                LATEST.units,
                LATEST.units_of_many_rows,
                LATEST.very_few_rows,
                LATEST.many_rows,
            },
        ),
        (
            "input_dropout",
            {
                LATEST.input_dropout,
                LATEST.input_dropout_of_many_rows,
                LATEST.many_features,
                LATEST.many_rows,
            },
        ),
        (
            "n_bins",
            {
                LATEST.bins,
                LATEST.bins_of_many_rows,
                LATEST.many_features,
                LATEST.many_rows,
            },
        ),
        ("embedding_size", {LATEST.embedding_size}),
        (
            "learning_rate",
            {
                LATEST.learning_rate,
                LATEST.few_rows,
                LATEST.learning_rate * LATEST.smallest_share,
            },
        ),
        (
            "weight_decay",
            {
                LATEST.weight_decay,
                LATEST.weight_decay_of_many_features,
                LATEST.weight_decay_of_few_rows,
                LATEST.many_features,
                LATEST.few_rows,
            },
        ),
        ("batch_size", {LATEST.length.largest_batch}),
        (
            "max_epochs",
            {
                LATEST.length.n_steps,
                LATEST.length.n_steps * LATEST.smallest_share_of_steps,
                LATEST.fewest_epochs_of_many_rows,
                LATEST.few_rows,
                LATEST.length.fewest_epochs,
                LATEST.length.most_epochs,
                LATEST.fewest_epochs_of_many_pixels,
                LATEST.many_rows,
                LATEST.many_features,
            },
        ),
    ],
)
def test_docstring_names_the_numbers_of_the_defaults(parameter, numbers):
    entry = re.search(
        rf"^    {parameter} : .*\n((?:        .*\n)+)",
        SoftmaxMLPClassifier.__doc__,
        re.MULTILINE,
    )[1]
    written = {float(n.replace(",", "")) for n in re.findall(r"\d[\d,.]*\d|\d", entry)}
    assert {float(number) for number in numbers} <= written
