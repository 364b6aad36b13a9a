r"""The folder of the data sets' files, and the checks that all loaders share."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar, cast

from .._utils.compat import StrOptions, validate_params

_Function = TypeVar("_Function", bound=Callable[..., Any])

# Errors that torchvision and scikit-learn raise if a download fails.
DOWNLOAD_ERRORS = (OSError, RuntimeError, ValueError, EOFError, HTTPException)

# Types and values of the loaders' parameters.
CONSTRAINTS = {
    "data_home": [str, os.PathLike, None],
    "subset": [StrOptions({"train", "test", "all"})],
    "download_if_missing": ["boolean"],
    "return_X_y": ["boolean"],
    "as_frame": ["boolean"],
}


def validated(constraints: Mapping[str, Any]) -> Callable[[_Function], _Function]:
    r"""Return scikit-learn's decorator that checks the arguments of a function.

    scikit-learn has no type hints: its decorator alone would hide the function's hints
    from type checkers.
    """
    decorator = validate_params(constraints, prefer_skip_nested_validation=True)
    return cast("Callable[[_Function], _Function]", decorator)


def get_data_home(data_home: str | os.PathLike[str] | None) -> Path:
    r"""Return ``data_home``, or the folder that is searched if it is None."""
    data_home = data_home or os.environ.get("SKSOFTMAX_DATA")
    if not data_home:
        # sklearn.datasets.get_data_home would create the folder that it names.
        sklearn_home = os.environ.get("SCIKIT_LEARN_DATA", "~/scikit_learn_data")
        data_home = Path(sklearn_home) / "sksoftmax"
    return Path(data_home).expanduser()
