r"""Strategies that draw odd features, targets, weights, and the calls of a fit."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import torch
from hypothesis import strategies as st
from scipy import sparse
from torch.utils.data import TensorDataset

from .parameters import classifiers

# %%
# Features: valid ones, and common mistakes.
DTYPES = ["f2", "f4", "f8", ">f8", "<f4", "i1", "u1", "i4", ">i8", "u2", "?", "g"]


@st.composite
def numbers(draw, with_hole=False):
    r"""Return a table of numbers as an array of any dtype, and in any order."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    n_samples = draw(st.sampled_from([2, 3, 8, 20, 40]))
    n_features = draw(st.sampled_from([1, 2, 4, 9, 16]))
    X = rng.normal(size=(n_samples, n_features))
    scale = draw(st.sampled_from([0, 0, 1, 4, 10, 30]))
    X = X * 10.0 ** rng.uniform(-scale, scale, n_features)
    for kind in draw(st.lists(st.sampled_from(["constant", "zeros", "twins"]))):
        if kind == "twins":
            X = X[rng.integers(0, n_samples, n_samples)]
        else:
            X[:, rng.integers(n_features)] = 3e5 if kind == "constant" else 0.0
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    if dtype.kind in "iu":
        X = rng.integers(0, np.iinfo(dtype).max, X.shape, endpoint=True)
    if dtype == np.float16:
        X = X.clip(-6e4, 6e4)
    X = X.astype(dtype)
    if with_hole:
        with np.errstate(over="ignore"):
            X = X.astype(draw(st.sampled_from(["f2", "f4", "f8", "O"])))
        X.flat[rng.integers(X.size)] = draw(st.sampled_from(HOLES))
    return draw(st.sampled_from(LAYOUTS))(X)


def every_other(X):
    wide = np.zeros((2 * len(X), X.shape[1]), dtype=X.dtype)
    wide[::2] = X
    return wide[::2]


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


HOLES = [np.nan, np.inf, -np.inf]
LAYOUTS = [
    np.ascontiguousarray,
    np.asfortranarray,
    every_other,
    read_only,
    lambda X: X[::-1, ::-1],
]


