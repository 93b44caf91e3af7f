"""One lens, modelled from scratch: seconds until the fit is as good as can be, beside lenstronomy on the same image.

    python -m benchmarks.model_lens [--n 5] [--side 80] [--limit 300] [--seed 0]

Simulated lenses (SIE + shear, Sersic source, Gaussian PSF, white noise; those of `benchmarks.coverage`), 0.05 arcsec a pixel. Both
programs get image, noise, PSF and the same model with nothing known beforehand but that the lens is in the middle. darklens runs
to its end, and its chi^2 is the goal: lenstronomy's clock stops at the first model whose chi^2 is at most `--slack` above it, or
after `--limit` seconds. Its search is the documented one, a particle swarm and then a simplex, again and again from where it
ended. One thread. Prints one JSON line; ratios are those of each image, with the median and the range over images.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import numpy as np
import torch

from benchmarks.coverage import SUBPIXELS, draw, simulate
from benchmarks.peers import Watch, band, race, sequence
from darklens.fit.one_lens import Choices, LensFit, fit_lens
from darklens.train.provenance import commit, machine

SCALE = 0.05
ROUND = [["PSO", {"sigma_scale": 1.0, "n_particles": 100, "n_iterations": 100}], ["SIMPLEX", {"n_iterations": 2000}]]


def ours(given: dict[str, Any], seed: int) -> tuple[LensFit, float]:
    """Fit with darklens: nothing guessed; returns the fit and its seconds."""
    chosen = Choices(
        model="sie+shear", light="none", source="parametric", centre=(0.0, 0.0), starts=5, subpixels=SUBPIXELS, seed=seed
    )
    begin = time.perf_counter()
    fit = fit_lens(**given, choices=chosen)
    return fit, time.perf_counter() - begin


def theirs(given: dict[str, Any], fit: LensFit, slack: float, limit: float) -> Watch:
    """Fit with lenstronomy, on the pixels that darklens fitted and within the same ranges, until it is as good."""
    half = 0.5 * SCALE * len(given["image"])
    shape = {"e1": (0.0, 0.1, -0.5, 0.5), "e2": (0.0, 0.1, -0.5, 0.5)}
    centre = {"center_x": (0.0, 0.05, -0.3, 0.3), "center_y": (0.0, 0.05, -0.3, 0.3)}
    place = {"center_x": (0.0, 0.2, -0.7, 0.7), "center_y": (0.0, 0.2, -0.7, 0.7)}
    size = {"R_sersic": (0.25, 0.1, 0.02, 1.5), "n_sersic": (1.2, 0.4, 0.5, 6.0)}
    masses = {
        "SIE": ({"theta_E": (0.5 * half, 0.2, 0.2 * half, half)} | shape | centre, {}),
        "SHEAR": ({"gamma1": (0.0, 0.05, -0.3, 0.3), "gamma2": (0.0, 0.05, -0.3, 0.3)}, {"ra_0": 0, "dec_0": 0}),
    }
    psf = {"psf_type": "PIXEL", "kernel_point_source": given["psf"] / given["psf"].sum()}
    one_band = band(given["image"], given["noise"], SCALE, psf, SUBPIXELS)
    search = sequence(one_band, masses, {"SERSIC_ELLIPSE": (size | shape | place, {})}, fit.model.observation.mask)
    return race(search, -0.5 * (fit.chi2 + slack), limit, ROUND)


def one_lens(number: int, asked: argparse.Namespace) -> dict[str, Any]:
    """Return both programs' seconds and chi^2 on one simulated lens."""
    generator = np.random.default_rng([asked.seed, number])
    truth = draw(generator)
    given = simulate(truth, generator, asked.side, SCALE)
    fit, seconds = ours(given, asked.seed)
    watch = theirs(given, fit, asked.slack, asked.limit)
    there = watch.reached_after is not None
    return {
        "number": number,
        "pixels": fit.model.observation.size,
        "converged": fit.converged,
        "theta_E_off_percent": round(100 * (fit.parameters["theta_E"] / truth["theta_E"] - 1), 3),
        "reduced_chi2": round(fit.reduced_chi2, 4),
        "seconds": round(seconds, 2),
        "lenstronomy_seconds": round(watch.reached_after if watch.reached_after is not None else watch.seconds, 1),
        "lenstronomy_reached": there,
        "lenstronomy_chi2_above": round(-2 * watch.best - fit.chi2, 2),
        "lenstronomy_evaluations": watch.evaluations,
        "ratio": round((watch.reached_after or watch.seconds) / seconds, 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=5, help="lenses")
    parser.add_argument("--side", type=int, default=80, help="pixels")
    parser.add_argument("--slack", type=float, default=2.0, help="by which lenstronomy's chi^2 may be larger")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for lenstronomy on an image")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    ours(simulate(draw(np.random.default_rng(99)), np.random.default_rng(99), asked.side, SCALE), 0)  # compile
    rows = [one_lens(number, asked) for number in range(asked.n)]
    ratios = [row["ratio"] for row in rows]
    line = {
        "benchmark": "model_lens",
        "machine": machine(),
        "commit": commit(),
        "side": asked.side,
        "seed": asked.seed,
        "n": asked.n,
    }
    line |= {"model": "SIE + shear + Sersic source, 13 parameters and an amplitude", "threads": 1, "lenses": rows}
    line |= {"lenstronomy_reached": sum(row["lenstronomy_reached"] for row in rows)}
    print(json.dumps(line | {"ratio_median": statistics.median(ratios), "ratio_least": min(ratios), "ratio_most": max(ratios)}))


if __name__ == "__main__":
    main()
