r"""Full-batch solvers for softmax regression, on tensors; estimators are elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

# Trust-region constants of LIBLINEAR (Lin and More, 1999).
_ACCEPT, _POOR, _GOOD = 1e-4, 0.25, 0.75
_SHRINK, _GROW = 0.25, 4.0
# A step this small, relative to the iterate, is below what float64 can resolve.
_RESOLUTION = 1e-15


@dataclass
class Solution:
    r"""Where a solver ended, and how."""

    weight: Tensor
    bias: Tensor | None
    converged: bool
    gradient_norm: float
    objectives: list[float] = field(default_factory=list)

    @property
    def n_iter(self) -> int:
        r"""Number of steps taken, at least 1."""
        return max(len(self.objectives) - 1, 1)


class SoftmaxObjective:
    r"""Mean cross-entropy plus an L2 penalty, on standardised features.

    The features are centred (if there is an intercept, which absorbs the shift) and
    scaled, and the penalty is carried over, so that the minimum is that of the
    original problem but the Hessian is well conditioned whatever the features' units.

    Parameters
    ----------
    X : Tensor of shape (n_samples, n_features)
        The features.
    y : Tensor of shape (n_samples,), int64
        The classes' indices.
    sample_weight : Tensor of shape (n_samples,) or None
        Weight of each row.
    n_classes : int
        Number of classes.
    penalty : float
        Factor of half the squared norm of the weights.
    fit_intercept : bool
        Whether there is an unpenalised intercept.
    """

    def __init__(
        self,
        X: Tensor,
        y: Tensor,
        sample_weight: Tensor | None,
        n_classes: int,
        penalty: float,
        fit_intercept: bool,
    ) -> None:
        n_samples, n_features = X.shape
        if sample_weight is None:
            share = torch.full((n_samples, 1), 1 / n_samples, dtype=torch.float64)
        else:
            share = (sample_weight.double() / sample_weight.sum()).unsqueeze(1)
        self.share = share.to(X.device)
        self.y = y.unsqueeze(1)
        self.n_classes = n_classes
        self.fit_intercept = fit_intercept
        Z = X.to(torch.float64, copy=True)
        self.mean = torch.zeros(n_features, dtype=Z.dtype, device=Z.device)
        if fit_intercept:
            self.mean = (self.share * Z).sum(0)
            Z -= self.mean
        self.scale = (self.share * Z.square()).sum(0).sqrt()
        # Rounding leaves a constant feature with a tiny spread of no meaning.
        constant = self.scale <= 1e-14 * self.mean.abs()
        self.scale[constant | (self.scale == 0)] = 1.0
        Z /= self.scale
        Z[:, constant] = 0.0
        self.Z = Z
        self.penalty = penalty / self.scale**2

    def standardize(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        r"""Return ``(n_classes, n_features + 1)`` for standardised features."""
        columns = weight.double() * self.scale
        if bias is None:
            return columns
        shift = bias.double() + weight.double() @ self.mean
        return torch.cat([columns, shift.unsqueeze(1)], dim=1)

    def restore(self, theta: Tensor) -> tuple[Tensor, Tensor | None]:
        r"""Return weights and intercept on the input's scale."""
        if not self.fit_intercept:
            return theta / self.scale, None
        weight = theta[:, :-1] / self.scale
        return weight, theta[:, -1] - weight @ self.mean

    def value(self, theta: Tensor) -> tuple[float, Tensor]:
        r"""Return the objective and the log-probabilities of all rows."""
        log_proba = self._logits(theta).log_softmax(1)
        loss = -(log_proba.gather(1, self.y) * self.share).sum()
        weight = theta[:, : self.Z.shape[1]]
        return (loss + 0.5 * (self.penalty * weight.square()).sum()).item(), log_proba

    def gradient(self, theta: Tensor, proba: Tensor) -> Tensor:
        r"""Return the gradient, given the probabilities at ``theta``."""
        residual = proba.scatter_add(
            1, self.y, torch.full_like(self.share, -1.0).expand(-1, 1)
        )
        return self._back(residual * self.share, theta)

    def hessian_product(self, proba: Tensor, direction: Tensor) -> Tensor:
        r"""Return the Hessian at the point of ``proba`` times a direction."""
        change = proba * self._logits(direction)
        change -= proba * change.sum(1, keepdim=True)
        return self._back(change * self.share, direction)

    def _logits(self, theta: Tensor) -> Tensor:
        logits = self.Z @ theta[:, : self.Z.shape[1]].T
        return logits + theta[:, -1] if self.fit_intercept else logits

    def _back(self, residual: Tensor, theta: Tensor) -> Tensor:
        # (n_samples, n_classes) -> (n_classes, n_features)
        n_features = self.Z.shape[1]
        columns = residual.T @ self.Z + self.penalty * theta[:, :n_features]
        if not self.fit_intercept:
            return columns
        return torch.cat([columns, residual.sum(0).unsqueeze(1)], dim=1)


