r"""Positions of multiple images of points of the source: they choose among starts, and may be part of what is fitted.

Traced to the source plane, the images of one point must meet. To first order an offset `delta beta` there is an offset
`mu delta beta` in the image, with the local magnification tensor `mu = A^-1`, `A = d beta / d theta`, so that with an astrometric
error sigma

    chi^2 = sum_i (beta_i - beta)^T (sigma^2 A_i A_i^T)^-1 (beta_i - beta)

(Keeton 2001, astro-ph/0102340, the source-plane chi^2 with the full magnification tensor; Oguri 2010, PASJ 62, 1017), and the best
beta is the mean of the beta_i with these weights. Next to a critical curve A has a direction without extent and first order fails;
`LEAST_STRETCH` is added there, as lenstronomy's position likelihood adds its `source_position_sigma`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from darklens.errors import InputError
from darklens.lensing import Mass, trace
from darklens.lensing.lens_equation import LONGEST_STEP

SIGMA = 0.05
"""Astrometric error in arcsec where nothing else is said: a pixel of HST."""
TOLERANCE = 0.2
"""Largest separation of traced positions of one source, in units of the Einstein radius, where nothing else is said."""
LEAST_STRETCH = 0.02
"""Extent of the source plane that a unit of the image plane is taken to have at least, in every direction. With an error sigma the
second order takes over where the stretch is below `sigma / (2 theta_E)`: 0.02 for 0.05" in a ring of 1.3"."""
STEP = 1e-4
"""Of differences in the image plane, arcsec."""
NEWTON_STEPS = 60
_NUMBERS = int, float, np.integer, np.floating


@dataclass(frozen=True, eq=False)
class Positions:
    """Where images of points of the source stand, in arcsec from the middle of the image, x to the right and y up.

    Args:
        x: `(n,)`.
        y: `(n,)`.
        source: `(n,)` which point each is an image of: 0, 1, ...; all of them at the redshift of the source that is modelled.
        sigma: astrometric error along each axis, arcsec.
        tolerance: arcsec; a start whose traced positions are further apart is not descended from. None takes `TOLERANCE` of the
            Einstein radius.
        in_likelihood: whether the positions are data besides the pixels, in the final cost, its errors and its samples. Else they
            only lead there: what was read off the same image must not count twice.

    Raises:
        InputError: a source with one position, a position that is not finite or given twice, a sigma or a tolerance that is not
            positive.
    """

    x: np.ndarray
    y: np.ndarray
    source: np.ndarray
    sigma: float = SIGMA
    tolerance: float | None = None
    in_likelihood: bool = False

    def __post_init__(self) -> None:
        for name, value in (("sigma", self.sigma), ("tolerance", self.tolerance)):
            if value is not None and not (np.isfinite(value) and value > 0):
                raise InputError(f"position {name} {value}: it has to be positive and finite; give arcsec")
        if not len(self.x):
            raise InputError("no positions are given: the images of a source are two or more, [[x, y], [x, y]]")
        bad = ~(np.isfinite(self.x) & np.isfinite(self.y))
        if bad.any():
            k = int(np.flatnonzero(bad)[0])
            raise InputError(f"position {k + 1} is ({self.x[k]}, {self.y[k]}): both have to be finite; give arcsec")
        for number, own in enumerate(self.groups):
            if len(own) < 2:
                raise InputError(f"source {number + 1} has one position: its images have to be two or more to say anything")
            if len({(self.x[k], self.y[k]) for k in own}) < len(own):
                raise InputError(f"source {number + 1} has the same position twice: give each image once")

    @classmethod
    def of(cls, given: Sequence[Any] | np.ndarray, **settings: Any) -> Positions:
        """Return positions from `[[x, y], ...]` of one source, or a list of such lists.

        Args:
            given: numbers in arcsec.
            **settings: sigma, tolerance, in_likelihood.

        Raises:
            InputError: anything else, or what `Positions` refuses.
        """
        shape = "give [[x, y], [x, y], ...] in arcsec, or a list of such lists, one a source"
        if not isinstance(given, list | tuple | np.ndarray):
            raise InputError(f"positions that are a {type(given).__name__}: {shape}")
        rows = []
        for number, group in enumerate(given if any(_depth(one) > 1 for one in given) else [given]):
            if _depth(group) != 2 or not len(group):
                raise InputError(f"source {number + 1} has the positions {str(group)[:60]}: {shape}")
            rows += [(*_pair(one, shape), number) for one in group]
        x, y, source = np.array(rows, float).reshape(-1, 3).T
        return cls(x, y, source.astype(int), **settings)

    @cached_property
    def groups(self) -> tuple[np.ndarray, ...]:
        """Numbers of the positions of each source."""
        return tuple(np.flatnonzero(self.source == k) for k in np.unique(self.source))

    @property
    def images(self) -> tuple[Tensor, Tensor]:
        """Coordinates x and y as a row of an image grid, `(1, n)` float64."""
        return torch.from_numpy(self.x)[None], torch.from_numpy(self.y)[None]

    def allowed(self, theta_E: float) -> float:
        """Return the tolerance in arcsec for an Einstein radius."""
        return self.tolerance or TOLERANCE * theta_E

    def radius(self, centre: tuple[float, float]) -> float | None:
        """Return the Einstein radius that positions on opposite sides of a centre suggest: half their mean separation, arcsec.

        A source at beta has images at `theta_E + beta` and `theta_E - beta`. Each position is paired with the one farthest from it;
        None where no pair is on opposite sides.
        """
        found = []
        dx, dy = self.x - centre[0], self.y - centre[1]
        for own in self.groups:
            apart = np.hypot(np.subtract.outer(dx[own], dx[own]), np.subtract.outer(dy[own], dy[own]))
            other = apart.argmax(1)
            opposite = dx[own] * dx[own[other]] + dy[own] * dy[own[other]] < 0
            found += apart.max(1)[opposite].tolist()
        return 0.5 * float(np.mean(found)) if found else None

    def scatter(self, bx: Tensor, by: Tensor) -> Tensor:
        """Return the largest separation of traced positions of one source, `(...)` for `(..., n)`, arcsec."""
        found = []
        for own in map(torch.from_numpy, self.groups):
            dx, dy = (b[..., own, None] - b[..., None, own] for b in (bx, by))
            found.append(torch.hypot(dx, dy).flatten(-2).amax(-1))
        return torch.stack(found).amax(0)

    def offsets(self, masses: Sequence[Mass], places: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Trace the positions.

        Args:
            masses: whose parameters may have leading axes.
            places: x and y to take instead of the positions, `(..., 1, n)`, where they are parameters themselves.

        Returns:
            `(..., 2n)` offsets from the best source positions, whitened: their squares add to chi^2; and `(..., k, 2)` the best
            source positions, arcsec.
        """
        beta, A = _traced(masses, *(places or self.images))
        covariance = self.sigma**2 * (A @ A.mT + LEAST_STRETCH**2 * torch.eye(2, dtype=A.dtype))
        white = torch.linalg.inv(torch.linalg.cholesky(covariance))
        found, best = [], []
        for own in map(torch.from_numpy, self.groups):
            L, there = white[..., own, :, :], beta[..., own, :]
            weight = L.mT @ L
            middle = torch.linalg.solve(weight.sum(-3), (weight @ there[..., None]).sum(-3))[..., 0]
            found.append((L @ (there - middle[..., None, :])[..., None]).flatten(-3))
            best.append(middle)
        return torch.cat(found, -1), torch.stack(best, -2)

    def magnifications(self, masses: Sequence[Mass]) -> list[float]:
        """Return the signed magnification at each position."""
        return (1 / torch.linalg.det(_traced(masses, *self.images)[1])).tolist()

    def predicted(self, masses: Sequence[Mass]) -> list[list[float] | None]:
        """Return where the model puts each image, `[x, y]` in arcsec: the lens equation for the best source positions.

        Newton's method begins where the image was seen; None where it ends at the image of a position before it, or nowhere.
        """
        beta = self.offsets(masses)[1]
        goal = torch.stack([beta[k] for k in np.searchsorted(np.unique(self.source), self.source)])
        theta = torch.stack([t[0] for t in self.images], -1)
        for _ in range(NEWTON_STEPS):
            there, A = _traced(masses, *theta.T[:, None])
            step = torch.linalg.solve(A + 1e-9 * torch.eye(2, dtype=A.dtype), (goal - there)[..., None])[..., 0]
            theta = theta + step * (LONGEST_STEP / step.norm(dim=1, keepdim=True).clamp_min(LONGEST_STEP))
        solved = (goal - _traced(masses, *theta.T[:, None])[0]).norm(dim=1) < 1e-7
        found: list[list[float] | None] = []
        for k, image in enumerate(theta):
            before = [theta[i] for i in range(k) if found[i] is not None and self.source[i] == self.source[k]]
            known = any(float((image - other).norm()) < 1e-4 for other in before)
            found.append(image.tolist() if solved[k] and not known else None)
        return found

    def report(self, masses: Sequence[Mass]) -> dict[str, Any]:
        """Return how well a model explains the positions; the rms over images is None where the model makes fewer of them."""
        x, y = self.images
        white, _ = self.offsets(masses)
        predicted = self.predicted(masses)
        squares = [(p[0] - a) ** 2 + (p[1] - b) ** 2 for p, a, b in zip(predicted, self.x, self.y, strict=True) if p is not None]
        return {
            "sources": len(self.groups),
            "images": len(self.x),
            "sigma": self.sigma,
            "in_likelihood": self.in_likelihood,
            "chi2": float(white.square().sum()),
            "source_plane_scatter": float(self.scatter(*trace(masses, x, y))),
            "image_plane_rms": float(np.mean(squares)) ** 0.5 if len(squares) == len(self.x) else None,
            "observed": np.stack([self.x, self.y], 1).tolist(),
            "predicted": predicted,
        }


