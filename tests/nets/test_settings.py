r"""settings_, temperature_, sizes as text, and the values of older versions."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxMLPClassifier,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)
from sksoftmax._nets import cnn_defaults, mlp_defaults
from sksoftmax.persistence import load, save

from ..factories import CNN, MLP, Net, for_each_trained_by_epochs, same_bits, state


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:300], y[:300]


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def fitted(digits):
    return SoftmaxMLPClassifier(n_estimators=4, random_state=0, device="cpu").fit(
        *digits
    )


def test_settings_are_what_each_auto_became(fitted):
    assert fitted.settings_ == {
        "hidden_layer_sizes": (64, 64),
        "n_bins": 8,
        "normalization": None,
        "input_dropout": 0.1,
        "embedding_size": 4,
        "learning_rate": pytest.approx(0.003),
        "weight_decay": 0.3,
        "categorical_features": None,
        "defaults": "0.2",
        "batch_size": fitted.net_.batch_size,
        "max_epochs": fitted.net_.max_epochs,
        "early_stopping": True,
        "temperature_scaling": True,
        "precision": "float32",
        "device": "cpu",
    }
    parameters = fitted.get_params()
    auto = {name for name, value in parameters.items() if value == "auto"}
    assert auto <= set(fitted.settings_) <= set(parameters)


def test_settings_and_temperature_survive_copies_and_files(fitted, tmp_path):
    save(fitted, tmp_path / "file")
    others = [copy.deepcopy(fitted), pickle.loads(pickle.dumps(fitted))]
    for other in [*others, load(tmp_path / "file")]:
        assert other.settings_ == fitted.settings_
        assert other.temperature_ == fitted.temperature_ != 1.0


def test_the_net_of_the_settings_is_the_same(fitted, digits):
    # Without the validation rows, which "auto" holds out by member.
    same = {"early_stopping": False, "temperature_scaling": False}
    auto = clone(fitted).set_params(**same).fit(*digits)
    given = clone(auto).set_params(**auto.settings_).fit(*digits)
    assert state(given) == state(auto)


@for_each_trained_by_epochs
def test_settings_of_every_classifier(make, iris):
    model = make()
    with pytest.raises(NotFittedError):
        model.temperature_  # noqa: B018
    model.fit(*iris)
    assert model.temperature_ == 1.0
    assert model.settings_["early_stopping"] is False
    assert set(model.settings_) <= set(model.get_params())
    auto = {name for name, value in model.get_params().items() if value == "auto"}
    assert auto <= set(model.settings_) | {"channels_last"}
    stopped = clone(model).set_params(early_stopping=True).fit(*iris)
    assert stopped.settings_["early_stopping"] is True


def test_settings_of_images_and_exact_solvers(iris):
    images = np.random.default_rng(0).integers(0, 255, (40, 16, 16, 3), dtype=np.uint8)
    net = CNN(kernel_size="auto", max_epochs=1).fit(images, np.arange(40) % 2)
    assert net.settings_["image_shape"] == (3, 16, 16)
    assert net.settings_["channels_last"] is True
    assert net.settings_["augmentation"] == "shift"
    assert net.settings_["test_time_augmentation"] is True
    assert net.settings_["kernel_size"] == [[5], [3]]
    assert SoftmaxRegression().fit(*iris).settings_["solver"] == "newton-cg"
    chosen = SoftmaxRegressionCV(Cs=2).fit(*iris).settings_
    assert chosen == {"Cs": [1e-4, 1e4], "cv": 5, "device": chosen["device"]}


def test_stream_has_settings_of_its_own(iris):
    model = MLP(early_stopping="auto").partial_fit(*iris, classes=[0, 1, 2])
    assert model.settings_["early_stopping"] is False
    assert model.settings_["max_epochs"] == 12


@pytest.mark.parametrize(
    ("make", "text", "sizes"),
    [
        (MLP, {"hidden_layer_sizes": "16-8"}, {"hidden_layer_sizes": (16, 8)}),
        (MLP, {"hidden_layer_sizes": "16"}, {"hidden_layer_sizes": 16}),
        (
            CNN,
            {"channels": "4-8", "kernel_size": "3-1", "hidden_layer_sizes": "8-4"},
            {"channels": (4, 8), "kernel_size": (3, 1), "hidden_layer_sizes": (8, 4)},
        ),
    ],
)
def test_sizes_as_text(make, text, sizes, iris, tmp_path):
    model = make(max_epochs=2, **text).fit(*iris)
    assert state(model) == state(make(max_epochs=2, **sizes).fit(*iris))
    save(model, tmp_path / "file")
    assert load(tmp_path / "file").get_params()[next(iter(text))] == next(
        iter(text.values())
    )


@pytest.mark.parametrize("text", ["", "wide", "8,4", "8-", "0-8", "-8", "8--4", "٣"])
def test_other_texts_are_no_sizes(text, iris):
    for model in (MLP(hidden_layer_sizes=text), CNN(channels=text)):
        with pytest.raises(ValueError, match="or a text such as '128-64'"):
            model.fit(*iris)


class TestVersions:
    def test_first_version_has_its_own_values(self, digits):
        model = SoftmaxMLPClassifier(
            n_estimators=4, defaults="0.1", max_epochs=2, random_state=0
        ).fit(*digits)
        settings = model.settings_
        # As its documentation said: two layers of 128, eight bins without vectors.
        assert settings["hidden_layer_sizes"] == (128, 128)
        assert settings["embedding_size"] == 0
        assert settings["defaults"] == "0.1"
        assert float(model.module_.average.temperature) == 1.0
        assert model.score(*digits) > 0.9

    @pytest.mark.parametrize(
        ("n_rows", "n_features", "sizes", "rate", "dropout", "epochs"),
        [
            (100, 20, 128, 0.0015, 0.1, 50),
            (1_200, 20, 128, 0.0096, 0.1, 11),
            (20_000, 20, 192, 0.012, 0.1, 6),
            (20_000, 784, 256, 0.012, 0.2, 32),
        ],
    )
    def test_values_of_the_first_version(
        self, n_rows, n_features, sizes, rate, dropout, epochs
    ):
        numbers = mlp_defaults.VERSIONS["0.1"]
        found = mlp_defaults.recipe(
            SoftmaxMLPClassifier(defaults="0.1"), n_rows, n_features, is_stream=False
        )
        widths = mlp_defaults.hidden_layer_sizes(
            "auto", n_rows, n_features, numbers, is_stream=False
        )
        is_large = n_rows >= 20_000
        assert widths == (sizes, sizes)
        assert found.learning_rate == pytest.approx(rate)
        assert found.max_epochs == epochs
        assert (
            mlp_defaults.input_dropout("auto", n_features, is_large, numbers) == dropout
        )
        bins = mlp_defaults.n_bins("auto", n_rows, n_features, numbers)
        assert bins == (8 if n_features <= 256 else 0)

    @pytest.mark.parametrize("make", [MLP, CNN, Net])
    def test_latest_is_the_last_version(self, make, iris):
        model = make(max_epochs=2).fit(*iris)
        last = list(mlp_defaults.VERSIONS)[-1]
        assert model.settings_["defaults"] == last == list(cnn_defaults.VERSIONS)[-1]
        assert state(clone(model).set_params(defaults=last).fit(*iris)) == state(model)
        with pytest.raises(ValueError, match="'defaults' parameter"):
            make(defaults="0.0").fit(*iris)


def test_loaded_net_of_older_values_predicts_the_same(tmp_path, digits):
    model = SoftmaxMLPClassifier(
        n_estimators=2, defaults="0.1", max_epochs=1, random_state=0
    ).fit(*digits)
    save(model, tmp_path / "file")
    loaded = load(tmp_path / "file")
    assert same_bits(loaded.predict_proba(digits[0]), model.predict_proba(digits[0]))


def test_convolutional_values_have_changed_for_images_in_color_alone():
    first, last = cnn_defaults.VERSIONS["0.1"], cnn_defaults.VERSIONS["0.2"]
    same = replace(
        last,
        channels_of_colors=first.channels_of_colors,
        dropout_of_colors=first.dropout_of_colors,
    )
    assert same == first
    # Values of gray images then.
    assert first.channels_of_colors == first.channels == last.channels
    assert first.dropout_of_colors == first.dropout == last.dropout
    assert SoftmaxCNNClassifier().defaults == "latest"
