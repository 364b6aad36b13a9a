r"""Bad parameters, images and modules: errors, and nothing is lost."""

import numpy as np
import pytest
import torch
from sklearn.utils._param_validation import InvalidParameterError
from skorch.callbacks import LRScheduler
from torch import nn

from .bad_input import (
    BY_EPOCHS,
    CNN,
    MLP,
    Net,
    Regression,
    Row,
    X,
    assert_refused_and_nothing_lost,
    fit,
    fit_with,
    table,
    y,
)


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
        fit_with(scoring="acc"),
        "'scoring' parameter .* among .*'accuracy'.*Got 'acc'",
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


@pytest.mark.parametrize("batch_size", [1, "auto"])
def test_normalizing_a_single_row_by_batch(batch_size):
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
