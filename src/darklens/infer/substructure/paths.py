"""From a path to a folder of maps, candidates, figures and one summary."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from darklens.data import MANIFEST, Record, Table, read
from darklens.data.sky_maps import CANDIDATES, SUMMARY, prepare, sky_position, write_candidates, write_sky_maps
from darklens.errors import InputError
from darklens.files import write_json
from darklens.fit import Plan
from darklens.fit.request import Request
from darklens.infer.substructure.clump import Clump, clump_for
from darklens.infer.substructure.search import Search, Settings, search
from darklens.simulate import preset as find_preset

PLAIN = Settings()
UNITS = {"significance": "", "log10_mass": "log10(Msun)", "sensitivity": "log10(Msun)", "model": "", "residual": "sigma"}
Log = Callable[[str], None]


def localise_path(
    path: Path,
    out: Path,
    request: Request,
    *,
    settings: Settings = PLAIN,
    clump: str | None = None,
    z_lens: float | None = None,
    z_source: float | None = None,
    mask: np.ndarray | None = None,
    hdu: int | str | None = None,
    bands: str | None = None,
    limit: int = 12,
    force: bool = False,
    log: Log = lambda sentence: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Look for clumps in the images at a path.

    Args:
        path: an image, a folder, a table.
        out: folder for `ID.fits` (maps with coordinates where the image has any) and `ID.png` of each image, `candidates.csv` and
            `localisation.json`.
        request: what is known about the images.
        settings: how the search is made.
        clump: kind of clump; a halo, or a point where the preset's are.
        z_lens: redshift of the lens, where no preset says it.
        z_source: redshift of the source, likewise.
        mask: `(H, W)`, not zero where a pixel counts.
        hdu: extension of FITS files.
        bands: the band to use.
        limit: images to look at, at most.
        force: replace what is in `out`.
        log: receives sentences.
        progress: called with (done, total) places of an image.

    Returns:
        What `localisation.json` holds.

    Raises:
        InputError: nothing readable, nothing known about the images, no redshifts, or no image whose smooth fit converged.
    """
    prepare(out, force)
    records = list(islice(read(path, hdu=hdu, bands=bands), limit))
    if not records:
        raise InputError(f"{path} holds no image: give an image, a folder of them, or a table")
    manifest = Table.open(path).manifest if (path / MANIFEST).is_file() else None
    plan = request.plan(_band(records[0])[None], manifest)
    kind = _clump(request, manifest, plan, clump, z_lens, z_source)
    log(f"looking for {kind.kind} clumps in {plan.model.name} ({plan.origin}), z {kind.z_lens:g}, source at z {kind.z_source:g}")
    found, failed = [], []
    for record in records:
        try:
            one = search(_band(record), plan, kind, settings, mask=None if mask is None else mask != 0, progress=progress)
        except InputError as error:
            failed.append({"id": record.id, "why": str(error)})
            log(f"{record.id}: {error}")
            continue
        found.append(_written(record, one, out, hdu))
        log(f"{record.id}: " + sentence(found[-1]["candidates"]))
    if not found:
        count = "" if len(failed) == 1 else f"none of {len(failed)} images could be searched; "
        raise InputError(count + failed[0]["why"])
    content = {"method": "likelihood", "images": len(found), "plan": plan.origin, "found": found, "failed": failed, "out": str(out)}
    write_candidates(out / CANDIDATES, found)
    write_json(out / SUMMARY, content)
    return content


def _band(record: Record) -> np.ndarray:
    if record.image.shape[0] != 1:
        what = f"{record.source or record.id} has {record.image.shape[0]} bands"
        raise InputError(f"{what}: a search takes one; choose it with --bands")
    return record.image[0]


def _clump(
    request: Request, manifest: dict | None, plan: Plan, kind: str | None, z_lens: float | None, z_source: float | None
) -> Clump:
    name = request.preset or (manifest or {}).get("preset") or ("common-test" if "common-test" in plan.origin else None)
    if (z_lens is None) != (z_source is None):
        raise InputError("one redshift without the other turns no deflection into a mass: give both --z-lens and --z-source")
    if z_lens is not None and z_source is not None:
        return Clump(z_lens, z_source, kind or "tnfw")
    if name is None:
        raise InputError("these images do not say at which redshifts lens and source are: give --z-lens and --z-source")
    return clump_for(find_preset(name), kind)


def _written(record: Record, one: Search, out: Path, hdu: int | str | None) -> dict[str, Any]:
    from darklens.evaluate.localisation_figures import save_search_figure

    name = record.id.replace("/", "-")
    source = Path(record.source) if record.source else None
    maps = one.images()
    header = write_sky_maps(out / f"{name}.fits", maps, UNITS, source=source, hdu=hdu, pixel_scale=one.lens.pixel_scale)
    summary = one.summary()
    for candidate in summary["candidates"]:
        candidate |= sky_position(header, candidate["x"], candidate["y"], one.lens.pixel_scale, maps["model"].shape)
    image = one.lens.model + one.lens.residual
    save_search_figure(out / f"{name}.png", image, maps, summary, pixel_scale=one.lens.pixel_scale, title=record.id)
    truth = {k: v for k, v in record.truth.items() if k in ("m_sub", "x_sub", "y_sub", "n_sub") and np.isfinite(v)}
    return {"id": record.id, "label": record.label, **summary, "truth": truth}


def sentence(candidates: list[dict[str, Any]]) -> str:
    """Return what was found in an image, the best candidate first, in words."""
    if not candidates:
        return "no place explains the image better"
    best = candidates[0]
    word = "clump" if best["detected"] else "no clump; the best candidate"
    return (
        f"{word} of 10^{best['log10_m']:.2f} M_sun at ({best['x']:+.2f}, {best['y']:+.2f}) arcsec, "
        f"{best['significance']:.1f} sigma there, false alarm {best['false_alarm']:.2g} in the whole image"
    )
