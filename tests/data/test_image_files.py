r"""Classifiers that get images or paths say how to read them, and the advice works."""

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image
from sklearn.pipeline import make_pipeline
from torch.utils.data import Dataset
from torchvision.datasets import ImageFolder

from sksoftmax import ImageReader
from sksoftmax.datasets import load_image_folder

from .tables import CLASSIFIERS, EVERY

N_OF_CLASS = 12
LABELS = np.repeat(["dark", "light"], N_OF_CLASS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    r"""Return a folder of dark and light images in the folders of two classes."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 128)):
        (root / name).mkdir()
        for number in range(N_OF_CLASS):
            pixels = rng.integers(low, low + 128, size=(4, 4), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number:02d}.png")
    return root


@pytest.fixture(scope="module")
def paths(folder):
    return [str(path) for path in sorted(folder.glob("*/*.png"))]


class Pairs(Dataset):
    def __init__(self, paths):
        self.paths = paths

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return Image.open(self.paths[index]).convert("L"), LABELS[index]


def images(paths):
    # Converted copies, whose files are closed.
    return [Image.open(path).convert("L") for path in paths]


COLUMNS = {
    "paths": list,
    "array of paths": np.array,
    "objects": lambda paths: np.array(paths, dtype=object),
    "column": lambda paths: np.array(paths)[:, None],
    "Series": pd.Series,
    "DataFrame": lambda paths: pd.DataFrame({"path": paths}),
    "polars": pl.Series,
    "polars DataFrame": lambda paths: pl.DataFrame({"path": paths}),
    "pathlib": lambda paths: [Path(path) for path in paths],
    "Series of pathlib": lambda paths: pd.Series([Path(path) for path in paths]),
    "images": images,
    "Series of images": lambda paths: pd.Series(images(paths)),
    "bytes": lambda paths: [Path(path).read_bytes() for path in paths],
}


@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_images_are_refused_with_the_pipeline_that_reads_them(make, kind, paths):
    X = COLUMNS[kind](paths)
    advice = r"Got images in a .* for X, .*make_pipeline\(ImageReader\(\), classifier\)"
    with pytest.raises(TypeError, match=advice):
        make().fit(X, LABELS)
    # Also for predictions.
    model = make().fit(np.arange(48).reshape(24, 2), np.arange(24) % 2)
    predict = model.predict if hasattr(model, "predict") else model.transform
    with pytest.raises(TypeError, match=advice):
        predict(X)


@pytest.mark.parametrize("kind", COLUMNS)
def test_the_pipeline_works(kind, paths):
    rows = np.stack([np.asarray(image).ravel() for image in images(paths)])
    X = COLUMNS[kind](paths)
    make = CLASSIFIERS["regression"]
    expected = make().fit(rows, LABELS).predict_proba(rows)
    pipeline = make_pipeline(ImageReader(), make()).fit(X, LABELS)
    assert np.array_equal(pipeline.predict_proba(X), expected)
    assert pipeline.score(X, LABELS) == 1.0


@pytest.mark.parametrize("make", CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_datasets_and_folders_of_images(make, folder, paths):
    rows = np.stack([np.asarray(image).ravel() for image in images(paths)])
    expected = make().fit(rows, LABELS).predict_proba(rows)
    advised = []

    dataset = ImageFolder(folder)
    with pytest.raises(TypeError, match=r"Pass \[path for path, _ in dataset.samples"):
        make().fit(dataset, dataset.targets)
    advised.append(([path for path, _ in dataset.samples], dataset.targets))

    dataset = Pairs(paths)
    with pytest.raises(TypeError, match=r"\[image for image, _ in dataset\] and \[lab"):
        make().fit(dataset)
    pairs = [dataset[row] for row in range(len(dataset))]
    advised.append(([image for image, _ in pairs], [label for _, label in pairs]))

    for path in (folder, str(folder)):
        with pytest.raises(TypeError, match=r"load_image_folder\(path, return_X_y=Tr"):
            make().fit(path, LABELS)
        advised.append(load_image_folder(path, return_X_y=True))

    for X, y in advised:
        pipeline = make_pipeline(ImageReader(), make()).fit(X, y)
        assert np.array_equal(pipeline.predict_proba(X), expected)


@pytest.mark.parametrize("make", CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_other_text_is_no_image(make):
    for X in (["a text"] * 24, np.array(["a text"] * 24), b"BM", "table.csv"):
        with pytest.raises((TypeError, ValueError)) as caught:
            make().fit(X, LABELS)
        assert "ImageReader" not in str(caught.value)


def test_a_single_path_is_a_list_of_paths(paths):
    with pytest.raises(TypeError, match=r"Pass a list of paths, \[X\]"):
        CLASSIFIERS["regression"]().fit(paths[0])
