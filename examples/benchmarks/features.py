r"""
Features, measured
==================

Each classifier is used as scikit-learn's classifiers are, with default parameters
except the seed and the number of epochs. A cell says whether it worked. The number of
scikit-learn's own checks that fail is counted as well. Libraries that are not installed
are left out: ``pip install scikeras keras pytabkit lightgbm``. Keras runs on PyTorch,
unless ``KERAS_BACKEND`` says otherwise.

Run ``python examples/benchmarks/features.py``.
"""

# %%
# Contestants
# -----------
import argparse
import os
import random
import warnings
from importlib.util import find_spec

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from skorch import NeuralNetClassifier
from torch import nn

from sksoftmax import SoftmaxMLPClassifier, SoftmaxRegression

os.environ.setdefault("KERAS_BACKEND", "torch")

X, y = make_blobs(300, n_features=4, cluster_std=2.0, random_state=0)
# Types that every library takes; other types have cells of their own.
X = StandardScaler().fit_transform(X).astype(np.float32)


class Linear(nn.Module):
    # skorch builds modules before it has the data.
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        return self.linear(x).softmax(1)


def make_keras(meta):
    r"""Return a Keras model for the data that scikeras has seen."""
    import keras

    layers = [
        keras.layers.Input((meta["n_features_in_"],)),
        keras.layers.Dense(meta["n_classes_"], activation="softmax"),
    ]
    model = keras.Sequential(layers)
    model.compile(loss="sparse_categorical_crossentropy")
    return model


def make_classifiers():
    r"""Return {name: classifier} of the installed libraries."""
    found = {
        "SoftmaxRegression": SoftmaxRegression(random_state=0),
        "SoftmaxMLPClassifier": SoftmaxMLPClassifier(max_epochs=5, random_state=0),
        "LogisticRegression": LogisticRegression(random_state=0),
        "MLPClassifier": MLPClassifier(random_state=0),
        "skorch": NeuralNetClassifier(Linear, max_epochs=5, verbose=0),
    }
    if find_spec("scikeras"):
        from scikeras.wrappers import KerasClassifier

        found["scikeras"] = KerasClassifier(
            make_keras, epochs=5, verbose=0, random_state=0
        )
    if find_spec("pytabkit"):
        from pytabkit import RealMLP_TD_Classifier, TabM_D_Classifier

        common = {"device": "cpu", "random_state": 0, "n_threads": 1}
        found["RealMLP (pytabkit)"] = RealMLP_TD_Classifier(n_epochs=5, **common)
        found["TabM (pytabkit)"] = TabM_D_Classifier(n_epochs=5, **common)
    if find_spec("lightgbm"):
        from lightgbm import LGBMClassifier

        found["LightGBM"] = LGBMClassifier(n_estimators=5, random_state=0, verbose=-1)
    return found


# %%
# Cells of the table
# ------------------
def returns_strings(classifier):
    words = np.array(["no", "perhaps", "yes"])[y]
    return set(classifier.fit(X, words).predict(X)) <= set(words)


def takes_float64(classifier):
    return np.isfinite(classifier.fit(X.astype(float), y).predict_proba(X)).all()


def takes_weights(classifier):
    # Some libraries drop a class whose rows all have weight 0.
    weight = np.where(y == 2, 0.1, 1.0)
    proba = clone(classifier).fit(X, y, sample_weight=weight).predict_proba(X)
    return np.abs(proba - classifier.fit(X, y).predict_proba(X)).max() > 1e-3


def takes_missing_values(classifier):
    holes = X.copy()
    holes[::5, 0] = np.nan
    return np.isfinite(classifier.fit(holes, y).predict_proba(holes)).all()


def takes_categories(classifier):
    table = pd.DataFrame(X).add_prefix("feature ")
    table["city"] = pd.Categorical(np.where(X[:, 0] > 0, "Oslo", "Lima"))
    return np.isfinite(classifier.fit(table, y).predict_proba(table)).all()


def takes_sparse_rows(classifier):
    rows = csr_array(X)
    return np.isfinite(classifier.fit(rows, y).predict_proba(rows)).all()


def learns_in_parts(classifier):
    for part in (slice(0, 150), slice(150, 300)):
        classifier.partial_fit(X[part], y[part], classes=np.arange(3))
    return set(classifier.predict(X)) <= {0, 1, 2}


def is_reproducible(classifier):
    first, second = (
        clone(classifier).fit(X, y).predict_proba(X).tobytes() for _ in range(2)
    )
    return first == second


def leaves_generators_alone(classifier):
    def state():
        return random.getstate(), str(np.random.get_state()), torch.get_rng_state()

    before = state()
    classifier.fit(X, y)
    after = state()
    return before[:2] == after[:2] and torch.equal(before[2], after[2])


TRIED = {
    "string labels": returns_strings,
    "float64 rows": takes_float64,
    "`sample_weight`": takes_weights,
    "missing values": takes_missing_values,
    "columns of categories": takes_categories,
    "sparse rows": takes_sparse_rows,
    "`partial_fit(X, y, classes)`": learns_in_parts,
    "two fits, same bits": is_reproducible,
    "global generators left alone": leaves_generators_alone,
}


def attempt(check, classifier):
    r"""Return "yes" if a check passes, "no" if it fails for any reason."""
    try:
        return "yes" if check(clone(classifier)) else "no"
    except Exception:
        return "no"


def count_failed(classifier):
    r"""Return how many of scikit-learn's checks fail, of how many."""
    results = check_estimator(clone(classifier), on_skip=None, on_fail=None)
    run = [result["status"] for result in results if result["status"] != "skipped"]
    return f"{run.count('failed')} of {len(run)}"


# %%
# The table
# ---------
def main(arguments=None):
    parser = argparse.ArgumentParser(description="What works, and what does not?")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--without-checks", action="store_true")
    args = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    columns = {}
    for name, classifier in make_classifiers().items():
        if args.only is None or name in args.only:
            cells = {what: attempt(check, classifier) for what, check in TRIED.items()}
            if not args.without_checks:
                cells["scikit-learn's checks that fail"] = count_failed(classifier)
            columns[name] = cells
    print("| |", " | ".join(columns), "|")
    print("|---" * (1 + len(columns)) + "|")
    for what in next(iter(columns.values())):
        print(f"| {what} |", " | ".join(cells[what] for cells in columns.values()), "|")


if __name__ == "__main__":
    main()
