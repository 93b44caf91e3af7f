"""From the files of one lens to a folder of maps and candidates: the lens modelled in full."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from darklens.data.sky_maps import CANDIDATES, SUMMARY, prepare, sky_position, write_candidates, write_sky_maps
from darklens.errors import InputError
from darklens.files import write_json
from darklens.fit.one_lens import Choices, LensFit, fit_lens
from darklens.fit.one_lens.position_file import positions_on
from darklens.fit.one_lens.reading import Given
from darklens.infer.substructure.clump import Clump
from darklens.infer.substructure.gain import GainMaps
from darklens.infer.substructure.look_elsewhere import LookElsewhere, in_sigma
from darklens.infer.substructure.paths import sentence
from darklens.infer.substructure.pixelised import Weighed, search_lens
from darklens.infer.substructure.search import Settings

REAL_MASSES = (8.5, 9.0, 9.5, 10.0, 10.5)
UNITS = {"log10_mass": "log10(Msun)", "sensitivity": "log10(Msun)", "residual": "sigma"}


def localise_lens(
    given: Given,
    out: Path,
    clump: Clump,
    *,
    choices: Choices,
    settings: Settings,
    positions: Path | None = None,
    position_order: str | None = None,
    force: bool = False,
    log: Callable[[str], None] = lambda sentence: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Model one lens in full and look for clumps; the folder is that of `localise_path`.

    Args:
        given: image, noise, PSF, masks.
        out: folder.
        clump: what is looked for.
        choices: how the lens is modelled.
        settings: `draws`, `false_alarm`, `candidates`, `seed` and `stride` of the search.
        positions: file of images of points of the source, which lead the search for the smooth model.
        position_order: of the numbers in it, as for `read_positions`.
        force: replace what is in `out`.
        log: receives sentences.
        progress: called with (done, total) places.

    Raises:
        InputError: files that cannot be used, or a smooth model that did not converge.
        WorkError: no start of the smooth model led anywhere.
    """
    prepare(out, force)
    known = given.read()
    images = positions_on(positions, position_order, {}, known, choices.centre)
    fit = fit_lens(**known, positions=images, choices=choices, log=log)
    if not fit.converged:
        doubt = f", {fit.doubt}" if fit.doubt else ""
        raise InputError(
            f"the smooth model did not converge (reduced chi^2 {fit.reduced_chi2:.3g}{doubt}): what it leaves over is no "
            "evidence for a clump; give more --starts, --theta-e, or another --model"
        )
    log(f"smooth lens: reduced chi^2 {fit.reduced_chi2:.3f}, ln E {fit.evidence:.1f}; looking for {clump.kind} clumps")
    maps, weighed = search_lens(
        fit,
        clump,
        log10_m=REAL_MASSES,
        draws=settings.draws,
        count=settings.candidates,
        seed=settings.seed,
        stride=settings.stride,
        progress=progress,
    )
    name = Path(given.image.name.removesuffix(".gz").removesuffix(".fz")).stem
    found = _written(name, known["image"], fit, maps, weighed, clump, settings, given, out)
    log(f"{name}: " + sentence(found["candidates"]))
    content = {"method": "likelihood, one lens in full", "images": 1, "plan": f"{choices.model}, {choices.source} source"}
    content |= {"found": [found], "failed": [], "out": str(out)}
    write_candidates(out / CANDIDATES, [found])
    write_json(out / SUMMARY, content)
    return content


def _written(
    name: str,
    image: np.ndarray,
    fit: LensFit,
    maps: GainMaps,
    weighed: list[Weighed],
    clump: Clump,
    settings: Settings,
    given: Given,
    out: Path,
) -> dict[str, Any]:
    from darklens.evaluate.localisation_figures import save_search_figure

    noise, scale = LookElsewhere(maps.maxima), fit.model.observation.pixel_scale
    threshold = noise.threshold(settings.false_alarm)
    significance, mass = maps.best()
    sensitivity = maps.smallest(threshold)
    shown = {"significance": significance, "log10_mass": mass, "sensitivity": sensitivity}
    shown |= {"model": fit.model_image, "residual": fit.residual}
    header = write_sky_maps(out / f"{name}.fits", shown, UNITS, source=given.image, hdu=given.hdu, pixel_scale=scale)
    rows = [candidate_row(one, noise, threshold) for one in weighed]
    rows = [row | sky_position(header, row["x"], row["y"], scale, image.shape) for row in rows]
    reached = sensitivity[np.isfinite(sensitivity)]
    summary = {
        "detected": any(row["detected"] for row in rows),
        "candidates": rows,
        "threshold": threshold,
        "false_alarm_rate": settings.false_alarm,
        "look_elsewhere": noise.as_dict(),
        "sensitivity": {
            "smallest": float(reached.min()) if len(reached) else None,
            "median": float(np.median(sensitivity[maps.searched])),
            "meaning": "log10 M_sun that half of such clumps at a place exceed the threshold with",
        },
        "searched_arcsec2": float(maps.searched.sum() * scale**2),
        "smooth_chi2": fit.reduced_chi2,
        "smooth_ln_E": fit.evidence,
        "clump": {"kind": clump.kind, "z_lens": clump.z_lens, "z_source": clump.z_source},
    }
    shown["residual"] = np.where(fit.model.observation.mask, fit.residual, np.nan)
    save_search_figure(out / f"{name}.png", image, shown, summary, pixel_scale=scale, title=name)
    return {"id": name, "label": None, **summary, "truth": {}}


def candidate_row(one: Weighed, noise: LookElsewhere, threshold: float) -> dict[str, Any]:
    """Return a candidate; a detection stands out of the map, and bears being weighed with the source solved anew."""
    false_alarm = noise.false_alarm(one.significance)
    return {
        **{"x": one.x, "y": one.y, "log10_m": one.log10_m},
        **dict(zip(("x_error", "y_error", "log10_m_error"), one.errors, strict=True)),
        **{"significance": one.significance, "false_alarm": false_alarm, "sigma": in_sigma(false_alarm)},
        **{"simulations_above": noise.exceeded(one.significance), "delta_ln_E": one.delta_ln_E},
        **{"delta_ln_E_free": one.delta_ln_E_free, "detected": one.significance >= threshold and one.delta_ln_E > 0},
    }
