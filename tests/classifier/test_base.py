r"""What all estimators share: labels, dtypes, seeds, weights, early stopping."""

import random
from functools import cache, partial
from itertools import pairwise

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
    make_classification,
)
from sklearn.metrics import accuracy_score, log_loss
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback
from torch import nn
from torch.nn import functional as F

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
)


def make_module(n_features, n_classes, width=16):
    return nn.Sequential(
        nn.Linear(n_features, width),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(width, n_classes),
    )


# Called like the classes, but small and reproducible.
Regression = partial(SoftmaxRegression, random_state=0)
MinibatchRegression = partial(
    SoftmaxRegression,
    solver="adam",
    init_scale=0.01,
    learning_rate=0.02,
    max_iter=12,
    batch_size=32,
    random_state=0,
)
MLP = partial(
    SoftmaxMLPClassifier,
    hidden_layer_sizes=(16,),
    n_estimators=1,
    temperature_scaling=False,
    dropout=0.2,
    # What is added to the inputs and dropped from them has tests of its own.
    n_bins=None,
    input_dropout=0.0,
    learning_rate=0.02,
    weight_decay=0.01,
    max_epochs=12,
    random_state=0,
)
CNN = partial(
    SoftmaxCNNClassifier,
    channels=(4, 8),
    convolutions_per_block=1,
    kernel_size=3,
    dropout=0.2,
    learning_rate=0.02,
    max_epochs=12,
    random_state=0,
)
Net = partial(
    SoftmaxNetClassifier,
    module=make_module,
    learning_rate=0.02,
    max_epochs=12,
    random_state=0,
)

NETS = [
    pytest.param(MLP, id="mlp"),
    pytest.param(CNN, id="cnn"),
    pytest.param(Net, id="net"),
]
EXACT = [pytest.param(Regression, id="regression")]
MINIBATCH = [pytest.param(MinibatchRegression, id="minibatch")]

for_every = pytest.mark.parametrize("make", [*EXACT, *NETS])
for_every_random = pytest.mark.parametrize("make", [*MINIBATCH, *NETS])
for_every_solver = pytest.mark.parametrize("make", [*EXACT, *MINIBATCH, *NETS])
for_every_net = pytest.mark.parametrize("make", NETS)

# Fits take longer than hypothesis expects of an example.
few_examples = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.function_scoped_fixture,
        HealthCheck.differing_executors,
    ],
)


@cache
def shuffled_iris():
    # hypothesis prints the fixtures of a failing test, and these rows fill pages.
    X, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    return StandardScaler().fit_transform(X)[order], y[order]


@pytest.fixture(scope="module")
def iris():
    return shuffled_iris()


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X), y


@pytest.fixture(scope="module")
def digits():
    r"""Return 400 images with integer grey values up to 16."""
    X, y = load_digits(return_X_y=True)
    return X[:400], y[:400]


@pytest.fixture(scope="module")
def noisy():
    r"""Return a hard problem of two parts, on which nets overfit."""
    X, y = make_classification(
        400,
        10,
        n_informative=6,
        n_classes=3,
        flip_y=0.3,
        class_sep=0.7,
        random_state=0,
    )
    return (X[:250], y[:250]), (X[250:], y[250:])


@pytest.fixture(scope="module")
def fitted(iris):
    r"""Return a function that fits each estimator to iris only once."""
    models = {}

    def fit(make):
        if make not in models:
            models[make] = make().fit(*iris)
        return models[make]

    return fit


def same_bits(a, b):
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def epochs(model, number):
    r"""Set how many passes over the rows a model makes."""
    name = "max_iter" if isinstance(model, SoftmaxRegression) else "max_epochs"
    return model.set_params(**{name: number})


def state(model):
    r"""Return all parameters and buffers of a model's module as bytes."""
    return bytes_of(model.module_)


def bytes_of(module):
    return {
        name: tensor.numpy().tobytes() for name, tensor in module.state_dict().items()
    }


SPECIES = ["setosa", "versicolor", "virginica"]


class TestLabels:
    @pytest.mark.parametrize(
        ("names", "dtype"),
        [
            (np.array([0, 1, 2]), None),
            (np.array([-5, 7, 1000]), None),
            (np.array([-5, 7, 100], dtype=np.int8), None),
            (np.array([2, 3, 250], dtype=np.uint8), None),
            (np.array([1.0, 2.0, 5.0]), None),
            (np.array(SPECIES), None),
            (np.array(SPECIES, dtype="<U30"), None),
            (np.array(SPECIES, dtype=object), None),
            (np.array(["Zoë", "ábel", "中"], dtype=object), None),
        ],
        ids=str,
    )
    @for_every
    def test_arrays(self, make, names, dtype, iris):
        X, y = iris
        model = make().fit(X, names[y])
        predicted = model.predict(X)
        assert predicted.dtype == names.dtype
        assert model.classes_.dtype == names.dtype
        assert model.classes_.tolist() == sorted(names.tolist())
        assert (predicted == names[y]).mean() > 0.85
        assert type(predicted.tolist()[0]) is type(names.tolist()[0])

    @for_every
    def test_booleans(self, make, iris):
        X, y = iris
        model = make().fit(X, y == 0)
        predicted = model.predict(X)
        assert predicted.dtype == bool
        assert (predicted == (y == 0)).all()
        assert model.classes_.tolist() == [False, True]

    @pytest.mark.parametrize(
        "container",
        [
            pytest.param(list, id="list"),
            pytest.param(pd.Categorical, id="categorical"),
            pytest.param(partial(pd.Series, index=range(900, 750, -1)), id="series"),
            pytest.param(partial(pd.Series, dtype="category"), id="category"),
            pytest.param(partial(pd.Series, dtype="string"), id="string"),
            pytest.param(partial(pd.Series, dtype="str"), id="str"),
            pytest.param(partial(pd.Series, dtype=object), id="object"),
            pytest.param(lambda y: pl.Series(y), id="polars"),
            pytest.param(
                lambda y: pl.Series(y, dtype=pl.Enum(SPECIES)), id="polars-enum"
            ),
            pytest.param(
                lambda y: pl.Series(y, dtype=pl.Categorical), id="polars-categorical"
            ),
        ],
    )
    def test_containers_of_text(self, container, fitted, iris):
        X, y = iris
        names = np.array(SPECIES)[y].tolist()
        model = MLP().fit(X, container(names))
        assert model.classes_.tolist() == SPECIES
        # The same model as for a plain array, so the labels met their rows.
        expected = fitted(MLP)
        assert same_bits(model.predict_proba(X), expected.predict_proba(X))
        predicted = model.predict(X).tolist()
        assert predicted == [SPECIES[i] for i in expected.predict(X)]
        assert all(type(label) is str for label in predicted)

    @pytest.mark.parametrize(
        "container",
        [
            pytest.param(list, id="list"),
            pytest.param(partial(pd.Series, dtype="Int64"), id="nullable"),
            pytest.param(partial(pd.Series, dtype="category"), id="category"),
            pytest.param(pl.Series, id="polars"),
        ],
    )
    def test_containers_of_integers(self, container, iris):
        X, y = iris
        names = np.array([-5, 7, 1000])
        model = MLP().fit(X, container(names[y].tolist()))
        predicted = model.predict(X)
        assert predicted.dtype.kind == "i"
        assert predicted.tolist() == names[MLP().fit(X, y).predict(X)].tolist()

    def test_categories_without_rows_are_no_classes(self, iris):
        X, y = iris
        names = pd.Categorical(np.array(SPECIES)[y], [*reversed(SPECIES), "rose"])
        assert MLP().fit(X, names).classes_.tolist() == SPECIES

    @for_every
    def test_score_is_accuracy(self, make, iris):
        X, y = iris
        names = np.array(SPECIES)[y]
        model = make().fit(X, names)
        assert model.score(X, names) == accuracy_score(names, model.predict(X))
        assert model.score(X, names[::-1]) < 0.6


