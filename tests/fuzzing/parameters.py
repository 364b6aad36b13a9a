r"""Strategies that draw classifiers: parameters of the right type, or any object."""

import numpy as np
from hypothesis import strategies as st
from torch import nn

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxGridSearchCV,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)

# Objects that are a wrong value of nearly every parameter.
WRONG = [
    None,
    -1,
    0,
    1.5,
    "x",
    np.nan,
    np.inf,
    2**70,
    (),
    [3, "a"],
    {},
    object,
    b"",
    1j,
]
CLASS_WEIGHTS = [None, None, "balanced", {0: 2.0}, {"nobody": 1.0}, {0: 0.0, 1: 0.0}]

COMMON = {
    "class_weight": CLASS_WEIGHTS,
    "random_state": [0, 1, None, np.random.RandomState(3)],
    "warm_start": [False, True],
}
BY_EPOCHS = {
    "batch_size": [1, 2, 7, 256],
    "learning_rate": [1e-4, 0.01, 1.0, 1e6],
    "early_stopping": [False, True],
    "validation_fraction": [0.1, 0.5, 0.9],
    "lr_schedule": ["constant", "cosine", "one_cycle"],
    "momentum": [0.0, 0.9],
}
NETS = {
    "dropout": [0.0, 0.5],
    "label_smoothing": [0.0, 0.1, 1.0],
    "max_epochs": [1, 2],
    "n_estimators": [1, 3],
    "normalization": ["auto", None, "batch"],
    "optimizer": ["adamw", "sgd", "adam"],
    "precision": ["auto", "float32", "bfloat16"],
    "temperature_scaling": [False, True],
    "weight_decay": [0.0, 0.01, 100.0],
}


def two_layers(n_features, n_classes):
    return nn.Sequential(nn.Linear(n_features, 6), nn.ReLU(), nn.Linear(6, n_classes))


def normalized(n_features, n_classes):
    return nn.Sequential(nn.BatchNorm1d(n_features), nn.Linear(n_features, n_classes))


def with_softmax(n_features, n_classes):
    return nn.Sequential(nn.Linear(n_features, n_classes), nn.Softmax(1))


PARAMETERS = {
    SoftmaxRegression: {
        **COMMON,
        **BY_EPOCHS,
        "C": [1e-300, 1e-3, 1.0, 1e8, 1e300, np.inf],
        "fit_intercept": [True, False],
        "l1_ratio": [0.0, 0.0, 0.5, 1.0],
        "max_iter": [0, 1, 3, 50],
        "solver": ["auto", "newton-cg", "sgd", "adam"],
        "tol": [1e-8, 1e-3, 0.0, 1e-300],
        "init_scale": [0.0, 0.1],
    },
    SoftmaxRegressionCV: {
        "Cs": [1, 3, [0.1], [1e-30, 1.0], (1.0, np.inf), np.array([1, 2]), []],
        "class_weight": CLASS_WEIGHTS,
        "cv": [None, 2, 3, 10],
        "fit_intercept": [True, False],
        "l1_ratios": [(0.0,), (0.0, 1.0), [0.5]],
        "max_iter": [1, 20],
        "refit": [True, False],
        "scoring": [None, "neg_log_loss", "roc_auc", "f1_macro"],
    },
    SoftmaxMLPClassifier: {
        **COMMON,
        **BY_EPOCHS,
        **NETS,
        "activation": ["silu", "relu", "tanh"],
        "categorical_features": ["from_dtype", None, [0], [True, False], ["text"]],
        "hidden_layer_sizes": [(), (4,), (3, 3), "auto", (2**70,), [5]],
        "input_dropout": ["auto", 0.0, 0.9],
        "input_scaling": ["smooth", "standard", None],
        "n_bins": ["auto", None, 2, 8],
        "share_weights": [False, True],
    },
    SoftmaxCNNClassifier: {
        **COMMON,
        **BY_EPOCHS,
        **NETS,
        "augmentation": ["auto", None, "shift"],
        "channels": [(2,), (2, 3), ()],
        "convolutions_per_block": [1, 2],
        "data_pruning": ["auto", 0.5, 0.99],
        "hidden_layer_sizes": [(), (4,)],
        "image_shape": [None, None, None, (3, 3), (4, 4), (1, 3, 3), (2, 8), (1, 1)],
        "kernel_size": ["auto", 1, 3, np.int64(5)],
        "pool_size": [1, 2, 3],
        "test_time_augmentation": ["auto", False, True],
    },
    SoftmaxNetClassifier: {
        **COMMON,
        **BY_EPOCHS,
        "label_smoothing": [0.0, 0.1],
        "max_epochs": [1, 2],
        "module": [two_layers, nn.Linear, normalized, with_softmax],
        "optimizer": ["adamw", "sgd", "adam"],
        "precision": ["auto", "float32", "bfloat16"],
    },
    SoftmaxGridSearchCV: {
        "cv": [2, 3, 5],
        "error_score": [np.nan, "raise"],
        "param_grid": [{"C": [0.1, 1.0]}, {"C": [1e-30, np.inf]}, {"l1_ratio": [0, 1]}],
        "refit": [True, "neg_log_loss"],
        "scoring": [None, "neg_log_loss", "f1_macro", ["accuracy", "neg_log_loss"]],
    },
}
QUICK = {
    SoftmaxRegression: {"max_iter": 20},
    SoftmaxRegressionCV: {"max_iter": 20, "Cs": 3},
    SoftmaxMLPClassifier: {"hidden_layer_sizes": (6,), "n_estimators": 2},
    SoftmaxCNNClassifier: {"channels": (2,), "kernel_size": 3},
    SoftmaxNetClassifier: {"module": two_layers},
    SoftmaxGridSearchCV: {
        "estimator": SoftmaxRegression(max_iter=20),
        "param_grid": {"C": [0.1, 1.0]},
        "cv": 2,
    },
}
for _kind in (SoftmaxMLPClassifier, SoftmaxCNNClassifier, SoftmaxNetClassifier):
    QUICK[_kind]["max_epochs"] = 1


@st.composite
def classifiers(draw, with_anything=False):
    r"""Return a classifier with some parameters, of which one may be anything."""
    kind = draw(st.sampled_from(list(PARAMETERS)))
    choices = PARAMETERS[kind]
    chosen = draw(st.lists(st.sampled_from(sorted(choices)), max_size=4, unique=True))
    parameters = {name: draw(st.sampled_from(choices[name])) for name in chosen}
    if with_anything:
        name = draw(st.sampled_from(sorted(choices)))
        # 2**70 epochs are valid, but never end.
        is_length = name in ("max_epochs", "max_iter")
        wrong = [value for value in WRONG if not (is_length and value == 2**70)]
        parameters[name] = draw(st.sampled_from(wrong))
    return kind(**{**QUICK[kind], **parameters})
