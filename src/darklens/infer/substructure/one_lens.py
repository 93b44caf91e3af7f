"""From the files of one lens to a folder of maps and candidates: the lens modelled in full, its source on pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from darklens.data.sky_maps import CANDIDATES, SUMMARY, sky_position, write_candidates, write_sky_maps
from darklens.errors import InputError
from darklens.files import write_json
from darklens.fit.one_lens import Choices, LensFit, fit_lens
from darklens.fit.one_lens.reading import Given
from darklens.infer.substructure.clump import Clump
from darklens.infer.substructure.gain import GainMaps
from darklens.infer.substructure.look_elsewhere import LookElsewhere, in_sigma
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
        force: replace what is in `out`.
        log: receives sentences.
        progress: called with (done, total) places.

    Raises:
        InputError: files that cannot be used, or a smooth model that did not converge.
        WorkError: no start of the smooth model led anywhere.
    """
    if (out / SUMMARY).exists() and not force:
        raise InputError(f"{out} holds a localisation already: choose another --out or give --force")
    known = given.read()
    fit = fit_lens(**known, choices=choices, log=log)
    if not fit.converged:
        doubt = f", {fit.doubt}" if fit.doubt else ""
        raise InputError(
            f"the smooth model did not converge (reduced chi^2 {fit.reduced_chi2:.3g}{doubt}): what it leaves over is no "
            "evidence for a clump; give more --starts, --theta-e, or another --model"
        )
    log(f"smooth lens: reduced chi^2 {fit.reduced_chi2:.3f}, ln E {fit.evidence:.1f}; looking for {clump.kind} clumps")
    search = {"draws": settings.draws, "count": settings.candidates, "seed": settings.seed, "stride": settings.stride}
    maps, weighed = search_lens(fit, clump, log10_m=REAL_MASSES, progress=progress, **search)
    name = given.image.name.split(".")[0]
    found = _written(name, known["image"], fit, maps, weighed, clump, settings, given, out)
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
    rows = [_row(one, significance, noise, threshold, scale) for one in weighed]
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
    save_search_figure(out / f"{name}.png", image, shown, summary, pixel_scale=scale, title=name)
    return {"id": name, "label": None, **summary, "truth": {}}


def _row(one: Weighed, significance: np.ndarray, noise: LookElsewhere, threshold: float, scale: float) -> dict[str, Any]:
    """Return a candidate; its significance is the highest of the map within a few pixels of where the weighing has led it."""
    height, width = significance.shape
    y, x = np.ogrid[:height, :width]
    distance = np.hypot((x - 0.5 * (width - 1)) * scale - one.x, (y - 0.5 * (height - 1)) * scale - one.y)
    near = significance[(distance < 0.3) & np.isfinite(significance)]
    z = float(near.max()) if near.size else 0.0
    false_alarm = noise.false_alarm(z)
    return {
        **{"x": one.x, "y": one.y, "log10_m": one.log10_m},
        **dict(zip(("x_error", "y_error", "log10_m_error"), one.errors, strict=True)),
        **{"significance": z, "false_alarm": false_alarm, "sigma": in_sigma(false_alarm), "simulations_above": noise.exceeded(z)},
        **{"delta_ln_E": one.delta_ln_E, "delta_ln_E_free": one.delta_ln_E_free, "detected": z >= threshold},
    }