def as_frame(X):
    index = pd.Index(np.arange(len(X))[::-1] // 2)
    return pd.DataFrame(X.astype(X.dtype.newbyteorder("=")), index=index)


def as_named_frame(X):
    frame = as_frame(X)
    frame.columns = [f"ü {j}" if j % 2 else f"x.{j}\n" for j in range(X.shape[1])]
    if X.shape[1] > 1:
        frame["text"] = ["a", "b", "ä"][len(X) % 3]
        frame["kind"] = pd.Categorical(["a", None, "b"][i % 3] for i in range(len(X)))
    return frame


def as_frame_with_texts(X):
    r"""Return a table that has a text for nearly every row, as names or comments."""
    frame = as_frame(X)
    frame.columns = [f"x{j}" for j in range(X.shape[1])]
    return frame.assign(comment=[f"row {i // 2}" for i in range(len(X))])


def as_frame_with_dates(X):
    frame = as_frame_with_texts(X).drop(columns="comment")
    return frame.assign(date=pd.date_range("2024-01-01", periods=len(X)))


def with_outlier(X):
    X = X.astype(float)
    X.flat[len(X) % X.size] = 10.0 ** (len(X) % 31)
    return X


def named(X):
    r"""Return the columns by name, as polars and pyarrow have them."""
    X = X.astype(X.dtype.newbyteorder("="))
    # polars and pyarrow take no half or long floats, and no wide integers as objects.
    X = X.astype(float) if X.dtype.kind in "fO" and X.dtype != np.float32 else X
    return {f"x{j}": np.ascontiguousarray(column) for j, column in enumerate(X.T)}


def as_masked(X):
    return np.ma.masked_array(X, np.arange(X.size).reshape(X.shape) % 7 == 0)


def as_float_tensor(X):
    return torch.from_numpy(X.astype(np.float32))


FORMS = [
    np.asarray,
    np.asarray,
    as_frame_with_texts,
    with_outlier,
    lambda X: np.repeat(X, 3, axis=0)[: len(X)],
    lambda X: np.tile(X, (1, 40)),
    list,
    lambda X: pl.DataFrame(named(X)),
    lambda X: pl.LazyFrame(named(X)),
    lambda X: pa.table(named(X)),
    lambda X: as_float_tensor(X).bfloat16(),
    lambda X: as_float_tensor(X.clip(-6e4, 6e4)).half(),
    lambda X: as_float_tensor(X).to_sparse_csr(),
    lambda X: pd.DataFrame.sparse.from_spmatrix(sparse.csr_array(X.astype(float))),
    as_frame,
    as_named_frame,
    np.ndarray.tolist,
    lambda X: X.astype(object),
    lambda X: sparse.csr_array(X.astype(float)),
    lambda X: sparse.coo_matrix(X.astype(np.float32)),
    lambda X: torch.from_numpy(X.astype(np.float32)),
    lambda X: pd.DataFrame(X.astype(float)).astype("Float64"),
]
WRONG_FORMS = [
    as_masked,
    as_frame_with_dates,
    lambda X: TensorDataset(as_float_tensor(X)),
    lambda X: as_float_tensor(X).to_sparse(),
    lambda X: X.astype(str),
    lambda X: X.astype(np.complex64),
    lambda X: X.astype(float) * 1e300 * 1e300,
    lambda X: X[:, :, None],
    np.ravel,
    lambda X: X[:0],
    lambda X: X[:1],
    lambda X: X[:, :0],
    lambda X: as_frame(X[:, :0]),
    lambda X: {"x": X},
    lambda X: None,
    lambda X: "features",
]


# %%
# Targets and weights.
@st.composite
def targets(draw, n_samples):
    r"""Return classes of two rows or more, and of one, as their indices."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    n_classes = draw(st.sampled_from([2, 2, 3, 3, 10, 200]))
    y = rng.integers(0, n_classes, n_samples)
    y[:2] = 0, 1
    return y


TARGETS = [
    np.asarray,
    np.asarray,
    lambda y: y - 5,
    lambda y: y.astype(str),
    lambda y: np.char.add("class ", y.astype(str)).astype(object),
    lambda y: y.astype(float),
    lambda y: y.astype(">i8"),
    lambda y: y.astype(">f4"),
    lambda y: y.astype(">U4"),
    lambda y: y.astype(bool),
    lambda y: y.astype(np.uint8),
    lambda y: y[:, None],
    lambda y: np.repeat(y, 2)[::2],
    lambda y: pd.Series(y, index=np.arange(len(y))[::-1]),
    lambda y: pd.Series(y).astype("category"),
    lambda y: pd.Series(y).astype("string"),
    lambda y: y.tolist(),
    torch.from_numpy,
]
WRONG_TARGETS = [
    lambda y: y + 0.5,
    lambda y: y[1:],
    lambda y: y * 0,
    lambda y: np.eye(3)[y % 3],
    lambda y: np.where(y == 0, np.nan, y),
    lambda y: np.array([None if v == 0 else str(v) for v in y], dtype=object),
    lambda y: np.array([v if v % 2 else str(v) for v in y], dtype=object),
    lambda y: y.astype(complex),
    lambda y: y.astype("S3"),
    lambda y: y.astype("M8[s]"),
    lambda y: [[v] * (v + 1) for v in y.tolist()],
    lambda y: None,
    lambda y: "target",
]
WEIGHTS = [
    lambda w: None,
    lambda w: None,
    np.asarray,
    lambda w: w > 0.5,
    lambda w: w.astype(">f4"),
    lambda w: (4 * w).astype(int),
    lambda w: w * 1e-300,
    lambda w: w * 1e30,
    lambda w: pd.Series(w, index=np.arange(len(w)) + 7),
    lambda w: w.tolist(),
    lambda w: 2.0,
]
WRONG_WEIGHTS = [
    lambda w: w * 0,
    lambda w: w * 1e308 * 10,
    lambda w: w * 1e307,
    lambda w: w - 0.5,
    lambda w: np.where(w < 0.2, np.nan, w),
    lambda w: w[1:],
    lambda w: w[:, None],
    lambda w: w.astype(complex),
    lambda w: w.astype(str),
    lambda w: "balanced",
]


@st.composite
def fits(draw):
    r"""Return a classifier and arguments of fit; most of them are valid."""
    flaw = draw(st.sampled_from(FLAWS))
    X = draw(numbers(with_hole=flaw == "hole"))
    y, w = draw(targets(len(X))), np.random.default_rng(len(X)).random(len(X))
    form = draw(st.sampled_from(WRONG_FORMS if flaw == "X" else FORMS))
    target = draw(st.sampled_from(WRONG_TARGETS if flaw == "y" else TARGETS))
    weight = draw(st.sampled_from(WRONG_WEIGHTS if flaw == "weight" else WEIGHTS))
    classifier = draw(classifiers(with_anything=flaw == "parameter"))
    with np.errstate(over="ignore"):
        return classifier, form(X), target(y), weight(w)


FLAWS = [None] * 7 + ["hole", "X", "y", "weight", "parameter"]


# %%
# Sequences: calls after a fit, with other rows or a part of them.
STEPS = ["fit", "fit other rows", "partial_fit", "partial_fit part", "partial_fit row",
         "warm fit", "pickle", "zero weights"]  # fmt: skip


@st.composite
def sequences(draw):
    r"""Return a classifier, rows, other rows, their labels, and the calls."""
    classifier = draw(classifiers())
    X = draw(numbers())
    y = draw(targets(len(X)))
    steps = draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=4))
    scale = draw(st.sampled_from([1.0, 1.0, 100.0, 1e10]))
    return classifier, X.astype(float), X.astype(float) * scale + scale, y, steps
