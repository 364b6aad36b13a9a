r"""Fixtures of the tests of files: fitted classifiers, and a path."""

import pytest
from sklearn.base import clone

from .classifiers import (
    CASES,
)


@pytest.fixture(scope="session", params=CASES)
def fitted(request):
    classifier, make_data = CASES[request.param]
    X, y = make_data()
    return clone(classifier).fit(X, y), X, y


@pytest.fixture
def path(tmp_path):
    return tmp_path / "classifier.safetensors"
