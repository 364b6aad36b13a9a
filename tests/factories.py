r"""Small classifiers and small tables that many tests share."""

from functools import cache, partial

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
    make_classification,
)
from sklearn.preprocessing import StandardScaler
from torch import nn

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
)

SPECIES = ["setosa", "versicolor", "virginica"]


def make_module(n_features, n_classes, width=16):
    return nn.Sequential(
        nn.Linear(n_features, width),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(width, n_classes),
    )


# They are called like the classes, but train for few epochs, reproducibly.
Regression = partial(SoftmaxRegression, random_state=0)
MinibatchRegression = partial(
    SoftmaxRegression,
    solver="adam",
    init_scale=0.01,
    learning_rate=0.02,
    max_iter=12,
    batch_size=32,
    random_state=0,
)
MLP = partial(
    SoftmaxMLPClassifier,
    hidden_layer_sizes=(16,),
    n_estimators=1,
    temperature_scaling=False,
    dropout=0.2,
    learning_rate=0.02,
    weight_decay=0.01,
    max_epochs=12,
    random_state=0,
)
# Nets that hold out rows in turn.
FourNets = partial(
    SoftmaxMLPClassifier, hidden_layer_sizes=(32, 32), n_estimators=4, random_state=0
)
CNN = partial(
    SoftmaxCNNClassifier,
    channels=(4, 8),
    convolutions_per_block=1,
    kernel_size=3,
    dropout=0.2,
    learning_rate=0.03,
    max_epochs=15,
    random_state=0,
)
Net = partial(
    SoftmaxNetClassifier,
    module=make_module,
    learning_rate=0.02,
    max_epochs=12,
    random_state=0,
)

EXACT = [pytest.param(Regression, id="regression")]
MINIBATCH = [pytest.param(MinibatchRegression, id="minibatch")]
NETS = [
    pytest.param(MLP, id="mlp"),
    pytest.param(CNN, id="cnn"),
    pytest.param(Net, id="net"),
]

for_each_class = pytest.mark.parametrize("make", [*EXACT, *NETS])
for_each_class_and_solver = pytest.mark.parametrize("make", [*EXACT, *MINIBATCH, *NETS])
for_each_trained_by_epochs = pytest.mark.parametrize("make", [*MINIBATCH, *NETS])
for_each_net = pytest.mark.parametrize("make", NETS)

# A fit takes longer than hypothesis expects of an example.
few_examples = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.function_scoped_fixture,
        HealthCheck.differing_executors,
    ],
)


@cache
def standardized_iris():
    r"""Return the rows of iris, standardized and shuffled, and integer labels."""
    X, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    return StandardScaler().fit_transform(X)[order], y[order]


@cache
def named_iris():
    r"""Return the same rows, labeled with the names of the species."""
    X, y = standardized_iris()
    return X, np.array(SPECIES)[y]


@cache
def standardized_cancer():
    r"""Return a table of two classes, standardized."""
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X), y


@cache
def few_digits():
    r"""Return 400 images with integer gray values up to 16."""
    X, y = load_digits(return_X_y=True)
    return X[:400], y[:400]


@cache
def noisy_tables():
    r"""Return training rows and validation rows of a problem that nets overfit."""
    X, y = make_classification(
        400,
        10,
        n_informative=6,
        n_classes=3,
        flip_y=0.3,
        class_sep=0.7,
        random_state=0,
    )
    return (X[:250], y[:250]), (X[250:], y[250:])


def same_bits(a, b):
    r"""Return whether two arrays have the same dtype, shape and bytes."""
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def bytes_of(module):
    r"""Return all parameters and buffers of a module as bytes."""
    return {
        name: tensor.numpy().tobytes() for name, tensor in module.state_dict().items()
    }


def state(model):
    r"""Return all parameters and buffers of a classifier's module as bytes."""
    return bytes_of(model.module_)


def with_epochs(model, n_epochs):
    r"""Set the number of passes over the rows."""
    name = "max_iter" if isinstance(model, SoftmaxRegression) else "max_epochs"
    return model.set_params(**{name: n_epochs})


def short(make, **params):
    r"""Return a classifier that trains for three epochs, on iris of five batches."""
    return with_epochs(make(batch_size=30, **params), 3)
