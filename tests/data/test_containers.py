r"""Rows, labels and weights in any container: taken as they are meant, or refused."""

import collections
import datetime
import decimal
import re
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from PIL import Image
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from skorch.helper import SliceDataset
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from sksoftmax import (
    NeighborsEncoder,
    SoftmaxCNNClassifier,
    SoftmaxGridSearchCV,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)

MLP = partial(
    SoftmaxMLPClassifier,
    hidden_layer_sizes=(8,),
    n_estimators=1,
    max_epochs=2,
    random_state=0,
)
CLASSIFIERS = {
    "regression": SoftmaxRegression,
    "minibatch": partial(SoftmaxRegression, solver="sgd", max_iter=2, random_state=0),
    "cv": partial(SoftmaxRegressionCV, Cs=[1.0], cv=2),
    "search": partial(
        SoftmaxGridSearchCV,
        SoftmaxRegression(),
        {"C": [0.1, 1.0]},
        cv=2,
        error_score="raise",
    ),
    "mlp": MLP,
    "cnn": partial(SoftmaxCNNClassifier, channels=(4,), max_epochs=2, random_state=0),
    "net": partial(SoftmaxNetClassifier, nn.Linear, max_epochs=2, random_state=0),
}
EVERY = {**CLASSIFIERS, "neighbors": partial(NeighborsEncoder, n_neighbors=3)}
TAKE_SPARSE = {"regression", "cv", "search", "neighbors"}
EXACT = ["regression", "mlp", "neighbors"]

every = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
# scikit-learn's search looks at rows and labels itself, before an estimator does.
ALONE = {name: make for name, make in EVERY.items() if name != "search"}
every_alone = pytest.mark.parametrize("make", ALONE.values(), ids=ALONE)
classifiers_alone = pytest.mark.parametrize(
    "make",
    [make for name, make in ALONE.items() if name != "neighbors"],
    ids=[name for name in ALONE if name != "neighbors"],
)
every_classifier = pytest.mark.parametrize(
    "make", CLASSIFIERS.values(), ids=CLASSIFIERS
)

N_ROWS = 48
RANDOM = np.random.default_rng(0)
# Eighths: every float type below holds them exactly.
X = (RANDOM.integers(-16, 17, size=(N_ROWS, 4)) / 8).astype(np.float64)
y = (X[:, 0] + X[:, 1] > 0).astype(int)
FRAME = pd.DataFrame(X, columns=list("abcd"))
POLARS = pl.DataFrame(FRAME.to_dict("list"))
TENSOR = torch.tensor(X)
DATES = pd.date_range("2020-01-01", periods=N_ROWS)
PYTHON_DATES = list(DATES.to_pydatetime())


def outputs(model, X):
    r"""Return what a fitted estimator says of rows."""
    return getattr(model, "predict_proba", getattr(model, "transform", None))(X)


def of_objects(values):
    return pd.Series(list(values), dtype=object)


def with_column(values):
    return FRAME.assign(when=values)


def with_polars_column(values):
    return POLARS.with_columns(pl.Series("when", values))


DATE_COLUMNS = {
    "pandas": with_column(DATES),
    "seconds": with_column(DATES.astype("datetime64[s]")),
    "nanoseconds": with_column(DATES.astype("datetime64[ns]")),
    "time zone": with_column(DATES.tz_localize("Europe/Berlin")),
    "objects: date": with_column(of_objects(d.date() for d in PYTHON_DATES)),
    "objects: datetime": with_column(of_objects(PYTHON_DATES)),
    "objects: Timestamp": with_column(of_objects(DATES)),
    "objects: datetime64": with_column(of_objects(DATES.values)),
    "objects: date after None": with_column(
        of_objects([None, *(d.date() for d in PYTHON_DATES[1:])])
    ),
    "pyarrow date": with_column(
        of_objects(d.date() for d in PYTHON_DATES).astype(pd.ArrowDtype(pa.date32()))
    ),
    "pyarrow timestamp": with_column(DATES.astype("timestamp[us][pyarrow]")),
    "pyarrow table": pa.Table.from_pandas(with_column(DATES)),
    "polars date": with_polars_column([d.date() for d in PYTHON_DATES]),
    "polars datetime": with_polars_column(PYTHON_DATES),
}
OTHER_COLUMNS = {
    "periods": with_column(DATES.to_period("D")),
    "intervals": with_column(pd.interval_range(0, periods=N_ROWS)),
    "durations": with_column(DATES - DATES[0]),
    "durations (timedelta)": with_column(of_objects([datetime.timedelta(1)] * N_ROWS)),
    "durations (timedelta64)": with_column(of_objects((DATES - DATES[0]).values)),
    "durations (Duration": with_polars_column([datetime.timedelta(1)] * N_ROWS),
    "times of day (time)": with_column(of_objects([datetime.time(5)] * N_ROWS)),
    "times of day (Time)": with_polars_column([datetime.time(5)] * N_ROWS),
    "complex numbers": with_column(X[:, 0] * 1j),
    "bytes": with_column(of_objects([b"1"] * N_ROWS)),
    "sequences (list)": with_column(of_objects([[1, 2]] * N_ROWS)),
    "sequences (List(": with_polars_column([[1, 2]] * N_ROWS),
    "records (Struct(": with_polars_column([{"a": 1}] * N_ROWS),
    "objects (object)": with_column(of_objects([object()] * N_ROWS)),
}


