r"""
A search on a cluster
=====================

scikit-learn's searches run their fits by joblib, and joblib runs them on Dask or Ray in
one more line. The results are the same as without it. Here, both clusters are two
processes of this computer; the address of a scheduler in place of ``LocalCluster`` uses
many computers. Needs
``pip install dask distributed ray``, and takes about half a minute, most of it for
starting the clusters.
"""

# %%
# The search
# ----------
# Two candidates and three folds are six independent fits. Each of them should have one
# thread, or one GPU, for itself.
import joblib
import numpy as np
import torch
from distributed import Client, LocalCluster
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksoftmax import SoftmaxMLPClassifier

iris = load_iris()
X, y = iris.data, iris.target_names[iris.target]


def run_search(name):
    r"""Return all scores and the probabilities, and print the best score."""
    pipeline = make_pipeline(
        StandardScaler(),
        SoftmaxMLPClassifier((8,), n_estimators=2, max_epochs=20, random_state=0),
    )
    search = GridSearchCV(
        pipeline,
        {"softmaxmlpclassifier__learning_rate": [0.01, 0.03]},
        cv=3,
        scoring="neg_log_loss",
    ).fit(X, y)
    print(f"{name}: log loss {-search.best_score_:.4f}")
    scores = [search.cv_results_[f"split{fold}_test_score"] for fold in range(3)]
    return np.hstack([np.ravel(scores), np.ravel(search.predict_proba(X))])


def main():
    r"""Search serially, then on each cluster that is installed."""
    # The same number as in each worker: sums over more threads are rounded differently.
    torch.set_num_threads(1)
    serial = run_search("serial")

    # %%
    # Dask
    # ----
    # ``scatter`` sends the table to the workers once, not once for each fit.
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as local,
        Client(local),
        joblib.parallel_config("dask", scatter=[X]),
    ):
        results = run_search("dask")
    print(f"equal: {np.array_equal(results, serial)}")

    # %%
    # Ray
    # ---
    # Ray puts the table into its object store, which all workers of a computer read.
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError:
        print("ray is not installed")
        return
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    register_ray()
    with joblib.parallel_config("ray", n_jobs=2):
        results = run_search("ray")
    ray.shutdown()
    print(f"equal: {np.array_equal(results, serial)}")


# The workers import this file, and must not start clusters of their own.
if __name__ == "__main__":
    main()
