r"""Loader of Kaggle's Otto challenge, and its table of predictions."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted

from .._utils.compat import HasMethods, StrOptions
from .._utils.estimators import shortened
from ._home import CONSTRAINTS, DOWNLOAD_ERRORS, get_data_home, validated

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

_OTTO = "otto-group-product-classification-challenge"
_OTTO_URL = f"https://www.kaggle.com/c/{_OTTO}/data"
_OTTO_FEATURES = [f"feat_{number}" for number in range(1, 94)]
_OTTO_CLASSES = [f"Class_{number}" for number in range(1, 10)]
# Folders of the competition's files in Kaggle's notebooks, the newer one first.
_KAGGLE_FOLDERS = [
    Path("/kaggle/input/competitions", _OTTO),
    Path("/kaggle/input", _OTTO),
]
_DESCR = f"""93 counts for each product, 9 product categories.
Source: {_OTTO_URL} (under the competition's rules)
Otto Group Product Classification Challenge, Kaggle, 2015"""
# Errors of pandas and zipfile for damaged tables and archives. RuntimeError: a damaged
# flag says that the archive has a password.
_DAMAGE = (
    EOFError,
    KeyError,
    OSError,
    RuntimeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


@validated(CONSTRAINTS | {"subset": [StrOptions({"train", "test"})]})
def load_otto(
    *,
    data_home: str | os.PathLike[str] | None = None,
    subset: str = "train",
    download_if_missing: bool = False,
    return_X_y: bool = False,
) -> Any:
    r"""Load the data of Kaggle's Otto Group Product Classification Challenge.

    Parameters
    ----------
    data_home : str or path-like, default=None
        The folder that holds, itself or in its subfolder ``otto``, Kaggle's
        ``train.csv`` and ``test.csv``, plain, each zipped (``train.csv.zip``) or in
        Kaggle's ``otto-group-product-classification-challenge.zip``. By default
        ``SKSOFTMAX_DATA``, else ``sksoftmax`` in scikit-learn's data folder or, in a
        Kaggle notebook, the competition's input folder.
    subset : {"train", "test"}, default="train"
        The 61,878 labeled rows, or the 144,368 whose labels only Kaggle has.
    download_if_missing : bool, default=False
        If True and the files are missing, take OpenML's copy of the training rows
        and cache it in ``data_home``. Kaggle's own files need an account.
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    dataset : :class:`~sklearn.utils.Bunch`
        ``data``: DataFrame of shape (n_samples, 93), the int64 counts "feat_1" to
        "feat_93"; ``target``: Series of the labels "Class_1" to "Class_9", None for the
        test rows; ``ids``: Series of Kaggle's ids, None if OpenML's copy lacks them;
        ``frame``: DataFrame of ``data`` and ``target``; ``feature_names``,
        ``target_names``: their names; ``DESCR``: source, license and citation.
    (data, target) : tuple if ``return_X_y`` is True
        The data and the labels.

    Raises
    ------
    OSError
        If the files are missing and are not, or cannot be, downloaded.
    ValueError
        If the columns, the counts or the labels are not those of the challenge.

    Notes
    -----
    The training rows are sorted by class, and ``id`` counts them: it reveals the class,
    so it is no feature, and the rows must be shuffled before they are split. The counts
    are int64: they would fit into int16, but the square of the largest would overflow.

    Examples
    --------
    >>> from sksoftmax.datasets import load_otto
    >>> X, y = load_otto(data_home="~/kaggle", return_X_y=True)  # doctest: +SKIP
    >>> X.shape, y.nunique()  # doctest: +SKIP
    ((61878, 93), 9)
    """
    home = get_data_home(data_home)
    folders = [home / "otto", home]
    if not data_home and not os.environ.get("SKSOFTMAX_DATA"):
        folders += [folder for folder in _KAGGLE_FOLDERS if folder.is_dir()]
    names = [f"{subset}.csv", f"{subset}.csv.zip", f"{_OTTO}.zip"]
    paths = [folder / name for folder in folders for name in names]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        table = _fetch_otto(folders, subset, download_if_missing)
    else:
        table = _read_otto(path, subset)
    data = table[_OTTO_FEATURES].astype(np.int64)
    target = table["target"].astype(str) if subset == "train" else None
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        ids=table["id"].astype(np.int64) if "id" in table else None,
        frame=data if target is None else data.assign(target=target),
        feature_names=list(_OTTO_FEATURES),
        target_names=list(_OTTO_CLASSES),
        DESCR=_DESCR,
    )


def _read_otto(path: Path, subset: str) -> pd.DataFrame:
    r"""Return the table of one of Kaggle's files."""
    import pandas as pd

    name = f"{subset}.csv"
    # Read before the parsing, any error of which means that the content is wrong.
    content = io.BytesIO(path.read_bytes())
    try:
        # low_memory=False: with chunks, pandas warns of mixed types in a column, where
        # _check_otto says which value is wrong.
        if path.suffix == ".zip":
            with zipfile.ZipFile(content) as archive, archive.open(name) as file:
                table = pd.read_csv(file, low_memory=False)
        else:
            table = pd.read_csv(content, low_memory=False)
    except _DAMAGE as error:
        raise ValueError(
            f"Got {path}, which cannot be read, but expected Kaggle's {name} or a zip "
            f"archive that holds it: {error}"
        ) from error
    expected = ["id", *_OTTO_FEATURES, *(["target"] if subset == "train" else [])]
    _check_otto(table, expected, source=str(path))
    return table


def _fetch_otto(
    folders: list[Path], subset: str, download_if_missing: bool
) -> pd.DataFrame:
    r"""Return OpenML's table of the training rows, or raise OSError."""
    problem = (
        f"Otto's {subset}.csv was not found in {', '.join(map(str, folders))}. Log "
        f"in to Kaggle, accept the rules, download it from {_OTTO_URL} and point "
        "data_home or the environment variable SKSOFTMAX_DATA at its folder"
    )
    if subset == "test":
        raise OSError(f"{problem}. OpenML does not have the test rows.")
    if not download_if_missing:
        raise OSError(f"{problem}, or pass download_if_missing=True for OpenML's copy.")
    from sklearn.datasets import fetch_openml

    try:
        table = fetch_openml(data_id=45548, as_frame=True, data_home=folders[1]).frame
    except DOWNLOAD_ERRORS as error:
        raise OSError(f"{problem}. OpenML's copy could not be downloaded.") from error
    # Other columns, such as row numbers, may reveal the target.
    expected = [*(["id"] if "id" in table else []), *_OTTO_FEATURES, "target"]
    table = table[[name for name in expected if name in table]]
    _check_otto(table, expected, source="OpenML's copy of Otto")
    return table


def _check_otto(table: pd.DataFrame, expected: list[str], source: str) -> None:
    r"""Check the columns, the counts and the labels of a table."""
    import pandas as pd

    missing = [name for name in expected if name not in table]
    unexpected = [str(name) for name in table if name not in expected]
    if missing or unexpected:
        raise ValueError(
            f"Got {source} with the missing columns [{shortened(missing, 5)}] and the "
            f"unexpected columns [{shortened(unexpected, 5)}], but expected exactly "
            f"[{shortened(expected, 5)}]."
        )
    if table.empty:
        raise ValueError(f"Got {source} without rows, but expected at least one.")
    for name in table.columns.drop("target", errors="ignore"):
        counts = pd.to_numeric(table[name], errors="coerce")
        # The range in which float64 holds all whole numbers.
        wrong = ~(counts.between(0, 2**53) & (counts % 1 == 0))
        if wrong.any():
            raise ValueError(
                f"Got {table.loc[wrong, name].iloc[0]!r} in column {name!r} of "
                f"{source}, but expected whole numbers >= 0 and none missing."
            )
    if "target" in table:
        labels = table["target"].unique()
        unknown = [label for label in labels if label not in _OTTO_CLASSES]
        if unknown:
            raise ValueError(
                f"Got [{shortened(unknown, 5)}] in column 'target' of {source}, but "
                "expected Class_1 to Class_9."
            )


@validated({"classifier": [HasMethods(["predict_proba"])], "ids": ["array-like"]})
def otto_submission(classifier: Any, X_test: Any, ids: ArrayLike) -> pd.DataFrame:
    r"""Make the table of class probabilities that Kaggle's Otto challenge accepts.

    Parameters
    ----------
    classifier : estimator
        A fitted classifier, pipeline or search with ``predict_proba``, whose
        ``classes_`` are "Class_1" to "Class_9" in any order.
    X_test : {array-like, sparse matrix} of shape (n_samples, n_features)
        The test rows.
    ids : array-like of shape (n_samples,)
        The ``id`` of each row: whole numbers, all different.

    Returns
    -------
    submission : DataFrame of shape (n_samples, 10)
        The columns "id", "Class_1", ..., "Class_9". The probabilities are clipped to
        at least 1e-15, as by Kaggle before scoring, and each row sums to 1.
        ``submission.to_csv("submission.csv", index=False)`` writes the file.

    Raises
    ------
    ValueError
        If ``classifier`` has no ``predict_proba``, is not fitted or has other classes,
        or if ``ids`` are not one different integer for each row.

    Examples
    --------
    >>> test = load_otto(subset="test")  # doctest: +SKIP
    >>> otto_submission(classifier, test.data, test.ids).shape  # doctest: +SKIP
    (144368, 10)
    """
    import pandas as pd

    check_is_fitted(classifier)
    classes = list(classifier.classes_)
    if set(classes) != set(_OTTO_CLASSES):
        raise ValueError(f"Got classes_ {classes}, but expected {_OTTO_CLASSES}.")
    ids = np.asarray(ids)
    proba = np.asarray(classifier.predict_proba(X_test), dtype=np.float64)
    if ids.shape != (len(proba),) or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(
            f"Got ids of shape {ids.shape} and dtype {ids.dtype}, but expected "
            f"{len(proba)} integers, one for each row of X_test."
        )
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"Got the ids [{shortened(list(values[counts > 1]), 5)}] more than once, "
            "but expected a different one for each row."
        )
    # Kaggle clips the probabilities in the same way before it scores them.
    submission = pd.DataFrame(proba, columns=classes)[_OTTO_CLASSES].clip(1e-15, 1.0)
    submission = submission.div(submission.sum(axis=1), axis=0)
    submission.insert(0, "id", ids)
    return submission
