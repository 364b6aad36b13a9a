r"""The estimators inside scikit-learn, skorch, pandas, polars, joblib and pickle."""

import copy
import io
import pickle
from functools import partial

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import torch
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import SelectKBest
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_validate,
    learning_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.fixes import parse_version
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    GradientNormClipping,
    LRScheduler,
    TensorBoard,
)
from torch import nn

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxGridSearchCV,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)


def make_module(n_features, n_classes, width=16):
    return nn.Sequential(
        nn.Linear(n_features, width),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(width, n_classes),
    )


# Called like the classes, but small and reproducible.
Regression = partial(SoftmaxRegression, random_state=0)
MinibatchRegression = partial(
    SoftmaxRegression, solver="adam", max_iter=10, batch_size=32, random_state=0
)
MLP = partial(
    SoftmaxMLPClassifier,
    hidden_layer_sizes=(16,),
    n_estimators=1,
    temperature_scaling=False,
    dropout=0.1,
    learning_rate=0.03,
    max_epochs=20,
    random_state=0,
)
CNN = partial(
    SoftmaxCNNClassifier,
    channels=(4, 8),
    convolutions_per_block=1,
    kernel_size=3,
    dropout=0.1,
    learning_rate=0.03,
    max_epochs=15,
    random_state=0,
)
Net = partial(
    SoftmaxNetClassifier,
    module=make_module,
    learning_rate=0.01,
    max_epochs=15,
    random_state=0,
)

NETS = [
    pytest.param(MLP, id="mlp"),
    pytest.param(CNN, id="cnn"),
    pytest.param(Net, id="net"),
]
ESTIMATORS = [pytest.param(Regression, id="regression"), *NETS]
# The three kinds of nets and the one that can be trained by epochs.
TRAINED_BY_EPOCHS = [pytest.param(MinibatchRegression, id="minibatch"), *NETS]

for_each = partial(pytest.mark.parametrize, "make")


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    X = StandardScaler().fit_transform(X)
    return X[order], np.array(["setosa", "versicolor", "virginica"])[y][order]


@pytest.fixture(scope="module")
def iris_frame(iris):
    return pd.DataFrame(iris[0], columns=load_iris().feature_names), iris[1]


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X), y


@pytest.fixture(scope="module")
def three_or_eight():
    X, y = load_digits(return_X_y=True)
    rows = np.isin(y, [3, 8])
    return X[rows] / 16, y[rows]


def same_bits(a, b):
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


