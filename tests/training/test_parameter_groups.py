r"""Groups of parameters: rates by pattern of name, frozen layers, clipped gradients."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, train_test_split
from skorch.callbacks import Callback
from torch import nn

from sksoftmax import SoftmaxNetClassifier

from ..factories import same_bits, standardized_iris

X, Y = standardized_iris()


class Backboned(nn.Module):
    def __init__(self, n_features, n_classes, width=16):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Linear(n_features, width), nn.BatchNorm1d(width), nn.ReLU()
        )
        self.fc = nn.Linear(width, n_classes)

    def forward(self, x):
        return self.fc(self.backbone(x))


def net(**options):
    options = {"max_epochs": 4, "learning_rate": 0.02, "random_state": 0, **options}
    return SoftmaxNetClassifier(Backboned, **options)


class Recorder(Callback):
    r"""Records rates, and the state of the module after each epoch."""

    def initialize(self):
        self.rates, self.states, self.norms = [], [], []
        return self

    def on_train_begin(self, net, **kwargs):
        self.states.append(copy.deepcopy(net.module_.state_dict()))

    def on_batch_end(self, net, training, **kwargs):
        groups = net.optimizer_.param_groups
        if training:
            self.rates.append(sorted({group["lr"] for group in groups}))
            norms = [p.grad.norm() for p in net.module_.parameters()]
            self.norms.append(float(torch.stack(norms).norm()))

    def on_epoch_end(self, net, **kwargs):
        self.states.append(copy.deepcopy(net.module_.state_dict()))


class Before(Callback):
    r"""Records the norm of the gradient before it is clipped."""

    def initialize(self):
        self.norms = []
        return self

    def on_grad_computed(self, net, named_parameters, **kwargs):
        norms = [p.grad.norm() for _, p in named_parameters]
        self.norms.append(float(torch.stack(norms).norm()))


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


class TestRates:
    @pytest.mark.parametrize("optimizer", ["adamw", "sgd", torch.optim.RMSprop])
    @pytest.mark.parametrize("schedule", ["constant", "one_cycle"])
    @pytest.mark.parametrize("decay", [0.0, 0.01])
    def test_each_group_follows_the_schedule_at_its_rate(
        self, optimizer, schedule, decay
    ):
        recorder = Recorder()
        rates = {"fc.*": 1e-2, "*.bias": 1e-3, "*": 1e-4}
        net(
            learning_rate=rates,
            optimizer=optimizer,
            lr_schedule=schedule,
            weight_decay=decay,
            callbacks=[recorder],
        ).fit(X, Y)
        found = np.array(recorder.rates)
        np.testing.assert_allclose(found[:, 0] / found[:, 2], 1e-2, rtol=1e-6)
        np.testing.assert_allclose(found[:, 1] / found[:, 2], 1e-1, rtol=1e-6)
        assert found[:, 2].max() == pytest.approx(1e-2, rel=0.05)
        if schedule == "one_cycle":
            assert found[-1, 2] < 1e-4

    def test_the_first_pattern_counts(self):
        rates = {"backbone.0.weight": 0.0625, "backbone.*": 0.125, "*": 0.25}
        model = net(learning_rate=rates).fit(X, Y)
        sizes = {g["lr"]: len(g["params"]) for g in model.net_.optimizer_.param_groups}
        assert sizes == {0.0625: 1, 0.125: 3, 0.25: 2}

    def test_equal_rates_are_a_single_rate(self):
        single = net(learning_rate=0.02, weight_decay=0.01).fit(X, Y)
        same = net(learning_rate={"fc.*": 0.02, "*": 0.02}, weight_decay=0.01)
        proba = same.fit(X, Y).predict_proba(X)
        np.testing.assert_allclose(proba, single.predict_proba(X), atol=1e-5)

    @pytest.mark.parametrize(
        ("rates", "message"),
        [
            ({"fc.*": 0.1}, r"no pattern matches .*backbone\.0\.weight.* add '\*'"),
            ({"*": 0.1, "fc.*": 0.2}, r"before 'fc\.\*' match all .* special ones fir"),
            ({"head.*": 0.1, "*": 0.2}, r"'head\.\*', which matches no .* fc\.weight"),
            ({"*": 0.0}, "expected a positive number for each pattern"),
            ({"*": "fast"}, "expected a positive number for each pattern"),
            ({}, "expected a positive number for each pattern"),
        ],
    )
    def test_patterns_that_cannot_be_meant_are_errors(self, rates, message):
        with pytest.raises(ValueError, match=message):
            net(learning_rate=rates).fit(X, Y)

    def test_a_search_over_rates(self):
        grid = {"learning_rate": [{"fc.*": 0.05, "*": 0.01}, {"*": 1e-6}]}
        search = GridSearchCV(net(max_epochs=15), grid, cv=2).fit(X, Y)
        assert search.best_params_["learning_rate"] == grid["learning_rate"][0]
        assert search.best_score_ > 0.9


BACKBONE = {
    *(f"backbone.{layer}.{name}" for layer in "01" for name in ("weight", "bias")),
    *(f"backbone.1.running_{name}" for name in ("mean", "var")),
    "backbone.1.num_batches_tracked",
}
HEAD = {"fc.weight", "fc.bias"}


class TestFrozen:
    def test_frozen_parameters_and_statistics_stay_to_the_last_bit(self):
        recorder = Recorder()
        model = net(frozen=["backbone.*"], weight_decay=0.1)
        # The gradients of frozen parameters are None.
        recorder.on_batch_end = lambda *args, **kwargs: None
        model.set_params(callbacks=[recorder]).fit(X, Y)
        assert changed(recorder.states[0], recorder.states[-1]) == HEAD
        model.partial_fit(X, Y)
        assert changed(recorder.states[0], model.module_.state_dict()) == HEAD

    def test_they_learn_after_the_epochs_that_were_asked_for(self):
        model = net(frozen="backbone.*", unfreeze_after=2, max_epochs=4)
        recorder = Recorder()
        recorder.on_batch_end = lambda *args, **kwargs: None
        model.set_params(callbacks=[recorder]).fit(X, Y)
        start, first, second, third, _ = recorder.states
        assert changed(start, first) == changed(first, second) == HEAD
        assert changed(second, third) == HEAD | BACKBONE
        assert all(p.requires_grad for p in model.module_.parameters())
        # A stream goes on with all of them.
        before = copy.deepcopy(model.module_.state_dict())
        model.partial_fit(X, Y)
        assert changed(before, model.module_.state_dict()) == HEAD | BACKBONE

    def test_a_stream_unfreezes_after_as_many_pieces(self):
        model = net(frozen="backbone.*", unfreeze_after=2)
        model.partial_fit(X, Y, classes=[0, 1, 2])
        before = copy.deepcopy(model.module_.state_dict())
        model.partial_fit(X, Y)
        assert changed(before, model.module_.state_dict()) == HEAD
        model.partial_fit(X, Y)
        assert changed(before, model.module_.state_dict()) == HEAD | BACKBONE

    def test_few_rows_of_a_stream_leave_frozen_statistics(self):
        model = net(frozen="backbone.*").fit(X, Y)
        before = copy.deepcopy(model.module_.state_dict())
        model.partial_fit(X[:3], Y[:3])
        assert changed(before, model.module_.state_dict()) == HEAD

    def test_a_callback_that_listens_to_batches_changes_nothing(self):
        class Listener(Callback):
            def on_batch_end(self, net, **kwargs):
                net.predict(X[:5])

        model = net(frozen="backbone.*", unfreeze_after=2)
        proba = clone(model).fit(X, Y).predict_proba(X)
        heard = clone(model).set_params(callbacks=[Listener()]).fit(X, Y)
        assert same_bits(heard.predict_proba(X), proba)

    def test_pickles_go_on_as_the_original(self):
        model = net(frozen="backbone.*", unfreeze_after=6).fit(X, Y)
        copied = pickle.loads(pickle.dumps(model))
        for _ in range(3):
            model.partial_fit(X, Y)
            copied.partial_fit(X, Y)
        assert same_bits(copied.predict_proba(X), model.predict_proba(X))

    @pytest.mark.parametrize(
        ("frozen", "message"),
        [
            ("head.*", r"frozen with the pattern 'head\.\*', which matches no"),
            ([1], r"frozen=\[1\], but expected a list of patterns"),
            ("*", "Nothing can be learned"),
        ],
    )
    def test_patterns_that_cannot_be_meant_are_errors(self, frozen, message):
        with pytest.raises(ValueError, match=message):
            net(frozen=frozen).fit(X, Y)

    def test_a_pretrained_backbone_helps_where_labels_are_few(self):
        digits, labels = load_digits(return_X_y=True)
        many, few, y_many, y_few = train_test_split(
            digits / 16, labels, test_size=500, stratify=labels, random_state=0
        )
        pretrained = net(max_epochs=20, module_params={"width": 64}).fit(many, y_many)
        state = pretrained.module_.backbone.state_dict()

        def build(n_features, n_classes, is_pretrained=True):
            module = Backboned(n_features, n_classes, width=64)
            if is_pretrained:
                module.backbone.load_state_dict(state)
            return module

        tuned = SoftmaxNetClassifier(
            build,
            frozen="backbone.*",
            unfreeze_after=10,
            learning_rate={"fc.*": 0.01, "*": 0.001},
            max_epochs=20,
            random_state=0,
        ).fit(few[:50], y_few[:50])
        scratch = clone(tuned).set_params(
            module__is_pretrained=False, frozen=None, unfreeze_after=None
        )
        scratch.fit(few[:50], y_few[:50])
        accuracy = tuned.score(few[50:], y_few[50:])
        assert accuracy > 0.9
        assert accuracy > scratch.score(few[50:], y_few[50:]) + 0.05


class TestClipping:
    def test_no_gradient_is_longer(self):
        before, after = Before(), Recorder()
        net(gradient_clipping=0.1, callbacks=[before, after]).fit(X, Y)
        assert max(before.norms) > 0.5
        assert max(after.norms) == pytest.approx(0.1, rel=1e-4)

    def test_gradients_that_are_short_enough_stay_to_the_last_bit(self):
        plain = net().fit(X, Y).predict_proba(X)
        clipped = net(gradient_clipping=1e6).fit(X, Y).predict_proba(X)
        assert same_bits(clipped, plain)

    def test_an_outlier_does_not_throw_the_parameters_far(self):
        X_far = X.copy()
        X_far[0] *= 1e4
        model = SoftmaxNetClassifier(
            nn.Linear,
            optimizer="sgd",
            momentum=0.0,
            learning_rate=0.1,
            max_epochs=30,
            random_state=0,
        )
        with pytest.warns(ConvergenceWarning, match="has learned nothing"):
            clone(model).fit(X_far, Y)
        model.set_params(gradient_clipping=1.0)
        with warnings.catch_warnings():
            # The loss of the outlier alone is far above that of a guess.
            warnings.simplefilter("ignore", ConvergenceWarning)
            assert model.fit(X_far, Y).score(X, Y) > 0.8
