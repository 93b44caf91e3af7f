"""Real images for `benchmarks.real_lenses`, and what stands in for those that nobody here has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from astropy.io import fits
from scipy.ndimage import gaussian_filter, maximum_filter

import darklens
from benchmarks.surveys import with_read_noise
from darklens.data import Table, resize_image
from darklens.errors import InputError
from darklens.simulate import configured
from darklens.simulate.instruments import INSTRUMENTS
from darklens.simulate.populations import LensFinding
from darklens.simulate.preset_type import Preset
from darklens.simulate.priors import Uniform
from darklens.simulate.scene import Scene
from darklens.simulate.sky import Sky
from darklens.units import FWHM_PER_SIGMA

BANDS = "gri"
ZERO_POINT = 30.0
"""AB magnitude of one unit of the DES cutouts, and of the DES bands of the Euclid file (`MAGZERO`)."""
DES_FWHM = tuple(INSTRUMENTS[f"des-{band}"].psf.fwhm for band in BANDS)
PS_FWHM, PS_SCALE = (1.31, 1.19, 1.11), 0.25
"""Median seeing in g, r, i, arcsec of the 3 pi survey (Chambers et al. 2016, arXiv:1612.05560), and pixel scale of the cutouts."""
VIS_SCALE = 0.1
"""Pixel scale of the Euclid file, in all its bands."""
DIFFICULTY = 0.3
"""Of the simulated sky of VIS, see the preset `lens-finding`."""
MAD = 1.4826


@dataclass(frozen=True)
class Scored:
    """Real images that somebody knows something of.

    Args:
        name: of each, n.
        images: `(n, bands, y, x)`.
    """

    names: list[str]
    images: np.ndarray


def cropped(images: np.ndarray, side: int) -> np.ndarray:
    """Return the middle `(..., side, side)` of images."""
    top, left = ((n - side) // 2 for n in images.shape[-2:])
    return images[..., top : top + side, left : left + side]


def border_noise(image: np.ndarray, width: int = 12) -> np.ndarray:
    """Return the noise of each band of `(bands, y, x)`, from the median deviation of a frame."""
    inner = np.zeros(image.shape[1:], bool)
    inner[width:-width, width:-width] = True
    frame = image[:, ~inner].astype(np.float64)
    return MAD * np.median(np.abs(frame - np.median(frame, 1, keepdims=True)), 1)


def as_if(
    image: np.ndarray,
    scales: tuple[float, float],
    seeing: tuple[tuple[float, ...], tuple[float, ...]],
    noise: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return an image as another, worse telescope would record it.

    Args:
        image: `(bands, y, x)`.
        scales: arcsec a pixel, before and after.
        seeing: FWHM of each band in arcsec, before and after.
        noise: `(bands,)` standard deviation of a pixel afterwards; a band that is noisier already stays so.
        rng: of the noise.

    Raises:
        InputError: the other telescope sees sharper.
    """
    before, after = (np.array(s) for s in seeing)
    if (after < before).any():
        raise InputError(f"seeing of {after.min():g} arcsec is sharper than the {before.max():g} of the image: give a worse one")
    side = tuple(round(n * scales[0] / scales[1]) for n in image.shape[1:])
    out = resize_image(image, side).astype(np.float64)
    widths = np.sqrt(after**2 - before**2) / FWHM_PER_SIGMA / scales[1]
    out = np.stack([gaussian_filter(band, width, mode="nearest") for band, width in zip(out, widths, strict=True)])
    more = np.sqrt(np.maximum(noise**2 - border_noise(out) ** 2, 0.0))
    return (out + more[:, None, None] * rng.standard_normal(out.shape)).astype(np.float32)


def others(image: np.ndarray, side: int, away: float, band: int = 1, least: float = 8.0) -> np.ndarray:
    """Return cutouts `(n, bands, side, side)` about other objects of an image: peaks of a band, by S/N, away from its middle.

    Args:
        image: `(bands, y, x)`.
        side: pixels of a cutout.
        away: least distance from the middle, and from each other, pixels.
        band: which one is searched.
        least: peak of the image smoothed by 1.5 pixels, in units of its own noise.
    """
    smooth = gaussian_filter(image[band].astype(np.float64), 1.5)
    smooth -= np.median(smooth)
    level = smooth / border_noise(smooth[None])[0]
    peak = (level == maximum_filter(level, int(away) | 1)) & (level > least)
    rows, columns = np.nonzero(peak)
    low, high = side // 2, np.array(image.shape[1:]) - (side - side // 2)
    middle = (np.array(image.shape[1:]) - 1) / 2
    inside = (rows >= low) & (rows <= high[0]) & (columns >= low) & (columns <= high[1])
    far = np.hypot(rows - middle[0], columns - middle[1]) >= away
    found = [image[:, r - low : r - low + side, c - low : c - low + side] for r, c in zip(rows, columns, strict=True)]
    kept = [one for one, keep in zip(found, inside & far, strict=True) if keep]
    return np.stack(kept) if kept else np.zeros((0, len(image), side, side), np.float32)


