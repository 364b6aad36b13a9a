r"""Memory layouts and dtypes of X: the same model, no copies, no changes."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from skorch.callbacks import (
    Callback,
)

from ..factories import (
    Net,
    Regression,
    for_each_class,
    for_each_class_and_solver,
    for_each_trained_by_epochs,
    same_bits,
    with_epochs,
)


class KeepTable(Callback):
    r"""Keeps the dataset that a net was trained on."""

    def on_train_begin(self, net, X=None, **kwargs):
        self.table = X


LAYOUTS = [
    pytest.param(lambda X, path: X, id="C-ordered"),
    pytest.param(lambda X, path: np.asfortranarray(X), id="F-ordered"),
    pytest.param(lambda X, path: X[::-1].copy()[::-1], id="negative-rows"),
    pytest.param(lambda X, path: X[:, ::-1].copy()[:, ::-1], id="negative-columns"),
    pytest.param(lambda X, path: np.repeat(X, 2, 0)[::2], id="strided-rows"),
    pytest.param(lambda X, path: np.repeat(X, 2, 1)[:, ::2], id="strided-columns"),
    pytest.param(lambda X, path: read_only(X), id="read-only"),
    pytest.param(lambda X, path: on_disk(X, path, "r"), id="memmap"),
    pytest.param(lambda X, path: on_disk(X, path, "c"), id="memmap-copy-on-write"),
    pytest.param(lambda X, path: X.astype(X.dtype.newbyteorder()), id="big-endian"),
    pytest.param(lambda X, path: X.astype(object), id="object"),
    pytest.param(lambda X, path: X.tolist(), id="list"),
]


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def on_disk(X, path, mode):
    np.save(path / "X.npy", X)
    return np.load(path / "X.npy", mmap_mode=mode)


@for_each_class
@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layout_of_the_rows_changes_no_bit(make, layout, fitted, iris, tmp_path):
    X, y = iris
    laid_out = layout(X, tmp_path)
    model = make().fit(laid_out, y)
    expected = fitted(make).predict_proba(X)
    assert same_bits(model.predict_proba(X), expected)
    assert same_bits(model.predict_proba(laid_out), expected)


@for_each_class
def test_row_of_negative_stride(make, fitted, iris):
    # NumPy calls an array of one row C-contiguous whatever its stride is.
    X, _ = iris
    model = fitted(make)
    row = X[:1][::-1]
    assert row.flags.c_contiguous
    assert row.strides[0] < 0
    assert same_bits(model.predict_proba(row), model.predict_proba(X[:1]))


@for_each_class_and_solver
@pytest.mark.parametrize(
    "dtype", ["float32", "float16", "uint8", "int16", "int64", "uint16"]
)
def test_dtype_of_the_rows(make, dtype, digits):
    X, y = digits[0][:200], digits[1][:200]
    # Well conditioned, so that float32 is enough for the exact solver.
    expected = make(**({"C": 1e-3} if make is Regression else {}))
    with_epochs(expected, 30 if make is Regression else 4).fit(X, y)
    model = clone(expected).fit(X.astype(dtype), y)
    np.testing.assert_allclose(
        model.predict_proba(X.astype(dtype)), expected.predict_proba(X), atol=2e-3
    )
    # The same model predicts the same for each dtype.
    np.testing.assert_allclose(
        expected.predict_proba(X.astype(dtype)),
        expected.predict_proba(X),
        atol=1e-5,
    )


@for_each_class_and_solver
@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8", "int64"])
def test_arrays_of_the_caller_stay_as_they_were(make, dtype, digits):
    X, y = digits
    arrays = {
        "X": X.astype(dtype),
        "y": y.copy(),
        "sample_weight": np.random.default_rng(0).uniform(0, 2, len(y)).round(1),
    }
    if make is not Regression:
        arrays["X_val"] = X[:99].astype(dtype)
        arrays["y_val"] = y[:99].copy()
        arrays["sample_weight_val"] = np.linspace(0, 1, 99)
    before = {name: array.tobytes() for name, array in arrays.items()}
    model = make(class_weight={0: 2.0})
    with_epochs(model, 30 if make is Regression else 3).fit(**arrays)
    model.predict_proba(arrays["X"])
    if make is not Regression:
        model.partial_fit(arrays["X"], arrays["y"])
    assert {name: array.tobytes() for name, array in arrays.items()} == before


@for_each_trained_by_epochs
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_training_rows_are_not_copied(make, dtype, digits):
    X, y = digits
    X = X.astype(dtype)
    recorder = KeepTable()
    make(callbacks=[recorder], early_stopping=True).fit(X, y)
    assert recorder.table.stored_X.dtype == getattr(torch, dtype)
    assert recorder.table.stored_X.data_ptr() == X.ctypes.data


@for_each_class
def test_float64_is_centered_before_it_is_rounded(make):
    # Unix time in seconds: float32 would round it to multiples of 128 s.
    if make is Net:
        pytest.skip("features reach the user's module unscaled")
    X, y = load_iris(return_X_y=True)
    shifted = X + 1.7e9
    options = {"C": 100.0} if make is Regression else {}
    model = make(**options).fit(shifted, y)
    assert model.score(shifted, y) > 0.85
    np.testing.assert_allclose(
        model.predict_proba(shifted),
        make(**options).fit(X, y).predict_proba(X),
        atol=0.05,
    )
