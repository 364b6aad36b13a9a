r"""Sparse rows in the multi-layer perceptron."""

import importlib.util
import inspect
import pickle
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context, get_config
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sksoftmax import SoftmaxCNNClassifier, SoftmaxMLPClassifier
from sksoftmax._training.tensor_table import TensorTable
from sksoftmax.persistence import load, save

# Columns of the random tables: more than the tables that become dense.
N_COLUMNS = 300


def random_rows(n_rows=240, seed=0):
    r"""Return rows of few words, and the topic that each row's words come from."""
    random = np.random.default_rng(seed)
    topic = random.integers(0, 3, n_rows)
    is_typical = np.random.default_rng(1).random((3, N_COLUMNS)) < 0.05
    share = np.where(is_typical[topic], 0.3, 0.02)
    rows = (random.random(share.shape) < share) * random.exponential(1, share.shape)
    return sparse.csr_array(rows), np.array(["a", "b", "c"])[topic]


X, Y = random_rows()
X_TEST, Y_TEST = random_rows(seed=2)

Small = partial(
    SoftmaxMLPClassifier,
    hidden_layer_sizes=(16,),
    n_estimators=2,
    max_epochs=12,
    learning_rate=0.02,
    random_state=0,
)
# The settings that differ between sparse and dense rows.
Same = partial(Small, input_scaling=None, n_bins=None, input_dropout=0.0)


def docstrings(packages=("scipy", "sklearn"), n_characters=250):
    r"""Return beginnings of docstrings, with the folder of the package they are of."""
    texts, folders = [], []
    for package in packages:
        root = Path(importlib.util.find_spec(package).origin).parent
        paths = [p for p in sorted(root.glob("*/*.py")) if "test" not in str(p)]
        for path in paths:
            source = path.read_text(encoding="utf-8")
            # A parser of Python would take longer than the fits.
            for quoted in re.findall(r'^ *r?"""(.*?)"""', source, re.M | re.S):
                text = inspect.cleandoc(quoted)[:n_characters]
                if len(text) > 80:
                    texts.append(text)
                    folders.append(f"{package}.{path.parent.name}")
    texts, first = np.unique(np.array(texts, dtype=object), return_index=True)
    return texts, np.array(folders)[first]


class TestEqualsDenseRows:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"n_estimators": 1},
            {"share_weights": True},
            {"hidden_layer_sizes": (), "n_estimators": 1},
            {"hidden_layer_sizes": (8,) * 2, "normalization": "batch"},
            {"early_stopping": True, "class_weight": "balanced"},
            {"optimizer": "sgd", "weight_averaging": 0.9, "label_smoothing": 0.1},
        ],
        ids=lambda options: ", ".join(options) or "default",
    )
    @pytest.mark.filterwarnings("ignore:Maximum number of epochs")
    def test_up_to_rounding(self, options):
        weight = 0.5 + np.arange(len(Y)) % 3
        fit = partial(Same(**options).fit, y=Y, sample_weight=weight)
        of_sparse = fit(X).predict_proba(X_TEST)
        assert_allclose(fit(X.toarray()).predict_proba(X_TEST), of_sparse, atol=2e-5)

    def test_narrow_tables_have_the_same_bits(self):
        columns = X[:, :200]
        model = Small().fit(columns, Y)
        dense = Small().fit(columns.toarray(), Y)
        assert_array_equal(
            model.predict_proba(columns), dense.predict_proba(columns.toarray())
        )
        assert model.n_bins_.any()

    def test_predictions_of_both_kinds_of_rows(self):
        for rows in (X, X.toarray()):
            model = Small().fit(rows, Y)
            assert_allclose(
                model.predict_proba(X_TEST),
                model.predict_proba(X_TEST.toarray()),
                atol=1e-6,
            )
            assert_allclose(
                model.predict_proba(X_TEST[:1]),
                model.predict_proba(X_TEST)[:1],
                atol=1e-6,
            )


def count_columns(estimator, X, y):
    r"""Return a score that needs the rows."""
    assert X[:2].shape == (2, N_COLUMNS)
    return X.shape[1]


