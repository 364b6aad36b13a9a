r"""The parameter categorical_features: columns by mask, name or index."""

import numpy as np
import pandas as pd
import pytest

from .colors import (
    FRAME,
    INTEGERS,
    IS_GREEN,
    IS_MISSING,
    NOISE,
    mlp,
    probabilities_are_equal,
)


class TestCategoricalFeatures:
    @pytest.mark.parametrize(
        "chosen",
        [["color"], [1], [False, True, False], np.array([1]), np.array(["color"])],
    )
    def test_mask_names_and_indices_are_the_same(self, chosen, of_colors):
        model = mlp(categorical_features=chosen).fit(FRAME, IS_GREEN)
        assert probabilities_are_equal(model, FRAME, of_colors, FRAME)

    def test_array_of_numbers(self, of_colors):
        array = np.column_stack([INTEGERS, NOISE])
        model = mlp(categorical_features=[1]).fit(array, IS_GREEN)
        assert model.categories_[1].tolist() == [0, 1, 2]
        assert probabilities_are_equal(model, array, of_colors, FRAME)
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
    def test_array_or_list_of_objects(self, convert, of_colors):
        array = convert(FRAME.to_numpy())
        model = mlp(categorical_features=[1]).fit(array, IS_GREEN)
        assert probabilities_are_equal(model, array, of_colors, FRAME)

    def test_array_of_objects_with_missing_numbers(self):
        array = FRAME.to_numpy()
        array[IS_MISSING, 0] = None
        model = mlp(categorical_features=[1]).fit(array, IS_MISSING)
        assert model.score(array, IS_MISSING) == 1

    def test_numeric_column_of_a_frame(self):
        frame = pd.DataFrame(INTEGERS, columns=["size", "color"])
        model = mlp(categorical_features=["color"]).fit(frame, IS_GREEN)
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
            (
                FRAME,
                ["weight"],
                r"names \['weight'\], but the columns of X are \['size'",
            ),
            (FRAME, [-1], r"indices \[-1\], but X has 3 columns. Expected .* 0 to 2"),
            (FRAME, [1, 3], r"indices \[3\], but X has 3 columns"),
            (FRAME, [True, False], "mask of length 2, but X has 3 columns"),
            (FRAME, [1.5], r"categorical_features=\[1.5\], but expected a list of col"),
            (FRAME, [[1]], r"categorical_features=\[\[1\]\], but expected"),
            (FRAME, ["color", 1], r"names \['1'\], but the columns of X are"),
            (INTEGERS, ["color"], r"\['color'\], but X has no column names"),
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
