"""Instruments: what a telescope does to a scene, as data.

Flux is in e-/s; magnitudes are AB with `zero_point` the magnitude of 1 e-/s; the sky is in mag/arcsec^2. The numbers and
where they come from stand beside each preset. Adding an instrument is one entry in `INSTRUMENTS`.

SDSS publishes nanomaggies (zero point 22.5), not electrons. Its rows are in e-/s like all others, with the zero point that
follows from nanomaggies per ADU, gain and exposure; `Instrument.nanomaggies` turns e-/s into what its files hold.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from darklens.errors import InputError, unknown
from darklens.simulate.psf import PSF, GaussianPSF

NANOMAGGIE = 22.5
"""AB magnitude of a flux of one nanomaggie."""


@dataclass(frozen=True)
class Instrument:
    """A camera behind a telescope.

    Args:
        name: preset name.
        pixel_scale: arcsec per pixel.
        psf: point spread function.
        zero_point: AB magnitude of 1 e-/s; None for a camera that was never calibrated (some simulated data sets).
        sky_mag_arcsec2: brightness of the sky; None likewise.
        read_noise: electrons per exposure and pixel.
        exposure_time: seconds of one exposure.
        n_exposures: number of exposures combined.
        gain: e-/ADU (recorded; images are in electrons).
        origin: where the numbers come from.
    """

    name: str
    pixel_scale: float
    psf: PSF
    zero_point: float | None = None
    sky_mag_arcsec2: float | None = None
    read_noise: float = 0.0
    exposure_time: float = 1.0
    n_exposures: int = 1
    gain: float = 1.0
    origin: str = ""

    @property
    def total_exposure(self) -> float:
        """Seconds over all exposures."""
        return self.exposure_time * self.n_exposures

    @property
    def sky_per_pixel(self) -> float:
        """Sky in e-/s/pixel.

        Raises:
            InputError: the instrument has no sky brightness.
        """
        if self.sky_mag_arcsec2 is None:
            raise InputError(f"instrument {self.name!r} has no sky brightness: choose one of {', '.join(INSTRUMENTS)}")
        return self.flux(self.sky_mag_arcsec2) * self.pixel_scale**2

    def flux(self, magnitude: float) -> float:
        """Return the flux in e-/s of an AB magnitude.

        Raises:
            InputError: the instrument has no zero point.
        """
        if self.zero_point is None:
            raise InputError(f"instrument {self.name!r} has no zero point: choose one of {', '.join(INSTRUMENTS)}")
        return 10.0 ** (-0.4 * (magnitude - self.zero_point))

    @property
    def nanomaggies(self) -> float:
        """Nanomaggies of 1 e-/s: an image in e-/s times this has the AB zero point 22.5.

        Raises:
            InputError: the instrument has no zero point.
        """
        return 1.0 / self.flux(NANOMAGGIE)

    @property
    def background_sigma(self) -> float:
        """Standard deviation of an empty pixel in e-/s: sky and read noise (lenstronomy's `bkg_noise`)."""
        t = self.total_exposure
        return math.sqrt(self.n_exposures * self.read_noise**2 + t * self.sky_per_pixel) / t

    def as_dict(self) -> dict:
        """Return a JSON-ready description for manifests."""
        plain = {k: v for k, v in asdict(self).items() if k != "psf"}
        return plain | {"psf": repr(self.psf)}


def gaussian_camera(
    name: str,
    pixel_scale: float,
    fwhm: float,
    zero_point: float,
    sky: float,
    read_noise: float,
    seconds: float,
    n_exposures: int,
    gain: float,
    origin: str,
) -> Instrument:
    """Return an instrument with a Gaussian PSF: the arguments of `Instrument` in their order, with the PSF's width."""
    psf = GaussianPSF(fwhm)
    return Instrument(name, pixel_scale, psf, zero_point, sky, read_noise, seconds, n_exposures, gain, origin)


def _sdss(band: str, fwhm: float, sky: float, nanomaggies_per_adu: float, gain: float, dark_variance: float) -> Instrument:
    """Return an SDSS camera: drift scans of 53.9 s; the dark variance is in ADU^2."""
    seconds = 53.9
    zero_point = NANOMAGGIE + 2.5 * math.log10(gain / (seconds * nanomaggies_per_adu))
    read_noise = gain * math.sqrt(dark_variance)
    origin = "SDSS DR7 and frame data model, camera column 3; typical calibration; FWHM of g and i unverified"
    return gaussian_camera(f"sdss-{band}", 0.396, fwhm, zero_point, sky, read_noise, seconds, 1, gain, origin)


INSTRUMENTS: dict[str, Instrument] = {
    i.name: i
    for i in [
        #               name              pixel  FWHM   zero    sky    read   t     n    gain  from
        gaussian_camera("hst-acs-f814w", 0.05, 0.095, 25.94, 22.0, 4.5, 2028, 1, 2.0, "galcheat; read noise and gain unverified"),
        gaussian_camera("hst-uvis-f814w", 0.04, 0.08, 25.127, 21.83, 3.0, 1380, 1, 1.58, "paltas; FWHM unverified"),
        gaussian_camera("hst-wfc3-f160w", 0.08, 0.08, 25.96, 22.3, 4.0, 5400, 1, 2.5, "lenstronomy; real FWHM is about 0.15"),
        gaussian_camera("euclid-vis", 0.101, 0.16, 25.72, 22.3, 4.2, 566, 4, 3.1, "lenstronomy 1.14"),
        gaussian_camera("lsst-r-10yr", 0.2, 0.73, 28.13, 21.2, 10, 15, 460, 2.3, "lenstronomy"),
        gaussian_camera("lsst-r-visit", 0.2, 0.73, 28.13, 21.2, 10, 15, 2, 2.3, "lenstronomy"),
        gaussian_camera("lsst-i-10yr", 0.2, 0.71, 27.79, 20.48, 10, 15, 460, 2.3, "lenstronomy"),
        gaussian_camera("lsst-i-visit", 0.2, 0.71, 27.79, 20.48, 10, 15, 2, 2.3, "lenstronomy"),
        gaussian_camera("des-g", 0.263, 1.12, 26.58, 22.01, 7, 90, 10, 4, "lenstronomy"),
        gaussian_camera("des-r", 0.263, 0.96, 26.78, 21.15, 7, 90, 10, 4, "lenstronomy"),
        gaussian_camera("des-i", 0.263, 0.88, 26.75, 19.89, 7, 90, 10, 4, "lenstronomy"),
        gaussian_camera("hsc-i", 0.168, 0.61, 28.61, 19.7, 4.5, 1200, 1, 3.0, "galcheat; public coadds are in ADU at 27.0"),
        gaussian_camera("roman-f129", 0.11, 0.106, 26.353, 22.99, 8.5, 107, 6, 1, "lenstronomy"),
        gaussian_camera("roman-f158", 0.11, 0.128, 26.376, 23.10, 8.5, 107, 6, 1, "lenstronomy"),
        gaussian_camera("jwst-f150w", 0.031, 0.05, 28.02, 22.4, 15.77, 257, 8, 2.05, "lenstronomy, sky read as mag/arcsec^2"),
        #    FWHM  sky    nanomaggies/ADU, gain, dark variance
        _sdss("g", 1.4, 21.84, 0.0038, 3.845, 1.3225),
        _sdss("r", 1.43, 20.86, 0.0050, 4.72, 1.3225),
        _sdss("i", 1.4, 20.22, 0.0066, 4.86, 4.6225),
    ]
}


def instrument(name: str) -> Instrument:
    """Return the preset of that name.

    Raises:
        InputError: no such instrument; the nearest name is in the message.
    """
    if name not in INSTRUMENTS:
        raise unknown("instrument", name, INSTRUMENTS)
    return INSTRUMENTS[name]