class TestColumns:
    @every
    @pytest.mark.parametrize("spelling", DATE_COLUMNS)
    def test_dates_are_refused_by_name(self, make, spelling):
        table = DATE_COLUMNS[spelling]
        with pytest.raises(TypeError, match=r"Column 'when' of X holds dates .*Turn"):
            make().fit(table, y)

    @every
    @pytest.mark.parametrize("kind", OTHER_COLUMNS)
    def test_what_is_neither_number_nor_category(self, make, kind):
        message = re.escape(f"Column 'when' of X holds {kind}")
        with pytest.raises(TypeError, match=message):
            make().fit(OTHER_COLUMNS[kind], y)

    @every
    @pytest.mark.parametrize(
        ("table", "columns"),
        [
            (np.column_stack([DATES.values] * 2), "Columns 0, 1 of X hold dates"),
            (np.column_stack([X, of_objects(PYTHON_DATES)]), "Column 4 of X .*dates"),
            (
                [[*row, date] for row, date in zip(X, DATES.values, strict=True)],
                "Column 4 of X holds dates",
            ),
            (X.astype("S5"), "Columns 0, 1, 2, 3 of X hold bytes"),
        ],
        ids=["datetimes", "objects", "list", "bytes"],
    )
    def test_arrays_and_lists(self, make, table, columns):
        with pytest.raises(TypeError, match=columns):
            make().fit(table, y)

    @pytest.mark.parametrize("name", EXACT)
    def test_in_predict_and_validation_rows(self, name):
        make = EVERY[name]
        frame = FRAME.rename(columns={"d": "when"})
        model, dates = make().fit(frame, y), frame.assign(when=DATES)
        with pytest.raises(TypeError, match="'when' of X holds dates"):
            outputs(model, dates)
        if name == "mlp":
            with pytest.raises(TypeError, match="'when' of X_val holds dates"):
                make().fit(frame, y, X_val=dates, y_val=y)
            with pytest.raises(TypeError, match="'when' of X holds dates"):
                make().partial_fit(dates, y, classes=[0, 1])

    def test_named_as_categories_dates_are_refused_as_well(self):
        with pytest.raises(TypeError, match="Column 'when' of X holds dates"):
            MLP(categorical_features=["when"]).fit(with_column(DATES), y)

    def test_categories_of_intervals_are_categories(self):
        frame = FRAME.assign(a=pd.cut(FRAME["a"], 3))
        model = MLP(max_epochs=60, learning_rate=0.05)
        model.fit(frame, y)
        assert len(model.categories_[0]) == 3
        assert model.score(frame, y) > 0.8
        with pytest.raises(TypeError, match="Column 'a' of X holds intervals"):
            SoftmaxRegression().fit(frame, y)

    @every
    def test_decimals_are_numbers(self, make):
        decimals = FRAME.map(decimal.Decimal)
        expected = outputs(make().fit(FRAME, y), FRAME)
        for table in (decimals, pl.DataFrame(decimals.to_dict("list"))):
            assert np.array_equal(outputs(make().fit(table, y), table), expected)


class Pairs(Dataset):
    def __len__(self):
        return N_ROWS

    def __getitem__(self, i):
        return TENSOR[i], y[i]


class Stream(IterableDataset):
    def __iter__(self):
        return zip(TENSOR, y, strict=True)


class Sequence:
    r"""The least that NumPy takes for a sequence."""

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __getitem__(self, i):
        return self.values[i]


class Rows(list):
    pass


def images():
    return [Image.fromarray(np.full((2, 2), i, dtype=np.uint8)) for i in range(N_ROWS)]


