"""
Measurements of classifiers, and the files that keep them
=========================================================

A measurement is a fit to the training rows of a split, and the scores of its
predictions of the test rows. ``Measurements`` holds them, reads those of earlier runs
from files, and appends each new one to a file, so that rivals are measured once and an
interrupted run goes on where it stopped. ``accuracy.py`` imports this module.

A file is a CSV table with a row per measurement and these columns:

- ``data``, ``estimator``, ``folds``, ``seed``, ``fold``: what was measured. A seed
  shuffles the rows before they are split into folds; ``folds`` is 1 for an official
  test set.
- ``rows``, ``guess``: the number of training rows, and the log loss of a guess by the
  frequencies of the classes.
- ``log loss``, ``accuracy``, ``calibration error``.
- ``fit, s``, ``fit, CPU s``, ``predict, s``: seconds by the clock, and of all threads
  together. Those by the clock compare contestants only if the machine was idle.
- ``threads``, ``library``: the number of threads of PyTorch, the package and its
  version.
"""

import sys
import time
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from contestants import library
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import StratifiedKFold

SPLIT = ["data", "folds", "seed", "fold"]
KEY = ["estimator", *SPLIT]
COLUMNS = [
    *("data", "estimator", "folds", "seed", "fold", "rows", "guess", "log loss"),
    *("accuracy", "calibration error", "fit, s", "fit, CPU s", "predict, s"),
    *("threads", "library"),
]


# %%
# A fit and a prediction.
def calibration_error(y, probabilities, classes, n_bins=15):
    r"""Return how far confidence and accuracy lie apart, averaged over the rows.

    The rows are put into bins of equal width by the probability of the class predicted.
    """
    confidence = probabilities.max(axis=1)
    correct = classes[probabilities.argmax(axis=1)] == y
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    gaps = np.bincount(bins, weights=confidence - correct, minlength=n_bins)
    return np.abs(gaps).sum() / len(y)


def guess(y):
    r"""Return the log loss of the frequencies of the classes."""
    shares = np.unique(y, return_counts=True)[1] / len(y)
    return -(shares * np.log(shares)).sum()


def measure(classifier, X_train, y_train, X_test, y_test):
    r"""Return the scores and seconds of a classifier."""
    start, cpu_start = time.perf_counter(), time.process_time()
    classifier.fit(X_train, y_train)
    fitted, cpu_fitted = time.perf_counter(), time.process_time()
    probabilities = classifier.predict_proba(X_test)
    predicted = time.perf_counter()
    # In float64 for all: log_loss clips by the precision of its input.
    probabilities = probabilities.astype(float)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    classes = classifier.classes_
    winners = classes[probabilities.argmax(axis=1)]
    return {
        "log loss": log_loss(y_test, probabilities, labels=classes),
        "accuracy": accuracy_score(y_test, winners),
        "calibration error": calibration_error(y_test, probabilities, classes),
        "fit, s": fitted - start,
        "fit, CPU s": cpu_fitted - cpu_start,
        "predict, s": predicted - fitted,
    }


# %%
# The splits of a table.
class Split(NamedTuple):
    folds: int
    seed: int
    fold: int
    X_train: object
    y_train: np.ndarray
    X_test: object
    y_test: np.ndarray


def cross_validation(X, y, n_seeds, n_folds, n_splits=None):
    r"""Yield the splits of each seed, at most the first ``n_splits`` of its folds."""
    for seed in range(n_seeds):
        # Shuffled, since the rows of Otto and of many small tables are sorted by class.
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
        splits = enumerate(folds.split(X, y))
        for fold, (train, test) in islice(splits, n_splits):
            parts = X.iloc[train], y[train], X.iloc[test], y[test]
            yield Split(n_folds, seed, fold, *parts)


# %%
# The measurements so far.
def read(path):
    r"""Return the measurements of a file."""
    table = pd.read_csv(path, dtype={"data": str, "estimator": str})
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise ValueError(
            f"Got {path} without the columns {missing}, but expected a file that "
            "--save has written."
        )
    return table[COLUMNS]


class Measurements:
    r"""Measurements of this run and of earlier ones, by what was measured.

    Parameters
    ----------
    known : sequence of paths
        Files of earlier runs.

    save : path or None
        File to which each measurement is appended. Those that it holds are known.
    """

    def __init__(self, known=(), save=None):
        self.save = None if save is None else Path(save)
        self.rows = {}
        self.failed = []
        is_there = self.save is not None and self.save.exists()
        for path in [*known, *([self.save] if is_there else [])]:
            for row in read(path).to_dict("records"):
                self.rows[tuple(row[name] for name in KEY)] = row

    def table(self):
        return pd.DataFrame(list(self.rows.values()), columns=COLUMNS)

    def add(self, row):
        self.rows[tuple(row[name] for name in KEY)] = row
        if self.save is not None:
            line = pd.DataFrame([row], columns=COLUMNS)
            line.to_csv(self.save, mode="a", header=not self.save.exists(), index=False)

    def compare(self, data, contestants, splits):
        r"""Return the measurements of splits, after those that were not known.

        The contestants take turns, so that a machine that slows down slows all of them.
        Known measurements of other estimators are among those returned.
        """
        keys = set()
        for split in splits:
            key = (data, split.folds, split.seed, split.fold)
            keys.add(key)
            for name, make in contestants.items():
                if (name, *key) not in self.rows:
                    self.try_to_measure(name, make, key, split)
        table = self.table()
        is_asked = [row in keys for row in table[SPLIT].itertuples(index=False)]
        return table[is_asked]

    def try_to_measure(self, name, make, key, split):
        title = f"{key[0]}, seed {split.seed}, fold {split.fold}, {name}"
        try:
            scores = measure(make(split.seed), *split[3:])
        except Exception as error:
            # A run of hours goes on; the failed fits are listed at its end.
            self.failed.append(f"{title}: {error!r}")
            print(self.failed[-1], file=sys.stderr, flush=True)
            return
        row = dict(zip(SPLIT, key, strict=True)) | scores
        row["estimator"], row["library"] = name, library(name)
        row["rows"], row["threads"] = len(split.y_train), torch.get_num_threads()
        row["guess"] = guess(np.concatenate([split.y_train, split.y_test]))
        self.add(row)
        print(
            f"{title}: log loss {row['log loss']:.4f}, "
            f"accuracy {row['accuracy']:.4f}, {row['fit, s']:.1f} s",
            file=sys.stderr,
            flush=True,
        )
