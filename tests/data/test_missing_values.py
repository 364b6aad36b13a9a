r"""Missing values in rows, labels and weights of any container."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from .tables import (
    DATES,
    EVERY,
    FRAME,
    MLP,
    N_ROWS,
    X,
    classifiers_alone,
    every_alone,
    outputs,
    y,
)

HOLES = X > 1.5
FILLED = np.where(HOLES, np.nan, X)

MISSING = {
    "masked": np.ma.MaskedArray(X, HOLES),
    "masked integers": np.ma.MaskedArray(X.astype(int), HOLES),
    "masked objects": np.ma.MaskedArray(X.astype(object), HOLES),
    "masked rows": list(np.ma.MaskedArray(X, HOLES)),
    "Float64": FRAME.astype("Float64").mask(HOLES),
    "Int64": FRAME.round().astype("Int64").mask(HOLES),
    "pyarrow": FRAME.astype("double[pyarrow]").mask(HOLES),
    "objects: None": np.where(HOLES, None, X),
    "objects: NA": np.where(HOLES, pd.NA, X.astype(object)),
    "frame of objects: NA": FRAME.astype(object).mask(HOLES, pd.NA),
    "list: None": np.where(HOLES, None, X).tolist(),
    "list: NA": np.where(HOLES, pd.NA, X.astype(object)).tolist(),
    "polars": pl.DataFrame(FRAME.astype(object).mask(HOLES, None).to_dict("list")),
    "arrow table": pa.table(FRAME.astype("Float64").mask(HOLES)),
}


class TestMissingValues:
    @pytest.mark.parametrize("kind", MISSING)
    def test_are_nan(self, kind):
        table = MISSING[kind]
        integers = np.trunc(FILLED) if "integers" in kind else np.round(FILLED)
        filled = integers if "integers" in kind or kind == "Int64" else FILLED
        model = MLP().fit(table, y)
        assert model.is_categorical_ is None
        expected = MLP().fit(filled, y).predict_proba(filled)
        assert np.array_equal(model.predict_proba(table), expected)

    @every_alone
    @pytest.mark.parametrize("kind", MISSING)
    def test_are_refused_where_they_are_not_taken(self, make, kind):
        if make is EVERY["mlp"]:
            return
        with pytest.raises(ValueError, match="X contains NaN"):
            make().fit(MISSING[kind], y)
        model = make().fit(X, y)
        # Names of columns give a warning of their own.
        if isinstance(MISSING[kind], np.ndarray):
            with pytest.raises(ValueError, match="X contains NaN"):
                outputs(model, MISSING[kind])

    @every_alone
    def test_mask_of_nothing(self, make):
        expected = outputs(make().fit(X, y), X)
        table, labels = np.ma.MaskedArray(X), np.ma.MaskedArray(y)
        assert np.array_equal(outputs(make().fit(table, labels), table), expected)

    @every_alone
    @pytest.mark.parametrize(
        "labels",
        [
            np.ma.MaskedArray(y, y == 1),
            np.ma.MaskedArray(np.where(y, "a", "b"), np.arange(N_ROWS) == 3),
            pd.Series([pd.NA, *y[1:]], dtype=object),
            pd.Series([None, *y[1:]], dtype="Int64"),
            [None, *y[1:].tolist()],
        ],
        ids=["masked", "masked text", "objects", "Int64", "list"],
    )
    def test_of_labels(self, make, labels):
        with pytest.raises(ValueError, match=r"Input y contains NaN: .* missing"):
            make().fit(X, labels)

    @classifiers_alone
    @pytest.mark.parametrize(
        "weight",
        [
            np.ma.MaskedArray(np.ones(N_ROWS), y == 1),
            pd.Series([None, *y[1:]], dtype="Int64"),
            [None, *y[1:].tolist()],
        ],
        ids=["masked", "Int64", "list"],
    )
    def test_of_weights(self, make, weight):
        with pytest.raises(ValueError, match="sample_weight contains NaN"):
            make().fit(X, y, sample_weight=weight)
        with pytest.raises(TypeError, match="sample_weight of dtype datetime64"):
            make().fit(X, y, sample_weight=DATES)

    def test_the_callers_array_is_left_as_it_was(self):
        masked = np.ma.MaskedArray(X.copy(), HOLES)
        objects = MISSING["objects: NA"].copy()
        frame = MISSING["frame of objects: NA"].copy()
        for table in (masked, objects, frame):
            MLP().fit(table, y)
        assert np.array_equal(masked.data, X)
        assert np.array_equal(masked.mask, HOLES)
        assert all(value is pd.NA for value in objects[HOLES])
        pd.testing.assert_frame_equal(frame, MISSING["frame of objects: NA"])
