r"""Fitted classifiers in files, without pickle.

:func:`save` and :func:`load` keep one classifier in one file of tensors and JSON, from
which nothing is ever executed. :data:`TRUSTED_TYPES` is for whole pipelines in
:mod:`skops.io`, and :func:`to_onnx` for runtimes without Python.
"""

from .._utils.files import InvalidFileError
from ._save import TRUSTED_TYPES, load, save
from ._to_onnx import to_onnx

__all__ = ["TRUSTED_TYPES", "InvalidFileError", "load", "save", "to_onnx"]
