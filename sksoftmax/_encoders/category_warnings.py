r"""Warnings about columns whose categories hardly repeat, or are all unknown."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# Number of rows from which categories are expected to repeat.
_MIN_ROWS = 30
# Categories per row above which a category has fewer than two rows on average.
_MAX_SHARE = 0.5
# Number of categories from which text that looks like dates is reported. Fewer may be
# the dates of a few events.
_MIN_DATES = 17
_DATE = r"\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?!\d)"

# Number of unknown values that are no accident. If half of the values are unknown on
# average, ten of ten are unknown in one of a thousand tables.
_MIN_UNKNOWN = 10

ABOUT_RARE = (
    "Each different value is a category, and a net learns nothing about new rows from "
    "categories that hardly repeat. Encode text, for instance with "
    "skrub.StringEncoder or skrub.TextEncoder, or all columns with "
    "skrub.TableVectorizer; turn dates into dates with pandas.to_datetime, and numbers "
    "into numbers with pandas.to_numeric; leave out names and identifiers."
)
ABOUT_UNKNOWN = (
    "They count as missing. Expected values as in the first fit, also of the same "
    "type: the text '1' is not the number 1."
)


def rare_categories(
    name: str, categories: pd.Index, codes: NDArray[np.int64]
) -> str | None:
    r"""Return what is wrong with the categories of a column, None if they repeat.

    Parameters
    ----------
    name : str
        Name of the column.
    categories : Index of length C
        The categories.
    codes : ndarray of shape (N,)
        Index of each row's category, -1 if the value is missing.
    """
    n_rows = int((codes >= 0).sum())
    n_categories = len(categories)
    if n_rows < _MIN_ROWS or n_categories < _MIN_DATES:
        return None
    are_dates = _are_dates(categories)
    if not are_dates and n_categories <= _MAX_SHARE * n_rows:
        return None
    if len(np.unique(codes[codes >= 0])) < n_categories:
        # The dtype declares categories without a row here: other rows will follow.
        return None
    kind = "dates as text" if are_dates else "values"
    return f"column {name} has {n_categories} different {kind} in {n_rows} rows"


def unknown_values(
    name: str, categories: pd.Index, codes: NDArray[np.int64], values: pd.Index
) -> str | None:
    r"""Return what is wrong with a column of unknown values, None if any is known.

    Parameters
    ----------
    name : str
        Name of the column.
    categories : Index of length C
        The categories.
    codes : ndarray of shape (N,)
        Index of each row's category, -1 if the value is missing or unknown.
    values : Index of length N
        The values.
    """
    if len(codes) < _MIN_UNKNOWN or not len(categories) or (codes >= 0).any():
        return None
    unknown = values[~values.isna()]
    if len(unknown) < _MIN_UNKNOWN:
        return None
    return (
        f"none of the {len(unknown)} values of column {name}, {_first(unknown)} for "
        f"example, is one of its {len(categories)} categories, {_first(categories)} "
        "for example"
    )


def warn_about(problems: Sequence[str | None], advice: str) -> None:
    r"""Warn once about the problems of all columns."""
    text = "; ".join(problem for problem in problems if problem is not None)
    if text:
        warnings.warn(f"In X, {text}. {advice}", UserWarning, stacklevel=2)


def _are_dates(categories: pd.Index) -> bool:
    if not isinstance(categories[0], str):
        return False
    return bool(categories.astype(str).str.match(_DATE).all())


def _first(values: Any) -> str:
    value = values[0]
    return repr(value.item() if isinstance(value, np.generic) else value)
