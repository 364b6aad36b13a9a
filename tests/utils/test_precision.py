r"""What training multiplies in: asked for, or decided by hardware and shapes."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from sksoftmax import SoftmaxCNNClassifier, SoftmaxMLPClassifier
from sksoftmax._utils import devices

X, y = load_digits(return_X_y=True)
X, y = X[:400], y[:400]
# One net of 64-512-10: the largest layer has 2**15 multiplications for a row.
WIDE = {"hidden_layer_sizes": (512,), "n_estimators": 1, "n_bins": None}


def mlp(**params):
    return SoftmaxMLPClassifier(
        **{"max_epochs": 3, "random_state": 0, **WIDE, **params}
    ).fit(X, y)


@pytest.mark.parametrize("has_units", [True, False])
@pytest.mark.parametrize("batch_size", [1024, 1023])
def test_auto_is_bfloat16_for_large_layers_on_hardware_for_it(
    has_units, batch_size, monkeypatch
):
    monkeypatch.setattr(devices, "cpu_multiplies_bfloat16", lambda: has_units)
    model = mlp(batch_size=batch_size, max_epochs=1, device="cpu")
    is_large = batch_size * 64 * 512 >= 2**25
    expected = torch.bfloat16 if has_units and is_large else torch.float32
    assert model.net_.recipe.dtype is expected


@pytest.mark.parametrize(
    "make",
    [
        mlp,
        lambda **params: SoftmaxCNNClassifier(
            channels=(8,), max_epochs=3, random_state=0, **params
        ).fit(X, y),
    ],
    ids=["mlp", "cnn"],
)
def test_bfloat16_rounds_the_training_and_nothing_else(make):
    single, half = make(precision="float32"), make(precision="bfloat16")
    assert single.net_.recipe.dtype is torch.float32
    assert half.net_.recipe.dtype is torch.bfloat16
    for model in (single, half):
        parameters = list(model.module_.parameters())
        assert {parameter.dtype for parameter in parameters} == {torch.float32}
        # Predictions are float32: sums of bfloat16 probabilities miss 1 by 1e-3.
        np.testing.assert_allclose(model.predict_proba(X).sum(1), 1, atol=1e-6)
    # Other bits were trained, hardly other losses.
    assert half.loss_curve_ != single.loss_curve_
    np.testing.assert_allclose(half.loss_curve_, single.loss_curve_, rtol=0.05)
    np.testing.assert_array_equal(
        make(precision="bfloat16").predict_proba(X), half.predict_proba(X)
    )
