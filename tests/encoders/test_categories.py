r"""Tables with missing values and categories, as they come."""

import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.utils import get_tags

from sksoftmax import SoftmaxMLPClassifier, SoftmaxRegression
from sksoftmax.modules import InputScaling, SoftmaxMLP, TableInput

N_ROWS = 240
RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.choice(["red", "green", "blue"], N_ROWS)
SIZES = RANDOM.normal(5, 2, N_ROWS)
NOISE = RANDOM.normal(0, 1, N_ROWS)
IS_GREEN = np.where(COLOURS == "green", "yes", "no")
IS_MISSING = RANDOM.random(N_ROWS) < 0.4

FRAME = pd.DataFrame({"size": SIZES, "colour": COLOURS, "noise": NOISE})


def mlp(**params):
    params = {
        "hidden_layer_sizes": (32,),
        "n_estimators": 1,
        "max_epochs": 30,
        "learning_rate": 0.01,
        "input_dropout": 0.0,
        "n_bins": None,
        "random_state": 0,
        **params,
    }
    return SoftmaxMLPClassifier(**params)


@pytest.fixture(scope="module")
def of_colours():
    return mlp().fit(FRAME, IS_GREEN)


def probabilities_are_equal(model, X, other, Y):
    return model.predict_proba(X).tobytes() == other.predict_proba(Y).tobytes()


