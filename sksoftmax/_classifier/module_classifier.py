r"""Base of all estimators: what is fitted is a module that predicts and is stored."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from torch import nn

from .._encoders.categories import TableEncoder
from .._training.skorch_net import SoftmaxNet
from .._training.stream import FirstRows
from .._utils.estimators import DOCUMENTATION
from .._utils.progress import CallbackSupportMixin
from .prediction import PredictionMixin
from .state import StateMixin


class ModuleClassifier(
    StateMixin,
    PredictionMixin,
    CallbackSupportMixin,
    ClassifierMixin,
    BaseEstimator,
    metaclass=ABCMeta,
):
    r"""Base of the softmax classifiers: prediction, pickling, tags, but no training.

    A subclass lists its parameters in ``__init__``, says in ``_build_module`` how its
    module is made of them, and sets ``module_``, ``net_``, ``device_`` and
    ``classes_`` in ``fit``.
    """

    _doc_link_module = "sksoftmax"
    _doc_link_template = DOCUMENTATION

    n_features_in_: int
    net_: SoftmaxNet

    # How categories become numbers; None if there are none.
    _encoder: TableEncoder | None = None
    # What the scaling of the inputs is learned from early in a stream.
    _first_rows: FirstRows | None = None

    def _accepts_sparse(self) -> bool:
        r"""Return whether ``X`` may be sparse, with these parameters."""
        return False

    def _accepts_missing(self) -> bool:
        r"""Return whether ``X`` may hold NaN, and columns of categories."""
        return False

    def _encode_table(self, X: Any, *, reset: bool, declared: bool) -> Any:
        r"""Return ``X`` with numbers for categories; learn these first on a reset."""
        return X

    def _forget_categories(
        self, features: NDArray[Any], rows: NDArray[np.int64]
    ) -> NDArray[Any]:
        r"""Forget the categories that none of the rows has; return recoded features."""
        return features

    @abstractmethod
    def _build_module(
        self, n_features: int, n_classes: int, generator: torch.Generator
    ) -> nn.Module:
        r"""Return a new module that maps rows to logits."""

    def _random_scope(self, seed: int) -> AbstractContextManager[None]:
        r"""Return the context for building and training.

        Nothing in this package draws from PyTorch's global generators; the
        subclass that runs the user's modules seeds them here.
        """
        return nullcontext()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self._accepts_sparse()
        tags.input_tags.allow_nan = self._accepts_missing()
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "module_")
