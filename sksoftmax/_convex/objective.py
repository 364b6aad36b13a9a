r"""The objective of softmax regression on tensors: values, gradients and products.

One problem has many candidates: penalties and folds of the same rows, so that one wide
matrix product serves all of them. Shapes: M candidates, C classes, N rows, P columns.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import InitVar, dataclass

import torch
from torch import Tensor

from .common import Penalty
from .design_matrix import DenseRows, SparseRows

# Rows per unknown, at least, of a problem of a part of the rows.
_MIN_ROWS_PER_UNKNOWN = 1.5
# Added to the penalty of such a problem, on standardized features: few rows are fitted
# better than all rows can be.
_THINNED_RIDGE = 1e-3
# Penalties below it, on standardized features, hardly change a Hessian.
_NEGLIGIBLE_PENALTY = 1e-5
# Penalty levels per unit of the logarithm: penalties of a level differ by at most 5%.
_LEVELS_PER_E_FOLD = 20
# Largest unit of a feature: its square, times a penalty, is computed in float32. With
# it, nothing is left of the coefficients of a feature that is almost zero.
_LARGEST_UNIT = 1e15
# Largest lasso penalty: no gradient on standardized features is as large.
_LARGEST_LASSO = 1e24
# Smallest probability of a row's class whose odds float32 can compute.
_SMALLEST_PROBABILITY = 1e-30
# Largest such probability.
_LARGEST_PROBABILITY = 1 - 1e-6
# Steps of the power method. Its error is below a tenth then; a small change in a step
# is no stopping criterion, since it also occurs near the second largest eigenvalue.
_POWER_STEPS = 30
# Factor on the estimated largest eigenvalue, for the error of the power method.
_POWER_MARGIN = 1.1
# Smallest variance of a row's indicators in the bound of the curvature: it is 0 in
# float32 where all rows are certain.
_SMALLEST_VARIANCE = 1e-12


@dataclass
class Iterates:
    r"""Coefficients of candidates, with their objectives and gradients."""

    # (M,), int64: indices of the candidates in their problem.
    candidates: Tensor
    # (M, C, P), float64.
    coef: Tensor
    # (M,), float64.
    value: Tensor
    # (M, C, P), float64, without the lasso.
    gradient: Tensor
    # (M, C, N), float32.
    proba: Tensor

    def select(self, keep: Tensor) -> Iterates:
        r"""Return the iterates of some candidates, as a mask."""
        if keep.all():
            return self
        return Iterates(*(values[keep] for values in vars(self).values()))

    def update(self, index: Tensor, new: Iterates) -> None:
        r"""Replace some iterates in place."""
        for name, values in vars(new).items():
            if len(index) == len(self.value):
                setattr(self, name, values)
            else:
                getattr(self, name)[index] = values


@dataclass(eq=False)
class SoftmaxProblem:
    r"""Mean cross-entropy plus penalties, on standardized features, for candidates.

    For coefficients W (C, P) of standardized rows z and normalized sample weights s,
    a candidate's objective is

        sum_i s_i (logsumexp(W z_i) - (W z_i)[y_i]) + sum(ridge * W**2) / 2
        + sum(lasso * abs(W))

    The penalties of the original features are carried over (``ridge = l2_reg_strength *
    unit**2``, ``lasso = l1_reg_strength * unit``), hence the minimum is the original
    one, but the Hessian is well conditioned whatever the units of the features.

    Attributes
    ----------
    rows : DenseRows or SparseRows
        The features.
    y : Tensor of shape (n_samples,), int64
        Indices of the classes.
    n_classes : int
        Number of classes.
    sample_weight : Tensor of shape (n_folds, n_samples), float64
        Weight of each row in each fold; those of a fold sum to 1.
    penalties : sequence of Penalty
        Fold and penalty of each candidate.
    """

    rows: DenseRows | SparseRows
    y: Tensor
    n_classes: int
    sample_weight: Tensor
    penalties: InitVar[Sequence[Penalty]]

    def __post_init__(self, penalties: Sequence[Penalty]) -> None:
        y, sample_weight, rows = self.y, self.sample_weight, self.rows
        # (M,)
        self.fold = torch.tensor([p.fold for p in penalties], device=y.device)
        l2 = sample_weight.new_tensor([p.l2_reg_strength for p in penalties])
        l1 = sample_weight.new_tensor([p.l1_reg_strength for p in penalties])
        self.has_l1 = bool((l1 > 0).any())
        # (P,): an original coefficient is a standardized one times the unit. The
        # intercept, which is not penalized, has 0.
        self.unit = torch.zeros(rows.n_columns, dtype=torch.float64, device=y.device)
        largest = _LARGEST_UNIT / l2.max().clamp(min=1).sqrt()
        self.unit[: len(rows.scale)] = (1 / rows.scale).clamp(max=largest)
        self._set_sample_weight(sample_weight)
        self._set_penalties(l2, l1)

    def _set_sample_weight(self, sample_weight: Tensor) -> None:
        self.sample_weight = sample_weight
        self._float32_weight = sample_weight.float()

    def _set_penalties(self, l2: Tensor, l1: Tensor) -> None:
        self.l2_reg_strength, self.l1_reg_strength = l2, l1
        self.is_penalized = (l2 > 0) | (l1 > 0)
        # (M, P) and (M, 1, P)
        self.ridge = l2[:, None] * self.unit.square()
        self.lasso = (l1[:, None, None] * self.unit).clamp(max=_LARGEST_LASSO)

    def thinned(self, step: int) -> SoftmaxProblem | None:
        r"""Return the problem of every ``step``-th row; None if those are too few."""
        if isinstance(self.rows, SparseRows) or self.rows.is_small:
            return None
        weight = self.sample_weight[:, ::step]
        n_unknowns = self.n_classes * self.rows.n_columns
        if weight.shape[1] < _MIN_ROWS_PER_UNKNOWN * n_unknowns:
            return None
        if not is_representative(weight, self.rows.n_samples):
            return None
        thin = copy.copy(self)
        thin.rows, thin.y = self.rows.thinned(step), self.y[::step]
        thin._set_sample_weight(weight / weight.sum(1, keepdim=True))
        thin.ridge = self.ridge + _THINNED_RIDGE * (self.unit > 0)
        return thin

    def pooled(self) -> tuple[SoftmaxProblem, Tensor, Tensor] | None:
        r"""Return the problem of all folds' rows, with a candidate for each penalty.

        Returns
        -------
        pool, first, index : SoftmaxProblem, Tensor, Tensor, or None
            The problem; the candidates that its penalties are from; and the index of
            each candidate's penalty in it. None if it has no fewer candidates.
        """
        strengths = torch.stack([self.l2_reg_strength, self.l1_reg_strength], dim=1)
        unique, index = torch.unique(
            penalty_levels(strengths), dim=0, return_inverse=True
        )
        if len(unique) == len(index):
            return None
        is_member = index == torch.arange(len(unique), device=index.device)[:, None]
        first = is_member.int().argmax(1)
        pool = copy.copy(self)
        pool._set_sample_weight(self.sample_weight.mean(0, keepdim=True))
        pool.fold = torch.zeros_like(first)
        pool._set_penalties(self.l2_reg_strength[first], self.l1_reg_strength[first])
        return pool, first, index

    def evaluate(self, coef: Tensor, candidates: Tensor, precise: bool) -> Iterates:
        r"""Return objectives, gradients and probabilities.

        Parameters
        ----------
        coef : Tensor of shape (M, C, P), float64
            Coefficients.
        candidates : Tensor of shape (M,), int64
            Indices of the candidates.
        precise : bool
            Whether to compute in float64, or in float32.
        """
        n_candidates, n_classes, _ = coef.shape
        dtype = torch.float64 if precise else torch.float32
        stacked = coef.to(dtype).flatten(0, 1)
        penalized = self.ridge[candidates, None, :] * coef
        value = 0.5 * (penalized * coef).sum((1, 2))
        gradient = torch.zeros_like(stacked, dtype=torch.float64)
        shape = n_candidates, n_classes, self.rows.n_samples
        proba = torch.empty(shape, dtype=torch.float32, device=coef.device)
        sample_weight = self.sample_weight[self.fold[candidates]]
        for block in self.rows.blocks(len(stacked), precise):
            weight = sample_weight[:, block.rows].to(dtype)
            logits = block.forward(stacked).view(n_candidates, n_classes, -1)
            label = self.y[block.rows].expand(n_candidates, 1, -1)
            logits -= logits.amax(1, keepdim=True)
            true_logit = logits.gather(1, label).squeeze(1)
            residual = logits.exp_()
            total = residual.sum(1, keepdim=True)
            value += ((total.squeeze(1).log() - true_logit) * weight).sum(1).double()
            residual /= total
            proba[:, :, block.rows] = residual
            residual.scatter_add_(1, label, -torch.ones_like(label, dtype=dtype))
            residual *= weight[:, None, :]
            gradient += block.backward(residual.flatten(0, 1))
        value = value + self.lasso_value(coef, candidates)
        gradient = gradient.view(coef.shape) + penalized
        return Iterates(candidates, coef, value, gradient, proba)

    def hessian(self, proba: Tensor, candidates: Tensor, directions: Tensor) -> Tensor:
        r"""Return the Hessians at these probabilities times directions, in float32."""
        n_candidates, n_classes, _ = directions.shape
        stacked = directions.flatten(0, 1)
        product = torch.zeros_like(stacked)
        weight = self._float32_weight[self.fold[candidates]]
        for block in self.rows.blocks(len(stacked), precise=False):
            p = proba[:, :, block.rows]
            change = block.forward(stacked).view(n_candidates, n_classes, -1)
            change *= p
            change.addcmul_(p, change.sum(1, keepdim=True), value=-1)
            change *= weight[:, None, block.rows]
            product += block.backward(change.flatten(0, 1))
        ridge = self.ridge[candidates, None, :].float()
        return product.view(directions.shape) + ridge * directions

    def soften(self, proba: Tensor, softness: Tensor) -> Tensor:
        r"""Return probabilities that give misclassified rows some curvature.

        Where a row is classified as another class with certainty, the loss is a
        straight line without curvature, and the Newton step is too long. The quadratic
        bound of Jaakkola and Jordan leads as far beyond the decision boundary as the
        row is before it.

        Parameters
        ----------
        proba : Tensor of shape (n_candidates, n_classes, n_samples)
            The probabilities.
        softness : Tensor of shape (n_candidates,)
            Share of the way to the bound's curvature, from 0 to 1.

        Returns
        -------
        softened : Tensor of shape (n_candidates, n_classes, n_samples)
            Probabilities with those of misclassified rows raised.

        References
        ----------
        Jaakkola and Jordan (2000). Bayesian parameter estimation via variational
        methods. https://doi.org/10.1023/A:1008932416310
        """
        label = self.y.expand(len(proba), 1, -1)
        p = proba.gather(1, label).clamp(_SMALLEST_PROBABILITY, _LARGEST_PROBABILITY)
        margin = (p.reciprocal() - 1).log_()
        # The bound's curvature is the variance q * (1 - q) of an indicator.
        variance = (margin / 2).tanh() / (2 * margin)
        q = 0.5 - (0.25 - variance).clamp_(min=0).sqrt_()
        q = torch.where(margin > 0, q, p)
        q = torch.lerp(p, q, softness[:, None, None])
        softened = proba * ((1 - q) / (1 - p))
        return softened.scatter_(1, label, q)

    def covariance(self, proba: Tensor, candidates: Tensor) -> Tensor:
        r"""Return the mean covariance of the classes' indicators, in float64."""
        weighted = proba * self._float32_weight[self.fold[candidates], None, :]
        joint = weighted @ proba.mT
        return (torch.diag_embed(weighted.sum(2)) - joint).double()

    def subgradient(self, iterates: Iterates) -> Tensor:
        r"""Return the smallest subgradients with the lasso, of shape (M, C, P).

        At zero it is the distance of the gradient from ``[-lasso, lasso]``.
        """
        coef, gradient = iterates.coef, iterates.gradient
        if not self.has_l1:
            return gradient
        lasso = self.lasso[iterates.candidates]
        at_zero = (gradient.abs() - lasso).clamp(min=0)
        return torch.where(coef == 0, at_zero, gradient + lasso * coef.sign())

    def gradient_norm(self, iterates: Iterates) -> Tensor:
        r"""Return the largest entry of each candidate's smallest subgradient."""
        return self.subgradient(iterates).abs().amax((1, 2))

    def lasso_value(self, coef: Tensor, candidates: Tensor) -> Tensor:
        r"""Return the lasso's part of each candidate's objective."""
        if not self.has_l1:
            return coef.new_zeros(len(coef))
        return (self.lasso[candidates] * coef.abs()).sum((1, 2))

    def curvature_bound(self, proba: Tensor, candidates: Tensor) -> Tensor:
        r"""Return a bound of the Hessians' curvature by column, of shape (M, 1, P)."""
        # Gershgorin: no eigenvalue of diag(p) - p p^T exceeds 2 max p (1 - p).
        variance = (2 * (proba * (1 - proba)).amax(1)).clamp(min=_SMALLEST_VARIANCE)
        weight = self._float32_weight[self.fold[candidates]] * variance
        # A random start: equal entries are orthogonal to opposed features.
        generator = torch.Generator().manual_seed(0)
        vector = torch.randn(
            self.rows.n_columns, dtype=torch.float32, generator=generator
        ).to(weight)
        vector = vector.expand(len(candidates), -1)
        for _ in range(_POWER_STEPS):
            product = torch.zeros_like(vector)
            for block in self.rows.blocks(len(candidates), precise=False):
                change = block.forward(vector) * weight[:, block.rows]
                product += block.backward(change)
            norm = torch.linalg.vector_norm(product, dim=1)
            vector = product / norm[:, None]
        bound: Tensor = _POWER_MARGIN * norm.double()[:, None] + self.ridge[candidates]
        return bound[:, None, :]


def penalty_levels(penalty: Tensor) -> Tensor:
    r"""Return numbers that are equal for (nearly) equal penalties."""
    return (_LEVELS_PER_E_FOLD * penalty.clamp(min=_NEGLIGIBLE_PENALTY).log()).round()


def is_representative(sample_weight: Tensor, n_samples: int) -> bool:
    r"""Return whether a part of the rows has about its share of every fold's weight.

    A part of every eighth row has none of a fold that holds out every eighth row.
    """
    expected = sample_weight.shape[1] / n_samples
    return bool((sample_weight.sum(1) > 0.5 * expected).all())
