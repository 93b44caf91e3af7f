"""From files and options to what a fit of one lens needs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from darklens.data import Record, read
from darklens.errors import InputError
from darklens.fit.noise import Linear, background_sigma, corners
from darklens.fit.one_lens.point_spread import PointSpread
from darklens.simulate import instrument as find_instrument
from darklens.simulate.psf import PSF, GaussianPSF
from darklens.simulate.psf_file import read_psf

if TYPE_CHECKING:
    from darklens.simulate import Instrument

UNIT_RANGE = 0.2, 5.0
"""Scatter of the corners, in units of the instrument's background, outside which an image cannot be in e-/s."""
SAME_SCALE = 0.01
"""Relative difference between two pixel scales that is worth a word."""
TOO_QUIET = 10.0
"""Scatter of the corners, in units of the noise map there, above which the map cannot be of this image."""

_log = logging.getLogger("darklens")


@dataclass(frozen=True)
class Given:
    """One lens on disk.

    Args:
        image: file.
        noise: file with the standard deviation of each pixel; None takes the instrument's.
        psf: file, odd sides; None takes `psf_fwhm` or the instrument's.
        mask: file, non-zero where a pixel counts.
        exclude: file, non-zero where a pixel does not count.
        pixel_scale: arcsec; None takes the header's or the instrument's.
        psf_fwhm: of a Gaussian, arcsec.
        instrument: name; the image is then sky-subtracted and in e-/s.
        hdu: extension of the image.
        bands: the band, by name.
        psf_hdu: extension of the PSF.
        noise_hdu: extension of the noise map.
        psf_oversampling: pixels of the PSF along a side of the image's, where the file is not to be believed or says nothing.
        fine: leave a PSF on finer pixels as it is, for point images.
    """

    image: Path
    noise: Path | None = None
    psf: Path | None = None
    mask: Path | None = None
    exclude: Path | None = None
    pixel_scale: float | None = None
    psf_fwhm: float | None = None
    instrument: str | None = None
    hdu: int | str | None = None
    bands: str | None = None
    psf_hdu: int | str | None = None
    noise_hdu: int | str | None = None
    psf_oversampling: int | None = None
    fine: bool = False

    def read(self) -> dict[str, Any]:
        """Return image, noise, psf, mask and pixel scale as `fit_lens` takes them; and the PSF's oversampling, if it is fine.

        Raises:
            InputError: a file that cannot be used, or no PSF, noise or pixel scale.
        """
        record = _one(self.image, self.hdu, self.bands, fill=np.nan)
        image = record.image[0].astype(np.float64)
        camera = find_instrument(self.instrument) if self.instrument else None
        scale = self._scale(record.metadata.get("pixel_scale"), camera)
        kernel, oversampling = self._kernel(scale, image.shape, camera)
        return {
            "image": image,
            "noise": self._noise(image, camera),
            "psf": kernel,
            "mask": self._mask(image),
            "pixel_scale": scale,
        } | ({"psf_oversampling": oversampling} if oversampling > 1 else {})

    def _scale(self, told: float | None, camera: Instrument | None) -> float:
        """Return arcsec a pixel; what the user says goes before what the header says, and both are named where they differ."""
        if self.pixel_scale is None:
            known = told or (camera and camera.pixel_scale)
            if not known:
                raise InputError(f"{self.image} does not say how large its pixels are: give --pixel-scale in arcsec")
            return float(known)
        if not 0 < self.pixel_scale < 1e3:
            raise InputError(f'pixel scale {self.pixel_scale:g}" is outside 0 to 1000": give it in arcsec')
        if told and abs(self.pixel_scale / told - 1) > SAME_SCALE:
            _log.warning('pixels of %g" as given, where the header of %s says %g"', self.pixel_scale, self.image.name, told)
        return self.pixel_scale

    def _noise(self, image: np.ndarray, camera: Instrument | None) -> np.ndarray:
        if self.noise is not None:
            noise = _plane(self.noise, self.noise_hdu)
            around = corners(noise)
            stated, seen = float(np.median(around)) if len(around) else 0.0, background_sigma(image)
            if stated > 0 and seen > TOO_QUIET * stated:
                _log.warning(
                    "the corners of %s scatter by %.3g where %s says %.3g: image and noise map seem to differ in unit",
                    self.image.name, seen, self.noise.name, stated,
                )  # fmt: skip
            return noise
        if camera is None:
            raise InputError(f"{self.image} comes without a noise map: give one with --noise, or the camera with --instrument")
        expected, seen = camera.background_sigma, background_sigma(image)
        if not UNIT_RANGE[0] < seen / expected < UNIT_RANGE[1]:
            raise InputError(
                f"the corners of {self.image} scatter by {seen:.3g} where {camera.name} has a background of {expected:.3g} e-/s: "
                "the image cannot be in e-/s; convert it, or give a map in its own unit with --noise"
            )
        v0, v1 = Linear.of(camera).variance(image[None])
        return np.sqrt(v0[0] + v1[0] * np.clip(np.nan_to_num(image), 0, None))

    def _kernel(self, scale: float, shape: tuple[int, ...], camera: Instrument | None) -> tuple[np.ndarray, int]:
        """Return the PSF, and how many of its pixels lie along a side of the image's."""
        if self.psf is not None:
            if self.psf_fwhm is not None:
                raise InputError(f"{self.psf} and a Gaussian of {self.psf_fwhm:g} arcsec are two PSFs: give --psf or --psf-fwhm")
            return self._tabulated(self.psf, scale)
        if self.psf_oversampling is not None:
            raise InputError("--psf-oversampling is about the file of a PSF: give that with --psf, or leave the option out")
        if self.psf_fwhm is not None:
            largest = 0.5 * scale * min(shape)
            if not 0 < self.psf_fwhm <= largest:
                raise InputError(
                    f'PSF width {self.psf_fwhm:g}" is outside 0 to {largest:.4g}", half the image: give --psf-fwhm in arcsec'
                )
            return _kernel_of(GaussianPSF(self.psf_fwhm), scale), 1
        if camera is None:
            raise InputError(
                f"{self.image} comes without a PSF: give one with --psf, or a Gaussian's width with --psf-fwhm in arcsec"
            )
        return _kernel_of(camera.psf, scale), 1

    def _tabulated(self, path: Path, scale: float) -> tuple[np.ndarray, int]:
        found = read_psf(path, hdu=self.psf_hdu)
        ratio = scale / found.pixel_scale if found.pixel_scale is not None else None
        if self.psf_oversampling is not None:
            if ratio is not None and abs(ratio / self.psf_oversampling - 1) > SAME_SCALE:
                _log.warning(
                    "%d pixels of the PSF along a side of the image's as given, where the header of %s says %.4g",
                    self.psf_oversampling, path.name, ratio,
                )  # fmt: skip
            return PointSpread(found.kernel, self.psf_oversampling).kernel, self.psf_oversampling
        if self.fine and ratio is not None and round(ratio) > 1 and abs(ratio / round(ratio) - 1) < SAME_SCALE:
            return found.kernel, round(ratio)
        return found.on_pixels(scale), 1

    def _mask(self, image: np.ndarray) -> np.ndarray:
        kept = np.isfinite(image)
        for path, wanted in ((self.mask, True), (self.exclude, False)):
            if path is None:
                continue
            plane = _plane(path)
            if plane.shape != image.shape:
                raise InputError(f"{path} has {plane.shape} pixels, the image {image.shape}: give a mask of the same size")
            kept &= (np.nan_to_num(plane) != 0) == wanted
        return kept


