"""
Ensembles for Otto with features of neighbors
=============================================

Two pipelines, whose first nets have the counts and the features of ``NeighborsEncoder``
for six distances as input. Their probabilities are averaged with those of nets that
have the counts alone. ``make_ensemble`` fits in four times the seconds of LightGBM.
``make_large_ensemble`` is the pipeline of ``otto_kaggle.ipynb``: wider nets, and trees.

``accuracy.py`` imports both. Run with
``python examples/benchmarks/otto_ensembles.py`` for the loss of one fold.
"""

from operator import methodcaller

import numpy as np
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler

from sksoftmax import NeighborsEncoder, SoftmaxMLPClassifier
from sksoftmax.datasets import load_otto

N_COUNTS, N_CLASSES = 93, 9


def presence(counts):
    return (counts > 0) + 0.5 * (counts > 3)


LOGS, ROOTS = FunctionTransformer(np.log1p), FunctionTransformer(np.sqrt)
DENSE = FunctionTransformer(methodcaller("toarray"), accept_sparse=True)
SENSES = {
    "sizes": LOGS,
    "shares": make_pipeline(Normalizer("l1"), ROOTS),
    "directions": make_pipeline(ROOTS, StandardScaler(), Normalizer()),
    "presence": make_pipeline(FunctionTransformer(presence), Normalizer()),
    "components": make_pipeline(LOGS, Normalizer(), PCA(n_components=30)),
    "rarity": make_pipeline(TfidfTransformer(), DENSE),
}


# The features of neighbors, three for each class, need no bins.
N_BINS = [8] * N_COUNTS + [0] * (3 * N_CLASSES * len(SENSES))
COUNTS_ALONE = make_column_transformer(("passthrough", slice(N_COUNTS)))


def make_neighbors(n_jobs):
    r"""Return a union of the counts and of the features of neighbors."""
    encoders = [
        make_pipeline(clone(sense), NeighborsEncoder(n_jobs=n_jobs))
        for sense in SENSES.values()
    ]
    return make_union("passthrough", *encoders)


def make_ensemble(seed, n_informed, n_sure, n_jobs=-1):
    r"""Return a pipeline from counts to the average of two kinds of nets."""
    informed = SoftmaxMLPClassifier(
        n_estimators=n_informed, n_bins=N_BINS, random_state=2 * seed
    )
    # Overconfident nets: an average is less confident than its members.
    sure = SoftmaxMLPClassifier(
        n_estimators=n_sure,
        max_epochs=16,
        weight_decay=0.1,
        early_stopping=False,
        temperature_scaling=False,
        random_state=2 * seed + 1,
    )
    parts = [("informed", informed), ("sure", make_pipeline(COUNTS_ALONE, sure))]
    return make_pipeline(
        make_neighbors(n_jobs), VotingClassifier(parts, voting="soft", weights=[2, 1])
    )


def make_wide_nets(n_estimators, seed):
    r"""Return nets that are wider than the default's, and trained longer."""
    return SoftmaxMLPClassifier(
        (512, 256),
        n_estimators=n_estimators,
        input_dropout=0.3,
        max_epochs=12,
        random_state=seed,
    )


def make_large_ensemble(seed, n_informed=12, n_plain=32, n_trees=250, n_jobs=-1):
    r"""Return a pipeline from counts to the average of two kinds of nets and trees.

    For each class, ``n_trees`` trees are grown.
    """
    plain = make_wide_nets(n_plain, 2 * seed)
    informed = make_wide_nets(n_informed, 2 * seed + 1).set_params(n_bins=N_BINS)
    trees = HistGradientBoostingClassifier(
        max_iter=n_trees,
        learning_rate=0.06,
        max_leaf_nodes=24,
        max_features=0.3,
        l2_regularization=2.0,
        early_stopping=False,
        random_state=seed,
    )
    parts = [
        ("informed", informed),
        ("plain", make_pipeline(COUNTS_ALONE, plain)),
        ("trees", trees),
    ]
    return make_pipeline(
        make_neighbors(n_jobs),
        VotingClassifier(parts, voting="soft", weights=[3, 3, 2]),
    )


if __name__ == "__main__":
    X, y = load_otto(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.2, stratify=y, random_state=0
    )
    ensemble = make_ensemble(seed=0, n_informed=10, n_sure=6).fit(X_train, y_train)
    print(f"log loss {log_loss(y_test, ensemble.predict_proba(X_test)):.4f}")