class TestMetaEstimators:
    @for_each(ESTIMATORS)
    def test_pipeline(self, make, three_or_eight):
        X, y = three_or_eight
        pipeline = make_pipeline(StandardScaler(), make()).fit(X[::2], y[::2])
        assert pipeline.score(X[1::2], y[1::2]) > 0.9
        scaled = pipeline[0].transform(X)
        assert same_bits(pipeline.predict_proba(X), pipeline[1].predict_proba(scaled))

    @for_each(ESTIMATORS)
    def test_column_transformer(self, make, iris_frame):
        frame, y = iris_frame
        frame = frame.assign(colour=np.where(y == "setosa", "red", "green"))
        transformer = ColumnTransformer(
            [
                ("numbers", StandardScaler(), frame.columns[:2].tolist()),
                ("words", OneHotEncoder(), ["colour"]),
            ]
        )
        pipeline = make_pipeline(transformer, make()).fit(frame, y)
        assert pipeline[-1].n_features_in_ == 4
        # The colour gives one class away; two features alone do not.
        recall = pipeline.predict(frame)[y == "setosa"] == "setosa"
        assert recall.mean() == 1.0

    @for_each(ESTIMATORS)
    def test_grid_search(self, make, iris):
        X, y = iris
        grid = {"class_weight": [None, {"setosa": 0.0}]}
        search = GridSearchCV(make(), grid, cv=3).fit(X, y)
        assert search.best_params_ == {"class_weight": None}
        assert search.best_score_ > 0.85
        unseen = search.cv_results_["mean_test_score"][1]
        assert unseen < 0.7
        direct = make().fit(X, y)
        assert same_bits(search.predict_proba(X), direct.predict_proba(X))

    def test_randomized_search(self, iris):
        X, y = iris
        space = {"learning_rate": loguniform(1e-5, 1e-1), "max_epochs": [1, 20]}
        search = RandomizedSearchCV(
            MLP(), space, n_iter=5, scoring="neg_log_loss", cv=3, random_state=0
        ).fit(X, y)
        scores = search.cv_results_["mean_test_score"]
        assert search.best_score_ == scores.max() > -0.4
        assert scores.min() < -0.9
        # Rates come from the distribution as np.float64.
        assert 1e-5 < search.best_estimator_.learning_rate < 1e-1

    def test_halving_grid_search_over_epochs(self, iris):
        X, y = iris
        search = HalvingGridSearchCV(
            MLP(),
            {"learning_rate": [1e-5, 1e-4, 1e-3, 3e-2]},
            resource="max_epochs",
            max_resources=16,
            min_resources=4,
            factor=2,
            cv=3,
            random_state=0,
        ).fit(X, y)
        assert search.n_resources_ == [4, 8, 16]
        assert search.best_params_ == {"learning_rate": 3e-2, "max_epochs": 16}
        assert search.best_estimator_.n_iter_ == 16

    @for_each(ESTIMATORS)
    def test_cross_validate_several_scorers(self, make, iris):
        X, y = iris
        scorers = ["accuracy", "neg_log_loss", "roc_auc_ovr", "f1_macro"]
        folds = StratifiedKFold(3)
        result = cross_validate(
            make(), X, y, cv=folds, scoring=scorers, return_estimator=True
        )
        for i, (_, test) in enumerate(folds.split(X, y)):
            proba = result["estimator"][i].predict_proba(X[test])
            expected = -log_loss(y[test], proba)
            assert result["test_neg_log_loss"][i] == pytest.approx(expected)
        assert result["test_accuracy"].mean() > 0.85
        assert result["test_roc_auc_ovr"].mean() > 0.95

    @for_each(ESTIMATORS)
    @pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
    def test_calibrated_classifier(self, make, method, three_or_eight):
        X, y = three_or_eight
        calibrated = CalibratedClassifierCV(make(), method=method, cv=3)
        calibrated.fit(X[::2], y[::2])
        assert calibrated.score(X[1::2], y[1::2]) > 0.93
        assert len(calibrated.calibrated_classifiers_) == 3

    def test_voting_classifier(self, iris):
        X, y = iris
        members = [("linear", Regression()), ("mlp", MLP()), ("net", Net())]
        voting = VotingClassifier(members, voting="soft").fit(X, y)
        # Voting hands encoded labels down and takes the mean of the probabilities.
        expected = np.mean([m.fit(X, y).predict_proba(X) for _, m in members], axis=0)
        np.testing.assert_allclose(voting.predict_proba(X), expected, atol=1e-12)
        assert voting.score(X, y) > 0.9

    def test_stacking_classifier(self, iris):
        X, y = iris
        members = [("linear", Regression()), ("mlp", MLP()), ("cnn", CNN())]
        stacking = StackingClassifier(members, LogisticRegression(), cv=3).fit(X, y)
        assert stacking.stack_method_ == ["predict_proba"] * 3
        assert stacking.final_estimator_.n_features_in_ == 9
        assert stacking.score(X, y) > 0.9

    @for_each(ESTIMATORS)
    def test_bagging_classifier(self, make, iris):
        X, y = iris
        bagging = BaggingClassifier(
            make(random_state=None), n_estimators=3, oob_score=False, random_state=0
        ).fit(X, y)
        assert bagging.score(X, y) > 0.85
        first, second, _ = [m.predict_proba(X) for m in bagging.estimators_]
        assert not same_bits(first, second)
        again = clone(bagging).fit(X, y)
        assert same_bits(again.predict_proba(X), bagging.predict_proba(X))

    @for_each(ESTIMATORS)
    def test_ada_boost_classifier(self, make, iris):
        X, y = iris
        boost = AdaBoostClassifier(make(), n_estimators=3, random_state=0).fit(X, y)
        assert boost.score(X, y) > 0.85
        assert len(boost.estimators_) == 3
        # Each member sees other weights, and so becomes another model.
        probabilities = [member.predict_proba(X) for member in boost.estimators_]
        assert np.abs(probabilities[0] - probabilities[1]).max() > 1e-3

    @for_each(ESTIMATORS)
    def test_one_vs_rest_classifier(self, make, iris):
        X, y = iris
        one_vs_rest = OneVsRestClassifier(make()).fit(X, y)
        assert one_vs_rest.score(X, y) > 0.85
        setosa = make().fit(X, (y == "setosa").astype(int))
        assert same_bits(
            one_vs_rest.decision_function(X)[:, 0],
            setosa.decision_function(X).astype(np.float64),
        )

    @for_each(ESTIMATORS)
    def test_permutation_importance(self, make, iris):
        X, y = iris
        noise = np.random.default_rng(0).normal(size=len(y))
        X = np.column_stack([X[:, 2], noise])
        model = make().fit(X, y)
        importance = permutation_importance(model, X, y, n_repeats=3, random_state=0)
        assert importance.importances_mean[0] > 0.3
        assert abs(importance.importances_mean[1]) < 0.05

    def test_learning_curve(self, cancer):
        X, y = cancer
        sizes, train_scores, test_scores = learning_curve(
            MLP(),
            X,
            y,
            train_sizes=[20, 300],
            cv=3,
            scoring="neg_log_loss",
            shuffle=True,
            random_state=0,
        )
        assert sizes.tolist() == [20, 300]
        assert train_scores.shape == (2, 3)
        assert test_scores[1].mean() > test_scores[0].mean()

    @for_each(ESTIMATORS)
    def test_fits_in_threads_agree(self, make, iris):
        X, y = iris
        bagging = BaggingClassifier(make(), n_estimators=4, n_jobs=2, random_state=0)
        with joblib.parallel_config("threading"):
            threaded = clone(bagging).fit(X, y)
        alone = bagging.set_params(n_jobs=1).fit(X, y)
        for one, other in zip(threaded.estimators_, alone.estimators_, strict=True):
            assert same_bits(one.predict_proba(X), other.predict_proba(X))


