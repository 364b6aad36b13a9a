r"""Exact solutions for estimators: from rows and penalties to coefficients."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from .._classifier.state import net_without_optimizer
from .._convex.common import Penalty, Solution
from .._convex.design_matrix import DenseRows, SparseRows
from .._convex.newton import minimize
from .._convex.objective import SoftmaxProblem
from .._convex.row_space import SpannedRows, is_wide
from .._data.training_rows import TrainingRows
from .._utils.arrays import as_tensor
from .._utils.devices import has_float64
from .._utils.progress import FitReport
from ..modules._linear import SoftmaxLinear
from .coefficients import LinearClassifier, set_coefficients

# Entries of a sparse table, rows times columns, up to which it is solved as a dense
# one, centered and in float64.
_SMALL_SPARSE_TABLE = 2**13
# Columns with outliers that a warning names.
_MAX_NAMED_COLUMNS = 5
# Largest strength of a penalty on the mean loss: it leaves nothing of the coefficients,
# and a larger one would overflow.
_MAX_STRENGTH = 1e100

# Tolerance of the folds' fits on a large table: scores of many rows do not differ
# between coefficients that are this close.
_LARGE_TABLE_TOL = 1e-5


class Candidate(NamedTuple):
    r"""Setting to solve: a fold, of which the training rows are used, and a penalty."""

    fold: int
    C: float
    l1_ratio: float


def penalty_of(candidate: Candidate, total_weight: float, n_classes: int) -> Penalty:
    r"""Return the penalty of a candidate on the mean loss of its training rows."""
    # With two classes scikit-learn penalizes the difference w of the two rows. Ours
    # are w / 2 and -w / 2: half of w's square in sum, and w's absolute value.
    l2_factor = 2.0 if n_classes == 2 else 1.0
    # Python's floats become infinite without a warning; two divisions in turn overflow
    # later than one by a product.
    strength = min(1 / float(candidate.C) / float(total_weight), _MAX_STRENGTH)
    l1_ratio = candidate.l1_ratio
    l2_reg_strength = (1 - l1_ratio) * l2_factor * strength
    return Penalty(candidate.fold, l2_reg_strength, l1_ratio * strength)


def weights_of_rows(data: TrainingRows) -> NDArray[np.float64]:
    r"""Return the weight of each row in the loss; 1 without weights."""
    return np.ones(len(data.y)) if data.loss_weight is None else data.loss_weight


def float64_device(device: torch.device) -> torch.device:
    r"""Return the device for float64: the CPU instead of one that lacks it."""
    return device if has_float64(device) else torch.device("cpu")


def solve(
    classifier: LinearClassifier,
    data: TrainingRows,
    candidates: Sequence[Candidate],
    *,
    fold_weights: NDArray[np.float64],
    start: Sequence[SoftmaxLinear] | None = None,
    is_search: bool = False,
    report: FitReport | None = None,
) -> list[Solution]:
    r"""Return the coefficients of all candidates, solved as one problem.

    Parameters
    ----------
    classifier : LinearClassifier
        Its parameters ``fit_intercept``, ``tol`` and ``max_iter`` count, and its
        ``classes_`` and ``device_``.
    data : TrainingRows
        The rows of all folds.
    candidates : sequence of Candidate
        M settings.
    fold_weights : ndarray of shape (n_folds, N)
        Weight of each row in each fold, 0 for validation rows.
    start : sequence of M SoftmaxLinear, default=None
        Modules with the coefficients to start from, the first of which is that of
        ``classifier``; zeros if None.
    is_search : bool, default=False
        Whether the solutions are compared, and another fit follows. Then a small
        gradient suffices: 1e-5 where the table is large.
    report : FitReport, default=None
        Report of the fit, to which each Newton step is added, with the attributes that
        the classifier would have by then if there is a ``start``.

    Returns
    -------
    solutions : list of M Solution
        One for each candidate.
    """
    totals, n_classes = fold_weights.sum(1), len(classifier.classes_)
    shares = fold_weights / totals[:, None]
    penalties = [penalty_of(each, totals[each.fold], n_classes) for each in candidates]
    solutions: dict[int, Solution] = {}
    is_stopped = False
    # With a lasso the features keep their axes, and other steps are taken.
    for has_l1 in (False, True):
        index = [
            b for b, p in enumerate(penalties) if bool(p.l1_reg_strength) == has_l1
        ]
        if not index:
            continue
        problem = make_problem(classifier, data, shares, [penalties[b] for b in index])
        observer = None
        if report is not None and report.is_watched:
            observed = None if start is None else classifier
            observer = StepReport(report, problem, observed)
        tol = classifier.tol
        if is_search and not problem.rows.is_small:
            tol = max(tol, _LARGE_TABLE_TOL)
        found = minimize(
            problem,
            _start(problem, None if start is None else [start[b] for b in index]),
            tol=tol,
            max_iter=0 if is_stopped else classifier.max_iter,
            checks_decrement=not is_search,
            observer=observer,
        )
        is_stopped |= observer is not None and observer.is_stopped
        if not is_stopped:
            max_C = max(candidates[b].C for b in index)
            _warn_unless_converged(classifier, problem, found, max_C)
        solutions.update(zip(index, found, strict=True))
    return [solutions[b] for b in range(len(candidates))]


def solve_in_place(
    classifiers: Sequence[LinearClassifier],
    candidates: Sequence[Candidate],
    data: TrainingRows,
    report: FitReport | None = None,
) -> None:
    r"""Take the modules of classifiers to the optima of their candidates.

    All classifiers are built for these rows and differ in the penalty alone. A
    ``report`` is of a single one.
    """
    first = classifiers[0]
    modules = [classifier.module_ for classifier in classifiers]
    if has_float64(first.device_) and data.X.dtype != np.float32:
        for module in modules:
            module.to(torch.float64)
    solutions = solve(
        first,
        data,
        candidates,
        fold_weights=weights_of_rows(data)[None],
        start=modules,
        report=report,
    )
    for classifier, solution in zip(classifiers, solutions, strict=True):
        set_coefficients(classifier.module_, solution.weight, solution.bias)
        classifier.module_.eval()
        n_iter = min(solution.n_iter, first.max_iter)
        classifier.n_iter_ = np.array([n_iter], dtype=np.int32)
        classifier.loss_curve_ = solution.objectives


def _start(problem: SoftmaxProblem, modules: Sequence[SoftmaxLinear] | None) -> Tensor:
    r"""Return coefficients with respect to standardized features, (M, C, P)."""
    device = problem.y.device
    if modules is None:
        shape = len(problem.fold), problem.n_classes, problem.rows.n_columns
        return torch.zeros(shape, dtype=torch.float64, device=device)
    starts = []
    for module in modules:
        bias = None if module.bias is None else module.bias.detach().to(device)
        weight = module.weight.detach().to(device)
        starts.append(problem.rows.standardize(weight, bias))
    return torch.stack(starts)


def make_problem(
    classifier: LinearClassifier,
    data: TrainingRows,
    shares: NDArray[np.float64],
    penalties: Sequence[Penalty],
) -> SoftmaxProblem:
    r"""Return the problem of all candidates.

    ``shares`` has the share of each row in the weight of each fold.
    """
    X: Any = data.X
    if issparse(X) and math.prod(X.shape) <= _SMALL_SPARSE_TABLE:
        X = X.toarray()
    # SciPy multiplies sparse tables, on the CPU.
    device = torch.device("cpu") if issparse(X) else float64_device(classifier.device_)
    share = as_tensor(shares).to(device)
    table: Any = X if issparse(X) else as_tensor(X).to(device)
    has_l1 = any(penalty.l1_reg_strength for penalty in penalties)
    make_rows: type[DenseRows | SparseRows] = SparseRows if issparse(X) else DenseRows
    if not has_l1 and is_wide(*X.shape):
        make_rows = SpannedRows
    rows = make_rows(table, share.mean(0), classifier.fit_intercept)
    if not has_l1:
        # An L1 penalty depends on the axes: its features stay as they are.
        rows.standardize_by_bulk()
    return SoftmaxProblem(
        rows, as_tensor(data.y).to(device), len(classifier.classes_), share, penalties
    )


class StepReport:
    r"""Observer that reports every step of a solver, with snapshots of a classifier."""

    def __init__(
        self,
        report: FitReport,
        problem: SoftmaxProblem,
        classifier: LinearClassifier | None,
    ) -> None:
        self.report = report
        self.problem = problem
        self.classifier = classifier
        self.is_stopped = False
        self.objectives: list[float] = []

    def begin_step(self) -> None:
        self.report.begin_step()

    def end_step(self, objective: float, coef: Any) -> bool:
        self.objectives.append(objective)
        snapshot = None
        if self.classifier is not None:
            snapshot = partial(self._snapshot, self.classifier, coef)
        self.is_stopped = self.report.end_step({"objective": objective}, snapshot)
        return self.is_stopped

    def _snapshot(self, classifier: LinearClassifier, coef: Any) -> dict[str, Any]:
        r"""Return the fitted attributes at the present coefficients."""
        module = copy.deepcopy(classifier.module_).eval()
        set_coefficients(module, *self.problem.rows.restore(torch.as_tensor(coef)[0]))
        return {
            "module_": module,
            "net_": net_without_optimizer(classifier, module),
            "n_iter_": np.array([len(self.objectives)], dtype=np.int32),
            "loss_curve_": self.objectives.copy(),
        }


def _warn_unless_converged(
    classifier: LinearClassifier,
    problem: SoftmaxProblem,
    solutions: list[Solution],
    max_C: float,
) -> None:
    failed = [solution for solution in solutions if not solution.converged]
    if not failed:
        return
    worst = max(failed, key=lambda solution: solution.gradient_norm)
    which = f" in {len(failed)} of {len(solutions)} fits" * (len(solutions) > 1)
    if problem.rows.outlying_features:
        remedy = _outlier_remedy(classifier, problem.rows.outlying_features)
    elif worst.n_iter < classifier.max_iter:
        remedy = (
            "Rounding lets no step lower the objective any more: scale the features, "
            "for instance with a StandardScaler in a Pipeline, or increase tol."
        )
    else:
        remedy = (
            "Increase the number of iterations "
            f"(max_iter={classifier.max_iter}), or lower C (now {max_C}) if the "
            "classes can be separated."
        )
    reason = f"gradient is {worst.gradient_norm:.2g} > tol={classifier.tol:.2g}"
    if worst.gradient_norm <= classifier.tol:
        reason = "objective is still above its minimum"
    warnings.warn(
        f"newton-cg failed to converge{which}: after {worst.n_iter} steps the "
        f"{reason}. {remedy}",
        ConvergenceWarning,
        stacklevel=8,
    )


def _outlier_remedy(
    classifier: LinearClassifier, outlying: dict[int, tuple[float, float]]
) -> str:
    r"""Return which columns have outliers, and what to do about them."""
    names = getattr(classifier, "feature_names_in_", None)
    columns = [
        f"column {column}" if names is None else f"column {names[column]!r}"
        for column in list(outlying)[:_MAX_NAMED_COLUMNS]
    ]
    n_more = len(outlying) - len(columns)
    named = ", ".join(columns) + f" and {n_more} more" * (n_more > 0)
    center, spread = next(iter(outlying.values()))
    return (
        f"X has outliers in {named}: most values of the first are within "
        f"{spread:.2g} of {center:.2g}, but a few are more than 10,000 times as "
        "far away. Replace placeholders by a usual value, clip the column, or "
        "transform it, for instance with a QuantileTransformer in a Pipeline."
    )
