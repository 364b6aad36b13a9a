r"""Passes that leave out easy rows: which, how many, and what stays the same."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from torch.nn import functional as F

from sksoftmax import SoftmaxCNNClassifier
from sksoftmax._training.batches import BatchIterator
from sksoftmax._training.pruning import EasyRows
from sksoftmax._training.tensor_table import TensorTable


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def table_of(n_rows, *, rows=None, sample_weight=None):
    X = torch.arange(n_rows, dtype=torch.float32)[:, None]
    return TensorTable(X, torch.zeros(n_rows, dtype=torch.int64), sample_weight, rows)


def easy_rows(table, losses, *, rate=0.5, seed=0, epoch=1, n_epochs=10):
    easy = EasyRows(rate, table, generator(seed))
    easy.losses.copy_(torch.as_tensor(losses))
    easy.begin_epoch(epoch, n_epochs)
    return easy


class TestEasyRows:
    @settings(deadline=None)
    @given(
        losses=st.lists(st.floats(0, 100, width=32), min_size=1, max_size=50),
        rate=st.sampled_from([0.25, 0.5, 0.9]),
        seed=st.integers(0, 100),
    )
    def test_hard_rows_stay_and_easy_rows_have_larger_weights(self, losses, rate, seed):
        losses = [*losses, 1000.0, 1000.0]
        easy = easy_rows(table_of(len(losses)), losses, rate=rate, seed=seed)
        is_easy = easy.losses < easy.losses.mean()
        shuffled = torch.randperm(len(losses), generator=generator(seed))
        kept = easy.choose(shuffled)
        stays = torch.isin(shuffled, kept)
        assert torch.equal(kept, shuffled[stays])
        assert stays[~is_easy[shuffled]].all()
        X, (y, weight) = easy.take(kept)
        assert torch.equal(X[:, 0].long(), kept)
        assert torch.equal(y, torch.zeros_like(kept))
        expected = torch.where(is_easy[kept], 1 / (1 - rate), 1.0)
        assert_allclose(weight, expected, rtol=1e-6)

    def test_sums_are_what_they_would_be_on_average(self):
        rng = np.random.default_rng(0)
        losses = rng.exponential(size=400).astype(np.float32)
        easy = easy_rows(table_of(400), losses)
        sums = []
        for _ in range(500):
            kept = easy.choose(torch.arange(400))
            _, (_, weight) = easy.take(kept)
            sums.append(float(weight @ easy.losses[kept]))
        deviation = np.std(sums) / np.sqrt(len(sums))
        assert abs(np.mean(sums) - losses.sum()) < 4 * deviation

    @pytest.mark.parametrize(
        ("epoch", "n_epochs"), [(0, 40), (35, 40), (39, 40), (2, 3), (0, 1)]
    )
    def test_first_and_last_epochs_have_all_rows(self, epoch, n_epochs):
        losses = torch.arange(40.0)
        easy = easy_rows(table_of(40), losses, epoch=epoch, n_epochs=n_epochs)
        everything = torch.arange(40)
        assert torch.equal(easy.choose(everything), everything)
        assert torch.equal(easy.take(everything)[1][1], torch.ones(40))

    @pytest.mark.parametrize(("epoch", "n_epochs"), [(1, 40), (34, 40), (1, 3)])
    def test_epochs_between_leave_out_rows(self, epoch, n_epochs):
        losses = torch.arange(40.0)
        easy = easy_rows(table_of(40), losses, epoch=epoch, n_epochs=n_epochs)
        assert 20 < len(easy.choose(torch.arange(40))) < 40

    def test_only_rows_of_the_table_count(self):
        # The other rows have a loss that would make all of these easy.
        rows = torch.tensor([1, 3, 5, 7, 9])
        losses = torch.tensor([99.0, 1.0] * 5)
        losses[7:] = 2.0
        easy = easy_rows(table_of(10, rows=rows), losses, rate=0.9)
        kept = easy.choose(rows)
        assert_allclose(easy.take(rows)[1][1], [10, 10, 10, 1, 1], rtol=1e-6)
        assert {7, 9} <= set(kept.tolist())

    def test_at_least_two_rows_stay(self):
        # Three of four draws would leave out one of the two easy rows or both.
        easy = easy_rows(table_of(3), [0.0, 0.0, 9.0], rate=0.5)
        for _ in range(50):
            kept = easy.choose(torch.arange(3))
            assert len(kept) >= 2
            assert easy.take(kept)[1][1][-1] == 1

    @pytest.mark.parametrize("n_members", [None, 3])
    def test_sample_weights_are_multiplied(self, n_members):
        weight = torch.rand(6, *[n_members] * bool(n_members), generator=generator())
        easy = easy_rows(
            table_of(6, sample_weight=weight), [0.0, 9.0, 0.0, 9.0, 0.0, 9.0]
        )
        easy.choose(torch.arange(6))
        index = torch.tensor([1, 2])
        expected = weight[index] * torch.tensor([1.0, 2.0]).view(
            2, *[1] * (weight.ndim - 1)
        )
        assert torch.equal(easy.take(index)[1][1], expected)

    @pytest.mark.parametrize("n_members", [None, 3])
    def test_learns_the_loss_of_the_batch(self, n_members):
        easy = easy_rows(table_of(5), torch.full((5,), 7.0))
        index = torch.tensor([4, 0])
        y = torch.tensor([2, 1])
        shape = (2, 4) if n_members is None else (2, n_members, 4)
        logits = torch.randn(shape, generator=generator())
        easy.take(index)
        easy.learn(logits, y)
        each = [logits] if n_members is None else logits.unbind(1)
        losses = [F.cross_entropy(one, y, reduction="none") for one in each]
        expected = torch.full((5,), 7.0)
        expected[index] = torch.stack(losses).mean(0)
        assert_allclose(easy.losses, expected, rtol=1e-6)

    def test_length_is_that_of_the_epoch(self):
        table = table_of(64)
        batches = BatchIterator(table, 4, True, generator())
        assert len(batches) == 16
        batches.selection = easy_rows(table, torch.arange(64.0))
        stream = iter(batches)
        n_batches = len(batches)
        assert 8 < n_batches < 16
        assert len(list(stream)) == n_batches


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:600], y[:600]


def fitted(digits, **options):
    return SoftmaxCNNClassifier(
        **{
            "channels": (8, 16),
            "kernel_size": 3,
            "max_epochs": 8,
            "data_pruning": 0.5,
            "random_state": 0,
            **options,
        }
    ).fit(*digits)


class TestTraining:
    def test_fewer_batches_but_first_and_last(self, digits):
        n_batches, n_all = (
            [
                epoch["train_batch_count"]
                for epoch in fitted(digits, **options).net_.history
            ]
            for options in ({}, {"data_pruning": 0.0})
        )
        assert n_batches[0] == n_batches[-1] == n_all[0]
        assert sum(n_batches[1:7]) < 0.8 * sum(n_all[1:7])

    def test_loss_curve_is_that_of_all_rows(self, digits):
        # A net that learns nothing. That of the rows that stay alone would be higher.
        still = {"learning_rate": 1e-9, "lr_schedule": "constant", "weight_decay": 0.0}
        curve = fitted(digits, **still).loss_curve_
        assert_allclose(curve[1:7], curve[0], rtol=0.05)
        assert_allclose(np.mean(curve[1:7]), curve[0], rtol=0.02)

    def test_learning_rate_ends_where_it_would(self, digits):
        last = [
            fitted(digits, data_pruning=rate, batch_size=100).net_.optimizer_
            for rate in (0.0, 0.5)
        ]
        rates = [one.param_groups[0]["lr"] for one in last]
        assert rates[0] == rates[1]

    @pytest.mark.parametrize("n_estimators", [1, 2])
    def test_same_seed_same_bits(self, digits, n_estimators):
        first, second = (fitted(digits, n_estimators=n_estimators) for _ in "ab")
        assert_array_equal(
            first.predict_proba(digits[0]), second.predict_proba(digits[0])
        )

    def test_partial_fit_leaves_out_no_rows(self, digits):
        classifier = fitted(digits)
        n_batches = classifier.net_.history[0, "train_batch_count"]
        classifier.partial_fit(*digits)
        assert classifier.net_.history[-1, "train_batch_count"] == n_batches

    @pytest.mark.parametrize(("n_rows", "expected"), [(9_999, 0.0), (10_000, 0.5)])
    def test_auto_follows_the_number_of_rows(self, n_rows, expected):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(n_rows, 4)), np.arange(n_rows) % 2
        classifier = SoftmaxCNNClassifier(
            image_shape=(2, 2), channels=(1,), max_epochs=1, batch_size=2_000
        )
        assert classifier.fit(X, y).net_.recipe.data_pruning == expected

    def test_losses_do_not_outlive_the_fit(self, digits):
        assert fitted(digits).net_.easy_rows_ is None
