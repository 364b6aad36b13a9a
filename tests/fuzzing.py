r"""Odd data, parameters and files: a sane result or a documented error, nothing else.

The suite runs some of it. ``python tests/fuzzing.py --cases 20000 --seed 0`` runs as
many cases as asked for, and stops at the first failure with a small example of it.
"""

import argparse
import copy
import io
import math
import time
import traceback
import warnings
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import numpy as np
import pandas as pd
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from scipy import sparse
from sklearn.exceptions import (
    ConvergenceWarning,
    DataConversionWarning,
    UndefinedMetricWarning,
)

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxMLPClassifier,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)
from sksoftmax.datasets import load_otto
from sksoftmax.persistence import load, save

# What an error may be. ValueError and TypeError include scikit-learn's own.
DOCUMENTED = (ValueError, TypeError)
# Who raises it: from elsewhere it would be in the words of something inside.
RAISED_BY = ("/sksoftmax/", "/sklearn/")
# Warnings that a user should see, scikit-learn's own: a score of a fold that lacks a
# class is one of them, as with LogisticRegressionCV.
WARNINGS = (ConvergenceWarning, DataConversionWarning, UndefinedMetricWarning)
BATCH = 500
# What is told by a warning: no optimum within max_iter, a column vector as target, too
# few members of a class for the folds, a fold whose score is not defined.
TOLD = ("converge", "column-vector", "least populated class", "Scoring failed",
        "number of unique classes is greater", "undefined", "ill-defined")  # fmt: skip


# %%
# Features: what people pass, and what they pass by mistake.
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


FORMS = [
    np.asarray,
    np.asarray,
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
# Parameters: mostly of the right kind, now and then anything.
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
}
QUICK = {
    SoftmaxRegression: {"max_iter": 20},
    SoftmaxRegressionCV: {"max_iter": 20, "Cs": 3},
    SoftmaxMLPClassifier: {"hidden_layer_sizes": (6,), "n_estimators": 2},
    SoftmaxCNNClassifier: {"channels": (2,), "kernel_size": 3},
}
for _kind in (SoftmaxMLPClassifier, SoftmaxCNNClassifier):
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
        # So many epochs are what was asked for.
        wrong = [value for value in WRONG if (name, value) != ("max_epochs", 2**70)]
        parameters[name] = draw(st.sampled_from(wrong))
    return kind(**{**QUICK[kind], **parameters})


