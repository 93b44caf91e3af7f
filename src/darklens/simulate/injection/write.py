"""Paint arcs on cutouts into a table, in memory or on disk; an injection that was killed continues where it stopped."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from darklens.data import MANIFEST, Table, TableWriter, fractions_of, load, read
from darklens.errors import InputError
from darklens.simulate.injection.camera import Given, camera_of, filter_of
from darklens.simulate.injection.deflector import Matched
from darklens.simulate.injection.injection import CLASSES, Injection, Row, Selection
from darklens.simulate.injection.source import PictureSources, SersicSources
from darklens.simulate.presets import preset as find_preset
from darklens.simulate.write import MAX_ROWS, rows_per_shard

ROWS_AT_ONCE = 64
MASSES = ("luminosity", "range")


def injection(
    cutouts: str | Path | Table,
    *,
    population: str | None = None,
    sources: str | Path | None = None,
    instrument: str | None = None,
    bands: str | None = None,
    psf: Given = None,
    zero_point: Given = None,
    gain: Given = None,
    exposure: float | None = None,
    pixel_scale: float | None = None,
    reference: str | None = None,
    seed: int = 0,
    fraction: float = 0.5,
    min_snr: float = 20.0,
    theta_E: tuple[float, float] = (0.5, 3.0),
    mass: str = "luminosity",
    source_mag: tuple[float, float] = (21.5, 25.5),
    split: str | Sequence[float] | None = "0.8,0.1,0.1",
    **options: object,
) -> Injection:
    """Return how arcs are painted on cutouts.

    Args:
        cutouts: a table, or anything that `darklens.data.read` reads; those labelled `lens` are left out.
        population: take lenses and sources from this preset, in place of lenses that fit the galaxies.
        sources: folder of real galaxies to lens: COSMOS in GalSim's form, or any images of one galaxy each.
        instrument: names of instruments, one a band, with commas: PSF, electrons and pixel scale that are not given.
        bands: names of the cutouts' bands, with commas.
        psf: FWHM in arcsec or a file, one for all bands or one each.
        zero_point: AB magnitude of one unit of the cutouts. Without it the arcs' S/N is drawn, and Einstein radii uniformly.
        gain: electrons per unit of the cutouts; without it, or an instrument and a zero point, arcs have no Poisson noise.
        exposure: seconds, in place of the instrument's.
        pixel_scale: arcsec, in place of what the cutouts or the instrument say.
        reference: band of magnitudes, S/N and seeing.
        seed: every row is a function of (seed, row).
        fraction: of lenses among the rows; the others are cutouts as they are.
        min_snr: of the arcs in the reference band.
        theta_E: least and largest Einstein radius, arcsec.
        mass: `luminosity` takes the Einstein radius from the galaxy's luminosity, `range` uniformly from `theta_E`.
        source_mag: brightest and faintest source, unlensed.
        split: shares of train, val and test, drawn by galaxy; None writes no split.
        options: those of `darklens.data.read`.

    Raises:
        InputError: a name or value that cannot be, or something unknown about the camera that has to be known.
    """
    _check(fraction, min_snr, theta_E, source_mag, mass)
    table, named = _opened(cutouts, bands, instrument, options)
    camera = camera_of(
        table.shape[0], instrument=instrument, bands=bands or named, psf=psf, zero_point=zero_point, gain=gain, exposure=exposure,
        pixel_scale=pixel_scale, known_scale=table.pixel_scale, reference=reference,
    )  # fmt: skip
    preset = find_preset(population) if population is not None else None
    if preset is not None and camera.zero_points and sources is None and preset.instrument.zero_point is None:
        raise InputError(f"preset {population!r} has no zero point, so its sources have no magnitudes: give --sources as well")
    return Injection(
        cutouts=table,
        camera=camera,
        seed=seed,
        fraction=fraction,
        lenses=Matched(theta_E=(theta_E[0], theta_E[1]), by_luminosity=mass == "luminosity" and camera.zero_points is not None),
        sources=PictureSources.from_folder(sources) if sources is not None else SersicSources(),
        selection=Selection(min_snr=min_snr, source_mag=(source_mag[0], source_mag[1])),
        population=preset,
        own_sources=sources is not None,
        splits=fractions_of(split) if split is not None else None,
    )


def _opened(cutouts: str | Path | Table, bands: str | None, instrument: str | None, options: dict) -> tuple[Table, str | None]:
    """Return the cutouts, with the bands that are asked for where files name theirs, and the names of their bands if known."""
    if isinstance(cutouts, Table) or (Path(cutouts) / MANIFEST).is_file():
        table = cutouts if isinstance(cutouts, Table) else Table.open(cutouts)
        return table, ",".join(map(filter_of, table.manifest.get("band_names") or ())) or None
    own = next(read(cutouts, **options)).metadata.get("bands")
    if own is None:
        return load(cutouts, **options), None
    wanted = [filter_of(name) for name in (bands or instrument or "").split(",") if name]
    known = {filter_of(name): name for name in own}
    chosen = [known.get(name, name) for name in wanted] or own
    return load(cutouts, bands=chosen, **options), ",".join(filter_of(name) for name in chosen)


def _check(fraction: float, min_snr: float, theta_E: tuple, source_mag: tuple, mass: str) -> None:
    if not 0 < fraction <= 1:
        raise InputError(f"a fraction of {fraction:g} lenses is outside 0 to 1: give for example 0.5, or 1 for lenses alone")
    if not 0 <= min_snr < math.inf:
        raise InputError(f"a least S/N of {min_snr:g} is impossible: give 0 or more")
    if not 0 < theta_E[0] <= theta_E[1] < math.inf:
        raise InputError(
            f'Einstein radii from {theta_E[0]:g}" to {theta_E[1]:g}" are impossible: give two positive numbers in order'
        )
    if not source_mag[0] < source_mag[1]:
        raise InputError(
            f"source magnitudes from {source_mag[0]:g} to {source_mag[1]:g} are not in order: the brightest comes first"
        )
    if mass not in MASSES:
        raise InputError(f"mass {mass!r} is neither of {' and '.join(MASSES)}: choose one")


def inject(
    chosen: Injection,
    n: int | None = None,
    *,
    out: str | Path | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Table:
    """Write the rows of an injection.

    Args:
        chosen: see `injection`.
        n: rows; by default as many as show every cutout once as it is.
        out: folder of the table; None keeps it in memory. A folder that holds part of this very injection is continued.
        force: replace whatever is in `out`.
        progress: called with rows done and rows asked for.

    Raises:
        InputError: too many rows, no lens that meets the selection, or `out` holds something else.
    """
    n = chosen.rows_by_default() if n is None else n
    if not 1 <= n <= MAX_ROWS:
        raise InputError(f"n = {n} rows is outside 1 to {MAX_ROWS:,}: choose a number in between")
    chosen.check(n)
    report = progress or (lambda done, total: None)
    if out is None:
        batches = list(_batches(chosen, 0, n, report))
        return Table.from_columns(
            ids=[i for b in batches for i in b["ids"]],
            images=np.concatenate([b["images"] for b in batches]),
            labels=[label for b in batches for label in b["labels"]],
            truth={k: np.concatenate([b["truth"][k] for b in batches]) for k in chosen.units},
            splits=[s for b in batches for s in b["splits"]],
            classes=list(CLASSES),
            manifest=manifest(chosen, n),
        )
    shape, about = chosen.cutouts.shape, manifest(chosen, n)
    with TableWriter(
        out, shape=shape, classes=list(CLASSES), manifest=about, rows_per_shard=rows_per_shard(n), force=force
    ) as writer:
        report(writer.rows_done, n)
        for batch in _batches(chosen, writer.rows_done, n, report):
            writer.write_columns(**batch)
    return Table.open(out)


def _batches(chosen: Injection, start: int, n: int, report: Callable[[int, int], None]) -> Iterator[dict]:
    for first in range(start, n, ROWS_AT_ONCE):
        rows = [chosen.row(row) for row in range(first, min(first + ROWS_AT_ONCE, n))]
        yield _columns(rows, list(chosen.units))
        report(first + len(rows), n)


def _columns(rows: list[Row], names: list[str]) -> dict:
    return {
        "ids": [row.id for row in rows],
        "images": np.stack([row.image for row in rows]),
        "labels": [row.label for row in rows],
        "splits": [row.split for row in rows],
        "truth": {name: np.array([row.truth.get(name, math.nan) for row in rows]) for name in names},
    }


def manifest(chosen: Injection, n: int) -> dict:
    """Return what the table's manifest says of its making."""
    population = chosen.population
    return {
        "preset": population.name if population else None,
        "summary": "simulated arcs painted on real galaxies, and the galaxies as they are",
        "notes": (
            "the noise of the background is the cutouts' own, and only the arcs' Poisson noise was added; rows with one `group` "
            "show one galaxy and stand in one split"
        ),
        "source": str(chosen.cutouts.path or chosen.cutouts.manifest.get("source") or "memory"),
        "cutouts": {"rows": len(chosen.cutouts), "hosts": len(chosen.hosts), "checksum": chosen.cutouts.checksum},
        "injection": {
            "camera": chosen.camera.as_dict(),
            "fraction": chosen.fraction,
            "lenses": repr(chosen.lenses),
            "sources": chosen.sources.as_dict(),
            "selection": repr(chosen.selection),
            "own_sources": chosen.own_sources,
            "split": chosen.splits,
        },
        "seed": chosen.seed,
        "cosmology": chosen.lenses.cosmology.as_dict(),
        "pixel_scale": chosen.camera.pixel_scale,
        "band_names": list(chosen.camera.bands),
        "flux_unit": chosen.cutouts.manifest.get("flux_unit"),
        "rows": n,
        "units": chosen.units,
    }
