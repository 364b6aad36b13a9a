r"""Newton's method for softmax regression: from a start to the minimum.

One problem may have many candidates: penalties and folds of the same rows, solved
together, so that one wide matrix product serves all of them.
"""

from __future__ import annotations

import math

import torch
from scipy.linalg import LinAlgError
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
from .dense_newton import DenseNewton
from .design_matrix import DenseRows
from .objective import Iterates, SoftmaxProblem
from .precise_newton import minimize_precisely
from .preconditioner import Preconditioner
from .steps import QuadraticModel, newton_steps, proximal_newton_targets

# Norm of the gradient down to which float32 is precise enough; below, float64 is used.
_FLOAT32_TOL = 1e-5
# Step between the rows of the coarse problem that is solved first.
_THINNING = 4
# Norm of the gradient at which a coarse problem is left: that of the missing rows.
_COARSE_TOL = 1e-3
# Newton steps that a matrix serves on a coarse problem, whose iterates move far.
_N_STEPS_OF_COARSE_MATRIX = 1
# Numbers, rows times unknowns, of a product that one core computes as fast as several.
_MAX_SINGLE_CORE_NUMBERS = 2**23
# Factor on the softness after a Newton step whose length is at least half.
_SOFTNESS_DECAY = 0.5
# Softness below which it becomes zero.
_MIN_SOFTNESS = 0.05
# A step that leaves more of the gradient's norm than this gained nothing.
_NO_GAIN = 0.9
# Largest relative accuracy of a Newton step.
_LARGEST_ACCURACY = 0.1
# Smallest relative accuracy of a Newton step in float64.
_SMALLEST_ACCURACY_FLOAT64 = 1e-3
# Smallest relative accuracy of a Newton step in float32.
_SMALLEST_ACCURACY_FLOAT32 = 0.03
# Relative accuracy, in units of the tolerance, of the last step in float32.
_LAST_ACCURACY = 0.3


def minimize(
    problem: SoftmaxProblem,
    start: Tensor,
    *,
    tol: float,
    max_iter: int,
    observer: Observer | None = None,
) -> list[Solution]:
    r"""Minimize the objectives by Newton's method.

    Each step solves ``H @ coef_newton = -gradient`` by preconditioned conjugate
    gradients, or with a lasso minimizes the quadratic model plus the lasso by
    accelerated proximal gradients; a line search follows. Far from the minimum, all is
    computed in float32, and near it in float64. The order is:

    1. A table with outliers, without a lasso: :func:`minimize_precisely`.
    2. One candidate of a small table, without a lasso: :class:`DenseNewton`.
    3. Otherwise :class:`BatchedNewton`. From zero, a coarse problem is solved first:
       that of all folds together, then that of every fourth row.

    Parameters
    ----------
    problem : SoftmaxProblem
        The objectives.
    start : Tensor of shape (n_candidates, n_classes, n_columns), float64
        Coefficients to start from, for standardized features.
    tol : float
        Largest absolute entry of the gradient, with respect to the coefficients of
        standardized features, at which to stop.
    max_iter : int
        Largest number of Newton steps.
    observer : Observer, default=None
        Called around every step but those on coarse problems, which come first.

    Returns
    -------
    solutions : list of Solution
        The solution of each candidate.

    References
    ----------
    Nocedal and Wright (2006). Numerical Optimization, chapter 7.
    https://doi.org/10.1007/978-0-387-40065-5

    Lee, Sun and Saunders (2014). Proximal Newton-type Methods for Minimizing Composite
    Functions. https://arxiv.org/abs/1206.1623
    """
    coef, tol = start.clone(), max(tol, SMALLEST_TOL)
    if not problem.has_l1:
        # The same shift of all classes changes nothing but the penalty.
        coef -= coef.mean(1, keepdim=True)
        if problem.rows.outlying:
            return [
                _solution(
                    problem,
                    tol,
                    *minimize_precisely(problem, b, row, tol, max_iter, observer),
                )
                for b, row in enumerate(coef)
            ]
    solution = _minimize_dense(problem, coef, tol, max_iter, observer)
    return (
        [solution]
        if solution
        else _minimize_batch(problem, coef, tol, max_iter, observer)
    )


def _solution(
    problem: SoftmaxProblem,
    tol: float,
    coef: Tensor,
    norm: float,
    objectives: list[float],
) -> Solution:
    weight, bias = problem.rows.restore(coef)
    return Solution(weight, bias, norm <= tol, norm, objectives)


