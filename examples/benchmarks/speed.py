"""
Speed: ours, a loop by hand, skorch, scikit-learn
=================================================

Prints what training and prediction cost relative to the alternatives. "Bare" is a loop
by hand over sliced tensors with the same module, float32 and a fused optimizer; skorch
and scikit-learn are used as their documentation shows. The contestants take turns, and
medians of the ratios of consecutive runs are printed. The data is generated in the
shapes of MNIST and Otto, with labels that depend on the features, so nothing is
downloaded.

Run with ``python examples/benchmarks/speed.py [--repeats 5] [--device auto]``; all of
it takes about twenty minutes on two cores. ``--only epochs`` (or ``precision``,
``prediction``, ``fixed``, ``process``, ``search``) runs a part.
"""

import argparse
import platform
import subprocess
import sys
import time
import warnings
from statistics import median

import numpy as np
import sklearn
import skorch
import torch
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from torch import nn
from torch.nn import functional as F

from sksoftmax import SoftmaxCNNClassifier, SoftmaxMLPClassifier, SoftmaxRegression
from sksoftmax.modules import SoftmaxMLP

warnings.simplefilter("ignore", ConvergenceWarning)


# %%
# Data. Labels depend on the features, with noise: nets that learn nothing lose units.
def make_data(n_rows, n_features, n_classes):
    rng = np.random.default_rng(0)
    X = rng.random((n_rows, n_features), dtype=np.float32)
    logits = (X - 0.5) @ rng.normal(size=(n_features, n_classes)).astype(np.float32)
    return X, (logits + rng.gumbel(size=logits.shape)).argmax(1)


def mnist():
    return make_data(60_000, 784, 10)


def otto():
    return make_data(49_502, 93, 9)


# %%
# The estimators are set to compute what the loop by hand computes: float32, no dropout,
# no scaling.
PLAIN = {
    "input_scaling": None,
    "dropout": 0.0,
    "optimizer": "adam",
    "lr_schedule": "constant",
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "precision": "float32",
}
# No layers and no steps after an epoch that the other nets do not have.
PLAIN_MLP = {
    "activation": "relu",
    "n_estimators": 1,
    "normalization": None,
    "input_dropout": 0.0,
    "n_bins": None,
    "early_stopping": False,
    "temperature_scaling": False,
}


def linear(batch_size):
    return SoftmaxRegression(
        solver="adam", C=np.inf, lr_schedule="constant", batch_size=batch_size
    )


def mlp(*sizes):
    return lambda batch_size: SoftmaxMLPClassifier(
        sizes, batch_size=batch_size, **PLAIN_MLP, **PLAIN
    )


def small_cnn(batch_size):
    return SoftmaxCNNClassifier(
        channels=(10, 20),
        convolutions_per_block=1,
        kernel_size=5,
        padding="valid",
        global_pooling=None,
        normalization=None,
        batch_size=batch_size,
        **PLAIN,
    )


EPOCHS = {
    "MNIST 784-10": (mnist, linear),
    "Otto 93-9": (otto, linear),
    "Otto 93-128-64-9": (otto, mlp(128, 64)),
    "Otto 93-512x3-9": (otto, mlp(512, 512, 512)),
    "MNIST 784-512-256-128-64-10": (mnist, mlp(512, 256, 128, 64)),
    "MNIST CNN 10-20": (mnist, small_cnn),
}


# %%
# The contestants. Each is built around a module of the same shape and returns a
# function that trains for one epoch.
def ours(estimator, X, y):
    return lambda: estimator.partial_fit(X, y)


