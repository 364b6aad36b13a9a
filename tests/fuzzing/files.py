r"""Damaged files: saved classifiers, and tables that are not Otto's."""

import io
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import numpy as np
from hypothesis import strategies as st

from sksoftmax import SoftmaxRegression
from sksoftmax.datasets import load_otto
from sksoftmax.persistence import load, save

from .checks import only_what_is_documented


def saved_model():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 3)), np.arange(30) % 3
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        save(SoftmaxRegression(max_iter=3, tol=1.0).fit(X, y), path)
        return path.read_bytes()


@st.composite
def damaged(draw, content):
    r"""Return bytes cut, overwritten or extended somewhere."""
    content = bytearray(content)
    place = draw(st.integers(0, len(content)))
    # The header is short: two thirds of the changes are near the start.
    place = draw(st.sampled_from([place, place % 200, place % 3000]))
    new = draw(st.binary(max_size=12))
    kind = draw(st.sampled_from(["overwrite", "insert", "delete", "cut", "foreign"]))
    if kind == "foreign":
        return draw(st.binary(max_size=200))
    if kind == "cut":
        return bytes(content[:place])
    width = {"overwrite": len(new), "insert": 0, "delete": len(new) + 1}[kind]
    content[place : place + width] = b"" if kind == "delete" else new
    return bytes(content)


def check_load(content, original):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        path.write_bytes(content)
        with only_what_is_documented():
            load(path)
            assert content == original, "a damaged file was loaded"


@st.composite
def tables(draw):
    r"""Return the bytes of one of Otto's tables, or of something else."""
    columns = ["id", *(f"feat_{j}" for j in range(1, 94)), "target"]
    n_rows = draw(st.integers(0, 4))
    rows = [[i + 1, *([i] * 93), f"Class_{i % 9 + 1}"] for i in range(n_rows)]
    if rows and draw(st.booleans()):
        row, column = draw(st.integers(0, n_rows - 1)), draw(st.integers(0, 94))
        rows[row][column] = draw(st.sampled_from(CELLS))
    if draw(st.integers(0, 3)) == 0:
        del columns[draw(st.integers(0, 94))]
    text = "\n".join(",".join(map(str, row)) for row in [columns, *rows])
    content = text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])))
    if draw(st.integers(0, 2)) == 0:
        content = draw(damaged(content))
    if draw(st.integers(0, 3)) == 0:
        packed = io.BytesIO()
        with ZipFile(packed, "w") as archive:
            archive.writestr(draw(st.sampled_from(["train.csv", "x/y"])), content)
        content = packed.getvalue()
        if draw(st.booleans()):
            content = draw(damaged(content))
    return content, draw(st.sampled_from(OTTO_FILES))


OTTO_FILES = [
    "train.csv",
    "train.csv.zip",
    "otto-group-product-classification-challenge.zip",
]
CELLS = ["", "x", "nan", "1e400", "-1", "1.5", '"', "Class_99", "\0", "1,2", "0x10"]


def check_otto(table):
    content, name = table
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        with only_what_is_documented():
            X, y = load_otto(data_home=folder, return_X_y=True)
            assert len(X) == len(y)
            assert X.shape[1] == 93
            assert np.isfinite(X.to_numpy(dtype=float)).all()
