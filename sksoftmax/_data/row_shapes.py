r"""Rows with axes, such as images: the shape of a row, and its order in memory.

A table of rows stays two-dimensional, one flat row for each sample, without a copy. A
:class:`RowLayout` says which axes a row has; batches of rows get them back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.typing import NDArray
from torch import Tensor

from .._utils.images import (
    channels_are_first,
    channels_are_last,
    channels_first,
    check_image_shape,
    square_image_shape,
)


@dataclass(frozen=True)
class RowLayout:
    r"""How the values of a flat row become an array with axes."""

    # Shape of a row as the module takes it: for images (n_channels, height, width).
    shape: tuple[int, ...]
    # Whether the first axis of this shape is the last one in memory.
    is_last: bool = False

    def unfolded(self, rows: Tensor) -> Tensor:
        r"""Return flat rows (B, D) with their axes, (B, *shape), contiguous."""
        if not self.is_last:
            return rows.reshape(len(rows), *self.shape)
        # (B, H * W * C) -> (B, H, W, C) -> (B, C, H, W)
        stored = rows.reshape(len(rows), *self.shape[1:], self.shape[0])
        return stored.movedim(-1, 1).contiguous()


class RowShape(NamedTuple):
    r"""The shape of a row in ``fit``."""

    # As the module takes it; (n_features,) for rows without axes.
    shape: tuple[int, ...]
    # Whether these are the channels, the height and the width of an image.
    is_image: bool = False
    # Whether flat rows have the channels last; None if nothing tells.
    flat_is_last: bool | None = False


def image_row_shape(
    shape: tuple[int, ...],
    image_shape: Sequence[int] | None,
    channels_last: bool | str,
) -> RowShape:
    r"""Return the shape of a row that is an image, whatever ``X`` looks like.

    Parameters
    ----------
    shape : tuple of int
        Shape of a row of ``X``: (n_features,) or the axes of an image.
    image_shape : sequence of int or None
        The parameter of the estimator.
    channels_last : bool or "auto"
        The parameter of the estimator.
    """
    n_features = math.prod(shape)
    if image_shape is not None:
        checked, is_last = check_image_shape(image_shape, n_features, channels_last)
        return RowShape(checked, True, is_last)
    if len(shape) == 1:
        square = square_image_shape(n_features) or (1, 1, n_features)
        return RowShape(square, True, channels_last is True)
    if len(shape) > 3:
        raise ValueError(
            f"Got X of shape (n_samples, {_listed(shape)}), but expected images: "
            "(n_samples, height, width), with an axis for the channels before or after "
            "these two if there are several, or flat rows."
        )
    if len(shape) == 2:
        return RowShape(channels_first(shape, is_last=False), True)
    is_told = not isinstance(channels_last, str)
    is_last = channels_last is True if is_told else _order_of_axes(shape)
    checked = channels_first(shape, is_last=is_last)
    return RowShape(checked, True, is_last if is_told or checked[0] == 1 else None)


def _order_of_axes(shape: tuple[int, ...]) -> bool:
    r"""Return whether the channels are the last of three axes, if these tell."""
    is_last = channels_are_last(shape)
    if is_last or channels_are_first(shape):
        return is_last
    raise ValueError(
        f"Got X of shape (n_samples, {_listed(shape)}), whose channels may be the "
        "first or the last axis of an image. Set channels_last=True if a row is "
        "(height, width, n_channels), and channels_last=False if it is (n_channels, "
        "height, width)."
    )


def any_row_shape(
    shape: tuple[int, ...],
    image_shape: Sequence[int] | None,
    channels_last: bool | str,
) -> RowShape:
    r"""Return the shape of a row that reaches a user's module as it is.

    Images with the channels last are the exception: the channels come first. The
    parameters are those of :func:`image_row_shape`.
    """
    if image_shape is not None:
        return image_row_shape(shape, image_shape, channels_last)
    is_image = len(shape) == 3 and (
        channels_last is True
        or channels_are_first(shape)
        or (isinstance(channels_last, str) and channels_are_last(shape))
    )
    if is_image:
        return image_row_shape(shape, None, channels_last)
    return RowShape(shape)


def row_layout(shape: tuple[int, ...], known: RowShape) -> RowLayout | None:
    r"""Return the layout of rows, given what ``fit`` has learned about their shape.

    Parameters
    ----------
    shape : tuple of int
        Shape of a row of ``X``, in ``fit`` or later.
    known : RowShape
        The shape of a row in ``fit``.

    Returns
    -------
    layout : RowLayout or None
        None if rows have no axes.

    Raises
    ------
    ValueError
        If rows have another shape than in ``fit``, or if it is not known in which
        order flat rows hold the channels.
    """
    expected, is_image, flat_is_last = known
    if len(expected) == 1:
        if shape == expected:
            return None
        raise ValueError(
            f"Got X of shape (n_samples, {_listed(shape)}), but the classifier was "
            f"fitted to flat rows of {expected[0]} features. Fit to rows of the same "
            "shape, or set image_shape before fit."
        )
    if len(shape) == 1:
        return _flat_layout(expected, flat_is_last)
    last = (*expected[1:], expected[0])
    if shape == expected:
        return RowLayout(expected, shape == last and bool(flat_is_last))
    forms = [expected]
    if is_image:
        forms += [last] if expected[0] > 1 else [last, last[:2]]
    if shape in forms:
        return RowLayout(expected, is_last=shape == last)
    single = " For a single row, pass X[None]."
    raise ValueError(
        f"Got X of shape (n_samples, {_listed(shape)}), but expected rows of the shape "
        "of fit: "
        + " or ".join(f"(n_samples, {_listed(form)})" for form in forms)
        + f".{single if shape in [form[1:] for form in forms] else ''}"
    )


def _flat_layout(shape: tuple[int, ...], is_last: bool | None) -> RowLayout:
    if is_last is not None:
        return RowLayout(shape, is_last)
    n_channels, height, width = shape
    raise ValueError(
        f"Got flat rows, but the classifier was fitted to images of {n_channels} "
        f"channels, {height} lines and {width} columns, and flat rows do not tell the "
        f"order of their values. Pass X.reshape(-1, {height}, {width}, {n_channels}) "
        "if the channels of a pixel follow one another, X.reshape(-1, "
        f"{n_channels}, {height}, {width}) if whole channels do; or set image_shape "
        "to that shape before fit."
    )


def flattened(X: NDArray[Any], layout: RowLayout) -> tuple[NDArray[Any], RowLayout]:
    r"""Return rows with axes as flat rows, and the layout of these.

    Parameters
    ----------
    X : ndarray of shape (n_samples, ...)
        The rows, of two axes or more each.
    layout : RowLayout
        The meaning of their axes.

    Returns
    -------
    rows : ndarray of shape (n_samples, n_features)
        A view of ``X`` if its values follow one another in memory: also if they do so
        with the channels at the other end, as after a transposition.
    layout : RowLayout
        The layout of ``rows``.
    """
    if not X.flags.c_contiguous and len(layout.shape) == 3 == X.ndim - 1:
        stored = X.transpose((0, 3, 1, 2) if layout.is_last else (0, 2, 3, 1))
        if stored.flags.c_contiguous:
            X, layout = stored, RowLayout(layout.shape, not layout.is_last)
    return X.reshape(len(X), math.prod(layout.shape)), layout


def _listed(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
