r"""Tables that the tests of this folder share."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits, load_iris

from .. import factories


@pytest.fixture(scope="session")
def iris():
    return factories.named_iris()


@pytest.fixture(scope="session")
def iris_frame(iris):
    return pd.DataFrame(iris[0], columns=load_iris().feature_names), iris[1]


@pytest.fixture(scope="session")
def cancer():
    return factories.standardized_cancer()


@pytest.fixture(scope="session")
def three_or_eight():
    X, y = load_digits(return_X_y=True)
    rows = np.isin(y, [3, 8])
    return X[rows] / 16, y[rows]
