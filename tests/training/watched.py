r"""Classifiers that report each epoch or step, and a callback that records them."""

from functools import partial

import pytest
from torch import nn

from sksoftmax import (
    SoftmaxCNNClassifier,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
)

N_EPOCHS = 4


def make_module(n_features, n_classes):
    return nn.Sequential(
        nn.Linear(n_features, 8), nn.Dropout(0.2), nn.Linear(8, n_classes)
    )


MLP = partial(
    SoftmaxMLPClassifier,
    hidden_layer_sizes=(8,),
    n_estimators=2,
    dropout=0.1,
    # Both would change the classifier after the last epoch.
    early_stopping=False,
    temperature_scaling=False,
    max_epochs=N_EPOCHS,
    random_state=0,
)
TRAINED_BY_EPOCHS = [
    pytest.param(MLP, id="mlp"),
    pytest.param(
        partial(
            SoftmaxCNNClassifier,
            image_shape=(2, 2),
            channels=(4,),
            kernel_size=3,
            max_epochs=N_EPOCHS,
            random_state=0,
        ),
        id="cnn",
    ),
    pytest.param(
        partial(SoftmaxNetClassifier, make_module, max_epochs=N_EPOCHS, random_state=0),
        id="net",
    ),
    pytest.param(
        partial(SoftmaxRegression, solver="adam", max_iter=N_EPOCHS, random_state=0),
        id="minibatch",
    ),
]
EXACT = [
    pytest.param(SoftmaxRegression, id="small"),
    pytest.param(partial(SoftmaxRegression, l1_ratio=0.5), id="lasso"),
]
ALL = [*TRAINED_BY_EPOCHS, *EXACT]

for_each = partial(pytest.mark.parametrize, "make")


class Recorder:
    r"""Notes every task; stops training after so many of the innermost ones."""

    def __init__(self, stop_after=None, fail_after=None):
        self.stop_after = stop_after
        self.fail_after = fail_after
        self.events = []
        self.n_ended = 0

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context):
        self.events.append(("end", context.task_name, context.task_id))
        self.n_ended += context.task_name in ("epoch", "step")
        if self.n_ended == self.fail_after:
            raise RuntimeError("as asked for")
        return self.n_ended == self.stop_after
