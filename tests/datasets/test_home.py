r"""Folders and parameters that the loaders share."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import get_data_home

from sksoftmax import datasets
from sksoftmax.datasets import (
    fetch_fashion_mnist,
    fetch_mnist,
    load_otto,
)

from .files import (
    FETCHERS,
    write_images,
)


def test_import_needs_neither_pandas_nor_torchvision():
    # An empty package stands for sksoftmax, whose __init__.py imports the estimators.
    # None makes an import fail.
    script = (
        "import sys, types; sys.modules.update(pandas=None, torchvision=None); "
        "package = sys.modules['sksoftmax'] = types.ModuleType('sksoftmax'); "
        "package.__path__ = [sys.argv[1]]; "
        "from sksoftmax import datasets; print(datasets.__all__)"
    )
    folder = Path(datasets.__file__).parents[1]
    run = [sys.executable, "-c", script, folder]
    result = subprocess.run(run, check=True, capture_output=True, text=True)
    assert result.stdout.strip() == str(datasets.__all__)


def test_argument_then_variable_then_home_of_scikit_learn(tmp_path, monkeypatch):
    written = {}
    for seed, place in enumerate(("given", "variable", "sklearn/sksoftmax")):
        written[place] = write_images(tmp_path / place, seed=seed)["train"][1]
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "sklearn"))
    default = fetch_mnist()
    monkeypatch.setenv("SKSOFTMAX_DATA", str(tmp_path / "variable"))
    variable = fetch_mnist()
    given_home = fetch_mnist(data_home=tmp_path / "given")
    np.testing.assert_array_equal(default.target, written["sklearn/sksoftmax"])
    np.testing.assert_array_equal(variable.target, written["variable"])
    np.testing.assert_array_equal(given_home.target, written["given"])
    assert Path(get_data_home()) == tmp_path / "sklearn"


def test_tilde_is_the_home_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("SCIKIT_LEARN_DATA")
    write_images(tmp_path / "scikit_learn_data" / "sksoftmax")
    write_images(tmp_path / "mine", n_train=2)
    assert len(fetch_mnist().target) == 7
    assert len(fetch_mnist(data_home="~/mine").target) == 2


@pytest.mark.parametrize("load", [fetch_mnist, fetch_fashion_mnist, load_otto])
@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("data_home", 3),
        ("subset", "validation"),
        ("download_if_missing", "no"),
        ("return_X_y", None),
    ],
)
def test_invalid_parameters(load, parameter, value):
    message = f"The '{parameter}' parameter of {load.__name__} must be"
    with pytest.raises(ValueError, match=message):
        load(**{parameter: value})


@pytest.mark.parametrize("fetch", FETCHERS.values())
def test_invalid_as_frame(fetch):
    message = f"The 'as_frame' parameter of {fetch.__name__} must be"
    with pytest.raises(ValueError, match=message):
        fetch(as_frame="auto")


def test_otto_does_not_have_all_rows_in_one_table():
    with pytest.raises(ValueError, match="The 'subset' parameter of load_otto must be"):
        load_otto(subset="all")
