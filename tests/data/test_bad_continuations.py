r"""Bad calls of partial_fit, warm starts and unfitted estimators."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.utils._param_validation import InvalidParameterError

from .bad_input import (
    EVERY,
    NAMES,
    NUMBERS_ONLY,
    ONES,
    SPECIES,
    Row,
    X,
    assert_refused_and_nothing_lost,
    changed,
    partial_fit,
    table,
    y,
)


@table(
    Row(
        "unseen label",
        partial_fit(X[:2], [0, 9]),
        r"y contains the labels \[9\], but the classes are \[0, 1, 2\].*`classes`",
    ),
    Row(
        "other classes",
        partial_fit(X, y, [0, 1, 2, 3]),
        r"`classes=\[0, 1, 2, 3\]` is not the same as on last call",
    ),
    Row("other features", partial_fit(X[:, :3], y), "X has 3 features, but .* 4"),
    Row(
        "nan", partial_fit(changed(X, np.nan), y), "X contains NaN", makes=NUMBERS_ONLY
    ),
    Row("shorter", partial_fit(X, y[:3]), "X has 150 rows, y has 3 labels"),
    Row(
        "early stopping",
        partial_fit(X, y, early_stopping=True),
        "partial_fit does not support early_stopping=True: .* Set early_stopping=False",
    ),
    Row(
        "balanced",
        partial_fit(X, y, class_weight="balanced"),
        "'balanced' is not supported for partial_fit, .* Pass .* as a dict",
    ),
    Row(
        "negative weights",
        partial_fit(X, y, None, -ONES),
        "Negative values .*`sample_weight`",
    ),
)
@pytest.mark.parametrize("fitted_by", ["fit", "partial_fit"])
def test_partial_fit(make, row, fitted_by):
    model = make()
    if fitted_by == "fit":
        model.fit(X, y)
    else:
        model.partial_fit(X, y, classes=[0, 1, 2])
    assert_refused_and_nothing_lost(model, row)


@table(
    Row("no classes", partial_fit(X, y), "classes must be passed on the first call"),
    Row("label", partial_fit(X, y, [0, 1]), r"labels \[2\], but the classes are \[0"),
    Row("one class", partial_fit(X, 0 * y, [0]), "at least 2 classes"),
    Row(
        "parameter",
        partial_fit(X, y, [0, 1, 2], learning_rate=-1),
        "'learning_rate' parameter .* range .0.0, inf.*Got -1",
        InvalidParameterError,
    ),
)
def test_first_partial_fit(make, row):
    model = make()
    with pytest.raises(row.error, match=row.message):
        row.call(model)
    assert not [name for name in vars(model) if name.endswith("_")]
    model.set_params(learning_rate=0.01).partial_fit(X, y, classes=[0, 1, 2])
    assert model.predict(X).shape == (150,)


@table(
    Row(
        "other classes",
        lambda model: model.fit(X[:100], SPECIES[:100]),
        "warm_start=True continues .*classes_=.*'virginica'.* but .* Expected the same",
    ),
    Row(
        "other kind of classes",
        lambda model: model.fit(X, y),
        r"classes_=\['setosa', .* the new data gives classes_=\[0, 1, 2\]",
    ),
    Row(
        "fewer features",
        lambda model: model.fit(X[:, :3], SPECIES),
        "n_features_in_=4, but the new data gives n_features_in_=3.*warm_start=False",
    ),
)
def test_warm_start(make, row):
    model = make(warm_start=True).fit(X, SPECIES)
    assert_refused_and_nothing_lost(model, row)


@pytest.mark.parametrize("make", EVERY, ids=NAMES.get)
@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "predict_log_proba", "decision_function"]
)
def test_not_fitted(make, method):
    with pytest.raises(NotFittedError, match=r"Softmax\w+ instance is not fitted yet"):
        getattr(make(), method)(X)


@pytest.mark.parametrize("make", EVERY, ids=NAMES.get)
def test_failed_first_fit_leaves_nothing(make):
    model = make()
    with pytest.raises(ValueError, match="one class"):
        model.fit(X, 0 * y)
    assert not [name for name in vars(model) if name.endswith("_")]
    with pytest.raises(NotFittedError):
        model.predict(X)
