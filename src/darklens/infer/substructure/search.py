"""The search for clumps in one image: smooth fit, gain at every place and mass, refits of the best, and what noise would do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from darklens.errors import InputError
from darklens.fit import Plan, SmoothFit
from darklens.infer.substructure.clump import Clump
from darklens.infer.substructure.gain import MASSES, GainMaps, gain_maps, peaks
from darklens.infer.substructure.look_elsewhere import LookElsewhere, check_rate, check_simulations, in_sigma
from darklens.infer.substructure.refit import Refit, refit
from darklens.infer.substructure.smooth_lens import SmoothLens, smooth_lens
from darklens.infer.substructure.templates import ParametricTemplates

APART = 0.3
"""Arcsec between candidates."""
WORTH = 3.0
"""Significance from which on a candidate is fitted again; the best one always is."""


@dataclass(frozen=True)
class Settings:
    """How a search is made.

    Args:
        log10_m: masses of the templates, rising by 0.5.
        draws: simulated images of this lens without clump, for the look-elsewhere correction.
        false_alarm: probability with which a clump-free image shows a detection somewhere.
        candidates: places that are listed, and fitted again where they are worth it.
        stride: pixels between places; None takes steps of 0.15 arcsec.
        seed: of the simulations.

    Raises:
        InputError: numbers with which a search, long as it takes, would say nothing.
    """

    log10_m: tuple[float, ...] = MASSES
    draws: int = 400
    false_alarm: float = 0.01
    candidates: int = 3
    stride: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_rate(self.false_alarm)
        check_simulations(self.draws)
        if self.candidates < 1:
            raise InputError(f"{self.candidates} candidates: list at least 1 place")


@dataclass(frozen=True)
class Candidate:
    """A place where a clump explains the image better.

    Args:
        x: arcsec from the field's centre, as all places: of the refit where it converged, else of the map.
        y: arcsec.
        log10_m: total mass, M_sun, likewise.
        errors: standard deviations of the three, NaN where no refit converged.
        significance: `(2 Delta ln L)^(1/2)` of the map, the smooth lens adjusting linearly.
        false_alarm: probability that noise alone shows as much somewhere in this image.
        exceeded: how many of the simulated clump-free images do.
        refit: smooth lens and clump together, None where it was not worth it.
        detected: whether `false_alarm` is below the one asked for.
    """

    x: float
    y: float
    log10_m: float
    errors: tuple[float, float, float]
    significance: float
    false_alarm: float
    exceeded: int
    refit: Refit | None
    detected: bool

    def as_dict(self) -> dict[str, Any]:
        """Return numbers for a table."""
        again = self.refit
        return {
            **dict(zip(("x", "y", "log10_m"), (self.x, self.y, self.log10_m), strict=True)),
            **dict(zip(("x_error", "y_error", "log10_m_error"), self.errors, strict=True)),
            "significance": self.significance,
            "false_alarm": self.false_alarm,
            "sigma": in_sigma(self.false_alarm),
            "simulations_above": self.exceeded,
            "delta_ln_L": 0.5 * again.delta_chi2 if again else np.nan,
            "converged": bool(again and again.converged),
            "detected": self.detected,
        }


@dataclass(frozen=True)
class Search:
    """What a search found in one image.

    Args:
        lens: the smooth lens.
        clump: what was looked for.
        maps: slope and information of every template.
        noise: what noise alone does.
        threshold: significance of the map from which on a clump is detected.
        candidates: the best places, best first.
        chi2: reduced chi^2 of the smooth lens.
        settings: how the search was made.
    """

    lens: SmoothLens
    clump: Clump
    maps: GainMaps
    noise: LookElsewhere
    threshold: float
    candidates: list[Candidate]
    chi2: float
    settings: Settings = field(default_factory=Settings)

    def images(self) -> dict[str, np.ndarray]:
        """Return maps `(H, W)` by name: significance, log10 of the best and of the smallest detectable mass, model, residual."""
        significance, mass = self.maps.best()
        return {
            "significance": significance,
            "log10_mass": mass,
            "sensitivity": self.maps.smallest(self.threshold),
            "model": self.lens.model,
            "residual": self.lens.residual * np.sqrt(self.lens.weights),
        }

    def summary(self) -> dict[str, Any]:
        """Return everything but the maps, JSON-ready."""
        smallest = self.maps.smallest(self.threshold)
        reached = smallest[np.isfinite(smallest)]
        return {
            "detected": any(c.detected for c in self.candidates),
            "candidates": [c.as_dict() for c in self.candidates],
            "threshold": self.threshold,
            "false_alarm_rate": self.settings.false_alarm,
            "look_elsewhere": self.noise.as_dict(),
            "sensitivity": {
                "smallest": float(reached.min()) if len(reached) else None,
                "median": float(np.median(smallest[self.maps.searched])),
                "meaning": "log10 M_sun that half of such clumps at a place exceed the threshold with",
            },
            "searched_arcsec2": float(self.maps.searched.sum() * self.lens.pixel_scale**2),
            "smooth_chi2": self.chi2,
            "clump": {"kind": self.clump.kind, "z_lens": self.clump.z_lens, "z_source": self.clump.z_source},
        }


def search(
    image: np.ndarray,
    plan: Plan,
    clump: Clump,
    settings: Settings = Settings(),
    *,
    fit: SmoothFit | None = None,
    mask: np.ndarray | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Search:
    """Look for clumps in one image.

    Args:
        image: `(H, W)`.
        plan: pixel scale, PSF, noise, smooth model.
        clump: what is looked for.
        settings: how.
        fit: the smooth fit, if it is there already (of this one image).
        mask: `(H, W)`, true where a pixel counts.
        progress: called with (done, total) places.

    Raises:
        InputError: no pixel counts, the smooth fit did not converge, or no source shines.
    """
    if image.ndim != 2:
        raise InputError(f"an image of {image.ndim} axes: a search takes one band of one image, (H, W)")
    fit = fit if fit is not None else plan.fit(image[None], mask=None if mask is None else mask[None])
    lens = smooth_lens(image, fit, plan, mask=mask)
    maps = gain_maps(
        ParametricTemplates(lens, clump),
        log10_m=settings.log10_m,
        draws=settings.draws,
        seed=settings.seed,
        stride=settings.stride,
        progress=progress,
    )
    noise = LookElsewhere(maps.maxima)
    threshold = noise.threshold(settings.false_alarm)
    found: list[Candidate] = []
    significance, mass = maps.best()
    for k, (row, column) in enumerate(peaks(significance, APART / plan.pixel_scale, settings.candidates)):
        z = float(significance[row, column])
        start = (*_position(row, column, image.shape, plan.pixel_scale), float(mass[row, column]))
        again = refit(image, fit, plan, lens, clump, start, mask=mask) if k == 0 or z >= WORTH else None
        one = _candidate(start, z, again, noise, threshold)
        if all(math.hypot(one.x - other.x, one.y - other.y) >= APART for other in found):  # else two slopes of one hill
            found.append(one)
    return Search(lens, clump, maps, noise, threshold, found, float(fit.chi2[0]), settings)


def _candidate(
    start: tuple[float, float, float], z: float, again: Refit | None, noise: LookElsewhere, threshold: float
) -> Candidate:
    place, errors = start, (np.nan, np.nan, np.nan)
    if again is not None and again.converged:
        place, errors = (again.x, again.y, again.log10_m), again.errors
    return Candidate(*place, errors, z, noise.false_alarm(z), noise.exceeded(z), again, z >= threshold)


def _position(row: int, column: int, shape: tuple[int, ...], pixel_scale: float) -> tuple[float, float]:
    """Return x and y in arcsec of a pixel's centre."""
    return (column - 0.5 * (shape[1] - 1)) * pixel_scale, (row - 0.5 * (shape[0] - 1)) * pixel_scale
