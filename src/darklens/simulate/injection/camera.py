"""What is known of the camera that took real cutouts: filters, units, PSF, electrons. What is not given, an instrument says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darklens.errors import InputError, unknown
from darklens.simulate.bands import SPECTRUM
from darklens.simulate.instruments import Instrument
from darklens.simulate.instruments import instrument as find_instrument
from darklens.simulate.psf import PSF, GaussianPSF, TabulatedPSF, fwhm

WAVELENGTHS: dict[str, float] = {
    "u": 0.36, "g": 0.48, "r": 0.63, "vis": 0.72, "i": 0.77, "f814w": 0.80, "z": 0.91, "y": 1.00,
    "j": 1.25, "f129": 1.29, "f150w": 1.50, "h": 1.65, "f158": 1.58, "f160w": 1.54, "k": 2.15,
}  # fmt: skip
"""Effective wavelength of a filter, micrometres."""

SCALES_AGREE = 0.03
"""Part of the pixel scale by which two statements of it may differ; what the cutouts say is taken."""

Given = float | str | Sequence[float | str] | None


@dataclass(frozen=True, eq=False)
class Camera:
    """The camera that took a set of cutouts.

    Args:
        bands: names of the filters, in the order of the cutouts' planes.
        psfs: point spread function of each.
        pixel_scale: arcsec.
        zero_points: AB magnitude of one unit of the image, for each band; None where the cutouts are not calibrated.
        gains: electrons per unit of the image, for each band; infinite adds no Poisson noise.
        reference: position of the band that magnitudes, S/N and seeing are told in.
    """

    bands: tuple[str, ...]
    psfs: tuple[PSF, ...]
    pixel_scale: float
    zero_points: tuple[float, ...] | None
    gains: tuple[float, ...]
    reference: int = 0

    @property
    def margin(self) -> int:
        """Pixels that the widest PSF reaches beyond the cutout."""
        return max(psf.margin(self.pixel_scale) for psf in self.psfs)

    @property
    def seeing(self) -> float:
        """Full width at half maximum of the reference band's PSF, arcsec."""
        return fwhm(self.psfs[self.reference], self.pixel_scale)

    def flux(self, band: int, magnitude: float) -> float:
        """Return the flux of an AB magnitude in units of the image; that of magnitude 0 is 1 where nothing is calibrated."""
        return 10.0 ** (-0.4 * (magnitude - (self.zero_points[band] if self.zero_points else 0.0)))

    def source_colours(self) -> np.ndarray:
        """Return the AB magnitude of a star-forming galaxy in each band minus that in the reference band (`SPECTRUM`)."""
        return self._colours(0)

    def lens_colours(self) -> np.ndarray:
        """Return the same of an early-type galaxy at redshift 0.5."""
        return self._colours(1)

    def _colours(self, which: int) -> np.ndarray:
        colours = np.array([colour_of(band)[which] for band in self.bands])
        return colours - colours[self.reference]

    def as_dict(self) -> dict:
        """Return a JSON-ready description for manifests."""
        return {
            "bands": list(self.bands),
            "psf": [repr(psf) for psf in self.psfs],
            "pixel_scale": self.pixel_scale,
            "zero_points": list(self.zero_points) if self.zero_points else None,
            "gains": [gain if math.isfinite(gain) else None for gain in self.gains],
            "reference": self.bands[self.reference],
        }


def colour_of(band: str) -> tuple[float, float]:
    """Return source and lens AB magnitude minus that in r, by `SPECTRUM`; between its filters along the logarithm of wavelength.

    Raises:
        InputError: a filter of no known wavelength.
    """
    name = filter_of(band)
    if name in SPECTRUM:
        return SPECTRUM[name]
    if name not in WAVELENGTHS:
        raise unknown("filter", band, WAVELENGTHS)
    known = sorted((WAVELENGTHS[k], colours) for k, colours in SPECTRUM.items())
    waves = np.log([wave for wave, _ in known])
    source, lens = (np.interp(math.log(WAVELENGTHS[name]), waves, [c[k] for _, c in known]) for k in (0, 1))
    return float(source), float(lens)


def filter_of(name: str) -> str:
    """Return the filter in the name of a band or an instrument: `r` of `des-r` and of `r`."""
    parts = name.lower().replace("_", "-").split("-")
    return next((part for part in parts if part in WAVELENGTHS), parts[-1])


