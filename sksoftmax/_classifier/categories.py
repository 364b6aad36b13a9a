r"""Categories of a table: learned in fit, turned into numbers for the net."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import validate_data

from .._encoders.categories import TableEncoder, learn_encoder, n_columns
from .._encoders.dates import (
    DateColumn,
    check_no_category,
    encode_dates,
    n_parts,
)
from .._utils.frames import is_frame


class CategoriesMixin:
    r"""Categories of a classifier that has the parameter ``categorical_features``."""

    warm_start: bool
    n_features_in_: int

    # The categories of each column; None if no column is categorical.
    _encoder: TableEncoder | None = None
    # The fields of each :class:`DateColumn`, as plain data for files.
    _dates: tuple[tuple[Any, ...], ...] = ()

    def _takes_dates(self, *, reset: bool) -> bool:
        r"""Return whether dates and durations become numbers."""
        return hasattr(self, "categorical_features") and (reset or bool(self._dates))

    def _encode_dates(
        self, X: Any, *, reset: bool
    ) -> tuple[Any, NDArray[np.float64] | None]:
        r"""Return a table with days for dates, and further numbers of the dates.

        The columns that hold dates are learned if ``reset``.
        """
        if not self._takes_dates(reset=reset) or n_columns(X) is None:
            return X, None
        known = None if reset else self._date_columns
        if not reset:
            self._check_columns_of_fit(X)
        elif self.warm_start and hasattr(self, "module_"):
            # Another number of columns is an error of its own later.
            is_same = n_columns(X) == self.n_features_in_
            known = self._date_columns if is_same else None
        encoded = encode_dates(X, known)
        if reset:
            self._dates = tuple(map(tuple, encoded.columns))
        return encoded.table, encoded.parts

    @property
    def _date_columns(self) -> tuple[DateColumn, ...]:
        return tuple(DateColumn(*fields) for fields in self._dates)

    @property
    def _n_inputs(self) -> int:
        r"""Number of columns of an encoded table, with the numbers of its dates."""
        return self.n_features_in_ + n_parts(self._date_columns)

    @property
    def _cardinalities(self) -> list[int | None] | None:
        r"""Number of categories of each of these columns; None if all are numbers."""
        if self._encoder is None:
            return None
        return [*self._encoder.cardinalities, *[None] * n_parts(self._date_columns)]

    @property
    def _categorical_inputs(self) -> NDArray[np.bool_] | None:
        r"""Mask of the columns of an encoded table that are categories."""
        if self._encoder is None:
            return None
        return np.pad(self._encoder.is_categorical, (0, n_parts(self._date_columns)))

    def _encode_table(self, X: Any, *, reset: bool, declared: bool) -> Any:
        r"""Return a table with numbers for categories, learned first if ``reset``.

        With ``declared``, all categories of a categorical dtype count, also those that
        no row has.
        """
        if not hasattr(self, "categorical_features"):
            return X
        before = self._encoder if self.warm_start or not reset else None
        if reset:
            self._encoder = learn_encoder(
                X, self.categorical_features, declared=declared, before=before
            )
        if self._encoder is None or n_columns(X) is None:
            return X
        check_no_category(X, self._date_columns, self._encoder.is_categorical)
        if not reset:
            self._check_columns_of_fit(X)
        return self._encoder.encode(X, is_new=self._encoder is not before)

    def _check_columns_of_fit(self, X: Any) -> None:
        names = getattr(self, "feature_names_in_", None)
        if names is not None and is_frame(X):
            is_same = np.array_equal(names, X.columns)
        else:
            is_same = X.shape[1] == self.n_features_in_
        if not is_same:
            # Raises an error that names the columns that differ.
            validate_data(self, X, reset=False, skip_check_array=True)

    def _forget_categories(
        self, features: NDArray[Any], rows: NDArray[np.int64]
    ) -> NDArray[Any]:
        r"""Forget categories that none of the rows has; return recoded features."""
        if self._encoder is None or len(rows) == len(features):
            return features
        if self.warm_start and hasattr(self, "module_"):
            return features
        self._encoder, features = self._encoder.restricted(features, rows)
        return features
