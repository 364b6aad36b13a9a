r"""Ensembles trained as one net: members are independent and their mean predicts."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp, softmax
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from skorch.callbacks import Callback
from torch import nn
from torch.nn import functional as F

from sksoftmax import SoftmaxCNNClassifier, SoftmaxMLPClassifier
from sksoftmax._training.losses import WeightedCrossEntropy
from sksoftmax.modules import SoftmaxCNN, SoftmaxMLP
from sksoftmax.modules._ensemble import (
    AVERAGING_TEMPERATURE,
    MemberBatchNorm,
    SharedLinear,
    average_members,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def make_ensemble(n_estimators=3, **options):
    return SoftmaxMLP(
        5,
        4,
        hidden_layer_sizes=(7, 6),
        n_estimators=n_estimators,
        generator=generator(),
        **options,
    )


class Gradients(Callback):
    r"""Keep the gradients of a training step, and those of each member alone."""

    def on_grad_computed(self, net, named_parameters, batch, **kwargs):
        weights = [weight for _, weight in named_parameters]
        self.found = [weight.grad.clone() for weight in weights]
        X, (y, _) = batch
        losses = F.cross_entropy(
            net.module_(X).transpose(1, 2),
            y[:, None].expand(-1, 3),
            reduction="none",
        )
        # Gradients of the sum over members: no member depends on another's parameters.
        self.expected = torch.autograd.grad(losses.mean(0).sum(), weights)


def test_each_member_has_the_gradients_of_a_net_alone():
    # Plain gradient descent: a step is the same for any number of members and classes.
    X, y = load_digits(return_X_y=True)
    gradients = Gradients()
    SoftmaxMLPClassifier(
        (6,),
        n_estimators=3,
        input_dropout=0.0,
        n_bins=None,
        optimizer="sgd",
        max_epochs=1,
        early_stopping=False,
        callbacks=[gradients],
        random_state=0,
    ).fit(X[:64], y[:64])
    for found, expected in zip(gradients.found, gradients.expected, strict=True):
        assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def member_of(ensemble, k):
    r"""Return the net with the parameters of one member."""
    member = SoftmaxMLP(5, 4, hidden_layer_sizes=(7, 6), generator=generator())
    linear = [layer for layer in ensemble.modules() if hasattr(layer, "initialize")]
    with torch.no_grad():
        for source, target in zip(
            linear,
            [layer for layer in member.modules() if isinstance(layer, nn.Linear)],
            strict=True,
        ):
            weight = source.weight
            if isinstance(source, SharedLinear):
                weight = (
                    source.input_scale[k].T * source.weight * source.output_scale[k]
                )
            else:
                weight = weight[k]
            target.weight.copy_(weight.T)
            if source.bias is not None:
                target.bias.copy_(source.bias[k, 0])
    return member


@pytest.mark.parametrize("share_weights", [False, True])
def test_each_member_predicts_as_a_net_with_its_parameters(share_weights):
    ensemble = make_ensemble(share_weights=share_weights)
    with torch.no_grad():
        for name, parameter in ensemble.named_parameters():
            if name.endswith(("bias", "_scale")):
                parameter.add_(torch.randn(parameter.shape, generator=generator(1)))
    x = torch.randn(11, 5, generator=generator(2))
    with torch.no_grad():
        logits = ensemble(x)
        assert logits.shape == (11, 3, 4)
        for k in range(3):
            assert_allclose(logits[:, k], member_of(ensemble, k)(x), atol=1e-5)
    assert not torch.allclose(logits[:, 0], logits[:, 1], atol=1e-2)


@pytest.mark.parametrize(
    "options",
    [
        {"hidden_layer_sizes": (7,)},
        {"global_pooling": None, "convolutions_per_block": 1, "normalization": None},
    ],
    ids=["pooled", "flat"],
)
def test_each_convolutional_member_predicts_as_a_net_with_its_parameters(options):
    shape = {"image_shape": (2, 12, 12), "n_classes": 4, "channels": (3, 5)}
    ensemble = SoftmaxCNN(**shape, **options, n_estimators=3, generator=generator())
    x = torch.randn(6, 2 * 12 * 12, generator=generator(1))
    with torch.no_grad():
        logits = ensemble(x)
        mean = ensemble.eval()(x)
    alone = []
    for k in range(3):
        member = SoftmaxCNN(**shape, **options, generator=generator())
        with torch.no_grad():
            for target, source in zip(
                member.parameters(), ensemble.parameters(), strict=True
            ):
                if target.ndim == source.ndim:
                    # Convolutions and normalization: the member's part of the channels.
                    part = source.chunk(3)[k]
                else:
                    # Linear layers: (K, D, H) -> (H, D), (K, 1, H) -> (H)
                    part = source[k].T.squeeze(-1)
                target.copy_(part.reshape(target.shape))
            alone.append(member(x))
            assert_allclose(logits[:, k], alone[k], atol=1e-5)
            # Each member has the batch statistics of its part of the ensemble.
            alone[k] = member.eval()(x)
    assert_allclose(mean.softmax(1), average(torch.stack(alone)), atol=1e-6)
    with torch.no_grad():
        some = ensemble(x, torch.tensor([[True, False, True]] * 6))
    two = torch.stack([alone[0], alone[2]])
    assert_allclose(some.softmax(1), average(two), atol=1e-6)
    assert not torch.allclose(logits[:, 0], logits[:, 1], atol=1e-2)


def test_convolutional_ensemble_is_better_than_its_members():
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    options = {"channels": (8, 16), "kernel_size": 3, "max_epochs": 8}
    losses = [
        log_loss(
            y_test,
            SoftmaxCNNClassifier(**options, n_estimators=n, random_state=0)
            .fit(X_train, y_train)
            .predict_proba(X_test),
        )
        for n in (1, 6)
    ]
    assert losses[1] < 0.9 * losses[0]


def test_temperature_of_a_convolutional_net():
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    classifier = SoftmaxCNNClassifier(
        channels=(8, 16), kernel_size=3, max_epochs=8, random_state=0
    )
    before = log_loss(y_test, classifier.fit(X_train, y_train).predict_proba(X_test))
    classifier.set_params(temperature_scaling=True).fit(X_train, y_train)
    assert classifier.module_.temperature.value != 1
    assert log_loss(y_test, classifier.predict_proba(X_test)) < 1.2 * before
    # All logits are divided by the temperature.
    temperature = classifier.module_.temperature.value
    divided, divisor = classifier.decision_function(X_test), temperature.item()
    temperature.fill_(1.0)
    assert_allclose(classifier.decision_function(X_test), divided * divisor, rtol=1e-5)


def average(logits):
    r"""Return the probabilities of the average of members, (K, B, C) -> (B, C)."""
    mean = (logits / AVERAGING_TEMPERATURE).softmax(2).mean(0)
    return (mean.log() * AVERAGING_TEMPERATURE).softmax(1)


def test_prediction_is_the_mean_probability_at_a_temperature():
    ensemble = make_ensemble()
    x = torch.randn(11, 5, generator=generator(2))
    with torch.no_grad():
        members = ensemble(x).transpose(0, 1)
        mean = ensemble.eval()(x)
    assert_allclose(mean.softmax(1), average(members), rtol=1e-5)


@pytest.mark.parametrize(
    ("temperature", "average"),
    [(1.0, lambda x: np.log(softmax(x, axis=2).mean(0))), (1e4, lambda x: x.mean(0))],
)
def test_average_lies_between_that_of_probabilities_and_of_logits(temperature, average):
    logits = torch.randn(6, 5, 4, generator=generator(1), dtype=torch.float64)
    found = average_members(logits, temperature=temperature).softmax(1)
    assert_allclose(found, softmax(average(logits.numpy()), axis=1), atol=1e-3)


def test_equal_members_are_their_average():
    logits = torch.randn(1, 5, 4, generator=generator(1)).expand(3, -1, -1)
    assert_allclose(average_members(logits).softmax(1), logits[0].softmax(1), rtol=1e-5)


def test_mean_of_vanishing_probabilities_is_finite():
    logits = torch.tensor([[[0.0, 300.0]], [[0.0, 200.0]]])
    expected = logsumexp([-300, -200]) - np.log(2)
    found = average_members(logits, temperature=1.0)
    assert_allclose(found[0, 0], expected, rtol=1e-6)
    assert average_members(logits).isfinite().all()


@pytest.mark.parametrize("weighted", [False, True])
def test_loss_is_the_mean_of_the_members(weighted):
    logits = torch.randn(6, 3, 4, generator=generator())
    target = torch.tensor([0, 1, 2, 3, 0, 1])
    weight = torch.arange(1.0, 7.0) if weighted else None
    loss = WeightedCrossEntropy()(logits, target, weight)
    losses = [
        F.cross_entropy(logits[:, k], target, reduction="none").numpy()
        for k in range(3)
    ]
    means = [np.average(values, weights=weight) for values in losses]
    assert_allclose(loss, np.mean(means), rtol=1e-6)


def test_batch_normalization_is_separate_for_each_member():
    x = torch.randn(3, 8, 5, generator=generator())
    ours = MemberBatchNorm(3, 5)(x)
    for k in range(3):
        assert_allclose(
            ours[k].detach(), nn.BatchNorm1d(5)(x[k]).detach(), rtol=1e-4, atol=1e-5
        )


def test_a_member_is_trained_as_a_net_alone():
    ensemble = make_ensemble()
    alone = [member_of(ensemble, k) for k in range(3)]
    x = torch.randn(11, 5, generator=generator(2))
    y = torch.arange(11) % 4
    loss = WeightedCrossEntropy()(ensemble(x), y)
    torch.autograd.backward(loss, loss.new_tensor(3))
    for k, member in enumerate(alone):
        F.cross_entropy(member(x), y).backward()
        assert_allclose(
            ensemble.output.weight.grad[k], member.output.weight.grad.T, atol=1e-6
        )
        assert_allclose(
            ensemble.hidden[0].weight.grad[k],
            member.hidden[0].weight.grad.T,
            atol=1e-6,
        )


@pytest.mark.parametrize("share_weights", [False, True])
def test_ensemble_is_better_than_its_members(share_weights):
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, train_size=500, random_state=0
    )
    classifier = SoftmaxMLPClassifier(
        (64, 64),
        n_estimators=8,
        share_weights=share_weights,
        dropout=0.0,
        max_epochs=15,
        random_state=0,
    ).fit(X_train, y_train)
    loss = log_loss(y_test, classifier.predict_proba(X_test))
    with torch.no_grad():
        logits = classifier.module_.train()(torch.tensor(X_test)).numpy()
    losses = [log_loss(y_test, softmax(logits[:, k], axis=1)) for k in range(8)]
    assert loss < 0.9 * np.mean(losses)


@pytest.mark.parametrize("share_weights", [False, True])
@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
def test_all_methods_work_on_an_ensemble(share_weights, normalization):
    X, y = load_digits(n_class=5, return_X_y=True)
    X, y = X[:400], y[:400]
    classifier = SoftmaxMLPClassifier(
        (24, 16),
        n_estimators=3,
        share_weights=share_weights,
        normalization=normalization,
        max_epochs=8,
        early_stopping=True,
        learning_rate=0.01,
        random_state=0,
    ).fit(X, y, sample_weight=np.linspace(0.5, 1.5, len(y)))
    assert classifier.score(X, y) > 0.9
    assert len(classifier.validation_scores_) == classifier.n_iter_
    probabilities = classifier.predict_proba(X)
    assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    again = clone(classifier).fit(X, y, sample_weight=np.linspace(0.5, 1.5, len(y)))
    assert_array_equal(again.predict_proba(X), probabilities)
    restored = pickle.loads(pickle.dumps(classifier))
    assert_array_equal(restored.predict_proba(X), probabilities)
    online = clone(classifier).set_params(early_stopping=False)
    for _ in range(8):
        online.partial_fit(X, y, classes=np.arange(5))
    assert online.score(X, y) > 0.9


def test_shifts_and_scales_of_members_do_not_decay():
    X, y = load_digits(return_X_y=True)
    classifier = SoftmaxMLPClassifier(
        (8, 8),
        n_estimators=2,
        share_weights=True,
        n_bins=None,
        max_epochs=1,
        random_state=0,
    ).fit(X, y)
    decaying = {
        parameter.shape
        for group in classifier.net_.optimizer_.param_groups
        if group["weight_decay"]
        for parameter in group["params"]
    }
    assert decaying == {(64, 8), (8, 8), (2, 8, 10)}


def test_validation_rows_are_predicted_by_members_that_did_not_train_on_them():
    ensemble = make_ensemble().eval()
    x = torch.randn(11, 5, generator=generator(2))
    members = torch.tensor([[True, False, False], [False, True, True]])
    with torch.no_grad():
        alone = [member_of(ensemble, k) for k in range(3)]
        two = torch.stack([alone[1](x[1:2]), alone[2](x[1:2])])
        expected = [alone[0](x[:1]).softmax(1), average(two)]
        logits = ensemble(x[:2], members)
    assert_allclose(logits.softmax(1), torch.cat(expected), rtol=1e-4)
