r"""Bad features, labels, weights and validation rows: errors, and nothing is lost."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.exceptions import DataConversionWarning
from sklearn.utils._param_validation import InvalidParameterError

from .bad_input import (
    BY_EPOCHS,
    CNN,
    EVERY,
    MLP,
    NAMES,
    NUMBERS_ONLY,
    ONES,
    SPECIES,
    MinibatchRegression,
    Net,
    Regression,
    Row,
    X,
    assert_refused_and_nothing_lost,
    changed,
    fit,
    fit_with,
    partial_fit,
    table,
    y,
)

NUMBERS_ONLY_BY_EPOCHS = [MinibatchRegression, CNN, Net]
FRAME = pd.DataFrame(X, columns=list("abcd"))


def predict(X, /):
    return lambda model: model.predict(X)


@table(
    Row("nan", fit(changed(X, np.nan), y), "X contains NaN", makes=NUMBERS_ONLY),
    Row(
        "nan in float32",
        fit(changed(X, np.nan, dtype="f4"), y),
        "X contains NaN",
        makes=NUMBERS_ONLY,
    ),
    Row("infinity", fit(changed(X, np.inf), y), "X contains infinity"),
    Row(
        "nan in predict",
        predict(changed(X, np.nan)),
        "X contains NaN",
        makes=NUMBERS_ONLY,
    ),
    Row("infinity in predict", predict(changed(X, -np.inf)), "X contains infinity"),
    Row(
        "missing",
        fit(FRAME.astype("Float64").mask(FRAME > 1), y),
        "X contains NaN",
        makes=NUMBERS_ONLY,
    ),
    Row("too large", fit(changed(X, 1e39), y), "1e[+]39, too large for .*float32"),
    Row("too large in predict", predict(changed(X, -1e300)), "1e[+]300, too large"),
    Row("no rows", fit(X[:0], y[:0]), r"0 sample\(s\) \(shape=\(0, 4\)\).*minimum"),
    Row("no rows in predict", predict(X[:0]), r"0 sample\(s\) \(shape=\(0, 4\)\)"),
    Row("no features", fit(X[:, :0], y), r"0 feature\(s\) \(shape=\(150, 0\)\)"),
    Row("1-D", fit(X[:, 0], y), "Expected 2D array, got 1D array"),
    Row("1-D in predict", predict(X[0]), r"Reshape your data.*reshape\(1, -1\)"),
    Row(
        "3-D",
        fit(X.reshape(150, 2, 2), y),
        r"dim 3, while dim <= 2 is required.*X\.reshape\(len\(X\), -1\)",
        makes=[Regression, MLP],
    ),
    Row(
        "axes after flat rows",
        predict(X.reshape(150, 4, 1)),
        r"fitted to flat rows of 4 features|expected rows of the shape of fit",
        makes=[CNN, Net],
    ),
    Row(
        "sparse",
        fit(sparse.csr_array(X), y),
        r"[Ss]parse data was passed.*dense.*toarray",
        TypeError,
        NUMBERS_ONLY_BY_EPOCHS,
    ),
    Row(
        "sparse in partial_fit",
        partial_fit(sparse.csr_array(X), y),
        r"does not take sparse X. Pass X.toarray\(\)",
        makes=[Regression],
    ),
    Row("complex", fit(X * 1j, y), "Complex data not supported"),
    Row(
        "text",
        fit(FRAME.assign(color="red"), y),
        "text in X .*'red'.* expected numbers. Encode .*OneHotEncoder",
        makes=NUMBERS_ONLY,
    ),
    Row(
        "text in an object array",
        fit(changed(X, "red", dtype=object), y),
        "text in X .*'red'.*OneHotEncoder",
        makes=NUMBERS_ONLY,
    ),
    Row(
        "text in polars",
        fit(pl.DataFrame({"a": X[:, 0], "b": SPECIES.tolist()}), y),
        "text in X .*'setosa'.*OneHotEncoder",
        makes=NUMBERS_ONLY,
    ),
    Row(
        "fewer features",
        predict(X[:, :3]),
        "X has 3 features, but Softmax.* is expecting 4 features",
    ),
)
def test_features(make, row):
    assert_refused_and_nothing_lost(make().fit(X, y), row)


@table(
    Row(
        "other names",
        predict(FRAME.rename(columns={"a": "first"})),
        "(?s)feature names should match.*unseen at fit time:.*- first.*missing.*- a",
    ),
    Row("other order", predict(FRAME[list("badc")]), "must be in the same order"),
    Row(
        "other names in polars",
        predict(pl.DataFrame(dict.fromkeys("abxd", X[:, 0]))),
        "(?s)feature names should match.*- x.*- c",
    ),
    Row(
        "other names in X_val",
        fit(FRAME, y, X_val=FRAME.rename(columns={"a": "first"}), y_val=y),
        "(?s)X_val.*feature names should match.*- first",
        makes=BY_EPOCHS,
    ),
)
def test_feature_names(make, row):
    assert_refused_and_nothing_lost(make().fit(FRAME, y), row, FRAME)


@table(
    Row(
        "one class",
        fit(X, np.full(150, "setosa")),
        "at least 2 classes .* one class: 'setosa'. Check y",
    ),
    Row("continuous", fit(X, y + 0.5), "Unknown label type: continuous"),
    Row("none", fit(X, None), "requires y to be passed, but the target y is None"),
    Row("nan", fit(X, changed(y, np.nan, dtype=float)), "y contains NaN"),
    Row("nan in text", fit(X, changed(SPECIES, np.nan, dtype=object)), "y contains"),
    Row("None in text", fit(X, changed(SPECIES, None, dtype=object)), "y contains"),
    Row(
        "None first in text",
        fit(X, changed(SPECIES, None, (0,), dtype=object)),
        "y contains",
    ),
    Row("NA", fit(X, pd.Series(SPECIES).mask(y == 1)), "y contains"),
    Row("null in polars", fit(X, pl.Series([None, *SPECIES[1:]])), "y contains"),
    Row("two columns", fit(X, np.column_stack([y, y])), r"should be a 1d array.*\(150"),
    Row("shorter y", fit(X, y[:-1]), "X has 150 rows, y has 149 labels"),
    Row("scalar", fit(X, "setosa"), r"should be a 1d array|a scalar"),
)
def test_target(make, row):
    assert_refused_and_nothing_lost(make().fit(X, y), row)


@table(
    Row(
        "negative",
        fit(X, y, sample_weight=changed(ONES, -0.5)),
        "Negative values .*`sample_weight`: the smallest is -0.5. Expected .* least 0",
    ),
    Row(
        "zeros",
        fit(X, y, sample_weight=0 * ONES),
        "ample weights must contain at least one non-zero",
    ),
    Row("nan", fit(X, y, sample_weight=changed(ONES, np.nan)), "sample_weight .* NaN"),
    Row("infinity", fit(X, y, sample_weight=changed(ONES, np.inf)), "infinity"),
    Row(
        "shorter",
        fit(X, y, sample_weight=ONES[:-1]),
        r"sample_weight.*\(149,\), expected \(150,\)",
    ),
    Row("two columns", fit(X, y, sample_weight=X), "[Ss]ample.?weight.* 1D array"),
    Row(
        "class unknown",
        fit_with(class_weight={3: 1.0, 7: 2.0}),
        r"class_weight names the classes \[3, 7\], but .* \[0, 1, 2\]",
    ),
    Row(
        "class negative",
        fit_with(class_weight={1: -2.0}),
        "class_weight gives class 1 the weight -2.0. Expected .* at least 0",
    ),
    Row("class nan", fit_with(class_weight={1: np.nan}), "class 1 the weight nan"),
    Row("class as text", fit_with(class_weight={1: "high"}), "the weight 'high'"),
    Row(
        "class zero but one",
        fit_with(class_weight={0: 0, 2: 0}),
        "at least 2 classes .* positive weight: .*1",
    ),
    Row(
        "class all zero",
        fit_with(class_weight={0: 0, 1: 0, 2: 0}),
        "class_weight|weight",
    ),
    Row(
        "class words",
        fit_with(class_weight="equal"),
        "'class_weight' parameter .*{'balanced'}.*Got 'equal'",
        InvalidParameterError,
    ),
)
def test_weights(make, row):
    assert_refused_and_nothing_lost(make().fit(X, y), row)


@table(
    Row("X_val alone", fit(X, y, X_val=X), "X_val=rows and y_val=None. Expected both"),
    Row("y_val alone", fit(X, y, y_val=y), "X_val=None and y_val=labels. Expected"),
    Row("weights alone", fit(X, y, sample_weight_val=ONES), "Expected both"),
    Row(
        "unknown label",
        fit(X, y, X_val=X[:2], y_val=[0, 5]),
        r"y_val contains the labels \[5\], but the classes are \[0, 1, 2\]",
    ),
    Row(
        "text for integers",
        fit(X, y, X_val=X, y_val=SPECIES),
        "y_val contains the labels .*'setosa'",
    ),
    Row(
        "numbers for text",
        fit(X, SPECIES.astype(object), X_val=X, y_val=y),
        r"y_val contains the labels \[0, 1, 2\]",
    ),
    Row(
        "shorter y_val", fit(X, y, X_val=X, y_val=y[:9]), "X_val has 150 .*y_val has 9"
    ),
    Row(
        "nan",
        fit(X, y, X_val=changed(X, np.nan), y_val=y),
        "X_val contains NaN",
        makes=NUMBERS_ONLY_BY_EPOCHS,
    ),
    Row("nan y_val", fit(X, y, X_val=X, y_val=y * np.nan), "y_val contains NaN"),
    Row(
        "fewer features",
        fit(X, y, X_val=X[:, :3], y_val=y),
        "X_val has 3 features, but .* 4",
    ),
    Row(
        "shorter weights",
        fit(X, y, X_val=X, y_val=y, sample_weight_val=[1.0]),
        r"sample_weight_val.*\(1,\), expected \(150,\)",
    ),
    Row(
        "negative weights",
        fit(X, y, X_val=X, y_val=y, sample_weight_val=-ONES),
        "Negative values in data passed to `sample_weight_val`",
    ),
    Row(
        "fraction too small",
        fit_with(early_stopping=True, validation_fraction=0.01),
        "leaves 148 rows .* 2 for validation.* each of the 3 classes .* or pass X_val",
    ),
    Row(
        "fraction too large",
        fit_with(early_stopping=True, validation_fraction=0.99),
        "leaves 1 rows for training and 149 for validation.* change validation_fract",
    ),
    Row(
        "class of one row",
        lambda model: model.set_params(early_stopping=True).fit(X[49:], y[49:]),
        "the rarest class has 1 of 101 rows. Expected at least one row of each",
    ),
    makes=BY_EPOCHS,
)
def test_validation_rows(make, row):
    assert_refused_and_nothing_lost(make().fit(X, y), row)


@pytest.mark.parametrize("make", EVERY, ids=NAMES.get)
def test_nameless_rows_after_names_warn(make):
    model = make().fit(FRAME, y)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X)


@pytest.mark.parametrize("make", EVERY, ids=NAMES.get)
def test_column_vector_warns(make):
    with pytest.warns(DataConversionWarning, match="column-vector y was passed"):
        model = make().fit(X, y[:, None])
    assert model.predict(X).shape == (150,)
