import gzip
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pandas as pd
import pytest
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import _openml, get_data_home
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sksoftmax import datasets
from sksoftmax.datasets import (
    _otto,
    fetch_fashion_mnist,
    fetch_mnist,
    load_otto,
    otto_submission,
)

REAL_DATA = os.environ.get("SKSOFTMAX_DATA", "")
FEATURES = [f"feat_{number}" for number in range(1, 94)]
CLASSES = [f"Class_{number}" for number in range(1, 10)]
ARCHIVE = "otto-group-product-classification-challenge.zip"
FETCHERS = {"MNIST": fetch_mnist, "FashionMNIST": fetch_fashion_mnist}

image_sets = pytest.mark.parametrize("name", sorted(FETCHERS))


def needs_real_data(folder):
    present = bool(REAL_DATA) and Path(REAL_DATA, folder).is_dir()
    skip = pytest.mark.skipif(
        not present, reason=f"SKSOFTMAX_DATA names no folder that holds {folder}/"
    )
    return lambda test: pytest.mark.data(skip(test))


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path):
    # Nothing of the machine may answer for a missing file, nor a proxy for 127.0.0.1.
    monkeypatch.delenv("SKSOFTMAX_DATA", raising=False)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "scikit_learn_data"))
    monkeypatch.setattr(_otto, "_KAGGLE_FOLDERS", [])
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(variable, "127.0.0.1")


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    requests = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            requests.append(self.path)

    handler = partial(Handler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = Thread(target=http.serve_forever, args=[0.01], daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{http.server_port}/"
        yield SimpleNamespace(url=url, folder=folder, requests=requests)
        http.shutdown()
        thread.join()


@pytest.fixture
def dead_server():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    # Closed by now. A refused connection is what a machine without a network sees.
    return SimpleNamespace(url=f"http://127.0.0.1:{port}/")


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim])
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(header + sizes + array.astype(np.uint8).tobytes())


def write_images(home, name="MNIST", n_train=7, n_test=3, seed=0):
    rng = np.random.default_rng(seed)
    raw = Path(home, name, "raw")
    raw.mkdir(parents=True)
    written = {}
    for subset, prefix, n in (("train", "train", n_train), ("test", "t10k", n_test)):
        images = rng.integers(0, 256, size=(n, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, size=n, dtype=np.uint8)
        write_idx(raw / f"{prefix}-images-idx3-ubyte", images)
        write_idx(raw / f"{prefix}-labels-idx1-ubyte", labels)
        written[subset] = images, labels
    return written


def serve_images(server, monkeypatch, name):
    written = write_images(server.folder, name)
    resources = []
    for file in sorted((server.folder / name / "raw").iterdir()):
        packed = gzip.compress(file.read_bytes())
        file.unlink()
        (server.folder / f"{file.name}.gz").write_bytes(packed)
        resources.append((f"{file.name}.gz", hashlib.md5(packed).hexdigest()))
    dataset_class = getattr(torchvision.datasets, name)
    monkeypatch.setattr(dataset_class, "mirrors", [server.url])
    monkeypatch.setattr(dataset_class, "resources", resources)
    return written


def listing(folder):
    return {path: path.stat().st_mtime_ns for path in Path(folder).rglob("*")}


def make_otto(n_rows=20, subset="train", seed=0):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 400, size=(n_rows, 93))
    table = pd.DataFrame(counts, columns=FEATURES)
    table.insert(0, "id", rng.permutation(np.arange(1, n_rows + 1)))
    if subset == "train":
        table["target"] = rng.permutation(np.resize(CLASSES, n_rows))
    return table


def write_otto(home, table, subset="train"):
    table.to_csv(Path(home) / f"{subset}.csv", index=False)
    return Path(home) / f"{subset}.csv"


def test_import_needs_neither_pandas_nor_torchvision():
    # An empty package stands for sksoftmax, whose __init__.py imports the estimators.
    # None makes an import fail.
    script = (
        "import sys, types; sys.modules.update(pandas=None, torchvision=None); "
        "package = sys.modules['sksoftmax'] = types.ModuleType('sksoftmax'); "
        "package.__path__ = [sys.argv[1]]; "
        "from sksoftmax import datasets; print(datasets.__all__)"
    )
    folder = Path(datasets.__file__).parents[1]
    run = [sys.executable, "-c", script, folder]
    result = subprocess.run(run, check=True, capture_output=True, text=True)
    assert result.stdout.strip() == str(datasets.__all__)


