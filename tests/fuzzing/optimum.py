r"""Softmax regression ends at the optimum, or says that it does not.

Columns may be collinear, in very different units and far away from zero, classes
separable, weights and penalties of any size.
"""

import time
import warnings
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from sklearn.exceptions import ConvergenceWarning

from sksoftmax import SoftmaxRegression

# Distance from the optimum that counts as none, relative to it and as a mean loss.
RELATIVE, ABSOLUTE = 1e-8, 1e-12
# Mean loss that counts as the infimum, 0, of separable classes without a penalty.
INFIMUM = 1.5e-8
# Longest time of a fit, in seconds of one core.
LONGEST = 5.0
# Singular value, relative to the largest one, that is rounding.
ROUNDING = 1e-13
# Added to the diagonal of a Hessian, relative to it, until a step is of use.
DAMPINGS = (1e-15, 1e-12, 1e-9, 1e-6, 1e-3)


@dataclass
class Problem:
    r"""Rows, labels, weights, and a penalty."""

    X: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    C: float
    fit_intercept: bool

    def losses(self, logits):
        r"""Return the loss of each row, precise where it is small."""
        rows = np.arange(len(self.y))
        excess = logits - logits[rows, self.y][:, None]
        excess[rows, self.y] = -np.inf
        largest = np.maximum(excess.max(1), 0.0)
        others = np.exp(excess - largest[:, None]).sum(1)
        return largest + np.log1p(others + np.expm1(-largest))

    def objective(self, coef, intercept):
        r"""Return the mean objective, in extended precision."""
        coef, intercept, X = (
            np.asarray(array, np.longdouble) for array in (coef, intercept, self.X)
        )
        logits = X @ coef.T + intercept
        if len(coef) == 1:
            logits = np.hstack([np.zeros_like(logits), logits])
        total = self.weight @ self.losses(logits) + (coef**2).sum() / 2 / self.C
        return float(total / self.weight.sum())