class TestPredictions:
    @for_every
    def test_probabilities(self, make, fitted, iris):
        X, y = iris
        proba = fitted(make).predict_proba(X)
        assert proba.shape == (150, 3)
        assert proba.dtype == np.float64
        np.testing.assert_allclose(proba.sum(1), 1, atol=1e-12)
        assert (proba > 0).all()
        assert log_loss(y, proba) < 0.6

    @for_every
    @pytest.mark.parametrize(
        ("dtype", "expected"),
        [
            ("float16", "float64"),
            ("float32", "float32"),
            ("float64", "float64"),
            (">f8", "float64"),
            ("int64", "float64"),
            ("int8", "float64"),
            ("bool", "float64"),
        ],
    )
    def test_dtypes_of_results(self, make, dtype, expected, fitted, iris):
        X = iris[0].astype(dtype)
        model = fitted(make)
        for method in ("predict_proba", "predict_log_proba", "decision_function"):
            assert getattr(model, method)(X).dtype == expected
        np.testing.assert_allclose(model.predict_proba(X).sum(1), 1, atol=1e-6)

    @for_every
    def test_agree_with_each_other(self, make, fitted, iris):
        X, _ = iris
        model = fitted(make)
        proba, logits = model.predict_proba(X), model.decision_function(X)
        np.testing.assert_allclose(
            proba, torch.from_numpy(logits).softmax(1).numpy(), rtol=1e-12
        )
        # The logarithm of a number next to 1 has few digits.
        np.testing.assert_allclose(
            model.predict_log_proba(X), np.log(proba), rtol=1e-9, atol=1e-15
        )
        assert (model.predict(X) == model.classes_[proba.argmax(1)]).all()

    @for_every
    def test_module_gives_the_logits(self, make, fitted, iris):
        X = iris[0].astype(np.float32)
        model = fitted(make)
        assert not model.module_.training
        with torch.no_grad():
            logits = model.module_(torch.from_numpy(X).to(first_dtype(model))).numpy()
        np.testing.assert_allclose(model.decision_function(X), logits, atol=1e-5)

    @for_every
    def test_two_classes(self, make, cancer):
        X, y = cancer
        names = np.array(["malignant", "benign"])[y]
        model = make().fit(X, names)
        scores = model.decision_function(X)
        assert scores.shape == (len(y),)
        assert model.classes_.tolist() == ["benign", "malignant"]
        assert ((scores > 0) == (model.predict(X) == "malignant")).all()
        proba = model.predict_proba(X)
        assert proba.shape == (len(y), 2)
        # The difference of the logits is the log odds.
        np.testing.assert_allclose(proba[:, 1], 1 / (1 + np.exp(-scores)), atol=1e-7)
        assert model.score(X, names) > 0.85

    @for_every
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_log_of_probabilities_too_small_for_a_float(self, make, dtype, iris):
        X, y = iris
        # One test row lies far outside, so that its logits are huge.
        # Input scaling would limit its distance.
        options = {"input_scaling": None} if make in (MLP, CNN) else {}
        if make is Regression:
            options = {"C": 1e6, "tol": 1e-4}
        model = make(**options).fit(X, y)
        X = (1e5 * X).astype(dtype)
        proba, log_proba = model.predict_proba(X), model.predict_log_proba(X)
        assert (proba == 0).any()
        assert np.isfinite(log_proba).all()
        assert log_proba.min() < -1000
        some = proba > 1e-30
        np.testing.assert_allclose(
            log_proba[some], np.log(proba[some]), rtol=1e-4, atol=1e-6
        )

    @for_every
    @pytest.mark.filterwarnings("ignore:.* has learned nothing")
    def test_log_of_probabilities_on_wide_data(self, make):
        # The scale of the logits grows with the number of features.
        X, y = make_classification(40, 2000, n_informative=50, random_state=0)
        X = 100 * X.astype(np.float32)
        model = (
            SoftmaxRegression(C=1e3)
            if make is Regression
            else make(learning_rate=0.1).fit(X, y)
        )
        model.fit(X, y)
        log_proba = model.predict_log_proba(X * np.float32(100))
        assert np.isfinite(log_proba).all()
        np.testing.assert_allclose(np.exp(log_proba).sum(1), 1, atol=1e-5)

    @for_every
    def test_one_row(self, make, fitted, iris):
        X, _ = iris
        model = fitted(make)
        every = model.predict_proba(X)
        for row in (0, 77, 149):
            one = model.predict_proba(X[row : row + 1])
            assert one.shape == (1, 3)
            np.testing.assert_allclose(one[0], every[row], atol=1e-6)

    @for_every
    @few_examples
    @given(cuts=st.lists(st.integers(1, 149), max_size=8, unique=True))
    def test_rows_in_any_batches(self, make, fitted, cuts):
        X, _ = shuffled_iris()
        model = fitted(make)
        parts = np.split(X, sorted(cuts))
        in_parts = np.concatenate([model.predict_proba(part) for part in parts])
        np.testing.assert_allclose(in_parts, model.predict_proba(X), atol=1e-6)

    @for_every
    @few_examples
    @given(order=st.permutations(range(150)), n_rows=st.integers(1, 150))
    def test_rows_in_any_order(self, make, fitted, order, n_rows):
        X, _ = shuffled_iris()
        model = fitted(make)
        order = order[:n_rows]
        np.testing.assert_allclose(
            model.predict_proba(X[order]), model.predict_proba(X)[order], atol=1e-6
        )

    @for_every
    def test_more_rows_than_one_forward_pass(self, make, fitted, iris):
        X, _ = iris
        model = fitted(make)
        many = np.tile(X, (60, 1))
        proba = model.predict_proba(many)
        assert proba.shape == (9000, 3)
        np.testing.assert_allclose(
            proba, np.tile(model.predict_proba(X), (60, 1)), atol=1e-6
        )

    @for_every
    def test_predicting_changes_nothing(self, make, fitted, iris):
        model = fitted(make)
        before = set(vars(model)), state(model)
        model.predict(iris[0])
        model.predict_log_proba(iris[0])
        assert (set(vars(model)), state(model)) == before


