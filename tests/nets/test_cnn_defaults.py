r"""Every "auto" of the convolutional net, by number and size of the images."""

import pytest

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
