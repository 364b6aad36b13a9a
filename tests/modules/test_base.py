r"""The base of the modules, and what a plain module counts as."""

import pytest
import torch
from torch import nn

from sksoftmax.modules import (
    InputScaling,
    SoftmaxCNN,
    SoftmaxLinear,
    SoftmaxMLP,
    TableInput,
    Temperature,
)
from sksoftmax.modules._base import (
    SoftmaxModule,
    favor_class,
    generator_of,
    input_scaling_of,
    largest_product_of,
    set_generator,
    temperature_of,
)


def make_mlp(**options):
    options |= {"generator": torch.Generator()}
    return SoftmaxMLP(4, 3, hidden_layer_sizes=(5,), **options)


def make_cnn():
    generator = torch.Generator()
    return SoftmaxCNN((1, 8, 8), 3, channels=(4,), generator=generator)


def make_plain():
    return nn.utils.skip_init(nn.Linear, 4, 3)


@pytest.mark.parametrize("make", [lambda: SoftmaxLinear(4, 3), make_mlp, make_cnn])
def test_modules_of_the_library_have_the_base(make):
    module = make()
    assert isinstance(module, SoftmaxModule)
    with module.without_input_dropout():
        assert module.n_estimators == 1


@pytest.mark.parametrize("options", [{}, {"missing": [True] * 4}])
def test_input_scaling(options):
    scaling = input_scaling_of(make_mlp(input_scaling="smooth", **options))
    assert isinstance(scaling, TableInput if options else InputScaling)


def test_without_input_scaling():
    assert input_scaling_of(make_mlp()) is None
    assert input_scaling_of(SoftmaxLinear(4, 3)) is None


def test_temperature():
    assert isinstance(temperature_of(make_mlp()), Temperature)
    assert temperature_of(SoftmaxLinear(4, 3)) is None


def test_largest_product_of_an_mlp_counts_all_members():
    assert largest_product_of(make_mlp()) == 20
    assert largest_product_of(make_mlp(n_estimators=3)) == 60
    assert largest_product_of(make_mlp(n_estimators=3, share_weights=True)) == 60


class TestPlainModule:
    def test_counts_as_a_module_without_attributes(self):
        module = make_plain()
        assert input_scaling_of(module) is None
        assert temperature_of(module) is None
        assert largest_product_of(module) == 0
        assert generator_of(module) is None

    def test_other_attributes_of_these_names_are_ignored(self):
        module = make_plain()
        module.input_scaling = nn.LayerNorm(4)
        module.temperature = 2.0
        module.largest_product = "large"
        assert input_scaling_of(module) is None
        assert temperature_of(module) is None
        assert largest_product_of(module) == 0

    def test_layers_of_the_library_are_found(self):
        module = make_plain()
        module.input_scaling = InputScaling((4,))
        module.temperature = Temperature()
        assert input_scaling_of(module) is module.input_scaling
        assert temperature_of(module) is module.temperature


def test_generator_is_set_in_all_layers_that_draw():
    module = make_mlp(dropout=0.5, input_dropout=0.5)
    generator = torch.Generator()
    set_generator(module, generator)
    assert generator_of(module) is generator
    assert module.input_dropout.generator is module.hidden[-1].generator


@pytest.mark.parametrize("n_estimators", [1, 3])
def test_favored_class_is_nearly_certain(n_estimators):
    module = make_mlp(n_estimators=n_estimators).eval()
    favor_class(module, 1, 3)
    proba = module(torch.zeros(2, 4)).softmax(1)
    assert (proba[:, [0, 2]] < 1e-7).all()


def test_favored_class_without_a_bias_changes_nothing():
    module = make_plain()
    module.bias = None
    module.weight.data.fill_(1)
    favor_class(module, 1, 3)
    assert (module.weight == 1).all()
