r"""Export of fitted classifiers and pipelines to ONNX."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

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

    Steps before the classifier are converted by ``skl2onnx``, which has to know them.
    The result is run by ``onnxruntime`` on ``X_sample``, and must predict the same.

    Parameters
    ----------
    model : estimator object
        A fitted classifier of this package, or a
        :class:`~sklearn.pipeline.Pipeline` whose last step is one.
    X_sample : array-like of shape (n_samples, n_features) or list of str
        Some rows like those that will come: a dtype, names of columns and, in a
        DataFrame, which columns are text. An array becomes one input ``X`` of its
        dtype, as does a list, array or Series of texts, with the shape (n_samples,);
        a DataFrame one input of shape (n_samples, 1) for each column, by its
        name, with an underscore for anything but letters and digits. More rows make
        the check of the result stricter.
    path : str or path-like, default=None
        Where to save it as well; nowhere if None.

    Returns
    -------
    onnx_model : onnx.ModelProto
        The model, of any number of rows. Its outputs are ``label``, of shape
        (n_samples,), and ``probabilities``, of shape (n_samples, n_classes), the same
        as ``predict`` and ``predict_proba`` give up to rounding.

    Raises
    ------
    ImportError
        If ``onnx``, ``onnxruntime`` or ``skl2onnx`` is missing.
    TypeError
        If ``model`` is neither.
    NotFittedError
        If it is not fitted.
    ValueError
        If ``X_sample`` does not look like the rows of the fit, if a
        :class:`~sksoftmax.SoftmaxNetClassifier` has a layer that cannot be expressed,
        if there are labels or categories that ONNX has no type for, or if a step of a
        pipeline, which the message names, cannot be converted or gives other values in
        onnxruntime.

    Notes
    -----
    Text cannot be missing in ONNX: pass "" for it, or anything that is no category.

    Of the steps before the classifier, skl2onnx converts some for float32 only. If
    they are in a pipeline, inputs of float64 are rounded to float32 first, and the
    probabilities are of float32.

    The vectorizers of text that skl2onnx makes find words of ASCII letters only. Pass
    as ``X_sample`` texts of all kinds, since only these are compared.

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
            f"to_onnx needs onnx, onnxruntime and skl2onnx ({error}). Install them "
            'with pip install "sksoftmax[onnx]".'
        ) from error
    _onnx.check_classifier(model)
    # Says in familiar words what is wrong with the rows.
    model.predict(X_sample)
    onnx_model = _onnx_check.checked_conversion(model, X_sample)
    if path is not None:
        write_whole(Path(path), onnx_model.SerializeToString())
    return onnx_model