def first_dtype(model):
    return next(model.module_.parameters()).dtype


class KeepTable(Callback):
    r"""Keeps the table that a net was trained on."""

    def on_train_begin(self, net, X=None, **kwargs):
        self.table = X


LAYOUTS = [
    pytest.param(lambda X, path: X, id="C-ordered"),
    pytest.param(lambda X, path: np.asfortranarray(X), id="F-ordered"),
    pytest.param(lambda X, path: X[::-1].copy()[::-1], id="negative-rows"),
    pytest.param(lambda X, path: X[:, ::-1].copy()[:, ::-1], id="negative-columns"),
    pytest.param(lambda X, path: np.repeat(X, 2, 0)[::2], id="strided-rows"),
    pytest.param(lambda X, path: np.repeat(X, 2, 1)[:, ::2], id="strided-columns"),
    pytest.param(lambda X, path: read_only(X), id="read-only"),
    pytest.param(lambda X, path: on_disk(X, path, "r"), id="memmap"),
    pytest.param(lambda X, path: on_disk(X, path, "c"), id="memmap-copy-on-write"),
    pytest.param(lambda X, path: X.astype(X.dtype.newbyteorder()), id="big-endian"),
    pytest.param(lambda X, path: X.astype(object), id="object"),
    pytest.param(lambda X, path: X.tolist(), id="list"),
]


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def on_disk(X, path, mode):
    np.save(path / "X.npy", X)
    return np.load(path / "X.npy", mmap_mode=mode)


class TestInput:
    @for_every
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_layouts(self, make, layout, fitted, iris, tmp_path):
        X, y = iris
        same = layout(X, tmp_path)
        model = make().fit(same, y)
        expected = fitted(make).predict_proba(X)
        assert same_bits(model.predict_proba(X), expected)
        assert same_bits(model.predict_proba(same), expected)

    @for_every
    def test_one_row_backwards(self, make, fitted, iris):
        # NumPy calls an array of one row C-contiguous whatever its stride is.
        X, _ = iris
        model = fitted(make)
        row = X[:1][::-1]
        assert row.flags.c_contiguous
        assert row.strides[0] < 0
        assert same_bits(model.predict_proba(row), model.predict_proba(X[:1]))

    @for_every_solver
    @pytest.mark.parametrize(
        "dtype", ["float32", "float16", "uint8", "int16", "int64", "uint16"]
    )
    def test_dtypes(self, make, dtype, digits):
        X, y = digits[0][:200], digits[1][:200]
        # Well conditioned, so that float32 is enough for the exact solver.
        expected = make(**({"C": 1e-3} if make is Regression else {}))
        epochs(expected, 30 if make is Regression else 4).fit(X, y)
        model = clone(expected).fit(X.astype(dtype), y)
        np.testing.assert_allclose(
            model.predict_proba(X.astype(dtype)), expected.predict_proba(X), atol=2e-3
        )
        # One model reads all dtypes alike.
        np.testing.assert_allclose(
            expected.predict_proba(X.astype(dtype)),
            expected.predict_proba(X),
            atol=1e-5,
        )

    @for_every_solver
    @pytest.mark.parametrize("dtype", ["float64", "float32", "uint8", "int64"])
    def test_arrays_stay_as_they_were(self, make, dtype, digits):
        X, y = digits
        arrays = {
            "X": X.astype(dtype),
            "y": y.copy(),
            "sample_weight": np.random.default_rng(0).uniform(0, 2, len(y)).round(1),
        }
        if make is not Regression:
            arrays["X_val"] = X[:99].astype(dtype)
            arrays["y_val"] = y[:99].copy()
            arrays["sample_weight_val"] = np.linspace(0, 1, 99)
        before = {name: array.tobytes() for name, array in arrays.items()}
        model = make(class_weight={0: 2.0})
        epochs(model, 30 if make is Regression else 3).fit(**arrays)
        model.predict_proba(arrays["X"])
        if make is not Regression:
            model.partial_fit(arrays["X"], arrays["y"])
        assert {name: array.tobytes() for name, array in arrays.items()} == before

    @for_every_random
    @pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
    def test_table_is_not_copied(self, make, dtype, digits):
        X, y = digits
        X = X.astype(dtype)
        keep = KeepTable()
        make(callbacks=[keep], early_stopping=True).fit(X, y)
        assert keep.table.stored_X.dtype == getattr(torch, dtype)
        assert keep.table.stored_X.data_ptr() == X.ctypes.data

    @for_every
    def test_float64_is_centred_before_it_is_rounded(self, make):
        # A clock in seconds: float32 would round it to steps of two minutes.
        if make is Net:
            pytest.skip("features reach the user's module unscaled")
        X, y = load_iris(return_X_y=True)
        shifted = X + 1.7e9
        options = {"C": 100.0} if make is Regression else {}
        model = make(**options).fit(shifted, y)
        assert model.score(shifted, y) > 0.85
        np.testing.assert_allclose(
            model.predict_proba(shifted),
            make(**options).fit(X, y).predict_proba(X),
            atol=0.05,
        )


