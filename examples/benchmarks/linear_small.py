"""
Softmax regression: small tables
================================

Compares the choice of the penalty by cross-validation, and single fits with an L1
penalty, with scikit-learn's on the tables that come with it (standardized, and the
digits divided by 16) and on made up ones of 500, 2,000 and 8,000 rows.

- ``cv``: ten values of ``C``, five folds; ours also right after a fit of
  scikit-learn's and after a lasso, whose threads may still be spinning.
- ``lasso``: the seconds of saga are those of the fewest passes over the rows, by powers
  of 1.5, after which its objective is at most 1e-4 above ours. The last column is a
  bound of what ours is above the optimum: the duality gap. Both are relative. The bound
  is loose for a weak penalty that is L1 alone.
- ``cv-lasso``: the same choice among three values of ``l1_ratio`` as well.

Run with ``python examples/benchmarks/linear.py --small [--only cv lasso cv-lasso]
[--tables iris wine] [--turns 5] [--reverse] [--limit 20]``. The contestants take turns
in one process, and the medians are printed; ``--reverse`` turns the order of each turn
round. Where saga would need more than ``--limit`` seconds, ">" stands before its last
try. With nothing else on two cores, everything takes an hour.

Contestants that are not everywhere take part where they exist: the solver
``newton-cd-gram`` of scikit-learn 1.10, and scikit-learn-intelex, for which an
environment of its own is best: ``pip install -e . scikit-learn-intelex``.
"""

import argparse
import time
import warnings
from functools import partial
from statistics import median

import numpy as np
from scipy.special import log_softmax, softmax, xlogy
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
    load_wine,
    make_classification,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.preprocessing import StandardScaler

from sksoftmax import SoftmaxRegression, SoftmaxRegressionCV

try:
    from sklearnex.linear_model import LogisticRegression as IntelexRegression
    from sklearnex.preview.linear_model import LogisticRegressionCV as IntelexCV
except ImportError:
    IntelexRegression = IntelexCV = None

OURS = "ours"
L1_RATIOS = (1.0, 0.5)
CS = (0.01, 0.1, 1.0, 10.0, 100.0, 1e4)

# Relative distance to our objective at which another solver has arrived.
ARRIVED = 1e-4


