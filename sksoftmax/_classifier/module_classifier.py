r"""Base of all estimators: a fitted module, its predictions and its state."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Self

import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import nn

from .._training.skorch_net import SoftmaxNet
from .._training.stream import FirstRows
from .._utils.devices import has_float64, resolve_device
from .._utils.estimators import DOCUMENTATION
from .._utils.keywords import ExplainedParametersMixin
from .._utils.progress import CallbackSupportMixin
from .._utils.random import global_generator_seeded
from .categories import CategoriesMixin
from .named_inputs import NamedInputsMixin
from .prediction import PredictionMixin
from .row_shapes import RowShapesMixin
from .state import StateMixin, net_without_optimizer


class ModuleClassifier(
    CategoriesMixin,
    RowShapesMixin,
    NamedInputsMixin,
    StateMixin,
    PredictionMixin,
    CallbackSupportMixin,
    ExplainedParametersMixin,
    ClassifierMixin,
    BaseEstimator,
    metaclass=ABCMeta,
):
    r"""Base of all softmax classifiers: prediction, categories and state.

    A subclass lists its parameters in ``__init__``, builds its module in
    ``_build_module`` and sets ``module_``, ``net_``, ``device_`` and ``classes_`` in
    ``fit``. Its scikit-learn tags say what data it accepts.
    """

    _doc_link_module = "sksoftmax"
    _doc_link_template = DOCUMENTATION

    device: str
    net_: SoftmaxNet

    # The first rows of a stream, while the scaling of the inputs is learned from them.
    _first_rows: FirstRows | None = None

    @abstractmethod
    def _build_module(self, generator: torch.Generator) -> nn.Module:
        r"""Return a new module, from the parameters and the fitted attributes.

        It maps ``n_features_in_`` features to a logit for each of the ``classes_``.
        """

    def _random_scope(self, seed: int) -> AbstractContextManager[None]:
        r"""Return the context in which a module is built and trained.

        A user's module may draw from PyTorch's global generators, which are seeded
        here; the modules of this package have a generator of their own.
        """
        if self._has_user_module:
            return global_generator_seeded(seed, self.device_)
        return nullcontext()

    def _begin_on_device(self) -> None:
        r"""Set the device of a fit, until whose end fitted arrays are NumPy's."""
        self._follow(None)
        self.device_ = resolve_device(self.device)

    def to(self, device: str) -> Self:
        r"""Move the fitted classifier to another device, for predictions there.

        Parameters
        ----------
        device : str
            The device, which becomes the parameter of the same name: a later
            ``partial_fit`` trains there, with a new optimizer.

        Returns
        -------
        self : object
            The classifier. It takes rows of any library on any device, also if it was
            fitted to an array on a device.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ValueError
            If there is no ``device`` by that name.
        """
        check_is_fitted(self)
        resolved = resolve_device(device)
        self._follow(None)
        self.device = device
        if resolved == self.device_:
            return self
        history = self.net_.history
        if not has_float64(resolved):
            self.module_.float()
        self.device_, self.module_ = resolved, self.module_.to(resolved)
        self.net_ = net_without_optimizer(self, self.module_)
        self.net_.history = history
        return self

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "module_")
