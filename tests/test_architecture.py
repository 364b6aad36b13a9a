r"""Architecture: imports between folders, lengths of files, private names, hooks."""

import ast
import io
import re
import tokenize
import types
from pathlib import Path

import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

import sksoftmax
from sksoftmax._classifier.base import BaseSoftmaxClassifier

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sksoftmax"
FILES = sorted(PACKAGE.rglob("*.py"))
COMMENTED_FILES = sorted(
    path
    for folder in ("docs", "examples", "sksoftmax", "tests")
    for path in (ROOT / folder).rglob("*.py")
    if "_build" not in path.parts and "auto_examples" not in path.parts
)

# A folder, or a file at the top, imports from lower floors only.
FLOORS = {
    "__init__": 7,
    "distributed": 6,
    "persistence": 6,
    "tuning": 6,
    "_linear": 5,
    "_nets": 5,
    "_classifier": 4,
    "_encoders": 3,
    "_training": 3,
    "_convex": 2,
    "_data": 2,
    "inspection": 2,
    "datasets": 2,
    "modules": 2,
    "_utils": 1,
}

# Lines of a module.
FEWEST_LINES, MOST_LINES = 40, 450
# Methods of the base of the classifiers that subclasses override.
MOST_OVERRIDDEN = 4

# A comment begins with its subject, not with one of these words.
VAGUE_BEGINNINGS = re.compile(r"#:? *(Of|What|So|Where|Who)\b")

DEPENDENCIES = {"pandas", "safetensors", "scipy", "sklearn", "skorch", "torch"}


def folder_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path):
    r"""Return the folders that a file imports from, inside functions as well."""
    folder = path.relative_to(PACKAGE).parent.parts
    folders = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = folder[: len(folder) - node.level + 1]
            parts = [*above, *(node.module or "").split(".")]
            names = [alias.name for alias in node.names]
            folders |= set(names) if parts == [""] else {parts[0]}
        elif isinstance(node, ast.ImportFrom):
            assert node.module.partition(".")[0] != "sksoftmax", "imports are relative"
    return folders


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def private_imports(tree):
    r"""Return the private names of dependencies that a file imports."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return [
        name
        for name in names
        if name.split(".")[0] in DEPENDENCIES and any(map(is_private, name.split(".")))
    ]


def private_attributes(tree):
    r"""Return the private attributes that a file reads, as expressions.

    Those of ``self``, ``cls`` and ``super()`` are left out.
    """
    return {
        ast.unparse(node): node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and is_private(node.attr)
        and ast.unparse(node.value) not in {"self", "cls", "super()"}
    }


def defined_names(tree):
    r"""Return the names of functions, classes, variables and attributes of a file."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
    return names


TREES = {path: ast.parse(path.read_text()) for path in FILES}
DEFINED = {name for tree in TREES.values() for name in defined_names(tree)}
# Public in spite of the underscore, which keeps the names of the fields free.
NAMED_TUPLE = {"_asdict", "_fields", "_replace"}


def ids(path):
    return path.relative_to(PACKAGE).as_posix()


def test_every_folder_has_a_floor():
    assert {folder_of(path) for path in FILES} == set(FLOORS)


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_imports_come_from_lower_floors(path):
    others = imported(path) & set(FLOORS) - {folder_of(path)}
    assert {name for name in others if FLOORS[name] >= FLOORS[folder_of(path)]} == set()


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_number_of_lines(path):
    n_lines = len(path.read_text().splitlines())
    assert n_lines <= MOST_LINES
    if path.stem not in {"__init__", "compat"}:
        assert n_lines >= FEWEST_LINES


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_private_names_of_dependencies_are_in_one_file(path):
    if path.stem != "compat":
        assert private_imports(TREES[path]) == []
        attributes = private_attributes(TREES[path])
        assert [
            text
            for text, name in attributes.items()
            if name not in DEFINED | NAMED_TUPLE
        ] == []


@pytest.mark.parametrize(
    "path", COMMENTED_FILES, ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_comments_begin_with_their_subject(path):
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    lines = [(t.start[0], t.string) for t in tokens if t.type == tokenize.COMMENT]
    begins = [text for number, text in lines if number - 1 not in dict(lines)]
    assert [text for text in begins if VAGUE_BEGINNINGS.match(text)] == []


def subclasses(cls):
    return {cls}.union(*map(subclasses, cls.__subclasses__()))


def test_subclasses_override_few_methods_of_the_base():
    # The package imports its parts at first use.
    for name in sksoftmax.__all__:
        getattr(sksoftmax, name)
    kinds = (types.FunctionType, property, classmethod, staticmethod)
    overridden = {
        name
        for cls in subclasses(BaseSoftmaxClassifier)
        if cls.__module__.startswith("sksoftmax")
        # Other bases of a subclass, as that of the linear classifiers, override too.
        for ancestor in set(cls.__mro__) - set(BaseSoftmaxClassifier.__mro__)
        for name, value in vars(ancestor).items()
        if isinstance(value, kinds) and hasattr(BaseSoftmaxClassifier, name)
    }
    # The methods of scikit-learn's own classes and dunder methods do not count.
    overridden -= set(dir(BaseEstimator)) | set(dir(ClassifierMixin))
    assert "_plan" in overridden
    assert len(overridden) <= MOST_OVERRIDDEN, overridden
