r"""The layer for tables of numbers and categories."""

import numpy as np
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from sksoftmax.modules import InputScaling, SoftmaxMLP, TableInput

from ..encoders.colors import COLORS, IS_MISSING, N_ROWS, NOISE, SIZES


class TestTableInput:
    @pytest.mark.parametrize("method", ["standard", "smooth", None])
    def test_is_what_a_column_transformer_does(self, method):
        # a column of numbers, one with missing values, categories, both
        table = np.column_stack(
            [
                SIZES,
                np.where(IS_MISSING, np.nan, NOISE),
                np.searchsorted(["blue", "green", "red"], COLORS),
                np.where(NOISE > 1, np.nan, np.arange(N_ROWS) % 4),
            ]
        )
        by_method = {
            "standard": [StandardScaler()],
            "smooth": [StandardScaler(), FunctionTransformer(np.arcsinh)],
            None: [],
        }[method]
        fill = SimpleImputer(strategy="constant", fill_value=0.0)
        one_hot = OneHotEncoder(
            categories=[np.arange(3.0), np.arange(4.0)], handle_unknown="ignore"
        )
        by_hand = ColumnTransformer(
            [
                ("numbers", make_pipeline(*by_method, fill), [0, 1]),
                ("missing", MissingIndicator(features="all"), [1, 3]),
                ("categories", one_hot, [2, 3]),
            ],
            sparse_threshold=0,
        )
        layer = TableInput(
            [None, None, 3, 4], [False, True, False, True], method=method
        )
        for part in np.array_split(table, 5):
            layer.update(torch.tensor(part))
        outputs = layer(torch.tensor(table))
        assert outputs.dtype == torch.float32
        assert outputs.shape == (N_ROWS, layer.n_outputs)
        np.testing.assert_allclose(
            outputs.numpy(), by_hand.fit_transform(table), atol=2e-6
        )

    def test_many_categories_are_vectors(self):
        layer = TableInput([17, None], [True, False], method=None)
        assert layer.n_outputs == 1 + 8
        vectors = layer.embeddings[0].weight
        # Until they are learned, every category is an unknown one.
        assert not vectors.any()
        with torch.no_grad():
            vectors[1:] = torch.arange(17 * 8.0).view(17, 8)
        outputs = layer(torch.tensor([[0.0, 5.0], [16.0, 6.0], [torch.nan, 7.0]]))
        assert outputs[:, 0].tolist() == [5, 6, 7]
        assert torch.equal(outputs[:2, 1:], vectors[[1, 17]])
        assert not outputs[2, 1:].any()

    def test_each_member_has_its_own_vectors(self):
        layer = TableInput([17, None], [True, False], method=None, n_members=3)
        vectors = layer.embeddings[0].weight
        with torch.no_grad():
            vectors[1:] = torch.arange(17 * 24.0).view(17, 24)
        outputs = layer(torch.tensor([[0.0, 5.0], [torch.nan, 6.0]]))
        assert outputs.shape == (3, 2, layer.n_outputs) == (3, 2, 9)
        assert outputs[:, :, 0].tolist() == [[5, 6]] * 3
        assert torch.equal(outputs[:, 0, 1:].flatten(), vectors[1])
        assert not outputs[:, 1, 1:].any()

    def test_sixteen_categories_are_slots_and_more_are_vectors_of_eight(self):
        assert TableInput([16], [False]).n_outputs == 16
        assert TableInput([17], [False]).n_outputs == 8
        assert TableInput([100_000], [False]).n_outputs == 8

    def test_integers_go_in(self):
        layer = TableInput([None, 2], [True, False], method=None)
        outputs = layer(torch.tensor([[5, 1], [6, 0]]))
        assert outputs.tolist() == [[5, 0, 0, 1], [6, 0, 1, 0]]

    def test_only_categories(self):
        layer = TableInput([2], [False])
        layer.update(torch.tensor([[0.0], [1.0]]))
        assert layer(torch.tensor([[1.0], [torch.nan]])).tolist() == [[0, 1], [0, 0]]

    @pytest.mark.parametrize("cardinalities", [[None, 3, None], [None, 20, None]])
    def test_exports_without_shapes_that_depend_on_data(self, cardinalities):
        module = SoftmaxMLP(
            3,
            2,
            hidden_layer_sizes=(8,),
            input_scaling="smooth",
            cardinalities=cardinalities,
            missing=[True, True, False],
            generator=torch.Generator().manual_seed(0),
        ).eval()
        X = torch.tensor([[0.5, 1.0, 2.0], [torch.nan, torch.nan, 1.0]])
        batch = torch.export.Dim("batch", min=1, max=1000)
        exported = torch.export.export(module, (X,), dynamic_shapes=({0: batch},))
        larger = X.repeat(5, 1)
        torch.testing.assert_close(exported.module()(larger), module(larger))


class TestStatistics:
    def test_missing_values_are_left_out(self):
        X = np.column_stack([SIZES, NOISE])
        X[IS_MISSING, 0] = np.nan
        scaling = InputScaling((2,), method="standard")
        for part in np.array_split(X, 7):
            scaling.update(torch.tensor(part))
        np.testing.assert_allclose(scaling.mean, np.nanmean(X, 0), rtol=1e-6)
        np.testing.assert_allclose(scaling.scale, np.nanstd(X, 0), rtol=1e-6)
        assert scaling.weight_seen.tolist() == [(~IS_MISSING).sum(), N_ROWS]

    def test_weights_are_repetitions(self):
        X = np.where(IS_MISSING, np.nan, NOISE)[:, None]
        weight = np.arange(N_ROWS) % 3
        weighted, repeated = (InputScaling((1,)) for _ in range(2))
        weighted.update(torch.tensor(X), torch.tensor(weight))
        repeated.update(torch.tensor(np.repeat(X, weight, axis=0)))
        torch.testing.assert_close(weighted.mean, repeated.mean)
        torch.testing.assert_close(weighted.scale, repeated.scale)
        assert torch.equal(weighted.weight_seen, repeated.weight_seen)

    def test_pixels(self):
        X = torch.arange(12.0).reshape(2, 2, 3)
        X[0, 0, 1] = torch.nan
        scaling = InputScaling((2, 1), method="standard")
        scaling.update(X)
        assert scaling.mean.flatten().tolist() == pytest.approx([23 / 5, 7])
        assert scaling.weight_seen.flatten().tolist() == pytest.approx([5 / 3, 2])

    def test_column_seen_later(self):
        nan = torch.nan
        scaling = InputScaling((2,), method="standard")
        scaling.update(torch.tensor([[nan, 1.0], [nan, 3.0]]))
        assert scaling.mean.tolist() == [0, 2]
        assert scaling(torch.tensor([[7.0, 3.0]])).tolist() == [[pytest.approx(0), 1]]
        scaling.update(torch.tensor([[5.0, nan], [9.0, nan]]))
        assert scaling.mean.tolist() == [7, 2]
        assert scaling.scale.tolist() == [2, 1]

    def test_constant_column_with_missing_values(self):
        scaling = InputScaling((1,), method="standard")
        scaling.update(torch.tensor([[0.1], [torch.nan], [0.1]], dtype=torch.float64))
        scaled = scaling(torch.tensor([[0.1], [1.0]], dtype=torch.float64))
        assert scaled.flatten().tolist() == pytest.approx([0, 0], abs=1e-15)
