r"""loss_curve_: its length, its fall, and its values."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ..factories import (
    CNN,
    MLP,
    Net,
    Regression,
    for_each_class_and_solver,
    for_each_net,
    with_epochs,
)


@for_each_class_and_solver
def test_loss_falls(make, iris):
    model = make().fit(*iris)
    curve = model.loss_curve_
    assert all(type(loss) is float for loss in curve)
    assert curve[-1] < 0.7 * curve[0]
    n_iter = np.ravel(model.n_iter_)[0]
    # The curve of the exact solver begins with the loss of its start.
    assert len(curve) == n_iter + (make is Regression)


def test_loss_of_the_exact_solver_never_rises(digits):
    curve = Regression().fit(*digits).loss_curve_
    assert curve[0] == pytest.approx(np.log(10))
    assert (np.diff(curve) <= 1e-12).all()


@for_each_net
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("weighted", [False, True])
def test_loss_is_the_cross_entropy_of_torch(make, smoothing, weighted, iris):
    X, y = iris
    weight = np.linspace(0.1, 3, len(y)) if weighted else None
    # The parameters stay as they were initialized: the loss can be recomputed.
    options = {"learning_rate": 1e-12, "batch_size": 150, "max_epochs": 1}
    if make is MLP:
        options |= {"dropout": 0.0, "input_dropout": 0.0, "n_bins": None}
    if make is CNN:
        options |= {"dropout": 0.0, "normalization": None}
    if make is Net:
        options |= {"module": nn.Linear}
    model = make(label_smoothing=smoothing, **options).fit(X, y, weight)
    losses = F.cross_entropy(
        torch.from_numpy(model.decision_function(X)),
        torch.from_numpy(y),
        reduction="none",
        label_smoothing=smoothing,
    ).numpy()
    expected = np.average(losses, weights=weight)
    assert model.loss_curve_[0] == pytest.approx(expected, rel=1e-5)


@for_each_net
def test_label_smoothing_tempers_probabilities(make, iris):
    X, y = iris
    sharp = with_epochs(make(), 30).fit(X, y).predict_proba(X)
    smooth = with_epochs(make(label_smoothing=0.3), 30).fit(X, y).predict_proba(X)
    assert smooth.max(1).mean() < sharp.max(1).mean() - 0.05
