r"""Classifiers in files: the same bits come back, and nothing else comes in."""

import copy
import io
import json
import os
import pickle
import random
import struct
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import safetensors.torch
import skops.io
import torch
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array, csr_matrix
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skops.io.exceptions import UntrustedTypesFoundException
from skorch.callbacks import GradientNormClipping
from torch import nn

from sksoftmax import (
    NeighborsEncoder,
    SoftmaxCNNClassifier,
    SoftmaxGridSearchCV,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)
from sksoftmax._utils import files
from sksoftmax._utils.files import decode, encode
from sksoftmax.persistence import TRUSTED_TYPES, InvalidFileError, load, save

from ..pipeline_steps import LABELS, STEPS

DATA = os.environ.get("SKSOFTMAX_DATA")


def make_module(n_features, n_classes, width=16):
    return nn.Sequential(
        nn.Linear(n_features, width), nn.BatchNorm1d(width), nn.Linear(width, n_classes)
    )


def iris(labels=("setosa", "versicolor", "virginica")):
    X, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    return X[order], np.array(labels)[y][order]


def digits():
    X, y = load_digits(return_X_y=True)
    return X[:300], y[:300]


def twice(X):
    return 2 * X


def table():
    r"""Columns of every kind, some of their values missing."""
    X, y = iris()
    frame = pd.DataFrame(
        {
            "number": X[:, 0],
            "text": np.where(X[:, 1] > 3, "wide", "narrow"),
            "many": (X[:, 2] * 10).astype(int).astype(str),
            "coded": pd.Series(np.where(X[:, 3] > 1, 7, 2)).astype("category"),
            "mixed": pd.Series([1, "one", True] * 50, dtype=object),
            "flag": X[:, 0] > 6,
        }
    )
    frame.loc[::7, "number"] = np.nan
    frame.loc[::5, "text"] = None
    return frame, y


def mlp(**params):
    defaults = {"hidden_layer_sizes": (8,), "max_epochs": 3, "random_state": 0}
    return SoftmaxMLPClassifier(**{**defaults, **params})


def sizes(width):
    # As the file writes a tuple.
    return {"tuple": [width]}


def cnn(**params):
    defaults = {"channels": (4, 8), "max_epochs": 1, "random_state": 0}
    return SoftmaxCNNClassifier(**{**defaults, **params})


def sparse():
    X, y = iris()
    return csr_array(X), y


CASES = {
    "regression": (SoftmaxRegression(C=np.float64(0.1)), iris),
    "float32": (SoftmaxRegression(), lambda: (iris()[0].astype(np.float32), iris()[1])),
    "sparse": (SoftmaxRegression(), sparse),
    "minibatch": (SoftmaxRegression(solver="adam", max_iter=3, random_state=0), iris),
    "cv": (SoftmaxRegressionCV(Cs=np.array([0.1, 1.0]), l1_ratios=(0, 0.5)), iris),
    "mlp": (mlp(class_weight={"setosa": 2.0}), iris),
    "single": (mlp(n_estimators=1, normalization="batch"), lambda: iris((3, 1, 2))),
    "early stopping": (mlp(early_stopping=True), lambda: iris((0.0, 1.0, 2.0))),
    "two classes": (mlp(), lambda: iris((True, False, True))),
    "object labels": (mlp(), lambda: iris(np.array(["b", "a", "c"], dtype=object))),
    "shared": (mlp(share_weights=True, temperature_scaling=True), table),
    "table": (mlp(n_estimators=2), table),
    "bins": (mlp(n_bins=3), table),
    "indices": (mlp(categorical_features=np.array([0])), iris),
    "polars": (
        mlp(),
        lambda: (pl.from_pandas(table()[0].drop(columns=["mixed"])), table()[1]),
    ),
    "cnn": (cnn(), digits),
    "cnn, members": (cnn(n_estimators=2, temperature_scaling=True), digits),
    "tta": (cnn(test_time_augmentation=True, augmentation="shift_flip"), digits),
    "dropout": (
        cnn(image_shape=(4, 16), dropout=0.1, kernel_size=np.array([3, 3])),
        digits,
    ),
}


@pytest.fixture(scope="module", params=CASES)
def fitted(request):
    classifier, make_data = CASES[request.param]
    X, y = make_data()
    return clone(classifier).fit(X, y), X, y


@pytest.fixture
def path(tmp_path):
    return tmp_path / "classifier.safetensors"


