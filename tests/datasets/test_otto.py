r"""Otto's tables, read from files."""

import zipfile

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sksoftmax.datasets import (
    _otto,
    load_otto,
)

from .files import (
    ARCHIVE,
    CLASSES,
    FEATURES,
    MISSING,
    REAL_DATA,
    listing,
    make_otto,
    needs_real_data,
    write_otto,
)


def zip_one(folder, table, subset):
    with zipfile.ZipFile(folder / f"{subset}.csv.zip", "w") as archive:
        archive.writestr("__MACOSX/._junk", b"\x00")
        archive.writestr(f"{subset}.csv", table.to_csv(index=False))


def zip_both(folder, table, subset):
    other = "test" if subset == "train" else "train"
    with zipfile.ZipFile(folder / ARCHIVE, "w") as archive:
        archive.writestr("sampleSubmission.csv", "id\n1\n")
        archive.writestr(f"{other}.csv", "the other one\n")
        archive.writestr(f"{subset}.csv", table.to_csv(index=False))


@pytest.mark.parametrize("subset", ["train", "test"])
@pytest.mark.parametrize("place", ["otto", "."])
@pytest.mark.parametrize("write", [write_otto, zip_one, zip_both])
def test_otto_is_what_is_in_the_files(tmp_path, subset, place, write):
    table = make_otto(subset=subset)
    (tmp_path / place).mkdir(exist_ok=True)
    write(tmp_path / place, table, subset)
    before = listing(tmp_path)
    bunch = load_otto(data_home=tmp_path, subset=subset)
    pd.testing.assert_frame_equal(bunch.data, table[FEATURES])
    pd.testing.assert_series_equal(bunch.ids, table["id"])
    if subset == "train":
        pd.testing.assert_series_equal(bunch.target, table["target"])
    else:
        assert bunch.target is None
    pd.testing.assert_frame_equal(bunch.frame, table.drop(columns="id"))
    assert bunch.feature_names == FEATURES
    assert bunch.target_names == CLASSES
    assert "https://www.kaggle.com/c/otto" in bunch.DESCR
    assert listing(tmp_path) == before


@pytest.mark.parametrize("subset", ["train", "test"])
def test_otto_as_a_pair(tmp_path, subset):
    table = make_otto(subset=subset)
    write_otto(tmp_path, table, subset)
    X, y = load_otto(data_home=tmp_path, subset=subset, return_X_y=True)
    pd.testing.assert_frame_equal(X, table[FEATURES])
    assert y is None if subset == "test" else y.tolist() == table["target"].tolist()


def test_names_that_are_changed_do_not_change_the_next_result(tmp_path):
    write_otto(tmp_path, make_otto())
    bunch = load_otto(data_home=tmp_path)
    bunch.feature_names.clear()
    bunch.target_names.clear()
    assert load_otto(data_home=tmp_path).feature_names == FEATURES
    assert load_otto(data_home=tmp_path).target_names == CLASSES


def test_otto_is_found_in_a_kaggle_notebook(tmp_path, monkeypatch):
    mounts = [tmp_path / "newer", tmp_path / "older"]
    monkeypatch.setattr(_otto, "_KAGGLE_FOLDERS", mounts)
    mounts[1].mkdir()
    write_otto(mounts[1], make_otto(n_rows=4))
    assert len(load_otto().data) == 4
    with pytest.raises(OSError, match="was not found in"):
        load_otto(data_home=tmp_path)
    monkeypatch.setenv("SKSOFTMAX_DATA", str(tmp_path))
    with pytest.raises(OSError, match="was not found in"):
        load_otto()


@settings(deadline=None, max_examples=15)
@given(order=st.permutations(["id", *FEATURES, "target"]), seed=st.integers(0, 9))
def test_columns_may_have_any_order(tmp_path_factory, order, seed):
    home = tmp_path_factory.mktemp("home")
    table = make_otto(n_rows=3, seed=seed)
    write_otto(home, table[order])
    bunch = load_otto(data_home=home)
    pd.testing.assert_frame_equal(bunch.frame, table.drop(columns="id"))
    pd.testing.assert_series_equal(bunch.ids, table["id"])


@settings(deadline=None, max_examples=15)
@given(
    dropped=st.lists(
        st.sampled_from(["id", *FEATURES, "target"]), max_size=5, unique=True
    ),
    added=st.lists(st.sampled_from(["index", "feat_0", "feat_94"]), unique=True),
)
def test_missing_and_unexpected_columns_are_named(tmp_path_factory, dropped, added):
    home = tmp_path_factory.mktemp("home")
    table = make_otto(n_rows=2).drop(columns=dropped).assign(**dict.fromkeys(added, 1))
    path = write_otto(home, table)
    if not dropped and not added:
        assert load_otto(data_home=home).data.shape == (2, 93)
        return
    with pytest.raises(ValueError, match="but expected exactly") as caught:
        load_otto(data_home=home)
    message = str(caught.value)
    assert message.startswith(f"Got {path} with the missing columns ")
    missing, unexpected = message.split("the unexpected columns ")
    assert all(name in missing for name in dropped)
    assert all(name in unexpected.split("but expected")[0] for name in added)


