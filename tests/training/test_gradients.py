r"""Parameters whose gradient is missing, late or sparse."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from skorch.callbacks import Callback, Freezer, GradientNormClipping, Unfreezer
from torch import nn

from sksoftmax import SoftmaxMLPClassifier, SoftmaxNetClassifier

X, Y = load_iris(return_X_y=True)
X = ((X - X.mean(0)) / X.std(0)).astype(np.float32)
for_each_optimizer = pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
Net = partial(
    SoftmaxNetClassifier, max_epochs=20, learning_rate=0.05, lr_schedule="constant"
)


def make(n_features, n_classes, frozen=""):
    module = nn.Sequential(
        nn.Linear(n_features, 16), nn.Tanh(), nn.Linear(16, n_classes)
    )
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen or "none"))
    return module


class Fixed(nn.Module):
    r"""Has no parameters."""

    def __init__(self, n_features, n_classes):
        super().__init__()
        self.n_classes = n_classes

    def forward(self, x):
        return x[:, : self.n_classes] * 1.0


class Detached(nn.Linear):
    def forward(self, x):
        return super().forward(x).detach()


class InNoGrad(nn.Linear):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


class Codes(nn.Module):
    r"""Embeds rounded features."""

    def __init__(self, n_features, n_classes, is_sparse=True, is_bag=False):
        super().__init__()
        kind = nn.EmbeddingBag if is_bag else nn.Embedding
        self.embedding = kind(8, 4, sparse=is_sparse)
        self.linear = nn.Linear(4 if is_bag else 4 * n_features, n_classes)

    def forward(self, x):
        codes = (x.round().long() + 4).clamp(0, 7)
        return self.linear(self.embedding(codes).flatten(1))


class WithUnused(nn.Linear):
    def __init__(self, n_features, n_classes):
        super().__init__(n_features, n_classes)
        self.unused = nn.Linear(7, 7)


class TestNoGradient:
    @for_each_optimizer
    @pytest.mark.parametrize(
        ("module", "count"),
        [
            (partial(make, frozen=("0", "2")), "0 of the module's 4 parameters"),
            (Fixed, "0 of the module's 0 parameters"),
            (Detached, "2 of the module's 2 parameters"),
            (InNoGrad, "2 of the module's 2 parameters"),
        ],
    )
    @pytest.mark.parametrize("callbacks", [None, [Callback()]])
    def test_at_all_is_an_error(self, optimizer, module, count, callbacks):
        model = Net(module, optimizer=optimizer, callbacks=callbacks)
        message = f"Nothing can be learned.*{count} do.*requires_grad_"
        with pytest.raises(ValueError, match=message):
            model.fit(X, Y)
        with pytest.raises(ValueError, match=message):
            model.partial_fit(X, Y, classes=[0, 1, 2])
        assert not hasattr(model, "module_")

    def test_leaves_what_was_fitted(self):
        model = Net(make, warm_start=True).fit(X, Y)
        proba = model.predict_proba(X)
        model.module_.requires_grad_(False)
        for method in (model.fit, model.partial_fit):
            with pytest.raises(ValueError, match="Nothing can be learned"):
                method(X, Y)
        np.testing.assert_array_equal(model.predict_proba(X), proba)

    @for_each_optimizer
    def test_for_a_part_of_the_module_trains_the_rest(self, optimizer):
        model = Net(partial(make, frozen="0"), optimizer=optimizer, random_state=0)
        model.fit(X, Y)
        before = model.module_[0].weight.clone()
        model.partial_fit(X, Y)
        assert torch.equal(model.module_[0].weight, before)
        assert model.score(X, Y) > 0.85
        assert Net(WithUnused, optimizer=optimizer).fit(X, Y).score(X, Y) > 0.85


class Watching(Callback):
    r"""Keeps the first layer's weights of each epoch."""

    def initialize(self):
        self.weights = []
        return self

    def on_epoch_end(self, net, **kwargs):
        self.weights.append(net.module_[0].weight.detach().clone())


