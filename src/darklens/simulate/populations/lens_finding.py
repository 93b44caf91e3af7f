"""Lenses and what is taken for lenses, in the cutouts of a ground-based survey in g, r and i."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from darklens.errors import InputError
from darklens.lensing import SIE, SersicEllipse, Shear
from darklens.simulate.populations.base import Population, System
from darklens.simulate.populations.lens_finding_galaxies import KINDS, Draws, between, blue, galaxies, neighbours, red, shape
from darklens.simulate.priors import ANGLE, Prior, Quantiles, Uniform
from darklens.simulate.row_draws import RowDraws
from darklens.simulate.scene import Scene
from darklens.simulate.sky import SkyBuilder

Pair = tuple[Prior, Prior]
"""A prior at difficulty 0, and at difficulty 1."""

LEAST_OFFSET = 0.13
"""Of the source, in Einstein radii: nearer to the middle the magnification of a finite source does not grow any more."""


@dataclass(frozen=True, kw_only=True)
class LensFinding(Population):
    """Galaxies with lensed arcs among galaxies without.

    A lens is a red early-type galaxy before a bluer one; what is no lens is one of `KINDS` (its number stands in the truth column
    `kind`), of which some have the very same red galaxy in the middle. Neighbours and stars stand in all cutouts alike.
    Magnitudes are AB; those of single numbers are in i.

    Args:
        difficulty: 0 to 1; moves every prior that is given twice from the first to the second, and so the weights of the kinds. At
            the default two published networks score here what they score on the official images (docs/results.md, lens finding).
        zero_point: AB magnitude of 1 e-/s in the reference band.
        bands: how many, g r i.
    """

    difficulty: float = 0.2
    zero_point: float = 28.61
    bands: int = 3
    classes = ("nonlens", "lens")
    z_source = 2.0

    #                                       priors, one per line; pairs are at difficulty 0 and 1
    theta_E: Pair = (Uniform(1.1, 2.8), Uniform(0.6, 2.0))  # arcsec
    arc_mag: Pair = (Uniform(20.3, 22.2), Uniform(21.2, 23.6))  #  all images of the source together, as an SIS magnifies
    source_r: Prior = Quantiles((0, 0.5, 1), (0.0, 0.35, 0.9))  #  theta_E from the middle
    source_R: Prior = Uniform(0.10, 0.35)  # arcsec
    source_n: Prior = Uniform(0.6, 1.6)
    source_e: Prior = Uniform(0.0, 0.4)
    clump: Prior = Uniform(-0.4, 0.5)  #    share of the source's light in a second component; below 0 none
    z_lens_at: Prior = Quantiles((0, 0.5, 1), (0.25, 0.5, 0.85))
    z_behind: Prior = Uniform(0.5, 2.0)  #  of the source, beyond the lens
    lens_mag: Prior = Quantiles((0, 0.1, 0.5, 0.9, 1), (17.8, 18.8, 19.5, 20.2, 21.0))
    lens_n: Prior = Uniform(3.0, 6.0)
    lens_e: Prior = Uniform(0.0, 0.3)
    mass_e: Prior = Uniform(0.6, 1.2)  #    of the ellipticity of the light
    shear: Prior = Uniform(0.0, 0.08)

    def __post_init__(self) -> None:
        if not 0 <= self.difficulty <= 1:
            raise InputError(f"difficulty {self.difficulty:g} is outside 0 to 1: 0 is easy, 1 is hard; choose a number in between")

    def truth_columns(self) -> tuple[str, ...]:
        """Return the truth columns: the lens and its source, NaN where there is none, and the kind of what is no lens."""
        return (
            *("theta_E", "e1", "e2", "gamma1", "gamma2", "source_x", "source_y", "source_mag", "R_sersic", "n_sersic"),
            *("lens_mag", "lens_R_sersic", "lens_n_sersic", "z_lens", "z_source", "kind"),
        )

    def options(self) -> dict[str, float]:
        """Return the difficulty."""
        return {"difficulty": self.difficulty}

    def draw_system(self, label: str, rng: np.random.Generator) -> System:
        """Refuse: the systems of this population are drawn together, by `draw`."""
        raise NotImplementedError("LensFinding draws whole batches: call draw")

    def draw(self, n: int, seed: int, start: int = 0, *, labels: tuple[str, ...] | None = None) -> Scene:
        """Draw the systems of rows `start` to `start + n - 1`; see `Population.draw`."""
        rows = range(start, start + n)
        labels = labels or tuple(self.classes[row % 2] for row in rows)
        is_lens = np.array([label == "lens" for label in labels])
        draws, builder = RowDraws(seed, rows, "scene"), SkyBuilder(self.bands)
        central = self._central(draws)
        lens, source, seen = self._lens(draws, builder, is_lens, central)
        kind = galaxies(draws, builder, ~is_lens, central, self.difficulty)
        with_red = is_lens | np.isin(kind, [KINDS.index(k) for k in ("elliptical", "ring", "merger", "satellites", "tidal")])
        light = {k: central[k] for k in ("R_sersic", "n_sersic", "e1", "e2", "center_x", "center_y")}
        builder.add(SersicEllipse, with_red, central["mag"], **light)
        neighbours(draws, builder, n)
        truth = {k: np.where(is_lens, v, np.nan) for k, v in seen.items()} | {"kind": np.where(is_lens, np.nan, kind)}
        return self._scene(
            lens,
            source,
            light | {"mag": np.where(with_red, central["mag"][:, -1], np.inf)},
            truth,
            builder,
            labels,
            seed,
            tuple(rows),
        )

    def _central(self, draws: RowDraws) -> Draws:
        """Draw the red galaxy in the middle, the same for lenses and for what looks like one; magnitudes `(B, bands)`."""
        z, mag = self.z_lens_at.draw(draws), self.lens_mag.draw(draws)
        radius = 0.8 * 10 ** (-0.15 * (mag - 19.5)) * np.exp(draws.normal(0.0, 0.25))
        e1, e2 = shape(draws, self.lens_e)
        parameters = {"R_sersic": radius, "n_sersic": self.lens_n.draw(draws), "e1": e1, "e2": e2}
        middle = {"center_x": draws.normal(0.0, 0.07), "center_y": draws.normal(0.0, 0.07)}
        return parameters | middle | {"mag": red(draws, mag, z), "z": z}

    def _lens(self, draws: RowDraws, builder: SkyBuilder, where: np.ndarray, central: Draws) -> tuple[Draws, Draws, Draws]:
        """Draw mass, shear and source; add the source's light, and return parameters of mass and source and the truth."""
        theta_E = between(*self.theta_E, self.difficulty).draw(draws)
        stretch = self.mass_e.draw(draws)
        strength, angle = self.shear.draw(draws), 2 * ANGLE.draw(draws)
        mass = {"theta_E": np.where(where, theta_E, 0.0), "e1": stretch * central["e1"], "e2": stretch * central["e2"]}
        mass |= {k: central[k] for k in ("center_x", "center_y")}
        shear = {"gamma1": np.where(where, strength * np.cos(angle), 0.0), "gamma2": np.where(where, strength * np.sin(angle), 0.0)}
        r, azimuth = self.source_r.draw(draws), ANGLE.draw(draws)
        magnified = between(*self.arc_mag, self.difficulty).draw(draws)
        mag = magnified + 2.5 * np.log10(2.0 / np.maximum(r, LEAST_OFFSET))  # of all images of an SIS: 2 / r
        e1, e2 = shape(draws, self.source_e)
        source = {"R_sersic": self.source_R.draw(draws), "n_sersic": self.source_n.draw(draws), "e1": e1, "e2": e2}
        source |= {
            "center_x": central["center_x"] + theta_E * r * np.cos(azimuth),
            "center_y": central["center_y"] + theta_E * r * np.sin(azimuth),
        }
        self._source_light(draws, builder, where, source, blue(draws, mag))
        truth = {"theta_E": theta_E, **{k: mass[k] for k in ("e1", "e2")}, **shear, "source_mag": mag}
        truth |= {"source_x": source["center_x"], "source_y": source["center_y"]}
        truth |= {k: source[k] for k in ("R_sersic", "n_sersic")} | {"lens_mag": central["mag"][:, -1], "z_lens": central["z"]}
        truth |= {"lens_R_sersic": central["R_sersic"], "lens_n_sersic": central["n_sersic"]}
        truth |= {"z_source": central["z"] + self.z_behind.draw(draws)}
        return mass | shear, source | {"mag": mag}, truth

    def _source_light(self, draws: RowDraws, builder: SkyBuilder, where: np.ndarray, source: Draws, mag: np.ndarray) -> None:
        """Add the source, part of whose light may stand in a clump of its own colour."""
        share = np.clip(self.clump.draw(draws), 0.0, None)
        angle, far = ANGLE.draw(draws), source["R_sersic"] * draws.uniform(0.6, 1.6)
        builder.add_lensed(SersicEllipse, where, mag - 2.5 * np.log10(1 - share)[:, None], **source)
        clump = {"R_sersic": draws.uniform(0.05, 0.1), "n_sersic": np.ones(len(where)), "e1": 0 * far, "e2": 0 * far}
        clump |= {"center_x": source["center_x"] + far * np.cos(angle), "center_y": source["center_y"] + far * np.sin(angle)}
        small = where & (share > 0)
        bluer = mag + np.linspace(-0.3, 0.0, self.bands) - 2.5 * np.log10(np.where(share > 0, share, 1.0))[:, None]
        builder.add_lensed(SersicEllipse, small, bluer, **clump)

    def _scene(
        self,
        lens: Draws,
        source: Draws,
        light: Draws,
        truth: Draws,
        builder: SkyBuilder,
        labels: tuple[str, ...],
        seed: int,
        rows: tuple[int, ...],
    ) -> Scene:
        """Return the scene: the lens, its source and its light as one profile each, and all that shines in the sky."""
        mine, behind, front = ({k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in d.items()} for d in (lens, source, light))
        mass = SIE(**{k: mine[k] for k in ("theta_E", "e1", "e2", "center_x", "center_y")})
        there = mine["theta_E"] > 0
        profiles = []
        for one, seen in ((behind, there), (front, torch.isfinite(front["mag"]))):
            flux = torch.where(seen, 10 ** (-0.4 * (one["mag"] - self.zero_point)), 0.0)
            shape_of = {k: one[k] for k in ("R_sersic", "n_sersic", "e1", "e2", "center_x", "center_y")}
            profiles.append(SersicEllipse(SersicEllipse.amp_for_flux(flux, one["R_sersic"], one["n_sersic"]), **shape_of))
        return Scene(
            macro=(mass, Shear(mine["gamma1"], mine["gamma2"])),
            substructure=(),
            source=(profiles[0],),
            labels=labels,
            truth=truth,
            seed=seed,
            rows=rows,
            lens_light=(profiles[1],),
            z_lens=self.z_lens,
            z_source=self.z_source,
            sky=builder.sky(),
        )
