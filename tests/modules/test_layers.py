r"""Dropout: its rate, expectation, gradient and generator."""

import pickle

import pytest
import torch

from sksoftmax.modules import Dropout


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class TestDropout:
    @pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
    def test_expectation_and_rate(self, p):
        dropout = Dropout(p)
        dropout.generator = generator()
        out = dropout(torch.ones(400_000))
        assert (out == 0).float().mean().item() == pytest.approx(p, abs=5e-3)
        assert out.mean().item() == pytest.approx(1, abs=1e-2)

    def test_gradient_passes_where_the_value_does(self):
        dropout = Dropout(0.5)
        dropout.generator = generator()
        x = torch.ones(1000, requires_grad=True)
        out = dropout(x)
        out.sum().backward()
        assert torch.equal(x.grad, out.detach())

    @pytest.mark.parametrize(
        "change",
        [
            lambda x: x.transpose(1, 2),
            lambda x: x[:, :1].expand(-1, 30, -1),
            lambda x: x[:, :, ::2],
            lambda x: x[:0],
        ],
        ids=["transposed", "expanded", "every second", "empty"],
    )
    def test_any_order_of_memory(self, change):
        dropout = Dropout(0.5)
        dropout.generator = generator()
        x = change(torch.randn(20, 30, 40, generator=generator()))
        kept = dropout(x)
        assert kept.shape == x.shape
        assert torch.equal(kept[kept != 0], (2 * x)[kept != 0])
        if len(x):
            assert (kept == 0).float().mean().item() == pytest.approx(0.5, abs=0.02)
            # Equal elements of an expanded tensor are dropped one by one.
            assert (kept[:, 0] == 0).float().mean().item() == pytest.approx(
                0.5, abs=0.1
            )
            assert not torch.equal(kept[:, 0] == 0, kept[:, 1] == 0)

    def test_evaluation_and_zero_rate_are_the_identity(self):
        x = torch.randn(10, generator=generator())
        assert Dropout(0.5).eval()(x) is x
        assert Dropout(0.0)(x) is x

    def test_seed_decides_and_the_state_is_pickled(self):
        dropout = Dropout(0.5)
        dropout.generator = generator(3)
        copy = pickle.loads(pickle.dumps(dropout))
        x = torch.ones(100)
        assert torch.equal(dropout(x), copy(x))
        assert not torch.equal(dropout(x), Dropout(0.5).eval()(x))

    @pytest.mark.parametrize("p", [-0.1, 1.0, 2])
    def test_impossible_rate(self, p):
        with pytest.raises(ValueError, match=r"Got p=.*expected a number in \[0, 1\)"):
            Dropout(p)