class TestModuleParameters:
    def test_search_in_pipeline(self, iris):
        X, y = iris
        pipeline = Pipeline([("scale", StandardScaler()), ("net", Net())])
        search = GridSearchCV(pipeline, {"net__module__width": [1, 16]}, cv=3)
        search.fit(X, y)
        assert search.best_params_ == {"net__module__width": 16}
        module = search.best_estimator_["net"].module_
        assert module[0].out_features == 16
        # The pipeline that was searched over keeps its parameters.
        assert pipeline["net"].module_params is None

    def test_clone_keeps_them_apart(self):
        net = Net(module_params={"width": 8})
        copied = clone(net).set_params(module__width=3)
        assert copied.get_params()["module__width"] == 3
        assert net.get_params()["module__width"] == 8
        assert net.module_params == {"width": 8}


class TestMetadataRouting:
    @pytest.fixture(autouse=True)
    def _enabled(self):
        with sklearn.config_context(enable_metadata_routing=True):
            yield

    @pytest.fixture
    def weight(self, iris):
        # Without versicolor's rows that look like virginica's, and back.
        rng = np.random.default_rng(0)
        return rng.uniform(0.01, 1, len(iris[1])) ** 4

    @for_each(ESTIMATORS)
    def test_weights_through_pipeline(self, make, iris, weight):
        X, y = iris
        pipeline = make_pipeline(
            StandardScaler().set_fit_request(sample_weight=False),
            make().set_fit_request(sample_weight=True),
        ).fit(X, y, sample_weight=weight)
        scaled = pipeline[0].transform(X)
        expected = make().fit(scaled, y, sample_weight=weight).predict_proba(scaled)
        unweighted = make().fit(scaled, y).predict_proba(scaled)
        assert same_bits(pipeline.predict_proba(X), expected)
        assert np.abs(expected - unweighted).max() > 1e-3

    @for_each(ESTIMATORS)
    def test_weights_through_grid_search(self, make, iris, weight):
        X, y = iris
        model = make().set_fit_request(sample_weight=True)
        model.set_score_request(sample_weight=True)
        folds = StratifiedKFold(2)
        search = GridSearchCV(
            make_pipeline(SelectKBest(k=4), model),
            {"selectkbest__k": [4]},
            cv=folds,
        ).fit(X, y, sample_weight=weight)
        for i, (train, test) in enumerate(folds.split(X, y)):
            direct = make().fit(X[train], y[train], sample_weight=weight[train])
            score = direct.score(X[test], y[test], sample_weight=weight[test])
            assert search.cv_results_[f"split{i}_test_score"][0] == score
        refitted = make().fit(X, y, sample_weight=weight)
        assert same_bits(search.predict_proba(X), refitted.predict_proba(X))

    def test_validation_rows_through_pipeline(self, iris):
        X, y = iris
        model = MLP(early_stopping=True).set_fit_request(X_val=True, y_val=True)
        pipeline = Pipeline(
            [("scale", StandardScaler()), ("mlp", model)], transform_input=["X_val"]
        ).fit(X[:100], y[:100], X_val=X[100:], y_val=y[100:])
        # Scores of scaled rows: had X_val arrived raw, they would differ.
        score = -log_loss(y[100:], pipeline.predict_proba(X[100:]))
        assert max(pipeline["mlp"].validation_scores_) == pytest.approx(score, abs=1e-5)


