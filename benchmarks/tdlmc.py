"""The two systems of rung 0 of the Time Delay Lens Modelling Challenge (Ding et al., arXiv:1801.01506), whose truth is public.

`SYSTEMS` has the numbers of the open box: theta_E and slope of the power law, axis ratio and angle (radians, from the x axis),
strength and angle of the shear (which stretches across it), places of the quasar's images in arcsec.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks.five_codes import deviation, interval

FOLDER = "tdlmc-rung0"
SYSTEMS: dict[str, dict[str, Any]] = {
    "seed 3 (four images)": {
        "place": "rung0/code1/f160w-seed3",
        "lens": {"theta_E": 1.161, "gamma": 2.044, "q": 0.787, "phi": 1.605, "shear": 0.028, "shear_phi": 2.225},
        "images": [[0.082, -1.101], [-1.169, -0.249], [1.212, 0.227], [-0.277, 1.059]],
    },
    "seed 4 (two images)": {
        "place": "rung0/code2/f160w-seed4",
        "lens": {"theta_E": 1.19, "gamma": 2.05, "q": 0.992, "phi": 2.246, "shear": 0.048, "shear_phi": 1.719},
        "images": [[-0.011, -1.049], [0.94, 0.886]],
    },
}
SMOOTH = ["--light", "sersic", "--source", "parametric"]
WAYS: dict[str, dict[str, Any]] = {
    "drizzled, Sersic source": {"drizzled": True, "options": SMOOTH},
    "single exposure, Sersic source": {"drizzled": False, "options": SMOOTH},
    "drizzled, source on pixels": {"drizzled": True, "options": []},
}
"""How each system is modelled; the first as the challenge says that rung 0 was made, the last as the command does by default."""

ABOUT = """\
The two systems of rung 0 of the Time Delay Lens Modelling Challenge (Ding et al., arXiv:1801.01506), HST WFC3 F160W,
simulated by others; the truth is that of the open box, in the same convention (its images of the quasar, traced back
through its lens by darklens, meet within 2 milliarcsec). Power law, shear and the images of the quasar (`--point-images
auto`), not one number of the truth given. The drizzled images have the PSF on their own pixels, and correlated noise, so
that their chi^2 is below one; a single exposure has a PSF four times finer (its frame is shifted by 0.08 arcsec, which the
row of the positions leaves out). Deviations are given in percent, for ellipticity and shear as differences, and in units of
half the 68% interval.

How to read it: deviations of more than two are systematic. The intervals leave out what the PSF's error under the quasar does to
its host and, where the source is a Sersic profile, what the host has beyond one; two images alone hold slope and shear but
loosely, and show it most.
""".splitlines()


def truth(system: str) -> dict[str, float]:
    """Return the parameters of a system as darklens names them."""
    t = SYSTEMS[system]["lens"]
    e = (1 - t["q"]) / (1 + t["q"])
    angles = {"e1": e * math.cos(2 * t["phi"]), "e2": e * math.sin(2 * t["phi"])}
    shear = {"gamma1": -t["shear"] * math.cos(2 * t["shear_phi"]), "gamma2": -t["shear"] * math.sin(2 * t["shear_phi"])}
    return {"theta_E": t["theta_E"], "gamma": t["gamma"], **angles, **shear}


def lenses() -> dict[str, dict[str, Any]]:
    """Return every fit: files, options and truth."""
    found = {}
    for system, about in SYSTEMS.items():
        for way, how in WAYS.items():
            place = f"{FOLDER}/{about['place']}"
            names = "drizzled_image/{}.fits" if how["drizzled"] else "non_drizzled-{}-1.fits"
            psf = f"{place}/drizzled_image/psf.fits" if how["drizzled"] else f"{FOLDER}/oversampled_PSF.fits"
            scale = ["--pixel-scale", "0.08"] if how["drizzled"] else ["--pixel-scale", "0.13", "--psf-oversampling", "4"]
            found[f"TDLMC {system}, {way}"] = {
                "image": f"{place}/{names.format('lens-image')}",
                "files": {"noise": f"{place}/{names.format('noise_map')}", "psf": psf},
                "options": [*scale, "--point-images", "auto", "--starts", "2", *how["options"]],
                "published": None,
                "system": system,
                "way": way,
                "truth": truth(system),
            }
    return found


def off_truth(system: str, points: dict[str, Any]) -> float | None:
    """Return the rms distance of the quasar's images from the truth but for a shift of all, milliarcsec; None if one is missing."""
    known = np.array(SYSTEMS[system]["images"])
    seen = np.array([[image["x"]["value"], image["y"]["value"]] for image in points["images"]])
    nearest = np.hypot(*(seen[:, None] - known[None]).T).argmin(0) if len(seen) == len(known) else np.zeros(1)
    if len(set(nearest.tolist())) < len(known):
        return None
    apart = seen - known[nearest]
    return float(1e3 * ((apart - apart.mean(0)) ** 2).sum(1).mean() ** 0.5)


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the lines of one system: a row for each parameter, a column for each way in which it was modelled."""
    ways = " | ".join(row["way"] for row in rows)
    lines = [f"| {rows[0]['system']} | truth | {ways} |", "|---|---|" + "---|" * len(rows)]
    for name, known in rows[0]["truth"].items():
        cells = [_cell(name, row["found"][name], known) for row in rows]
        lines.append(f"| {name} | {known:.4f} | {' | '.join(cells)} |")
    facts = {
        "rms of the quasar's images off the truth [milliarcsec]": [_number(row["off_truth"], ".2f") for row in rows],
        "images apart in the source plane [milliarcsec]": [f"{1e3 * row['scatter']:.1f}" for row in rows],
        "PSF error, measured [%]": [f"{100 * row['psf_error']:.1f}" for row in rows],
        "reduced chi^2 (pixels)": [f"{row['reduced_chi2']:.3f} ({row['pixels']})" for row in rows],
        "converged": ["yes" if row["converged"] else "NO" for row in rows],
        "seconds": [f"{row['seconds']:.0f}" for row in rows],
    }
    lines.append(f"| farthest from the truth | | {farthest(rows)} |")
    return lines + [f"| {name} | | {' | '.join(cells)} |" for name, cells in facts.items()]


def farthest(rows: list[dict[str, Any]]) -> str:
    """Return a cell a row on the parameter that is farthest from the truth in units of half its 68% interval."""
    cells = []
    for row in rows:
        known = {name: row["found"][name] for name in row["truth"] if row["found"][name]["low"] is not None}
        off = {name: deviation(number, row["truth"][name]) for name, number in known.items()}
        name = max(off, key=lambda one: abs(float(off[one])), default=None)
        cells.append("no interval" if name is None else f"{name}, {off[name]} sigma")
    return " | ".join(cells)


def _cell(name: str, number: dict[str, Any], known: float) -> str:
    off = f"{100 * (number['value'] / known - 1):+.2f}%" if name in ("theta_E", "gamma") else f"{number['value'] - known:+.4f}"
    sigma = "" if number["low"] is None else f", {deviation(number, known)} sigma"
    return f"{interval(number)}: {off}{sigma}"


def _number(value: float | None, form: str) -> str:
    return "an image is missing" if value is None else f"{value:{form}}"