@settings(deadline=None, max_examples=25)
@given(
    name=st.sampled_from(sorted(FETCHERS)),
    n_train=st.integers(1, 6),
    n_test=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
)
def test_images_round_trip(tmp_path_factory, name, n_train, n_test, seed):
    home = tmp_path_factory.mktemp("home")
    written = write_images(home, name, n_train, n_test, seed)
    before = listing(home)
    for subset in ("train", "test", "all"):
        subsets = ("train", "test") if subset == "all" else (subset,)
        images = np.concatenate([written[part][0] for part in subsets])
        labels = np.concatenate([written[part][1] for part in subsets])
        bunch = FETCHERS[name](data_home=home, subset=subset)
        assert bunch.data.dtype == np.uint8
        assert bunch.target.dtype == np.int64
        np.testing.assert_array_equal(
            bunch.data.reshape(-1, *bunch.image_shape), images
        )
        np.testing.assert_array_equal(bunch.target, labels)
    assert listing(home) == before


@image_sets
def test_images_bunch(tmp_path, name):
    write_images(tmp_path, name)
    bunch = FETCHERS[name](data_home=str(tmp_path))
    assert bunch.feature_names[0] == "pixel1"
    assert bunch.feature_names[-1] == "pixel784"
    assert len(bunch.feature_names) == bunch.data.shape[1] == 784
    assert bunch.image_shape == (28, 28)
    assert bunch.frame is None
    assert "Source: http" in bunch.DESCR


def test_images_target_names(tmp_path):
    write_images(tmp_path, "MNIST")
    write_images(tmp_path, "FashionMNIST")
    assert fetch_mnist(data_home=tmp_path).target_names == list("0123456789")
    clothes = fetch_fashion_mnist(data_home=tmp_path).target_names
    assert clothes[:2] == ["T-shirt/top", "Trouser"]
    assert len(clothes) == 10


@image_sets
def test_images_as_frame(tmp_path, name):
    write_images(tmp_path, name)
    arrays = FETCHERS[name](data_home=tmp_path)
    frames = FETCHERS[name](data_home=tmp_path, as_frame=True)
    expected = pd.DataFrame(arrays.data, columns=arrays.feature_names)
    target = pd.Series(arrays.target, name="class")
    pd.testing.assert_frame_equal(frames.data, expected)
    pd.testing.assert_series_equal(frames.target, target)
    pd.testing.assert_frame_equal(frames.frame, expected.assign(**{"class": target}))


@image_sets
@pytest.mark.parametrize("as_frame", [False, True])
def test_images_as_a_pair(tmp_path, name, as_frame):
    write_images(tmp_path, name)
    fetch = partial(FETCHERS[name], data_home=tmp_path, as_frame=as_frame)
    X, y = fetch(return_X_y=True)
    bunch = fetch()
    assert type(X) is type(bunch.data)
    assert type(y) is type(bunch.target)
    np.testing.assert_array_equal(X, bunch.data)
    np.testing.assert_array_equal(y, bunch.target)


def test_data_home_precedence(tmp_path, monkeypatch):
    written = {}
    for seed, place in enumerate(("given", "variable", "sklearn/sksoftmax")):
        written[place] = write_images(tmp_path / place, seed=seed)["train"][1]
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "sklearn"))
    default = fetch_mnist()
    monkeypatch.setenv("SKSOFTMAX_DATA", str(tmp_path / "variable"))
    variable = fetch_mnist()
    given_home = fetch_mnist(data_home=tmp_path / "given")
    np.testing.assert_array_equal(default.target, written["sklearn/sksoftmax"])
    np.testing.assert_array_equal(variable.target, written["variable"])
    np.testing.assert_array_equal(given_home.target, written["given"])
    assert Path(get_data_home()) == tmp_path / "sklearn"


