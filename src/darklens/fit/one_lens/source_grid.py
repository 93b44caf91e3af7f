"""A source on pixels: bilinear interpolation between the nodes of a grid that is fine where many rays end.

The grid is rectilinear: its lines lie at the quantiles of the traced rays, mixed with even steps, so that the magnified part of
the source plane gets small cells (the idea of Dye & Warren 2005, ApJ 623, 31, on a grid that needs no triangulation).
Brightness is zero outside. The prior on the nodes is Gaussian with the precision `lambda R`; R is made of first ("gradient") or
second ("curvature") differences along both axes, with zeros beyond the edge (Suyu et al. 2006, MNRAS 371, 983), each in units of
how much it may vary there: a galaxy is steep where it is bright and smooth where it is faint, and one smoothness for both lets the
lens bend for the cusp that the source may not have (Nightingale, Dye & Massey 2018, MNRAS 478, 4738, section 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from darklens.errors import unknown
from darklens.fit.one_lens.source_frame import Frame

REGULARISATIONS = ("gradient", "curvature")
EVEN = 0.3
"""Share of even steps in the lines of the grid; the rest follows the density of rays."""


@dataclass(frozen=True, eq=False)
class SourceGrid:
    """Nodes of the source.

    Args:
        x: `(n_x,)` increasing lines, arcsec.
        y: `(n_y,)` likewise.
        regularisation: one of `REGULARISATIONS`.
        freedom: `(n_y, n_x)` how much the source may vary at each node, in units that lambda takes up; None: everywhere the same.
        frame: in which the lines are where they are; None: in the source plane itself.
    """

    x: np.ndarray
    y: np.ndarray
    regularisation: str = "curvature"
    freedom: np.ndarray | None = None
    frame: Frame | None = None

    def __post_init__(self) -> None:
        if self.regularisation not in REGULARISATIONS:
            raise unknown("regularisation", self.regularisation, REGULARISATIONS)

    @property
    def size(self) -> int:
        """Number of nodes."""
        return len(self.x) * len(self.y)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.y), len(self.x)

    @cached_property
    def precision(self) -> np.ndarray:
        """R, `(size, size)`."""
        order = 1 if self.regularisation == "gradient" else 2
        freedom = np.ones(self.shape) if self.freedom is None else self.freedom
        R = sparse.csr_array((self.size, self.size))
        for axis in (0, 1):
            parts = [sparse.eye_array(n) for n in self.shape]
            parts[axis] = sparse.csr_array(_differences(self.shape[axis], order))
            differences = sparse.kron(*parts, format="csr") / _where_they_are(freedom, axis, order).ravel()[:, None]
            R = R + differences.T @ differences
        return R.toarray()

    @cached_property
    def log_det(self) -> float:
        """`ln |R|`."""
        return float(np.linalg.slogdet(self.precision)[1])

    def cells(self, bx: Tensor, by: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return column and row of the cell of each ray, its place inside, between 0 and 1, and whether it lies on the grid."""
        found = []
        inside = torch.ones_like(bx, dtype=torch.bool)
        for b, lines in ((bx, torch.from_numpy(self.x)), (by, torch.from_numpy(self.y))):
            cell = torch.searchsorted(lines, b.detach().contiguous()).clamp(1, len(lines) - 1) - 1
            found += [cell, (b - lines[cell]) / (lines[cell + 1] - lines[cell])]
            inside &= (b.detach() >= lines[0]) & (b.detach() <= lines[-1])
        return found[0], found[1], found[2], found[3], inside

    def interpolate(self, nodes: Tensor, bx: Tensor, by: Tensor) -> Tensor:
        """Return the brightness `(...)` where rays end; differentiable in the rays."""
        column, s, row, t, inside = self.cells(bx, by)
        grid = nodes.reshape(self.shape)
        low = (1 - s) * grid[row, column] + s * grid[row, column + 1]
        high = (1 - s) * grid[row + 1, column] + s * grid[row + 1, column + 1]
        return torch.where(inside, (1 - t) * low + t * high, 0.0)

    def slopes(self, planes: Tensor, bx: Tensor, by: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient `(R, K)` of what each ray sees of the source plane of its own pixel, divided by the number of rays.

        Args:
            planes: `(R, size)` nodes for each pixel.
            bx: `(R, K)` where rays end.
            by: likewise.
        """
        column, s, row, t, inside = self.cells(bx, by)
        first = row * len(self.x) + column
        low, right, up, both = (planes.gather(1, first + shift) for shift in (0, 1, len(self.x), len(self.x) + 1))
        x, y = torch.from_numpy(self.x), torch.from_numpy(self.y)
        across = ((1 - t) * (right - low) + t * (both - up)) / (x[column + 1] - x[column])
        along = ((1 - s) * (up - low) + s * (both - right)) / (y[row + 1] - y[row])
        return across * inside / bx.shape[1], along * inside / bx.shape[1]

    def operator(self, bx: Tensor, by: Tensor) -> sparse.csr_array:
        """Return the matrix `(R, size)` from nodes to the mean over the rays of each pixel; rays are `(R, K)`."""
        column, s, row, t, inside = (array.numpy() for array in self.cells(bx, by))
        pixel = np.broadcast_to(np.arange(len(s))[:, None], s.shape)
        first = row * len(self.x) + column
        value = np.stack([(1 - t) * (1 - s), (1 - t) * s, t * (1 - s), t * s]) * inside / s.shape[1]
        node = np.stack([first, first + 1, first + len(self.x), first + len(self.x) + 1])
        entries = value.ravel(), (np.broadcast_to(pixel, value.shape).ravel(), node.ravel())
        return sparse.csr_array(entries, shape=(len(s), self.size))


def adapted(
    bx: np.ndarray, by: np.ndarray, weight: np.ndarray, nodes: int, regularisation: str, margin: float = 0.15
) -> SourceGrid:
    """Return a grid that follows traced rays.

    Args:
        bx: `(R,)` where rays of bright pixels end, arcsec.
        by: `(R,)`.
        weight: `(R,)` how much each ray counts.
        nodes: along a side.
        regularisation: one of `REGULARISATIONS`.
        margin: beyond the rays on each side, in units of their span.
    """
    frame = Frame.of(*(torch.from_numpy(a) for a in (bx, by, weight)))
    return SourceGrid(*(_lines(b, weight, nodes, margin) for b in (bx, by)), regularisation, frame=frame)


def _lines(b: np.ndarray, weight: np.ndarray, nodes: int, margin: float) -> np.ndarray:
    order = np.argsort(b)
    total = np.cumsum(weight[order])
    low, high = np.interp([0.005, 0.995], total / total[-1], b[order])
    span = margin * (high - low)
    low, high = low - span, high + span
    inside = (b[order] >= low) & (b[order] <= high)
    place = np.concatenate([[low], b[order][inside], [high]])
    share = np.concatenate([[0], np.cumsum(weight[order][inside]), [0]])
    share[-1] = share[-2]
    ramp = (1 - EVEN) * share / share[-1] + EVEN * (place - low) / (high - low)
    return np.interp(np.linspace(0, 1, nodes), ramp, place)


def _differences(n: int, order: int) -> np.ndarray:
    """Return differences of n values with zeros before and after, `(n + 1, n)` or `(n, n)`."""
    first = np.eye(n + 1, n) - np.eye(n + 1, n, -1)
    return first if order == 1 else first.T @ first


def _where_they_are(values: np.ndarray, axis: int, order: int) -> np.ndarray:
    """Return the values at which differences along an axis are taken: at the nodes, or halfway between them."""
    if order == 2:
        return values
    padded = np.pad(values, [(1, 1) if k == axis else (0, 0) for k in (0, 1)], mode="edge")
    return 0.5 * (np.take(padded, range(values.shape[axis] + 1), axis) + np.take(padded, range(1, values.shape[axis] + 2), axis))
