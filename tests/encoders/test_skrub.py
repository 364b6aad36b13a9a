r"""In skrub's tabular_pipeline: dates, dirty text, categories and missing values."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from skrub import TableVectorizer, ToCategorical, tabular_pipeline
from torch import nn

from sksoftmax import (
    SoftmaxGridSearchCV,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)

CLASSIFIERS = {
    "regression": SoftmaxRegression(),
    "cv": SoftmaxRegressionCV(Cs=[0.1, 1.0], cv=2, scoring="accuracy"),
    "search": SoftmaxGridSearchCV(SoftmaxRegression(), {"C": [0.1, 1.0]}, cv=2),
    "mlp": SoftmaxMLPClassifier(
        (32,), n_estimators=1, learning_rate=0.01, max_epochs=15, random_state=0
    ),
    "net": SoftmaxNetClassifier(
        nn.Linear, learning_rate=0.05, max_epochs=15, random_state=0
    ),
}


def skrub_pipeline(classifier):
    # Its text encoder draws at random.
    return tabular_pipeline(clone(classifier)).set_params(
        tablevectorizer__high_cardinality__random_state=0
    )


def make_table(n_rows=300):
    r"""Return a table whose labels are told by its text and its dates, and these."""
    rng = np.random.default_rng(0)
    days = rng.integers(0, 2000, n_rows)
    city = rng.choice(["Bergen", "Lima", "Oslo"], n_rows)
    table = pd.DataFrame(
        {
            "joined": pd.Timestamp("2020-01-01") + pd.to_timedelta(days, unit="D"),
            "city": city,
            # More values than a column for each would make sense for.
            "employer": [f"{name} works {i % 60}" for i, name in enumerate(city)],
            "pay": rng.normal(size=n_rows),
            "is_new": rng.integers(2, size=n_rows).astype(bool),
        }
    )
    y = np.where(city == "Oslo", "north", np.where(days > 1000, "late", "early"))
    for column, every in [("joined", 30), ("city", 9), ("pay", 4), ("employer", 25)]:
        table.loc[::every, column] = None
    return table, y


@pytest.fixture(scope="module", params=["pandas", "polars"])
def table(request):
    table, y = make_table()
    return (table if request.param == "pandas" else pl.from_pandas(table)), y


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_tabular_pipeline(name, table):
    X, y = table
    pipeline = skrub_pipeline(CLASSIFIERS[name])
    # skrub reads from the tags whether missing values have to be filled in.
    has_imputer = any(isinstance(step, SimpleImputer) for step in pipeline)
    assert has_imputer == (name != "mlp")
    pipeline.fit(X[:200], y[:200])
    assert pipeline.score(X[200:], y[200:]) > 0.75
    proba = pipeline.predict_proba(X[200:])
    assert np.isfinite(proba).all()
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-6)
    rows = pipeline[:-1].transform(X[200:])
    np.testing.assert_array_equal(pipeline[-1].predict_proba(rows), proba)


def test_pandas_and_polars_give_the_same_classifier():
    table, y = make_table()
    pipeline = skrub_pipeline(CLASSIFIERS["mlp"])
    expected = clone(pipeline).fit(table, y).predict_proba(table)
    table = pl.from_pandas(table)
    found = clone(pipeline).fit(table, y).predict_proba(table)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_categories_reach_the_perceptron(table):
    X, y = table
    vectorizer = TableVectorizer(low_cardinality=ToCategorical())
    pipeline = make_pipeline(vectorizer, clone(CLASSIFIERS["mlp"])).fit(X, y)
    mlp = pipeline[-1]
    assert mlp.feature_names_in_[-1] == "is_new"
    # The three cities are one feature, whose categories the net has inputs for.
    assert "city" in mlp.feature_names_in_
    assert pipeline.score(X, y) > 0.75
    # A city that training never saw is like a missing one.
    row = X[:1]
    if isinstance(X, pl.DataFrame):
        unknown = row.with_columns(pl.lit("Rome").alias("city"))
        missing = row.with_columns(pl.lit(None, pl.String).alias("city"))
    else:
        unknown, missing = row.assign(city="Rome"), row.assign(city=None)
    np.testing.assert_array_equal(
        pipeline.predict_proba(unknown), pipeline.predict_proba(missing)
    )


def test_search_over_the_pipeline():
    X, y = make_table(150)
    pipeline = skrub_pipeline(SoftmaxRegression())
    grid = {"softmaxregression__C": [1e-6, 1.0]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    assert search.best_params_ == {"softmaxregression__C": 1.0}
    shared = SoftmaxGridSearchCV(pipeline, grid, cv=2).fit(X, y)
    np.testing.assert_array_equal(
        shared.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"]
    )
