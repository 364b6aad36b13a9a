r"""What conjugate gradients measured of a Hessian, for the next Newton step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# Most directions to keep for each candidate: the first ones reduce the residual most.
_MOST_DIRECTIONS = 16


@dataclass(frozen=True)
class Measured:
    r"""Conjugate directions of each candidate, and their products with its Hessian.

    An inverse is made exact along them. That remains useful near by, where the next
    Newton step is taken.

    References
    ----------
    Morales and Nocedal (2000). Automatic Preconditioning by Limited Memory Quasi-Newton
    Updating. https://doi.org/10.1137/S1052623497327854
    """

    # Both (n_candidates, n_directions, n_classes * n_columns), of curvature 1, or zero.
    directions: Tensor
    products: Tensor

    @classmethod
    def nothing(
        cls,
        shape: tuple[int, int, int],
        most_directions: int = _MOST_DIRECTIONS,
        *,
        device: torch.device,
    ) -> Measured:
        r"""Return room for directions.

        Parameters
        ----------
        shape : (n_candidates, n_classes, n_columns)
            Shape of a stack of directions.
        most_directions : int, default=16
            Most directions to keep for each candidate, of which 16 will do.
        device : torch.device
            Where the directions will be.
        """
        n_candidates, n_classes, n_columns = shape
        n_directions = min(_MOST_DIRECTIONS, most_directions)
        stack = torch.zeros(
            2,
            n_candidates,
            n_directions,
            n_classes * n_columns,
            dtype=torch.float32,
            device=device,
        )
        return cls(stack[0], stack[1])

    def blank(self) -> Measured:
        r"""Return as much room for the same candidates."""
        return Measured(
            torch.zeros_like(self.directions), torch.zeros_like(self.products)
        )

    @property
    def n_directions(self) -> int:
        r"""Number of directions for which there is room."""
        return self.directions.shape[1]

    def select(self, keep: Tensor) -> Measured:
        r"""Return it for some of the candidates."""
        return Measured(self.directions[keep], self.products[keep])

    def assign(self, which: Tensor, new: Measured) -> None:
        r"""Replace what is known of some candidates."""
        self.directions[which] = new.directions
        self.products[which] = new.products

    def add(
        self,
        index: int,
        which: Tensor,
        direction: Tensor,
        product: Tensor,
        curvature: Tensor,
    ) -> None:
        r"""Note some candidates' next direction; one without curvature is none."""
        scale = torch.where(curvature > 0, curvature.rsqrt(), 0.0)[:, None]
        self.directions[which, index] = scale * direction.flatten(1)
        self.products[which, index] = scale * product.flatten(1)

    def balance(self, solve: Callable[[Tensor], Tensor], residual: Tensor) -> Tensor:
        r"""Return the inverse times a stack of residuals, exact along the directions.

        It is positive definite if ``solve`` is, whatever the Hessian has become.
        """
        if not self.n_directions:
            return solve(residual)
        flat = residual.flatten(1).unsqueeze(2)
        # (B, m, K * p) @ (B, K * p, 1) -> (B, m, 1)
        along = self.directions @ flat
        rest = torch.baddbmm(flat, self.products.mT, along, alpha=-1)
        solved = solve(rest.view(residual.shape)).flatten(1).unsqueeze(2)
        along -= self.products @ solved
        return torch.baddbmm(solved, self.directions.mT, along).view(residual.shape)
