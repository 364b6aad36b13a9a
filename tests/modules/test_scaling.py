r"""Statistics of InputScaling: means, scales, roots of counts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.preprocessing import StandardScaler

from sksoftmax.modules import InputScaling


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class TestInputScaling:
    @settings(deadline=None, max_examples=25)
    @given(
        seed=st.integers(0, 2**16),
        n_samples=st.integers(2, 60),
        offset=st.sampled_from([0.0, -3.0, 1e6]),
        unit=st.sampled_from([1e-6, 1.0, 1e6]),
        parts=st.integers(1, 4),
    )
    def test_agrees_with_standard_scaler(self, seed, n_samples, offset, unit, parts):
        X = np.random.default_rng(seed).normal(offset, 1, (n_samples, 3)) * unit
        scaling = InputScaling((3,), method="standard")
        for part in np.array_split(X, parts):
            scaling.update(torch.tensor(part))
        expected = StandardScaler().fit_transform(X)
        assert_allclose(scaling(torch.tensor(X)), expected, atol=1e-4)

    def test_weights_stand_for_repetitions(self):
        X = torch.randn(20, 3, generator=generator())
        weight = torch.arange(20) % 3
        weighted, repeated = InputScaling((3,)), InputScaling((3,))
        weighted.update(X, weight)
        repeated.update(X.repeat_interleave(weight, dim=0))
        assert_allclose(weighted.mean, repeated.mean, atol=1e-6)
        assert_allclose(weighted.scale, repeated.scale, atol=1e-6)

    def test_large_offset_in_float64_keeps_the_differences(self):
        X = 1.6e9 + np.random.default_rng(0).normal(size=(50, 1))
        scaling = InputScaling((1,), method="standard")
        scaling.update(torch.tensor(X))
        z = scaling(torch.tensor(X)).numpy().astype(np.float64)
        assert np.corrcoef(z[:, 0], X[:, 0])[0, 1] > 0.999999
        assert z.std() == pytest.approx(1, abs=1e-3)

    def test_constant_feature_is_centered_and_other_values_stay_small(self):
        scaling = InputScaling((2,), method="standard")
        scaling.update(torch.tensor([[0.1, 1.0], [0.1, 3.0], [0.1, 5.0]]))
        assert_allclose(scaling(torch.tensor([[0.1, 3.0]])), [[0, 0]], atol=1e-6)
        # Nothing was learned of other values.
        assert_allclose(scaling(torch.tensor([[1e9, 3.0]])), [[0, 0]], atol=1e-6)

    def test_smooth_is_the_identity_near_zero_and_a_logarithm_far_from_it(self):
        scaling = InputScaling((1,), method="smooth")
        x = torch.tensor([[1e-3], [-1e-3], [1e6]])
        assert_allclose(scaling(x)[:2], x[:2], rtol=1e-5)
        assert scaling(x)[2].item() == pytest.approx(np.log(2e6), rel=1e-5)

    def test_smooth_takes_the_root_of_counts_only(self):
        rng = np.random.default_rng(0)
        counts = rng.poisson(2.0, 200)
        columns = [counts, counts / 2, -counts, counts.clip(max=1), 100 * counts]
        X = torch.tensor(np.column_stack(columns).astype(np.float64))
        X[0, 0] = torch.nan
        scaling = InputScaling((5,), method="smooth")
        scaling.update(X[:100])
        # Later rows do not change a feature's kind: its statistics would be wrong.
        scaling.update(X[100:] + 0.5)
        assert scaling.is_count.tolist() == [True, False, False, False, False]
        known = np.concatenate([counts[1:100], counts[100:] + 0.5])
        root = np.sqrt(known + 3 / 8)
        z = (root - root.mean()) / root.std()
        later = torch.full((101, 5), 0.0, dtype=torch.float64)
        later[:, 0] = torch.tensor(np.append(known[-100:], -1.0))
        scaled = scaling(later)[:, 0].numpy()
        assert_allclose(scaled[:-1], 4 * np.arcsinh(z[-100:] / 4), rtol=1e-5)
        # A value below 0 is no count, but not an error either.
        assert np.isfinite(scaled[-1])
        assert scaled[-1] < scaled[:-1].min()

    def test_rows_without_weight_make_no_difference_to_what_is_a_count(self):
        scaling = InputScaling((1,), method="smooth")
        X = torch.tensor([[0.0], [3.0], [0.5]])
        scaling.update(X, torch.tensor([1.0, 1.0, 0.0]))
        assert scaling.is_count.item()

    def test_channels_are_averaged_over_the_image(self):
        images = torch.randn(30, 2, 4, 5, generator=generator()) * 3 + 7
        scaling = InputScaling((2, 1, 1), method="standard")
        scaling.update(images)
        z = scaling(images)
        assert_allclose(z.mean((0, 2, 3)), [0, 0], atol=1e-5)
        assert_allclose(z.std((0, 2, 3), correction=0), [1, 1], atol=1e-5)
