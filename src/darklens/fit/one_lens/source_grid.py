"""A source on pixels: bilinear interpolation between the nodes of a grid that is fine where many rays end.

The grid is rectilinear: its lines lie at the quantiles of the traced rays, mixed with even steps, so that the magnified part of
the source plane gets small cells (the idea of Dye & Warren 2005, ApJ 623, 31, on a grid that needs no triangulation).
Brightness is zero outside. The prior on the nodes is Gaussian with the precision `lambda R`; R is made of first ("gradient") or
second ("curvature") differences along both axes, with zeros beyond the edge (Suyu et al. 2006, MNRAS 371, 983), each in units of
how much it may vary there: a galaxy is steep where it is bright and smooth where it is faint, and one smoothness for both lets the
lens bend for the cusp that the source may not have (Nightingale, Dye & Massey 2018, MNRAS 478, 4738).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import sparse
from scipy.interpolate import PchipInterpolator
from torch import Tensor

from darklens.errors import WorkError, unknown
from darklens.fit.one_lens.source_frame import Frame

REGULARISATIONS = ("gradient", "curvature")
EVEN = 0.3
"""Share of even steps in the lines of the grid, where nothing else is said."""
OUTERMOST = 0.005, 0.995
"""Quantiles of the rays that a grid holds between which its lines lie."""
FEWEST = 10
"""Rays that a grid has to hold."""
MARGIN = 0.05
"""Beyond them on each side, in units of their distance."""


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

    @cached_property
    def _index(self) -> tuple[Index, Index]:
        return Index.of(self.x), Index.of(self.y)

    def interpolate(self, nodes: Tensor, bx: Tensor, by: Tensor) -> Tensor:
        """Return the brightness `(...)` where rays end; differentiable in the rays."""
        (column, across, _), (row, along, _) = (index(b) for index, b in zip(self._index, (bx, by), strict=True))
        grid, light = nodes.reshape(self.shape), torch.zeros_like(bx)
        for j, v in zip(row, along, strict=True):
            for i, w in zip(column, across, strict=True):
                light = light + v * w * grid[j, i]
        return light

    def slopes(self, planes: Tensor, bx: Tensor, by: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient `(R, K)` of what each ray sees of the source plane of its own pixel, divided by the number of rays.

        Args:
            planes: `(R, size)` nodes for each pixel.
            bx: `(R, K)` where rays end.
            by: likewise.
        """
        (column, across, steep_x), (row, along, steep_y) = (index(b) for index, b in zip(self._index, (bx, by), strict=True))
        slope_x, slope_y = torch.zeros_like(bx), torch.zeros_like(by)
        for j, v, dv in zip(row, along, steep_y, strict=True):
            for i, w, dw in zip(column, across, steep_x, strict=True):
                node = planes.gather(1, j * len(self.x) + i)
                slope_x += v * dw * node
                slope_y += dv * w * node
        return slope_x / bx.shape[1], slope_y / bx.shape[1]

    def operator(self, bx: Tensor, by: Tensor) -> sparse.csr_array:
        """Return the matrix `(R, size)` from nodes to the mean over the rays of each pixel; rays are `(R, K)`."""
        (column, across, _), (row, along, _) = (index(b) for index, b in zip(self._index, (bx, by), strict=True))
        node = (row[:, None] * len(self.x) + column).reshape(-1, *bx.shape).numpy()
        value = (along[:, None] * across).reshape(-1, *bx.shape).numpy() / bx.shape[1]
        pixel = np.broadcast_to(np.arange(len(bx))[:, None], bx.shape)
        entries = value.ravel(), (np.broadcast_to(pixel, value.shape).ravel(), node.ravel())
        return sparse.csr_array(entries, shape=(len(bx), self.size))


