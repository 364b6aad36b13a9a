r"""Coefficients of a linear module, in the shapes of scikit-learn."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, csr_matrix, issparse
from sklearn import get_config
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from .._classifier.module_classifier import ModuleClassifier
from .._utils.array_api import FittedArray, moved
from ..modules._linear import SoftmaxLinear


class LinearClassifier(ModuleClassifier):
    r"""Base of the classifiers whose module is one linear map."""

    module_: SoftmaxLinear
    fit_intercept: bool
    tol: float
    max_iter: int
    n_iter_: Any = FittedArray()
    loss_curve_: list[float]

    @property
    def coef_(self) -> Any:
        r"""The coefficients on the scale of the input; they can be assigned."""
        check_is_fitted(self)
        values = _by_class(self.module_.weight)
        if self.module_.active_columns is None:
            return moved(values, self._rows_place)
        return _as_csr(values)

    @coef_.setter
    def coef_(self, values: Any) -> None:
        check_is_fitted(self)
        self.densify()
        if issparse(values):
            _set_by_class(self.module_.weight, values.toarray())
            self.sparsify()
        else:
            _set_by_class(self.module_.weight, values)

    @property
    def intercept_(self) -> NDArray[np.floating[Any]]:
        r"""The intercepts, zeros without any; they can be assigned."""
        check_is_fitted(self)
        if self.module_.bias is None:
            values = np.zeros_like(_by_class(self.module_.weight)[:, 0])
        else:
            values = _by_class(self.module_.bias)
        intercepts: NDArray[np.floating[Any]] = moved(values, self._rows_place)
        return intercepts

    @intercept_.setter
    def intercept_(self, values: ArrayLike) -> None:
        check_is_fitted(self)
        if self.module_.bias is not None:
            _set_by_class(self.module_.bias, values)
        elif np.any(values):
            raise ValueError(
                f"Got intercepts {values}, but fit_intercept=False left no place for "
                "them. Expected zeros."
            )

    def sparsify(self) -> Self:
        r"""Make ``coef_`` a sparse matrix, and predict from its columns in use.

        It pays after a lasso that leaves at most 10% of the features in use: then
        predictions read these only. With 5 classes, 9 of 1,000 features in use and
        2,000 rows they take a quarter of the time; otherwise as long as before.

        Returns
        -------
        self : object
            The fitted classifier. ``coef_`` is a ``csr_matrix``, or with
            ``sklearn.set_config(sparse_interface="sparray")`` a ``csr_array``.

        Notes
        -----
        ``fit``, ``partial_fit`` and an assignment of an array to ``coef_`` end it, as
        :meth:`densify` does; so does a file of :func:`~sksoftmax.persistence.save`,
        while a pickle keeps it. Call :meth:`densify` before changing the parameters of
        ``module_`` by hand.
        """
        check_is_fitted(self)
        self.module_.skip_zero_columns()
        return self

    def densify(self) -> Self:
        r"""Make ``coef_`` an array again, as it is after ``fit``.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        check_is_fitted(self)
        self.module_.active_columns = None
        return self

    def _build_module(self, generator: torch.Generator) -> SoftmaxLinear:
        return SoftmaxLinear(
            self.n_features_in_,
            len(self.classes_),
            bias=self.fit_intercept,
            init_scale=getattr(self, "init_scale", 0.0),
            generator=generator,
        )


def set_coefficients(
    module: SoftmaxLinear, weight: Tensor, bias: Tensor | None
) -> None:
    r"""Copy a solution into a module, with intercepts that sum to zero."""
    with torch.no_grad():
        module.active_columns = None
        module.weight.copy_(weight)
        if bias is not None:
            module.bias.copy_(bias)
    if not all(parameter.isfinite().all() for parameter in module.parameters()):
        raise ValueError(
            f"The coefficients reach {weight.abs().max().item():.3g}, which "
            f"{module.weight.dtype} cannot hold. Pass X in float64, scale the "
            "features, for instance with a StandardScaler in a Pipeline, or lower C."
        )
    center_intercepts(module)


def center_intercepts(module: SoftmaxLinear) -> None:
    r"""Shift the intercepts to a sum of zero, which changes no probability."""
    if module.bias is not None:
        with torch.no_grad():
            module.bias.sub_(module.bias.mean())


def _by_class(parameter: Tensor) -> NDArray[np.floating[Any]]:
    r"""Return a parameter in scikit-learn's shape: a single row for two classes."""
    values: NDArray[np.floating[Any]] = parameter.detach().cpu().numpy().copy()
    if len(values) == 2:
        values = values[1:] - values[:1]
    # Read-only: a change of this copy would have no effect on predictions.
    values.flags.writeable = False
    return values


def _as_csr(values: NDArray[np.floating[Any]]) -> Any:
    r"""Return coefficients in the sparse container that scikit-learn is set to."""
    # scikit-learn has the setting from 1.9 on.
    is_array = get_config().get("sparse_interface") == "sparray"
    matrix = csr_array(values) if is_array else csr_matrix(values)
    matrix.data.flags.writeable = False
    return matrix


def _set_by_class(parameter: Tensor, values: ArrayLike) -> None:
    r"""Set a parameter from an array in scikit-learn's shape."""
    rows = torch.from_numpy(np.array(values, dtype=np.float64))
    if len(parameter) == 2:
        rows = torch.cat([-rows / 2, rows / 2])
    if rows.shape != parameter.shape:
        raise ValueError(
            f"Got coefficients of shape {np.shape(values)}, but expected the shape "
            "of those that they replace."
        )
    with torch.no_grad():
        parameter.copy_(rows)