NO_TABLES = {
    "TensorDataset": (
        lambda: TensorDataset(TENSOR, torch.tensor(y)),
        r"X, y = dataset\.tensors",
    ),
    "Dataset": (Pairs, r"X, y = next\(iter\(torch.utils.data.DataLoader\(dataset"),
    "IterableDataset": (Stream, r"X, y = \(torch.cat\(part\) for part in zip"),
    "DataLoader": (lambda: DataLoader(Pairs()), r"zip\(\*loader\)"),
    "LazyFrame": (POLARS.lazy, r"Pass X.collect\(\)"),
    "image": (lambda: images()[0], r"np.stack\("),
    "images": (images, r"np.stack\("),
    "generator": (lambda: (row for row in X), r"Pass list\(X\)"),
    "map": (lambda: map(list, X), r"Pass list\(X\)"),
    "dict": (lambda: {"a": X[:, 0], "b": X[:, 1]}, r"Pass pandas.DataFrame\(X\)"),
    "dicts": (lambda: [{"a": 1.0}] * N_ROWS, r"Pass pandas.DataFrame\(X\)"),
    "set": (lambda: {1, 2, 3}, "A set has no order"),
    "text": (lambda: "table.csv", "Read a file first"),
    "texts": (lambda: ["a text"] * N_ROWS, "TfidfVectorizer"),
    "scalar": (lambda: pa.scalar(1.0), "Convert it first"),
    "function": (lambda: print, "Convert it first"),
    "fields": (
        lambda: np.array([(1.0, 2.0)] * N_ROWS, dtype=[("a", float), ("b", float)]),
        r"pandas.DataFrame\(X\)",
    ),
    "sparse rows": (lambda: [sparse.csr_array(X[:1])] * N_ROWS, "scipy.sparse.vstack"),
    "meta tensor": (lambda: TENSOR.to("meta"), "Pass a dense tensor"),
}


class TestNoTables:
    @every_alone
    @pytest.mark.parametrize("kind", NO_TABLES)
    def test_are_refused_with_a_remedy(self, make, kind):
        container, remedy = NO_TABLES[kind]
        for labels in (y, None):
            with pytest.raises(TypeError, match=f"Got .*(expected|array).*{remedy}"):
                make().fit(container(), labels)
        with pytest.raises(TypeError, match=remedy):
            make().fit(container())
        model = make().fit(X, y)
        with pytest.raises(TypeError, match=remedy):
            outputs(model, container())

    @pytest.mark.parametrize("kind", NO_TABLES)
    def test_in_partial_fit_and_validation_rows(self, kind):
        container, remedy = NO_TABLES[kind]
        with pytest.raises(TypeError, match=remedy):
            MLP().partial_fit(container(), y, classes=[0, 1])
        with pytest.raises(TypeError, match="X_val"):
            MLP().fit(X, y, X_val=container(), y_val=y)

    @pytest.mark.parametrize(
        "kind",
        [
            "TensorDataset",
            "Dataset",
            "DataLoader",
            "LazyFrame",
            "generator",
            "dict",
            "images",
        ],
    )
    def test_in_a_search(self, kind):
        container, remedy = NO_TABLES[kind]
        with pytest.raises(TypeError, match=f"Got .* for X, .*{remedy}"):
            EVERY["search"]().fit(container(), y)

    def test_remedies_work(self):
        expected = SoftmaxRegression().fit(X, y).coef_
        # A loader draws from PyTorch's global generator otherwise.
        load = partial(DataLoader, generator=torch.Generator())
        tables = [
            next(iter(load(Pairs(), batch_size=len(Pairs())))),
            *(
                tuple(torch.cat(part) for part in zip(*loader, strict=True))
                for loader in (load(Pairs(), batch_size=7), load(Stream()))
            ),
            TensorDataset(TENSOR, torch.tensor(y)).tensors,
            (POLARS.lazy().collect(), y),
            (list(X), y),
        ]
        for rows, labels in tables:
            assert np.array_equal(SoftmaxRegression().fit(rows, labels).coef_, expected)

    def test_remedy_of_images(self):
        pixels = RANDOM.integers(0, 256, (5, 3, 4, 3), dtype=np.uint8)
        pictures = [Image.fromarray(image) for image in pixels]
        rows = np.stack(
            [np.atleast_3d(image).transpose(2, 0, 1).ravel() for image in pictures]
        )
        assert np.array_equal(rows, pixels.transpose(0, 3, 1, 2).reshape(5, -1))
        gray = [Image.fromarray(image[..., 0]) for image in pixels]
        rows = np.stack(
            [np.atleast_3d(image).transpose(2, 0, 1).ravel() for image in gray]
        )
        assert np.array_equal(rows, pixels[..., 0].reshape(5, -1))

    @every
    def test_rows_of_different_lengths(self, make):
        with pytest.raises(ValueError, match=r"inhomogeneous|different lengths"):
            make().fit([*X.tolist()[:-1], [1.0]], y)

    @every_alone
    @pytest.mark.parametrize(
        ("labels", "remedy"),
        [
            (lambda: dict(enumerate(y)), r"list\(y.values\(\)\)"),
            (lambda: dict(enumerate(y)).values(), r"Pass list\(y\)"),
            (lambda: (label for label in y), r"Pass list\(y\)"),
            (lambda: set(y), "A set has no order"),
            (lambda: pl.LazyFrame({"y": y}), r"Pass y.collect\(\)"),
            (lambda: TensorDataset(torch.tensor(y)), r"dataset\.tensors"),
        ],
        ids=["dict", "values", "generator", "set", "LazyFrame", "TensorDataset"],
    )
    def test_labels_and_weights(self, make, labels, remedy):
        with pytest.raises(TypeError, match=f"Got .* for y, .*{remedy}"):
            make().fit(X, labels())
        if make is not EVERY["neighbors"]:
            with pytest.raises(TypeError, match=r"Got .* for sample_weight"):
                make().fit(X, y, sample_weight=labels())


