r"""Probabilities are probabilities, whatever finite numbers come in, and row by row."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_iris
from torch import nn

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)
from sksoftmax.modules import InputScaling

LARGEST = float(np.finfo(np.float32).max)
X_IRIS, Y_IRIS = load_iris(return_X_y=True)


def make_module(n_features, n_classes):
    return nn.Sequential(nn.Linear(n_features, 16), nn.ReLU(), nn.Linear(16, n_classes))


class Masked(nn.Module):
    r"""Rules the last class out."""

    def __init__(self, n_features, n_classes):
        super().__init__()
        self.linear = nn.Linear(n_features, n_classes)
        self.register_buffer("mask", torch.tensor([0.0, 0.0, -torch.inf]))

    def forward(self, x):
        return self.linear(x) + self.mask


class Rooted(nn.Module):
    r"""Knows no negative number."""

    def __init__(self, n_features, n_classes):
        super().__init__()
        self.linear = nn.Linear(n_features, n_classes)

    def forward(self, x):
        return self.linear(x.sqrt())


class OfFloat32(Rooted):
    r"""Takes float32 only."""

    def forward(self, x):
        return self.linear(x.float())


def mlp(hidden_layer_sizes=(16,), **options):
    options = {"max_epochs": 3, "random_state": 0} | options
    return SoftmaxMLPClassifier(hidden_layer_sizes, **options)


def cnn(**options):
    options = {"channels": (4,), "max_epochs": 3, "random_state": 0} | options
    return SoftmaxCNNClassifier((2, 2), **options)


CLASSIFIERS = {
    "regression": SoftmaxRegression(),
    "regression without penalty": SoftmaxRegression(C=1e6),
    "regression by mini-batches": SoftmaxRegression(
        solver="adam", max_iter=3, random_state=0
    ),
    "regression, cross-validated": SoftmaxRegressionCV(Cs=3, cv=3),
    "ensemble": mlp(),
    "ensemble, shared weights": mlp(
        share_weights=True, input_scaling="standard", activation="tanh"
    ),
    "ensemble, layer norm": mlp(
        normalization="layer", input_scaling="standard", activation="gelu"
    ),
    "deep net": mlp((16,) * 6, n_estimators=1, input_scaling=None),
    "images": cnn(),
    "images, averaged": cnn(
        test_time_augmentation=True, augmentation="shift_flip", normalization=None
    ),
    "images, ensemble": cnn(n_estimators=2, temperature_scaling=True),
    "a module": SoftmaxNetClassifier(make_module, max_epochs=3, random_state=0),
}


# Nothing scales the features of these.
NOT_SCALED = {("deep net", 1e20), ("deep net", 4e37), ("a module", 4e37)}


@functools.cache
def fitted(name, dtype):
    return clone(CLASSIFIERS[name]).fit(X_IRIS.astype(dtype), Y_IRIS)


@st.composite
def rows(draw, dtype, most_rows=40):
    r"""Rows of four numbers of any size, down to denormal ones, or all of one size."""
    shape = (draw(st.integers(1, most_rows)), 4)
    size = draw(st.sampled_from([1e-45, 1e-20, 1.0, 1e5, 1e18, 1e30, LARGEST]))
    numbers = st.floats(-LARGEST, LARGEST, width=32)
    if draw(st.booleans()):
        numbers = st.floats(-size, size, width=64)
    values = draw(hnp.arrays(np.float64, shape, elements=numbers))
    return values.clip(-LARGEST, LARGEST).astype(dtype)


for_each_classifier = pytest.mark.parametrize("name", CLASSIFIERS)
in_both_precisions = pytest.mark.parametrize("dtype", [np.float32, np.float64])
few = settings(deadline=None, max_examples=12)


class TestAnyFiniteRows:
    @for_each_classifier
    @in_both_precisions
    @few
    @given(data=st.data())
    def test_have_probabilities(self, name, dtype, data):
        model, X = fitted(name, dtype), data.draw(rows(dtype))
        proba = model.predict_proba(X)
        assert proba.dtype == dtype
        assert ((proba >= 0) & (proba <= 1)).all()
        np.testing.assert_allclose(proba.sum(1, dtype=np.float64), 1, atol=1e-6)
        log_proba = model.predict_log_proba(X)
        assert np.isfinite(log_proba).all()
        np.testing.assert_allclose(np.exp(log_proba), proba, atol=1e-6)
        assert np.isfinite(model.decision_function(X)).all()
        largest = proba.max(1)
        chosen = np.searchsorted(model.classes_, model.predict(X))
        np.testing.assert_array_equal(proba[np.arange(len(X)), chosen], largest)

    @for_each_classifier
    @in_both_precisions
    @few
    @given(data=st.data())
    def test_do_not_influence_each_other(self, name, dtype, data):
        model, X = fitted(name, dtype), data.draw(rows(dtype))
        expected = model.predict_proba(X)
        order = np.array(data.draw(st.permutations(range(len(X)))))
        cut = data.draw(st.integers(0, len(X)))
        for parts in (
            [order],
            [part for part in (order[:cut], order[cut:]) if len(part)],
            order[:5, None],
        ):
            for part in parts:
                np.testing.assert_allclose(
                    model.predict_proba(X[part]), expected[part], rtol=0, atol=1e-6
                )

    @given(data=st.data())
    @few
    def test_may_be_sparse(self, data):
        model, X = (
            fitted("regression without penalty", np.float32),
            data.draw(rows(np.float32)),
        )
        sparse, dense = (
            model.decision_function(same).astype(np.float64)
            for same in (csr_array(X), X)
        )
        # Both add the same terms, but in different orders.
        terms = abs(X.astype(np.float64)) @ abs(model.coef_.astype(np.float64)).T
        rounding = np.finfo(np.float32).eps * (terms + abs(model.intercept_))
        assert (abs(sparse - dense) <= 4 * rounding).all()
        assert np.isfinite(model.predict_log_proba(csr_array(X))).all()

    def test_keep_the_signs_and_differences_of_binary_logits(self):
        is_first = Y_IRIS < 1
        model = SoftmaxRegression(C=1e6).fit(X_IRIS.astype(np.float32), is_first)
        X = np.float32([[0, 0, -LARGEST, -LARGEST], [0, 0, LARGEST, LARGEST]])
        assert model.decision_function(X).tolist() == [LARGEST, -LARGEST]
        assert model.predict(X).tolist() == [True, False]
        wide = model.decision_function(X.astype(np.float64))
        exact = X.astype(np.float64) @ model.coef_[0].astype(np.float64)
        np.testing.assert_allclose(wide, exact, rtol=1e-5)

    @pytest.mark.parametrize("value", [np.nextafter(LARGEST, np.inf), -1e39, 1e300])
    @for_each_classifier
    def test_may_not_be_beyond_float32(self, name, value):
        X = X_IRIS.copy()
        X[3, 2] = value
        model = fitted(name, np.float64)
        for call in (model.predict_proba, lambda X: clone(model).fit(X, Y_IRIS)):
            with pytest.raises(ValueError, match=r"too large for dtype\('float32'\)"):
                call(X)


class TestAModuleOfOnesOwn:
    def test_may_rule_a_class_out(self):
        y = np.where(Y_IRIS == 2, 1, Y_IRIS)
        # The third class is never seen in what is trained on.
        model = SoftmaxNetClassifier(Masked, max_epochs=2, random_state=0)
        model.partial_fit(X_IRIS, y, classes=[0, 1, 2])
        proba = model.predict_proba(X_IRIS)
        assert (proba[:, 2] == 0).all()
        np.testing.assert_allclose(proba.sum(1), 1)
        with np.errstate(all="raise"):
            huge = model.predict_log_proba(np.float32(X_IRIS * 4e37))
        assert np.isfinite(huge[:, :2]).all()
        assert (huge[:, 2] == -np.inf).all()

    def test_has_no_probabilities_without_logits(self):
        model = SoftmaxNetClassifier(Rooted, max_epochs=2).fit(X_IRIS, Y_IRIS)
        for predict in (
            model.predict,
            model.predict_proba,
            model.predict_log_proba,
            model.decision_function,
        ):
            with pytest.raises(ValueError, match=r"infinite or NaN .*Scale"):
                predict(-X_IRIS)

    def test_that_takes_float32_only_says_so(self):
        model = SoftmaxNetClassifier(OfFloat32, max_epochs=2).fit(X_IRIS, Y_IRIS)
        with torch.no_grad():
            model.module_.linear.weight.mul_(1e3)
        assert np.isfinite(model.predict_proba(X_IRIS)).all()
        with pytest.raises(ValueError, match=r"in float64 it failed .*Scale"):
            model.predict_proba(np.float32(X_IRIS * 4e37))


class TestFit:
    @for_each_classifier
    @in_both_precisions
    @pytest.mark.parametrize("size", [1e-45, 1e-30, 1e20, 4e37])
    def test_of_features_of_any_size_is_sane_or_an_error(self, name, dtype, size):
        X = (X_IRIS * size).astype(dtype)
        model = clone(CLASSIFIERS[name])
        if (name, size) in NOT_SCALED:
            with pytest.raises(
                ValueError,
                match=r"in epoch \d with learning_rate=.* scale the features",
            ):
                model.fit(X, Y_IRIS)
            assert not hasattr(model, "module_")
            return
        model.fit(X, Y_IRIS)
        for value in model.module_.state_dict().values():
            assert value.isfinite().all()
        assert np.isfinite(model.predict_proba(X)).all()

    @pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
    def test_whose_last_step_goes_astray_is_an_error(self, optimizer):
        # The only step, before which the loss is finite.
        model = SoftmaxNetClassifier(
            make_module,
            optimizer=optimizer,
            learning_rate=1e39,
            max_epochs=1,
            batch_size=150,
            random_state=0,
        )
        with pytest.raises(ValueError, match=r"became infinite.* epoch 1 .*=1e\+39"):
            model.fit(X_IRIS, Y_IRIS)
        assert not hasattr(model, "module_")

    def test_whose_batch_statistics_overflow_is_an_error(self):
        model = mlp(normalization="batch", input_scaling=None, n_estimators=1)
        with pytest.raises(ValueError, match=r"statistics of batch norm.* epoch 3 "):
            model.fit(X_IRIS * 1e25, Y_IRIS)

    def test_whose_coefficients_float32_cannot_hold_is_an_error(self):
        X = np.float32(X_IRIS * 1e-40)
        model = SoftmaxRegression(C=np.inf)
        with pytest.raises(ValueError, match=r"coefficients reach .*Pass X in float64"):
            model.fit(X, Y_IRIS)
        assert not hasattr(model, "module_")
        assert model.fit(X.astype(np.float64), Y_IRIS).score(X, Y_IRIS) > 0.95


class TestInputScaling:
    @pytest.mark.parametrize("method", ["standard", "smooth"])
    @pytest.mark.parametrize("size", [1e-30, 1e30])
    def test_merges_statistics_of_any_size(self, method, size):
        X = torch.tensor(X_IRIS * size)
        at_once = InputScaling((4,), method=method)
        at_once.update(X)
        in_parts = InputScaling((4,), method=method)
        for part in X.split(40):
            in_parts.update(part)
        assert at_once.deviation.isfinite().all()
        assert (at_once.deviation > 0).all()
        torch.testing.assert_close(in_parts(X), at_once(X), rtol=1e-4, atol=1e-5)

    @given(x=hnp.arrays(np.float32, 8, elements=st.floats(-LARGEST, LARGEST, width=32)))
    def test_is_finite_and_monotone_when_smooth(self, x):
        scaling = InputScaling((1,))
        scaling.update(torch.tensor([[0.0], [1e-3]]))
        z = scaling(torch.tensor(np.sort(x))[:, None]).flatten()
        assert z.isfinite().all()
        assert (z.diff() >= 0).all()


@pytest.mark.parametrize("name", ["ensemble", "regression by mini-batches", "images"])
def test_weights_of_any_size(name):
    # Relative to the largest, most of these weights are too small for float32.
    weight = 10.0 ** np.random.default_rng(0).uniform(-300, 0, len(X_IRIS))
    model = clone(CLASSIFIERS[name]).fit(X_IRIS, Y_IRIS, sample_weight=weight)
    proba = model.predict_proba(X_IRIS)
    assert np.isfinite(proba).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-6)
