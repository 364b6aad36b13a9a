r"""Data larger than memory: files that are arrays, Parquet row groups, Dask arrays."""

from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_digits, make_classification
from torchvision.transforms import v2

from sksoftmax import SoftmaxCNNClassifier, SoftmaxMLPClassifier, SoftmaxRegression
from sksoftmax._data.features import check_features
from sksoftmax._utils import memmap as mapped

CLASSIFIERS = {
    "regression": SoftmaxRegression(solver="adam", max_iter=3, random_state=0),
    "mlp": SoftmaxMLPClassifier((8,), n_estimators=3, max_epochs=3, random_state=0),
    "mlp that stops early": SoftmaxMLPClassifier(
        (8,), n_estimators=1, max_epochs=3, early_stopping=True, random_state=0
    ),
    "cnn": SoftmaxCNNClassifier(
        image_shape=(8, 8), channels=(4,), max_epochs=2, random_state=0
    ),
}

FIT = """
import resource, sys
from pathlib import Path
import numpy as np
from sksoftmax import SoftmaxMLPClassifier
from sksoftmax._utils import memmap

# An eighth of the package's numbers, as is the file.
memmap.SMALL_FILE = memmap.MAX_BYTES = 2**24

def peak():
    status = dict(
        line.split(":") for line in Path("/proc/self/status").read_text().splitlines()
    )
    return int(status["VmHWM"].split()[0]) * 1024

X = np.load(sys.argv[1], mmap_mode="r")
y = np.arange(len(X)) % 3
classifier = SoftmaxMLPClassifier((8,), n_estimators=1, max_epochs=1, batch_size=512)
# Modules that PyTorch imports with the first optimizer.
classifier.fit(np.zeros((600, X.shape[1]), dtype=X.dtype), y[:600])
Path("/proc/self/clear_refs").write_text("5")
before = peak()
classifier.fit(X, y)
assert len(classifier.predict(X)) == len(X)
print(X.nbytes, peak() - before)
"""


@pytest.fixture
def every_file_is_large(monkeypatch):
    r"""Treat small files as those larger than memory: few rows at a time."""
    monkeypatch.setattr(mapped, "SMALL_FILE", 0)
    monkeypatch.setattr(mapped, "MAX_BYTES", 20_000)
    monkeypatch.setattr(mapped, "PAGE_BYTES", 1_000)


