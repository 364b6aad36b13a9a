r"""Full-batch solvers for softmax regression, on tensors; estimators are elsewhere.

One problem may have many candidates: penalties and foldings of the same rows, solved
together, so that one wide matrix product serves all of them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._utils.process import single_threaded_blas
from .common import (
    ARMIJO,
    FLOAT32_NOISE,
    FLOAT64_NOISE,
    SIGNIFICANT_DECREASE,
    SMALLEST_STEP,
    SMALLEST_TOL,
    Observer,
    Solution,
    gradient_tolerance,
)
from .deflation import Measured
from .dense_lasso import minimize_with_lasso, softmax_hessian
from .dense_newton import solve_small
from .design_matrix import DenseRows
from .objective import Point, SoftmaxProblem, first_members
from .precise_newton import PreciseNewton
from .preconditioner import Inverse, Preconditioner

# Down to gradients of this size float32 is good enough, and the end is decided in
# float64.
_COARSE_TOL = 1e-5
# The way is begun on every so manieth row, until the gradient is of the size of what
# they miss.
_THINNING, _NEAR_TOL = 4, 1e-3
# Newton steps that a matrix may serve on the way, where the point soon moves away.
_FEW_STEPS = 1
# Up to so many numbers, rows times unknowns, are the business of a single core.
_FEW_NUMBERS = 2**23
# How much of the softening of lost rows stays after a Newton step of which at least
# half is made, and down to where it is of use.
_SOFTNESS_KEPT, _LEAST_SOFTNESS = 0.5, 0.05
# Most conjugate gradient steps for a Newton step, and proximal gradient steps.
_MOST_PRODUCTS, _MOST_PROXIMAL_STEPS = 500, 2000
# After so many of the latter, a model of up to so many unknowns and operations for its
# Hessian is minimized by coordinates.
_MANY_PROXIMAL_STEPS, _FEW_UNKNOWNS, _FEW_OPERATIONS = 200, 200, 2**27


def minimize(
    problem: SoftmaxProblem,
    start: Tensor,
    *,
    tol: float,
    max_iter: int,
    observer: Observer | None = None,
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
    observer : Observer, default=None
        Told of every step but those on a part of the rows, which come first.

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
    theta, tol = start.clone(), max(tol, SMALLEST_TOL)
    if not problem.has_l1:
        # A shift common to all classes changes nothing but the penalty.
        theta -= theta.mean(1, keepdim=True)
    if problem.rows.outlying and not problem.has_l1:
        return _minimize_precisely(problem, theta, tol, max_iter, observer)
    if (
        len(theta) == 1
        and not problem.has_l1
        and isinstance(problem.rows, DenseRows)
        and problem.rows.is_small
        and problem.rows.Z.numel() * problem.n_classes <= _FEW_NUMBERS
    ):
        small = _solve_small(problem, problem.rows, theta[0], tol, max_iter, observer)
        if small is not None:
            return [small]
    first = _evaluate_start(problem, theta) if theta.any() else None
    is_given = theta.any(2).any(1)
    preconditioner = Preconditioner(problem, len(theta))
    if is_given.any():
        softness = _no_softness(theta)
        # Nothing is known of the way here, nor how many products a step takes.
        preconditioner.doubt(torch.arange(len(theta), device=theta.device))
    else:
        softness = _approach(preconditioner, theta, max_iter)
    descent = _Descent(preconditioner, theta, softness, max_iter, observer)
    size = descent.run_to(tol, first)
    lost = descent.is_stuck & is_given
    if lost.any() and descent.n_steps_left:
        descent.begin_at_zero(lost)
        size = descent.run_to(tol)
    if problem.rows.outlying:
        size = _size_for_most_rows(problem, theta, size)
    solutions = []
    for b, objectives in enumerate(descent.objectives):
        weight, bias = problem.rows.restore(theta[b])
        norm = size[b].item()
        solutions.append(Solution(weight, bias, norm <= tol, norm, objectives))
    return solutions


def _size_for_most_rows(problem: SoftmaxProblem, theta: Tensor, size: Tensor) -> Tensor:
    r"""Return the sizes of the gradients if columns with outliers had no outliers.

    Such a column has a large standard deviation, which makes its gradient small. Sizes
    that rounding may leave then are as they were.
    """
    which = torch.arange(len(theta), device=theta.device)
    gradient = problem.evaluate(theta, which, True).gradient
    columns = list(problem.rows.outlying)
    spread = torch.tensor([spread for _, spread in problem.rows.outlying.values()])
    ratio = (problem.rows.scale[columns].cpu() / spread).to(gradient)
    lasso = problem.lasso[which][:, :, columns]
    weights, slope = theta[:, :, columns], gradient[:, :, columns]
    at_zero = (slope.abs() - lasso).clamp(min=0)
    slope = torch.where(weights == 0, at_zero, slope + lasso * weights.sign())
    outlying = (slope.abs() * ratio).amax((1, 2))
    return torch.where(outlying > _COARSE_TOL, size.maximum(outlying), size)


def _minimize_precisely(
    problem: SoftmaxProblem,
    start: Tensor,
    tol: float,
    max_iter: int,
    observer: Observer | None,
) -> list[Solution]:
    r"""Minimise in float64, one candidate after another."""
    solutions = []
    for b, theta in enumerate(start):
        newton = PreciseNewton(problem, b)
        found, norm, objectives = newton.solve(theta, tol, max_iter, observer)
        weight, bias = problem.rows.restore(found)
        solutions.append(Solution(weight, bias, norm <= tol, norm, objectives))
    return solutions


def _evaluate_start(problem: SoftmaxProblem, theta: Tensor) -> Point | None:
    r"""Return what is known of a start; starts that are worse than zero become zero.

    Far out, all probabilities are 0 or 1: there is no curvature that a step could be
    found by. None is returned if a start was changed.
    """
    which = torch.arange(len(theta), device=theta.device)
    point = problem.evaluate(theta, which, problem.rows.is_small)
    value = point.value + problem.lasso_value(theta, which)
    # At zero, all classes have the same probability. NaN is no start, either.
    is_worse = ~(value <= math.log(problem.n_classes))
    theta[is_worse] = 0.0
    return None if is_worse.any() else point


def _approach(preconditioner: Preconditioner, theta: Tensor, max_iter: int) -> Tensor:
    r"""Come near the minima on all folds' rows together, and on a part of the rows.

    The preconditioner learns from it as well. Returns how soft to begin on all rows.
    """
    problem = preconditioner.problem
    pooled = problem.pooled()
    if pooled is not None:
        simpler, member = pooled
        common = theta[first_members(member, len(simpler.fold))]
    else:
        thin = problem.thinned(_THINNING)
        if thin is None:
            return _no_softness(theta)
        simpler, member = thin, torch.arange(len(theta), device=theta.device)
        common = theta.clone()
    elder = Preconditioner(simpler, len(common), n_steps=_FEW_STEPS)
    if pooled is None:
        softness = _no_softness(common)
    else:
        softness = _approach(elder, common, max_iter)
    descent = _Descent(elder, common, softness, max_iter)
    descent.run(_NEAR_TOL, precise=simpler.rows.is_small)
    theta.copy_(common[member])
    preconditioner.inherit(elder, member)
    return descent.was_soft[member].float()


def _no_softness(theta: Tensor) -> Tensor:
    return torch.zeros(len(theta), dtype=torch.float32, device=theta.device)


def _solve_small(
    problem: SoftmaxProblem,
    rows: DenseRows,
    theta: Tensor,
    tol: float,
    max_iter: int,
    observer: Observer | None,
) -> Solution | None:
    r"""Minimise for one small candidate; None if a Hessian is singular."""
    [block] = rows.blocks(1, precise=True)
    with single_threaded_blas():
        solved = solve_small(
            block.Z.cpu().numpy(),
            problem.y.cpu().numpy(),
            problem.share[problem.fold[0]].cpu().numpy(),
            problem.ridge[0].cpu().numpy(),
            theta.cpu().numpy(),
            tol,
            max_iter,
            observer,
        )
    if solved is None:
        return None
    found, norm, objectives = solved
    weight, bias = problem.rows.restore(torch.from_numpy(found).to(theta.device))
    return Solution(weight, bias, norm <= tol, norm, objectives)


class _Descent:
    r"""Newton steps of all candidates, each until it has arrived."""

    def __init__(
        self,
        preconditioner: Preconditioner,
        theta: Tensor,
        softness: Tensor,
        max_iter: int,
        observer: Observer | None = None,
    ) -> None:
        self.preconditioner = preconditioner
        self.problem = preconditioner.problem
        self.theta = theta
        # Where half a step went too far, later ones are more cautious of lost rows.
        self.softness = softness
        self.was_soft = softness > 0
        self.n_steps_left = max_iter
        self.observer = observer
        self.objectives: list[list[float]] = [[] for _ in theta]
        # No step could be made where one should lower the objective.
        self.is_stuck = softness > 1

    def run_to(self, tol: float, first: Point | None = None) -> Tensor:
        r"""Step as far as float32 is good enough, then in float64; return the sizes.

        ``first`` is what is known of the present weights, in the precision in which
        they are evaluated first.
        """
        is_small = self.problem.rows.is_small
        if not is_small:
            size = self.run(max(tol, _COARSE_TOL), precise=False, first=first)
            first = None
        if is_small or tol < _COARSE_TOL:
            size = self.run(tol, precise=True, first=first)
        return size

    def begin_at_zero(self, lost: Tensor) -> None:
        r"""Let some candidates, those of a mask, begin again."""
        self.theta[lost] = 0.0
        self.is_stuck[lost] = False
        for b in lost.nonzero().squeeze(1).tolist():
            self.objectives[b] = []

    def run(self, tol: float, precise: bool, first: Point | None = None) -> Tensor:
        r"""Step until the gradients are small; return their sizes."""
        problem, theta = self.problem, self.theta
        which = torch.arange(len(theta), device=theta.device)
        sizes = torch.full_like(which, torch.inf, dtype=torch.float64)
        point = first or problem.evaluate(theta, which, precise)
        self._record(which, point)
        while True:
            before = sizes[which]
            sizes[which] = problem.stationarity(theta[which], point.gradient, which)
            self.preconditioner.doubt(which[sizes[which] > 0.9 * before])
            keep = sizes[which] > (
                self._tolerated(tol, point, which) if precise else tol
            )
            if not self.n_steps_left or not keep.any():
                return sizes
            which, point = which[keep], point.select(keep)
            if self.observer is not None:
                self.observer.begin_step()
            accuracy = sizes[which].sqrt().clamp(1e-3 if precise else 0.03, 0.1)
            if not precise:
                # What arrives in this step need not arrive any nearer.
                accuracy = accuracy.maximum((0.3 * tol / sizes[which]).clamp(max=0.3))
            if problem.has_l1:
                target = _proximal_newton(problem, theta, point, which, accuracy)
            else:
                target = theta[which] + self._newton_step(point, which, accuracy)
            moved = self._search(target, which, point, precise)
            self.n_steps_left -= 1
            self._record(which, point)
            if self.observer is not None and self._is_stopped(self.observer):
                self.n_steps_left = 0
            which, point = which[moved], point.select(moved)

    def _tolerated(self, tol: float, point: Point, which: Tensor) -> Tensor:
        r"""Return the largest gradient to stop at, for each candidate."""
        values = point.value + self.problem.lasso_value(self.theta[which], which)
        is_penalized = self.problem.is_penalized[which]
        pairs = zip(values.tolist(), is_penalized.tolist(), strict=True)
        return torch.tensor([gradient_tolerance(tol, *pair) for pair in pairs]).to(
            point.value
        )

    def _newton_step(self, point: Point, which: Tensor, accuracy: Tensor) -> Tensor:
        r"""Return the steps, and let the preconditioner know what they took."""
        softness = self.softness[which]
        if softness.any():
            proba = self.problem.soften(point.proba, softness)
            point = Point(point.value, point.gradient, proba)
        inverse = self.preconditioner.inverse(point.proba, which)
        step, n_products, measured = _newton(
            self.problem, point, which, inverse, accuracy
        )
        self.preconditioner.record(which, n_products, accuracy, measured)
        return step

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
        noise = FLOAT64_NOISE if precise else FLOAT32_NOISE
        bound = before + noise * before.abs().clamp(min=1)
        waiting = torch.arange(len(which), device=which.device)
        length, trial = 1.0, target
        softness = self.softness[which] * _SOFTNESS_KEPT
        self.softness[which] = torch.where(softness < _LEAST_SOFTNESS, 0, softness)
        while length > SMALLEST_STEP:
            new = problem.evaluate(trial, which[waiting], precise)
            value = new.value + problem.lasso_value(trial, which[waiting])
            good = value <= bound[waiting] + ARMIJO * length * slope[waiting]
            point.update(waiting[good], new.select(good))
            self.theta[which[waiting[good]]] = trial[good]
            waiting = waiting[~good]
            if not len(waiting):
                break
            if length < 1:
                self.softness[which[waiting]] = 1
            length /= 2
            trial = origin[waiting] + length * step[waiting]
        moved = torch.ones(len(which), dtype=torch.bool, device=which.device)
        moved[waiting] = False
        # It was rounding that stopped these, or a start without curvature.
        self.softness[which[waiting]] = 0
        promised = -slope[waiting] > SIGNIFICANT_DECREASE * before[waiting].abs().clamp(
            min=1
        )
        self.is_stuck[which[waiting]] = promised
        self.was_soft |= self.softness > 0
        return moved

    def _is_stopped(self, observer: Observer) -> bool:
        r"""Tell that a step is done, by the mean objective of all candidates."""
        last = [objectives[-1] for objectives in self.objectives]
        return observer.end_step(sum(last) / len(last), self.theta)

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
) -> tuple[Tensor, Tensor, Measured]:
    r"""Minimise the quadratic models by conjugate gradients, as far as it pays.

    Returns the steps, how many products with the Hessian each of them took, and what
    these measured.
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
    n_products = torch.ones_like(active)
    measured = inverse.measured.blank()
    for index in range(_MOST_PRODUCTS):
        product = problem.hessian(proba, which, direction)
        curvature = (direction * product).sum((1, 2))
        if index < measured.n_directions:
            measured.add(index, active, direction, product, curvature)
        # Who is done goes on until enough are, and may have nothing left to do.
        length = torch.where(curvature > 0, squared / curvature, 0.0)[:, None, None]
        steps[active] += length * direction
        residual.addcmul_(length, product, value=-1)
        solved = _without_shift(inverse.solve(residual))
        previous, squared = squared, (residual * solved).sum((1, 2))
        going = (squared > goal) & (curvature > 0)
        n_products[active[going]] += 1
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
    return _without_shift(steps.double() * unit), n_products, measured


