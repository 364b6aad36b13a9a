r"""Results of our grid search against those of scikit-learn's."""

from functools import partial

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer, log_loss
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    ShuffleSplit,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sksoftmax import SoftmaxGridSearchCV, SoftmaxRegression

from .searches import CS, assert_same_search, scaled


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer])
@pytest.mark.parametrize("scoring", [None, "neg_log_loss"])
def test_classifier_alone(load, scoring, group_sizes):
    X, y = load(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    ours = assert_same_search(
        SoftmaxRegression(), {"C": CS}, X, y, scoring=scoring, return_train_score=True
    )
    assert group_sizes == [4] * 5
    alone = SoftmaxRegression(ours.best_params_["C"]).fit(X, y)
    assert_allclose(ours.best_estimator_.coef_, alone.coef_, atol=1e-4)


@pytest.mark.parametrize("refit", ["loss", False, lambda results: 1])
def test_several_scores(refit):
    X, y = load_wine(return_X_y=True)
    scoring = {"loss": "neg_log_loss", "accuracy": "accuracy"}
    grid = {"clf__C": CS}
    params = {"cv": 3, "refit": refit, "scoring": scoring, "return_train_score": True}
    if refit == "loss":
        ours = assert_same_search(scaled(), grid, X, y, **params)
        assert list(ours.scorer_) == ["loss", "accuracy"]
        return
    ours = SoftmaxGridSearchCV(scaled(), grid, **params).fit(X, y)
    theirs = GridSearchCV(scaled(), grid, **params).fit(X, y)
    assert list(ours.cv_results_) == list(theirs.cv_results_)
    assert set(vars(ours)) == set(vars(theirs)) - {"_checked_cv_orig"}
    if refit:
        assert ours.best_params_ == {"clf__C": 0.1}


def scores_of_two_kinds(estimator, X, y):
    return {
        "loss": -log_loss(y, estimator.predict_proba(X)),
        "accuracy": estimator.score(X, y),
    }


def test_callable_returns_several_scores():
    X, y = load_wine(return_X_y=True)
    params = {"scoring": scores_of_two_kinds, "cv": 3}
    ours = SoftmaxGridSearchCV(scaled(), {"clf__C": CS}, refit="loss", **params)
    theirs = GridSearchCV(scaled(), {"clf__C": CS}, refit="loss", **params)
    ours.fit(X, y)
    theirs.fit(X, y)
    assert list(ours.cv_results_) == list(theirs.cv_results_)
    assert ours.best_score_ == pytest.approx(theirs.best_score_, abs=1e-6)
    with pytest.raises(ValueError, match="refit must be set to a scorer key"):
        SoftmaxGridSearchCV(scaled(), {"clf__C": CS}, **params).fit(X, y)


def test_sample_weight_through_the_pipeline():
    X, y = load_iris(return_X_y=True)
    weight = np.random.default_rng(0).integers(0, 4, len(y)).astype(float)
    fit_params = {"clf__sample_weight": weight, "scale__sample_weight": weight}
    ours = assert_same_search(
        scaled(), {"clf__C": CS}, X, y, fit_params, scoring="neg_log_loss"
    )
    unweighted = clone(ours).fit(X, y)
    assert abs(ours.best_score_ - unweighted.best_score_) > 1e-3


def test_sample_weight_of_the_classifier_alone():
    X, y = load_iris(return_X_y=True)
    weight = np.random.default_rng(0).integers(1, 4, len(y)).astype(float)
    assert_same_search(
        SoftmaxRegression(class_weight="balanced"),
        {"C": CS},
        X,
        y,
        {"sample_weight": weight},
    )


def test_metadata_routing(group_sizes):
    X, y = load_iris(return_X_y=True)
    weight = np.random.default_rng(0).integers(0, 4, len(y)).astype(float)
    groups = np.arange(len(y)) % 7
    with sklearn.config_context(enable_metadata_routing=True):
        scale = StandardScaler().set_fit_request(sample_weight=False)
        classifier = SoftmaxRegression().set_fit_request(sample_weight=True)
        scorer = get_scorer("neg_log_loss").set_score_request(sample_weight=True)
        pipeline = Pipeline([("scale", scale), ("clf", classifier)])
        fit_params = {"sample_weight": weight, "groups": groups}
        ours = SoftmaxGridSearchCV(
            pipeline, {"clf__C": CS}, cv=GroupKFold(3), scoring=scorer
        ).fit(X, y, **fit_params)
        theirs = GridSearchCV(**ours.get_params(deep=False)).fit(X, y, **fit_params)
        unweighted = clone(ours).fit(X, y, groups=groups)
    expected = theirs.cv_results_["mean_test_score"]
    assert_allclose(ours.cv_results_["mean_test_score"], expected, atol=1e-6)
    assert abs(ours.best_score_ - unweighted.best_score_) > 1e-3
    assert group_sizes == [4] * 6


def test_frame_with_columns_of_several_kinds_and_text_labels(group_sizes):
    X, y = load_iris(return_X_y=True, as_frame=True)
    X["color"] = pd.Series(["red", "blue", "green"] * 50)
    y = y.map({0: "setosa", 1: "versicolor", 2: "virginica"})
    pipeline = make_pipeline(
        make_column_transformer(
            (StandardScaler(), X.columns[:4]), (OneHotEncoder(), ["color"])
        ),
        SoftmaxRegression(),
    )
    ours = assert_same_search(pipeline, {"softmaxregression__C": CS}, X, y)
    assert group_sizes == [4] * 5
    assert_array_equal(ours.feature_names_in_, X.columns)
    assert list(ours.classes_) == ["setosa", "versicolor", "virginica"]


def test_text_to_sparse_rows(group_sizes):
    rng = np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(60)])
    y = np.array(["spam", "ham"] * 60)
    texts = [
        " ".join(rng.choice(words[:40] if label == "spam" else words[20:], 15))
        for label in y
    ]
    pipeline = make_pipeline(TfidfVectorizer(), SoftmaxRegression())
    grid = {"softmaxregression__C": CS, "tfidfvectorizer__min_df": [1, 3]}
    assert_same_search(pipeline, grid, texts, y, scoring="roc_auc", cv=3)
    assert group_sizes == [4] * 6


