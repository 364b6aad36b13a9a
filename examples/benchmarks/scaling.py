"""
How the cost grows
==================

Times one epoch and ``predict_proba`` of the multi-layer perceptron, and a fit of the
softmax regression, while the number of rows, features, classes or the width of the
layers grows and the others stay constant. Prints the seconds and draws them with
logarithmic axes into ``scaling.png`` if matplotlib is installed.

Run with ``python examples/benchmarks/scaling.py [--most-rows 1000000]``; it takes a few
minutes on two cores.
"""

import argparse
import time
from statistics import median

import numpy as np

from sksoftmax import SoftmaxMLPClassifier, SoftmaxRegression

# %%
# The usual size, and the values of each number that grows.
USUAL = {"rows": 10_000, "features": 100, "classes": 10, "width": 256}
GROWTH = {
    "rows": [1_000, 10_000, 100_000, 1_000_000],
    "features": [10, 30, 100, 300, 1_000],
    "classes": [2, 5, 10, 30, 100],
    "width": [32, 64, 128, 256, 512, 1_024],
}


def make_data(n_rows, n_features, n_classes):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, n_features)).astype(np.float32)
    directions = rng.normal(size=(n_features, n_classes)).astype(np.float32)
    logits = X @ directions / np.sqrt(n_features)
    y = (logits + rng.gumbel(size=logits.shape)).argmax(1)
    # Every class has at least one row.
    y[:n_classes] = np.arange(n_classes)
    return X, y


def seconds(run, repeats):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return median(times)


def measure(size, repeats):
    r"""Return the seconds of each job at a size."""
    X, y = make_data(size["rows"], size["features"], size["classes"])
    net = SoftmaxMLPClassifier(
        (size["width"], size["width"]), batch_size=256, device="cpu", random_state=0
    )
    net.partial_fit(X, y, classes=np.unique(y))
    regression = SoftmaxRegression(device="cpu")
    return {
        "MLP, one epoch": seconds(lambda: net.partial_fit(X, y), repeats),
        "MLP, predict_proba": seconds(lambda: net.predict_proba(X), repeats),
        "softmax regression, fit": seconds(lambda: regression.fit(X, y), 1),
    }


def draw(results, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.5), layout="constrained")
    axes = figure.subplots(1, len(results), sharey=True)
    for ax, (name, by_value) in zip(axes, results.items(), strict=True):
        values = list(by_value)
        for job in by_value[values[0]]:
            ax.loglog(values, [by_value[v][job] for v in values], "o-", label=job)
        ax.set_xlabel(name)
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("seconds")
    axes[0].legend(fontsize="small")
    figure.savefig(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--most-rows", type=int, default=1_000_000)
    parser.add_argument("--output", default="scaling.png")
    arguments = parser.parse_args()
    results = {}
    for name, values in GROWTH.items():
        if name == "rows":
            values = [value for value in values if value <= arguments.most_rows]
        results[name] = {}
        for value in values:
            measured = measure({**USUAL, name: value}, arguments.repeats)
            results[name][value] = measured
            listed = ", ".join(f"{job} {s:.3g} s" for job, s in measured.items())
            print(f"{name} = {value}: {listed}", flush=True)
    try:
        draw(results, arguments.output)
    except ImportError:
        print("Install matplotlib for a picture.")
    else:
        print(f"drawn into {arguments.output}")
