"""The cutouts of a ground-based survey: several bands at once, under conditions that differ from image to image.

A row has the same bits alone and among others. Torch's atanh and atan2 do not give that for batches of another size (the end of an
array is computed in another way), so lensed light and spirals are drawn a system at a time.

All lights of a sky are drawn once, into every band by their magnitudes there, and then blurred by that image's own seeing in that
band. The PSF is two concentric Gaussians, a core and a halo (as in the photometric pipeline of SDSS: Stoughton et al. 2002, AJ
123, 485, sec. 4.3), applied in the Fourier plane, where it has a closed form for any width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from darklens.lensing import Light, SersicEllipse, Spiral, trace
from darklens.simulate.instruments import Instrument
from darklens.simulate.noise import BandMinMax, min_max
from darklens.simulate.priors import Prior
from darklens.simulate.real_galaxies import RealGalaxies
from darklens.simulate.rendering import pixel_grid
from darklens.simulate.row_draws import RowDraws
from darklens.simulate.scene import Scene
from darklens.simulate.sky import Lights, Sky, Stars
from darklens.units import FWHM_PER_SIGMA

HALO, WIDER = 0.15, 2.2
"""Share of the light in the halo of the PSF, and how much wider the halo is."""
NARROWER = 0.955
"""Width of the core in units of that of the Gaussian with the same full width at half maximum as core and halo together."""
MARGIN = 13
"""Pixels that are drawn beyond each side: 64 + 26 = 90 has small prime factors, and the halo does not reach around."""
ROWS = 32
"""Systems drawn at once, so that what is computed stays in the processor's cache."""
CUSP, FINE = 3, 5
"""The CUSP x CUSP pixels about a light's middle are the mean of FINE x FINE samples each: a Sersic profile is sharp there."""
REACH, STAMP = 9, 20
"""A Sersic profile is drawn within STAMP pixels of its middle where these are more than REACH of its half-light radii, which leave
out a thousandth of its light (index 1: 1e-6)."""
LENSED = 2
"""Samples a pixel side of lensed light, which is squeezed into arcs."""

OF_THE_GALAXY = ("lens_mag", "lens_R_sersic", "lens_n_sersic", "z_lens", "kind")
"""Truth columns that nobody knows of a real galaxy."""


