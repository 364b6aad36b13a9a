r"""The reader as a transformer: containers, broken files, processes, large results."""

import io
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from time import process_time

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import torch
from numpy.testing import assert_array_equal
from PIL import Image
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.utils import estimator_checks, get_tags
from torchvision.datasets import ImageFolder

from sksoftmax import ImageReader
from sksoftmax._encoders import images as reader_module

from .image_files import HEIGHT, WIDTH, contents, flat, random_pixels, write_files

N = 40
PIXELS = random_pixels(3, n_images=N)
ROWS = np.stack([flat(pixels) for pixels in PIXELS])


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("images"), PIXELS)


def objects(values):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def read_bytes(paths):
    return [Path(path).read_bytes() for path in paths]


def open_images(paths):
    return [Image.open(path) for path in paths]


CONTAINERS = {
    "list": list,
    "tuple": tuple,
    "array of text": np.array,
    "array of objects": objects,
    "column": lambda paths: objects(paths)[:, None],
    "Series": pd.Series,
    "Series of another index": lambda paths: pd.Series(paths, index=range(9, 9 + N)),
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
    table = pd.DataFrame({"path": paths, "weight": np.arange(N)})
    for columns in ("path", ["path"]):
        transformer = make_column_transformer(
            (ImageReader(), columns), ("passthrough", ["weight"])
        )
        transformed = transformer.fit_transform(table)
        assert_array_equal(transformed[:, :-1], ROWS)
        assert_array_equal(transformed[:, -1], np.arange(N))


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
    assert f"{str(broken)!r} in row {N} (" in str(caught.value)
    # The first image, which fit reads without image_shape, is named as well.
    with pytest.raises(ValueError, match=r"in row 0 \(") as caught:
        ImageReader().fit([str(broken), *paths])
    assert str(broken) in str(caught.value)
    with pytest.raises(ValueError, match=rf"{len(BROKEN[kind])} bytes in row 1 \("):
        reader.transform([paths[0], BROKEN[kind]])


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_all_broken_files_are_found_and_some_are_named(paths, n_jobs):
    X = list(paths)
    for row in range(0, N, 4):
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


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
# A fork beside the threads of PyTorch, which the user asked for here.
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_backends_of_joblib(paths, backend):
    with joblib.parallel_config(backend, n_jobs=2):
        assert_array_equal(ImageReader().fit_transform(paths), ROWS)


def temporary_files(folder):
    return [name for name in os.listdir(folder) if name.startswith("sksoftmax-")]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_large_results_are_in_a_file_that_is_deleted(paths, n_jobs, tmp_path):
    reader = ImageReader(max_nbytes=1000, temp_folder=tmp_path, n_jobs=n_jobs)
    rows = reader.fit_transform(paths)
    assert isinstance(rows, np.memmap)
    assert rows.flags.writeable
    assert_array_equal(rows, ROWS)
    # No later step and no crash leaves anything behind.
    assert list(tmp_path.iterdir()) == []
    small = clone(reader).set_params(max_nbytes=ROWS.nbytes).fit_transform(paths)
    assert type(small) is np.ndarray
    assert type(clone(reader).set_params(max_nbytes=None).fit_transform(paths)) is (
        np.ndarray
    )
    with pytest.raises(FileNotFoundError):
        reader.transform([*paths, "nowhere.png"])
    assert list(tmp_path.iterdir()) == []


def test_parts_are_written_where_they_belong(paths, monkeypatch, tmp_path):
    monkeypatch.setattr(reader_module, "_PART_BYTES", 3 * ROWS.shape[1])
    for n_jobs in (1, 2):
        reader = ImageReader(max_nbytes=0, temp_folder=tmp_path, n_jobs=n_jobs)
        assert_array_equal(reader.fit_transform(paths), ROWS)


# Memory for a large result, and whether the workers that read have PyTorch.
READ = """
import io, sys
from pathlib import Path
import joblib, psutil
from PIL import Image
from sksoftmax import ImageReader

def peak():
    status = dict(
        line.split(":") for line in Path("/proc/self/status").read_text().splitlines()
    )
    return int(status["VmHWM"].split()[0]) * 1024

file = io.BytesIO()
Image.linear_gradient("L").resize((1000, 1000)).save(file, "PNG")
reader = ImageReader(max_nbytes=0, temp_folder=sys.argv[1])
reader.fit_transform([file.getvalue()])
Path("/proc/self/clear_refs").write_text("5")
before = peak()
rows = reader.fit_transform([file.getvalue()] * 200)
assert rows[199].tobytes() == rows[0].tobytes()
grown = peak() - before

ImageReader(n_jobs=2).fit_transform(sys.argv[2:])
imports = joblib.delayed(eval)("'torch' in __import__('sys').modules")
print(rows.nbytes, grown, any(joblib.Parallel(2)(imports for _ in range(4))))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_memory_of_a_large_result_and_workers_without_pytorch(paths, tmp_path):
    command = [sys.executable, "-c", READ, tmp_path, *paths]
    n_bytes, grown, has_pytorch = subprocess.check_output(command, text=True).split()
    assert int(n_bytes) == 200_000_000
    assert int(grown) < 100_000_000
    assert has_pytorch == "False"


def test_default_folder_is_that_of_temporary_files(paths, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    reader = ImageReader(max_nbytes=0).fit(paths)
    with pytest.raises(FileNotFoundError, match="missing"):
        reader.transform(paths)


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
    series = pd.Series(paths, index=range(100, 100 + N))
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


def test_time_is_that_of_a_loop_with_pillow(tmp_path):
    paths = write_files(tmp_path, random_pixels(1, n_images=400))
    reader = ImageReader().fit(paths)

    def loop():
        rows = np.empty((len(paths), HEIGHT * WIDTH), dtype=np.uint8)
        for row, path in enumerate(paths):
            with Image.open(path) as image:
                rows[row] = np.asarray(image).reshape(-1)
        return rows

    def seconds(read):
        start = process_time()
        read()
        return process_time() - start

    assert_array_equal(reader.transform(paths), loop())
    ratios = [
        seconds(lambda: reader.transform(paths)) / seconds(loop) for _ in range(9)
    ]
    # It is 1.03; other programs on the machine change single ratios.
    assert np.median(ratios) < 1.3


def test_threads_and_configuration_stay(paths):
    before = sklearn.get_config(), torch.get_num_threads()
    ImageReader(n_jobs=2).fit_transform(paths)
    assert (sklearn.get_config(), torch.get_num_threads()) == before


def test_files_are_closed(paths):
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("needs /proc")
    reader = ImageReader().fit(paths)
    before = len(list(descriptors.iterdir()))
    for X in (paths, [io.BytesIO(data).getvalue() for data in read_bytes(paths)]):
        reader.transform(X)
        rows = ImageReader(max_nbytes=0).fit_transform(X)
        del rows
    with pytest.raises(ValueError, match="cannot be read"):
        reader.transform([*paths, b"text"])
    assert len(list(descriptors.iterdir())) == before
