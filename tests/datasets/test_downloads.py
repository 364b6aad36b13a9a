r"""Downloads of missing files from servers that stand for the real ones."""

import gzip
import hashlib
import json
import shutil
from urllib.error import URLError

import numpy as np
import pandas as pd
import pytest
import torchvision
from sklearn.datasets import _openml

from sksoftmax.datasets import (
    fetch_mnist,
    load_otto,
)

from .files import (
    FETCHERS,
    MISSING,
    image_sets,
    make_otto,
    write_images,
    write_otto,
)


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


@image_sets
def test_images_are_downloaded_once(tmp_path, server, monkeypatch, capfd, name):
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


def test_packed_images_are_unpacked_without_a_network(tmp_path, server, monkeypatch):
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
def test_unreachable_images_are_an_error(tmp_path, dead_server, monkeypatch, name):
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


def test_corrupt_downloads_of_images_are_an_error(tmp_path, server, monkeypatch):
    serve_images(server, monkeypatch, "MNIST")
    for file in server.folder.glob("*.gz"):
        file.write_bytes(b"<html>log in to the hotel's network</html>")
    with pytest.raises(OSError, match="could not be downloaded") as caught:
        fetch_mnist(data_home=tmp_path)
    assert "corrupted" in str(caught.value.__cause__)


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
def test_openml_has_the_same_training_rows(tmp_path, server, monkeypatch, extra):
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


def test_otto_is_downloaded_only_if_it_is_missing(tmp_path, server, monkeypatch):
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
def test_missing_columns_of_openml_are_named(
    tmp_path, server, monkeypatch, changes, message
):
    table = make_otto().rename(columns=changes)
    serve_openml(server, monkeypatch, table, target=changes.get("target", "target"))
    with pytest.raises(ValueError, match=message):
        load_otto(data_home=tmp_path / "home", download_if_missing=True)


@pytest.mark.parametrize("prefix", ["class ", "group_"])
def test_unknown_labels_of_openml_are_an_error(tmp_path, server, monkeypatch, prefix):
    table = make_otto()
    table["target"] = table["target"].str.replace("Class_", prefix)
    serve_openml(server, monkeypatch, table)
    message = "in column 'target' of OpenML's copy of Otto, but expected Class_1 to"
    with pytest.raises(ValueError, match=message):
        load_otto(data_home=tmp_path / "home", download_if_missing=True)


@pytest.mark.filterwarnings("ignore:A network error occurred:UserWarning")
def test_unreachable_openml_is_an_error(tmp_path, dead_server, monkeypatch):
    point_openml_at(dead_server, monkeypatch)
    monkeypatch.setattr(_openml.time, "sleep", lambda seconds: None)
    message = MISSING.format("train") + ".* OpenML's copy could not be downloaded"
    with pytest.raises(OSError, match=message) as caught:
        load_otto(data_home=tmp_path / "home", download_if_missing=True)
    assert isinstance(caught.value.__cause__, URLError)
