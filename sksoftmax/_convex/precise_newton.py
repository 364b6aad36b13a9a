r"""Newton's method in float64 for tables with outliers.

A row with a value of 1e10 has a curvature of 1e20 until it is classified correctly,
and none from there on. Float32 cannot hold both, nor can a step that sees only the
curvature at its start. Here all that is computed is precise relative to its own size,
and a step grows as long as the objective falls faster than its curvature promised.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import qr_multiply, solve_triangular
from torch import Tensor

from .common import (
    ARMIJO,
    FLOAT64_NOISE,
    SMALLEST_STEP,
    Observer,
    gradient_tolerance,
)
from .objective import SoftmaxProblem

Array = NDArray[np.float64]

# Up to so many operations, a step is solved for exactly, in hardly any time.
_FEW_OPERATIONS = 2**26
# Up to so many columns, the Hessian's blocks of a class with itself are inverted.
_MOST_COLUMNS = 1000
# Most products with the Hessian for a step.
_MOST_PRODUCTS = 300
# Steps grow where the objective falls by more than this share of the slope; by half of
# it if the curvature stays as it was.
_FAST_DECREASE = 0.55
# Of a row's class; its root is a divisor.
_LEAST_PROBABILITY = 1e-300
# Relative to the norm of a column without outliers, what rounding leaves of it if other
# columns determine it.
_ROUNDING = 1e-15
# Sizes of a row, in spreads of the columns, up to which weights of size 1 have enough
# digits to classify it by, and some.
_LARGEST_SIZE, _LARGEST_DISTINCT = 1e8, 1e16
# Steps without a decrease, relative to the objective, after which rounding has stopped
# them.
_FEW_STEPS, _LEAST_DECREASE = 8, 1e-13
# Relative to the objective, a distance from the minimum that is none; and a gradient of
# the intercepts that is none.
_CLOSE, _FLAT = 1e-8, 1e-7
# After so many steps, it is enough to be as close.
_MANY_STEPS = 25


@dataclass
class _Place:
    r"""What is known at some weights."""

    theta: Tensor
    value: float
    # (K, p)
    gradient: Tensor
    # (K, N), float64, and 1 less these, precise where they are almost 1.
    proba: Tensor
    rest: Tensor

    @property
    def size(self) -> float:
        return float(self.gradient.abs().max())


class PreciseNewton:
    r"""Minimises one candidate's objective, in float64.

    Parameters
    ----------
    problem : SoftmaxProblem
        The problem; it has no lasso.
    candidate : int
        Index of the candidate.
    """

    def __init__(self, problem: SoftmaxProblem, candidate: int) -> None:
        self.rows, self.y = problem.rows, problem.y
        self.n_classes = problem.n_classes
        self.share = problem.share[problem.fold[candidate]]
        self.ridge = problem.ridge[candidate]
        # (N,): factor of each row, features and intercept.
        self.damping = torch.ones_like(self.share)
        n_rows = self.rows.n_samples * self.n_classes
        n_unknowns = self.n_classes * self.rows.n_columns
        # A sparse table has no rows in this form.
        n_operations = n_rows * n_unknowns**2
        self.is_exact = hasattr(self.rows, "Z") and n_operations <= _FEW_OPERATIONS

    def solve(
        self, start: Tensor, tol: float, max_iter: int, observer: Observer | None
    ) -> tuple[Tensor, float, list[float]]:
        r"""Return weights, the size of their gradient and the objectives on the way.

        Weights of size 1 have few digits left for a row of 1e12, and none for 1e16. If
        the steps do not arrive, they begin again at the minimum for smaller multiples
        of such rows: what is right there is right in any multiple.
        """
        sizes = self._row_sizes()
        largest, found = float(sizes.max()), None
        if largest <= _LARGEST_DISTINCT or self.is_exact:
            found = self.run(start, tol, max_iter, observer)
            if found[1] <= tol or largest <= _LARGEST_SIZE:
                return found
        damped = copy.copy(self)
        damped.damping = (_LARGEST_SIZE / sizes).clamp(max=1)
        near, _, _ = damped.run(start, tol, max_iter, observer)
        again = self.run(near, tol, max_iter, observer)
        if found is None or again[2][-1] < found[2][-1]:
            return again
        return found

    def run(
        self, theta: Tensor, tol: float, max_iter: int, observer: Observer | None
    ) -> tuple[Tensor, float, list[float]]:
        r"""Return where the steps end, the size of the gradient and the objectives."""
        place = self.evaluate(theta)
        if theta.any() and not place.value <= np.log(self.n_classes):
            # Zero is a better start, and NaN is none.
            place = self.evaluate(torch.zeros_like(theta))
        objectives, sizes = [place.value], [place.size]
        is_penalized = bool(self.ridge.any())
        while len(objectives) <= max_iter:
            if place.size <= gradient_tolerance(tol, place.value, is_penalized):
                break
            if len(objectives) > _MANY_STEPS and self._is_minimal(place):
                break
            if observer is not None:
                observer.begin_step()
            step = self._qr_step(place) if self.is_exact else self._cg_step(place)
            step -= step.mean(0)
            new = self._search(place, step)
            if new is None:
                break
            place = new
            objectives.append(place.value)
            sizes.append(place.size)
            if observer is not None and observer.end_step(
                place.value, place.theta[None]
            ):
                break
            if self._is_stalled(objectives[-_FEW_STEPS:], sizes[-_FEW_STEPS:]):
                break
        size = min(place.size, tol) if self._is_minimal(place) else place.size
        return place.theta, size, objectives

    @staticmethod
    def _is_stalled(objectives: list[float], sizes: list[float]) -> bool:
        r"""Return whether the last steps led nowhere."""
        fall = objectives[0] - objectives[-1]
        return (
            len(objectives) == _FEW_STEPS
            and fall <= _LEAST_DECREASE * objectives[-1]
            and min(sizes[1:]) > 0.5 * sizes[0]
        )

    def _is_minimal(self, place: _Place) -> bool:
        r"""Return whether the minimum is certainly close.

        Since the penalty is strongly convex, ``|gradient|^2 / (2 penalty)`` bounds the
        distance of the objective from it.
        """
        is_penalized = self.ridge > 0
        penalized = place.gradient[:, is_penalized]
        bound = (penalized.square() / (2 * self.ridge[is_penalized])).sum()
        flat = place.gradient[:, ~is_penalized].abs().sum()
        return float(bound) <= _CLOSE * place.value and float(flat) <= _FLAT

    def _row_sizes(self) -> Tensor:
        blocks = self.rows.blocks(self.n_classes, precise=True)
        return torch.cat([block.sizes() for block in blocks])  # type: ignore[union-attr]

    def evaluate(self, theta: Tensor) -> _Place:
        r"""Return what is known at weights of shape (n_classes, n_columns)."""
        penalized = self.ridge * theta
        value = 0.5 * (penalized * theta).sum()
        gradient, proba = penalized.clone(), []
        for block in self.rows.blocks(self.n_classes, precise=True):
            share = self.share[block.rows]
            logits = block.forward(theta) * self.damping[block.rows]
            index = self.y[None, block.rows]
            logits = logits - logits.amax(0)
            target = logits.gather(0, index)[0]
            odds = logits.exp()
            total = odds.sum(0)
            value += ((total.log() - target) * share).sum()
            proba.append(odds / total)
            # Not p - 1, which has no digits left where p is almost 1.
            residual = proba[-1].scatter(0, index, 0.0)
            residual.scatter_(0, index, -residual.sum(0, keepdim=True))
            gradient += block.backward(residual * (share * self.damping[block.rows]))
        p = torch.cat(proba, dim=1)
        top = p.argmax(0, keepdim=True)
        rest = (1 - p).scatter(0, top, p.scatter(0, top, 0.0).sum(0, keepdim=True))
        return _Place(theta, float(value), gradient, p, rest)

    def _search(self, place: _Place, step: Tensor) -> _Place | None:
        r"""Return a better place in the direction of a step, if there is any."""
        slope, length = float((place.gradient * step).sum()), 1.0
        bound = place.value + FLOAT64_NOISE * max(abs(place.value), 1.0)
        new = self.evaluate(place.theta + step)
        while not new.value <= bound + ARMIJO * length * slope:
            length /= 2
            if length < SMALLEST_STEP:
                return None
            new = self.evaluate(place.theta + length * step)
        while place.value - new.value > -_FAST_DECREASE * length * slope:
            farther = self.evaluate(place.theta + 2 * length * step)
            if not farther.value < new.value:
                break
            new, length = farther, 2 * length
        return new

    def _qr_step(self, place: _Place) -> Tensor:
        r"""Return the exact step, by least squares with a root of the Hessian.

        With ``A.T @ A`` the Hessian and ``A.T @ b`` the gradient, it minimises the norm
        of ``A @ step + b``. With the largest rows first and columns by pivots, each row
        is as precise as its own size allows.
        """
        parts = list(self._root(place))
        root = np.concatenate([part for part, _ in parts])
        right = np.concatenate([part for _, part in parts])
        norm = np.linalg.norm(root, axis=0)
        order = np.argsort(-np.abs(root).max(1), kind="stable")
        rotated, factor, pivots = qr_multiply(
            root[order], right[order], mode="right", pivoting=True
        )
        is_free = np.abs(factor.diagonal()) > _ROUNDING * np.minimum(norm[pivots], 1.0)
        factor, pivots = factor[np.ix_(is_free, is_free)], pivots[is_free]
        step = np.zeros(len(norm))
        step[pivots] = -solve_triangular(factor, rotated[is_free], check_finite=False)
        return torch.from_numpy(step).to(place.theta).view_as(place.theta)

    def _root(self, place: _Place) -> Iterator[tuple[Array, Array]]:
        r"""Yield rows of ``A`` and ``b``, as they stand in :meth:`_qr_step`."""
        n_classes, n_columns = place.theta.shape
        # diag(p) - p p^T = F F^T with F = diag(q) - p q^T and q the root of p; and
        # p - t = F (q - t / q), with t the indicator of the row's class.
        p = place.proba.clamp(min=_LEAST_PROBABILITY)
        q, index = p.sqrt(), self.y[None]
        spread = -p[:, None] * q[None]
        spread.diagonal(dim1=0, dim2=1).copy_((q * place.rest).T)
        spread *= self.share.sqrt()
        own = -place.rest.gather(0, index) / q.gather(0, index)
        right = q.scatter(0, index, own) * self.share.sqrt()
        squares = place.theta.new_zeros(n_classes * n_columns)
        for block in self.rows.blocks(n_classes, precise=True):
            Z = block.Z * self.damping[block.rows, None]  # type: ignore[union-attr]
            # (K, K', n) and (n, p) -> (n * K', K * p)
            part = torch.einsum("kln,np->nlkp", spread[:, :, block.rows], Z)
            part = part.flatten(2, 3).flatten(0, 1)
            squares += part.square().sum(0)
            yield part.cpu().numpy(), right[:, block.rows].T.flatten().cpu().numpy()
        penalty = self.ridge.sqrt()
        yield (
            np.diag(penalty.repeat(n_classes).cpu().numpy()),
            (penalty * place.theta).flatten().cpu().numpy(),
        )
        # A shift common to all classes has no curvature; any will do.
        unit = squares[:n_columns].sqrt().cpu().numpy()
        shift = np.diag(np.where(unit > 0, unit, 1.0))
        yield np.tile(shift, n_classes), np.zeros(n_columns)

    def _cg_step(self, place: _Place) -> Tensor:
        r"""Return a step by conjugate gradients."""
        inverse = self._inverse(place)
        unit = place.size
        residual = place.gradient / -unit
        accuracy = min(max(unit**0.5, 1e-4), 0.1)
        step = torch.zeros_like(residual)
        direction = solved = _without_shift(inverse.solve(residual))
        squared = float((residual * solved).sum())
        goal = accuracy**2 * squared
        for _ in range(_MOST_PRODUCTS):
            product = self._product(place, direction)
            curvature = float((direction * product).sum())
            if not curvature > 0:
                break
            step += squared / curvature * direction
            residual = residual - squared / curvature * product
            solved = _without_shift(inverse.solve(residual))
            previous, squared = squared, float((residual * solved).sum())
            if not squared > goal:
                break
            direction = solved + squared / previous * direction
        return (step if step.any() else solved) * unit

    def _product(self, place: _Place, direction: Tensor) -> Tensor:
        r"""Return the Hessian times a direction."""
        product = self.ridge * direction
        for block in self.rows.blocks(self.n_classes, precise=True):
            p = place.proba[:, block.rows]
            damping = self.damping[block.rows]
            change = block.forward(direction) * damping
            # Relative to the likeliest class's, or small differences would be lost.
            change = change - change.gather(0, p.argmax(0, keepdim=True))
            change = p * (change - (p * change).sum(0))
            product += block.backward(change * (self.share[block.rows] * damping))
        return product

    def _inverse(self, place: _Place) -> _BlockInverse:
        weight = place.proba * place.rest * (self.share * self.damping.square())
        is_dense = hasattr(self.rows, "Z") and self.rows.n_columns <= _MOST_COLUMNS
        if not is_dense:
            squares = self.ridge.repeat(self.n_classes, 1)
            for block in self.rows.blocks(self.n_classes, precise=True):
                squares += block.squared(weight[:, block.rows])  # type: ignore[union-attr]
            return _BlockInverse(None, squares.clamp(min=1e-300).rsqrt())
        size = self.rows.n_columns
        gram = weight.new_zeros(self.n_classes, size, size)
        for block in self.rows.blocks(self.n_classes, precise=True):
            Z = block.Z  # type: ignore[union-attr]
            for k, own in enumerate(weight[:, block.rows]):
                gram[k] += (Z * own[:, None]).T @ Z
        gram.diagonal(dim1=1, dim2=2).add_(self.ridge)
        root = gram.diagonal(dim1=1, dim2=2).clamp(min=1e-300).rsqrt()
        gram *= root[:, :, None] * root[:, None, :]
        gram.diagonal(dim1=1, dim2=2).add_(1e-12)
        factor, failed = torch.linalg.cholesky_ex(gram)
        if failed.any():
            return _BlockInverse(None, root)
        return _BlockInverse(factor, root)


@dataclass(frozen=True)
class _BlockInverse:
    r"""Inverse of the Hessian's blocks of a class with itself, or of its diagonal."""

    # (K, p, p), of blocks whose diagonal is 1; None for the diagonal alone.
    factor: Tensor | None
    # (K, p): inverse roots of the diagonal.
    root: Tensor

    def solve(self, residual: Tensor) -> Tensor:
        r"""Return the inverse times a direction."""
        scaled = residual * self.root
        if self.factor is not None:
            scaled = torch.cholesky_solve(scaled[:, :, None], self.factor)[:, :, 0]
        return scaled * self.root


def _without_shift(direction: Tensor) -> Tensor:
    return direction - direction.mean(0)