SEQUENCES = {
    "SliceDataset": lambda: SliceDataset(Pairs()),
    "subclass of list": lambda: Rows(X.tolist()),
    "deque": lambda: collections.deque(X.tolist()),
    "Series of rows": lambda: pd.Series(list(X)),
    "array of rows": lambda: pd.Series(X.tolist()).to_numpy(),
    "__getitem__": lambda: Sequence(X),
    "__getitem__ of tensors": lambda: Sequence(TENSOR.bfloat16()),
    "tuple of arrays": lambda: tuple(X),
    "tensors": lambda: list(TENSOR),
    "bfloat16 tensors": lambda: list(TENSOR.bfloat16()),
    "Series": lambda: [row for _, row in FRAME.iterrows()],
    "memoryview": lambda: memoryview(X),
    "arrow table": lambda: pa.table(FRAME),
    "record batch": lambda: pa.RecordBatch.from_pandas(FRAME),
}


class TestSequences:
    @every
    @pytest.mark.parametrize("kind", SEQUENCES)
    def test_are_the_array(self, make, kind):
        if make is EVERY["search"] and kind[:2] in ("__", "re", "me"):
            pytest.skip("scikit-learn's search does not split it")
        expected = outputs(make().fit(X, y), X)
        model = make().fit(SEQUENCES[kind](), y)
        assert np.array_equal(outputs(model, SEQUENCES[kind]()), expected)
        assert model.n_features_in_ == 4

    def test_slices_as_logistic_regression_takes_them(self):
        rows, labels = SliceDataset(Pairs()), SliceDataset(Pairs(), idx=1)
        ours = SoftmaxRegression().fit(rows, labels)
        theirs = LogisticRegression(tol=1e-8).fit(rows, labels)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-4)

    @every_classifier
    @pytest.mark.parametrize(
        "labels",
        [
            SliceDataset(Pairs(), idx=1),
            collections.deque(y.tolist()),
            list(torch.tensor(y)),
            pa.array(y),
            pa.chunked_array([y[:9], y[9:]]),
            pl.Series(y),
        ],
        ids=["SliceDataset", "deque", "tensors", "arrow", "chunks", "polars"],
    )
    def test_labels(self, make, labels):
        model = make().fit(X, labels)
        assert model.classes_.dtype == np.int64
        expected = make().fit(X, y).predict_proba(X)
        assert np.array_equal(model.predict_proba(X), expected)
        assert model.score(X, labels) == model.score(X, y)

    def test_table_of_text_has_categories(self):
        frame = FRAME.assign(kind=np.where(y, "a", "b"))
        table = pa.table(frame)
        model = MLP(max_epochs=20).fit(table, y)
        assert model.categories_[4].tolist() == ["a", "b"]
        assert model.feature_names_in_.tolist() == [*"abcd", "kind"]
        assert np.array_equal(model.predict_proba(table), model.predict_proba(frame))
        rows = frame.to_numpy().tolist()
        model = MLP(max_epochs=20, categorical_features=[4]).fit(rows, y)
        of_array = clone(model).fit(frame.to_numpy(), y)
        assert np.array_equal(model.predict_proba(rows), of_array.predict_proba(rows))


