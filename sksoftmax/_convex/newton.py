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
from .batched_newton import FLOAT32_TOL, BatchedNewton
from .common import SMALLEST_TOL, Observer, Solution, StoppingCriteria
from .dense_newton import DenseNewton
from .design_matrix import DenseRows
from .objective import Iterates, SoftmaxProblem
from .precise_newton import minimize_precisely
from .preconditioner import Preconditioner

# Step between the rows of the coarse problem that is solved first.
_THINNING = 4
# Norm of the gradient at which a coarse problem is left: that of the missing rows.
_COARSE_TOL = 1e-3
# Newton steps that a matrix serves on a coarse problem, whose iterates move far.
_N_STEPS_OF_COARSE_MATRIX = 1
# Numbers, rows times unknowns, of a product that one core computes as fast as several.
_MAX_SINGLE_CORE_NUMBERS = 2**23


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
    criteria = StoppingCriteria(max(tol, SMALLEST_TOL), max_iter, observer)
    coef = start.clone()
    if not problem.has_l1:
        # The same shift of all classes changes nothing but the penalty.
        coef -= coef.mean(1, keepdim=True)
        if problem.rows.outlying:
            results = [
                minimize_precisely(problem, b, candidate_coef, criteria)
                for b, candidate_coef in enumerate(coef)
            ]
            return [_solution(problem, *result) for result in results]
    solution = _minimize_dense(problem, coef, criteria)
    if solution is not None:
        return [solution]
    return _minimize_batch(problem, coef, criteria)


def _minimize_dense(
    problem: SoftmaxProblem, coef: Tensor, criteria: StoppingCriteria
) -> Solution | None:
    r"""Minimize a single small objective on NumPy; None if that is not possible."""
    rows = problem.rows
    if len(coef) > 1 or problem.has_l1 or not isinstance(rows, DenseRows):
        return None
    n_numbers = rows.Z.numel() * problem.n_classes
    if not rows.is_small or n_numbers > _MAX_SINGLE_CORE_NUMBERS:
        return None
    try:
        with single_threaded_blas():
            newton = DenseNewton(problem)
            minimum = newton.solve(coef[0].cpu().numpy(), criteria)
    except LinAlgError:
        # A Hessian is singular, for instance with few rows and hardly any penalty.
        return None
    found = torch.from_numpy(minimum.coef).to(coef.device)
    return _solution(problem, *minimum._replace(coef=found))


def _minimize_batch(
    problem: SoftmaxProblem, coef: Tensor, criteria: StoppingCriteria
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
        softness = _solve_coarse_problem(preconditioner, coef, criteria.max_iter)
    newton = BatchedNewton(preconditioner, coef, softness, criteria)
    norms = newton.solve(iterates)
    lost = newton.is_stuck & is_given
    if lost.any() and newton.n_steps_left:
        newton.restart_at_zero(lost)
        norms = newton.solve()
    if problem.rows.outlying:
        norms = _norms_of_usual_rows(problem, coef, norms)
    results = zip(
        coef,
        norms.tolist(),
        newton.objectives,
        (norms <= criteria.tol).tolist(),
        strict=True,
    )
    return [_solution(problem, *result) for result in results]


def _solution(
    problem: SoftmaxProblem,
    coef: Tensor,
    norm: float,
    history: list[float],
    converged: bool,
) -> Solution:
    weight, bias = problem.rows.restore(coef)
    return Solution(weight, bias, converged, norm, history)


def _norms_of_usual_rows(
    problem: SoftmaxProblem, coef: Tensor, norms: Tensor
) -> Tensor:
    r"""Return the norms of the gradients as if columns had no outliers.

    A column with outliers has a large standard deviation, which makes its gradient
    small. Norms that may be rounding remain unchanged.
    """
    candidates = torch.arange(len(coef), device=coef.device)
    subgradient = problem.subgradient(problem.evaluate(coef, candidates, True))
    outlying = problem.rows.outlying
    spread = torch.tensor([spread for _, spread in outlying.values()])
    ratio = (problem.rows.scale[list(outlying)].cpu() / spread).to(subgradient)
    usual = (subgradient[:, :, list(outlying)].abs() * ratio).amax((1, 2))
    return torch.where(usual > FLOAT32_TOL, norms.maximum(usual), norms)


def _evaluate_start(problem: SoftmaxProblem, coef: Tensor) -> Iterates | None:
    r"""Evaluate a start; replace coefficients that are worse than zero by zero.

    Far from the minimum, all probabilities are 0 or 1: there is no curvature for a
    Newton step. None is returned if a start was replaced.
    """
    candidates = torch.arange(len(coef), device=coef.device)
    iterates = problem.evaluate(coef.clone(), candidates, problem.rows.is_small)
    # At zero, all classes have the same probability. NaN is replaced as well.
    is_worse = ~(iterates.value <= math.log(problem.n_classes))
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
    criteria = StoppingCriteria(_COARSE_TOL, max_iter)
    newton = BatchedNewton(coarse_preconditioner, coarse_coef, softness, criteria)
    newton.run(_COARSE_TOL, precise=coarse.rows.is_small)
    coef.copy_(coarse_coef[index])
    preconditioner.continue_from(coarse_preconditioner, index)
    return newton.was_soft[index].float()


def _no_softness(coef: Tensor) -> Tensor:
    return torch.zeros(len(coef), dtype=torch.float32, device=coef.device)