def test_data_home_expands_user(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("SCIKIT_LEARN_DATA")
    write_images(tmp_path / "scikit_learn_data" / "sksoftmax")
    write_images(tmp_path / "mine", n_train=2)
    assert len(fetch_mnist().target) == 7
    assert len(fetch_mnist(data_home="~/mine").target) == 2


@image_sets
def test_images_missing(tmp_path, name):
    message = (
        rf"{name} was not found in .*sksoftmax.{name}.raw\. Point data_home or the "
        rf"environment variable SKSOFTMAX_DATA at the folder that holds {name}/raw/ "
        r"with the unpacked train-images-idx3-ubyte, .*, or pass "
        r"download_if_missing=True"
    )
    with pytest.raises(OSError, match=message):
        FETCHERS[name](download_if_missing=False)
    assert listing(tmp_path) == {}


def test_images_one_file_missing(tmp_path):
    write_images(tmp_path)
    (tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(OSError, match="MNIST was not found in"):
        fetch_mnist(data_home=tmp_path, download_if_missing=False)


@image_sets
def test_images_download(tmp_path, server, monkeypatch, capfd, name):
    written = serve_images(server, monkeypatch, name)
    home = tmp_path / "new" / "home"
    downloaded = FETCHERS[name](data_home=home, subset="all")
    images = np.concatenate([written["train"][0], written["test"][0]])
    np.testing.assert_array_equal(downloaded.data, images.reshape(-1, 784))
    assert capfd.readouterr() == ("", "")

    n_requests = len(server.requests)
    assert n_requests >= 4
    again = FETCHERS[name](data_home=home, subset="all")
    np.testing.assert_array_equal(again.data, downloaded.data)
    assert len(server.requests) == n_requests


def test_images_unpacks_without_network(tmp_path, server, monkeypatch):
    written = serve_images(server, monkeypatch, "MNIST")
    raw = tmp_path / "home" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in server.folder.glob("*.gz"):
        shutil.copy(file, raw)
    with pytest.raises(OSError, match="with the unpacked"):
        fetch_mnist(data_home=tmp_path / "home", download_if_missing=False)
    _, y = fetch_mnist(data_home=tmp_path / "home", return_X_y=True)
    np.testing.assert_array_equal(y, written["train"][1])
    assert server.requests == []


@image_sets
def test_images_unreachable(tmp_path, dead_server, monkeypatch, name):
    monkeypatch.setattr(
        getattr(torchvision.datasets, name), "mirrors", [dead_server.url]
    )
    message = (
        rf"{name} was not found in .* and could not be downloaded\. Point data_home or "
        r"the environment variable SKSOFTMAX_DATA at .* once online"
    )
    with pytest.raises(OSError, match=message) as caught:
        FETCHERS[name](data_home=tmp_path)
    assert "Error downloading train-images" in str(caught.value.__cause__)


def test_images_download_corrupt(tmp_path, server, monkeypatch):
    serve_images(server, monkeypatch, "MNIST")
    for file in server.folder.glob("*.gz"):
        file.write_bytes(b"<html>log in to the hotel's network</html>")
    with pytest.raises(OSError, match="could not be downloaded") as caught:
        fetch_mnist(data_home=tmp_path)
    assert "corrupted" in str(caught.value.__cause__)


CORRUPT = r"Got corrupt or truncated {0}-images-idx3-ubyte or {0}-labels-idx1-ubyte in "


@settings(deadline=None, max_examples=40)
@given(
    data=st.data(),
    file=st.sampled_from(["train-images-idx3-ubyte", "train-labels-idx1-ubyte"]),
)
def test_images_truncated(tmp_path_factory, data, file):
    home = tmp_path_factory.mktemp("home")
    write_images(home)
    path = home / "MNIST" / "raw" / file
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(ValueError, match=CORRUPT.format("train")):
        fetch_mnist(data_home=home)
    assert len(fetch_mnist(data_home=home, subset="test").target) == 3


@settings(deadline=None, max_examples=60)
@given(content=st.binary(max_size=400))
def test_images_corrupt(tmp_path_factory, content):
    home = tmp_path_factory.mktemp("home")
    write_images(home)
    (home / "MNIST" / "raw" / "t10k-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(ValueError, match=CORRUPT.format("t10k")):
        fetch_mnist(data_home=home, subset="all")


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.zeros((3, 28, 28)), np.zeros(2)),
        (np.zeros((3, 28, 27)), np.zeros(3)),
        (np.zeros((3, 28, 28)), np.array([0, 10, 9])),
        (np.zeros((3, 784)), np.zeros(3)),
    ],
    ids=["fewer labels", "narrow images", "eleventh class", "flat images"],
)
def test_images_inconsistent(tmp_path, images, labels):
    write_images(tmp_path)
    raw = tmp_path / "MNIST" / "raw"
    write_idx(raw / "train-images-idx3-ubyte", images)
    write_idx(raw / "train-labels-idx1-ubyte", labels)
    with pytest.raises(ValueError, match=CORRUPT.format("train")) as caught:
        fetch_mnist(data_home=tmp_path)
    assert str(raw) in str(caught.value)