@pytest.fixture(scope="module")
def fitted():
    return Small().fit(X, Y)


class TestForms:
    @pytest.mark.parametrize(
        "form",
        [
            sparse.csr_matrix,
            sparse.csc_array,
            sparse.coo_matrix,
            sparse.lil_array,
            lambda rows: torch.tensor(rows.toarray()).to_sparse(),
            lambda rows: rows.astype(np.float32),
        ],
        ids=["csr matrix", "csc", "coo", "lil", "tensor", "float32"],
    )
    def test_every_form_is_taken(self, fitted, form):
        model = Small().fit(form(X), Y)
        expected = fitted.predict_proba(X_TEST)
        assert_allclose(model.predict_proba(form(X_TEST)), expected, atol=1e-5)

    def test_two_values_for_a_place_are_added(self, fitted):
        halves = sparse.csr_array(
            (
                np.repeat(X.data / 2, 2),
                np.repeat(X.indices, 2),
                2 * X.indptr,
            ),
            shape=X.shape,
        )
        expected = fitted.predict_proba(X)
        assert_allclose(fitted.predict_proba(halves), expected, atol=1e-6)
        assert halves.nnz == 2 * X.nnz

    def test_missing_values_count_as_zero(self, fitted):
        holes, zeros = X_TEST.copy(), X_TEST.copy()
        holes.data[::5], zeros.data[::5] = np.nan, 0
        assert_allclose(
            fitted.predict_proba(holes), fitted.predict_proba(zeros), atol=1e-7
        )
        assert Small().fit(holes, Y_TEST).score(zeros, Y_TEST) > 0.9

    def test_huge_values(self, fitted):
        huge = X_TEST.copy()
        huge.data *= 1e30
        assert np.isfinite(fitted.predict_proba(huge)).all()


class TestScikitLearn:
    def test_batches_stay_sparse(self, fitted):
        assert fitted._is_sparse
        assert fitted.module_.takes_sparse
        table = TensorTable(X, torch.zeros(X.shape[0], dtype=torch.int64))
        assert table.take(torch.tensor([3, 1]))[0].is_sparse
        assert_array_equal(table.X.to_dense().numpy(), X.toarray())

    def test_integer_weights_are_repetitions_in_the_scaling(self):
        times = 1 + np.arange(len(Y)) % 2
        weighted = Small(early_stopping=False).fit(X, Y, sample_weight=times)
        repeated = Small(early_stopping=False).fit(
            X[np.repeat(np.arange(len(Y)), times)], np.repeat(Y, times)
        )
        assert_allclose(
            weighted.module_.input_scaling.scale,
            repeated.module_.input_scaling.scale,
            rtol=1e-6,
        )

    def test_scaling_keeps_the_unit_of_similar_columns_only(self):
        money = X.copy().tolil()
        money[:, 0] = 1e6 * (1 + np.arange(len(Y)) % 4)[:, None]
        scale = Small().fit(money, Y).module_.input_scaling.scale
        assert 1e4 < scale[0] < 1e6
        # A column without values is divided by a number that leaves nothing of it.
        similar = scale[1:][scale[1:] < 1e30]
        assert 0.1 < similar.min() < similar.max() < 10

    def test_validation_rows_and_partial_fit(self, fitted):
        model = Small(early_stopping=True).fit(X, Y, X_val=X_TEST, y_val=Y_TEST)
        assert max(model.validation_scores_) > -0.4
        scored = Small(early_stopping=True, scoring=count_columns).fit(X, Y)
        assert set(scored.validation_scores_) == {N_COLUMNS}
        stream = Small()
        for start in [*range(0, 240, 30)] * 4:
            rows = slice(start, start + 30)
            stream.partial_fit(X[rows], Y[rows], classes=["a", "b", "c"])
        assert stream.score(X_TEST, Y_TEST) > 0.8
        # Dense rows may follow.
        stream.partial_fit(X.toarray(), Y)
        assert stream.score(X_TEST, Y_TEST) > 0.8

    @pytest.mark.skipif(
        "sparse_interface" not in get_config(), reason="scikit-learn is older"
    )
    def test_pipelines_searches_and_the_interface_of_arrays(self):
        texts = [" ".join(f"w{j}" for j in row) for row in X.tolil().rows]
        pipeline = make_pipeline(TfidfVectorizer(), Small())
        search = GridSearchCV(
            pipeline, {"softmaxmlpclassifier__dropout": [0.0, 0.2]}, cv=2
        )
        with config_context(sparse_interface="sparray"):
            search.fit(texts, Y)
            assert isinstance(
                search.best_estimator_[0].transform(texts[:1]), sparse.sparray
            )
            assert search.score(texts, Y) > 0.9

    def test_state_is_kept(self, fitted, tmp_path):
        expected = fitted.predict_proba(X_TEST)
        save(fitted, tmp_path / "sparse.safetensors")
        copies = [load(tmp_path / "sparse.safetensors")]
        copies.append(pickle.loads(pickle.dumps(fitted)))
        for copy in copies:
            assert_array_equal(copy.predict_proba(X_TEST), expected)
        assert not clone(fitted)._is_sparse

    def test_a_killed_fit_goes_on(self, tmp_path):
        options = {"checkpoint": tmp_path / "fit.ckpt"}
        expected = Small().fit(X, Y).predict_proba(X)
        assert_array_equal(Small(**options).fit(X, Y).predict_proba(X), expected)
        assert_array_equal(Small(**options).fit(X, Y).predict_proba(X), expected)
        with pytest.raises(ValueError, match="training data"):
            Small(**options).fit(2 * X, Y)


