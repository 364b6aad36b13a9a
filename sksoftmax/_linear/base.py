r"""What the exact linear classifiers share: from rows to the optimum and back."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from .._classifier.base import BaseSoftmaxClassifier
from .._classifier.prediction import into_range
from .._classifier.state import net_without_optimizer
from .._convex.common import Penalty, Solution
from .._convex.design_matrix import DenseRows, SparseRows
from .._convex.newton import minimize
from .._convex.objective import SoftmaxProblem
from .._convex.row_space import SpannedRows, is_wide
from .._data.training_rows import TrainingRows
from .._utils.arrays import as_tensor
from .._utils.progress import FitReport
from ..modules._linear import SoftmaxLinear

# Where an exact solver computes if the device has no float64, or no sparse products.
_CPU = torch.device("cpu")
# A sparse table of so few numbers is solved as a dense one, centred and in float64.
_FEW_NUMBERS = 2**13
# Columns that a warning names.
_MOST_NAMES = 5
# A larger one leaves nothing of the weights either.
_LARGEST_PENALTY = 1e100


def penalties(
    C: float, l1_ratio: float, total_weight: float, n_classes: int
) -> tuple[float, float]:
    r"""Return the factors of half the squared norm and of the lasso, of a mean loss."""
    # With two classes scikit-learn penalises the difference w of the two rows. Ours
    # are w / 2 and -w / 2: their squares sum to half of w's, their sizes to w's.
    rows_per_weight = 2.0 if n_classes == 2 else 1.0
    # Python's numbers become infinite without a warning, and one by one no product
    # does so before its time.
    strength = min(1 / float(C) / float(total_weight), _LARGEST_PENALTY)
    return (1 - l1_ratio) * rows_per_weight * strength, l1_ratio * strength


class LinearSoftmaxClassifier(BaseSoftmaxClassifier):
    r"""Base of the classifiers whose module is one linear map."""

    module_: SoftmaxLinear
    fit_intercept: bool
    tol: float
    max_iter: int

    @property
    def coef_(self) -> NDArray[np.floating[Any]]:
        r"""The weights, on the scale of the input; others can be assigned."""
        check_is_fitted(self)
        return self._by_class(self.module_.weight)

    @coef_.setter
    def coef_(self, values: ArrayLike) -> None:
        check_is_fitted(self)
        self._set_by_class(self.module_.weight, values)

    @property
    def intercept_(self) -> NDArray[np.floating[Any]]:
        r"""Intercepts; zeros if there are none. They can be assigned, too."""
        check_is_fitted(self)
        if self.module_.bias is None:
            return np.zeros(len(self.coef_), dtype=self.coef_.dtype)
        return self._by_class(self.module_.bias)

    @intercept_.setter
    def intercept_(self, values: ArrayLike) -> None:
        check_is_fitted(self)
        if self.module_.bias is not None:
            self._set_by_class(self.module_.bias, values)
        elif np.any(values):
            raise ValueError(
                f"Got intercepts {values}, but fit_intercept=False left no place for "
                "them. Expected zeros."
            )

    def _by_class(self, parameter: Tensor) -> NDArray[np.floating[Any]]:
        r"""Return a parameter as scikit-learn has it: one row for two classes."""
        values: NDArray[np.floating[Any]] = parameter.detach().cpu().numpy().copy()
        if len(values) == 2:
            values = values[1:] - values[:1]
        # Written into, a copy would change no prediction, without a word.
        values.flags.writeable = False
        return values

    @staticmethod
    def _set_by_class(parameter: Tensor, values: ArrayLike) -> None:
        rows = torch.from_numpy(np.array(values, dtype=np.float64))
        if len(parameter) == 2:
            rows = torch.cat([-rows / 2, rows / 2])
        if rows.shape != parameter.shape:
            raise ValueError(
                f"Got coefficients of shape {np.shape(values)}, but expected the shape "
                "of those that they replace."
            )
        with torch.no_grad():
            parameter.copy_(rows)

    def _build_module(
        self, n_features: int, n_classes: int, generator: torch.Generator
    ) -> SoftmaxLinear:
        return SoftmaxLinear(
            n_features,
            n_classes,
            bias=self.fit_intercept,
            init_scale=self._parameter("init_scale"),
            generator=generator,
        )

    def _solve(
        self,
        data: TrainingRows,
        rows: NDArray[np.int64],
        penalized: Sequence[tuple[LinearSoftmaxClassifier, float, float]],
        report: FitReport | None = None,
    ) -> None:
        r"""Take modules from where they are to their optima, all at once.

        ``penalized`` has classifiers for these rows, each with its ``C`` and
        ``l1_ratio``; they differ in nothing else, and may be this one alone, whose
        steps are then reported.
        """
        data = data.take(rows)
        weight = data.loss_weight
        if weight is None:
            weight = np.ones(len(rows))
        total = weight.sum()
        candidates = [
            Penalty(0, *penalties(C, l1_ratio, total, len(self.classes_)))
            for _, C, l1_ratio in penalized
        ]
        problem = self._make_problem(data, (weight / total)[None], candidates)
        modules = [classifier.module_ for classifier, _, _ in penalized]
        if self.device_.type != "mps" and data.X.dtype != np.float32:
            for module in modules:
                module.to(torch.float64)
        start = torch.stack([_standardized(problem, module) for module in modules])
        observer = StepReport.of(
            report, lambda theta: self._snapshot_at(problem, theta)
        )
        solutions = minimize(
            problem, start, tol=self.tol, max_iter=self.max_iter, observer=observer
        )
        if observer is None or not observer.is_stopped:
            self._warn_unless_converged(
                problem, solutions, max(C for _, C, _ in penalized)
            )
        for (classifier, _, _), solution in zip(penalized, solutions, strict=True):
            self._set_weights(classifier.module_, solution.weight, solution.bias)
            classifier.module_.eval()
            n_iter = min(solution.n_iter, self.max_iter)
            classifier.n_iter_ = np.array([n_iter], dtype=np.int32)
            classifier.loss_curve_ = solution.objectives
            center_intercepts(classifier.module_)

    def _snapshot_at(self, problem: SoftmaxProblem, theta: Tensor) -> dict[str, Any]:
        r"""Return the fitted attributes with a solver's present weights."""
        module = copy.deepcopy(self.module_).eval()
        weight, bias = problem.rows.restore(theta[0])
        self._set_weights(module, weight, bias)
        center_intercepts(module)
        return {"module_": module, "net_": net_without_optimizer(self, module)}

    def _make_problem(
        self,
        data: TrainingRows,
        shares: NDArray[np.float64],
        candidates: Sequence[Penalty],
    ) -> SoftmaxProblem:
        r"""Return the problem of candidates, each a fold and a penalty.

        ``shares`` has the weight of each row in each fold.
        """
        X: Any = data.X
        if issparse(X) and math.prod(X.shape) <= _FEW_NUMBERS:
            X = X.toarray()
        on_device = self.device_.type != "mps" and not issparse(X)
        device = self.device_ if on_device else _CPU
        share = as_tensor(shares).to(device)
        has_l1 = any(penalty.l1_reg_strength for penalty in candidates)
        rows: DenseRows | SparseRows
        table: Any = X if issparse(X) else as_tensor(X).to(device)
        # A lasso depends on the axes, so its features stay as they are.
        if not has_l1 and is_wide(*X.shape):
            rows = SpannedRows(table, share.mean(0), self.fit_intercept)
        elif issparse(X):
            rows = SparseRows(X, share.mean(0), self.fit_intercept)
        else:
            rows = DenseRows(table, share.mean(0), self.fit_intercept)
        if not has_l1:
            rows.standardize_by_bulk()
        return SoftmaxProblem(
            rows,
            as_tensor(data.y).to(device),
            len(self.classes_),
            share,
            candidates,
        )

    def _warn_unless_converged(
        self, problem: SoftmaxProblem, solutions: list[Solution], C: float
    ) -> None:
        failed = [solution for solution in solutions if not solution.converged]
        if not failed:
            return
        worst = max(failed, key=lambda solution: solution.gradient_norm)
        which = f" in {len(failed)} of {len(solutions)} fits" * (len(solutions) > 1)
        if problem.rows.outlying_features:
            remedy = self._outliers_named(problem.rows.outlying_features)
        elif worst.n_iter < self.max_iter:
            remedy = (
                "Rounding lets no step lower the objective any more: scale the "
                "features, for instance with a StandardScaler in a Pipeline, or "
                "increase tol."
            )
        else:
            remedy = (
                f"Increase the number of iterations (max_iter={self.max_iter}), or "
                f"lower C (now {C}) if the classes can be separated."
            )
        warnings.warn(
            f"newton-cg failed to converge{which}: after {worst.n_iter} steps the "
            f"gradient is {worst.gradient_norm:.2g} > tol={self.tol:.2g}. {remedy}",
            ConvergenceWarning,
            stacklevel=6,
        )

    def _outliers_named(self, outlying: dict[int, tuple[float, float]]) -> str:
        r"""Return which columns have outliers, and what to do about them."""
        names = getattr(self, "feature_names_in_", None)
        columns = [
            f"column {column}" if names is None else f"column {names[column]!r}"
            for column in list(outlying)[:_MOST_NAMES]
        ]
        more = len(outlying) - len(columns)
        named = ", ".join(columns) + f" and {more} more" * (more > 0)
        center, spread = next(iter(outlying.values()))
        return (
            f"X has outliers in {named}: most values of the first are within "
            f"{spread:.2g} of {center:.2g}, but a few are more than 10,000 times as "
            "far away. Replace placeholders by a usual value, clip the column, or "
            "transform it, for instance with a QuantileTransformer in a Pipeline."
        )

    @staticmethod
    def _set_weights(
        module: SoftmaxLinear, weight: Tensor, bias: Tensor | None
    ) -> None:
        with torch.no_grad():
            module.weight.copy_(weight)
            if bias is not None:
                module.bias.copy_(bias)
        if not all(parameter.isfinite().all() for parameter in module.parameters()):
            raise ValueError(
                f"The coefficients reach {weight.abs().max().item():.3g}, which "
                f"{module.weight.dtype} cannot hold. Pass X in float64, scale the "
                "features, for instance with a StandardScaler in a Pipeline, or lower "
                "C."
            )

    def _logits_of(self, features: Any) -> Tensor:
        if not issparse(features):
            return super()._logits_of(features)
        module = self.module_
        weight = module.weight.detach().cpu().double()
        logits = torch.from_numpy(features @ weight.T.contiguous().numpy())
        if module.bias is not None:
            logits += module.bias.detach().cpu()
        dtype = torch.float32 if features.dtype == np.float32 else torch.float64
        return into_range(logits, dtype)


