r"""Export of fitted classifiers and pipelines to ONNX."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from scipy.sparse import issparse
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from .._classifier.module_classifier import ModuleClassifier
from .._utils.files import write_whole


def to_onnx(
    model: ModuleClassifier | Pipeline,
    X_sample: Any,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    r"""Convert a fitted classifier, or a pipeline that ends in one, to ONNX.

    Steps before the classifier are converted by ``skl2onnx``, if it has a converter for
    them. ``onnxruntime`` runs the result on ``X_sample``, which must predict the same.

    Parameters
    ----------
    model : estimator object
        A fitted classifier of this package, or a
        :class:`~sklearn.pipeline.Pipeline` whose last step is one.
    X_sample : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows of the dtype, the names of columns and, in a DataFrame, the columns of text
        that the model will be given. An array becomes one input ``X`` of its dtype, as
        does a list, array or Series of texts, with the shape (n_samples,); a DataFrame
        one input of shape (n_samples, 1) for each column, by its name, with an
        underscore for anything but letters and digits. Inputs of ONNX are dense: a
        sparse sample stands for a dense one. More rows make the check of the result
        stricter.
    path : str or path-like, default=None
        File to save the model in as well; none if None.

    Returns
    -------
    onnx_model : onnx.ModelProto
        The model, for any number of rows. Its outputs are ``label``, of shape
        (n_samples,), and ``probabilities``, of shape (n_samples, n_classes), the same
        as ``predict`` and ``predict_proba`` give up to rounding.

    Raises
    ------
    ImportError
        If ``onnx``, ``onnxruntime`` or ``skl2onnx`` is missing.
    TypeError
        If ``model`` is neither a classifier nor such a pipeline.
    NotFittedError
        If it is not fitted.
    ValueError
        If ``X_sample`` does not fit to the rows of the fit, if a
        :class:`~sksoftmax.SoftmaxNetClassifier` has a module that
        :func:`torch.onnx.export` cannot convert, if ONNX has no type for the labels or
        the categories, or if a step of a pipeline, which the message names, cannot be
        converted or gives other values in onnxruntime.

    Notes
    -----
    A module of your own is converted layer by layer if it consists of common layers,
    and else by :func:`torch.onnx.export`, with which the conversion shares its limits.

    Text cannot be missing in ONNX: pass "" for it, or any text that is no category.

    Some steps before the classifier are converted by skl2onnx for float32 only. In a
    pipeline with such a step, inputs of float64 are rounded to float32 first, and the
    probabilities are float32.

    The converted vectorizers of text find words of ASCII letters only. Pass texts of
    all kinds as ``X_sample``, since only these are compared.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sksoftmax import SoftmaxRegression
    >>> from sksoftmax.persistence import to_onnx
    >>> X, y = load_iris(return_X_y=True)
    >>> pipeline = make_pipeline(StandardScaler(), SoftmaxRegression()).fit(X, y)
    >>> onnx_model = to_onnx(pipeline, X[:1])
    >>> [output.name for output in onnx_model.graph.output]
    ['label', 'probabilities']
    """
    check_is_fitted(model)
    try:
        from . import _onnx, _onnx_check
    except ImportError as error:
        raise ImportError(
            f"to_onnx needs onnx, onnxruntime and skl2onnx ({error}). Run pip install "
            "onnx onnxruntime skl2onnx."
        ) from error
    _onnx.check_classifier(model)
    # Rows that do not fit raise the errors of ``predict``.
    model.predict(X_sample)
    if issparse(X_sample):
        X_sample = X_sample.toarray()
    onnx_model = _onnx_check.checked_conversion(model, X_sample)
    if path is not None:
        write_whole(Path(path), onnx_model.SerializeToString())
    return onnx_model
