r"""A part of the fuzzing, with the same cases in each run, and failures it has found.

``python -m tests.fuzzing`` has more of it.
"""

import io
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sksoftmax import (
    SoftmaxMLPClassifier,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)
from sksoftmax.datasets import load_otto

from .__main__ import checks, run
from .optimum import check_optimum

CHECKS = {name: (strategy, check) for name, strategy, check, _ in checks()}
X = np.random.default_rng(0).normal(size=(40, 3))
Y = np.arange(40) % 2


@pytest.mark.parametrize(
    ("name", "n_cases"),
    [
        ("fit", 400),
        ("load", 200),
        ("sequence", 100),
        ("quality", 20),
        ("optimum", 100),
    ],
)
def test_imperfect_data_gives_a_good_fit_or_a_documented_error(name, n_cases):
    run(*CHECKS[name], n_cases)


def test_hardly_any_small_table_is_too_hard_for_the_optimum():
    assert sum(check_optimum(seed, 100, 30, 6) for seed in range(200)) <= 2


def test_odd_tables_of_otto_are_read_or_refused():
    run(*CHECKS["load_otto"], 200)


@pytest.mark.parametrize("dtype", [">i8", ">f4", ">U4"])
def test_labels_in_the_byte_order_of_another_machine(dtype):
    classifier = SoftmaxRegression().fit(X, Y.astype(dtype))
    assert classifier.classes_.dtype.isnative
    expected = SoftmaxRegression().fit(X, Y)
    assert_array_equal(classifier.predict_proba(X), expected.predict_proba(X))


def test_text_among_other_labels_is_refused():
    y = np.array(["a" if label else 1 for label in Y], dtype=object)
    with pytest.raises(ValueError, match="20 of 40 are text, 'a' for example"):
        SoftmaxRegression().fit(X, y)


def test_one_number_as_the_weight_of_all_rows_in_cross_validation():
    one = SoftmaxRegressionCV(Cs=3).fit(X, Y, sample_weight=2.0)
    each = SoftmaxRegressionCV(Cs=3).fit(X, Y, sample_weight=np.full(40, 2.0))
    assert_array_equal(one.scores_, each.scores_)
    assert_array_equal(one.coef_, each.coef_)


@pytest.mark.parametrize("values", [["a"], [1.0, "a"], [[1.0]], [1j], [np.nan]])
def test_what_is_no_strength_is_refused(values):
    with pytest.raises(ValueError, match="expected a sequence of numbers above 0"):
        SoftmaxRegressionCV(Cs=values).fit(X, Y)


def test_a_fold_that_trains_without_weight_is_refused():
    weight = np.zeros(40)
    weight[20:] = 1.0
    folds = [
        (np.arange(20), np.arange(20, 40)),
        (np.arange(30, 40), np.arange(20, 30)),
    ]
    with pytest.raises(ValueError, match="Fold 1 of 2 trains on rows whose weights"):
        SoftmaxRegressionCV(Cs=2, cv=folds).fit(X, Y, sample_weight=weight)


def test_extreme_penalties_leave_no_weights_or_no_penalty():
    none = SoftmaxRegression(C=1e-300).fit(X, Y, sample_weight=np.full(40, 1e-300))
    assert_allclose(none.coef_, 0.0, atol=1e-12)
    all_ = SoftmaxRegression(C=1e300).fit(X, Y, sample_weight=np.full(40, 1e30))
    assert_allclose(all_.coef_, SoftmaxRegression(C=np.inf).fit(X, Y).coef_, rtol=1e-4)


def test_weights_without_a_finite_sum_are_refused():
    with pytest.raises(ValueError, match=r"largest is 1e\+307.*divide them all"):
        SoftmaxRegression().fit(X, Y, sample_weight=np.full(40, 1e307))


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_what_is_known_of_extreme_weights_is_a_number(size):
    classifier = SoftmaxMLPClassifier((4,), n_estimators=1, max_epochs=1)
    classifier.fit(X, Y, sample_weight=np.full(40, size))
    seen = classifier.module_.input_scaling.scaling.weight_seen
    assert seen.isfinite().all()
    assert (seen > 0).all()


@pytest.mark.parametrize("dtype", ["f2", "g", ">f4", ">f8", ">i8"])
@pytest.mark.parametrize("make", [np.asarray, pd.DataFrame])
def test_numbers_that_pandas_does_not_look_up_may_be_categories(dtype, make):
    whole = X.round()
    classifier = SoftmaxMLPClassifier(
        (4,), n_estimators=1, max_epochs=1, categorical_features=[0], random_state=0
    )
    table = make(whole.astype(dtype))
    proba = classifier.fit(table, Y).predict_proba(table)
    expected = classifier.fit(whole, Y).predict_proba(whole)
    assert_allclose(proba, expected, atol=1e-6)


def test_objects_that_pandas_does_not_look_up_are_refused():
    classifier = SoftmaxMLPClassifier(categorical_features=[0])
    table = np.array([[np.longdouble(1)], [np.longdouble(2)]], dtype=object)
    with pytest.raises(ValueError, match="Column 0 of X is categorical but holds"):
        classifier.fit(table, [0, 1])


def packed(content, damage):
    buffer = io.BytesIO()
    with ZipFile(buffer, "w") as archive:
        archive.writestr("train.csv", content)
    return damage(buffer.getvalue())


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[1:], id="first byte lost"),
        pytest.param(lambda content: content[:-30], id="end lost"),
        pytest.param(
            lambda content: content.replace(b"PK\x01\x02\x14\x03\x14\x00\x00",
                                            b"PK\x01\x02\x14\x03\x14\x00\x01"),
            id="said to be encrypted",
        ),
    ],
)  # fmt: skip
def test_a_damaged_archive_is_refused(damage, tmp_path):
    (tmp_path / "train.csv.zip").write_bytes(packed("id,target\n", damage))
    with pytest.raises(ValueError, match=r"train\.csv\.zip, which cannot be read"):
        load_otto(data_home=tmp_path)


def test_a_table_without_rows_is_refused(tmp_path):
    names = ["id", *(f"feat_{number}" for number in range(1, 94)), "target"]
    (tmp_path / "train.csv").write_text(",".join(names) + "\n")
    with pytest.raises(ValueError, match="without rows"):
        load_otto(data_home=tmp_path)
