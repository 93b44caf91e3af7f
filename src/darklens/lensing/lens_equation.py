"""The lens equation `beta = theta - alpha(theta)`: from image to source, and back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from darklens.errors import InputError
from darklens.lensing.base import Mass, hessian

LONGEST_STEP = 0.1
"""Longest step of Newton's method in arcsec: near a critical curve it overshoots."""


def trace(masses: Sequence[Mass], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Follow light back: return the source position `(beta_x, beta_y)` of image positions, arcsec.

    The masses lie in one plane: their deflections add.
    """
    beta_x, beta_y = x, y
    for mass in masses:
        alpha_x, alpha_y = mass.deflection(x, y)
        beta_x, beta_y = beta_x - alpha_x, beta_y - alpha_y
    return beta_x, beta_y


def residual(masses: Sequence[Mass], x: Tensor, y: Tensor, beta_x: Tensor | float, beta_y: Tensor | float) -> tuple[Tensor, Tensor]:
    """Return `theta - alpha(theta) - beta`, zero where an image of the source stands."""
    traced_x, traced_y = trace(masses, x, y)
    return traced_x - beta_x, traced_y - beta_y


def jacobian(masses: Sequence[Mass], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return `A = d beta / d theta` as `(A_xx, A_xy, A_yy)`; it is symmetric."""
    return hessian(lambda u, v: trace(masses, u, v), x, y)


def magnification(masses: Sequence[Mass], x: Tensor, y: Tensor) -> Tensor:
    """Return the signed magnification `1 / det A`; infinite on a critical curve."""
    xx, xy, yy = jacobian(masses, x, y)
    return 1 / (xx * yy - xy * xy)


def search_grid(masses: Sequence[Mass], half_width: float, n: int) -> tuple[Tensor, Tensor]:
    """Return the x and y `(n, n)` float64 of a square about the origin, in arcsec.

    It is shifted by a thousandth of a cell, so that no point falls on a singular centre in the middle.

    Raises:
        InputError: a batch of systems, where one is wanted, or a grid without cells.
    """
    if n < 2 or not half_width > 0:
        raise InputError(f"a grid of {n} points over +-{half_width} arcsec has no cells: give n >= 2 and half_width > 0")
    axis = torch.linspace(-half_width, half_width, n, dtype=torch.float64) + 2e-3 * half_width / n
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    shape = trace(masses, x[:1, :1], y[:1, :1])[0].shape
    if len(shape) > 2:
        raise InputError(f"masses of a batch of shape {tuple(shape[:-2])} where one system is wanted: select one row first")
    return x.contiguous(), y.contiguous()


def solve_images(
    masses: Sequence[Mass], beta_x: float, beta_y: float, *, half_width: float = 3.0, n: int = 400, tolerance: float = 1e-10
) -> Tensor:
    """Find the images of a point source.

    Every grid triangle whose map in the source plane contains the source holds an image; Newton's method refines it.

    Args:
        masses: profiles of one system.
        beta_x: source position, arcsec.
        beta_y: source position, arcsec.
        half_width: half the side of the square that is searched, arcsec.
        n: grid points a side; two images within a cell of each other may be missed.
        tolerance: largest residual of the lens equation, arcsec.

    Returns:
        `(K, 2)` float64 image positions in arcsec; the demagnified image in a singular centre is not among them.

    Raises:
        InputError: a batch of systems, or a grid without cells.
    """
    x, y = search_grid(masses, half_width, n)
    theta = _triangles_around_zero(*residual(masses, x, y, beta_x, beta_y), x, y)
    for _ in range(30):
        theta = theta - _newton_step(masses, theta, beta_x, beta_y)
    error = torch.cat(residual(masses, theta[:, :1], theta[:, 1:], beta_x, beta_y), 1).norm(dim=1)
    beside = torch.cat(residual(masses, theta[:, :1] + 1e-7, theta[:, 1:], beta_x, beta_y), 1).norm(dim=1)
    # beside a singular centre that happens to satisfy the equation, the deflection jumps by theta_E
    return _unique(theta[(error < tolerance) & (beside < 1e-3)], 1e-6)


def _newton_step(masses: Sequence[Mass], theta: Tensor, beta_x: float, beta_y: float) -> Tensor:
    x, y = theta[:, :1], theta[:, 1:]
    rx, ry = residual(masses, x, y, beta_x, beta_y)
    xx, xy, yy = jacobian(masses, x, y)
    step = torch.cat([yy * rx - xy * ry, xx * ry - xy * rx], 1) / (xx * yy - xy * xy)
    return step * (LONGEST_STEP / step.norm(dim=1, keepdim=True).clamp_min(LONGEST_STEP))


def _triangles_around_zero(rx: Tensor, ry: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the middles `(K, 2)` of the cells with a triangle in which the field `(rx, ry)`, taken as linear, is zero."""
    low, high = slice(None, -1), slice(1, None)
    corners = [(low, low), (low, high), (high, high), (high, low)]
    found = torch.zeros_like(x[low, low], dtype=torch.bool)
    for triangle in ((0, 1, 2), (0, 2, 3)):
        px, py = ([r[corners[i]] for i in triangle] for r in (rx, ry))
        turns = torch.stack([px[i] * py[j] - px[j] * py[i] for i, j in ((0, 1), (1, 2), (2, 0))])
        found |= (turns >= 0).all(0) | (turns <= 0).all(0)
    half_cell = (x[0, 1] - x[0, 0]) / 2
    return torch.stack([x[low, low][found], y[low, low][found]], 1) + half_cell


def _unique(theta: Tensor, distance: float) -> Tensor:
    """Drop every position that is nearer than a distance to one before it."""
    near = torch.cdist(theta, theta) < distance
    return theta[~near.tril(-1).any(1)]
