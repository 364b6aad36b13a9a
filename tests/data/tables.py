r"""Classifiers and tables of the tests of containers, columns and labels."""

import collections
from functools import partial

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from skorch.helper import SliceDataset
from torch import nn
from torch.utils.data import Dataset

from sksoftmax import (
    NeighborsEncoder,
    SoftmaxCNNClassifier,
    SoftmaxGridSearchCV,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)

MLP = partial(
    SoftmaxMLPClassifier,
    hidden_layer_sizes=(8,),
    n_estimators=1,
    max_epochs=2,
    random_state=0,
)

CLASSIFIERS = {
    "regression": SoftmaxRegression,
    "minibatch": partial(SoftmaxRegression, solver="sgd", max_iter=2, random_state=0),
    "cv": partial(SoftmaxRegressionCV, Cs=[1.0], cv=2),
    "search": partial(
        SoftmaxGridSearchCV,
        SoftmaxRegression(),
        {"C": [0.1, 1.0]},
        cv=2,
        error_score="raise",
    ),
    "mlp": MLP,
    "cnn": partial(SoftmaxCNNClassifier, channels=(4,), max_epochs=2, random_state=0),
    "net": partial(SoftmaxNetClassifier, nn.Linear, max_epochs=2, random_state=0),
}

EVERY = {**CLASSIFIERS, "neighbors": partial(NeighborsEncoder, n_neighbors=3)}
every = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)

# scikit-learn's search looks at rows and labels itself, before an estimator does.
ALONE = {name: make for name, make in EVERY.items() if name != "search"}
every_alone = pytest.mark.parametrize("make", ALONE.values(), ids=ALONE)

classifiers_alone = pytest.mark.parametrize(
    "make",
    [make for name, make in ALONE.items() if name != "neighbors"],
    ids=[name for name in ALONE if name != "neighbors"],
)

N_ROWS = 48
RANDOM = np.random.default_rng(0)

# Eighths: every float type below holds them exactly.
X = (RANDOM.integers(-16, 17, size=(N_ROWS, 4)) / 8).astype(np.float64)
y = (X[:, 0] + X[:, 1] > 0).astype(int)
FRAME = pd.DataFrame(X, columns=list("abcd"))
POLARS = pl.DataFrame(FRAME.to_dict("list"))
TENSOR = torch.tensor(X)
DATES = pd.date_range("2020-01-01", periods=N_ROWS)
PYTHON_DATES = list(DATES.to_pydatetime())


def outputs(model, X):
    r"""Return what a fitted estimator says of rows."""
    return getattr(model, "predict_proba", getattr(model, "transform", None))(X)


def of_objects(values):
    return pd.Series(list(values), dtype=object)


class Pairs(Dataset):
    def __len__(self):
        return N_ROWS

    def __getitem__(self, i):
        return TENSOR[i], y[i]


class Sequence:
    r"""The least that NumPy takes for a sequence."""

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __getitem__(self, i):
        return self.values[i]


class Rows(list):
    pass


SEQUENCES = {
    "SliceDataset": lambda: SliceDataset(Pairs()),
    "subclass of list": lambda: Rows(X.tolist()),
    "deque": lambda: collections.deque(X.tolist()),
    "Series of rows": lambda: pd.Series(list(X)),
    "array of rows": lambda: pd.Series(X.tolist()).to_numpy(),
    "__getitem__": lambda: Sequence(X),
    "__getitem__ of tensors": lambda: Sequence(TENSOR.bfloat16()),
    "tuple of arrays": lambda: tuple(X),
    "tensors": lambda: list(TENSOR),
    "bfloat16 tensors": lambda: list(TENSOR.bfloat16()),
    "Series": lambda: [row for _, row in FRAME.iterrows()],
    "memoryview": lambda: memoryview(X),
    "arrow table": lambda: pa.table(FRAME),
    "record batch": lambda: pa.RecordBatch.from_pandas(FRAME),
    "lazy polars": POLARS.lazy,
    "duckdb": lambda: duckdb.from_df(FRAME),
}

N_TEXTS = 600

TEXT = pd.DataFrame(
    {
        "number": RANDOM.normal(size=N_TEXTS),
        "text": [f"row {i}" for i in range(N_TEXTS)],
        "date": np.resize(pd.date_range("2020", periods=150).astype(str), N_TEXTS),
        "state": np.resize([f"state {i}" for i in range(50)], N_TEXTS),
    }
)
