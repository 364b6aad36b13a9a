r"""What cannot be learned from is refused, in words, and what was fitted survives."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import InvalidParameterError
from skorch.callbacks import LRScheduler
from torch import nn

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
)


def make_module(n_features, n_classes, width=8):
    return nn.Sequential(
        nn.Linear(n_features, width), nn.Tanh(), nn.Linear(width, n_classes)
    )


# Called like the classes, but small and reproducible.
Regression = partial(SoftmaxRegression, random_state=0)
MinibatchRegression = partial(
    SoftmaxRegression, solver="sgd", max_iter=3, random_state=0
)
MLP = partial(
    SoftmaxMLPClassifier,
    hidden_layer_sizes=(8,),
    n_estimators=1,
    max_epochs=3,
    random_state=0,
)
CNN = partial(
    SoftmaxCNNClassifier, channels=(4, 4), kernel_size=3, max_epochs=3, random_state=0
)
Net = partial(SoftmaxNetClassifier, module=make_module, max_epochs=3, random_state=0)

EVERY = [Regression, MLP, CNN, Net]
BY_EPOCHS = [MinibatchRegression, MLP, CNN, Net]

# The MLP takes missing values and categories; tests/test_tables.py has what it does.
NUMBERS_ONLY = [Regression, CNN, Net]
NUMBERS_ONLY_BY_EPOCHS = [MinibatchRegression, CNN, Net]

NAMES = {
    Regression: "regression",
    MinibatchRegression: "minibatch",
    MLP: "mlp",
    CNN: "cnn",
    Net: "net",
}

X, y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
SPECIES = np.array(["setosa", "versicolor", "virginica"])[y]
FRAME = pd.DataFrame(X, columns=list("abcd"))
ONES = np.ones(len(y))


def changed(array, value, index=(7, 2), dtype=None):
    r"""Return a copy with another value at one place."""
    array = np.array(array, dtype=dtype)
    array[index[: array.ndim]] = value
    return array


@dataclass
class Row:
    r"""Something bad, and what is to be said about it."""

    what: str
    call: object
    message: str
    error: type[Exception] = ValueError
    makes: list | None = None  # the table's, if None


def table(*rows, makes=EVERY):
    r"""Run a test for each row, with the row's own estimators or the table's."""
    cases = [
        pytest.param(make, row, id=f"{row.what}-{NAMES[make]}")
        for row in rows
        for make in row.makes or makes
    ]
    return pytest.mark.parametrize(("make", "row"), cases)


def fit(X, y, /, **arguments):
    r"""Return the call of ``fit`` with these arguments."""
    return lambda model: model.fit(X, y, **arguments)


def predict(X, /):
    return lambda model: model.predict(X)


def fit_with(**params):
    r"""Return a fit to good data, but with other parameters."""
    return lambda model: model.set_params(**params).fit(X, y)


def partial_fit(*args, **params):
    return lambda model: model.set_params(**params).partial_fit(*args)


def parameters_of(model):
    return {name: p.clone() for name, p in model.module_.state_dict().items()}


def assert_refused_and_nothing_lost(model, row, X=X):
    r"""Assert that a fitted model refuses and still predicts the same bits."""
    before = model.predict_proba(X)
    parameters = parameters_of(model)
    fitted = {name for name in vars(model) if name.endswith("_")}
    with pytest.raises(row.error, match=row.message):
        row.call(model)
    assert model.predict_proba(X).tobytes() == before.tobytes()
    assert fitted == {name for name in vars(model) if name.endswith("_")}
    for name, value in parameters_of(model).items():
        assert torch.equal(value, parameters[name])


@table(
    Row("nan", fit(changed(X, np.nan), y), "X contains NaN", makes=NUMBERS_ONLY),
    Row(
        "nan in float32",
        fit(changed(X, np.nan, dtype="f4"), y),
        "X contains NaN",
        makes=NUMBERS_ONLY,
    ),
    Row("infinity", fit(changed(X, np.inf), y), "X contains infinity"),
    Row(
        "nan in predict",
        predict(changed(X, np.nan)),
        "X contains NaN",
        makes=NUMBERS_ONLY,
    ),
    Row("infinity in predict", predict(changed(X, -np.inf)), "X contains infinity"),
    Row(
        "missing",
        fit(FRAME.astype("Float64").mask(FRAME > 1), y),
        "X contains NaN",
        makes=NUMBERS_ONLY,
    ),
    Row("too large", fit(changed(X, 1e39), y), "1e[+]39, too large for .*float32"),
    Row("too large in predict", predict(changed(X, -1e300)), "1e[+]300, too large"),
    Row("no rows", fit(X[:0], y[:0]), r"0 sample\(s\) \(shape=\(0, 4\)\).*minimum"),
    Row("no rows in predict", predict(X[:0]), r"0 sample\(s\) \(shape=\(0, 4\)\)"),
    Row("no features", fit(X[:, :0], y), r"0 feature\(s\) \(shape=\(150, 0\)\)"),
    Row("1-D", fit(X[:, 0], y), "Expected 2D array, got 1D array"),
    Row("1-D in predict", predict(X[0]), r"Reshape your data.*reshape\(1, -1\)"),
    Row(
        "3-D",
        fit(X.reshape(150, 2, 2), y),
        "dim 3, while dim <= 2 is required",
    ),
    Row(
        "sparse",
        fit(sparse.csr_array(X), y),
        r"[Ss]parse data was passed.*dense.*toarray",
        TypeError,
        BY_EPOCHS,
    ),
    Row(
        "sparse in partial_fit",
        partial_fit(sparse.csr_array(X), y),
        r"does not take sparse X. Pass X.toarray\(\)",
        makes=[Regression],
    ),
    Row("complex", fit(X * 1j, y), "Complex data not supported"),
    Row(
        "text",
        fit(FRAME.assign(colour="red"), y),
        "text in X .*'red'.* expected numbers. Encode .*OneHotEncoder",
        makes=NUMBERS_ONLY,
    ),
    Row(
        "text in an object array",
        fit(changed(X, "red", dtype=object), y),
        "text in X .*'red'.*OneHotEncoder",
        makes=NUMBERS_ONLY,
    ),
    Row(
        "text in polars",
        fit(pl.DataFrame({"a": X[:, 0], "b": SPECIES.tolist()}), y),
        "text in X .*'setosa'.*OneHotEncoder",
        makes=NUMBERS_ONLY,
    ),
    Row(
        "fewer features",
        predict(X[:, :3]),
        "X has 3 features, but Softmax.* is expecting 4 features",
    ),
)
def test_features(make, row):
    assert_refused_and_nothing_lost(make().fit(X, y), row)


@table(
    Row(
        "other names",
        predict(FRAME.rename(columns={"a": "first"})),
        "(?s)feature names should match.*unseen at fit time:.*- first.*missing.*- a",
    ),
    Row("other order", predict(FRAME[list("badc")]), "must be in the same order"),
    Row(
        "other names in polars",
        predict(pl.DataFrame(dict.fromkeys("abxd", X[:, 0]))),
        "(?s)feature names should match.*- x.*- c",
    ),
    Row(
        "other names in X_val",
        fit(FRAME, y, X_val=FRAME.rename(columns={"a": "first"}), y_val=y),
        "(?s)X_val.*feature names should match.*- first",
        makes=BY_EPOCHS,
    ),
)
def test_feature_names(make, row):
    assert_refused_and_nothing_lost(make().fit(FRAME, y), row, FRAME)


@table(
    Row(
        "one class",
        fit(X, np.full(150, "setosa")),
        "at least 2 classes .* one class: 'setosa'. Check y",
    ),
    Row("continuous", fit(X, y + 0.5), "Unknown label type: continuous"),
    Row("none", fit(X, None), "requires y to be passed, but the target y is None"),
    Row("nan", fit(X, changed(y, np.nan, dtype=float)), "y contains NaN"),
    Row("nan in text", fit(X, changed(SPECIES, np.nan, dtype=object)), "y contains"),
    Row("None in text", fit(X, changed(SPECIES, None, dtype=object)), "y contains"),
    Row(
        "None first in text",
        fit(X, changed(SPECIES, None, (0,), dtype=object)),
        "y contains",
    ),
    Row("NA", fit(X, pd.Series(SPECIES).mask(y == 1)), "y contains"),
    Row("null in polars", fit(X, pl.Series([None, *SPECIES[1:]])), "y contains"),
    Row("two columns", fit(X, np.column_stack([y, y])), r"should be a 1d array.*\(150"),
    Row("shorter y", fit(X, y[:-1]), "X has 150 rows, y has 149 labels"),
    Row("scalar", fit(X, "setosa"), r"should be a 1d array|a scalar"),
)
def test_target(make, row):
    assert_refused_and_nothing_lost(make().fit(X, y), row)


@table(
    Row(
        "negative",
        fit(X, y, sample_weight=changed(ONES, -0.5)),
        "Negative values .*`sample_weight`: the smallest is -0.5. Expected .* least 0",
    ),
    Row(
        "zeros",
        fit(X, y, sample_weight=0 * ONES),
        "ample weights must contain at least one non-zero",
    ),
    Row("nan", fit(X, y, sample_weight=changed(ONES, np.nan)), "sample_weight .* NaN"),
    Row("infinity", fit(X, y, sample_weight=changed(ONES, np.inf)), "infinity"),
    Row(
        "shorter",
        fit(X, y, sample_weight=ONES[:-1]),
        r"sample_weight.*\(149,\), expected \(150,\)",
    ),
    Row("two columns", fit(X, y, sample_weight=X), "[Ss]ample.?weight.* 1D array"),
    Row(
        "class unknown",
        fit_with(class_weight={3: 1.0, 7: 2.0}),
        r"class_weight names the classes \[3, 7\], but .* \[0, 1, 2\]",
    ),
    Row(
        "class negative",
        fit_with(class_weight={1: -2.0}),
        "class_weight gives class 1 the weight -2.0. Expected .* at least 0",
    ),
    Row("class nan", fit_with(class_weight={1: np.nan}), "class 1 the weight nan"),
    Row("class as text", fit_with(class_weight={1: "high"}), "the weight 'high'"),
    Row(
        "class zero but one",
        fit_with(class_weight={0: 0, 2: 0}),
        "at least 2 classes .* positive weight: .*1",
    ),
    Row(
        "class all zero",
        fit_with(class_weight={0: 0, 1: 0, 2: 0}),
        "class_weight|weight",
    ),
    Row(
        "class words",
        fit_with(class_weight="equal"),
        "'class_weight' parameter .*{'balanced'}.*Got 'equal'",
        InvalidParameterError,
    ),
)
def test_weights(make, row):
    assert_refused_and_nothing_lost(make().fit(X, y), row)


@table(
    Row("X_val alone", fit(X, y, X_val=X), "X_val=rows and y_val=None. Expected both"),
    Row("y_val alone", fit(X, y, y_val=y), "X_val=None and y_val=labels. Expected"),
    Row("weights alone", fit(X, y, sample_weight_val=ONES), "Expected both"),
    Row(
        "unknown label",
        fit(X, y, X_val=X[:2], y_val=[0, 5]),
        r"y_val contains the labels \[5\], but the classes are \[0, 1, 2\]",
    ),
    Row(
        "text for integers",
        fit(X, y, X_val=X, y_val=SPECIES),
        "y_val contains the labels .*'setosa'",
    ),
    Row(
        "numbers for text",
        fit(X, SPECIES.astype(object), X_val=X, y_val=y),
        r"y_val contains the labels \[0, 1, 2\]",
    ),
    Row(
        "shorter y_val", fit(X, y, X_val=X, y_val=y[:9]), "X_val has 150 .*y_val has 9"
    ),
    Row(
        "nan",
        fit(X, y, X_val=changed(X, np.nan), y_val=y),
        "X_val contains NaN",
        makes=NUMBERS_ONLY_BY_EPOCHS,
    ),
    Row("nan y_val", fit(X, y, X_val=X, y_val=y * np.nan), "y_val contains NaN"),
    Row(
        "fewer features",
        fit(X, y, X_val=X[:, :3], y_val=y),
        "X_val has 3 features, but .* 4",
    ),
    Row(
        "shorter weights",
        fit(X, y, X_val=X, y_val=y, sample_weight_val=[1.0]),
        r"sample_weight_val.*\(1,\), expected \(150,\)",
    ),
    Row(
        "negative weights",
        fit(X, y, X_val=X, y_val=y, sample_weight_val=-ONES),
        "Negative values in data passed to `sample_weight_val`",
    ),
    Row(
        "fraction too small",
        fit_with(early_stopping=True, validation_fraction=0.01),
        "leaves 148 rows .* 2 for validation.* each of the 3 classes .* or pass X_val",
    ),
    Row(
        "fraction too large",
        fit_with(early_stopping=True, validation_fraction=0.99),
        "leaves 1 rows for training and 149 for validation.* change validation_fract",
    ),
    Row(
        "class of one row",
        lambda model: model.set_params(early_stopping=True).fit(X[49:], y[49:]),
        "the rarest class has 1 of 101 rows. Expected at least one row of each",
    ),
    makes=BY_EPOCHS,
)
def test_validation_rows(make, row):
    assert_refused_and_nothing_lost(make().fit(X, y), row)


@table(
    Row(
        "optimizer",
        fit_with(optimizer="lbfgs"),
        "'optimizer' parameter of Softmax.* must be a str among .*'adamw'.* 'lbfgs'",
        InvalidParameterError,
        [MLP, CNN, Net],
    ),
    Row(
        "solver",
        fit_with(solver="liblinear"),
        "'solver' parameter .* among .*'newton-cg'.*Got 'liblinear'",
        InvalidParameterError,
        [Regression],
    ),
    Row(
        "activation",
        fit_with(activation="Relu"),
        "'activation' parameter .* among .*'relu'.*Got 'Relu'",
        InvalidParameterError,
        [MLP, CNN],
    ),
    Row(
        "schedule",
        fit_with(lr_schedule="step"),
        "'lr_schedule' parameter .* among .*'one_cycle'.*Got 'step'",
        InvalidParameterError,
    ),
    Row(
        "scoring",
        fit_with(scoring="f1"),
        "'scoring' parameter .* among .*'accuracy'.*Got 'f1'",
        InvalidParameterError,
    ),
    Row("device", fit_with(device="gpu"), "device='gpu', .*Expected 'auto', 'cpu'"),
    Row("device without memory", fit_with(device="meta"), "device='meta', .*Expected"),
    Row(
        "rate",
        fit_with(learning_rate=0.0),
        "'learning_rate' parameter .* range .0.0, inf.*Got 0.0",
        InvalidParameterError,
    ),
    Row(
        "epochs",
        fit_with(max_epochs=0),
        "'max_epochs' parameter .*'auto'.*Got 0",
        InvalidParameterError,
        [MLP, CNN, Net],
    ),
    Row(
        "dropout",
        fit_with(dropout=1.0),
        r"'dropout' parameter .* range \[0.0, 1.0\).*Got 1.0",
        InvalidParameterError,
        [MLP, CNN],
    ),
    Row(
        "C",
        fit_with(C=-1),
        "'C' parameter .* range .*Got -1",
        InvalidParameterError,
        [Regression],
    ),
    Row(
        "layer of no width",
        fit_with(hidden_layer_sizes=(16, 0)),
        r"hidden_layer_sizes=\(16, 0\), but expected .* positive integers",
        makes=[MLP, CNN],
    ),
    Row(
        "layer of half a unit",
        fit_with(hidden_layer_sizes=[7.5]),
        r"hidden_layer_sizes=\[7.5\], but expected .* positive integers",
        makes=[MLP],
    ),
    Row(
        "unknown parameter",
        fit_with(learning_rat=0.1),
        "Invalid parameter 'learning_rat' for estimator Softmax",
    ),
    Row(
        "early stopping of an exact solver",
        fit_with(early_stopping=True),
        "solver='auto' with early_stopping=True.* Expected solver='sgd' or 'adam'",
        makes=[Regression],
    ),
    Row(
        "validation of an exact solver",
        fit(X, y, X_val=X, y_val=y),
        "solver='auto' with X_val.* Expected solver='sgd' or 'adam'",
        makes=[Regression],
    ),
    Row(
        "a set of callbacks",
        fit_with(callbacks={1}),
        "'callbacks' parameter .* must be an instance of 'list'",
        InvalidParameterError,
    ),
    Row(
        "a function for a callback",
        fit_with(callbacks=[print]),
        "Got <built-in function print> among the callbacks, but expected skorch",
        TypeError,
        makes=BY_EPOCHS,
    ),
    Row(
        "two who set the learning rate",
        fit_with(callbacks=[("rate", LRScheduler())], lr_schedule="cosine"),
        "LRScheduler among the callbacks and lr_schedule='cosine'.*Expected one",
        makes=BY_EPOCHS,
    ),
)
def test_parameters(make, row):
    assert_refused_and_nothing_lost(make().fit(X, y), row)


@table(
    Row(
        "another number of pixels",
        fit_with(image_shape=(3, 3)),
        r"image_shape=\(3, 3\), which stands for 9 pixels, but X has 4 features",
    ),
    Row("one side", fit_with(image_shape=(4,)), r"image_shape=\(4,\).*\(height, wid"),
    Row("four axes", fit_with(image_shape=(1, 1, 2, 2)), "Expected .height, width"),
    Row("negative sides", fit_with(image_shape=(-2, -2)), "image_shape=.* positive"),
    Row("a number", fit_with(image_shape=4), "image_shape.*Got 4"),
    Row(
        "kernels for other channels",
        fit_with(kernel_size=(3, 3, 3)),
        r"kernel_size=\(3, 3, 3\) of length 3, but channels has length 2. Expected",
    ),
    Row(
        "kernels in an array",
        fit_with(kernel_size=np.array([3, 3, 3])),
        "kernel_size=.* of length 3, but channels has length 2. Expected",
    ),
    Row(
        "kernel of size zero",
        fit_with(kernel_size=(3, 0)),
        r"kernel_size=\(3, 0\).*expected.*positive integers",
    ),
    Row(
        "kernel of half a pixel",
        fit_with(kernel_size=(1.5, 3)),
        r"kernel_size=\(1.5, 3\).*expected.*positive integers",
    ),
    Row(
        "nothing left",
        fit_with(padding="valid"),
        r"image_shape=\(1, 2, 2\), .*too small .*padding='valid': nothing is left",
    ),
    Row("no channels", fit_with(channels=()), "expected at least one convolution"),
    Row("channels", fit_with(channels=(4, -4)), "channels=.* positive integers"),
    makes=[CNN],
)
def test_images(make, row):
    assert_refused_and_nothing_lost(make().fit(X, y), row)


class ReturnsTuple(nn.Module):
    def __init__(self, n_features, n_classes):
        super().__init__()
        self.linear = nn.Linear(n_features, n_classes)

    def forward(self, x):
        return self.linear(x), x


def raises_type_error_itself(n_features, n_classes):
    return nn.Linear(n_features, "three")


@table(
    Row(
        "an instance",
        fit_with(module=nn.Linear(4, 3)),
        r"module=Linear\(...\), .* built already, but expected .* builds one",
    ),
    Row(
        "no callable",
        fit_with(module="linear"),
        "'module' parameter .* must be a callable",
        InvalidParameterError,
    ),
    Row(
        "takes too little",
        fit_with(module=lambda n_features: nn.Linear(n_features, 3)),
        r"module\(n_features, n_classes, .*failed: .*takes 1 positional.* Expected",
        TypeError,
    ),
    Row(
        "takes no such parameter",
        fit_with(module__depth=3),
        r"failed: .*'depth'. Expected .* module_params=\{'depth': 3\} by name",
        TypeError,
    ),
    Row(
        "returns no module",
        fit_with(module=lambda n_features, n_classes: torch.zeros(3)),
        r"returned Tensor, but expected a torch.nn.Module",
        TypeError,
    ),
    Row(
        "too many logits",
        fit_with(module=lambda n_features, n_classes: nn.Linear(n_features, 5)),
        r"returned Tensor of shape \(2, 5\).* expected logits: .*\(2, 3\)",
    ),
    Row(
        "flat logits",
        fit_with(
            module=lambda n_features, n_classes: nn.Sequential(
                nn.Linear(n_features, n_classes), nn.Flatten(0)
            )
        ),
        r"returned Tensor of shape \(6,\).* expected logits: .*\(2, 3\)",
    ),
    Row(
        "two outputs",
        fit_with(module=ReturnsTuple),
        r"returned tuple .* expected logits: a Tensor of shape \(2, 3\)",
    ),
    Row(
        "other input",
        fit_with(module=lambda n_features, n_classes: nn.Linear(7, n_classes)),
        r"(?s)module.*2 rows of 4 features.*mat1 and mat2",
        Exception,
    ),
    Row(
        "parameters in a list",
        fit_with(module_params=[("width", 3)]),
        "'module_params' parameter .* must be an instance of 'dict' or None",
        InvalidParameterError,
    ),
    makes=[Net],
)
def test_modules(make, row):
    assert_refused_and_nothing_lost(make().fit(X, y), row)


@table(
    *(
        Row(
            f"{parameter} {value}",
            fit_with(**{parameter: value}),
            f"'{parameter}' parameter .* Got {value}",
            InvalidParameterError,
        )
        for parameter, value in [
            ("momentum", 1.0),
            ("momentum", -0.1),
            ("weight_decay", -1e-9),
            ("batch_size", 0),
            ("label_smoothing", 1.0),
            ("label_smoothing", -0.1),
            ("validation_fraction", 0.0),
            ("validation_fraction", 1.0),
            ("n_iter_no_change", 0),
            ("tol", -1e-9),
        ]
    ),
    makes=[MLP, CNN, Net],
)
def test_ends_of_ranges(make, row):
    assert_refused_and_nothing_lost(make().fit(X, y), row)


def test_type_error_of_the_builder_itself_keeps_its_cause():
    with pytest.raises(TypeError, match="failed: ") as caught:
        Net(module=raises_type_error_itself).fit(X, y)
    assert isinstance(caught.value.__cause__, TypeError)
    assert str(caught.value.__cause__) in str(caught.value)


@table(
    Row(
        "unseen label",
        partial_fit(X[:2], [0, 9]),
        r"y contains the labels \[9\], but the classes are \[0, 1, 2\].*`classes`",
    ),
    Row(
        "other classes",
        partial_fit(X, y, [0, 1, 2, 3]),
        r"`classes=\[0, 1, 2, 3\]` is not the same as on last call",
    ),
    Row("other features", partial_fit(X[:, :3], y), "X has 3 features, but .* 4"),
    Row(
        "nan", partial_fit(changed(X, np.nan), y), "X contains NaN", makes=NUMBERS_ONLY
    ),
    Row("shorter", partial_fit(X, y[:3]), "X has 150 rows, y has 3 labels"),
    Row(
        "early stopping",
        partial_fit(X, y, early_stopping=True),
        "partial_fit does not support early_stopping=True: .* Set early_stopping=False",
    ),
    Row(
        "balanced",
        partial_fit(X, y, class_weight="balanced"),
        "'balanced' is not supported for partial_fit, .* Pass .* as a dict",
    ),
    Row(
        "negative weights",
        partial_fit(X, y, None, -ONES),
        "Negative values .*`sample_weight`",
    ),
)
@pytest.mark.parametrize("fitted_by", ["fit", "partial_fit"])
def test_partial_fit(make, row, fitted_by):
    model = make()
    if fitted_by == "fit":
        model.fit(X, y)
    else:
        model.partial_fit(X, y, classes=[0, 1, 2])
    assert_refused_and_nothing_lost(model, row)


@table(
    Row("no classes", partial_fit(X, y), "classes must be passed on the first call"),
    Row("label", partial_fit(X, y, [0, 1]), r"labels \[2\], but the classes are \[0"),
    Row("one class", partial_fit(X, 0 * y, [0]), "at least 2 classes"),
    Row(
        "parameter",
        partial_fit(X, y, [0, 1, 2], learning_rate=-1),
        "'learning_rate' parameter .* range .0.0, inf.*Got -1",
        InvalidParameterError,
    ),
)
def test_first_partial_fit(make, row):
    model = make()
    with pytest.raises(row.error, match=row.message):
        row.call(model)
    assert not [name for name in vars(model) if name.endswith("_")]
    model.set_params(learning_rate=0.01).partial_fit(X, y, classes=[0, 1, 2])
    assert model.predict(X).shape == (150,)


@table(
    Row(
        "other classes",
        lambda model: model.fit(X[:100], SPECIES[:100]),
        "warm_start=True continues .*classes_=.*'virginica'.* but .* Expected the same",
    ),
    Row(
        "other kind of classes",
        lambda model: model.fit(X, y),
        r"classes_=\['setosa', .* the new data gives classes_=\[0, 1, 2\]",
    ),
    Row(
        "fewer features",
        lambda model: model.fit(X[:, :3], SPECIES),
        "n_features_in_=4, but the new data gives n_features_in_=3.*warm_start=False",
    ),
)
def test_warm_start(make, row):
    model = make(warm_start=True).fit(X, SPECIES)
    assert_refused_and_nothing_lost(model, row)


@pytest.mark.parametrize("make", EVERY, ids=NAMES.get)
@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "predict_log_proba", "decision_function"]
)
def test_not_fitted(make, method):
    with pytest.raises(NotFittedError, match=r"Softmax\w+ instance is not fitted yet"):
        getattr(make(), method)(X)


@pytest.mark.parametrize("make", EVERY, ids=NAMES.get)
def test_failed_first_fit_leaves_nothing(make):
    model = make()
    with pytest.raises(ValueError, match="one class"):
        model.fit(X, 0 * y)
    assert not [name for name in vars(model) if name.endswith("_")]
    with pytest.raises(NotFittedError):
        model.predict(X)


@pytest.mark.parametrize("make", EVERY, ids=NAMES.get)
def test_nameless_rows_after_names_warn(make):
    model = make().fit(FRAME, y)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X)


@pytest.mark.parametrize("make", EVERY, ids=NAMES.get)
def test_column_vector_warns(make):
    with pytest.warns(DataConversionWarning, match="column-vector y was passed"):
        model = make().fit(X, y[:, None])
    assert model.predict(X).shape == (150,)


@pytest.mark.parametrize("batch_size", [1, "auto"])
def test_normalising_a_single_row_by_batch(batch_size):
    model = MLP(normalization="batch", batch_size=batch_size)
    if batch_size == 1:
        with pytest.raises(ValueError, match=r"normalization='batch'.*(batch|row)"):
            model.fit(X, y)
    # Small batches of a stream are normalized by running statistics.
    model.partial_fit(X[:1], y[:1], classes=[0, 1, 2])
    assert np.isfinite(model.predict_proba(X)).all()


def test_training_that_diverges_does_not_pass_in_silence():
    model = MLP(optimizer="sgd", learning_rate=1e30, max_epochs=5)
    with pytest.raises(ValueError, match=r"loss became .* in epoch 1 with .*Lower"):
        model.fit(X, y)


def test_last_step_that_overflows_does_not_pass_in_silence():
    # The loss of the only step is that of the initial weights.
    model = MLP(
        input_scaling=None,
        optimizer="sgd",
        learning_rate=1e38,
        max_epochs=1,
        batch_size=150,
        lr_schedule="constant",
    )
    with pytest.raises(ValueError, match=r"weights became infinite .* Lower"):
        model.fit(1e3 * X, y)