@pytest.mark.parametrize("load", [fetch_mnist, fetch_fashion_mnist, load_otto])
@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("data_home", 3),
        ("subset", "validation"),
        ("download_if_missing", "no"),
        ("return_X_y", None),
    ],
)
def test_invalid_parameters(load, parameter, value):
    message = f"The '{parameter}' parameter of {load.__name__} must be"
    with pytest.raises(ValueError, match=message):
        load(**{parameter: value})


@pytest.mark.parametrize("fetch", FETCHERS.values())
def test_invalid_as_frame(fetch):
    message = f"The 'as_frame' parameter of {fetch.__name__} must be"
    with pytest.raises(ValueError, match=message):
        fetch(as_frame="auto")


def test_otto_has_no_rows_of_all():
    with pytest.raises(ValueError, match="The 'subset' parameter of load_otto must be"):
        load_otto(subset="all")


def zip_one(folder, table, subset):
    with zipfile.ZipFile(folder / f"{subset}.csv.zip", "w") as archive:
        archive.writestr("__MACOSX/._junk", b"\x00")
        archive.writestr(f"{subset}.csv", table.to_csv(index=False))


def zip_both(folder, table, subset):
    other = "test" if subset == "train" else "train"
    with zipfile.ZipFile(folder / ARCHIVE, "w") as archive:
        archive.writestr("sampleSubmission.csv", "id\n1\n")
        archive.writestr(f"{other}.csv", "the other one\n")
        archive.writestr(f"{subset}.csv", table.to_csv(index=False))


@pytest.mark.parametrize("subset", ["train", "test"])
@pytest.mark.parametrize("place", ["otto", "."])
@pytest.mark.parametrize("write", [write_otto, zip_one, zip_both])
def test_otto_values(tmp_path, subset, place, write):
    table = make_otto(subset=subset)
    (tmp_path / place).mkdir(exist_ok=True)
    write(tmp_path / place, table, subset)
    before = listing(tmp_path)
    bunch = load_otto(data_home=tmp_path, subset=subset)
    pd.testing.assert_frame_equal(bunch.data, table[FEATURES])
    pd.testing.assert_series_equal(bunch.ids, table["id"])
    if subset == "train":
        pd.testing.assert_series_equal(bunch.target, table["target"])
    else:
        assert bunch.target is None
    pd.testing.assert_frame_equal(bunch.frame, table.drop(columns="id"))
    assert bunch.feature_names == FEATURES
    assert bunch.target_names == CLASSES
    assert "https://www.kaggle.com/c/otto" in bunch.DESCR
    assert listing(tmp_path) == before


@pytest.mark.parametrize("subset", ["train", "test"])
def test_otto_as_a_pair(tmp_path, subset):
    table = make_otto(subset=subset)
    write_otto(tmp_path, table, subset)
    X, y = load_otto(data_home=tmp_path, subset=subset, return_X_y=True)
    pd.testing.assert_frame_equal(X, table[FEATURES])
    assert y is None if subset == "test" else y.tolist() == table["target"].tolist()


def test_otto_names_are_the_callers_own(tmp_path):
    write_otto(tmp_path, make_otto())
    bunch = load_otto(data_home=tmp_path)
    bunch.feature_names.clear()
    bunch.target_names.clear()
    assert load_otto(data_home=tmp_path).feature_names == FEATURES
    assert load_otto(data_home=tmp_path).target_names == CLASSES


def test_otto_kaggle_notebook(tmp_path, monkeypatch):
    mounts = [tmp_path / "newer", tmp_path / "older"]
    monkeypatch.setattr(_otto, "_KAGGLE_FOLDERS", mounts)
    mounts[1].mkdir()
    write_otto(mounts[1], make_otto(n_rows=4))
    assert len(load_otto().data) == 4
    with pytest.raises(OSError, match="was not found in"):
        load_otto(data_home=tmp_path)
    monkeypatch.setenv("SKSOFTMAX_DATA", str(tmp_path))
    with pytest.raises(OSError, match="was not found in"):
        load_otto()


