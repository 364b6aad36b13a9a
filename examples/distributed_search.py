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
# Three candidates and three folds are nine independent fits. Each of them should have
# one thread, or one GPU, for itself.
import joblib
import numpy as np
import torch
from distributed import Client, LocalCluster
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from sksoftmax import SoftmaxMLPClassifier

X, y = load_digits(return_X_y=True)


def run_search(name):
    r"""Return the scores of all fits, and print the best."""
    search = GridSearchCV(
        SoftmaxMLPClassifier((64,), n_estimators=1, max_epochs=4, random_state=0),
        {"learning_rate": [0.003, 0.01, 0.03]},
        cv=3,
        scoring="neg_log_loss",
        refit=False,
    ).fit(X, y)
    print(f"{name}: log loss {-search.best_score_:.4f}")
    return search.cv_results_["mean_test_score"]


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
        scores = run_search("dask")
    print(f"equal: {np.array_equal(scores, serial)}")

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
        scores = run_search("ray")
    ray.shutdown()
    print(f"equal: {np.array_equal(scores, serial)}")


# The workers import this file, and must not start clusters of their own.
if __name__ == "__main__":
    main()
