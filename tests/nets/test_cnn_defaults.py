r"""Every "auto" of the convolutional net, by number and size of the images."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone

from sksoftmax import SoftmaxCNNClassifier
from sksoftmax._nets import cnn_defaults as defaults


def recipe(n_rows, **parameters):
    return defaults.recipe(SoftmaxCNNClassifier(**parameters), n_rows)


@pytest.mark.parametrize(("n_rows", "expected"), [(9_999, 0.0), (10_000, 0.5)])
def test_data_pruning_begins_with_many_rows(n_rows, expected):
    assert recipe(n_rows).data_pruning == expected
    assert recipe(n_rows, data_pruning=0.3).data_pruning == 0.3


@pytest.mark.parametrize(
    ("n_rows", "batch_size", "max_epochs"),
    [(100, 32, 60), (2_000, 128, 60), (60_000, 128, 15), (10**6, 128, 12)],
)
def test_batches_and_epochs(n_rows, batch_size, max_epochs):
    resolved = recipe(n_rows)
    assert (resolved.batch_size, resolved.max_epochs) == (batch_size, max_epochs)
    assert resolved.largest_stream_batch == 128
    assert recipe(n_rows, batch_size=7).largest_stream_batch is None


def test_views_are_averaged_if_training_shifted_images():
    assert defaults.averages_views("auto", is_shifted=True)
    assert not defaults.averages_views("auto", is_shifted=False)
    assert defaults.averages_views(True, is_shifted=False)
    assert not defaults.averages_views(False, is_shifted=True)


@pytest.mark.parametrize("n_colors", [1, 2, 3, 4])
def test_images_in_color_get_more_channels_and_dropout(n_colors):
    found = defaults.channels("auto", n_colors), defaults.dropout("auto", n_colors)
    is_colored = n_colors > 2
    assert found == (((24, 48, 128), 0.3) if is_colored else ((16, 32, 96), 0.0))
    assert defaults.channels("auto", n_colors, "0.1") == (16, 32, 96)
    assert defaults.dropout("auto", n_colors, "0.1") == 0.0
    assert defaults.channels("8-16", n_colors) == (8, 16)
    assert defaults.dropout(0.1, n_colors) == 0.1


@pytest.mark.parametrize(("n_colors", "width"), [(1, 96), (3, 128)])
def test_a_fit_has_them(n_colors, width):
    X = np.random.default_rng(0).integers(0, 255, (40, n_colors, 8, 8), dtype=np.uint8)
    classifier = SoftmaxCNNClassifier(max_epochs=1, random_state=0)
    classifier.fit(X, np.arange(40) % 2)
    [matrix] = [p for p in classifier.module_.parameters() if p.ndim == 2]
    assert matrix.shape[1] == width
    settings = classifier.settings_
    assert settings["channels"] == defaults.channels("auto", n_colors)
    assert settings["dropout"] == defaults.dropout("auto", n_colors)
    given = clone(classifier).set_params(
        channels=settings["channels"], dropout=settings["dropout"]
    )
    proba = given.fit(X, np.arange(40) % 2).predict_proba(X)
    assert_array_equal(proba, classifier.predict_proba(X))
