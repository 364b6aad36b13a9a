r"""Fitted classifiers in single files of tensors and JSON."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import feature_selection
from sklearn.compose import make_column_selector
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from .._classifier.module_classifier import ModuleClassifier
from .._classifier.state import restore_module, weights_of
from .._encoders.categories import TableEncoder
from .._encoders.images import ImageReader
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
from ._older_files import upgraded

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
_ATTRIBUTES: dict[str, Any] = {
    "_half_with_bins": bool,
    "_dates": tuple,
    "_encoder": TableEncoder | None,
    "_feature_mean": np.ndarray,
    "_feature_scale": np.ndarray,
    "_has_missing": np.ndarray,
    "_are_whole": tuple,
    "_hold_out_seed": int,
    "_inputs": tuple | None,
    "_is_sparse": bool,
    "_n_fitted": int,
    "_row_shape": tuple | None,
    "_takes_integers": bool,
    "_weight_seen": float,
    "best_epoch_": int | None,
    "C_": float,
    "classes_": np.ndarray,
    "coefs_paths_": np.ndarray,
    "Cs_": np.ndarray,
    "feature_names_in_": np.ndarray,
    "hidden_layer_sizes_": tuple,
    "l1_ratio_": float,
    "l1_ratios_": np.ndarray,
    "loss_curve_": list,
    "n_bins_": np.ndarray,
    "n_features_in_": int,
    "n_iter_": int | np.ndarray,
    "n_samples_seen_": int,
    "scores_": np.ndarray,
    "settings_": dict,
    "validation_scores_": list | None,
}

# Parameters that a file leaves out: code, which is passed to ``load`` instead, and a
# path on the machine of the fit.
_NOT_KEPT = ("checkpoint", "module")

# Prefix of the names of the module's tensors.
_MODULE = "module."

# Attributes in files of version 0.1.0, whose values the encoder holds as well.
_OLD_ATTRIBUTES = {"categories_", "is_categorical_"}

# Key of the arrays that stand for an encoder.
_ENCODER = "encoder"

_PARAMETER_IS_CODE = (
    "Got the parameter {name}={value!r}, which holds a {kind}, but expected data: "
    "numbers, text, None, lists, tuples, dicts or arrays of them, or a class of "
    "torch.optim. Call set_params({name}=...) with such a value before save, which "
    "changes no prediction of what is fitted; or use joblib."
)
_ATTRIBUTE_IS_CODE = (
    "The fitted attribute {name} holds a {kind}, but expected numbers, text or "
    "booleans. Convert such labels or categories to text before fit; or use joblib."
)

# Data and functions without side effects, in scikit-learn's steps before a classifier.
# No callables of users, and no types whose indices compiled code follows into memory:
# search trees, sparse matrices.
_SAFE_FUNCTIONS = (
    feature_selection.chi2,
    feature_selection.f_classif,
    feature_selection.f_regression,
    feature_selection.mutual_info_classif,
    feature_selection.mutual_info_regression,
    feature_selection.r_regression,
    # ColumnTransformer: columns by dtype or regular expression.
    make_column_selector,
)
_SAFE_NAMES = [
    # SimpleImputer, KBinsDiscretizer: dtypes as attributes.
    "numpy.dtype",
    # FeatureAgglomeration: the default of pooling_func.
    "numpy.mean",
    # SplineTransformer.
    "scipy._lib.array_api_compat.numpy._aliases.asarray",
    "scipy.interpolate._bsplines.BSpline",
    # IterativeImputer: importable only after an import that enables it.
    "sklearn.impute._iterative.IterativeImputer",
    "sklearn.impute._iterative._ImputerTriplet",
    # SoftmaxGridSearchCV with scoring=None: the score of the estimator.
    "sklearn.metrics._scorer._PassthroughScorer",
    # VotingClassifier, StackingClassifier: the fitted estimators by name.
    "sklearn.utils._bunch.Bunch",
]

#: Names of types for the argument ``trusted`` of :func:`skops.io.load`: those of the
#: estimators of this package, and of pipelines of them and scikit-learn's steps.
#: Loading these types runs no code from the file. Steps that hold code, such as a
#: ``FunctionTransformer`` of a function that is not NumPy's, need their names in
#: addition, and so do decision trees and trees of neighbors.
TRUSTED_TYPES = [
    f"{trusted.__module__}.{trusted.__qualname__}"
    for trusted in (
        *_CLASSES.values(),
        SoftmaxGridSearchCV,
        ImageReader,
        NeighborsEncoder,
        *_SAFE_FUNCTIONS,
    )
] + _SAFE_NAMES


def save(classifier: ModuleClassifier, path: str | os.PathLike[str]) -> None:
    r"""Save a fitted classifier in one file, without pickle.

    The file holds the module's tensors as safetensors, and in its header, as JSON, the
    estimator's parameters, its fitted attributes, and the versions of the libraries. It
    replaces an older file only when it is complete.

    Parameters
    ----------
    classifier : estimator object
        A fitted classifier of this package.
    path : str or path-like
        The file; ``.safetensors`` is the usual ending.

    Raises
    ------
    TypeError
        If it is anything else, such as a pipeline.
    NotFittedError
        If it is not fitted.
    ValueError
        If a parameter is code, such as ``callbacks`` or a function, and not data; or
        if parameters of the module were changed after the fit.

    Notes
    -----
    The file leaves out the optimizer and the history of ``net_``, the parameter
    ``checkpoint``, which is a path on the machine of the fit, and all that is neither a
    parameter nor a fitted attribute: other attributes, scikit-learn's callbacks and
    metadata requests. :mod:`joblib` keeps everything, but loading runs the file's code.

    The checksum in the file detects accidents. An attacker can change it together with
    the tensors, and so the predictions, but cannot make :func:`load` run code.

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
    parameters = {
        key: value
        for key, value in classifier.get_params(deep=False).items()
        if key not in _NOT_KEPT
    }
    attributes = {
        key: value for key, value in vars(classifier).items() if key in _ATTRIBUTES
    }
    document = {
        "class": name,
        "parameters": _encode_all(parameters, arrays, _PARAMETER_IS_CODE),
        "attributes": _encode_all(attributes, arrays, _ATTRIBUTE_IS_CODE),
        "versions": versions(),
    }
    tensors = {_MODULE + key: value for key, value in weights_of(classifier).items()}
    write_document(Path(path), document, arrays | tensors)


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
        The parameter of the same name. If None, it stays as it was saved, or becomes
        "auto" if this machine has no such device.

    Returns
    -------
    classifier : estimator object
        The fitted classifier, which predicts the same bits on the same kind of device.
        Further training continues from its parameters, with a new optimizer.

    Raises
    ------
    InvalidFileError
        If the file was not written by :func:`save`, is damaged, or was written by a
        version of this package whose files this one cannot read.
    ValueError
        If ``module`` is missing, or is passed for another classifier, or if there is no
        ``device`` by that name.

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
        document, tensors = upgraded(document, tensors)
        classifier = _make_classifier(document, tensors, module, device)
        _set_attributes(classifier, document["attributes"], tensors)
        state = {
            key.removeprefix(_MODULE): tensor
            for key, tensor in tensors.items()
            if key.startswith(_MODULE)
        }
        restore_module(classifier, state)
    except Exception as error:
        # The cause of any error here is the contents of the file.
        raise InvalidFileError(
            f"Got {path}, whose contents do not fit together ({error!r}), but expected "
            f"a classifier of sksoftmax {versions()['sksoftmax']}. It was saved by "
            f"versions {document.get('versions')}: install these, or save it again"
            f"{'.' if module is None else ', or pass the module that was fitted.'}"
        ) from error
    return classifier


