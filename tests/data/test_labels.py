r"""Labels among objects: numbers, booleans, and other types."""

import decimal

import numpy as np
import pandas as pd
import pytest

from .tables import (
    CLASSIFIERS,
    DATES,
    EVERY,
    FRAME,
    N_ROWS,
    PYTHON_DATES,
    X,
    every,
    of_objects,
    outputs,
    y,
)

LABELS = {
    "int": (y.astype(object), np.int64),
    "list of NumPy's": (np.array([np.int8(i) for i in y], dtype=object), np.int64),
    "bool": ((y > 0).astype(object), np.bool_),
    "float": (y.astype(float).astype(object), np.float64),
    "Decimal": (np.array([decimal.Decimal(int(i)) for i in y]), np.float64),
    "Int64": (pd.Series(y, dtype="Int64"), np.int64),
    "boolean": (pd.Series(y > 0, dtype="boolean"), np.bool_),
    "int64[pyarrow]": (pd.Series(y, dtype="int64[pyarrow]"), np.int64),
    "column of objects": (FRAME.assign(y=y).astype(object)["y"], np.int64),
}


class TestLabels:
    @every
    @pytest.mark.parametrize("kind", LABELS)
    def test_numbers_and_booleans_among_objects(self, make, kind):
        labels, dtype = LABELS[kind]
        model = make().fit(X, labels)
        assert model.classes_.dtype == dtype
        assert model.classes_.tolist() == [0, 1]
        expected = outputs(make().fit(X, y), X)
        # A search has folds of its own for labels that it does not know.
        if make is not EVERY["search"]:
            assert np.array_equal(outputs(model, X), expected)
        if hasattr(model, "predict"):
            assert (model.predict(X) == np.asarray(labels, dtype=dtype)).mean() > 0.4

    @pytest.mark.parametrize("name", ["regression", "minibatch", "mlp", "cnn", "net"])
    def test_in_every_place(self, name):
        make, labels = CLASSIFIERS[name], y.astype(object)
        model = make().fit(X, labels)
        assert model.score(X, labels) == model.score(X, y)
        parts = make().partial_fit(X, labels, classes=np.array([0, 1], dtype=object))
        assert parts.partial_fit(X, y).classes_.dtype == np.int64
        if name != "regression":
            make().fit(X, labels, X_val=X, y_val=labels)
            make(class_weight={0: 1.0, 1: 2.0}).fit(X, labels)

    @every
    @pytest.mark.parametrize(
        "labels",
        [
            pd.Series(DATES.to_period("D")[y]),
            pd.Series(pd.interval_range(0, periods=2)[y]),
            pd.Series(pd.qcut(X[:, 0], 2)),
            pd.Series(DATES.tz_localize("UTC")[y]),
            of_objects(PYTHON_DATES[i].date() for i in y),
            np.array([True, 1, 2] * (N_ROWS // 3), dtype=object),
            np.array([2**70 * int(i) for i in y], dtype=object),
        ],
        ids=["period", "interval", "cut", "time zone", "date", "mixed", "huge"],
    )
    def test_other_objects_are_refused_with_a_remedy(self, make, labels):
        with pytest.raises(ValueError, match=r"Unknown label type: .*y.astype\(str\)"):
            make().fit(X, labels)
        text = np.array([str(label) for label in labels])
        assert len(make().fit(X, text).classes_) >= 2
