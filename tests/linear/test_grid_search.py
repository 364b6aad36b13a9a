r"""Our grid search against scikit-learn's, and that it shares the work."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
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

import sksoftmax._linear.grid_search_fits
from sksoftmax import SoftmaxGridSearchCV, SoftmaxRegression

CS = [0.01, 0.1, 1.0, 10.0]
TIMES = {f"{kind}_{part}_time" for kind in ("mean", "std") for part in ("fit", "score")}


class CountingScaler(StandardScaler):
    r"""Counts the fits of all its instances."""

    n_fits = 0

    def fit(self, X, y=None, sample_weight=None):
        CountingScaler.n_fits += 1
        return super().fit(X, y, sample_weight)


@pytest.fixture(autouse=True)
def _count_anew():
    CountingScaler.n_fits = 0


@pytest.fixture
def together(monkeypatch):
    r"""The numbers of classifiers that were fitted together, in order."""
    sizes = []

    def counted(classifiers, *args):
        sizes.append(len(classifiers))
        return fit(classifiers, *args)

    fit = sksoftmax._linear.grid_search_fits.fit_together
    monkeypatch.setattr(sksoftmax._linear.grid_search_fits, "fit_together", counted)
    return sizes


def scaled(**params):
    return Pipeline([("scale", StandardScaler()), ("clf", SoftmaxRegression(**params))])


def assert_same_search(estimator, grid, X, y, fit_params=None, **params):
    r"""Search with both, compare everything but times; return ours."""
    fit_params = {} if fit_params is None else fit_params
    ours = SoftmaxGridSearchCV(estimator, grid, **params).fit(X, y, **fit_params)
    theirs = GridSearchCV(estimator, grid, **params).fit(X, y, **fit_params)
    assert list(ours.cv_results_) == list(theirs.cv_results_)
    for name, expected in theirs.cv_results_.items():
        got = ours.cv_results_[name]
        if name in TIMES:
            assert (got >= 0).all()
        elif name == "params" or name.startswith("param_"):
            assert str(got) == str(expected)
        else:
            assert_allclose(got, expected, atol=1e-6, err_msg=name)
    for name in ("best_index_", "multimetric_", "n_splits_"):
        assert getattr(ours, name, None) == getattr(theirs, name, None)
    assert set(vars(ours)) == set(vars(theirs)) - {"_checked_cv_orig"}
    if ours.refit:
        assert str(ours.best_params_) == str(theirs.best_params_)
        assert type(ours.best_estimator_) is type(theirs.best_estimator_)
        mine, yours = ours.predict_proba(X), theirs.predict_proba(X)
        assert_allclose(mine, yours, atol=1e-4)
        assert ours.score(X, y) == pytest.approx(theirs.score(X, y), abs=1e-6)
    return ours


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer])
@pytest.mark.parametrize("scoring", [None, "neg_log_loss"])
def test_classifier_alone(load, scoring, together):
    X, y = load(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    ours = assert_same_search(
        SoftmaxRegression(), {"C": CS}, X, y, scoring=scoring, return_train_score=True
    )
    assert together == [4] * 5
    alone = SoftmaxRegression(ours.best_params_["C"]).fit(X, y)
    assert_allclose(ours.best_estimator_.coef_, alone.coef_, atol=1e-4)


def test_pipeline_with_parameters_of_its_steps(together):
    X, y = load_digits(return_X_y=True)
    pipeline = make_pipeline(PCA(random_state=0), SoftmaxRegression())
    grid = {"pca__n_components": [5, 10], "softmaxregression__C": CS}
    ours = assert_same_search(pipeline, grid, X[:400], y[:400], cv=3)
    assert together == [4] * 6
    assert ours.best_params_["pca__n_components"] == 10


def test_candidates_are_what_fit_would_have_made_of_them():
    X, y = load_wine(return_X_y=True, as_frame=True)
    seen = []

    def scorer(estimator, X, y):
        seen.append(estimator)
        return estimator.score(X, y)

    grid = {"clf__C": CS, "clf__l1_ratio": [0.0, 0.5]}
    fold = [(np.arange(0, 178, 2), np.arange(1, 178, 2))]
    pipeline = scaled().set_output(transform="pandas")
    SoftmaxGridSearchCV(pipeline, grid, scoring=scorer, cv=fold, refit=False).fit(X, y)
    assert len(seen) == 8
    for candidate in seen:
        assert type(candidate) is Pipeline
        alone = clone(candidate).fit(X.iloc[::2], y[::2])
        one, other = candidate["clf"], alone["clf"]
        assert set(vars(one)) == set(vars(other))
        assert_allclose(one.coef_, other.coef_, atol=1e-4)
        assert_allclose(one.intercept_, other.intercept_, atol=1e-4)
        assert_array_equal(one.classes_, other.classes_)
        assert_array_equal(one.feature_names_in_, X.columns)
        assert one.n_iter_.shape == (1,)
        assert one.loss_curve_[-1] == pytest.approx(other.loss_curve_[-1], abs=1e-8)
        assert one.net_.module_ is one.module_
        assert not one.module_.training
        assert one.module_.weight.dtype == other.module_.weight.dtype
    assert len({id(candidate["clf"].module_) for candidate in seen}) == 8


def test_steps_are_fitted_once_in_each_fold_of_a_group():
    X, y = load_wine(return_X_y=True)
    pipeline = make_pipeline(CountingScaler(), SoftmaxRegression())
    grid = {
        "countingscaler__with_mean": [True, False],
        "softmaxregression__C": CS,
        "softmaxregression__l1_ratio": [0.0, 0.1],
    }
    SoftmaxGridSearchCV(pipeline, grid, cv=3, refit=False).fit(X, y)
    assert CountingScaler.n_fits == 2 * 3


def test_memory_of_the_pipeline(tmp_path):
    X, y = load_wine(return_X_y=True)
    pipeline = make_pipeline(
        CountingScaler(), SoftmaxRegression(), memory=str(tmp_path)
    )
    grid = {"softmaxregression__C": CS}
    for _ in range(2):
        SoftmaxGridSearchCV(pipeline, grid, cv=3).fit(X, y)
    # Three folds and all rows, once.
    assert CountingScaler.n_fits == 4


def test_list_of_grids_with_and_without_lasso(together):
    X, y = load_wine(return_X_y=True)
    grid = [
        {"clf__C": CS},
        {"clf__C": [0.1, 1.0], "clf__l1_ratio": [0.5, 1.0]},
        {"clf__fit_intercept": [False], "clf__C": [1.0]},
        {"clf__solver": ["adam"], "clf__max_iter": [2], "clf__random_state": [0]},
    ]
    assert_same_search(scaled(), grid, X, y, scoring="neg_log_loss", cv=3)
    assert together == [8] * 3


def test_last_step_that_varies_itself(together):
    X, y = load_iris(return_X_y=True)
    ours, theirs = SoftmaxRegression(), LogisticRegression()
    grid = {"clf": [theirs, ours], "clf__C": [0.1, 1.0]}
    assert_same_search(scaled(), grid, X, y)
    assert together == [2] * 5
    assert not hasattr(ours, "coef_")


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


def test_callable_that_returns_several_scores():
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


def test_metadata_routing(together):
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
    assert together == [4] * 6


def test_frame_with_columns_of_several_kinds_and_text_labels(together):
    X, y = load_iris(return_X_y=True, as_frame=True)
    X["colour"] = pd.Series(["red", "blue", "green"] * 50)
    y = y.map({0: "setosa", 1: "versicolor", 2: "virginica"})
    pipeline = make_pipeline(
        make_column_transformer(
            (StandardScaler(), X.columns[:4]), (OneHotEncoder(), ["colour"])
        ),
        SoftmaxRegression(),
    )
    ours = assert_same_search(pipeline, {"softmaxregression__C": CS}, X, y)
    assert together == [4] * 5
    assert_array_equal(ours.feature_names_in_, X.columns)
    assert list(ours.classes_) == ["setosa", "versicolor", "virginica"]


def test_text_to_sparse_rows(together):
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
    assert together == [4] * 6


def test_sparse_rows_for_the_classifier_alone():
    X, y = load_digits(return_X_y=True)
    X = csr_array(X[:200] / 16)
    params = {"scoring": "neg_log_loss", "cv": 3}
    assert_same_search(SoftmaxRegression(), {"C": [0.1, 1.0]}, X, y[:200], **params)


def test_splits_that_are_drawn_or_given():
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


def test_two_processes():
    X, y = load_wine(return_X_y=True)
    assert_same_search(scaled(), {"clf__C": CS}, X, y, cv=4, n_jobs=2)


def test_candidates_that_fail_take_no_other_with_them():
    X, y = load_iris(return_X_y=True)
    grid = {"clf__C": [0.1, -1.0, 1.0]}
    with pytest.warns(FitFailedWarning, match="5 fits failed out of a total of 15"):
        search = SoftmaxGridSearchCV(scaled(), grid, error_score=-7.0).fit(X, y)
    scores = search.cv_results_["mean_test_score"]
    assert scores[1] == -7
    assert (scores[[0, 2]] > 0.9).all()
    with pytest.raises(ValueError, match="'C' parameter"):
        SoftmaxGridSearchCV(scaled(), grid, error_score="raise").fit(X, y)


def test_all_fits_fail_and_what_was_fitted_stays():
    X, y = load_iris(return_X_y=True)
    search = SoftmaxGridSearchCV(scaled(), {"clf__C": CS}).fit(X, y)
    before = vars(search).copy()
    with pytest.raises(ValueError, match="All the 20 fits failed"):
        search.fit(np.where(X > 5, np.nan, X), y)
    assert vars(search) == before


def test_scorer_that_fails():
    X, y = load_iris(return_X_y=True)

    def scorer(estimator, X, y):
        if estimator["clf"].C == 0.1:
            raise ValueError("no score")
        return 1.0

    params = {"scoring": scorer, "cv": 2, "error_score": 0.5}
    with pytest.warns(UserWarning, match="no score"):
        search = SoftmaxGridSearchCV(scaled(), {"clf__C": CS}, **params).fit(X, y)
    assert_array_equal(search.cv_results_["mean_test_score"], [1, 0.5, 1, 1])


class Plain(BaseEstimator, TransformerMixin):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X


class Subclass(SoftmaxRegression):
    pass


@pytest.mark.parametrize(
    ("estimator", "grid"),
    [
        (LogisticRegression(), {"C": CS}),
        (
            SoftmaxRegression(solver="adam", max_iter=3, random_state=0),
            {"C": [0.1, 1.0]},
        ),
        (SoftmaxRegression(), {"max_iter": [50, 100]}),
        (Subclass(), {"C": CS}),
        (make_pipeline(Plain(), scaled()), {"pipeline__clf__C": CS}),
        (scaled(), {"clf__C": [1.0]}),
    ],
    ids=["other", "mini-batches", "tolerance", "subclass", "nested", "single"],
)
def test_what_does_not_share_the_work_is_searched_as_ever(estimator, grid, together):
    X, y = load_iris(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    ours = SoftmaxGridSearchCV(estimator, grid, cv=3).fit(X, y)
    theirs = GridSearchCV(estimator, grid, cv=3).fit(X, y)
    for name, expected in theirs.cv_results_.items():
        if name.endswith("test_score"):
            assert_array_equal(ours.cv_results_[name], expected)
    assert together == []


def test_callbacks_of_scikit_learn_are_called_for_every_fit(together):
    callback = pytest.importorskip("sklearn.callback")
    X, y = load_iris(return_X_y=True)
    search = SoftmaxGridSearchCV(scaled(), {"clf__C": CS}, cv=2)
    search.set_callbacks(callback.ScoringMonitor(scoring="accuracy"))
    assert search.fit(X, y).best_score_ > 0.9
    assert together == []


def test_what_is_printed(capsys):
    X, y = load_iris(return_X_y=True)
    printed = []
    for search in (SoftmaxGridSearchCV, GridSearchCV):
        params = {"cv": 2, "verbose": 10, "return_train_score": True}
        search(scaled(), {"clf__C": [0.1, 1.0]}, **params).fit(X, y)
        lines = capsys.readouterr().out.splitlines()
        ends = [line.split("total")[0] for line in lines if "START" not in line]
        printed.append([line.replace(".", "") for line in sorted(ends)])
    assert len(printed[0]) == 1 + 4
    assert printed[0] == printed[1]


@pytest.mark.parametrize("scoring", [None, ["accuracy", "neg_log_loss"]])
@pytest.mark.parametrize("train", [False, True])
def test_scores_that_are_printed(capsys, scoring, train):
    X, y = load_iris(return_X_y=True)
    params = {"verbose": 3, "scoring": scoring, "return_train_score": train}
    search = SoftmaxGridSearchCV(
        scaled(), {"clf__C": [0.1, 1.0]}, cv=2, refit=False, **params
    )
    search.fit(X, y)
    ours = capsys.readouterr().out
    GridSearchCV(**search.get_params(deep=False)).fit(X, y)
    theirs = capsys.readouterr().out
    kept = [
        sorted(line.replace(".", "").split("total time")[0] for line in out.split("\n"))
        for out in (ours, theirs)
    ]
    assert kept[0] == kept[1]


def test_warning_of_a_common_fit():
    X, y = load_iris(return_X_y=True)
    search = SoftmaxGridSearchCV(scaled(max_iter=1), {"clf__C": CS}, cv=2, refit=False)
    with pytest.warns(ConvergenceWarning, match="of 4 fits"):
        search.fit(X, y)


def test_nested_in_a_cross_validation():
    X, y = load_iris(return_X_y=True)
    search = SoftmaxGridSearchCV(scaled(), {"clf__C": CS}, cv=2)
    assert cross_val_score(search, X, y, cv=3).mean() > 0.9


def test_grid_of_names_that_are_not_there():
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
def test_labels_of_every_container_that_the_classifier_takes(kind):
    X = np.random.default_rng(0).normal(size=(60, 3))
    y = _labels(kind, (X[:, 0] > 0).astype(int))
    search = SoftmaxGridSearchCV(SoftmaxRegression(), {"C": [0.001, 1.0]}).fit(X, y)
    assert search.score(X, y) == search.best_estimator_.score(X, y) > 0.9


@pytest.mark.parametrize(
    "make", [list, np.array, pd.Series, partial(pd.Series, dtype="string")]
)
def test_missing_labels_are_told_as_the_classifier_does(make):
    X = np.random.default_rng(0).normal(size=(60, 3))
    y = make([None, "a", "b"] * 20)
    search = SoftmaxGridSearchCV(SoftmaxRegression(), {"C": [0.001, 1.0]})
    with pytest.raises(ValueError, match="20 of 60 labels are missing"):
        search.fit(X, y)