def _kernel_of(psf: PSF, scale: float) -> np.ndarray:
    """Return a PSF on pixels: what it makes of a single bright one."""
    margin = psf.margin(scale)
    point = torch.zeros(1, 4 * margin + 1, 4 * margin + 1, dtype=torch.float64)  # convolving takes a margin off each side
    point[0, 2 * margin, 2 * margin] = 1.0
    return psf.convolve(point, scale)[0].numpy()


def _one(path: Path, hdu: int | str | None, bands: str | None = None, *, fill: float, largest: float | None = None) -> Record:
    found = list(read(path, hdu=hdu, bands=bands, fill=fill, largest=largest))
    if len(found) != 1 or found[0].image.shape[0] != 1:
        planes = sum(r.image.shape[0] for r in found)
        raise InputError(f"{path} holds {planes} planes: one lens is fitted in one band; choose it with --hdu or --bands")
    return found[0]


def _plane(path: Path, hdu: int | str | None = None) -> np.ndarray:
    return _one(path, hdu, fill=np.nan, largest=np.inf).image[0].astype(np.float64)


def header_of(path: Path, hdu: int | str | None = None, bands: str | None = None) -> Any:
    """Return the header of the image in a FITS file, None for other files."""
    from astropy.io import fits

    try:
        with fits.open(path) as hdus:
            images = [h for h in hdus if h.is_image and h.data is not None]
            wanted = str(bands if hdu is None else hdu)
            named = [
                h for i, h in enumerate(hdus) if h in images and (h.name.upper().startswith(wanted.upper()) or str(i) == wanted)
            ]
            return (named or images)[0].header.copy()
    except (OSError, IndexError):
        return None
