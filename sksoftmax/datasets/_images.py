r"""Loaders of MNIST and Fashion-MNIST."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from ._home import CONSTRAINTS, DOWNLOAD_ERRORS, get_data_home, validated

_DESCR = {
    "MNIST": """70,000 gray images of handwritten digits, 28 x 28 pixels.
Source: http://yann.lecun.com/exdb/mnist/ (CC BY-SA 3.0)
Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
recognition", Proceedings of the IEEE 86(11), 1998, doi:10.1109/5.726791""",
    "FashionMNIST": """70,000 gray images of clothes, 28 x 28 pixels.
Source: https://github.com/zalandoresearch/fashion-mnist (MIT license)
H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking
Machine Learning Algorithms", 2017, arXiv:1708.07747""",
}


# The loaders return Any because scikit-learn's untyped Bunch is Any: in a union with
# the tuple of return_X_y, type checkers would report every `bunch.data` as an error.
@validated(CONSTRAINTS)
def fetch_mnist(
    *,
    data_home: str | os.PathLike[str] | None = None,
    subset: str = "train",
    download_if_missing: bool = True,
    return_X_y: bool = False,
    as_frame: bool = False,
) -> Any:
    r"""Load the MNIST handwritten digits (10 classes), downloading them if necessary.

    Parameters
    ----------
    data_home : str or path-like, default=None
        The folder that holds ``MNIST/raw/train-images-idx3-ubyte`` and the three
        files beside it, as :class:`torchvision.datasets.MNIST` keeps them. By default
        ``SKSOFTMAX_DATA``, else ``sksoftmax`` in scikit-learn's data folder.
    subset : {"train", "test", "all"}, default="train"
        The 60,000 training rows, the 10,000 test rows, or all: the training rows first.
    download_if_missing : bool, default=True
        If False, raise an OSError when the files are missing.
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=False
        If True, ``data`` is a pandas DataFrame and ``target`` a pandas Series.

    Returns
    -------
    dataset : :class:`~sklearn.utils.Bunch`
        ``data``: ndarray or DataFrame of shape (n_samples, 784), one flat uint8 image
        per row; ``target``: ndarray or Series (named "class") of shape (n_samples,),
        the int64 classes 0 to 9; ``frame``: DataFrame of both if ``as_frame=True``,
        else None; ``feature_names``: "pixel1" to "pixel784"; ``target_names``: names
        of the classes, "0" to "9"; ``image_shape``: ``(28, 28)``; ``DESCR``: source,
        license and citation.
    (data, target) : tuple if ``return_X_y`` is True
        The data and the labels.

    Raises
    ------
    OSError
        If the files are missing and are not, or cannot be, downloaded.
    ValueError
        If the files are corrupt or truncated.

    Examples
    --------
    >>> from sksoftmax.datasets import fetch_mnist
    >>> X, y = fetch_mnist(return_X_y=True)  # doctest: +SKIP
    >>> X.shape, y.shape  # doctest: +SKIP
    ((60000, 784), (60000,))
    """
    home = get_data_home(data_home)
    bunch = _fetch_images("MNIST", home, subset, download_if_missing, as_frame)
    return (bunch.data, bunch.target) if return_X_y else bunch


