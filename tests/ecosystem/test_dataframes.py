r"""Tables of pandas and polars, and transformers that return them."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..factories import MLP, for_each_class, same_bits


@for_each_class
def test_pandas_table(make, iris, iris_frame):
    (X, y), (frame, _) = iris, iris_frame
    model = make().fit(frame, pd.Series(y))
    assert model.feature_names_in_.tolist() == frame.columns.tolist()
    assert same_bits(model.predict_proba(frame), make().fit(X, y).predict_proba(X))


@for_each_class
def test_polars_table(make, iris, iris_frame):
    (X, y), (frame, _) = iris, iris_frame
    frame = pl.DataFrame({name: frame[name].to_numpy() for name in frame})
    model = make().fit(frame, pl.Series(y.tolist()))
    assert model.feature_names_in_.tolist() == frame.columns
    assert same_bits(model.predict_proba(frame), make().fit(X, y).predict_proba(X))
    assert set(model.predict(frame)) <= set(y)


def test_pandas_table_of_mixed_dtypes(iris):
    X, y = iris
    frame = pd.DataFrame(
        {
            "float32": X[:, 0].astype(np.float32),
            "int8": np.round(10 * X[:, 1]).astype(np.int8),
            "bool": X[:, 2] > 0,
            "nullable": pd.array(np.round(X[:, 3]), dtype="Int64"),
        }
    )
    # By its dtype, the column "bool" would be a category.
    model = MLP(categorical_features=None).fit(frame, y)
    plain = frame.astype(np.float64).to_numpy()
    expected = MLP().fit(plain, y).predict_proba(plain)
    np.testing.assert_allclose(model.predict_proba(frame), expected, atol=1e-5)


@for_each_class
@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_pandas_output_and_polars_output_name_the_features(make, container, iris_frame):
    frame, y = iris_frame
    scaler = StandardScaler().set_output(transform=container)
    pipeline = make_pipeline(scaler, make()).fit(frame, y)
    assert pipeline[-1].feature_names_in_.tolist() == frame.columns.tolist()
    assert pipeline.score(frame, y) > 0.85
