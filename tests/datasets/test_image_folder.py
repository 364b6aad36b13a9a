r"""Paths and labels of image files in one folder per class."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.utils import Bunch
from torchvision.datasets import ImageFolder

from sksoftmax.datasets import load_image_folder


@pytest.fixture
def folder(tmp_path):
    r"""Return a folder of images, with others that are none."""
    for name in (
        "dog/2.png",
        "dog/10.JPG",
        "cat/b.jpeg",
        "cat/a.webp",
        "cat/old/c.tif",
        "zebra/one.two.gif",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(path)
    (tmp_path / "cat" / "notes.txt").write_text("a text")
    (tmp_path / "readme.png").write_text("of no class")
    # Copies by the Finder of macOS and by Jupyter.
    for name in ("dog/._2.png", ".ipynb_checkpoints/3.png", "cat/.hidden/4.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no image")
    return tmp_path


NAMES = ["a.webp", "b.jpeg", "old/c.tif", "10.JPG", "2.png", "one.two.gif"]
LABELS = ["cat", "cat", "cat", "dog", "dog", "zebra"]


@pytest.mark.parametrize("kind", [str, lambda folder: folder])
def test_paths_and_labels(folder, kind):
    bunch = load_image_folder(kind(folder))
    assert isinstance(bunch, Bunch)
    expected = [
        str(folder / label / name) for label, name in zip(LABELS, NAMES, strict=True)
    ]
    assert bunch.data.tolist() == expected
    assert bunch.data.dtype == object
    assert bunch.target.tolist() == LABELS
    assert bunch.target_names == ["cat", "dog", "zebra"]
    assert bunch.frame is None
    assert f"6 images in {folder}\ncat: 3\ndog: 2\nzebra: 1" == bunch.DESCR
    data, target = load_image_folder(folder, return_X_y=True)
    assert np.array_equal(data, bunch.data)
    assert np.array_equal(target, bunch.target)


def test_as_a_frame(folder):
    arrays = load_image_folder(folder)
    bunch = load_image_folder(folder, as_frame=True)
    assert list(bunch.frame.columns) == ["path", "class"]
    assert bunch.data["path"].tolist() == arrays.data.tolist()
    assert bunch.target.tolist() == LABELS
    X, y = load_image_folder(folder, as_frame=True, return_X_y=True)
    pd.testing.assert_frame_equal(X, bunch.data)
    pd.testing.assert_series_equal(y, bunch.target)


def test_order_is_that_of_torchvision(tmp_path):
    rng = np.random.default_rng(0)
    for number in rng.permutation(30):
        path = tmp_path / f"class {number % 3}" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("L", (2, 2)).save(path)
    dataset = ImageFolder(tmp_path)
    bunch = load_image_folder(tmp_path)
    assert bunch.data.tolist() == [path for path, _ in dataset.samples]
    assert bunch.target_names == dataset.classes
    codes = [bunch.target_names.index(label) for label in bunch.target]
    assert codes == dataset.targets


def test_user_folder_is_expanded(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("USERPROFILE", str(folder.parent))
    bunch = load_image_folder(f"~/{folder.name}")
    assert bunch.data[0] == str(folder / "cat" / "a.webp")


def test_missing_folder_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"Got 'nowhere'.*working directory is"):
        load_image_folder("nowhere")
    (tmp_path / "file.png").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="expected a folder"):
        load_image_folder(tmp_path / "file.png")


def test_images_without_classes_are_an_error(tmp_path):
    Image.new("L", (2, 2)).save(tmp_path / "1.png")
    with pytest.raises(ValueError, match=r"no folders.*sorted\(pathlib.Path\(path\)"):
        load_image_folder(tmp_path)


def test_class_without_images_is_an_error(folder):
    (folder / "empty").mkdir()
    (folder / "texts").mkdir()
    (folder / "texts" / "1.txt").write_text("a text")
    with pytest.raises(ValueError, match=r"no image in the folders \[empty, texts\]"):
        load_image_folder(folder)


@pytest.mark.parametrize(
    "arguments", [{"path": 3}, {"path": None}, {"path": ".", "return_X_y": 2}]
)
def test_bad_arguments_are_an_error(arguments):
    with pytest.raises(ValueError, match="parameter of load_image_folder"):
        load_image_folder(**arguments)
