r"""Outliers: what fits learn is what they would learn without them."""

import io

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits

from sksoftmax import SoftmaxCNNClassifier, SoftmaxMLPClassifier
from sksoftmax._utils.robust_scale import UNLIMITED, robust_scale
from sksoftmax.modules import InputScaling
from sksoftmax.persistence import load, save, to_onnx

N_ROWS = 800
# A bar that chance accounts for: the outlier is in a row that is learned from.
BAR = 0.01


def table(n_features, n_rows=N_ROWS + 2000):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, n_features))
    direction = rng.normal(size=n_features)
    noise = 0.3 * rng.normal(size=n_rows)
    y = X @ direction / np.linalg.norm(direction) + noise > 0
    return X[:N_ROWS], y[:N_ROWS], X[N_ROWS:], y[N_ROWS:]


def mlp(**parameters):
    return SoftmaxMLPClassifier(
        **{"n_estimators": 4, "max_epochs": 12, "random_state": 0, **parameters}
    )


def scores(kinds, n_features, value, **parameters):
    r"""Return the accuracies without outliers and with each kind of them."""
    X, y, X_test, y_test = table(n_features)
    rng = np.random.default_rng(1)
    places = {
        "clean": np.s_[:0],
        "value": np.s_[3, 0],
        "row": np.s_[3],
        "sentinel": (np.flatnonzero(rng.random(N_ROWS) < 0.05), 0),
    }
    result = []
    for kind in ["clean", *kinds]:
        spoiled = X.copy()
        spoiled[places[kind]] = value
        model = mlp(**parameters).fit(spoiled, y)
        result.append(model.score(X_test, y_test))
    return result


class TestMLP:
    @pytest.mark.parametrize(("n_features", "value"), [(5, -1e30), (260, 1e4)])
    def test_accuracy_is_that_without(self, n_features, value):
        kinds = ["value", "row", "sentinel"]
        clean, *others = scores(kinds, n_features, value)
        assert clean > 0.75
        # With five features, the sentinel hides a larger part of the information.
        assert min(others) > clean - (BAR if n_features > 5 else 2 * BAR)

    def test_accuracy_of_the_standard_method(self):
        clean, *others = scores(
            ["row", "sentinel"], 260, 1e10, input_scaling="standard"
        )
        assert min(others) > clean - BAR

    def test_largest_of_heavy_tails(self):
        rng = np.random.default_rng(0)
        X = rng.lognormal(size=(3000, 1))
        y = X[:, 0] > 1.2
        X[5] = 2.0**63
        model = mlp(max_epochs=20).fit(X[:1000], y[:1000])
        assert model.score(X[1000:], y[1000:]) > 0.98

    def test_in_prediction_probabilities_are_finite(self):
        X, y, _, _ = table(5)
        for scaling in ("smooth", "standard"):
            model = mlp(max_epochs=2, input_scaling=scaling).fit(X, y)
            for value in (1e10, -1e30, 3e38):
                assert np.isfinite(model.predict_proba(np.full((1, 5), value))).all()

    def test_beside_missing_values_and_zeros(self):
        X, y, X_test, y_test = table(260)
        rng = np.random.default_rng(2)
        for one in (X, X_test):
            one[rng.random(one.shape) < 0.5] = 0
        X[rng.random(X.shape) < 0.02] = np.nan
        clean = mlp().fit(X, y).score(X_test, y_test)
        X[7] = 1e12
        X[rng.random(N_ROWS) < 0.1, 3] = -9999
        assert mlp().fit(X, y).score(X_test, y_test) > clean - BAR

    def test_in_a_later_chunk(self):
        X, y, X_test, y_test = table(5)
        spoiled = X.copy()
        spoiled[[300, 650]] = 1e20
        accuracies = []
        for rows in (X, spoiled):
            model = mlp(n_bins=None)
            for start in range(0, N_ROWS, 50):
                chunk = slice(start, start + 50)
                model.partial_fit(rows[chunk], y[chunk], classes=[False, True])
            # A chunk of a row has no bulk, but there is that of the rows before.
            model.partial_fit(rows[300:301], y[300:301])
            accuracies.append(model.score(X_test, y_test))
        assert accuracies[1] > accuracies[0] - 2 * BAR

    def test_persistence_and_onnx_keep_the_limits(self, tmp_path):
        X, y, X_test, _ = table(5)
        X, X_test = X.astype(np.float32), X_test[:20].astype(np.float32)
        X[3, 0], X[4:20, 1] = 1e10, -9999
        X_test[0, 0], X_test[1, 1] = 1e12, -9999
        model = mlp(max_epochs=2).fit(X, y)
        expected = model.predict_proba(X_test)
        save(model, tmp_path / "model")
        assert_array_equal(load(tmp_path / "model").predict_proba(X_test), expected)
        stream = io.BytesIO(to_onnx(model, X_test).SerializeToString())
        session = onnxruntime.InferenceSession(stream.read())
        got = session.run(None, {session.get_inputs()[0].name: X_test})
        assert_allclose(got[1], expected, atol=1e-5)