@settings(deadline=None, max_examples=15)
@given(order=st.permutations(["id", *FEATURES, "target"]), seed=st.integers(0, 9))
def test_otto_any_order_of_columns(tmp_path_factory, order, seed):
    home = tmp_path_factory.mktemp("home")
    table = make_otto(n_rows=3, seed=seed)
    write_otto(home, table[order])
    bunch = load_otto(data_home=home)
    pd.testing.assert_frame_equal(bunch.frame, table.drop(columns="id"))
    pd.testing.assert_series_equal(bunch.ids, table["id"])


@settings(deadline=None, max_examples=15)
@given(
    dropped=st.lists(
        st.sampled_from(["id", *FEATURES, "target"]), max_size=5, unique=True
    ),
    added=st.lists(st.sampled_from(["index", "feat_0", "feat_94"]), unique=True),
)
def test_otto_columns(tmp_path_factory, dropped, added):
    home = tmp_path_factory.mktemp("home")
    table = make_otto(n_rows=2).drop(columns=dropped).assign(**dict.fromkeys(added, 1))
    path = write_otto(home, table)
    if not dropped and not added:
        assert load_otto(data_home=home).data.shape == (2, 93)
        return
    with pytest.raises(ValueError, match="but expected exactly") as caught:
        load_otto(data_home=home)
    message = str(caught.value)
    assert message.startswith(f"Got {path} with the missing columns ")
    missing, unexpected = message.split("the unexpected columns ")
    assert all(name in missing for name in dropped)
    assert all(name in unexpected.split("but expected")[0] for name in added)


def test_otto_another_file(tmp_path):
    pd.DataFrame({"Age": [1], "Survived": [0]}).to_csv(tmp_path / "train.csv")
    message = (
        r"the missing columns \[id, feat_1, feat_2, feat_3, feat_4, \.\.\.\] and the "
        r"unexpected columns \[Unnamed: 0, Age, Survived\], but expected exactly "
        r"\[id, feat_1, "
    )
    with pytest.raises(ValueError, match=message):
        load_otto(data_home=tmp_path)


def test_otto_test_rows_have_no_target(tmp_path):
    write_otto(tmp_path, make_otto(), "test")
    with pytest.raises(ValueError, match=r"the unexpected columns \[target\]"):
        load_otto(data_home=tmp_path, subset="test")


@pytest.mark.parametrize("column", ["id", "feat_1", "feat_93"])
@pytest.mark.parametrize("value", ["many", "-1", "1.5", "inf", "1e300", ""])
def test_otto_wrong_value(tmp_path, column, value):
    table = make_otto().astype({column: object})
    table.loc[17, column] = value
    path = write_otto(tmp_path, table)
    shown = {"": "nan", "1e300": "1e[+]300"}.get(value, value)
    message = rf"Got .*{shown}.* in column '{column}' of .*, but expected whole numbers"
    with pytest.raises(ValueError, match=message) as caught:
        load_otto(data_home=tmp_path)
    assert str(path) in str(caught.value)


def test_otto_wrong_value_far_down(tmp_path):
    # Far enough for pandas to have typed the rows above it as another chunk.
    table = make_otto(n_rows=20_000).astype({"feat_2": object})
    table.loc[19_999, "feat_2"] = "many"
    write_otto(tmp_path, table)
    with pytest.raises(ValueError, match="Got 'many' in column 'feat_2'"):
        load_otto(data_home=tmp_path)


@pytest.mark.parametrize("value", ["Class_0", "Class_10", "3", ""])
def test_otto_wrong_target(tmp_path, value):
    table = make_otto()
    table.loc[5, "target"] = value
    write_otto(tmp_path, table)
    message = (
        rf"Got \[{value or 'nan'}\] in column 'target' of .*train.csv, but expected "
        "Class_1 to Class_9"
    )
    with pytest.raises(ValueError, match=message):
        load_otto(data_home=tmp_path)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("train.csv", b""),
        ("train.csv", b"id,target\n1,2\n1,2,3,4\n"),
        ("train.csv", b"\xff\xfe\x00\xd8"),
        ("train.csv.zip", b"id,target\n"),
        (ARCHIVE, b""),
    ],
)
def test_otto_unreadable(tmp_path, file, content):
    (tmp_path / file).write_bytes(content)
    message = r", which cannot be read, but expected Kaggle's train\.csv or a zip "
    with pytest.raises(ValueError, match=message) as caught:
        load_otto(data_home=tmp_path)
    assert str(tmp_path / file) in str(caught.value)