class TestRandomState:
    @for_every_random
    def test_same_integer_same_bits(self, make, iris):
        a, b = make(random_state=7).fit(*iris), make(random_state=7).fit(*iris)
        assert state(a) == state(b)
        assert a.loss_curve_ == b.loss_curve_
        # Fitting again starts anew.
        assert state(a.fit(*iris)) == state(b)

    @for_every_random
    def test_other_integer_other_bits(self, make, iris):
        a, b = make(random_state=7).fit(*iris), make(random_state=8).fit(*iris)
        assert state(a) != state(b)
        assert a.loss_curve_ != b.loss_curve_

    @for_every_random
    def test_everything_random_follows_it(self, make, iris):
        X, y = iris
        initial = {}
        for seed in (7, 8):
            model = make(random_state=seed)
            # A rate so small that the weights stay where they started.
            model.set_params(learning_rate=1e-12)
            initial[seed] = epochs(model, 1).fit(X, y).predict_proba(X)
        assert np.abs(initial[7] - initial[8]).max() > 1e-4

    @for_every_random
    def test_generator_is_consumed(self, make, iris):
        generator = np.random.RandomState(7)
        a = make(random_state=generator).fit(*iris)
        b = make(random_state=generator).fit(*iris)
        assert state(a) != state(b)
        again = np.random.RandomState(7)
        assert state(make(random_state=again).fit(*iris)) == state(a)
        assert state(make(random_state=again).fit(*iris)) == state(b)

    @for_every_random
    def test_none_differs_each_time(self, make, iris):
        models = [make(random_state=None).fit(*iris) for _ in range(2)]
        assert state(models[0]) != state(models[1])

    @for_every_random
    def test_none_follows_numpy(self, make, iris):
        # As everywhere in scikit-learn, None means NumPy's global generator.
        before = np.random.get_state()
        try:
            models = []
            for _ in range(2):
                np.random.seed(3)
                models.append(make(random_state=None).fit(*iris))
        finally:
            np.random.set_state(before)
        assert state(models[0]) == state(models[1])

    @for_every_random
    @pytest.mark.parametrize("early_stopping", [False, True])
    def test_global_generators_untouched(self, make, early_stopping, iris):
        def generators():
            return (
                torch.get_rng_state().numpy().tobytes(),
                str(np.random.get_state()),
                random.getstate(),
            )

        X, y = iris
        before = generators()
        model = make(early_stopping=early_stopping).fit(X, y)
        model.predict_proba(X)
        model.set_params(early_stopping=False, warm_start=True).fit(X, y)
        clone(model).partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X, y)
        assert generators() == before

    @for_every_random
    def test_independent_of_global_generators(self, make, iris):
        before = torch.get_rng_state(), np.random.get_state(), random.getstate()
        states = []
        try:
            for seed in (1, 2):
                torch.manual_seed(seed)
                np.random.seed(seed)
                random.seed(seed)
                states.append(state(make().fit(*iris)))
        finally:
            torch.set_rng_state(before[0])
            np.random.set_state(before[1])
            random.setstate(before[2])
        assert states[0] == states[1]

    def test_global_generator_comes_back_after_an_error(self, iris):
        class Fails(nn.Linear):
            def forward(self, x):
                if self.training:
                    torch.rand(3)
                    raise ArithmeticError
                return super().forward(x)

        before = torch.get_rng_state()
        with pytest.raises(ArithmeticError):
            Net(module=Fails).fit(*iris)
        assert torch.equal(torch.get_rng_state(), before)

    @for_every_solver
    def test_two_threads(self, make, digits):
        X, y = digits[0][:64], digits[1][:64]
        one = epochs(make(), 30 if make is Regression else 2).fit(X, y)
        torch.set_num_threads(2)
        try:
            two, again = clone(one).fit(X, y), clone(one).fit(X, y)
        finally:
            torch.set_num_threads(1)
        assert state(two) == state(again)
        np.testing.assert_allclose(
            two.predict_proba(X), one.predict_proba(X), atol=1e-4
        )

    @for_every_net
    def test_dropout_is_drawn_anew_in_each_step(self, make, iris):
        X, y = iris
        model = make(
            learning_rate=1e-12,
            batch_size=150,
            lr_schedule="constant",
            weight_decay=0.0,
        ).fit(X, y)
        # The weights stay, the masks change, and so does the loss.
        assert len(set(np.round(model.loss_curve_, 5))) > 5


def copies_of(*arrays, times):
    return [np.repeat(array, times, axis=0) for array in arrays]


