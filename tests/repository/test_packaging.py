r"""The built files, their requirements, and imports without the optional parts."""

import ast
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGE = sorted((ROOT / "sksoftmax").rglob("*.py"))
EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))

# Names of modules that differ from the name of the requirement.
IMPORTED_AS = {
    "mlflow-skinny": "mlflow",
    "optuna-integration": "optuna_integration",
    "scikit-learn": "sklearn",
}
# Dependencies of scikit-learn and torchvision, which need not be required again.
IMPLIED = {"joblib", "PIL"}


def modules_of(requirements):
    names = [re.match(r"[\w-]+", requirement)[0] for requirement in requirements]
    return {IMPORTED_AS.get(name, name) for name in names}


OPTIONAL = {
    extra: modules_of(requirements)
    for extra, requirements in PROJECT["optional-dependencies"].items()
    if extra not in {"all", "test", "docs", "dev", "benchmark"}
}
CORE = modules_of(PROJECT["dependencies"]) | IMPLIED


def test_the_oldest_versions_that_are_tested_are_those_required():
    workflow = (ROOT / ".github/workflows/tests.yml").read_text()
    for requirement in PROJECT["dependencies"]:
        name, oldest = requirement.split(">=")
        assert re.search(rf'"{name}=={re.escape(oldest)}(\.\*)?"', workflow), (
            requirement
        )


def third_party_imports(path):
    r"""Return the top-level modules that a file imports, inside functions as well."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module)
    top = {name.partition(".")[0] for name in names}
    return top - sys.stdlib_module_names - {"sksoftmax"}


def test_all_is_every_optional_part():
    everything = PROJECT["optional-dependencies"]["all"]
    assert everything == [f"sksoftmax[{','.join(sorted(OPTIONAL))}]"]


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: path.name)
def test_package_imports_only_what_is_required_or_optional(path):
    optional = set().union(*OPTIONAL.values())
    assert third_party_imports(path) <= CORE | optional


def packages_to_install(source):
    r"""Return the requirements in the commands "pip install ..." of a source.

    A command ends with a backquote or with the clause.
    """
    text = re.sub(r'"\n\s*f?"', "", source)  # the lines of one string
    text = re.sub(r"\s*\n\s*(# )?", " ", text).replace(
        "pip install -e . ", "pip install "
    )
    commands = re.findall(r"pip install ([^`.,;)]+)", text)
    assert len(commands) == text.count("pip install"), "a command names no package"
    return " ".join(commands).replace('"', "").split()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_say_what_they_need(path):
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    # Benchmarks have their own extra, and import files of their folder.
    if path.parent.name != "benchmarks":
        needed = third_party_imports(path) - CORE
        assert needed <= modules_of(packages_to_install(docstring))


# Packages that benchmarks compare with, which have no extra, and a part of FastAPI.
WITHOUT_EXTRA = {"keras", "pytabkit", "scikeras", "scikit-learn-intelex", "tabarena"}
WITHOUT_EXTRA |= {"pydantic"}


def test_packages_that_messages_name_are_those_of_the_extras():
    r"""Nobody finds the extras of a package that is on no index: packages are named."""
    extras = PROJECT["optional-dependencies"].values()
    known = modules_of(requirement for extra in extras for requirement in extra)
    found = {
        path: modules_of(packages_to_install(path.read_text(encoding="utf-8")))
        for path in PACKAGE + EXAMPLES
    }
    assert set().union(*found.values()) >= {"matplotlib", "onnx", "rich", "skops"}
    is_unknown = {path: names - known - WITHOUT_EXTRA for path, names in found.items()}
    assert {path: names for path, names in is_unknown.items() if names} == {}
    assert all("sksoftmax" not in names for names in found.values())


# A program in which some modules cannot be imported, as if they were not installed.
WITHOUT = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split(","):
            return None
        return super().find_spec(name, path, target)

sys.meta_path = [Without if f is PathFinder else f for f in sys.meta_path]

import pkgutil
import sksoftmax
for module in pkgutil.walk_packages(sksoftmax.__path__, "sksoftmax."):
    if not module.name.startswith("sksoftmax.persistence._onnx"):
        __import__(module.name)

import warnings
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sksoftmax import SoftmaxMLPClassifier
from sksoftmax.inspection import (
    PredictionsDisplay, ReliabilityDisplay, TrainingCurveDisplay, WeightsDisplay
)
from sksoftmax.persistence import load, save, to_onnx

X, y = load_iris(return_X_y=True, as_frame=True)
# A single epoch of training raises a ConvergenceWarning.
warnings.simplefilter("ignore", ConvergenceWarning)
mlp = SoftmaxMLPClassifier((8,), n_estimators=1, max_epochs=1, verbose=1).fit(X, y)
save(mlp, sys.argv[2])
assert (load(sys.argv[2]).predict_proba(X) == mlp.predict_proba(X)).all()
for use in (
    lambda: PredictionsDisplay.from_estimator(mlp, X, y, image_shape=(2, 2)),
    lambda: ReliabilityDisplay.from_estimator(mlp, X, y),
    lambda: TrainingCurveDisplay.from_estimator(mlp),
    lambda: WeightsDisplay.from_estimator(sksoftmax.SoftmaxRegression().fit(X, y)),
    lambda: to_onnx(mlp, X),
):
    try:
        use()
    except ImportError as error:
        print(error)
"""


def test_without_optional_parts_the_rest_works(tmp_path):
    hidden = ",".join(sorted(set().union(*OPTIONAL.values())))
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT, hidden, str(tmp_path / "mlp")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    fit, *errors = process.stdout.splitlines()
    assert fit.startswith("SoftmaxMLPClassifier: 1 epoch in ")
    displays = ["Predictions", "Reliability", "TrainingCurve", "Weights"]
    needed = {f"{display}Display": "matplotlib" for display in displays}
    needed["to_onnx"] = "onnx onnxruntime skl2onnx"
    for error, (name, packages) in zip(errors, needed.items(), strict=True):
        assert error.startswith(name)
        assert error.endswith(f"Run pip install {packages}.")


def test_wheel_and_sdist_hold_the_package(tmp_path):
    source = tmp_path / "source"
    # The build writes into the sources.
    shutil.copytree(
        ROOT,
        source,
        ignore=shutil.ignore_patterns(".*", "*.egg-info", "build", "__pycache__"),
    )
    process = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, source],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    package = {path.relative_to(ROOT).as_posix() for path in PACKAGE} | {
        "sksoftmax/py.typed"
    }

    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = f"sksoftmax-{wheel.name.split('-')[1]}.dist-info"
    assert {name for name in names if not name.startswith(info)} == package
    assert f"{info}/licenses/LICENSE" in names

    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        files = {m.name.partition("/")[2] for m in archive.getmembers() if m.isfile()}
    assert files >= {*package, "LICENSE", "README.md", "pyproject.toml"}
    folders = {name.partition("/")[0] for name in files if "/" in name}
    assert folders == {"sksoftmax", "sksoftmax.egg-info"}
