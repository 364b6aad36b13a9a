"""
Tables of scores, ranks and Elo ratings
=======================================

Prints measurements as tables in Markdown. ``accuracy.py`` imports this module.

Contestants are compared on the splits that all of them have: a split that some of them
lack is left out, and the output says how many those are.

The Elo ratings are those of ``bencheval``, the package that ranks the contestants of
TabArena: the log losses of each split are battles, each table has the same weight, and
400 points are odds of 10 to 1. As there, ``RandomForest`` has 1,000 points where it
takes part; otherwise 1,000 are the mean. The ranges are of 95%, by a bootstrap of the
tables. The column is there if the package is installed.
"""

import sys
from importlib.util import find_spec

import numpy as np
import pandas as pd
from measurements import SPLIT

REFERENCE = "RandomForest"
BOOTSTRAP_ROUNDS = 200


# %%
# Printing.
def spread(values):
    r"""Return the standard deviation over seeds, where there are several."""
    return f"{np.std(values, ddof=1):.4f}" if len(values) > 1 else "-"


def show(title, columns, rows):
    print(f"\n| {title} | {' | '.join(columns)} |")
    print("|---" * (1 + len(columns)) + "|")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |")
    sys.stdout.flush()


# %%
# Contestants on the same splits.
def among(measured, names=None):
    r"""Return the measurements of estimators on the splits that all of them have."""
    found = list(measured["estimator"].unique())
    names = found if names is None else [name for name in names if name in found]
    measured = measured[measured["estimator"].isin(names)]
    n_estimators = measured.groupby(SPLIT)["estimator"].transform("size")
    is_complete = n_estimators == len(names)
    if not is_complete.all():
        n_splits = len(measured[SPLIT].drop_duplicates())
        n_complete = len(measured.loc[is_complete, SPLIT].drop_duplicates())
        missing = n_splits - measured.groupby("estimator").size()
        missing = {name: n for name, n in missing.items() if n}
        print(f"\nOf {n_splits} splits {n_complete} count; missing: {missing}")
    return measured[is_complete], names


def ranks(measured, names):
    r"""Return the mean rank of the estimators by their mean log loss on each table."""
    losses = measured.groupby(["data", "estimator"], sort=False)["log loss"].mean()
    return losses.unstack()[names].rank(axis=1)


def elo(measured):
    r"""Return {estimator: (rating, range)}."""
    from bencheval.evaluator import BenchmarkEvaluator

    names = list(measured["estimator"].unique())
    reference = REFERENCE if REFERENCE in names else None
    splits = measured[["folds", "seed", "fold"]].astype(str).agg("-".join, axis=1)
    battles = pd.DataFrame(
        {
            "method": measured["estimator"],
            "task": measured["data"],
            "seed": splits,
            "metric_error": measured["log loss"],
        }
    )
    evaluator = BenchmarkEvaluator(seed_column="seed", columns_to_agg_extra=None)
    options = {
        "BOOTSTRAP_ROUNDS": BOOTSTRAP_ROUNDS,
        "calibration_framework": reference,
    }
    ratings = evaluator.leaderboard(battles, metrics=["elo"], elo_kwargs=options)
    return {
        name: (f"{row['elo']:.0f}", f"-{row['elo-']:.0f} +{row['elo+']:.0f}")
        for name, row in ratings.iterrows()
    }


# %%
# The tables.
def show_scores(title, measured, names, score, other):
    r"""Print an estimator's scores, their spread over seeds, and its seconds."""
    measured, names = among(measured, names)
    numbers = measured.drop(columns=["data", "library"])
    by_seed = numbers.groupby(["estimator", "seed"], sort=False).mean()
    seconds = by_seed["fit, s"].groupby("estimator").mean()
    rows = {}
    for name in names:
        means = by_seed.loc[name]
        relative = seconds[name] / seconds.get("LightGBM", np.nan)
        rows[name] = [
            f"{means[score].mean():.4f}",
            spread(means[score]),
            f"{means[other].mean():.4f}",
            f"{seconds[name]:.1f}",
            "-" if np.isnan(relative) else f"{relative:.2f}",
            f"{means['fit, CPU s'].mean():.1f}",
            f"{means['predict, s'].mean():.2f}",
        ]
    columns = [score, "sd over seeds", other, "fit, s", "fit / LightGBM"]
    show(title, [*columns, "fit, CPU s", "predict, s"], rows)


def show_losses(measured, names):
    r"""Print the mean log loss of each estimator on each table."""
    losses = measured.groupby(["data", "estimator"], sort=False)["log loss"].mean()
    losses = losses.unstack()[names]
    rows = {data: [f"{loss:.4f}" for loss in row] for data, row in losses.iterrows()}
    folds = "/".join(str(folds) for folds in measured["folds"].unique())
    show(f"log loss, {folds} folds", names, rows)


def show_tables(measured, names=None):
    r"""Print the log losses, and what they say of the estimators on all tables."""
    measured, names = among(measured, names)
    if measured.empty:
        print("\nNo split has been measured for all estimators.")
        return
    show_losses(measured, names)
    # Divided by the log loss of the class frequencies: 0 is perfect, 1 is a guess.
    # Losses above 1 count as 1; otherwise a fit that diverges, as boosted trees do with
    # rare classes, would decide the mean.
    normalized = (measured["log loss"] / measured["guess"]).clip(upper=1)
    measured = measured.assign(normalized=normalized)
    by_table = ranks(measured, names)
    has_elo = find_spec("bencheval") and len(names) > 1
    ratings = elo(measured) if has_elo else {}
    rows = {}
    for name in names:
        of_name = measured[measured["estimator"] == name]
        by_seed = of_name.groupby("seed")[["normalized", "fit, s", "predict, s"]]
        rows[name] = [
            f"{by_table[name].mean():.2f}",
            f"{of_name['normalized'].mean():.4f}",
            spread(by_seed.mean()["normalized"]),
            f"{(by_table[name] == 1).sum()}",
            *ratings.get(name, ()),
            f"{of_name['fit, s'].mean():.2f}",
            f"{of_name['fit, CPU s'].mean():.2f}",
            f"{by_seed.sum()['fit, s'].mean():.1f}",
            f"{by_seed.sum()['predict, s'].mean():.1f}",
        ]
    columns = ["mean rank", "mean log loss / guess", "sd over seeds", "first on"]
    columns += ["Elo", "95%"] if ratings else []
    columns += ["s per fit", "CPU s per fit", "all fits, s", "all predictions, s"]
    threads = "/".join(str(threads) for threads in measured["threads"].unique())
    show(f"{len(by_table)} tables, {threads} threads", columns, rows)


def show_calibration(measured, names=None):
    found = list(measured["estimator"].unique())
    names = found if names is None else [name for name in names if name in found]
    errors = measured.groupby(["estimator", "data"], sort=False)
    errors = errors["calibration error"].mean().unstack()
    # Convolutions do not suit Otto.
    rows = {
        name: ["-" if np.isnan(error) else f"{error:.4f}" for error in errors.loc[name]]
        for name in names
    }
    show("expected calibration error", errors.columns, rows)
