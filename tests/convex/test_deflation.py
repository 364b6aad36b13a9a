r"""Deflation makes an inverse exact along directions of conjugate gradients."""

import numpy as np
import torch

from sksoftmax._convex.deflation import Deflation

CPU = torch.device("cpu")


def hessians(rng, n_candidates, size):
    A = rng.normal(size=(n_candidates, size, size))
    return A @ A.transpose(0, 2, 1) + np.eye(size)


def deflation_along(H, directions):
    r"""Return the deflation of Hessians (M, P, P) along directions (R, M, P)."""
    n_candidates, size = H.shape[:2]
    deflation = Deflation.empty((n_candidates, 1, size), 16, CPU)
    which = torch.arange(n_candidates)
    for index, d in enumerate(directions):
        product = np.einsum("bij,bj->bi", H, d)
        curvature = (d * product).sum(1)
        d, product, curvature = (
            torch.tensor(part, dtype=torch.float32) for part in (d, product, curvature)
        )
        deflation.add((which, index), d[:, None], product[:, None], curvature)
    return deflation


def conjugate(H, rng, n_directions):
    # Columns of L^-T Q are conjugate for H = L L^T and any orthogonal Q.
    L = np.linalg.cholesky(H)
    Q = np.linalg.qr(rng.normal(size=H.shape))[0]
    D = np.linalg.solve(L.transpose(0, 2, 1), Q)
    return D.transpose(2, 0, 1)[:n_directions]


def as_matrix(deflation, n_candidates, size, factor):
    columns = [
        deflation.apply(
            lambda residual: factor * residual,
            torch.eye(size)[i].expand(n_candidates, 1, size),
        )
        for i in range(size)
    ]
    return torch.stack(columns, dim=3).squeeze(1).numpy()


def test_inverse_is_exact_along_the_directions():
    rng = np.random.default_rng(0)
    H = hessians(rng, n_candidates=3, size=8)
    D = conjugate(H, rng, n_directions=4)
    M = as_matrix(deflation_along(H, D), 3, 8, factor=0.1)
    for d in D:
        product = np.einsum("bij,bj->bi", H, d)
        np.testing.assert_allclose(np.einsum("bij,bj->bi", M, product), d, atol=2e-5)


def test_all_directions_give_the_exact_inverse():
    rng = np.random.default_rng(1)
    H = hessians(rng, n_candidates=2, size=6)
    M = as_matrix(deflation_along(H, conjugate(H, rng, 6)), 2, 6, factor=100.0)
    np.testing.assert_allclose(M, np.linalg.inv(H), atol=2e-4)


def test_inverse_is_positive_definite_for_another_hessian():
    rng = np.random.default_rng(2)
    H = hessians(rng, n_candidates=4, size=8)
    # The directions are not conjugate.
    M = as_matrix(deflation_along(H, rng.normal(size=(3, 4, 8))), 4, 8, factor=0.5)
    np.testing.assert_allclose(M, M.transpose(0, 2, 1), atol=1e-4)
    assert np.linalg.eigvalsh(M.astype(np.float64)).min() > 0


def test_directions_without_curvature_have_no_effect():
    deflation = Deflation.empty((2, 3, 4), 16, CPU)
    flat = torch.ones(2, 3, 4)
    deflation.add((torch.arange(2), 0), flat, flat, torch.tensor([0.0, -1.0]))
    residual = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(deflation.apply(torch.clone, residual), residual)


def test_zero_directions_have_no_effect():
    deflation = Deflation.empty((2, 3, 8), 0, CPU)
    residual = torch.ones(2, 3, 8)
    assert deflation.apply(torch.neg, residual).equal(-residual)


def test_at_most_16_directions_are_stored():
    assert Deflation.empty((1, 3, 8), 10_000, CPU).n_directions == 16
    assert Deflation.empty((1, 3, 8), 5, CPU).empty_like().n_directions == 5
