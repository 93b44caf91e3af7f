"""A preset with what a user may ask of it beyond its name: other cameras, a PSF from a file, artefacts, finer sampling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from darklens.errors import InputError
from darklens.simulate.artefacts import Artefact, CorrelatedNoise, CosmicRays
from darklens.simulate.instruments import instrument as find_instrument
from darklens.simulate.preset_type import Preset
from darklens.simulate.presets import preset as find_preset
from darklens.simulate.psf import TabulatedPSF
from darklens.simulate.sampling import Supersampling, check_supersampling


def configured(
    preset: str | Preset,
    *,
    instrument: str | None = None,
    psf: str | Path | None = None,
    psf_hdu: int | str | None = None,
    psf_scale: float | None = None,
    correlated_noise: float | None = None,
    cosmic_rays: float | None = None,
    supersampling: Supersampling = 1,
    lens_light: bool = True,
    positives: Fraction | None = None,
    difficulty: float | None = None,
    galaxies: str | Path | None = None,
    galaxies_part: tuple[str, dict[str, float]] | None = None,
) -> Preset:
    """Return a preset with options.

    Args:
        preset: its name, or one of your own.
        instrument: see the scenes through another instrument, with its noise; several names with commas give a band each.
        psf: FITS or `.npy` file with the point spread function to use instead of the instrument's.
        psf_hdu: extension of that file.
        psf_scale: arcsec per pixel of that file, where its header does not say and it is not the instrument's.
        correlated_noise: width in pixels of the drop of a drizzle; None leaves noise white.
        cosmic_rays: expected number of cosmic rays an image; None draws none.
        supersampling: see `render`.
        lens_light: False leaves out the light of the lens.
        positives: share of the rows of a preset with two classes that are of the last one; None lets the classes take turns.
        difficulty: of the preset lens-finding, 0 to 1.
        galaxies: of the preset lens-finding, a folder or table of real cutouts to use instead of simulated galaxies.
        galaxies_part: a split's name and the shares of all splits, to use only the cutouts that belong to it.

    Raises:
        InputError: an unknown name, a PSF that cannot be used, or an option that the preset cannot have.
    """
    check_supersampling(supersampling)
    chosen = find_preset(preset) if isinstance(preset, str) else preset
    if instrument is not None:
        chosen = chosen.observed_in([find_instrument(name.strip()) for name in instrument.split(",")])
    if psf is not None:
        chosen = chosen.with_psf(TabulatedPSF.from_file(psf, hdu=psf_hdu, pixel_scale=psf_scale))
    artefacts: list[Artefact] = []  # noise first: a cosmic ray is no noise that drizzling would spread with it
    if correlated_noise is not None:
        artefacts.append(CorrelatedNoise(correlated_noise))
    if cosmic_rays is not None:
        artefacts.append(CosmicRays(cosmic_rays))
    if chosen.survey is not None and (supersampling != 1 or not lens_light):
        raise InputError(
            f"preset {chosen.name!r} samples light in its own way and shows all of it: leave supersampling and lens light out"
        )
    chosen = chosen if positives is None else chosen.with_shares(positives)
    chosen = chosen if difficulty is None else chosen.with_difficulty(difficulty)
    chosen = chosen if galaxies is None else chosen.with_galaxies(galaxies, galaxies_part)
    return replace(chosen.with_artefacts(*artefacts), supersampling=supersampling, lens_light=lens_light and chosen.lens_light)


def options_of_split(split: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a split of an experiment asks of its preset beyond the name, as `configured` takes it.

    Args:
        split: train, validation or test.
        data: the `data` section of a recipe, as plain data: rows by split, `positives` likewise, `difficulty`, `galaxies`, and the
            `fractions` of the three splits.
    """
    positives, galaxies = data.get("positives"), data.get("galaxies")
    share = None if positives is None else Fraction(positives[split], data[split])
    found = {"positives": share, "difficulty": data.get("difficulty"), "galaxies": galaxies}
    if galaxies is not None:  # no galaxy stands in two splits
        found["galaxies_part"] = (split, dict(zip(("train", "validation", "test"), data["fractions"], strict=True)))
    return {k: v for k, v in found.items() if v is not None}
