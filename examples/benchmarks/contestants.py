"""
Contestants of the comparisons
==============================

Our estimators and their rivals, each with the preparation that it needs. A contestant
is a function from a seed to an estimator; it imports an optional library outside of the
timed part. ``accuracy.py`` imports them.

Columns of text go to each library as it takes them: ``cat_features`` of CatBoost,
``enable_categorical`` of XGBoost, columns of pandas' type ``category`` elsewhere. An
estimator that takes no missing values or text comes after the steps that scikit-learn's
user guide recommends; their seconds are part of the fit.

Run with ``python examples/benchmarks/contestants.py`` for a list, with the versions of
the libraries that are installed.
"""

import logging
import warnings
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np
import torch
from otto_ensembles import make_ensemble, make_large_ensemble, make_wide_nets
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)

from sksoftmax import SoftmaxCNNClassifier, SoftmaxMLPClassifier, SoftmaxRegression
from sksoftmax.modules import RandomShift

# %%
# Preparation.
NUMBERS = make_column_selector(dtype_include="number")
STRINGS = make_column_selector(dtype_exclude="number")


def prepared(classifier):
    r"""Return a pipeline that imputes, scales numbers and encodes strings."""
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    strings = make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
    )
    columns = make_column_transformer((numbers, NUMBERS), (strings, STRINGS))
    return make_pipeline(columns, classifier)


def as_categories(X):
    return X.astype(dict.fromkeys(STRINGS(X), "category"))


def with_categories(classifier):
    return make_pipeline(FunctionTransformer(as_categories), classifier)


def with_numbers_imputed(classifier):
    r"""Return a pipeline for nets that take categories, but no missing numbers."""
    columns = make_column_transformer(
        (SimpleImputer(), NUMBERS), (FunctionTransformer(as_categories), STRINGS)
    )
    return make_pipeline(columns.set_output(transform="pandas"), classifier)


def with_codes(classifier):
    r"""Return a pipeline that numbers the strings."""
    codes = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2
    )
    columns = make_column_transformer((codes, STRINGS), remainder="passthrough")
    return make_pipeline(columns, classifier)


class NamedCategories(ClassifierMixin, BaseEstimator):
    r"""Names the columns of text to CatBoost, which takes no missing text."""

    def __init__(self, classifier):
        self.classifier = classifier

    def fit(self, X, y):
        self.classifier.fit(self.as_text(X), y, cat_features=STRINGS(X))
        self.classes_ = self.classifier.classes_
        return self

    def predict_proba(self, X):
        return self.classifier.predict_proba(self.as_text(X))

    @staticmethod
    def as_text(X):
        missing = {
            name: X[name].astype(object).fillna("missing") for name in STRINGS(X)
        }
        return X.assign(**{name: text.astype(str) for name, text in missing.items()})


class FixedCategories(ClassifierMixin, BaseEstimator):
    r"""Numbers the classes for XGBoost, and keeps the categories of the training rows.

    XGBoost refuses other categories; here they become missing values.
    """

    def __init__(self, classifier):
        self.classifier = classifier

    def fit(self, X, y):
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.categories_ = {
            name: X[name].astype("category").cat.categories for name in STRINGS(X)
        }
        self.classifier.fit(self.as_categories(X), codes)
        return self

    def predict_proba(self, X):
        return self.classifier.predict_proba(self.as_categories(X))

    def as_categories(self, X):
        columns = {
            name: X[name].astype("category").cat.set_categories(categories)
            for name, categories in self.categories_.items()
        }
        return X.assign(**columns)


def shades(X):
    return X / np.float32(255)


def of_shades(classifier):
    r"""Return a pipeline that gives all pixels the same unit."""
    return make_pipeline(FunctionTransformer(shades), classifier)


# %%
# Rivals. By default boosted trees use all cores; here all use the threads of PyTorch.
def random_forest(seed):
    # The settings that TabArena gives its reference of 1,000 points.
    return RandomForestClassifier(
        300, max_leaf_nodes=15_000, random_state=seed, n_jobs=torch.get_num_threads()
    )


def lightgbm(seed, **options):
    from lightgbm import LGBMClassifier

    n_jobs = torch.get_num_threads()
    return LGBMClassifier(random_state=seed, n_jobs=n_jobs, verbose=-1, **options)


def catboost(seed):
    from catboost import CatBoostClassifier

    return CatBoostClassifier(
        random_seed=seed,
        thread_count=torch.get_num_threads(),
        verbose=False,
        allow_writing_files=False,
    )


def xgboost(seed):
    from xgboost import XGBClassifier

    n_jobs = torch.get_num_threads()
    return XGBClassifier(random_state=seed, n_jobs=n_jobs, enable_categorical=True)


def pytabkit(name, seed, **options):
    with warnings.catch_warnings():
        # It compiles functions by a way that PyTorch deprecates.
        warnings.simplefilter("ignore", FutureWarning)
        import pytabkit

    # Lightning, which trains these nets, logs every fit.
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    # By default they keep the epoch of the lowest validation error, which would be
    # unfair in a comparison by log loss.
    return getattr(pytabkit, name)(
        random_state=seed,
        n_threads=torch.get_num_threads(),
        val_metric_name="cross_entropy",
        **options,
    )