def _minimize_dense(
    problem: SoftmaxProblem,
    coef: Tensor,
    tol: float,
    max_iter: int,
    observer: Observer | None,
) -> Solution | None:
    r"""Minimize a single small objective on NumPy; None if that is not possible."""
    rows = problem.rows
    if len(coef) > 1 or problem.has_l1 or not isinstance(rows, DenseRows):
        return None
    n_numbers = rows.Z.numel() * problem.n_classes
    if not rows.is_small or n_numbers > _MAX_SINGLE_CORE_NUMBERS:
        return None
    newton = DenseNewton(problem)
    try:
        with single_threaded_blas():
            iterate, objectives = newton.solve(
                coef[0].cpu().numpy(), tol, max_iter, observer
            )
    except LinAlgError:
        # A Hessian is singular, for instance with few rows and hardly any penalty.
        return None
    found = torch.from_numpy(iterate.coef).to(coef.device)
    return _solution(problem, tol, found, iterate.gradient_norm, objectives)


def _minimize_batch(
    problem: SoftmaxProblem,
    coef: Tensor,
    tol: float,
    max_iter: int,
    observer: Observer | None,
) -> list[Solution]:
    r"""Minimize all objectives together."""
    iterates = _evaluate_start(problem, coef) if coef.any() else None
    is_given = coef.any(2).any(1)
    preconditioner = Preconditioner(problem, len(coef))
    if is_given.any():
        softness = _no_softness(coef)
        # No step has shown how many products are needed near this start.
        preconditioner.request_matrix(torch.arange(len(coef), device=coef.device))
    else:
        softness = _solve_coarse_problem(preconditioner, coef, max_iter)
    newton = BatchedNewton(preconditioner, coef, softness, max_iter, observer)
    norms = newton.solve(tol, iterates)
    lost = newton.is_stuck & is_given
    if lost.any() and newton.n_steps_left:
        newton.restart_at_zero(lost)
        norms = newton.solve(tol)
    if problem.rows.outlying:
        norms = _norms_of_usual_rows(problem, coef, norms)
    return [
        _solution(problem, tol, *result)
        for result in zip(coef, norms.tolist(), newton.objectives, strict=True)
    ]


def _norms_of_usual_rows(
    problem: SoftmaxProblem, coef: Tensor, norms: Tensor
) -> Tensor:
    r"""Return the norms of the gradients as if columns had no outliers.

    A column with outliers has a large standard deviation, which makes its gradient
    small. Norms that may be rounding remain unchanged.
    """
    candidates = torch.arange(len(coef), device=coef.device)
    gradient = problem.evaluate(coef, candidates, True).gradient
    subgradient = problem.subgradient(coef, gradient, candidates)
    outlying = problem.rows.outlying
    spread = torch.tensor([spread for _, spread in outlying.values()])
    ratio = (problem.rows.scale[list(outlying)].cpu() / spread).to(gradient)
    usual = (subgradient[:, :, list(outlying)].abs() * ratio).amax((1, 2))
    return torch.where(usual > _FLOAT32_TOL, norms.maximum(usual), norms)


def _evaluate_start(problem: SoftmaxProblem, coef: Tensor) -> Iterates | None:
    r"""Evaluate a start; replace coefficients that are worse than zero by zero.

    Far from the minimum, all probabilities are 0 or 1: there is no curvature for a
    Newton step. None is returned if a start was replaced.
    """
    candidates = torch.arange(len(coef), device=coef.device)
    iterates = problem.evaluate(coef, candidates, problem.rows.is_small)
    value = iterates.value + problem.lasso_value(coef, candidates)
    # At zero, all classes have the same probability. NaN is replaced as well.
    is_worse = ~(value <= math.log(problem.n_classes))
    coef[is_worse] = 0.0
    return None if is_worse.any() else iterates


def _solve_coarse_problem(
    preconditioner: Preconditioner, coef: Tensor, max_iter: int
) -> Tensor:
    r"""Approach the minima on all folds' rows together, and on a part of the rows.

    ``coef`` and the preconditioner are updated. Returns the softness to start with.
    """
    problem = preconditioner.problem
    pooled = problem.pooled()
    if pooled is not None:
        coarse, first, index = pooled
    else:
        thinned = problem.thinned(_THINNING)
        if thinned is None:
            return _no_softness(coef)
        coarse = thinned
        first = index = torch.arange(len(coef), device=coef.device)
    coarse_coef = coef[first]
    coarse_preconditioner = Preconditioner(
        coarse, len(first), n_steps=_N_STEPS_OF_COARSE_MATRIX
    )
    softness = _no_softness(coarse_coef)
    if pooled is not None:
        softness = _solve_coarse_problem(coarse_preconditioner, coarse_coef, max_iter)
    newton = BatchedNewton(coarse_preconditioner, coarse_coef, softness, max_iter)
    newton.run(_COARSE_TOL, precise=coarse.rows.is_small)
    coef.copy_(coarse_coef[index])
    preconditioner.continue_from(coarse_preconditioner, index)
    return newton.was_soft[index].float()


