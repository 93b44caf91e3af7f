"""Arcs as they fall on a cutout: lensed light through each band's PSF, with the Poisson noise of their own electrons.

The background has its noise already and is never touched: what is added to a pixel is the arcs' own counts over the gain, and
that is zero where no electron of an arc fell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from darklens.lensing import SIE, Shear
from darklens.simulate.injection.camera import Camera
from darklens.simulate.injection.deflector import Deflector
from darklens.simulate.injection.source import Source
from darklens.simulate.psf import PSF
from darklens.simulate.rendering import pixel_grid
from darklens.simulate.rng import draw_poisson, row_keys
from darklens.simulate.sampling import LARGEST, mean_brightness
from darklens.simulate.scene import Scene

FINE = 0.04
"""Arcsec between samples where arcs are: a lensed knot is thinner than a ground-based pixel."""
BRIGHT, AROUND = 1e-3, 3
"""Part of the brightest pixel from which on a pixel is sampled finely, and pixels around those that are too."""


@dataclass(frozen=True, eq=False)
class Arcs:
    """Lensed light of a source of flux one.

    Args:
        images: `(bands, y, x)` through each band's PSF.
        magnification: of the flux, over the cutout and what a PSF reaches around it.
    """

    images: np.ndarray
    magnification: float


def scene_of(deflector: Deflector, source: Source, seed: int, row: int) -> Scene:
    """Return one system in the frame of the galaxy's centre."""

    def one(*names: str) -> dict[str, torch.Tensor]:
        return {name: torch.tensor([getattr(deflector, name)], dtype=torch.float64) for name in names}

    return Scene(
        macro=(SIE(**one("theta_E", "e1", "e2")), Shear(**one("gamma1", "gamma2"))),
        substructure=(),
        source=source.lights,
        labels=("lens",),
        truth={},
        seed=seed,
        rows=(row,),
        z_lens=deflector.z_lens,
        z_source=deflector.z_source,
    )


def arcs_of(
    scene: Scene,
    camera: Camera,
    shape: tuple[int, int],
    center: tuple[float, float],
    source_flux: float = 1.0,
    *,
    coarse: bool = False,
) -> Arcs:
    """Render the lensed source of one system, without the light of the lens.

    Args:
        scene: batch of one.
        camera: PSFs and pixel scale.
        shape: rows and columns of the cutout.
        center: x and y of the lens on the cutout, arcsec.
        source_flux: that of the scene's source; the arcs are for one of flux one.
        coarse: a first look, good to some percent: light at pixel centres alone, all bands as the reference band sees it.
    """
    scale, m = camera.pixel_scale, camera.margin
    x, y = pixel_grid(shape, scale, m)
    x, y = x[:1] - center[0], y[:, :1] - center[1]
    sky = mean_brightness(scene, x, y, scale, 1)[0]
    samples = min(LARGEST, math.ceil(scale / FINE))
    if not coarse and samples > 1:
        rows, columns = _window(sky)
        sky[rows, columns] = mean_brightness(scene, x[:, columns], y[rows], scale, samples)[0]
    sky = sky * (scale**2 / source_flux)
    psfs = [camera.psfs[camera.reference]] if coarse else camera.psfs
    images = [_through(psf, sky, m - psf.margin(scale), scale) for psf in psfs] * (len(camera.psfs) // len(psfs))
    return Arcs(torch.stack(images).clamp_min(0.0).numpy(), float(sky.sum()))


def _window(sky: torch.Tensor) -> tuple[slice, slice]:
    """Return the rows and columns of the rectangle around all light worth finer samples."""
    bright = sky > BRIGHT * sky.max()
    found = [torch.nonzero(bright.any(axis)).ravel() for axis in (1, 0)]
    rows, columns = (slice(max(0, int(f.min()) - AROUND), int(f.max()) + AROUND + 1) if len(f) else slice(None) for f in found)
    return rows, columns


def _through(psf: PSF, sky: torch.Tensor, spare: int, scale: float) -> torch.Tensor:
    return psf.convolve(sky[spare : sky.shape[0] - spare, spare : sky.shape[1] - spare][None], scale)[0]


def with_shot_noise(arcs: np.ndarray, camera: Camera, seed: int, row: int) -> np.ndarray:
    """Return arcs `(bands, y, x)` as Poisson counts over the gain; unchanged in a band of infinite gain."""
    out = np.array(arcs, np.float32)
    for band, gain in enumerate(camera.gains):
        if math.isfinite(gain):
            key = row_keys(seed, [row], f"arcs {camera.bands[band]}")
            out[band] = draw_poisson(key, arcs[band][None] * gain)[0][0] / gain
    return out
