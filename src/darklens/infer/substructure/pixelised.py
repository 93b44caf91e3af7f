"""The search in one lens that was modelled in full: a source on pixels or a profile, lens light, multipoles.

Source nodes, amplitudes of the light and the macro model's parameters all answer linearly, the nodes held by their regularisation
as the fit found it. A candidate is weighed by the evidence itself: ln E of the lens with the clump, source and light solved
anew, less ln E without; in the end with the macro model free.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.linalg import solve_triangular
from scipy.optimize import minimize
from torch import Tensor

from darklens.infer.substructure.clump import Clump
from darklens.infer.substructure.gain import MASSES, GainMaps, gain_maps, peaks
from darklens.lensing import Mass

if TYPE_CHECKING:
    from darklens.fit.one_lens import LensFit

RADII = np.geomspace(1e-3, 60.0, 1500)
"""Arcsec at which a clump's deflection is tabulated."""
FEWEST_AMPLITUDES = 1e-12
WANDERED = 0.5, 1.0
"""Arcsec, and dex of the mass, from where it was seen beyond which a clump is another one."""


class PixelisedTemplates:
    """Templates before a source on pixels.

    Args:
        fit: the smooth lens.
        clump: the kind of clump.
    """

    def __init__(self, fit: LensFit, clump: Clump) -> None:
        self.fit, self.clump, found = fit, clump, fit.found
        self.model, self.solution = fit.model, found.solution
        self.observation, self.eta = fit.model.observation, found.eta
        self.pixel_scale = self.observation.pixel_scale
        self.rays = self.observation.rays
        self.beta = fit.model.traced(fit.model.named(found.eta))
        self.place = fit.model.placed(found.eta)
        self.dark = self._shine(*self.beta)
        self.residual = torch.from_numpy(self.solution.residual).float()
        self.basis = self._basis()
        self._bending: dict[float, np.ndarray] = {}

    def _shine(self, bx: Tensor, by: Tensor) -> Tensor:
        return self.model.source(self.solution.x, self.eta, bx, by, self.place)

    def arcs(self) -> np.ndarray:
        """Return the light of the source in units of the noise, `(H, W)`; zero where no pixel counts."""
        seen = self.observation.blur @ self.dark.mean(-1).numpy() * self.pixel_scale**2
        return self.observation.scattered(seen)

    def _basis(self) -> Tensor:
        """Return `(K, N)` V with `V^T V` what source, light and macro model can imitate, each as far as its prior lets it."""
        B = self.solution.problem.B[:, self.solution.keep]
        linear = solve_triangular(self.solution.root, B.T, lower=True)  # L^-1 B^T with A = L L^T, the regularisation in it
        V, _ = self.model.derivatives(self.eta, self.solution)
        V = V[:, np.linalg.norm(V, axis=0) > FEWEST_AMPLITUDES]
        free = V - linear.T @ (linear @ V)
        normal = V.T @ free
        gauge = 1 / np.sqrt(np.diag(normal))
        root = np.linalg.cholesky(normal * gauge[:, None] * gauge + 1e-9 * np.eye(len(gauge)))
        macro = solve_triangular(root, (free * gauge).T, lower=True)
        return torch.from_numpy(np.concatenate([linear, macro])).float()

    def bending(self, log10_m: float) -> np.ndarray:
        """Return deflection over radius of a clump at `RADII`."""
        if log10_m not in self._bending:
            r, zero = torch.from_numpy(RADII)[None], torch.zeros(1, dtype=torch.float64)
            profile = self.clump.profile(torch.tensor([log10_m], dtype=torch.float64), zero, zero)
            self._bending[log10_m] = (profile.deflection(r, torch.zeros_like(r))[0][0] / r[0]).numpy()
        return self._bending[log10_m]

    def whitened(self, log10_m: float, places: np.ndarray) -> Tensor:
        """Return templates `(n, N)` of a mass at places `(n, 2)`."""
        height, width = self.observation.shape
        table, columns = self.bending(log10_m), []
        for row, column in places:
            dx = self.rays[0] - (column - 0.5 * (width - 1)) * self.pixel_scale
            dy = self.rays[1] - (row - 0.5 * (height - 1)) * self.pixel_scale
            slope = torch.from_numpy(np.interp(np.hypot(dx.numpy(), dy.numpy()), RADII, table))
            change = self._shine(self.beta[0] - slope * dx, self.beta[1] - slope * dy) - self.dark
            columns.append(change.mean(-1).numpy())
        return torch.from_numpy((self.observation.blur @ np.stack(columns, 1)).T * self.pixel_scale**2).float()

    def orthogonal(self, template: Tensor) -> Tensor:
        """Return templates less what the smooth lens can imitate of them."""
        return template - (template @ self.basis.T) @ self.basis


