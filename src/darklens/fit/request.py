"""From what a user says about images to a plan, and from a path to a folder of fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from darklens.data import MANIFEST, Record, Table, read
from darklens.errors import InputError
from darklens.fit.calibration import SMOOTH, calibrate
from darklens.fit.gallery import save_fit_gallery
from darklens.fit.lens_model import LensModel
from darklens.fit.noise import Estimated, Linear, NoiseMap, background_sigma
from darklens.fit.plan import Plan, plan_for, plan_for_instrument, recognise
from darklens.fit.table import write_fits
from darklens.simulate import GaussianPSF, Instrument
from darklens.simulate import instrument as find_instrument

Log = Callable[[str], None]
OTHER_UNIT = 5.0
"""Scatter of the corners, in units of the expected background, above which an image seems to be in another unit."""


@dataclass(frozen=True)
class Request:
    """What a user says about images; everything may be left open for images that say themselves what they are.

    Args:
        preset: they are like those of this preset.
        instrument: they are sky-subtracted images of this instrument, in e-/s.
        model: one of `darklens.fit.MODELS`; the preset's, or SIE, by default.
        fixed: parameter -> value, in place of the preset's.
        pixel_scale: arcsec, with `psf_fwhm`, for an instrument without a name.
        psf_fwhm: arcsec.
        noise: standard deviation of each pixel.
    """

    preset: str | None = None
    instrument: str | Instrument | None = None
    model: str | None = None
    fixed: dict[str, float] = field(default_factory=dict)
    pixel_scale: float | None = None
    psf_fwhm: float | None = None
    noise: np.ndarray | None = None

    def plan(self, images: np.ndarray, manifest: dict[str, Any] | None = None) -> Plan:
        """Return the plan.

        Raises:
            InputError: contradictory, unknown, or not enough.
        """
        if sum(v is not None for v in (self.preset, self.instrument, self.pixel_scale)) > 1:
            raise InputError("preset, instrument and pixel scale say the same thing: give one of them")
        found = self._base(images, manifest)
        if self.model is not None or self.fixed:
            name = self.model or found.model.name
            known = found.model.fixed if self.model in (None, found.model.name) else {}
            found = replace(found, model=LensModel(name, {**known, **self.fixed}))
        return found if self.noise is None else replace(found, noise=NoiseMap(self.noise))

    def _base(self, images: np.ndarray, manifest: dict[str, Any] | None) -> Plan:
        if self.preset is not None:
            return plan_for(self.preset)
        if self.instrument is not None:
            known = self.instrument if isinstance(self.instrument, Instrument) else find_instrument(self.instrument)
            return plan_for_instrument(known)
        if self.pixel_scale is None:
            return recognise(images, manifest)
        if self.psf_fwhm is None:
            raise InputError(f"pixel scale {self.pixel_scale} without a PSF: give its full width at half maximum too (--psf-fwhm)")
        for name, value in (("pixel scale", self.pixel_scale), ("PSF width", self.psf_fwhm)):
            if not 0 < value < 1e3:
                raise InputError(f'{name} {value}" is outside 0 to 1000": give it in arcsec')
        half = 0.5 * min(images.shape[-2:]) * self.pixel_scale
        if self.psf_fwhm > half:
            raise InputError(f'PSF width {self.psf_fwhm:g}" is above {half:.4g}", half the image: give --psf-fwhm in arcsec')
        return Plan(
            self.pixel_scale, GaussianPSF(self.psf_fwhm), Estimated(), LensModel(), origin="as given; noise from the corners"
        )


def fit_path(
    path: Path,
    out: Path,
    request: Request,
    *,
    noise: Path | None = None,
    mask: Path | None = None,
    hdu: int | str | None = None,
    bands: str | None = None,
    force: bool = False,
    log: Log = lambda sentence: None,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Fit everything at a path into a folder: a table of residuals, `parameters.csv`, `gallery.png`.

    Args:
        path: an image, a folder, a table.
        out: folder.
        request: what is known about the images.
        noise: file with the standard deviation of each pixel.
        mask: file that is not zero where a pixel counts.
        hdu: extension of FITS files.
        bands: the band to fit, by name or number.
        force: replace what is in `out`.
        log: receives sentences.
        progress: called with the number of images done.

    Returns:
        Counts, the plan's origin, and the rows of `parameters.csv` under "fits".

    Raises:
        InputError: nothing readable, or nothing known about the images.
    """
    skipped: list[tuple[str, str]] = []
    records = _of_one_form(read(path, hdu=hdu, bands=bands, on_skip=lambda what, why: skipped.append((str(what), why))), skipped)
    first = next(records, None)
    if first is None:
        raise InputError(skipped[0][1] if skipped else f"{path} holds no image: give an image, a folder of them, or a table")
    manifest = Table.open(path).manifest if (path / MANIFEST).is_file() else None
    request = replace(request, noise=read_map(noise) if noise else request.noise)
    plan = request.plan(first.image[None, 0], manifest)
    inside = None if mask is None else read_map(mask) != 0
    log(f"fitting {plan.model.name} ({len(plan.model.free)} parameters; {plan.origin})")
    _look_at_units(first, plan, log)
    table, shown = write_fits(chain([first], records), plan, out, mask=inside, force=force, progress=progress)
    for what, why in skipped:
        log(f"skipped {what}: {why}")
    images, fit = shown[0]
    names = [
        f"{label} {name}" if label and label not in name else str(name) for label, name in zip(table.labels, table.ids, strict=True)
    ]
    titles = [name if len(name) < 26 else f"...{name[-23:]}" for name in names]
    save_fit_gallery(out / "gallery.png", images, fit, titles, pixel_scale=plan.pixel_scale)
    rows = [{"id": i, "label": label or ""} for i, label in zip(table.ids, table.labels, strict=True)]
    for name in table.columns:
        if name.startswith("fit_"):
            for row, value in zip(rows, table.column(name), strict=True):
                row[name] = float(value)
    converged = table.column("fit_converged")
    for row in rows:
        row |= {name: None for name in row if name.endswith("_error") and not row["fit_converged"]}
    return {
        "images": len(table), "converged": int(converged.sum()), "mean_chi2": float(np.mean(table.column("fit_chi2"))),
        "skipped": len(skipped), "model": plan.model.name, "origin": plan.origin, "out": str(out), "fits": rows,
    }  # fmt: skip


