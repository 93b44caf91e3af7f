"""Two mock lenses that five codes modelled: what is known of their models, and a fit of ours beside them.

The files hold images, not parameters. The parameters are those with which darklens reproduces each code's images to 1e-5 of the
peak (`tests/simulate/test_five_codes.py`), in pixels; they are one set for all codes, the one with which the mocks were drawn, and
each code solved for the source alone. The scale of a pixel follows from that of the sources: 25 nodes over 2.4 arcsec are 1.25
pixels apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

CODES = ("lenstronomy", "jaxtronomy", "herculens", "autolens", "tinylensgpu")
PIXEL = 0.08
"""Arcsec."""
SOURCE_HALF = 1.2
"""Half the side of the codes' sources, from the middle of the first node to that of the last, arcsec."""
MODELS = {
    "test": {
        "theta_E": 7.1709285, "gamma": 1.9778601, "e1": -0.0356044, "e2": 0.1354728, "gamma1": -0.0097827, "gamma2": -0.0132586,
        "n_sersic": 4.5837749, "light_e1": 0.0111262, "light_e2": 0.0050559,
        "light": {"lenstronomy": (0.567404, 6.216764), "jaxtronomy": (0.567404, 6.216764), "herculens": (0.577497, 6.141248),
                  "autolens": (0.567125, 6.217811), "tinylensgpu": (0.567266, 6.217811)},
    },
    "test2": {
        "theta_E": 6.2521446, "gamma": 1.920933, "e1": 0.095219, "e2": 0.1255922, "gamma1": -0.0076894, "gamma2": -0.0178367,
        "n_sersic": 3.2180629, "light_e1": 0.0200765, "light_e2": -0.0715559,
        "light": {"lenstronomy": (1.408569, 3.360901), "jaxtronomy": (1.408569, 3.360901), "herculens": (1.570750, 3.119749),
                  "autolens": (1.408122, 3.361633), "tinylensgpu": (1.408123, 3.361633)},
    },
}  # fmt: skip
"""Lengths in pixels; `light` is each code's amplitude and half-light radius."""
EINSTEIN_RADIUS = {("test", "autolens"): 0.99308429, ("test2", "autolens"): 0.99998848}
"""Of a code in units of the others', where it differs."""

WAYS: dict[str, list[str]] = {
    "Sersic source": ["--theta-e", "0.5", "--source", "parametric"],
    "source on pixels": ["--theta-e", "0.5", "--nodes", "16"],
}
"""Of the command, besides what the mocks were made with."""
ABOUT = """\
Two mocks with the models of lenstronomy, JAXtronomy, herculens, PyAutoLens and TinyLensGPU (25 x 25 source pixels of 0.1
arcsec). The files hold images, no parameters and no error bars: the parameters below are the ones with which darklens
reproduces each code's images to 1e-5 of the peak (`tests/simulate/test_five_codes.py`), one set for all five, because the
codes were evaluated at the parameters of the mock and solved for the source alone. Ours are fitted, centre and lens light
too. The pixel of 0.08 arcsec follows from the sources; the PSF is a Gaussian as wide as a pixel, and mocks and models have
one ray a pixel (`--subpixels 1`).

How to read it: the sources are a galaxy with a cusp and compact clumps, seen through a PSF of one pixel. The grid of 0.1
arcsec of the five codes does not resolve them (chi^2 a pixel far above one at the true parameters); ours, adapted to the
source, resolves more. The first mock comes out within 1.7 sigma in all masses, with one Sersic profile and with a source on
pixels. The clumps of the second are smaller than its pixels: neither source describes them, the search ends in a wrong valley,
and no interval is given. Half the separation of the arcs, read off the image, is the guess of theta_E (`--theta-e 0.5`).
""".splitlines()


def prepare(folder: Path, lens: str, out: Path) -> None:
    """Write the image and the noise map of a lens as files that the command reads."""
    out.mkdir(parents=True, exist_ok=True)
    with np.load(folder / lens / "lenstronomy_diagnostics.npz") as file:
        for name in ("image", "noise_map"):
            np.save(out / f"{lens}-{name}.npy", file[name])


def truth(lens: str) -> dict[str, float]:
    """Return what the five codes share, arcsec."""
    model = MODELS[lens]
    lengths = {"theta_E": model["theta_E"] * PIXEL, "light_R_sersic": model["light"]["lenstronomy"][1] * PIXEL}
    kept = {name: model[name] for name in ("gamma", "e1", "e2", "gamma1", "gamma2", "light_e1", "light_e2")}
    return lengths | kept | {"light_n_sersic": model["n_sersic"]}


def images(folder: Path, lens: str, fit: Path) -> dict[str, Any]:
    """Return chi^2 a pixel of every model where we fitted, and how far ours is from each, rms in units of the noise."""
    from astropy.io import fits

    with fits.open(fit / "fit.fits") as hdus:
        ours, residual = (hdus[name].data.astype(float) for name in ("MODEL", "RESIDUAL"))
    kept = np.isfinite(ours)
    found: dict[str, Any] = {"ours": float((residual[kept] ** 2).mean()), "codes": {}, "rms": {}}
    for code in CODES:
        with np.load(folder / lens / f"{code}_diagnostics.npz") as file:
            found["codes"][code] = float((file["normalized_residual"][kept] ** 2).mean())
            found["rms"][code] = float((((ours - file["model"]) / file["noise_map"])[kept] ** 2).mean() ** 0.5)
    return found


def table(row: dict[str, Any]) -> list[str]:
    """Return the lines of one lens: parameter, five codes, ours, agreement in sigma."""
    lines = ["| parameter | five codes | ours (68%) | agreement [sigma] |", "|---|---|---|---|"]
    lens = row["reference"]
    for name, known in row["truth"].items():
        others = [f"{code} {known * EINSTEIN_RADIUS[lens, code]:.4f}" for code in CODES if (lens, code) in EINSTEIN_RADIUS]
        told = f"{known:.4f}" + (f" ({', '.join(others)}, by its convention)" if name == "theta_E" and others else "")
        lines.append(f"| {name} | {told} | {interval(row['found'][name])} | {deviation(row['found'][name], known)} |")
    seen = row["images"]
    codes = ", ".join(f"{code} {value:.3f}" for code, value in seen["codes"].items())
    lines.append(f"| chi^2 a pixel, on the {row['pixels']} pixels of our fit | {codes} | {seen['ours']:.3f} | |")
    far = ", ".join(f"{code} {value:.2f}" for code, value in seen["rms"].items())
    lines.append(f"| our model less theirs, rms [noise sigma] | {far} | | |")
    return lines


def interval(number: dict[str, Any]) -> str:
    """Return a value with its interval."""
    if number["low"] is None:
        return f"{number['value']:.4f} (no interval)"
    return f"{number['value']:.4f} ({number['low']:.4f} to {number['high']:.4f})"


def deviation(number: dict[str, Any], known: float) -> str:
    """Return how far a value is from what is known, in units of half its 68% interval."""
    if number["low"] is None:
        return "no interval"
    return f"{2 * (number['value'] - known) / (number['high'] - number['low']):+.1f}"