class StepReport:
    r"""Reports every step of a solver, which ends when somebody asks for it."""

    def __init__(
        self, report: FitReport, snapshot: Callable[[Tensor], dict[str, Any]] | None
    ) -> None:
        self.report = report
        self.snapshot = snapshot
        self.is_stopped = False
        self.objectives: list[float] = []

    @classmethod
    def of(
        cls,
        report: FitReport | None,
        snapshot: Callable[[Tensor], dict[str, Any]] | None = None,
    ) -> StepReport | None:
        r"""Return nothing where nobody wants to know."""
        if report is None or not report.is_watched:
            return None
        return cls(report, snapshot)

    def begin_step(self) -> None:
        self.report.begin_step()

    def end_step(self, objective: float, theta: Any) -> bool:
        self.objectives.append(objective)
        snapshot = None
        if self.snapshot is not None:
            snapshot = partial(self._fitted, self.snapshot, torch.as_tensor(theta))
        self.is_stopped = self.report.end_step({"objective": objective}, snapshot)
        return self.is_stopped

    def _fitted(
        self, snapshot: Callable[[Tensor], dict[str, Any]], theta: Tensor
    ) -> dict[str, Any]:
        return {
            **snapshot(theta),
            "n_iter_": np.array([len(self.objectives)], dtype=np.int32),
            "loss_curve_": self.objectives.copy(),
        }


def center_intercepts(module: SoftmaxLinear) -> None:
    r"""Shift the intercepts to a sum of zero, which changes no probability."""
    if module.bias is not None:
        with torch.no_grad():
            module.bias.sub_(module.bias.mean())


def _standardized(problem: SoftmaxProblem, module: SoftmaxLinear) -> Tensor:
    device = problem.y.device
    bias = None if module.bias is None else module.bias.detach().to(device)
    return problem.rows.standardize(module.weight.detach().to(device), bias)
