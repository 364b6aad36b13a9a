r"""Names of parameters in the tables of the guide exist, ours and those of others."""

import importlib
import inspect
import re

import pytest

import sksoftmax

from .pages import DOCS, sections

MIGRATION = DOCS / "guide" / "migration.md"

# The library of each section, and where its functions are: "" is the first column.
THEIRS = {
    "from-logisticregression": ("sklearn.linear_model", {"": "LogisticRegression"}),
    "from-mlpclassifier": ("sklearn.neural_network", {"": "MLPClassifier"}),
    "from-skorch": ("skorch", {"": "NeuralNetClassifier"}),
    "from-keras": (
        "keras",
        {
            "Adam": "optimizers.Adam",
            "BatchNormalization": "layers.BatchNormalization",
            "Dense": "layers.Dense",
            "Dropout": "layers.Dropout",
            "EarlyStopping": "callbacks.EarlyStopping",
            "Normalization": "layers.Normalization",
            "compile": "Model.compile",
            "fit": "Model.fit",
        },
    ),
    "from-lightgbm": (
        "lightgbm",
        {
            "": "LGBMClassifier",
            "early_stopping": "early_stopping",
            "fit": "LGBMClassifier.fit",
        },
    ),
}


def rows_of(section):
    r"""Return our class, and the names of each row: (theirs, ours)."""
    table = re.findall(r"^\| (.+?) \| (.+?) \|(.*)\|$", section, re.MULTILINE)
    [(_, ours, _), *rows] = table
    names = [[re.findall(r"`([^`=]+)[^`]*`", cell) for cell in row[:2]] for row in rows]
    return getattr(sksoftmax, ours.strip("`")), names


def split(name):
    r"""Return the function, if any, and the parameter of `function(parameter)`."""
    function, parameter = re.fullmatch(r"(?:(\w+)\()?(\w+)\)?", name).groups()
    return function or "", parameter


def parameters_of(function):
    r"""Return the names of the parameters; of a class, of its bases as well."""
    classes = inspect.getmro(function) if inspect.isclass(function) else [function]
    return set().union(*(inspect.signature(cls).parameters for cls in classes))


@pytest.mark.parametrize("section", THEIRS)
def test_our_names_exist(section):
    cls, rows = rows_of(sections(MIGRATION)[section])
    assert len(rows) > 10
    for _, ours in rows:
        for name in ours:
            function, parameter = split(name)
            method = getattr(cls, function or "__init__")
            assert parameter in inspect.signature(method).parameters, name


@pytest.mark.parametrize("section", THEIRS)
def test_their_names_exist(section, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    library, places = THEIRS[section]
    module = pytest.importorskip(library)
    _, rows = rows_of(sections(MIGRATION)[section])
    for theirs, _ in rows:
        assert theirs
        for name in theirs:
            function, parameter = split(name)
            found = module
            for part in places[function].split("."):
                found = getattr(found, part)
            assert parameter in parameters_of(found), name


@pytest.mark.parametrize("section", ["from-logisticregression", "from-mlpclassifier"])
def test_a_table_has_all_parameters_of_scikit_learn(section):
    library, places = THEIRS[section]
    theirs = getattr(importlib.import_module(library), places[""])
    _, rows = rows_of(sections(MIGRATION)[section])
    named = {name for names, _ in rows for name in names}
    deprecated = {"loss", "penalty"}
    assert set(inspect.signature(theirs).parameters) - deprecated == named


@pytest.mark.parametrize("section", THEIRS)
def test_the_error_for_a_name_of_theirs_agrees_with_the_table(section):
    cls, rows = rows_of(sections(MIGRATION)[section])
    known = inspect.signature(cls).parameters
    for theirs, ours in rows:
        for function, parameter in map(split, theirs):
            if function or parameter in known or not ours:
                continue
            with pytest.raises(TypeError) as caught:
                cls(**{parameter: 1})
            hint = str(caught.value).partition("Expected names among")[0]
            if re.search(r"\b(?:Use|Pass|Did you mean) ", hint):
                assert any(split(name)[1] in hint for name in ours), hint