# %%
# Tables.
def scaled(load):
    X, y = load(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def pixels():
    X, y = load_digits(return_X_y=True)
    return X / 16, y


def made_up(n_rows):
    return make_classification(
        n_rows, 50, n_informative=20, n_classes=5, random_state=0
    )


TABLES = {
    "iris": partial(scaled, load_iris),
    "wine": partial(scaled, load_wine),
    "cancer": partial(scaled, load_breast_cancer),
    "digits": partial(scaled, load_digits),
    "pixels": pixels,
    "500": partial(made_up, 500),
    "2000": partial(made_up, 2_000),
    "8000": partial(made_up, 8_000),
}


# %%
# What all parts share.
def is_supported(solver):
    r"""Return whether this scikit-learn has a solver."""
    try:
        LogisticRegression(solver=solver).fit([[0.0], [1.0]], [0, 1])
    except ValueError:
        return False
    return True


def seconds(model, X, y, pause=0.2):
    # The threads of the contestant before spin for a while after its fit.
    time.sleep(pause)
    start = time.perf_counter()
    model.fit(X, y)
    return time.perf_counter() - start


def objective_and_gap(model, X, y, C, l1_ratio=0.0):
    r"""Return the objective, and the relative duality gap as a bound of its error."""
    coef = model.coef_.astype(float)
    logits = X @ coef.T + model.intercept_
    if logits.shape[1] == 1:
        logits = np.hstack([np.zeros_like(logits), logits])
    target = (np.asarray(y)[:, None] == model.classes_).astype(float)
    ridge, lasso = (coef**2).sum() / 2, np.abs(coef).sum()
    log_proba = log_softmax(logits, axis=1)
    value = (1 - l1_ratio) * ridge + l1_ratio * lasso - C * (target * log_proba).sum()
    # The residuals of a dual feasible point sum to 0 in each class: those at the best
    # intercepts do.
    for _ in range(5):
        proba = softmax(logits, axis=1)
        hessian = np.diag(proba.sum(0)) - proba.T @ proba
        logits -= np.linalg.pinv(hessian, hermitian=True) @ (proba - target).sum(0)
    residual = softmax(logits, axis=1) - target
    slopes = C * np.abs(X.T @ residual[:, -len(coef) :])
    # Without an L2 penalty, no slope of such a point is above 1.
    share = 1 / max(1.0, slopes.max()) if l1_ratio == 1 else 1.0
    excess = np.maximum(share * slopes - l1_ratio, 0)
    conjugate = (excess**2).sum() / (2 * (1 - l1_ratio)) if l1_ratio < 1 else 0.0
    mixed = target + share * residual
    dual = -C * xlogy(mixed, mixed).sum() - conjugate
    return value, (value - dual) / value


# %%
# Cross-validation.
def cross_validations(l1_ratios, with_rivals=True):
    params = {"Cs": 10, "cv": 5, "l1_ratios": l1_ratios, "scoring": "neg_log_loss"}
    yield OURS, SoftmaxRegressionCV(**params)
    params["use_legacy_attributes"] = False
    if with_rivals and any(l1_ratios):
        yield "saga", LogisticRegressionCV(solver="saga", **params)
    elif with_rivals:
        yield "scikit-learn", LogisticRegressionCV(**params)
        if IntelexCV is not None:
            yield "intelex", IntelexCV(**params)


# Fits that are not measured, after which ours follows without a pause.
FITS_BEFORE = {
    "ours, after scikit-learn": LogisticRegression(),
    "ours, after a lasso": SoftmaxRegression(l1_ratio=1.0),
}


def compare_cv(name, X, y, models, fits_before, options):
    labels = [*models, *fits_before]
    times = {label: [] for label in labels}
    for label in options.turns * (labels[::-1] if options.reverse else labels):
        if label in models:
            spent = seconds(models[label], X, y)
        else:
            fits_before[label].fit(X, y)
            spent = seconds(models[OURS], X, y, pause=0)
        times[label].append(spent)
    # The first rival is the one that others are measured by.
    rivals = [label for label in models if label != OURS]
    for label in labels:
        spent = median(times[label])
        ratio = f"{spent / median(times[rivals[0]]):.2f}" if rivals else "-"
        model = models.get(label, models[OURS])
        loss = -model.scores_.mean(0).max()
        print(
            f"| {name} | {label} | {spent:.3f} | {ratio} | {model.C_:.4g} | "
            f"{model.l1_ratio_:g} | {loss:.6f} |",
            flush=True,
        )


def show_cv(options, l1_ratios=(0.0,), fits_before=FITS_BEFORE):
    print(f"| l1_ratios={l1_ratios} | fit | s | ratio | C | l1_ratio | log loss |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in options.tables:
        # With a lasso, saga takes minutes on all tables but the first.
        models = dict(
            cross_validations(l1_ratios, not any(l1_ratios) or name == "iris")
        )
        compare_cv(name, *TABLES[name](), models, fits_before, options)


def show_cv_lasso(options):
    tables = [name for name in options.tables if name in {"iris", "digits"}]
    options = argparse.Namespace(**{**vars(options), "tables": tables})
    show_cv(options, (0.0, 0.5, 1.0), {})


# %%
# Single fits with an L1 penalty.
def lasso_rivals(C, l1_ratio):
    r"""Yield names and models, the cheapest and least exact first."""
    saga = partial(LogisticRegression, C=C, l1_ratio=l1_ratio, solver="saga", tol=0)
    passes = np.unique(np.round(1.5 ** np.arange(40))).astype(int)
    yield "saga", [saga(max_iter=int(n), random_state=0) for n in passes]
    if is_supported("newton-cd-gram"):
        newton = partial(LogisticRegression, C=C, l1_ratio=l1_ratio, max_iter=1_000)
        tolerances = 10.0 ** -np.arange(2, 13)
        yield (
            "newton-cd-gram",
            [newton(solver="newton-cd-gram", tol=tol) for tol in tolerances],
        )


def cheapest(models, X, y, has_arrived, limit):
    r"""Return the first model that arrives, or the last that was tried.

    Every third is tried, then those before the first that arrives. A model takes at
    most 4 times as long as the third before it.
    """
    missed, arrived = -1, None
    for place in range(0, len(models), 3):
        spent = seconds(models[place], X, y, pause=0)
        if has_arrived(models[place]):
            arrived = place
            break
        missed = place
        if 4 * spent > limit:
            return models[place]
    for place in range(missed + 1, len(models) if arrived is None else arrived):
        models[place].fit(X, y)
        if has_arrived(models[place]):
            return models[place]
    return models[-1 if arrived is None else arrived]


def compare_lasso(name, X, y, C, l1_ratio, options):
    measure = partial(objective_and_gap, X=X, y=y, C=C, l1_ratio=l1_ratio)
    ours = SoftmaxRegression(C, l1_ratio=l1_ratio)
    best, gap = measure(ours.fit(X, y))

    def has_arrived(model):
        return measure(model)[0] <= best * (1 + ARRIVED)

    for label, models in lasso_rivals(C, l1_ratio):
        rival = cheapest(models, X, y, has_arrived, options.limit)
        above = measure(rival)[0] / best - 1
        turn = [("ours", ours), ("rival", rival)]
        times = {"ours": [], "rival": []}
        for _ in range(options.turns):
            for key, model in reversed(turn) if options.reverse else turn:
                # Slow contestants are not measured more often than the limit allows.
                if sum(times[key]) < options.limit:
                    times[key].append(seconds(model, X, y))
        spent, other = (median(times[key]) for key in ("ours", "rival"))
        more, less = (">", "<") if above > ARRIVED else ("", "")
        print(
            f"| {name}, l1_ratio={l1_ratio:g}, C={C:g} | {spent:.3f} | {label} | "
            f"{more}{other:.3f} | {less}{spent / other:.2f} | {above:+.0e} | "
            f"{gap:.0e} |",
            flush=True,
        )


def show_lasso(options):
    print("| problem | ours, s | rival | its s | ratio | its objective | gap of ours |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in options.tables:
        X, y = TABLES[name]()
        for l1_ratio in L1_RATIOS:
            for C in options.Cs:
                compare_lasso(name, X, y, C, l1_ratio, options)


PARTS = {"cv": show_cv, "lasso": show_lasso, "cv-lasso": show_cv_lasso}


def main(arguments=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--Cs", nargs="+", type=float, default=CS)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--limit", type=float, default=20.0)
    parser.add_argument("--reverse", action="store_true")
    options = parser.parse_args(arguments)
    for part in options.only:
        # scikit-learn's contestants stop where the limit of passes says.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            PARTS[part](options)
        print()


if __name__ == "__main__":
    main()