def camera_of(
    n_bands: int,
    *,
    instrument: str | None = None,
    bands: str | None = None,
    psf: Given = None,
    zero_point: Given = None,
    gain: Given = None,
    exposure: float | None = None,
    pixel_scale: float | None = None,
    known_scale: float | None = None,
    reference: str | None = None,
) -> Camera:
    """Put together what is known of the camera.

    Args:
        n_bands: planes of a cutout.
        instrument: names of instruments, one for each band, with commas: what is not given is theirs.
        bands: names of the bands with commas; by default the instruments' names.
        psf: FWHM in arcsec or a file, one for all bands or one each.
        zero_point: AB magnitude of one unit of the image, one for all or one each; never guessed.
        gain: electrons per unit of the image; by default from the instrument's exposure and zero point, else infinite.
        exposure: seconds, in place of the instrument's.
        pixel_scale: arcsec a pixel.
        known_scale: what the cutouts say of it.
        reference: band of magnitudes, S/N and seeing; r, vis or f814w where there is one, else the middle one.

    Raises:
        InputError: numbers of bands that differ, something that neither the user nor an instrument says, or values out of range.
    """
    cameras = tuple(find_instrument(name) for name in _names(instrument))
    named = tuple(filter_of(name) for name in _names(bands)) or tuple(filter_of(c.name) for c in cameras)
    named = named or (("r",) if n_bands == 1 else ())
    for what, found, option in ((named, "bands", "--bands g,r,i"), (cameras, "instruments", "--instrument des-g,des-r,des-i")):
        if (what or found == "bands") and len(what) != n_bands:
            raise InputError(f"cutouts with {n_bands} bands and {len(what)} {found}: name one a band, for example {option}")
    zero_points = _each(zero_point, n_bands, "zero points")
    scale = _scale(pixel_scale, known_scale, cameras)
    psfs = tuple(_psf(p) for p in _each(psf, n_bands, "PSFs")) or tuple(c.psf for c in cameras)
    if not psfs:
        raise InputError("the PSF of the cutouts is unknown: give --psf with FWHM in arcsec or a file, or --instrument")
    return Camera(
        bands=named,
        psfs=psfs,
        pixel_scale=scale,
        zero_points=tuple(_number(z, "zero point") for z in zero_points) or None,
        gains=_gains(gain, exposure, zero_points, cameras, n_bands),
        reference=_reference(reference, named),
    )


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in text.split(",")] if text else []


def _each(given: Given, n: int, what: str) -> tuple[float | str, ...]:
    """Return one value a band of what was given as one for all, as text with commas, or as a sequence."""
    if given is None:
        return ()
    if isinstance(given, str):
        values: list[float | str] = [part.strip() for part in given.split(",")]
    else:
        values = list(given) if isinstance(given, Sequence) else [given]
    if len(values) not in (1, n):
        raise InputError(f"{len(values)} {what} for {n} bands: give one for all, or one a band")
    return tuple(values) * (n if len(values) == 1 else 1)


def _number(value: float | str, what: str, *, positive: bool = False, infinite: bool = False) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if math.isnan(number) or (math.isinf(number) and not infinite) or (positive and number <= 0):
        raise InputError(f"{what} {value!r} is not a {'positive ' if positive else ''}number: give for example 30.0")
    return number


def _psf(value: float | str) -> PSF:
    try:
        width = float(value)
    except ValueError:
        return TabulatedPSF.from_file(Path(str(value)))
    return GaussianPSF(_number(width, "PSF width", positive=True))


def _scale(given: float | None, known: float | None, cameras: tuple[Instrument, ...]) -> float:
    stated = {"--pixel-scale": given, "the cutouts": known} | {c.name: c.pixel_scale for c in cameras}
    found = {who: scale for who, scale in stated.items() if scale is not None}
    if not found:
        raise InputError("the pixel scale of the cutouts is unknown: give --pixel-scale in arcsec")
    first, scale = next(iter(found.items()))
    for who, other in {} if given is not None else found.items():
        if abs(other / scale - 1) > SCALES_AGREE:
            raise InputError(
                f'pixel scales {scale:g}" ({first}) and {other:g}" ({who}) differ: give --pixel-scale, or an instrument'
            )
    return _number(scale, "pixel scale", positive=True)


def _gains(given: Given, exposure: float | None, zero_points: tuple, cameras: tuple[Instrument, ...], n: int) -> tuple[float, ...]:
    """Return electrons per unit: as given, or the exposure times e-/s per unit, which the two zero points tell."""
    if given is not None:
        return tuple(_number(g, "gain", positive=True, infinite=True) for g in _each(given, n, "gains"))
    if not cameras or not zero_points:
        if exposure is not None:
            raise InputError(f"exposure {exposure:g} s gives no electrons without --instrument and --zero-point: give --gain")
        return (math.inf,) * n
    seconds = [_number(exposure, "exposure", positive=True) if exposure is not None else c.total_exposure for c in cameras]
    return tuple(t * c.flux(_number(z, "zero point")) for t, c, z in zip(seconds, cameras, zero_points, strict=True))


def _reference(given: str | None, bands: tuple[str, ...]) -> int:
    if given is not None:
        if filter_of(given) not in bands:
            raise unknown("band", given, bands)
        return bands.index(filter_of(given))
    return next((bands.index(name) for name in ("r", "vis", "f814w") if name in bands), len(bands) // 2)