class TestSampleWeight:
    @for_every_solver
    @few_examples
    @given(seed=st.integers(0, 10**6))
    def test_zero_is_removal(self, make, seed):
        X, y = shuffled_iris()
        rng = np.random.default_rng(seed)
        weight = rng.uniform(0.1, 3, len(y)) * (rng.random(len(y)) < 0.7)
        kept = weight > 0
        model = epochs(make(), 30 if make is Regression else 2)
        model.fit(X, y, sample_weight=weight)
        alone = clone(model).fit(X[kept], y[kept], sample_weight=weight[kept])
        assert state(model) == state(alone)

    @for_every_solver
    def test_zero_and_one_is_selection(self, make, iris):
        X, y = iris
        kept = np.random.default_rng(0).random(len(y)) < 0.7
        model = make().fit(X, y, sample_weight=kept.astype(float))
        alone = make().fit(X[kept], y[kept])
        np.testing.assert_allclose(
            model.predict_proba(X), alone.predict_proba(X), atol=1e-4
        )

    @for_every_random
    def test_zero_is_removal_before_the_holding_out(self, make, iris):
        X, y = iris
        kept = np.random.default_rng(0).random(len(y)) < 0.7
        weight = kept.astype(float)
        model = make(early_stopping=True).fit(X, y, sample_weight=weight)
        alone = make(early_stopping=True)
        alone.fit(X[kept], y[kept], sample_weight=weight[kept])
        assert state(model) == state(alone)
        assert model.validation_scores_ == alone.validation_scores_

    @for_every_solver
    def test_zero_in_partial_fit(self, make, iris):
        X, y = iris
        weight = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
        kept = weight > 0
        model, alone = make(), make()
        for _ in range(2):
            model.partial_fit(X, y, [0, 1, 2], weight)
            alone.partial_fit(X[kept], y[kept], [0, 1, 2], weight[kept])
        assert state(model) == state(alone)

    @few_examples
    @given(
        times=st.lists(st.integers(0, 4), min_size=150, max_size=150).filter(
            lambda times: sum(times[:50]) * sum(times[50:100]) * sum(times[100:])
        ),
        C=st.sampled_from([0.01, 1.0, 100.0]),
    )
    def test_integers_are_repetitions(self, times, C):
        X, y = load_iris(return_X_y=True)
        weighted = SoftmaxRegression(C=C).fit(X, y, sample_weight=times)
        repeated = SoftmaxRegression(C=C).fit(*copies_of(X, y, times=times))
        np.testing.assert_allclose(
            weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-6
        )
        np.testing.assert_allclose(
            weighted.coef_, repeated.coef_, atol=1e-6 * np.abs(repeated.coef_).max()
        )

    @for_every
    def test_ones_are_no_weights(self, make, iris):
        X, y = iris
        plain = make().fit(X, y).predict_proba(X)
        ones = make().fit(X, y, sample_weight=np.ones(len(y))).predict_proba(X)
        np.testing.assert_allclose(ones, plain, atol=1e-4)

    @for_every_net
    @pytest.mark.parametrize("exponent", [-10, 20, -200, 200])
    def test_common_factor_does_not_matter(self, make, exponent, iris):
        X, y = iris
        weight = np.random.default_rng(0).uniform(0.1, 3, len(y))
        one = make().fit(X, y, sample_weight=weight)
        # Multiplying by a power of two rounds nothing.
        other = make().fit(X, y, sample_weight=2.0**exponent * weight)
        assert same_bits(other.predict_proba(X), one.predict_proba(X))

    @for_every_solver
    def test_tiny_beside_large(self, make, iris):
        # As AdaBoost makes them. The tiny ones fill whole batches.
        X, y = iris
        weight = np.where(np.arange(len(y)) < 20, 1.0, 1e-50)
        proba = make().fit(X, y, sample_weight=weight).predict_proba(X)
        assert np.isfinite(proba).all()

    @for_every_random
    def test_share_of_the_weight_is_learned(self, make):
        # Features say nothing: what is left to learn is the share of each class.
        if make is CNN:
            pytest.skip("normalises by batch")
        X = np.zeros((128, 4))
        y = np.tile([0, 1], 64)
        weight = np.where(y == 1, 9.0, 1.0)
        model = make(batch_size=128, lr_schedule="cosine")
        if make is MLP:
            model.set_params(dropout=0.0)
        epochs(model, 640).fit(X, y, weight)
        assert model.predict_proba(X[:1])[0, 1] == pytest.approx(0.9, abs=0.03)

    @for_every
    def test_scalar_and_list(self, make, iris):
        X, y = iris
        weight = np.linspace(0.5, 2, len(y))
        as_array = make().fit(X, y, sample_weight=weight).predict_proba(X)
        as_list = make().fit(X, y, sample_weight=weight.tolist()).predict_proba(X)
        assert same_bits(as_array, as_list)


class TestClassWeight:
    @pytest.fixture
    def unbalanced(self, noisy):
        (X, y), _ = noisy
        kept = (y != 1) | (np.arange(len(y)) % 5 == 0)
        return X[kept], y[kept]

    @staticmethod
    def balanced(y):
        return {k: len(y) / (3 * np.sum(y == k)) for k in range(3)}

    @for_every_solver
    def test_balanced_is_its_dict(self, make, unbalanced):
        X, y = unbalanced
        balanced = make(class_weight="balanced").fit(X, y)
        written = make(class_weight=self.balanced(y)).fit(X, y)
        assert state(balanced) == state(written)

    @for_every_solver
    def test_dict_is_sample_weight(self, make, unbalanced):
        X, y = unbalanced
        # Class weights are no observations: they leave the input scaling alone.
        options = {"input_scaling": None} if make in (MLP, CNN) else {}
        by_class = make(class_weight=self.balanced(y), **options).fit(X, y)
        weight = np.array([self.balanced(y)[label] for label in y])
        by_row = make(**options).fit(X, y, sample_weight=weight)
        np.testing.assert_allclose(
            by_class.predict_proba(X), by_row.predict_proba(X), atol=1e-6
        )

    @for_every_solver
    def test_raises_the_rare_class(self, make, unbalanced):
        X, y = unbalanced
        plain = make().fit(X, y).predict_proba(X)[:, 1].mean()
        balanced = make(class_weight="balanced").fit(X, y)
        assert balanced.predict_proba(X)[:, 1].mean() > plain + 0.1

    @for_every_solver
    def test_multiplies_with_sample_weight(self, make, iris):
        X, y = iris
        options = {"input_scaling": None} if make in (MLP, CNN) else {}
        weight = np.linspace(0.5, 2, len(y))
        both = make(class_weight={1: 3.0}, **options).fit(X, y, weight)
        product = weight * np.where(y == 1, 3.0, 1.0)
        expected = make(**options).fit(X, y, product).predict_proba(X)
        np.testing.assert_allclose(both.predict_proba(X), expected, atol=1e-6)

    @for_every_solver
    def test_text_labels(self, make, iris):
        X, y = iris
        names = np.array(SPECIES)[y]
        by_name = make(class_weight={"versicolor": 3.0}).fit(X, names)
        by_number = make(class_weight={1: 3.0}).fit(X, y)
        assert state(by_name) == state(by_number)


