r"""Categorical columns of tables: found, encoded and learned from."""

import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sksoftmax import SoftmaxMLPClassifier

from .colors import (
    COLORS,
    FRAME,
    INTEGERS,
    IS_GREEN,
    IS_MISSING,
    N_ROWS,
    NOISE,
    SIZES,
    mlp,
    probabilities_are_equal,
)

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
    def test_of_colors(self, of_colors):
        assert of_colors.score(FRAME, IS_GREEN) == 1
        assert of_colors.is_categorical_.tolist() == [False, True, False]
        assert of_colors.categories_[0] is None
        assert of_colors.categories_[1].tolist() == ["blue", "green", "red"]
        assert of_colors.feature_names_in_.tolist() == ["size", "color", "noise"]
        # two numbers, three colors
        assert of_colors.module_.input_scaling.n_outputs == 5

    @pytest.mark.parametrize("dtype", PANDAS)
    def test_pandas_dtypes(self, dtype, of_colors):
        frame = FRAME.assign(color=PANDAS[dtype](COLORS))
        model = mlp().fit(frame, IS_GREEN)
        assert probabilities_are_equal(model, frame, of_colors, FRAME)
        assert probabilities_are_equal(model, FRAME, of_colors, frame)

    @pytest.mark.parametrize("dtype", POLARS)
    def test_polars_dtypes(self, dtype, of_colors):
        frame = pl.DataFrame(
            {"size": SIZES, "color": POLARS[dtype](COLORS), "noise": NOISE}
        )
        model = mlp().fit(frame, IS_GREEN)
        assert model.categories_[1].tolist() == ["blue", "green", "red"]
        assert probabilities_are_equal(model, frame, of_colors, FRAME)
        assert probabilities_are_equal(of_colors, frame, model, FRAME)

    @pytest.mark.parametrize("dtype", [bool, "boolean", object, pl.Boolean])
    def test_booleans(self, dtype):
        is_green = COLORS == "green"
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
        frame = kind({"color": COLORS})
        model = mlp().fit(frame, IS_GREEN)
        assert model.score(frame, IS_GREEN) == 1
        assert model.predict_proba(frame).dtype == np.float64

    @pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
    def test_unknown_is_missing(self, missing, of_colors):
        unknown, absent = (
            FRAME.assign(color=pd.Series([value] * N_ROWS, dtype=object))
            for value in ("pink", missing)
        )
        with pytest.warns(UserWarning, match="none of the 240 values .* 'pink' for"):
            assert probabilities_are_equal(of_colors, unknown, of_colors, absent)
        # Another type of value is as unknown as another value.
        other = FRAME.assign(color=3.5)
        with pytest.warns(UserWarning, match="none of the 240 values .* 3.5 for"):
            assert probabilities_are_equal(of_colors, other, of_colors, absent)

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
        # The net memorizes the training rows and does not predict the validation rows.
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
        model = mlp(max_epochs=1).fit(FRAME.astype({"color": dtype}), IS_GREEN)
        assert model.categories_[1].tolist() == ["red", "green", "blue"]


class TestAfterFit:
    @pytest.mark.parametrize(
        ("X", "message"),
        [
            (FRAME.drop(columns="noise"), "(?s)feature names.*missing.*noise"),
            (FRAME[["color", "size", "noise"]], "must be in the same order"),
            (FRAME.assign(size="large"), "text in X .*'large'"),
            (FRAME.assign(size=np.inf), "X contains infinity"),
        ],
    )
    def test_other_tables_are_refused(self, X, message, of_colors):
        with pytest.raises(ValueError, match=message):
            of_colors.predict(X)

    def test_other_number_of_columns_without_names(self):
        array = FRAME.to_numpy()
        model = mlp(categorical_features=[1], max_epochs=1).fit(array, IS_GREEN)
        with pytest.raises(ValueError, match=r"X has 2 features, but .* 3"):
            model.predict(array[:, :2])
        with pytest.raises(ValueError, match="Expected 2D array, got 1D array"):
            model.predict(np.ones(3))
        with pytest.raises(ValueError, match=r"X has 2 features, but .* 3"):
            model.predict(sparse.csr_array(INTEGERS))

    def test_pickle(self, of_colors):
        again = pickle.loads(pickle.dumps(of_colors))
        assert probabilities_are_equal(again, FRAME, of_colors, FRAME)
        assert again.categories_[1].tolist() == ["blue", "green", "red"]

    def test_clone_and_refit(self, of_colors):
        again = clone(of_colors).fit(FRAME, IS_GREEN)
        assert probabilities_are_equal(again, FRAME, of_colors, FRAME)

    def test_refit_to_numbers_forgets_the_categories(self):
        model = mlp(max_epochs=1).fit(FRAME, IS_GREEN)
        model.fit(INTEGERS, IS_GREEN)
        assert model.is_categorical_ is None
        assert model.predict(INTEGERS[:1]).shape == (1,)

    def test_failed_refit_keeps_the_categories(self, of_colors):
        model = copy.deepcopy(of_colors)
        with pytest.raises(ValueError, match="one class"):
            model.fit(FRAME.assign(color="white"), ["no"] * N_ROWS)
        assert model.categories_[1].tolist() == ["blue", "green", "red"]
        assert probabilities_are_equal(model, FRAME, of_colors, FRAME)

    def test_row_alone_and_among_others(self, of_colors):
        together = of_colors.predict_proba(FRAME)
        for i in (0, 100):
            alone = of_colors.predict_proba(FRAME.iloc[[i]])
            assert alone.tobytes() == together[i].tobytes()

    @pytest.mark.parametrize("validation", ["held out", "passed"])
    def test_early_stopping(self, validation):
        frame = FRAME.copy()
        frame.loc[IS_MISSING, "size"] = np.nan
        later = frame.assign(color=np.where(COLORS == "red", "pink", COLORS))
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
            mlp(), {"categorical_features": ["from_dtype", ["color"]]}, cv=2
        )
        assert search.fit(FRAME, IS_GREEN).best_score_ > 0.95


class TestContinuing:
    def test_partial_fit_knows_declared_categories(self):
        dtype = pd.CategoricalDtype(["red", "green", "blue"])
        frame = FRAME.astype({"color": dtype})
        order = np.argsort(COLORS, kind="stable")
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
        frame = pl.DataFrame({"color": POLARS["Enum"](COLORS), "noise": NOISE})
        model = mlp().partial_fit(frame[:5], IS_GREEN[:5], classes=["no", "yes"])
        assert model.categories_[0].tolist() == ["red", "green", "blue", "white"]

    def test_partial_fit_keeps_the_first_categories(self):
        is_red = COLORS == "red"
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
        is_red = COLORS == "red"
        model.fit(FRAME[~is_red], IS_GREEN[~is_red])
        assert model.categories_[1].tolist() == ["blue", "green", "red"]
        assert model.loss_curve_[0] < 0.5 * first_loss
        with (
            pytest.warns(ConvergenceWarning, match="learned nothing"),
            pytest.warns(UserWarning, match="none of the 240 values of .* 'pink'"),
        ):
            model.fit(FRAME.assign(color="pink"), IS_GREEN)
        assert model.categories_[1].tolist() == ["blue", "green", "red"]

    def test_warm_start_needs_the_same_categorical_columns(self):
        model = mlp(warm_start=True, max_epochs=1).fit(FRAME, IS_GREEN)
        message = r"is_categorical_=\[False, True, False\], but the new data gives .*No"
        with pytest.raises(ValueError, match=message):
            model.fit(FRAME.assign(color=1.0), IS_GREEN)
        assert model.categories_[1].tolist() == ["blue", "green", "red"]
