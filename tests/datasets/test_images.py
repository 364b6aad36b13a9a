r"""MNIST and Fashion-MNIST, read from files."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sksoftmax.datasets import (
    fetch_fashion_mnist,
    fetch_mnist,
)

from .files import (
    FETCHERS,
    REAL_DATA,
    image_sets,
    listing,
    needs_real_data,
    write_idx,
    write_images,
)


@settings(deadline=None, max_examples=25)
@given(
    name=st.sampled_from(sorted(FETCHERS)),
    n_train=st.integers(1, 6),
    n_test=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
)
def test_images_are_those_in_the_files(tmp_path_factory, name, n_train, n_test, seed):
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
def test_bunch_has_names_shape_and_source(tmp_path, name):
    write_images(tmp_path, name)
    bunch = FETCHERS[name](data_home=str(tmp_path))
    assert bunch.feature_names[0] == "pixel1"
    assert bunch.feature_names[-1] == "pixel784"
    assert len(bunch.feature_names) == bunch.data.shape[1] == 784
    assert bunch.image_shape == (28, 28)
    assert bunch.frame is None
    assert "Source: http" in bunch.DESCR


def test_classes_have_names(tmp_path):
    write_images(tmp_path, "MNIST")
    write_images(tmp_path, "FashionMNIST")
    assert fetch_mnist(data_home=tmp_path).target_names == list("0123456789")
    clothes = fetch_fashion_mnist(data_home=tmp_path).target_names
    assert clothes[:2] == ["T-shirt/top", "Trouser"]
    assert len(clothes) == 10


@image_sets
def test_images_as_a_frame(tmp_path, name):
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


@image_sets
def test_missing_images_are_an_error_with_a_remedy(tmp_path, name):
    message = (
        rf"{name} was not found in .*sksoftmax.{name}.raw\. Point data_home or the "
        rf"environment variable SKSOFTMAX_DATA at the folder that holds {name}/raw/ "
        r"with the unpacked train-images-idx3-ubyte, .*, or pass "
        r"download_if_missing=True"
    )
    with pytest.raises(OSError, match=message):
        FETCHERS[name](download_if_missing=False)
    assert listing(tmp_path) == {}


def test_one_missing_file_is_an_error(tmp_path):
    write_images(tmp_path)
    (tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(OSError, match="MNIST was not found in"):
        fetch_mnist(data_home=tmp_path, download_if_missing=False)


CORRUPT = r"Got corrupt or truncated {0}-images-idx3-ubyte or {0}-labels-idx1-ubyte in "


@settings(deadline=None, max_examples=40)
@given(
    data=st.data(),
    file=st.sampled_from(["train-images-idx3-ubyte", "train-labels-idx1-ubyte"]),
)
def test_truncated_images_are_an_error(tmp_path_factory, data, file):
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
def test_corrupt_images_are_an_error(tmp_path_factory, content):
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
def test_images_and_labels_that_do_not_fit_are_an_error(tmp_path, images, labels):
    write_images(tmp_path)
    raw = tmp_path / "MNIST" / "raw"
    write_idx(raw / "train-images-idx3-ubyte", images)
    write_idx(raw / "train-labels-idx1-ubyte", labels)
    with pytest.raises(ValueError, match=CORRUPT.format("train")) as caught:
        fetch_mnist(data_home=tmp_path)
    assert str(raw) in str(caught.value)


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