def test_otto_archive_without_the_file(tmp_path):
    with zipfile.ZipFile(tmp_path / ARCHIVE, "w") as archive:
        archive.writestr("sampleSubmission.csv", "id\n1\n")
    with pytest.raises(ValueError, match=r"no item named 'train\.csv'"):
        load_otto(data_home=tmp_path)


def test_otto_damaged_archive(tmp_path):
    text = make_otto().to_csv(index=False)
    with zipfile.ZipFile(
        tmp_path / "train.csv.zip", "w", zipfile.ZIP_DEFLATED
    ) as archive:
        archive.writestr("train.csv", text)
    content = bytearray((tmp_path / "train.csv.zip").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    (tmp_path / "train.csv.zip").write_bytes(content)
    with pytest.raises(ValueError, match="which cannot be read"):
        load_otto(data_home=tmp_path)


MISSING = (
    r"Otto's {0}\.csv was not found in .*otto, .*\. Log in to Kaggle, accept the "
    r"rules, download it from https://www\.kaggle\.com/c/otto-group-product-classification-"
    r"challenge/data and point data_home or the environment variable SKSOFTMAX_DATA"
)


def test_otto_missing(tmp_path):
    message = (
        MISSING.format("train") + r".*, or pass download_if_missing=True for OpenM"
    )
    with pytest.raises(OSError, match=message):
        load_otto(data_home=tmp_path / "absent")
    with pytest.raises(OSError, match="sksoftmax"):
        load_otto()
    assert listing(tmp_path) == {}


@pytest.mark.parametrize("download_if_missing", [False, True])
def test_otto_test_rows_missing(tmp_path, download_if_missing):
    message = MISSING.format("test") + ".* OpenML does not have the test rows"
    with pytest.raises(OSError, match=message):
        load_otto(
            data_home=tmp_path, subset="test", download_if_missing=download_if_missing
        )
    assert listing(tmp_path) == {}


def serve_openml(server, monkeypatch, table, target="target"):
    """Serve ``table`` as OpenML would: descriptions as JSON, rows as ARFF."""
    types = dict.fromkeys(table, "numeric") | {target: "nominal"}
    nominal = ",".join(sorted(set(table[target])))
    header = [
        f"@ATTRIBUTE {name} {'{' + nominal + '}' if name == target else 'NUMERIC'}"
        for name in table
    ]
    rows = table.to_csv(index=False, header=False)
    arff = "\n".join(["@RELATION otto", *header, "@DATA", rows]).encode()
    features = [
        {
            "index": str(index),
            "name": name,
            "data_type": types[name],
            "is_target": str(name == target).lower(),
            "is_ignore": "false",
            "is_row_identifier": "false",
            "number_of_missing_values": "0",
        }
        for index, name in enumerate(table)
    ]
    description = {
        "format": "ARFF",
        "status": "active",
        "description": "Otto",
        "url": f"{server.url}data/otto.arff",
        "md5_checksum": hashlib.md5(arff).hexdigest(),
    }
    quality = [{"name": "NumberOfInstances", "value": str(len(table))}]
    contents = {
        "json/45548": {"data_set_description": description},
        "json/features/45548": {"data_features": {"feature": features}},
        "json/qualities/45548": {"data_qualities": {"quality": quality}},
    }
    for path, content in contents.items():
        (server.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (server.folder / path).write_text(json.dumps(content))
    (server.folder / "data").mkdir()
    (server.folder / "data" / "otto.arff").write_bytes(arff)
    point_openml_at(server, monkeypatch)


def point_openml_at(server, monkeypatch):
    monkeypatch.setattr(_openml, "_DATA_INFO", f"{server.url}json/{{}}")
    monkeypatch.setattr(_openml, "_DATA_FEATURES", f"{server.url}json/features/{{}}")
    monkeypatch.setattr(_openml, "_DATA_QUALITIES", f"{server.url}json/qualities/{{}}")


@pytest.mark.parametrize("extra", ["id", "Unnamed: 0", "row"])
def test_otto_openml(tmp_path, server, monkeypatch, extra):
    table = make_otto().sort_values("target", ignore_index=True)
    served = table.rename(columns={"id": extra.replace(": ", "_")})
    serve_openml(server, monkeypatch, served)
    home = tmp_path / "home"
    bunch = load_otto(data_home=home, download_if_missing=True)

    (tmp_path / "kaggle").mkdir()
    write_otto(tmp_path / "kaggle", table)
    from_csv = load_otto(data_home=tmp_path / "kaggle")
    pd.testing.assert_frame_equal(bunch.data, from_csv.data)
    pd.testing.assert_series_equal(bunch.target, from_csv.target)
    pd.testing.assert_frame_equal(bunch.frame, from_csv.frame)
    if extra == "id":
        pd.testing.assert_series_equal(bunch.ids, from_csv.ids)
    else:
        assert bunch.ids is None

    n_requests = len(server.requests)
    assert n_requests >= 4
    X, y = load_otto(data_home=home, download_if_missing=True, return_X_y=True)
    pd.testing.assert_frame_equal(X, bunch.data)
    pd.testing.assert_series_equal(y, bunch.target)
    assert len(server.requests) == n_requests


def test_otto_openml_only_if_missing(tmp_path, server, monkeypatch):
    point_openml_at(server, monkeypatch)
    write_otto(tmp_path, make_otto(n_rows=5))
    assert len(load_otto(data_home=tmp_path, download_if_missing=True).data) == 5
    assert server.requests == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feat_7": "count_7"}, r"OpenML's copy of Otto with the missing .*\[feat_7\]"),
        ({"target": "class"}, r"OpenML's copy of Otto with the missing .*\[target\]"),
    ],
)
def test_otto_openml_columns(tmp_path, server, monkeypatch, changes, message):
    table = make_otto().rename(columns=changes)
    serve_openml(server, monkeypatch, table, target=changes.get("target", "target"))
    with pytest.raises(ValueError, match=message):
        load_otto(data_home=tmp_path / "home", download_if_missing=True)