def newton_cg(
    objective: SoftmaxObjective,
    weight: Tensor,
    bias: Tensor | None,
    *,
    tol: float,
    max_iter: int,
) -> Solution:
    r"""Minimise by a trust-region Newton method with conjugate gradients.

    Parameters
    ----------
    objective : SoftmaxObjective
        What to minimise.
    weight : Tensor of shape (n_classes, n_features)
        Where to start.
    bias : Tensor of shape (n_classes,) or None
        Where to start; None without an intercept.
    tol : float
        Largest absolute entry of the gradient, with respect to the weights of
        standardised features, at which to stop.
    max_iter : int
        Most Newton steps.

    Returns
    -------
    solution : Solution
        Weights and intercept on the input's scale.

    References
    ----------
    Lin, Weng and Keerthi (2008). Trust Region Newton Method for Large-Scale Logistic
    Regression. Journal of Machine Learning Research 9.
    https://jmlr.org/papers/v9/lin08b.html
    """
    theta = objective.standardize(weight, bias)
    value, log_proba = objective.value(theta)
    proba = log_proba.exp()
    gradient = objective.gradient(theta, proba)
    radius = gradient.norm().item()
    objectives = [value]
    for _ in range(max_iter):
        if gradient.abs().max().item() <= tol:
            break
        step, predicted = _steihaug(objective, proba, gradient, radius)
        new_value, log_proba = objective.value(theta + step)
        actual = value - new_value
        # Near the minimum the decrease drowns in rounding; then trust the model.
        noise = 1e-14 * max(abs(value), 1.0)
        ratio = 1.0 if predicted <= noise and actual >= -noise else actual / predicted
        length = step.norm().item()
        if ratio < _POOR:
            radius = _SHRINK * min(length, radius)
        elif ratio > _GOOD and length > 0.99 * radius:
            radius *= _GROW
        if ratio > _ACCEPT:
            theta = theta + step
            value, proba = new_value, log_proba.exp()
            gradient = objective.gradient(theta, proba)
        objectives.append(value)
        if length <= _RESOLUTION * theta.norm().item():
            break
    largest = gradient.abs().max().item()
    solution = objective.restore(theta)
    return Solution(*solution, largest <= tol, largest, objectives)


def _steihaug(
    objective: SoftmaxObjective, proba: Tensor, gradient: Tensor, radius: float
) -> tuple[Tensor, float]:
    r"""Minimise the quadratic model within a ball; return step and model decrease."""
    step = torch.zeros_like(gradient)
    residual = -gradient
    direction = residual.clone()
    squared = residual.square().sum().item()
    norm = squared**0.5
    # Superlinear convergence: the closer to the minimum, the more exact the step.
    target = norm * min(0.1, norm**0.5)
    for _ in range(10 * gradient.numel()):
        if squared**0.5 <= target:
            break
        product = objective.hessian_product(proba, direction)
        curvature = (direction * product).sum().item()
        if curvature <= 0:
            # Flat along `direction`: the model's minimum is at the boundary.
            step = _to_boundary(step, direction, radius)
            residual = -gradient - objective.hessian_product(proba, step)
            break
        alpha = squared / curvature
        if (step + alpha * direction).norm().item() >= radius:
            longer = _to_boundary(step, direction, radius)
            taken = (longer - step).norm() / direction.norm()
            step, residual = longer, residual - taken * product
            break
        step = step + alpha * direction
        residual = residual - alpha * product
        previous, squared = squared, residual.square().sum().item()
        direction = residual + (squared / previous) * direction
    # The model at the step is (g + H s / 2) s with H s = -g - r.
    decrease = 0.5 * (step * (residual - gradient)).sum().item()
    return step, decrease


def _to_boundary(step: Tensor, direction: Tensor, radius: float) -> Tensor:
    a = direction.square().sum()
    b = (step * direction).sum()
    c = step.square().sum() - radius**2
    return step + ((-b + (b * b - a * c).clamp(min=0).sqrt()) / a) * direction
