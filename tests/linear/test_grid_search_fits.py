r"""Groups of candidates that a grid search fits together."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sksoftmax import SoftmaxGridSearchCV, SoftmaxRegression

from .searches import CS, assert_same_search, scaled


class CountingScaler(StandardScaler):
    r"""Counts the fits of all its instances."""

    n_fits = 0

    def fit(self, X, y=None, sample_weight=None):
        CountingScaler.n_fits += 1
        return super().fit(X, y, sample_weight)


@pytest.fixture(autouse=True)
def _reset_count():
    CountingScaler.n_fits = 0


def test_candidates_are_equal_to_those_fitted_alone():
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
        grouped, expected = candidate["clf"], alone["clf"]
        assert set(vars(grouped)) == set(vars(expected))
        assert_allclose(grouped.coef_, expected.coef_, atol=1e-4)
        assert_allclose(grouped.intercept_, expected.intercept_, atol=1e-4)
        assert_array_equal(grouped.classes_, expected.classes_)
        assert_array_equal(grouped.feature_names_in_, X.columns)
        assert grouped.n_iter_.shape == (1,)
        assert grouped.loss_curve_[-1] == pytest.approx(
            expected.loss_curve_[-1], abs=1e-8
        )
        assert grouped.net_.module_ is grouped.module_
        assert not grouped.module_.training
        assert grouped.module_.weight.dtype == expected.module_.weight.dtype
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


def test_pipeline_with_parameters_of_its_steps(group_sizes):
    X, y = load_digits(return_X_y=True)
    pipeline = make_pipeline(PCA(random_state=0), SoftmaxRegression())
    grid = {"pca__n_components": [5, 10], "softmaxregression__C": CS}
    ours = assert_same_search(pipeline, grid, X[:400], y[:400], cv=3)
    assert group_sizes == [4] * 6
    assert ours.best_params_["pca__n_components"] == 10


def test_folds_with_other_classes_or_a_failed_fit():
    X, y = load_wine(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(y))
    parts = np.array_split(rows, 4)
    # The second fold fails: it has one class.
    trains = [rows[y[rows] > 0], rows[y[rows] == 0], rows[y[rows] < 2], rows[::2]]
    splits = list(zip(trains, parts, strict=True))
    params = {"cv": splits, "error_score": -1.0}
    with pytest.warns(FitFailedWarning):
        assert_same_search(scaled(), {"clf__C": CS}, X, y, **params)


def test_list_of_grids_with_and_without_lasso(group_sizes):
    X, y = load_wine(return_X_y=True)
    grid = [
        {"clf__C": CS},
        {"clf__C": [0.1, 1.0], "clf__l1_ratio": [0.5, 1.0]},
        {"clf__fit_intercept": [False], "clf__C": [1.0]},
        {"clf__solver": ["adam"], "clf__max_iter": [2], "clf__random_state": [0]},
    ]
    assert_same_search(scaled(), grid, X, y, scoring="neg_log_loss", cv=3)
    assert group_sizes == [8] * 3


def test_last_step_is_a_searched_parameter(group_sizes):
    X, y = load_iris(return_X_y=True)
    ours, theirs = SoftmaxRegression(), LogisticRegression()
    grid = {"clf": [theirs, ours], "clf__C": [0.1, 1.0]}
    assert_same_search(scaled(), grid, X, y)
    assert group_sizes == [2] * 5
    assert not hasattr(ours, "coef_")


def test_failing_candidate_leaves_the_others_fitted():
    X, y = load_iris(return_X_y=True)
    grid = {"clf__C": [0.1, -1.0, 1.0]}
    with pytest.warns(FitFailedWarning, match="5 fits failed out of a total of 15"):
        search = SoftmaxGridSearchCV(scaled(), grid, error_score=-7.0).fit(X, y)
    scores = search.cv_results_["mean_test_score"]
    assert scores[1] == -7
    assert (scores[[0, 2]] > 0.9).all()
    with pytest.raises(ValueError, match="'C' parameter"):
        SoftmaxGridSearchCV(scaled(), grid, error_score="raise").fit(X, y)


def test_failed_search_keeps_the_fitted_attributes():
    X, y = load_iris(return_X_y=True)
    search = SoftmaxGridSearchCV(scaled(), {"clf__C": CS}).fit(X, y)
    before = vars(search).copy()
    with pytest.raises(ValueError, match="All the 20 fits failed"):
        search.fit(np.where(X > 5, np.nan, X), y)
    assert vars(search) == before


def test_failing_scorer_gets_the_error_score():
    X, y = load_iris(return_X_y=True)

    def scorer(estimator, X, y):
        if estimator["clf"].C == 0.1:
            raise ValueError("no score")
        return 1.0

    params = {"scoring": scorer, "cv": 2, "error_score": 0.5}
    with pytest.warns(UserWarning, match="no score"):
        search = SoftmaxGridSearchCV(scaled(), {"clf__C": CS}, **params).fit(X, y)
    assert_array_equal(search.cv_results_["mean_test_score"], [1, 0.5, 1, 1])


class IdentityTransformer(BaseEstimator, TransformerMixin):
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
        (make_pipeline(IdentityTransformer(), scaled()), {"pipeline__clf__C": CS}),
        (scaled(), {"clf__C": [1.0]}),
    ],
    ids=["other", "mini-batches", "tolerance", "subclass", "nested", "single"],
)
def test_other_candidates_are_fitted_one_by_one(estimator, grid, group_sizes):
    X, y = load_iris(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    ours = SoftmaxGridSearchCV(estimator, grid, cv=3).fit(X, y)
    theirs = GridSearchCV(estimator, grid, cv=3).fit(X, y)
    for name, expected in theirs.cv_results_.items():
        if name.endswith("test_score"):
            assert_array_equal(ours.cv_results_[name], expected)
    assert group_sizes == []


def test_callbacks_of_scikit_learn_are_called_for_every_fit(group_sizes):
    callback = pytest.importorskip("sklearn.callback")
    X, y = load_iris(return_X_y=True)
    search = SoftmaxGridSearchCV(scaled(), {"clf__C": CS}, cv=2)
    search.set_callbacks(callback.ScoringMonitor(scoring="accuracy"))
    assert search.fit(X, y).best_score_ > 0.9
    assert group_sizes == []


def test_printed_lines_are_those_of_scikit_learn(capsys):
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
def test_printed_scores_are_those_of_scikit_learn(capsys, scoring, train):
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


def test_warning_counts_the_fits_of_a_group():
    X, y = load_iris(return_X_y=True)
    search = SoftmaxGridSearchCV(scaled(max_iter=1), {"clf__C": CS}, cv=2, refit=False)
    with pytest.warns(ConvergenceWarning, match="of 4 fits"):
        search.fit(X, y)
