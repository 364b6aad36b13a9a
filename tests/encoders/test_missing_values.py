r"""Missing values among the features of the perceptron."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.datasets import load_iris
from sklearn.utils import get_tags

from sksoftmax import SoftmaxMLPClassifier, SoftmaxRegression
from sksoftmax.modules import InputScaling

from .colors import (
    IS_GREEN,
    IS_MISSING,
    N_ROWS,
    NOISE,
    SIZES,
    mlp,
    probabilities_are_equal,
)


class TestMissingValues:
    @pytest.mark.parametrize("input_scaling", ["smooth", "standard"])
    def test_column_without_variance_has_no_effect(self, input_scaling):
        X, y = load_iris(return_X_y=True)
        table = np.column_stack([X, np.full(len(X), 7.0)])
        classifier = SoftmaxMLPClassifier(
            (8,), input_scaling=input_scaling, max_epochs=3, random_state=0
        ).fit(table, y)
        expected = classifier.predict_proba(table)
        table[:, -1] += np.logspace(-3, 12, len(X))
        np.testing.assert_allclose(classifier.predict_proba(table), expected, atol=1e-6)

    def test_missingness_is_learned(self):
        X = np.column_stack([SIZES, NOISE])
        X[IS_MISSING, 0] = np.nan
        model = mlp().fit(X, IS_MISSING)
        assert model.score(X, IS_MISSING) == 1
        assert model.is_categorical_ is None
        assert model.categories_ is None
        assert model.module_.input_scaling.n_outputs == 3

    def test_table_without_missing_values_has_the_plain_module(self):
        X = np.column_stack([SIZES, NOISE])
        model = mlp().fit(X, IS_GREEN)
        assert type(model.module_.input_scaling) is InputScaling

    @pytest.mark.parametrize("input_scaling", ["smooth", "standard"])
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_missing_only_in_prediction_counts_as_the_mean(self, input_scaling, dtype):
        X = np.column_stack([SIZES, NOISE]).astype(dtype)
        model = mlp(input_scaling=input_scaling, max_epochs=3).fit(X, IS_GREEN)
        rows = X[:3].copy()
        rows[:, 0] = np.nan
        scaling = model.module_.input_scaling
        mean = scaling.mean.double() + scaling.mean_remainder.double()
        filled = rows.copy()
        filled[:, 0] = mean[0].item()
        assert model.predict_proba(rows).dtype == dtype
        np.testing.assert_allclose(
            model.predict_proba(rows), model.predict_proba(filled), atol=1e-6
        )

    def test_all_missing_column(self):
        X = np.column_stack([np.full(N_ROWS, np.nan), np.where(IS_MISSING, 1, -1)])
        model = mlp().fit(X, IS_MISSING)
        assert model.score(X, IS_MISSING) == 1
        X[:, 0] = 0
        assert np.isfinite(model.predict_log_proba(X)).all()

    def test_all_values_missing_in_prediction(self):
        X = np.column_stack([SIZES, NOISE])
        model = mlp(max_epochs=3).fit(X, IS_GREEN)
        assert np.isfinite(model.predict_proba(np.full((2, 2), np.nan))).all()

    @pytest.mark.parametrize("value", [np.inf, -np.inf])
    def test_infinity_beside_missing_values_is_still_refused(self, value):
        X = np.column_stack([SIZES, NOISE])
        X[0, 0] = np.nan
        model = mlp(max_epochs=2).fit(X, IS_GREEN)
        X[1, 1] = value
        with pytest.raises(ValueError, match="X contains infinity"):
            model.predict(X)
        with pytest.raises(ValueError, match="X contains infinity"):
            model.fit(X, IS_GREEN)

    def test_too_large_beside_missing_values_is_still_refused(self):
        X = np.column_stack([SIZES, NOISE])
        X[0, 0] = np.nan
        X[1, 1] = -1e39
        with pytest.raises(ValueError, match=r"size 1e\+39, too large"):
            mlp().fit(X, IS_GREEN)

    def test_rows_of_weight_zero_do_not_add_an_input(self):
        X = np.column_stack([SIZES, NOISE])
        X[0, 0] = np.nan
        weight = np.ones(N_ROWS)
        weight[0] = 0
        model = mlp(max_epochs=2).fit(X, IS_GREEN, sample_weight=weight)
        assert type(model.module_.input_scaling) is InputScaling

    @pytest.mark.parametrize("dtype", ["Int64", "Float64", "Float32", object])
    def test_pandas_missing_values(self, dtype):
        numbers = pd.Series(np.arange(N_ROWS) % 7).astype(dtype)
        missing = None if dtype is object else pd.NA
        frame = pd.DataFrame({"a": numbers, "b": NOISE})
        frame.loc[IS_MISSING, "a"] = missing
        array = np.column_stack([np.arange(N_ROWS) % 7, NOISE]).astype(float)
        array[IS_MISSING, 0] = np.nan
        model, plain = (mlp(max_epochs=3) for _ in range(2))
        model.fit(frame, IS_GREEN)
        plain.fit(array, IS_GREEN)
        assert model.is_categorical_ is None
        assert probabilities_are_equal(model, frame, plain, array)

    def test_polars_null(self):
        array = np.column_stack([np.arange(N_ROWS), NOISE])
        array[IS_MISSING, 0] = np.nan
        frame = pl.DataFrame(
            {
                "a": [None if m else i for i, m in enumerate(IS_MISSING)],
                "b": NOISE,
            }
        )
        assert frame["a"].dtype == pl.Int64
        model, plain = (mlp(max_epochs=3) for _ in range(2))
        model.fit(frame, IS_GREEN)
        plain.fit(array, IS_GREEN)
        assert probabilities_are_equal(model, frame, plain, array)

    def test_tags(self):
        assert get_tags(mlp()).input_tags.allow_nan
        assert not get_tags(SoftmaxRegression()).input_tags.allow_nan
