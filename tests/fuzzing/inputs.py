r"""Strategies that draw odd features, targets, weights and parameters."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import torch
from hypothesis import strategies as st
from scipy import sparse
from torch import nn
from torch.utils.data import TensorDataset

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxGridSearchCV,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)

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


# %%
# Parameters: mostly of the right type, sometimes any object.
WRONG = [
    None,
    -1,
    0,
    1.5,
    "x",
    np.nan,
    np.inf,
    2**70,
    (),
    [3, "a"],
    {},
    object,
    b"",
    1j,
]
CLASS_WEIGHTS = [None, None, "balanced", {0: 2.0}, {"nobody": 1.0}, {0: 0.0, 1: 0.0}]

COMMON = {
    "class_weight": CLASS_WEIGHTS,
    "random_state": [0, 1, None, np.random.RandomState(3)],
    "warm_start": [False, True],
}
BY_EPOCHS = {
    "batch_size": [1, 2, 7, 256],
    "learning_rate": [1e-4, 0.01, 1.0, 1e6],
    "early_stopping": [False, True],
    "validation_fraction": [0.1, 0.5, 0.9],
    "lr_schedule": ["constant", "cosine", "one_cycle"],
    "momentum": [0.0, 0.9],
}
NETS = {
    "dropout": [0.0, 0.5],
    "label_smoothing": [0.0, 0.1, 1.0],
    "max_epochs": [1, 2],
    "n_estimators": [1, 3],
    "normalization": ["auto", None, "batch"],
    "optimizer": ["adamw", "sgd", "adam"],
    "precision": ["auto", "float32", "bfloat16"],
    "temperature_scaling": [False, True],
    "weight_decay": [0.0, 0.01, 100.0],
}


def two_layers(n_features, n_classes):
    return nn.Sequential(nn.Linear(n_features, 6), nn.ReLU(), nn.Linear(6, n_classes))


def normalized(n_features, n_classes):
    return nn.Sequential(nn.BatchNorm1d(n_features), nn.Linear(n_features, n_classes))


def with_softmax(n_features, n_classes):
    return nn.Sequential(nn.Linear(n_features, n_classes), nn.Softmax(1))


PARAMETERS = {
    SoftmaxRegression: {
        **COMMON,
        **BY_EPOCHS,
        "C": [1e-300, 1e-3, 1.0, 1e8, 1e300, np.inf],
        "fit_intercept": [True, False],
        "l1_ratio": [0.0, 0.0, 0.5, 1.0],
        "max_iter": [0, 1, 3, 50],
        "solver": ["auto", "newton-cg", "sgd", "adam"],
        "tol": [1e-8, 1e-3, 0.0, 1e-300],
        "init_scale": [0.0, 0.1],
    },
    SoftmaxRegressionCV: {
        "Cs": [1, 3, [0.1], [1e-30, 1.0], (1.0, np.inf), np.array([1, 2]), []],
        "class_weight": CLASS_WEIGHTS,
        "cv": [None, 2, 3, 10],
        "fit_intercept": [True, False],
        "l1_ratios": [(0.0,), (0.0, 1.0), [0.5]],
        "max_iter": [1, 20],
        "refit": [True, False],
        "scoring": [None, "neg_log_loss", "roc_auc", "f1_macro"],
    },
    SoftmaxMLPClassifier: {
        **COMMON,
        **BY_EPOCHS,
        **NETS,
        "activation": ["silu", "relu", "tanh"],
        "categorical_features": ["from_dtype", None, [0], [True, False], ["text"]],
        "hidden_layer_sizes": [(), (4,), (3, 3), "auto", (2**70,), [5]],
        "input_dropout": ["auto", 0.0, 0.9],
        "input_scaling": ["smooth", "standard", None],
        "n_bins": ["auto", None, 2, 8],
        "share_weights": [False, True],
    },
    SoftmaxCNNClassifier: {
        **COMMON,
        **BY_EPOCHS,
        **NETS,
        "augmentation": ["auto", None, "shift"],
        "channels": [(2,), (2, 3), ()],
        "convolutions_per_block": [1, 2],
        "data_pruning": ["auto", 0.5, 0.99],
        "hidden_layer_sizes": [(), (4,)],
        "image_shape": [None, None, None, (3, 3), (4, 4), (1, 3, 3), (2, 8), (1, 1)],
        "kernel_size": ["auto", 1, 3, np.int64(5)],
        "pool_size": [1, 2, 3],
        "test_time_augmentation": ["auto", False, True],
    },
    SoftmaxNetClassifier: {
        **COMMON,
        **BY_EPOCHS,
        "label_smoothing": [0.0, 0.1],
        "max_epochs": [1, 2],
        "module": [two_layers, nn.Linear, normalized, with_softmax],
        "optimizer": ["adamw", "sgd", "adam"],
        "precision": ["auto", "float32", "bfloat16"],
    },
    SoftmaxGridSearchCV: {
        "cv": [2, 3, 5],
        "error_score": [np.nan, "raise"],
        "param_grid": [{"C": [0.1, 1.0]}, {"C": [1e-30, np.inf]}, {"l1_ratio": [0, 1]}],
        "refit": [True, "neg_log_loss"],
        "scoring": [None, "neg_log_loss", "f1_macro", ["accuracy", "neg_log_loss"]],
    },
}
QUICK = {
    SoftmaxRegression: {"max_iter": 20},
    SoftmaxRegressionCV: {"max_iter": 20, "Cs": 3},
    SoftmaxMLPClassifier: {"hidden_layer_sizes": (6,), "n_estimators": 2},
    SoftmaxCNNClassifier: {"channels": (2,), "kernel_size": 3},
    SoftmaxNetClassifier: {"module": two_layers},
    SoftmaxGridSearchCV: {
        "estimator": SoftmaxRegression(max_iter=20),
        "param_grid": {"C": [0.1, 1.0]},
        "cv": 2,
    },
}
for _kind in (SoftmaxMLPClassifier, SoftmaxCNNClassifier, SoftmaxNetClassifier):
    QUICK[_kind]["max_epochs"] = 1


@st.composite
def classifiers(draw, with_anything=False):
    r"""Return a classifier with some parameters, of which one may be anything."""
    kind = draw(st.sampled_from(list(PARAMETERS)))
    choices = PARAMETERS[kind]
    chosen = draw(st.lists(st.sampled_from(sorted(choices)), max_size=4, unique=True))
    parameters = {name: draw(st.sampled_from(choices[name])) for name in chosen}
    if with_anything:
        name = draw(st.sampled_from(sorted(choices)))
        # 2**70 epochs are valid, but never end.
        is_length = name in ("max_epochs", "max_iter")
        wrong = [value for value in WRONG if not (is_length and value == 2**70)]
        parameters[name] = draw(st.sampled_from(wrong))
    return kind(**{**QUICK[kind], **parameters})


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
