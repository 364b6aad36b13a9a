r"""clone, pickle, joblib and deepcopy: copies predict and train with the same bits."""

import copy
import io
import pickle

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits

from ..factories import Regression, for_each_class, same_bits


def through_pickle(model):
    return pickle.loads(pickle.dumps(model))


def through_joblib(model):
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


COPIES = [
    pytest.param(through_pickle, id="pickle"),
    pytest.param(through_joblib, id="joblib"),
    pytest.param(copy.deepcopy, id="deepcopy"),
]


@for_each_class
def test_clone_is_unfitted_and_fits_the_same(make, named_iris):
    X, y = named_iris
    model = make().fit(X, y)
    copied = clone(model)
    assert not hasattr(copied, "classes_")
    assert not hasattr(copied, "module_")
    assert copied.get_params() == model.get_params()
    assert same_bits(copied.fit(X, y).predict_proba(X), model.predict_proba(X))


@for_each_class
@pytest.mark.parametrize("copied", COPIES)
def test_copy_predicts_the_same_bits(make, copied, named_iris):
    X, y = named_iris
    model = make().fit(X, y)
    twin = copied(model)
    assert same_bits(twin.predict(X), model.predict(X))
    assert same_bits(twin.predict_proba(X), model.predict_proba(X))
    assert twin.loss_curve_ == model.loss_curve_
    assert twin.get_params() == model.get_params()


@for_each_class
@pytest.mark.parametrize("copied", COPIES)
def test_net_of_the_copy_trains_the_module_that_predicts(make, copied, named_iris):
    twin = copied(make().fit(*named_iris))
    assert twin.net_.module_ is twin.module_


@for_each_class
@pytest.mark.parametrize("copied", COPIES)
def test_partial_fit_of_the_copy_continues_with_the_same_bits(make, copied, named_iris):
    X, y = named_iris
    model = make().partial_fit(X, y, classes=np.unique(y))
    twin = copied(model)
    before = twin.predict_proba(X)
    for _ in range(2):
        model.partial_fit(X, y)
        twin.partial_fit(X, y)
    assert np.abs(twin.predict_proba(X) - before).max() > 1e-4
    assert same_bits(twin.predict_proba(X), model.predict_proba(X))
    assert twin.loss_curve_ == model.loss_curve_


@for_each_class
@pytest.mark.parametrize("copied", COPIES)
def test_training_a_copy_does_not_change_the_original(make, copied, named_iris):
    X, y = named_iris
    model = make().partial_fit(X, y, classes=np.unique(y))
    before = model.predict_proba(X)
    copied(model).partial_fit(X, y)
    assert same_bits(model.predict_proba(X), before)


@for_each_class
def test_pickle_holds_no_training_rows(make):
    X, y = load_digits(return_X_y=True)
    X = np.tile(X / 16, (4, 1))
    params = {} if make is Regression else {"max_epochs": 1}
    model = make(**params).fit(X, np.tile(y, 4))
    assert len(pickle.dumps(model)) < X.nbytes / 10
