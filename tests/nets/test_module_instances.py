r"""Modules that are passed instead of a builder, log-probabilities, and tokens."""

import copy
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from torch import nn
from torch.nn import functional as F

from sksoftmax import SoftmaxNetClassifier
from sksoftmax.persistence import load, save

from ..factories import bytes_of, same_bits, standardized_iris

X, Y = standardized_iris()


def make_instance(seed=0, last=None):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3)]
        return nn.Sequential(*layers, *([] if last is None else [last]))


def net(module, **options):
    options = {"max_epochs": 10, "learning_rate": 0.02, "random_state": 0, **options}
    return SoftmaxNetClassifier(module, **options)


class TestInstance:
    def test_a_copy_is_trained_from_its_parameters(self):
        module = make_instance()
        before = bytes_of(module)
        model = net(module).fit(X, Y)
        assert model.score(X, Y) > 0.9
        assert model.module is module
        assert bytes_of(module) == before
        proba = model.predict_proba(X)
        assert same_bits(model.fit(X, Y).predict_proba(X), proba)
        # As a function that builds the same module.
        built = net(lambda d, k: make_instance()).fit(X, Y)
        assert same_bits(built.predict_proba(X), proba)
        other = net(make_instance(seed=1)).fit(X, Y)
        assert not same_bits(other.predict_proba(X), proba)

    def test_a_local_state_dict_is_where_training_begins(self, tmp_path):
        pretrained = net(make_instance(), max_epochs=30).fit(X, Y)
        torch.save(pretrained.module_.state_dict(), tmp_path / "weights.pt")
        module = make_instance(seed=5)
        module.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
        short = {"max_epochs": 1, "learning_rate": 1e-4}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert net(module, **short).fit(X, Y).score(X, Y) > 0.95
            assert net(make_instance(seed=5), **short).fit(X, Y).score(X, Y) < 0.9

    def test_clones_searches_and_pickles(self):
        model = net(make_instance())
        assert clone(model).module is not model.module
        assert bytes_of(clone(model).module) == bytes_of(model.module)
        assert cross_val_score(model, X, Y, cv=3).mean() > 0.8
        grid = {"learning_rate": [0.02, 1e-7]}
        search = GridSearchCV(model, grid, cv=2).fit(X, Y)
        assert search.best_params_ == {"learning_rate": 0.02}
        model.fit(X, Y)
        for copied in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
            assert same_bits(copied.predict_proba(X), model.predict_proba(X))
            copied.partial_fit(X, Y)

    def test_warm_start_checkpoint_and_file(self, tmp_path):
        module = make_instance()
        model = net(module, warm_start=True, checkpoint=tmp_path / "fit")
        proba = model.fit(X, Y).predict_proba(X)
        again = net(module, warm_start=True, checkpoint=tmp_path / "fit").fit(X, Y)
        assert same_bits(again.predict_proba(X), proba)
        with pytest.raises(
            ValueError, match=r"belongs to another fit: .*initial state"
        ):
            net(
                make_instance(seed=1), warm_start=True, checkpoint=tmp_path / "fit"
            ).fit(X, Y)
        save(model, tmp_path / "net.safetensors")
        loaded = load(tmp_path / "net.safetensors", module=make_instance(seed=3))
        assert same_bits(loaded.predict_proba(X), proba)
        model.set_params(checkpoint=None).fit(X, Y)
        assert log_loss(Y, model.predict_proba(X)) < log_loss(Y, proba)

    def test_arguments_for_an_instance_are_an_error(self):
        with pytest.raises(
            ValueError, match=r"built already, Sequential.* the class or"
        ):
            net(make_instance(), module_params={"width": 3}).fit(X, Y)

    def test_an_instance_that_cannot_be_copied_is_an_error(self):
        module = make_instance()
        module.register_forward_hook(lambda *args: module[0](torch.zeros(1, 4)) * 0)
        with pytest.raises(ValueError, match=r"cannot be copied.* a function that"):
            net(module).fit(X, Y)

    def test_an_instance_for_other_classes_is_an_error(self):
        with pytest.raises(ValueError, match=r"shape \(2, 2\), one column for each cl"):
            net(make_instance()).fit(X[Y < 2], Y[Y < 2])


class TestOutput:
    def test_log_probabilities_are_taken_as_they_are(self):
        def build(n_features, n_classes, *last):
            return nn.Sequential(nn.Linear(n_features, n_classes), *last)

        logits = net(build).fit(X, Y)
        model = net(lambda d, k: build(d, k, nn.LogSoftmax(1)), output="log_proba")
        # Warnings are errors in these tests.
        model.fit(X, Y)
        np.testing.assert_allclose(
            model.predict_proba(X), logits.predict_proba(X), atol=1e-5
        )
        np.testing.assert_allclose(
            model.predict_log_proba(X),
            model.module_(torch.tensor(X, dtype=torch.float32)).detach(),
            atol=1e-5,
        )
        assert copy.deepcopy(model).partial_fit(X, Y).score(X, Y) > 0.8

    def test_what_is_no_log_probability_is_an_error(self):
        with pytest.raises(ValueError, match=r"sum to .* expected 1\. Set output='log"):
            net(make_instance(), output="log_proba").fit(X, Y)

    def test_the_remedies_of_the_messages_work(self):
        # As in teaching material: the log loss was .684 instead of .305.
        digits, labels = load_digits(return_X_y=True)
        parts = train_test_split(digits / 16, labels, random_state=0)
        train, test, y_train, y_test = parts

        class Teaching(nn.Module):
            def __init__(self, n_features, n_classes, last="softmax"):
                super().__init__()
                self.fc1 = nn.Linear(n_features, 32)
                self.fc2 = nn.Linear(32, n_classes)
                self.last = last

            def forward(self, x):
                x = self.fc2(self.fc1(x).relu())
                ends = {"softmax": F.softmax, "log_softmax": F.log_softmax}
                return ends[self.last](x, dim=1) if self.last else x

        model = net(Teaching, max_epochs=20, learning_rate=0.003)
        with pytest.raises(ValueError, match=r"Remove the softmax.*output='log_proba'"):
            model.fit(train, y_train)
        with pytest.warns(UserWarning, match="or set output='log_proba'"):
            clone(model).set_params(module__last="log_softmax").fit(train, y_train)
        removed = clone(model).set_params(module__last=None)
        replaced = clone(model).set_params(
            module__last="log_softmax", output="log_proba"
        )
        for remedied in (removed, replaced):
            remedied.fit(train, y_train)
            assert log_loss(y_test, remedied.predict_proba(test)) < 0.25