def sparse_of(values, layout):
    kinds = {
        "coo": values.to_sparse,
        "csr": values.to_sparse_csr,
        "csc": values.to_sparse_csc,
        "bsr": partial(values.to_sparse_bsr, (2, 2)),
        "hybrid": partial(values.to_sparse, 1),
    }
    return kinds[layout]()


# Tensors beside the tensor that they are computed with.
DTYPES = {
    "bfloat16": (TENSOR.bfloat16(), TENSOR.float()),
    "float16": (TENSOR.half(), TENSOR.float()),
    "float8": (TENSOR.to(torch.float8_e4m3fn), TENSOR.float()),
    "float32": (TENSOR.float(), X.astype(np.float32)),
    "bool": (TENSOR > 0, X > 0),
    "uint16": ((8 * TENSOR + 16).to(torch.uint16), 8 * X + 16),
    "uint8": ((8 * TENSOR + 16).to(torch.uint8), (8 * X + 16).astype(np.uint8)),
    "gradient": (TENSOR.clone().requires_grad_(), X),
    "parameter": (nn.Parameter(TENSOR), X),
    "transposed": (TENSOR.T.contiguous().T, X),
    "negated view": (torch.complex(TENSOR, -TENSOR).conj().imag, X),
    "read-only": (torch.broadcast_to(TENSOR[:, :1], (N_ROWS, 3)), X[:, [0, 0, 0]]),
}


class TestTensors:
    @every_alone
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_dtypes(self, make, dtype):
        tensor, same = DTYPES[dtype]
        model, plain = make().fit(tensor, y), make().fit(same, y)
        found, expected = outputs(model, tensor), outputs(plain, same)
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)

    @every_alone
    @pytest.mark.parametrize("layout", ["coo", "csr", "csc", "bsr", "hybrid"])
    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
    def test_sparse(self, make, layout, dtype, request):
        name = request.node.callspec.id.split("-")[-1]
        tensor = sparse_of((TENSOR * (TENSOR > 0)).to(dtype), layout)
        if layout != "hybrid" and name not in TAKE_SPARSE:
            with pytest.raises(TypeError, match=r"Sparse data .*Pass X.to_dense\(\)"):
                make().fit(tensor, y)
            return
        rows = X * (X > 0)
        matrix = sparse.csr_array(rows if dtype == torch.float64 else rows.astype("f4"))
        same = matrix.toarray() if layout == "hybrid" else matrix
        model, plain = make().fit(tensor, y), make().fit(same, y)
        assert np.array_equal(outputs(model, tensor), outputs(plain, same))

    def test_sparse_in_a_search(self):
        rows = X * (X > 0)
        search = EVERY["search"]
        expected = search().fit(sparse.csr_array(rows), y).predict_proba(rows)
        model = search().fit(torch.tensor(rows).to_sparse_csr(), y)
        assert np.array_equal(model.predict_proba(rows), expected)

    @pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
    def test_nested(self):
        nested = torch.nested.nested_tensor(list(TENSOR))
        with pytest.raises(TypeError, match="to_padded_tensor"):
            SoftmaxRegression().fit(nested, y)
        padded = torch.nested.to_padded_tensor(nested, 0.0)
        SoftmaxRegression().fit(padded, y)

    def test_sparse_in_predict_of_a_dense_fit(self):
        model = SoftmaxRegression().fit(X, y)
        expected = model.predict_proba(X)
        np.testing.assert_allclose(
            model.predict_proba(TENSOR.to_sparse()), expected, atol=1e-6
        )

    @classifiers_alone
    @pytest.mark.parametrize(
        "labels",
        [
            torch.tensor(y).bfloat16(),
            torch.tensor(y).half(),
            torch.tensor(y) > 0,
            torch.tensor(y).to(torch.uint16),
            torch.tensor(y).to_sparse(),
        ],
        ids=["bfloat16", "float16", "bool", "uint16", "sparse"],
    )
    def test_labels_and_weights(self, make, labels):
        weight = (1 + torch.arange(N_ROWS) % 3).bfloat16()
        model = make().fit(TENSOR, labels, sample_weight=weight)
        expected = make().fit(X, y, sample_weight=1 + np.arange(N_ROWS) % 3)
        assert (model.classes_ == [0, 1]).all()
        assert np.array_equal(model.predict_proba(X), expected.predict_proba(X))
        assert model.score(TENSOR, labels) == expected.score(X, y)


