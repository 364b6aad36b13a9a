r"""Many threads and processes at once: the serial bits, and memory that stays flat."""

import ctypes
import multiprocessing
import os
import sys
import threading
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_info, threadpool_limits
from torch import nn

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
)
from sksoftmax._convex import design_matrix as rows
from sksoftmax._utils.process import single_threaded_blas

X, y = load_digits(return_X_y=True)
X, y = X[:500] / 16, np.array([f"digit {label}" for label in y[:500]])
TABLE = pd.DataFrame(X[:, 2::5]).add_prefix("pixel ").assign(row=np.arange(500) % 30)
TABLE["row"] = TABLE["row"].astype(str)

LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None

needs_linux = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="resident sizes as on Linux"
)


def make_module(n_features, n_classes, width=16):
    # Dropout of PyTorch's own draws from the generator that all threads share.
    return nn.Sequential(
        nn.Linear(n_features, width),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(width, n_classes),
    )


ESTIMATORS = {
    "regression": (SoftmaxRegression(max_iter=100), X),
    "sparse": (SoftmaxRegression(max_iter=100), csr_array(X)),
    "mlp": (
        SoftmaxMLPClassifier(
            (16,), n_estimators=3, max_epochs=2, dropout=0.2, random_state=0
        ),
        X,
    ),
    "table": (
        SoftmaxMLPClassifier((16,), n_estimators=1, max_epochs=2, random_state=0),
        TABLE,
    ),
    "cnn": (
        SoftmaxCNNClassifier(
            image_shape=(8, 8), channels=(4,), max_epochs=1, random_state=0
        ),
        X,
    ),
    "net": (SoftmaxNetClassifier(make_module, max_epochs=2, random_state=0), X),
}
each = pytest.mark.parametrize("name", ESTIMATORS)


def fit(name):
    estimator, data = ESTIMATORS[name]
    return clone(estimator).fit(data, y)


def fit_all():
    r"""Return the probabilities of every estimator, and the change in threads."""
    before = torch.get_num_threads()
    found = [fit(name).predict_proba(ESTIMATORS[name][1]) for name in ESTIMATORS]
    return [proba.tobytes() for proba in found], torch.get_num_threads() - before


@pytest.fixture(scope="module")
def serial():
    return fit_all()


def resident_bytes():
    # Free memory goes back to the system first: a leak would fill it and not be seen.
    if hasattr(LIBC, "malloc_trim"):
        LIBC.malloc_trim(0)
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def stays_flat(work, n_times, limit, n_rounds=20):
    r"""
    Return whether a round of some work grows the process by less than some bytes.

    What leaks grows by every round; what other tests left to the allocator, and what
    it keeps for later in each thread's arena, by some of them.
    """
    for _ in range(n_rounds):
        before = resident_bytes()
        for _ in range(n_times):
            work()
        if resident_bytes() - before < limit:
            return True
    return False


@needs_linux
@each
def test_sixteen_threads_predict_at_once(name):
    model, data = fit(name), ESTIMATORS[name][1]
    singles = [data[i : i + 1] for i in range(20)]
    expected = [model.predict_proba(single) for single in singles]
    proba, labels = model.predict_proba(data), model.predict(data)
    everybody = threading.Barrier(16)

    def predict(_):
        everybody.wait()
        for single, one in zip(singles, expected, strict=True):
            np.testing.assert_array_equal(model.predict_proba(single), one)
        np.testing.assert_array_equal(model.predict_proba(data), proba)
        np.testing.assert_array_equal(model.predict(data), labels)

    with ThreadPoolExecutor(16) as pool:
        # The first rounds give every thread an arena of memory of its own.
        assert stays_flat(
            lambda: list(pool.map(predict, range(16))), 1, limit=4 * 2**20 // 3
        )


def in_threads():
    return joblib.Parallel(n_jobs=3, backend="threading")(
        joblib.delayed(fit_all)() for _ in range(3)
    )


def in_loky():
    # A search of scikit-learn first, which takes the same workers.
    alone, together = (
        GridSearchCV(
            ESTIMATORS["net"][0],
            {"module__width": [4, 16]},
            cv=2,
            scoring="neg_log_loss",
            n_jobs=n_jobs,
        ).fit(X, y)
        for n_jobs in (1, 2)
    )
    for fold in range(2):
        key = f"split{fold}_test_score"
        assert together.cv_results_[key].tolist() == alone.cv_results_[key].tolist()
    np.testing.assert_array_equal(together.predict_proba(X), alone.predict_proba(X))
    return joblib.Parallel(n_jobs=2, backend="loky")(
        joblib.delayed(fit_all)() for _ in range(2)
    )