@dataclass(frozen=True)
class Weighed:
    """A candidate, weighed by the evidence.

    Args:
        x: arcsec.
        y: arcsec.
        log10_m: M_sun.
        errors: standard deviations of the three from the curvature of ln E with the macro model held; NaN where it has no maximum
            that is narrower than `WANDERED`.
        delta_ln_E: gain with source and light solved anew, the macro model held.
        delta_ln_E_free: with the macro model free as well.
        significance: of the map where it was seen.
    """

    x: float
    y: float
    log10_m: float
    errors: tuple[float, float, float]
    delta_ln_E: float
    delta_ln_E_free: float
    significance: float = np.nan


def weigh(
    fit: LensFit,
    clump: Clump,
    start: tuple[float, float, float],
    *,
    significance: float = np.nan,
    evaluations: int = 60,
    iterations: int = 6,
) -> Weighed:
    """Find place and mass of largest evidence near a start, source and light solved anew at every step, then free the macro model.

    What is farther from the start than `WANDERED` is another clump, or, beyond the arcs, one that nothing speaks of.

    Args:
        fit: the smooth lens.
        clump: kind of clump.
        start: x and y in arcsec, log10 of the mass.
        significance: of the map there.
        evaluations: of ln E at most.
        iterations: of the macro model's descent.
    """

    def gain(place: np.ndarray) -> float:
        return fit.evidence_with(_mass(clump, place)) - fit.evidence

    def loss(place: np.ndarray) -> float:
        far = np.hypot(*(place - begin)[:2]) > WANDERED[0] or abs(place[2] - begin[2]) > WANDERED[1]
        return np.inf if far else -gain(place)

    begin = np.array(start)
    simplex = begin + np.concatenate([np.zeros((1, 3)), np.diag([0.1, 0.1, 0.3])])
    options = {"initial_simplex": simplex, "maxfev": evaluations, "xatol": 5e-3, "fatol": 0.05}
    best = minimize(loss, begin, method="Nelder-Mead", options=options)
    free = fit.refitted(_mass(clump, best.x), iterations=iterations)
    x, y, log10_m = best.x.tolist()
    errors, gained = _errors(gain, best.x, -best.fun), float(free.evidence - fit.evidence)
    return Weighed(x, y, log10_m, errors, float(-best.fun), gained, significance)


def _mass(clump: Clump, place: np.ndarray) -> Mass:
    x, y, log10_m = torch.as_tensor(place, dtype=torch.float64)[:, None]
    return clump.profile(log10_m, x, y)


def _errors(gain: Callable[[np.ndarray], float], best: np.ndarray, top: float) -> tuple[float, float, float]:
    """Return one over the root of the curvature along each coordinate: errors with the others held."""

    def error(k: int, step: float, most: float) -> float:
        move = np.eye(3)[k] * step
        curvature = (2 * top - gain(best + move) - gain(best - move)) / step**2
        return float(curvature**-0.5) if curvature > most**-2 else np.nan

    place, mass = WANDERED
    return error(0, 0.05, place), error(1, 0.05, place), error(2, 0.15, mass)


def search_lens(
    fit: LensFit,
    clump: Clump,
    *,
    draws: int = 400,
    count: int = 1,
    apart: float = 0.3,
    seed: int = 0,
    stride: int | None = None,
    log10_m: tuple[float, ...] = MASSES,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[GainMaps, list[Weighed]]:
    """Look for clumps in a lens that was modelled in full.

    Args:
        fit: of `darklens.fit.one_lens.fit_lens`.
        clump: what is looked for.
        draws: images of noise.
        count: candidates that are weighed.
        apart: arcsec between them, in the map and in the end.
        seed: of the noise.
        stride: pixels between places, see `gain_maps`.
        log10_m: masses of the templates.
        progress: called with (done, total) places.

    Returns:
        The maps, and the candidates, the largest gain in ln E first.
    """
    maps = gain_maps(PixelisedTemplates(fit, clump), log10_m=log10_m, draws=draws, seed=seed, stride=stride, progress=progress)
    significance, mass = maps.best()
    scale, (height, width) = fit.model.observation.pixel_scale, fit.model.observation.shape
    found = []
    for row, column in peaks(significance, apart / scale, count):
        place = (column - 0.5 * (width - 1)) * scale, (row - 0.5 * (height - 1)) * scale
        seen = float(significance[row, column])
        found.append(weigh(fit, clump, (*place, float(mass[row, column])), significance=seen))
    return maps, distinct(found, apart)


def distinct(found: Sequence[Weighed], apart: float) -> list[Weighed]:
    """Return candidates, the largest gain in ln E first, without those that came to the place of a better one.

    Peaks of a map that lie apart may be slopes of one hill. What is left has the largest significance of those that ended there.

    Args:
        found: candidates.
        apart: arcsec.
    """
    kept: list[Weighed] = []
    for one in sorted(found, key=lambda one: -one.delta_ln_E):
        same = [k for k, other in enumerate(kept) if math.hypot(one.x - other.x, one.y - other.y) < apart]
        if same:
            kept[same[0]] = replace(kept[same[0]], significance=max(kept[same[0]].significance, one.significance))
        else:
            kept.append(one)
    return kept
