r"""Rows for modules of several inputs: a dict of arrays, or groups of columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scipy.sparse import issparse
from sklearn.base import BaseEstimator

from .._data.named_inputs import joined, parts_of_columns
from .._utils.arrays import InputPart


class NamedInputsMixin(BaseEstimator):
    r"""Several inputs, for a classifier with the parameter ``inputs``."""

    inputs: Mapping[str, Any] | None

    # The fields of each :class:`InputPart`, as plain data for files; None of a single
    # input.
    _inputs: tuple[tuple[Any, ...], ...] | None = None

    def _join_inputs(self, X: Any, *, reset: bool) -> Any:
        r"""Return rows of several inputs as one table, whose parts ``fit`` keeps."""
        if not hasattr(self, "inputs"):
            return X
        parts = None
        if isinstance(X, Mapping) and not issparse(X):
            if self.inputs is not None:
                raise ValueError(
                    "Got a dict for X and the parameter inputs, but expected one of "
                    "the two: the keys of the dict are the inputs. Set inputs=None."
                )
            names = [part.name for part in self._parts]
            if not reset and set(names) == set(X):
                # The order of a dict has no meaning.
                X = {name: X[name] for name in names}
            X, parts = joined(X)
        elif self.inputs is not None and reset:
            if len(getattr(X, "shape", ())) != 2:
                raise ValueError(
                    f"Got X of type {type(X).__name__} and inputs={self.inputs}, but "
                    "expected a DataFrame or an array of two axes, whose columns "
                    "inputs names."
                )
            parts = parts_of_columns(X, self.inputs)
        if reset:
            self._inputs = None if parts is None else tuple(map(tuple, parts))
        elif parts is not None and tuple(map(tuple, parts)) != self._inputs:
            raise ValueError(
                f"Got a dict for X with {_described(parts)}, but the classifier was "
                f"fitted to {_described(self._parts)}. Expected the same names and "
                "shapes."
            )
        return X

    @property
    def _parts(self) -> tuple[InputPart, ...]:
        r"""The parts of a row; none of a single input."""
        return tuple(InputPart(*fields) for fields in self._inputs or ())


def _described(parts: tuple[InputPart, ...]) -> str:
    if not parts:
        return "a table"
    return ", ".join(f"{part.name} of rows of shape {part.shape}" for part in parts)
