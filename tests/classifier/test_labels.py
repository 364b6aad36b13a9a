r"""Labels of every dtype and container, in classes_ and in predictions."""

from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.metrics import accuracy_score

from ..factories import MLP, SPECIES, for_each_class, same_bits


@pytest.mark.parametrize(
    ("names", "dtype"),
    [
        (np.array([0, 1, 2]), None),
        (np.array([-5, 7, 1000]), None),
        (np.array([-5, 7, 100], dtype=np.int8), None),
        (np.array([2, 3, 250], dtype=np.uint8), None),
        (np.array([1.0, 2.0, 5.0]), None),
        (np.array(SPECIES), None),
        (np.array(SPECIES, dtype="<U30"), None),
        (np.array(SPECIES, dtype=object), None),
        (np.array(["Zoë", "ábel", "中"], dtype=object), None),
    ],
    ids=str,
)
@for_each_class
def test_arrays_of_labels_keep_their_dtype(make, names, dtype, iris):
    X, y = iris
    model = make().fit(X, names[y])
    predicted = model.predict(X)
    assert predicted.dtype == names.dtype
    assert model.classes_.dtype == names.dtype
    assert model.classes_.tolist() == sorted(names.tolist())
    assert (predicted == names[y]).mean() > 0.85
    assert type(predicted.tolist()[0]) is type(names.tolist()[0])


@for_each_class
def test_boolean_labels(make, iris):
    X, y = iris
    model = make().fit(X, y == 0)
    predicted = model.predict(X)
    assert predicted.dtype == bool
    assert (predicted == (y == 0)).all()
    assert model.classes_.tolist() == [False, True]


@pytest.mark.parametrize(
    "container",
    [
        pytest.param(list, id="list"),
        pytest.param(pd.Categorical, id="categorical"),
        pytest.param(partial(pd.Series, index=range(900, 750, -1)), id="series"),
        pytest.param(partial(pd.Series, dtype="category"), id="category"),
        pytest.param(partial(pd.Series, dtype="string"), id="string"),
        pytest.param(partial(pd.Series, dtype="str"), id="str"),
        pytest.param(partial(pd.Series, dtype=object), id="object"),
        pytest.param(lambda y: pl.Series(y), id="polars"),
        pytest.param(lambda y: pl.Series(y, dtype=pl.Enum(SPECIES)), id="polars-enum"),
        pytest.param(
            lambda y: pl.Series(y, dtype=pl.Categorical), id="polars-categorical"
        ),
    ],
)
def test_text_labels_in_any_container(container, fitted, iris):
    X, y = iris
    names = np.array(SPECIES)[y].tolist()
    model = MLP().fit(X, container(names))
    assert model.classes_.tolist() == SPECIES
    # The same bits as for an array: each label was matched with its row.
    expected = fitted(MLP)
    assert same_bits(model.predict_proba(X), expected.predict_proba(X))
    predicted = model.predict(X).tolist()
    assert predicted == [SPECIES[i] for i in expected.predict(X)]
    assert all(type(label) is str for label in predicted)


@pytest.mark.parametrize(
    "container",
    [
        pytest.param(list, id="list"),
        pytest.param(partial(pd.Series, dtype="Int64"), id="nullable"),
        pytest.param(partial(pd.Series, dtype="category"), id="category"),
        pytest.param(pl.Series, id="polars"),
    ],
)
def test_integer_labels_in_any_container(container, iris):
    X, y = iris
    names = np.array([-5, 7, 1000])
    model = MLP().fit(X, container(names[y].tolist()))
    predicted = model.predict(X)
    assert predicted.dtype.kind == "i"
    assert predicted.tolist() == names[MLP().fit(X, y).predict(X)].tolist()


def test_categories_without_rows_are_no_classes(iris):
    X, y = iris
    names = pd.Categorical(np.array(SPECIES)[y], [*reversed(SPECIES), "rose"])
    assert MLP().fit(X, names).classes_.tolist() == SPECIES


@for_each_class
def test_score_is_accuracy(make, iris):
    X, y = iris
    names = np.array(SPECIES)[y]
    model = make().fit(X, names)
    assert model.score(X, names) == accuracy_score(names, model.predict(X))
    assert model.score(X, names[::-1]) < 0.6