def test_another_table_is_an_error(tmp_path):
    pd.DataFrame({"Age": [1], "Survived": [0]}).to_csv(tmp_path / "train.csv")
    message = (
        r"the missing columns \[id, feat_1, feat_2, feat_3, feat_4, \.\.\.\] and the "
        r"unexpected columns \[Unnamed: 0, Age, Survived\], but expected exactly "
        r"\[id, feat_1, "
    )
    with pytest.raises(ValueError, match=message):
        load_otto(data_home=tmp_path)


def test_test_rows_with_a_target_are_an_error(tmp_path):
    write_otto(tmp_path, make_otto(), "test")
    with pytest.raises(ValueError, match=r"the unexpected columns \[target\]"):
        load_otto(data_home=tmp_path, subset="test")


@pytest.mark.parametrize("column", ["id", "feat_1", "feat_93"])
@pytest.mark.parametrize("value", ["many", "-1", "1.5", "inf", "1e300", ""])
def test_values_that_are_no_counts_are_an_error(tmp_path, column, value):
    table = make_otto().astype({column: object})
    table.loc[17, column] = value
    path = write_otto(tmp_path, table)
    shown = {"": "nan", "1e300": "1e[+]300"}.get(value, value)
    message = rf"Got .*{shown}.* in column '{column}' of .*, but expected whole numbers"
    with pytest.raises(ValueError, match=message) as caught:
        load_otto(data_home=tmp_path)
    assert str(path) in str(caught.value)


def test_a_wrong_value_in_another_chunk_is_found(tmp_path):
    # pandas reads the last row in another chunk than the first.
    table = make_otto(n_rows=20_000).astype({"feat_2": object})
    table.loc[19_999, "feat_2"] = "many"
    write_otto(tmp_path, table)
    with pytest.raises(ValueError, match="Got 'many' in column 'feat_2'"):
        load_otto(data_home=tmp_path)


@pytest.mark.parametrize("value", ["Class_0", "Class_10", "3", ""])
def test_unknown_labels_are_an_error(tmp_path, value):
    table = make_otto()
    table.loc[5, "target"] = value
    write_otto(tmp_path, table)
    message = (
        rf"Got \[{value or 'nan'}\] in column 'target' of .*train.csv, but expected "
        "Class_1 to Class_9"
    )
    with pytest.raises(ValueError, match=message):
        load_otto(data_home=tmp_path)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("train.csv", b""),
        ("train.csv", b"id,target\n1,2\n1,2,3,4\n"),
        ("train.csv", b"\xff\xfe\x00\xd8"),
        ("train.csv.zip", b"id,target\n"),
        (ARCHIVE, b""),
    ],
)
def test_unreadable_files_are_an_error(tmp_path, file, content):
    (tmp_path / file).write_bytes(content)
    message = r", which cannot be read, but expected Kaggle's train\.csv or a zip "
    with pytest.raises(ValueError, match=message) as caught:
        load_otto(data_home=tmp_path)
    assert str(tmp_path / file) in str(caught.value)


def test_an_archive_without_the_file_is_an_error(tmp_path):
    with zipfile.ZipFile(tmp_path / ARCHIVE, "w") as archive:
        archive.writestr("sampleSubmission.csv", "id\n1\n")
    with pytest.raises(ValueError, match=r"no item named 'train\.csv'"):
        load_otto(data_home=tmp_path)


def test_a_damaged_archive_is_an_error(tmp_path):
    text = make_otto().to_csv(index=False)
    with zipfile.ZipFile(
        tmp_path / "train.csv.zip", "w", zipfile.ZIP_DEFLATED
    ) as archive:
        archive.writestr("train.csv", text)
    content = bytearray((tmp_path / "train.csv.zip").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    (tmp_path / "train.csv.zip").write_bytes(content)
    with pytest.raises(ValueError, match="which cannot be read"):
        load_otto(data_home=tmp_path)


def test_a_missing_file_is_an_error_with_a_remedy(tmp_path):
    message = (
        MISSING.format("train") + r".*, or pass download_if_missing=True for OpenM"
    )
    with pytest.raises(OSError, match=message):
        load_otto(data_home=tmp_path / "absent")
    with pytest.raises(OSError, match="sksoftmax"):
        load_otto()
    assert listing(tmp_path) == {}


@pytest.mark.parametrize("download_if_missing", [False, True])
def test_missing_test_rows_cannot_be_downloaded(tmp_path, download_if_missing):
    message = MISSING.format("test") + ".* OpenML does not have the test rows"
    with pytest.raises(OSError, match=message):
        load_otto(
            data_home=tmp_path, subset="test", download_if_missing=download_if_missing
        )
    assert listing(tmp_path) == {}


@needs_real_data("otto")
def test_real_otto(monkeypatch):
    monkeypatch.setenv("SKSOFTMAX_DATA", REAL_DATA)
    train = load_otto()
    assert train.data.shape[1] == 93
    assert (train.data == 0).to_numpy().mean() == pytest.approx(0.79, abs=0.02)
    assert sorted(train.target.unique()) == CLASSES
    assert train.ids.is_unique
    # The id reveals the class: it counts the rows, which are sorted by class.
    assert train.ids.is_monotonic_increasing
    assert train.target.is_monotonic_increasing
    test = load_otto(subset="test")
    assert test.data.shape == (144_368, 93)
    assert test.ids.tolist() == list(range(1, 144_369))
