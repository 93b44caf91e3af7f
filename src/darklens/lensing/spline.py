"""Cubic B-splines on a square grid: through the grid's values, twice differentiable, zero outside (Unser 1999).

Outside the grid the coefficients are zero, so that value, slope and curvature go to zero within two cells of its edge.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

Basis = tuple[Tensor, Tensor, Tensor, Tensor]


@functools.lru_cache(maxsize=32)
def _to_coefficients(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the matrix that turns n values into the n coefficients of the spline through them."""
    beside = torch.full((n - 1,), 1 / 6, dtype=torch.float64)
    matrix = torch.eye(n, dtype=torch.float64) * 4 / 6 + torch.diag(beside, 1) + torch.diag(beside, -1)
    return torch.linalg.inv(matrix).to(device, dtype)


def coefficients(values: Tensor) -> Tensor:
    """Return the coefficients `(..., n, m)` of the spline through values `(..., n, m)`."""
    rows, columns = (_to_coefficients(k, values.dtype, values.device) for k in values.shape[-2:])
    return rows @ values @ columns.T


def basis(t: Tensor, derivative: int = 0) -> Basis:
    """Return the four pieces of the cubic basis at t in 0..1, or of its first or second derivative."""
    if derivative == 0:
        return (1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6
    if derivative == 1:
        return -((1 - t) ** 2) / 2, (3 * t**2 - 4 * t) / 2, (-3 * t**2 + 2 * t + 1) / 2, t**2 / 2
    return 1 - t, 3 * t - 2, 1 - 3 * t, t


def linear(t: Tensor) -> Basis:
    """Return the same four for straight lines between the values, which then are their own coefficients."""
    zero = torch.zeros_like(t)
    return zero, 1 - t, t, zero


def gather(grid: Tensor, column: Tensor, row: Tensor, across: Basis, up: Basis) -> Tensor:
    """Sum the 4x4 coefficients around positions, weighted.

    Args:
        grid: `(*batch, n, m)` coefficients.
        column: `(..., H, W)` integer cell of each position along the last axis.
        row: the same along the other.
        across: weights of the columns `column - 1` to `column + 2`.
        up: weights of the rows.

    Returns:
        `(*batch, H, W)`.
    """
    n, m = grid.shape[-2:]
    shape = torch.broadcast_shapes((*grid.shape[:-2], 1, 1), column.shape, row.shape)
    flat = grid.flatten(-2).expand(*shape[:-2], n * m)
    total = torch.zeros(shape, dtype=grid.dtype, device=grid.device)
    for j in range(4):
        for i in range(4):
            r, c = row + (j - 1), column + (i - 1)
            inside = (r >= 0) & (r < n) & (c >= 0) & (c < m)
            index = (r.clamp(0, n - 1) * m + c.clamp(0, m - 1)).expand(shape).flatten(-2)
            value = flat.gather(-1, index).view(shape)
            total = total + up[j] * across[i] * inside * value
    return total


def cell(position: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return the whole and the fractional part of positions in units of cells, held to where the grid is."""
    held = position.clamp(-3.0, n + 2.0)  # far outside everything is zero
    whole = held.detach().floor()
    return whole.long(), held - whole
