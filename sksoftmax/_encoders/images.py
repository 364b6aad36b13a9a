r"""Image files, images of Pillow and their bytes as rows of pixels."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, ClassVar

import joblib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from .._utils.compat import Interval, StrOptions, check_parameters, fit_context
from .._utils.estimators import DOCUMENTATION, check_sizes
from .._utils.keywords import ExplainedParametersMixin, explain_keywords
from .._utils.memmap import map_temporary, temporary_file
from . import decoding
from .decoding import CHANNELS, FILTERS, Failure, Form, Source
from .image_sources import check_sources, unreadable

# Bytes of rows that a process decodes before it writes them into a file.
_PART_BYTES = 2**26
# Parts for each process, so that all end at about the same time.
_PARTS_PER_PROCESS = 4
# Rows of a part: fewer take less time than sending them to a process.
_FEWEST_ROWS_IN_PART = 16


class ImageReader(ExplainedParametersMixin, TransformerMixin, BaseEstimator):
    r"""Read images into rows of pixels, as the first step of a pipeline.

    Each row of the result is one image of 8 bits: channel after channel, line after
    line, as :class:`SoftmaxCNNClassifier` takes them. Pillow reads the files: JPEG,
    PNG, TIFF, WebP, GIF, BMP and others.

    Parameters
    ----------
    image_shape : tuple of int or None, default=None
        ``(height, width)`` or ``(n_channels, height, width)``, to which all images are
        resized. None is the size of the first image in ``fit``; an image of another
        size is then an error.
    mode : {"auto", "L", "RGB", "RGBA"}, default="auto"
        Mode of Pillow to which all images are converted: "L" has one channel (gray),
        "RGB" three, "RGBA" four, with transparency. "auto" is the mode of the channels
        in ``image_shape``. Without them, it is "L" if the first image in ``fit`` is
        gray, and an image with colors is then an error; otherwise it is "RGB".
    resample : str, default="bilinear"
        Filter of :meth:`PIL.Image.Image.resize`: "nearest", "box", "bilinear",
        "hamming", "bicubic" or "lanczos". All but "nearest" average over the pixels
        when an image becomes smaller.
    n_jobs : int, default=None
        Number of processes that read paths and bytes, as in :class:`joblib.Parallel`:
        None is 1, -1 is all processors. Images of Pillow are read in this process.
    max_nbytes : int or None, default=1_073_741_824
        Bytes of rows up to which the result is an array in memory, by default 1 GiB. A
        larger one is a memory-mapped file, which ``fit`` and ``predict`` of our
        classifiers read in parts. None is always an array in memory.
    temp_folder : str or path-like or None, default=None
        Folder of that file, which is deleted with the array. None is Python's folder of
        temporary files, ``tempfile.gettempdir()``. If that is in memory, as ``/tmp`` of
        some systems, name a folder on a disk.

    Attributes
    ----------
    image_shape_ : tuple of int, (n_channels, height, width)
        Shape of the image in each row.
    mode_ : {"L", "RGB", "RGBA"}
        Mode of all images.

    See Also
    --------
    sksoftmax.datasets.load_image_folder : Paths and labels of one folder per class.
    SoftmaxCNNClassifier : Convolutional net for rows of pixels.

    Notes
    -----
    Images are turned upright as their EXIF orientation says. They are converted to
    ``mode`` first and then resized; the ratio of width to height is not kept. Of 16
    bits, the upper 8 are kept. Images of 32 bits are refused, because the range of
    their values is unknown. For "L" and "RGB", transparent pixels are blended with a
    white background. Of animations and files of several pages, the first image is read.

    Nothing is learned if ``image_shape`` and ``mode`` say everything: ``transform``
    then needs no ``fit``. Images that cannot be read are an error that names them,
    after all others were read.

    With several processes, each starts once, in about a second, and is used again. The
    rows go through a file in ``temp_folder`` also if the result is in memory.

    A classifier takes the shape of square images of one or three channels from the
    number of pixels. For all others, and for "RGBA", it needs ``image_shape``, too.

    Examples
    --------
    >>> import io
    >>> from PIL import Image
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.pipeline import make_pipeline
    >>> from sksoftmax import ImageReader, SoftmaxCNNClassifier

    Digits as the contents of PNG files; paths are read in the same way.

    >>> digits = load_digits()
    >>> files = []
    >>> for pixels in digits.images:
    ...     file = io.BytesIO()
    ...     Image.fromarray((pixels * 15).astype("uint8")).save(file, "PNG")
    ...     files.append(file.getvalue())
    >>> reader = ImageReader().fit(files)
    >>> reader.image_shape_
    (1, 8, 8)
    >>> reader.transform(files).shape
    (1797, 64)

    From files to classes:

    >>> classifier = make_pipeline(
    ...     ImageReader((8, 8), mode="L"),
    ...     SoftmaxCNNClassifier(channels=(16,), max_epochs=12, random_state=0),
    ... )
    >>> classifier.fit(files[:1000], digits.target[:1000]).score(
    ...     files[1000:], digits.target[1000:]
    ... ) > 0.9
    True
    """

    __module__ = "sksoftmax"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "image_shape": ["array-like", None],
        "mode": [StrOptions({"auto", *CHANNELS})],
        "resample": [StrOptions(set(FILTERS))],
        "n_jobs": [Integral, None],
        "max_nbytes": [Interval(Integral, 0, None, closed="left"), None],
        "temp_folder": [str, os.PathLike, None],
    }
    _doc_link_module = "sksoftmax"
    _doc_link_template = DOCUMENTATION

    @explain_keywords
    def __init__(
        self,
        image_shape: Sequence[int] | None = None,
        *,
        mode: str = "auto",
        resample: str = "bilinear",
        n_jobs: int | None = None,
        max_nbytes: int | None = 2**30,
        temp_folder: str | os.PathLike[str] | None = None,
    ) -> None:
        self.image_shape = image_shape
        self.mode = mode
        self.resample = resample
        self.n_jobs = n_jobs
        self.max_nbytes = max_nbytes
        self.temp_folder = temp_folder

    @fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: ArrayLike | None = None) -> ImageReader:
        r"""Check the parameters, and take what they leave open from the first image.

        Parameters
        ----------
        X : sequence of str, path-like, bytes or PIL.Image.Image, of length n_samples
            A path, the contents of a file or an image in each row: a list, an array of
            objects, a Series or one column of a DataFrame.
        y : array-like of shape (n_samples,), default=None
            Not used.

        Returns
        -------
        self : ImageReader
            The fitted reader.

        Raises
        ------
        FileNotFoundError
            If the first file is missing and its size or mode is needed.
        TypeError
            If `X` is no container of images.
        ValueError
            If `image_shape` is not that of an image or does not fit to `mode`, or if
            the first image cannot be read.
        """
        form = self._make_form(check_sources(X))
        self._form = form
        self.mode_ = form["mode"]
        self.image_shape_ = (CHANNELS[self.mode_], form["height"], form["width"])
        return self

    def transform(self, X: Any) -> NDArray[np.uint8]:
        r"""Read images.

        Parameters
        ----------
        X : sequence of str, path-like, bytes or PIL.Image.Image, of length n_samples
            A path, the contents of a file or an image in each row, as in :meth:`fit`.

        Returns
        -------
        X_out : ndarray of shape (n_samples, n_channels * height * width), dtype uint8
            The pixels, channel after channel; a :class:`numpy.memmap` if they have more
            than ``max_nbytes`` bytes.

        Raises
        ------
        FileNotFoundError
            If files are missing.
        TypeError
            If `X` is no container of images.
        ValueError
            If images cannot be read. The message names them.
        """
        form = self._fitted_form()
        sources = check_sources(X)
        shape = (len(sources), _n_pixels(form))
        is_large = self.max_nbytes is not None and math.prod(shape) > self.max_nbytes
        n_jobs = 1
        if not any(isinstance(source, Image.Image) for source in sources):
            most = max(1, len(sources) // _FEWEST_ROWS_IN_PART)
            n_jobs = min(joblib.effective_n_jobs(self.n_jobs), most)
        if n_jobs == 1 and not is_large:
            rows = np.empty(shape, dtype=np.uint8)
            _refuse(decoding.read_into_rows(rows, sources, form), sources)
            return rows
        with temporary_file(self.temp_folder) as file:
            _refuse(_read_into_file(file, sources, form, n_jobs), sources)
            if is_large:
                return map_temporary(file, shape)
            return np.fromfile(file, dtype=np.uint8).reshape(shape)

    def get_feature_names_out(
        self, input_features: ArrayLike | None = None
    ) -> NDArray[np.object_]:
        r"""Return the names of the features that come out.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Not used.

        Returns
        -------
        names : ndarray of str, of shape (n_channels * height * width,)
            ``pixel1``, ``pixel2``, ..., as in
            :func:`sksoftmax.datasets.fetch_mnist`.
        """
        n_pixels = _n_pixels(self._fitted_form())
        return np.array([f"pixel{n}" for n in range(1, n_pixels + 1)], dtype=object)

    def _fitted_form(self) -> Form:
        check_is_fitted(self)
        if hasattr(self, "_form"):
            return self._form
        check_parameters(self)
        return self._make_form([])

    def _make_form(self, sources: Sequence[Source]) -> Form:
        r"""Return the form of all rows; the first source is read if it is needed."""
        channels, size = _split(self.image_shape, self.mode)
        mode = self.mode
        if mode == "auto" and channels is not None:
            mode = {count: name for name, count in CHANNELS.items()}[channels]
        is_open = mode == "auto"
        if is_open or size is None:
            is_gray, first_size = _look_at_first(sources)
            mode = ("L" if is_gray else "RGB") if is_open else mode
            size = size or first_size
        return Form(
            mode=mode,
            height=size[0],
            width=size[1],
            resample=None if self.image_shape is None else FILTERS[self.resample],
            must_be_gray=is_open and mode == "L",
        )

    def _is_determined(self) -> bool:
        r"""Return whether the parameters leave nothing open that an image decides."""
        n_sizes = 0 if self.image_shape is None else np.size(self.image_shape)
        return n_sizes == 3 or (n_sizes == 2 and self.mode != "auto")

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_form") or self._is_determined()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.requires_fit = not self._is_determined()
        # The result is of uint8.
        tags.transformer_tags.preserves_dtype = []
        return tags


def _n_pixels(form: Form) -> int:
    return CHANNELS[form["mode"]] * form["height"] * form["width"]


def _split(
    image_shape: Sequence[int] | None, mode: str
) -> tuple[int | None, tuple[int, int] | None]:
    r"""Return the number of channels and (height, width); None for what is left open.

    Raises
    ------
    ValueError
        If the shape is not that of an image.
    """
    if image_shape is None:
        return None, None
    shape = check_sizes("image_shape", image_shape)
    if len(shape) == 2:
        return None, (shape[0], shape[1])
    counts = set(CHANNELS.values()) if mode == "auto" else {CHANNELS[mode]}
    if len(shape) == 3 and shape[0] in counts:
        return shape[0], (shape[1], shape[2])
    if len(shape) == 3 and shape[2] == 1 and 1 in counts:
        # Gray pixels have the same order with the channel last.
        return 1, (shape[0], shape[1])
    raise ValueError(
        f"Got image_shape={image_shape} and mode={mode!r}, but expected (height, "
        f"width) or (n_channels, height, width) with n_channels in {sorted(counts)}. "
        "Rows hold channel after channel: pass (height, width) and the mode here, and "
        "(n_channels, height, width) or nothing to the classifier."
    )


def _look_at_first(sources: Sequence[Source]) -> tuple[bool, tuple[int, int]]:
    r"""Return whether the first image is gray, and its height and width."""
    try:
        with decoding.opened(sources[0]) as image:
            shown = decoding.upright(image)
            return decoding.is_gray(shown), (shown.height, shown.width)
    except Exception as error:
        raise unreadable([(0, *decoding.explained(error))], sources) from error


def _refuse(failures: Sequence[Failure], sources: Sequence[Source]) -> None:
    if failures:
        raise unreadable(failures, sources)


def _read_into_file(
    file: str, sources: Sequence[Source], form: Form, n_jobs: int
) -> list[Failure]:
    r"""Write the rows of images into a file in parts; return those that failed."""
    n_rows = math.ceil(len(sources) / (_PARTS_PER_PROCESS * n_jobs))
    n_rows = max(1, min(n_rows, _PART_BYTES // _n_pixels(form)))
    read = _reader_of_a_worker() if n_jobs > 1 else decoding.read_into_file
    failures = joblib.Parallel(n_jobs=n_jobs, prefer="processes")(
        joblib.delayed(read)(
            file, first, sources[first : first + n_rows], form, os.getcwd()
        )
        for first in range(0, len(sources), n_rows)
    )
    return [failure for part in failures for failure in part]


def _reader_of_a_worker() -> Callable[..., list[Failure]]:
    r"""Return a function that reads a part without an import of this package.

    joblib sends a nested function by its code. It would send another one by the name of
    its module, and each new worker would import PyTorch first, which takes seconds.
    """
    path = decoding.__file__

    def read(*arguments: Any) -> list[Failure]:
        from importlib.machinery import SourceFileLoader
        from types import ModuleType

        loader = SourceFileLoader("sksoftmax_decoding", path)
        module = ModuleType(loader.name)
        loader.exec_module(module)
        failures: list[Failure] = module.read_into_file(*arguments)
        return failures

    # The backends of joblib other than loky would look for its name as well.
    wrapped: Callable[..., list[Failure]] = joblib.wrap_non_picklable_objects(read)
    return wrapped