def random_problem(seed, max_rows, max_columns, max_classes):
    r"""Return a problem of any size up to these."""
    rng = np.random.default_rng(seed)

    def size(low, high):
        return int(np.exp(rng.uniform(np.log(low), np.log(high + 0.99))))

    n_rows, n_columns = size(4, max_rows), size(1, max_columns)
    n_classes = min(size(2, max_classes), n_rows)
    X = rng.normal(size=(n_rows, n_columns))
    X = [X, X, np.round(X), 1.0 * (X > 0.5), np.exp(2 * X)][rng.integers(5)]
    if n_columns > 1 and rng.random() < 0.5:
        # The first columns are copies or combinations of the others.
        n_collinear = int(rng.integers(1, n_columns // 2 + 1))
        mixture = rng.normal(size=(n_columns - n_collinear, n_collinear))
        if rng.random() < 0.5:
            mixture = 1.0 * (mixture == mixture.max(0))
        noise = rng.choice([0.0, 0.0, 1e-3, 1e-6]) * rng.normal(size=X.shape)
        X[:, :n_collinear] = X[:, n_collinear:] @ mixture + noise[:, :n_collinear]
    scale = np.where(X.std(0) > 0, X.std(0), 1.0)
    logits = (X - X.mean(0)) / scale @ rng.normal(size=(n_columns, n_classes))
    noise = rng.choice([0.0, 0.1, 1.0, 10.0]) * np.sqrt(n_columns)
    y = (logits + noise * rng.gumbel(size=logits.shape)).argmax(1)
    y[rng.choice(n_rows, n_classes, replace=False)] = np.arange(n_classes)
    if rng.random() < 0.3:
        X += scale * 10 ** rng.uniform(0, rng.uniform(0, 6), n_columns)
    units = rng.choice([0, 0, 1, 3, 6]) * rng.uniform(-1, 1, n_columns)
    weight = rng.choice([0, 0, 0.5, 1.5, 3]) * rng.uniform(-1, 1, n_rows)
    C = rng.choice([np.inf, 1e10, 10 ** rng.uniform(-10, 10)], p=[0.15, 0.1, 0.75])
    return Problem(X * 10**units, y, 10**weight, float(C), bool(rng.random() < 0.8))


class Reference:
    r"""A problem in coordinates in which neither units nor collinear columns matter."""

    def __init__(self, problem):
        self.problem, X = problem, problem.X.astype(np.longdouble)
        self.share = problem.weight / problem.weight.sum()
        self.mean = self.share @ X * problem.fit_intercept
        scale = np.sqrt(self.share @ (X - self.mean) ** 2)
        is_constant = scale <= 1e-15 * np.sqrt(self.share @ X**2)
        self.scale = np.where(is_constant, 1.0, scale)
        Z = np.where(is_constant, 0.0, (X - self.mean) / self.scale).astype(float)
        self.n_classes = problem.y.max() + 1
        # With two classes, coefficients are w / 2 and -w / 2.
        strength = (1 + (self.n_classes == 2)) / problem.C / problem.weight.sum()
        root = np.sqrt(strength) / self.scale.astype(float)
        if problem.fit_intercept:
            Z, root = np.hstack([Z, np.ones((len(Z), 1))]), np.append(root, 0.0)
        stacked = np.vstack([np.sqrt(self.share)[:, None] * Z, np.diag(root)])
        norm = np.linalg.norm(stacked, axis=0)
        norm[norm == 0] = 1.0
        _, size, V = np.linalg.svd(stacked / norm, full_matrices=False)
        size, V = size[size > ROUNDING * size[0]], V[size > ROUNDING * size[0]]
        self.basis = V.T / size / norm[:, None]
        self.project = V * norm * size[:, None]
        self.Z = Z @ self.basis
        penalty = root[:, None] * self.basis
        self.penalty = penalty.T @ penalty

    def coordinates(self, coef, intercept):
        if self.n_classes == 2:
            coef = np.vstack([-coef, coef]) / 2
            intercept = np.append(-intercept, intercept) / 2
        standardized = coef * self.scale
        if self.problem.fit_intercept:
            shift = (intercept + coef @ self.mean)[:, None]
            standardized = np.hstack([standardized, shift])
        return (standardized @ self.project.T).astype(float)

    def objective(self, u):
        r"""Return the objective of scikit-learn at coordinates of shape (C, R)."""
        standardized = u.astype(np.longdouble) @ self.basis.T
        coef = standardized[:, : len(self.scale)] / self.scale
        intercept = standardized[:, len(self.scale) :].sum(1) - coef @ self.mean
        if self.n_classes == 2:
            coef, intercept = np.diff(coef, axis=0), np.diff(intercept)
        return self.problem.objective(coef.astype(float), intercept.astype(float))

    def evaluate(self, u):
        logits = self.Z @ u.T
        value = self.share @ self.problem.losses(logits)
        return value + np.sum(u @ self.penalty * u) / 2, logits

    def derivatives(self, u, logits):
        r"""Return gradient and Hessian, precise where probabilities are almost 1."""
        (n_classes, rank), rows = u.shape, np.arange(len(logits))
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        complement = p @ (1.0 - np.eye(n_classes))
        residual = p.copy()
        residual[rows, self.problem.y] = -complement[rows, self.problem.y]
        residual *= self.share[:, None]
        spread = (p[:, :, None] * self.Z[:, None]).reshape(len(p), -1)
        hessian = -(spread * self.share[:, None]).T @ spread
        blocks = hessian.reshape(n_classes, rank, n_classes, rank)
        weight = p * complement * self.share[:, None]
        for k in range(n_classes):
            blocks[k, :, k] = (self.Z * weight[:, [k]]).T @ self.Z + self.penalty
        np.einsum("kjlj->klj", blocks)[...] += hessian.diagonal().mean()
        return (residual.T @ self.Z + u @ self.penalty).ravel(), hessian

    def lower(self, u, n_steps):
        r"""Return coordinates after Newton steps, damped as needed."""
        value, logits = self.evaluate(u)
        for _ in range(n_steps):
            gradient, hessian = self.derivatives(u, logits)
            before = value
            for damping in DAMPINGS:
                damped = hessian + damping * np.diag(hessian.diagonal())
                try:
                    step = -cho_solve(cho_factor(damped), gradient).reshape(u.shape)
                except LinAlgError:
                    continue
                for length in (1.0, 0.5, 0.25, 0.1):
                    new = u + length * (step - step.mean(0))
                    new_value, new_logits = self.evaluate(new)
                    if new_value < value:
                        u, value, logits = new, new_value, new_logits
                        break
                if value < before:
                    break
            if before - value <= 1e-15 * before:
                break
        return u


def fitted(problem):
    r"""Return the fitted model, whether it warned, and the seconds it took."""
    model = SoftmaxRegression(problem.C, fit_intercept=problem.fit_intercept)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start = time.thread_time()
        model.fit(problem.X, problem.y, problem.weight)
        seconds = time.thread_time() - start
    is_told = any(issubclass(told.category, ConvergenceWarning) for told in caught)
    return model, is_told, seconds


def check_optimum(seed, max_rows=500, max_columns=100, max_classes=20):
    r"""Check one problem; return whether the solver warned that it did not converge."""
    problem = random_problem(seed, max_rows, max_columns, max_classes)
    model, is_told, seconds = fitted(problem)
    assert seconds < LONGEST, f"a fit took {seconds:.1f} seconds"
    if is_told:
        return True
    ours = problem.objective(model.coef_, model.intercept_)
    if ours <= max(ABSOLUTE, INFIMUM * np.isinf(problem.C)):
        return False
    reference = Reference(problem)
    start = reference.coordinates(model.coef_, model.intercept_)
    with np.errstate(all="ignore"):
        best = reference.objective(reference.lower(start, n_steps=20))
    limit = best + max(RELATIVE * best, ABSOLUTE)
    assert ours <= limit, f"objective {ours:.12g} instead of {best:.12g}"
    return False
