"""What is lensed: star-forming galaxies, as Sersic discs with knots, or as images of real ones."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from darklens.data import read
from darklens.errors import InputError
from darklens.lensing import Cosmology, Light, PixelisedLight, SersicEllipse
from darklens.simulate.injection.deflector import comoving
from darklens.simulate.priors import ANGLE, Prior, Quantiles, Uniform

SMALLEST_KNOT = 0.03
"""Half-light radius in arcsec, 250 pc at redshift 2."""
LARGEST = 512
"""Pixels of a side of a source's image at most."""
COLUMNS = ("GAL_FILENAME", "GAL_HDU", "PIXEL_SCALE")


@dataclass(frozen=True)
class Source:
    """A source of flux one, its centre at the origin.

    Args:
        lights: profiles of batch one.
        radius: of half the light, arcsec.
        truth: further truth columns.
    """

    lights: tuple[Light, ...]
    radius: float
    truth: dict[str, float]


class Sources(ABC):
    """A prior over the shapes of sources."""

    truth_columns: tuple[str, ...]

    @abstractmethod
    def draw(self, magnitude: float, redshift: float, center: tuple[float, float], rng: np.random.Generator) -> Source:
        """Draw a source.

        Args:
            magnitude: unlensed AB magnitude: bright galaxies are larger.
            redshift: where it stands.
            center: x and y, arcsec.
            rng: random numbers.
        """

    def as_dict(self) -> dict:
        """Return a JSON-ready description for manifests."""
        return {"kind": type(self).__name__}


@dataclass(frozen=True, kw_only=True)
class SersicSources(Sources):
    """Discs with knots of star formation: a `SersicEllipse` of most of the light, and up to `knots` small round ones in it."""

    #                                             priors, one per line
    R_sersic: Prior = Quantiles((0.0, 0.16, 0.5, 0.84, 1.0), (0.08, 0.16, 0.25, 0.39, 0.8))  # arcsec, at magnitude 24
    n_sersic: Prior = Quantiles((0.0, 0.5, 1.0), (0.5, 1.0, 2.5))
    e: Prior = Uniform(0.0, 0.45)
    in_knots: Prior = Uniform(0.0, 0.35)  # of the light
    knots: int = 5
    truth_columns = ("R_sersic", "n_sersic", "source_e1", "source_e2")

    def draw(self, magnitude: float, redshift: float, center: tuple[float, float], rng: np.random.Generator) -> Source:
        """Draw a disc with knots; sizes go as the 0.25th power of the flux."""
        radius = float(self.R_sersic.draw(rng)) * 10.0 ** (-0.1 * (magnitude - 24.0))
        index, share = float(self.n_sersic.draw(rng)), float(self.in_knots.draw(rng))
        e, angle = float(self.e.draw(rng)), float(ANGLE.draw(rng))
        e1, e2 = e * math.cos(angle), e * math.sin(angle)
        number = int(rng.integers(0, self.knots + 1))
        weights, where = rng.dirichlet(np.ones(self.knots)), rng.normal(0.0, 0.8, (self.knots, 2)) * radius
        small = np.maximum(rng.uniform(0.12, 0.3, self.knots) * radius, SMALLEST_KNOT)
        share = share if number else 0.0
        disc = _sersic(1.0 - share, radius, index, e1, e2, *center)
        parts = weights[:number] / weights[:number].sum() * share if number else ()
        lights = [disc, *(_sersic(p, r, 1.0, 0.0, 0.0, *(center + w)) for p, r, w in zip(parts, small, where, strict=False))]
        return Source(tuple(lights), radius, {"R_sersic": radius, "n_sersic": index, "source_e1": e1, "source_e2": e2})

    def as_dict(self) -> dict:
        """Return a JSON-ready description for manifests."""
        return {"kind": "SersicSources", "priors": repr(self)}


def _sersic(flux: float, radius: float, n: float, e1: float, e2: float, x: float, y: float) -> SersicEllipse:
    amp = SersicEllipse.amp_for_flux(flux, R_sersic=radius, n_sersic=n)
    return SersicEllipse(*(torch.tensor([float(v)], dtype=torch.float64) for v in (amp, radius, n, e1, e2, x, y)))


@dataclass(frozen=True, eq=False)
class Picture:
    """The image of one real galaxy, cleaned: flux one, nothing outside the galaxy.

    Args:
        name: where it comes from.
        image: `(y, x)`.
        pixel_scale: arcsec; None where it is not known.
        radius: of half the light, pixels.
        redshift: None where it is not known.
    """

    name: str
    image: np.ndarray
    pixel_scale: float | None
    radius: float
    redshift: float | None = None


