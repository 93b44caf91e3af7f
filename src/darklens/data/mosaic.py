"""Positions on the sky to cutouts of mosaics that may be larger than memory.

Pixels are mapped from the file (`.fits`) or decompressed tile by tile (`.fits.fz`): only what a cutout touches is read. A cutout is
the square of whole pixels whose centre lies nearest to the position; nothing is interpolated, the noise stays what it was.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from darklens.data.bands import expand, split_name
from darklens.data.fits import all_read
from darklens.data.fits_counts import check_counts_of
from darklens.data.folders import stem
from darklens.data.joining import SAME_SCALE
from darklens.errors import InputError
from darklens.files import unreadable

ROUNDING = 1e-5
"""Fraction of a pixel that positions are exact to."""


@dataclass(frozen=True, eq=False)
class Mosaic:
    """One band of a large image.

    Args:
        path: where it lies.
        band: name of its band.
        shape: its rows and columns.
        header: of the extension that holds it.
        pixels: what is indexed by `[y0:y1, x0:x1]` to read a part: a map of the file, or tiles to decompress.
        zero: to add to stored numbers after multiplying by `scale`.
        scale: flux of one stored unit.
        blank: stored number that stands for a missing pixel.
    """

    path: Path
    band: str
    shape: tuple[int, int]
    header: Any
    pixels: Any
    zero: float = 0.0
    scale: float = 1.0
    blank: int | None = None

    @classmethod
    def open(cls, path: str | Path, *, hdu: int | str | None = None, band: str | None = None) -> Mosaic:
        """Open a mosaic without reading its pixels.

        Args:
            path: a FITS file, plain or compressed by tiles (`.fz`).
            hdu: its extension by number or name; by default the first that holds an image.
            band: name of its band; by default what the file is called by, else its `FILTER`.

        Raises:
            InputError: no such file, no FITS image of two axes, truncated, or compressed as a whole.
        """
        path = Path(path)
        if path.name.lower().endswith(".gz"):
            raise InputError(f"{path} is compressed as a whole and cannot be read in parts: gunzip it, or pack it by tiles (.fz)")
        try:
            check_counts_of(path)
            return cls._opened(path, hdu, band)
        except OSError as error:
            if error.errno:
                raise unreadable(path, error) from error
            raise _damaged(path) from error
        except InputError:
            raise
        except Exception as error:  # astropy meets damage with errors of every kind
            raise _damaged(path) from error

    @classmethod
    def _opened(cls, path: Path, hdu: int | str | None, band: str | None) -> Mosaic:
        from astropy.io import fits

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            hdus = all_read(fits.open(path, memmap=True, do_not_scale_image_data=True))
            chosen = _extension(hdus, path, hdu)
        header = chosen.header
        axes = [n for n in chosen.shape if n != 1] if len(chosen.shape) > 2 else list(chosen.shape)
        if len(axes) != 2:
            raise InputError(f"{path} has {len(chosen.shape)} axes {chosen.shape}: a mosaic has two, so give one file a band")
        found = split_name(stem(path))
        band = band or (found[1] if found else None) or str(header.get("FILTER") or "") or stem(path)
        if isinstance(chosen, fits.CompImageHDU):
            return cls(path, band, tuple(axes), header, _Tiles(path, chosen.name or None, hdus.index_of(chosen)))
        where = chosen.fileinfo()["datLoc"]
        hdus.close()
        kind = np.dtype({8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}[header["BITPIX"]])
        if path.stat().st_size < where + kind.itemsize * axes[0] * axes[1]:
            raise InputError(f"{path} is truncated: download or write it again")
        pixels = np.memmap(path, kind, "r", where, tuple(axes))
        blank = header.get("BLANK") if kind.kind in "iu" else None
        return cls(path, band, tuple(axes), header, pixels, header.get("BZERO", 0.0), header.get("BSCALE", 1.0), blank)

    @cached_property
    def wcs(self) -> Any:
        """Where on the sky the pixels are.

        Raises:
            InputError: the header does not say.
        """
        from astropy.wcs import WCS

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = WCS(self.header).celestial
        except Exception as error:  # wcslib, too, meets damage with errors of every kind
            reason = " ".join(str(error).split())
            raise InputError(f"{self.path} has coordinates that cannot be understood ({reason}): repair its header") from error
        if found.naxis != 2 or not found.has_celestial:
            raise InputError(f"{self.path} has no celestial coordinates in its header: give columns of pixels with --x and --y")
        return found

    @cached_property
    def pixel_scale(self) -> float | None:
        """Arcsec a pixel at the reference point: the root of a pixel's solid angle; None without celestial coordinates."""
        from astropy.wcs.utils import proj_plane_pixel_area

        try:
            return round(3600 * float(np.sqrt(proj_plane_pixel_area(self.wcs))), 6)
        except InputError:
            return None

    def pixel_of(self, ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the pixel of each position, `x` and `y` counted from 0; NaN where the projection does not reach it."""
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            x, y = self.wcs.all_world2pix(ra, dec, 0, quiet=True)
            back_ra, back_dec = self.wcs.all_pix2world(x, y, 0)
        # a plane projection also gives a pixel to the other side of the sky
        turned = np.cos(np.radians(dec)) * np.abs((back_ra - ra + 180) % 360 - 180)
        reached = np.hypot(turned, back_dec - dec) * 3600 < 0.5 * (self.pixel_scale or 1.0)
        return np.where(reached, x, np.nan), np.where(reached, y, np.nan)

    def cut(self, x: float, y: float, size: int) -> tuple[np.ndarray, float]:
        """Cut the square of `size` pixels around a pixel.

        Args:
            x: column of the centre, from 0.
            y: row of the centre, from 0.
            size: pixels of a side.

        Returns:
            float32 `(size, size)`, NaN where there is no pixel or none that is finite; and the share of the square that lies
            on the mosaic.
        """
        # as in astropy's Cutout2D, pixel v lies at size // 2; a whole number stays one on its way through the sky and back
        first = [int(np.ceil(v - size / 2 - ROUNDING)) for v in (y, x)]
        starts = [min(max(f, 0), n) for f, n in zip(first, self.shape, strict=True)]
        ends = [min(max(f + size, 0), n) for f, n in zip(first, self.shape, strict=True)]
        out = np.full((size, size), np.nan, np.float32)
        there = (ends[0] - starts[0]) * (ends[1] - starts[1])
        if there > 0:
            inside = tuple(slice(s - f, e - f) for s, e, f in zip(starts, ends, first, strict=True))
            raw = self._pixels(slice(starts[0], ends[0]), slice(starts[1], ends[1]))
            out[inside] = self._fluxes(raw)
        out[~np.isfinite(out)] = np.nan
        return out, max(there, 0) / size**2

    def _pixels(self, rows: slice, columns: slice) -> np.ndarray:
        try:
            return np.asarray(self.pixels[rows, columns])
        except Exception as error:  # of a compressed tile, which is unpacked only now
            raise _damaged(self.path) from error

    def _fluxes(self, raw: np.ndarray) -> np.ndarray:
        fluxes = raw if (self.scale, self.zero) == (1.0, 0.0) else raw.astype(np.float64) * self.scale + self.zero
        return fluxes if self.blank is None else np.where(raw == self.blank, np.nan, fluxes)


def _damaged(path: Path) -> InputError:
    return InputError(f"{path} is empty, truncated, or no FITS file: download or write it again")


class _Tiles:
    """The part of a tile-compressed image that is asked for; scaled numbers are already fluxes."""

    def __init__(self, path: Path, name: str | None, number: int) -> None:
        from astropy.io import fits

        self._file = fits.open(path, memmap=True)
        self._section = self._file[number].section

    def __getitem__(self, where: tuple[slice, slice]) -> np.ndarray:
        return np.asarray(self._section[where])


def _extension(hdus: Any, path: Path, wanted: int | str | None) -> Any:
    images = [hdu for hdu in hdus if hdu.is_image and len(hdu.shape) >= 2 and 0 not in hdu.shape]
    if not images:
        raise InputError(f"{path} holds no image: give a FITS file with a 2-D image")
    if wanted is None:
        return images[0]
    names = [hdu.name or str(i) for i, hdu in enumerate(hdus)]
    found = wanted if isinstance(wanted, int) else next((i for i, n in enumerate(names) if n.upper() == wanted.upper()), -1)
    if not 0 <= found < len(hdus) or hdus[found] not in images:
        raise InputError(f"{path} has no image in extension {wanted!r}: choose by --hdu among {', '.join(h.name for h in images)}")
    return hdus[found]


def open_mosaics(paths: Sequence[str | Path], *, hdu: int | str | None = None, bands: Sequence[str] | None = None) -> list[Mosaic]:
    """Open the mosaics of one field, one a band.

    Args:
        paths: their files.
        hdu: extension of all of them.
        bands: their names.

    Raises:
        InputError: a mosaic cannot be read, or their pixel scales differ.
    """
    if not paths or (bands is not None and len(bands) != len(paths)):
        raise InputError(f"{len(paths)} mosaics and {len(bands or ())} bands do not match: give one name for each mosaic")
    names: Sequence[str | None] = bands or [None] * len(paths)
    found = [Mosaic.open(path, hdu=hdu, band=band) for path, band in zip(paths, names, strict=True)]
    scales = {m.band: m.pixel_scale for m in found if m.pixel_scale}
    if scales and max(scales.values()) > min(scales.values()) * (1 + SAME_SCALE):
        listed = ", ".join(f'{band} {scale:.4g}"' for band, scale in scales.items())
        raise InputError(f"the mosaics have pixels of different size ({listed}): resample them to one grid, or cut one by one")
    if len({m.band for m in found}) < len(found):
        raise InputError(f"two mosaics are of band {found[0].band}: name all with --bands g,r,i")
    return found


def listed(text: str) -> list[Path]:
    """Return the mosaics of a list, `g.fits,r.fits`, or of a name with braces, `field_{g,r,i}.fits`."""
    if Path(text).exists() or "{" in text:
        return expand(Path(text))
    return [Path(part.strip()) for part in text.split(",")]
