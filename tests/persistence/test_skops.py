r"""Classifiers in skops files and pickles."""

import copy
import io
import pickle
import re

import joblib
import numpy as np
import pytest
import skops.io
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array, csr_matrix
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skops.card import Card
from skops.io.exceptions import UntrustedTypesFoundException

from sksoftmax import (
    NeighborsEncoder,
    SoftmaxGridSearchCV,
    SoftmaxRegression,
)
from sksoftmax.persistence import TRUSTED_TYPES

from ..pipeline_steps import LABELS, STEPS
from .classifiers import (
    CASES,
    check_same_predictions,
    iris,
    mlp,
    same,
    table,
)


def twice(X):
    return 2 * X


def test_skops_stores_a_search():
    X, y = load_iris(return_X_y=True)
    search = SoftmaxGridSearchCV(SoftmaxRegression(), {"C": [0.1, 1.0]}).fit(X, y)
    loaded = skops.io.loads(skops.io.dumps(search), trusted=TRUSTED_TYPES)
    assert loaded.score(X, y) == search.score(X, y)


def test_skops_stores_data_only(fitted):
    classifier, X, y = fitted
    stored = skops.io.dumps(classifier)
    [name] = skops.io.get_untrusted_types(data=stored)
    assert name in TRUSTED_TYPES
    loaded = skops.io.loads(stored, trusted=TRUSTED_TYPES)
    check_same_predictions(classifier, loaded, X, y)
    assert vars(loaded).keys() == vars(classifier).keys()
    with pytest.raises(UntrustedTypesFoundException, match=type(classifier).__name__):
        skops.io.loads(stored)


def test_skops_stores_pipelines(tmp_path):
    X, y = table()
    columns = ["number", "coded"]
    pipeline = make_pipeline(
        ColumnTransformer([("scale", StandardScaler(), columns)]), mlp()
    ).fit(X, y)
    skops.io.dump(pipeline, tmp_path / "pipeline.skops")
    loaded = skops.io.load(tmp_path / "pipeline.skops", trusted=TRUSTED_TYPES)
    assert same(pipeline.predict_proba(X), loaded.predict_proba(X))
    loaded[-1].partial_fit(loaded[:-1].transform(X), y)


@pytest.mark.parametrize("name", STEPS)
def test_skops_stores_pipelines_with_steps_of_scikit_learn(name):
    step, X = STEPS[name]
    pipeline = make_pipeline(clone(step), SoftmaxRegression(max_iter=3, tol=1.0))
    proba = pipeline.fit(X, LABELS).predict_proba(X)
    loaded = skops.io.loads(skops.io.dumps(pipeline), trusted=TRUSTED_TYPES)
    assert_array_equal(loaded.predict_proba(X), proba)


@pytest.mark.parametrize(
    "step", [FunctionTransformer(twice), CountVectorizer(tokenizer=twice)]
)
def test_skops_does_not_load_functions_of_users(step):
    stored = skops.io.dumps(make_pipeline(step, SoftmaxRegression()))
    with pytest.raises(UntrustedTypesFoundException):
        skops.io.loads(stored, trusted=TRUSTED_TYPES)


@pytest.mark.parametrize("form", [np.asarray, csr_array, csr_matrix])
def test_neighbors_are_searched_the_same_after_loading(form):
    # For up to 15 features, scikit-learn keeps a tree, which skops does not trust.
    X = np.random.default_rng(0).poisson(1.0, size=(200, 3)).astype(float)
    encoder = NeighborsEncoder(n_neighbors=4).fit(form(X), np.arange(200) % 3)
    new = form(X + 1)
    for loaded in (
        skops.io.loads(skops.io.dumps(encoder), trusted=TRUSTED_TYPES),
        pickle.loads(pickle.dumps(encoder)),
        copy.deepcopy(encoder),
    ):
        assert_array_equal(loaded.transform(new), encoder.transform(new))
        assert_array_equal(
            loaded.neighbors_[0].kneighbors()[1], encoder.neighbors_[0].kneighbors()[1]
        )


def test_neighbors_of_a_tampered_file_are_refused():
    X = csr_array(np.eye(6))
    state = NeighborsEncoder(n_neighbors=2).fit(X, [0, 1] * 3).__getstate__()
    n_neighbors, (data, indices, indptr, shape) = state["neighbors_"][0]
    state["neighbors_"][0] = n_neighbors, (data, indices + 1000, indptr, shape)
    with pytest.raises(ValueError, match="indices"):
        NeighborsEncoder().__setstate__(state)


def test_skops_stores_unfitted_classifiers():
    loaded = skops.io.loads(skops.io.dumps(mlp()), trusted=TRUSTED_TYPES)
    assert repr(loaded) == repr(mlp())
    with pytest.raises(NotFittedError):
        loaded.predict(iris()[0])


@pytest.mark.parametrize("name", ["regression", "cv", "mlp", "cnn"])
def test_model_cards_show_parameters_and_diagram(name, tmp_path):
    classifier, make_data = CASES[name]
    model = make_pipeline(FunctionTransformer(), clone(classifier)).fit(*make_data())
    card = Card(model).add_metrics(accuracy=0.9)
    card.save(tmp_path / "README.md")
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    step = type(classifier).__name__.lower()
    for parameter in classifier.get_params():
        assert f"{step}__{parameter} " in text
    assert text.count("sk-top-container") >= 1
    assert re.search(r"\| accuracy +\| +0\.9 +\|", text)


def test_pickle_and_joblib_keep_the_net(fitted):
    classifier, X, y = fitted
    file = io.BytesIO()
    joblib.dump(classifier, file)
    file.seek(0)
    for copied in (pickle.loads(pickle.dumps(classifier)), joblib.load(file)):
        check_same_predictions(classifier, copied, X, y)
        assert copied.net_.module_ is copied.module_
        assert len(copied.net_.history) == len(classifier.net_.history)
