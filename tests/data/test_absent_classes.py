r"""Classes that a fold, a bootstrap sample or the weights leave without a row."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, cross_val_score
from torch import nn

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxGridSearchCV,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)


class Module(nn.Sequential):
    def __init__(self, n_features, n_classes):
        super().__init__(nn.Linear(n_features, 8), nn.ReLU(), nn.Linear(8, n_classes))


EXACT = [
    SoftmaxRegression(),
    SoftmaxRegression(l1_ratio=0.5),
    SoftmaxRegressionCV(Cs=[0.1, 1.0], cv=2),
    SoftmaxGridSearchCV(SoftmaxRegression(), {"C": [0.1, 1.0]}, cv=2),
]
BY_EPOCHS = [
    SoftmaxRegression(solver="adam", max_iter=3, random_state=0),
    SoftmaxMLPClassifier((8,), n_estimators=2, max_epochs=3, random_state=0),
    SoftmaxCNNClassifier(channels=(4,), kernel_size=3, max_epochs=3, random_state=0),
    SoftmaxNetClassifier(Module, max_epochs=3, random_state=0),
]
for_every = pytest.mark.parametrize(
    "classifier", [*EXACT, *BY_EPOCHS], ids=lambda one: str(one)[:24]
)
by_epochs = pytest.mark.parametrize(
    "classifier", BY_EPOCHS, ids=lambda one: str(one)[:24]
)
few_examples = settings(max_examples=2, deadline=None, derandomize=True)


def weighted_iris(absent, seed=0):
    r"""Return shuffled rows, labels and weights, 0 for some rows and classes."""
    rng = np.random.default_rng(seed)
    X, y = load_iris(return_X_y=True)
    order = rng.permutation(len(y))
    X, y = X[order], np.array(["a", "b", "c"])[y[order]]
    weight = rng.uniform(0.5, 2, len(y)) * (rng.random(len(y)) < 0.9)
    return X, y, weight * ~np.isin(y, absent)


class TestWeightsOfAbsentClasses:
    @for_every
    def test_have_no_effect(self, classifier):
        X, y, _ = weighted_iris([])
        kept = y != "c"
        named = {"a": 1.0, "b": 2.0, "c": 5.0}
        fit = [
            clone(classifier)
            .set_params(**over(classifier, weights))
            .fit(X[kept], y[kept])
            for weights in (named, {"a": 1.0, "b": 2.0})
        ]
        assert_array_equal(fit[0].classes_, ["a", "b"])
        assert_array_equal(fit[0].predict_proba(X), fit[1].predict_proba(X))

    @for_every
    @few_examples
    @given(st.data())
    def test_whatever_labels_they_name(self, classifier, data):
        labels = data.draw(st.permutations([0, 1, 2, 3, 4, "x"]))[:4]
        weights = dict.fromkeys(labels, 2.0)
        X, y = load_iris(return_X_y=True)
        classifier = clone(classifier).set_params(**over(classifier, weights))
        if {0, 1, 2} & set(labels):
            classifier.fit(X, y)
            assert np.isfinite(classifier.predict_proba(X)).all()

    @pytest.mark.parametrize("search", [GridSearchCV, SoftmaxGridSearchCV])
    def test_in_folds_that_lack_them(self, search):
        X, y = load_iris(return_X_y=True)
        weights = {0: 1.0, 1: 2.0, 2: 5.0}
        order = np.r_[np.random.default_rng(0).permutation(100), 100:150]
        found = search(
            SoftmaxRegression(class_weight=weights),
            {"C": [0.1, 1.0]},
            cv=TimeSeriesSplit(3),
            error_score="raise",
        ).fit(X[order], y[order])
        expected = GridSearchCV(
            LogisticRegression(class_weight=weights, max_iter=1000),
            {"C": [0.1, 1.0]},
            cv=TimeSeriesSplit(3),
        ).fit(X[order], y[order])
        assert found.best_params_ == expected.best_params_
        assert found.best_score_ == pytest.approx(expected.best_score_, abs=0.03)

    @for_every
    def test_in_cross_validation(self, classifier):
        X, y = load_iris(return_X_y=True)
        order = np.r_[np.random.default_rng(0).permutation(100), 100:150]
        classifier = clone(classifier).set_params(
            **over(classifier, {0: 1.0, 1: 2.0, 2: 5.0})
        )
        # The last rows are of a class that no training rows have: no log loss of them.
        cross_val_score(
            classifier,
            X[order],
            y[order],
            scoring="accuracy",
            cv=TimeSeriesSplit(2),
            error_score="raise",
        )

    def test_in_partial_fit(self):
        X, y = load_iris(return_X_y=True)
        classifier = SoftmaxRegression(class_weight={0: 1.0, 2: 3.0, 7: 9.0})
        classifier.partial_fit(X[:100], y[:100], [0, 1, 2]).partial_fit(X, y)
        assert_array_equal(classifier.classes_, [0, 1, 2])


class TestClassesWithoutWeight:
    @for_every
    def test_are_no_classes(self, classifier):
        X, y, weight = weighted_iris(["b"])
        kept = weight > 0
        model = fit(clone(classifier), X, y, weight)
        alone = fit(clone(classifier), X[kept], y[kept], weight[kept])
        assert_array_equal(model.classes_, np.unique(y[kept]))
        if isinstance(classifier, SoftmaxGridSearchCV):
            # Its folds are those of all rows.
            assert model.predict_proba(X).shape == (150, 2)
            return
        assert_array_equal(model.predict_proba(X), alone.predict_proba(X))

    @for_every
    @few_examples
    @given(seed=st.integers(0, 1000), absent=st.sampled_from(["a", "b", "c"]))
    def test_whatever_the_rows(self, classifier, seed, absent):
        X, y, weight = weighted_iris([absent], seed)
        # Such rows teach no statistics either.
        X[weight == 0] *= 1e6
        kept = weight > 0
        proba = fit(clone(classifier), X, y, weight).predict_proba(X[kept])
        if not isinstance(classifier, SoftmaxGridSearchCV):
            alone = fit(clone(classifier), X[kept], y[kept], weight[kept])
            assert_array_equal(proba, alone.predict_proba(X[kept]))

    @by_epochs
    def test_in_validation_rows(self, classifier):
        X, y, weight = weighted_iris(["b"])
        kept = weight > 0
        options = {"X_val": X, "y_val": y, "sample_weight_val": weight}
        model = clone(classifier).fit(X, y, weight, **options)
        alone = clone(classifier).fit(X[kept], y[kept], weight[kept], **options)
        assert model.validation_scores_ == alone.validation_scores_
        with pytest.raises(ValueError, match=r"In the validation data .* contains the"):
            model.fit(X, y, weight, X_val=X, y_val=y)

    @by_epochs
    def test_are_no_labels_beside_the_named_classes(self, classifier):
        X, y, weight = weighted_iris(["b"])
        kept = weight > 0
        model, alone = clone(classifier), clone(classifier)
        model.partial_fit(X, y, ["a", "c"], weight)
        alone.partial_fit(X[kept], y[kept], ["a", "c"], weight[kept])
        assert_array_equal(model.predict_proba(X), alone.predict_proba(X))
        with pytest.raises(ValueError, match=r"y contains the labels \['b'\]"):
            model.partial_fit(X, y)

    @pytest.mark.parametrize("kind", ["pandas", "array"])
    def test_nor_do_their_rows_have_categories(self, kind):
        X, y, weight = weighted_iris(["b"])
        color = np.where(y == "b", "red", np.where(X[:, 0] > 5.8, "blue", "green"))
        table = pd.DataFrame({"size": X[:, 0], "color": color, "width": X[:, 1]})
        table.loc[y == "b", "width"] = np.nan
        model = SoftmaxMLPClassifier((8,), n_estimators=2, max_epochs=3, random_state=0)
        if kind == "array":
            table = table.to_numpy(dtype=object)
            model.set_params(categorical_features=[1])
        kept = weight > 0
        alone = clone(model).fit(table[kept], y[kept], weight[kept])
        model.fit(table, y, weight)
        assert model.categories_[1].tolist() == ["blue", "green"]
        assert_array_equal(model.predict_proba(table), alone.predict_proba(table))
        before = model.categories_
        model.set_params(warm_start=True).fit(table, y, weight)
        assert_array_equal(model.categories_[1], before[1])

    def test_folds_are_those_of_the_other_rows(self):
        X, y, weight = weighted_iris(["b"])
        kept = weight > 0
        model = SoftmaxRegressionCV(Cs=4, cv=3, scoring="neg_log_loss")
        alone = clone(model).fit(X[kept], y[kept], weight[kept])
        assert_array_equal(model.fit(X, y, weight).scores_, alone.scores_)
        folds = [(np.arange(75), np.arange(75, 150)), (np.arange(75, 150), slice(75))]
        listed = SoftmaxRegressionCV(Cs=4, cv=folds).fit(X, y, weight)
        assert_array_equal(listed.classes_, ["a", "c"])
        weight[75:] = 0
        with pytest.raises(ValueError, match="Fold 1 holds out rows whose weights"):
            SoftmaxRegressionCV(Cs=4, cv=folds).fit(X, y, weight)


class TestOneClassWithWeight:
    @for_every
    def test_is_about_certain(self, classifier):
        label = "c"
        # As LogisticRegression has it, all labels stay classes then.
        X, y, weight = weighted_iris(list({"a", "b", "c"} - {label}))
        if isinstance(classifier, SoftmaxGridSearchCV):
            classifier = classifier.estimator
        classifier = fit(clone(classifier), X, y, weight)
        assert_array_equal(classifier.classes_, ["a", "b", "c"])
        proba = classifier.predict_proba(X)
        assert (classifier.predict(X) == label).all()
        assert (proba.max(axis=1) > 0.99).all()
        assert (proba > 0).all()

    @for_every
    def test_one_label_is_an_error(self, classifier):
        X = np.arange(20.0).reshape(10, 2)
        with pytest.raises(ValueError, match="class"):
            clone(classifier).fit(X, np.ones(10))

    @for_every
    def test_in_bootstrap_samples(self, classifier):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(30, 3)), np.arange(30) < 2
        if isinstance(classifier, SoftmaxRegressionCV | SoftmaxGridSearchCV):
            pytest.skip("needs two rows of the rarest class in each sample")
        bagging = BaggingClassifier(classifier, n_estimators=8, random_state=0)
        proba = bagging.fit(X, y).predict_proba(X)
        assert log_loss(y, proba) < 1.1 * log_loss(y, np.full(30, 0.5))

    def test_bagged_regression_is_no_worse_than_that_of_scikit_learn(self):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(30, 3)), np.arange(30) < 2
        ours, theirs = (
            BaggingClassifier(one, n_estimators=20, random_state=0).fit(X, y)
            for one in (SoftmaxRegression(), LogisticRegression())
        )
        np.testing.assert_allclose(
            ours.predict_proba(X), theirs.predict_proba(X), atol=1e-3
        )

    @by_epochs
    @pytest.mark.parametrize(
        "ensemble",
        [
            lambda one: VotingClassifier([("one", one)], voting="soft"),
            lambda one: AdaBoostClassifier(one, n_estimators=2),
            lambda one: CalibratedClassifierCV(one, cv=2),
        ],
        ids=["voting", "adaboost", "calibrated"],
    )
    def test_in_ensembles_that_pass_weights_on(self, classifier, ensemble):
        X, y = load_iris(return_X_y=True)
        X, y = X[:100], y[:100]
        weight = np.where(y == 1, 1.0, 0.0)
        model = ensemble(clone(classifier)).fit(X, y, sample_weight=weight)
        assert (model.predict(X) == 1).all()


def over(classifier, weights):
    r"""Return the parameter class_weight of a classifier or of what is searched."""
    is_search = isinstance(classifier, SoftmaxGridSearchCV)
    return {"estimator__class_weight" if is_search else "class_weight": weights}


def fit(classifier, X, y, weight):
    return classifier.fit(X, y, sample_weight=weight)
