"""Is the dark perturber of SDSS J0946+1006 in the data? `darklens localise` over ways to model the lens, and on a twin.

    python -m benchmarks.jackpot FOLDER [--only NAME ...] [--out runs/jackpot]

FOLDER holds `data.fits`, `noise_map.fits`, `psf.fits` and `mask_extra_galaxies.fits` (HST ACS F814W, 0.05 arcsec a pixel). The lens
is modelled smooth, with a source on pixels; then clumps are looked for as `darklens.infer.substructure.search_lens` does it. The
twin is the smooth model of the first variant with new noise: what it shows is not there. One JSON file a variant; the published
perturber is that of Vegetti et al. (2010, MNRAS 408, 1969): 3.51e9 M_sun at (-0.651, 1.040) arcsec from the lens, pseudo-Jaffe.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.jackpot_page import write_pages
from darklens.data import read
from darklens.errors import DarklensError, InputError
from darklens.files import read_json, write_json
from darklens.fit.one_lens import Choices, LensFit, fit_lens
from darklens.infer.substructure import Clump, LookElsewhere, search_lens
from darklens.train.provenance import provenance

ROOT = Path(__file__).parents[1]
OUT, DOCS = ROOT / "runs" / "jackpot", ROOT / "docs"
REDSHIFTS = 0.222, 0.609
PIXEL_SCALE = 0.05
PUBLISHED = {"x": -0.651, "y": 1.040, "log10_m": float(np.log10(3.51e9))}
MASSES = (8.5, 9.0, 9.5, 10.0, 10.5)
STARTS = 6
LENS = "SDSS J0946+1006"
"""As `benchmarks.real_fits` calls it, which runs `darklens fit` on it."""
CORNER = 40
"""Pixels along a side of a corner without light."""
SLACS = {"theta_E": 1.38, "gamma": "2.01 ± 0.18"}
"""What comes with the files: Einstein radius (Bolton et al. 2008, ApJ 682, 964) and slope of lensing with stellar dynamics."""
GUESS = 1.39
"""Einstein radius in arcsec that the starts begin with."""
VARIANTS = {
    "epl, curvature": {},
    "epl, gradient": {"regularisation": "gradient"},
    "epl + multipoles, curvature": {"model": "epl+shear+multipoles"},
    "epl + multipoles, gradient": {"model": "epl+shear+multipoles", "regularisation": "gradient"},
    "epl, curvature, one smoothness": {"adaptive": False},
    "twin without clump": {},
}
TWIN = "twin without clump"
KINDS = ("tnfw", "point")


def main(arguments: list[str]) -> int:
    """Measure the variants that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", default=list(VARIANTS))
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--starts", type=int, default=STARTS)
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page of what there is")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    options = parser.parse_args(arguments)
    try:
        known = files(options.folder)
        for name in options.only:
            if not options.page:
                print(json.dumps(variant(name, known, options.out, options.starts, options.kinds)), flush=True)
        walk(known, options.out)
        write_pages(options.out, DOCS, list(VARIANTS), PIXEL_SCALE)
    except DarklensError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def files(folder: Path) -> dict[str, np.ndarray]:
    """Return image, noise, PSF and mask as `fit_lens` takes them."""
    names = {"image": "data", "noise": "noise_map", "psf": "psf", "mask": "mask_extra_galaxies"}
    known = {key: next(iter(read(folder / f"{name}.fits"))).image[0].astype(float) for key, name in names.items()}
    return known | {"mask": known["mask"] == 0}


def variant(name: str, known: dict[str, np.ndarray], out: Path, starts: int, kinds: list[str]) -> dict[str, Any]:
    """Fit and search, once; what is there is read."""
    path = out / f"{name.replace(' ', '-').replace(',', '')}.json"
    if path.is_file():
        return read_json(path)
    if name == TWIN:
        known = twin(known, out)
    began = time.process_time()
    fit = fit_lens(**known, pixel_scale=PIXEL_SCALE, choices=Choices(starts=starts, theta_E=GUESS, **VARIANTS[name]), log=_say)
    row: dict[str, Any] = {
        "variant": name,
        "starts": starts,
        "smooth": smooth(fit),
        "fit_cpu_s": time.process_time() - began,
        "clumps": {},
    }
    if name == next(iter(VARIANTS)):
        out.mkdir(parents=True, exist_ok=True)
        np.save(out / "smooth-model.npy", fit.model_image)
    for kind in kinds:
        began = time.process_time()
        row["clumps"][kind] = found(fit, kind, out / f"{path.stem}-{kind}.npz") | {"cpu_s": time.process_time() - began}
        _say(f"{name}, {kind}: {row['clumps'][kind]}")
        write_json(path.with_suffix(".partial"), row)
    made = provenance()
    row |= {"published": PUBLISHED, "machine": made["machine"], "commit": made["commit"], "date": made["date"]}
    write_json(path, row)
    path.with_suffix(".partial").unlink(missing_ok=True)
    return row


