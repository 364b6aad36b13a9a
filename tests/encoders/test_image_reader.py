r"""The reader as a transformer: containers, broken files, parameters, copies."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_array_equal
from PIL import Image
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.utils import estimator_checks, get_tags
from torchvision.datasets import ImageFolder

from sksoftmax import ImageReader

from .image_files import (
    HEIGHT,
    N_IMAGES,
    PIXELS,
    ROWS,
    WIDTH,
    contents,
    read_bytes,
    write_files,
)


def objects(values):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def open_images(paths):
    return [Image.open(path) for path in paths]


CONTAINERS = {
    "list": list,
    "tuple": tuple,
    "array of text": np.array,
    "array of objects": objects,
    "column": lambda paths: objects(paths)[:, None],
    "Series": pd.Series,
    "Series of another index": lambda paths: pd.Series(
        paths, index=range(9, 9 + N_IMAGES)
    ),
    "categories": lambda paths: pd.Series(paths, dtype="category"),
    "Index": pd.Index,
    "DataFrame": lambda paths: pd.DataFrame({"path": paths}),
    "polars Series": pl.Series,
    "polars DataFrame": lambda paths: pl.DataFrame({"path": paths}),
    "pathlib": lambda paths: [Path(path) for path in paths],
    "Series of pathlib": lambda paths: pd.Series([Path(path) for path in paths]),
    "array of pathlib": lambda paths: objects([Path(path) for path in paths]),
    "bytes": read_bytes,
    "Series of bytes": lambda paths: pd.Series(read_bytes(paths)),
    "array of bytes": lambda paths: objects(read_bytes(paths)),
    "bytearrays": lambda paths: [bytearray(data) for data in read_bytes(paths)],
    "images": open_images,
    "array of images": lambda paths: objects(open_images(paths)),
    "Series of images": lambda paths: pd.Series(open_images(paths)),
    "all kinds": lambda paths: [
        *paths[:10],
        *map(Path, paths[10:20]),
        *read_bytes(paths[20:30]),
        *open_images(paths[30:]),
    ],
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_containers(paths, container, n_jobs):
    X = CONTAINERS[container](paths)
    reader = ImageReader(n_jobs=n_jobs)
    assert_array_equal(reader.fit_transform(X), ROWS)
    assert_array_equal(reader.transform(X), ROWS)


def test_column_of_a_table(paths):
    table = pd.DataFrame({"path": paths, "weight": np.arange(N_IMAGES)})
    for columns in ("path", ["path"]):
        transformer = make_column_transformer(
            (ImageReader(), columns), ("passthrough", ["weight"])
        )
        transformed = transformer.fit_transform(table)
        assert_array_equal(transformed[:, :-1], ROWS)
        assert_array_equal(transformed[:, -1], np.arange(N_IMAGES))


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        (lambda paths: paths[0], r"Got str for X.*Pass a list of one path"),
        (lambda paths: Path(paths[0]), "Pass a list of one path"),
        (lambda paths: Path(paths[0]).parent, "load_image_folder"),
        (lambda paths: Path(paths[0]).read_bytes(), "Pass a list of one image"),
        (lambda paths: Image.new("L", (8, 8)), "Pass a list of one image"),
        (lambda paths: Path(paths[0]).parent.glob("*.png"), r"Pass sorted\(X\)"),
        (lambda paths: {"path": paths}, "Pass a list"),
        (set, "Pass a list"),
        (lambda paths: None, "Got NoneType for X"),
        (lambda paths: 5, "Pass a list"),
        (lambda paths: np.array(paths[0]), "Pass a list"),
        (lambda paths: torch.tensor(5), "Pass a list"),
        (lambda paths: PIXELS, "Got ndarray of uint8.*pixels already"),
        (lambda paths: torch.tensor(PIXELS), "pixels already: leave ImageReader out"),
        (lambda paths: np.array(read_bytes(paths)), "NumPy drops zeros"),
        (lambda paths: objects(paths).reshape(-1, 2), "pass one column"),
        (lambda paths: [*paths, None], "Got NoneType in row 40 of X"),
        (lambda paths: pd.Series([np.nan, *paths]), "Got float in row 0 of X"),
        (lambda paths: [(Image.new("L", (8, 8)), 1)], "images without labels"),
        (lambda paths: list(PIXELS), "Got ndarray of uint8 in row 0 of X"),
    ],
)
def test_what_is_no_column_of_images_is_refused_with_a_remedy(paths, wrong, remedy):
    for reader in (ImageReader(), ImageReader((3, HEIGHT, WIDTH))):
        with pytest.raises(TypeError, match=remedy):
            reader.fit(wrong(paths))
        if reader.image_shape is not None:
            with pytest.raises(TypeError, match=remedy):
                reader.transform(wrong(paths))


@pytest.mark.parametrize("X", [[], np.array([]), pd.Series(dtype=object)])
def test_no_row_is_an_error(X):
    with pytest.raises(ValueError, match=r"Found array with 0 sample"):
        ImageReader().fit(X)


def test_several_columns_are_an_error_whose_advice_works(paths):
    table = pd.DataFrame({"path": paths, "width": 1})
    for X in (table, pl.from_pandas(table)):
        with pytest.raises(ValueError, match=r"2 columns \(path, width\).*X\['path'\]"):
            ImageReader().fit(X)
        assert_array_equal(ImageReader().fit_transform(X["path"]), ROWS)


def test_datasets_of_torchvision_are_an_error_whose_advice_works(tmp_path):
    for name in ("a", "b"):
        write_files(tmp_path / name, PIXELS[:3])
    X = ImageFolder(tmp_path)
    with pytest.raises(TypeError, match=r"Pass \[path for path, _ in X.samples\]"):
        ImageReader().fit(X)
    rows = ImageReader().fit_transform([path for path, _ in X.samples])
    assert_array_equal(rows, np.tile(ROWS[:3], (2, 1)))

    class Pairs(torch.utils.data.Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            if index == 2:
                raise IndexError
            return Image.fromarray(PIXELS[index]), index

    X = Pairs()
    with pytest.raises(TypeError, match=r"Pass \[image for image, _ in X\] and"):
        ImageReader().fit(X)
    assert_array_equal(ImageReader().fit_transform([i for i, _ in X]), ROWS[:2])


BROKEN = {
    "empty": b"",
    "text": b"<html>404</html>",
    "cut header": contents(Image.fromarray(PIXELS[0]))[:20],
    "cut pixels": contents(Image.fromarray(PIXELS[0]))[:100],
    "cut JPEG": contents(Image.new("RGB", (64, 64), "red"), "JPEG")[:-30],
    "changed": contents(Image.fromarray(PIXELS[0])).replace(b"IDAT", b"IDAx"),
    "bad checksum": contents(Image.fromarray(PIXELS[0]))[:50]
    + bytes(8)
    + contents(Image.fromarray(PIXELS[0]))[58:],
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_broken_file_names_itself(paths, tmp_path, kind, n_jobs):
    broken = tmp_path / f"{kind}.png"
    broken.write_bytes(BROKEN[kind])
    X = [*paths, str(broken), *paths]
    reader = ImageReader((HEIGHT, WIDTH), mode="RGB", n_jobs=n_jobs)
    with pytest.raises(ValueError, match="an image in X that cannot be read") as caught:
        reader.fit_transform(X)
    assert f"{str(broken)!r} in row {N_IMAGES} (" in str(caught.value)
    # The first image, which fit reads without image_shape, is named as well.
    with pytest.raises(ValueError, match=r"in row 0 \(") as caught:
        ImageReader().fit([str(broken), *paths])
    assert str(broken) in str(caught.value)
    with pytest.raises(ValueError, match=rf"{len(BROKEN[kind])} bytes in row 1 \("):
        reader.transform([paths[0], BROKEN[kind]])


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_all_broken_files_are_found_and_some_are_named(paths, n_jobs):
    X = list(paths)
    for row in range(0, N_IMAGES, 4):
        X[row] = "nowhere.png"
    reader = ImageReader((HEIGHT, WIDTH), mode="RGB", n_jobs=n_jobs)
    with pytest.raises(FileNotFoundError, match="Got 10 images in X") as caught:
        reader.transform(X)
    named = [f"'nowhere.png' in row {row} (there is no such file)" for row in range(99)]
    assert ", ".join(named[0:20:4]) + ", ..." in str(caught.value)
    # Missing files beside broken ones are no FileNotFoundError.
    X[1] = b"text"
    with pytest.raises(ValueError, match="Got 11 images in X"):
        reader.transform(X)


def test_paths_are_relative_to_the_folder_of_the_caller(paths, monkeypatch, tmp_path):
    # The processes were started in another folder, by the first of two readers.
    reader = ImageReader(n_jobs=2)
    assert_array_equal(reader.fit_transform(paths), ROWS)
    monkeypatch.chdir(Path(paths[0]).parent)
    names = [Path(path).name for path in paths]
    assert_array_equal(reader.fit_transform(names), ROWS)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="Got 40 images"):
        reader.transform(names)


def test_fit_is_not_needed_if_the_parameters_say_everything(paths):
    for reader in (
        ImageReader((3, HEIGHT, WIDTH)),
        ImageReader((HEIGHT, WIDTH), mode="RGB"),
    ):
        assert not get_tags(reader).requires_fit
        assert_array_equal(reader.transform(paths), ROWS)
        assert len(reader.get_feature_names_out()) == ROWS.shape[1]
        # Then fit reads no image, but checks what it got.
        assert reader.fit(["nowhere.png"]).image_shape_ == (3, HEIGHT, WIDTH)
        with pytest.raises(ValueError, match="The 'resample' parameter"):
            clone(reader).set_params(resample="cubic").transform(paths)
    for reader in (ImageReader(), ImageReader((8, 6)), ImageReader(mode="RGB")):
        assert get_tags(reader).requires_fit
        with pytest.raises(NotFittedError):
            reader.transform(paths)
        with pytest.raises(NotFittedError):
            reader.get_feature_names_out()


def test_transform_is_as_fit_left_it(paths):
    reader = ImageReader().fit(paths)
    reader.set_params(image_shape=(4, 4), mode="L", resample="box")
    assert_array_equal(reader.transform(paths), ROWS)


def test_a_failed_fit_leaves_the_reader_as_it_was(paths):
    reader = ImageReader().fit(paths)
    with pytest.raises(FileNotFoundError):
        reader.fit(["nowhere.png"])
    assert_array_equal(reader.transform(paths), ROWS)


@pytest.mark.parametrize(
    "parameters",
    [
        {"image_shape": "28"},
        {"image_shape": 28},
        {"image_shape": (28,)},
        {"image_shape": (0, 28)},
        {"image_shape": (28.5, 28)},
        {"image_shape": (1, 2, 3, 4)},
        {"mode": "P"},
        {"mode": None},
        {"resample": 2},
        {"n_jobs": 1.5},
        {"max_nbytes": -1},
        {"max_nbytes": "1G"},
        {"temp_folder": 3},
    ],
)
def test_bad_parameters_are_an_error_in_fit(paths, parameters):
    reader = ImageReader(**parameters)
    repr(reader)
    get_tags(reader)
    with pytest.raises(ValueError, match=next(iter(parameters))):
        reader.fit(paths)


def test_output_as_a_frame(paths):
    series = pd.Series(paths, index=range(100, 100 + N_IMAGES))
    for container in ("pandas", "polars"):
        reader = ImageReader().set_output(transform=container)
        frame = reader.fit_transform(series.to_frame())
        assert list(frame.columns) == [f"pixel{n}" for n in range(1, 145)]
        assert_array_equal(frame.to_numpy(), ROWS)
    pandas = ImageReader().set_output(transform="pandas")
    assert set(pandas.fit_transform(series).dtypes) == {np.dtype(np.uint8)}
    assert list(pandas.fit_transform(series.to_frame()).index) == list(series.index)


def test_representation_links_the_documentation(paths):
    reader = ImageReader((8, 6), n_jobs=2)
    assert "sksoftmax.ImageReader.html" in reader._repr_html_()
    assert repr(reader) == "ImageReader(image_shape=(8, 6), n_jobs=2)"
    assert "image_shape" in reader.fit(paths)._repr_html_()


@pytest.mark.parametrize("fitted", [False, True])
def test_copies(paths, fitted):
    reader = ImageReader(mode="RGB")
    if fitted:
        reader.fit(paths)
    copied = pickle.loads(pickle.dumps(reader))
    assert copied.get_params() == clone(reader).get_params() == reader.get_params()
    assert vars(copied) == vars(reader)
    if fitted:
        assert_array_equal(copied.transform(paths), ROWS)


def test_tags_are_those_of_vectorizers_of_texts():
    tags = get_tags(ImageReader())
    assert tags.input_tags.string
    assert not tags.input_tags.two_d_array
    assert not tags.input_tags.sparse
    assert not tags.target_tags.required


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_estimator_tags_renamed,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_mixin_order,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_set_params,
        estimator_checks.check_valid_tag_types,
    ],
)
def test_checks_of_scikit_learn_that_need_no_table(check):
    # scikit-learn runs the others on tables of numbers only.
    check("ImageReader", ImageReader())
