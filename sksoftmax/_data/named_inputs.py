r"""Several inputs of a module: parts of a flat row, by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.arrays import InputPart
from .containers import as_table


def joined(X: Mapping[str, Any]) -> tuple[NDArray[Any], tuple[InputPart, ...]]:
    r"""Return arrays by name as one table of flat rows, and its parts.

    Raises
    ------
    TypeError
        If a name is no text, or if the values are columns of a table.
    ValueError
        If an array has no rows, or if the arrays differ in the number of rows.
    """
    names = list(X)
    if not names or not all(isinstance(name, str) for name in names):
        raise TypeError(
            f"Got a dict for X with the keys {names}, but expected the names of the "
            "arguments of the module's forward."
        )
    arrays = {name: np.asarray(as_table(rows)) for name, rows in X.items()}
    if all(array.ndim == 1 for array in arrays.values()):
        raise TypeError(
            "Got a dict for X whose values are single columns, but expected an array "
            "of two axes or more for each input of the module. Pass pandas.DataFrame(X)"
            " if it is a table, and X['name'][:, None] for an input of one value."
        )
    n_rows = {name: len(a) if a.ndim else None for name, a in arrays.items()}
    if len(set(n_rows.values())) > 1 or None in n_rows.values():
        raise ValueError(
            f"Got a dict for X whose arrays have the shapes "
            f"{ {name: array.shape for name, array in arrays.items()} }, but expected "
            "the same number of rows in each."
        )
    parts, start = [], 0
    for name, array in arrays.items():
        stop = start + math.prod(array.shape[1:])
        parts.append(InputPart(name, tuple(range(start, stop)), array.shape[1:]))
        start = stop
    flat = [array.reshape(len(array), -1) for array in arrays.values()]
    return np.concatenate(flat, axis=1), tuple(parts)


def parts_of_columns(X: Any, inputs: Mapping[str, Any]) -> tuple[InputPart, ...]:
    r"""Return the parts of a table that a parameter names by its columns.

    Raises
    ------
    ValueError
        If the table lacks a column, or if an input has none.
    """
    names = [str(name) for name in getattr(X, "columns", [])]
    n_columns = np.shape(X)[1]
    parts = []
    for name, columns in inputs.items():
        positions = _positions(columns, names, n_columns)
        if not positions or None in positions:
            raise ValueError(
                f"Got inputs with {name!r}: {columns!r}, but expected columns of X: "
                f"{f'names among {names}' if names else f'0 to {n_columns - 1}'}, a "
                "list of them or a slice."
            )
        found = tuple(position for position in positions if position is not None)
        parts.append(InputPart(str(name), found, (len(found),)))
    return tuple(parts)


def _positions(columns: Any, names: list[str], n_columns: int) -> list[int | None]:
    r"""Return the positions of columns; None for those that a table lacks."""
    if isinstance(columns, slice):
        return [*range(n_columns)[columns]]
    if isinstance(columns, str | int):
        columns = [columns]
    positions: list[int | None] = []
    for column in columns:
        if isinstance(column, str):
            positions.append(names.index(column) if column in names else None)
        else:
            is_there = -n_columns <= column < n_columns
            positions.append(int(column) % n_columns if is_there else None)
    return positions
