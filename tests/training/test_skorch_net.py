r"""The training engine: batches, weighted loss, schedules, early stopping."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from torch import nn

from sksoftmax._training.batches import BatchIterator
from sksoftmax._training.callbacks import BestEpoch
from sksoftmax._training.losses import WeightedCrossEntropy
from sksoftmax._training.make_net import make_net
from sksoftmax._training.recipe import Recipe
from sksoftmax._training.schedules import SCHEDULES
from sksoftmax._training.tensor_table import TensorTable
from sksoftmax._training.train import train

CPU = torch.device("cpu")


def recipe(**changes):
    defaults = {
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "momentum": 0.0,
        "weight_decay": 0.0,
        "lr_schedule": "constant",
        "batch_size": 16,
        "max_epochs": 3,
    }
    return Recipe(**{**defaults, **changes})


def blobs(n_rows=50, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n_rows)
    X = rng.normal(size=(n_rows, 4)) + 2 * np.eye(3, 4)[y]
    return torch.tensor(X, dtype=torch.float32), torch.tensor(y)


def linear(seed=0):
    generator = torch.Generator().manual_seed(seed)
    module = nn.utils.skip_init(nn.Linear, 4, 3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=generator)
    return module


def net_of(module, recipe, **options):
    generator = torch.Generator().manual_seed(0)
    return make_net(module, recipe, CPU, generator, n_classes=3, **options)


class TestBatches:
    @settings(deadline=None)
    @given(
        n_rows=st.integers(1, 40),
        batch_size=st.integers(1, 45),
        shuffle=st.booleans(),
        subset=st.booleans(),
    )
    def test_every_row_comes_once(self, n_rows, batch_size, shuffle, subset):
        X = torch.arange(2 * n_rows).reshape(-1, 1)
        rows = torch.arange(0, 2 * n_rows, 2) if subset else None
        table = TensorTable(X, X[:, 0] % 5, X[:, 0].float(), rows)
        batches = BatchIterator(
            table, batch_size, shuffle, torch.Generator().manual_seed(0)
        )
        seen = list(batches)
        assert len(seen) == len(batches)
        values = torch.cat([x for x, _ in seen])[:, 0]
        expected = X[:, 0] if rows is None else rows
        assert torch.equal(values.sort().values, expected)
        for x, (y, weight) in seen:
            assert torch.equal(y, x[:, 0] % 5)
            assert torch.equal(weight, x[:, 0].float())
            assert len(x) > 1 or batch_size == 1 or len(table) == 1
            assert len(x) <= batch_size + 1

    def test_order_changes_from_epoch_to_epoch_and_follows_the_seed(self):
        table = TensorTable(torch.arange(20).reshape(-1, 1))

        def epochs(seed):
            batches = BatchIterator(table, 8, True, torch.Generator().manual_seed(seed))
            return [torch.cat([x for x, _ in batches])[:, 0].tolist() for _ in "ab"]

        first, second = epochs(0)
        assert first != second
        assert epochs(0) == [first, second]
        assert epochs(1) != [first, second]

    def test_table_is_a_dataset_of_single_rows(self):
        X, y = blobs()
        table = TensorTable(X, y, rows=torch.tensor([4, 2]))
        assert len(table) == 2
        rows = list(table)
        assert len(rows) == 2
        for row, index in zip(rows, (4, 2), strict=True):
            assert torch.equal(row[0], X[index])
            assert row[1].item() == y[index]
        assert torch.equal(table[-1][0], X[2])
        assert torch.equal(table.X, X[[4, 2]])
        assert torch.equal(table.y, y[[4, 2]])


class TestLoss:
    @settings(deadline=None)
    @given(st.integers(0, 1000), st.sampled_from([0.0, 0.1]))
    def test_weighted_mean(self, seed, label_smoothing):
        generator = torch.Generator().manual_seed(seed)
        logits = torch.randn(7, 3, generator=generator)
        y = torch.randint(0, 3, (7,), generator=generator)
        weight = torch.rand(7, generator=generator)
        criterion = WeightedCrossEntropy(label_smoothing=label_smoothing)
        rows = nn.CrossEntropyLoss(reduction="none", label_smoothing=label_smoothing)
        losses = rows(logits, y).numpy()
        assert criterion(logits, y).item() == pytest.approx(losses.mean(), rel=1e-5)
        assert criterion(logits, y, weight).item() == pytest.approx(
            np.average(losses, weights=weight.numpy()), rel=1e-5
        )


class TestLoop:
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
    def test_same_steps_as_a_loop_by_hand(self, name, weighted):
        X, y = blobs()
        weight = torch.rand(50, generator=torch.Generator().manual_seed(5))
        plan = recipe(optimizer=name, weight_decay=0.1, lr_schedule="cosine")
        by_hand, ours = linear(), linear()
        classes = {
            "sgd": torch.optim.SGD,
            "adam": torch.optim.Adam,
            "adamw": torch.optim.AdamW,
        }
        optimizer = classes[name](
            [
                {"params": [by_hand.weight], "weight_decay": 0.1},
                {"params": [by_hand.bias], "weight_decay": 0.0},
            ],
            lr=0.1,
        )
        generator = torch.Generator().manual_seed(0)
        step, losses = 0, []
        for _ in range(3):
            total, norm = 0.0, 0.0
            for index in torch.randperm(50, generator=generator).split(16):
                for group in optimizer.param_groups:
                    group["lr"] = 0.1 * (1 + math.cos(math.pi * step / 12)) / 2
                rows = nn.functional.cross_entropy(
                    by_hand(X[index]), y[index], reduction="none"
                )
                w = weight[index] if weighted else torch.ones(len(index))
                loss = (rows * w).sum() / w.sum()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total, norm = total + (rows * w).sum().item(), norm + w.sum().item()
                step += 1
            losses.append(total / norm)
        net = net_of(ours, plan)
        train(net, TensorTable(X, y, weight if weighted else None))
        assert_allclose(ours.weight.detach(), by_hand.weight.detach(), atol=1e-5)
        assert_allclose(ours.bias.detach(), by_hand.bias.detach(), atol=1e-5)
        assert_allclose(net.history[:, "train_loss"], losses, rtol=1e-5)

    def test_momentum_reaches_the_optimizer(self):
        net = net_of(linear(), recipe(momentum=0.7))
        assert all(group["momentum"] == 0.7 for group in net.optimizer_.param_groups)

    def test_batches_are_recorded_only_for_a_callback_that_listens(self):
        from skorch.callbacks import Callback

        class Listener(Callback):
            def __init__(self):
                self.losses = []

            def on_batch_end(self, net, training, loss, **kwargs):
                self.losses.append((training, float(loss)))

        X, y = blobs()
        listener = Listener()
        net = net_of(linear(), recipe(), callbacks=[listener])
        train(net, TensorTable(X, y), TensorTable(X, y))
        assert [training for training, _ in listener.losses] == (
            [True] * 4 + [False]
        ) * 3
        recorded = net.history[:, "batches", :, "train_loss"]
        training_losses = [loss for training, loss in listener.losses if training]
        assert_allclose(np.ravel(recorded), training_losses)
        quiet = net_of(linear(), recipe())
        train(quiet, TensorTable(X, y))
        assert quiet.history[-1]["batches"] == [{}] or not quiet.history[-1]["batches"]

    def test_callback_sees_gradients(self):
        from skorch.callbacks import Callback

        class Freeze(Callback):
            def on_grad_computed(self, net, named_parameters, **kwargs):
                for _, parameter in named_parameters:
                    parameter.grad.zero_()

        X, y = blobs()
        module = linear()
        train(net_of(module, recipe(), callbacks=[Freeze()]), TensorTable(X, y))
        assert torch.equal(module.weight, linear().weight)

    def test_net_keeps_no_data(self):
        X, y = blobs()
        net = net_of(linear(), recipe())
        train(net, TensorTable(X, y), TensorTable(X, y))
        assert net.train_split is None

    def test_net_predicts_from_arrays(self):
        X, y = blobs()
        net = net_of(linear(), recipe(max_epochs=20))
        train(net, TensorTable(X, y))
        proba = net.predict_proba(X.numpy())
        assert_allclose(proba, net.module_(X).softmax(1).detach(), atol=1e-6)
        assert (proba.argmax(1) == y.numpy()).mean() > 0.8


class TestSchedules:
    @pytest.mark.parametrize("name", SCHEDULES)
    @given(progress=st.floats(0, 1, exclude_max=True))
    def test_is_a_fraction_of_the_learning_rate(self, name, progress):
        assert 0 <= SCHEDULES[name](progress) <= 1

    def test_shapes(self):
        one_cycle, cosine = SCHEDULES["one_cycle"], SCHEDULES["cosine"]
        assert one_cycle(0.0) == pytest.approx(0.04)
        assert one_cycle(0.15) == pytest.approx(1.0)
        assert one_cycle(1.0) == pytest.approx(0.0)
        assert cosine(0.0) == 1.0
        assert cosine(0.5) == pytest.approx(0.5)
        assert SCHEDULES["constant"](0.9) == 1.0


class TestEarlyStopping:
    def run(self, scores, patience, tol=0.0):
        r"""Train while the validation score follows a script."""
        from skorch.callbacks import Callback

        class Script(Callback):
            def on_epoch_end(self, net, **kwargs):
                net.history.record("score", scores[len(net.history) - 1])
                with torch.no_grad():
                    net.module_.bias.fill_(len(net.history))

        X, y = blobs()
        module = linear()
        net = net_of(
            module,
            recipe(max_epochs=len(scores)),
            best_epoch=BestEpoch("score", patience, tol),
            callbacks=[Script()],
        )
        # The script has to write before the callback under test reads.
        net.callbacks_.sort(key=lambda item: item[0] == "best_epoch")
        train(net, TensorTable(X, y), TensorTable(X, y))
        return len(net.history), module.bias[0].item()

    def test_stops_after_patience_and_restores_the_best(self):
        assert self.run([1, 2, 3, 2, 2, 2, 9], patience=3) == (6, 3)

    def test_restores_the_best_when_it_runs_to_the_end(self):
        assert self.run([1, 5, 2, 3], patience=10) == (4, 2)

    def test_improvement_below_tol_is_kept_but_does_not_reset_patience(self):
        assert self.run([1.0, 1.05, 1.09, 1.08], patience=3, tol=0.1) == (4, 3)

    def test_nan_score_is_no_improvement(self):
        assert self.run([1, math.nan, math.nan, 4], patience=2) == (3, 1)