class TestCNN:
    def test_accuracy_is_that_without(self):
        X, y = load_digits(return_X_y=True)
        X = X / 16
        pixel, image, many = X.copy(), X.copy(), X.copy()
        pixel[5, 20] = 1e6
        image[5] *= 16 * 255
        many[np.random.default_rng(0).random(X.shape) < 1e-3] = -1e30
        clean, *others = (
            SoftmaxCNNClassifier(channels=(8, 16), max_epochs=6, random_state=0)
            .fit(rows[:1000], y[:1000])
            .score(X[1000:], y[1000:])
            for rows in (X, pixel, image, many)
        )
        assert clean > 0.9
        assert min(others) > clean - 2 * BAR


class TestInputScaling:
    @settings(deadline=None, max_examples=60)
    @given(
        exponent=st.floats(3, 30),
        sign=st.sampled_from([-1, 1]),
        share=st.sampled_from([0.0, 0.01, 0.2]),
        zeros=st.sampled_from([0.0, 0.5, 0.8]),
        kind=st.sampled_from(["normal", "counts", "flags"]),
        method=st.sampled_from(["smooth", "standard"]),
        missing=st.booleans(),
        seed=st.integers(0, 2**16),
    )
    def test_statistics_are_those_without_outliers(
        self, exponent, sign, share, zeros, kind, method, missing, seed
    ):
        rng = np.random.default_rng(seed)
        X = {
            "normal": rng.normal(size=(500, 3)),
            "counts": rng.poisson(2.0, (500, 3)).astype(float),
            "flags": rng.integers(0, 2, (500, 3)).astype(float),
        }[kind]
        X[rng.random(X.shape) < zeros] = 0
        if missing:
            X[rng.random(X.shape) < 0.05] = np.nan
        is_outlier = rng.random(X.shape) < share
        is_outlier[7] = True
        clean, spoiled = (InputScaling((3,), method=method) for _ in range(2))
        clean.update(torch.tensor(np.where(is_outlier, np.nan, X)))
        X[is_outlier] = sign * 10**exponent
        spoiled.update(torch.tensor(X))
        assert_allclose(spoiled.mean, clean.mean, atol=1e-5)
        assert_allclose(spoiled.scale, clean.scale, atol=1e-5)
        assert_array_equal(spoiled.is_count, clean.is_count)
        # No farther than a value of the rest may be.
        z = spoiled(torch.tensor(X))[7]
        assert (z.abs() < 20).all()
        assert (z.sign() == sign).all()

    @pytest.mark.parametrize(
        "draw",
        [
            lambda rng: rng.normal(size=(400, 3)),
            lambda rng: rng.exponential(size=(400, 3)),
            lambda rng: rng.integers(0, 256, (400, 3)),
            lambda rng: rng.random((400, 3)) < 0.01,
            lambda rng: np.full((400, 3), 7.0),
            lambda rng: np.where(rng.random((400, 3)) < 0.96, 999, 5),
            lambda rng: rng.choice([1e-6, 1.0], (400, 3)) * rng.normal(size=(400, 3)),
        ],
    )
    def test_ordinary_features_have_no_outliers(self, draw):
        X = torch.tensor(np.asarray(draw(np.random.default_rng(0)), dtype=np.float64))
        scaling = InputScaling((3,), method="standard")
        scaling.update(X)
        assert_allclose(scaling.mean, X.mean(0), rtol=1e-5)
        deviation = X.std(0, correction=0)
        expected = (X - X.mean(0)) / torch.where(deviation > 0, deviation, 1.0)
        assert_allclose(scaling(X), expected, atol=1e-4)

    def test_heavy_tails_do_not_hide_the_bulk(self):
        rng = np.random.default_rng(0)
        tails = [rng.standard_cauchy(2000), rng.lognormal(sigma=3, size=2000)]
        X = torch.tensor(np.column_stack(tails))
        scaling = InputScaling((2,), method="standard")
        scaling.update(X)
        # The standard deviations are above 50 and 1000.
        assert (scaling.scale < torch.tensor([10, 100])).all()

    def test_whole_numbers_have_outliers_too(self):
        X = torch.tensor(np.random.default_rng(0).integers(0, 5, (100, 2)))
        X[3, 0] = 2**62
        scaling = InputScaling((2,), method="standard")
        scaling.update(X)
        assert scaling.scale[0] < 2
        assert abs(scaling(X)[3, 0]) < 10

    def test_parts_of_a_table_have_the_bulk_of_the_table(self):
        # The first part is all sentinels.
        X = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0))
        X[:100] = -9999
        scaling = InputScaling((1,), method="standard")
        robust = scaling.robust_scale(X)
        for part in X.split(100):
            scaling.update(part, None, robust)
        assert_allclose(scaling.scale, X[100:].std(0), rtol=1e-2)


class TestBulk:
    def test_too_few_values_have_none(self):
        values = torch.zeros(100, 3, dtype=torch.float64)
        values[:7, 0] = torch.arange(7.0) * 1e9
        values[:, 2] = torch.nan
        for rows in (values, values[:5], values[:0]):
            robust = robust_scale(rows)
            assert (robust.reach == UNLIMITED).all()
            assert (robust.width == UNLIMITED).all()

    def test_caller_keeps_the_order_of_the_values(self):
        values = torch.tensor(np.random.default_rng(0).normal(size=(50, 2)))
        before = values.clone()
        robust_scale(values)
        assert torch.equal(values, before)
