"""Simulated arcs on real galaxies: every row is a pure function of `(seed, row)`.

A row is either an untouched cutout (`nonlens`) or one with arcs painted on it (`lens`). A lens is kept if a person could tell it
from a galaxy without arcs, by the criteria of Collett 2015 (ApJ 811, 20): the source's centre within the Einstein radius,
`theta_E^2 > R^2 + (seeing/2)^2`, magnified three times or more, and arcs of S/N 20 or more. What fails is drawn again, counted.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from darklens.data import Table, content_hash, split_of
from darklens.data.splits import group_of, split_key
from darklens.errors import InputError
from darklens.simulate.injection.camera import Camera
from darklens.simulate.injection.deflector import Deflector, Matched, magnitudes
from darklens.simulate.injection.galaxy import Galaxy, measure_galaxy
from darklens.simulate.injection.painting import Arcs, arcs_of, scene_of, with_shot_noise
from darklens.simulate.injection.source import SersicSources, Sources
from darklens.simulate.preset_type import Preset
from darklens.simulate.rng import row_generator
from darklens.simulate.scene import Scene

CLASSES = ("nonlens", "lens")
REDSHIFT = ("z_lens", "redshift", "z")
"""Columns of the cutouts that may hold the galaxy's redshift, the first of them that is there."""
CARRIED = ("ra", "dec", "kind")
CENTRE = ("center_x", "center_y")
OF_THE_GALAXY = ("lens_mag", "kind", "ra", "dec", "seeing", "snr")
"""Truth columns of a population that the real galaxy and the real camera have an answer of their own to."""
TRIES_A_GALAXY, GALAXIES = 12, 40
"""Draws before another galaxy is taken, and galaxies before a row gives up."""
BRIGHTEST = 10.0
"""Where nothing is calibrated, the S/N of arcs is drawn from the least one to this many times it."""
COLOUR_SCATTER = 0.3
"""Scatter of the factor on the colours of `SPECTRUM`: g - i of 0.6 on average, 0.18 rms."""
FIRST_LOOK = 0.8
"""Part of a limit that a coarse image has to reach before a fine one is made."""
REASONS = {
    "theta_E": "no Einstein radius in the range",
    "resolved": "images not apart by the seeing",
    "magnification": "magnified too little",
    "snr": "arcs too faint",
}
UNITS = {
    "theta_E": "arcsec", "e1": "", "e2": "", "gamma1": "", "gamma2": "", "center_x": "arcsec", "center_y": "arcsec",
    "sigma_v": "km/s", "z_lens": "", "z_source": "", "source_mag": "mag", "source_x": "arcsec", "source_y": "arcsec",
    "R_sersic": "arcsec", "n_sersic": "", "source_e1": "", "source_e2": "", "source_row": "", "magnification": "",
    "snr": "", "seeing": "arcsec", "lens_mag": "mag", "kind": "", "group": "", "ra": "deg", "dec": "deg",
}  # fmt: skip
"""Truth columns and their units; `flux_BAND`, in units of the image, and `rejected_REASON` come with them."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which lenses are kept.

    Args:
        min_snr: of the arcs in the reference band, `sqrt(sum (arc/sigma)^2)` with the background's sigma.
        min_magnification: of the source's flux.
        source_mag: brightest and faintest unlensed source, AB in the reference band.
        counts_slope: number of sources a magnitude, `10^(slope m)`.
    """

    min_snr: float = 20.0
    min_magnification: float = 3.0
    source_mag: tuple[float, float] = (21.5, 25.5)
    counts_slope: float = 0.35

    def magnitude(self, rng: np.random.Generator) -> float:
        """Draw an unlensed magnitude."""
        low, high = (10.0 ** (self.counts_slope * m) for m in self.source_mag)
        return math.log10(low + (high - low) * rng.random()) / self.counts_slope