def _without_shift(directions: Tensor) -> Tensor:
    # The Hessian does not see a shift common to all classes.
    return directions - directions.mean(1, keepdim=True)


def _is_small_model(problem: SoftmaxProblem) -> bool:
    rows = problem.rows
    n_unknowns = problem.n_classes * rows.n_columns
    n_operations = rows.n_samples * n_unknowns**2
    is_cheap = n_unknowns <= _FEW_UNKNOWNS and n_operations <= _FEW_OPERATIONS
    return is_cheap and isinstance(rows, DenseRows) and rows.is_small


def _exact_target(
    problem: SoftmaxProblem,
    origin: Tensor,
    point: Point,
    which: Tensor,
    goal: Tensor,
    b: int,
) -> Tensor:
    r"""Return where the quadratic model of one candidate plus lasso is minimal."""
    candidate = int(which[b])
    [block] = problem.rows.blocks(1, precise=True)
    hessian = softmax_hessian(
        block.Z.cpu().numpy(),  # type: ignore[union-attr]
        problem.share[problem.fold[candidate]].cpu().numpy(),
        point.proba[b].double().cpu().numpy(),
        problem.ridge[candidate].cpu().numpy(),
    )
    lasso = problem.lasso[candidate].expand_as(origin[b])
    target = minimize_with_lasso(
        hessian,
        point.gradient[b].flatten().cpu().numpy(),
        lasso.flatten().cpu().numpy(),
        origin[b].flatten().cpu().numpy(),
        float(goal[b]),
    )
    return torch.from_numpy(target).to(origin).view_as(origin[b])


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
    bound = problem.curvature_bound(point.proba, which)
    threshold = problem.lasso[which] / bound
    goal = accuracy * problem.stationarity(origin, point.gradient, which)
    active, proba = torch.arange(len(which), device=which.device), point.proba
    ahead = step = torch.zeros_like(origin)
    momentum = torch.ones_like(goal)
    for n_steps in range(_MOST_PROXIMAL_STEPS):
        if n_steps == _MANY_PROXIMAL_STEPS and _is_small_model(problem):
            for b in active.tolist():
                targets[b] = _exact_target(problem, origin, point, which, goal, b)
            break
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
