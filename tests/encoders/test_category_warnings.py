r"""Warnings about categories that hardly repeat, and about unknown values."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from ..data.tables import MLP, N_TEXTS, TEXT

IS_POSITIVE = (TEXT["number"] > 0).to_numpy()


class TestRareCategories:
    @pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame, pa.table])
    def test_are_told_once_in_fit(self, kind):
        table = kind(TEXT.to_dict("list"))
        with pytest.warns(UserWarning, match="In X, ") as caught:
            model = MLP(max_epochs=20).fit(table, IS_POSITIVE)
        assert len(caught) == 1
        message = str(caught[0].message)
        assert "column 'text' has 600 different values in 600 rows" in message
        assert "column 'date' has 150 different dates as text in 600 rows" in message
        assert "state" not in message
        assert "skrub.StringEncoder" in message
        # No warning: these values are known.
        model.predict(table)

    def test_of_arrays_and_of_partial_fit(self):
        array = TEXT.to_numpy()
        model = MLP(categorical_features=[1, 2, 3])
        with pytest.warns(UserWarning, match="column 1 has 600 different values"):
            model.fit(array[:, [0, 1, 3, 3]], IS_POSITIVE)
        with pytest.warns(UserWarning, match="column 'text' has 200 different"):
            MLP().partial_fit(TEXT[:200], IS_POSITIVE[:200], classes=[False, True])

    @pytest.mark.parametrize(
        "table",
        [
            # Too few rows to tell, or too few categories.
            TEXT[:29],
            TEXT.assign(text="a", date=np.resize(TEXT["date"][:16], N_TEXTS)),
            # As many rows as a column of 50 states is sure to repeat in.
            TEXT[["number", "state"]][:100],
            # Most of the 600 rows lack the text.
            TEXT.assign(text=TEXT["text"].where(TEXT.index < 20), date="2020-01-01"),
        ],
        ids=["few rows", "few categories", "states", "missing"],
    )
    def test_no_false_alarm(self, table):
        MLP().fit(table, IS_POSITIVE[: len(table)])

    def test_declared_categories_may_come_later(self):
        states = pd.CategoricalDtype([f"state {i}" for i in range(50)])
        frame = TEXT[["number", "state"]].astype({"state": states})[:40]
        MLP().partial_fit(frame, IS_POSITIVE[:40], classes=[False, True])

    def test_encoded_text_gives_no_warning(self):
        skrub = pytest.importorskip("skrub")
        frame = pd.DataFrame({"when": TEXT["date"], "number": TEXT["number"]})
        dates = skrub.ToDatetime().fit_transform(frame["when"])
        encoded = skrub.DatetimeEncoder().fit_transform(dates)
        MLP().fit(pd.concat([encoded, frame[["number"]]], axis=1), IS_POSITIVE)


INTEGERS = pd.DataFrame({"kind": np.arange(N_TEXTS) % 5, "number": TEXT["number"]})
IS_EVEN = INTEGERS["kind"] % 2 == 0
AS_TEXT = INTEGERS.astype({"kind": str})
MESSAGE = r"none of the 600 values of column 'kind', '0' .* 5 categories, 0 for"


@pytest.fixture(scope="module")
def of_integers():
    model = MLP(max_epochs=40, learning_rate=0.05, categorical_features=["kind"])
    model.fit(INTEGERS, IS_EVEN)
    assert model.score(INTEGERS, IS_EVEN) == 1
    return model


class TestUnknownValues:
    def test_whole_column_is_told(self, of_integers):
        with pytest.warns(UserWarning, match=MESSAGE) as caught:
            of_integers.predict(AS_TEXT)
        assert len(caught) == 1

    def test_integers_for_text(self):
        model = MLP().fit(AS_TEXT, IS_EVEN)
        with pytest.warns(UserWarning, match="'kind', 0 for .* categories, '0' for"):
            model.predict_proba(INTEGERS)

    def test_in_validation_rows_and_warm_starts(self):
        model = MLP(categorical_features=["kind"], warm_start=True)
        with pytest.warns(UserWarning, match=MESSAGE):
            model.fit(INTEGERS, IS_EVEN, X_val=AS_TEXT, y_val=IS_EVEN)
        with pytest.warns(UserWarning, match=MESSAGE):
            model.fit(AS_TEXT, IS_EVEN)

    @pytest.mark.parametrize(
        "rows",
        [
            AS_TEXT[:9],
            INTEGERS.assign(kind=np.where(INTEGERS.index, 77, 1)),
            INTEGERS.assign(kind=np.nan),
        ],
        ids=["few rows", "one value known", "missing"],
    )
    def test_no_false_alarm(self, of_integers, rows):
        of_integers.predict(rows)
        of_integers.predict(rows[:1])
