r"""The objective of softmax regression on tensors: values, gradients and products.

One problem may have many candidates: penalties and foldings of the same rows, so that
one wide matrix product serves all of them.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .common import Penalty
from .design_matrix import DenseRows, SparseRows

# A thinned problem has so many times as many rows as unknowns, or it is of no use.
_THIN_ROWS_PER_UNKNOWN = 1.5
# Added to a thinned problem's penalty on standardised features, since few rows would
# be fitted better than all of them can be.
_THIN_RIDGE = 1e-3
# A penalty so small, on standardised features, hardly changes a Hessian.
_NEGLIGIBLE_PENALTY = 1e-5
# Features that are almost zero have a larger unit, whose square, times a penalty,
# float32 cannot compute with. This one already leaves nothing of their weights.
_LARGEST_UNIT = 1e12
# No gradient with respect to the weights of standardised features is as large.
_LARGEST_LASSO = 1e24
# Probabilities of a row's own class, between which odds can be computed in float32.
_LEAST_PROBABILITY, _LARGEST_PROBABILITY = 1e-30, 1 - 1e-6
# Steps of the power method, which is off by less than a tenth then. That its vector
# hardly grows any more is no sign: so it does near the second largest eigenvalue.
_POWER_STEPS = 30
# Where all rows are sure to the last bit of float32, there still is a step to make.
_LEAST_VARIANCE = 1e-12


@dataclass
class Point:
    r"""What is known where some candidates stand."""

    value: Tensor
    gradient: Tensor
    # (n_candidates, n_classes, n_samples), float32
    proba: Tensor

    def select(self, keep: Tensor) -> Point:
        r"""Return what is known of some of the candidates."""
        if keep.all():
            return self
        return Point(self.value[keep], self.gradient[keep], self.proba[keep])

    def update(self, where: Tensor, new: Point) -> None:
        r"""Take on what is newly known of some of the candidates."""
        if len(where) == len(self.value):
            self.value, self.gradient, self.proba = new.value, new.gradient, new.proba
            return
        self.value[where] = new.value
        self.gradient[where] = new.gradient
        self.proba[where] = new.proba


class SoftmaxProblem:
    r"""Mean cross-entropy plus penalties, on standardised features, for candidates.

    The penalties are carried over, so that the minimum is that of the original
    problem but the Hessian is well conditioned whatever the features' units.

    Parameters
    ----------
    rows : DenseRows or SparseRows
        The features.
    y : Tensor of shape (n_samples,), int64
        The classes' indices.
    n_classes : int
        Number of classes.
    share : Tensor of shape (n_folds, n_samples), float64
        Weight of each row in each folding; each sums to 1.
    penalties : sequence of Penalty
        Folding and penalty of each candidate.
    """

    def __init__(
        self,
        rows: DenseRows | SparseRows,
        y: Tensor,
        n_classes: int,
        share: Tensor,
        penalties: Sequence[Penalty],
    ) -> None:
        self.rows = rows
        self.y = y
        self.n_classes = n_classes
        self.fold = torch.tensor([p.fold for p in penalties], device=y.device)
        l2 = share.new_tensor([p.l2_reg_strength for p in penalties])
        l1 = share.new_tensor([p.l1_reg_strength for p in penalties])
        self.has_l1 = bool((l1 > 0).any())
        # What a unit of the original weights is in standardised ones; the intercept's
        # is 0, since it is not penalised.
        self.unit = torch.zeros(rows.n_columns, dtype=torch.float64, device=y.device)
        most = _LARGEST_UNIT / l2.max().clamp(min=1).sqrt()
        self.unit[: len(rows.scale)] = (1 / rows.scale).clamp(max=most)
        self._set_share(share)
        self._set_penalties(l2, l1)

    def _set_share(self, share: Tensor) -> None:
        self.share = share
        self._float_share = share.float()

    def _set_penalties(self, l2: Tensor, l1: Tensor) -> None:
        self.l2, self.l1 = l2, l1
        self.is_penalized = (l2 > 0) | (l1 > 0)
        self.ridge = l2[:, None] * self.unit.square()
        self.lasso = (l1[:, None, None] * self.unit).clamp(max=_LARGEST_LASSO)

    def thinned(self, step: int) -> SoftmaxProblem | None:
        r"""Return the problem of every so manieth row, if there are enough of them."""
        if isinstance(self.rows, SparseRows) or self.rows.is_small:
            return None
        share = self.share[:, ::step]
        if (
            share.shape[1]
            < _THIN_ROWS_PER_UNKNOWN * self.n_classes * self.rows.n_columns
        ):
            return None
        if not are_typical(share, self.rows.n_samples):
            return None
        thin = copy.copy(self)
        thin.rows, thin.y = self.rows.thinned(step), self.y[::step]
        thin._set_share(share / share.sum(1, keepdim=True))
        thin.ridge = self.ridge + _THIN_RIDGE * (self.unit > 0)
        return thin

    def pooled(self) -> tuple[SoftmaxProblem, Tensor] | None:
        r"""Return the problem of all folds' rows together, and who is whose candidate.

        It has one candidate for each penalty; None if that makes them no fewer.
        """
        both = torch.stack([kinds(self.l2), kinds(self.l1)], dim=1)
        keys, member = torch.unique(both, dim=0, return_inverse=True)
        if len(keys) == len(member):
            return None
        first = first_members(member, len(keys))
        pool = copy.copy(self)
        pool._set_share(self.share.mean(0, keepdim=True))
        pool.fold = torch.zeros_like(first)
        pool._set_penalties(self.l2[first], self.l1[first])
        return pool, member

    def evaluate(self, theta: Tensor, which: Tensor, precise: bool) -> Point:
        r"""Return what is known at ``theta`` of some candidates, without the lasso."""
        n_candidates, n_classes, n_columns = theta.shape
        dtype = torch.float64 if precise else torch.float32
        n_products = n_candidates * n_classes
        stacked = theta.to(dtype).view(n_products, n_columns)
        penalized = self.ridge[which, None, :] * theta
        value = 0.5 * (penalized * theta).sum((1, 2))
        gradient = torch.zeros_like(stacked, dtype=torch.float64)
        proba = torch.empty(
            n_candidates,
            n_classes,
            self.rows.n_samples,
            dtype=torch.float32,
            device=theta.device,
        )
        share = self.share[self.fold[which]]
        for block in self.rows.blocks(n_products, precise):
            weight = share[:, block.rows].to(dtype)
            logits = block.forward(stacked).view(n_candidates, n_classes, -1)
            index = self.y[block.rows].expand(n_candidates, 1, -1)
            logits -= logits.amax(1, keepdim=True)
            target = logits.gather(1, index).squeeze(1)
            residual = logits.exp_()
            total = residual.sum(1, keepdim=True)
            value += ((total.squeeze(1).log() - target) * weight).sum(1).double()
            residual /= total
            proba[:, :, block.rows] = residual
            residual.scatter_add_(1, index, -torch.ones_like(index, dtype=dtype))
            residual *= weight[:, None, :]
            gradient += block.backward(residual.view(n_products, -1))
        return Point(value, gradient.view(theta.shape) + penalized, proba)

    def hessian(self, proba: Tensor, which: Tensor, directions: Tensor) -> Tensor:
        r"""Return the Hessians where the probabilities are these, times directions."""
        n_candidates, n_classes, n_columns = directions.shape
        stacked = directions.view(n_candidates * n_classes, n_columns)
        product = torch.zeros_like(stacked)
        share = self._float_share[self.fold[which]]
        for block in self.rows.blocks(len(stacked), precise=False):
            p = proba[:, :, block.rows]
            change = block.forward(stacked).view(n_candidates, n_classes, -1)
            change *= p
            change.addcmul_(p, change.sum(1, keepdim=True), value=-1)
            change *= share[:, None, block.rows]
            product += block.backward(change.view(len(stacked), -1))
        ridge = self.ridge[which, None, :].float()
        return product.view(directions.shape) + ridge * directions

    def soften(self, proba: Tensor, softness: Tensor) -> Tensor:
        r"""Return probabilities at which rows that are lost have some curvature.

        Where a row is taken for another class, the loss is a straight line, and a
        Newton step knows no end there. The bound of Jaakkola and Jordan has the
        curvature that leads as far beyond the boundary as the row is before it.

        Parameters
        ----------
        proba : Tensor of shape (n_candidates, n_classes, n_samples)
            The probabilities.
        softness : Tensor of shape (n_candidates,)
            How much of the way to go, from 0 (none) to 1 (all).

        Returns
        -------
        softened : Tensor of shape (n_candidates, n_classes, n_samples)
            Those of lost rows raised, as far as asked for; the others as they were.

        References
        ----------
        Jaakkola and Jordan (2000). Bayesian parameter estimation via variational
        methods. https://doi.org/10.1023/A:1008932416310
        """
        index = self.y.expand(len(proba), 1, -1)
        own = proba.gather(1, index).clamp(_LEAST_PROBABILITY, _LARGEST_PROBABILITY)
        margin = (own.reciprocal() - 1).log_()
        # The variance of a class's indicator, which the bound wants: own * (1 - own).
        variance = (margin / 2).tanh() / (2 * margin)
        wanted = 0.5 - (0.25 - variance).clamp_(min=0).sqrt_()
        wanted = torch.where(margin > 0, wanted, own)
        wanted = torch.lerp(own, wanted, softness[:, None, None])
        softened = proba * ((1 - wanted) / (1 - own))
        return softened.scatter_(1, index, wanted)

    def covariance(self, proba: Tensor, which: Tensor) -> Tensor:
        r"""Return the mean covariance of the classes' indicators, in float64."""
        weighted = proba * self._float_share[self.fold[which], None, :]
        joint = weighted @ proba.mT
        return (torch.diag_embed(weighted.sum(2)) - joint).double()

    def stationarity(self, theta: Tensor, gradient: Tensor, which: Tensor) -> Tensor:
        r"""Return the largest entry of each candidate's smallest subgradient."""
        if self.has_l1:
            lasso = self.lasso[which]
            at_zero = (gradient.abs() - lasso).clamp(min=0)
            gradient = torch.where(theta == 0, at_zero, gradient + lasso * theta.sign())
        norm: Tensor = torch.linalg.vector_norm(gradient, torch.inf, dim=(1, 2))
        return norm

    def lasso_value(self, theta: Tensor, which: Tensor) -> Tensor:
        r"""Return the lasso's part of each candidate's objective."""
        if not self.has_l1:
            return theta.new_zeros(len(theta))
        return (self.lasso[which] * theta.abs()).sum((1, 2))

    def curvature_bound(self, proba: Tensor, which: Tensor) -> Tensor:
        r"""Return more than the Hessians' curvature there, by column."""
        # The covariance of a row's indicators has no larger eigenvalue (Gershgorin).
        most = 2 * (proba * (1 - proba)).amax(1)
        weight = self._float_share[self.fold[which]] * most.clamp(min=_LEAST_VARIANCE)
        # Equal entries would be orthogonal to how two opposed features vary.
        generator = torch.Generator().manual_seed(0)
        vector = torch.randn(
            self.rows.n_columns, dtype=torch.float32, generator=generator
        ).to(weight)
        vector = vector.expand(len(which), -1)
        for _ in range(_POWER_STEPS):
            product = torch.zeros_like(vector)
            for block in self.rows.blocks(len(which), precise=False):
                change = block.forward(vector) * weight[:, block.rows]
                product += block.backward(change)
            size = torch.linalg.vector_norm(product, dim=1)
            vector = product / size[:, None]
        bound: Tensor = 1.1 * size.double()[:, None] + self.ridge[which]
        return bound[:, None, :]


def kinds(penalty: Tensor) -> Tensor:
    r"""Return the same number for (nearly) the same penalty."""
    return (20 * penalty.clamp(min=_NEGLIGIBLE_PENALTY).log()).round()


def first_members(group: Tensor, n_groups: int) -> Tensor:
    r"""Return the index of each group's first member."""
    groups = torch.arange(n_groups, device=group.device)
    return (group == groups[:, None]).int().argmax(1)


def are_typical(share: Tensor, n_samples: int) -> bool:
    r"""Return whether a part of the rows has about its part of every fold's weight.

    A fold that holds out every eighth row has none of theirs, for example.
    """
    expected = share.shape[1] / n_samples
    return bool((share.sum(1) > 0.5 * expected).all())