N_WORDS, LENGTH = 60, 8


class Bag(nn.Module):
    def __init__(self, n_features, n_classes, n_words=N_WORDS):
        super().__init__()
        self.bag = nn.EmbeddingBag(n_words, 16, padding_idx=0)
        self.fc = nn.Linear(16, n_classes)

    def forward(self, tokens):
        assert not tokens.is_floating_point()
        return self.fc(self.bag(tokens))


class OneHot(nn.Module):
    def __init__(self, n_features, n_classes):
        super().__init__()
        self.fc = nn.Linear(N_WORDS, n_classes)

    def forward(self, tokens):
        return self.fc(F.one_hot(tokens, N_WORDS).float().mean(1))


@pytest.fixture(scope="module")
def texts():
    r"""Return tokens of texts, in which three words tell the class, and the classes."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 600)
    tokens = rng.integers(10, N_WORDS, (600, LENGTH))
    tokens[:, :2] = 1 + 3 * y[:, None] + rng.integers(0, 3, (600, 2))
    tokens[:, 6:] *= rng.integers(0, 2, (600, 2))
    return rng.permuted(tokens, axis=1), y


class TestTokens:
    @pytest.mark.parametrize("module", [Bag, OneHot])
    def test_tokens_stay_whole_numbers(self, module, texts):
        X, y = texts
        model = net(module, max_epochs=20).fit(X[:400], y[:400])
        assert model.score(X[400:], y[400:]) > 0.95
        assert cross_val_score(model, X, y, cv=3).min() > 0.95
        assert (model.net_.predict(X) == model.predict(X)).all()

    @pytest.mark.parametrize("module", [Bag, OneHot])
    def test_tokens_that_the_module_lacks_are_told(self, module, texts):
        X, y = texts
        model = net(module, max_epochs=1).fit(X, y)
        X = X[:20].copy()
        X[3, 2] = N_WORDS + 1
        with pytest.raises(ValueError, match=r"go from 0 to 61 .*for unknown words"):
            model.predict_proba(X)

    def test_every_container_and_dtype_gives_the_same_bits(self, texts):
        X, y = texts
        proba = net(Bag).fit(X, y).predict_proba(X)
        for rows in (
            X.astype(np.uint8),
            X.astype(np.int16),
            X.astype(np.float64),
            X.tolist(),
            torch.tensor(X),
            pd.DataFrame(X, columns=[f"word {i}" for i in range(LENGTH)]),
        ):
            assert same_bits(net(Bag).fit(rows, y).predict_proba(rows), proba)

    def test_numbers_of_a_table_that_are_whole_stay_float32(self):
        digits, labels = load_digits(return_X_y=True)
        seen = []

        class Linear(nn.Linear):
            def forward(self, x):
                seen.append(x.dtype)
                return super().forward(x)

        net(Linear, max_epochs=1, learning_rate=1e-3).fit(
            digits.astype(np.uint8), labels
        ).predict(digits.astype(np.int64))
        assert set(seen) == {torch.float32}

    def test_streams_pickles_files_and_early_stopping(self, texts, tmp_path):
        X, y = texts
        model = net(Bag, early_stopping=True).fit(X, y)
        proba = model.predict_proba(X)
        save(model, tmp_path / "net.safetensors")
        loaded = load(tmp_path / "net.safetensors", module=Bag)
        assert same_bits(loaded.predict_proba(X), proba)
        assert same_bits(pickle.loads(pickle.dumps(model)).predict_proba(X), proba)
        stream = net(Bag).partial_fit(X[:7], y[:7], classes=[0, 1, 2])
        for _ in range(30):
            stream.partial_fit(X, y)
        assert stream.score(X, y) > 0.9
        assert model.predict_proba(X[:1]).shape == (1, 3)

    def test_a_vocabulary_that_is_too_small_is_told_before_training(self, texts):
        X, y = texts
        message = (
            rf"numbers go from 0 to {X.max()} .* needs num_embeddings of {N_WORDS}"
        )
        with pytest.raises(ValueError, match=message):
            net(Bag, module_params={"n_words": 20}).fit(X, y)

    def test_numbers_that_are_not_whole_are_told(self, texts):
        X, y = texts
        with pytest.raises(ValueError, match="The module failed on 2 rows of 8 feat"):
            net(Bag).fit(X + 0.5, y)
        model = net(Bag).fit(X, y)
        with pytest.raises(ValueError, match=r"not whole in X.* Expected tokens in X"):
            model.predict(X + 0.5)
