r"""Full-batch solvers for softmax regression, on tensors; estimators are elsewhere.

One problem may have many candidates: penalties and foldings of the same rows, solved
together, so that one wide matrix product serves all of them.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ._preconditioners import (
    DenseInverse,
    DiagonalInverse,
    Kronecker,
    KroneckerInverse,
    exact,
    jacobi,
)
from ._rows import DenseRows, SparseRows
from ._small_problems import DECREASE, NOISE, SMALLEST_STEP, solve_small

Inverse = KroneckerInverse | DenseInverse | DiagonalInverse

# What rounding may add to an objective, relative to it or to 1, by whether in float64.
_NOISE = {True: NOISE, False: 5e-7}
# From these gradients on, float32 and float64 can no longer tell better from worse.
_COARSE_TOL, _FINEST_TOL = 1e-6, 1e-14
# The way is begun on every so manieth row, if these are so many times the unknowns, and
# until the gradient is of the size of what they miss.
_THINNING, _THIN_ROWS_PER_UNKNOWN, _NEAR_TOL = 8, 4, 2e-3
# Most conjugate gradient steps for a Newton step, how many call for a better
# preconditioner, and rows per unknown to estimate an exact one.
_MOST_PRODUCTS, _MANY_PRODUCTS, _ROWS_PER_UNKNOWN = 500, 8, 16
# The eigenvectors of more columns would cost more than they save.
_MOST_KRONECKER = 2000
# A penalty so small, on standardised features, hardly changes a Hessian.
_NEGLIGIBLE_PENALTY = 1e-6
# Up to so many operations, an exact Hessian costs no more than the calls for it.
_FEW_OPERATIONS = 2**23
# So few numbers are multiplied in float64: weak curvatures drown in float32.
_SMALL = 2**18
# Most proximal gradient steps for a proximal Newton step, and steps of the power
# method, which is off by less than a tenth then.
_MOST_PROXIMAL_STEPS, _POWER_STEPS = 2000, 30


@dataclass
class Solution:
    r"""Where a solver ended for one candidate, and how."""

    weight: Tensor
    bias: Tensor | None
    converged: bool
    gradient_norm: float
    objectives: list[float] = field(default_factory=list)

    @property
    def n_iter(self) -> int:
        r"""Number of steps taken, at least 1."""
        return max(len(self.objectives) - 1, 1)


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
    fold : Tensor of shape (n_candidates,), int64
        Each candidate's folding.
    l2 : Tensor of shape (n_candidates,), float64
        Factor of half the squared norm of the weights.
    l1 : Tensor of shape (n_candidates,), float64
        Factor of the sum of the weights' absolute values.
    """

    def __init__(
        self,
        rows: DenseRows | SparseRows,
        y: Tensor,
        n_classes: int,
        share: Tensor,
        fold: Tensor,
        l2: Tensor,
        l1: Tensor,
    ) -> None:
        self.rows = rows
        self.y = y
        self.n_classes = n_classes
        self.fold = fold
        self.has_l1 = bool((l1 > 0).any())
        # What a unit of the original weights is in standardised ones; the intercept's
        # is 0, since it is not penalised.
        self.unit = torch.zeros(rows.n_columns, dtype=torch.float64, device=y.device)
        self.unit[: len(rows.scale)] = 1 / rows.scale
        self._kronecker: Kronecker | None = None
        self._set_share(share)
        self._set_penalties(l2, l1)

    def _set_share(self, share: Tensor) -> None:
        self.share = share
        self._float_share = share.float()
        self._largest: Tensor | None = None

    def _set_penalties(self, l2: Tensor, l1: Tensor) -> None:
        self.l2, self.l1 = l2, l1
        self.ridge = l2[:, None] * self.unit.square()
        self.lasso = l1[:, None, None] * self.unit

    def thinned(self, step: int) -> SoftmaxProblem | None:
        r"""Return the problem of every so manieth row, if that has enough of them."""
        if isinstance(self.rows, SparseRows):
            return None
        share = self.share[:, ::step]
        if (
            share.shape[1]
            < _THIN_ROWS_PER_UNKNOWN * self.n_classes * self.rows.n_columns
        ):
            return None
        if not _are_typical(share, self.rows.n_samples):
            return None
        thin = copy.copy(self)
        thin.rows, thin.y = self.rows.thinned(step), self.y[::step]
        thin._set_share(share / share.sum(1, keepdim=True))
        return thin

    def pooled(self) -> tuple[SoftmaxProblem, Tensor] | None:
        r"""Return the problem of all folds' rows together, and who is whose candidate.

        It has one candidate for each penalty; None if that makes them no fewer.
        """
        kinds = torch.stack([_kinds(self.l2), _kinds(self.l1)], dim=1)
        keys, member = torch.unique(kinds, dim=0, return_inverse=True)
        if len(keys) == len(member):
            return None
        first = _first_members(member, len(keys))
        pool = copy.copy(self)
        pool._set_share(self.share.mean(0, keepdim=True))
        pool.fold = torch.zeros_like(first)
        pool._set_penalties(self.l2[first], self.l1[first])
        return pool, member

    def standardize(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        r"""Return ``(n_classes, n_columns)`` for standardised features."""
        columns = weight.double() * self.rows.scale
        if bias is None:
            return columns
        shift = bias.double() + weight.double() @ self.rows.mean
        return torch.cat([columns, shift.unsqueeze(1)], dim=1)

    def restore(self, theta: Tensor) -> tuple[Tensor, Tensor | None]:
        r"""Return weights and intercept on the input's scale."""
        if not self.rows.fit_intercept:
            return theta / self.rows.scale, None
        weight = theta[:, :-1] / self.rows.scale
        return weight, theta[:, -1] - weight @ self.rows.mean

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
            n_candidates, n_classes, self.rows.n_samples, device=theta.device
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

    def precondition(self, proba: Tensor, which: Tensor) -> Inverse:
        r"""Return a cheap approximate inverse of the Hessians."""
        if isinstance(self.rows, SparseRows) or self.rows.n_columns > _MOST_KRONECKER:
            share = self._float_share[self.fold[which], None, :]
            spread = (proba * (1 - proba)).mul_(share)
            squares = self.rows.diagonal(spread.flatten(0, 1))
            return jacobi(squares.view(*proba.shape[:2], -1), self.ridge[which])
        if self._kronecker is None:
            # Folds share most rows: one matrix of all rows does for every fold.
            self._kronecker = Kronecker(self.rows.gram(self.share.mean(0)), self.unit)
        covariance = self.covariance(proba, which)
        return self._kronecker.at(self.l2[which], covariance)

    def refine(
        self, inverse: Inverse | None, proba: Tensor, which: Tensor, n_products: int
    ) -> Inverse:
        r"""Return an inverse that pays where the last step took so many products."""
        if inverse is not None and n_products <= _MANY_PRODUCTS:
            return inverse
        n_samples, n_columns = self.rows.n_samples, self.rows.n_columns
        size = self.n_classes * n_columns
        n_rows = min(n_samples, _ROWS_PER_UNKNOWN * size)
        # Folds share most rows: one Hessian does for (nearly) the same penalty.
        kinds = _kinds(self.l2[which])
        key, group = torch.unique(kinds, return_inverse=True)
        # A product is bound by memory, so its operations take about ten times as long
        # as those of the exact Hessian, which saves the next steps' products as well.
        horizon = 10.0 if isinstance(inverse, DenseInverse) else 30.0
        worth = horizon * n_products * n_samples * size
        # Products of many candidates at once are wide, and less bound by memory.
        worth *= 1 if len(which) == 1 else len(which) / 3
        if isinstance(self.rows, DenseRows) and len(key) * n_rows * size**2 < worth:
            Z, rows = self.rows.sample(n_rows)
            if Z.numel() <= _SMALL:
                Z = Z.double()
            first = _first_members(group, len(key))
            share = self.share[self.fold[which[first]]][:, rows]
            better = None
            if _are_typical(share, n_samples):
                share = share / share.sum(1, keepdim=True)
                ridge = self.ridge[which[first]]
                better = exact(Z, proba[first][:, :, rows], share, ridge)
            if better is not None:
                return DenseInverse(better, group)
        if isinstance(inverse, DenseInverse):
            return inverse
        return self.precondition(proba, which)

    def curvature_bound(self, which: Tensor) -> Tensor:
        r"""Return more than the Hessians' curvature, by column."""
        if self._largest is None:
            self._largest = torch.stack(
                [self._largest_eigenvalue(share) for share in self.share]
            )
        # The covariance of indicators has no eigenvalue above a half.
        bound = 0.5 * self._largest[self.fold[which]][:, None]
        return (bound + self.ridge[which])[:, None, :]

    def _largest_eigenvalue(self, share: Tensor) -> Tensor:
        r"""Return a little more than the Gram matrix's largest eigenvalue."""
        # Equal entries would be orthogonal to how two opposed features vary.
        generator = torch.Generator().manual_seed(0)
        vector = torch.randn(1, len(self.unit), generator=generator).to(self.unit)
        size = 0.0
        for _ in range(_POWER_STEPS):
            product = torch.zeros_like(vector)
            for block in self.rows.blocks(1, precise=True):
                product += block.backward(block.forward(vector) * share[block.rows])
            size = product.norm().item()
            vector = product / size
        return vector.new_tensor(1.1 * size)


def _kinds(penalty: Tensor) -> Tensor:
    r"""Return the same number for (nearly) the same penalty."""
    return (20 * penalty.clamp(min=_NEGLIGIBLE_PENALTY).log()).round()


def _first_members(group: Tensor, n_groups: int) -> Tensor:
    r"""Return the index of each group's first member."""
    groups = torch.arange(n_groups, device=group.device)
    return (group == groups[:, None]).int().argmax(1)


def _are_typical(share: Tensor, n_samples: int) -> bool:
    r"""Return whether a part of the rows has about its part of every fold's weight.

    A fold that holds out every eighth row has none of theirs, for example.
    """
    expected = share.shape[1] / n_samples
    return bool((share.sum(1) > 0.5 * expected).all())


def minimize(
    problem: SoftmaxProblem, start: Tensor, *, tol: float, max_iter: int
) -> list[Solution]:
    r"""Minimise by Newton's method with preconditioned conjugate gradients.

    Far from the minimum everything is computed in float32; the end is decided in
    float64. With a lasso, the quadratic model is minimised by accelerated proximal
    gradient steps instead.

    Parameters
    ----------
    problem : SoftmaxProblem
        What to minimise.
    start : Tensor of shape (n_candidates, n_classes, n_columns), float64
        Where to start, for standardised features.
    tol : float
        Largest absolute entry of the gradient, with respect to the weights of
        standardised features, at which to stop; what rounding leaves is let be.
    max_iter : int
        Most Newton steps.

    Returns
    -------
    solutions : list of Solution
        One for each candidate.

    References
    ----------
    Nocedal and Wright (2006). Numerical Optimization, chapter 7.
    https://doi.org/10.1007/978-0-387-40065-5

    Lee, Sun and Saunders (2014). Proximal Newton-type Methods for Minimizing Composite
    Functions. https://arxiv.org/abs/1206.1623
    """
    theta, tol = start.clone(), max(tol, _FINEST_TOL)
    if not problem.has_l1:
        # A shift common to all classes changes nothing but the penalty.
        theta -= theta.mean(1, keepdim=True)
    n_unknowns = problem.n_classes * problem.rows.n_columns
    if (
        len(theta) == 1
        and not problem.has_l1
        and isinstance(problem.rows, DenseRows)
        and problem.rows.is_small
        and problem.rows.n_samples * n_unknowns**2 <= _FEW_OPERATIONS
    ):
        small = _solve_small(problem, problem.rows, theta[0], tol, max_iter)
        if small is not None:
            return [small]
    descent = _Descent(problem, theta, max_iter)
    if not start.any():
        descent.n_products = _approach(problem, theta, max_iter)
    if not problem.rows.is_small:
        size = descent.run(max(tol, _COARSE_TOL), precise=False)
    if problem.rows.is_small or tol < _COARSE_TOL:
        size = descent.run(tol, precise=True)
    solutions = []
    for b, objectives in enumerate(descent.objectives):
        weight, bias = problem.restore(theta[b])
        norm = size[b].item()
        solutions.append(Solution(weight, bias, norm <= tol, norm, objectives))
    return solutions


def _approach(problem: SoftmaxProblem, theta: Tensor, max_iter: int) -> int:
    r"""Come near the minima on all folds' rows together, and on a part of the rows.

    Returns how many products the last step took.
    """
    pooled = problem.pooled()
    if pooled is not None:
        simpler, member = pooled
        common = theta[_first_members(member, len(simpler.fold))]
        n_products = _approach(simpler, common, max_iter)
    else:
        thin = problem.thinned(_THINNING)
        if thin is None:
            return 0
        simpler, member = thin, torch.arange(len(theta), device=theta.device)
        common, n_products = theta, 0
    descent = _Descent(simpler, common, max_iter)
    descent.n_products = n_products
    descent.run(_NEAR_TOL, precise=simpler.rows.is_small)
    theta.copy_(common[member])
    problem._kronecker = simpler._kronecker
    return descent.n_products


def _solve_small(
    problem: SoftmaxProblem, rows: DenseRows, theta: Tensor, tol: float, max_iter: int
) -> Solution | None:
    r"""Minimise for one small candidate; None if a Hessian is singular."""
    [block] = rows.blocks(1, precise=True)
    solved = solve_small(
        block.Z.cpu().numpy(),
        problem.y.cpu().numpy(),
        problem.share[problem.fold[0]].cpu().numpy(),
        problem.ridge[0].cpu().numpy(),
        theta.cpu().numpy(),
        tol,
        max_iter,
    )
    if solved is None:
        return None
    found, norm, objectives = solved
    weight, bias = problem.restore(torch.from_numpy(found).to(theta.device))
    return Solution(weight, bias, norm <= tol, norm, objectives)


class _Descent:
    r"""Newton steps of all candidates, each until it has arrived."""

    def __init__(self, problem: SoftmaxProblem, theta: Tensor, max_iter: int) -> None:
        self.problem = problem
        self.theta = theta
        self.n_steps_left = max_iter
        self.inverse: Inverse | None = None
        # How many the last step took.
        self.n_products = 0
        self.objectives: list[list[float]] = [[] for _ in theta]

    def run(self, tol: float, precise: bool) -> Tensor:
        r"""Step until the gradients are small; return their sizes."""
        problem, theta = self.problem, self.theta
        which = torch.arange(len(theta), device=theta.device)
        sizes = torch.zeros(len(theta), dtype=torch.float64, device=theta.device)
        point = problem.evaluate(theta, which, precise)
        self._record(which, point)
        inverse = self.inverse
        while True:
            sizes[which] = problem.stationarity(theta[which], point.gradient, which)
            keep = sizes[which] > tol
            if not self.n_steps_left or not keep.any():
                return sizes
            if not keep.all():
                which, point = which[keep], point.select(keep)
                inverse = None if inverse is None else inverse.select(keep)
            accuracy = sizes[which].sqrt().clamp(1e-3 if precise else 0.03, 0.1)
            if problem.has_l1:
                target = _proximal_newton(problem, theta, point, which, accuracy)
            else:
                inverse = problem.refine(inverse, point.proba, which, self.n_products)
                if len(which) == len(theta):
                    # Good enough to begin the next run with, for everybody.
                    self.inverse = inverse
                step, self.n_products = _newton(
                    problem, point, which, inverse, accuracy
                )
                target = theta[which] + step
            moved = self._search(target, which, point, precise)
            self.n_steps_left -= 1
            self._record(which, point)
            if not moved.all():
                which, point = which[moved], point.select(moved)
                inverse = None if inverse is None else inverse.select(moved)

    def _search(
        self, target: Tensor, which: Tensor, point: Point, precise: bool
    ) -> Tensor:
        r"""Move towards the targets, updating the point; return who could move."""
        problem, origin = self.problem, self.theta[which]
        step = target - origin
        lasso = problem.lasso_value(origin, which)
        slope = (point.gradient * step).sum((1, 2))
        slope += problem.lasso_value(target, which) - lasso
        before = point.value + lasso
        bound = before + _NOISE[precise] * before.abs().clamp(min=1)
        waiting = torch.arange(len(which), device=which.device)
        length, trial = 1.0, target
        while length > SMALLEST_STEP:
            new = problem.evaluate(trial, which[waiting], precise)
            value = new.value + problem.lasso_value(trial, which[waiting])
            good = value <= bound[waiting] + DECREASE * length * slope[waiting]
            point.update(waiting[good], new.select(good))
            self.theta[which[waiting[good]]] = trial[good]
            waiting = waiting[~good]
            if not len(waiting):
                break
            length /= 2
            trial = origin[waiting] + length * step[waiting]
        moved = torch.ones(len(which), dtype=torch.bool, device=which.device)
        moved[waiting] = False
        return moved

    def _record(self, which: Tensor, point: Point) -> None:
        values = point.value + self.problem.lasso_value(self.theta[which], which)
        for b, value in zip(which.tolist(), values.tolist(), strict=True):
            self.objectives[b].append(value)


def _newton(
    problem: SoftmaxProblem,
    point: Point,
    which: Tensor,
    inverse: Inverse,
    accuracy: Tensor,
) -> tuple[Tensor, int]:
    r"""Minimise the quadratic models by conjugate gradients, as far as it pays.

    Returns the steps and how many products with the Hessian they took.
    """
    unit = torch.linalg.vector_norm(point.gradient, torch.inf, dim=(1, 2), keepdim=True)
    residual = (point.gradient / -unit).float()
    solved = _without_shift(inverse.solve(residual))
    steps = torch.zeros_like(residual)
    fallback = solved
    direction = solved
    squared = (residual * solved).sum((1, 2))
    goal = accuracy.float().square() * squared
    active, proba = torch.arange(len(which), device=which.device), point.proba
    n_products = 0
    while n_products < _MOST_PRODUCTS:
        n_products += 1
        product = problem.hessian(proba, which, direction)
        curvature = (direction * product).sum((1, 2))
        # Who is done goes on until enough are, and may have nothing left to do.
        length = torch.where(curvature > 0, squared / curvature, 0.0)[:, None, None]
        steps[active] += length * direction
        residual.addcmul_(length, product, value=-1)
        solved = _without_shift(inverse.solve(residual))
        previous, squared = squared, (residual * solved).sum((1, 2))
        going = (squared > goal) & (curvature > 0)
        n_going = int(going.sum())
        if not n_going:
            break
        kept = torch.where(previous > 0, squared / previous, 0.0)[:, None, None]
        direction = torch.addcmul(solved, kept, direction)
        if n_going < 0.7 * len(active):
            # Only now, since leaving copies the probabilities of those who stay.
            active, which, inverse = active[going], which[going], inverse.select(going)
            proba, goal = proba[going], goal[going]
            direction, residual, squared = (
                direction[going],
                residual[going],
                squared[going],
            )
    # Where there is no curvature at all, go down the gradient.
    flat = (steps == 0).all(2).all(1)[:, None, None]
    steps = torch.where(flat, fallback, steps)
    # Once more in float64, or the shift that rounding leaves would add up.
    return _without_shift(steps.double() * unit), n_products


def _without_shift(directions: Tensor) -> Tensor:
    # The Hessian does not see a shift common to all classes.
    return directions - directions.mean(1, keepdim=True)


def _proximal_newton(
    problem: SoftmaxProblem,
    theta: Tensor,
    point: Point,
    which: Tensor,
    accuracy: Tensor,
) -> Tensor:
    r"""Minimise the quadratic models plus lasso by accelerated proximal gradients.

    Returns where the minima are, with exact zeros.
    """
    origin = theta[which]
    targets = origin.clone()
    bound = problem.curvature_bound(which)
    threshold = problem.lasso[which] / bound
    goal = accuracy * problem.stationarity(origin, point.gradient, which)
    active, proba = torch.arange(len(which), device=which.device), point.proba
    ahead = step = torch.zeros_like(origin)
    momentum = torch.ones_like(goal)
    for _ in range(_MOST_PROXIMAL_STEPS):
        product = problem.hessian(proba, which[active], ahead.float()).double()
        downhill = (point.gradient[active] + product) / bound[active]
        target = origin[active] + ahead - downhill
        target = target.sign() * (target.abs() - threshold[active]).clamp(min=0)
        targets[active] = target
        previous, step = step, target - origin[active]
        change = step - ahead
        going = (bound[active] * change).abs().amax((1, 2)) > goal[active]
        n_going = int(going.sum())
        if not n_going:
            break
        # O'Donoghue and Candes: start anew where momentum leads uphill.
        uphill = (change * (step - previous)).sum((1, 2)) < 0
        following = (1 + (1 + 4 * momentum.square()).sqrt()) / 2
        kept = torch.where(uphill, 0.0, (momentum - 1) / following)
        ahead = step + kept[:, None, None] * (step - previous)
        momentum = torch.where(uphill, 1.0, following)
        if n_going < 0.7 * len(active):
            # As in _newton, leaving copies the probabilities of those who stay.
            active, proba = active[going], proba[going]
            ahead, step, momentum = ahead[going], step[going], momentum[going]
    return targets