@dataclass(frozen=True, eq=False)
class Index:
    """Along one axis: from a position to the three nodes whose splines reach it.

    Args:
        lines: `(n,)` positions of the nodes.
        steep: `(n,)` nodes per arcsec there, of a monotone cubic through the lines (Fritsch & Carlson 1980).
    """

    lines: Tensor
    steep: Tensor

    @classmethod
    def of(cls, lines: np.ndarray) -> Index:
        """Return the index of increasing lines."""
        slope = PchipInterpolator(lines, np.arange(len(lines), dtype=float)).derivative()(lines)
        slope[[0, -1]] = 1 / np.diff(lines)[[0, -1]]  # it may be zero at the ends, and goes on straight from there
        return cls(torch.from_numpy(lines), torch.from_numpy(slope))

    def __call__(self, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return nodes, weights and the weights' derivatives, `(3, ...)` each; beyond the last nodes' splines weights are zero."""
        place, steep = self.number(b)
        last = len(self.lines) - 1
        middle = place.detach().round().clamp(0, last)
        t = place - middle
        reached = t.abs() < 1.5
        inner = t.abs() <= 0.5
        # at the ends the spline of the last node goes on where it would have a neighbour
        low = torch.where(inner, 0.5 * (0.5 - t).square(), 0.0)
        high = torch.where(inner, 0.5 * (0.5 + t).square(), 0.0)
        own = torch.where(inner, 0.75 - t.square(), 0.5 * (1.5 - t.abs()).square())
        weight = torch.stack([low, torch.where(reached, own, 0.0), high])
        d_own = torch.where(inner, -2 * t, -(1.5 - t.abs()) * t.sign())
        change = torch.stack([torch.where(inner, t - 0.5, 0.0), torch.where(reached, d_own, 0.0), torch.where(inner, t + 0.5, 0.0)])
        node = torch.stack([middle - 1, middle, middle + 1]).long()
        there = (node >= 0) & (node <= last)
        return node.clamp(0, last), torch.where(there, weight, 0.0), torch.where(there, change * steep, 0.0)

    def number(self, b: Tensor) -> tuple[Tensor, Tensor]:
        """Return how many nodes lie below a position, whole ones at nodes, and its derivative; straight beyond the ends."""
        lines, last = self.lines, len(self.lines) - 1
        cell = torch.searchsorted(lines, b.detach().contiguous()).clamp(1, last) - 1
        width, m0, m1 = lines[cell + 1] - lines[cell], self.steep[cell], self.steep[cell + 1]
        s = (b - lines[cell]) / width
        rise0, rise1 = width * m0, width * m1
        a, c = rise0 + rise1 - 2, 3 - 2 * rise0 - rise1
        within = cell + s * (rise0 + s * (c + s * a))
        steep = (rise0 + s * (2 * c + 3 * a * s)) / width
        below, above = b.detach() < lines[0], b.detach() > lines[-1]
        within = torch.where(below, (b - lines[0]) * self.steep[0], within)
        within = torch.where(above, last + (b - lines[-1]) * self.steep[-1], within)
        return within, torch.where(below, self.steep[0], torch.where(above, self.steep[-1], steep))


def adapted(
    bx: np.ndarray, by: np.ndarray, weight: np.ndarray, nodes: int, regularisation: str, *, held: np.ndarray, even: float = EVEN
) -> SourceGrid:
    """Return a grid that follows traced rays, in a frame that goes with those it holds.

    Args:
        bx: `(R,)` where rays end, arcsec.
        by: `(R,)`.
        weight: `(R,)` how much each ray draws the lines to it.
        nodes: along a side.
        regularisation: one of `REGULARISATIONS`.
        held: `(R,)` true for rays that the grid has to hold, but for the outermost.
        even: share of even steps in the lines; the rest follows the weighted density of rays.

    Raises:
        WorkError: hardly a ray is held.
    """
    if held.sum() < FEWEST:
        raise WorkError("the Einstein ring that was found lies outside the pixels that count: say how large it is with --theta-e")
    frame = Frame.of(*(torch.from_numpy(a) for a in (bx, by, held.astype(float))))

    def lines(b: np.ndarray) -> np.ndarray:
        low, high = np.quantile(b[held], OUTERMOST)
        margin = MARGIN * (high - low)
        return _lines(b, weight, nodes, low - margin, high + margin, even)

    return SourceGrid(lines(bx), lines(by), regularisation, frame=frame)


def _lines(b: np.ndarray, weight: np.ndarray, nodes: int, low: float, high: float, even: float) -> np.ndarray:
    inside = (b >= low) & (b <= high)
    order = np.argsort(b[inside])
    place = np.concatenate([[low], b[inside][order], [high]])
    share = np.concatenate([[0], np.cumsum(weight[inside][order]), [0]])
    share[-1] = share[-2]
    ramp = (1 - even) * share / share[-1] + even * (place - low) / (high - low)
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
