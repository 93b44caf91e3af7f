"""Do the intervals of `darklens fit` hold? Simulated lenses, fitted one by one, and how often their truth lies inside.

    python -m benchmarks.coverage --n 200 --samples 2000 --out coverage.json

Every lens is a pure function of (seed, number): SIE + shear, a Sersic source, a Gaussian PSF, white noise, drawn from the priors
below and rendered by the simulator. Each search starts at the true Einstein radius: intervals are judged here, not the search.
`--samples 0` judges the Gaussian approximation, which costs a tenth of the chains. Prints one
line of JSON; a fit that gives no intervals counts under "not_converged" and nowhere else.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.task_rows import Row, script_row
from darklens.evaluate.proportion import proportion
from darklens.files import write_json
from darklens.fit.one_lens import Choices, fit_lens
from darklens.infer.lens_posterior import posterior
from darklens.lensing import SIE, SersicEllipse, Shear
from darklens.simulate import GaussianPSF, Instrument, Scene, render
from darklens.train.provenance import provenance

ROWS = Path(__file__).parents[1] / "runs" / "rows"

SIDE, SCALE, FWHM, SUBPIXELS = 30, 0.12, 0.2, 2
NOISE = 0.02, 0.05
"""Of the brightest pixel."""
JUDGED = ("theta_E", "e1", "e2", "gamma1", "gamma2", "source_x", "source_y", "source_R_sersic")
LEVELS = {"68": ("low", "high"), "95": ("low95", "high95")}


def draw(generator: np.random.Generator) -> dict[str, float]:
    """Return the parameters of one lens, priors one per line."""
    return {
        "theta_E": generator.uniform(0.8, 1.2),
        "e1": generator.uniform(-0.15, 0.15),
        "e2": generator.uniform(-0.15, 0.15),
        "center_x": generator.normal(0, 0.02),
        "center_y": generator.normal(0, 0.02),
        "gamma1": generator.uniform(-0.05, 0.05),
        "gamma2": generator.uniform(-0.05, 0.05),
        "source_R_sersic": generator.uniform(0.15, 0.4),
        "source_n_sersic": generator.uniform(0.8, 2.0),
        "source_e1": generator.uniform(-0.2, 0.2),
        "source_e2": generator.uniform(-0.2, 0.2),
        "source_x": generator.uniform(-0.25, 0.25),
        "source_y": generator.uniform(-0.25, 0.25),
    }


def simulate(truth: dict[str, float], generator: np.random.Generator, side: int = SIDE, scale: float = SCALE) -> dict[str, Any]:
    """Return image, noise, PSF and pixel scale (arcsec) of one lens on `side` x `side` pixels."""
    t = {k: torch.tensor([v], dtype=torch.float64) for k, v in truth.items()}
    masses = SIE(t["theta_E"], t["e1"], t["e2"], t["center_x"], t["center_y"]), Shear(t["gamma1"], t["gamma2"])
    shape = (t[f"source_{k}"] for k in ("R_sersic", "n_sersic", "e1", "e2", "x", "y"))
    source = SersicEllipse(torch.ones(1, dtype=torch.float64), *shape)
    scene = Scene(masses, (), (source,), ("",), {}, 0, (0,))
    psf = GaussianPSF(FWHM)
    camera = Instrument("", scale, psf)
    image = render(scene, camera, (side, side), supersampling=SUBPIXELS, dtype=torch.float64)[0].numpy()
    sigma = generator.uniform(*NOISE) * image.max()
    margin = psf.margin(scale)
    point = torch.zeros(1, 4 * margin + 1, 4 * margin + 1, dtype=torch.float64)
    point[0, 2 * margin, 2 * margin] = 1.0
    noise = np.full(image.shape, sigma)
    kernel = psf.convolve(point, scale)[0].numpy()
    return {"image": image + sigma * generator.standard_normal(image.shape), "noise": noise, "psf": kernel, "pixel_scale": scale}


def judge(number: int, samples: int, seed: int, starts: int = 6) -> dict[str, Any]:
    """Return for one lens which intervals hold its truth, and how far off each value is in units of the 68% half-width."""
    generator = np.random.default_rng([seed, number])
    truth = draw(generator)
    given = simulate(truth, generator)
    chosen = Choices(
        model="sie+shear",
        light="none",
        source="parametric",
        centre=(0.0, 0.0),
        theta_E=truth["theta_E"],
        starts=starts,
        subpixels=SUBPIXELS,
        seed=seed,
    )
    found = posterior(fit_lens(**given, choices=chosen), samples, seed=seed)
    row: dict[str, Any] = {"number": number, "converged": found.converged, "why": found.why}
    for name in JUDGED if found.converged else ():
        interval = found.intervals[name]
        row[name] = {level: interval[low] <= truth[name] <= interval[high] for level, (low, high) in LEVELS.items()}
        row[name]["pull"] = (interval["value"] - truth[name]) / (0.5 * (interval["high"] - interval["low"]))
    return row


def result_rows(content: dict[str, Any]) -> list[Row]:
    """Return rows for the block "inference" of docs/results.md, one a parameter."""
    made, kind = provenance(), "chains" if content["samples"] else "gaussian"
    tested = f"{content['n']} of {content['n'] + content['not_converged']} simulated lenses"
    return [
        script_row(
            "inference", f"darklens fit, {kind}", f"{name}, {tested}",
            {f"coverage_{level}": found[level] for level in LEVELS}, made, seed=content["seed"],
        )
        for name, found in content["coverage"].items()
    ]  # fmt: skip


def main() -> None:
    """Judge lenses, print one line and leave rows for docs/results.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--starts", type=int, default=6, help="As of darklens fit.")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="Stop after this many.")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    began, rows = time.monotonic(), []
    for number in range(asked.n):
        if time.monotonic() - began > asked.seconds:
            break
        rows.append(judge(number, asked.samples, asked.seed, asked.starts))
    good = [row for row in rows if row["converged"]]
    content = {
        "benchmark": "coverage", "n": len(good), "not_converged": len(rows) - len(good), "samples": asked.samples,
        "seed": asked.seed, "starts": asked.starts, "seconds": time.monotonic() - began,
        "machine": platform.processor() or platform.machine(),
        "coverage": {
            name: {level: proportion(sum(row[name][level] for row in good), len(good)) for level in LEVELS}
            | {"pull_sd": float(np.std([row[name]["pull"] for row in good]))}
            for name in JUDGED
        },
        "all": {level: float(np.mean([row[name][level] for row in good for name in JUDGED])) for level in LEVELS},
    }  # fmt: skip
    if asked.out:
        write_json(asked.out, content | {"lenses": rows})
    write_json(ROWS / f"coverage-{'chains' if asked.samples else 'gaussian'}.json", result_rows(content))
    print(json.dumps(content))


if __name__ == "__main__":
    main()
