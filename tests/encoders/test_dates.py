r"""Dates and durations as numbers of the multi-layer perceptron."""

import datetime
import pickle
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone

from sksoftmax import SoftmaxMLPClassifier
from sksoftmax._encoders.dates import PARTS, DateColumn, encode_dates
from sksoftmax.persistence import load, save, to_onnx

from ..data.tables import DATES, MLP, y
from ..data.test_columns import DATE_COLUMNS, OTHER_COLUMNS

N_ROWS = 1200


def orders():
    r"""Return orders, and whether each came at a weekend or at night in winter."""
    random = np.random.default_rng(0)
    minutes = random.integers(0, 2 * 366 * 24 * 60, N_ROWS)
    when = pd.Timestamp("2023-01-01") + pd.to_timedelta(minutes, unit="min")
    frame = pd.DataFrame(
        {
            "amount": random.normal(size=N_ROWS),
            "when": when,
            "took": pd.to_timedelta(random.exponential(3600, N_ROWS), unit="s"),
        }
    )
    is_winter = when.month.isin([12, 1, 2])
    is_special = (when.day_of_week >= 5) | (is_winter & (when.hour >= 18))
    return frame, np.where(is_special, "special", "usual")


@pytest.fixture(scope="module")
def table():
    return orders()


Small = partial(
    SoftmaxMLPClassifier,
    hidden_layer_sizes=(32,),
    n_estimators=2,
    max_epochs=30,
    learning_rate=0.02,
    random_state=0,
)


@pytest.fixture(scope="module")
def fitted(table):
    frame, labels = table
    return Small().fit(frame[:800], labels[:800])


def test_the_numbers_of_a_date():
    when = pd.DataFrame({"when": [datetime.datetime(2024, 2, 29, 18, 45), None]})
    encoded = encode_dates(when)
    assert encoded.table["when"].tolist()[0] == 19782 + 18.75 / 24
    assert dict(zip(PARTS, encoded.parts[0], strict=True)) == {
        "year": 2024,
        "month": 2,
        "day": 29,
        "weekday": 3,
        "hour": 18.75,
    }
    assert np.isnan(encoded.table["when"][1])
    assert np.isnan(encoded.parts[1]).all()


def test_numbers_are_those_of_skrub(table):
    skrub = pytest.importorskip("skrub")
    when = table[0][["when"]]
    encoder = skrub.DatetimeEncoder(resolution="hour", add_weekday=True)
    expected = encoder.fit_transform(when["when"])
    encoded = encode_dates(when)
    seconds = encoded.table["when"] * 24 * 60 * 60
    np.testing.assert_allclose(seconds, expected["when_total_seconds"], rtol=1e-7)
    for name in ("year", "month", "day"):
        ours = encoded.parts[:, PARTS.index(name)]
        np.testing.assert_array_equal(ours, expected[f"when_{name}"])
    weekday = encoded.parts[:, PARTS.index("weekday")]
    # skrub counts from Monday = 1.
    np.testing.assert_array_equal(weekday, expected["when_weekday"] - 1)
    hour = encoded.parts[:, PARTS.index("hour")]
    np.testing.assert_array_equal(np.floor(hour), expected["when_hour"])


def test_dates_are_learned_from(table, fitted):
    frame, labels = table
    days = frame.assign(when=frame["when"].astype("int64"))
    alone = Small().fit(days[:800], labels[:800])
    # A guess is right for 0.68 of the rows.
    assert alone.score(days[800:], labels[800:]) < 0.75
    assert fitted.score(frame[800:], labels[800:]) > 0.9


@pytest.mark.parametrize("spelling", DATE_COLUMNS)
def test_every_form_of_dates_gives_the_same_bits(spelling):
    expected = MLP().fit(DATE_COLUMNS["pandas"], y)
    frame = DATE_COLUMNS[spelling]
    model = MLP().fit(frame, y)
    assert model.feature_names_in_.tolist() == [*"abcd", "when"]
    assert model.n_features_in_ == 5
    if "None" not in spelling:
        proba = model.predict_proba(frame)
        assert np.array_equal(proba, expected.predict_proba(DATE_COLUMNS["pandas"]))


