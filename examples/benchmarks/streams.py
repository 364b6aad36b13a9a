r"""
Streams: rows that come in pieces
=================================

``partial_fit`` in pieces of 1, 10 and 1,000 rows of digits, by our classifiers and by
scikit-learn's ``SGDClassifier(loss="log_loss")`` and ``MLPClassifier``. Three tables:
1,000 rows by ``fit`` and then 300 by ``partial_fit``; a stream from the first row on,
after one pass and after three; and a drift, in which the labels change after 1,000
rows. The entries are accuracies on 497 other rows, as means over the splits.

Run ``python examples/benchmarks/streams.py --splits 3``.
"""

# %%
# Classifiers and pieces
# ----------------------
import argparse
import copy

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from sksoftmax import SoftmaxCNNClassifier, SoftmaxMLPClassifier, SoftmaxRegression

CLASSIFIERS = {
    "SoftmaxRegression": SoftmaxRegression(),
    "SoftmaxMLPClassifier": SoftmaxMLPClassifier(random_state=0),
    "SoftmaxCNNClassifier": SoftmaxCNNClassifier(
        channels=(8, 16), max_epochs=8, random_state=0
    ),
    "SGDClassifier": SGDClassifier(loss="log_loss", random_state=0),
    "MLPClassifier": MLPClassifier(max_iter=300, random_state=0),
}
X, y = load_digits(return_X_y=True)
X /= 16
CLASSES = np.arange(10)


def stream(classifier, rows, labels, size):
    r"""Learn from rows in pieces of one size."""
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        classifier.partial_fit(X[part], labels[part], classes=CLASSES)


# %%
# The three tables
# ----------------
def after_fit(classifier, training, test, sizes):
    r"""Return the accuracy after ``fit``, and after a stream of further rows."""
    fitted = clone(classifier).fit(X[training[:1000]], y[training[:1000]])
    scores = [fitted.score(X[test], y[test])]
    for size in sizes:
        streamed = copy.deepcopy(fitted)
        stream(streamed, training[1000:], y, size)
        scores.append(streamed.score(X[test], y[test]))
    return scores


def from_the_first_row(classifier, training, test, sizes):
    r"""Return the accuracies after one pass and after three, for each size."""
    scores = []
    for size in sizes:
        streamed = clone(classifier)
        for n_passes in (1, 2, 3):
            stream(streamed, training, y, size)
            if n_passes != 2:
                scores.append(streamed.score(X[test], y[test]))
    return scores


def drift(classifier, training, test, sizes):
    r"""Return the accuracies on new labels after three passes of them."""
    scores, changed = [], (y + 1) % 10
    for size in sizes:
        streamed = clone(classifier)
        stream(streamed, training[:1000], y, size)
        for _ in range(3):
            stream(streamed, training, changed, size)
        scores.append(streamed.score(X[test], changed[test]))
    return scores


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Accuracy of streams.")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 10, 1000])
    parser.add_argument("--only", nargs="+", default=list(CLASSIFIERS))
    args = parser.parse_args(arguments)
    passes = [f"{size}, pass {n}" for size in args.sizes for n in (1, 3)]
    tables = [
        ("after fit", after_fit, ["fit", *map(str, args.sizes)]),
        ("from the first row", from_the_first_row, passes),
        ("drift", drift, [str(size) for size in args.sizes]),
    ]
    for title, measure, columns in tables:
        print(f"| {title} | {' | '.join(columns)} |")
        print(f"|---{'|---' * len(columns)}|")
        for name in args.only:
            scores = [
                measure(
                    CLASSIFIERS[name],
                    *train_test_split(
                        np.arange(len(y)), train_size=1300, random_state=k
                    ),
                    args.sizes,
                )
                for k in range(args.splits)
            ]
            means = " | ".join(f"{mean:.3f}" for mean in np.mean(scores, axis=0))
            print(f"| {name} | {means} |", flush=True)
        print()


if __name__ == "__main__":
    main()