class TestLateGradients:
    @for_each_optimizer
    @pytest.mark.parametrize("weight_decay", [0.0, 0.01])
    @pytest.mark.parametrize("frozen", ["0", ("0", "2")])
    def test_layers_learn_once_they_are_unfrozen(self, optimizer, weight_decay, frozen):
        watching = Watching()
        model = Net(
            partial(make, frozen=frozen),
            optimizer=optimizer,
            weight_decay=weight_decay,
            random_state=0,
            callbacks=[Unfreezer("*", at=4), watching],
        ).fit(X, Y)
        weights = watching.weights
        assert torch.equal(weights[0], weights[2])
        assert not torch.equal(weights[2], weights[3])
        assert model.score(X, Y) > 0.85
        proba = model.predict_proba(X)
        np.testing.assert_array_equal(model.fit(X, Y).predict_proba(X), proba)

    @for_each_optimizer
    def test_layers_may_be_frozen_and_unfrozen(self, optimizer):
        watching = Watching()
        callbacks = [
            ("first", Freezer("0.*", at=3)),
            ("all", Freezer("*", at=5)),
            ("again", Unfreezer("*", at=7)),
            watching,
        ]
        model = Net(make, optimizer=optimizer, callbacks=callbacks, random_state=0)
        model.fit(X, Y)
        weights = watching.weights
        assert not torch.equal(weights[0], weights[1])
        assert torch.equal(weights[1], weights[5])
        assert not torch.equal(weights[5], weights[6])
        assert model.score(X, Y) > 0.85

    @for_each_optimizer
    @pytest.mark.parametrize("last_epoch", [2, 7])
    def test_are_kept_by_a_checkpoint(self, optimizer, last_epoch, tmp_path):
        class Killing(Callback):
            epoch = None

            def on_epoch_begin(self, net, **kwargs):
                if len(net.history) == self.epoch:
                    raise KeyboardInterrupt

        def model(**options):
            callbacks = [Unfreezer("*", at=4), Killing()]
            return Net(
                partial(make, frozen="0"),
                optimizer=optimizer,
                random_state=0,
                callbacks=callbacks,
                **options,
            )

        never_stopped = model().fit(X, Y)
        options = {"checkpoint": str(tmp_path / "fit")}
        killed = model(**options)
        killed.callbacks[1].epoch = last_epoch + 1
        with pytest.raises(KeyboardInterrupt):
            killed.fit(X, Y)
        resumed = model(**options).fit(X, Y)
        np.testing.assert_array_equal(
            resumed.predict_proba(X), never_stopped.predict_proba(X)
        )

    def test_perceptron_may_be_unfrozen_too(self):
        class Late(Callback):
            def on_epoch_begin(self, net, **kwargs):
                net.module_.requires_grad_(len(net.history) > 2)

        model = SoftmaxMLPClassifier(
            (16,), max_epochs=20, early_stopping=False, callbacks=[Late()]
        )
        assert model.fit(X, Y).score(X, Y) > 0.85


class TestSparseGradients:
    @for_each_optimizer
    @pytest.mark.parametrize("is_bag", [False, True])
    @pytest.mark.parametrize("weight_decay", [0.0, 0.01])
    @pytest.mark.parametrize("callbacks", [None, [GradientNormClipping(1.0)]])
    def test_train_as_dense_ones(self, optimizer, is_bag, weight_decay, callbacks):
        options = {
            "optimizer": optimizer,
            "weight_decay": weight_decay,
            "callbacks": callbacks,
            "random_state": 0,
        }
        sparse, dense = (
            Net(Codes, module_params={"is_sparse": s, "is_bag": is_bag}, **options)
            for s in (True, False)
        )
        sparse.fit(X, Y).partial_fit(X, Y)
        dense.fit(X, Y).partial_fit(X, Y)
        # Rows of a bag are added in another order.
        np.testing.assert_allclose(
            sparse.predict_proba(X), dense.predict_proba(X), rtol=1e-3, atol=1e-5
        )
        assert sparse.score(X, Y) > 0.8


@pytest.mark.parametrize("n_rows", [33, 65, 97])
def test_a_last_batch_of_a_single_row_joins_the_one_before(n_rows):
    def make_normalized(n_features, n_classes):
        return nn.Sequential(
            nn.Linear(n_features, 8), nn.BatchNorm1d(8), nn.Linear(8, n_classes)
        )

    rows = np.linspace(0, 149, n_rows).astype(int)
    model = Net(make_normalized, batch_size=32).fit(X[rows], Y[rows])
    assert model.score(X, Y) > 0.8