class TestTableInput:
    @pytest.mark.parametrize("method", ["standard", "smooth", None])
    def test_is_what_a_column_transformer_does(self, method):
        # a column of numbers, one with missing values, categories, both
        table = np.column_stack(
            [
                SIZES,
                np.where(IS_MISSING, np.nan, NOISE),
                np.searchsorted(["blue", "green", "red"], COLOURS),
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


PANDAS = {
    "object": lambda values: pd.Series(values, dtype=object),
    "string": lambda values: pd.Series(values, dtype="string"),
    "str": lambda values: pd.Series(values),
    "category": lambda values: pd.Series(values, dtype="category"),
}
POLARS = {
    "String": lambda values: pl.Series(values.tolist(), dtype=pl.String),
    "Categorical": lambda values: pl.Series(values.tolist(), dtype=pl.Categorical),
    "Enum": lambda values: pl.Series(
        values.tolist(), dtype=pl.Enum(["red", "green", "blue", "white"])
    ),
}


class TestCategories:
    def test_of_colours(self, of_colours):
        assert of_colours.score(FRAME, IS_GREEN) == 1
        assert of_colours.is_categorical_.tolist() == [False, True, False]
        assert of_colours.categories_[0] is None
        assert of_colours.categories_[1].tolist() == ["blue", "green", "red"]
        assert of_colours.feature_names_in_.tolist() == ["size", "colour", "noise"]
        # two numbers, three colours
        assert of_colours.module_.input_scaling.n_outputs == 5

    @pytest.mark.parametrize("dtype", PANDAS)
    def test_pandas_dtypes(self, dtype, of_colours):
        frame = FRAME.assign(colour=PANDAS[dtype](COLOURS))
        model = mlp().fit(frame, IS_GREEN)
        assert probabilities_are_equal(model, frame, of_colours, FRAME)
        assert probabilities_are_equal(model, FRAME, of_colours, frame)

    @pytest.mark.parametrize("dtype", POLARS)
    def test_polars_dtypes(self, dtype, of_colours):
        frame = pl.DataFrame(
            {"size": SIZES, "colour": POLARS[dtype](COLOURS), "noise": NOISE}
        )
        model = mlp().fit(frame, IS_GREEN)
        assert model.categories_[1].tolist() == ["blue", "green", "red"]
        assert probabilities_are_equal(model, frame, of_colours, FRAME)
        assert probabilities_are_equal(of_colours, frame, model, FRAME)

    @pytest.mark.parametrize("dtype", [bool, "boolean", object, pl.Boolean])
    def test_booleans(self, dtype):
        is_green = COLOURS == "green"
        if dtype is pl.Boolean:
            frame = pl.DataFrame({"green": is_green, "noise": NOISE})
        else:
            green = pd.Series(is_green).astype(dtype)
            frame = pd.DataFrame({"green": green, "noise": NOISE})
        model = mlp().fit(frame, IS_GREEN)
        assert model.is_categorical_.tolist() == [True, False]
        assert model.categories_[0].tolist() == [False, True]
        assert model.score(frame, IS_GREEN) == 1
        numbers = pd.DataFrame({"green": is_green.astype(int), "noise": NOISE})
        assert probabilities_are_equal(model, frame, model, numbers)
        of_numbers = mlp().fit(numbers.astype({"green": "category"}), IS_GREEN)
        assert probabilities_are_equal(of_numbers, numbers, of_numbers, frame)

    def test_float32_stays(self):
        frame = FRAME.astype({"size": "float32", "noise": "float32"})
        model = mlp(max_epochs=2).fit(frame, IS_GREEN)
        assert model.predict_proba(frame).dtype == np.float32
        assert model.predict_proba(FRAME).dtype == np.float64

    @pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
    def test_only_categories(self, kind):
        frame = kind({"colour": COLOURS})
        model = mlp().fit(frame, IS_GREEN)
        assert model.score(frame, IS_GREEN) == 1
        assert model.predict_proba(frame).dtype == np.float64

    @pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
    def test_unknown_is_missing(self, missing, of_colours):
        unknown, absent = (
            FRAME.assign(colour=pd.Series([value] * N_ROWS, dtype=object))
            for value in ("pink", missing)
        )
        with pytest.warns(UserWarning, match="none of the 240 values .* 'pink' for"):
            assert probabilities_are_equal(of_colours, unknown, of_colours, absent)
        # Another type of value is as unknown as another value.
        other = FRAME.assign(colour=3.5)
        with pytest.warns(UserWarning, match="none of the 240 values .* 3.5 for"):
            assert probabilities_are_equal(of_colours, other, of_colours, absent)

    @pytest.mark.parametrize("n_categories", [3, 20])
    def test_missing_category_is_learned(self, n_categories):
        letters = np.array([f"c{i}" for i in range(n_categories)], dtype=object)
        values = letters[np.arange(N_ROWS) % n_categories]
        values[IS_MISSING] = None
        frame = pd.DataFrame({"a": values, "b": NOISE})
        model = mlp().fit(frame, IS_MISSING)
        assert len(model.categories_[0]) == n_categories
        assert model.score(frame, IS_MISSING) == 1
        with pytest.warns(UserWarning, match="none of the 240 values of column 'a'"):
            assert model.predict(frame.assign(a="unknown")).all()

    @pytest.mark.parametrize("share_weights", [False, True])
    def test_members_do_not_tell_each_other_the_classes(self, share_weights):
        # Every row is a category of its own, and its class is drawn.
        rng = np.random.default_rng(0)
        X = pd.DataFrame({"name": [f"row {i}" for i in range(100)]})
        y = rng.permutation(100) % 2
        model = SoftmaxMLPClassifier(share_weights=share_weights, random_state=0)
        with pytest.warns(UserWarning, match="'name' has 100 different values"):
            model.fit(X, y)
        # It learns the rows by heart, but nobody knows those that it left out.
        assert model.loss_curve_[-1] < 0.1
        assert max(model.validation_scores_) < -0.6

    def test_many_categories_are_learned(self):
        shops = np.array([f"shop {i}" for i in range(30)])[np.arange(N_ROWS) % 30]
        y = np.arange(N_ROWS) % 30 % 4
        frame = pd.DataFrame({"shop": shops, "noise": NOISE})
        model = mlp().fit(frame, y)
        assert model.module_.input_scaling.n_outputs == 1 + 8
        assert model.score(frame, y) == 1

    def test_mixed_types(self):
        values = np.array(["a", 1, None, 2.5], dtype=object)[np.arange(N_ROWS) % 4]
        y = np.arange(N_ROWS) % 4
        frame = pd.DataFrame({"a": values, "b": NOISE})
        model = mlp().fit(frame, y)
        assert sorted(map(str, model.categories_[0])) == ["1", "2.5", "a"]
        assert model.score(frame, y) == 1

    def test_all_missing_text(self):
        frame = FRAME.assign(size=pd.Series([None] * N_ROWS, dtype=object))
        model = mlp().fit(frame, IS_GREEN)
        assert model.is_categorical_.tolist() == [True, True, False]
        assert model.categories_[0].tolist() == []
        assert model.score(frame, IS_GREEN) == 1
        assert model.score(frame.assign(size="large"), IS_GREEN) == 1

    def test_the_table_is_left_as_it_was(self):
        frames = FRAME.copy(), pl.DataFrame(FRAME.to_dict("list"))
        array = FRAME.to_numpy()
        model = mlp(max_epochs=1)
        for frame in frames:
            model.fit(frame, IS_GREEN).predict(frame)
        pd.testing.assert_frame_equal(frames[0], FRAME)
        assert frames[1].rows() == list(FRAME.itertuples(index=False, name=None))
        before = array.copy()
        model.set_params(categorical_features=[1]).fit(array, IS_GREEN).predict(array)
        assert (array == before).all()

    def test_unused_declared_categories_are_not_learned_from(self):
        dtype = pd.CategoricalDtype(["white", "red", "green", "blue"])
        model = mlp(max_epochs=1).fit(FRAME.astype({"colour": dtype}), IS_GREEN)
        assert model.categories_[1].tolist() == ["red", "green", "blue"]


INTEGERS = np.column_stack([SIZES, np.searchsorted(["blue", "green", "red"], COLOURS)])


class TestCategoricalFeatures:
    @pytest.mark.parametrize(
        "chosen",
        [["colour"], [1], [False, True, False], np.array([1]), np.array(["colour"])],
    )
    def test_mask_names_and_indices_are_the_same(self, chosen, of_colours):
        model = mlp(categorical_features=chosen).fit(FRAME, IS_GREEN)
        assert probabilities_are_equal(model, FRAME, of_colours, FRAME)

    def test_array_of_numbers(self, of_colours):
        array = np.column_stack([INTEGERS, NOISE])
        model = mlp(categorical_features=[1]).fit(array, IS_GREEN)
        assert model.categories_[1].tolist() == [0, 1, 2]
        assert probabilities_are_equal(model, array, of_colours, FRAME)
        array[:, 1] = 7
        absent = array.copy()
        absent[:, 1] = np.nan
        with pytest.warns(UserWarning, match="none of the 240 values of column 1"):
            assert probabilities_are_equal(model, array, model, absent)

    def test_array_of_integers(self):
        X = INTEGERS.astype(np.int64)
        model = mlp(categorical_features=[1]).fit(X, IS_GREEN)
        assert model.score(X, IS_GREEN) == 1

    @pytest.mark.parametrize("convert", [lambda X: X, lambda X: X.tolist()])
    def test_array_or_list_of_objects(self, convert, of_colours):
        array = convert(FRAME.to_numpy())
        model = mlp(categorical_features=[1]).fit(array, IS_GREEN)
        assert probabilities_are_equal(model, array, of_colours, FRAME)

    def test_array_of_objects_with_missing_numbers(self):
        array = FRAME.to_numpy()
        array[IS_MISSING, 0] = None
        model = mlp(categorical_features=[1]).fit(array, IS_MISSING)
        assert model.score(array, IS_MISSING) == 1

    def test_numeric_column_of_a_frame(self):
        frame = pd.DataFrame(INTEGERS, columns=["size", "colour"])
        model = mlp(categorical_features=["colour"]).fit(frame, IS_GREEN)
        assert model.is_categorical_.tolist() == [False, True]
        nullable = frame.convert_dtypes()
        assert probabilities_are_equal(model, frame, model, nullable)

    @pytest.mark.parametrize("nothing", [None, [], [False, False]])
    def test_none(self, nothing):
        plain = mlp(max_epochs=2).fit(INTEGERS, IS_GREEN)
        model = mlp(max_epochs=2, categorical_features=nothing).fit(INTEGERS, IS_GREEN)
        assert model.is_categorical_ is None
        assert probabilities_are_equal(model, INTEGERS, plain, INTEGERS)

    @pytest.mark.parametrize(
        ("X", "chosen", "message"),
        [
            (FRAME, ["color"], r"names \['color'\], but the columns of X are \['size'"),
            (FRAME, [-1], r"indices \[-1\], but X has 3 columns. Expected .* 0 to 2"),
            (FRAME, [1, 3], r"indices \[3\], but X has 3 columns"),
            (FRAME, [True, False], "mask of length 2, but X has 3 columns"),
            (FRAME, [1.5], r"categorical_features=\[1.5\], but expected a list of col"),
            (FRAME, [[1]], r"categorical_features=\[\[1\]\], but expected"),
            (FRAME, ["colour", 1], r"names \['1'\], but the columns of X are"),
            (INTEGERS, ["colour"], r"\['colour'\], but X has no column names"),
            (FRAME, None, r"text in X .*Name such columns in categorical_features"),
            (
                FRAME.round(),
                [0],
                "text in X .*'from_dtype' finds them in a pandas or polars",
            ),
            (FRAME.to_numpy(), "from_dtype", "text in X .*categorical_features"),
        ],
    )
    def test_what_is_wrong_is_refused(self, X, chosen, message):
        model = mlp(categorical_features=chosen)
        with pytest.raises(ValueError, match=message):
            model.fit(X, IS_GREEN)
        assert not [name for name in vars(model) if name.endswith("_")]

    def test_other_word_is_refused(self):
        with pytest.raises(ValueError, match="'categorical_features' parameter"):
            mlp(categorical_features="from_names").fit(FRAME, IS_GREEN)


class TestAfterFit:
    @pytest.mark.parametrize(
        ("X", "message"),
        [
            (FRAME.drop(columns="noise"), "(?s)feature names.*missing.*noise"),
            (FRAME[["colour", "size", "noise"]], "must be in the same order"),
            (FRAME.assign(size="large"), "text in X .*'large'"),
            (FRAME.assign(size=np.inf), "X contains infinity"),
        ],
    )
    def test_other_tables_are_refused(self, X, message, of_colours):
        with pytest.raises(ValueError, match=message):
            of_colours.predict(X)

    def test_other_number_of_columns_without_names(self):
        array = FRAME.to_numpy()
        model = mlp(categorical_features=[1], max_epochs=1).fit(array, IS_GREEN)
        with pytest.raises(ValueError, match=r"X has 2 features, but .* 3"):
            model.predict(array[:, :2])
        with pytest.raises(ValueError, match="Expected 2D array, got 1D array"):
            model.predict(np.ones(3))
        with pytest.raises(TypeError, match=r"[Ss]parse data was passed"):
            model.predict(sparse.csr_array(INTEGERS))

    def test_pickle(self, of_colours):
        again = pickle.loads(pickle.dumps(of_colours))
        assert probabilities_are_equal(again, FRAME, of_colours, FRAME)
        assert again.categories_[1].tolist() == ["blue", "green", "red"]

    def test_clone_and_refit(self, of_colours):
        again = clone(of_colours).fit(FRAME, IS_GREEN)
        assert probabilities_are_equal(again, FRAME, of_colours, FRAME)

    def test_refit_to_numbers_forgets_the_categories(self):
        model = mlp(max_epochs=1).fit(FRAME, IS_GREEN)
        model.fit(INTEGERS, IS_GREEN)
        assert model.is_categorical_ is None
        assert model.predict(INTEGERS[:1]).shape == (1,)

    def test_failed_refit_keeps_the_categories(self, of_colours):
        model = copy.deepcopy(of_colours)
        with pytest.raises(ValueError, match="one class"):
            model.fit(FRAME.assign(colour="white"), ["no"] * N_ROWS)
        assert model.categories_[1].tolist() == ["blue", "green", "red"]
        assert probabilities_are_equal(model, FRAME, of_colours, FRAME)

    def test_row_alone_and_among_others(self, of_colours):
        together = of_colours.predict_proba(FRAME)
        for i in (0, 100):
            alone = of_colours.predict_proba(FRAME.iloc[[i]])
            assert alone.tobytes() == together[i].tobytes()

    @pytest.mark.parametrize("validation", ["held out", "passed"])
    def test_early_stopping(self, validation):
        frame = FRAME.copy()
        frame.loc[IS_MISSING, "size"] = np.nan
        later = frame.assign(colour=np.where(COLOURS == "red", "pink", COLOURS))
        passed = {"X_val": later, "y_val": IS_GREEN} if validation == "passed" else {}
        model = mlp(early_stopping=True).fit(frame, IS_GREEN, **passed)
        assert len(model.validation_scores_) == model.n_iter_
        assert model.score(frame, IS_GREEN) == 1

    def test_search_cross_validation_and_pipeline(self):
        model = make_pipeline(FunctionTransformer(), mlp())
        assert cross_val_score(model, FRAME, IS_GREEN, cv=3).min() > 0.95
        polars = pl.DataFrame(FRAME.to_dict("list"))
        assert cross_val_score(model, polars, IS_GREEN, cv=3).min() > 0.95
        search = GridSearchCV(
            mlp(), {"categorical_features": ["from_dtype", ["colour"]]}, cv=2
        )
        assert search.fit(FRAME, IS_GREEN).best_score_ > 0.95


class TestContinuing:
    def test_partial_fit_knows_declared_categories(self):
        dtype = pd.CategoricalDtype(["red", "green", "blue"])
        frame = FRAME.astype({"colour": dtype})
        order = np.argsort(COLOURS, kind="stable")
        model = mlp()
        for _ in range(15):
            # The first part has blue rows only.
            for rows in np.array_split(order, 6):
                model.partial_fit(
                    frame.iloc[rows], IS_GREEN[rows], classes=["no", "yes"]
                )
        assert model.categories_[1].tolist() == ["red", "green", "blue"]
        assert model.score(frame, IS_GREEN) == 1

    def test_partial_fit_knows_a_polars_enum(self):
        frame = pl.DataFrame({"colour": POLARS["Enum"](COLOURS), "noise": NOISE})
        model = mlp().partial_fit(frame[:5], IS_GREEN[:5], classes=["no", "yes"])
        assert model.categories_[0].tolist() == ["red", "green", "blue", "white"]

    def test_partial_fit_keeps_the_first_categories(self):
        is_red = COLOURS == "red"
        model = mlp()
        model.partial_fit(FRAME[~is_red], IS_GREEN[~is_red], classes=["no", "yes"])
        width = model.module_.input_scaling.n_outputs
        model.partial_fit(FRAME, IS_GREEN)
        assert model.categories_[1].tolist() == ["blue", "green"]
        assert model.module_.input_scaling.n_outputs == width

    def test_missing_values_that_come_later(self):
        X = np.column_stack([SIZES, NOISE])
        model = mlp().partial_fit(X, IS_GREEN, classes=["no", "yes"])
        X[IS_MISSING, 0] = np.nan
        model.partial_fit(X, IS_GREEN)
        seen = np.concatenate([SIZES, SIZES[~IS_MISSING]])
        scaling = model.module_.input_scaling.scaling
        assert scaling.mean[0].item() == pytest.approx(seen.mean())
        assert np.isfinite(model.predict_proba(X)).all()

    def test_warm_start_keeps_the_categories(self):
        model = mlp(warm_start=True, max_epochs=5).fit(FRAME, IS_GREEN)
        first_loss = model.loss_curve_[0]
        is_red = COLOURS == "red"
        model.fit(FRAME[~is_red], IS_GREEN[~is_red])
        assert model.categories_[1].tolist() == ["blue", "green", "red"]
        assert model.loss_curve_[0] < 0.5 * first_loss
        with (
            pytest.warns(ConvergenceWarning, match="learned nothing"),
            pytest.warns(UserWarning, match="none of the 240 values of .* 'pink'"),
        ):
            model.fit(FRAME.assign(colour="pink"), IS_GREEN)
        assert model.categories_[1].tolist() == ["blue", "green", "red"]

    def test_warm_start_needs_the_same_categorical_columns(self):
        model = mlp(warm_start=True, max_epochs=1).fit(FRAME, IS_GREEN)
        message = r"is_categorical_=\[False, True, False\], but the new data gives .*No"
        with pytest.raises(ValueError, match=message):
            model.fit(FRAME.assign(colour=1.0), IS_GREEN)
        assert model.categories_[1].tolist() == ["blue", "green", "red"]