def realmlp(seed, **options):
    # Smoothed labels help accuracy and hurt the log loss.
    return pytabkit("RealMLP_TD_Classifier", seed, use_ls=False, **options)


def tabm(seed, **options):
    return pytabkit("TabM_D_Classifier", seed, **options)


# The search for neighbors uses as many threads as the others.
def otto_ensemble(seed):
    return make_ensemble(seed, 10, 6, n_jobs=torch.get_num_threads())


def otto_large_ensemble(seed):
    return make_large_ensemble(seed, n_jobs=torch.get_num_threads())


def installed(package, contestants):
    return contestants if find_spec(package) else {}


# %%
# The contestants of each kind of data.
TABLES = {
    "SoftmaxRegression": lambda seed: prepared(SoftmaxRegression(random_state=seed)),
    "SoftmaxMLPClassifier": lambda seed: SoftmaxMLPClassifier(random_state=seed),
    "SoftmaxMLPClassifier-16": lambda seed: SoftmaxMLPClassifier(
        n_estimators=16, random_state=seed
    ),
    "LogisticRegression": lambda seed: prepared(LogisticRegression()),
    "MLPClassifier": lambda seed: prepared(MLPClassifier(random_state=seed)),
    "RandomForest": lambda seed: with_codes(random_forest(seed)),
    "HistGradientBoostingClassifier": lambda seed: with_categories(
        HistGradientBoostingClassifier(random_state=seed)
    ),
    **installed("lightgbm", {"LightGBM": lambda seed: with_categories(lightgbm(seed))}),
    **installed("xgboost", {"XGBoost": lambda seed: FixedCategories(xgboost(seed))}),
    **installed("catboost", {"CatBoost": lambda seed: NamedCategories(catboost(seed))}),
    **installed(
        "pytabkit",
        {
            "RealMLP": lambda seed: with_numbers_imputed(realmlp(seed)),
            "TabM": lambda seed: with_numbers_imputed(tabm(seed)),
            # As TabArena bags them: the mean of eight, each validated by an eighth of
            # the rows.
            "RealMLP-bagged": lambda seed: with_numbers_imputed(realmlp(seed, n_cv=8)),
            "TabM-bagged": lambda seed: with_numbers_imputed(tabm(seed, n_cv=8)),
        },
    ),
}
# Only by name, since they take eight times as long.
ON_DEMAND = {"RealMLP-bagged", "TabM-bagged"}
# LightGBM's defaults are for small tables; these settings are good on Otto.
OTTO_TREES = {
    "n_estimators": 300,
    "learning_rate": 0.05,
    "num_leaves": 63,
    "colsample_bytree": 0.5,
}
TUNED = TABLES | installed(
    "lightgbm", {"LightGBM": lambda seed: lightgbm(seed, **OTTO_TREES)}
)
OTTO = TUNED | {
    # One classifier with other numbers than the defaults.
    "SoftmaxMLPClassifier-32-wide": lambda seed: make_wide_nets(32, seed),
    # The ensembles of four times LightGBM's seconds, and of the notebook.
    "SoftmaxMLPClassifier-16-neighbors": otto_ensemble,
    "SoftmaxMLPClassifier-44-neighbors-trees": otto_large_ensemble,
}
IMAGES = {
    **TUNED,
    "SoftmaxCNNClassifier": lambda seed: SoftmaxCNNClassifier(random_state=seed),
    # The best settings that train for half an hour, for Fashion-MNIST and for MNIST.
    "SoftmaxCNNClassifier-2-wide": lambda seed: SoftmaxCNNClassifier(
        channels=(16, 64, 128),
        n_estimators=2,
        max_epochs=45,
        augmentation=RandomShift((2, 2)),
        random_state=seed,
    ),
    "SoftmaxCNNClassifier-4-warp": lambda seed: SoftmaxCNNClassifier(
        n_estimators=4, max_epochs=40, augmentation="warp", random_state=seed
    ),
    "SoftmaxRegression": lambda seed: of_shades(SoftmaxRegression(random_state=seed)),
    "LogisticRegression": lambda seed: of_shades(LogisticRegression()),
    "MLPClassifier": lambda seed: of_shades(MLPClassifier(random_state=seed)),
    "RandomForest": random_forest,
    "HistGradientBoostingClassifier": lambda seed: HistGradientBoostingClassifier(
        random_state=seed
    ),
    **installed("xgboost", {"XGBoost": xgboost}),
    **installed("catboost", {"CatBoost": catboost}),
    **installed(
        "pytabkit",
        {
            "RealMLP": realmlp,
            "TabM": tabm,
            "RealMLP-bagged": lambda seed: realmlp(seed, n_cv=8),
            "TabM-bagged": lambda seed: tabm(seed, n_cv=8),
        },
    ),
}
NAMES = list(OTTO | IMAGES)
PACKAGES = {
    "Softmax": "sksoftmax",
    "LightGBM": "lightgbm",
    "XGBoost": "xgboost",
    "CatBoost": "catboost",
    "RealMLP": "pytabkit",
    "TabM": "pytabkit",
}


def library(name):
    r"""Return the package of a contestant and its version."""
    packages = [PACKAGES[start] for start in PACKAGES if name.startswith(start)]
    [package] = packages or ["scikit-learn"]
    return f"{package} {version(package)}"


if __name__ == "__main__":
    for name in NAMES:
        print(f"{name:<35}{library(name)}")
