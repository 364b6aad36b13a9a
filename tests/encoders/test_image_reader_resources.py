r"""Memory, files, processes and time that the reader takes."""

import io
import subprocess
import sys
import tempfile
from pathlib import Path
from time import process_time

import joblib
import numpy as np
import pytest
import sklearn
import torch
from numpy.testing import assert_array_equal
from PIL import Image
from sklearn.base import clone

from sksoftmax import ImageReader
from sksoftmax._encoders import images as reader_module

from .image_files import HEIGHT, ROWS, WIDTH, random_pixels, read_bytes, write_files


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
# A fork beside the threads of PyTorch, which the user asked for here.
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_backends_of_joblib(paths, backend):
    with joblib.parallel_config(backend, n_jobs=2):
        assert_array_equal(ImageReader().fit_transform(paths), ROWS)


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
