r"""Files saved by older versions load and predict as they did (see files/README.md)."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits, load_iris

from sksoftmax.persistence import load

FILES = Path(__file__).parent / "files"


def iris():
    return load_iris().data[::10]


def table():
    X, y = load_iris(return_X_y=True)
    category = np.array(["a", "b", "c"])[y].astype(object)
    frame = pd.DataFrame({"number": X[:, 2], "category": category})
    frame.loc[::7, "number"] = np.nan
    frame.loc[::5, "category"] = None
    return frame[::10]


def digits():
    return load_digits().data[::100]


@pytest.mark.parametrize(
    ("name", "make_rows"), [("regression", iris), ("mlp", table), ("cnn", digits)]
)
def test_files_of_version_0_1_predict_the_same(name, make_rows):
    classifier = load(FILES / f"{name}.safetensors")
    expected = np.load(FILES / "expected.npz")[name]
    # Bits differ between processors.
    np.testing.assert_allclose(
        classifier.predict_proba(make_rows()), expected, rtol=0, atol=1e-6
    )


def test_saved_regression_has_its_labels_and_parameters():
    classifier = load(FILES / "regression.safetensors")
    assert classifier.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert repr(classifier) == "SoftmaxRegression(device='cpu')"