def test_every_form_of_durations_is_a_number():
    kinds = [kind for kind in OTHER_COLUMNS if kind.startswith("durations")]
    for kind in kinds:
        table = OTHER_COLUMNS[kind]
        assert MLP().fit(table, y).n_bins_.shape == (5,)
    seconds = OTHER_COLUMNS["durations"]
    days = seconds.assign(when=seconds["when"] / pd.Timedelta(days=1))
    assert np.array_equal(
        MLP().fit(seconds, y).predict_proba(seconds),
        MLP().fit(days, y).predict_proba(days),
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda frame: np.column_stack([frame["when"], frame["when"]]),
        lambda frame: frame[["when", "amount"]].to_numpy(dtype=object),
        lambda frame: frame[["when", "amount"]].astype(object).values.tolist(),
    ],
    ids=["array of dates", "objects", "list"],
)
def test_dates_without_names(table, make):
    rows, labels = make(table[0][:300]), table[1][:300]
    assert Small().fit(rows, labels).score(rows, labels) > 0.85


def test_missing_dates_are_missing_values(table, fitted):
    frame, labels = table
    holes = frame.assign(when=frame["when"].mask(frame.index % 3 == 0))
    model = Small().fit(holes, labels)
    assert model._has_missing.tolist() == [False, True, False, *[True] * len(PARTS)]
    is_known = holes["when"].notna()
    assert model.score(holes[is_known], labels[is_known]) > 0.85
    # All dates may be missing later, and their column may have lost its type.
    none = frame.assign(when=None)
    assert np.isfinite(fitted.predict_proba(none)).all()


def test_time_zones(table):
    frame, labels = table
    berlin = frame.assign(when=frame["when"].dt.tz_localize("Etc/GMT-1"))
    model = MLP().fit(berlin, labels)
    expected = model.predict_proba(berlin)
    # The same moments, whatever zone they are told in.
    utc = berlin.assign(when=berlin["when"].dt.tz_convert("UTC"))
    assert np.array_equal(model.predict_proba(utc), expected)
    assert np.array_equal(model.predict_proba(pl.from_pandas(utc)), expected)
    with pytest.raises(TypeError, match=r"'when' .* no time zone, but .*GMT-1"):
        model.predict(frame)


def test_state_is_kept(table, fitted, tmp_path):
    frame, labels = table
    expected = fitted.predict_proba(frame)
    save(fitted, tmp_path / "dates.safetensors")
    for copy in (
        load(tmp_path / "dates.safetensors"),
        pickle.loads(pickle.dumps(fitted)),
    ):
        assert np.array_equal(copy.predict_proba(frame), expected)
    assert not clone(fitted)._dates
    warm = MLP(warm_start=True).fit(frame, labels).fit(frame, labels)
    assert warm._date_columns == (
        DateColumn(1, "dates", None),
        DateColumn(2, "durations", None),
    )


def test_streams_take_dates(table):
    frame, labels = table
    model = Small()
    for _ in range(6):
        for start in range(0, N_ROWS, 200):
            rows = slice(start, start + 200)
            model.partial_fit(frame[rows], labels[rows], classes=["special", "usual"])
    assert model.score(frame, labels) > 0.8


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("2024-01-01", "'when' of X holds other values, but dates .*to_datetime"),
        (pd.Timedelta(days=1), "'when' of X holds durations, but dates"),
    ],
    ids=["text", "duration"],
)
def test_other_values_in_predict(table, fitted, column, message):
    with pytest.raises(TypeError, match=message):
        fitted.predict(table[0].assign(when=column))


def test_number_of_bins_of_dates(table):
    frame, labels = table
    bins = partial(SoftmaxMLPClassifier, n_estimators=1, max_epochs=2, random_state=0)
    model = bins(n_bins=[0, 12, 0]).fit(frame, labels)
    assert model.n_bins_[[0, 2]].tolist() == [0, 0]
    assert model.n_bins_.shape == (3 + len(PARTS),)
    assert model.n_bins_[3 + PARTS.index("month")] >= 10


def test_onnx_refuses_dates_by_name(table, fitted):
    with pytest.raises(ValueError, match=r"columns \['when', 'took'\], but ONNX"):
        to_onnx(fitted, table[0][:5])


def test_dates_beside_numbers_do_not_change(table):
    r"""The former rows of the fit say nothing of dates that come alone."""
    with pytest.raises(TypeError, match="'amount' of X holds dates"):
        MLP().fit(table[0][["amount"]], table[1]).predict(
            pd.DataFrame({"amount": DATES})
        )
