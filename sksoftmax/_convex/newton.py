r"""Newton's method for softmax regression: from a start to the minimum.

One problem may have many candidates: penalties and folds of the same rows. Those of a
small table are solved one after another, and those of a large one together, so that one
wide matrix product serves all of them.
"""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
from scipy.linalg import LinAlgError
from torch import Tensor

from .._utils.process import single_threaded_blas
from .batched_newton import FLOAT32_TOL, BatchedNewton
from .common import SMALLEST_TOL, Observer, Solution, StoppingCriteria
from .design_matrix import SparseRows
from .objective import Iterates, SoftmaxProblem
from .path import Path
from .precise_newton import minimize_precisely
from .preconditioner import Preconditioner
from .single_newton import Minimum

# Step between the rows of the coarse problem that is solved first.
_THINNING = 4
# Norm of the gradient at which a coarse problem is left: that of the missing rows.
_COARSE_TOL = 1e-3
# Newton steps that a matrix serves on a coarse problem, whose iterates move far.
_N_STEPS_OF_COARSE_MATRIX = 1
# Numbers, rows times unknowns, of a product that one core computes as fast as several.
_MAX_SINGLE_CORE_NUMBERS = 2**23
# Rows per unknown below which classes are often separable. Under weak penalties, the
# float32 of candidates that are solved together does not suffice then.
_MIN_ROWS_PER_UNKNOWN = 2
# Numbers of a table, which a lasso copies in float64: 512 MB.
_MAX_LASSO_NUMBERS = 2**26
# Numbers up to which many candidates take less time one after another than together.
_MAX_PATH_NUMBERS = 2**21


def minimize(
    problem: SoftmaxProblem,
    start: Tensor,
    *,
    tol: float,
    max_iter: int,
    checks_decrement: bool = True,
    observer: Observer | None = None,
) -> list[Solution]:
    r"""Minimize the objectives by Newton's method.

    Each step solves ``H @ coef_newton = -gradient``, or with a lasso minimizes the
    quadratic model plus the lasso; a line search follows. The order is:

    1. A table with outliers, without a lasso: :func:`minimize_precisely`.
    2. A lasso, or a small table: :func:`minimize_along_path`, on NumPy.
    3. Otherwise, and where that fails: :func:`minimize_together`, on PyTorch.

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
    checks_decrement : bool, default=True
        See :class:`StoppingCriteria`.
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
    criteria = StoppingCriteria(
        max(tol, SMALLEST_TOL), max_iter, checks_decrement, observer
    )
    coef = start.clone()
    if not problem.has_l1:
        # The same shift of all classes changes nothing but the penalty.
        coef -= coef.mean(1, keepdim=True)
    if problem.rows.outlying and not problem.has_l1:
        minima = [
            minimize_precisely(problem, b, candidate_coef, criteria)
            for b, candidate_coef in enumerate(coef)
        ]
    else:
        path = minimize_along_path(problem, coef, criteria)
        minima = minimize_together(problem, coef, criteria) if path is None else path
        if problem.rows.outlying:
            minima = _checked_on_usual_rows(problem, minima)
    return [_solution(problem, minimum) for minimum in minima]


def minimize_along_path(
    problem: SoftmaxProblem, coef: Tensor, criteria: StoppingCriteria
) -> list[Minimum] | None:
    r"""Minimize objectives one after another; None if that takes longer, or fails.

    See :class:`Path`, :class:`DenseNewton` and :class:`ProximalNewton`.
    """
    if not _is_small(problem):
        return None
    takes_one_core = _n_numbers(problem) <= _MAX_SINGLE_CORE_NUMBERS
    try:
        with single_threaded_blas() if takes_one_core else nullcontext():
            minima = Path(problem, criteria).solve(coef)
    except LinAlgError:
        # A Hessian is singular, for instance with few rows and hardly any penalty.
        return None
    return [each._replace(coef=torch.from_numpy(each.coef).to(coef)) for each in minima]


def _is_small(problem: SoftmaxProblem) -> bool:
    r"""Return whether candidates take less time one after another than together."""
    rows, n_numbers = problem.rows, _n_numbers(problem)
    if problem.has_l1:
        is_sparse = isinstance(rows, SparseRows)
        return is_sparse or rows.n_samples * rows.n_columns <= _MAX_LASSO_NUMBERS
    if isinstance(rows, SparseRows) or not rows.is_small:
        return False
    n_unknowns = problem.n_classes * rows.n_columns
    n_rows_is_small = rows.n_samples < _MIN_ROWS_PER_UNKNOWN * n_unknowns
    if len(problem.fold) > 1 and not n_rows_is_small:
        return n_numbers <= _MAX_PATH_NUMBERS
    return n_numbers <= _MAX_SINGLE_CORE_NUMBERS


def _n_numbers(problem: SoftmaxProblem) -> int:
    r"""Return the number of rows times that of unknowns."""
    return problem.rows.n_samples * problem.rows.n_columns * problem.n_classes


def minimize_together(
    problem: SoftmaxProblem, coef: Tensor, criteria: StoppingCriteria
) -> list[Minimum]:
    r"""Minimize all objectives together.

    Steps are computed by preconditioned conjugate gradients, or with a lasso by
    accelerated proximal gradients: far from the minimum in float32, and near it in
    float64. From zero, a coarse problem is solved first: that of all folds together,
    then that of every fourth row. See :class:`BatchedNewton`.
    """
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
    converged = (norms <= criteria.tol).tolist()
    results = zip(coef, norms.tolist(), newton.objectives, converged, strict=True)
    return [Minimum(*result) for result in results]


def _solution(problem: SoftmaxProblem, minimum: Minimum) -> Solution:
    weight, bias = problem.rows.restore(minimum.coef)
    return Solution(weight, bias, *minimum[1:])


def _checked_on_usual_rows(
    problem: SoftmaxProblem, minima: list[Minimum]
) -> list[Minimum]:
    r"""Let minima count whose gradients are small as if columns had no outliers.

    A column with outliers has a large standard deviation, which makes its gradient
    small. Norms that may be rounding remain unchanged.
    """
    coef = torch.stack([minimum.coef for minimum in minima])
    candidates = torch.arange(len(coef), device=coef.device)
    subgradient = problem.subgradient(problem.evaluate(coef, candidates, True))
    outlying = problem.rows.outlying
    spread = torch.tensor([spread for _, spread in outlying.values()])
    ratio = (problem.rows.scale[list(outlying)].cpu() / spread).to(subgradient)
    usual = (subgradient[:, :, list(outlying)].abs() * ratio).amax((1, 2)).tolist()
    return [
        minimum._replace(gradient_norm=norm, converged=False)
        if norm > max(FLOAT32_TOL, minimum.gradient_norm)
        else minimum
        for minimum, norm in zip(minima, usual, strict=True)
    ]


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