def des_galaxies(data: Path) -> Table:
    """Return the 46 galaxies of DES in g, r, i, 91 x 91 pixels of 0.263 arcsec."""
    return darklens.load(data / "galaxies" / "des", bands=list(BANDS))


def pan_starrs_systems(data: Path) -> tuple[Scored, np.ndarray]:
    """Return the 13 known systems, and the noise `(13, bands)` of their cutouts in units of `ZERO_POINT`.

    Counts have the zero point 25 + 2.5 log10(exposure), as their headers say.
    """
    table = darklens.load(data / "lenses" / "panstarrs", bands=list(BANDS))
    images, names = table.images(), [str(name) for name in table.ids]
    noise = []
    for name, image in zip(names, images, strict=True):
        paths = [data / "lenses" / "panstarrs" / f"{Path(name).name}_{band}.fits" for band in BANDS]
        headers = [fits.getheader(path) for path in paths]
        zero_points = np.array([h["HIERARCH FPA.ZP"] + 2.5 * np.log10(h["EXPTIME"]) for h in headers])
        noise.append(border_noise(image) * 10 ** (-0.4 * (zero_points - ZERO_POINT)))
    return Scored([Path(name).name for name in names], images), np.array(noise)


def as_pan_starrs(galaxies: Table, noise: np.ndarray, seed: int) -> Table:
    """Return the galaxies of DES as Pan-STARRS would record them, each as noisy as one of its systems."""
    rng, scale = np.random.default_rng(seed), INSTRUMENTS["des-g"].pixel_scale
    levels = noise[rng.integers(len(noise), size=len(galaxies))]
    pairs = zip(galaxies.images(), levels, strict=True)
    images = np.stack([as_if(image, (scale, PS_SCALE), (DES_FWHM, PS_FWHM), level, rng) for image, level in pairs])
    about = {"pixel_scale": PS_SCALE, "band_names": list(BANDS), "source": "galaxies of DES, blurred and made noisier"}
    return Table.from_columns(galaxies.ids, images, [None] * len(images), manifest=about)


def euclid_lens(data: Path, bands: str, side: int, scale: float) -> Scored:
    """Return the lens of Euclid Q1 in some of its extensions, resampled to a pixel scale in arcsec."""
    (path,) = (data / "lenses" / "euclid-q1").glob("*.fits")
    image = darklens.load(path, hdu=bands).images()[0]
    wide = cropped(image, round(side * scale / VIS_SCALE))
    return Scored(["Euclid Q1"], resize_image(wide, (side, side))[None])


@dataclass(frozen=True, kw_only=True)
class OneBand(LensFinding):
    """The sky of `lens-finding` in i alone."""

    def draw(self, n: int, seed: int, start: int = 0, *, labels: tuple[str, ...] | None = None) -> Scene:
        """Draw the systems; see `Population.draw`."""
        scene = super().draw(n, seed, start, labels=labels)
        lights = tuple(replace(light, mag=light.mag[:, -1:]) for light in scene.sky.lights)
        return replace(scene, sky=Sky(lights, replace(scene.sky.stars, mag=scene.sky.stars.mag[:, -1:])))


def vis_preset() -> Preset:
    """Return the simulated sky as VIS records it: 64 x 64 pixels of 0.1 arcsec, magnitudes in i for those in VIS."""
    base, vis = (
        configured("lens-finding", positives=Fraction(1, 2), difficulty=DIFFICULTY),
        with_read_noise(INSTRUMENTS["euclid-vis"]),
    )
    survey = replace(base.survey, instruments=(vis,), seeing=(Uniform(0.14, 0.2),), reference=0)
    population = OneBand(difficulty=DIFFICULTY, zero_point=vis.zero_point)
    return replace(base, name="lens-finding-vis", survey=survey, instrument=vis, population=population)