@dataclass(frozen=True)
class Survey:
    """How a survey records its cutouts.

    Args:
        instruments: one a band, with the same pixel scale; zero point, sky and exposure count.
        seeing: full width at half maximum in arcsec, a prior a band.
        recording: noise and scale.
        reference: number of the band that `seeing` and `snr` of the truth columns are of.
        galaxies: real cutouts that stand in for all light but the lensed; None draws the sky.
    """

    instruments: tuple[Instrument, ...]
    seeing: tuple[Prior, ...]
    recording: BandMinMax
    reference: int
    galaxies: RealGalaxies | None = None
    truth_columns = ("snr", "seeing")

    def images(self, scene: Scene, shape: tuple[int, int]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return images `(B, bands, H, W)` float32 of a scene with a sky, and the truth that the survey adds.

        `snr` is that of the lensed light in the reference band, `sqrt(sum (arc / sigma)^2)`; NaN where there is none.
        """
        if self.galaxies is not None:
            return self._painted(scene, shape, self.galaxies)
        fwhm, is_lens = self.draw_seeing(scene.seed, scene.rows), np.array([label == "lens" for label in scene.labels])
        out, snr = np.empty((len(scene), len(self.instruments), *shape), np.float32), np.full(len(scene), np.nan)
        for first in range(0, len(scene), ROWS):
            part = np.arange(first, min(first + ROWS, len(scene)))
            some = scene.select(part)
            flux, arcs = self.flux(some, shape, fwhm[part])
            for band, instrument in enumerate(self.instruments):
                out[part, band], sigma = self.recording.scaled(flux[:, band], instrument, some.seed, some.rows, band)
                if band == self.reference:
                    found = np.sqrt(((arcs / sigma) ** 2).sum((1, 2), dtype=np.float64))
                    snr[part] = np.where(is_lens[part], found, np.nan)
        return out, {"snr": snr, "seeing": fwhm[:, self.reference]}

    def _painted(self, scene: Scene, shape: tuple[int, int], galaxies: RealGalaxies) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return real cutouts, with the lensed light painted on those of lenses; what is not known of them is NaN."""
        fwhm = self.draw_seeing(scene.seed, scene.rows)
        assert scene.sky is not None, "a scene of a survey has a sky"
        behind = Sky(
            tuple(lights for lights in scene.sky.lights if lights.lensed),
            scene.sky.stars.take(*2 * [torch.zeros(0, dtype=torch.int64)]),
        )
        arcs = self.flux(replace(scene, sky=behind), shape, fwhm)[0]
        out, is_lens = galaxies.draw(scene.seed, scene.rows), np.array([label == "lens" for label in scene.labels])
        snr = np.full(len(scene), np.nan)
        for band, instrument in enumerate(self.instruments):
            painted, level = self.recording.painted(arcs[:, band], instrument, scene.seed, scene.rows, band)
            if band == self.reference:
                snr = np.where(is_lens, np.sqrt((level**2).sum((1, 2), dtype=np.float64)), np.nan)
            out[:, band] = min_max(out[:, band] + painted)
        unknown = {name: np.full(len(scene), np.nan) for name in OF_THE_GALAXY}
        return out, unknown | {"snr": snr, "seeing": np.where(is_lens, fwhm[:, self.reference], np.nan)}

    def draw_seeing(self, seed: int, rows: Sequence[int]) -> np.ndarray:
        """Return the full width at half maximum of each image in each band, arcsec, `(B, bands)`."""
        draws = RowDraws(seed, rows, "seeing")
        return np.stack([prior.draw(draws) for prior in self.seeing], 1)

    def flux(self, scene: Scene, shape: tuple[int, int], fwhm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the flux that reaches the detector in e-/s.

        Args:
            scene: B systems.
            shape: rows and columns of the images.
            fwhm: `(B, bands)` arcsec.

        Returns:
            All of it, `(B, bands, H, W)` float32, and the lensed light in the reference band, `(B, H, W)`.
        """
        scale, sky = self.instruments[0].pixel_scale, scene.sky
        assert sky is not None, "a scene of a survey has a sky"
        size = (len(scene), len(self.instruments), *(n + 2 * MARGIN for n in shape))
        x, y = pixel_grid(shape, scale, MARGIN, torch.float32)
        seeing = torch.from_numpy(fwhm) / scale
        direct, arcs = torch.zeros(size), torch.zeros(len(scene), *shape)
        for lights in (one.to(torch.float32) for one in sky.lights if not one.lensed):
            for part in [p for _, p in lights.by_row()] if type(lights.profile) is Spiral else [lights]:
                add_lights(direct, part, self._per_second(part.mag) * scale**2, x[:1], y[:, :1], scale)
        behind = [lights.to(torch.float32) for lights in sky.lights if lights.lensed]
        if rows := sorted({row for lights in behind for row in lights.row.tolist()}):
            lensed = torch.zeros(len(rows), *size[1:])
            bare = replace(scene, sky=None).to(torch.float32)
            beta = {row: _traced(bare.select(np.array([row])), x, y, scale) for row in rows}
            for lights in behind:
                for row, part in lights.by_row():
                    maps = avg_pool2d(part.profile.intensity(*beta[row]), LENSED)
                    flux = self._per_second(part.mag) * scale**2
                    lensed.index_add_(0, torch.full_like(part.row, rows.index(row)), flux[..., None, None] * maps[:, None])
            direct.index_add_(0, torch.tensor(rows), lensed)
            arcs[rows] = blur(lensed[:, self.reference, None], seeing[rows, self.reference, None], shape)[:, 0]
        blurred = blur(direct, seeing, shape)
        if len(sky.stars.row):
            stars = self._stars(sky.stars, x[0, MARGIN:-MARGIN], y[MARGIN:-MARGIN, 0], torch.from_numpy(fwhm), scale)
            blurred.index_add_(0, sky.stars.row, stars)
        return blurred.numpy(), arcs.numpy()

    def _per_second(self, mag: Tensor) -> Tensor:
        zero_points = torch.tensor([i.zero_point for i in self.instruments], dtype=torch.float64)
        return (10 ** (-0.4 * (mag - zero_points))).float()

    def _stars(self, stars: Stars, x: Tensor, y: Tensor, fwhm: Tensor, scale: float) -> Tensor:
        """Return the stars' flux per pixel, `(N, bands, H, W)`: the PSF at the pixel centres."""
        core = (NARROWER * fwhm[stars.row] / FWHM_PER_SIGMA).float()
        out = torch.zeros(len(stars.row), len(self.instruments), len(y), len(x))
        for share, sigma in ((1 - HALO, core), (HALO, WIDER * core)):
            across, up = (
                torch.exp(-0.5 * ((grid - centre.float()[:, None, None]) / sigma[..., None]) ** 2)
                / (math.sqrt(2 * math.pi) * sigma[..., None])
                for grid, centre in ((x, stars.x), (y, stars.y))
            )
            out += share * up[..., :, None] * across[..., None, :]
        return out * (self._per_second(stars.mag) * scale**2)[..., None, None]


def add_lights(canvas: Tensor, lights: Lights, flux: Tensor, x: Tensor, y: Tensor, scale: float) -> None:
    """Add lights to a canvas `(B, bands, H, W)`, small ones within `STAMP` pixels of their middle alone.

    Args:
        canvas: flux a pixel.
        lights: N of them.
        flux: `(N, bands)`, a pixel and unit of surface brightness.
        x: `(1, W)` columns of pixel centres, arcsec.
        y: `(H, 1)` rows.
        scale: arcsec a pixel.
    """
    if not len(lights.row):
        return
    profile, (height, width) = lights.profile, canvas.shape[-2:]
    column = ((profile.center_x - x[0, 0]) / scale).round().long().clamp(1, width - 2)
    line = ((profile.center_y - y[0, 0]) / scale).round().long().clamp(1, height - 2)
    middle_x, middle_y = x[0, column], y[line, 0]
    cusps, near = _cusps(profile, middle_x, middle_y, scale), torch.arange(CUSP) - CUSP // 2
    small = torch.zeros_like(column, dtype=torch.bool)
    if type(profile) is SersicEllipse:
        small = torch.as_tensor(REACH * profile.R_sersic < STAMP * scale)
    if len(large := (~small).nonzero()[:, 0]):
        maps, n = lights.take(large, large).profile.intensity(x, y), torch.arange(len(large))[:, None, None]
        maps[n, (line[large, None] + near)[:, :, None], (column[large, None] + near)[:, None, :]] = cusps[large]
        canvas.index_add_(0, lights.row[large], flux[large, :, None, None] * maps[:, None])
    if len(compact := small.nonzero()[:, 0]):
        steps = torch.arange(-STAMP, STAMP + 1) * scale
        grid = (middle_x[compact, None] + steps)[:, None, :], (middle_y[compact, None] + steps)[:, :, None]
        maps = lights.take(compact, compact).profile.intensity(*grid)
        maps[:, STAMP - CUSP // 2 : STAMP + CUSP // 2 + 1, STAMP - CUSP // 2 : STAMP + CUSP // 2 + 1] = cusps[compact]
        _add_stamps(canvas, lights.row[compact], flux[compact], maps, column[compact], line[compact])


def _cusps(profile: Light, x: Tensor, y: Tensor, scale: float) -> Tensor:
    """Return the mean surface brightness of the pixels about these pixel centres, `(N, CUSP, CUSP)`."""
    steps = ((torch.arange(CUSP * FINE) + 0.5) / FINE - CUSP / 2) * scale
    return avg_pool2d(profile.intensity((x[:, None] + steps)[:, None, :], (y[:, None] + steps)[:, :, None]), FINE)


def _add_stamps(canvas: Tensor, row: Tensor, flux: Tensor, maps: Tensor, column: Tensor, line: Tensor) -> None:
    """Add stamps about their pixels, cut at the canvas's border."""
    out, height, width = canvas.numpy(), *canvas.shape[-2:]
    places = zip(row.tolist(), column.tolist(), line.tolist(), strict=True)
    for (i, x, y), one, stamp in zip(places, flux.numpy(), maps.numpy(), strict=True):
        x0, x1, y0, y1 = max(0, x - STAMP), min(width, x + STAMP + 1), max(0, y - STAMP), min(height, y + STAMP + 1)
        out[i, :, y0:y1, x0:x1] += one[:, None, None] * stamp[y0 - y + STAMP : y1 - y + STAMP, x0 - x + STAMP : x1 - x + STAMP]


def _traced(scene: Scene, x: Tensor, y: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Return where the light of `LENSED x LENSED` samples a pixel comes from in the source plane, arcsec."""
    steps = (((torch.arange(LENSED) + 0.5) / LENSED - 0.5) * scale).float()
    fine_x, fine_y = (x[0, :, None] + steps).reshape(1, -1), (y[:, 0, None] + steps).reshape(-1, 1)
    return trace(scene.to(torch.float32).masses(), fine_x, fine_y)


def blur(flux: Tensor, fwhm: Tensor, shape: tuple[int, int]) -> Tensor:
    """Convolve `(B, bands, H + 2m, W + 2m)` with the PSF of each image and band, and crop to the shape.

    Args:
        flux: with a margin m of `MARGIN`.
        fwhm: `(B, bands)` full width at half maximum, pixels.
        shape: `(H, W)`.
    """
    size = flux.shape[-2:]
    sigma = (NARROWER * fwhm / FWHM_PER_SIGMA).to(flux.dtype)[..., None]
    rows, columns = torch.fft.fftfreq(size[0]), torch.fft.rfftfreq(size[1])
    transfer = torch.zeros(*flux.shape[:-1], len(columns))
    for share, width in ((1 - HALO, sigma), (HALO, WIDER * sigma)):
        up, across = (torch.exp(-2 * (math.pi * width * f) ** 2) for f in (rows, columns))
        transfer += share * up[..., :, None] * across[..., None, :]
    out = torch.fft.irfft2(torch.fft.rfft2(flux) * transfer, s=size)
    return out[..., MARGIN : MARGIN + shape[0], MARGIN : MARGIN + shape[1]].contiguous()
