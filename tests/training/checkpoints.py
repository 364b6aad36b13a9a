r"""Classifiers, callbacks and comparisons of the tests of checkpoints and Ctrl-C."""

import numpy as np
import torch
from sklearn.base import clone
from skorch.callbacks import Callback
from torch import nn
from torchvision.transforms import v2

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
)


class KilledError(Exception):
    r"""What stands for a signal that would end this process."""


class Watch(Callback):
    r"""Counts epochs, and may do something in the middle of one of them."""

    def __init__(self, epoch=None, act=None):
        self.epoch = epoch
        self.act = act
        self.n_epochs = 0

    def on_epoch_begin(self, net, **kwargs):
        self.n_epochs += 1

    def on_batch_end(self, net, training, **kwargs):
        if len(net.history) == self.epoch and training:
            self.act()


def kill():
    raise KilledError


def make_module(n_features, n_classes):
    return nn.Sequential(
        nn.Linear(n_features, 16),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(16, n_classes),
    )


def make_convolutions(n_features, n_classes):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.MaxPool2d(3), nn.Flatten(), nn.Linear(16, n_classes)
    )


def brightened(images):
    return images * (0.5 + torch.rand(len(images), 1, 1, 1))


def mlp(**options):
    return SoftmaxMLPClassifier(
        **{"hidden_layer_sizes": (16,), "max_epochs": 5, "random_state": 0} | options
    )


def cnn(**options):
    return SoftmaxCNNClassifier(
        **{
            "image_shape": (8, 8),
            "channels": (4, 8),
            "max_epochs": 4,
            "random_state": 0,
        }
        | options
    )


CLASSIFIERS = {
    "ensemble": mlp(dropout=0.2),
    "shared weights": mlp(share_weights=True, optimizer="adam", lr_schedule="constant"),
    "early stopping, SGD": mlp(
        optimizer="sgd", early_stopping=True, n_iter_no_change=1, max_epochs=30
    ),
    "one net, deep": mlp(
        hidden_layer_sizes=(16,) * 5,
        n_estimators=1,
        normalization="batch",
        temperature_scaling=True,
        class_weight="balanced",
    ),
    "images": cnn(augmentation="shift_flip", dropout=0.1),
    "images, a transform": cnn(augmentation=brightened, convolutions_per_block=1),
    "images, torchvision": cnn(augmentation=v2.RandomAffine(20)),
    "images, ensemble": cnn(
        n_estimators=2,
        data_pruning=0.5,
        early_stopping=True,
        temperature_scaling=True,
    ),
    "a module, images": SoftmaxNetClassifier(
        make_convolutions,
        image_shape=(8, 8),
        augmentation=v2.RandomRotation(10),
        max_epochs=4,
        random_state=0,
    ),
    "a module": SoftmaxNetClassifier(
        make_module, max_epochs=5, lr_schedule="one_cycle", random_state=0
    ),
    "a class of an optimizer": SoftmaxNetClassifier(
        make_module, optimizer=torch.optim.NAdam, max_epochs=5, random_state=0
    ),
    "a module, frozen for two epochs": SoftmaxNetClassifier(
        make_module,
        max_epochs=5,
        frozen="[01].*",
        unfreeze_after=2,
        learning_rate={"4.*": 0.02, "*": 0.005},
        gradient_clipping=0.5,
        weight_averaging=0.9,
        lr_schedule="cosine",
        random_state=0,
    ),
    "images, averaged": cnn(weight_averaging=0.9),
}


def with_callbacks(classifier, *callbacks, **options):
    return clone(classifier).set_params(callbacks=list(callbacks), **options)


def assert_same_bits(first, second, X):
    first_state, second_state = (
        {
            **one.module_.state_dict(),
            **{
                (index, name): torch.as_tensor(value)
                for index, moments in one.net_.optimizer_.state_dict()["state"].items()
                for name, value in moments.items()
                if value is not None
            },
        }
        for one in (first, second)
    )
    assert first_state.keys() == second_state.keys()
    for name, value in first_state.items():
        assert torch.equal(value, second_state[name]), name
    assert first.net_.optimizer_.n_done == second.net_.optimizer_.n_done
    assert first.n_iter_ == second.n_iter_
    assert first.loss_curve_ == second.loss_curve_
    assert first.validation_scores_ == second.validation_scores_
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))