@validated(CONSTRAINTS)
def fetch_fashion_mnist(
    *,
    data_home: str | os.PathLike[str] | None = None,
    subset: str = "train",
    download_if_missing: bool = True,
    return_X_y: bool = False,
    as_frame: bool = False,
) -> Any:
    r"""Load the Fashion-MNIST images of clothes, downloading them if necessary.

    The same sizes, format and number of classes as :func:`fetch_mnist`, but harder.

    Parameters
    ----------
    data_home : str or path-like, default=None
        The folder that holds ``FashionMNIST/raw/train-images-idx3-ubyte`` and the
        three files beside it. By default as in :func:`fetch_mnist`.
    subset : {"train", "test", "all"}, default="train"
        The 60,000 training rows, the 10,000 test rows, or all: the training rows first.
    download_if_missing : bool, default=True
        If False, raise an OSError when the files are missing.
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=False
        If True, ``data`` is a pandas DataFrame and ``target`` a pandas Series.

    Returns
    -------
    dataset : :class:`~sklearn.utils.Bunch`
        As in :func:`fetch_mnist`, with the ``target_names`` "T-shirt/top" and so on.
    (data, target) : tuple if ``return_X_y`` is True
        The data and the labels.

    Raises
    ------
    OSError, ValueError
        As in :func:`fetch_mnist`.

    Examples
    --------
    >>> from sksoftmax.datasets import fetch_fashion_mnist
    >>> fetch_fashion_mnist().target_names[:2]  # doctest: +SKIP
    ['T-shirt/top', 'Trouser']
    """
    home = get_data_home(data_home)
    bunch = _fetch_images("FashionMNIST", home, subset, download_if_missing, as_frame)
    return (bunch.data, bunch.target) if return_X_y else bunch


def _fetch_images(
    name: str, home: Path, subset: str, download_if_missing: bool, as_frame: bool
) -> Any:
    import torchvision

    dataset_class = getattr(torchvision.datasets, name)
    _find_images(dataset_class, home, download_if_missing)
    flags = {"train": [True], "test": [False], "all": [True, False]}[subset]
    parts = [_read_images(dataset_class, home, train) for train in flags]
    data: Any = np.concatenate([images for images, _ in parts])
    target: Any = np.concatenate([labels for _, labels in parts])
    feature_names = [f"pixel{number}" for number in range(1, data.shape[1] + 1)]
    frame = None
    if as_frame:
        import pandas as pd

        data = pd.DataFrame(data, columns=feature_names)
        target = pd.Series(target, name="class")
        frame = pd.concat([data, target], axis=1)
    return Bunch(
        data=data,
        target=target,
        frame=frame,
        feature_names=feature_names,
        # torchvision calls the digits "0 - zero"; the clothes have no such prefix.
        target_names=[label.split(" - ")[0] for label in dataset_class.classes],
        image_shape=(28, 28),
        DESCR=_DESCR[name],
    )


def _find_images(dataset_class: Any, home: Path, download_if_missing: bool) -> None:
    r"""Download the files, or raise OSError, unless they are there."""
    raw = home / dataset_class.__name__ / "raw"
    names = [archive.removesuffix(".gz") for archive, _ in dataset_class.resources]
    if all((raw / name).is_file() for name in names):
        return
    remedy = (
        "Point data_home or the environment variable SKSOFTMAX_DATA at the folder that "
        f"holds {dataset_class.__name__}/raw/ with the unpacked {', '.join(names)}"
    )
    if not download_if_missing:
        raise OSError(
            f"{dataset_class.__name__} was not found in {raw}. {remedy}, or pass "
            "download_if_missing=True."
        )
    try:
        # torchvision has no switch for its messages and progress bars.
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            dataset_class(home, download=True)
    except DOWNLOAD_ERRORS as error:
        raise OSError(
            f"{dataset_class.__name__} was not found in {raw} and could not be "
            f"downloaded. {remedy}, or repeat download_if_missing=True once online."
        ) from error


def _read_images(
    dataset_class: Any, home: Path, train: bool
) -> tuple[np.ndarray, np.ndarray]:
    prefix = "train" if train else "t10k"
    problem = (
        f"Got corrupt or truncated {prefix}-images-idx3-ubyte or "
        f"{prefix}-labels-idx1-ubyte in {home / dataset_class.__name__ / 'raw'}, but "
        "expected images of 28 x 28 bytes and as many labels from 0 to 9. Delete both "
        "files and fetch them again."
    )
    try:
        dataset = dataset_class(home, train=train)
    except (AssertionError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(problem) from error
    images, labels = dataset.data.numpy(), dataset.targets.numpy()
    if images.shape != (len(labels), 28, 28) or labels.max() > 9:
        raise ValueError(problem)
    return images.reshape(len(images), -1), labels
