r"""
Softmax regression from scratch
===============================

A softmax classifier has three formulas: the softmax, the cross-entropy and its
gradient. This example writes them in NumPy, compares each with PyTorch, and shows that
:class:`~sksoftmax.SoftmaxRegression` has the same loss curve as a loop of four lines.
Needs ``pip install matplotlib``.
"""

# %%
# Three formulas
# --------------
# The softmax turns logits :math:`o` into probabilities
# :math:`\hat y_k = e^{o_k} / \sum_j e^{o_j}`. Adding a constant to all logits changes
# nothing, so the largest is moved to zero and no exponential can overflow. The
# cross-entropy is the mean of :math:`-\log \hat y_y`, with :math:`y` the true class. It
# takes the logarithm before the division, so that no logarithm of zero can occur.
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from sksoftmax import SoftmaxRegression


def log_softmax(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def cross_entropy(logits, y):
    return -log_softmax(logits)[np.arange(len(y)), y].mean()


def gradient(logits, y):
    return (np.exp(log_softmax(logits)) - np.eye(logits.shape[1])[y]) / len(y)


# %%
# The third formula is simple: the gradient of the cross-entropy by the logits is
# :math:`\hat y - y`, probabilities minus one-hot labels. Automatic differentiation
# agrees.
rng = np.random.default_rng(0)
logits, y = rng.normal(size=(6, 3)), rng.integers(3, size=6)
tensor = torch.tensor(logits, requires_grad=True)
nn.functional.cross_entropy(tensor, torch.tensor(y)).backward()
difference = np.abs(gradient(logits, y) - tensor.grad.numpy()).max()
print(f"gradient: NumPy and autograd differ by {difference:.0e}")
assert difference < 1e-12

assert np.isfinite(log_softmax(np.array([[1e4, 0.0, -1e4]]))).all()

# %%
# One loss, written in three ways
# -------------------------------
# ``CrossEntropyLoss`` takes logits, not probabilities: it is ``LogSoftmax`` followed by
# ``NLLLoss``. The output of a softmax instead raises no error, but trains badly. Here
# are six small cases, by hand and in both ways of PyTorch.
batch = [[0.1, 0.2, 0.9], [1.1, 0.1, 0.2], [0.2, 2.1, 0.1]]
unsure = [[0.8, 0.2, 0.3], [0.2, 0.3, 0.5], [0.2, 0.2, 0.5]]
cases = [
    ("one row", [[0.2, 0.1, -0.1]], [0], 0.9729),
    ("mostly right", batch, [2, 0, 1], 0.4966),
    ("mostly wrong", unsure, [2, 0, 1], 1.2389),
    ("right", [[2.0, 1.0, 0.1]], [0], 0.4170),
    ("wrong", [[0.5, 2.0, 0.3]], [0], 1.8406),
    ("four classes", [[0.1, 0.0, 0.0, 1.0]], [3], 0.7619),
]
print(f"\n{'cross-entropy':<14}{'NumPy':>9}{'CrossEntropy':>14}{'LogSoftmax+NLL':>16}")
for name, rows, labels, expected in cases:
    o, t = torch.tensor(rows), torch.tensor(labels)
    losses = [
        cross_entropy(np.array(rows), np.array(labels)),
        nn.CrossEntropyLoss()(o, t).item(),
        nn.NLLLoss()(nn.LogSoftmax(dim=1)(o), t).item(),
    ]
    print(f"{name:<14}{losses[0]:9.4f}{losses[1]:14.4f}{losses[2]:16.4f}")
    np.testing.assert_allclose(losses, expected, atol=5.1e-5)

# %%
# Gradient descent, twice
# -----------------------
# Eight rows, three classes. With logits :math:`o = X W^T` the gradient of the weights
# is :math:`(\hat y - y)^T X`, and gradient descent takes steps against it.
columns = [
    [1, 2, 3, 4, 1, 1, 1, 1],
    [2, 1, 1, 1, 7, 2, 6, 7],
    [1, 3, 3, 5, 5, 5, 6, 7],
    [1, 2, 4, 5, 5, 6, 6, 7],
]
X = np.array(columns, dtype=float).T
y = np.array([2, 2, 2, 1, 1, 1, 0, 0])

W = np.zeros((3, 4))
curve = []
for _ in range(5001):
    curve.append(cross_entropy(X @ W.T, y))
    W -= 0.1 * gradient(X @ W.T, y).T @ X

# %%
# These parameters make the estimator do the same: plain gradient descent, all eight
# rows in one batch, a constant learning rate, neither penalty nor intercept.
classifier = SoftmaxRegression(
    C=np.inf,
    fit_intercept=False,
    solver="sgd",
    learning_rate=0.1,
    momentum=0,
    lr_schedule="constant",
    batch_size=8,
    max_iter=5001,
).fit(X, y)

print(f"\n{'epoch':>5}{'NumPy':>11}{'estimator':>11}")
for epoch in range(0, 5001, 500):
    print(f"{epoch:5d}{curve[epoch]:11.6f}{classifier.loss_curve_[epoch]:11.6f}")
known = [1.098612, 0.568255, 0.399962, 0.285279, 0.246098, 0.216146]
known += [0.192427, 0.173168, 0.157232, 0.143840, 0.132443]
np.testing.assert_allclose(curve[::500], known, atol=1e-4)
np.testing.assert_allclose(classifier.loss_curve_[::500], known, atol=1e-4)
np.testing.assert_allclose(classifier.coef_, W, atol=0.01)

_, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
ax.plot(curve, label="NumPy", linewidth=5, color="lightgray")
ax.plot(classifier.loss_curve_, label="SoftmaxRegression", linestyle="dashed")
ax.set(xlabel="epoch", ylabel="loss", xscale="log")
ax.legend()
plt.show()

# %%
# The curve starts at :math:`\log 3`, the loss of a guess among three classes, and still
# falls after 5,000 epochs. The loss is convex, and the default solver needs a few
# Newton steps. Without a penalty, classes that planes separate have no finite optimum;
# a small penalty gives them one.
exact = SoftmaxRegression(C=1000, fit_intercept=False).fit(X, y)
log_loss = cross_entropy(X @ exact.coef_.T, y)
print(f"\n{exact.n_iter_[0]} Newton steps: log loss {log_loss:.4f}")
assert log_loss < known[-1]