HOLES = X > 1.5
FILLED = np.where(HOLES, np.nan, X)
MISSING = {
    "masked": np.ma.MaskedArray(X, HOLES),
    "masked integers": np.ma.MaskedArray(X.astype(int), HOLES),
    "masked objects": np.ma.MaskedArray(X.astype(object), HOLES),
    "masked rows": list(np.ma.MaskedArray(X, HOLES)),
    "Float64": FRAME.astype("Float64").mask(HOLES),
    "Int64": FRAME.round().astype("Int64").mask(HOLES),
    "pyarrow": FRAME.astype("double[pyarrow]").mask(HOLES),
    "objects: None": np.where(HOLES, None, X),
    "objects: NA": np.where(HOLES, pd.NA, X.astype(object)),
    "frame of objects: NA": FRAME.astype(object).mask(HOLES, pd.NA),
    "list: None": np.where(HOLES, None, X).tolist(),
    "list: NA": np.where(HOLES, pd.NA, X.astype(object)).tolist(),
    "polars": pl.DataFrame(FRAME.astype(object).mask(HOLES, None).to_dict("list")),
    "arrow table": pa.table(FRAME.astype("Float64").mask(HOLES)),
}


class TestMissingValues:
    @pytest.mark.parametrize("kind", MISSING)
    def test_are_nan(self, kind):
        table = MISSING[kind]
        integers = np.trunc(FILLED) if "integers" in kind else np.round(FILLED)
        filled = integers if "integers" in kind or kind == "Int64" else FILLED
        model = MLP().fit(table, y)
        assert model.is_categorical_ is None
        expected = MLP().fit(filled, y).predict_proba(filled)
        assert np.array_equal(model.predict_proba(table), expected)

    @every_alone
    @pytest.mark.parametrize("kind", MISSING)
    def test_are_refused_where_they_are_not_taken(self, make, kind):
        if make is EVERY["mlp"]:
            return
        with pytest.raises(ValueError, match="X contains NaN"):
            make().fit(MISSING[kind], y)
        model = make().fit(X, y)
        # Names of columns give a warning of their own.
        if isinstance(MISSING[kind], np.ndarray):
            with pytest.raises(ValueError, match="X contains NaN"):
                outputs(model, MISSING[kind])

    @every_alone
    def test_mask_of_nothing(self, make):
        expected = outputs(make().fit(X, y), X)
        table, labels = np.ma.MaskedArray(X), np.ma.MaskedArray(y)
        assert np.array_equal(outputs(make().fit(table, labels), table), expected)

    @every_alone
    @pytest.mark.parametrize(
        "labels",
        [
            np.ma.MaskedArray(y, y == 1),
            np.ma.MaskedArray(np.where(y, "a", "b"), np.arange(N_ROWS) == 3),
            pd.Series([pd.NA, *y[1:]], dtype=object),
            pd.Series([None, *y[1:]], dtype="Int64"),
            [None, *y[1:].tolist()],
        ],
        ids=["masked", "masked text", "objects", "Int64", "list"],
    )
    def test_of_labels(self, make, labels):
        with pytest.raises(ValueError, match=r"Input y contains NaN: .* missing"):
            make().fit(X, labels)

    @classifiers_alone
    @pytest.mark.parametrize(
        "weight",
        [
            np.ma.MaskedArray(np.ones(N_ROWS), y == 1),
            pd.Series([None, *y[1:]], dtype="Int64"),
            [None, *y[1:].tolist()],
        ],
        ids=["masked", "Int64", "list"],
    )
    def test_of_weights(self, make, weight):
        with pytest.raises(ValueError, match="sample_weight contains NaN"):
            make().fit(X, y, sample_weight=weight)
        with pytest.raises(TypeError, match="sample_weight of dtype datetime64"):
            make().fit(X, y, sample_weight=DATES)

    def test_the_callers_array_is_left_as_it_was(self):
        masked = np.ma.MaskedArray(X.copy(), HOLES)
        objects = MISSING["objects: NA"].copy()
        frame = MISSING["frame of objects: NA"].copy()
        for table in (masked, objects, frame):
            MLP().fit(table, y)
        assert np.array_equal(masked.data, X)
        assert np.array_equal(masked.mask, HOLES)
        assert all(value is pd.NA for value in objects[HOLES])
        pd.testing.assert_frame_equal(frame, MISSING["frame of objects: NA"])


ROWS = X * (X > 0)
SPARSE_FRAMES = {
    "zeros": pd.DataFrame.sparse.from_spmatrix(
        sparse.csr_array(ROWS), columns=list("abcd")
    ),
    "nan": pd.DataFrame(ROWS, columns=list("abcd")).astype("Sparse[float]"),
}