def _look_at_units(record: Record, plan: Plan, log: Log) -> None:
    """Say where the background of the first image cannot be that of the instrument."""
    if not isinstance(plan.noise, Linear):
        return
    v0, _ = plan.noise.variance(record.image[:1])
    expected, seen = float(np.median(v0)) ** 0.5, background_sigma(record.image[0])
    if expected > 0 and seen > OTHER_UNIT * expected:
        log(
            f"the corners of {record.source or record.id} scatter by {seen:.3g} where a background of {expected:.3g} is expected "
            f"({plan.origin}): the image seems to be in another unit"
        )


def calibrate_path(
    path: Path,
    request: Request,
    *,
    label: str | None = None,
    hdu: int | str | None = None,
    bands: str | None = None,
    limit: int = 500,
    log: Log = lambda sentence: None,
) -> dict[str, Any]:
    """Measure PSF width and noise on the smooth lenses at a path.

    Args:
        path: an image, a folder, a table.
        request: what is known about the images; the PSF is a first guess.
        label: the class of the smooth lenses; by default the one that the field calls so, and all images where there are no labels.
        hdu: extension of FITS files.
        bands: the band to fit, by name or number.
        limit: images to use at most.
        log: receives sentences.

    Returns:
        `Calibration.as_dict()`.

    Raises:
        InputError: no image of that class, or nothing known about the images.
    """
    skipped: list[tuple[str, str]] = []
    records = list(
        _of_one_form(read(path, hdu=hdu, bands=bands, on_skip=lambda what, why: skipped.append((str(what), why))), skipped)
    )
    labels = sorted({r.label for r in records if r.label is not None})
    if not records:
        raise InputError(skipped[0][1] if skipped else f"{path} holds no image: give an image, a folder of them, or a table")
    chosen = label or next((name for name in SMOOTH if name in labels), None)
    if labels and chosen not in labels:
        raise InputError(
            f"no class {chosen or 'without substructure'!r} among {', '.join(labels)}: name the smooth one with --label"
        )
    if labels:
        records = [r for r in records if r.label == chosen]
    log(f"measuring on {min(limit, len(records))} images" + (f" of class {chosen}" if labels else ", taken for smooth lenses"))
    images = np.stack([r.image[0] for r in records[:limit]])
    manifest = Table.open(path).manifest if (path / MANIFEST).is_file() else None
    return calibrate(images, request.plan(images[:5], manifest), log=log).as_dict()


def _of_one_form(records: Iterator[Record], skipped: list[tuple[str, str]]) -> Iterator[Record]:
    """Pass on the records that are like the first."""
    shape = None
    for record in records:
        shape = shape or record.image.shape
        if record.image.shape != shape:
            skipped.append((record.source or record.id, f"is {record.image.shape} where the first image is {shape}: fit it alone"))
        elif shape[0] != 1:
            raise InputError(
                f"{record.source or record.id} has {shape[0]} bands: the fit takes one; choose it with --bands or --hdu"
            )
        else:
            yield record


def read_map(path: Path) -> np.ndarray:
    """Read a noise map or a mask; pixels that are not finite do not count."""
    found = list(read(path, fill=0.0, largest=np.inf))  # a noise map may say that a pixel tells nothing
    if len(found) != 1:
        raise InputError(f"{path} holds {len(found)} images: a noise map or mask is one")
    return found[0].image[0]
