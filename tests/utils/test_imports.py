r"""Costs of an import, counted in modules: seconds differ from machine to machine."""

import subprocess
import sys

import pytest

import sksoftmax

# Libraries that are imported by what needs them. PyTorch's compiler, and SymPy for it,
# take a second or more.
UNUSED = {"torchvision", "matplotlib", "torch._dynamo", "sympy"}

# Prints the modules that two steps add to PyTorch and scikit-learn, then all modules.
STEPS = """
import sys, torch, sklearn
before = set(sys.modules)

def print_imported():
    print(*sorted(set(sys.modules) - before))

import sksoftmax
print_imported()
from sksoftmax import SoftmaxMLPClassifier
print_imported()

import pickle
import numpy as np
from sksoftmax import SoftmaxCNNClassifier, SoftmaxRegression
X = np.arange(320.0).reshape(20, 16)
y = X[:, 0] > 160
for estimator in (
    SoftmaxMLPClassifier(max_epochs=2),
    SoftmaxMLPClassifier((16, 8), n_estimators=1, optimizer="adam", max_epochs=2),
    SoftmaxMLPClassifier((16, 8), n_estimators=1, optimizer="sgd", max_epochs=2),
    SoftmaxCNNClassifier(max_epochs=2),
    SoftmaxRegression(),
):
    for method in (estimator.fit, estimator.partial_fit, estimator.partial_fit):
        method(X, y)
    pickle.loads(pickle.dumps(estimator)).predict(X)
    # After an error, the net is given back what it had learned before.
    estimator.net_.train_step = None
    try:
        estimator.partial_fit(X, y)
    except TypeError:
        continue
    raise AssertionError("trained without steps")
print(*sys.modules)
"""


@pytest.fixture(scope="module")
def imported():
    r"""Return the modules of each printed line."""
    run = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return [set(line.split()) for line in run.stdout.splitlines()]


def test_the_package_imports_its_parts_at_first_use(imported):
    assert imported[0] == {"sksoftmax"}


def test_a_classifier_imports_what_it_needs(imported):
    # 260 modules with skorch and scikit-learn's metrics; all classes need 390.
    assert len(imported[1]) < 300
    packages = {".".join(name.split(".")[:2]) for name in imported[1]}
    assert not packages & {
        "PIL",
        "matplotlib",
        "sklearn.linear_model",
        "sklearn.neighbors",
        "sksoftmax._linear",
        "sksoftmax.persistence",
        "torchvision",
    }


def test_no_library_is_imported_that_is_not_used_yet(imported):
    assert len(imported) == 3
    assert not UNUSED & imported[2]


def test_public_names_are_those_that_the_package_lists():
    assert set(sksoftmax.__all__) <= set(dir(sksoftmax))
    for name in sksoftmax.__all__:
        assert getattr(sksoftmax, name) is getattr(sksoftmax, name)
    with pytest.raises(AttributeError, match="no attribute 'SoftmaxForest'"):
        sksoftmax.SoftmaxForest  # noqa: B018
