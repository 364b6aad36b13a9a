r"""Fitted classifiers in files, without pickle.

:func:`save` and :func:`load` keep one classifier in one file of tensors and JSON, from
which nothing is ever executed. :data:`TRUSTED_TYPES` is for whole pipelines in
:mod:`skops.io`, and :func:`to_onnx` for runtimes without Python.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
from sklearn.compose import make_column_selector
from sklearn.feature_selection import (
    chi2,
    f_classif,
    f_regression,
    mutual_info_classif,
    mutual_info_regression,
    r_regression,
)
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from .._classifier.module_classifier import ModuleClassifier
from .._classifier.state import restore_module, weights_of
from .._encoders.categories import TableEncoder
from .._encoders.neighbors import NeighborsEncoder
from .._linear.grid_search import SoftmaxGridSearchCV
from .._linear.regression import SoftmaxRegression
from .._linear.regression_cv import SoftmaxRegressionCV
from .._nets.cnn import SoftmaxCNNClassifier
from .._nets.mlp import SoftmaxMLPClassifier
from .._nets.net import SoftmaxNetClassifier
from .._utils.compat import check_parameters, versions
from .._utils.devices import resolve_device
from .._utils.files import (
    InvalidFileError,
    decode,
    encode,
    read_document,
    write_document,
)

# The only classes that a file can name.
_CLASSES: dict[str, type[ModuleClassifier]] = {
    cls.__name__: cls
    for cls in (
        SoftmaxCNNClassifier,
        SoftmaxMLPClassifier,
        SoftmaxNetClassifier,
        SoftmaxRegression,
        SoftmaxRegressionCV,
    )
}

# The only attributes that a file can set, and the types that they can have.
_ATTRIBUTES: dict[str, tuple[type, ...]] = {
    "C_": (float,),
    "Cs_": (np.ndarray,),
    "_alternate_bins": (bool,),
    "_encoder": (TableEncoder, NoneType),
    "_has_missing": (np.ndarray,),
    "_feature_mean": (np.ndarray,),
    "_feature_scale": (np.ndarray,),
    "_hold_out_seed": (int,),
    "_n_fitted": (int,),
    "_weight_seen": (float,),
    "best_epoch_": (int, NoneType),
    "classes_": (np.ndarray,),
    "coefs_paths_": (np.ndarray,),
    "feature_names_in_": (np.ndarray,),
    "hidden_layer_sizes_": (tuple,),
    "n_bins_": (np.ndarray,),
    "l1_ratio_": (float,),
    "l1_ratios_": (np.ndarray,),
    "loss_curve_": (list,),
    "n_features_in_": (int,),
    "n_iter_": (int, np.ndarray),
    "n_samples_seen_": (int,),
    "scores_": (np.ndarray,),
    "validation_scores_": (list, NoneType),
}

# Code, which ``load`` is given instead, and a place on the machine of the fit.
_NOT_KEPT = ("checkpoint", "module")

_WEIGHT = "module."

# Attributes in older files that the encoder has as well.
_OF_ENCODER = {"categories_", "is_categorical_"}

# The key of the encoder's arrays, in the place of the encoder.
_ENCODER = "encoder"

# Of steps before a classifier: data, and functions whose only effect is their result.
# Never callables of users, and nothing whose indices compiled code would follow to
# write in memory: search trees, sparse matrices.
_SAFE_TYPES = [
    *(
        f"{function.__module__}.{function.__qualname__}"
        for function in (
            chi2,
            f_classif,
            f_regression,
            mutual_info_classif,
            mutual_info_regression,
            r_regression,
        )
    ),
    # ColumnTransformer: columns by dtype or regular expression.
    f"{make_column_selector.__module__}.{make_column_selector.__qualname__}",
    # SimpleImputer, KBinsDiscretizer: dtypes as attributes.
    "numpy.dtype",
    # FeatureAgglomeration: the default of pooling_func.
    "numpy.mean",
    # SplineTransformer.
    "scipy._lib.array_api_compat.numpy._aliases.asarray",
    "scipy.interpolate._bsplines.BSpline",
    # IterativeImputer can only be imported after an import that enables it.
    "sklearn.impute._iterative.IterativeImputer",
    "sklearn.impute._iterative._ImputerTriplet",
    # SoftmaxGridSearchCV: the score of the estimator itself, if ``scoring`` is None.
    "sklearn.metrics._scorer._PassthroughScorer",
    # VotingClassifier, StackingClassifier: the fitted estimators by name.
    "sklearn.utils._bunch.Bunch",
]

#: Names of the types that :func:`skops.io.load` has to be told to trust, in the
#: argument ``trusted``, to load estimators of this package and pipelines with them
#: whose other steps are scikit-learn's. Loading them runs no code from the file. A
#: step that holds code, such as a ``FunctionTransformer`` of a function that is not
#: NumPy's, needs its name in addition, and so do trees of decisions or neighbors.
TRUSTED_TYPES = [
    f"{cls.__module__}.{cls.__name__}"
    for cls in (*_CLASSES.values(), SoftmaxGridSearchCV, NeighborsEncoder)
] + _SAFE_TYPES


def save(classifier: ModuleClassifier, path: str | os.PathLike[str]) -> None:
    r"""Save a fitted classifier in one file, without pickle.

    The file holds the weights as safetensors, and in its header, as JSON, the
    parameters, what else was learned, and the versions of the libraries. It takes the
    place of an older one only when it is complete.

    Parameters
    ----------
    classifier : estimator object
        A fitted classifier of this package.
    path : str or path-like
        Where to save it; ``.safetensors`` is the usual ending.

    Raises
    ------
    TypeError
        If it is no such classifier, a pipeline for example.
    NotFittedError
        If it is not fitted.
    ValueError
        If a parameter is code, such as ``callbacks`` or a function, and not data; or
        if parameters of the module were changed after the fit.

    Notes
    -----
    The optimizer and the history of ``net_`` are not stored, nor are the parameter
    ``checkpoint``, a place on the machine of the fit, and what is no
    parameter and no fitted attribute: attributes of yours, scikit-learn's callbacks
    and metadata requests. :mod:`joblib` keeps everything, by running what a file says.

    The checksum in the file finds accidents. Who changes a file on purpose can change
    it, too, and with it the predictions, but cannot make :func:`load` run anything.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn.datasets import load_iris
    >>> from sksoftmax import SoftmaxRegression
    >>> from sksoftmax.persistence import load, save
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = SoftmaxRegression().fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(classifier, Path(folder) / "iris.safetensors")
    ...     loaded = load(Path(folder) / "iris.safetensors")
    >>> bool((loaded.predict_proba(X) == classifier.predict_proba(X)).all())
    True
    """
    name = type(classifier).__name__
    if type(classifier) is not _CLASSES.get(name):
        raise TypeError(
            f"Got {name}, but expected one of {', '.join(_CLASSES)}. Of a search, save "
            "best_estimator_; a pipeline goes into skops.io.dump, and comes back by "
            "skops.io.load(path, trusted=sksoftmax.persistence.TRUSTED_TYPES)."
        )
    check_is_fitted(classifier)
    arrays: dict[str, Tensor] = {}
    document = {
        "class": name,
        "parameters": _encode_parameters(classifier, arrays),
        "attributes": _encode_attributes(classifier, arrays),
        "versions": versions(),
    }
    weights = {_WEIGHT + key: one for key, one in weights_of(classifier).items()}
    write_document(Path(path), document, arrays | weights)


def load(
    path: str | os.PathLike[str],
    *,
    module: Callable[..., nn.Module] | None = None,
    device: str | None = None,
) -> Any:
    r"""Load a classifier that :func:`save` saved.

    Parameters
    ----------
    path : str or path-like
        The file.
    module : callable, default=None
        The parameter of the same name of a :class:`~sksoftmax.SoftmaxNetClassifier`,
        which is code and therefore not in the file. Only for such a classifier.
    device : str, default=None
        Where to compute; becomes the parameter of the same name. If None, that stays
        as it was saved, unless this machine has no such device: then it is "auto".

    Returns
    -------
    classifier : estimator object
        The fitted classifier, which predicts the same bits on the same kind of device.
        Further training continues from its weights, with a new optimizer.

    Raises
    ------
    InvalidFileError
        If the file was not written by :func:`save`, is damaged, or was written by a
        version of this package with more to say than this one understands.
    ValueError
        If ``module`` is missing, or is not called for, or if there is no ``device``
        by that name.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn.datasets import load_iris
    >>> from sksoftmax import SoftmaxRegression
    >>> from sksoftmax.persistence import load, save
    >>> classifier = SoftmaxRegression(C=10.0).fit(*load_iris(return_X_y=True))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(classifier, Path(folder) / "iris.safetensors")
    ...     load(Path(folder) / "iris.safetensors", device="cpu")
    SoftmaxRegression(C=10.0, device='cpu')
    """
    if device is not None:
        resolve_device(device)
    document, tensors = read_document(Path(path))
    _check_class(path, document, module)
    try:
        classifier = _make_classifier(document, tensors, module, device)
        _set_attributes(classifier, document["attributes"], tensors)
        weights = {
            key.removeprefix(_WEIGHT): tensor
            for key, tensor in tensors.items()
            if key.startswith(_WEIGHT)
        }
        restore_module(classifier, weights)
    except Exception as error:
        # Whatever fails now, the file has asked for it.
        raise InvalidFileError(
            f"Got {path}, whose contents do not fit together ({error!r}), but expected "
            f"a classifier of sksoftmax {versions()['sksoftmax']}. It was saved by "
            f"versions {document.get('versions')}: install these, or save it again"
            f"{'.' if module is None else ', or pass the module that was fitted.'}"
        ) from error
    return classifier


def _encode_parameters(
    classifier: ModuleClassifier, arrays: dict[str, Tensor]
) -> dict[str, Any]:
    encoded = {}
    for name, value in classifier.get_params(deep=False).items():
        if name in _NOT_KEPT:
            continue
        try:
            encoded[name] = encode(value, arrays)
        except TypeError as error:
            raise ValueError(
                f"Got the parameter {name}={value!r}, which holds a {error}, but "
                "expected data: numbers, text, None, lists, tuples, dicts or arrays of "
                f"them. Call set_params({name}=...) with such a value before save, "
                "which changes no prediction of what is fitted; or use joblib."
            ) from error
    return encoded


def _encode_attributes(
    classifier: ModuleClassifier, arrays: dict[str, Tensor]
) -> dict[str, Any]:
    encoded = {}
    for name in sorted(_ATTRIBUTES.keys() & vars(classifier).keys()):
        value = getattr(classifier, name)
        try:
            if isinstance(value, TableEncoder):
                encoded[name] = {_ENCODER: encode(value.to_arrays(), arrays)}
            else:
                encoded[name] = encode(value, arrays)
        except TypeError as error:
            raise ValueError(
                f"The fitted attribute {name} holds a {error}, but expected numbers, "
                "text or booleans. Convert such labels or categories to text before "
                "fit; or use joblib."
            ) from error
    return encoded


def _check_class(
    path: str | os.PathLike[str],
    document: dict[str, Any],
    module: Callable[..., nn.Module] | None,
) -> None:
    r"""Refuse classes other than ours, and a module where there is no place for it."""
    if document.get("class") not in list(_CLASSES):
        raise InvalidFileError(
            f"Got {path} with a {document.get('class')!r}, but expected one of "
            f"{', '.join(_CLASSES)}. Install the sksoftmax that saved it, of versions "
            f"{document.get('versions')}, or a newer one."
        )
    is_net = document["class"] == SoftmaxNetClassifier.__name__
    if is_net and module is None:
        raise ValueError(
            "Got a SoftmaxNetClassifier without module, which is code and never in a "
            "file. Call load(path, module=...) with what builds it."
        )
    if module is not None and not is_net:
        raise ValueError(
            f"Got module={module!r}, but the file holds a {document['class']}, which "
            "builds its own. Leave module out."
        )


def _make_classifier(
    document: dict[str, Any],
    tensors: dict[str, Tensor],
    module: Callable[..., nn.Module] | None,
    device: str | None,
) -> ModuleClassifier:
    r"""Return the classifier with its parameters, not fitted."""
    parameters = {
        name: decode(encoded, tensors)
        for name, encoded in document["parameters"].items()
        if name not in _NOT_KEPT
    }
    if module is not None:
        parameters["module"] = module
    if device is not None:
        parameters["device"] = device
    classifier = _CLASSES[document["class"]](**parameters)
    check_parameters(classifier)
    return classifier


def _set_attributes(
    classifier: ModuleClassifier,
    attributes: dict[str, Any],
    tensors: dict[str, Tensor],
) -> None:
    for name, encoded in attributes.items():
        if name in _OF_ENCODER:
            continue
        if isinstance(encoded, dict) and _ENCODER in encoded:
            value = TableEncoder.from_arrays(decode(encoded[_ENCODER], tensors))
        else:
            value = decode(encoded, tensors)
        if not isinstance(value, _ATTRIBUTES.get(name, ())):
            raise ValueError(f"{name} is a {type(value).__name__}")
        setattr(classifier, name, value)
    names = getattr(classifier, "feature_names_in_", None)
    if names is not None and names.shape != (classifier.n_features_in_,):
        raise ValueError(f"{names.shape} names of {classifier.n_features_in_} features")
    if classifier.classes_.ndim != 1:
        raise ValueError(f"classes_ has the shape {classifier.classes_.shape}")