def bare(module, batch_size, X, y):
    X, y = torch.from_numpy(X).to(DEVICE), torch.from_numpy(y).to(DEVICE)
    module = module.to(DEVICE)
    optimizer = torch.optim.Adam(module.parameters(), fused=True)

    def epoch():
        module.train()
        order = torch.randperm(len(X)).to(DEVICE)
        for first in range(0, len(X), batch_size):
            rows = order[first : first + batch_size]
            loss = F.cross_entropy(module(X[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        loss.item()

    return epoch


def skorch_net(module, batch_size, **options):
    return skorch.NeuralNetClassifier(
        module,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        batch_size=batch_size,
        iterator_train__shuffle=True,
        train_split=None,
        max_epochs=1,
        verbose=0,
        device=str(DEVICE),
        **options,
    )


def plain_skorch(module, batch_size, X, y):
    net = skorch_net(module, batch_size).initialize()
    return lambda: net.partial_fit(X, y)


def scikit_learn(sizes, batch_size, X, y):
    classifier = MLPClassifier(sizes, batch_size=batch_size)
    classes = np.unique(y)
    return lambda: classifier.partial_fit(X, y, classes=classes)


def with_dropout(module, rate):
    r"""Return the module with PyTorch's own dropout."""
    hidden = [
        nn.Dropout(rate) if "Dropout" in type(layer).__name__ else layer
        for layer in module.hidden
    ]
    module.hidden = nn.Sequential(*hidden)
    module.input_dropout = nn.Dropout(module.input_dropout.p)
    return module


# %%
# Timing: the contestants take turns.
def take_turns(contestants, repeats, runs=1):
    r"""Return the seconds of each contestant's turns but the first."""
    seconds = {name: [] for name in contestants}
    for turn in range(repeats + 1):
        for name, run in contestants.items():
            start = time.perf_counter()
            for _ in range(runs):
                run()
            if turn:
                seconds[name].append((time.perf_counter() - start) / runs)
    return seconds


def show(label, seconds):
    r"""Print a row of the table."""

    def ratio(above, below):
        if above not in seconds or below not in seconds:
            return "-"
        pairs = zip(seconds[above], seconds[below], strict=True)
        return f"{median(a / b for a, b in pairs):.2f}"

    first = next(iter(seconds))
    print(
        f"| {label} | {median(seconds[first]):.3g} | {ratio('ours', 'bare')} "
        f"| {ratio('skorch', 'ours')} | {ratio('sklearn', 'ours')} |",
        flush=True,
    )


def show_epoch(label, estimator, X, y, repeats, make_bare=None):
    estimator.set_params(device=str(DEVICE))
    estimator.partial_fit(X[:256], y[:256], classes=np.unique(y))
    batch_size = estimator.batch_size

    def module():
        made = estimator._build_module(torch.Generator())
        return make_bare(made) if make_bare else made

    contestants = {
        "bare": bare(module(), batch_size, X, y),
        "ours": ours(estimator, X, y),
        "skorch": plain_skorch(module(), batch_size, X, y),
    }
    if isinstance(estimator, SoftmaxMLPClassifier):
        sizes = estimator.hidden_layer_sizes
        contestants["sklearn"] = scikit_learn(sizes, batch_size, X, y)
    show(label, take_turns(contestants, repeats))


# %%
# The parts of the table.
def epochs(repeats, cells):
    for name, (data, make) in EPOCHS.items():
        if cells in name:
            X, y = data()
            for batch_size in (64, 256):
                label = f"epoch, {name}, batch {batch_size}"
                show_epoch(label, make(batch_size), X, y, repeats)


def precision(repeats, cells):
    X, y = otto()
    net = mlp(512, 512, 512)(256).set_params(dropout=0.3, precision="auto")
    label = "epoch, Otto 93-512x3-9, dropout .3, precision auto, batch 256"
    show_epoch(label, net, X, y, repeats, lambda module: with_dropout(module, 0.3))
    X, y = mnist()
    cnn = SoftmaxCNNClassifier(batch_size=128)
    show_epoch("epoch, default CNN, 12,000 rows", cnn, X[:12_000], y[:12_000], repeats)


def prediction(repeats, cells):
    X, y = make_data(10_000, 784, 10)
    sizes = (512, 256, 128, 64)
    estimator = mlp(*sizes)(256).set_params(device=str(DEVICE))
    estimator.partial_fit(X, y, classes=np.arange(10))
    module = estimator.module_
    classifier = MLPClassifier(sizes, max_iter=1).fit(X[:1000], y[:1000])
    net = skorch_net(module, 128).initialize()

    @torch.inference_mode()
    def forward(rows):
        return module(torch.from_numpy(rows).to(DEVICE)).softmax(1).cpu().numpy()

    for n_rows, runs in ((10_000, 5), (1, 300)):
        rows = X[:n_rows]
        contestants = {
            "bare": lambda rows=rows: forward(rows),
            "ours": lambda rows=rows: estimator.predict_proba(rows),
            "skorch": lambda rows=rows: net.predict_proba(rows),
            "sklearn": lambda rows=rows: classifier.predict_proba(rows),
        }
        seconds = take_turns(contestants, repeats, runs)
        show(f"predict_proba, five-layer MLP, {n_rows} x 784", seconds)


def fixed(repeats, cells):
    X, y = load_iris(return_X_y=True)
    X = X.astype(np.float32)
    estimator = mlp(32)(32).set_params(max_epochs=1, device=str(DEVICE))
    contestants = {
        "bare": lambda: bare(SoftmaxMLP(4, 3, hidden_layer_sizes=(32,)), 32, X, y)(),
        "ours": lambda: estimator.fit(X, y),
    }
    seconds = take_turns(contestants, 10 * repeats)
    extra = median(seconds["ours"]) - median(seconds["bare"])
    print(
        f"| fit, iris, 1 epoch: {1000 * extra:.1f} ms more than bare | - | - | - | - |"
    )


# Peak memory in KiB of a process that trains for an epoch, before and after (Linux).
MEMORY = """
import re, numpy as np, torch
import sksoftmax, skorch, torch._dynamo
from torch.nn import functional as F
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
X = np.random.default_rng(0).integers(0, 256, (60_000, 784), dtype=np.uint8)
X = X.astype("{dtype}", copy=False)
y = np.arange(60_000) % 10
before = peak()
{train}
print(peak() - before)
"""
OURS = """
sksoftmax.SoftmaxMLPClassifier(
    (128, 64), n_estimators=1, max_epochs=1, device="cpu"
).fit(X, y)
"""
BARE = """
module = sksoftmax.modules.SoftmaxMLP(784, 10, hidden_layer_sizes=(128, 64))
optimizer = torch.optim.Adam(module.parameters(), fused=True)
X, y = torch.from_numpy(X.astype(np.float32)), torch.from_numpy(y)
for rows in torch.randperm(len(X)).split(256):
    loss = F.cross_entropy(module(X[rows]), y[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


def run_python(code):
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    return output.stdout


def process(repeats, cells):
    for dtype in ("uint8", "float64"):
        peaks = {
            name: int(run_python(MEMORY.format(dtype=dtype, train=train))) / 1024
            for name, train in (("bare", BARE), ("ours", OURS))
        }
        table = 60_000 * 784 * np.dtype(dtype).itemsize / 2**20
        print(
            f"| peak memory beyond the table, MNIST as {dtype} ({table:.0f} MiB): ours "
            f"{peaks['ours']:.0f}, bare {peaks['bare']:.0f} MiB | - "
            f"| {(table + peaks['ours']) / (table + peaks['bare']):.2f} | - | - |"
        )
    contestants = {
        "bare": lambda: run_python("import torch, skorch, sklearn.base"),
        "ours": lambda: run_python("import sksoftmax"),
    }
    show("import (bare: torch, skorch, sklearn.base)", take_turns(contestants, repeats))


def search(repeats, cells):
    X, y = otto()
    X, y = X[:10_000], y[:10_000]
    sizes = [(128, 64), (256, 256)]
    rates = [3e-4, 1e-3, 3e-3]
    dropouts = [0.0, 0.3]
    our_net = mlp(128, 64)(128).set_params(max_epochs=10, device="cpu")
    our_grid = {
        "hidden_layer_sizes": sizes,
        "learning_rate": rates,
        "dropout": dropouts,
    }
    net = skorch_net(SoftmaxMLP, 128, module__n_features=93, module__n_classes=9)
    net.set_params(max_epochs=10, device="cpu")
    grid = {
        "module__hidden_layer_sizes": sizes,
        "lr": rates,
        "module__dropout": dropouts,
    }
    searches = {
        "ours": GridSearchCV(our_net, our_grid, cv=3, n_jobs=2, refit=False),
        "skorch": GridSearchCV(net, grid, cv=3, n_jobs=2, refit=False),
    }
    contestants = {
        name: lambda search=search: search.fit(X, y)
        for name, search in searches.items()
    }
    label = "GridSearchCV, 12 candidates, 3 folds, n_jobs=2, 10,000 x 93"
    show(label, take_turns(contestants, max(1, repeats // 2)))


PARTS = [epochs, precision, prediction, fixed, process, search]

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", choices=[part.__name__ for part in PARTS])
    parser.add_argument("--cells", default="", help="only epochs whose name has this")
    arguments = parser.parse_args()
    DEVICE = SoftmaxRegression(device=arguments.device, max_iter=1, solver="adam")
    DEVICE = DEVICE.fit([[0.0], [1.0]], [0, 1]).device_
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads, {DEVICE}, "
        f"torch {torch.__version__}, skorch {skorch.__version__}, "
        f"scikit-learn {sklearn.__version__}, median of {arguments.repeats}\n"
    )
    print("| what | first, s | ours / bare | skorch / ours | sklearn / ours |")
    print("|---|---|---|---|---|")
    for part in PARTS:
        if arguments.only in (None, part.__name__):
            part(arguments.repeats, arguments.cells)
