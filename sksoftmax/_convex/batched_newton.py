r"""Newton's method for many candidates at once, on tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from .common import (
    ARMIJO,
    FLOAT32_NOISE,
    FLOAT64_NOISE,
    SIGNIFICANT_DECREASE,
    SMALLEST_STEP,
    StoppingCriteria,
)
from .objective import Iterates
from .preconditioner import Preconditioner
from .steps import QuadraticModel, newton_steps, proximal_newton_targets

# Norm of the gradient down to which float32 is precise enough; below, float64 is used.
FLOAT32_TOL = 1e-5
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
    criteria : StoppingCriteria
        When to stop.

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
        criteria: StoppingCriteria,
    ) -> None:
        self.preconditioner = preconditioner
        self.problem = preconditioner.problem
        self.coef = coef
        self.softness = softness
        self.was_soft = softness > 0
        self.is_stuck = torch.zeros_like(self.was_soft)
        self.criteria = criteria
        self.n_steps_left = criteria.max_iter
        self.objectives: list[list[float]] = [[] for _ in coef]

    def solve(self, iterates: Iterates | None = None) -> Tensor:
        r"""Minimize in float32, and then in float64; return the gradients' norms.

        ``iterates`` are those at the start, in the precision of the first evaluation.
        """
        is_small, tol = self.problem.rows.is_small, self.criteria.tol
        if not is_small:
            norms = self.run(max(tol, FLOAT32_TOL), precise=False, iterates=iterates)
            iterates = None
        if is_small or tol < FLOAT32_TOL:
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
            limit = self._tolerances(iterates, candidates) if precise else tol
            keep = norms[candidates] > limit
            if not self.n_steps_left or not keep.any():
                return norms
            candidates, iterates = candidates[keep], iterates.select(keep)
            self.criteria.begin_step()
            accuracy = _accuracy(norms[candidates], tol, precise)
            targets = self._targets(candidates, iterates, accuracy)
            moved = self._line_search(targets, candidates, iterates, precise)
            self.n_steps_left -= 1
            self._record(candidates, iterates)
            last = [objectives[-1] for objectives in self.objectives]
            if self.criteria.end_step(sum(last) / len(last), coef):
                self.n_steps_left = 0
            candidates, iterates = candidates[moved], iterates.select(moved)

    def _tolerances(self, iterates: Iterates, candidates: Tensor) -> Tensor:
        values = self._values(candidates, iterates)
        is_penalized = self.problem.is_penalized[candidates]
        pairs = zip(values.tolist(), is_penalized.tolist(), strict=True)
        tolerances = [self.criteria.gradient_tolerance(*pair) for pair in pairs]
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


def _accuracy(norms: Tensor, tol: float, precise: bool) -> Tensor:
    r"""Return the relative accuracy of Newton steps, for superlinear convergence."""
    if precise:
        return norms.sqrt().clamp(_SMALLEST_ACCURACY_FLOAT64, _LARGEST_ACCURACY)
    accuracy = norms.sqrt().clamp(_SMALLEST_ACCURACY_FLOAT32, _LARGEST_ACCURACY)
    # A step that ends at the tolerance does not have to be more accurate.
    return accuracy.maximum((_LAST_ACCURACY * tol / norms).clamp(max=_LAST_ACCURACY))
