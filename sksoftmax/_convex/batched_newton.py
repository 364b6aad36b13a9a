r"""Newton's method for many candidates at once, on tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
from .steps import newton_steps, proximal_newton_targets

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


@dataclass
class BatchedNewton:
    r"""Newton's method with line search for many candidates at once.

    ``solve`` calls ``run`` in float32 and then in float64. ``run`` evaluates the start
    and then repeats: candidates with a small gradient leave, ``_targets`` takes a full
    Newton step, and ``_line_search`` evaluates points on the way to it.

    Attributes
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
    objectives : list of list of float
        Objectives of each candidate, at the start and after each of its steps.
    was_soft : Tensor of shape (n_candidates,), bool
        Whether the softness was ever above 0.
    is_stuck : Tensor of shape (n_candidates,), bool
        Whether no step decreases the objective, though the gradient is large.
    n_steps_left : int
        Number of steps up to ``max_iter``.
    """

    preconditioner: Preconditioner
    coef: Tensor
    softness: Tensor
    criteria: StoppingCriteria

    def __post_init__(self) -> None:
        self.problem = self.preconditioner.problem
        self.was_soft = self.softness > 0
        self.is_stuck = torch.zeros_like(self.was_soft)
        self.n_steps_left = self.criteria.max_iter
        self.objectives: list[list[float]] = [[] for _ in self.coef]

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
        if iterates is None:
            candidates = torch.arange(len(coef), device=coef.device)
            iterates = problem.evaluate(coef.clone(), candidates, precise)
        norms = torch.full_like(iterates.value, torch.inf)
        self._record(iterates)
        while True:
            candidates = iterates.candidates
            previous = norms[candidates]
            norms[candidates] = problem.gradient_norm(iterates)
            gained_nothing = norms[candidates] > _NO_GAIN * previous
            self.preconditioner.request_matrix(candidates[gained_nothing])
            limit = self._tolerances(iterates) if precise else tol
            keep = norms[candidates] > limit
            if not self.n_steps_left or not keep.any():
                return norms
            iterates = iterates.select(keep)
            self.criteria.begin_step()
            accuracy = _accuracy(norms[iterates.candidates], tol, precise)
            targets = self._targets(iterates, accuracy)
            moved = self._line_search(targets, iterates, precise)
            self.n_steps_left -= 1
            self._record(iterates)
            last = [objectives[-1] for objectives in self.objectives]
            if self.criteria.end_step(sum(last) / len(last), coef):
                self.n_steps_left = 0
            iterates = iterates.select(moved)

    def _record(self, iterates: Iterates) -> None:
        r"""Store the coefficients and objectives of iterates."""
        self.coef[iterates.candidates] = iterates.coef
        pairs = zip(iterates.candidates.tolist(), iterates.value.tolist(), strict=True)
        for b, value in pairs:
            self.objectives[b].append(value)

    def _tolerances(self, iterates: Iterates) -> Tensor:
        is_penalized = self.problem.is_penalized[iterates.candidates]
        pairs = zip(iterates.value.tolist(), is_penalized.tolist(), strict=True)
        tolerances = [self.criteria.gradient_tolerance(*pair) for pair in pairs]
        return iterates.value.new_tensor(tolerances)

    def _targets(self, iterates: Iterates, accuracy: Tensor) -> Tensor:
        r"""Return the coefficients after a full Newton step, or the lasso's minima."""
        problem, candidates = self.problem, iterates.candidates
        if problem.has_l1:
            return proximal_newton_targets(problem, iterates, accuracy)
        softness = self.softness[candidates]
        if softness.any():
            proba = problem.soften(iterates.proba, softness)
            iterates = replace(iterates, proba=proba)
        inverse = self.preconditioner.inverse(iterates.proba, candidates)
        coef_newton, n_products, deflation = newton_steps(
            problem, iterates, inverse, accuracy
        )
        self.preconditioner.record(candidates, n_products, accuracy, deflation)
        return iterates.coef + coef_newton

    def _line_search(
        self, targets: Tensor, iterates: Iterates, precise: bool
    ) -> Tensor:
        r"""Move towards the targets, and halve steps until the objective decreases.

        The iterates are updated in place. Returns which candidates moved, as a mask.
        """
        problem, candidates = self.problem, iterates.candidates
        origin, before = iterates.coef, iterates.value
        coef_newton = targets - origin
        gradient_times_newton = (iterates.gradient * coef_newton).sum((1, 2))
        gradient_times_newton += problem.lasso_value(
            targets, candidates
        ) - problem.lasso_value(origin, candidates)
        unit = before.abs().clamp(min=1)
        bound = before + (FLOAT64_NOISE if precise else FLOAT32_NOISE) * unit
        # Indices of the candidates that have not moved yet.
        unmoved = torch.arange(len(candidates), device=candidates.device)
        length, trial = 1.0, targets
        softness = self.softness[candidates] * _SOFTNESS_DECAY
        self.softness[candidates] = torch.where(softness < _MIN_SOFTNESS, 0, softness)
        while length > SMALLEST_STEP:
            new = problem.evaluate(trial, candidates[unmoved], precise)
            decrease = ARMIJO * length * gradient_times_newton[unmoved]
            is_sufficient = new.value <= bound[unmoved] + decrease
            iterates.update(unmoved[is_sufficient], new.select(is_sufficient))
            unmoved = unmoved[~is_sufficient]
            if not len(unmoved):
                break
            if length < 1:
                self.softness[candidates[unmoved]] = 1
            length /= 2
            trial = origin[unmoved] + length * coef_newton[unmoved]
        # Rounding, or a start without curvature, stopped the remaining candidates.
        self.softness[candidates[unmoved]] = 0
        promised = -gradient_times_newton > SIGNIFICANT_DECREASE * unit
        self.is_stuck[candidates[unmoved]] = promised[unmoved]
        self.was_soft |= self.softness > 0
        moved = torch.ones_like(promised)
        moved[unmoved] = False
        return moved


def _accuracy(norms: Tensor, tol: float, precise: bool) -> Tensor:
    r"""Return the relative accuracy of Newton steps, for superlinear convergence."""
    if precise:
        return norms.sqrt().clamp(_SMALLEST_ACCURACY_FLOAT64, _LARGEST_ACCURACY)
    accuracy = norms.sqrt().clamp(_SMALLEST_ACCURACY_FLOAT32, _LARGEST_ACCURACY)
    # A step that ends at the tolerance does not have to be more accurate.
    return accuracy.maximum((_LAST_ACCURACY * tol / norms).clamp(max=_LAST_ACCURACY))
