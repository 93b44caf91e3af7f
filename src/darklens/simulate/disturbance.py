"""What substructure changes in an image: the same system with it and without it, and where its masses are."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

import numpy as np
import torch

from darklens.simulate.preset_type import Preset
from darklens.simulate.presets import PRESETS
from darklens.simulate.rendering import render
from darklens.simulate.scene import Scene

ROW = re.compile(r"^(?P<preset>.+)-(?P<seed>\d+)-(?P<row>\d{8,})$")
"""What the rows of a simulation are called."""


@dataclass(frozen=True)
class Disturbance:
    """What the substructure of B systems changes.

    Args:
        difference: `(B, H, W)` flux with substructure minus flux without it, in `unit`.
        unit: what differences are counted in: the noise of a pixel, or percent of the peak.
        smooth: `(B, H, W)` flux without substructure.
        positions: B arrays `(m, 2)` of x and y in arcsec of the masses that hold half of the mass in substructure, the heaviest.
    """

    difference: np.ndarray
    unit: str
    smooth: np.ndarray
    positions: tuple[np.ndarray, ...]


def disturbance(preset: Preset, scene: Scene, truth: dict[str, np.ndarray]) -> Disturbance:
    """Return what the substructure of a scene changes in images of a preset; `truth` is what `preset.images` returned."""
    flux, smooth = (render(s, preset.instrument, preset.shape).double().numpy() for s in (scene, scene.smooth()))
    sigma, unit = noise_of(preset, smooth, truth)
    return Disturbance((flux - smooth) / sigma, unit, smooth, tuple(heaviest(scene, i) for i in range(len(scene))))


def noise_of(preset: Preset, flux: np.ndarray, truth: dict[str, np.ndarray]) -> tuple[np.ndarray, str]:
    """Return what differences are divided by, broadcasting to `(B, H, W)`, and its name: the noise of a pixel, or the peak."""
    sigma = preset.recording.sigma(flux, preset.instrument, truth)
    if sigma is not None:
        return sigma, r"$\sigma$ of the noise"
    return 0.01 * flux.max((1, 2), keepdims=True), "% of the peak"


def heaviest(scene: Scene, i: int, share: float = 0.5) -> np.ndarray:
    """Return x and y in arcsec, `(m, 2)`, of the fewest masses of a system that hold this share of its substructure.

    Equal masses, of a string for example, stand or fall together. Haloes on other planes do not count.
    """
    masses, places = [], []
    for profile in scene.select(np.array([i])).substructure:
        named = {f.name: torch.as_tensor(getattr(profile, f.name)) for f in fields(profile)}
        own = named["theta_E"].square() if "theta_E" in named else named["alpha_Rs"] * named["Rs"]
        if own.numel():
            masses.append(own.flatten())
            places.append(torch.stack([named[c].expand(own.shape).flatten() for c in ("center_x", "center_y")], 1))
    if not masses:
        return np.zeros((0, 2))
    mass, place = torch.cat(masses).numpy(), torch.cat(places).numpy()
    order = np.argsort(-mass)
    held = np.cumsum(mass[order])
    least = mass[order[int(np.searchsorted(held, share * held[-1]))]]
    return place[(mass >= least * (1 - 1e-9)) & (mass > 0)]


def row_of(name: str) -> tuple[str, int, int] | None:
    """Return preset, seed and row of an image from its name; None for one that no preset has made."""
    found = ROW.match(name)
    if found is None or found["preset"] not in PRESETS:
        return None
    return found["preset"], int(found["seed"]), int(found["row"])
