r"""Searches on a local cluster of Dask equal the serial ones.

With Ray: the test of ``examples/distributed_search.py``.
"""

import distributed
import joblib
import numpy as np
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksoftmax import SoftmaxMLPClassifier

X, y = load_iris(return_X_y=True)
y = np.array(["setosa", "versicolor", "virginica"])[y]
PIPELINE = make_pipeline(
    StandardScaler(),
    SoftmaxMLPClassifier((8,), n_estimators=2, max_epochs=3, random_state=0),
)


def search():
    r"""Return the scores of a search and of a cross-validation."""
    grid = {"softmaxmlpclassifier__learning_rate": [0.003, 0.03]}
    found = GridSearchCV(PIPELINE, grid, cv=2, scoring="neg_log_loss").fit(X, y)
    scores = [found.cv_results_[f"split{fold}_test_score"] for fold in range(2)]
    probabilities = found.predict_proba(X)
    return np.array(scores), probabilities, cross_val_score(PIPELINE, X, y, cv=2)


def check_equal(results, expected):
    for found, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_dask_search_equals_the_serial_one():
    expected = search()
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            host="127.0.0.1",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        threads = client.run(lambda: __import__("torch").get_num_threads())
        assert list(threads.values()) == [1, 1]
        with joblib.parallel_config("dask", scatter=[X]):
            results = search()
        # Both workers of the cluster ran tasks.
        ran = client.run(lambda dask_worker: len(dask_worker.state.log))
        assert sum(count > 0 for count in ran.values()) == 2
    check_equal(results, expected)
