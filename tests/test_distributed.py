r"""Two processes fit the same classifier as a single process."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from torchvision.transforms import v2

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxMLPClassifier,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)
from sksoftmax.distributed import _check_parameters, fit_distributed

# Code of each process. Shards differ in size; the first has no row of some classes.
WORKER = """
import pickle
from pathlib import Path
import torch.distributed as dist
from sksoftmax.distributed import fit_distributed

folder = Path(__file__).parent
jobs, cut = pickle.loads((folder / "jobs.pickle").read_bytes())
if not dist.is_initialized():
    dist.init_process_group("gloo")
rank = dist.get_rank()
shard = slice(0, cut) if rank == 0 else slice(cut, None)
results = []
for classifier, X, y, weight in jobs:
    try:
        fit_distributed(
            classifier, X[shard], y[shard], None if weight is None else weight[shard]
        )
        results.append(classifier)
    except (TypeError, ValueError) as error:
        results.append(f"{type(error).__name__}: {error}")
(folder / f"{rank}.pickle").write_bytes(pickle.dumps(results))
dist.destroy_process_group()
"""

# Two forks in place of the two interpreters of torchrun, whose imports take 20 seconds.
FORKS = """
import os, runpy, sys
from pathlib import Path
import torch.distributed as dist

worker = Path(sys.argv[1])
child = os.fork()
store = worker.with_name("store").as_uri()
dist.init_process_group("gloo", init_method=store, rank=int(not child), world_size=2)
runpy.run_path(sys.argv[1])
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def make_jobs():
    X, y = load_digits(return_X_y=True)
    order = np.argsort(y[:500], kind="stable")
    X, y = X[order], np.array([f"digit {label}" for label in y[order]])
    weight = np.random.default_rng(0).integers(3, size=500).astype(float)
    with_missing = X.copy()
    with_missing[490:, 5] = np.nan
    bad = X.copy()
    bad[-1, -1] = np.inf
    odd = X.astype(object)
    odd[-1, -1] = {}
    # No dropout: several processes draw different noise than a single process.
    options = {
        "input_dropout": 0.0,
        "max_epochs": 3,
        "random_state": 0,
        "early_stopping": False,
    }
    mlp = SoftmaxMLPClassifier((16,), n_estimators=3, **options)
    linear = SoftmaxRegression(solver="sgd", max_iter=3, batch_size=64, random_state=0)
    balanced = SoftmaxMLPClassifier(
        (16,), n_estimators=1, class_weight="balanced", **options
    )
    images = np.stack([X, 16 - X, X // 2], axis=2).reshape(-1, 8, 8, 3)
    cnn = SoftmaxCNNClassifier(
        channels=(8,), normalization=None, dropout=0.0, max_epochs=2, random_state=0
    )
    # Always the same draw: several processes have other draws than a single process.
    flipped = clone(cnn).set_params(augmentation=v2.RandomHorizontalFlip(1.0))
    batch_norm = SoftmaxMLPClassifier((16,), normalization="batch", **options)
    return [
        (mlp, X, y, None),
        (clone(mlp), X, y, weight),
        (balanced, with_missing, y, weight),
        (linear, X, y, weight),
        (clone(mlp), bad, y, None),
        (batch_norm, X, y, None),
        (clone(mlp), odd, y, None),
        (cnn, images, y, weight),
        (flipped, images, y, None),
    ]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, programs):
    r"""Return the jobs, and what each of two processes made of them."""
    folder = tmp_path_factory.mktemp("ranks")
    jobs = make_jobs()
    (folder / "jobs.pickle").write_bytes(pickle.dumps((jobs, 180)))
    (folder / "worker.py").write_text(WORKER)
    if sys.platform == "linux":
        programs.run(FORKS, folder / "worker.py")
    else:
        torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        command = [sys.executable, "-m", *torchrun, str(folder / "worker.py")]
        subprocess.run(command, check=True, timeout=300)
    return jobs, [
        pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(2)
    ]


@pytest.mark.parametrize("job", [0, 1, 2, 3, 7, 8])
def test_two_processes_agree_with_one(job, fitted):
    jobs, (first, second) = fitted
    classifier, X, y, weight = jobs[job]
    classifier.fit(X, y, sample_weight=weight)
    expected = classifier.predict_proba(X)
    for found in (first[job], second[job]):
        assert found.classes_.tolist() == classifier.classes_.tolist()
        assert found.n_iter_ == classifier.n_iter_
        np.testing.assert_allclose(found.predict_proba(X), expected, atol=2e-5)
        np.testing.assert_allclose(found.loss_curve_, classifier.loss_curve_, rtol=1e-4)
    np.testing.assert_array_equal(
        first[job].predict_proba(X), second[job].predict_proba(X)
    )
    assert first[job].loss_curve_ == second[job].loss_curve_
    # Further training needs no group.
    first[job].set_params(class_weight=None).partial_fit(X, y)


def test_all_processes_raise_the_error_of_one(fitted):
    _, results = fitted
    for found in results:
        assert "rank 1: Input X contains infinity" in found[4]
        assert "batch normalization" in found[5]
        assert found[6].startswith("TypeError: In the process of rank 1: Column 63 of")


def test_classifiers_without_partial_fit_are_refused():
    with pytest.raises(TypeError, match="Got a SoftmaxRegressionCV"):
        fit_distributed(SoftmaxRegressionCV(), [[0.0], [1.0]], [0, 1])


def test_a_process_without_a_group_is_an_error():
    with pytest.raises(RuntimeError, match="torchrun"):
        fit_distributed(SoftmaxMLPClassifier(random_state=0), [[0.0], [1.0]], [0, 1])


@pytest.mark.parametrize(
    "parameter",
    [
        {"checkpoint": "file"},
        {"early_stopping": True},
        {"random_state": None},
        {"temperature_scaling": True},
        {"warm_start": True},
    ],
    ids=str,
)
def test_parameters_that_several_processes_cannot_have(parameter):
    _check_parameters(SoftmaxMLPClassifier(random_state=np.int64(0)))
    classifier = SoftmaxMLPClassifier(random_state=0).set_params(**parameter)
    [(name, value)] = parameter.items()
    with pytest.raises(ValueError, match=f"Got {name}={value!r}, but expected"):
        _check_parameters(classifier)


@pytest.mark.parametrize("parameter", [{"solver": "newton-cg"}, {"l1_ratio": 0.5}])
def test_exact_solvers_cannot_have_several_processes(parameter):
    options = {"solver": "sgd", "random_state": 0} | parameter
    [name] = parameter
    with pytest.raises(ValueError, match=f"Got {name}=.* several processes"):
        _check_parameters(SoftmaxRegression(**options))
