r"""Categories of a table: learned in fit, turned into numbers for the net."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import validate_data

from .._encoders.categories import TableEncoder, learn_encoder, n_columns
from .._utils.frames import is_frame


class CategoriesMixin:
    r"""Categories of a classifier that has the parameter ``categorical_features``."""

    warm_start: bool
    n_features_in_: int

    # The categories of each column; None if no column is categorical.
    _encoder: TableEncoder | None = None

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
        if not reset and not self._has_columns_of_fit(X):
            # Raises an error that names the columns that differ.
            validate_data(self, X, reset=False, skip_check_array=True)
        return self._encoder.encode(X, is_new=self._encoder is not before)

    def _has_columns_of_fit(self, X: Any) -> bool:
        names = getattr(self, "feature_names_in_", None)
        if names is not None and is_frame(X):
            return bool(np.array_equal(names, X.columns))
        return bool(X.shape[1] == self.n_features_in_)

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
