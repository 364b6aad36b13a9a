"""
Softmax regression: time to the optimum
=======================================

Compares :class:`~sksoftmax.SoftmaxRegression` with every solver of scikit-learn's
``LogisticRegression`` that takes the problem: seconds, in turns, and how far above ours
the final objective is. Iris, wine and digits come with scikit-learn, wide tables are
generated; Otto and MNIST are added if ``SKSOFTMAX_DATA`` is the folder of their files.

Run with ``python examples/benchmarks/linear.py [--repeats 3] [--cv] [--sparse]``.
``--cv`` compares the choice of ``C`` by cross-validation instead, ``--sparse`` sparse
tables: 100,000 rows and columns, and a wide one. ``--small`` runs ``linear_small.py``,
which names its own options and optional contestants. On two cores, MNIST takes most of
an hour.
"""

import argparse
import os
import warnings
from statistics import median

import linear_small
import numpy as np
from linear_small import (
    IntelexRegression,
    cross_validations,
    is_supported,
    objective_and_gap,
    scaled,
    seconds,
)
from scipy.sparse import csr_array
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sksoftmax import SoftmaxRegression
from sksoftmax.datasets import fetch_mnist, load_otto

warnings.simplefilter("ignore", ConvergenceWarning)


# %%
# Data, standardized, since lbfgs needs it.
def otto():
    X, y = load_otto(return_X_y=True)
    return StandardScaler().fit_transform(np.log1p(X)), y


def mnist():
    X, y = fetch_mnist(return_X_y=True)
    return np.asarray(X, dtype=float) / 255, y


def zipf(n_rows=100_000, n_columns=100_000, n_words=220, n_classes=20):
    r"""Return rows of word frequencies, with smaller weights for common words."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, n_classes, n_rows)
    # Each class has its own words among the less common ones.
    words = rng.zipf(1.3, (n_rows, n_words)) % n_columns
    own = rng.random(words.shape) < 0.1
    words = np.where(own, (words * 20 + y[:, None]) % n_columns, words)
    rows = np.repeat(np.arange(n_rows), n_words)
    X = csr_array((np.ones(words.size), (rows, words.ravel())), (n_rows, n_columns))
    X.sum_duplicates()
    frequency = np.bincount(X.indices, minlength=n_columns)
    X.data = (1 + np.log(X.data)) * np.log(n_rows / (1 + frequency[X.indices]))
    lengths = np.sqrt(np.add.reduceat(X.data**2, X.indptr[:-1]))
    X.data /= np.repeat(lengths, np.diff(X.indptr))
    return X, y


def wide(n_rows, n_columns, n_classes):
    r"""Return a table of many more columns than rows, as of gene expression."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(n_rows, 10))
    X = factors @ rng.normal(size=(10, n_columns)) + rng.normal(
        size=(n_rows, n_columns)
    )
    logits = factors @ rng.normal(size=(10, n_classes))
    return X, (logits + rng.gumbel(size=logits.shape)).argmax(1)


# %%
# The contestants: the rows as float64 or float32, and a model.
def contestants(C, shape, sparse):
    yield "SoftmaxRegression", float, SoftmaxRegression(C)
    solvers = {
        "lbfgs": [1e-4, 1e-6],
        "newton-cg": [1e-4, 1e-5, 1e-6],
        "newton-cholesky": [1e-4],
        "newton-cd-gram": [1e-4],
    }
    for solver, tolerances in solvers.items():
        # They need a matrix of columns x columns, and take no sparse rows.
        needs_matrix = solver in {"newton-cholesky", "newton-cd-gram"}
        if needs_matrix and (sparse or shape[1] > 2 * shape[0]):
            continue
        if is_supported(solver):
            for tol in tolerances:
                rival = LogisticRegression(C=C, solver=solver, tol=tol, max_iter=2_000)
                yield f"{solver}, tol={tol:g}", float, rival
    yield "lbfgs, default", float, LogisticRegression(C=C)
    yield "lbfgs, default, float32", np.float32, LogisticRegression(C=C)
    if IntelexRegression is not None:
        for solver in ("lbfgs", "newton-cg"):
            rival = IntelexRegression(C=C, solver=solver, tol=1e-6, max_iter=2_000)
            yield f"intelex, {solver}, tol=1e-06", float, rival


def compare(name, X, y, C, repeats):
    sparse = isinstance(X, csr_array)
    models = {label: fit for label, *fit in contestants(C, X.shape, sparse)}
    rows = {dtype: X.astype(dtype) for dtype in (float, np.float32)}
    times = {label: [] for label in models}
    # In turns, so that changes of the machine's speed affect all of them.
    for _ in range(repeats):
        for label, (dtype, model) in models.items():
            times[label].append(seconds(model, rows[dtype], y))
    values = {
        label: objective_and_gap(model, X, y, C)[0]
        for label, (_, model) in models.items()
    }
    best = values["SoftmaxRegression"]
    for label, spent in times.items():
        above = values[label] / best - 1
        print(f"| {name}, C={C:g} | {label} | {median(spent):.3g} | {above:+.1e} |")


# %%
# Cross-validation: ten penalties, five folds.
def compare_cv(X, y):
    models = dict(cross_validations((0.0,)))
    for label, model in models.items():
        spent = seconds(model, X, y)
        print(f"{label}: {spent:.1f} s, C_={model.C_:.4g}", flush=True)
    ours, rival, *_ = (model.scores_ for model in models.values())
    print(f"largest difference of scores: {abs(ours - rival).max():.1e}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cv", action="store_true")
    parser.add_argument("--sparse", action="store_true")
    parser.add_argument("--small", action="store_true")
    arguments, rest = parser.parse_known_args()
    has_data = "SKSOFTMAX_DATA" in os.environ
    if arguments.small:
        linear_small.main(rest)
    elif arguments.cv:
        compare_cv(*(otto() if has_data else scaled(load_digits)))
    else:
        print("| problem | solver | fit, s | objective above ours |")
        print("|---|---|---|---|")
        if arguments.sparse:
            compare("Zipf text", *zipf(), 1.0, arguments.repeats)
            rows = zipf(500, 50_000, n_classes=5)
            compare("500 rows of it", *rows, 1.0, arguments.repeats)
        else:
            for load in (load_iris, load_wine, load_digits):
                name = load.__name__.removeprefix("load_")
                compare(name, *scaled(load), 1.0, arguments.repeats)
            for shape in ((72, 7_129, 2), (500, 20_000, 3)):
                name = f"wide, {shape[0]} x {shape[1]:,}"
                compare(name, *wide(*shape), 1.0, arguments.repeats)
            if has_data:
                for C in (0.01, 1.0, 100.0):
                    compare("Otto", *otto(), C, arguments.repeats)
                compare("MNIST", *mnist(), 0.01, 1)
