"""From a trained localisation run and a path to a folder of maps, candidates, figures and one summary."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from darklens.data import Record, read
from darklens.data.sky_maps import CANDIDATES, SUMMARY, prepare, sky_position, write_candidates, write_sky_maps
from darklens.errors import InputError
from darklens.evaluate.localisation_figures import save_search_figure
from darklens.files import write_json
from darklens.fit import SmoothFit
from darklens.train.localisation import MIDDLE
from darklens.train.localiser import Detections, Localiser

UNITS = {"log10_mass": "log10(Msun)", "residual": "sigma"}


def localise_with(
    localiser: Localiser,
    path: Path,
    out: Path,
    *,
    candidates: int = 3,
    hdu: int | str | None = None,
    bands: str | None = None,
    limit: int = 12,
    force: bool = False,
    log: Callable[[str], None] = lambda sentence: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Look for clumps in the images at a path; the folder is that of `darklens.infer.substructure.localise_path`.

    Args:
        localiser: the trained run.
        path: an image, a folder, a table.
        out: folder.
        candidates: peaks of an image to list at most, at least the detections among them.
        hdu: extension of FITS files.
        bands: the band to use.
        limit: images to look at, at most.
        force: replace what is in `out`.
        log: receives sentences.
        progress: called with (done, total) images.

    Raises:
        InputError: nothing readable, images unlike those of the training, or no image whose smooth fit converged.
    """
    prepare(out, force)
    records = list(islice(read(path, hdu=hdu, bands=bands), limit))
    if not records:
        raise InputError(f"{path} holds no image: give an image, a folder of them, or a table")
    found, failed = [], []
    for k, record in enumerate(records):
        maps, fit = localiser.of_images(record.image[None])
        if fit.converged[0]:
            found.append(_written(localiser, record, maps, fit, out, hdu, candidates))
        else:
            why = f"the smooth fit of {record.id} did not converge (reduced chi^2 {fit.chi2[0]:.3g})"
            failed.append({"id": record.id, "why": f"{why}: give images of lenses like those of {localiser.described['preset']}"})
            log(failed[-1]["why"])
        progress(k + 1, len(records))
    if not found:
        raise InputError(failed[0]["why"])
    content = {"method": localiser.run.name, "images": len(found), "found": found, "failed": failed, "out": str(out)}
    write_candidates(out / CANDIDATES, found)
    write_json(out / SUMMARY, content)
    return content


def _written(
    localiser: Localiser, record: Record, maps: np.ndarray, fit: SmoothFit, out: Path, hdu: int | str | None, candidates: int
) -> dict[str, Any]:
    peaks, shape, name = localiser.peaks(maps), record.image.shape[1:], record.id.replace("/", "-")
    rows = _rows(peaks, localiser.threshold)
    listed = rows[: max(candidates, sum(row["detected"] for row in rows))]
    summary = {"candidates": listed, "threshold": localiser.threshold}
    summary |= {"detected": any(row["detected"] for row in rows), "smooth_chi2": float(fit.chi2[0])}
    shown = {"heat": 1 / (1 + np.exp(-maps[0, 0])), "log10_mass": maps[0, 4] + MIDDLE}
    shown = {key: on_pixels(pixels, localiser.preprocess.bin, shape) for key, pixels in shown.items()}
    shown |= {"model": fit.model[0], "residual": fit.residual[0]}
    scale = localiser.plan.pixel_scale
    source = Path(record.source) if record.source else None
    header = write_sky_maps(out / f"{name}.fits", shown, UNITS, source=source, hdu=hdu, pixel_scale=scale)
    for row in listed:
        row |= sky_position(header, row["x"], row["y"], scale, shape)
    save_search_figure(out / f"{name}.png", record.image[0], shown, summary, pixel_scale=scale, title=record.id)
    truth = {k: v for k, v in record.truth.items() if k in ("m_sub", "x_sub", "y_sub", "n_sub") and np.isfinite(v)}
    return {"id": record.id, "label": record.label, **summary, "truth": truth}


def _rows(peaks: Detections, threshold: float) -> list[dict[str, Any]]:
    names = {"x": "x", "y": "y", "log10_m": "log10_m", "log10_m_error": "mass_error", "significance": "score"}
    order = np.argsort(-peaks.score)
    rows = [{key: float(getattr(peaks, name)[i]) for key, name in names.items()} for i in order]
    errors = peaks.place_error[order].tolist()
    return [
        row | {"x_error": e, "y_error": e, "false_alarm": None, "detected": row["significance"] >= threshold}
        for row, e in zip(rows, errors, strict=True)
    ]


def on_pixels(maps: np.ndarray, bin: int, shape: tuple[int, int]) -> np.ndarray:
    """Return a map of blocks on the pixels `(H, W)` of the image whose middle it shows; NaN outside."""
    fine = maps.repeat(bin, -2).repeat(bin, -1)
    found = np.full(shape, np.nan, np.float32)
    top, left = ((side - own) // 2 for side, own in zip(shape, fine.shape, strict=True))
    found[top : top + fine.shape[0], left : left + fine.shape[1]] = fine
    return found