@dataclass(frozen=True, eq=False)
class Row:
    """One row: what stands in the table, and what it is made of.

    Args:
        id: names seed, row and the cutout.
        label: class.
        split: side of the galaxy, whatever is painted on it.
        image: `(bands, y, x)` float32.
        original: the cutout.
        arcs: `(bands, y, x)` without their noise; zero in an untouched cutout.
        truth: the row's truth columns.
    """

    id: str
    label: str
    split: str | None
    image: np.ndarray
    original: np.ndarray
    arcs: np.ndarray
    truth: dict[str, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Injection:
    """How cutouts become lenses.

    Args:
        cutouts: the real galaxies.
        camera: what took them.
        seed: every row is a function of (seed, row).
        fraction: of lenses among the rows.
        lenses: prior of the deflectors.
        sources: prior of the sources.
        selection: which lenses are kept.
        population: lenses and sources of this preset in place of `lenses` and `sources`.
        own_sources: take the population's lenses with `sources` in place of its own.
        splits: share of train, val and test; a galaxy's side is drawn by its content. None leaves the column empty.
    """

    cutouts: Table
    camera: Camera
    seed: int = 0
    fraction: float = 0.5
    lenses: Matched = field(default_factory=Matched)
    sources: Sources = field(default_factory=SersicSources)
    selection: Selection = field(default_factory=Selection)
    population: Preset | None = None
    own_sources: bool = False
    splits: dict[str, float] | None = None
    hosts: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        labels = self.cutouts.labels
        hosts = np.flatnonzero([label != "lens" for label in labels])
        if not len(hosts):
            raise InputError(f"all {len(labels)} cutouts are labelled lens: give galaxies without arcs")
        object.__setattr__(self, "hosts", row_generator(self.seed, 0, "order of galaxies").permutation(hosts))

    # ---- rows ----

    @property
    def units(self) -> dict[str, str]:
        """Truth columns and their units."""
        fluxes = {f"flux_{band}": "image" for band in self.camera.bands}
        return UNITS | fluxes | {f"rejected_{reason}": "" for reason in REASONS}

    def lenses_before(self, row: int) -> int:
        """Return how many of the rows before this one are lenses: they are spread evenly."""
        return row * self._share.numerator // self._share.denominator

    def is_lens(self, row: int) -> bool:
        """Whether a row is a lens."""
        return self.lenses_before(row + 1) > self.lenses_before(row)

    @functools.cached_property
    def _share(self) -> Fraction:
        return Fraction(self.fraction).limit_denominator(1_000_000)  # floats lose count after many rows

    def rows_by_default(self) -> int:
        """Return as many rows as show every cutout once without arcs; without such rows, every cutout once with them."""
        return len(self.hosts) if self._share == 1 else int(len(self.hosts) / (1 - self._share))

    def check(self, n: int) -> None:
        """Refuse more untouched rows than there are cutouts.

        Raises:
            InputError: there are more.
        """
        untouched = n - self.lenses_before(n)
        if untouched > len(self.hosts):
            raise InputError(
                f"{n} rows with a fraction of {self.fraction:g} lenses need {untouched} untouched cutouts and there are "
                f"{len(self.hosts)}: lower --n, raise --fraction, or give more cutouts"
            )

    def row(self, row: int) -> Row:
        """Return one row.

        Raises:
            InputError: no lens is found that meets the selection.
        """
        lenses = self.lenses_before(row)
        return self._painted(row, lenses) if self.is_lens(row) else self._untouched(row, int(self.hosts[row - lenses]))

    @functools.cached_property
    def _images(self) -> np.ndarray:
        """The cutouts, in memory or mapped: rows ask for them in any order."""
        return self.cutouts.image_array()

    @functools.cached_property
    def _columns(self) -> dict[str, np.ndarray]:
        names = ("id", "split", *REDSHIFT, *CARRIED)
        return {name: self.cutouts.column(name) for name in names if name in self.cutouts.columns}

    def _cutout(self, index: int) -> tuple[np.ndarray, dict[str, float], str | None]:
        """Return image, known truth and split of a cutout."""
        image = np.array(self._images[index])
        known = {name: float(values[index]) for name, values in self._columns.items() if name not in ("id", "split")}
        content = content_hash(image)
        group = group_of(content)
        split = self._columns["split"][index]
        if split is None and self.splits is not None:
            split = split_of(split_key(content, group), self.splits, self.seed)
        return image, known | {"group": group}, split

    def _about(self, known: dict[str, float], galaxy: Galaxy) -> dict[str, float]:
        redshift = next((known[name] for name in REDSHIFT if math.isfinite(known.get(name, math.nan))), math.nan)
        own = {name: known[name] for name in (*CARRIED, "group") if name in known}
        measured = {"seeing": self.camera.seeing, "lens_mag": float(magnitudes(galaxy, self.camera)[self.camera.reference])}
        return own | measured | {"z_lens": redshift}

    @functools.lru_cache(maxsize=4096)  # noqa: B019 - a galaxy is measured once, and its measures are small
    def _measured(self, index: int) -> Galaxy:
        return measure_galaxy(np.array(self._images[index]), self.camera)

    def _untouched(self, row: int, index: int) -> Row:
        image, known, split = self._cutout(index)
        truth = self._about(known, self._measured(index))
        return Row(self._id(row, index), CLASSES[0], split, image, image, np.zeros_like(image), truth)

    def _painted(self, row: int, number: int) -> Row:
        """Paint arcs on the galaxy whose turn it is, or, where none fits it, on another."""
        rng, rejected = row_generator(self.seed, row, "injection"), Counter(dict.fromkeys(REASONS, 0))
        for attempt in range(GALAXIES):
            index = int(self.hosts[number % len(self.hosts)] if attempt == 0 else rng.choice(self.hosts))
            image, known, split = self._cutout(index)
            galaxy = self._measured(index)
            about = self._about(known, galaxy)
            for _ in range(TRIES_A_GALAXY):
                found = self._draw(galaxy, about, row, image.shape[1:], rng, rejected)
                if found is None:
                    continue
                arcs, truth = found
                added = with_shot_noise(arcs, self.camera, self.seed, row)
                truth = about | truth | {f"rejected_{why}": float(times) for why, times in rejected.items()}
                return Row(self._id(row, index), CLASSES[1], split, image + added, image, arcs, truth | {"kind": math.nan})
        reason = max(rejected, key=rejected.__getitem__)
        raise InputError(
            f"row {row} found no lens in {TRIES_A_GALAXY * GALAXIES} draws on {GALAXIES} galaxies, most of them with "
            f"{REASONS[reason]}: widen --theta-e, lower --min-snr, or give larger or brighter galaxies"
        )

    def _id(self, row: int, index: int) -> str:
        return f"inject-{self.seed}-{row:08d}-{self._columns['id'][index]}"

    # ---- one lens ----

    def _draw(
        self, galaxy: Galaxy, about: dict[str, float], row: int, shape: tuple, rng: np.random.Generator, rejected: Counter
    ) -> tuple[np.ndarray, dict[str, float]] | None:
        """Draw a system, and return its arcs and truth; None, counted, where they do not meet the selection."""
        magnitude = self.selection.magnitude(rng)
        if self.population is None:
            drawn = self._matched(galaxy, about, magnitude, row, rng, rejected)
        else:
            drawn = self._from_population(self.population, row, rng)
        if drawn is None:
            return None
        scene, truth, flux = drawn
        truth = {"source_mag": magnitude} | truth | {name: getattr(galaxy, name) + _offset(scene, name) for name in CENTRE}
        colour, boost = float(np.clip(rng.normal(1.0, COLOUR_SCATTER), 0.2, 2.0)), rng.random()
        for coarse, least in ((True, FIRST_LOOK), (False, 1.0)):
            lensed = arcs_of(scene, self.camera, shape, (galaxy.center_x, galaxy.center_y), flux, coarse=coarse)
            if lensed.magnification < least * self.selection.min_magnification:
                rejected["magnification"] += 1
                return None
            arcs, shone = self._shine(lensed, truth["source_mag"], galaxy, colour, boost)
            if shone["snr"] < least * self.selection.min_snr:
                rejected["snr"] += 1
                return None
        return arcs, truth | shone

    def _matched(
        self, galaxy: Galaxy, about: dict, magnitude: float, row: int, rng: np.random.Generator, rejected: Counter
    ) -> tuple[Scene, dict[str, float], float] | None:
        known = about["z_lens"] if math.isfinite(about["z_lens"]) else None
        deflector = self.lenses.draw(galaxy, self.camera, rng, known)
        if deflector is None:
            rejected["theta_E"] += 1
            return None
        source, (x, y) = self._source(deflector, magnitude, rng)
        if deflector.theta_E**2 < source.radius**2 + (0.5 * self.camera.seeing) ** 2:
            rejected["resolved"] += 1
            return None
        names = ("theta_E", "e1", "e2", "gamma1", "gamma2", "z_lens", "z_source", "sigma_v")
        truth = {name: getattr(deflector, name) for name in names} | source.truth | {"source_x": x, "source_y": y}
        return scene_of(deflector, source, self.seed, row), truth, 1.0

    def _source(self, deflector: Deflector, magnitude: float, rng: np.random.Generator) -> tuple:
        """Draw a source with its centre anywhere within the Einstein radius."""
        away, angle = deflector.theta_E * math.sqrt(rng.random()), rng.uniform(0.0, 2 * math.pi)
        center = away * math.cos(angle), away * math.sin(angle)
        return self.sources.draw(magnitude, deflector.z_source, center, rng), center

    def _from_population(self, preset: Preset, row: int, rng: np.random.Generator) -> tuple[Scene, dict[str, float], float]:
        """Draw a system of the population: another one at every try, of the same class."""
        population = preset.population
        label = CLASSES[1] if CLASSES[1] in population.classes else population.classes[row % len(population.classes)]
        scene = population.draw(1, int(rng.integers(2**62)), row, labels=(label,))
        own = {name: float(values[0]) for name, values in scene.truth.items() if np.isfinite(values[0])}
        truth = {name: value for name, value in own.items() if name in UNITS and name not in OF_THE_GALAXY}
        scene = replace(scene, lens_light=(), point_source=())
        if self.own_sources:
            x, y = (float(getattr(scene.source[0], name)[0]) for name in ("center_x", "center_y"))
            source = self.sources.draw(truth.get("source_mag", 24.0), scene.z_source, (x, y), rng)
            return replace(scene, source=source.lights), truth | source.truth, 1.0
        flux = sum(float(light.total_flux()) for light in scene.source)  # type: ignore[attr-defined, misc]  # CoreSersic alone lacks it
        if "source_mag" not in truth and preset.instrument.zero_point is not None:
            truth["source_mag"] = preset.instrument.zero_point - 2.5 * math.log10(flux)
        return scene, truth, flux

    def _shine(
        self, lensed: Arcs, magnitude: float, galaxy: Galaxy, colour: float, boost: float
    ) -> tuple[np.ndarray, dict[str, float]]:
        """Give the source its flux in every band, in units of the image, and say what it comes to."""
        camera, band = self.camera, self.camera.reference
        unit_snr = float(np.sqrt(((lensed.images[band] / galaxy.sigma[band]) ** 2).sum()))
        if camera.zero_points is None:
            flux, magnitude = self.selection.min_snr * BRIGHTEST**boost / max(unit_snr, 1e-300), math.nan
        else:
            flux = camera.flux(band, magnitude)
        units = np.array([camera.flux(b, 0.0) for b in range(len(camera.bands))])
        fluxes = flux * units / units[band] * 10.0 ** (-0.4 * colour * camera.source_colours())
        arcs = lensed.images * fluxes[:, None, None]
        truth = {"snr": unit_snr * flux, "source_mag": magnitude, "magnification": lensed.magnification}
        return arcs, truth | {f"flux_{name}": float(a.sum()) for name, a in zip(camera.bands, arcs, strict=True)}


def _offset(scene: Scene, name: str) -> float:
    """Return how far a lens lies from the middle of its own frame, arcsec."""
    return float(np.ravel(getattr(scene.macro[0], name, 0.0))[0])