def _no_softness(coef: Tensor) -> Tensor:
    return torch.zeros(len(coef), dtype=torch.float32, device=coef.device)


class BatchedNewton:
    r"""Newton's method with line search for many candidates at once.

    ``solve`` calls ``run`` in float32 and then in float64. ``run`` evaluates the start
    and then repeats: candidates with a small gradient leave, ``_targets`` takes a full
    Newton step, and ``_line_search`` evaluates points on the way to it.

    Parameters
    ----------
    preconditioner : Preconditioner
        That of the problem.
    coef : Tensor of shape (n_candidates, n_classes, n_columns), float64
        Coefficients to start from, which are updated in place.
    softness : Tensor of shape (n_candidates,)
        See :meth:`SoftmaxProblem.soften`. It becomes 1 where a step is halved, and
        decays afterwards.
    max_iter : int
        Largest number of steps.
    observer : Observer, default=None
        Called around every step.

    Attributes
    ----------
    objectives : list of list of float
        Objectives of each candidate, at the start and after each of its steps.
    was_soft : Tensor of shape (n_candidates,), bool
        Whether the softness was ever above 0.
    is_stuck : Tensor of shape (n_candidates,), bool
        Whether no step decreases the objective, though the gradient is large.
    n_steps_left : int
        Number of steps up to ``max_iter``.
    """

    def __init__(
        self,
        preconditioner: Preconditioner,
        coef: Tensor,
        softness: Tensor,
        max_iter: int,
        observer: Observer | None = None,
    ) -> None:
        self.preconditioner = preconditioner
        self.problem = preconditioner.problem
        self.coef = coef
        self.softness = softness
        self.was_soft = softness > 0
        self.is_stuck = torch.zeros_like(self.was_soft)
        self.n_steps_left = max_iter
        self.observer = observer
        self.objectives: list[list[float]] = [[] for _ in coef]

    def solve(self, tol: float, iterates: Iterates | None = None) -> Tensor:
        r"""Minimize in float32, and then in float64; return the gradients' norms.

        ``iterates`` are those at the start, in the precision of the first evaluation.
        """
        is_small = self.problem.rows.is_small
        if not is_small:
            norms = self.run(max(tol, _FLOAT32_TOL), precise=False, iterates=iterates)
            iterates = None
        if is_small or tol < _FLOAT32_TOL:
            norms = self.run(tol, precise=True, iterates=iterates)
        return norms

    def restart_at_zero(self, lost: Tensor) -> None:
        r"""Let some candidates, as a mask, start again at zero."""
        self.coef[lost] = 0.0
        self.is_stuck[lost] = False
        for b in lost.nonzero().squeeze(1).tolist():
            self.objectives[b] = []

    def run(
        self, tol: float, precise: bool, iterates: Iterates | None = None
    ) -> Tensor:
        r"""Step until all gradients are small; return their norms."""
        problem, coef = self.problem, self.coef
        candidates = torch.arange(len(coef), device=coef.device)
        norms = torch.full_like(candidates, torch.inf, dtype=torch.float64)
        iterates = iterates or problem.evaluate(coef, candidates, precise)
        self._record(candidates, iterates)
        while True:
            previous = norms[candidates]
            norms[candidates] = problem.gradient_norm(
                coef[candidates], iterates.gradient, candidates
            )
            gained_nothing = norms[candidates] > _NO_GAIN * previous
            self.preconditioner.request_matrix(candidates[gained_nothing])
            limit = self._tolerances(tol, iterates, candidates) if precise else tol
            keep = norms[candidates] > limit
            if not self.n_steps_left or not keep.any():
                return norms
            candidates, iterates = candidates[keep], iterates.select(keep)
            if self.observer is not None:
                self.observer.begin_step()
            accuracy = _accuracy(norms[candidates], tol, precise)
            targets = self._targets(candidates, iterates, accuracy)
            moved = self._line_search(targets, candidates, iterates, precise)
            self.n_steps_left -= 1
            self._record(candidates, iterates)
            if self.observer is not None and self._is_stopped(self.observer):
                self.n_steps_left = 0
            candidates, iterates = candidates[moved], iterates.select(moved)

    def _tolerances(self, tol: float, iterates: Iterates, candidates: Tensor) -> Tensor:
        values = self._values(candidates, iterates)
        is_penalized = self.problem.is_penalized[candidates]
        pairs = zip(values.tolist(), is_penalized.tolist(), strict=True)
        tolerances = [gradient_tolerance(tol, *pair) for pair in pairs]
        return torch.tensor(tolerances).to(values)

    def _targets(
        self, candidates: Tensor, iterates: Iterates, accuracy: Tensor
    ) -> Tensor:
        r"""Return the coefficients after a full Newton step, or the lasso's minima."""
        problem, coef = self.problem, self.coef[candidates]
        if problem.has_l1:
            model = QuadraticModel(problem, candidates, iterates)
            return proximal_newton_targets(model, coef, accuracy)
        softness = self.softness[candidates]
        if softness.any():
            proba = problem.soften(iterates.proba, softness)
            iterates = Iterates(iterates.value, iterates.gradient, proba)
        inverse = self.preconditioner.inverse(iterates.proba, candidates)
        model = QuadraticModel(problem, candidates, iterates)
        coef_newton, n_products, deflation = newton_steps(model, inverse, accuracy)
        self.preconditioner.record(candidates, n_products, accuracy, deflation)
        return coef + coef_newton

    def _line_search(
        self, targets: Tensor, candidates: Tensor, iterates: Iterates, precise: bool
    ) -> Tensor:
        r"""Move towards the targets, and halve steps until the objective decreases.

        The iterates are updated in place. Returns which candidates moved, as a mask.
        """
        problem, origin = self.problem, self.coef[candidates]
        coef_newton = targets - origin
        lasso = problem.lasso_value(origin, candidates)
        gradient_times_newton = (iterates.gradient * coef_newton).sum((1, 2))
        gradient_times_newton += problem.lasso_value(targets, candidates) - lasso
        before = iterates.value + lasso
        unit = before.abs().clamp(min=1)
        bound = before + (FLOAT64_NOISE if precise else FLOAT32_NOISE) * unit
        # Indices of the candidates that have not moved yet.
        waiting = torch.arange(len(candidates), device=candidates.device)
        length, trial = 1.0, targets
        softness = self.softness[candidates] * _SOFTNESS_DECAY
        self.softness[candidates] = torch.where(softness < _MIN_SOFTNESS, 0, softness)
        while length > SMALLEST_STEP:
            new = problem.evaluate(trial, candidates[waiting], precise)
            value = new.value + problem.lasso_value(trial, candidates[waiting])
            decrease = ARMIJO * length * gradient_times_newton[waiting]
            good = value <= bound[waiting] + decrease
            iterates.update(waiting[good], new.select(good))
            self.coef[candidates[waiting[good]]] = trial[good]
            waiting = waiting[~good]
            if not len(waiting):
                break
            if length < 1:
                self.softness[candidates[waiting]] = 1
            length /= 2
            trial = origin[waiting] + length * coef_newton[waiting]
        # Rounding, or a start without curvature, stopped the remaining candidates.
        self.softness[candidates[waiting]] = 0
        promised = -gradient_times_newton > SIGNIFICANT_DECREASE * unit
        self.is_stuck[candidates[waiting]] = promised[waiting]
        self.was_soft |= self.softness > 0
        moved = torch.ones_like(promised)
        moved[waiting] = False
        return moved

    def _values(self, candidates: Tensor, iterates: Iterates) -> Tensor:
        r"""Return the objectives of candidates."""
        lasso = self.problem.lasso_value(self.coef[candidates], candidates)
        return iterates.value + lasso

    def _record(self, candidates: Tensor, iterates: Iterates) -> None:
        values = self._values(candidates, iterates).tolist()
        for b, value in zip(candidates.tolist(), values, strict=True):
            self.objectives[b].append(value)

    def _is_stopped(self, observer: Observer) -> bool:
        r"""Report the mean objective of all candidates; return whether to stop."""
        last = [objectives[-1] for objectives in self.objectives]
        return observer.end_step(sum(last) / len(last), self.coef)


def _accuracy(norms: Tensor, tol: float, precise: bool) -> Tensor:
    r"""Return the relative accuracy of Newton steps, for superlinear convergence."""
    if precise:
        return norms.sqrt().clamp(_SMALLEST_ACCURACY_FLOAT64, _LARGEST_ACCURACY)
    accuracy = norms.sqrt().clamp(_SMALLEST_ACCURACY_FLOAT32, _LARGEST_ACCURACY)
    # A step that ends at the tolerance does not have to be more accurate.
    return accuracy.maximum((_LAST_ACCURACY * tol / norms).clamp(max=_LAST_ACCURACY))
