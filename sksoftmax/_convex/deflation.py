r"""Conjugate directions of one Newton step, which precondition the next one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# Directions kept for each candidate: conjugate gradients reduce the residual most in
# their first steps.
_MAX_DIRECTIONS = 16


@dataclass(frozen=True)
class Deflation:
    r"""Conjugate directions of each candidate, and their products with its Hessian.

    An approximate inverse of the Hessian is made exact along the directions. That
    remains useful at the next iterate, which is close by.

    References
    ----------
    Morales and Nocedal (2000). Automatic Preconditioning by Limited Memory Quasi-Newton
    Updating. https://doi.org/10.1137/S1052623497327854
    """

    # Both (M, n_directions, C * P): directions d, and products H d, scaled to
    # d^T H d = 1. Zeros where there is no direction.
    directions: Tensor
    products: Tensor

    @classmethod
    def empty(
        cls, shape: tuple[int, int, int], max_directions: int, device: torch.device
    ) -> Deflation:
        r"""Return a deflation without directions.

        Parameters
        ----------
        shape : (n_candidates, n_classes, n_columns)
            Shape of a stack of directions.
        max_directions : int
            Number of directions to allocate for each candidate, at most 16.
        device : torch.device
            Device of the directions.
        """
        n_candidates, n_classes, n_columns = shape
        n_directions = min(_MAX_DIRECTIONS, max_directions)
        size = n_candidates, n_directions, n_classes * n_columns
        zeros = torch.zeros(size, dtype=torch.float32, device=device)
        return cls(zeros, zeros.clone())

    def empty_like(self) -> Deflation:
        r"""Return a deflation without directions, of the same shape."""
        zeros = torch.zeros_like(self.directions)
        return Deflation(zeros, zeros.clone())

    @property
    def n_directions(self) -> int:
        r"""Number of directions that are allocated for each candidate."""
        return self.directions.shape[1]

    def select(self, keep: Tensor) -> Deflation:
        r"""Return the deflation of some candidates: a mask or indices."""
        return Deflation(self.directions[keep], self.products[keep])

    def assign(self, candidates: Tensor, new: Deflation) -> None:
        r"""Replace the directions of some candidates."""
        self.directions[candidates] = new.directions
        self.products[candidates] = new.products

    def add(
        self,
        index: tuple[Tensor, int],
        direction: Tensor,
        product: Tensor,
        curvature: Tensor,
    ) -> None:
        r"""Store the next direction of some candidates, if its curvature is positive.

        Parameters
        ----------
        index : (Tensor of shape (M,), int)
            Indices of the candidates, and number of directions stored before.
        direction, product : Tensor of shape (M, n_classes, n_columns)
            Directions d and products H d.
        curvature : Tensor of shape (M,)
            Products d^T H d.
        """
        scale = torch.where(curvature > 0, curvature.rsqrt(), 0.0)[:, None]
        self.directions[index] = scale * direction.flatten(1)
        self.products[index] = scale * product.flatten(1)

    def apply(self, solve: Callable[[Tensor], Tensor], residual: Tensor) -> Tensor:
        r"""Return an inverse times residuals, made exact along the directions.

        With D the directions and ``solve`` multiplying by M, this is
        ``D^T D + (I - D^T D H) M (I - H D^T D)`` times the residual: positive definite
        if M is, even if the Hessian has changed since.
        """
        if not self.n_directions:
            return solve(residual)
        directions, products = self.directions, self.products
        flat = residual.flatten(1).unsqueeze(2)
        # (M, R, C * P) @ (M, C * P, 1) -> (M, R, 1)
        along = directions @ flat
        rest = torch.baddbmm(flat, products.mT, along, alpha=-1)
        solved = solve(rest.view(residual.shape)).flatten(1).unsqueeze(2)
        along -= products @ solved
        return torch.baddbmm(solved, directions.mT, along).view(residual.shape)
