r"""The shape of a row: learned in fit, and compared in later calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from sklearn.base import BaseEstimator
from sklearn.utils import Tags

from .._data.row_shapes import (
    RowLayout,
    RowShape,
    any_row_shape,
    image_row_shape,
    row_layout,
)


class RowShapesMixin(BaseEstimator):
    r"""Rows with axes, for a classifier with the parameter ``image_shape``.

    Each row is an image, or, with a user's module, an array of any shape.
    """

    _has_user_module: ClassVar[bool]

    n_features_in_: int
    image_shape: Sequence[int] | None
    channels_last: bool | str

    # The fields of a :class:`RowShape`, as plain data for files; None before ``fit``
    # and without the parameter.
    _row_shape: tuple[Any, ...] | None = None

    def _row_layout(self, shape: tuple[int, ...], *, reset: bool) -> RowLayout | None:
        r"""Return the layout of rows of a shape, which ``fit`` keeps if ``reset``."""
        if not hasattr(self, "image_shape"):
            return None
        if reset:
            learn = any_row_shape if self._has_user_module else image_row_shape
            is_last = self.channels_last
            is_last = is_last if isinstance(is_last, str) else bool(is_last)
            self._row_shape = tuple(learn(shape, self.image_shape, is_last))
        layout = row_layout(shape, self._row_shape_in_fit)
        if layout is None or self._has_user_module or layout.is_last:
            return layout
        # The convolutional net takes flat rows with the channels first as they are.
        return layout if len(shape) > 1 else None

    @property
    def _row_shape_in_fit(self) -> RowShape:
        # Version 0.1.0 had flat rows only.
        return RowShape(*(self._row_shape or ((self.n_features_in_,),)))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = hasattr(self, "image_shape")
        return tags
