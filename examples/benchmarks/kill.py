r"""
Reliability: fits that are killed and continued
===============================================

Fits classifiers with ``checkpoint=path`` in processes that are killed (``SIGKILL``) at
random moments, some of them twice, and started again. Their parameters, history and
predictions are compared, bit by bit, with those of fits that were not killed. A damaged
checkpoint would end the second process with an error.

Run ``python examples/benchmarks/kill.py --fits 50``; not on Windows.
"""

# %%
# Classifiers
# -----------
# Together they have all state of a training: moments of two optimizers, a schedule,
# dropout and augmentation with their own generators and with PyTorch's, the best epoch
# of early stopping, members of an ensemble, a temperature.
import argparse
import hashlib
import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np

# Imported now, since PyTorch imports it with the first optimizer.
import torch._dynamo  # noqa: F401
from sklearn.datasets import load_digits
from torch import nn

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
)


def make_module(n_features, n_classes):
    return nn.Sequential(
        nn.Linear(n_features, 64),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(64, n_classes),
    )


CLASSIFIERS = {
    "ensemble, dropout": SoftmaxMLPClassifier(
        (64, 64), dropout=0.1, max_epochs=20, random_state=0
    ),
    "early stopping, SGD": SoftmaxMLPClassifier(
        (64,),
        optimizer="sgd",
        learning_rate=0.1,
        early_stopping=True,
        n_iter_no_change=3,
        max_epochs=40,
        random_state=1,
    ),
    "convolutions, augmentation": SoftmaxCNNClassifier(
        (8, 8),
        channels=(8, 16),
        augmentation="shift_flip",
        dropout=0.1,
        max_epochs=8,
        random_state=2,
    ),
    "a module of one's own": SoftmaxNetClassifier(
        make_module, lr_schedule="one_cycle", max_epochs=40, random_state=3
    ),
}


# %%
# A fit in a process of its own
# -----------------------------
def fit_here(name, n_rows, folder, checkpoint):
    r"""Fit a classifier, and write a hash of the result to a file."""
    X, y = load_digits(return_X_y=True)
    X, y = X[:n_rows], y[:n_rows]
    classifier = CLASSIFIERS[name].set_params(checkpoint=checkpoint).fit(X, y)
    digest = hashlib.sha256()
    for value in classifier.module_.state_dict().values():
        digest.update(value.numpy().tobytes())
    curves = (classifier.loss_curve_, classifier.validation_scores_)
    digest.update(repr((classifier.n_iter_, *curves)).encode())
    digest.update(classifier.predict_proba(X).tobytes())
    (folder / "result").write_text(digest.hexdigest(), encoding="utf-8")


def fit(context, name, n_rows, folder, checkpoint, seconds=None):
    r"""Return the result, None if there is none after so many seconds."""
    process = context.Process(target=fit_here, args=(name, n_rows, folder, checkpoint))
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
    if process.exitcode > 0:
        raise RuntimeError(f"A fit of {name!r} ended with an error; see above.")
    result = folder / "result"
    return result.read_text(encoding="utf-8") if result.exists() else None


# %%
# Killing
# -------
def kill(context, name, n_rows, duration, rng):
    r"""Kill a fit at least once; return how often, and its result."""
    n_kills, n_resumed = 0, 0
    while not n_kills:
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            checkpoint = folder / "fit.checkpoint"
            for seconds in rng.uniform(0, duration, size=rng.integers(1, 3)):
                if fit(context, name, n_rows, folder, checkpoint, seconds) is not None:
                    break
                n_kills += 1
                n_resumed += checkpoint.exists()
            n_partial = len(list(folder.glob(".fit.checkpoint.*")))
            result = fit(context, name, n_rows, folder, checkpoint)
    return n_kills, n_resumed, n_partial, result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--fits", type=int, default=50)
    parser.add_argument("--rows", type=int, default=1797)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    # This process fits nothing, so it has no threads that a fork would lose.
    context = multiprocessing.get_context("fork")
    names = list(CLASSIFIERS)[: arguments.fits]
    expected, durations = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name in names:
            start = time.perf_counter()
            expected[name] = fit(context, name, arguments.rows, folder, None)
            durations[name] = time.perf_counter() - start
    heads = ("fits", "kills", "of these resumed", "amid writing", "same bits")
    print(" " * 26 + "".join(f"{head:>18}" for head in heads))
    n_wrong = 0
    parts = np.array_split(range(arguments.fits), len(names))
    for name, rows in zip(names, parts, strict=True):
        fits = [kill(context, name, arguments.rows, durations[name], rng) for _ in rows]
        n_kills, n_resumed, n_partial, results = zip(*fits, strict=True)
        n_same = results.count(expected[name])
        n_wrong += len(fits) - n_same
        counts = (len(fits), sum(n_kills), sum(n_resumed), sum(n_partial), n_same)
        print(f"{name:26}" + "".join(f"{count:18}" for count in counts))
    if n_wrong:
        raise SystemExit(f"{n_wrong} of {arguments.fits} fits ended differently.")


if __name__ == "__main__":
    main()