@st.composite
def fits(draw):
    r"""Return a classifier and what to fit it on; most have nothing wrong with them."""
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
# What must hold of every fit.
@contextmanager
def only_what_is_documented():
    r"""Let documented errors pass; anything else that happens is a failure."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except DOCUMENTED as error:
            place = traceback.extract_tb(error.__traceback__)[-1].filename
            if not any(part in place for part in RAISED_BY) or not str(error).strip():
                raise AssertionError("not an error of ours") from error
    for warning in caught:
        is_told = issubclass(warning.category, WARNINGS) or any(
            part in str(warning.message) for part in TOLD
        )
        assert is_told, f"{warning.category.__name__}: {warning.message}"


def same(left, right):
    r"""Return whether two inputs hold the same, be it ever so odd."""
    if sparse.issparse(left):
        left, right = left.tocoo(), right.tocoo()
        parts = zip((left.data, *left.coords), (right.data, *right.coords), strict=True)
        return all(same(*part) for part in parts)
    if isinstance(left, (pd.DataFrame, pd.Series)):
        return left.equals(right)
    if isinstance(left, torch.Tensor):
        return same(left.numpy(), right.numpy())
    if isinstance(left, np.ndarray) and left.dtype != object:
        return left.tobytes() == right.tobytes()
    return repr(left) == repr(right)


def check_fit(case):
    classifier, *given_ = case
    before = copy.deepcopy(given_)
    X, y, weight = given_
    with only_what_is_documented():
        keywords = {} if weight is None else {"sample_weight": weight}
        classifier.fit(X, y, **keywords)
        check_predictions(classifier, X)
    for now, then in zip(given_, before, strict=True):
        assert same(now, then), "an input was changed"


def check_predictions(classifier, X):
    proba = classifier.predict_proba(X)
    n_samples = X.shape[0] if hasattr(X, "shape") else len(X)
    assert proba.shape == (n_samples, len(classifier.classes_))
    assert np.isfinite(proba).all(), "probabilities are not finite"
    assert (proba >= 0).all(), "probabilities below 0"
    np.testing.assert_allclose(proba.sum(axis=1), 1.0, atol=1e-6)
    log_proba = classifier.predict_log_proba(X)
    assert not np.isnan(log_proba).any(), "log probabilities are not numbers"
    labels = classifier.predict(X)
    assert np.isin(labels, classifier.classes_).all()
    np.testing.assert_array_equal(classifier.classes_, np.unique(classifier.classes_))
    for name, value in classifier.module_.state_dict().items():
        assert value.isfinite().all(), f"{name} is not finite"
    np.testing.assert_array_equal(classifier.predict_proba(X), proba)


# %%
# Files: of our own, damaged, and tables that are not Otto's.
def saved_model():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 3)), np.arange(30) % 3
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        save(SoftmaxRegression(max_iter=3, tol=1.0).fit(X, y), path)
        return path.read_bytes()


@st.composite
def damaged(draw, content):
    r"""Return bytes cut, overwritten or extended somewhere."""
    content = bytearray(content)
    place = draw(st.integers(0, len(content)))
    # The header is short; most places are not in it.
    place = draw(st.sampled_from([place, place % 200, place % 3000]))
    new = draw(st.binary(max_size=12))
    kind = draw(st.sampled_from(["overwrite", "insert", "delete", "cut", "foreign"]))
    if kind == "foreign":
        return draw(st.binary(max_size=200))
    if kind == "cut":
        return bytes(content[:place])
    width = {"overwrite": len(new), "insert": 0, "delete": len(new) + 1}[kind]
    content[place : place + width] = b"" if kind == "delete" else new
    return bytes(content)


def check_load(content, original):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        path.write_bytes(content)
        with only_what_is_documented():
            load(path)
            assert content == original, "a damaged file was loaded"


@st.composite
def tables(draw):
    r"""Return the bytes of what is, or is not, one of Otto's tables."""
    columns = ["id", *(f"feat_{j}" for j in range(1, 94)), "target"]
    n_rows = draw(st.integers(0, 4))
    rows = [[i + 1, *([i] * 93), f"Class_{i % 9 + 1}"] for i in range(n_rows)]
    if rows and draw(st.booleans()):
        row, column = draw(st.integers(0, n_rows - 1)), draw(st.integers(0, 94))
        rows[row][column] = draw(st.sampled_from(CELLS))
    if draw(st.integers(0, 3)) == 0:
        del columns[draw(st.integers(0, 94))]
    text = "\n".join(",".join(map(str, row)) for row in [columns, *rows])
    content = text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])))
    if draw(st.integers(0, 2)) == 0:
        content = draw(damaged(content))
    if draw(st.integers(0, 3)) == 0:
        packed = io.BytesIO()
        with ZipFile(packed, "w") as archive:
            archive.writestr(draw(st.sampled_from(["train.csv", "x/y"])), content)
        content = packed.getvalue()
        if draw(st.booleans()):
            content = draw(damaged(content))
    return content, draw(st.sampled_from(OTTO_FILES))


OTTO_FILES = [
    "train.csv",
    "train.csv.zip",
    "otto-group-product-classification-challenge.zip",
]
CELLS = ["", "x", "nan", "1e400", "-1", "1.5", '"', "Class_99", "\0", "1,2", "0x10"]


def check_otto(table):
    content, name = table
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        with only_what_is_documented():
            X, y = load_otto(data_home=folder, return_X_y=True)
            assert len(X) == len(y)
            assert X.shape[1] == 93
            assert np.isfinite(X.to_numpy(dtype=float)).all()


# %%
# How many cases, of what.
def run(strategy, check, n_cases, seed=None):
    r"""Check so many cases; the same ones each time unless there is a seed."""

    @settings(
        max_examples=n_cases,
        derandomize=seed is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(strategy)
    def checked(case):
        check(case)

    (checked if seed is None else seeded(seed)(checked))()


def checks():
    r"""Return name, strategy, check and share of the cases."""
    model = saved_model()
    return [
        ("fit", fits(), check_fit, 0.8),
        ("load", damaged(model), lambda content: check_load(content, model), 0.1),
        ("load_otto", tables(), check_otto, 0.1),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for label, strategy, check, share in checks():
        n_all, begin = int(share * arguments.cases), time.perf_counter()
        # Hypothesis remembers all cases of a run, and becomes slow.
        for batch in range(math.ceil(n_all / BATCH)):
            n_cases = min(n_all - batch * BATCH, BATCH)
            run(strategy, check, n_cases, arguments.seed * 1000 + batch)
            n_done, seconds = batch * BATCH + n_cases, time.perf_counter() - begin
            print(
                f"{label}: {n_done} cases without failure, {seconds:.0f} s", flush=True
            )
