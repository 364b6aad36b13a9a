r"""Bins of numbers: where they lie, what they contribute, what they are good for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import log_loss

from sksoftmax import SoftmaxMLPClassifier
from sksoftmax._nets import mlp_defaults
from sksoftmax.modules import PiecewiseLinear, TableInput
from sksoftmax.modules._piecewise import BinVectors, bin_edges


def edges_of(values, n_bins):
    return bin_edges(torch.as_tensor(values), n_bins).numpy()


def test_edges_are_quantiles_of_all_but_the_most_frequent_value():
    rng = np.random.default_rng(0)
    positive = rng.exponential(size=1000)
    values = np.r_[np.zeros(4000), positive]
    expected = np.r_[0, np.quantile(positive, [0, 1 / 3, 2 / 3, 1])]
    assert_allclose(edges_of(rng.permutation(values), 4), expected, rtol=0.01)


@pytest.mark.parametrize("values", [[], [2.0], [0.0, 1.0, 1.0], [np.nan, np.inf, 3.0]])
def test_no_bins_for_two_distinct_values(values):
    assert len(edges_of(np.array(values), 4)) == 0


def test_few_values_have_few_bins():
    values = np.repeat([1.0, 2.0, 3.0], [100, 200, 400])
    assert_array_equal(edges_of(values, 16), [1, 2, 3])


@given(
    st.lists(
        st.floats(-1e30, 1e30, allow_nan=False).map(np.float32), min_size=3, max_size=50
    ),
    st.integers(2, 8),
)
def test_bins_tile_the_range(values, n_bins):
    values = np.array(values)
    edges = edges_of(values, n_bins)
    if not len(edges):
        assert len(np.unique(values)) <= 2
        return
    assert len(edges) <= n_bins + 1
    assert (np.diff(edges) > 0).all()
    assert edges[0] == values.min()
    assert edges[-1] == values.max()


def test_pieces_add_up_to_the_number():
    edges = torch.tensor([-2.0, -1.0, 0.5, 4.0])
    layer = PiecewiseLinear([3], method=None)
    x = torch.linspace(-5, 6, 45)[:, None]
    layer.learn([edges], x)
    pieces = layer(x)
    assert pieces.min() == 0
    assert pieces.max() == 1
    assert_allclose(edges[0] + pieces @ edges.diff(), x[:, 0].clamp(-2, 4), atol=1e-6)


def test_bins_survive_offsets_that_float32_cannot_hold():
    # At 1e9, float32 knows steps of 64 only.
    X = torch.arange(8, dtype=torch.float64)[:, None] + 1e9
    table = TableInput([None], [False], n_bins=[7], method="standard")
    table.update(X)
    table.learn_bins([bin_edges(X[:, 0], 7)], X)
    pieces = table.pieces._pieces(table.scaling(X))
    assert_allclose(pieces, torch.tril(torch.ones(8, 7), diagonal=-1), atol=1e-5)


def test_a_table_without_bins_has_none_to_learn():
    table = TableInput([None], [False])
    with pytest.raises(ValueError, match=r"made without any\. Expected n_bins"):
        table.learn_bins([torch.tensor([0.0, 1.0])], torch.zeros(2, 1))


def test_missing_values_and_categories_have_no_bins():
    X = torch.tensor([[0.0, 5.0], [1.0, 6.0], [0.0, 8.0], [1.0, torch.nan]])
    table = TableInput([2, None], [False, True], n_bins=[0, 2])
    table.update(X)
    table.learn_bins([torch.empty(0), bin_edges(X[:, 1], 2)], X)
    inputs = table(X)
    # One number, whether it is missing, two categories, two bins.
    assert inputs.shape == (4, 6) == (4, table.n_outputs)
    assert_array_equal(inputs[3], [0, 1, 0, 1, 0, 0])


def steps(n_rows, seed):
    r"""Return a target that goes up and down along one of five features."""
    X = np.random.default_rng(seed).normal(size=(n_rows, 5))
    return X, (np.floor(4 * X[:, 0]) % 2).astype(int)


def test_bins_learn_what_is_not_monotonic():
    X, y = steps(2000, 0)
    X_test, y_test = steps(2000, 1)
    losses = [
        log_loss(
            y_test,
            SoftmaxMLPClassifier(
                (32,),
                n_bins=n_bins,
                n_estimators=1,
                input_dropout=0.0,
                random_state=0,
            )
            .fit(X, y)
            .predict_proba(X_test),
        )
        for n_bins in (None, 32)
    ]
    assert losses[1] < 0.7 * losses[0]


def test_number_of_bins():
    X = np.column_stack([np.arange(60) % k for k in (1, 2, 3, 20)])
    y = np.arange(60) % 2
    options = {"max_epochs": 1, "random_state": 0}
    make = SoftmaxMLPClassifier
    assert_array_equal(make(n_bins=5, **options).fit(X, y).n_bins_, [0, 0, 2, 5])
    assert_array_equal(make(n_bins=None, **options).fit(X, y).n_bins_, 0)
    classifier = make(n_bins=5, categorical_features=[3], **options).fit(X, y)
    assert_array_equal(classifier.n_bins_, [0, 0, 2, 0])


def test_later_parts_keep_the_bins_of_the_first():
    X, y = steps(300, 0)
    classifier = SoftmaxMLPClassifier((8,), n_bins=4, random_state=0)
    classifier.partial_fit(X, y, classes=[0, 1])
    before = classifier.module_.input_scaling.pieces.width.clone()
    classifier.partial_fit(X[:2], y[:2])
    assert_array_equal(classifier.module_.input_scaling.pieces.width, before)


def test_half_of_the_members_has_the_bins():
    X, y = steps(300, 0)
    classifier = SoftmaxMLPClassifier(
        (8,), n_bins=4, n_estimators=3, max_epochs=2, random_state=0
    ).fit(X, y)
    module = classifier.module_.train()
    module.input_dropout.p = 0.0
    with torch.no_grad():
        before = module(torch.from_numpy(X))
        # Changed bins change the logits of the members that have bins.
        module.input_scaling.pieces.left.sub_(0.5)
        changed = (module(torch.from_numpy(X)) != before).any(2).any(0)
    assert changed.tolist() == [True, True, False]


def test_all_members_have_the_bins_of_large_tables(monkeypatch):
    X, y = steps(300, 0)
    for many, n_with_bins in ((300, 3), (301, 2)):
        numbers = replace(mlp_defaults.numbers_of("latest"), many_rows=many)
        monkeypatch.setitem(mlp_defaults.VERSIONS, "0.2", numbers)
        classifier = SoftmaxMLPClassifier(
            (8,), n_bins=4, n_estimators=3, max_epochs=2, early_stopping=False
        ).fit(X, y)
        assert len(classifier.module_.hidden[0].bin_weight) == n_with_bins


def test_bins_of_each_column():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 3)), rng.integers(2, size=200)
    classifier = SoftmaxMLPClassifier((4,), n_bins=[5, 0, 2], max_epochs=1).fit(X, y)
    assert_array_equal(classifier.n_bins_, [5, 0, 2])
    classifier.set_params(n_bins=np.array([0, 0, 0])).fit(X, y)
    assert_array_equal(classifier.n_bins_, 0)
    assert classifier.module_.input_scaling.mean.shape == (3,)


@pytest.mark.parametrize("n_bins", [[5, 5], [5, 1, 5], [5, -1, 5], [5.0, 5.0, 5.0]])
def test_bad_bins_of_each_column(n_bins):
    X, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    message = "expected an integer for each of the 3 features: 2 or more, or 0 for none"
    with pytest.raises(ValueError, match=message):
        SoftmaxMLPClassifier((4,), n_bins=n_bins, max_epochs=1).fit(X, y)


@pytest.mark.parametrize(("n_features", "has_bins"), [(256, True), (257, False)])
def test_auto_has_no_bins_for_many_features(n_features, has_bins):
    X = np.random.default_rng(0).normal(size=(40, n_features))
    classifier = SoftmaxMLPClassifier((4,), n_estimators=2, max_epochs=1).fit(
        X, np.arange(40) % 2
    )
    assert classifier.n_bins_.any() == has_bins
    rate = classifier.module_.input_dropout.p
    assert rate == (0.1 if has_bins else 0.2)


@pytest.mark.parametrize("n_bins", [1, 2, 7, 16])
@pytest.mark.parametrize("draw", ["normal", "poisson", "exponential"])
def test_edges_are_the_most_frequent_value_and_quantiles_of_the_others(draw, n_bins):
    rng = np.random.default_rng(n_bins)
    for size in (3, 10, 100, 333):
        values = getattr(rng, draw)(size=size).astype(np.float32).astype(float)
        distinct, counts = np.unique(values, return_counts=True)
        edges = bin_edges(torch.tensor(values), n_bins).numpy()
        if len(distinct) <= 2:
            assert not len(edges)
            continue
        frequent = distinct[counts.argmax()]
        quantiles = np.quantile(
            values[values != frequent],
            np.linspace(0, 1, n_bins),
            method="inverted_cdf",
        )
        np.testing.assert_array_equal(edges, np.unique([frequent, *quantiles]))


def test_vectors_of_bins_are_those_of_each_feature_and_member():
    layer = BinVectors([3, 0, 2], size=4, n_members=2)
    layer.initialize(torch.Generator().manual_seed(0))
    bins = torch.rand(7, 5, generator=torch.Generator().manual_seed(1))
    vectors = layer(layer.spread(bins))
    assert vectors.shape == (2, 7, layer.n_outputs) == (2, 7, 8)
    # (F, W, K * E): the last of W slots is the bias.
    weight = layer.weight.unflatten(2, (2, 4))
    for member in range(2):
        first = bins[:, :3] @ weight[0, :3, member] + weight[0, 3, member]
        # The slot without a bin is not used.
        second = bins[:, 3:] @ weight[1, :2, member] + weight[1, 3, member]
        expected = torch.nn.functional.silu(torch.cat([first, second], 1))
        torch.testing.assert_close(vectors[member], expected)
    # Half of the members may have no bins: a set of members may have none of them.
    for members in ([1], []):
        numbers = torch.tensor(members, dtype=torch.int64)
        chosen = layer(layer.spread(bins), numbers)
        torch.testing.assert_close(chosen, vectors[numbers])


@pytest.mark.parametrize("n_estimators", [1, 3])
@pytest.mark.parametrize("share_weights", [False, True])
def test_vectors_of_bins_learn_steps(n_estimators, share_weights):
    (X, y), (X_new, y_new) = steps(2_000, 0), steps(2_000, 1)
    guess = log_loss(y_new, np.full((len(y_new), 2), 0.5))
    classifier = SoftmaxMLPClassifier(
        (32,),
        embedding_size=3,
        n_bins=32,
        n_estimators=n_estimators,
        share_weights=share_weights,
        input_dropout=0.0,
        random_state=0,
    ).fit(X, y)
    assert classifier.module_.input_scaling.bin_vectors.size == 3
    assert log_loss(y_new, classifier.predict_proba(X_new)) < 0.7 * guess


def test_no_vectors_leave_the_bins_as_they_are():
    X, y = steps(200, 0)
    classifier = SoftmaxMLPClassifier((4,), embedding_size=None, max_epochs=1)
    assert classifier.fit(X, y).module_.input_scaling.bin_vectors is None