class TestSparseColumns:
    @every
    @pytest.mark.parametrize("fill_value", SPARSE_FRAMES)
    def test_are_taken_or_refused_with_the_right_advice(
        self, make, fill_value, request
    ):
        frame = SPARSE_FRAMES[fill_value]
        if request.node.callspec.id.split("-")[-1] not in TAKE_SPARSE:
            with pytest.raises(TypeError, match=r"Pass X.sparse.to_dense\(\)"):
                make().fit(frame, y)
            frame = frame.sparse.to_dense()
        dense = pd.DataFrame(ROWS, columns=list("abcd"))
        model, plain = make().fit(frame, y), make().fit(dense, y)
        np.testing.assert_allclose(
            outputs(model, frame), outputs(plain, dense), atol=2e-5
        )

    def test_in_partial_fit(self):
        with pytest.raises(ValueError, match=r"X.sparse.to_dense\(\) of a DataFrame"):
            SoftmaxRegression().partial_fit(SPARSE_FRAMES["zeros"], y, classes=[0, 1])


LABELS = {
    "int": (y.astype(object), np.int64),
    "list of NumPy's": (np.array([np.int8(i) for i in y], dtype=object), np.int64),
    "bool": ((y > 0).astype(object), np.bool_),
    "float": (y.astype(float).astype(object), np.float64),
    "Decimal": (np.array([decimal.Decimal(int(i)) for i in y]), np.float64),
    "Int64": (pd.Series(y, dtype="Int64"), np.int64),
    "boolean": (pd.Series(y > 0, dtype="boolean"), np.bool_),
    "int64[pyarrow]": (pd.Series(y, dtype="int64[pyarrow]"), np.int64),
    "column of objects": (FRAME.assign(y=y).astype(object)["y"], np.int64),
}


class TestLabels:
    @every
    @pytest.mark.parametrize("kind", LABELS)
    def test_numbers_and_booleans_among_objects(self, make, kind):
        labels, dtype = LABELS[kind]
        model = make().fit(X, labels)
        assert model.classes_.dtype == dtype
        assert model.classes_.tolist() == [0, 1]
        expected = outputs(make().fit(X, y), X)
        # A search has folds of its own for labels that it does not know.
        if make is not EVERY["search"]:
            assert np.array_equal(outputs(model, X), expected)
        if hasattr(model, "predict"):
            assert (model.predict(X) == np.asarray(labels, dtype=dtype)).mean() > 0.4

    @pytest.mark.parametrize("name", ["regression", "minibatch", "mlp", "cnn", "net"])
    def test_in_every_place(self, name):
        make, labels = CLASSIFIERS[name], y.astype(object)
        model = make().fit(X, labels)
        assert model.score(X, labels) == model.score(X, y)
        parts = make().partial_fit(X, labels, classes=np.array([0, 1], dtype=object))
        assert parts.partial_fit(X, y).classes_.dtype == np.int64
        if name != "regression":
            make().fit(X, labels, X_val=X, y_val=labels)
            make(class_weight={0: 1.0, 1: 2.0}).fit(X, labels)

    @every
    @pytest.mark.parametrize(
        "labels",
        [
            pd.Series(DATES.to_period("D")[y]),
            pd.Series(pd.interval_range(0, periods=2)[y]),
            pd.Series(pd.qcut(X[:, 0], 2)),
            pd.Series(DATES.tz_localize("UTC")[y]),
            of_objects(PYTHON_DATES[i].date() for i in y),
            np.array([True, 1, 2] * (N_ROWS // 3), dtype=object),
            np.array([2**70 * int(i) for i in y], dtype=object),
        ],
        ids=["period", "interval", "cut", "time zone", "date", "mixed", "huge"],
    )
    def test_other_objects_are_refused_with_a_remedy(self, make, labels):
        with pytest.raises(ValueError, match=r"Unknown label type: .*y.astype\(str\)"):
            make().fit(X, labels)
        text = np.array([str(label) for label in labels])
        assert len(make().fit(X, text).classes_) >= 2


N_TEXTS = 600
TEXT = pd.DataFrame(
    {
        "number": RANDOM.normal(size=N_TEXTS),
        "text": [f"row {i}" for i in range(N_TEXTS)],
        "date": np.resize(pd.date_range("2020", periods=150).astype(str), N_TEXTS),
        "state": np.resize([f"state {i}" for i in range(50)], N_TEXTS),
    }
)
IS_POSITIVE = (TEXT["number"] > 0).to_numpy()


class TestRareCategories:
    @pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame, pa.table])
    def test_are_told_once_in_fit(self, kind):
        table = kind(TEXT.to_dict("list"))
        with pytest.warns(UserWarning, match="In X, ") as caught:
            model = MLP(max_epochs=20).fit(table, IS_POSITIVE)
        assert len(caught) == 1
        message = str(caught[0].message)
        assert "column 'text' has 600 different values in 600 rows" in message
        assert "column 'date' has 150 different dates as text in 600 rows" in message
        assert "state" not in message
        assert "skrub.StringEncoder" in message
        # No warning: these values are known.
        model.predict(table)

    def test_of_arrays_and_of_partial_fit(self):
        array = TEXT.to_numpy()
        model = MLP(categorical_features=[1, 2, 3])
        with pytest.warns(UserWarning, match="column 1 has 600 different values"):
            model.fit(array[:, [0, 1, 3, 3]], IS_POSITIVE)
        with pytest.warns(UserWarning, match="column 'text' has 200 different"):
            MLP().partial_fit(TEXT[:200], IS_POSITIVE[:200], classes=[False, True])

    @pytest.mark.parametrize(
        "table",
        [
            # Too few rows to tell, or too few categories.
            TEXT[:29],
            TEXT.assign(text="a", date=np.resize(TEXT["date"][:16], N_TEXTS)),
            # As many rows as a column of 50 states is sure to repeat in.
            TEXT[["number", "state"]][:100],
            # Of 600 rows, most lack the text.
            TEXT.assign(text=TEXT["text"].where(TEXT.index < 20), date="2020-01-01"),
        ],
        ids=["few rows", "few categories", "states", "missing"],
    )
    def test_no_false_alarm(self, table):
        MLP().fit(table, IS_POSITIVE[: len(table)])

    def test_declared_categories_may_come_later(self):
        states = pd.CategoricalDtype([f"state {i}" for i in range(50)])
        frame = TEXT[["number", "state"]].astype({"state": states})[:40]
        MLP().partial_fit(frame, IS_POSITIVE[:40], classes=[False, True])

    def test_encoded_text_gives_no_warning(self):
        skrub = pytest.importorskip("skrub")
        frame = pd.DataFrame({"when": TEXT["date"], "number": TEXT["number"]})
        dates = skrub.ToDatetime().fit_transform(frame["when"])
        encoded = skrub.DatetimeEncoder().fit_transform(dates)
        MLP().fit(pd.concat([encoded, frame[["number"]]], axis=1), IS_POSITIVE)


