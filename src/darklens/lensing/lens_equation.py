"""The lens equation `beta = theta - alpha(theta)`: from image to source, and back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from darklens.lensing.base import Mass, hessian


def deflection(masses: Sequence[Mass], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the summed deflection of thin masses in one plane, arcsec."""
    parts = [mass.deflection(x, y) for mass in masses]
    return sum(p[0] for p in parts), sum(p[1] for p in parts)


def trace(masses: Sequence[Mass], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Follow light back: return the source position `(beta_x, beta_y)` of image positions, arcsec."""
    beta_x, beta_y = x, y
    for mass in masses:
        alpha_x, alpha_y = mass.deflection(x, y)
        beta_x, beta_y = beta_x - alpha_x, beta_y - alpha_y
    return beta_x, beta_y


def residual(
    masses: Sequence[Mass], x: Tensor, y: Tensor, beta_x: Tensor | float, beta_y: Tensor | float
) -> tuple[Tensor, Tensor]:
    """Return `theta - alpha(theta) - beta`, zero where an image of the source stands."""
    traced_x, traced_y = trace(masses, x, y)
    return traced_x - beta_x, traced_y - beta_y


def jacobian(masses: Sequence[Mass], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return `d beta / d theta` as `(A_xx, A_xy, A_yy)`; it is symmetric."""
    xx, xy, yy = hessian(lambda u, v: deflection(masses, u, v), x, y)
    return 1 - xx, -xy, 1 - yy


def magnification(masses: Sequence[Mass], x: Tensor, y: Tensor) -> Tensor:
    """Return the signed magnification `1 / det(d beta / d theta)`; infinite on a critical curve."""
    xx, xy, yy = jacobian(masses, x, y)
    return 1 / (xx * yy - xy * xy)


def solve_images(
    masses: Sequence[Mass],
    beta_x: float,
    beta_y: float,
    *,
    half_width: float = 3.0,
    n: int = 400,
    tolerance: float = 1e-10,
    iterations: int = 30,
) -> Tensor:
    """Find the images of a point source.

    Every grid triangle whose mapping to the source plane contains the source holds an image; Newton's method refines it.

    Args:
        masses: unbatched profiles.
        beta_x: source position, arcsec.
        beta_y: source position, arcsec.
        half_width: half the side of the square that is searched, arcsec.
        n: grid points a side.
        tolerance: largest residual of the lens equation, arcsec.
        iterations: of Newton's method.

    Returns:
        `(K, 2)` float64 image positions in arcsec; the demagnified image in a singular centre is not among them.
    """
    axis = torch.linspace(-half_width, half_width, n, dtype=torch.float64)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    rx, ry = residual(masses, x, y, beta_x, beta_y)
    start = _cells_with_a_root(rx, ry, x, y)
    theta = start
    for _ in range(iterations):
        u, v = theta[:, :1], theta[:, 1:]
        rx, ry = residual(masses, u, v, beta_x, beta_y)
        xx, xy, yy = jacobian(masses, u, v)
        step = torch.cat([yy * rx - xy * ry, xx * ry - xy * rx], 1) / (xx * yy - xy * xy)
        size = step.norm(dim=1, keepdim=True)
        theta = theta - step * (
            0.1 / size.clamp_min(0.1)
        )  # a step is at most 0.1": near a critical curve Newton overshoots
    rx, ry = residual(masses, theta[:, :1], theta[:, 1:], beta_x, beta_y)
    theta = theta[(torch.hypot(rx, ry)[:, 0] < tolerance) & torch.isfinite(theta).all(1)]
    return _unique(theta, 1e-6)


def _cells_with_a_root(rx: Tensor, ry: Tensor, x: Tensor, y: Tensor) -> Tensor:
    corners = [
        (slice(None, -1), slice(None, -1)),
        (slice(None, -1), slice(1, None)),
        (slice(1, None), slice(1, None)),
        (slice(1, None), slice(None, -1)),
    ]
    found = torch.zeros_like(x[:-1, :-1], dtype=torch.bool)
    for triangle in ((0, 1, 2), (0, 2, 3)):
        px, py = ([r[corners[i]] for i in triangle] for r in (rx, ry))
        turns = [px[i] * py[j] - px[j] * py[i] for i, j in ((0, 1), (1, 2), (2, 0))]
        signs = torch.stack(turns)
        found |= (signs >= 0).all(0) | (signs <= 0).all(0)
    cell = x[0, 1] - x[0, 0]
    return torch.stack([x[:-1, :-1][found] + cell / 2, y[:-1, :-1][found] + cell / 2], 1)


def _unique(theta: Tensor, distance: float) -> Tensor:
    kept: list[Tensor] = []
    for point in theta:
        if all((point - other).norm() > distance for other in kept):
            kept.append(point)
    return torch.stack(kept) if kept else theta.new_zeros((0, 2))
