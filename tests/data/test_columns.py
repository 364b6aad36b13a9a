r"""Columns that hold neither numbers nor categories are refused by name."""

import datetime
import decimal
import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from sksoftmax import (
    SoftmaxRegression,
)

from .tables import (
    DATES,
    EVERY,
    FRAME,
    MLP,
    N_ROWS,
    POLARS,
    PYTHON_DATES,
    X,
    every,
    of_objects,
    outputs,
    y,
)

EXACT = ["regression", "mlp", "neighbors"]


def with_column(values):
    return FRAME.assign(when=values)


def with_polars_column(values):
    return POLARS.with_columns(pl.Series("when", values))


DATE_COLUMNS = {
    "pandas": with_column(DATES),
    "seconds": with_column(DATES.astype("datetime64[s]")),
    "nanoseconds": with_column(DATES.astype("datetime64[ns]")),
    "time zone": with_column(DATES.tz_localize("Europe/Berlin")),
    "objects: date": with_column(of_objects(d.date() for d in PYTHON_DATES)),
    "objects: datetime": with_column(of_objects(PYTHON_DATES)),
    "objects: Timestamp": with_column(of_objects(DATES)),
    "objects: datetime64": with_column(of_objects(DATES.values)),
    "objects: date after None": with_column(
        of_objects([None, *(d.date() for d in PYTHON_DATES[1:])])
    ),
    "pyarrow date": with_column(
        of_objects(d.date() for d in PYTHON_DATES).astype(pd.ArrowDtype(pa.date32()))
    ),
    "pyarrow timestamp": with_column(DATES.astype("timestamp[us][pyarrow]")),
    "pyarrow table": pa.Table.from_pandas(with_column(DATES)),
    "polars date": with_polars_column([d.date() for d in PYTHON_DATES]),
    "polars datetime": with_polars_column(PYTHON_DATES),
}

OTHER_COLUMNS = {
    "periods": with_column(DATES.to_period("D")),
    "intervals": with_column(pd.interval_range(0, periods=N_ROWS)),
    "durations": with_column(DATES - DATES[0]),
    "durations (timedelta)": with_column(of_objects([datetime.timedelta(1)] * N_ROWS)),
    "durations (timedelta64)": with_column(of_objects((DATES - DATES[0]).values)),
    "durations (Duration": with_polars_column([datetime.timedelta(1)] * N_ROWS),
    "times of day (time)": with_column(of_objects([datetime.time(5)] * N_ROWS)),
    "times of day (Time)": with_polars_column([datetime.time(5)] * N_ROWS),
    "complex numbers": with_column(X[:, 0] * 1j),
    "bytes": with_column(of_objects([b"1"] * N_ROWS)),
    "sequences (list)": with_column(of_objects([[1, 2]] * N_ROWS)),
    "sequences (List(": with_polars_column([[1, 2]] * N_ROWS),
    "records (Struct(": with_polars_column([{"a": 1}] * N_ROWS),
    "objects (object)": with_column(of_objects([object()] * N_ROWS)),
}


# The MLP takes dates and durations; tests/encoders/test_dates.py has the tests of it.
REFUSES_DATES = [make for name, make in EVERY.items() if name != "mlp"]
refuses_dates = pytest.mark.parametrize("make", REFUSES_DATES)


class TestColumns:
    @refuses_dates
    @pytest.mark.parametrize("spelling", DATE_COLUMNS)
    def test_dates_are_refused_by_name(self, make, spelling):
        table = DATE_COLUMNS[spelling]
        with pytest.raises(TypeError, match=r"Column 'when' of X holds dates .*Turn"):
            make().fit(table, y)

    @every
    @pytest.mark.parametrize("kind", OTHER_COLUMNS)
    def test_what_is_neither_number_nor_category(self, make, kind):
        if make is MLP and kind.startswith("durations"):
            return
        message = re.escape(f"Column 'when' of X holds {kind}")
        with pytest.raises(TypeError, match=message):
            make().fit(OTHER_COLUMNS[kind], y)

    @refuses_dates
    @pytest.mark.parametrize(
        ("table", "columns"),
        [
            (np.column_stack([DATES.values] * 2), "Columns 0, 1 of X hold dates"),
            (np.column_stack([X, of_objects(PYTHON_DATES)]), "Column 4 of X .*dates"),
            (
                [[*row, date] for row, date in zip(X, DATES.values, strict=True)],
                "Column 4 of X holds dates",
            ),
            (X.astype("S5"), "Columns 0, 1, 2, 3 of X hold bytes"),
        ],
        ids=["datetimes", "objects", "list", "bytes"],
    )
    def test_arrays_and_lists(self, make, table, columns):
        with pytest.raises(TypeError, match=columns):
            make().fit(table, y)

    @pytest.mark.parametrize("name", EXACT)
    def test_in_predict_and_validation_rows(self, name):
        r"""Also the MLP refuses dates where the fit had numbers."""
        make = EVERY[name]
        frame = FRAME.rename(columns={"d": "when"})
        model, dates = make().fit(frame, y), frame.assign(when=DATES)
        with pytest.raises(TypeError, match="'when' of X holds dates"):
            outputs(model, dates)
        if name == "mlp":
            with pytest.raises(TypeError, match="'when' of X_val holds dates"):
                make().fit(frame, y, X_val=dates, y_val=y)
            with pytest.raises(TypeError, match="'when' of X holds dates"):
                model.partial_fit(dates, y)

    def test_named_as_categories_dates_are_refused_as_well(self):
        with pytest.raises(TypeError, match="'when' of X holds dates and is among"):
            MLP(categorical_features=["when"]).fit(with_column(DATES), y)

    def test_categories_of_intervals_are_categories(self):
        frame = FRAME.assign(a=pd.cut(FRAME["a"], 3))
        model = MLP(max_epochs=60, learning_rate=0.05)
        model.fit(frame, y)
        assert len(model.categories_[0]) == 3
        assert model.score(frame, y) > 0.8
        with pytest.raises(TypeError, match="Column 'a' of X holds intervals"):
            SoftmaxRegression().fit(frame, y)

    @every
    def test_decimals_are_numbers(self, make):
        decimals = FRAME.map(decimal.Decimal)
        expected = outputs(make().fit(FRAME, y), FRAME)
        for table in (decimals, pl.DataFrame(decimals.to_dict("list"))):
            assert np.array_equal(outputs(make().fit(table, y), table), expected)
