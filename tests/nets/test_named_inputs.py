r"""Modules of several inputs: dicts of arrays, and groups of columns."""

import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from torch import nn

from sksoftmax import SoftmaxMLPClassifier, SoftmaxNetClassifier
from sksoftmax.persistence import load, save

from ..factories import same_bits

N, N_WORDS = 600, 20


class Wide(nn.Module):
    r"""Numbers, tokens and an image."""

    def __init__(self, sizes, n_classes):
        super().__init__()
        self.words = nn.Embedding(N_WORDS, 4)
        self.image = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten())
        self.fc = nn.Linear(sizes["numbers"] + 4 * sizes["tokens"] + 16, n_classes)

    def forward(self, numbers, tokens, image):
        assert numbers.dtype == image.dtype == torch.float32
        assert tokens.dtype == torch.int64
        parts = [numbers, self.words(tokens).flatten(1), self.image(image)]
        return self.fc(torch.cat(parts, 1))


class Columns(nn.Module):
    r"""Numbers and tokens."""

    def __init__(self, sizes, n_classes):
        super().__init__()
        self.words = nn.Embedding(N_WORDS, 4)
        self.fc = nn.Linear(sizes["numbers"] + 4 * sizes["tokens"], n_classes)

    def forward(self, tokens, numbers):
        return self.fc(torch.cat([numbers, self.words(tokens).flatten(1)], 1))


