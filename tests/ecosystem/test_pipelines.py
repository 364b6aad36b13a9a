r"""The classifiers behind scikit-learn's transformers."""

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from ..factories import for_each_class, same_bits


@for_each_class
def test_pipeline(make, three_or_eight):
    X, y = three_or_eight
    pipeline = make_pipeline(StandardScaler(), make()).fit(X[::2], y[::2])
    assert pipeline.score(X[1::2], y[1::2]) > 0.9
    scaled = pipeline[0].transform(X)
    assert same_bits(pipeline.predict_proba(X), pipeline[1].predict_proba(scaled))


@for_each_class
def test_column_transformer(make, iris_frame):
    frame, y = iris_frame
    frame = frame.assign(color=np.where(y == "setosa", "red", "green"))
    transformer = ColumnTransformer(
        [
            ("numbers", StandardScaler(), frame.columns[:2].tolist()),
            ("words", OneHotEncoder(), ["color"]),
        ]
    )
    pipeline = make_pipeline(transformer, make()).fit(frame, y)
    assert pipeline[-1].n_features_in_ == 4
    # Only the color separates setosa in each row.
    recall = pipeline.predict(frame)[y == "setosa"] == "setosa"
    assert recall.mean() == 1.0
