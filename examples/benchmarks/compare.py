"""
Accuracy and time beside scikit-learn
=====================================

Prints the table of the README: five-fold cross-validated log loss on Otto and test
accuracy on MNIST, each estimator with its defaults, with the seconds of a fit.

Needs the real files: ``SKSOFTMAX_DATA`` points to a folder that holds ``otto/`` and
``MNIST/``. Run with ``python examples/benchmarks/compare.py``; it takes about half an
hour on two cores.
"""

import platform
import time
import warnings

import numpy as np
import sklearn
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksoftmax import SoftmaxCNNClassifier, SoftmaxMLPClassifier, SoftmaxRegression
from sksoftmax.datasets import fetch_mnist, load_otto

warnings.simplefilter("ignore", ConvergenceWarning)

# %%
# Every estimator has its defaults. Those that need scaled features get a scaler.
OTTO = {
    "LogisticRegression": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
    "SoftmaxRegression": lambda: make_pipeline(StandardScaler(), SoftmaxRegression()),
    "HistGradientBoostingClassifier": lambda: HistGradientBoostingClassifier(
        random_state=0
    ),
    "SoftmaxMLPClassifier": lambda: SoftmaxMLPClassifier(random_state=0),
    "MLPClassifier": lambda: make_pipeline(
        StandardScaler(), MLPClassifier(random_state=0)
    ),
}
MNIST = {
    "SoftmaxMLPClassifier": lambda: SoftmaxMLPClassifier(random_state=0),
    "SoftmaxCNNClassifier": lambda: SoftmaxCNNClassifier(random_state=0),
    "MLPClassifier": lambda: make_pipeline(
        StandardScaler(), MLPClassifier(random_state=0)
    ),
}

# %%
# Otto's rows are sorted by class, so the folds are shuffled.
print(
    f"{platform.machine()}, {torch.get_num_threads()} threads, "
    f"torch {torch.__version__}, scikit-learn {sklearn.__version__}"
)
X, y = load_otto(return_X_y=True)
folds = list(StratifiedKFold(5, shuffle=True, random_state=0).split(X, y))
print("\n| Otto, 5 folds | log loss | accuracy | fit, s |\n|---|---|---|---|")
for name, make in OTTO.items():
    losses, accuracies, seconds = [], [], []
    for train, test in folds:
        start = time.perf_counter()
        classifier = make().fit(X.iloc[train], y.iloc[train])
        seconds.append(time.perf_counter() - start)
        probabilities = classifier.predict_proba(X.iloc[test])
        losses.append(log_loss(y.iloc[test], probabilities))
        winners = classifier.classes_[probabilities.argmax(1)]
        accuracies.append(accuracy_score(y.iloc[test], winners))
    print(
        f"| `{name}` | {np.mean(losses):.4f} | {np.mean(accuracies):.4f} "
        f"| {np.median(seconds):.0f} |",
        flush=True,
    )

# %%
# MNIST has an official test set; the images go in as flat rows of bytes.
X_train, y_train = fetch_mnist(subset="train", return_X_y=True)
X_test, y_test = fetch_mnist(subset="test", return_X_y=True)
print("\n| MNIST | test accuracy | fit, s |\n|---|---|---|")
for name, make in MNIST.items():
    start = time.perf_counter()
    classifier = make().fit(X_train, y_train)
    seconds = time.perf_counter() - start
    accuracy = accuracy_score(y_test, classifier.predict(X_test))
    print(f"| `{name}` | {accuracy:.4f} | {seconds:.0f} |", flush=True)