@pytest.fixture(scope="module")
def data():
    r"""Return inputs, each of which tells one bit of the class, and the classes."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (N, 3))
    numbers = rng.normal(size=(N, 3)) + 4 * bits[:, :1]
    tokens = rng.integers(0, N_WORDS // 2, (N, 2)) + N_WORDS // 2 * bits[:, 1:2]
    image = rng.normal(size=(N, 1, 4, 4)) + bits[:, 2, None, None, None]
    X = {"numbers": numbers, "tokens": tokens, "image": image.astype(np.float32)}
    return X, bits @ [1, 2, 4]


@pytest.fixture(scope="module")
def table(data):
    X, y = data
    frame = pd.DataFrame(X["numbers"], columns=["a", "b", "c"])
    # The columns of an input need not lie side by side.
    frame.insert(0, "t0", X["tokens"][:, 0])
    frame["t1"] = X["tokens"][:, 1]
    return frame, y % 4


def net(module, **options):
    options = {"max_epochs": 25, "learning_rate": 0.02, "random_state": 0, **options}
    return SoftmaxNetClassifier(module, **options)


GROUPS = {"numbers": ["a", "b", "c"], "tokens": ["t0", "t1"]}


def rows(X, index):
    return {name: array[index] for name, array in X.items()}


class TestDict:
    def test_every_input_is_learned_from(self, data):
        X, y = data
        train, test = slice(400), slice(400, None)
        model = net(Wide).fit(rows(X, train), y[train])
        assert model.n_features_in_ == 3 + 2 + 16
        assert model.score(rows(X, test), y[test]) > 0.9

    def test_validation_rows_streams_pickles_and_files(self, data, tmp_path):
        X, y = data
        model = net(Wide, early_stopping=True).fit(
            X, y, X_val=rows(X, slice(100)), y_val=y[:100]
        )
        proba = model.predict_proba(X)
        save(model, tmp_path / "net.safetensors")
        loaded = load(tmp_path / "net.safetensors", module=Wide)
        assert same_bits(loaded.predict_proba(X), proba)
        for copied in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
            assert same_bits(copied.predict_proba(X), proba)
        model.set_params(early_stopping=False, warm_start=True).partial_fit(X, y)
        assert model.fit(X, y).score(X, y) > 0.9
        in_other_order = {name: X[name] for name in reversed(X)}
        assert same_bits(model.predict_proba(in_other_order), model.predict_proba(X))

    def test_a_killed_fit_goes_on(self, data, tmp_path):
        X, y = data
        model = net(Wide, checkpoint=tmp_path / "fit", max_epochs=3)
        with pytest.warns(UserWarning, match="hasn't converged"):
            proba = model.fit(X, y).predict_proba(X)
        with pytest.warns(UserWarning, match="hasn't converged"):
            again = clone(model).fit(X, y)
        assert same_bits(again.predict_proba(X), proba)

    def test_a_module_is_called_with_its_inputs_too(self, data):
        X, y = data
        module = net(Wide).fit(X, y).module_
        tensors = {name: torch.tensor(array[:2]) for name, array in X.items()}
        tensors["numbers"] = tensors["numbers"].float()
        assert module(**tensors).shape == (2, 8)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda X: {**X, "numbers": X["numbers"][:5]}, "same number of rows in ea"),
            (
                lambda X: {1: X["numbers"]},
                "names of the arguments of the module's forw",
            ),
            (lambda X: {**X, "more": X["numbers"]}, r"unexpected keyword argument 'mo"),
        ],
    )
    def test_dicts_that_do_not_fit_are_errors(self, change, message, data):
        X, y = data
        with pytest.raises((TypeError, ValueError), match=message):
            net(Wide).fit(change(X), y)

    def test_other_inputs_than_in_fit_are_errors(self, data):
        X, y = data
        model = net(Wide).fit(X, y)
        for other in (
            {"numbers": X["numbers"]},
            {**X, "image": X["image"][..., :3]},
        ):
            with pytest.raises(ValueError, match=r"fitted to numbers of rows of shape"):
                model.predict(other)
        fractions = {**X, "tokens": X["tokens"] + 0.5}
        with pytest.raises(ValueError, match="not whole in X"):
            model.predict(fractions)

    def test_other_classifiers_say_what_they_take(self, data):
        with pytest.raises(TypeError, match=r"Pass pandas\.DataFrame\(X\)"):
            SoftmaxMLPClassifier().fit(*data)


class TestColumns:
    def test_cross_validation_of_groups_of_columns(self, table):
        X, y = table
        assert cross_val_score(net(Columns, inputs=GROUPS), X, y, cv=3).min() > 0.9

    def test_every_way_to_name_the_columns_gives_the_same_bits(self, table):
        X, y = table
        proba = net(Columns, inputs=GROUPS).fit(X, y).predict_proba(X)
        positions = {"numbers": slice(1, 4), "tokens": [0, -1]}
        array = X.to_numpy()
        model = net(Columns, inputs=positions).fit(array, y)
        assert same_bits(model.predict_proba(array), proba)
        frame = pl.from_pandas(X)
        model = net(Columns, inputs=GROUPS).fit(frame, y)
        assert same_bits(model.predict_proba(frame), proba)
        arrays = {
            "numbers": X[["a", "b", "c"]].to_numpy(),
            "tokens": X[["t0", "t1"]].to_numpy(),
        }
        model = net(Columns).fit(arrays, y)
        assert same_bits(model.predict_proba(arrays), proba)

    def test_a_search_over_groups(self, table):
        X, y = table
        alone = {"numbers": ["a"], "tokens": ["t0"]}
        search = GridSearchCV(net(Columns), {"inputs": [alone, GROUPS]}, cv=2)
        assert search.fit(X, y).best_score_ > 0.9

    @pytest.mark.parametrize(
        ("inputs", "message"),
        [
            ({"numbers": ["a", "x"]}, r"'numbers': \['a', 'x'\], but .* names among"),
            ({"numbers": [0, 9]}, "expected columns of X"),
            ({"numbers": []}, "expected columns of X"),
        ],
    )
    def test_columns_that_are_not_there_are_errors(self, inputs, message, table):
        with pytest.raises(ValueError, match=message):
            net(Columns, inputs=inputs).fit(*table)

    def test_a_dict_and_the_parameter_are_an_error(self, data):
        with pytest.raises(ValueError, match="but expected one of the two"):
            net(Columns, inputs=GROUPS).fit(*data)

    def test_a_vocabulary_that_is_too_small_is_told(self, table):
        X, y = table
        with pytest.raises(ValueError, match="needs num_embeddings"):
            net(Columns, inputs=GROUPS).fit(X.assign(t0=X["t0"] + N_WORDS), y)
