"""The whole model of one lens: which parameters there are, and the linear problem that each set of them poses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from darklens.fit.one_lens.blurring import back_to_sky, onto_pixels
from darklens.fit.one_lens.inversion import Linear, Solution
from darklens.fit.one_lens.light import LightBasis
from darklens.fit.one_lens.macro import Macro
from darklens.fit.one_lens.nuisance import Nuisance
from darklens.fit.one_lens.observation import Observation
from darklens.fit.one_lens.points import Points
from darklens.fit.one_lens.positions import Positions
from darklens.fit.one_lens.source_frame import Place, stay
from darklens.fit.one_lens.source_grid import SourceGrid
from darklens.lensing import Mass

ISOTHERMAL = 1.9, 2.1
"""Slopes among which a search stays until the source is known in detail."""
STEP = 1e-6
"""Of central differences; parameters are of order one."""


@dataclass(frozen=True, eq=False)
class Model:
    """What is fitted to an observation.

    Args:
        observation: the image.
        macro: masses.
        lens_light: of the deflector.
        source_light: smooth source; no column if the source is on pixels.
        grid: source on pixels, in coordinates of its own, or None.
        low: lower bounds of the parameters, by name.
        high: upper bounds.
        extra: masses besides, which do not change.
        positions: images of points of the source that are fitted along with the pixels, or None.
        points: images of a point source, whose positions are parameters, or None.
        held: values of what is no parameter any more, by name.
        nuisance: changes of the image that are a part of the noise, or None.
    """

    observation: Observation
    macro: Macro
    lens_light: LightBasis
    source_light: LightBasis
    grid: SourceGrid | None
    low: dict[str, float]
    high: dict[str, float]
    extra: tuple[Mass, ...] = ()
    positions: Positions | None = None
    points: Points | None = None
    held: dict[str, float] = field(default_factory=dict)
    nuisance: Nuisance | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the non-linear parameters."""
        points = self.points.names if self.points is not None else ()
        known = (*self.macro.names, *self.lens_light.names, *self.source_light.names, *points)
        return tuple(name for name in known if name not in self.held)

    @property
    def nodes(self) -> int:
        """Number of source nodes."""
        return self.grid.size if self.grid is not None else 0

    @property
    def blocks(self) -> dict[str, slice]:
        """Which amplitudes belong to the source (its nodes first), the lens light, the points."""
        light = self.nodes + self.source_light.columns
        points = light + self.lens_light.columns
        last = points + (self.points.count if self.points is not None else 0)
        return {"source": slice(0, light), "light": slice(light, points), "points": slice(points, last)}

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds, in the order of the names."""
        return np.array([self.low[n] for n in self.names]), np.array([self.high[n] for n in self.names])

    @property
    def nearly_isothermal(self) -> Model:
        """The model with a power law whose slope hardly moves: what says the slope is in the details of the source."""
        if "gamma" not in self.low:
            return self
        return replace(self, low=self.low | {"gamma": ISOTHERMAL[0]}, high=self.high | {"gamma": ISOTHERMAL[1]})

    def on(self, grid: SourceGrid | None) -> Model:
        """Return the model with another grid."""
        return replace(self, grid=grid)

    def named(self, eta: np.ndarray | Tensor) -> dict[str, Tensor]:
        """Return parameters by name."""
        vector = torch.as_tensor(eta, dtype=torch.float64)
        held = {name: torch.tensor(value, dtype=torch.float64) for name, value in self.held.items()}
        return held | dict(zip(self.names, vector.unbind(-1), strict=True))

    def shapes_as_noise(self, eta: np.ndarray, solution: Solution) -> Model:
        """Return the model whose Gaussians of lens light keep their shapes, changes of these being a part of the noise.

        Of a galaxy in thousands of pixels the shape is known to a percent, where the image is linear in it; a shape that pixels
        say little of belongs to faint light, where it matters little. Two sets of Gaussians may exchange their roles, or one
        vanish, and chains through their shapes find no rest, though no mass depends on which set is which.

        Args:
            eta: `(p,)` best parameters.
            solution: amplitudes there; changes of the shapes are those of this light.
        """
        shapes = [name for shape in self.lens_light.shapes if shape.kind == "mge" for name in shape.parameters]
        own = [self.names.index(name) for name in shapes]
        if not own:
            return self
        low, high = self.bounds
        changes, _ = self.derivatives(eta, solution)
        widths = (high - low)[own] / math.sqrt(12)  # of priors that are uniform between bounds
        held = dict(zip(shapes, eta[own].tolist(), strict=True))
        return replace(self, held=self.held | held, nuisance=Nuisance.of(changes[:, own], widths))

    def whitened(self, images: np.ndarray) -> np.ndarray:
        """Return images `(N, ...)` in units of the white noise in those of all the noise."""
        return images if self.nuisance is None else self.nuisance.whitened(images)

    def masses(self, value: dict[str, Tensor]) -> tuple[Mass, ...]:
        """Return all deflectors."""
        return (*self.macro.masses(value), *self.extra)

    def traced(self, value: dict[str, Tensor], x: Tensor | None = None, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return where rays end in the source plane; without positions the rays of the observation."""
        if x is None or y is None:
            x, y = self.observation.rays
        ax, ay = _deflected(self.masses(value), x, y)
        return x - ax, y - ay

    def landed(self, value: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return where the rays of the observation end, in the coordinates in which the source is described."""
        bx, by = self.traced(value)
        return self._place(bx, by)(bx, by)

    def placed(self, eta: np.ndarray) -> Place:
        """Return the map from the source plane, arcsec, to the coordinates in which the source is described."""
        return self._place(*self.traced(self.named(eta)))

    def _place(self, bx: Tensor, by: Tensor) -> Place:
        return stay if self.grid is None or self.grid.frame is None else self.grid.frame.place(bx, by)

    def columns(self, eta: np.ndarray) -> np.ndarray:
        """Return the blurred columns B, `(N, n + k)` in units of the noise: nodes, smooth source, lens light, points."""
        value = self.named(eta)
        bx, by = self.landed(value)
        blur, area = self.observation.blur, self.observation.pixel_scale**2
        blocks = []
        if self.grid is not None:
            blocks.append(onto_pixels(blur, self.grid.operator(bx, by)) * area)
        smooth = [b for b in (self._smooth(value, bx, by),) if b is not None]
        if smooth:
            blocks.append(blur @ np.ascontiguousarray(smooth[0].mean(-1).numpy().T) * area)
        if self.points is not None:
            blocks.append(self.points.columns(value, self.observation))
        return np.hstack(blocks)

    def _smooth(self, value: dict[str, Tensor], bx: Tensor, by: Tensor) -> Tensor | None:
        parts = []
        if self.source_light.shapes:
            parts.append(self.source_light.intensity(value, bx, by))
        if self.lens_light.shapes:
            parts.append(self.lens_light.intensity(value, *self.observation.rays))
        return torch.cat(parts) if parts else None

    def problem(self, eta: np.ndarray) -> Linear:
        """Return the linear problem of these parameters."""
        R, log_det = (self.grid.precision, self.grid.log_det) if self.grid is not None else (np.zeros((0, 0)), 0.0)
        offset = float(self._offsets(eta).square().sum())
        return Linear.of(self.whitened(self.columns(eta)), self.whitened(self.observation.data), R, log_det, offset)

    def _offsets(self, eta: np.ndarray) -> Tensor:
        """Return `(..., 2n)` whitened offsets of positions and points in the source plane, for parameters `(..., p)`."""
        value = self.named(eta)
        parts = [torch.zeros(*eta.shape[:-1], 0, dtype=torch.float64)]
        if self.positions is not None:
            parts.append(self.positions.offsets(self.masses(value))[0])
        if self.points is not None:
            parts.append(self.points.seen.offsets(self.masses(value), self.points.where(value))[0])
        return torch.cat(parts, -1)

    def pull_of_positions(self, eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return gradient `(p,)` and Gauss-Newton matrix `(p, p)` of half the positions' chi^2; zeros without positions.

        Central differences of the whitened offsets, all parameters of the mass in one batch: the source positions, solved for, and
        the magnifications change with them, with the places of point images, and with nothing else.
        """
        count = len(self.names)
        pull, stiffness = np.zeros(count), np.zeros((count, count))
        if self.positions is None and self.points is None:
            return pull, stiffness
        moving = (*self.macro.names, *(self.points.names if self.points is not None else ()))
        own = [self.names.index(name) for name in moving]
        move = STEP * np.eye(count)[own]
        after, before = self._offsets(np.concatenate([eta + move, eta - move])).numpy().reshape(2, len(own), -1)
        slope = (after - before) / (2 * STEP)
        pull[own], stiffness[np.ix_(own, own)] = slope @ self._offsets(eta).numpy(), slope @ slope.T
        return pull, stiffness

    def derivatives(self, eta: np.ndarray, solution: Solution, log_det: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return how the blurred model and half of ln|A_s| change with each parameter.

        Masses move rays, and what a ray sees changes with the gradient of the source: one backward pass gives that gradient. How
        rays and light change with a parameter comes from central differences, good to 1e-9 in double precision and a tenth of the
        price of forward-mode derivatives, whose overhead an operation dwarfs these short tensors.

        Args:
            eta: `(p,)` parameters.
            solution: amplitudes there; they are held.
            log_det: also of `ln|A_s| / 2`; else zeros.

        Returns:
            `(N, p)` in units of the noise, and `(p,)`.
        """
        amplitudes, value, observation = torch.from_numpy(solution.x), self.named(eta), self.observation
        traced = self.traced(value)
        bx, by = (b.detach().requires_grad_() for b in self._place(*traced)(*traced))
        slope_x, slope_y = torch.autograd.grad(self._source(amplitudes, value, bx, by).sum(), (bx, by))
        bx, by = bx.detach(), by.detach()
        light = amplitudes[self.blocks["light"]]
        pull = self._pull(bx, by, solution) if log_det and self.grid is not None else None
        log_dets = np.zeros(len(self.names))
        changes = []
        own = self.names if self.points is None else self.names[: -2 * self.points.count]  # points need no blur
        for k, name in enumerate(own):
            if name in self.macro.names:
                dx, dy = self._moved(traced, value, name)
                change = slope_x * dx + slope_y * dy
                log_dets[k] = float((pull[0] * dx + pull[1] * dy).sum()) if pull is not None else 0.0
            elif name in self.source_light.names:
                (change,) = _along(lambda v: (self._source(amplitudes, v, bx, by),), value, name)
            else:
                (change,) = _along(lambda v: (self.lens_light.shine(light, v, *observation.rays),), value, name)
            changes.append(change.mean(-1))
        V = observation.blur @ torch.stack(changes, 1).numpy() * observation.pixel_scale**2
        if self.points is not None:
            first = len(own)
            V = np.pad(V, ((0, 0), (0, len(self.names) - first)))
            for axis in (0, 1):
                slopes = self.points.columns(value, observation, "xy"[axis])
                V[:, first + axis :: 2] = slopes * solution.x[self.blocks["points"]]
        return self.whitened(V), log_dets

    def _moved(self, traced: tuple[Tensor, Tensor], value: dict[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
        """Return the derivatives of where rays end, in the source's coordinates, from the masses that have the parameter."""
        before, after = (self.macro.masses(value | {name: value[name] + step}) for step in (-STEP, STEP))
        changed = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
        less, more = (_deflected([pair[k] for pair in changed], *self.observation.rays) for k in (0, 1))
        half = [0.5 * (a - b) for a, b in zip(less, more, strict=True)]  # a ray ends where it was, less its deflection
        ends = []
        for sign in (-1, 1):
            rays = [b + sign * h for b, h in zip(traced, half, strict=True)]
            ends.append(self._place(*rays)(*rays))
        return tuple((a - b) / (2 * STEP) for b, a in zip(*ends, strict=True))

    def _pull(self, bx: Tensor, by: Tensor, solution: Solution) -> tuple[Tensor, Tensor]:
        """Return the derivative of `ln|A_s| / 2` with respect to where each ray ends: `tr(A_s^-1 B_s^T dB_s)`.

        `blur^T B_s A_s^-1` has a source plane for every pixel, of which a ray touches four nodes.
        """
        grid = self.grid
        assert grid is not None
        planes = back_to_sky(self.observation.blur, self.whitened(solution.influence()), grid.operator(bx, by))
        return grid.slopes(torch.from_numpy(planes * self.observation.pixel_scale**2), bx, by)

    def source(self, x: np.ndarray, eta: np.ndarray, bx: Tensor, by: Tensor, place: Place | None = None) -> Tensor:
        """Return the source's surface brightness at positions of the source plane, for solved amplitudes.

        Args:
            x: `(n + k,)` amplitudes.
            eta: `(p,)` parameters.
            bx: `(...)` arcsec.
            by: likewise.
            place: `placed(eta)`, if it is known: it traces all rays.
        """
        return self._source(torch.from_numpy(x), self.named(eta), *(place or self.placed(eta))(bx, by))

    def _source(self, amplitudes: Tensor, value: dict[str, Tensor], bx: Tensor, by: Tensor) -> Tensor:
        """Return the brightness that rays see in the source plane."""
        nodes = self.nodes
        light = 0.0 * (bx + by)  # a function of the rays also where no amplitude is left
        if self.grid is not None:
            light = light + self.grid.interpolate(amplitudes[:nodes], bx, by)
        if self.source_light.shapes:
            light = light + self.source_light.shine(amplitudes[nodes : nodes + self.source_light.columns], value, bx, by)
        return light


def _deflected(masses: Iterable[Mass], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of deflections."""
    ax, ay = torch.zeros_like(x), torch.zeros_like(y)
    for mass in masses:
        dx, dy = mass.deflection(x, y)
        ax, ay = ax + dx, ay + dy
    return ax, ay


def _along(function: Callable[[dict[str, Tensor]], tuple[Tensor, ...]], value: dict[str, Tensor], name: str) -> tuple[Tensor, ...]:
    """Return the derivatives of what a function returns, with respect to one parameter."""
    after, before = (function(value | {name: value[name] + step}) for step in (STEP, -STEP))
    return tuple((a - b) / (2 * STEP) for a, b in zip(after, before, strict=True))
