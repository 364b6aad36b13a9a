r"""Problems for the tests of the convex solvers."""

import numpy as np
import torch

from sksoftmax._convex.common import Penalty
from sksoftmax._convex.design_matrix import DenseRows
from sksoftmax._convex.objective import SoftmaxProblem


class RecordingProblem(SoftmaxProblem):
    r"""A problem that records evaluations and products with the Hessian.

    The coarse problems that a solver derives from it are copies, which record
    into the same lists.
    """

    def __init__(self, X, y, n_classes, *, l2, l1=(0.0,), shares=None, fold=None):
        n_samples = len(X)
        if shares is None:
            shares = np.full((1, n_samples), 1 / n_samples)
        shares = torch.as_tensor(shares, dtype=torch.float64)
        fold = [0] * len(l2) if fold is None else fold
        l1 = np.broadcast_to(l1, len(l2))
        penalties = [Penalty(*numbers) for numbers in zip(fold, l2, l1, strict=True)]
        rows = DenseRows(torch.from_numpy(X), shares.mean(0), True)
        super().__init__(rows, torch.from_numpy(y), n_classes, shares, penalties)
        self.evaluations, self.products = [], []

    def evaluate(self, coef, candidates, precise):
        self.evaluations.append((self.rows.n_samples, precise, len(candidates)))
        return super().evaluate(coef, candidates, precise)

    def hessian(self, proba, candidates, directions):
        self.products.append((self.rows.n_samples, len(directions)))
        return super().hessian(proba, candidates, directions)

    def start(self):
        return torch.zeros(
            len(self.fold), self.n_classes, self.rows.n_columns, dtype=torch.float64
        )

    def far_out(self, distance):
        generator = torch.Generator().manual_seed(0)
        return distance * torch.randn(self.start().shape, generator=generator).double()


def table(n_samples, n_features, n_classes):
    r"""Return correlated features, and labels that depend on them."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, n_features)) @ rng.normal(
        size=(n_features, n_features)
    )
    logits = X @ rng.normal(size=(n_features, n_classes)) / n_features
    return X, (logits + rng.gumbel(size=logits.shape)).argmax(1)