@pytest.mark.parametrize("prefix", ["class ", "group_"])
def test_otto_openml_labels(tmp_path, server, monkeypatch, prefix):
    table = make_otto()
    table["target"] = table["target"].str.replace("Class_", prefix)
    serve_openml(server, monkeypatch, table)
    message = "in column 'target' of OpenML's copy of Otto, but expected Class_1 to"
    with pytest.raises(ValueError, match=message):
        load_otto(data_home=tmp_path / "home", download_if_missing=True)


@pytest.mark.filterwarnings("ignore:A network error occurred:UserWarning")
def test_otto_openml_unreachable(tmp_path, dead_server, monkeypatch):
    point_openml_at(dead_server, monkeypatch)
    monkeypatch.setattr(_openml.time, "sleep", lambda seconds: None)
    message = MISSING.format("train") + ".* OpenML's copy could not be downloaded"
    with pytest.raises(OSError, match=message) as caught:
        load_otto(data_home=tmp_path / "home", download_if_missing=True)
    assert isinstance(caught.value.__cause__, URLError)


class Fixed(ClassifierMixin, BaseEstimator):
    """A classifier whose probabilities are the rows that it is given."""

    def __init__(self, classes=CLASSES):
        self.classes = classes

    def fit(self, X, y=None):
        self.classes_ = np.array(self.classes)
        return self

    def predict_proba(self, X):
        return np.asarray(X)


@settings(deadline=None, max_examples=50)
@given(
    order=st.permutations(range(9)),
    rows=hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        st.tuples(st.integers(1, 6), st.just(9)),
        elements=st.floats(0, 1, width=32),
    ),
    first_id=st.integers(0, 10**6),
)
def test_submission_probabilities(order, rows, first_id):
    classes = [CLASSES[position] for position in order]
    ids = np.arange(first_id, first_id + len(rows))
    submission = otto_submission(Fixed(classes).fit(None), rows, ids)
    assert submission.columns.tolist() == ["id", *CLASSES]
    np.testing.assert_array_equal(submission["id"], ids)
    probabilities = submission[CLASSES].to_numpy()
    assert probabilities.dtype == np.float64
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=0, atol=1e-9)
    assert probabilities.min() > 0
    clipped = np.clip(rows.astype(np.float64), 1e-15, None)
    expected = clipped / clipped.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(submission[classes], expected, rtol=1e-12)


def make_linear():
    return LogisticRegression(max_iter=1000)


