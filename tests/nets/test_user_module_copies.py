r"""Modules of the user are copied: fits train the copy, and change nothing else."""

import copy
import functools
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import cross_val_score
from torch import nn

from sksoftmax import SoftmaxCNNClassifier
from sksoftmax.modules import Dropout

from .user_modules import net

pytestmark = pytest.mark.usefixtures("global_seed")

N_FEATURES, WIDTH = 6, 16
RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, N_FEATURES)).astype(np.float32)
Y = RNG.integers(0, 3, len(X))


def make_backbone():
    return nn.Sequential(
        nn.Linear(N_FEATURES, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU(), Dropout(0.1)
    )


def with_head(n_features, n_classes, backbone):
    return nn.Sequential(backbone, nn.Linear(WIDTH, n_classes))


def with_heads_of_list(n_features, n_classes, layers):
    return nn.Sequential(*layers, nn.Linear(WIDTH, n_classes))


def with_new_head(n_features, n_classes, whole):
    whole[-1] = nn.Linear(WIDTH, n_classes)
    return whole


def whole(module, n_features, n_classes):
    return module


def state_of(module):
    return (
        {name: value.clone() for name, value in module.state_dict().items()},
        [(p.requires_grad, p.dtype, p.grad is None) for p in module.parameters()],
        [(layer, layer.training, len(vars(layer))) for layer in module.modules()],
    )


def assert_unchanged(module, before):
    tensors, *others = state_of(module)
    assert tensors.keys() == before[0].keys()
    assert all(torch.equal(tensors[name], before[0][name]) for name in tensors)
    assert others == list(before[1:])


class Caching:
    def __init__(self, backbone):
        self.backbone = backbone

    def make(self, n_features, n_classes):
        return with_head(n_features, n_classes, self.backbone)


WAYS = {
    "closure": lambda b: net(lambda d, k: with_head(d, k, b)),
    "partial": lambda b: net(functools.partial(with_head, backbone=b)),
    "method": lambda b: net(Caching(b).make),
    "parameter": lambda b: net(with_head, module_params={"backbone": b}),
    "list": lambda b: net(with_heads_of_list, module_params={"layers": [b]}),
    "one module": lambda b: net(functools.partial(whole, with_head(0, 3, b))),
    "another head": lambda b: net(
        with_new_head, module_params={"whole": nn.Sequential(b, nn.Linear(WIDTH, 9))}
    ),
}


class TestModulesOfTheCaller:
    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("is_frozen", [False, True])
    def test_modules_are_not_changed_and_fits_agree(self, way, is_frozen):
        backbone = make_backbone()
        if is_frozen:
            backbone.requires_grad_(False).eval()
        model = WAYS[way](backbone)
        before, params = state_of(backbone), model.get_params()
        first = model.fit(X, Y).predict_proba(X)
        learned = copy.deepcopy(model.module_.state_dict())
        second = model.fit(X, Y).predict_proba(X)
        np.testing.assert_array_equal(first, second)
        model.partial_fit(X, Y).set_params(warm_start=True).fit(X, Y)
        assert_unchanged(backbone, before)
        assert model.get_params() == {**params, "warm_start": True}
        # The copy was trained.
        assert any(
            not torch.equal(value, learned[name])
            for name, value in model.module_.state_dict().items()
        )

    def test_folds_of_a_cross_validation_are_independent(self):
        # Labels at random: half of the predictions are right.
        X, y = RNG.normal(size=(120, 30)), RNG.integers(0, 2, 120)
        backbone = nn.Sequential(nn.Linear(30, 256), nn.ReLU())
        model = net(
            lambda d, k: nn.Sequential(backbone, nn.Linear(256, k)), max_epochs=50
        )
        scores = cross_val_score(model, X, y, cv=5)
        assert 0.3 < scores.mean() < 0.65
        np.testing.assert_array_equal(cross_val_score(model, X, y, cv=5), scores)

    def test_a_tensor_of_the_caller_is_not_changed(self):
        class Weighted(nn.Module):
            def __init__(self, n_features, n_classes, weight):
                super().__init__()
                self.weight = nn.Parameter(weight)

            def forward(self, x):
                return x @ self.weight

        weight = torch.randn(N_FEATURES, 3)
        before = weight.clone()
        net(Weighted, module_params={"weight": weight}).fit(X, Y)
        assert torch.equal(weight, before)

    def test_tied_parameters_stay_tied(self):
        class Tied(nn.Module):
            def __init__(self, n_features, n_classes):
                super().__init__()
                self.first = nn.Linear(n_features, n_features)
                self.second = nn.Linear(n_features, n_features)
                self.second.weight = self.first.weight
                self.last = nn.Linear(n_features, n_classes)

            def forward(self, x):
                return self.last(self.second(self.first(x)))

        module = net(Tied).fit(X, Y).module_
        assert module.first.weight is module.second.weight

    def test_lazy_layers_stay_lazy(self):
        lazy = nn.LazyLinear(WIDTH)
        model = net(lambda d, k: nn.Sequential(lazy, nn.ReLU(), nn.LazyLinear(k)))
        proba = model.fit(X, Y).predict_proba(X)
        assert isinstance(lazy, nn.LazyLinear)
        assert lazy.has_uninitialized_params()
        np.testing.assert_array_equal(model.fit(X, Y).predict_proba(X), proba)

    def test_a_generator_of_the_module_is_not_changed(self):
        dropout = Dropout(0.5)
        dropout.generator = torch.Generator().manual_seed(3)
        before = dropout.generator.get_state()
        model = net(
            lambda d, k: nn.Sequential(nn.Linear(d, 8), dropout, nn.Linear(8, k))
        )
        proba = model.fit(X, Y).predict_proba(X)
        assert torch.equal(dropout.generator.get_state(), before)
        np.testing.assert_array_equal(model.fit(X, Y).predict_proba(X), proba)

    def test_torchscript_is_copied(self):
        class Scripted(nn.Module):
            def __init__(self, n_features, n_classes, backbone):
                super().__init__()
                self.backbone = backbone
                self.head = nn.Linear(WIDTH, n_classes)

            def forward(self, x):
                return self.head(self.backbone(x))

        layers = nn.Sequential(nn.Linear(N_FEATURES, WIDTH), nn.ReLU())
        with warnings.catch_warnings():
            # TorchScript is deprecated, and joblib cannot pickle it.
            warnings.simplefilter("ignore")
            backbone = torch.jit.script(layers)
            before = [p.clone() for p in backbone.parameters()]
            model = net(functools.partial(Scripted, backbone=backbone)).fit(X, Y)
            proba = model.predict_proba(X)
            np.testing.assert_array_equal(model.fit(X, Y).predict_proba(X), proba)
        for old, same, trained in zip(
            before,
            backbone.parameters(),
            model.module_.backbone.parameters(),
            strict=True,
        ):
            assert torch.equal(old, same)
            assert not torch.equal(old, trained)

    def test_a_warm_start_does_not_change_the_module_fitted_before(self):
        model = net(nn.Linear, warm_start=True).fit(X, Y)
        module, before = model.module_, state_of(model.module_)
        model.fit(X, Y)
        assert_unchanged(module, before)


class Hooked(nn.Module):
    r"""Has a forward hook that refers to ``self``, and so cannot be copied."""

    def __init__(self, n_features, n_classes):
        super().__init__()
        self.linear = nn.Linear(n_features, n_classes)
        self.kept = []
        self.linear.register_forward_hook(lambda *args: self.kept.append(args[-1]))

    def forward(self, x):
        self.linear(x)
        return self.kept.pop()


def make_normalized(n_features, n_classes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        # The old form of weight normalization: its computed tensor cannot be copied.
        return nn.utils.weight_norm(nn.Linear(n_features, n_classes))


class TestModulesWithoutACopy:
    @pytest.mark.parametrize("make", [Hooked, make_normalized])
    def test_modules_without_a_copy_are_trained_if_each_call_builds_one(self, make):
        model = net(make, max_epochs=20)
        proba = model.fit(X, Y).predict_proba(X)
        np.testing.assert_array_equal(model.fit(X, Y).predict_proba(X), proba)
        assert model.score(X, Y) > 1 / 3

    @pytest.mark.parametrize("make", [Hooked, make_normalized])
    def test_modules_without_a_copy_are_trained_further_by_a_warm_start(self, make):
        model = net(make, max_epochs=20, warm_start=True).fit(X, Y)
        module, before = model.module_, model.predict_proba(X)
        losses = model.loss_curve_
        model.fit(X, Y)
        assert model.loss_curve_[0] < losses[0]
        kept = model.module_
        model.module_ = module
        np.testing.assert_array_equal(model.predict_proba(X), before)
        assert kept is not module

    @pytest.mark.parametrize("make", [Hooked, make_normalized])
    def test_a_module_without_a_copy_that_calls_share_is_an_error(self, make):
        module = make(N_FEATURES, 3)
        before = state_of(module)
        with pytest.raises(ValueError, match=r"in two calls.*create all layers inside"):
            net(lambda d, k: module).fit(X, Y)
        assert_unchanged(module, before)

    @pytest.mark.parametrize("parametrize", ["weight_norm", "orthogonal"])
    def test_parametrized_layers_are_copied(self, parametrize):
        function = getattr(nn.utils.parametrizations, parametrize)
        layer = function(nn.Linear(N_FEATURES, N_FEATURES))
        before = state_of(layer)
        model = net(lambda d, k: nn.Sequential(layer, nn.Linear(d, k)))
        proba = model.fit(X, Y).predict_proba(X)
        np.testing.assert_array_equal(model.fit(X, Y).predict_proba(X), proba)
        assert_unchanged(layer, before)


class Counting:
    r"""A transform that counts its calls."""

    def __init__(self):
        self.n_calls = 0

    def __call__(self, images):
        self.n_calls += 1
        return images + 0.1 * self.n_calls


class CountingModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("n_calls", torch.zeros(()))

    def forward(self, images):
        self.n_calls += 1
        return images + 0.1 * self.n_calls


@pytest.mark.parametrize("kind", [Counting, CountingModule])
@pytest.mark.parametrize("is_partial", [False, True])
def test_augmentation_of_the_caller_is_not_changed(kind, is_partial):
    transform = kind()
    function = functools.partial(Counting.__call__, transform)
    model = SoftmaxCNNClassifier(
        (2, 3),
        channels=(4,),
        augmentation=function if is_partial and kind is Counting else transform,
        max_epochs=2,
        random_state=0,
    )
    proba = model.fit(X, Y).predict_proba(X)
    assert transform.n_calls == 0
    np.testing.assert_array_equal(model.fit(X, Y).predict_proba(X), proba)


def test_clone_of_a_fitted_classifier_fits_the_same():
    X, y = load_iris(return_X_y=True)
    model = net(with_head, module_params={"backbone": nn.Linear(4, WIDTH)})
    proba = model.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(clone(model).fit(X, y).predict_proba(X), proba)


def make_in_place(n_features, n_classes):
    return nn.Sequential(nn.ReLU(inplace=True), nn.Linear(n_features, n_classes))


def test_a_module_that_works_in_place_does_not_change_the_rows():
    X, y = load_iris(return_X_y=True)
    X = (X - X.mean(0)).astype(np.float32)
    before = X.copy()
    # Rows for validation that are passed go to the module without an index: uncopied.
    model = net(make_in_place, early_stopping=True)
    model.fit(X, y, X_val=X, y_val=y).predict_proba(X)
    np.testing.assert_array_equal(X, before)