def _traced(masses: Sequence[Mass], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return beta `(..., n, 2)` and A = d beta / d theta `(..., n, 2, 2)` of positions `(..., 1, n)`.

    A comes from central differences, good to 1e-8: forward-mode derivatives of so few rays take a hundred times longer.
    """
    place = torch.cat([x, x + STEP, x - STEP, x, x], -1), torch.cat([y, y, y, y + STEP, y - STEP], -1)
    beta, right, left, up, down = torch.stack(trace(masses, *place), -1)[..., 0, :, :].chunk(5, -2)
    return beta, torch.stack([right - left, up - down], -1) / (2 * STEP)


def _pair(given: Any, shape: str) -> tuple[float, float]:
    try:
        if _depth(given) == 1 and len(given) == 2 and all(isinstance(c, _NUMBERS) and not isinstance(c, bool) for c in given):
            return float(given[0]), float(given[1])
    except OverflowError:  # an integer beyond any float
        pass
    raise InputError(f"position {str(given)[:60]} is not a pair of numbers: {shape}")


def _depth(given: Any, most: int = 4) -> int:
    """Return how many levels of lists there are, counted up to `most`: 0 for a number, 1 for a pair, 2 for pairs."""
    if not most or not isinstance(given, list | tuple | np.ndarray):
        return 0
    return 1 + max((_depth(one, most - 1) for one in given), default=1)
