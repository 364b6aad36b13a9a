r"""Newton steps and proximal Newton steps of many candidates at once.

Without a lasso a step solves ``H @ coef_newton = -gradient``, by conjugate gradients.
With a lasso it minimizes the quadratic model plus the lasso, by accelerated proximal
gradients (FISTA). Candidates leave the loop when their step is accurate enough.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .deflation import Deflation
from .objective import Iterates, SoftmaxProblem
from .preconditioner import Inverse

# Conjugate gradient steps for a Newton step.
_MAX_PRODUCTS_PER_STEP = 500
# Proximal gradient steps for a proximal Newton step.
_MAX_PROXIMAL_STEPS = 2000
# Share of the remaining candidates at which the others leave: a copy of probabilities
# costs about as much as a product.
_SHARE_REMAINING = 0.7


def newton_steps(
    problem: SoftmaxProblem, iterates: Iterates, inverse: Inverse, accuracy: Tensor
) -> tuple[Tensor, Tensor, Deflation]:
    r"""Solve ``H @ coef_newton = -gradient`` by preconditioned conjugate gradients.

    Parameters
    ----------
    problem : SoftmaxProblem
        The problem.
    iterates : Iterates
        The iterates, whose probabilities determine H.
    inverse : Inverse
        Approximate inverses of their Hessians.
    accuracy : Tensor of shape (M,)
        Factor by which the preconditioned norm of the residual is reduced.

    Returns
    -------
    coef_newton : Tensor of shape (M, C, P), float64
        The steps; those of candidates without any curvature are scaled gradients.
    n_products : Tensor of shape (M,)
        Number of products with each candidate's Hessian.
    deflation : Deflation
        The first directions, for the preconditioner of the next step.
    """
    gradient = iterates.gradient
    unit = gradient.abs().amax((1, 2), keepdim=True)
    residual = (gradient / -unit).float()
    direction = solved = first = _centered(inverse.solve(residual))
    steps = torch.zeros_like(residual)
    squared_norm = (residual * solved).sum((1, 2))
    goal = accuracy.float().square() * squared_norm
    active = torch.arange(len(gradient), device=gradient.device)
    n_products = torch.ones_like(active)
    deflation = inverse.deflation.empty_like()
    for index in range(_MAX_PRODUCTS_PER_STEP):
        product = problem.hessian(iterates.proba, iterates.candidates, direction)
        curvature = (direction * product).sum((1, 2))
        if index < deflation.n_directions:
            deflation.add((active, index), direction, product, curvature)
        # Candidates that are done continue until enough are; their curvature may be 0.
        length = _ratio(squared_norm, curvature)
        steps[active] += length * direction
        residual.addcmul_(length, product, value=-1)
        solved = _centered(inverse.solve(residual))
        previous, squared_norm = squared_norm, (residual * solved).sum((1, 2))
        remaining = (squared_norm > goal) & (curvature > 0)
        n_products[active[remaining]] += 1
        n_remaining = int(remaining.sum())
        if not n_remaining:
            break
        direction = torch.addcmul(solved, _ratio(squared_norm, previous), direction)
        if n_remaining < _SHARE_REMAINING * len(active):
            iterates = iterates.select(remaining)
            inverse = inverse.select(remaining)
            active, goal, direction, residual, squared_norm = _select(
                remaining, active, goal, direction, residual, squared_norm
            )
    has_no_curvature = (steps == 0).all(2).all(1)[:, None, None]
    steps = torch.where(has_no_curvature, first, steps)
    # Centered again in float64: a shift left by rounding would add up.
    return _centered(steps.double() * unit), n_products, deflation


def _centered(directions: Tensor) -> Tensor:
    r"""Return directions without the shift of all classes, which has no curvature."""
    return directions - directions.mean(1, keepdim=True)


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    r"""Return ratios of shape (M, 1, 1), 0 where the denominator is not positive."""
    return torch.where(denominator > 0, numerator / denominator, 0.0)[:, None, None]


def _select(keep: Tensor, *tensors: Tensor) -> Iterator[Tensor]:
    return (tensor[keep] for tensor in tensors)


def proximal_newton_targets(
    problem: SoftmaxProblem, iterates: Iterates, accuracy: Tensor
) -> Tensor:
    r"""Minimize the quadratic models plus the lasso by accelerated proximal gradients.

    Parameters
    ----------
    problem : SoftmaxProblem
        The problem.
    iterates : Iterates
        The iterates.
    accuracy : Tensor of shape (M,)
        Factor by which the norm of the subgradient is reduced.

    Returns
    -------
    targets : Tensor of shape (M, C, P), float64
        The minima, with exact zeros.

    References
    ----------
    O'Donoghue and Candes (2015). Adaptive Restart for Accelerated Gradient Schemes.
    https://doi.org/10.1007/s10208-013-9150-3
    """
    bound = problem.curvature_bound(iterates.proba, iterates.candidates)
    threshold = problem.lasso[iterates.candidates] / bound
    goal = accuracy * problem.gradient_norm(iterates)
    targets = iterates.coef.clone()
    active = torch.arange(len(goal), device=goal.device)
    ahead = step = torch.zeros_like(targets)
    momentum = torch.ones_like(goal)
    for _ in range(_MAX_PROXIMAL_STEPS):
        product = problem.hessian(
            iterates.proba, iterates.candidates, ahead.float()
        ).double()
        target = iterates.coef + ahead - (iterates.gradient + product) / bound
        target = target.sign() * (target.abs() - threshold).clamp(min=0)
        targets[active] = target
        previous, step = step, target - iterates.coef
        change = step - ahead
        remaining = (bound * change).abs().amax((1, 2)) > goal
        n_remaining = int(remaining.sum())
        if not n_remaining:
            break
        # Restart where the momentum leads uphill.
        uphill = (change * (step - previous)).sum((1, 2)) < 0
        following = (1 + (1 + 4 * momentum.square()).sqrt()) / 2
        ratio = torch.where(uphill, 0.0, (momentum - 1) / following)
        ahead = step + ratio[:, None, None] * (step - previous)
        momentum = torch.where(uphill, 1.0, following)
        if n_remaining < _SHARE_REMAINING * len(active):
            iterates = iterates.select(remaining)
            active, bound, threshold, goal, ahead, step, momentum = _select(
                remaining, active, bound, threshold, goal, ahead, step, momentum
            )
    return targets
