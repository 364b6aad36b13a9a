r"""Image files and images of Pillow in place of rows: what to do instead."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
from torch.utils.data import Dataset

from .frames import is_frame
from .images import IMAGE_ENDINGS

# How the contents of image files begin: PNG, JPEG, GIF, BMP, WebP and TIFF.
_BEGINNINGS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")

_PIPELINE = (
    "sksoftmax.ImageReader reads them, as the first step of a pipeline: "
    "make_pipeline(ImageReader(), classifier)."
)
_FOLDER = (
    "sksoftmax.datasets.load_image_folder(path, return_X_y=True) finds the images in a "
    "folder for each class. "
)


def remedy_for_images(X: Any) -> str | None:
    r"""Return how to read images, if a container holds images or paths of them.

    Parameters
    ----------
    X : object
        The argument of ``fit`` or ``predict``.

    Returns
    -------
    remedy : str or None
        What to pass instead; None if ``X`` holds no images.
    """
    if isinstance(X, np.ndarray) and X.dtype.kind not in "OUT":
        return None
    if is_image(X):
        return f"{_PIPELINE} Pass a list of images, [X]."
    if isinstance(X, str | os.PathLike):
        if os.path.isdir(X):
            return _FOLDER + _PIPELINE
        return f"{_PIPELINE} Pass a list of paths, [X]." if _is_source(X) else None
    if isinstance(X, Dataset):
        return _remedy_for_dataset(X)
    return _PIPELINE if _is_source(_first(X)) else None


def is_image(value: Any) -> bool:
    r"""Return whether an object is an image of Pillow, without an import of it."""
    return any(kind.__module__.startswith("PIL.") for kind in type(value).__mro__)


def _remedy_for_dataset(dataset: Any) -> str | None:
    r"""Return what to pass instead of a dataset of images, as those of torchvision."""
    if hasattr(dataset, "samples") and hasattr(dataset, "targets"):
        return (
            "Pass [path for path, _ in dataset.samples] and dataset.targets. "
            + _PIPELINE
        )
    # A dataset may be empty or an iterator, or need files that are missing.
    with suppress(Exception):
        first = dataset[0]
        if isinstance(first, tuple) and is_image(first[0]):
            return (
                "Pass [image for image, _ in dataset] and [label for _, label in "
                f"dataset]. {_PIPELINE}"
            )
    return None


def _first(X: Any) -> Any:
    r"""Return the first element of a column of objects or text; None for others."""
    if is_frame(X):
        if X.shape[1] != 1 or not len(X):
            return None
        X = X.iloc[:, 0] if isinstance(X, pd.DataFrame) else X.to_series()
    if isinstance(X, pd.Series):
        is_number = pd.api.types.is_numeric_dtype(X.dtype)
        return None if is_number or X.empty else X.iloc[0]
    if isinstance(X, np.ndarray):
        return X.reshape(-1)[0] if X.ndim and X.size == len(X) > 0 else None
    is_sequence = isinstance(X, Sequence) and not isinstance(X, memoryview)
    is_polars = type(X).__module__.startswith("polars.") and hasattr(X, "to_list")
    return X[0] if (is_sequence or is_polars) and len(X) else None


def _is_source(value: Any) -> bool:
    r"""Return whether an object is an image, its file or the contents of the file."""
    if isinstance(value, bytes):
        return value.startswith(_BEGINNINGS)
    if isinstance(value, str | os.PathLike):
        return os.fsdecode(value).lower().endswith(IMAGE_ENDINGS)
    return is_image(value)
