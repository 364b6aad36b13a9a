r"""Our optimizers compute what PyTorch's do."""

import copy
import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn
from torch.nn import functional as F

from sksoftmax._training.optimizers import SGD, Adam, AdamW

PAIRS = [
    (Adam, torch.optim.Adam, {"weight_decay": 0.1}),
    (AdamW, torch.optim.AdamW, {"weight_decay": 0.1}),
    (SGD, torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.1}),
]
IDS = ["adam", "adamw", "sgd"]


def module_and_batches(n_batches=10):
    generator = torch.Generator().manual_seed(0)
    module = nn.Sequential(
        nn.utils.skip_init(nn.Linear, 7, 19),
        nn.Tanh(),
        nn.utils.skip_init(nn.Linear, 19, 3),
    )
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=generator)
    batches = [
        (
            torch.randn(8, 7, generator=generator),
            torch.randint(3, (8,), generator=generator),
        )
        for _ in range(n_batches)
    ]
    return module, batches


def groups(module):
    matrices = [p for p in module.parameters() if p.ndim == 2]
    vectors = [p for p in module.parameters() if p.ndim == 1]
    return [{"params": matrices}, {"params": vectors, "weight_decay": 0.0, "lr": 0.05}]


def take_steps(module, optimizer, batches):
    for X, y in batches:
        optimizer.zero_grad()
        F.cross_entropy(module(X), y).backward()
        optimizer.step()


def assert_same_parameters(module, other):
    for ours, theirs in zip(module.parameters(), other.parameters(), strict=True):
        assert_allclose(ours.detach(), theirs.detach(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("ours", "theirs", "options"), PAIRS, ids=IDS)
class TestAgainstPyTorch:
    def test_same_steps(self, ours, theirs, options):
        module, batches = module_and_batches()
        other = copy.deepcopy(module)
        take_steps(
            module, ours(groups(module), lr=0.01, fused=True, **options), batches
        )
        take_steps(
            other, theirs(groups(other), lr=0.01, fused=True, **options), batches
        )
        assert_same_parameters(module, other)

    def test_state_can_be_exchanged(self, ours, theirs, options):
        module, batches = module_and_batches()
        optimizer = ours(groups(module), lr=0.01, fused=True, **options)
        take_steps(module, optimizer, batches[:5])
        other = copy.deepcopy(module)
        continued = theirs(groups(other), lr=0.01, fused=True, **options)
        # PyTorch would share the tensors of the state otherwise.
        continued.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        take_steps(module, optimizer, batches[5:])
        take_steps(other, continued, batches[5:])
        assert_same_parameters(module, other)

    def test_pickled_optimizer_goes_on(self, ours, theirs, options):
        module, batches = module_and_batches()
        optimizer = ours(groups(module), lr=0.01, fused=True, **options)
        take_steps(module, optimizer, batches[:5])
        other, continued = pickle.loads(pickle.dumps((module, optimizer)))
        take_steps(module, optimizer, batches[5:])
        take_steps(other, continued, batches[5:])
        assert_same_parameters(module, other)

    def test_parameter_without_gradient_is_left_alone(self, ours, theirs, options):
        module, batches = module_and_batches()
        before = module[0].weight.detach().clone()
        module[0].weight.requires_grad_(False)
        optimizer = ours(module.parameters(), lr=0.01, fused=True, **options)
        take_steps(module, optimizer, batches)
        assert torch.equal(module[0].weight, before)

    def test_closure(self, ours, theirs, options):
        module, [(X, y), *_] = module_and_batches()
        optimizer = ours(module.parameters(), lr=0.01, fused=True, **options)

        def closure():
            optimizer.zero_grad()
            loss = F.cross_entropy(module(X), y)
            loss.backward()
            return loss

        first = optimizer.step(closure).item()
        assert optimizer.step(closure).item() < first

    def test_averages_of_vanished_gradients_do_not_become_denormal(
        self, ours, theirs, options
    ):
        def denormal_numbers(make):
            parameter = nn.Parameter(torch.ones(100))
            optimizer = make([parameter], lr=0.01, fused=True, **options)
            parameter.grad = torch.full((100,), 1e-3)
            optimizer.step()
            parameter.grad = torch.zeros(100)
            n_denormal = 0
            optimizer.param_groups[0]["weight_decay"] = 0.0
            for _ in range(1200):
                optimizer.step()
                for average in optimizer.state[parameter].values():
                    tiny = torch.finfo(torch.float32).tiny
                    is_denormal = (average != 0) & (average.abs() < tiny)
                    n_denormal += int(is_denormal.sum())
            return n_denormal, parameter.detach()

        (n_ours, ours_end), (n_theirs, theirs_end) = map(
            denormal_numbers, (ours, theirs)
        )
        assert n_ours == 0
        assert n_theirs > 0
        assert np.array_equal(ours_end, theirs_end)

    @pytest.mark.parametrize(
        "steps_with_gradient",
        [{3, 4, 5, 6, 7, 8, 9}, {0, 1, 2}, {0, 1, 5, 6, 9}, {2, 8}],
        ids=["late", "early", "with breaks", "rare"],
    )
    def test_gradients_that_are_missing_in_some_steps(
        self, ours, theirs, options, steps_with_gradient
    ):
        module, batches = module_and_batches()
        other = copy.deepcopy(module)
        # PyTorch's fused SGD fails where only some parameters have a momentum.
        pairs = [
            (module, ours(groups(module), lr=0.01, fused=True, **options)),
            (other, theirs(groups(other), lr=0.01, fused=False, **options)),
        ]
        for step, batch in enumerate(batches):
            for trained, optimizer in pairs:
                trained[0].requires_grad_(step in steps_with_gradient)
                take_steps(trained, optimizer, [batch])
        assert_same_parameters(module, other)

    def test_sparse_gradients_are_as_dense_ones(self, ours, theirs, options):
        def trained(make, is_sparse):
            generator = torch.Generator().manual_seed(0)
            weight = torch.randn(5, 3, generator=generator)
            layer = nn.Embedding.from_pretrained(weight, freeze=False, sparse=is_sparse)
            optimizer = make(layer.parameters(), lr=0.01, fused=True, **options)
            for index in ([0, 1, 1], [1, 4], [2, 2]):
                optimizer.zero_grad()
                layer(torch.tensor(index)).square().sum().backward()
                optimizer.step()
            return layer.weight.detach()

        assert torch.equal(trained(ours, True), trained(ours, False))
        assert_allclose(trained(ours, True), trained(theirs, False), rtol=1e-6)

    def test_parameters_of_two_dtypes(self, ours, theirs, options):
        def trained(make):
            parameters = [
                nn.Parameter(torch.ones(3, dtype=dtype))
                for dtype in (torch.float32, torch.float64)
            ]
            optimizer = make(parameters, lr=0.01, fused=True, **options)
            for scale in (1.0, -0.5, 0.2):
                for parameter in parameters:
                    parameter.grad = scale * torch.ones_like(parameter)
                optimizer.step()
            return parameters

        for parameter, expected in zip(trained(ours), trained(theirs), strict=True):
            assert_allclose(parameter.detach(), expected.detach(), rtol=1e-6)