class TestDataFrames:
    @for_each(ESTIMATORS)
    def test_pandas(self, make, iris, iris_frame):
        (X, y), (frame, _) = iris, iris_frame
        model = make().fit(frame, pd.Series(y))
        assert model.feature_names_in_.tolist() == frame.columns.tolist()
        assert same_bits(model.predict_proba(frame), make().fit(X, y).predict_proba(X))

    @for_each(ESTIMATORS)
    def test_polars(self, make, iris, iris_frame):
        (X, y), (frame, _) = iris, iris_frame
        frame = pl.DataFrame({name: frame[name].to_numpy() for name in frame})
        model = make().fit(frame, pl.Series(y.tolist()))
        assert model.feature_names_in_.tolist() == frame.columns
        assert same_bits(model.predict_proba(frame), make().fit(X, y).predict_proba(X))
        assert set(model.predict(frame)) <= set(y)

    def test_pandas_of_mixed_dtypes(self, iris):
        X, y = iris
        frame = pd.DataFrame(
            {
                "float32": X[:, 0].astype(np.float32),
                "int8": np.round(10 * X[:, 1]).astype(np.int8),
                "bool": X[:, 2] > 0,
                "nullable": pd.array(np.round(X[:, 3]), dtype="Int64"),
            }
        )
        # By its dtype, "bool" would be a category.
        model = MLP(categorical_features=None).fit(frame, y)
        plain = frame.astype(np.float64).to_numpy()
        expected = MLP().fit(plain, y).predict_proba(plain)
        np.testing.assert_allclose(model.predict_proba(frame), expected, atol=1e-5)

    @for_each(ESTIMATORS)
    @pytest.mark.parametrize("container", ["pandas", "polars"])
    def test_set_output_names_the_features(self, make, container, iris_frame):
        frame, y = iris_frame
        scaler = StandardScaler().set_output(transform=container)
        pipeline = make_pipeline(scaler, make()).fit(frame, y)
        assert pipeline[-1].feature_names_in_.tolist() == frame.columns.tolist()
        assert pipeline.score(frame, y) > 0.85


def through_pickle(model):
    return pickle.loads(pickle.dumps(model))


def through_joblib(model):
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


COPIES = [
    pytest.param(through_pickle, id="pickle"),
    pytest.param(through_joblib, id="joblib"),
    pytest.param(copy.deepcopy, id="deepcopy"),
]


