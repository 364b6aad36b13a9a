r"""Small files in the formats of the data sets, for the tests of their loaders."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sksoftmax.datasets import (
    fetch_fashion_mnist,
    fetch_mnist,
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


MISSING = (
    r"Otto's {0}\.csv was not found in .*otto, .*\. Log in to Kaggle, accept the "
    r"rules, download it from https://www\.kaggle\.com/c/otto-group-product-classification-"
    r"challenge/data and point data_home or the environment variable SKSOFTMAX_DATA"
)