def same(value, other):
    r"""Return whether two values are equal to the last bit, and of one type."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f":
            return value.dtype == other.dtype and value.tobytes() == other.tobytes()
        return value.dtype == other.dtype and value.tolist() == other.tolist()
    if isinstance(value, list | tuple):
        return len(value) == len(other) and all(map(same, value, other))
    return type(value) is type(other) and value == other


def check_same_predictions(classifier, other, X, y):
    for method in ("predict", "predict_proba", "predict_log_proba"):
        assert same(getattr(classifier, method)(X), getattr(other, method)(X))
    assert other.score(X, y) == classifier.score(X, y)


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


def test_skops_stores_a_search():
    X, y = load_iris(return_X_y=True)
    search = SoftmaxGridSearchCV(SoftmaxRegression(), {"C": [0.1, 1.0]}).fit(X, y)
    loaded = skops.io.loads(skops.io.dumps(search), trusted=TRUSTED_TYPES)
    assert loaded.score(X, y) == search.score(X, y)


def test_skops_stores_data_only(fitted):
    classifier, X, y = fitted
    stored = skops.io.dumps(classifier)
    [name] = skops.io.get_untrusted_types(data=stored)
    assert name in TRUSTED_TYPES
    loaded = skops.io.loads(stored, trusted=TRUSTED_TYPES)
    check_same_predictions(classifier, loaded, X, y)
    assert vars(loaded).keys() == vars(classifier).keys()
    with pytest.raises(UntrustedTypesFoundException, match=type(classifier).__name__):
        skops.io.loads(stored)


def test_skops_stores_pipelines(tmp_path):
    X, y = table()
    columns = ["number", "coded"]
    pipeline = make_pipeline(
        ColumnTransformer([("scale", StandardScaler(), columns)]), mlp()
    ).fit(X, y)
    skops.io.dump(pipeline, tmp_path / "pipeline.skops")
    loaded = skops.io.load(tmp_path / "pipeline.skops", trusted=TRUSTED_TYPES)
    assert same(pipeline.predict_proba(X), loaded.predict_proba(X))
    loaded[-1].partial_fit(loaded[:-1].transform(X), y)


@pytest.mark.parametrize("name", STEPS)
def test_skops_stores_pipelines_with_steps_of_scikit_learn(name):
    step, X = STEPS[name]
    pipeline = make_pipeline(clone(step), SoftmaxRegression(max_iter=3, tol=1.0))
    proba = pipeline.fit(X, LABELS).predict_proba(X)
    loaded = skops.io.loads(skops.io.dumps(pipeline), trusted=TRUSTED_TYPES)
    assert_array_equal(loaded.predict_proba(X), proba)


@pytest.mark.parametrize(
    "step", [FunctionTransformer(twice), CountVectorizer(tokenizer=twice)]
)
def test_skops_does_not_load_functions_of_users(step):
    stored = skops.io.dumps(make_pipeline(step, SoftmaxRegression()))
    with pytest.raises(UntrustedTypesFoundException):
        skops.io.loads(stored, trusted=TRUSTED_TYPES)


@pytest.mark.parametrize("form", [np.asarray, csr_array, csr_matrix])
def test_neighbors_are_searched_the_same_after_loading(form):
    # Of up to 15 features, scikit-learn keeps a tree, which skops does not trust.
    X = np.random.default_rng(0).poisson(1.0, size=(200, 3)).astype(float)
    encoder = NeighborsEncoder(n_neighbors=4).fit(form(X), np.arange(200) % 3)
    new = form(X + 1)
    for loaded in (
        skops.io.loads(skops.io.dumps(encoder), trusted=TRUSTED_TYPES),
        pickle.loads(pickle.dumps(encoder)),
        copy.deepcopy(encoder),
    ):
        assert_array_equal(loaded.transform(new), encoder.transform(new))
        assert_array_equal(
            loaded.neighbors_[0].kneighbors()[1], encoder.neighbors_[0].kneighbors()[1]
        )


def test_neighbors_of_a_tampered_file_are_refused():
    X = csr_array(np.eye(6))
    state = NeighborsEncoder(n_neighbors=2).fit(X, [0, 1] * 3).__getstate__()
    n_neighbors, (data, indices, indptr, shape) = state["neighbors_"][0]
    state["neighbors_"][0] = n_neighbors, (data, indices + 1000, indptr, shape)
    with pytest.raises(ValueError, match="indices"):
        NeighborsEncoder().__setstate__(state)


def test_skops_stores_what_is_not_fitted():
    loaded = skops.io.loads(skops.io.dumps(mlp()), trusted=TRUSTED_TYPES)
    assert repr(loaded) == repr(mlp())
    with pytest.raises(NotFittedError):
        loaded.predict(iris()[0])


def test_pickle_and_joblib_keep_the_net(fitted):
    classifier, X, y = fitted
    file = io.BytesIO()
    joblib.dump(classifier, file)
    file.seek(0)
    for copied in (pickle.loads(pickle.dumps(classifier)), joblib.load(file)):
        check_same_predictions(classifier, copied, X, y)
        assert copied.net_.module_ is copied.module_
        assert len(copied.net_.history) == len(classifier.net_.history)


@pytest.mark.parametrize(
    ("classifier", "make_data"),
    [
        (mlp(), table),
        (cnn(normalization=None), digits),
        (SoftmaxRegression(solver="adam"), iris),
    ],
    ids=["mlp", "cnn", "regression"],
)
def test_training_goes_on_from_the_weights(classifier, make_data, path):
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


def test_module_of_ones_own_is_passed_to_load(path):
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


def test_device(path, monkeypatch):
    X, y = iris()
    classifier = SoftmaxRegression().fit(X, y)
    # As of a model that was fitted on another machine.
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
    assert {one.device.type for one in loaded.module_.parameters()} == {"cpu"}
    np.testing.assert_allclose(
        loaded.predict_proba(X), classifier.predict_proba(X), atol=1e-3
    )
    back = load(path)
    assert back.device_.type == device
    assert same(back.predict_proba(X), classifier.predict_proba(X))
    stored = skops.io.loads(skops.io.dumps(classifier), trusted=TRUSTED_TYPES)
    assert same(stored.predict_proba(X), classifier.predict_proba(X))


@pytest.mark.parametrize(
    ("params", "remedy"),
    [
        ({"callbacks": [("clip", GradientNormClipping(1.0))]}, {"callbacks": None}),
        ({"random_state": np.random.RandomState(0)}, {"random_state": None}),
    ],
    ids=["callbacks", "random_state"],
)
def test_parameters_that_are_code_are_named(params, remedy, path):
    X, y = iris()
    classifier = mlp(**params).fit(X, y)
    [name] = params
    with pytest.raises(ValueError, match=rf"parameter {name}=.*set_params\({name}="):
        save(classifier, path)
    assert not path.exists()
    save(classifier.set_params(**remedy), path)
    check_same_predictions(classifier, load(path), X, y)


def test_functions_are_named(path):
    X, y = digits()
    classifier = cnn(augmentation=torch.relu).fit(X, y)
    with pytest.raises(ValueError, match=r"parameter augmentation=<built-in"):
        save(classifier, path)
    save(classifier.set_params(augmentation=None), path)
    check_same_predictions(classifier, load(path), X, y)
    search = SoftmaxRegressionCV(Cs=2, cv=KFold(3)).fit(X, y)
    with pytest.raises(ValueError, match=r"parameter cv=KFold"):
        save(search, path)


def test_sizes_are_those_that_were_fitted(path):
    X, y = load_iris(return_X_y=True)
    classifier = mlp().fit(X, y).set_params(hidden_layer_sizes=(9,))
    save(classifier, path)
    loaded = load(path)
    assert loaded.hidden_layer_sizes_ == (8,)
    assert loaded.hidden_layer_sizes == (9,)
    check_same_predictions(classifier, loaded, X, y)


@pytest.mark.parametrize(
    "params",
    [
        {"activation": "relu"},
        {"dropout": 0.1},
        {"n_estimators": 1},
        {"input_scaling": None},
    ],
    ids=str,
)
def test_parameters_changed_after_the_fit_are_named(params, path):
    classifier = mlp().fit(*iris()).set_params(**params)
    with pytest.raises(ValueError, match="Fit again after changing a parameter"):
        save(classifier, path)


def test_image_shape_changed_after_the_fit_is_named(path):
    classifier = cnn(image_shape=(8, 8)).fit(*digits()).set_params(image_shape=(4, 16))
    with pytest.raises(ValueError, match=r"image_shape=\(1, 8, 8\)\), not .*4, 16"):
        save(classifier, path)


def test_dates_cannot_be_saved(path):
    X, y = table()
    days = pd.date_range("2026-01-01", periods=7).to_numpy()
    X["day"] = pd.Series(np.resize(days, len(X))).astype("category")
    with pytest.raises(ValueError, match=r"attribute _encoder holds .*datetime64"):
        save(mlp().fit(X, y), path)


@pytest.mark.parametrize(
    ("model", "error"),
    [
        (mlp(), NotFittedError),
        (LogisticRegression(), TypeError),
        (make_pipeline(StandardScaler(), mlp()), TypeError),
        (GridSearchCV(mlp(), {}), TypeError),
        (None, TypeError),
        (type("SoftmaxMLPClassifier", (SoftmaxMLPClassifier,), {})(), TypeError),
    ],
    ids=lambda model: type(model).__name__,
)
def test_what_cannot_be_saved(model, error, path):
    with pytest.raises(error):
        save(model, path)
    assert not path.exists()


def test_a_failed_save_leaves_the_older_file(path, monkeypatch):
    X, y = iris()
    classifier = SoftmaxRegression().fit(X, y)
    save(classifier, path)
    before = path.read_bytes()

    def fail(descriptor):
        raise OSError("No space left on device")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        save(SoftmaxRegression(C=9).fit(X, y), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


class Malicious:
    r"""A pickle of this makes a folder when it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


