"""The private names of dependencies that the package uses.

A release that drops one may keep the package from being imported: run this file with
``--noconftest`` then, it names all that are missing.
"""

import ast
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import check_scoring, make_scorer

COMPAT = Path(__file__).parents[2] / "sksoftmax" / "_utils" / "compat.py"

# Used where they exist: older or newer releases of PyTorch have others.
OPTIONAL = {
    "torch.cpu._is_amx_tile_supported",
    "torch.cpu._is_avx512_bf16_supported",
}

# Methods that a class of the package inherits, or overrides.
INHERITED = [
    "sklearn.base.BaseEstimator._validate_params",
    "sklearn.base.BaseEstimator._doc_link_module",
    "sklearn.base.BaseEstimator._doc_link_template",
    "sklearn.model_selection.GridSearchCV._check_refit_for_multimetric",
    "sklearn.model_selection.GridSearchCV._format_results",
    "sklearn.model_selection.GridSearchCV._get_routed_params_for_fit",
    "sklearn.model_selection.GridSearchCV._get_scorers",
    "sklearn.model_selection.GridSearchCV._select_best_index",
    "skorch.NeuralNetClassifier._set_training",
]


def module_names():
    r"""Return the dotted name of each attribute of a module that compat.py uses."""
    tree = ast.parse(COMPAT.read_text())
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules |= {a.name: f"{node.module}.{a.name}" for a in node.names}
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            root, *attributes = ast.unparse(node).split(".")
            if root in modules:
                names.add(".".join([modules[root], *attributes]))
    return sorted(name for name in names if "._" in name and "__" not in name)


def resolve(name):
    parts = name.split(".")
    value = import_module(parts[0])
    for index, part in enumerate(parts[1:], 2):
        if not hasattr(value, part) and find_spec(".".join(parts[:index])) is not None:
            import_module(".".join(parts[:index]))
        value = getattr(value, part)
    return value


@pytest.mark.parametrize("name", [*module_names(), *INHERITED])
def test_private_name_exists(name):
    assert resolve(name) is not None


def multimetric_scorer():
    return check_scoring(LogisticRegression(), scoring=["accuracy", "f1"])


OBJECTS = {
    "_score_func": lambda: make_scorer(len),
    "_kwargs": lambda: make_scorer(len),
    "_response_method": lambda: make_scorer(len),
    "_scorers": multimetric_scorer,
    "_forward_pre_hooks": lambda: torch.nn.Flatten(),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_private_attribute_exists(name):
    assert hasattr(OBJECTS[name](), name)


class TestCallbacks:
    def test_private_attributes_of_callbacks_exist(self):
        callback = pytest.importorskip("sklearn.callback")
        mixin = callback.CallbackSupportMixin()
        assert callable(mixin._init_callback_context)
        mixin.set_callbacks(callback.ProgressBar())
        assert mixin._skl_callbacks
