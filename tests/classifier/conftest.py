r"""Tables that the tests of this folder share, and classifiers fitted to iris."""

import pytest

from .. import factories


@pytest.fixture(scope="session")
def iris():
    return factories.standardized_iris()


@pytest.fixture(scope="session")
def named_iris():
    return factories.named_iris()


@pytest.fixture(scope="session")
def cancer():
    return factories.standardized_cancer()


@pytest.fixture(scope="session")
def digits():
    return factories.few_digits()


@pytest.fixture(scope="session")
def noisy():
    return factories.noisy_tables()


@pytest.fixture(scope="session")
def fitted(iris):
    r"""Return a function that fits each classifier to iris only once."""
    models = {}

    def fit(make):
        if make not in models:
            models[make] = make().fit(*iris)
        return models[make]

    return fit
