r"""
Messy tables: dates, dirty text, missing values
===============================================

Real tables have dates, names in many spellings, and missing values.
``skrub.tabular_pipeline`` puts the steps that such a table needs before a classifier. A
multi-layer perceptron needs fewer steps, since it takes missing values and categories
itself. Needs ``pip install polars skrub``, and takes a few seconds.
"""

# %%
# A table of employees
# --------------------
# The table is generated: who leaves depends on the date of joining, the team and the
# pay.
import numpy as np
import pandas as pd
import polars as pl
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skrub import StringEncoder, TableVectorizer, ToCategorical, tabular_pipeline

from sksoftmax import SoftmaxMLPClassifier, SoftmaxRegression

rng = np.random.default_rng(0)
n_rows = 1000
days = rng.integers(0, 4000, n_rows)
teams = rng.choice(["sales", "research", "support"], n_rows)
spelling = rng.choice(["{} ", "Team {}", "{} dept.", "{} (EU)"], n_rows)
table = pd.DataFrame(
    {
        "joined": pd.Timestamp("2014-01-01") + pd.to_timedelta(days, unit="D"),
        "team": teams,
        "title": [
            f"{how.format(team)} {level}"
            for how, team, level in zip(
                spelling, teams, rng.integers(1, 20, n_rows), strict=True
            )
        ],
        "pay": rng.gamma(9.0, 400.0, n_rows),
    }
)
score = days / 1000 - table["pay"] / 2000 + 2.0 * (teams == "sales")
y = np.where(score > 2, "leaves", np.where(score > 0.5, "moves", "stays"))
for column, every in [("joined", 11), ("team", 7), ("pay", 9)]:
    table.loc[rng.permutation(n_rows)[: n_rows // every], column] = None
table_train, table_test, y_train, y_test = train_test_split(
    table, y, stratify=y, random_state=0
)


def show(name, pipeline, table_test=table_test):
    loss = log_loss(y_test, pipeline.predict_proba(table_test))
    print(f"{name:<42}log loss {loss:.3f}")


# %%
# One line
# --------
# skrub reads the tags of a classifier and imputes missing values only where needed.
mlp = SoftmaxMLPClassifier(
    (64,), n_estimators=4, max_epochs=15, early_stopping=False, random_state=0
)
for classifier in (SoftmaxRegression(), mlp):
    pipeline = tabular_pipeline(classifier).fit(table_train, y_train)
    show(type(classifier).__name__, pipeline)
    print("   ", ", ".join(type(step).__name__ for step in pipeline[:-1]))

# %%
# Fewer steps
# -----------
# The perceptron takes categories as columns of a categorical dtype. Only dates and text
# become numbers.
vectorizer = TableVectorizer(
    low_cardinality=ToCategorical(), high_cardinality=StringEncoder(n_components=10)
)
pipeline = make_pipeline(vectorizer, mlp).fit(table_train, y_train)
show("SoftmaxMLPClassifier, own categories", pipeline)
print("   ", ", ".join(pipeline[-1].feature_names_in_[:6]), "...")

# %%
# The same with polars
# --------------------
# Tables may be polars frames, and so may the output of each step.
numbers_train, numbers_test = (
    pl.DataFrame(
        {
            "joined": part["joined"].dt.year.to_numpy(dtype=float),
            "pay": part["pay"].to_numpy(dtype=float),
        }
    )
    for part in (table_train, table_test)
)
scaler = StandardScaler().set_output(transform="polars")
pipeline = make_pipeline(scaler, mlp).fit(numbers_train, y_train)
show("SoftmaxMLPClassifier, polars, two columns", pipeline, numbers_test)
print("   ", type(pipeline[0].transform(numbers_test)).__module__.split(".")[0])
