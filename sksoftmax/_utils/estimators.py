r"""What classifiers and encoders share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from sklearn.base import BaseEstimator


@contextmanager
def fitted_state_kept(estimator: BaseEstimator) -> Iterator[None]:
    r"""Give an estimator its attributes back if fitting fails or is interrupted."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def check_sizes(name: str, sizes: int | Sequence[int]) -> tuple[int, ...]:
    r"""Return layer sizes as a tuple of positive integers."""
    checked = list(np.atleast_1d(np.asarray(sizes, dtype=object)))
    if not all(isinstance(size, int | np.integer) and size > 0 for size in checked):
        raise ValueError(
            f"Got {name}={sizes!r}, but expected a sequence of positive integers, one "
            "for each layer."
        )
    return tuple(int(size) for size in checked)


# Where the documentation of an estimator will be hosted, for scikit-learn's HTML
# representation; the end of it is where docs/ builds the page to.
DOCUMENTATION = (
    "https://sksoftmax.readthedocs.io/en/stable/generated/"
    "sksoftmax.{estimator_name}.html"
)
