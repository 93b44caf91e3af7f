"""What a preset is: a population, seen by an instrument, recorded in one way."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from darklens.errors import InputError
from darklens.lensing import SersicEllipse
from darklens.simulate.artefacts import Artefact
from darklens.simulate.bands import Band, bands_of, in_band
from darklens.simulate.instruments import Instrument
from darklens.simulate.noise import Exposure, Recording
from darklens.simulate.populations import (
    DeepLenseSim,
    LensFinding,
    PhysicalLens,
    Population,
)
from darklens.simulate.psf import PSF
from darklens.simulate.real_galaxies import RealGalaxies
from darklens.simulate.rendering import render
from darklens.simulate.sampling import Supersampling
from darklens.simulate.scene import Scene
from darklens.simulate.survey import Survey

SOURCE_MAG = 20.0
"""AB magnitude of the source of Models II and III."""


def source_amplitude(magnitude: float, instrument: Instrument) -> float:
    """Surface brightness at `R_sersic` of the DeepLenseSim source of this magnitude."""
    return float(SersicEllipse.amp_for_flux(instrument.flux(magnitude), R_sersic=0.25, n_sersic=1.0))


@dataclass(frozen=True)
class Preset:
    """A recipe for images.

    Args:
        name: what the user types.
        summary: one line.
        population: what is in the sky.
        instrument: who looks.
        recording: what ends up in the file.
        shape: rows and columns.
        notes: known defects and limits, for the data card.
        bands: filters of a multi-band image, with colours; none for one band, that of the instrument.
        artefacts: correlated noise, cosmic rays.
        supersampling: see `render`.
        lens_light: whether the light of the lens is seen, where the population has any.
        survey: records all bands at once, where the population has a sky; it takes the place of `bands`.
        positives: share of the rows that are of the last class, a fraction; None lets classes take turns.
    """

    name: str
    summary: str
    population: Population
    instrument: Instrument
    recording: Recording
    shape: tuple[int, int]
    notes: str = ""
    bands: tuple[Band, ...] = ()
    artefacts: tuple[Artefact, ...] = ()
    supersampling: Supersampling = 1
    lens_light: bool = True
    survey: Survey | None = None
    positives: Fraction | None = None

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """The instrument of each band."""
        if self.survey is not None:
            return self.survey.instruments
        return tuple(band.instrument for band in self.bands) or (self.instrument,)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        return (len(self.instruments), *self.shape)

    @property
    def truth_columns(self) -> tuple[str, ...]:
        """Names of the truth columns: of the population, the recording and the artefacts."""
        more = (name for artefact in self.artefacts for name in artefact.truth_columns)
        survey = self.survey.truth_columns if self.survey is not None else ()
        return (*self.population.truth_columns(), *survey, *self.recording.truth_columns, *more)

    def options(self) -> dict:
        """Return what was chosen beyond the plain preset, JSON-ready, for manifests."""
        chosen = {
            "bands": [asdict(b) | {"instrument": b.instrument.as_dict()} for b in self.bands],
            "artefacts": [{"kind": type(a).__name__, **asdict(a)} for a in self.artefacts],
            "supersampling": self.supersampling,
            "lens_light": self.lens_light,
        }
        share = {} if self.positives is None else {"positives": str(self.positives)}
        if self.survey is not None and self.survey.galaxies is not None:
            share["galaxies"] = self.survey.galaxies.origin
        return {k: v for k, v in chosen.items() if v not in ([], 1, True)} | self.population.options() | share

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.population.classes

    def labels(self, n: int, start: int = 0) -> tuple[str, ...]:
        """Return the class names of rows `start` to `start + n - 1`.

        With `positives` k/m, every m rows that begin at a multiple of m hold exactly k of the last class, evenly spread.
        """
        rows = range(start, start + n)
        if self.positives is None:
            return tuple(self.classes[row % len(self.classes)] for row in rows)
        k, m = self.positives.as_integer_ratio()
        return tuple(self.classes[(row + 1) * k // m > row * k // m] for row in rows)

    def draw(self, n: int, seed: int, start: int = 0) -> Scene:
        """Draw the scenes of rows `start` to `start + n - 1`, each of its row's class."""
        return self.population.draw(n, seed, start, labels=self.labels(n, start))

    def images(self, scene: Scene, device: str = "cpu") -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Render and record a scene.

        Returns:
            Images `(B, bands, H, W)` float32 and the truth columns, those of the recording included.
        """
        if self.survey is not None:
            images, truth = self.survey.images(scene, self.shape)
            return images, scene.truth | truth
        bands = [in_band(scene, band, self.instrument) for band in self.bands] or [scene]
        recorded = [self._band(s, i, k, device) for k, (s, i) in enumerate(zip(bands, self.instruments, strict=True))]
        truth = {name: column for _, extra in reversed(recorded) for name, column in extra.items()}
        return np.stack([images for images, _ in recorded], 1), scene.truth | truth

    def _band(self, scene: Scene, instrument: Instrument, band: int, device: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Render and record one band: `(B, H, W)` float32, and the truth that recording it adds."""
        if not self.lens_light:
            scene = replace(scene, lens_light=())
        flux = render(scene, instrument, self.shape, supersampling=self.supersampling, device=device).float().cpu().numpy()
        stream = "noise" if band == 0 else f"noise {band}"
        images, truth = self.recording.record(flux, instrument, scene.seed, scene.rows, stream)
        for artefact in self.artefacts:
            images, more = artefact.apply(images, flux, instrument, scene.seed, scene.rows, band)
            truth |= more
        return images.astype(np.float32, copy=False), truth

    def with_shares(self, positives: Fraction) -> Preset:
        """Return the preset with this share of its rows of the last class.

        Raises:
            InputError: the preset has other than two classes, or one would be empty.
        """
        if len(self.classes) != 2 or not 0 < positives < 1:
            raise InputError(
                f"a share of positives of {float(positives):.4g} in preset {self.name!r} with classes {', '.join(self.classes)}: "
                "it takes two classes and at least one image of each; change the number, or leave it out"
            )
        return replace(self, positives=positives)

    def with_difficulty(self, difficulty: float) -> Preset:
        """Return the preset at a difficulty from 0 to 1.

        Raises:
            InputError: the preset has no difficulty, or the number is out of range.
        """
        if not isinstance(self.population, LensFinding):
            raise InputError(f"preset {self.name!r} has no difficulty: leave it out, or use lens-finding")
        return replace(self, population=replace(self.population, difficulty=difficulty))

    def with_galaxies(self, path: str | Path, part: tuple[str, dict[str, float]] | None = None) -> Preset:
        """Return the preset with real cutouts in place of simulated galaxies; see `RealGalaxies.from_path`.

        Raises:
            InputError: the preset has no sky to replace, or the cutouts cannot be used.
        """
        if self.survey is None:
            raise InputError(
                f"preset {self.name!r} has no galaxies to replace by those of {path}: leave them out, or use lens-finding"
            )
        found = RealGalaxies.from_path(path, len(self.instruments), self.shape, part)
        return replace(self, survey=replace(self.survey, galaxies=found), notes=f"{self.notes} Galaxies: {found.origin}.")

    def with_artefacts(self, *artefacts: Artefact) -> Preset:
        """Return the preset with artefacts in its images.

        Raises:
            InputError: its images are not in e-/s with the instrument's noise.
        """
        if artefacts and not isinstance(self.recording, Exposure):
            raise InputError(
                f"preset {self.name!r} records {type(self.recording).__name__}, and correlated noise and cosmic rays need images "
                "in e-/s with an instrument's noise: use model-ii-noisy or model-iii-noisy, or give an instrument"
            )
        return replace(self, artefacts=(*self.artefacts, *artefacts))

    def with_psf(self, psf: PSF) -> Preset:
        """Return the preset with another point spread function, in every band.

        Raises:
            InputError: its seeing differs from image to image.
        """
        if self.survey is not None:
            raise InputError(f"preset {self.name!r} has a seeing of its own in every image, and takes no PSF: leave the PSF out")
        bands = tuple(replace(band, instrument=replace(band.instrument, psf=psf)) for band in self.bands)
        return replace(self, instrument=replace(self.instrument, psf=psf), bands=bands)

    def observed_in(self, instruments: list[Instrument]) -> Preset:
        """Return the same scenes seen in one band or several, the first of which fixes the magnitudes.

        Raises:
            InputError: see `observed_by` and `bands_of`.
        """
        seen = self.observed_by(instruments[0])
        return seen if len(instruments) == 1 else replace(seen, bands=bands_of(instruments))

    def observed_by(self, instrument: Instrument) -> Preset:
        """Return the same scenes seen by another instrument, with that instrument's noise.

        Raises:
            InputError: the preset's source has no magnitude, or the instrument no zero point.
        """
        if self.survey is not None:
            raise InputError(
                f"preset {self.name!r} has the bands of its survey, and is not seen by {instrument.name!r}: leave that out"
            )
        if not isinstance(self.population, DeepLenseSim | PhysicalLens) or self.instrument.zero_point is None:
            raise InputError(
                f"preset {self.name!r} is in uncalibrated counts and cannot be seen by {instrument.name!r}: "
                "use model-ii-noisy or model-iii-noisy, whose sources have magnitudes"
            )
        if isinstance(self.population, PhysicalLens):
            instrument.flux(0.0)  # says so where there is no zero point
            assert instrument.zero_point is not None
            population: Population = replace(self.population, zero_point=instrument.zero_point)
        else:
            population = replace(self.population, source_amp=source_amplitude(SOURCE_MAG, instrument))
        return replace(
            self,
            population=population,
            instrument=instrument,
            recording=Exposure(),
            notes=f"{self.notes} Seen by {instrument.name} instead of {self.instrument.name}.",
        )
