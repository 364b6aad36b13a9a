r"""The gradient that is written out: autograd's, for every kind of module."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sksoftmax import SoftmaxMLPClassifier
from sksoftmax._training.losses import WeightedCrossEntropy
from sksoftmax.modules import SoftmaxMLP

INPUTS = {
    "numbers": {},
    "bins": {"n_bins": [4] * 5},
    "bins-of-half": {"n_bins": [4] * 5, "half_with_bins": True},
    "vectors": {"n_bins": [4] * 5, "bin_vector_size": 3},
    "categories": {
        "n_bins": [4, 0, 4, 4, 0],
        "bin_vector_size": 3,
        "half_with_bins": True,
        "cardinalities": [None, 30, None, None, 3],
    },
}
ACTIVATIONS = ["relu", "gelu", "silu", "tanh", "identity"]


def make_module(inputs, **options):
    generator = torch.Generator().manual_seed(0)
    options = {"n_estimators": 3, "hidden_layer_sizes": (40, 8)} | options
    module = SoftmaxMLP(5, 3, generator=generator, **INPUTS[inputs], **options)
    return module.double()


def make_rows(inputs, n_rows=7):
    x = torch.rand(n_rows, 5, generator=torch.Generator().manual_seed(1)).double()
    if inputs == "categories":
        x[:, 1] = torch.arange(n_rows)
        x[:, 4] = torch.arange(n_rows) % 3
    return x, torch.arange(n_rows) % 3


def gradients(module):
    found = [p.grad.to_dense() for p in module.parameters()]
    for parameter in module.parameters():
        parameter.grad = None
    return found


@pytest.mark.parametrize("weight", [None, "row", "member", "zero"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("inputs", INPUTS)
def test_it_is_that_of_autograd(inputs, label_smoothing, weight):
    module = make_module(inputs)
    x, y = make_rows(inputs)
    shape = {None: (), "row": (7,), "member": (7, 3), "zero": (7,)}[weight]
    generator = torch.Generator().manual_seed(2)
    sample_weight = None
    if weight is not None:
        sample_weight = torch.rand(shape, generator=generator).double()
    if weight == "zero":
        sample_weight.zero_()
    loss, logits = module.set_gradients(
        module.encode(x), y, sample_weight, label_smoothing
    )
    ours = gradients(module)
    expected_logits = module(x)
    criterion = WeightedCrossEntropy(label_smoothing=label_smoothing)
    expected = criterion(expected_logits, y, sample_weight)
    torch.autograd.backward(3 * expected)
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(logits, expected_logits.detach())
    for gradient, reference in zip(ours, gradients(module), strict=True):
        torch.testing.assert_close(gradient, reference)


@settings(max_examples=30)
@given(
    st.sampled_from(ACTIVATIONS),
    st.lists(st.integers(1, 40), max_size=3),
    st.integers(2, 5),
    st.integers(1, 9),
    st.sampled_from(list(INPUTS)),
)
def test_any_layers(activation, sizes, n_members, n_rows, inputs):
    module = make_module(
        inputs,
        activation=activation,
        hidden_layer_sizes=sizes,
        n_estimators=n_members,
    )
    x, y = make_rows(inputs, n_rows)
    assert module.set_gradients(module.encode(x), y, None, 0.0) is not None
    ours = gradients(module)
    torch.autograd.backward(n_members * WeightedCrossEntropy()(module(x), y))
    for gradient, reference in zip(ours, gradients(module), strict=True):
        torch.testing.assert_close(gradient, reference)


@pytest.mark.parametrize(
    "options",
    [
        {"normalization": "batch"},
        {"dropout": 0.5},
        {"share_weights": True},
        {"n_estimators": 1},
    ],
)
def test_autograd_computes_that_of_other_layers(options):
    module = make_module("numbers", **options)
    x, y = make_rows("numbers")
    assert module.set_gradients(module.encode(x), y, None, 0.0) is None


@pytest.mark.parametrize("frozen", [["hidden.0"], ["hidden.2"], ["hidden"]])
@pytest.mark.parametrize("inputs", INPUTS)
def test_frozen_layers_get_no_gradient(inputs, frozen):
    module = make_module(inputs)
    for name in frozen:
        module.get_submodule(name).requires_grad_(False)
    x, y = make_rows(inputs)
    assert module.set_gradients(module.encode(x), y, None, 0.0) is not None
    ours = {name: p.grad for name, p in module.named_parameters()}
    module.zero_grad()
    torch.autograd.backward(3 * WeightedCrossEntropy()(module(x), y))
    for name, parameter in module.named_parameters():
        if any(name.startswith(prefix) for prefix in frozen):
            assert ours[name] is None
        else:
            torch.testing.assert_close(ours[name], parameter.grad)


@pytest.mark.parametrize("name", ["hidden.0.bias", "hidden.2.weight", "output"])
def test_autograd_computes_that_of_layers_frozen_in_part(name):
    module = make_module("numbers")
    for parameter_name, parameter in module.named_parameters():
        parameter.requires_grad_(not parameter_name.startswith(name))
    x, y = make_rows("numbers")
    assert module.set_gradients(module.encode(x), y, None, 0.0) is None


def test_a_large_table_is_encoded_by_batches_with_the_same_result(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(200, 4, generator=generator).numpy()
    y = X[:, 0] + X[:, 1] > 0
    classifier = SoftmaxMLPClassifier((16,), max_epochs=5, random_state=0)
    expected = torch.from_numpy(classifier.fit(X, y).predict_proba(X))
    monkeypatch.setattr("sksoftmax._training.train._MOST_ENCODED_NUMBERS", 0)
    found = torch.from_numpy(classifier.fit(X, y).predict_proba(X))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("sizes", [(40, 8), ()])
@pytest.mark.parametrize("inputs", INPUTS)
def test_only_members_of_a_row_are_computed(inputs, sizes, monkeypatch):
    module = make_module(inputs, n_estimators=6, hidden_layer_sizes=sizes).eval()
    x, _ = make_rows(inputs, 9)
    members = torch.zeros(9, 6, dtype=torch.bool)
    members[torch.arange(9), torch.arange(9) % 3] = True
    members[torch.arange(6), torch.arange(6) % 3 + 3] = True
    expected = module(x, members)
    monkeypatch.setattr("sksoftmax.modules._mlp._MANY_PRODUCTS", 0)
    torch.testing.assert_close(module(x, members), expected)