def watched(make, noisy, **params):
    r"""Fit a net to noise for many epochs, watching other rows."""
    (X, y), (X_val, y_val) = noisy
    model = make(
        # Linear maps and the net of dense layers overfit; convolutions never settle.
        learning_rate=0.1 if hasattr(make(), "image_shape") else 0.05,
        lr_schedule="constant",
        batch_size=32,
        **params,
    )
    return epochs(model, 25).fit(X, y, X_val=X_val, y_val=y_val)


class TestEarlyStopping:
    @for_every_random
    @pytest.mark.parametrize("scoring", ["loss", "accuracy"])
    def test_best_epoch_is_restored(self, make, scoring, noisy):
        model = watched(
            make, noisy, early_stopping=True, scoring=scoring, n_iter_no_change=25
        )
        X_val, y_val = noisy[1]
        scores = model.validation_scores_
        assert len(scores) == len(model.loss_curve_) == np.ravel(model.n_iter_)[0] == 25
        if scoring == "loss":
            final = -log_loss(y_val, model.predict_proba(X_val))
        else:
            final = model.score(X_val, y_val)
        assert final == pytest.approx(max(scores), abs=1e-5)
        assert model.best_epoch_ == np.argmax(scores) + 1
        # There was something to restore: the last epoch is not the best.
        assert scores[-1] < max(scores) - 1e-3

    @for_every_random
    def test_coefficients_are_those_of_the_best_epoch(self, make, noisy):
        model = watched(make, noisy, early_stopping=True, n_iter_no_change=25)
        X_val, _ = noisy[1]
        np.testing.assert_allclose(
            model.net_.predict_proba(X_val.astype(np.float32)),
            model.predict_proba(X_val),
            atol=1e-5,
        )
        if make is MinibatchRegression:
            logits = X_val @ model.coef_.T + model.intercept_
            np.testing.assert_allclose(
                logits, model.decision_function(X_val), atol=1e-4
            )

    @for_every_random
    def test_stops(self, make, noisy):
        model = watched(make, noisy, early_stopping=True, n_iter_no_change=1)
        scores = model.validation_scores_
        n_epochs = np.ravel(model.n_iter_)[0]
        assert len(scores) == len(model.loss_curve_) == n_epochs < 25
        # It went on as long as each epoch beat all before it by `tol`.
        assert all(
            later > earlier + model.tol for earlier, later in pairwise(scores[:-1])
        )
        assert scores[-1] <= max(scores[:-1]) + model.tol

    @for_every_random
    def test_patience(self, make, noisy):
        model = watched(make, noisy, early_stopping=True, n_iter_no_change=3, tol=10.0)
        # Nothing beats the first epoch by 10.
        assert np.ravel(model.n_iter_).tolist() == [4]

    @for_every_random
    def test_watching_alone_changes_nothing(self, make, noisy):
        model = watched(make, noisy)
        (X, y), (X_val, y_val) = noisy
        assert len(model.validation_scores_) == model.best_epoch_ == 25
        final = -log_loss(y_val, model.predict_proba(X_val))
        assert model.validation_scores_[-1] == pytest.approx(final, abs=1e-5)
        alone = clone(model).fit(X, y)
        assert alone.validation_scores_ is None
        assert state(alone) == state(model)

    @for_every_random
    def test_held_out_rows_are_stratified(self, make):
        X, y = make_classification(
            300, 4, n_informative=3, n_redundant=0, weights=[0.9], random_state=0
        )
        table = {}

        class KeepValidation(Callback):
            def on_epoch_begin(self, net, dataset_train, dataset_valid, **kwargs):
                table["train"] = dataset_train.rows
                table["valid"] = dataset_valid.rows

        model = make(
            early_stopping=True,
            validation_fraction=0.2,
            callbacks=[KeepValidation()],
        ).fit(X, y)
        train, valid = table["train"].numpy(), table["valid"].numpy()
        assert sorted([*train, *valid]) == list(range(300))
        assert len(valid) == 60
        assert y[valid].mean() == pytest.approx(y.mean(), abs=1 / 60)
        final = -log_loss(y[valid], model.predict_proba(X[valid]))
        assert max(model.validation_scores_) == pytest.approx(final, abs=1e-5)

    @for_every_net
    def test_input_scaling_ignores_held_out_rows(self, make, iris):
        if make is Net:
            pytest.skip("features reach the user's module unscaled")
        X, y = iris
        model = make(early_stopping=True).fit(X, y)
        everything = make().fit(X, y)
        scaling, of_all = model.module_.input_scaling, everything.module_.input_scaling
        assert (scaling.weight_seen == 135).all()
        assert (of_all.weight_seen == 150).all()
        assert not torch.equal(scaling.mean, of_all.mean)

    @for_every_random
    def test_weights_of_validation_rows(self, make, noisy):
        (X, y), (X_val, y_val) = noisy
        weight = np.linspace(0, 3, len(y_val))
        for scoring in ("loss", "accuracy"):
            model = make(scoring=scoring).fit(
                X, y, X_val=X_val, y_val=y_val, sample_weight_val=weight
            )
            expected = (
                -log_loss(y_val, model.predict_proba(X_val), sample_weight=weight)
                if scoring == "loss"
                else model.score(X_val, y_val, sample_weight=weight)
            )
            assert model.validation_scores_[-1] == pytest.approx(expected, abs=1e-5)

    @for_every_random
    @pytest.mark.parametrize("how", ["held out", "passed"])
    def test_class_weight_is_for_training_only(self, make, how, noisy):
        # Documented: the validation score is the negative log loss.
        (X, y), (X_val, y_val) = noisy
        table = {}

        class KeepValidation(Callback):
            def on_epoch_begin(self, net, dataset_train, dataset_valid, **kwargs):
                table["valid"] = dataset_valid.rows

        model = make(
            early_stopping=True, class_weight={0: 5.0}, callbacks=[KeepValidation()]
        )
        if how == "passed":
            model.fit(X, y, X_val=X_val, y_val=y_val)
        else:
            model.fit(X, y)
            X_val, y_val = X[table["valid"]], y[table["valid"]]
        final = -log_loss(y_val, model.predict_proba(X_val))
        assert max(model.validation_scores_) == pytest.approx(final, abs=1e-5)

    @for_every_net
    def test_label_smoothing_is_for_training_only(self, make, noisy):
        # Documented: the validation score is the negative log loss.
        model = watched(make, noisy, label_smoothing=0.3)
        X_val, y_val = noisy[1]
        final = -log_loss(y_val, model.predict_proba(X_val))
        assert model.validation_scores_[-1] == pytest.approx(final, abs=1e-5)


