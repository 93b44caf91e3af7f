"""The sky of `lens-finding` as other surveys record it, or as its own would with a single change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch

from darklens.simulate import configured
from darklens.simulate.instruments import INSTRUMENTS, Instrument
from darklens.simulate.populations import LensFinding
from darklens.simulate.preset_type import Preset
from darklens.simulate.priors import Uniform
from darklens.simulate.psf import GaussianPSF
from darklens.simulate.scene import Scene
from darklens.simulate.sky import Sky

SOURCE, TARGET = "source", "des"
CLOSER = 0.4
"""Factor on colours where filters lie closer together. Lens and arcs differ by 1.75 mag in g - i and by 0.67 in r - z (`SPECTRUM`,
between its filters as `colour_of`): r, i, z in place of g, r, i."""
_LSST = "lenstronomy 1.14, LSST, 10 years"
_LSST_G = Instrument("lsst-g-10yr", 0.2, GaussianPSF(0.77), 28.30, 22.26, 10, 15, 200, 2.3, origin=_LSST)
SURVEYS: dict[str, tuple[Instrument, ...]] = {
    "lsst": (_LSST_G, INSTRUMENTS["lsst-r-10yr"], INSTRUMENTS["lsst-i-10yr"]),
    "des": tuple(INSTRUMENTS[f"des-{band}"] for band in "gri"),
    "sdss": tuple(INSTRUMENTS[f"sdss-{band}"] for band in "gri"),
}
"""Other surveys: g, r and i of each."""
CONDITIONS = {
    SOURCE: "as trained: seeing 0.79 / 0.73 / 0.56 arcsec in g / r / i, 0.168 arcsec a pixel",
    "psf": "the seeing of DES, all else as trained",
    "noise": "the depth of DES, all else as trained",
    "pixels": "the pixels of DES (0.263 arcsec), all else as trained",
    "colour": f"colours {CLOSER} times as large: filters closer together, as r, i, z for g, r, i; all else as trained",
    "lsst": "LSST after ten years: seeing, depth, pixels",
    "des": "DES: seeing, depth, pixels",
    "sdss": "SDSS: seeing, depth, pixels",
}


@dataclass(frozen=True, kw_only=True)
class CloserBands(LensFinding):
    """The sky of `lens-finding`, seen through filters that lie closer together: every colour shrinks, magnitudes in i stay."""

    colours: float = CLOSER

    def options(self) -> dict[str, float]:
        """Return difficulty and factor."""
        return super().options() | {"colours": self.colours}

    def draw(self, n: int, seed: int, start: int = 0, *, labels: tuple[str, ...] | None = None) -> Scene:
        """Draw the systems; see `Population.draw`."""
        scene = super().draw(n, seed, start, labels=labels)
        return replace(scene, sky=with_colours(scene.sky, self.colours))


def with_colours(sky: Sky, factor: float) -> Sky:
    """Return a sky whose magnitudes differ from those in the last band by a factor times what they did; unseen lights stay so."""

    def changed(mag: torch.Tensor) -> torch.Tensor:
        last = mag[:, -1:]
        return torch.where(torch.isfinite(mag) & torch.isfinite(last), last + factor * (mag - last), mag)

    lights = tuple(replace(light, mag=changed(light.mag)) for light in sky.lights)
    return Sky(lights, replace(sky.stars, mag=changed(sky.stars.mag)))


def with_read_noise(camera: Instrument) -> Instrument:
    """Return the camera with its read noise as further sky of the same variance: a survey's recording knows sky alone."""
    per_pixel = camera.sky_per_pixel + camera.n_exposures * camera.read_noise**2 / camera.total_exposure
    magnitude = camera.zero_point - 2.5 * np.log10(per_pixel / camera.pixel_scale**2)
    return replace(camera, sky_mag_arcsec2=float(magnitude), read_noise=0.0)


def seen_by(base: Preset, name: str, parts: set[str]) -> Preset:
    """Return the preset with these parts of another survey: "psf", "noise", "pixels".

    Seeing varies from image to image in the same proportion; a change of pixels keeps the field.
    """
    survey = base.survey
    cameras, seeing, side = [], [], base.shape[0]
    for own, prior, other in zip(survey.instruments, survey.seeing, SURVEYS[name], strict=True):
        camera, other = own, with_read_noise(other)
        if "noise" in parts:
            same = ("zero_point", "sky_mag_arcsec2", "exposure_time", "n_exposures")
            camera = replace(camera, **{key: getattr(other, key) for key in same})
        if "pixels" in parts:
            camera = replace(camera, pixel_scale=other.pixel_scale)
        cameras.append(camera)
        low, high = prior.support
        seeing.append(Uniform(*(v * 2 * other.psf.fwhm / (low + high) for v in (low, high))) if "psf" in parts else prior)
    if "pixels" in parts:
        side = round(side * survey.instruments[0].pixel_scale / cameras[0].pixel_scale)
    found = replace(survey, instruments=tuple(cameras), seeing=tuple(seeing))
    population = replace(base.population, zero_point=cameras[-1].zero_point)
    return replace(base, survey=found, instrument=cameras[-1], population=population, shape=(side, side))


def preset_of(condition: str, difficulty: float, positives: float) -> Preset:
    """Return what a condition simulates."""
    base = configured("lens-finding", positives=Fraction(str(positives)), difficulty=difficulty)
    if condition == "colour":
        base = replace(base, population=CloserBands(difficulty=difficulty, zero_point=base.population.zero_point))
    elif condition in SURVEYS:
        base = seen_by(base, condition, {"psf", "noise", "pixels"})
    elif condition != SOURCE:
        base = seen_by(base, TARGET, {condition})
    return replace(base, name=f"lens-finding-{condition}")