class TestCopies:
    @for_each(ESTIMATORS)
    def test_clone_is_unfitted_and_fits_the_same(self, make, iris):
        X, y = iris
        model = make().fit(X, y)
        copied = clone(model)
        assert not hasattr(copied, "classes_")
        assert not hasattr(copied, "module_")
        assert copied.get_params() == model.get_params()
        assert same_bits(copied.fit(X, y).predict_proba(X), model.predict_proba(X))

    @for_each(ESTIMATORS)
    @pytest.mark.parametrize("copied", COPIES)
    def test_predicts_the_same_bits(self, make, copied, iris):
        X, y = iris
        model = make().fit(X, y)
        twin = copied(model)
        assert same_bits(twin.predict(X), model.predict(X))
        assert same_bits(twin.predict_proba(X), model.predict_proba(X))
        assert twin.loss_curve_ == model.loss_curve_
        assert twin.get_params() == model.get_params()

    @for_each(ESTIMATORS)
    @pytest.mark.parametrize("copied", COPIES)
    def test_net_trains_the_module_that_predicts(self, make, copied, iris):
        twin = copied(make().fit(*iris))
        assert twin.net_.module_ is twin.module_

    @for_each(ESTIMATORS)
    @pytest.mark.parametrize("copied", COPIES)
    def test_partial_fit_continues_with_the_same_bits(self, make, copied, iris):
        X, y = iris
        model = make().partial_fit(X, y, classes=np.unique(y))
        twin = copied(model)
        before = twin.predict_proba(X)
        for _ in range(2):
            model.partial_fit(X, y)
            twin.partial_fit(X, y)
        assert np.abs(twin.predict_proba(X) - before).max() > 1e-4
        assert same_bits(twin.predict_proba(X), model.predict_proba(X))
        assert twin.loss_curve_ == model.loss_curve_

    @for_each(ESTIMATORS)
    @pytest.mark.parametrize("copied", COPIES)
    def test_copies_are_independent(self, make, copied, iris):
        X, y = iris
        model = make().partial_fit(X, y, classes=np.unique(y))
        before = model.predict_proba(X)
        copied(model).partial_fit(X, y)
        assert same_bits(model.predict_proba(X), before)

    @for_each(ESTIMATORS)
    def test_pickle_holds_no_data(self, make):
        X, y = load_digits(return_X_y=True)
        X = np.tile(X / 16, (4, 1))
        params = {} if make is Regression else {"max_epochs": 1}
        model = make(**params).fit(X, np.tile(y, 4))
        assert len(pickle.dumps(model)) < X.nbytes / 10


class TestHTML:
    @for_each(
        [
            *ESTIMATORS,
            pytest.param(partial(SoftmaxRegressionCV, Cs=2, cv=2), id="cv"),
            pytest.param(
                partial(SoftmaxGridSearchCV, SoftmaxRegression(), {"C": [1, 2]}),
                id="search",
            ),
        ]
    )
    def test_shows_parameters_fitted_attributes_and_documentation(self, make, iris):
        model = make()
        name = type(model).__name__
        page = f"https://sksoftmax.readthedocs.io/en/stable/generated/sksoftmax.{name}.html"
        fresh = model._repr_html_()
        assert f'href="{page}"' in fresh
        for parameter in model.get_params(deep=False):
            assert parameter in fresh
        fitted = model.fit(*iris)._repr_html_()
        shown = {key for key in vars(model) if key.endswith("_")}
        assert len(shown) > 5
        # Before 1.9, scikit-learn's representation leaves out what a fit has learned.
        if parse_version(sklearn.__version__) < parse_version("1.9"):
            return
        for attribute in shown:
            assert f"--doc-link-{attribute};" in fitted
        if "device_" in shown:
            kind = model.device_.type
            assert f"device(type=&#x27;{kind}&#x27;" in fitted


class Recorder(Callback):
    r"""Notes what a net tells its callbacks."""

    def initialize(self):
        self.events = []
        self.rates = []
        self.rows = 0
        return self

    def on_train_begin(self, net, **kwargs):
        self.events.append("train begin")

    def on_epoch_begin(self, net, **kwargs):
        self.events.append("epoch begin")

    def on_batch_begin(self, net, batch=None, training=False, **kwargs):
        self.events.append(f"batch begin {training}")

    def on_batch_end(self, net, batch=None, training=False, **kwargs):
        self.events.append(f"batch end {training}")
        if training:
            self.rows += len(batch[0])
            self.rates.append(net.optimizer_.param_groups[0]["lr"])
            assert kwargs["loss"].ndim == 0
            assert kwargs["y_pred"].shape[0] == len(batch[0])

    def on_epoch_end(self, net, **kwargs):
        self.events.append("epoch end")

    def on_train_end(self, net, **kwargs):
        self.events.append("train end")


def short(make, **params):
    r"""Return an estimator that trains for three epochs of five batches."""
    epochs = "max_iter" if make is MinibatchRegression else "max_epochs"
    return make(**{epochs: 3, "batch_size": 30, **params})


