r"""Saved classifiers predict the same bits after loading."""

import json
import pickle

import numpy as np
import pytest
import safetensors.torch
import skops.io
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from torch import nn

from sksoftmax import (
    SoftmaxNetClassifier,
    SoftmaxRegression,
)
from sksoftmax.persistence import TRUSTED_TYPES, InvalidFileError, load, save

from ..datasets.files import needs_real_data
from .classifiers import (
    check_same_predictions,
    cnn,
    digits,
    iris,
    make_module,
    mlp,
    same,
    table,
)


def test_the_same_bits_come_back(fitted, path):
    classifier, X, y = fitted
    before = {name: id(value) for name, value in vars(classifier).items()}
    save(classifier, path)
    assert {name: id(value) for name, value in vars(classifier).items()} == before
    loaded = load(path)
    check_same_predictions(classifier, loaded, X, y)
    assert loaded.module_.state_dict().keys() == classifier.module_.state_dict().keys()
    for name, weight in classifier.module_.state_dict().items():
        assert weight.dtype == loaded.module_.state_dict()[name].dtype


def test_all_parameters_and_fitted_attributes_come_back(fitted, path):
    classifier, _, _ = fitted
    save(classifier, str(path))
    loaded = load(path)
    assert vars(loaded).keys() == vars(classifier).keys()
    for name, value in vars(classifier).items():
        if name not in ("module_", "net_", "_encoder"):
            assert same(value, getattr(loaded, name)), name
    assert repr(loaded) == repr(classifier)
    assert repr(clone(loaded)) == repr(clone(classifier))
    assert loaded._repr_html_()


@pytest.mark.parametrize(
    ("classifier", "make_data"),
    [
        (mlp(), table),
        (cnn(normalization=None), digits),
        (SoftmaxRegression(solver="adam"), iris),
    ],
    ids=["mlp", "cnn", "regression"],
)
def test_training_continues_from_the_parameters(classifier, make_data, path):
    X, y = make_data()
    classifier = clone(classifier).set_params(learning_rate=1e-6).fit(X, y)
    save(classifier, path)
    expected = classifier.predict_proba(X)
    further = load(path).partial_fit(X, y)
    warm = load(path).set_params(warm_start=True).fit(X, y)
    for trained in (further, warm):
        assert not same(trained.predict_proba(X), expected)
        np.testing.assert_allclose(trained.predict_proba(X), expected, atol=0.02)
    again = pickle.loads(pickle.dumps(load(path)))
    check_same_predictions(load(path), again, X, y)


def test_a_double_module_stays_double(path):
    X, y = iris()
    classifier = mlp().fit(X, y)
    classifier.module_.double()
    save(classifier, path)
    loaded = load(path)
    assert loaded.module_.output.weight.dtype == torch.float64
    check_same_predictions(classifier, loaded, X, y)


def test_module_of_the_user_is_passed_to_load(path):
    X, y = iris()
    classifier = SoftmaxNetClassifier(
        make_module, module_params={"width": 8}, max_epochs=2, random_state=0
    ).fit(X, y)
    save(classifier, path)
    loaded = load(path, module=make_module)
    check_same_predictions(classifier, loaded, X, y)
    assert loaded.module is make_module
    with pytest.raises(ValueError, match=r"load\(path, module=\.\.\.\)"):
        load(path)
    with pytest.raises(InvalidFileError, match="pass the module that was fitted"):
        load(path, module=lambda n_features, n_classes, width: nn.Linear(4, 3))
    save(mlp().fit(X, y), path)
    with pytest.raises(ValueError, match="Leave module out"):
        load(path, module=make_module)


def test_saved_device_may_be_missing_or_replaced(path, monkeypatch):
    X, y = iris()
    classifier = SoftmaxRegression().fit(X, y)
    # The value in a file of a classifier fitted on another machine.
    classifier.device = "cuda:7"
    save(classifier, path)
    loaded = load(path)
    assert loaded.device == "auto"
    check_same_predictions(classifier, loaded, X, y)
    assert load(path, device="cpu").device == "cpu"
    with pytest.raises(ValueError, match="device='cuda:7'"):
        load(path, device="cuda:7")


@pytest.mark.accelerator
@pytest.mark.skipif(
    not torch.accelerator.is_available(), reason="no CUDA or MPS device"
)
@pytest.mark.parametrize("classifier", [SoftmaxRegression(), mlp(), cnn()], ids=repr)
def test_fitted_on_an_accelerator_loads_on_a_cpu(classifier, path):
    X, y = digits()
    device = torch.accelerator.current_accelerator().type
    classifier = clone(classifier).set_params(device=device).fit(X, y)
    save(classifier, path)
    loaded = load(path, device="cpu")
    assert {tensor.device.type for tensor in loaded.module_.parameters()} == {"cpu"}
    np.testing.assert_allclose(
        loaded.predict_proba(X), classifier.predict_proba(X), atol=1e-3
    )
    back = load(path)
    assert back.device_.type == device
    assert same(back.predict_proba(X), classifier.predict_proba(X))
    stored = skops.io.loads(skops.io.dumps(classifier), trusted=TRUSTED_TYPES)
    assert same(stored.predict_proba(X), classifier.predict_proba(X))


def test_hidden_layer_sizes_are_those_of_the_fit(path):
    X, y = load_iris(return_X_y=True)
    classifier = mlp().fit(X, y).set_params(hidden_layer_sizes=(9,))
    save(classifier, path)
    loaded = load(path)
    assert loaded.hidden_layer_sizes_ == (8,)
    assert loaded.hidden_layer_sizes == (9,)
    check_same_predictions(classifier, loaded, X, y)


def test_the_header_names_format_class_parameters_and_versions(path):
    save(mlp().fit(*iris()), path)
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    document = json.loads(metadata["document"])
    assert metadata["format"] == "sksoftmax"
    assert document["class"] == "SoftmaxMLPClassifier"
    assert document["parameters"]["max_epochs"] == 3
    assert document["versions"]["torch"] == torch.__version__
    assert "module.output.weight" in safetensors.torch.load_file(path)


def test_global_generator_is_left_alone(path):
    X, y = iris()
    save(SoftmaxNetClassifier(make_module, max_epochs=1).fit(X, y), path)
    before = torch.get_rng_state()
    load(path, module=make_module)
    assert torch.equal(torch.get_rng_state(), before)


@needs_real_data("otto")
def test_otto_predicts_the_same_after_loading(path):
    from sksoftmax.datasets import load_otto

    X, y = load_otto(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    training, rest = order[:3000], order[-10_000:]
    classifier = mlp(hidden_layer_sizes=(64,), n_estimators=4)
    classifier.fit(X.iloc[training], y.iloc[training])
    save(classifier, path)
    rows = X.iloc[rest]
    check_same_predictions(classifier, load(path), rows, y.iloc[rest])