@pytest.mark.parametrize(
    "make",
    [
        make_linear,
        lambda: make_pipeline(StandardScaler(), make_linear()),
        lambda: GridSearchCV(make_linear(), {"C": [0.1, 1.0]}, cv=2),
    ],
    ids=["classifier", "pipeline", "search"],
)
def test_submission_of_sklearn(tmp_path, make):
    table = make_otto(n_rows=90)
    X = table[FEATURES] / 400
    classifier = make().fit(X, table["target"])
    submission = otto_submission(classifier, X, table["id"])
    np.testing.assert_allclose(submission[CLASSES], classifier.predict_proba(X))

    submission.to_csv(tmp_path / "submission.csv", index=False)
    lines = (tmp_path / "submission.csv").read_text().splitlines()
    assert lines[0] == "id," + ",".join(CLASSES)
    assert lines[1].startswith(f"{table['id'][0]},0.")
    read = pd.read_csv(tmp_path / "submission.csv")
    assert read["id"].tolist() == table["id"].tolist()
    np.testing.assert_allclose(read[CLASSES].sum(axis=1), 1, rtol=0, atol=1e-9)


def test_submission_of_sparse_rows():
    table = make_otto(n_rows=90)
    X = csr_array(table[FEATURES].to_numpy() / 400)
    classifier = make_linear().fit(X, table["target"])
    submission = otto_submission(classifier, X, table["id"].tolist())
    np.testing.assert_allclose(submission[CLASSES], classifier.predict_proba(X))


def test_submission_needs_predict_proba():
    message = (
        "The 'classifier' parameter of otto_submission must be an object implementing "
        r"'predict_proba'\. Got LinearSVC\(\) instead"
    )
    with pytest.raises(ValueError, match=message):
        otto_submission(LinearSVC(), np.ones((2, 9)), [1, 2])


def test_submission_needs_a_fitted_classifier():
    with pytest.raises(NotFittedError, match="This Fixed instance is not fitted yet"):
        otto_submission(Fixed(), np.ones((2, 9)), [1, 2])


@pytest.mark.parametrize(
    "classes", [CLASSES[:8], [*CLASSES, "Class_10"], list(range(9))]
)
def test_submission_classes(classes):
    classifier = Fixed(classes).fit(None)
    message = r"Got classes_ \[.*\], but expected \['Class_1', .*'Class_9'\]"
    with pytest.raises(ValueError, match=message):
        otto_submission(classifier, np.ones((2, len(classes))), [1, 2])


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, 2, 3], r"ids of shape \(3,\) and dtype int64, but expected 2 integers"),
        ([[1], [2]], r"ids of shape \(2, 1\) and dtype int64, but expected 2 integers"),
        ([1.0, 2.0], r"ids of shape \(2,\) and dtype float64, but expected 2 integers"),
        ([7, 7], r"Got the ids \[7\] more than once, but expected a different one"),
    ],
)
def test_submission_ids(ids, message):
    with pytest.raises(ValueError, match=message):
        otto_submission(Fixed().fit(None), np.ones((2, 9)), ids)


def test_submission_ids_are_array_like():
    message = "The 'ids' parameter of otto_submission must be an array-like"
    with pytest.raises(ValueError, match=message):
        otto_submission(Fixed().fit(None), np.ones((2, 9)), 3)


@needs_real_data("MNIST")
def test_real_mnist():
    X, y = fetch_mnist(data_home=REAL_DATA, subset="all", return_X_y=True)
    assert X.shape == (70_000, 784)
    assert y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert y[60_000:60_005].tolist() == [7, 2, 1, 0, 4]
    # The published mean of the training pixels.
    assert X[:60_000].mean() / 255 == pytest.approx(0.1307, abs=5e-5)


@needs_real_data("FashionMNIST")
def test_real_fashion_mnist():
    X, y = fetch_fashion_mnist(data_home=REAL_DATA, subset="all", return_X_y=True)
    assert X.shape == (70_000, 784)
    assert np.bincount(y).tolist() == [7000] * 10
    assert X[:60_000].mean() / 255 == pytest.approx(0.2860, abs=5e-5)


@needs_real_data("otto")
def test_real_otto(monkeypatch):
    monkeypatch.setenv("SKSOFTMAX_DATA", REAL_DATA)
    train = load_otto()
    assert train.data.shape[1] == 93
    assert (train.data == 0).to_numpy().mean() == pytest.approx(0.79, abs=0.02)
    assert sorted(train.target.unique()) == CLASSES
    assert train.ids.is_unique
    # What makes the id leak: it counts up through rows that are sorted by class.
    assert train.ids.is_monotonic_increasing
    assert train.target.is_monotonic_increasing
    test = load_otto(subset="test")
    assert test.data.shape == (144_368, 93)
    assert test.ids.tolist() == list(range(1, 144_369))
