r"""
Memory: fits to a file that is larger
=====================================

Writes a table of random numbers, 4 GiB by default, and fits a classifier to it as a
memory-mapped array. It measures how far the resident size rises above that of the
imports, sampled every 10 milliseconds: pages of the file that are in memory count, as
do the labels and the order of the batches. The file is in a temporary folder and is
deleted at the end.

Run ``python examples/benchmarks/out_of_core.py --gibibytes 4``; on Linux only.
"""

# %%
# Measuring
# ---------
import argparse
import shutil
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from sksoftmax import SoftmaxMLPClassifier, SoftmaxRegression

N_FEATURES = 1024
ROWS_AT_ONCE = 2**14

CLASSIFIERS = {
    "SoftmaxRegression": SoftmaxRegression(
        solver="adam", max_iter=1, batch_size=1024, learning_rate=0.01, random_state=0
    ),
    "SoftmaxMLPClassifier": SoftmaxMLPClassifier(
        hidden_layer_sizes=(32,),
        n_estimators=1,
        max_epochs=1,
        batch_size=1024,
        random_state=0,
    ),
}


def resident_bytes():
    r"""Return the resident size of this process, files included."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return 1024 * int(line.split()[1])


def measure(work):
    r"""Return seconds, and the bytes by which the resident size rose in between."""
    before, peak = resident_bytes(), 0
    is_done = threading.Event()

    def watch():
        nonlocal peak
        while not is_done.wait(0.01):
            peak = max(peak, resident_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    is_done.set()
    watcher.join()
    return seconds, max(peak, resident_bytes()) - before


# %%
# A file
# ------
# Three classes with different means. The rows are written to the file, not to the
# mapping, so that no page of it is resident.
def write_table(path, n_rows):
    r"""Write the features; return the labels."""
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=n_rows)
    means = 0.1 * rng.normal(size=(3, N_FEATURES)).astype(np.float32)
    header = {
        "descr": "<f4",
        "fortran_order": False,
        "shape": (n_rows, N_FEATURES),
    }
    with path.open("wb") as file:
        np.lib.format.write_array_header_2_0(file, header)
        for start in range(0, n_rows, ROWS_AT_ONCE):
            labels = y[start : start + ROWS_AT_ONCE]
            rows = rng.standard_normal((len(labels), N_FEATURES), dtype=np.float32)
            file.write((rows + means[labels]).tobytes())
    return y


# %%
# The table of results
# --------------------
def show(work, seconds, resident, accuracy):
    print(f"| {work} | {seconds:.0f} | {resident / 2**20:.0f} | {accuracy} |")


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Memory of fits to a file.")
    parser.add_argument("--gibibytes", type=float, default=4.0)
    args = parser.parse_args(arguments)
    n_bytes = round(args.gibibytes * 2**30)
    with tempfile.TemporaryDirectory() as folder:
        if shutil.disk_usage(folder).free < 2 * n_bytes:
            raise SystemExit(f"{folder} should have {2 * n_bytes:.2g} bytes free.")
        path = Path(folder) / "table.npy"
        y = write_table(path, n_bytes // (4 * N_FEATURES))
        print(f"| {args.gibibytes:g} GiB | seconds | resident, MiB | accuracy |")
        print("|---|---|---|---|")
        for name, classifier in CLASSIFIERS.items():
            X = np.load(path, mmap_mode="r")
            seconds, resident = measure(lambda c=classifier, X=X: c.fit(X, y))
            score = classifier.score(X[:ROWS_AT_ONCE], y[:ROWS_AT_ONCE])
            show(f"{name}, fit", seconds, resident, f"{score:.3f}")
            seconds, resident = measure(lambda c=classifier, X=X: c.predict(X))
            show(f"{name}, predict", seconds, resident, "")


if __name__ == "__main__":
    main()
