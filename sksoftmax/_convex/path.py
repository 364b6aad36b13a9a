r"""Candidates solved one after another, along the path from strong to weak penalties.

For a small table a call of PyTorch takes longer than its arithmetic, and a start that
lies close to the minimum saves most of the steps.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError
from scipy.sparse import csr_array, hstack, issparse
from torch import Tensor

from .common import StoppingCriteria
from .dense_newton import DenseNewton
from .design_matrix import SparseRows
from .objective import SoftmaxProblem
from .proximal_newton import ProximalNewton
from .single_newton import Minimum

Array = NDArray[np.float64]

# Rows per unknown from which the minimum with a ridge is found in less time than a
# Hessian for a lasso takes.
_MIN_ROWS_PER_UNKNOWN = 5
# Lasso, relative to the largest gradient at zero, up to which it is weak.
_WEAK_LASSO = 0.05
# Norm of the gradient, and number of steps, at which the minimum with a ridge is left.
_SMOOTH_TOL = 1e-5
_MAX_SMOOTH_STEPS = 20
# Longest extrapolation, relative to the distance of the two penalties before.
_LONGEST_EXTRAPOLATION = 2.0


class _Point(NamedTuple):
    r"""A point of a path: the logarithm of the penalty, and the minimum."""

    log_strength: float
    coef: Array


class Path:
    r"""The paths of all folds.

    ``solve`` takes one fold after another, and in each the strongest penalty first. A
    candidate starts at the minimum under the penalty before, or at the extrapolation of
    the two before, whichever has the smaller objective.

    Parameters
    ----------
    problem : SoftmaxProblem
        The objectives, all with a lasso or none.
    criteria : StoppingCriteria
        When to stop.
    """

    def __init__(self, problem: SoftmaxProblem, criteria: StoppingCriteria) -> None:
        self.problem, self.criteria = problem, criteria
        self._Z, self._y = _design_matrix(problem.rows), problem.y.cpu().numpy()

    def solve(self, start: Tensor) -> list[Minimum]:
        r"""Return the results of all candidates.

        Parameters
        ----------
        start : Tensor of shape (M, C, P), float64
            Coefficients to start from, if the path has none with a smaller objective.

        Raises
        ------
        LinAlgError
            If a Hessian is singular, or has too many unknowns.
        """
        problem, criteria = self.problem, self.criteria
        strength = problem.l1_reg_strength + problem.l2_reg_strength
        log_strength, given = strength.log().tolist(), start.cpu().numpy()
        results: dict[int, Minimum] = {}
        # By place in the path: those of the first fold.
        preconditioners: dict[int, Any] = {}
        for fold in dict.fromkeys(problem.fold.tolist()):
            newton, is_shared = self._newton(fold), True
            path: list[_Point] = []
            for place, b in enumerate(self._candidates_of(fold)):
                ridge, lasso = problem.ridge[b], problem.lasso[b, 0]
                newton.set_penalty(ridge.cpu().numpy(), lasso.cpu().numpy())
                shared = preconditioners.get(place) if is_shared else None
                newton.preconditioner = shared
                starts = _starts(path, log_strength[b], problem.has_l1)
                if given[b].any() or not starts:
                    starts.append(given[b])
                is_zero = not any(start.any() for start in starts)
                if problem.has_l1 and is_zero and criteria.max_iter:
                    starts += self._smooth_starts(newton)
                results[b] = newton.solve(starts, criteria)
                # Under weaker penalties than this one, the folds differ more.
                is_shared &= shared is None or newton.preconditioner is shared
                preconditioners.setdefault(place, newton.preconditioner)
                path.append(_Point(log_strength[b], results[b].coef))
                if newton.is_stopped:
                    criteria = criteria._replace(max_iter=0)
        return [results[b] for b in range(len(given))]

    def _candidates_of(self, fold: int) -> list[int]:
        r"""Return a fold's candidates, by the share of the lasso, then by strength."""
        problem = self.problem
        strength = problem.l1_reg_strength + problem.l2_reg_strength
        l1_share = (problem.l1_reg_strength / strength).nan_to_num().round(decimals=6)
        keys = list(zip(l1_share.tolist(), (-strength).tolist(), strict=True))
        candidates = (problem.fold == fold).nonzero().flatten().tolist()
        return sorted(candidates, key=keys.__getitem__)

    def _smooth_starts(self, newton: ProximalNewton) -> list[Array]:
        r"""Return the minimum with a ridge instead of a weak lasso, of many rows.

        Then also with each column shifted by its median, which minimizes the lasso and
        leaves the loss as it is.
        """
        n_rows_is_small = len(newton.y) < _MIN_ROWS_PER_UNKNOWN * newton.zeros.size
        if n_rows_is_small or issparse(newton.Z):
            return []
        gradient = newton.evaluate(newton.zeros).gradient
        if newton.lasso.max() > _WEAK_LASSO * np.abs(gradient).max():
            return []
        data = newton.Z.T, newton.y, newton.sample_weight, newton.n_classes
        smooth = DenseNewton(*data, _largest_mean(self.problem.rows))
        smooth.set_penalty(newton.ridge + newton.lasso, np.zeros_like(newton.lasso))
        criteria = StoppingCriteria(
            _SMOOTH_TOL, _MAX_SMOOTH_STEPS, checks_decrement=False
        )
        try:
            coef = smooth.solve([newton.zeros], criteria).coef
        except LinAlgError:
            return []
        return [coef, coef - np.median(coef, axis=0)]

    def _newton(self, fold: int) -> Any:
        r"""Return the solver for the rows of a fold."""
        weight = self.problem.sample_weight[fold].cpu().numpy()
        rows = np.flatnonzero(weight)
        Z, data = self._Z[rows], (self._y[rows], weight[rows], self.problem.n_classes)
        if not self.problem.has_l1:
            return DenseNewton(Z, *data, _largest_mean(self.problem.rows))
        columns = csr_array(Z.T) if issparse(Z) else np.ascontiguousarray(Z.T)
        return ProximalNewton(columns, *data)


def _starts(path: list[_Point], log_strength: float, has_l1: bool) -> list[Array]:
    r"""Return the coefficients at which the next candidate of a path may start."""
    if len(path) < 2:
        return [point.coef for point in path]
    before, last = path[-2:]
    distance = last.log_strength - before.log_strength
    ratio = (log_strength - last.log_strength) / distance if distance else math.nan
    if not 0 < ratio <= _LONGEST_EXTRAPOLATION:
        return [last.coef]
    extrapolated = last.coef + ratio * (last.coef - before.coef)
    if has_l1:
        # No coefficient leaves zero or passes it.
        extrapolated[extrapolated * last.coef <= 0] = 0.0
    return [last.coef, extrapolated]


def _largest_mean(rows: Any) -> float:
    r"""Return the largest mean of a varying column, in its deviations, at least 1."""
    mean = (rows.mean / rows.scale).abs().index_fill(0, rows.constant, 0.0)
    return max(float(mean.max()), 1.0)


def _design_matrix(rows: Any) -> Any:
    r"""Return standardized rows in float64, a sparse table in CSR form."""
    if not isinstance(rows, SparseRows):
        blocks = [block.Z.cpu().numpy() for block in rows.blocks(1, precise=True)]
        return np.concatenate(blocks) if len(blocks) > 1 else blocks[0]
    Z = rows.X / rows.scale.numpy()
    if rows.fit_intercept:
        Z = hstack([Z, np.ones((rows.n_samples, 1))])
    return csr_array(Z)
