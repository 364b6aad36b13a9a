r"""Devices, seeds and arrays."""

import contextlib
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from torch import nn

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)
from sksoftmax._utils.arrays import as_tensor
from sksoftmax._utils.devices import resolve_device
from sksoftmax._utils.random import global_generator_seeded, make_generator

ACCELERATORS = [
    pytest.param(
        name,
        marks=[
            pytest.mark.accelerator,
            pytest.mark.skipif(not available, reason=f"no {name} device here"),
        ],
    )
    for name, available in (
        ("cuda", torch.cuda.is_available()),
        ("mps", torch.backends.mps.is_available()),
    )
]


def test_auto_takes_an_accelerator_only_where_there_is_one():
    expected = "cpu"
    if torch.backends.mps.is_available():
        expected = "mps"
    if torch.cuda.is_available():
        expected = "cuda"
    assert resolve_device("auto").type == expected


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "", "meta:x"])
def test_impossible_device(device):
    with pytest.raises(ValueError, match="Expected 'auto', 'cpu', 'cuda'"):
        resolve_device(device)


def test_read_only_memory_is_shared_without_a_warning():
    array = np.arange(6.0).reshape(2, 3)
    array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = as_tensor(array)
    assert tensor.data_ptr() == array.ctypes.data
    assert torch.equal(tensor, torch.arange(6.0, dtype=torch.float64).reshape(2, 3))


def test_generators_are_independent_of_the_global_one():
    state = torch.get_rng_state()
    a, b = make_generator(1), make_generator(1)
    assert torch.equal(torch.rand(3, generator=a), torch.rand(3, generator=b))
    assert torch.equal(torch.get_rng_state(), state)


def test_global_generator_is_seeded_and_restored_even_after_an_error():
    state = torch.get_rng_state()
    drawn = []
    for _ in range(2):
        with global_generator_seeded(7, torch.device("cpu")):
            drawn.append(torch.rand(2))
    assert torch.equal(*drawn)
    with (
        contextlib.suppress(ZeroDivisionError),
        global_generator_seeded(7, torch.device("cpu")),
    ):
        torch.rand(1)
        raise ZeroDivisionError
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("device", ACCELERATORS)
@pytest.mark.parametrize(
    "classifier",
    [
        SoftmaxRegression(),
        SoftmaxMLPClassifier((64,), n_estimators=1, max_epochs=20, random_state=0),
        SoftmaxCNNClassifier((8, 8), channels=(8,), kernel_size=3, random_state=0),
    ],
)
def test_accelerator_learns_what_the_cpu_learns(classifier, device):
    X, y = load_digits(return_X_y=True)
    on_device = classifier.set_params(device=device).fit(X, y)
    assert next(on_device.module_.parameters()).device.type == device
    assert on_device.score(X, y) > 0.95
    again = on_device.__class__(**on_device.get_params()).fit(X, y)
    assert np.allclose(again.predict_proba(X), on_device.predict_proba(X), atol=1e-3)


def linear(n_features, n_classes):
    return nn.Linear(n_features, n_classes)


@pytest.mark.parametrize(
    "mode", [torch.inference_mode, torch.no_grad, lambda: torch.device("meta")]
)
@pytest.mark.parametrize(
    "classifier",
    [
        SoftmaxRegression(),
        SoftmaxRegression(solver="adam", max_iter=3, random_state=0),
        SoftmaxRegressionCV(Cs=3, cv=3),
        SoftmaxMLPClassifier((8,), n_estimators=2, max_epochs=3, random_state=0),
        SoftmaxCNNClassifier((2, 2), channels=(4,), max_epochs=3, random_state=0),
        SoftmaxNetClassifier(linear, max_epochs=3, random_state=0),
    ],
    ids=lambda classifier: type(classifier).__name__,
)
def test_modes_around_a_fit_change_nothing(classifier, mode):
    X, y = load_iris(return_X_y=True)
    expected = clone(classifier).fit(X, y).predict_proba(X)
    with mode():
        fitted = clone(classifier).fit(X, y)
        proba = fitted.predict_proba(X)
    np.testing.assert_array_equal(proba, expected)
    if hasattr(classifier, "partial_fit"):
        with mode():
            fitted.partial_fit(X, y)


@pytest.fixture
def float64_by_default():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize(
    "classifier",
    [
        SoftmaxRegression(l1_ratio=0.5),
        SoftmaxRegressionCV(Cs=3, cv=3, scoring="accuracy"),
        SoftmaxMLPClassifier((8,), n_estimators=2, random_state=0),
    ],
    ids=lambda classifier: type(classifier).__name__,
)
def test_default_dtype_of_float64(classifier, float64_by_default):
    X, y = load_iris(return_X_y=True)
    assert classifier.fit(X, y).score(X, y) > 0.95
