r"""Paths and labels of image files in one folder per class."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from .._utils.estimators import shortened
from .._utils.images import IMAGE_ENDINGS
from ._home import CONSTRAINTS, validated

# Number of folders that a message names.
_N_SHOWN = 5


@validated(
    {
        "path": [str, os.PathLike],
        "return_X_y": CONSTRAINTS["return_X_y"],
        "as_frame": CONSTRAINTS["as_frame"],
    }
)
def load_image_folder(
    path: str | os.PathLike[str],
    *,
    return_X_y: bool = False,
    as_frame: bool = False,
) -> Any:
    r"""Find the image files in a folder that has one folder for each class.

    The files are not opened: :class:`~sksoftmax.ImageReader` reads them in a pipeline.

    Parameters
    ----------
    path : str or path-like
        The folder. Each folder in it is a class, whose images may lie in further
        folders. Names that begin with a dot are left out, as are files without the
        ending of an image.
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=False
        If True, ``data`` is a pandas DataFrame of one column, "path", and ``target`` a
        pandas Series.

    Returns
    -------
    dataset : :class:`~sklearn.utils.Bunch`
        ``data``: ndarray of str, of shape (n_samples,), dtype object, or DataFrame of
        shape (n_samples, 1), with the path of each image, in the order of classes and
        names; ``target``: ndarray or Series (named "class") of shape (n_samples,), with
        the name of its class; ``frame``: DataFrame of both if ``as_frame=True``, else
        None; ``target_names``: the sorted names of the classes; ``DESCR``: the folder
        and the number of images of each class.
    (data, target) : tuple if ``return_X_y`` is True
        The paths and the labels.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it has no folders, or if there is no image in one of them.

    See Also
    --------
    sklearn.datasets.load_files : The same for files of text.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from sksoftmax.datasets import load_image_folder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("cat", "dog"):
    ...         (Path(folder) / name).mkdir()
    ...         Image.new("RGB", (32, 32)).save(Path(folder) / name / "1.png")
    ...     paths, labels = load_image_folder(folder, return_X_y=True)
    >>> labels.tolist()
    ['cat', 'dog']
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(
            f"Got {str(root)!r}, but expected a folder with a folder for each class. "
            f"The working directory is {str(Path.cwd())!r}."
        )
    names, samples = _find(root)
    data: Any = np.array([file for file, _ in samples], dtype=object)
    target: Any = np.array([names[code] for _, code in samples])
    counts = np.bincount([code for _, code in samples])
    frame = None
    if as_frame:
        import pandas as pd

        frame = pd.DataFrame({"path": data, "class": target})
        data, target = frame[["path"]], frame["class"]
    if return_X_y:
        return data, target
    listing = (f"{name}: {n}" for name, n in zip(names, counts, strict=True))
    return Bunch(
        data=data,
        target=target,
        frame=frame,
        target_names=names,
        DESCR="\n".join([f"{len(samples)} images in {root}", *listing]),
    )


def _find(root: Path) -> tuple[list[str], list[tuple[str, int]]]:
    r"""Return the sorted names of the classes, and the path and class of each image."""
    from torchvision.datasets import folder

    def is_image(file: str) -> bool:
        parts = Path(file).relative_to(root).parts
        is_hidden = any(part.startswith(".") for part in parts)
        return not is_hidden and file.lower().endswith(IMAGE_ENDINGS)

    names = sorted(
        entry.name
        for entry in root.iterdir()
        if entry.is_dir() and not entry.name.startswith(".")
    )
    if not names:
        raise ValueError(
            f"Got {str(root)!r}, which has no folders, but expected a folder for each "
            "class. For images without labels, pass their paths to ImageReader, for "
            "instance sorted(pathlib.Path(path).glob('*.png'))."
        )
    codes = {name: code for code, name in enumerate(names)}
    samples = folder.make_dataset(
        str(root), codes, is_valid_file=is_image, allow_empty=True
    )
    counts = np.bincount([code for _, code in samples], minlength=len(names))
    empty = [name for name, count in zip(names, counts, strict=True) if not count]
    if empty:
        raise ValueError(
            f"Got no image in the folders [{shortened(empty, _N_SHOWN)}] of "
            f"{str(root)!r}, but expected files in the folder of each class that end "
            f"with {', '.join(IMAGE_ENDINGS)}. Move other folders elsewhere."
        )
    return names, samples