class PictureSources(Sources):
    """Real galaxies, each turned by any angle.

    A galaxy of known redshift and pixel scale keeps its size in kpc; any other is given the half-light radius of a
    `SersicSources`. Of each only the shape is taken: flux and colours are drawn as those of all sources.

    Args:
        pictures: the galaxies.
        cosmology: distances.
    """

    truth_columns = ("R_sersic", "source_row")

    def __init__(self, pictures: Sequence[Picture], cosmology: Cosmology | None = None) -> None:
        self.pictures = list(pictures)
        self.cosmology = cosmology or Cosmology()
        self._sizes = SersicSources()

    @classmethod
    def from_folder(cls, path: str | Path) -> PictureSources:
        """Read a COSMOS folder in GalSim's RealGalaxy form (images beside a catalogue), or images of any other kind.

        Raises:
            InputError: nothing there can be read, or no image has a galaxy in its middle.
        """
        catalogue = _catalogue(Path(path))
        pictures = list(_real_galaxies(*catalogue) if catalogue else _any_images(Path(path)))
        if not pictures:
            raise InputError(f"{path} holds no image with a galaxy in its middle: give cutouts of galaxies, one each")
        return cls(pictures)

    def draw(self, magnitude: float, redshift: float, center: tuple[float, float], rng: np.random.Generator) -> Source:
        """Draw a galaxy and turn it."""
        row, angle = int(rng.integers(len(self.pictures))), float(ANGLE.draw(rng))
        drawn = self._sizes.draw(magnitude, redshift, center, rng).radius
        picture = self.pictures[row]
        scale = self._scale(picture, redshift, drawn)
        center_x, center_y, turn = (torch.tensor([v], dtype=torch.float64) for v in (*center, angle))
        image = torch.from_numpy(picture.image)[None]
        light = PixelisedLight(image, scale, 1.0, center_x, center_y, turn, cubic=False)
        radius = picture.radius * scale
        return Source((light,), radius, {"R_sersic": radius, "source_row": float(row)})

    def _scale(self, picture: Picture, redshift: float, radius: float) -> float:
        if picture.pixel_scale is None or picture.redshift is None or not picture.redshift > 0.05:
            return radius / picture.radius
        there, here = (comoving(self.cosmology, z) / (1 + z) for z in (redshift, picture.redshift))
        return picture.pixel_scale * here / there

    def as_dict(self) -> dict:
        """Return a JSON-ready description for manifests; `source_row` counts these names."""
        return {"kind": "PictureSources", "names": [picture.name for picture in self.pictures]}


def cleaned(image: np.ndarray, name: str, pixel_scale: float | None = None, redshift: float | None = None) -> Picture | None:
    """Cut the galaxy in the middle out of its image: no sky, no neighbours, no noise around it; None where there is none.

    The galaxy is what is connected with the middle at 2 sigma after smoothing by 1.5 pixels, with a soft edge: noise that
    were left around it would be painted into the sky as a square. A neighbour that touches it stays.
    """
    light = np.asarray(image, np.float64)
    border = np.concatenate([light[[0, -1]].ravel(), light[:, [0, -1]].ravel()])
    smooth = ndimage.gaussian_filter(light, 1.5)
    edge = np.concatenate([smooth[[0, -1]].ravel(), smooth[:, [0, -1]].ravel()])
    sky, noise = np.median(border), 1.4826 * np.median(np.abs(edge - np.median(edge)))
    parts, _ = ndimage.label(smooth - sky > 2.0 * noise)
    here = parts[tuple(n // 2 for n in light.shape)]
    if not here:
        return None
    soft = ndimage.gaussian_filter(ndimage.binary_dilation(parts == here).astype(float), 1.0)
    kept = (light - sky) * soft
    total = kept.sum()
    if not total > 0:
        return None
    rows, columns = np.mgrid[: light.shape[0], : light.shape[1]]
    y, x = ((kept * axis).sum() / total for axis in (rows, columns))
    kept = ndimage.shift(kept, [(n - 1) / 2 - at for n, at in zip(light.shape, (y, x), strict=True)], order=1) / total
    away = np.hypot(*((axis - (n - 1) / 2) for axis, n in zip((rows, columns), light.shape, strict=True)))
    order = np.argsort(away, axis=None)
    radius = float(away.ravel()[order][np.searchsorted(np.cumsum(kept.ravel()[order]), 0.5 * kept.sum())])
    return Picture(name, kept / kept.sum(), pixel_scale, max(radius, 0.5), redshift)


def _catalogue(path: Path) -> tuple[Path, np.recarray, dict[int, float]] | None:
    """Return folder, catalogue and redshift by identifier of a RealGalaxy folder; None where it is something else."""
    from astropy.io import fits

    if not path.is_dir():
        return None
    found, redshifts = None, {}
    for file in sorted(path.glob("*catalog*.fits")):
        rows = fits.getdata(file, 1)
        if set(COLUMNS) <= set(rows.names):
            found = rows
        elif {"IDENT", "zphot"} <= set(rows.names):
            redshifts = {int(i): float(z) for i, z in zip(rows["IDENT"], rows["zphot"], strict=True)}
    return None if found is None else (path, found, redshifts)


def _real_galaxies(folder: Path, rows: np.recarray, redshifts: dict[int, float]) -> Iterator[Picture]:
    from astropy.io import fits

    for row in rows:
        file = folder / str(row["GAL_FILENAME"]).strip()
        if not file.is_file():
            raise InputError(f"{file} is named in the catalogue and not there: download the images beside the catalogue")
        image = fits.getdata(file, int(row["GAL_HDU"]))
        picture = cleaned(_cropped(image), f"COSMOS {row['IDENT']}", float(row["PIXEL_SCALE"]), redshifts.get(int(row["IDENT"])))
        if picture is not None:
            yield picture


def _any_images(path: Path) -> Iterator[Picture]:
    for record in read(path):
        picture = cleaned(_cropped(record.image.mean(0)), record.id, record.metadata.get("pixel_scale"))
        if picture is not None:
            yield picture


def _cropped(image: np.ndarray) -> np.ndarray:
    if max(image.shape) > LARGEST:
        raise InputError(f"source image of {image.shape[0]}x{image.shape[1]} pixels, the limit is {LARGEST}: crop it to one galaxy")
    return image
