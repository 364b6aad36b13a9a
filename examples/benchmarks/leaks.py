r"""
Leaks: memory stays flat
========================

A service predicts for months, and a search makes thousands of fits. This script makes
1,000 fits and 100,000 predictions of one row with each estimator, and a search of 200
candidates on Otto (``SKSOFTMAX_DATA`` is the folder of its files) with two workers. It
measures the resident size: its growth after the first tenth of the work, when all
caches are filled, and the difference between a worker of the search and a worker that
makes a single fit.

Run ``python examples/benchmarks/leaks.py``; on Linux only. ``--only`` picks a part.
"""

# %%
# Measuring
# ---------
import argparse
import time
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pandas as pd
from joblib.externals.loky import get_reusable_executor
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.utils import shuffle
from torch import nn

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
)
from sksoftmax.datasets import load_otto


def mebibytes(process="self", field="VmRSS"):
    r"""Return the resident size of a process, or its peak, ``VmHWM``."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return int(status.partition(f"{field}:")[2].split()[0]) / 1024


# %%
# Fits and predictions
# --------------------
X, y = load_digits(return_X_y=True)
X, y = X[:500] / 16, y[:500]
table = pd.DataFrame(X).add_prefix("pixel ").assign(word=np.arange(500) % 30)
table["word"] = table["word"].astype(str)

small = {"max_epochs": 2, "random_state": 0}
SMALL = {
    "SoftmaxRegression": (SoftmaxRegression(), X),
    "SoftmaxRegression, sparse": (SoftmaxRegression(), csr_array(X)),
    "SoftmaxMLPClassifier": (SoftmaxMLPClassifier((16,), n_estimators=3, **small), X),
    "SoftmaxMLPClassifier, text": (
        SoftmaxMLPClassifier((16,), n_estimators=1, **small),
        table,
    ),
    "SoftmaxCNNClassifier": (
        SoftmaxCNNClassifier(image_shape=(8, 8), channels=(4,), **small),
        X,
    ),
    "SoftmaxNetClassifier": (SoftmaxNetClassifier(nn.Linear, **small), X),
}


def growth(work, n_times):
    r"""Return by how many MiB the resident size grows after a tenth of the work."""
    for _ in range(n_times // 10):
        work()
    before = mebibytes()
    for _ in range(n_times - n_times // 10):
        work()
    return mebibytes() - before


def show_small(n_fits, n_predictions):
    print(f"| growth, MiB | {n_fits:,} fits | {n_predictions:,} rows |")
    print("|---|---|---|")
    for name, (estimator, data) in SMALL.items():
        fits = growth(lambda e=estimator, d=data: clone(e).fit(d, y), n_fits)
        model, row = clone(estimator).fit(data, y), data[:1]
        rows = growth(lambda m=model, r=row: m.predict_proba(r), n_predictions)
        print(f"| {name} | {fits:.2f} | {rows:.2f} |", flush=True)


# %%
# A search
# --------
# Candidates differ in learning rate. Both searches have two workers; the first makes
# one fit in each.
def peak_of_workers(search, X, y):
    r"""Return the largest peak, in MiB, of the processes that a search starts."""
    get_reusable_executor().shutdown(wait=True)
    peaks, is_done = {}, Event()

    def watch():
        while not is_done.wait(0.1):
            for children in Path("/proc/self/task").glob("*/children"):
                for child in children.read_text(encoding="ascii").split():
                    # The process may have ended.
                    with suppress(OSError, IndexError):
                        peaks[child] = mebibytes(child, "VmHWM")

    watcher = Thread(target=watch)
    watcher.start()
    search.fit(X, y)
    is_done.set()
    watcher.join()
    return max(peaks.values())


def show_search(n_candidates, n_rows):
    X, y = load_otto(return_X_y=True)
    # The rows are sorted by class.
    X, y = shuffle(X, y, n_samples=n_rows, random_state=0)
    mlp = SoftmaxMLPClassifier(
        (32,), n_estimators=1, max_epochs=1, batch_size=512, random_state=0
    )
    peaks = []
    print("| search on Otto, two workers | seconds | peak of a worker, MiB |")
    print("|---|---|---|")
    for n in (1, n_candidates):
        grid = {"learning_rate": np.geomspace(1e-4, 1e-2, n).tolist()}
        start = time.perf_counter()
        search = GridSearchCV(mlp, grid, cv=2, n_jobs=2, refit=False)
        peaks.append(peak_of_workers(search, X, y))
        seconds = time.perf_counter() - start
        print(f"| {2 * n} fits | {seconds:.0f} | {peaks[-1]:.0f} |", flush=True)
    print(f"\nratio {peaks[1] / peaks[0]:.2f}")


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Does memory stay flat?")
    parser.add_argument("--only", choices=["small", "search"])
    parser.add_argument("--fits", type=int, default=1000)
    parser.add_argument("--predictions", type=int, default=100_000)
    parser.add_argument("--candidates", type=int, default=200)
    parser.add_argument("--rows", type=int, default=None)
    args = parser.parse_args(arguments)
    if args.only != "search":
        show_small(args.fits, args.predictions)
    if args.only != "small":
        show_search(args.candidates, args.rows)


if __name__ == "__main__":
    main()