class TestLossCurve:
    @for_every_solver
    def test_falls(self, make, iris):
        model = make().fit(*iris)
        curve = model.loss_curve_
        assert all(type(loss) is float for loss in curve)
        assert curve[-1] < 0.7 * curve[0]
        n_iter = np.ravel(model.n_iter_)[0]
        # The exact solver lists the start as well.
        assert len(curve) == n_iter + (make is Regression)

    def test_exact_solver_never_rises(self, digits):
        curve = Regression().fit(*digits).loss_curve_
        assert curve[0] == pytest.approx(np.log(10))
        assert (np.diff(curve) <= 1e-12).all()

    @for_every_net
    @pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_is_torchs_cross_entropy(self, make, smoothing, weighted, iris):
        X, y = iris
        weight = np.linspace(0.1, 3, len(y)) if weighted else None
        # Weights that stay where they started, so that the loss can be recomputed.
        options = {"learning_rate": 1e-12, "batch_size": 150, "max_epochs": 1}
        if make is not Net:
            options |= {"dropout": 0.0}
        if make is CNN:
            options |= {"normalization": None}
        if make is Net:
            options |= {"module": nn.Linear}
        model = make(label_smoothing=smoothing, **options).fit(X, y, weight)
        losses = F.cross_entropy(
            torch.from_numpy(model.decision_function(X)),
            torch.from_numpy(y),
            reduction="none",
            label_smoothing=smoothing,
        ).numpy()
        expected = np.average(losses, weights=weight)
        assert model.loss_curve_[0] == pytest.approx(expected, rel=1e-5)

    @for_every_net
    def test_label_smoothing_tempers_probabilities(self, make, iris):
        X, y = iris
        sharp = epochs(make(), 30).fit(X, y).predict_proba(X)
        smooth = epochs(make(label_smoothing=0.3), 30).fit(X, y).predict_proba(X)
        assert smooth.max(1).mean() < sharp.max(1).mean() - 0.05


@for_every_random
def test_gradients_may_be_off_around_a_fit(make, iris):
    expected = state(make().fit(*iris))
    with torch.no_grad():
        assert state(make().fit(*iris)) == expected
        assert not torch.is_grad_enabled()


class TestWarmStart:
    @for_every_random
    def test_loss_goes_on_where_it_ended(self, make, iris):
        X, y = iris
        options = {} if make in (MinibatchRegression, Net) else {"dropout": 0.0}
        model = epochs(make(warm_start=True, **options), 20).fit(X, y)
        first = model.loss_curve_
        second = model.fit(X, y).loss_curve_
        assert len(second) == 20
        assert second[0] < (first[0] + first[-1]) / 2
        assert min(second) < min(first)

    @for_every_random
    def test_the_same_rows_are_held_out_again(self, make, iris):
        # Otherwise rows that were learned from choose the epoch of the second fit.
        options = {"normalization": None} if make is CNN else {}
        model = make(warm_start=True, early_stopping=True, random_state=None, **options)
        model = epochs(model, 1).set_params(learning_rate=1e-12)
        scores = [model.fit(*iris).validation_scores_[0] for _ in range(3)]
        np.testing.assert_allclose(scores, scores[0], rtol=1e-5)

    @for_every_solver
    def test_nothing_is_reset(self, make, iris):
        X, y = iris
        # Running statistics of a normalisation would move without gradients.
        options = {"normalization": None} if make is CNN else {}
        model = make(warm_start=True, **options).fit(X, y)
        before = model.predict_proba(X)
        if make is Regression:
            model.fit(X, y)
            # At the optimum there is no step left to take.
            assert len(model.loss_curve_) <= 2
        else:
            model.set_params(learning_rate=1e-12).fit(X, y)
        np.testing.assert_allclose(model.predict_proba(X), before, atol=1e-6)

    @pytest.mark.parametrize(
        ("make", "changed", "difference"),
        [
            (MLP, {"hidden_layer_sizes": (5,)}, "hidden.0.*=5"),
            (MLP, {"n_estimators": 2}, "hidden.0"),
            (MLP, {"activation": "tanh"}, "not Tanh"),
            (CNN, {"channels": (4, 5)}, "Conv2d"),
            (Regression, {"fit_intercept": False}, "bias=True.*, not .*bias=False"),
            (Net, {"module_params": {"width": 3}}, "not Linear.*features=3"),
        ],
    )
    def test_another_net_is_refused(self, make, changed, difference, iris):
        model = make(warm_start=True).fit(*iris)
        before = model.predict_proba(iris[0])
        with pytest.raises(ValueError, match=f"parameters describe: .*{difference}"):
            model.set_params(**changed).fit(*iris)
        np.testing.assert_array_equal(model.predict_proba(iris[0]), before)

    @for_every_random
    def test_earlier_module_is_left_alone(self, make, iris):
        model = make(warm_start=True).fit(*iris)
        module, before = model.module_, state(model)
        model.fit(*iris)
        assert model.module_ is not module
        assert bytes_of(module) == before
        assert state(model) != before

    @for_every_random
    def test_without_it_fit_starts_anew(self, make, iris):
        model = make().fit(*iris)
        before = state(model)
        assert state(model.fit(*iris)) == before


class LearningRates(Callback):
    def initialize(self):
        self.rates = []
        return self

    def on_batch_end(self, net, **kwargs):
        self.rates.append(net.optimizer_.param_groups[0]["lr"])


