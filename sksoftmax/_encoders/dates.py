r"""Dates and durations in the columns of a table: numbers that a net learns from.

A date becomes the number of days since 1970, and five numbers of its calendar and
clock. A duration becomes a number of days.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._data.columns import DATES, temporal_columns
from .._utils.frames import is_frame, is_polars, with_columns

# Numbers of a date beside the days since 1970: the hour has minutes as a fraction.
PARTS = ("year", "month", "day", "weekday", "hour")


class DateColumn(NamedTuple):
    r"""A column of dates or durations, as plain data for files."""

    column: int
    # "dates" or "durations".
    kind: str
    # Name of the time zone of the calendar; None for dates without a zone.
    time_zone: str | None


class EncodedDates(NamedTuple):
    r"""A table without dates."""

    # A table of the same kind, with numbers of days for dates and durations.
    table: Any
    # (N, P) the other numbers of the dates, for all columns; None without dates.
    parts: NDArray[np.float64] | None
    columns: tuple[DateColumn, ...]


def n_parts(columns: tuple[DateColumn, ...]) -> int:
    r"""Return how many numbers come after the columns of the table."""
    return len(PARTS) * sum(column.kind == DATES for column in columns)


def encode_dates(
    table: Any, known: tuple[DateColumn, ...] | None = None
) -> EncodedDates:
    r"""Return a table with numbers for dates and durations; NaN if they are missing.

    Parameters
    ----------
    table : ndarray, sparse matrix or DataFrame of shape (N, D)
        The rows.
    known : tuple of DateColumn, default=None
        The columns of the fit; learned from the table if None.

    Raises
    ------
    TypeError
        If the columns of dates or durations are not those of the fit, or if the dates
        have a time zone in one of both tables alone.
    """
    kinds = temporal_columns(table)
    if known is not None:
        _check_same(table, kinds, known)
        kinds = {column.column: column.kind for column in known}
    if not kinds:
        return EncodedDates(table, None, ())
    zones = {column.column: column.time_zone for column in known or ()}
    numbers: dict[int, NDArray[np.float64]] = {}
    parts: list[NDArray[np.float64]] = []
    columns = []
    for column, kind in kinds.items():
        values, zone = _column(table, column), None
        if kind == DATES:
            dates = _dates(values)
            if known is not None:
                dates = _in_zone(dates, zones[column], _name(table, column))
            zone = None if dates.tz is None else str(dates.tz)
            numbers[column] = _days(dates)
            parts += _parts(dates)
        else:
            numbers[column] = _durations(values)
        columns.append(DateColumn(column, kind, zone))
    encoded = with_columns(table, numbers, np.float64)
    return EncodedDates(
        encoded, np.column_stack(parts) if parts else None, tuple(columns)
    )


def check_no_category(
    table: Any, columns: tuple[DateColumn, ...], is_categorical: NDArray[np.bool_]
) -> None:
    r"""Raise an error if a column of dates or durations is named as a category."""
    for column, kind, _ in columns:
        if is_categorical[column]:
            raise TypeError(
                f"Column {_name(table, column)} of X holds {kind} and is among the "
                "categorical_features, but expected text or numbers there. Leave it "
                f"out of categorical_features, then {kind} become numbers; or turn it "
                "into text."
            )


def _check_same(
    table: Any, kinds: dict[int, str], known: tuple[DateColumn, ...]
) -> None:
    expected = {column.column: column.kind for column in known}
    for column in sorted({*kinds, *expected}):
        before, now = expected.get(column), kinds.get(column)
        if before == now or (now is None and _column(table, column).isna().all()):
            continue
        remedy = "pandas.to_timedelta"
        if before == DATES or now == DATES:
            remedy = "pandas.to_datetime"
        raise TypeError(
            f"Column {_name(table, column)} of X holds {now or 'other values'}, but "
            f"{before or 'other values'} in the first fit. Expected the same; "
            f"{remedy} converts text."
        )


def _name(table: Any, column: int) -> str:
    return repr(table.columns[column]) if is_frame(table) else str(column)


def _column(table: Any, column: int) -> pd.Series:
    r"""Return a column as a Series, whose dates have their time zone."""
    if not is_polars(table):
        values = table.iloc[:, column] if is_frame(table) else table[:, column]
        if isinstance(getattr(values, "dtype", None), pd.ArrowDtype):
            values = values.astype(object)
        return pd.Series(values)
    series = table.to_series(column)
    values = pd.Series(series.to_numpy())
    zone = getattr(series.dtype, "time_zone", None)
    # polars gives NumPy the time in UTC.
    return values if zone is None else values.dt.tz_localize("UTC").dt.tz_convert(zone)


def _dates(values: pd.Series) -> pd.DatetimeIndex:
    r"""Return dates of any form, in the time zone of the first one."""
    if values.dtype != object:
        return pd.DatetimeIndex(values)
    first = next((value for value in values if not pd.isna(value)), None)
    zone = getattr(first, "tzinfo", None)
    dates = pd.DatetimeIndex(pd.to_datetime(values, utc=zone is not None))
    return dates if zone is None else dates.tz_convert(zone)


def _in_zone(dates: pd.DatetimeIndex, zone: str | None, name: str) -> pd.DatetimeIndex:
    r"""Return dates in the time zone of the fit."""
    if (dates.tz is None) != (zone is None) and not dates.isna().all():
        have = "no time zone" if dates.tz is None else f"the time zone {dates.tz}"
        had = "no time zone" if zone is None else f"the time zone {zone}"
        raise TypeError(
            f"Column {name} of X holds dates with {have}, but with {had} in the first "
            "fit. Expected the same: .dt.tz_localize(...) adds or removes a zone."
        )
    return dates if dates.tz is None else dates.tz_convert(zone)


def _days(dates: pd.DatetimeIndex) -> NDArray[np.float64]:
    r"""Return the days since 1970, in UTC if the dates have a time zone."""
    utc = dates if dates.tz is None else dates.tz_convert("UTC").tz_localize(None)
    return _as_days(utc.to_numpy("datetime64[us]").view("timedelta64[us]"))


def _durations(values: pd.Series) -> NDArray[np.float64]:
    return _as_days(pd.TimedeltaIndex(pd.to_timedelta(values)).to_numpy())


def _as_days(durations: NDArray[np.timedelta64]) -> NDArray[np.float64]:
    # The quotient of a missing duration is NaN.
    days: NDArray[np.float64] = durations / np.timedelta64(1, "D")
    return days


def _parts(dates: pd.DatetimeIndex) -> list[NDArray[np.float64]]:
    r"""Return the numbers of the calendar and the clock, in the order of `PARTS`."""
    hour = dates.hour + dates.minute / 60 + dates.second / 3600
    parts = (dates.year, dates.month, dates.day, dates.day_of_week, hour)
    return [np.asarray(values, dtype=np.float64) for values in parts]