class TestRefusals:
    def test_bins_and_categories(self):
        with pytest.raises(ValueError, match=r"n_bins=8 with sparse X of 300 columns"):
            Small(n_bins=8).fit(X, Y)
        with pytest.raises(ValueError, match=r"categorical_features.* sparse X of 300"):
            Small(categorical_features=[0]).fit(X, Y)

    def test_images(self):
        with pytest.raises(TypeError, match=r"SoftmaxCNNClassifier here. Pass X.toarr"):
            SoftmaxCNNClassifier().fit(X, Y)


# Memory of a fit beyond that of a process that has fitted before.
MEMORY = """
import resource
import numpy as np
from scipy import sparse
from sklearn.datasets import load_iris
from sksoftmax import SoftmaxMLPClassifier

def peak():
    # On Linux in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10

SoftmaxMLPClassifier(max_epochs=1).fit(*load_iris(return_X_y=True))
before = peak()
random = np.random.default_rng(0)
places = random.integers([1500, 20_000], size=(120_000, 2)).T
X = sparse.csr_array((random.random(120_000), places), shape=(1500, 20_000))
SoftmaxMLPClassifier(max_epochs=2).fit(X, X.sum(1) > 40)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of the peak is Linux's")
def test_memory_of_20_000_columns():
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEMORY],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert float(process.stdout) < 500


def test_as_good_as_the_best_logistic_regression_on_words_of_docstrings():
    texts, folders = docstrings()
    names, counts = np.unique(folders, return_counts=True)
    is_kept = np.isin(folders, names[np.argsort(counts)[-10:]])
    texts, folders = texts[is_kept], folders[is_kept]
    order = np.random.default_rng(1).permutation(len(texts))
    train, test = order[:1000], order[1000:]
    vectorizer = TfidfVectorizer(max_features=20_000).fit(texts[train])
    rows, new = vectorizer.transform(texts[train]), vectorizer.transform(texts[test])

    def scores(model):
        model.fit(rows, folders[train])
        loss = log_loss(folders[test], model.predict_proba(new))
        return loss, model.score(new, folders[test])

    loss, accuracy = scores(SoftmaxMLPClassifier(random_state=0))
    # The best C is chosen by the test rows: an advantage for the linear model.
    linear = [scores(LogisticRegression(C=C, max_iter=300)) for C in (1, 10, 100)]
    assert loss < min(loss for loss, _ in linear)
    assert accuracy > max(accuracy for _, accuracy in linear) - 0.005