class TestPartialFit:
    @for_every_solver
    def test_learns(self, make, iris):
        X, y = iris
        model = make()
        for call in range(1, 31):
            model.partial_fit(X, y, classes=[0, 1, 2])
            assert np.ravel(model.n_iter_)[0] == len(model.loss_curve_) == call
        assert model.score(X, y) > 0.85
        assert model.loss_curve_[-1] < model.loss_curve_[0]

    @for_every_solver
    def test_continues_after_fit(self, make, iris):
        X, y = iris
        model = make().fit(X, y)
        before = model.predict_proba(X)
        model.set_params(learning_rate=0.5).partial_fit(X, y)
        after = model.predict_proba(X)
        assert 1e-6 < np.abs(after - before).max() < 0.5

    @for_every_solver
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_weights_after_fit(self, make, dtype, iris):
        X, y = iris[0].astype(dtype), iris[1]
        model = make().fit(X, y)
        before = model.predict_proba(X)
        model.partial_fit(X, y, sample_weight=np.linspace(0.1, 2, len(y)))
        assert np.abs(model.predict_proba(X) - before).max() > 1e-7

    @for_every_random
    def test_after_fit_with_early_stopping(self, make, iris):
        # What the message of partial_fit with early_stopping=True recommends.
        X, y = iris
        model = make(early_stopping=True).fit(X, y)
        n_epochs = len(model.loss_curve_)
        model.set_params(early_stopping=False).partial_fit(X, y)
        assert len(model.loss_curve_) == n_epochs + 1

    @for_every_random
    def test_after_fit_that_watched_rows(self, make, iris):
        X, y = iris
        model = make().fit(X, y, X_val=X, y_val=y).partial_fit(X, y)
        assert len(model.loss_curve_) == 13

    @for_every_random
    @pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "constant"])
    @pytest.mark.parametrize("fitted_before", [False, True])
    def test_learning_rate_is_constant_within_a_call(
        self, make, schedule, fitted_before, iris
    ):
        X, y = iris
        rates = LearningRates()
        model = make(
            lr_schedule=schedule, learning_rate=0.03, batch_size=30, callbacks=[rates]
        )
        if fitted_before:
            model.fit(X, y)
            rates.rates.clear()
        model.partial_fit(X, y, classes=[0, 1, 2])
        # After a fit, a larger rate would undo what its end has gained.
        expected = 0.0003 if fitted_before else 0.03
        np.testing.assert_allclose(rates.rates, [expected] * 5)

    @for_every
    def test_classes_that_come_later(self, make, iris):
        X, y = iris
        model = make()
        for label in (2, 0, 1) * 10:
            rows = y == label
            model.partial_fit(X[rows], y[rows], classes=[2, 1, 0])
        assert model.classes_.tolist() == [0, 1, 2]
        assert model.predict_proba(X).shape == (150, 3)

    @for_every_net
    def test_one_row_at_a_time(self, make, iris):
        X, y = iris
        # A single row cannot be normalised by batch.
        model = make(**({"normalization": None} if make is CNN else {}))
        for row in range(5):
            model.partial_fit(X[row : row + 1], y[row : row + 1], classes=[0, 1, 2])
        assert np.isfinite(model.predict_proba(X)).all()

    @for_every_net
    def test_input_scaling_learns_from_all_chunks(self, make):
        if make is Net:
            pytest.skip("features reach the user's module unscaled")
        X, y = load_iris(return_X_y=True)
        model = make()
        for rows in np.array_split(np.arange(len(y)), 7):
            model.partial_fit(X[rows], y[rows], classes=[0, 1, 2])
        stream, once = (
            # Of a table with columns that may miss values, it is a part.
            getattr(fitted.module_.input_scaling, "scaling", None)
            or fitted.module_.input_scaling
            for fitted in (model, make().fit(X, y))
        )
        # It is learned again each time that an eighth more rows are known.
        torch.testing.assert_close(stream.mean, once.mean, rtol=0.1, atol=0)
        torch.testing.assert_close(stream.scale, once.scale, rtol=0.1, atol=0)


class TestParameters:
    @for_every_solver
    def test_numbers_of_numpy_are_numbers(self, make, iris):
        # As they come out of a search over np.arange.
        given = make()
        kinds = {bool: np.bool_, int: np.int64, float: np.float64}
        numbers = {
            name: kinds[type(value)](value)
            for name, value in given.get_params(deep=False).items()
            if type(value) in kinds
        }
        assert len(numbers) > 4
        theirs = clone(given).set_params(**numbers).fit(*iris).predict_proba(iris[0])
        assert (theirs == given.fit(*iris).predict_proba(iris[0])).all()

    @for_every
    def test_round_trip(self, make):
        model = make()
        params = model.get_params()
        assert clone(model).get_params() == params
        assert type(model)(**model.get_params(deep=False)).get_params() == params

    @for_every
    def test_init_only_assigns(self, make):
        marker = object()
        params = dict.fromkeys(make().get_params(deep=False), marker)
        model = type(make())(**params)
        assert set(vars(model)) == set(params)
        assert all(value is marker for value in vars(model).values())

    @for_every
    def test_fit_leaves_parameters_alone(self, make, iris):
        model = make()
        before = {name: id(value) for name, value in model.get_params().items()}
        model.fit(*iris)
        assert {n: id(value) for n, value in model.get_params().items()} == before

    def test_module_parameters(self, iris):
        net = Net(module_params={"width": 5})
        assert net.get_params()["module__width"] == 5
        assert "module__width" not in net.get_params(deep=False)
        assert net.set_params(module__width=7) is net
        assert net.module_params == {"width": 7}
        assert clone(net).get_params()["module__width"] == 7
        assert clone(net).fit(*iris).module_[0].out_features == 7

    def test_module_parameters_given_by_the_user_are_not_changed(self):
        own = {"width": 5}
        Net(module_params=own).set_params(module__width=7)
        assert own == {"width": 5}

    def test_module_parameters_from_none(self, iris):
        net = Net().set_params(module__width=3, max_epochs=2)
        assert net.module_params == {"width": 3}
        assert net.max_epochs == 2
        assert net.fit(*iris).module_[0].out_features == 3