INTEGERS = pd.DataFrame({"kind": np.arange(N_TEXTS) % 5, "number": TEXT["number"]})
IS_EVEN = INTEGERS["kind"] % 2 == 0
AS_TEXT = INTEGERS.astype({"kind": str})
MESSAGE = r"none of the 600 values of column 'kind', '0' .* 5 categories, 0 for"


@pytest.fixture(scope="module")
def of_integers():
    model = MLP(max_epochs=40, learning_rate=0.05, categorical_features=["kind"])
    model.fit(INTEGERS, IS_EVEN)
    assert model.score(INTEGERS, IS_EVEN) == 1
    return model


class TestUnknownValues:
    def test_whole_column_is_told(self, of_integers):
        with pytest.warns(UserWarning, match=MESSAGE) as caught:
            of_integers.predict(AS_TEXT)
        assert len(caught) == 1

    def test_integers_for_text(self):
        model = MLP().fit(AS_TEXT, IS_EVEN)
        with pytest.warns(UserWarning, match="'kind', 0 for .* categories, '0' for"):
            model.predict_proba(INTEGERS)

    def test_in_validation_rows_and_warm_starts(self):
        model = MLP(categorical_features=["kind"], warm_start=True)
        with pytest.warns(UserWarning, match=MESSAGE):
            model.fit(INTEGERS, IS_EVEN, X_val=AS_TEXT, y_val=IS_EVEN)
        with pytest.warns(UserWarning, match=MESSAGE):
            model.fit(AS_TEXT, IS_EVEN)

    @pytest.mark.parametrize(
        "rows",
        [
            AS_TEXT[:9],
            INTEGERS.assign(kind=np.where(INTEGERS.index, 77, 1)),
            INTEGERS.assign(kind=np.nan),
        ],
        ids=["few rows", "one value known", "missing"],
    )
    def test_no_false_alarm(self, of_integers, rows):
        of_integers.predict(rows)
        of_integers.predict(rows[:1])


class TestSpeed:
    def test_an_array_is_not_copied(self, monkeypatch):
        from sksoftmax._data.containers import as_column, as_table

        assert as_table(X) is X
        assert as_table(FRAME) is FRAME
        assert as_column(y, "y") is y
        assert np.shares_memory(as_table(TENSOR), X) is False
        assert np.shares_memory(as_table(TENSOR), TENSOR.numpy())