def to_file(folder, X, mode="r"):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode=mode)


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="resident sizes as on Linux"
)
def test_memory_of_a_fit_does_not_grow_with_the_file(tmp_path, programs):
    path, n_rows, n_features = tmp_path / "X.npy", 80_000, 1024
    header = {"descr": "<f4", "fortran_order": False, "shape": (n_rows, n_features)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_2_0(file, header)
        # A hole in the file: zeros that take no space on the disk.
        file.truncate(file.tell() + 4 * n_rows * n_features)
    n_bytes, rise = map(int, programs.run(FIT, path).split())
    assert rise < 0.75 * n_bytes


@pytest.mark.usefixtures("every_file_is_large")
@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_a_file_is_fitted_to_the_same_bits_as_an_array(name, dtype, tmp_path):
    X, y = load_digits(return_X_y=True)
    X = X[:500].astype(dtype)
    y, weight = y[:500], np.arange(500) % 3
    if dtype != "uint8" and name.startswith("mlp"):
        X[::7, 3] = np.nan
    file = to_file(tmp_path, X)
    assert mapped.Pages(np.asarray(file)).is_mapped
    assert not mapped.Pages(X).is_mapped
    classifier = CLASSIFIERS[name]
    expected = classifier.fit(X, y, sample_weight=weight).predict_proba(X)
    proba = classifier.fit(file, y, sample_weight=weight).predict_proba(file)
    np.testing.assert_array_equal(proba, expected)
    np.testing.assert_array_equal(file, X)


@pytest.mark.usefixtures("every_file_is_large")
@pytest.mark.parametrize("augmentation", [None, v2.RandomAffine(10)])
def test_a_file_of_images_is_fitted_to_the_same_bits(augmentation, tmp_path):
    X, y = load_digits(return_X_y=True)
    X = np.stack([X, 16 - X, X // 2], axis=2)[:300].reshape(-1, 8, 8, 3)
    X, y = X.astype(np.float32), y[:300]
    classifier = SoftmaxCNNClassifier(
        channels=(4,), max_epochs=2, augmentation=augmentation, random_state=0
    )
    expected = classifier.fit(X, y).predict_proba(X)
    file = to_file(tmp_path, X)
    for images in (file, np.asarray(file).transpose(0, 3, 1, 2)):
        features, _ = check_features(classifier, images, reset=True)
        assert mapped.Pages(features).is_mapped
        proba = classifier.fit(images, y).predict_proba(images)
        np.testing.assert_array_equal(proba, expected)


@pytest.mark.usefixtures("every_file_is_large")
def test_bad_values_are_found_anywhere_in_a_file(tmp_path):
    X, y = load_digits(return_X_y=True)
    for value, message in [
        (np.inf, "Input X contains infinity"),
        (np.nan, "Input X contains NaN"),
        (1e39, "too large for dtype"),
    ]:
        X[-1, -1] = value
        with pytest.raises(ValueError, match=message):
            CLASSIFIERS["regression"].fit(to_file(tmp_path, X), y)
    with pytest.raises(ValueError, match="too large for dtype"):
        CLASSIFIERS["mlp"].fit(to_file(tmp_path, X), y)


@pytest.mark.usefixtures("every_file_is_large")
def test_what_was_written_to_a_copy_on_write_file_stays(tmp_path):
    X, y = load_digits(return_X_y=True)
    file = to_file(tmp_path, np.zeros_like(X), mode="c")
    file[:] = X
    proba = CLASSIFIERS["regression"].fit(file, y).predict_proba(X)
    np.testing.assert_array_equal(file, X)
    expected = CLASSIFIERS["regression"].fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(proba, expected)


@pytest.mark.usefixtures("every_file_is_large")
def test_what_was_written_to_a_shared_file_stays(tmp_path):
    X, y = load_digits(return_X_y=True)
    file = to_file(tmp_path, np.zeros_like(X), mode="r+")
    file[:] = X
    CLASSIFIERS["regression"].fit(file, y)
    np.testing.assert_array_equal(file, X)


@pytest.fixture
def table():
    X, y = make_classification(1200, 10, n_informative=6, n_classes=3, random_state=0)
    return X, np.array(["low", "mid", "high"])[y]


def test_partial_fit_over_row_groups_of_parquet(tmp_path, table):
    X, y = table
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(10)])
    frame["color"] = pd.Categorical(np.where(X[:, 0] > 0, "red", "blue"))
    pq.write_table(
        pa.Table.from_pandas(frame.assign(label=y)),
        tmp_path / "rows.parquet",
        row_group_size=200,
    )
    file = pq.ParquetFile(tmp_path / "rows.parquet")
    classifier = SoftmaxMLPClassifier((32,), n_estimators=2, random_state=0)
    for _ in range(15):
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group).to_pandas()
            classifier.partial_fit(
                rows.drop(columns="label"),
                rows["label"],
                classes=["high", "low", "mid"],
            )
    assert file.num_row_groups == 6
    assert classifier.is_categorical_.tolist() == [False] * 10 + [True]
    assert classifier.score(frame, y) > 0.85


def test_partial_fit_over_blocks_of_dask(table):
    X, y = table
    rows = da.from_array(X, chunks=(200, 10))
    labels = da.from_array(y, chunks=200)
    by_block, by_slice = (
        SoftmaxRegression(solver="adam", learning_rate=0.05, random_state=0)
        for _ in range(2)
    )
    classes = da.unique(labels).compute()
    for _ in range(5):
        for block in range(rows.numblocks[0]):
            # As it is: only what is asked for is computed.
            by_block.partial_fit(rows.blocks[block], labels.blocks[block], classes)
        for start in range(0, len(X), 200):
            part = slice(start, start + 200)
            by_slice.partial_fit(X[part], y[part], classes)
    proba = rows.map_blocks(
        by_block.predict_proba, dtype=float, chunks=(rows.chunks[0], (3,))
    )
    np.testing.assert_array_equal(proba.compute(), by_slice.predict_proba(X))
    assert by_block.score(X, y) > 0.65