def walk(known: dict[str, np.ndarray], out: Path) -> dict[str, Any]:
    """Return what the page says beside the search: the row of the command's fit, and the noise of the image."""
    rows = [row for row in read_json(DOCS / "real-fits.json")["rows"] if row["lens"].startswith(LENS)]
    if not rows:
        raise InputError(
            f"docs/real-fits.json has no row of {LENS}: run python -m benchmarks.real_fits LENSES --only '{LENS}' first"
        )
    content = {"fit": rows[0], "noise": noise_of(known["image"], known["noise"]), "published": SLACS}
    write_json(out / "walk.json", content)
    return content


def noise_of(image: np.ndarray, noise: np.ndarray) -> dict[str, float]:
    """Return the scatter in the corners of an image, what the noise map says there, and how neighbouring pixels correlate."""
    ends = slice(None, CORNER), slice(-CORNER, None)
    corners = [image[rows, columns] for rows in ends for columns in ends]
    corners = [corner - np.median(corner) for corner in corners]
    scatter = 1.4826 * float(np.median(np.abs(corners)))
    dark = [np.where(np.abs(corner) < 3 * scatter, corner, np.nan) for corner in corners]  # a galaxy in a corner is no noise
    pairs = np.concatenate([products.ravel() for c in dark for products in (c[1:] * c[:-1], c[:, 1:] * c[:, :-1])])
    stated = float(np.median([noise[rows, columns] for rows in ends for columns in ends]))
    correlation = float(np.nanmean(pairs) / np.nanmean(np.square(dark)))
    return {"scatter": scatter, "stated": stated, "factor": (scatter / stated) ** 2, "correlation": correlation}


def twin(known: dict[str, np.ndarray], out: Path, seed: int = 1) -> dict[str, np.ndarray]:
    """Return the data with the smooth model of the first variant and new noise in place of the image, where it was modelled."""
    model = np.load(out / "smooth-model.npy")
    noise = np.random.default_rng(seed).normal(size=model.shape) * known["noise"]
    return known | {"image": np.where(np.isfinite(model), model + noise, known["image"])}


def smooth(fit: LensFit) -> dict[str, Any]:
    """Return the smooth fit in numbers."""
    errors = np.sqrt(np.diag(fit.covariance))
    return {
        "parameters": {k: [v, e] for (k, v), e in zip(fit.parameters.items(), errors, strict=True)},
        "reduced_chi2": fit.reduced_chi2,
        "pixels": fit.model.observation.size,
        "ln_E": fit.evidence,
        "converged": fit.converged,
    }


def found(fit: LensFit, kind: str, maps_path: Path) -> dict[str, Any]:
    """Return the best clump of a kind, its place relative to the lens, its gain, and what noise would do."""
    maps, candidates = search_lens(fit, Clump(*REDSHIFTS, kind), log10_m=MASSES)
    significance, _ = maps.best()
    noise, best = LookElsewhere(maps.maxima), candidates[0]
    threshold = noise.threshold(0.01)
    sensitivity = maps.smallest(threshold)
    np.savez_compressed(maps_path, significance=significance, sensitivity=sensitivity, model=fit.model_image, residual=fit.residual)
    top, centre = float(np.nanmax(significance)), (fit.parameters["center_x"], fit.parameters["center_y"])
    place = best.x - centre[0], best.y - centre[1]
    return {
        "x": place[0],
        "y": place[1],
        "log10_m": best.log10_m,
        "errors": best.errors,
        "from_published": float(np.hypot(place[0] - PUBLISHED["x"], place[1] - PUBLISHED["y"])),
        "significance": top,
        "threshold": threshold,
        "false_alarm": noise.false_alarm(top),
        "simulations": len(maps.maxima),
        "delta_ln_E": best.delta_ln_E,
        "delta_ln_E_free": best.delta_ln_E_free,
        "sensitivity_there": _at(sensitivity, PUBLISHED, centre),
        "searched_arcsec2": float(maps.searched.sum() * PIXEL_SCALE**2),
        "sensitivity_median": float(np.median(sensitivity[maps.searched])),
    }


def _at(values: np.ndarray, place: dict[str, float], centre: tuple[float, float]) -> float:
    column = round((place["x"] + centre[0]) / PIXEL_SCALE + 0.5 * (values.shape[1] - 1))
    row = round((place["y"] + centre[1]) / PIXEL_SCALE + 0.5 * (values.shape[0] - 1))
    return float(values[row, column])


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
