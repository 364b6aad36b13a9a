r"""Functions that classifiers and encoders share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

# Address of an estimator's page in the documentation, for scikit-learn's HTML
# representation. docs/ builds the pages to its last part.
DOCUMENTATION = (
    "https://sksoftmax.readthedocs.io/en/stable/generated/"
    "sksoftmax.{estimator_name}.html"
)


@contextmanager
def fitted_state_kept(estimator: BaseEstimator) -> Iterator[None]:
    r"""Restore the attributes of an estimator if fitting fails or is interrupted."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def check_sizes(name: str, sizes: int | str | Sequence[int]) -> tuple[int, ...]:
    r"""Return layer sizes as a tuple of positive integers; "128-64" is (128, 64)."""
    checked: Any = sizes
    if isinstance(sizes, str):
        parts = sizes.split("-")
        is_number = all(part.isascii() and part.isdecimal() for part in parts)
        checked = [int(part) for part in parts] if is_number else [sizes]
    checked = list(np.atleast_1d(np.asarray(checked, dtype=object)))
    if not all(isinstance(size, int | np.integer) and size > 0 for size in checked):
        raise ValueError(
            f"Got {name}={sizes!r}, but expected a sequence of positive integers, one "
            "for each layer, or a text such as '128-64'."
        )
    return tuple(int(size) for size in checked)


def shortened(values: Sequence[Any], n_shown: int) -> str:
    r"""Return the first values as text for a message, with dots for the others."""
    shown = ", ".join(map(str, values[:n_shown]))
    return f"{shown}, ..." if len(values) > n_shown else shown