def _encode_all(
    values: dict[str, Any], arrays: dict[str, Tensor], problem: str
) -> dict[str, Any]:
    r"""Return parameters or attributes as JSON, whose arrays go into ``arrays``."""
    encoded = {}
    for name, value in values.items():
        try:
            if isinstance(value, TableEncoder):
                encoded[name] = {_ENCODER: encode(value.to_arrays(), arrays)}
            else:
                encoded[name] = encode(value, arrays)
        except TypeError as error:
            message = problem.format(name=name, value=value, kind=error)
            raise ValueError(message) from error
    return encoded


def _check_class(
    path: str | os.PathLike[str],
    document: dict[str, Any],
    module: Callable[..., nn.Module] | None,
) -> None:
    r"""Refuse the classes of other packages, and a module that is not used."""
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
            "file. Call load(path, module=...) with the class or function of the fit."
        )
    if module is not None and not is_net:
        raise ValueError(
            f"Got module={module!r}, but the file holds a {document['class']}, which "
            "has no such parameter. Leave module out."
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
    given = {"module": module, "device": device}
    parameters |= {name: value for name, value in given.items() if value is not None}
    classifier = _CLASSES[document["class"]](**parameters)
    check_parameters(classifier)
    return classifier


def _set_attributes(
    classifier: ModuleClassifier,
    attributes: dict[str, Any],
    tensors: dict[str, Tensor],
) -> None:
    for name, encoded in attributes.items():
        if name in _OLD_ATTRIBUTES:
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
