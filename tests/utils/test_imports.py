r"""Costs of an import, counted in modules: seconds differ from machine to machine."""

import subprocess
import sys

import pytest

import sksoftmax


def newly_imported(statement):
    r"""Return the modules that a statement adds to PyTorch and scikit-learn."""
    code = (
        "import sys, torch, sklearn\n"
        "before = set(sys.modules)\n"
        f"{statement}\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def test_the_package_imports_its_parts_at_first_use():
    assert newly_imported("import sksoftmax") == {"sksoftmax"}


def test_a_classifier_imports_what_it_needs():
    # 260 modules with skorch and scikit-learn's metrics; all classes need 390.
    imported = newly_imported("from sksoftmax import SoftmaxMLPClassifier")
    assert len(imported) < 300
    packages = {".".join(name.split(".")[:2]) for name in imported}
    assert not packages & {
        "PIL",
        "matplotlib",
        "sklearn.linear_model",
        "sklearn.neighbors",
        "sksoftmax._linear",
        "sksoftmax.persistence",
        "torchvision",
    }


def test_public_names_are_those_that_the_package_lists():
    assert set(sksoftmax.__all__) <= set(dir(sksoftmax))
    for name in sksoftmax.__all__:
        assert getattr(sksoftmax, name) is getattr(sksoftmax, name)
    with pytest.raises(AttributeError, match="no attribute 'SoftmaxForest'"):
        sksoftmax.SoftmaxForest  # noqa: B018