def in_spawned():
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return [pool.submit(fit_all).result()]


@pytest.mark.parametrize("run", [in_threads, in_loky, in_spawned])
def test_parallel_fits_give_the_serial_bits(run, serial):
    for found, change in run():
        assert found == serial[0]
        assert change == 0


# With two threads, the child would wait for the one that the fork has left behind. And
# while another thread fits a module of the user, it would wait for its lock.
FORK = """
import multiprocessing, threading
import numpy as np, torch
from sksoftmax import SoftmaxMLPClassifier, SoftmaxNetClassifier, SoftmaxRegression

rng = np.random.default_rng(0)
X = rng.normal(size=(1000, 100))
y = (X[:, 0] > 0) + 2 * (X[:, 1] > 0)
is_inside, may_go = threading.Event(), threading.Event()

def make_module(n_features, n_classes):
    is_inside.set()
    may_go.wait()
    return torch.nn.Linear(n_features, n_classes)

def fit_all():
    mlp = SoftmaxMLPClassifier((64,), n_estimators=4, max_epochs=1, random_state=0)
    net = SoftmaxNetClassifier(torch.nn.Linear, max_epochs=1, random_state=0)
    return [
        model.fit(X, y).predict_proba(X)
        for model in (SoftmaxRegression(max_iter=20), mlp, net)
    ]

def in_child(queue):
    queue.put((fit_all(), torch.get_num_threads()))

torch.set_num_threads(1)
serial = fit_all()
torch.set_num_threads(2)
SoftmaxRegression(max_iter=20).fit(X, y)
other = SoftmaxNetClassifier(make_module, max_epochs=1, random_state=0)
thread = threading.Thread(target=other.fit, args=(X, y), daemon=True)
thread.start()
is_inside.wait()
context = multiprocessing.get_context("fork")
queue = context.Queue()
child = context.Process(target=in_child, args=(queue,), daemon=True)
child.start()
try:
    found, n_threads = queue.get(timeout=200)
finally:
    child.kill()
may_go.set()
thread.join()
assert torch.get_num_threads() == 2, torch.get_num_threads()
assert n_threads == 1, n_threads
for one, expected in zip(found, serial, strict=True):
    np.testing.assert_array_equal(one, expected)
print("equal")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_fork_after_a_fit_does_not_hang(programs):
    assert programs.run(FORK) == "equal\n"


def test_threads_leave_the_filters_of_warnings_alone():
    matrix = csr_array(np.eye(3))
    before = warnings.filters[:]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            tensors = list(pool.map(lambda _: rows.csr_tensor(matrix), range(2000)))
    finally:
        sys.setswitchinterval(interval)
    assert warnings.filters == before
    assert torch.equal(tensors[-1].to_dense(), torch.eye(3, dtype=torch.float64))


# All estimators, and more of everything: examples/benchmarks/leaks.py.
@needs_linux
@pytest.mark.parametrize("name", ["regression", "mlp", "net"])
def test_fits_and_predictions_leave_no_memory_behind(name):
    data = ESTIMATORS[name][1]
    model = fit(name)
    # Half of the rows of one fit: ten fits may leave 13 kB each.
    assert stays_flat(lambda: fit(name), 10, limit=2**17)
    row = data[:1]
    # A hundred bytes for each row that is predicted.
    assert stays_flat(lambda: model.predict_proba(row), 500, limit=50_000)


def blas_threads():
    [first, *others] = {
        pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"
    }
    assert not others
    return first


def test_small_fits_leave_the_threads_of_blas_as_they_were():
    with threadpool_limits(2, user_api="blas"):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: fit("regression"), range(20)))
        assert blas_threads() == 2
        # Whoever comes first leaves first, and the other one keeps its single thread.
        first, second = single_threaded_blas(), single_threaded_blas()
        first.__enter__()
        second.__enter__()
        assert blas_threads() == 1
        first.__exit__(None, None, None)
        assert blas_threads() == 1
        second.__exit__(None, None, None)
        assert blas_threads() == 2
        with pytest.raises(KeyError), single_threaded_blas():
            raise KeyError
        assert blas_threads() == 2