def test_sparse_rows_for_the_classifier_alone():
    X, y = load_digits(return_X_y=True)
    X = csr_array(X[:200] / 16)
    params = {"scoring": "neg_log_loss", "cv": 3}
    assert_same_search(SoftmaxRegression(), {"C": [0.1, 1.0]}, X, y[:200], **params)


def test_random_and_given_splits():
    X, y = load_wine(return_X_y=True)
    drawn = ShuffleSplit(3, test_size=0.3, random_state=0)
    given = iter(list(StratifiedKFold(4).split(X, y)))
    for cv, n_splits in ((drawn, 3), (given, 4)):
        search = SoftmaxGridSearchCV(scaled(), {"clf__C": CS}, cv=cv).fit(X, y)
        assert search.n_splits_ == n_splits
    theirs = GridSearchCV(scaled(), {"clf__C": CS}, cv=StratifiedKFold(4)).fit(X, y)
    expected = theirs.cv_results_["mean_test_score"]
    assert_allclose(search.cv_results_["mean_test_score"], expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"at least one; got 0"):
        SoftmaxGridSearchCV(scaled(), {"clf__C": CS}, cv=[]).fit(X, y)


# A fork beside the threads of PyTorch: new interpreters would take seconds to import.
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_two_processes():
    X, y = load_wine(return_X_y=True)
    params = {"cv": 4, "n_jobs": 2, "scoring": "neg_log_loss"}
    with joblib.parallel_config("multiprocessing"):
        ours = assert_same_search(scaled(), {"clf__C": CS}, X, y, **params)
    alone = clone(ours).set_params(n_jobs=1).fit(X, y)
    for fold in range(4):
        scores, expected = (
            search.cv_results_[f"split{fold}_test_score"] for search in (ours, alone)
        )
        assert_allclose(scores, expected, atol=1e-6)


def test_nested_in_a_cross_validation():
    X, y = load_iris(return_X_y=True)
    search = SoftmaxGridSearchCV(scaled(), {"clf__C": CS}, cv=2)
    assert cross_val_score(search, X, y, cv=3).mean() > 0.9


def test_unknown_parameter_name_raises():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="Invalid parameter 'D'"):
        SoftmaxGridSearchCV(SoftmaxRegression(), {"D": [1]}).fit(X, y)


@pytest.mark.parametrize("dtype", [bool, int, float])
@pytest.mark.parametrize("estimator", [SoftmaxRegression(), LogisticRegression()])
def test_labels_of_dtype_object_are_scored(dtype, estimator):
    # The classifiers learn from them; scikit-learn's scorers refuse them.
    X = np.random.default_rng(0).normal(size=(60, 3))
    y = (X[:, 0] > 0).astype(dtype)
    grid = {"C": [0.001, 1.0]}
    expected, search = (
        SoftmaxGridSearchCV(clone(estimator), grid, scoring="neg_log_loss").fit(
            X, labels
        )
        for labels in (y, y.astype(object))
    )
    assert_array_equal(
        search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
    )
    assert search.best_params_ == {"C": 1.0}
    assert search.score(X, y.astype(object)) == expected.score(X, y)


def _labels(kind, y):
    text = np.array(["a", "b"])[y]
    if kind == "tensor":
        return torch.tensor(y, dtype=torch.bfloat16).requires_grad_()
    if kind == "index":
        return pd.Index(text)
    if kind == "numpy string":
        return text.astype(np.dtypes.StringDType())
    return memoryview(y)


@pytest.mark.parametrize("kind", ["tensor", "index", "numpy string", "memoryview"])
def test_labels_in_every_container_of_the_classifier(kind):
    X = np.random.default_rng(0).normal(size=(60, 3))
    y = _labels(kind, (X[:, 0] > 0).astype(int))
    search = SoftmaxGridSearchCV(SoftmaxRegression(), {"C": [0.001, 1.0]}).fit(X, y)
    assert search.score(X, y) == search.best_estimator_.score(X, y) > 0.9


@pytest.mark.parametrize(
    "make", [list, np.array, pd.Series, partial(pd.Series, dtype="string")]
)
def test_missing_labels_raise_the_error_of_the_classifier(make):
    X = np.random.default_rng(0).normal(size=(60, 3))
    y = make([None, "a", "b"] * 20)
    search = SoftmaxGridSearchCV(SoftmaxRegression(), {"C": [0.001, 1.0]})
    with pytest.raises(ValueError, match="20 of 60 labels are missing"):
        search.fit(X, y)