class TestCallbacks:
    @for_each(TRAINED_BY_EPOCHS)
    def test_every_event_of_every_batch(self, make, iris):
        X, y = iris
        recorder = Recorder()
        model = short(make, callbacks=[recorder])
        model.fit(X, y, X_val=X[:50], y_val=y[:50])
        epoch = [
            "epoch begin",
            *["batch begin True", "batch end True"] * 5,
            *["batch begin False", "batch end False"],
            "epoch end",
        ]
        assert recorder.events == ["train begin", *epoch * 3, "train end"]
        assert recorder.rows == 3 * 150

    @for_each(TRAINED_BY_EPOCHS)
    def test_batch_listener_sees_losses_in_history(self, make, iris):
        X, y = iris
        model = short(make, callbacks=[Recorder()]).fit(X, y)
        losses = np.array(model.net_.history[:, "batches", :, "train_loss"])
        assert losses.shape == (3, 5)
        np.testing.assert_allclose(losses.mean(1), model.loss_curve_, rtol=1e-5)

    @for_each(TRAINED_BY_EPOCHS)
    def test_listening_changes_no_bit(self, make, iris):
        X, y = iris
        quiet = short(make).fit(X, y)
        observed = short(make, callbacks=[Recorder()]).fit(X, y)
        assert same_bits(quiet.predict_proba(X), observed.predict_proba(X))

    @for_each(TRAINED_BY_EPOCHS)
    def test_end_of_epoch(self, make, iris):
        class Note(Callback):
            def on_epoch_end(self, net, dataset_train=None, **kwargs):
                net.history.record("rows", len(dataset_train))

        model = short(make, callbacks=[("note", Note())]).fit(*iris)
        assert model.net_.history[:, "rows"] == [150, 150, 150]

    @for_each(TRAINED_BY_EPOCHS)
    def test_early_stopping(self, make, iris):
        stopping = EarlyStopping(
            monitor="train_loss", patience=2, threshold=1e6, threshold_mode="abs"
        )
        model = short(make, callbacks=[stopping])
        model.set_params(**{_epochs_of(model): 50}).fit(*iris)
        # Nothing improves by a million: the first epoch, and two more.
        assert np.ravel(model.n_iter_).tolist() == [3]
        assert len(model.loss_curve_) == 3

    @for_each(TRAINED_BY_EPOCHS)
    @pytest.mark.parametrize("step_every", ["epoch", "batch"])
    def test_lr_scheduler(self, make, step_every, iris):
        recorder = Recorder()
        scheduler = LRScheduler("StepLR", step_size=1, gamma=0.5, step_every=step_every)
        model = short(
            make,
            learning_rate=0.008,
            lr_schedule="constant",
            # skorch's own order: an observer before the scheduler sees the old rate.
            callbacks=[("recorder", recorder), ("scheduler", scheduler)],
        ).fit(*iris)
        n_steps = 5 if step_every == "epoch" else 1
        expected = [0.008 * 0.5 ** (step // n_steps) for step in range(15)]
        np.testing.assert_allclose(recorder.rates, expected, rtol=1e-6)
        assert len(model.loss_curve_) == 3

    @for_each(TRAINED_BY_EPOCHS)
    def test_checkpoint(self, make, iris, tmp_path):
        X, y = iris
        checkpoint = Checkpoint(monitor=None, dirname=tmp_path)
        model = short(make, callbacks=[checkpoint]).fit(X, y)
        saved = torch.load(tmp_path / "params.pt", weights_only=True)
        for name, value in model.module_.state_dict().items():
            if make is MinibatchRegression and name == "bias":
                # Centred once training is over.
                saved[name] -= saved[name].mean()
            assert torch.equal(saved[name], value)
        assert (tmp_path / "optimizer.pt").exists()
        assert (tmp_path / "history.json").exists()

    @for_each(TRAINED_BY_EPOCHS)
    def test_tensorboard(self, make, iris, tmp_path):
        from tensorboard.backend.event_processing.event_accumulator import (
            EventAccumulator,
        )
        from torch.utils.tensorboard import SummaryWriter

        X, y = iris
        with SummaryWriter(tmp_path) as writer:
            model = short(make, callbacks=[TensorBoard(writer)])
            model.fit(X, y, X_val=X[:50], y_val=y[:50])
        events = EventAccumulator(str(tmp_path)).Reload()
        losses = [event.value for event in events.Scalars("Loss/train_loss")]
        np.testing.assert_allclose(losses, model.loss_curve_, rtol=1e-6)
        losses = [event.value for event in events.Scalars("Loss/valid_loss")]
        expected = -np.array(model.validation_scores_)
        np.testing.assert_allclose(losses, expected, rtol=1e-6)

    def test_checkpoint_of_the_best_validation_loss(self, iris, tmp_path):
        # skorch's default monitor, "valid_loss_best".
        X, y = iris
        checkpoint = Checkpoint(dirname=tmp_path)
        model = short(MLP, callbacks=[checkpoint])
        model.fit(X, y, X_val=X, y_val=y)
        assert (tmp_path / "params.pt").exists()
        assert model.net_.history[0, "valid_loss_best"] is True

    def test_epoch_scoring(self, iris):
        def accuracy(net, X, y):
            return (net.predict_proba(X).argmax(1) == np.asarray(y)).mean()

        X, y = iris
        scoring = EpochScoring(accuracy, lower_is_better=False, name="mine")
        model = short(MLP, callbacks=[scoring])
        model.fit(X, y, X_val=X[:50], y_val=y[:50])
        history = model.net_.history
        np.testing.assert_allclose(history[:, "mine"], history[:, "valid_acc"])

    @for_each(TRAINED_BY_EPOCHS)
    def test_gradient_norm_clipping(self, make, iris):
        X, y = iris
        options = {"lr_schedule": "constant", "learning_rate": 1.0}
        if make is MinibatchRegression:
            options |= {"solver": "sgd", "C": np.inf, "momentum": 0.0}
        else:
            options |= {"optimizer": "sgd", "weight_decay": 0.0, "momentum": 0.0}
        distance = {}
        for largest in (1e-3, 1e-6):
            start = short(make, **options, callbacks=[FirstState()])
            model = start.set_params(
                callbacks=[*start.callbacks, GradientNormClipping(largest)]
            ).fit(X, y)
            first = start.callbacks[0].parameters
            last = torch.cat([p.flatten() for p in model.module_.parameters()])
            distance[largest] = (last - first).norm().item()
        # 15 steps of learning rate 1, none longer than the largest gradient.
        assert 1e-4 < distance[1e-3] <= 15e-3
        assert distance[1e-6] <= 15e-6 * 1.1

    def test_callbacks_are_told_of_partial_fit(self, iris):
        X, y = iris
        recorder = Recorder()
        model = MLP(callbacks=[recorder], batch_size=75)
        model.partial_fit(X, y, classes=np.unique(y)).partial_fit(X, y)
        assert recorder.events.count("train begin") == 2
        assert recorder.events.count("batch end True") == 4

    def test_user_interrupt_in_a_callback_is_not_swallowed(self, iris):
        class Interrupt(Callback):
            def on_batch_end(self, net, **kwargs):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            MLP(callbacks=[Interrupt()]).fit(*iris)


class FirstState(Callback):
    r"""Keeps the parameters that training starts from."""

    def on_train_begin(self, net, **kwargs):
        parameters = [p.detach().flatten() for p in net.module_.parameters()]
        self.parameters = torch.cat(parameters).clone()


def _epochs_of(model):
    return "max_iter" if isinstance(model, SoftmaxRegression) else "max_epochs"


class TestNetIsASkorchNet:
    @for_each(ESTIMATORS)
    def test_predict_proba(self, make, iris):
        X, y = iris
        model = make().fit(X, y)
        proba = model.net_.predict_proba(X)
        np.testing.assert_allclose(proba, model.predict_proba(X), atol=1e-6)
        np.testing.assert_array_equal(model.classes_[proba.argmax(1)], model.predict(X))

    @for_each(TRAINED_BY_EPOCHS)
    def test_history(self, make, iris):
        history = short(make).fit(*iris).net_.history
        assert history[:, "epoch"] == [1, 2, 3]
        assert all(seconds > 0 for seconds in history[:, "dur"])
        losses = history[:, "train_loss"]
        assert all(loss > 0 for loss in losses)
        assert history[:, "train_loss_best"] == [
            loss < min(losses[:epoch], default=np.inf)
            for epoch, loss in enumerate(losses)
        ]

    @for_each(TRAINED_BY_EPOCHS)
    def test_history_with_validation_rows(self, make, iris):
        X, y = iris
        model = short(make).fit(X, y, X_val=X[:50], y_val=y[:50])
        valid_loss = model.net_.history[:, "valid_loss"]
        np.testing.assert_allclose(valid_loss, -np.array(model.validation_scores_))

    @for_each(ESTIMATORS)
    def test_save_and_load_params(self, make, iris, tmp_path):
        X, y = iris
        model = make().fit(X, y)
        before = model.predict_proba(X)
        paths = {
            "f_params": tmp_path / "params.pt",
            "f_history": tmp_path / "history.json",
        }
        if make is not Regression:  # which needs no optimizer
            paths["f_optimizer"] = tmp_path / "optimizer.pt"
        model.net_.save_params(**paths)
        n_epochs = len(model.net_.history)
        for _ in range(2):
            model.partial_fit(X, y)
        assert not same_bits(model.predict_proba(X), before)
        model.net_.load_params(**paths)
        assert same_bits(model.predict_proba(X), before)
        assert len(model.net_.history) == n_epochs


def make_in_place(n_features, n_classes):
    return nn.Sequential(nn.ReLU(inplace=True), nn.Linear(n_features, n_classes))


def test_a_module_that_works_in_place_leaves_the_rows_alone(iris):
    X, y = iris
    X = (X - X.mean(0)).astype(np.float32)
    before = X.copy()
    # Held rows are looked at as they are, without an index.
    model = Net(module=make_in_place, early_stopping=True)
    model.fit(X, y, X_val=X, y_val=y).predict_proba(X)
    np.testing.assert_array_equal(X, before)


class Interrupting(nn.Module):
    r"""Raises KeyboardInterrupt in the forward pass of a given training step."""

    def __init__(self, n_features, n_classes, step=None):
        super().__init__()
        self.linear = nn.Linear(n_features, n_classes)
        self.step = step
        self.n_steps = 0

    def forward(self, x):
        if self.training:
            self.n_steps += 1
            if self.n_steps == self.step:
                raise KeyboardInterrupt
        return self.linear(x)


class TestInterrupt:
    def test_fit_keeps_the_earlier_fit(self, iris):
        X, y = iris
        model = Net(module=Interrupting).fit(X, y)
        before = model.predict_proba(X)
        state = vars(model).copy()
        model.set_params(module__step=3)
        with pytest.raises(KeyboardInterrupt):
            model.fit(X[:, :2], y)
        assert same_bits(model.predict_proba(X), before)
        assert vars(model).keys() == state.keys()
        assert model.n_iter_ == state["n_iter_"]

    def test_first_fit_leaves_nothing(self, iris):
        model = Net(module=Interrupting, module_params={"step": 1})
        with pytest.raises(KeyboardInterrupt):
            model.fit(*iris)
        assert vars(model).keys() == vars(clone(model)).keys()

    @pytest.mark.parametrize("make", [MLP, CNN])
    def test_partial_fit_keeps_the_scaling_of_the_inputs(self, make, iris):
        class InterruptsTheSecondEpoch(Callback):
            def on_batch_end(self, net, **kwargs):
                if len(net.history) == 2:
                    raise KeyboardInterrupt

        X, y = iris
        model = make(callbacks=[InterruptsTheSecondEpoch()])
        model.partial_fit(X, y, classes=np.unique(y))
        before = model.predict_proba(X)
        with pytest.raises(KeyboardInterrupt):
            model.partial_fit(100 * X, y)
        assert same_bits(model.predict_proba(X), before)

    def test_partial_fit_goes_on_afterwards(self, iris):
        X, y = iris
        model = Net(module=Interrupting, batch_size=30)
        model.partial_fit(X, y, classes=np.unique(y))
        model.module_.step = model.module_.n_steps + 3
        with pytest.raises(KeyboardInterrupt):
            model.partial_fit(X, y)
        assert model.n_iter_ == len(model.loss_curve_) == 1
        model.module_.step = None
        model.partial_fit(X, y)
        assert model.n_iter_ == len(model.loss_curve_) == 2
