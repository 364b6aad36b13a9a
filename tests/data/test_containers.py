r"""Containers of rows, labels and weights: arrays, tensors, sequences, data sets."""

import collections
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
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from sksoftmax import (
    SoftmaxRegression,
)

from .tables import (
    CLASSIFIERS,
    EVERY,
    FRAME,
    MLP,
    N_ROWS,
    POLARS,
    SEQUENCES,
    TENSOR,
    Pairs,
    X,
    classifiers_alone,
    every,
    every_alone,
    outputs,
    y,
)

TAKE_SPARSE = {"regression", "cv", "search", "mlp", "neighbors"}

every_classifier = pytest.mark.parametrize(
    "make", CLASSIFIERS.values(), ids=CLASSIFIERS
)


class Stream(IterableDataset):
    def __iter__(self):
        return zip(TENSOR, y, strict=True)


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
    "image": (lambda: images()[0], r"ImageReader.*Pass a list of images, \[X\]"),
    "images": (images, r"make_pipeline\(ImageReader\(\), classifier\)"),
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
            (lambda: TensorDataset(torch.tensor(y)), r"dataset\.tensors"),
        ],
        ids=["dict", "values", "generator", "set", "TensorDataset"],
    )
    def test_labels_and_weights(self, make, labels, remedy):
        with pytest.raises(TypeError, match=f"Got .* for y, .*{remedy}"):
            make().fit(X, labels())
        if make is not EVERY["neighbors"]:
            with pytest.raises(TypeError, match=r"Got .* for sample_weight"):
                make().fit(X, y, sample_weight=labels())


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
            pl.LazyFrame({"y": y}),
        ],
        ids=["SliceDataset", "deque", "tensors", "arrow", "chunks", "polars", "lazy"],
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


class TestSpeed:
    def test_an_array_is_not_copied(self, monkeypatch):
        from sksoftmax._data.containers import as_column, as_table

        assert as_table(X) is X
        assert as_table(FRAME) is FRAME
        assert as_column(y, "y") is y
        assert np.shares_memory(as_table(TENSOR), X) is False
        assert np.shares_memory(as_table(TENSOR), TENSOR.numpy())
