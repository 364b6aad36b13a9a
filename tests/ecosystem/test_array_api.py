r"""Rows of other libraries: scikit-learn's array API, and rows on other devices."""

import copy
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from torch import nn

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxGridSearchCV,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)
from sksoftmax._utils import devices

ROOT_CODE = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.ecosystem import test_array_api
test_array_api.check_everything()
"""


def linear(n_features, n_classes):
    return nn.Linear(n_features, n_classes)


CLASSIFIERS = [
    SoftmaxRegression(),
    SoftmaxRegression(solver="adam", max_iter=3, random_state=0),
    SoftmaxRegressionCV(Cs=3, cv=3),
    SoftmaxGridSearchCV(SoftmaxRegression(), {"C": [0.1, 1.0]}, cv=2),
    SoftmaxMLPClassifier((8,), max_epochs=3, random_state=0),
    SoftmaxCNNClassifier(
        channels=(4,), kernel_size=3, max_epochs=2, image_shape=(2, 5), random_state=0
    ),
    SoftmaxNetClassifier(linear, max_epochs=3, random_state=0),
]


def check_everything():
    r"""Check the array API in a process in which SciPy's own support is enabled."""
    import array_api_strict
    import sklearn
    from sklearn.utils.estimator_checks import check_array_api_input

    devices = [
        ("torch", "cpu", "float32"),
        ("array_api_strict", "device1", "float64"),
    ]
    for classifier in CLASSIFIERS:
        name = type(classifier).__name__
        for namespace, device, dtype in devices:
            check_array_api_input(
                name,
                classifier,
                namespace,
                device,
                dtype,
                check_values=True,
                check_sample_weight=True,
            )
    X, y = load_iris(return_X_y=True)
    X = X.astype(np.float32)
    tensor, names = torch.from_numpy(X), np.array(["a", "b", "c"])[y]
    in_numpy = SoftmaxMLPClassifier((8,), max_epochs=3, random_state=0).fit(X, names)
    elsewhere = array_api_strict.asarray(X, device=array_api_strict.Device("device1"))
    expected = in_numpy.predict_proba(X)
    with sklearn.config_context(array_api_dispatch=True):
        # A classifier that was fitted to NumPy's arrays predicts rows of any library.
        for rows in (tensor, elsewhere):
            proba = in_numpy.predict_proba(rows)
            assert type(proba) is type(rows)
            assert proba.device == rows.device
            # No library but NumPy has text.
            assert in_numpy.predict(rows).tolist() == in_numpy.predict(X).tolist()
        np.testing.assert_array_equal(in_numpy.predict_proba(tensor).numpy(), expected)
        in_numpy.decision_function(tensor).add_(1.0).requires_grad_()
        fitted = SoftmaxRegression().fit(elsewhere, y)
        assert fitted.coef_.device == fitted.n_iter_.device == elsewhere.device
        with pytest.raises(ValueError, match=r"predict\(\) must use the same namesp"):
            fitted.predict(X)
        # Copies have NumPy's arrays, and so have classifiers that were moved.
        for free in (pickle.loads(pickle.dumps(fitted)), copy.copy(fitted).to("cpu")):
            assert isinstance(free.coef_, np.ndarray)
            assert free.predict(X).tolist() == free.predict(tensor).tolist()
        assert fitted.to("cpu").score(tensor, y) > 0.95
        fitted.fit(tensor, y).partial_fit(tensor, y)
        assert isinstance(fitted.coef_, torch.Tensor)


def test_scikit_learns_checks_of_the_array_api_with_the_values_of_numpy():
    pytest.importorskip("array_api_strict")
    pytest.importorskip("sklearn", "1.9")
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ROOT_CODE, root],
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr


def test_arrays_on_a_device_are_rows_also_without_dispatch():
    strict = pytest.importorskip("array_api_strict")
    X, y = load_iris(return_X_y=True)
    rows = strict.asarray(X, device=strict.Device("device1"))
    classifier = SoftmaxRegression().fit(rows, strict.asarray(y))
    expected = SoftmaxRegression().fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(classifier.predict_proba(rows), expected)


# The stub of an accelerator: PyTorch has the device "meta" everywhere, without data.
@pytest.mark.parametrize("classifier", CLASSIFIERS[:1] + CLASSIFIERS[4:])
def test_a_fitted_classifier_moves_to_a_device_and_back(classifier, monkeypatch):
    X, y = np.random.default_rng(0).normal(size=(60, 10)), np.arange(60) % 3
    with pytest.raises(NotFittedError):
        copy.copy(classifier).to("cpu")
    fitted = copy.deepcopy(classifier).fit(X, y)
    expected = fitted.predict_proba(X)
    kept = copy.deepcopy(fitted)
    with pytest.raises(ValueError, match="cannot be used here"):
        fitted.to("no such device")
    assert fitted.device == "auto"
    monkeypatch.setattr(devices, "_DEVICE_TYPES", ("cpu", "meta"))
    assert fitted.to("meta") is fitted
    assert fitted.device == "meta"
    assert {p.device.type for p in fitted.module_.parameters()} == {"meta"}
    with pytest.raises(Exception, match=r"meta|[Cc]annot copy"):
        fitted.predict(X)
    assert kept.to("cpu") is kept
    np.testing.assert_array_equal(kept.predict_proba(X), expected)
    assert len(kept.net_.history) == len(fitted.net_.history)
    kept.partial_fit(X, y)


def test_xpu_is_an_accelerator(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.xpu, "is_available", lambda: True)
    assert devices.resolve_device("auto").type == "xpu"
    for has_fp64 in (True, False):
        properties = type("Properties", (), {"has_fp64": has_fp64})
        monkeypatch.setattr(
            torch.xpu, "get_device_properties", lambda _, p=properties: p
        )
        assert devices.has_float64(torch.device("xpu")) is has_fp64
    assert not devices.has_float64(torch.device("mps"))
    assert devices.has_float64(torch.device("cuda"))