class TestFilesThatAreNoFilesOfOurs:
    @pytest.fixture
    def contents(self, path):
        save(mlp().fit(*table()), path)
        return path.read_bytes()

    def refuse(self, path, contents, match):
        path.write_bytes(contents)
        with pytest.raises(InvalidFileError, match=match) as info:
            load(path)
        assert "Got " in str(info.value)
        assert "expected" in str(info.value)

    def test_pickles_are_not_executed(self, path, contents):
        victim = path.parent / "victim"
        stored = pickle.dumps(Malicious(victim))
        buffer = io.BytesIO()
        joblib.dump(Malicious(victim), buffer, compress=3)
        archive = io.BytesIO()
        torch.save(Malicious(victim), archive)
        for crafted in (
            stored,
            buffer.getvalue(),
            archive.getvalue(),
            # In the place of the tensors, and where the header should be.
            contents[: -len(stored)] + stored,
            struct.pack("<Q", len(stored)) + stored + contents,
        ):
            self.refuse(path, crafted, "load reads neither pickles|checksum")
            assert not victim.exists()
        # It would have worked.
        pickle.loads(stored)
        assert victim.exists()

    def test_truncated(self, path, contents):
        for length in (0, 7, 8, 100, len(contents) // 2, len(contents) - 1):
            self.refuse(path, contents[:length], "not all of it")
        self.refuse(path, contents + b"\0", "not all of it")

    def test_every_flipped_bit_is_noticed(self, path, contents):
        rng = random.Random(0)
        for _ in range(200):
            flipped = bytearray(contents)
            flipped[rng.randrange(len(contents))] ^= 1 << rng.randrange(8)
            path.write_bytes(flipped)
            try:
                loaded = load(path)
            except InvalidFileError:
                continue
            # All that may change is what has no meaning: the padding of the header.
            path.write_bytes(contents)
            assert same(
                loaded.predict_proba(table()[0]), load(path).predict_proba(table()[0])
            )

    def test_foreign(self, path, contents):
        tensors = {"weight": torch.ones(2, 2)}
        self.refuse(path, safetensors.torch.save(tensors), "no file that save wrote")
        self.refuse(path, b"PK\3\4" + bytes(100), "no file that save wrote")
        self.refuse(path, b'{"class": "SoftmaxMLPClassifier"}', "no file that save")
        self.refuse(path, skops.io.dumps(mlp()), "no file that save wrote")

    def test_missing(self, path):
        with pytest.raises(FileNotFoundError):
            load(path)

    def test_future(self, path, contents, monkeypatch):
        monkeypatch.setattr(files, "_FORMAT_VERSIONS", ("1", "2"))
        save(mlp().fit(*iris()), path)
        monkeypatch.undo()
        with pytest.raises(InvalidFileError, match=r"version '2', .*Install a newer"):
            load(path)

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            (lambda d: d.update({"class": "LogisticRegression"}), "expected one of"),
            (lambda d: d.update({"class": "os.system"}), "expected one of"),
            (
                lambda d: d.update({"class": ["SoftmaxMLPClassifier"]}),
                "expected one of",
            ),
            (lambda d: d.pop("class"), "expected one of"),
            (lambda d: d.pop("parameters"), "do not fit together"),
            (lambda d: d.pop("attributes"), "do not fit together"),
            (lambda d: d["parameters"].update(unheard_of=1), "unheard_of"),
            (lambda d: d["parameters"].update(dropout="much"), "dropout"),
            (
                lambda d: d["attributes"].update(hidden_layer_sizes_=sizes(16)),
                "of shape",
            ),
            (
                lambda d: d["attributes"].update(hidden_layer_sizes_=sizes(2**40)),
                "together",
            ),
            (lambda d: d["parameters"].update(dropout={"eval": "1"}), "eval"),
            (lambda d: d["parameters"].update(dropout={}), "do not fit together"),
            (lambda d: d["attributes"].update(predict=1), "predict is a int"),
            (lambda d: d["attributes"].update(__class__="A"), "__class__ is a str"),
            (lambda d: d["attributes"].update(net_=1), "net_ is a int"),
            (lambda d: d["attributes"].update(classes_="abc"), "classes_ is a str"),
            (lambda d: d["attributes"].pop("classes_"), "classes_"),
            (lambda d: d["attributes"].pop("_has_missing"), "_has_missing"),
            (lambda d: d["attributes"].update(n_features_in_=3), "do not fit together"),
            (lambda d: d["attributes"].update(n_iter_={"array": "no"}), "'no'"),
        ],
    )
    def test_crafted_with_a_right_checksum(self, path, contents, change, match):
        document, tensors = files.read_document(path)
        change(document)
        files.write_document(path, document, tensors)
        self.refuse(path, path.read_bytes(), match)

    def test_weights_of_another_shape(self, path, contents):
        document, tensors = files.read_document(path)
        for name in ("module.output.bias", "module.input_scaling.slot_code"):
            for crafted in (
                {**tensors, name: tensors[name].double()},
                {**tensors, name: tensors[name][..., :1].clone()},
                {key: value for key, value in tensors.items() if key != name},
                {**tensors, "module.more": torch.ones(1)},
            ):
                files.write_document(path, document, crafted)
                self.refuse(path, path.read_bytes(), "parameters describe")

    def test_nested_beyond_reason(self, path, contents):
        _, tensors = files.read_document(path)
        for text in ("[" * 100_000 + "]" * 100_000, "[]", "{", "7"):
            metadata = {
                "format": "sksoftmax",
                "format_version": "1",
                "document": text,
                "sha256": files._digest(text, tensors),
            }
            crafted = safetensors.torch.save(tensors, metadata)
            self.refuse(path, crafted, "document cannot be used")


