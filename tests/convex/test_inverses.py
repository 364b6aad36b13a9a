r"""Approximate inverses of the Hessian, compared with the Hessian itself."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sksoftmax._convex.inverses import (
    Kronecker,
    invert_class_blocks,
    invert_diagonal,
    invert_hessian,
)

from .problems import RecordingProblem, table

N_CLASSES, N_COLUMNS = 3, 5
SIZE = N_CLASSES * N_COLUMNS


@pytest.fixture
def problem():
    return RecordingProblem(*table(500, N_COLUMNS - 1, N_CLASSES), N_CLASSES, l2=[0.1])


def proba_and_hessian(problem, distance):
    r"""Return probabilities (C, N) and the Hessian (C * P, C * P) at a distance."""
    candidate = torch.zeros(1, dtype=torch.int64)
    proba = problem.evaluate(problem.far_out(distance), candidate, True).proba
    candidates = candidate.expand(SIZE)
    units = torch.eye(SIZE).view(SIZE, N_CLASSES, N_COLUMNS)
    hessian = problem.hessian(proba.expand(SIZE, -1, -1), candidates, units)
    return proba[0], hessian.reshape(SIZE, SIZE).double()


def centered_directions():
    r"""Return directions without a shift of all classes, (C * P, m)."""
    directions = np.random.default_rng(0).normal(size=(N_CLASSES, N_COLUMNS, 4))
    return torch.from_numpy((directions - directions.mean(0)).reshape(SIZE, 4))


def test_exact_inverse_solves_for_centered_directions(problem):
    proba, hessian = proba_and_hessian(problem, 0.5)
    Z = problem.rows.Z.double()
    [inverse] = invert_hessian(Z, proba, problem.sample_weight[0], problem.ridge[0])
    directions = centered_directions()
    assert_allclose(inverse.double() @ hessian @ directions, directions, atol=1e-3)


def test_class_blocks_are_inverses_of_the_diagonal_blocks(problem):
    proba, hessian = proba_and_hessian(problem, 0.5)
    Z = problem.rows.Z.double()
    blocks = invert_class_blocks(Z, proba, problem.sample_weight[0], problem.ridge[0])
    hessian = hessian.view(N_CLASSES, N_COLUMNS, N_CLASSES, N_COLUMNS)
    for k, block in enumerate(blocks):
        product = block.double() @ hessian[k, :, k]
        assert_allclose(product, np.eye(N_COLUMNS), atol=1e-3)


def test_singular_blocks_have_no_inverse():
    Z = torch.full((4, 2), torch.nan, dtype=torch.float64)
    proba, weight = torch.full((2, 4), 0.5), torch.full((4,), 0.25).double()
    assert invert_hessian(Z, proba, weight, torch.zeros(2).double()) is None
    assert invert_class_blocks(Z, proba, weight, torch.zeros(2).double()) is None


def test_kronecker_inverse_is_exact_at_zero(problem):
    proba, hessian = proba_and_hessian(problem, 0.0)
    gram = problem.rows.gram(problem.sample_weight[0])
    covariance = problem.covariance(proba[None], torch.zeros(1, dtype=torch.int64))
    inverse = Kronecker(gram, problem.unit).invert(problem.l2_reg_strength, covariance)
    for direction in centered_directions().T:
        product = (hessian @ direction).float().view(1, N_CLASSES, N_COLUMNS)
        solved = inverse.solve(product)
        # A shift of all classes has no curvature.
        solved = (solved - solved.mean(1, keepdim=True)).flatten()
        assert_allclose(solved, direction, atol=1e-3)


def test_diagonal_inverse_divides_by_the_diagonal(problem):
    proba, hessian = proba_and_hessian(problem, 0.5)
    weight = proba * (1 - proba) * problem.sample_weight[0].float()
    squares = problem.rows.diagonal(weight, precise=False)[None]
    inverse = invert_diagonal(squares, problem.ridge)
    expected = 1 / hessian.diagonal().view(1, N_CLASSES, N_COLUMNS)
    assert_allclose(inverse.solve(torch.ones_like(squares)), expected, rtol=1e-4)
