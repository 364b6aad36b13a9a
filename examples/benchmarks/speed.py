"""
Seconds per epoch: ours, a loop by hand, skorch, scikit-learn
=============================================================

Prints what an epoch costs, relative to a hand-written loop over sliced tensors with the
same module, float32 and a fused optimizer ("bare"). Everything runs in one process, the
contestants take turns, and the medians are compared. The data is random, of the shapes
of MNIST and Otto, so nothing is downloaded.

Run with ``python examples/benchmarks/speed.py [--repeats 5] [--device auto]``; it takes
about a quarter of an hour on two cores.
"""

import argparse
import platform
import time
from statistics import median

import numpy as np
import sklearn
import skorch
import torch
from sklearn.neural_network import MLPClassifier
from torch import nn
from torch.nn import functional as F

from sksoftmax import SoftmaxCNNClassifier, SoftmaxMLPClassifier, SoftmaxRegression
from sksoftmax._torch import resolve_device

# %%
# The cells of the table: name, rows, features, classes, and the estimator. The
# estimators do what the bare loop does: float32, no dropout, no scaling.
PLAIN = {"input_scaling": None, "dropout": 0.0, "precision": "float32"}
NET = {**PLAIN, "optimizer": "adam", "lr_schedule": "constant", "weight_decay": 0.0}
CELLS = {
    "MNIST 784-10": (60_000, 784, 10, ()),
    "Otto 93-9": (49_502, 93, 9, ()),
    "Otto 93-128-64-9": (49_502, 93, 9, (128, 64)),
    "Otto 93-512x3-9": (49_502, 93, 9, (512, 512, 512)),
    "MNIST 784-512-256-128-64-10": (60_000, 784, 10, (512, 256, 128, 64)),
    "MNIST CNN 10-20": (60_000, 784, 10, "cnn"),
}


def make_estimator(sizes, batch_size, device):
    if sizes == ():
        return SoftmaxRegression(
            solver="adam",
            C=np.inf,
            lr_schedule="constant",
            batch_size=batch_size,
            device=device,
        )
    if sizes == "cnn":
        return SoftmaxCNNClassifier(
            channels=(10, 20),
            kernel_size=5,
            padding="valid",
            global_pooling=None,
            normalization=None,
            batch_size=batch_size,
            device=device,
            **NET,
        )
    return SoftmaxMLPClassifier(sizes, batch_size=batch_size, device=device, **NET)


# %%
# The contestants. Each is built around a copy of the same module and returns a function
# that trains for one epoch and says how long that took.
def ours(estimator, module, X, y, device):
    classes = np.unique(y)

    def epoch():
        estimator.partial_fit(X, y, classes=classes)
        return estimator.net_.history[-1, "dur"]

    return epoch


def bare(estimator, module, X, y, device):
    module = module.to(device)
    X, y = torch.from_numpy(X).to(device), torch.from_numpy(y).to(device)
    optimizer = torch.optim.Adam(module.parameters(), fused=True)

    def epoch():
        module.train()
        start = time.perf_counter()
        order = torch.randperm(len(X)).to(device)
        for first in range(0, len(X), estimator.batch_size):
            rows = order[first : first + estimator.batch_size]
            loss = F.cross_entropy(module(X[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        loss.item()
        return time.perf_counter() - start

    return epoch


def plain_skorch(estimator, module, X, y, device):
    net = skorch.NeuralNetClassifier(
        module,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        batch_size=estimator.batch_size,
        iterator_train__shuffle=True,
        train_split=None,
        max_epochs=1,
        verbose=0,
        device=str(device),
    ).initialize()

    def epoch():
        net.partial_fit(X, y)
        return net.history[-1, "dur"]

    return epoch


def scikit_learn(estimator, module, X, y, device):
    classifier = MLPClassifier(
        estimator.hidden_layer_sizes, batch_size=estimator.batch_size
    )
    classes = np.unique(y)

    def epoch():
        start = time.perf_counter()
        classifier.partial_fit(X, y, classes=classes)
        return time.perf_counter() - start

    return epoch


# %%
# The table. A first epoch of each contestant is not counted.
parser = argparse.ArgumentParser()
parser.add_argument("--repeats", type=int, default=5)
parser.add_argument("--device", default="auto")
parser.add_argument("--rows", type=float, default=1.0, help="share of the rows")
parser.add_argument("--cells", default="", help="only cells whose name contains this")
arguments = parser.parse_args()
device = resolve_device(arguments.device)
print(
    f"{platform.machine()}, {torch.get_num_threads()} threads, {device}, "
    f"torch {torch.__version__}, skorch {skorch.__version__}, "
    f"scikit-learn {sklearn.__version__}, median of {arguments.repeats}\n"
)
print("| epoch | batch | bare, s | ours / bare | skorch / ours | sklearn / ours |")
print("|---|---|---|---|---|---|")
for name, (n_rows, n_features, n_classes, sizes) in CELLS.items():
    if arguments.cells not in name:
        continue
    rng = np.random.default_rng(0)
    X = rng.random((int(n_rows * arguments.rows), n_features), dtype=np.float32)
    y = rng.integers(0, n_classes, len(X))
    for batch_size in (64, 256):
        contestants = {"bare": bare, "ours": ours, "skorch": plain_skorch}
        if isinstance(sizes, tuple) and sizes:
            contestants["sklearn"] = scikit_learn
        epochs = {}
        for contestant, make in contestants.items():
            estimator = make_estimator(sizes, batch_size, str(device))
            estimator.partial_fit(X[:64], y[:64], classes=np.unique(y))
            module = estimator.module_
            epochs[contestant] = make(estimator, module, X, y, device)
            epochs[contestant]()
        seconds = {contestant: [] for contestant in epochs}
        for _ in range(arguments.repeats):
            for contestant, epoch in epochs.items():
                seconds[contestant].append(epoch())

        def ratio(above, below, seconds=seconds):
            if above not in seconds:
                return "-"
            pairs = zip(seconds[above], seconds[below], strict=True)
            return f"{median(a / b for a, b in pairs):.2f}"

        print(
            f"| {name} | {batch_size} | {median(seconds['bare']):.3f} "
            f"| {ratio('ours', 'bare')} | {ratio('skorch', 'ours')} "
            f"| {ratio('sklearn', 'ours')} |",
            flush=True,
        )