@pytest.mark.parametrize(
    "value",
    [
        [1, 2**70, -0.0, 0.1, np.inf, -np.inf],
        (
            {"a": (1,), 2: None, None: [True]},
            np.float32(0.1),
            np.str_("x"),
            np.bool_(1),
        ),
        np.array([[1, 2], [3, 4]], dtype=">i2"),
        np.array(0.5),
        np.array([], dtype="U3"),
        np.array([1, "a", None, (1, 2), np.int8(3)], dtype=object),
    ],
    ids=str,
)
def test_codec_is_exact(value):
    tensors = {}
    encoded = json.loads(json.dumps(encode(value, tensors), allow_nan=False))
    decoded = decode(encoded, tensors)
    if isinstance(value, np.ndarray):
        # Of the machine's byte order, whatever it was.
        value = value.astype(value.dtype.newbyteorder("="))
    assert same(value, decoded)
    assert repr(decoded) == repr(value)


def test_the_file_says_what_it_is(path):
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


def needs(folder):
    present = DATA is not None and (Path(DATA) / folder).is_dir()
    reason = f"no {folder} in SKSOFTMAX_DATA={DATA}"
    return lambda test: pytest.mark.data(
        pytest.mark.skipif(not present, reason=reason)(test)
    )


@needs("otto")
def test_otto(path):
    from sksoftmax.datasets import load_otto

    X, y = load_otto(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    training, rest = order[:3000], order[-10_000:]
    classifier = mlp(hidden_layer_sizes=(64,), n_estimators=4)
    classifier.fit(X.iloc[training], y.iloc[training])
    save(classifier, path)
    rows = X.iloc[rest]
    check_same_predictions(classifier, load(path), rows, y.iloc[rest])
