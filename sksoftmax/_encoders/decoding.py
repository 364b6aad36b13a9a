r"""Decoding of images to rows of pixels, with Pillow.

Worker processes run this file by its path, without the package around it: importing the
package imports PyTorch, which takes longer than thousands of small images. Hence it
imports NumPy and Pillow alone.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

# A path, the contents of a file, or an image of Pillow.
Source = str | bytes | Image.Image
# The index of a row, whether its file is missing, and what is wrong with the image.
Failure = tuple[int, bool, str]

# Number of channels of the modes of Pillow that rows may have.
CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}
# Codes of Pillow's filters for resizing.
FILTERS = {
    name.lower(): int(code) for name, code in Image.Resampling.__members__.items()
}

_GRAY_16_BITS = {"I;16", "I;16B", "I;16L", "I;16N"}
# "I" and "F" have numbers of 32 bits.
_GRAY = {"1", "L", "LA", "La", "I", "F", *_GRAY_16_BITS}
_WITH_ALPHA = {"LA", "La", "PA", "RGBA", "RGBa"}
# Metadata that may say how the camera was held.
_ORIENTED = {"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"}


class Form(TypedDict):
    r"""The mode and the size to which the images of all rows are brought."""

    mode: str
    height: int
    width: int
    # Code of a filter for images of another size; None refuses them.
    resample: int | None
    # Whether colors are refused, since the mode was taken from a gray image.
    must_be_gray: bool


def read_into_file(
    file: str, first_row: int, sources: Sequence[Source], form: Form, folder: str
) -> list[Failure]:
    r"""Write images into a file of rows, from a row on; return those that failed.

    Relative paths start at ``folder``: the worker may have been started in another one.
    """
    n_pixels = CHANNELS[form["mode"]] * form["height"] * form["width"]
    rows = np.zeros((len(sources), n_pixels), dtype=np.uint8)
    absolute = [
        os.path.join(folder, source) if isinstance(source, str) else source
        for source in sources
    ]
    failures = read_into_rows(rows, absolute, form)
    # If the disk is full, this raises OSError; a mapping would kill the process.
    with open(file, "r+b") as stream:
        stream.seek(first_row * n_pixels)
        stream.write(rows.data)
    return [(first_row + row, missing, reason) for row, missing, reason in failures]


def read_into_rows(
    rows: NDArray[np.uint8], sources: Sequence[Source], form: Form
) -> list[Failure]:
    r"""Write each image into its row, channel after channel; return those that failed.

    The rows are of shape (N, C * H * W).
    """
    mode, size = form["mode"], (form["width"], form["height"])
    images = rows.reshape(len(rows), CHANNELS[mode], form["height"], form["width"])
    failures = []
    for row, source in enumerate(sources):
        try:
            with opened(source) as image:
                image.load()
                if image.mode != mode or image.info:
                    image = converted(image, mode, form["must_be_gray"])
                if image.size != size:
                    image = _resized(image, size, form["resample"])
                pixels = np.asarray(image)
        # The exceptions of Pillow's decoders have no common base: OSError, SyntaxError,
        # struct.error, zlib.error and others.
        except Exception as error:
            failures.append((row, *explained(error)))
        else:
            images[row] = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return failures


def opened(source: Source) -> AbstractContextManager[Image.Image]:
    r"""Return a context of an image, which closes the files that it opened."""
    if isinstance(source, Image.Image):
        return nullcontext(source)
    return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)


def upright(image: Image.Image) -> Image.Image:
    r"""Return an image as its metadata says that it is to be shown."""
    image.load()
    is_oriented = not _ORIENTED.isdisjoint(image.info)
    return ImageOps.exif_transpose(image) if is_oriented else image


def is_gray(image: Image.Image) -> bool:
    r"""Return whether the mode of an image, or its palette, has no colors."""
    if image.mode == "P":
        # (number of colors, 3)
        palette = np.asarray(image.getpalette("RGB")).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in _GRAY


def converted(image: Image.Image, mode: str, must_be_gray: bool = False) -> Image.Image:
    r"""Return an image upright and in one of the modes of ``CHANNELS``.

    Raises
    ------
    ValueError
        If colors are refused, or if the range of the values is unknown.
    """
    if must_be_gray and not is_gray(image):
        raise ValueError(
            "it has colors, but the first image in fit has none: set mode='RGB', or "
            "mode='L' for the brightness"
        )
    image = upright(image)
    if image.mode in ("I", "F"):
        image = _eight_bits_of_32(image)
    elif image.mode in _GRAY_16_BITS:
        image = _eight_bits_of_16(image)
    has_alpha = image.mode in _WITH_ALPHA or "transparency" in image.info
    if has_alpha and mode != "RGBA":
        # Pillow would show the colors behind transparent pixels, which are arbitrary.
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == mode else image.convert(mode)


def _eight_bits_of_16(image: Image.Image) -> Image.Image:
    # The upper byte, as Pillow reads 16-bit colors; its own conversion clips at 255.
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _eight_bits_of_32(image: Image.Image) -> Image.Image:
    # Pillow before version 11 reads PNG files of 16 bits as 32 bits.
    if image.format == "PNG" and image.mode == "I":
        return _eight_bits_of_16(image)
    raise ValueError(
        f"its pixels are numbers of 32 bits (mode {image.mode!r}), whose range is "
        "unknown: scale them to 8 bits first"
    )


def _resized(
    image: Image.Image, size: tuple[int, int], resample: int | None
) -> Image.Image:
    if resample is None:
        (width, height), expected = image.size, size[::-1]
        raise ValueError(
            f"its height and width are {(height, width)}, but those of the first image "
            f"in fit are {expected}: set image_shape, to which all are resized"
        )
    return image.resize(size, Image.Resampling(resample))


def explained(error: Exception) -> tuple[bool, str]:
    r"""Return whether an error means that a file is missing, and its reason."""
    if isinstance(error, FileNotFoundError):
        return True, "there is no such file"
    if isinstance(error, UnidentifiedImageError):
        return False, "Pillow knows no such format"
    return False, str(error) or type(error).__name__
